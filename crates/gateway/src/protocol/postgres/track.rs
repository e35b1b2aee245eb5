//! What a session has at the resource (statements, portals, cursors) and which answers are still to come.
//!
//! Kept by the rules of the protocol's "Message Flow": answers come in the order of the questions, and after an
//! error within an extended query everything up to `Sync` is skipped. What is skipped is undone here, so that a name
//! never stands for a text that the resource does not have under it.
//! Deliberately absent: I/O, and what policy says.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use trail::Pending;

use super::codec::WireError;
use super::mask::Concern;
use super::sql::{Inspection, Known};
use crate::limits::STATEMENTS_BYTES_MAX;

type Names<T> = HashMap<Box<[u8]>, T, foldhash::fast::RandomState>;

/// A prepared statement. `inspection` is absent for one made by the command PREPARE.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) inspection: Option<Arc<Inspection>>,
    pub(crate) known: Arc<Known>,
    /// Where the columns of its rows are announced, if that is asked for.
    pub(crate) announced: Option<Announced>,
    /// The types that `Parse` gave to parameters, 0 for those that the resource finds out; kept where patients are known by
    /// parameters.
    pub(crate) types: Arc<[u32]>,
}

impl Statement {
    /// Returns one that was made by a command.
    pub(crate) fn named(known: Arc<Known>) -> Statement {
        Statement { inspection: None, known, announced: None, types: Arc::default() }
    }
}

/// The announcement of a prepared statement's columns, once the resource has sent it: a `RowDescription` or `NoData`.
pub(crate) type Announced = Arc<OnceLock<Box<[u8]>>>;

/// A portal made by `Bind`.
#[derive(Debug, Clone)]
pub(crate) struct Portal {
    pub(crate) statement: Statement,
    pub(crate) operation: u64,
    /// The resource has it: its `BindComplete` came.
    pub(crate) live: bool,
    /// The format codes of its rows, kept where they may be masked.
    pub(crate) formats: Arc<[i16]>,
    /// Whom its statements are about, by their text and these parameters.
    pub(crate) concerns: Arc<[Concern]>,
    /// What its text runs by name, as the names stood when it was bound.
    pub(crate) runs: Box<[Arc<Known>]>,
    /// A text may have closed it, or put a cursor in its place.
    pub(crate) replaced: bool,
}

/// An answer that is still to come.
#[derive(Debug)]
pub(crate) enum Expect {
    /// Everything up to `ReadyForQuery`.
    Query { operation: u64 },
    /// As `Query`; the text was refused and replaced by one that fails.
    RefusedQuery { error: WireError, pending: Option<Pending> },
    /// `ParseComplete`.
    Parse { name: Box<[u8]>, previous: Option<Statement> },
    /// `BindComplete`.
    Bind { name: Box<[u8]>, previous: Option<Portal>, operation: u64 },
    /// `RowDescription` or `NoData`, perhaps after `ParameterDescription`.
    Describe,
    /// As `Describe`, asked by us and kept.
    Announce { announced: Announced },
    /// Rows and their end.
    Execute { operation: u64 },
    /// `CloseComplete`.
    Close { undo: Closed },
    /// An `ErrorResponse`, in whose place ours goes out.
    Refused { error: WireError, pending: Option<Pending> },
    /// `ReadyForQuery`.
    Sync,
    /// `FunctionCallResponse` and `ReadyForQuery`.
    Call { operation: u64 },
}

impl Expect {
    /// Returns the operation that rows, copied data and completed commands belong to.
    pub(crate) fn results_of(&self) -> Option<u64> {
        match self {
            Expect::Query { operation } | Expect::Execute { operation } => Some(*operation),
            Expect::RefusedQuery { .. }
            | Expect::Parse { .. }
            | Expect::Bind { .. }
            | Expect::Describe
            | Expect::Announce { .. }
            | Expect::Close { .. }
            | Expect::Refused { .. }
            | Expect::Sync
            | Expect::Call { .. } => None,
        }
    }

    /// Returns the operation that answers of any kind belong to.
    pub(crate) fn operation(&self) -> Option<u64> {
        match self {
            Expect::Query { operation }
            | Expect::Execute { operation }
            | Expect::Call { operation }
            | Expect::Bind { operation, .. } => Some(*operation),
            Expect::RefusedQuery { .. }
            | Expect::Parse { .. }
            | Expect::Describe
            | Expect::Announce { .. }
            | Expect::Close { .. }
            | Expect::Refused { .. }
            | Expect::Sync => None,
        }
    }

    /// Returns the statement's name that the question is about, and what it stood for before.
    fn statement(&mut self) -> Option<(&[u8], &mut Option<Statement>)> {
        match self {
            Expect::Parse { name, previous } | Expect::Close { undo: Closed::Statement(name, previous) } => {
                Some((name, previous))
            }
            Expect::Close { undo: Closed::Portal(..) }
            | Expect::Query { .. }
            | Expect::RefusedQuery { .. }
            | Expect::Bind { .. }
            | Expect::Describe
            | Expect::Announce { .. }
            | Expect::Execute { .. }
            | Expect::Refused { .. }
            | Expect::Sync
            | Expect::Call { .. } => None,
        }
    }

    /// Returns the portal's name that the question is about, and what it stood for before.
    fn portal(&mut self) -> Option<(&[u8], &mut Option<Portal>)> {
        match self {
            Expect::Bind { name, previous, .. } | Expect::Close { undo: Closed::Portal(name, previous) } => {
                Some((name, previous))
            }
            Expect::Close { undo: Closed::Statement(..) }
            | Expect::Query { .. }
            | Expect::RefusedQuery { .. }
            | Expect::Parse { .. }
            | Expect::Describe
            | Expect::Announce { .. }
            | Expect::Execute { .. }
            | Expect::Refused { .. }
            | Expect::Sync
            | Expect::Call { .. } => None,
        }
    }
}

/// Tells whether the resource has under this name what we have: PostgreSQL cuts names after 63 bytes, and reads others
/// than ASCII in the encoding of the moment.
pub(crate) fn is_plain(name: &[u8]) -> bool {
    name.len() <= NAME_BYTES_MAX && name.is_ascii()
}

/// PostgreSQL's own limit (`NAMEDATALEN` less its end).
const NAME_BYTES_MAX: usize = 63;

/// What a `Close` removed.
#[derive(Debug)]
pub(crate) enum Closed {
    Statement(Box<[u8]>, Option<Statement>),
    Portal(Box<[u8]>, Option<Portal>),
}

/// The names and the awaited answers of one session.
#[derive(Debug, Default)]
pub(crate) struct Track {
    pub(crate) statements: Names<Statement>,
    pub(crate) portals: Names<Portal>,
    /// Cursors made by the command DECLARE.
    pub(crate) cursors: HashMap<Box<str>, Arc<Known>, foldhash::fast::RandomState>,
    pub(crate) expected: VecDeque<Expect>,
    /// How often texts changed names; what a text made is taken up only if no later one did.
    pub(crate) renamed: u64,
    /// At least what all inspections held here weigh; counted anew when it reaches the limit.
    weight: usize,
}

impl Track {
    /// Tells whether one more statement may be held.
    pub(crate) fn has_room(&mut self, inspection: &Inspection) -> bool {
        let weight = inspection.weight();
        if self.weight + weight > STATEMENTS_BYTES_MAX {
            self.weight = self.weigh();
        }
        let room = self.weight + weight <= STATEMENTS_BYTES_MAX;
        self.weight += if room { weight } else { 0 };
        room
    }

    fn weigh(&self) -> usize {
        let replaced = self.expected.iter().filter_map(|expect| match expect {
            Expect::Parse { previous, .. } | Expect::Close { undo: Closed::Statement(_, previous) } => {
                previous.as_ref()
            }
            Expect::Bind { previous, .. } | Expect::Close { undo: Closed::Portal(_, previous) } => {
                previous.as_ref().map(|portal| &portal.statement)
            }
            Expect::Query { .. }
            | Expect::RefusedQuery { .. }
            | Expect::Describe
            | Expect::Announce { .. }
            | Expect::Execute { .. }
            | Expect::Refused { .. }
            | Expect::Sync
            | Expect::Call { .. } => None,
        });
        let held = self.statements.values().chain(self.portals.values().map(|portal| &portal.statement));
        // What several hold is counted for each of them: rather too much.
        held.chain(replaced).filter_map(|s| s.inspection.as_ref()).map(|inspection| inspection.weight()).sum()
    }

    /// Returns what running the statement of that name means.
    pub(crate) fn prepared(&self, name: &str) -> Option<Arc<Known>> {
        let statement = self.statements.get(name.as_bytes()).filter(|_| is_plain(name.as_bytes()));
        statement.map(|statement| statement.known.clone())
    }

    /// Returns what fetching from the cursor or portal of that name means.
    pub(crate) fn cursor(&self, name: &str) -> Option<Arc<Known>> {
        if !is_plain(name.as_bytes()) {
            return None;
        }
        let portal = self.portals.get(name.as_bytes()).filter(|portal| !portal.replaced);
        match (self.cursors.get(name), portal) {
            (Some(declared), None) => Some(declared.clone()),
            (None, Some(portal)) => Some(portal.statement.known.clone()),
            // Which of the two the resource has is not known.
            (Some(_), Some(_)) | (None, None) => None,
        }
    }

    /// Tells whether only the resource's answers will show what a statement's name stands for: the last question about
    /// it is not answered, and is skipped if something before it fails. Without a `Sync` in between, whatever uses the
    /// name is skipped as well; behind a `Sync` it is not, and the resource answers that far by itself.
    pub(crate) fn is_uncertain(&self, statement: &[u8]) -> bool {
        let mut synced = false;
        for expect in self.expected.iter().rev() {
            match expect {
                Expect::Sync => synced = true,
                Expect::Parse { name, .. } | Expect::Close { undo: Closed::Statement(name, _) }
                    if **name == *statement =>
                {
                    return synced;
                }
                Expect::Parse { .. }
                | Expect::Close { .. }
                | Expect::Query { .. }
                | Expect::RefusedQuery { .. }
                | Expect::Bind { .. }
                | Expect::Describe
                | Expect::Announce { .. }
                | Expect::Execute { .. }
                | Expect::Refused { .. }
                | Expect::Call { .. } => {}
            }
        }
        false
    }

    /// Takes the failed question and all after it up to `Sync` out, newest first, undoing what they did to names.
    /// Returns the operations that did not happen, oldest first; the first is the one that failed.
    pub(crate) fn skip_to_sync(&mut self) -> Vec<u64> {
        let until =
            self.expected.iter().position(|e| matches!(e, Expect::Sync)).unwrap_or(self.expected.len());
        let skipped: Vec<Expect> = self.expected.drain(..until).collect();
        let mut operations = Vec::new();
        for expect in skipped.into_iter().rev() {
            match expect {
                Expect::Parse { name, previous }
                | Expect::Close { undo: Closed::Statement(name, previous) } => {
                    self.undo_statement(name, previous);
                }
                Expect::Bind { name, previous, operation } => {
                    operations.push(operation);
                    self.undo_portal(name, previous);
                }
                Expect::Close { undo: Closed::Portal(name, previous) } => self.undo_portal(name, previous),
                Expect::Execute { operation } | Expect::Query { operation } | Expect::Call { operation } => {
                    operations.push(operation);
                }
                Expect::Describe
                | Expect::Announce { .. }
                | Expect::Refused { .. }
                | Expect::RefusedQuery { .. }
                | Expect::Sync => {}
            }
        }
        operations.reverse();
        operations.dedup();
        operations
    }

    /// Takes back what a question did to a name. Where a later question, behind the next `Sync`, took the name again,
    /// that one counts, and what is taken back is only what it replaced.
    fn undo_statement(&mut self, name: Box<[u8]>, previous: Option<Statement>) {
        match self.expected.iter_mut().filter_map(Expect::statement).find(|(taken, _)| *taken == &*name) {
            Some((_, replaced)) => *replaced = previous,
            None => restore(&mut self.statements, name, previous),
        }
    }

    /// As [`Track::undo_statement`].
    fn undo_portal(&mut self, name: Box<[u8]>, previous: Option<Portal>) {
        match self.expected.iter_mut().filter_map(Expect::portal).find(|(taken, _)| *taken == &*name) {
            Some((_, replaced)) => *replaced = previous,
            None => restore(&mut self.portals, name, previous),
        }
    }

    /// Forgets a statement, or all of them, that a text changes: nothing taken back later brings it back.
    pub(crate) fn forget_statement(&mut self, changed: Option<&str>) {
        self.renamed += 1;
        match changed {
            Some(name) => drop(self.statements.remove(name.as_bytes())),
            None => self.statements.clear(),
        }
        for (name, previous) in self.expected.iter_mut().filter_map(Expect::statement) {
            if changed.is_none_or(|changed| name == changed.as_bytes()) {
                *previous = None;
            }
        }
    }

    /// Forgets a cursor, or all of them, that a text changes; portals are the same to it.
    pub(crate) fn forget_cursor(&mut self, changed: Option<&str>) {
        self.renamed += 1;
        match changed {
            Some(name) => drop(self.cursors.remove(name)),
            None => self.cursors.clear(),
        }
        for (name, portal) in &mut self.portals {
            portal.replaced |= changed.is_none_or(|changed| **name == *changed.as_bytes());
        }
        for (name, previous) in self.expected.iter_mut().filter_map(Expect::portal) {
            if let Some(previous) = previous
                && changed.is_none_or(|changed| name == changed.as_bytes())
            {
                previous.replaced = true;
            }
        }
    }

    /// A message of the protocol makes or closes a portal: a cursor of its name is no more, or the message fails, and with
    /// it the transaction that the cursor is in.
    pub(crate) fn supersede_cursor(&mut self, portal: &[u8]) {
        if let Ok(name) = std::str::from_utf8(portal) {
            self.cursors.remove(name);
        }
    }

    /// Removes the answers to `Sync` and `Flush` that were asked for before the resource began to read copied data:
    /// it ignores those messages while it reads.
    pub(crate) fn forget_syncs_during_copy(&mut self) {
        let mut first = true;
        self.expected.retain(|expect| {
            let keep = first || !matches!(expect, Expect::Sync);
            first = false;
            keep
        });
    }
}

fn restore<T>(names: &mut Names<T>, name: Box<[u8]>, previous: Option<T>) {
    match previous {
        Some(previous) => drop(names.insert(name, previous)),
        None => drop(names.remove(&name)),
    }
}

#[cfg(test)]
mod tests;
