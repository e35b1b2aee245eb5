//! Claims become principals: passwords, tokens, SCRAM and second factors, and the rules of locking after failures.
//!
//! Every decision is a pure function: the account, the tokens and the time come in as arguments, a [`Proof`] or a
//! [`Reason`] goes out. A `Proof` has no public maker, so holding one means that somebody did prove who they are.
//!
//! Deliberately absent: files, sockets, the clock, tokio, storage (`registry`), and the question of what a proven
//! person may do (`policy`). Checking a password costs 15 to 30 ms of CPU; whoever calls [`check`] with one does so
//! on a thread that may block, and bounds how many run at once.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod password;
pub mod recovery;
pub mod scram;
pub mod token;
pub mod totp;

mod account;
mod sign_in;

use aws_lc_rs::rand;
use model::PersonId;

pub use account::{
    Account, Factor, Failures, Means, Proof, Reason, Rejected, Rules, WrongCertificate, WrongToken, check,
    check_both, check_code, settle, vouched,
};
pub use sign_in::ScramSignIn;

/// Returns a fresh identity for a new person.
pub fn person_id() -> PersonId {
    PersonId(u128::from_be_bytes(random()))
}

/// Returns fresh random bytes.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // INVARIANT: AWS-LC seeds itself from the kernel once, before the first byte, and cannot run dry afterwards.
    rand::fill(&mut bytes).expect("the system's random source works");
    bytes
}
