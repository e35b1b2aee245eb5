//! The gateway: listens, identifies, admits, relays. Every access passes `serve`, top to bottom.
//!
//! INVARIANT: nothing here reads the trail, the reviews or the console; the only way back is a new policy
//! snapshot, which [`Control`] publishes. Deliberately absent: configuration files, people's records, the
//! command line (`wardline`), how an entry becomes durable (`trail`), how a decision is reached (`policy`).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod about;
mod acting;
mod approve;
mod control;
mod error;
mod filters;
mod gate;
#[cfg(test)]
mod held;
mod lessons;
mod limits;
mod listen;
mod protected;
mod protocol;
mod serve;
mod session;
mod startup;
mod stream;
pub mod tls;
mod workers;

pub use acting::{PERSON, UpstreamIdentity};
pub use control::{Approval, Bounds, Claim, Control, Parting, SecondDevice, Upstream};
pub use error::{Denial, Ending, Failure};
pub use filters::FILTERS_PER_HOUR;
pub use gate::{Gate, Permit};
pub use limits::Limits;
pub use listen::{BindError, Listener, ListenerConfig, ListenerTls};
pub use protected::{CleanColumns, ColumnName, Protected, Rule};
pub use protocol::postgres::account::OwnAccount;
pub use protocol::postgres::explain::{
    Asked, Comes, Explained, Explanation, Fate, Held, Permitted, Touched, explain,
};
pub use protocol::postgres::survey::{SAMPLE_ROWS_MAX, Sampled, Survey};
pub use session::{Cut, Session, SessionView, Sessions};
pub use workers::Workers;
