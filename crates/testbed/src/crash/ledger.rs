//! What the clients know: every statement they sent, what they were told of it, every row that reached them.
//!
//! It is kept in the test's own memory and so survives whatever happens to Wardline.

use std::collections::BTreeMap;

/// Statements are known by numbers from here on, which nothing else in a statement is.
pub(crate) const FIRST_ID: u64 = 1_000_000_000_000;

/// What a statement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// It reads rows.
    Read,
    /// It reads rows as copied data, whose rows are counted at its end only.
    CopyOut,
    /// It writes one row, whose key is the statement's number.
    Write,
}

/// What the client was told last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is complete.
    Acknowledged,
    /// It failed, with this SQLSTATE.
    Failed(String),
    /// The connection ended first.
    Cut,
}

/// Whether the row that a statement writes must be in the database afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Must,
    MustNot,
    May,
}

/// One statement.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) id: u64,
    pub(crate) act: Act,
    /// Rows that reached the client, whatever came then.
    pub(crate) rows: u64,
    /// The bytes of those rows on the wire.
    pub(crate) bytes: u64,
    pub(crate) end: End,
    pub(crate) stored: Stored,
}

impl Line {
    /// Returns the line of a statement that is about to be sent.
    pub(crate) fn new(id: u64, act: Act) -> Line {
        let stored = if act == Act::Write { Stored::May } else { Stored::MustNot };
        Line { id, act, rows: 0, bytes: 0, end: End::Cut, stored }
    }

    /// Returns whether the client learned anything of it.
    pub(crate) fn told(&self) -> bool {
        self.rows > 0 || self.bytes > 0 || self.end != End::Cut
    }
}

/// One session, as its client saw it.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// What the client called itself: unique.
    pub(crate) client: String,
    pub(crate) person: String,
    pub(crate) lines: Vec<Line>,
    /// Acknowledged commands that carry no number, such as `COMMIT`.
    pub(crate) unnumbered: BTreeMap<&'static str, u64>,
    /// How the session ended, where it was told: an SQLSTATE.
    pub(crate) last_words: Option<String>,
}

impl Visit {
    pub(crate) fn new(client: String, person: String) -> Visit {
        Visit { client, person, lines: Vec::new(), unnumbered: BTreeMap::new(), last_words: None }
    }
}
