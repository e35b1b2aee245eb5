//! What stands between a result and a client that may not see all of it: the plan of each text, the masks of each
//! result, and the words of errors.
//!
//! Deliberately absent: the decisions themselves (`mask`). What cannot be masked yet is refused before it is sent:
//! protected columns in COPY, function calls by number, and by a message of the protocol running what a command prepared
//! or declared.

use std::sync::Arc;

use model::Micros;
use phi::RowContext;

use super::super::codec::{Severity, WireError};
use super::super::mask::{self, Means, Plan, Protection, Refusal, Rows, Unshowable};
use super::super::sql::{Inspection, Known, Lineage, SessionEffect};
use super::super::track::Announced;
use super::Relay;
use crate::control::Control;
use crate::error::Failure;
use crate::gate::Sight;
use crate::protected::Protected;

/// How the results of one text leave, decided when it was admitted: a result keeps the policy it began with.
#[derive(Debug)]
pub(super) struct Masking {
    protected: Arc<Protected>,
    protection: Arc<Protection>,
    sight: Sight,
    /// One for each statement of the text.
    plans: Box<[Plan]>,
    /// The current year.
    year: u16,
}

/// How the result at hand leaves.
#[derive(Debug)]
enum Shape {
    /// The resource has not announced it yet.
    Unknown,
    /// As it comes.
    Plain,
    /// Cell by cell.
    Masked(Rows),
}

/// The masking of one operation's results.
#[derive(Debug)]
pub(super) struct Masked {
    by: Arc<Masking>,
    /// Which statement of the text the results at hand are of.
    statement: usize,
    shape: Shape,
    /// The format codes of the result.
    formats: Arc<[i16]>,
    /// Where the columns are announced; `None` where that comes with the result itself.
    announced: Option<Announced>,
}

impl Masked {
    /// Begins with the first statement of a text.
    pub(super) fn new(by: Arc<Masking>, formats: Arc<[i16]>, announced: Option<Announced>) -> Masked {
        Masked { by, statement: 0, shape: Shape::Unknown, formats, announced }
    }

    /// Takes the announcement of the result at hand up.
    pub(super) fn announce(&mut self, description: &[u8]) -> Result<(), Failure> {
        let Masking { protected, protection, sight, plans, year: _ } = &*self.by;
        let plan = plans.get(self.statement).ok_or_else(|| unshowable(&Unshowable::Disagrees))?;
        let means = Means { protection, keys: &protected.keys };
        let rows = Rows::compile(plan, description, means, |class| sight.sees(class));
        self.shape = match rows.map_err(|error| unshowable(&error))? {
            None => Shape::Plain,
            Some(rows) => Shape::Masked(rows),
        };
        Ok(())
    }

    /// Makes sure that the columns of the rows at hand are known.
    pub(super) fn ready(&mut self) -> Result<(), Failure> {
        if !matches!(self.shape, Shape::Unknown) {
            return Ok(());
        }
        let announced = self.announced.clone();
        let description = announced.as_ref().and_then(|announced| announced.get());
        let description = description.ok_or_else(|| unshowable(&Unshowable::Disagrees))?;
        self.announce(description)
    }

    /// Tells whether the rows at hand do not leave as they come.
    pub(super) fn rewrites(&self) -> bool {
        !matches!(self.shape, Shape::Plain)
    }

    /// Appends a row as it leaves.
    pub(super) fn row(&self, row: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        match &self.shape {
            Shape::Unknown => Err(unshowable(&Unshowable::Disagrees)),
            Shape::Plain => {
                out.extend_from_slice(row);
                Ok(())
            }
            Shape::Masked(rows) => rows
                .rewrite(row, &self.formats, &RowContext::new(self.by.year), out)
                .map_err(|error| unshowable(&error)),
        }
    }

    /// One statement of the text is done.
    pub(super) fn next(&mut self) {
        self.statement += 1;
        self.shape = Shape::Unknown;
    }
}

/// Returns the plan of what a prepared statement or a cursor returns.
fn inner(
    protection: &Protection,
    sight: Sight,
    known: Option<Arc<Lineage>>,
    what: &'static str,
) -> Result<Plan, Refusal> {
    let known = known.ok_or(Refusal::Kind(what))?;
    match protection.plan(&known, |class| sight.sees(class))? {
        plan @ (Plan::Columns(_) | Plan::Plain | Plan::Nothing) => Ok(plan),
        Plan::Prepared(_) | Plan::Cursor(_) => Err(Refusal::Kind(what)),
    }
}

/// Returns the year of a time, in UTC.
fn year(at: Micros) -> u16 {
    /// The mean length of a year in the Gregorian calendar, in microseconds.
    const YEAR_US: u64 = 31_556_952_000_000;
    u16::try_from(1970 + at.0 / YEAR_US).unwrap_or(u16::MAX)
}

/// What the resource sent cannot be shown for certain: the session ends.
fn unshowable(error: &Unshowable) -> Failure {
    Failure::Ours(format!("a result cannot be masked: {error}"))
}

/// What the client of a refused statement is told.
pub(super) fn refused(refusal: Refusal) -> WireError {
    let (message, hint): (String, &str) = match refusal {
        Refusal::Kind(what) => (
            format!("{what} is not open to people who see protected values masked"),
            "Ask for `unmask` on this resource, or use SELECT, INSERT, UPDATE, DELETE or COPY.",
        ),
        Refusal::Opaque => (
            "the statement uses something that cannot be followed, and could show protected values"
                .to_owned(),
            "Name tables with their schema; leave out functions and operators of users.",
        ),
        Refusal::Use(_) => (
            "the statement filters, sorts, groups or joins by a protected column".to_owned(),
            "Return the column instead, or ask for `unmask` on its class.",
        ),
        Refusal::Computes(_) => (
            "the statement computes with a protected column in a way that could tell its value".to_owned(),
            "Return the column as it is, or ask for `unmask` on its class.",
        ),
        Refusal::Assigns(_) => (
            "the statement gives a protected column a value, or copies one elsewhere".to_owned(),
            "Ask for `unmask` on the column's class.",
        ),
        Refusal::Open => (
            "the statement returns a number of columns that cannot be told, protected ones among them"
                .to_owned(),
            "Name the columns.",
        ),
    };
    WireError::new(Severity::Error, b"42501", message).hint(hint)
}

impl<C: Control> Relay<C> {
    /// Tells whether the resource has something that this person may not see.
    pub(super) fn masks(&mut self, at: Micros) -> Option<(Arc<Protected>, Sight)> {
        let protected = self.target.protected.clone()?;
        let sight = self.gate.sight(at);
        (!sight.everything).then_some((protected, sight))
    }

    /// Decides how the results of a text leave; `None` where they leave as they come.
    pub(super) fn masking(
        &mut self,
        inspection: Option<&Inspection>,
        at: Micros,
    ) -> Result<Option<Arc<Masking>>, Refusal> {
        let Some((protected, sight)) = self.masks(at) else { return Ok(None) };
        let inspection = inspection.ok_or(Refusal::Kind("EXECUTE, or FETCH of a cursor,"))?;
        let current = self.catalogue.current();
        let protection = current.protection(&protected);
        if inspection.lineage.len() != inspection.statements {
            return Err(Refusal::Opaque);
        }
        let mut plans = Vec::with_capacity(inspection.statements);
        for lineage in &inspection.lineage {
            let plan = match protection.plan(lineage, |class| sight.sees(class))? {
                Plan::Prepared(name) => {
                    let known = self.track.prepared(&name).filter(|_| !inspection.names(&name));
                    let known = known.and_then(|known| known.lineage.clone());
                    // The resource plans it anew when objects change, by what they are then.
                    let known = known.filter(|known| known.catalogue == current.catalogue.digest());
                    inner(&protection, sight, known, "EXECUTE of a statement that is not known")?
                }
                Plan::Cursor(name) => {
                    let known = self.track.cursor(&name).filter(|_| !inspection.names(&name));
                    let known = known.and_then(|known| known.lineage.clone());
                    inner(&protection, sight, known, "FETCH from a cursor that is not known")?
                }
                plan @ (Plan::Columns(_) | Plan::Plain | Plan::Nothing) => plan,
            };
            if lineage.copies() && plan.masks() {
                return Err(Refusal::Kind("COPY of protected columns"));
            }
            plans.push(plan);
        }
        Ok(Some(Arc::new(Masking { protected, protection, sight, plans: plans.into(), year: year(at) })))
    }

    /// Says for the record which protected columns a text returns, masked and in clear: by what it was planned with,
    /// where it was.
    pub(super) fn noted(&mut self, inspection: &Inspection, masking: Option<&Masking>) -> Option<Box<str>> {
        let protected = self.target.protected.clone()?;
        let (protection, sight) = match masking {
            Some(masking) => (masking.protection.clone(), masking.sight),
            None => {
                let sight = self.gate.sight(self.shared.control.now());
                (self.catalogue.current().protection(&protected), sight)
            }
        };
        let run: Vec<Arc<Known>> =
            inspection.session.iter().filter_map(|effect| self.run_by(effect)).collect();
        let followed = run.iter().filter_map(|known| known.lineage.as_deref());
        protection.note(inspection.lineage.iter().chain(followed), |class| sight.sees(class))
    }

    /// Returns what an effect on the session runs that was named before.
    pub(super) fn run_by(&self, effect: &SessionEffect) -> Option<Arc<Known>> {
        if let SessionEffect::Execute { name } = effect {
            return self.track.prepared(name);
        }
        let SessionEffect::Fetch { name } = effect else { return None };
        self.track.cursor(name)
    }

    /// Returns an error or a notice as it leaves.
    pub(super) fn diagnostic(&mut self, frame: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let at = self.shared.control.now();
        if self.masks(at).is_none() {
            return Ok(None);
        }
        let mut out = Vec::with_capacity(frame.len());
        mask::canonical(frame, &mut out).map_err(|error| Failure::UpstreamMalformed(error.to_string()))?;
        Ok(Some(out))
    }
}
