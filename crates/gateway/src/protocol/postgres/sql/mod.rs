//! What a SQL text needs, does and says, before it is sent: a pure function of the text and the catalogue.
//!
//! Parsed with PostgreSQL's own grammar (18). A text is a [`Effect::Read`] only when everything in it is *proven* to
//! change nothing: the kind of each statement, every function, operator and cast by name, every view by its
//! definition. What is not known is not proven, and counts as a write.
//!
//! Assumes what the caller sees to: the client's text is UTF-8, and the server reads it with
//! `standard_conforming_strings = on`.
//! Deliberately absent: policy, caching, the session's state ([`Inspection::resolve`] asks the caller for it), masking.

mod beneath;
mod builtin;
mod catalogue;
pub(crate) mod lineage;
mod normalise;
pub(crate) mod purpose;
mod shape;
mod statement;
mod walk;

#[cfg(test)]
pub(crate) mod tests;

use std::borrow::Cow;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use model::{Action, Need, Object};

pub(crate) use catalogue::{Bound, BoundKind, Catalogue, Rows};
pub(crate) use lineage::Lineage;
pub(crate) use shape::Shape;

use statement::{Outcome, Secret};
use walk::Walk;

/// What a text may do to the resource, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Effect {
    /// Touches nothing but the session: transaction control, settings, named statements.
    Control,
    /// Proven to change nothing.
    Read,
    /// Anything else.
    Write,
}

/// Which way copied data flows, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyDirection {
    /// `COPY … FROM STDIN`.
    In,
    /// `COPY … TO STDOUT`.
    Out,
}

/// All there is to know of one exact text under one catalogue.
#[derive(Debug)]
pub(crate) struct Inspection {
    /// All but the literals.
    pub(crate) meaning: Arc<Meaning>,
    /// The literals in order, as `normalise` encodes them.
    pub(crate) literals: Box<[u8]>,
}

impl Deref for Inspection {
    type Target = Meaning;

    fn deref(&self) -> &Meaning {
        &self.meaning
    }
}

/// What a text needs, does and says.
#[derive(Debug)]
pub(crate) struct Meaning {
    /// What policy is asked, sorted, each once.
    pub(crate) needs: Box<[Need]>,
    /// What the text may do; running what the session prepared or declared counts as a write.
    pub(crate) effect: Effect,
    /// The same without what runs a prepared statement or reads a cursor; see [`Inspection::resolve`].
    pub(crate) effect_apart: Effect,
    /// The strongest of the needs, for the record; `Connect` where there is none.
    pub(crate) action: Action,
    /// `SELECT`, `COPY FROM`, `BEGIN; UPDATE`; empty for a text without a statement.
    pub(crate) command: Box<str>,
    /// The text with `$n` for every literal and without comments, cut at the limit.
    pub(crate) statement: Box<str>,
    /// Literals were withheld because one may be a password.
    pub(crate) secret: bool,
    /// Literals were looked at, or would be, for passwords.
    pub(crate) suspect: bool,
    /// The relations and functions it names, and those beneath its views, in display form.
    pub(crate) objects: Box<[Box<str>]>,
    /// What it does to the session, in the order of its statements.
    pub(crate) session: Box<[SessionEffect]>,
    /// How many statements there are.
    pub(crate) statements: usize,
    /// A statement may return rows.
    pub(crate) returns_rows: bool,
    /// The direction of a `COPY` over the connection; where there are several, the first's.
    pub(crate) copy: Option<CopyDirection>,
    /// A foreign table is read, which reaches another server.
    pub(crate) reaches_foreign: bool,
    /// It may make or change objects: nothing is proven after it until the catalogue was read again.
    pub(crate) changes_catalogue: bool,
    /// The number of the catalogue it was inspected with, as the limits gave it.
    pub(crate) catalogue: u64,
    /// Where the values come from that each statement returns; empty unless the limits ask for it.
    pub(crate) lineage: Box<[Lineage]>,
}

/// What a statement does to its session.
#[derive(Clone, Debug)]
pub(crate) enum SessionEffect {
    /// `BEGIN`.
    Begin,
    /// `COMMIT`, `END`.
    Commit {
        /// A new transaction begins at once.
        chain: bool,
    },
    /// `ROLLBACK`, `ABORT`.
    Rollback {
        /// A new transaction begins at once.
        chain: bool,
    },
    /// `SAVEPOINT name`.
    Savepoint(Box<str>),
    /// `RELEASE name`.
    Release(Box<str>),
    /// `ROLLBACK TO name`.
    RollbackTo(Box<str>),
    /// `PREPARE TRANSACTION`: the transaction leaves the session.
    PrepareTransaction,
    /// `PREPARE name AS …`.
    Prepare {
        /// The statement's name.
        name: Box<str>,
        /// What running it means.
        statement: Arc<Known>,
    },
    /// `EXECUTE name`, also within `EXPLAIN` and `CREATE TABLE AS`.
    Execute {
        /// The statement's name.
        name: Box<str>,
    },
    /// `DEALLOCATE name`, or `ALL`.
    Deallocate(Option<Box<str>>),
    /// `DECLARE name CURSOR FOR …`.
    Declare {
        /// The cursor's name.
        name: Box<str>,
        /// What fetching from it means.
        query: Arc<Known>,
        /// It outlives its transaction.
        hold: bool,
    },
    /// `FETCH` or `MOVE`.
    Fetch {
        /// The cursor's name.
        name: Box<str>,
    },
    /// `CLOSE name`, or `ALL`.
    Close(Option<Box<str>>),
    /// `DISCARD ALL`: named statements, cursors, channels, settings, temporary tables.
    DiscardAll,
    /// `DISCARD PLANS`, `SEQUENCES` or `TEMP`.
    DiscardOther,
    /// `LISTEN channel`.
    Listen(Box<str>),
    /// `UNLISTEN channel`, or `*`.
    Unlisten(Option<Box<str>>),
    /// `SET ROLE`, `SET SESSION AUTHORIZATION`, or `RESET` of either.
    SetRole,
    /// `SET name`, or `set_config` with constants.
    Set {
        /// The setting.
        name: Box<str>,
        /// Its first value, where that is a string and the setting one of PostgreSQL itself.
        value: Option<Box<str>>,
        /// Until the end of the transaction only.
        local: bool,
    },
    /// `RESET name`, or `ALL`.
    Reset(Option<Box<str>>),
    /// `SET wardline.purpose`, and what else is asked of Wardline's own settings.
    Purpose(purpose::Stated),
}

/// What running a prepared statement, or fetching from a cursor, needs and does.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// What policy is asked.
    pub(crate) needs: Box<[Need]>,
    /// What it may do.
    pub(crate) effect: Effect,
    /// Its command.
    pub(crate) command: &'static str,
    /// The relations and functions it names.
    pub(crate) objects: Box<[Box<str>]>,
    /// It may make or change objects.
    pub(crate) changes_catalogue: bool,
    /// Where the values come from that it returns, if the limits asked for it.
    pub(crate) lineage: Option<Arc<Lineage>>,
}

/// An inspection together with what the session prepared and declared before.
#[derive(Debug)]
pub(crate) struct Resolved<'a> {
    /// What policy is asked.
    pub(crate) needs: Cow<'a, [Need]>,
    /// What the text may do.
    pub(crate) effect: Effect,
    /// It may make or change objects.
    pub(crate) changes_catalogue: bool,
}

impl Meaning {
    /// Tells whether every text of the same [`Shape`] means the same: a single statement on rows, nothing of which asks
    /// for the value of a literal. Others may: `EXPLAIN (ANALYZE 0)`, `SET role = 'x'`, `set_config('role', 'x', true)`.
    pub(crate) fn holds_for_any_literals(&self) -> bool {
        self.statements == 1
            && matches!(&*self.command, "SELECT" | "INSERT" | "UPDATE" | "DELETE")
            && self.needs.iter().all(|need| matches!(need.action, Action::Read | Action::Write))
            && self.session.is_empty()
            && !self.suspect
            && !self.changes_catalogue
            && self.lineage.is_empty()
    }
}

impl Inspection {
    /// Returns about how many bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        /// A need or an object, with what belongs to it.
        const NAME_BYTES: usize = 128;
        let names = self.needs.len() + self.objects.len() + self.session.len();
        let followed = self.lineage.iter().map(Lineage::weight).sum::<usize>();
        size_of::<Inspection>()
            + size_of::<Meaning>()
            + self.statement.len()
            + self.literals.len()
            + names * NAME_BYTES
            + followed
    }

    /// Tells whether the text itself makes or forgets a statement or cursor of that name.
    pub(crate) fn names(&self, wanted: &str) -> bool {
        self.session.iter().any(|effect| match effect {
            SessionEffect::Prepare { name, .. }
            | SessionEffect::Declare { name, .. }
            | SessionEffect::Deallocate(Some(name))
            | SessionEffect::Close(Some(name)) => **name == *wanted,
            SessionEffect::Deallocate(None) | SessionEffect::Close(None) | SessionEffect::DiscardAll => true,
            SessionEffect::Begin
            | SessionEffect::Commit { .. }
            | SessionEffect::Rollback { .. }
            | SessionEffect::Savepoint(_)
            | SessionEffect::Release(_)
            | SessionEffect::RollbackTo(_)
            | SessionEffect::PrepareTransaction
            | SessionEffect::Execute { .. }
            | SessionEffect::Fetch { .. }
            | SessionEffect::DiscardOther
            | SessionEffect::Listen(_)
            | SessionEffect::Unlisten(_)
            | SessionEffect::SetRole
            | SessionEffect::Set { .. }
            | SessionEffect::Reset(_)
            | SessionEffect::Purpose(_) => false,
        })
    }

    /// Resolves the names of statements and cursors: `prepared` and `cursor` look up what the session had *before*
    /// this text; what the text itself prepares or declares is known here. A name that nobody knows may come from
    /// code that ran at the resource, so it needs `Execute` on `?.name` and counts as a write.
    pub(crate) fn resolve(
        &self,
        prepared: impl Fn(&str) -> Option<Arc<Known>>,
        cursor: impl Fn(&str) -> Option<Arc<Known>>,
    ) -> Resolved<'_> {
        let mut resolved = Resolved {
            needs: Cow::Borrowed(&self.needs),
            effect: self.effect_apart,
            changes_catalogue: self.changes_catalogue,
        };
        for (index, effect) in self.session.iter().enumerate() {
            let earlier = self.session.get(..index).unwrap_or_default();
            match effect {
                SessionEffect::Execute { name } => {
                    resolved.add(name, prepared_in(earlier, name).or_else(|| prepared(name)));
                }
                SessionEffect::Fetch { name } => {
                    resolved.add(name, declared_in(earlier, name).or_else(|| cursor(name)));
                }
                _ => {}
            }
        }
        resolved
    }
}

impl Resolved<'_> {
    /// Returns the strongest of the needs, for the record; `Connect` where there is none.
    pub(crate) fn action(&self) -> Action {
        strongest(&self.needs)
    }

    fn add(&mut self, name: &str, known: Option<Arc<Known>>) {
        let needs = self.needs.to_mut();
        match known {
            Some(known) => {
                needs.extend(known.needs.iter().cloned());
                self.effect = self.effect.max(known.effect);
                self.changes_catalogue |= known.changes_catalogue;
            }
            None => {
                needs.push(statement::need_of_unknown(name));
                self.effect = Effect::Write;
                self.changes_catalogue = true;
            }
        }
        needs.sort_unstable();
        needs.dedup();
    }
}

fn prepared_in(effects: &[SessionEffect], wanted: &str) -> Option<Arc<Known>> {
    effects.iter().rev().find_map(|effect| match effect {
        SessionEffect::Prepare { name, statement } if **name == *wanted => Some(Arc::clone(statement)),
        _ => None,
    })
}

fn declared_in(effects: &[SessionEffect], wanted: &str) -> Option<Arc<Known>> {
    effects.iter().rev().find_map(|effect| match effect {
        SessionEffect::Declare { name, query, .. } if **name == *wanted => Some(Arc::clone(query)),
        _ => None,
    })
}

/// How much is inspected. Beyond a limit a text is refused.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The longest text. Parsing takes about 30 times its length in memory, for a moment.
    pub(crate) text_bytes_max: usize,
    /// The most statements in one text.
    pub(crate) statements_max: usize,
    /// How deep expressions and queries may nest. One level costs under 4 KiB of stack in a debug build.
    pub(crate) depth_max: usize,
    /// The longest normalised statement that is kept.
    pub(crate) statement_bytes_max: usize,
    /// Where values come from is followed too, which only a resource with protected columns needs.
    pub(crate) lineage: bool,
    /// The catalogue's number, to be kept with what is found.
    pub(crate) catalogue: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            text_bytes_max: 1 << 20,
            statements_max: 1000,
            depth_max: 200,
            statement_bytes_max: 8 << 10,
            lineage: false,
            catalogue: 0,
        }
    }
}

/// Why a text could not be inspected; for the record, since it says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// PostgreSQL's grammar does not accept it.
    Syntax,
    /// Longer than `text_bytes_max`.
    TooLong,
    /// More statements than `statements_max`.
    TooManyStatements,
    /// Nested deeper than `depth_max`.
    TooDeep,
    /// A zero byte.
    Nul,
    /// The parser failed in a way it should not.
    Parser,
}

/// A text that could not be inspected, and is not to be sent. Of it, the record may keep `reason` and the length
/// only: the rest may quote a password or a patient's datum.
#[derive(Debug, thiserror::Error)]
#[error("{reason:?}")]
pub(crate) struct Unreadable {
    /// For the client only: PostgreSQL's own message where it is a syntax error. May quote the text.
    pub(crate) message: String,
    /// Where, counted in characters from 1, if that is known.
    pub(crate) position: Option<usize>,
    /// The error's code.
    pub(crate) sqlstate: &'static str,
    /// For the record.
    pub(crate) reason: Reason,
}

impl Unreadable {
    fn new(reason: Reason) -> Unreadable {
        let (sqlstate, message) = match reason {
            Reason::Syntax => ("42601", "syntax error"),
            Reason::TooLong => ("54000", "statement is too long to be inspected"),
            Reason::TooManyStatements => ("54000", "too many statements in one query string"),
            Reason::TooDeep => ("54001", "statement is nested too deeply to be inspected"),
            Reason::Nul => ("22021", "invalid byte sequence for encoding \"UTF8\": 0x00"),
            Reason::Parser => ("XX000", "statement cannot be inspected"),
        };
        Unreadable { message: message.to_owned(), position: None, sqlstate, reason }
    }
}

/// Inspects a text of any number of statements.
///
/// # Errors
///
/// When the text is not SQL, or beyond a limit.
pub(crate) fn inspect(text: &str, catalogue: &Catalogue, limits: &Limits) -> Result<Inspection, Unreadable> {
    if text.len() > limits.text_bytes_max {
        return Err(Unreadable::new(Reason::TooLong));
    }
    if text.as_bytes().contains(&0) {
        return Err(Unreadable::new(Reason::Nul));
    }
    // The parser's bindings panic where they meet what they do not expect; that must end the statement, not the session.
    catch_unwind(AssertUnwindSafe(|| read(text, catalogue, limits)))
        .unwrap_or_else(|_| Err(Unreadable::new(Reason::Parser)))
}

fn read(text: &str, catalogue: &Catalogue, limits: &Limits) -> Result<Inspection, Unreadable> {
    let tree = pg_raw_parse::parse(text).map_err(|error| syntax_error(text, &error))?;
    if tree.len() > limits.statements_max {
        return Err(Unreadable::new(Reason::TooManyStatements));
    }
    let mut walk = Walk::new(catalogue, limits.depth_max);
    let mut whole = Whole::default();
    let mut lineage = Vec::new();
    for raw in tree.iter() {
        walk.follows = limits.lineage.then(|| part_bytes(text, raw.stmt_len));
        if limits.lineage {
            let bytes = part_bytes(text, raw.stmt_len);
            lineage.push(lineage::of(catalogue, limits.depth_max, bytes, raw.stmt()));
        }
        let outcome = statement::statement(&mut walk, &mut whole.session, raw.stmt());
        whole.changes_catalogue |= walk.defines;
        whole.add(&outcome, part(text, raw.stmt_location, raw.stmt_len, &outcome));
    }
    if walk.too_deep {
        return Err(Unreadable::new(Reason::TooDeep));
    }
    walk.needs.sort_unstable();
    // Where nothing is protected the columns are not known, nor whose names they may be taken for.
    let is_name = |name: &str| !limits.lineage || catalogue.has_name(name);
    let normalised = normalise::normalise(text, &whole.parts, limits.statement_bytes_max, is_name);
    let meaning = Meaning {
        effect: whole.effect,
        effect_apart: whole.effect_apart,
        action: strongest(&walk.needs),
        command: whole.command.into(),
        statement: normalised.statement,
        secret: normalised.withheld,
        suspect: !whole.parts.is_empty(),
        objects: objects(catalogue, &walk.needs, &walk.reached),
        session: whole.session.into(),
        statements: tree.len(),
        returns_rows: whole.returns_rows,
        copy: whole.copy,
        reaches_foreign: walk.foreign,
        changes_catalogue: whole.changes_catalogue || walk.needs.iter().any(|n| n.action == Action::Execute),
        needs: walk.needs.into(),
        catalogue: limits.catalogue,
        lineage: lineage.into(),
    };
    Ok(Inspection { meaning: Arc::new(meaning), literals: normalised.literals })
}

/// What the statements of a text come to together.
struct Whole {
    effect: Effect,
    effect_apart: Effect,
    command: String,
    commands: usize,
    returns_rows: bool,
    copy: Option<CopyDirection>,
    changes_catalogue: bool,
    session: Vec<SessionEffect>,
    parts: Vec<normalise::Part>,
}

impl Default for Whole {
    fn default() -> Whole {
        Whole {
            effect: Effect::Control,
            effect_apart: Effect::Control,
            command: String::new(),
            commands: 0,
            returns_rows: false,
            copy: None,
            changes_catalogue: false,
            session: Vec::new(),
            parts: Vec::new(),
        }
    }
}

impl Whole {
    fn add(&mut self, outcome: &Outcome, part: normalise::Part) {
        /// The command of a long script is cut after so many.
        const COMMANDS_MAX: usize = 8;
        self.effect = self.effect.max(outcome.effect);
        self.effect_apart = self.effect_apart.max(outcome.effect_apart);
        self.returns_rows |= outcome.returns_rows;
        self.copy = self.copy.or(outcome.copy);
        self.commands += 1;
        match self.commands {
            1 => self.command.push_str(outcome.command),
            2..=COMMANDS_MAX => {
                self.command.push_str("; ");
                self.command.push_str(outcome.command);
            }
            _ if !self.command.ends_with('…') => self.command.push_str("; …"),
            _ => {}
        }
        if part.secret != Secret::No {
            self.parts.push(part);
        }
    }
}

/// Returns how long a statement is; a length of 0 means up to the end.
fn part_bytes(text: &str, length: i32) -> usize {
    usize::try_from(length).ok().filter(|length| *length > 0).unwrap_or(text.len())
}

/// Returns where in the text a statement is; a length of 0 means up to the end.
fn part(text: &str, location: i32, length: i32, outcome: &Outcome) -> normalise::Part {
    let start = usize::try_from(location).unwrap_or(0);
    let length = usize::try_from(length).unwrap_or(0);
    let end = if length == 0 { text.len() } else { start.saturating_add(length) };
    normalise::Part { range: start..end, secret: outcome.secret, sets: outcome.sets }
}

fn strongest(needs: &[Need]) -> Action {
    needs.iter().map(|need| need.action).max().unwrap_or(Action::Connect)
}

/// Returns the display forms of what was named, each once.
fn objects(catalogue: &Catalogue, needs: &[Need], reached: &[Box<str>]) -> Box<[Box<str>]> {
    let beneath = catalogue.beneath_views(needs);
    let mut all: Vec<Box<str>> = needs
        .iter()
        .chain(&beneath)
        .filter(|need| need.object != Object::Resource)
        .map(|need| need.object.to_string().into())
        .chain(reached.iter().cloned())
        .collect();
    all.sort_unstable();
    all.dedup();
    all.into()
}

fn syntax_error(text: &str, error: &pg_raw_parse::Error) -> Unreadable {
    let message = match error {
        pg_raw_parse::Error::Parse(error) => error.to_string(),
        pg_raw_parse::Error::StatementContainedNul(_) => return Unreadable::new(Reason::Nul),
        pg_raw_parse::Error::PgError(_) => return Unreadable::new(Reason::Parser),
    };
    if message.starts_with("memory exhausted") {
        return Unreadable::new(Reason::TooDeep);
    }
    let position = error_position(text, &message);
    Unreadable { message, position, ..Unreadable::new(Reason::Syntax) }
}

/// Finds where a syntax error is, which the parser's bindings do not tell: at the first place where the text up to and
/// including the quoted token fails in the same way.
fn error_position(text: &str, message: &str) -> Option<usize> {
    /// Looking costs a parse per place.
    const PLACES_MAX: usize = 16;
    const TEXT_BYTES_MAX: usize = 16 << 10;
    if message.ends_with(" at end of input") {
        return Some(text.chars().count() + 1);
    }
    let token = message.split_once(" at or near \"")?.1.strip_suffix('"')?;
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    text.match_indices(token).take(PLACES_MAX).find_map(|(start, token)| {
        let upto = text.get(..start + token.len())?;
        let fails_here = pg_raw_parse::parse(upto).err()?.to_string().ends_with(message);
        fails_here.then(|| text.get(..start).map_or(1, |before| before.chars().count() + 1))
    })
}
