//! Hands the trail over: maps entries to the formats that other systems take, follows the trail, delivers, and knows
//! how far each receiver is.
//!
//! ```text
//! trail ─▶ entry ─▶ event (one a patient) ─▶ FHIR AuditEvent │ DICOM message │ OCSF │ CloudEvents ─▶ receiver
//!             ▲                                                                                        │ took it
//!             └──────────────────────────── position, durable, bound to the log ◀──────────────────────┘
//! ```
//!
//! `docs/formats/export.md` describes what is written. Architecture invariant: the position moves only after the
//! receiver took everything before it; nothing here is reachable from the data path. Deliberately absent: literals and
//! parameters, which are never handed over, and the way in (`wardline`'s `inbound`).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod atna;
mod cloud;
mod error;
mod event;
mod fhir;
mod file;
mod follow;
mod format;
mod http;
mod mail;
mod notice;
mod ocsf;
mod position;
mod receiver;
mod syslog;
mod text;

pub use error::Error;
pub use event::{About, Deed, Event, Mapper, Patient, Result, Shown, Subjects};
pub use file::{Checked, Outgoing, Written, check};
pub use follow::{Begin, Follower, Notice, Plan};
pub use format::Format;
pub use mail::{MailAddress, is_mail_address};
pub use notice::{Topic, Topics};
pub use receiver::{Address, Bearer, Identity, Receiver};
