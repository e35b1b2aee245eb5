//! What stands between a result and its client: whom it is about, and for a client that may not see all of it the plan of
//! each text, the masks of each result, and the words of errors.
//!
//! Deliberately absent: the decisions themselves (`mask`). What cannot be masked yet is refused before it is sent:
//! function calls by number, and by a message of the protocol running what a command prepared or declared.

use std::sync::Arc;

use model::Micros;
use phi::{RowContext, Type};

use super::super::catalogues::Slot;
use super::super::codec::{self, HEADER, Malformed, Severity, WireError};
use super::super::mask::{
    self, Concern, Copied, Means, Noted, Parameters, Plan, Protection, Reach, Refusal, Rows, Unshowable,
    copy_style,
};
use super::super::sql::lineage::{Column, Kind, Outputs};
use super::super::sql::{Effect, Inspection, Known, Lineage, SessionEffect};
use super::super::track::Announced;
use super::Relay;
use crate::about::About;
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
    /// One for each statement of the text; `None` for somebody who sees everything.
    plans: Option<Box<[Plan]>>,
    /// How often it filters by columns that are not seen.
    filters: u64,
    /// The catalogue they were made by, and what it was then.
    slot: Arc<Slot>,
    epoch: Option<u64>,
    /// Whom each statement of the text is about.
    concerns: Concerns,
    /// The current year.
    year: u16,
}

/// Whom each statement of a text is about.
pub(super) type Concerns = Arc<[Concern]>;

/// An output that holds the identifier of a patient.
#[derive(Debug)]
struct Naming {
    at: usize,
    ty: Type,
    /// The last value, as it came: rows of one patient often stand together.
    last: Vec<u8>,
}

/// How the result at hand leaves.
#[derive(Debug)]
enum Shape {
    /// The resource has not announced it yet.
    Unknown,
    /// As it comes, and nothing is known of its columns.
    Blind,
    /// Cell by cell, or as it comes; and which cells name a patient.
    Known { rows: Option<Rows>, naming: Vec<Naming> },
    /// Copied data, cell by cell.
    Copied(Box<Copied>),
}

/// The results of one operation on a resource that protects something.
#[derive(Debug)]
pub(super) struct Results {
    by: Arc<Masking>,
    /// Which statement of the text the results at hand are of.
    statement: usize,
    shape: Shape,
    /// The format codes of the result.
    formats: Arc<[i16]>,
    /// Where the columns are announced; `None` where that comes with the result itself.
    announced: Option<Announced>,
    /// Rows of the statement at hand.
    rows: u64,
    /// Rows about patients who cannot be told, of all statements.
    unresolved: u64,
}

/// What is done with the rows at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// They pass.
    Pass,
    /// They are read for whom they name, and pass.
    Read,
    /// They are written anew.
    Rewrite,
}

impl Results {
    /// Begins with the first statement of a text.
    pub(super) fn new(by: Arc<Masking>, formats: Arc<[i16]>, announced: Option<Announced>) -> Results {
        Results { by, statement: 0, shape: Shape::Unknown, formats, announced, rows: 0, unresolved: 0 }
    }

    /// Makes sure that the resource read the statement at hand under the objects by which it was planned. Once it has
    /// announced the result, it did. `own` tells whether this session has a change of objects under way.
    fn steady(&self, own: bool) -> Result<(), Failure> {
        let Masking { plans, slot, epoch, .. } = &*self.by;
        let steady = plans.is_none() || (epoch.is_some() && slot.steady(own) == *epoch);
        if steady { Ok(()) } else { Err(unshowable(&Unshowable::Changed)) }
    }

    /// Takes the announcement of the result at hand up.
    pub(super) fn announce(&mut self, description: &[u8], own: bool) -> Result<(), Failure> {
        self.steady(own)?;
        let Masking { protected, protection, sight, plans, concerns, .. } = &*self.by;
        let rows = match plans {
            None => None,
            Some(plans) => {
                let plan = plans.get(self.statement).ok_or_else(|| unshowable(&Unshowable::Disagrees))?;
                let means =
                    Means { protection, keys: &protected.keys, detector: protected.detector.as_ref() };
                let rows = Rows::compile(plan, description, means, |class| sight.sees(class));
                rows.map_err(|error| unshowable(&error))?
            }
        };
        let outputs = concerns.get(self.statement).map_or(&[][..], |concern| &concern.outputs);
        let naming = protection.naming(description, outputs).map_err(malformed)?;
        let naming = naming.into_iter().map(|(at, ty)| Naming { at, ty, last: Vec::new() });
        self.shape = Shape::Known { rows, naming: naming.collect() };
        Ok(())
    }

    /// Takes the announcement of copied data up.
    pub(super) fn announce_copy(
        &mut self,
        lineage: Option<&Lineage>,
        response: &[u8],
        own: bool,
    ) -> Result<(), Failure> {
        self.steady(own)?;
        let Masking { protected, protection, plans, concerns, sight, .. } = &*self.by;
        let concern = concerns.get(self.statement);
        let naming = concern.map_or((&[][..], false), |concern| (&concern.outputs, concern.shifts));
        let plan = match plans {
            None => None,
            Some(plans) => Some(plans.get(self.statement).ok_or_else(|| unshowable(&Unshowable::Disagrees))?),
        };
        let means = Means { protection, keys: &protected.keys, detector: protected.detector.as_ref() };
        let sees = |class| sight.sees(class);
        let copied = match lineage.map(|lineage| (lineage, &lineage.kind)) {
            Some((lineage, Kind::CopyOut(options))) if plan.is_some() || copy_style(options).is_some() => {
                Copied::compile(lineage, options, plan, naming, response, means, sees)
                    .map_err(|error| unshowable(&error))?
            }
            // Somebody who sees everything: what is not known passes, and names nobody.
            Some(_) | None if plan.is_none() => None,
            Some(_) | None => return Err(unshowable(&Unshowable::Disagrees)),
        };
        self.shape = copied.map_or(Shape::Blind, |copied| Shape::Copied(Box::new(copied)));
        Ok(())
    }

    /// Takes a piece of copied data, whole, and appends what leaves of it.
    pub(super) fn copied(
        &mut self,
        piece: &[u8],
        about: &mut About,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let reach = self.reach();
        let Shape::Copied(copied) = &mut self.shape else {
            return Err(unshowable(&Unshowable::Disagrees));
        };
        let piece = piece.get(HEADER..).unwrap_or_default();
        let mut shown = Vec::with_capacity(piece.len());
        let fed = copied.feed(piece, self.by.year, &mut |patient| about.name(patient), &mut shown);
        let (rows, nobody) = fed.map_err(|error| unshowable(&error))?;
        self.rows += rows;
        self.unresolved += match reach {
            Reach::Nobody | Reach::Text => 0,
            Reach::Rows => nobody,
            Reach::Unknown => rows,
        };
        if !shown.is_empty() {
            codec::message(out, b'd', |out| out.extend_from_slice(&shown));
        }
        Ok(())
    }

    /// Checks that copied data may end here.
    pub(super) fn copy_ends(&self) -> Result<(), Failure> {
        match &self.shape {
            Shape::Copied(copied) => copied.finish().map_err(|error| unshowable(&error)),
            Shape::Unknown | Shape::Blind | Shape::Known { .. } => Ok(()),
        }
    }

    /// Makes sure that the columns of the rows at hand are known, and tells what is done with them.
    pub(super) fn treatment(&mut self, own: bool) -> Result<Treatment, Failure> {
        if matches!(self.shape, Shape::Unknown) {
            let announced = self.announced.clone();
            match announced.as_ref().and_then(|announced| announced.get()) {
                Some(description) => self.announce(description, own)?,
                None if self.by.plans.is_none() => self.shape = Shape::Blind,
                None => return Err(unshowable(&Unshowable::Disagrees)),
            }
        }
        Ok(match &self.shape {
            Shape::Unknown | Shape::Blind => Treatment::Pass,
            Shape::Known { rows: Some(_), .. } | Shape::Copied(_) => Treatment::Rewrite,
            Shape::Known { rows: None, naming } if naming.is_empty() => Treatment::Pass,
            Shape::Known { rows: None, .. } => Treatment::Read,
        })
    }

    /// Returns which statement of the text the results at hand are of.
    pub(super) fn statement(&self) -> usize {
        self.statement
    }

    fn reach(&self) -> Reach {
        self.by.concerns.get(self.statement).map_or(Reach::Unknown, |concern| concern.reach)
    }

    /// Counts rows that were not read.
    pub(super) fn passed(&mut self, count: u64) {
        self.rows += count;
        self.unresolved += match self.reach() {
            Reach::Nobody | Reach::Text => 0,
            Reach::Rows | Reach::Unknown => count,
        };
    }

    /// Names whom a row is about, and appends it to `out` as it leaves where it is written anew.
    pub(super) fn row(&mut self, row: &[u8], about: &mut About, out: &mut Vec<u8>) -> Result<(), Failure> {
        let reach = self.reach();
        let Shape::Known { rows, naming } = &mut self.shape else {
            return Err(unshowable(&Unshowable::Disagrees));
        };
        let patient = names(naming, &self.formats, row, about).map_err(malformed)?;
        self.rows += 1;
        self.unresolved += match (reach, &patient) {
            (Reach::Nobody | Reach::Text, _) | (Reach::Rows, Whose::One(_) | Whose::Several) => 0,
            (Reach::Rows, Whose::Nobody) | (Reach::Unknown, _) => 1,
        };
        let Some(rows) = rows else { return Ok(()) };
        let concern = self.by.concerns.get(self.statement).filter(|concern| concern.shifts);
        let patient = match (concern.map(|concern| concern.named.as_slice()), &patient) {
            (None, _) => None,
            (Some([only]), _) if reach == Reach::Text => Some(&**only),
            (Some(_), Whose::One(patient)) => Some(patient.as_slice()),
            (Some(_), Whose::Nobody | Whose::Several) => None,
        };
        let context = RowContext { patient, ..RowContext::new(self.by.year) };
        rows.rewrite(row, &self.formats, &context, out).map_err(|error| unshowable(&error))
    }

    /// Returns the columns of the statement at hand that are NULL whatever they are, counted from 1: none where no row came.
    pub(super) fn absent(&self) -> Vec<usize> {
        match &self.shape {
            Shape::Known { rows: Some(rows), .. } if self.rows > 0 => rows.absent().collect(),
            Shape::Unknown | Shape::Blind | Shape::Known { .. } | Shape::Copied(_) => Vec::new(),
        }
    }

    /// One statement of the text is done; its tag counts rows that did not come as messages.
    pub(super) fn next(&mut self, counted: u64) {
        // Pieces of binary data are not quite rows.
        self.passed(counted.saturating_sub(self.rows));
        self.rows = 0;
        self.statement += 1;
        self.shape = Shape::Unknown;
    }

    /// Tells whether something runs that is not followed.
    pub(super) fn runs(&self) -> bool {
        self.by.concerns.iter().any(|concern| concern.runs)
    }

    /// Tells whether the error of the statement at hand, in the resource's own words, may tell of anybody.
    pub(super) fn tells(&self) -> bool {
        match self.reach() {
            Reach::Nobody | Reach::Text => false,
            Reach::Rows | Reach::Unknown => true,
        }
    }

    /// Returns how many rows are about patients who cannot be told.
    pub(super) fn unresolved(&self) -> u64 {
        self.unresolved
    }
}

/// Whose a row is.
enum Whose {
    Nobody,
    One(Vec<u8>),
    Several,
}

/// Names whom the cells of a row are about.
fn names(naming: &mut [Naming], formats: &[i16], row: &[u8], about: &mut About) -> Result<Whose, Malformed> {
    let (count, mut values) = codec::data_row(row)?;
    let mut whose = Whose::Nobody;
    let mut read = 0;
    for Naming { at, ty, last } in naming {
        // In ascending order.
        let mut value = None;
        while read <= *at && read < count {
            value = values.value()?;
            read += 1;
        }
        let Some(value) = value else { continue };
        let format = codec::format_at(formats, *at)?;
        let mut form = Vec::new();
        if phi::pgtype::canonical(ty, format, value, &mut form).is_none() {
            continue;
        }
        if *last != form {
            about.name(&form);
            last.clone_from(&form);
        }
        whose = match whose {
            Whose::One(other) if other != form => Whose::Several,
            Whose::Nobody | Whose::One(_) => Whose::One(form),
            Whose::Several => Whose::Several,
        };
    }
    Ok(whose)
}

fn malformed(error: Malformed) -> Failure {
    Failure::UpstreamMalformed(error.to_string())
}

/// Returns the plan of what a prepared statement or a cursor returns.
fn inner(
    protection: &Protection,
    sight: Sight,
    known: Option<Arc<Lineage>>,
    what: &'static str,
) -> Result<(Plan, u64), Refusal> {
    let known = known.ok_or(Refusal::Kind(what))?;
    match protection.plan(&known, |class| sight.sees(class))? {
        plan @ (Plan::Columns(_) | Plan::Plain | Plan::Screened | Plan::Nothing) => {
            Ok((plan, protection.filters(&known, |class| sight.sees(class))))
        }
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

/// What the client of a refused statement is told. `name` is what a column is called: catalogues show it to anybody.
fn words(refusal: Refusal, name: impl Fn(Column) -> String) -> WireError {
    let (message, hint): (String, &str) = match refusal {
        Refusal::Kind(what) => (
            format!("{what} is not open to people who see protected values masked"),
            "Ask for `unmask` on this resource, or use SELECT, INSERT, UPDATE, DELETE or COPY.",
        ),
        Refusal::Changing => {
            let message = "the resource's objects are being changed at this moment";
            return WireError::new(Severity::Error, b"40001", message.to_owned()).hint("Try again.");
        }
        Refusal::Filters(per_hour) => {
            let message =
                format!("the limit of {per_hour} filters an hour by columns that are seen masked is reached");
            return WireError::new(Severity::Error, b"53400", message)
                .hint("Wait a few minutes, or ask for `unmask` on the column's class.");
        }
        Refusal::Opaque => (
            "the statement uses something that cannot be followed, and could show protected values"
                .to_owned(),
            "Name tables with their schema; leave out functions and operators of users, and what shows values of others (statistics, sequences).",
        ),
        Refusal::Use(column) => (
            format!("the statement filters, sorts, groups or joins by {}, which is protected", name(column)),
            "Return the column instead, or ask for `unmask` on its class.",
        ),
        Refusal::Computes(column) => (
            format!(
                "the statement computes with {}, which is protected, in a way that could tell its value",
                name(column)
            ),
            "Return the column by itself, which shows it masked, or ask for `unmask` on its class.",
        ),
        Refusal::Assigns(column) => (
            format!(
                "the statement gives {}, which is protected, a value, or copies it elsewhere",
                name(column)
            ),
            "Ask for `unmask` on the column's class.",
        ),
        Refusal::Bound(column) => (
            format!(
                "the statement changes rows that a constraint or an index holds against {}, which is protected",
                name(column)
            ),
            "Ask for `unmask` on the column's class.",
        ),
        Refusal::View(column) => (
            format!(
                "the statement reads a view that chooses its rows by {}, which is protected",
                name(column)
            ),
            "Read the tables beneath it, ask for `unmask`, or have the view named in `trusted_views`.",
        ),
        Refusal::Open => (
            "the statement returns a number of columns that cannot be told, protected ones among them"
                .to_owned(),
            "Name the columns.",
        ),
    };
    WireError::new(Severity::Error, b"42501", message).hint(hint)
}

/// Returns a notice that columns, counted from 1, are NULL whatever they are.
fn absent(columns: &[usize]) -> WireError {
    let numbers: Vec<String> = columns.iter().map(usize::to_string).collect();
    let words = match &*numbers {
        [one] => format!("column {one} of the result is NULL because it is computed from protected values"),
        several => format!(
            "columns {} of the result are NULL because they are computed from protected values",
            several.join(", ")
        ),
    };
    WireError::new(Severity::Notice, b"01000", words)
        .hint("Return a protected column by itself, which shows it masked, or ask for `unmask` on its class.")
}

impl<C: Control> Relay<C> {
    /// Says once that columns of the result at hand are NULL whatever they are: nobody is to take it for what is stored.
    pub(super) fn tell_absent(&mut self) -> Result<(), Failure> {
        let columns = self.results().map_or_else(Vec::new, |(results, _)| results.absent());
        let (left, last) = &mut self.absences;
        if columns.is_empty() || *left == 0 || *last == columns {
            return Ok(());
        }
        *left -= 1;
        let mut notice = Vec::new();
        absent(&columns).encode(&mut notice);
        *last = columns;
        self.aside(&notice)
    }

    /// Tells whether the resource has something that this person may not see.
    pub(super) fn masks(&mut self, at: Micros) -> Option<(Arc<Protected>, Sight)> {
        let protected = self.target.protected.clone()?;
        let sight = self.gate.sight(at);
        (!sight.everything).then_some((protected, sight))
    }

    /// Returns what the client of a refused statement is told.
    pub(super) fn refused(&self, refusal: Refusal) -> WireError {
        let current = self.catalogue.current();
        let protection = self.target.protected.as_ref().map(|protected| current.protection(protected));
        words(refusal, |column| {
            let name = protection.as_ref().and_then(|protection| protection.names.get(&column));
            name.map_or_else(|| "a column".to_owned(), |name| format!("`{name}`"))
        })
    }

    /// Finds out whom each statement of a text is about. `None` for something without a text: what `known` says.
    pub(super) fn concerns(
        &self,
        inspection: Option<&Inspection>,
        known: Option<&Known>,
        parameters: Parameters<'_>,
    ) -> Concerns {
        let Some(protected) = &self.target.protected else { return Arc::default() };
        let current = self.catalogue.current();
        let protection = current.protection(protected);
        let run = |known: Option<&Known>| {
            let lineage = known.and_then(|known| known.lineage.as_deref());
            let lineage = lineage.filter(|lineage| lineage.catalogue == current.catalogue.digest());
            // Its parameters were given elsewhere, or are expressions.
            let none = Parameters { wire: &[], types: &[] };
            lineage.map_or_else(Concern::unknown, |lineage| protection.concern(lineage, none))
        };
        let Some(inspection) = inspection else { return [run(known)].into() };
        if inspection.lineage.len() != inspection.statements {
            return vec![Concern::unknown(); inspection.statements].into();
        }
        // EXPLAIN of a change that does it.
        let changes = |lineage: &Lineage| lineage.kind == Kind::Explain && inspection.effect == Effect::Write;
        let concern = |lineage: &Lineage| match &lineage.outputs {
            Outputs::Columns(_) if changes(lineage) => {
                Concern { reach: Reach::Unknown, ..protection.concern(lineage, parameters) }
            }
            Outputs::Prepared(name) if inspection.names(name) => Concern::unknown(),
            Outputs::Cursor(name) if inspection.names(name) => Concern::unknown(),
            Outputs::Prepared(name) => run(self.track.prepared(name).as_deref()),
            Outputs::Cursor(name) => run(self.track.cursor(name).as_deref()),
            Outputs::None | Outputs::Columns(_) | Outputs::Open(_) => protection.concern(lineage, parameters),
        };
        inspection.lineage.iter().map(concern).collect()
    }

    /// Begins the account of whom an operation is about, with those that its text names.
    pub(super) fn about(&self, concerns: &Concerns) -> About {
        let Some(protected) = &self.target.protected else { return About::default() };
        let mut about = About::of(protected.issuer.clone());
        concerns.iter().flat_map(|concern| &concern.named).for_each(|identifier| about.name(identifier));
        about
    }

    /// Decides how the results of a text leave; `None` where the resource protects nothing.
    pub(super) fn masking(
        &mut self,
        inspection: Option<&Inspection>,
        concerns: &Concerns,
        at: Micros,
    ) -> Result<Option<Arc<Masking>>, Refusal> {
        let Some(protected) = self.target.protected.clone() else { return Ok(None) };
        let sight = self.gate.sight(at);
        let (slot, epoch) = (self.catalogue.clone(), self.catalogue.steady(self.change.is_some()));
        let current = self.catalogue.current();
        let protection = current.protection(&protected);
        let (plans, filters) = if sight.everything {
            (None, 0)
        } else {
            let (plans, filters) = self.plans(inspection, &protection, sight)?;
            (Some(plans), filters)
        };
        let outdated = inspection.is_some_and(|inspection| inspection.catalogue != current.version);
        if plans.is_some() && !self.redefined && (epoch.is_none() || outdated) {
            return Err(Refusal::Changing);
        }
        let (concerns, year) = (concerns.clone(), year(at));
        let masking = Masking { protected, protection, sight, plans, filters, slot, epoch, concerns, year };
        Ok(Some(Arc::new(masking)))
    }

    /// Decides how the results of a text leave that is about to run.
    pub(super) fn masking_of_run(
        &mut self,
        inspection: Option<&Inspection>,
        concerns: &Concerns,
        at: Micros,
    ) -> Result<Option<Arc<Masking>>, Refusal> {
        let masking = self.masking(inspection, concerns, at)?;
        if let Some(Masking { filters: filters @ 1.., protected, .. }) = masking.as_deref() {
            let session = self.gate.session();
            let whose = (session.principal.id, &session.resource);
            let per_hour = protected.filters_per_hour;
            if !self.shared.filters.spend(whose, *filters, per_hour, at) {
                return Err(Refusal::Filters(per_hour));
            }
        }
        Ok(masking)
    }

    /// Returns the plan of each statement, and how often they filter by columns that are not seen.
    fn plans(
        &self,
        inspection: Option<&Inspection>,
        protection: &Protection,
        sight: Sight,
    ) -> Result<(Box<[Plan]>, u64), Refusal> {
        let inspection = inspection.ok_or(Refusal::Kind("EXECUTE, or FETCH of a cursor,"))?;
        if inspection.lineage.len() != inspection.statements {
            return Err(Refusal::Opaque);
        }
        let digest = self.catalogue.current().catalogue.digest();
        let mut plans = Vec::with_capacity(inspection.statements);
        let mut filters: u64 = 0;
        for lineage in &inspection.lineage {
            let (plan, filtered) = match protection.plan(lineage, |class| sight.sees(class))? {
                Plan::Prepared(name) => {
                    let known = self.track.prepared(&name).filter(|_| !inspection.names(&name));
                    let known = known.and_then(|known| known.lineage.clone());
                    // The resource plans it anew when objects change, by what they are then.
                    let known = known.filter(|known| known.catalogue == digest);
                    inner(protection, sight, known, "EXECUTE of a statement that is not known")?
                }
                Plan::Cursor(name) => {
                    let known = self.track.cursor(&name).filter(|_| !inspection.names(&name));
                    let known = known.and_then(|known| known.lineage.clone());
                    // What chose its rows was counted when it was declared.
                    let (plan, _) = inner(protection, sight, known, "FETCH from a cursor that is not known")?;
                    (plan, 0)
                }
                plan @ (Plan::Columns(_) | Plan::Plain | Plan::Screened | Plan::Nothing) => {
                    (plan, protection.filters(lineage, |class| sight.sees(class)))
                }
            };
            filters = filters.saturating_add(filtered);
            if let Some(refusal) = mask::refused_copy(lineage, &plan) {
                return Err(refusal);
            }
            plans.push(plan);
        }
        Ok((plans.into(), filters))
    }

    /// Says for the record which protected columns a text returns, masked and as they are.
    pub(super) fn note(&self, about: &mut About, inspection: Option<&Inspection>, masking: Option<&Masking>) {
        let (Some(inspection), Some(masking)) = (inspection, masking) else { return };
        let run: Vec<Arc<Known>> =
            inspection.session.iter().filter_map(|effect| self.run_by(effect)).collect();
        let followed = run.iter().filter_map(|known| known.lineage.as_deref());
        let lineage = inspection.lineage.iter().chain(followed);
        let Noted { masked, unmasked, partly } =
            masking.protection.note(lineage, masking.sight.everything, |class| masking.sight.sees(class));
        (about.masked, about.unmasked, about.partly) = (masked, unmasked, partly);
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
