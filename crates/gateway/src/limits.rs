//! Every bound of the gateway, by name. Reaching one is an answer to the client, a metric and a log line.

use std::time::Duration;

/// The bounds of one listener; all of them are configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at once, of everybody.
    pub sessions_max: usize,
    /// Sessions at once of one person.
    pub sessions_per_person_max: usize,
    /// Connections at once that have not signed in; they take no place of a session.
    pub handshakes_max: usize,
    /// Of these, from one address: nobody locks the others out by connecting and saying nothing.
    pub handshakes_per_address_max: usize,
    /// From accepting a connection to the end of its sign-in.
    pub handshake_timeout: Duration,
    /// For connecting and logging in at the resource.
    pub dial_timeout: Duration,
    /// Without an operation, until the session is ended.
    pub idle_timeout: Duration,
    /// A client is warned this long before its session is ended for want of activity; at most half of that time.
    pub idle_warning: Duration,
    /// From sign-in to the end of the session, whatever it does.
    pub session_lifetime_max: Duration,
    /// After the signal to drain, until sessions are cut.
    pub drain_timeout: Duration,
    /// One message of a client, such as a statement or its parameters; copied data streams and is not bound.
    pub message_bytes_max: usize,
    /// Result bytes withheld until their entry is durable; a larger result is released in windows.
    pub hold_window_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            sessions_max: 1_000,
            sessions_per_person_max: 50,
            handshakes_max: 1_000,
            handshakes_per_address_max: 128,
            handshake_timeout: Duration::from_secs(30),
            dial_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(15),
            idle_warning: Duration::from_mins(1),
            session_lifetime_max: Duration::from_hours(12),
            drain_timeout: Duration::from_secs(30),
            message_bytes_max: 16 << 20,
            hold_window_bytes: 64 << 10,
        }
    }
}

/// One message of a server other than row or copy data (an error, a notice, a row description).
pub(crate) const UPSTREAM_MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Bytes waiting to be written to the resource before reading from the client pauses.
pub(crate) const UPSTREAM_BACKLOG_BYTES: usize = 64 << 10;
/// How much is read from a socket at once.
pub(crate) const READ_BYTES: usize = 32 << 10;
/// Prepared statements and portals one session may hold by name.
pub(crate) const NAMES_MAX: usize = 10_000;
/// Operations sent to the resource and not yet answered, per session.
pub(crate) const PIPELINE_MAX: usize = 10_000;
/// Statement texts whose inspection is remembered, all sessions together.
pub(crate) const VERDICTS_MAX: usize = 20_000;
/// Of so many texts that came once it is known that they did, all sessions together.
pub(crate) const VERDICTS_SEEN_MAX: usize = 16 << 10;
/// A statement text longer than this is inspected each time.
pub(crate) const VERDICT_TEXT_BYTES_MAX: usize = 8 << 10;
/// Notices that columns are NULL because they are computed from protected values, in one session: a program that runs such
/// a statement all day is told, and not flooded.
pub(crate) const ABSENCE_NOTICES_MAX: usize = 16;
/// Decisions one session remembers.
pub(crate) const DECISIONS_MAX: usize = 32;
/// Parameters kept in an entry, in bytes; beyond it only their length and digest are kept.
pub(crate) const PARAMETER_BYTES_MAX: usize = 1 << 20;
/// Bound parameters of a read that wait for its entry; a read with more is recorded before it is sent, so that a
/// session full of portals holds little.
pub(crate) const HELD_PARAMETER_BYTES_MAX: usize = 8 << 10;
/// What the prepared statements of one session may hold in all.
pub(crate) const STATEMENTS_BYTES_MAX: usize = 64 << 20;
/// What the remembered inspections of all sessions together may hold.
pub(crate) const VERDICTS_BYTES_MAX: usize = 128 << 20;
/// The longest cell that is looked through for identifiers; a longer one is masked as a whole.
pub(crate) const DETECT_CELL_BYTES_MAX: u64 = 1 << 20;
/// Patients that one entry names; where there are more, the operation has further entries.
pub(crate) const PATIENTS_PER_ENTRY_MAX: usize = 4_096;
/// Patients that an operation remembers to have named.
pub(crate) const PATIENTS_REMEMBERED_MAX: usize = 65_536;
