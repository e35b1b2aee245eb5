//! PostgreSQL's frontend/backend protocol, 3.0 and 3.2, as server towards clients and as client towards the
//! resource.
//!
//! Source: PostgreSQL documentation, chapter "Frontend/Backend Protocol"
//! (<https://www.postgresql.org/docs/18/protocol.html>).
//!
//! Spoken: TLS by `SSLRequest` and direct TLS; sign-in by cleartext password field or SCRAM-SHA-256 and
//! -PLUS; the simple and the extended query protocol, pipelines, function calls, `COPY` both ways, notices and
//! notifications, cancel requests.
//!
//! Refused: GSSAPI encryption and sign-in, start-up in clear where TLS is required, protocol 2, replication
//! (`CopyBoth`), and every message that is not in the chapter: there is no resynchronising.

pub(crate) mod account;
pub(crate) mod buffers;
pub(crate) mod catalogues;
pub(crate) mod codec;
pub(crate) mod dial;
pub(crate) mod explain;
pub(crate) mod greet;
mod mask;
pub(crate) mod outbox;
pub(crate) mod relay;
#[allow(dead_code, reason = "the inspection tells more than recording alone asks; masking will")]
pub(crate) mod sql;
pub(crate) mod survey;
pub(crate) mod track;
pub(crate) mod verdicts;
