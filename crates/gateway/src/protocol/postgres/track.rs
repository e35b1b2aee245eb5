//! What a session has at the resource (statements, portals, cursors) and which answers are still to come.
//!
//! Kept by the rules of the protocol's "Message Flow": answers come in the order of the questions, and after an
//! error within an extended query everything up to `Sync` is skipped. What is skipped is undone here, so that a name
//! never stands for a text that the resource does not have under it.
//! Deliberately absent: I/O, and what policy says.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use trail::Pending;

use super::codec::WireError;
use super::sql::{Inspection, Known};

type Names<T> = HashMap<Box<[u8]>, T, foldhash::fast::RandomState>;

/// A prepared statement. `inspection` is absent for one made by the command PREPARE.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) inspection: Option<Arc<Inspection>>,
    pub(crate) known: Arc<Known>,
}

/// A portal made by `Bind`.
#[derive(Debug, Clone)]
pub(crate) struct Portal {
    pub(crate) statement: Statement,
    pub(crate) operation: u64,
    /// The resource has it: its `BindComplete` came.
    pub(crate) live: bool,
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
}

impl Track {
    /// Returns what running the statement of that name means.
    pub(crate) fn prepared(&self, name: &str) -> Option<Arc<Known>> {
        self.statements.get(name.as_bytes()).map(|statement| statement.known.clone())
    }

    /// Returns what fetching from the cursor or portal of that name means.
    pub(crate) fn cursor(&self, name: &str) -> Option<Arc<Known>> {
        let declared = self.cursors.get(name).cloned();
        declared.or_else(|| self.portals.get(name.as_bytes()).map(|portal| portal.statement.known.clone()))
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
                Expect::Parse { name, previous } => restore(&mut self.statements, name, previous),
                Expect::Bind { name, previous, operation } => {
                    operations.push(operation);
                    restore(&mut self.portals, name, previous);
                }
                Expect::Execute { operation } => operations.push(operation),
                Expect::Close { undo: Closed::Statement(name, previous) } => {
                    restore(&mut self.statements, name, previous);
                }
                Expect::Close { undo: Closed::Portal(name, previous) } => {
                    restore(&mut self.portals, name, previous);
                }
                Expect::Query { operation } | Expect::Call { operation } => operations.push(operation),
                Expect::Describe | Expect::Refused { .. } | Expect::RefusedQuery { .. } | Expect::Sync => {}
            }
        }
        operations.reverse();
        operations.dedup();
        operations
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
