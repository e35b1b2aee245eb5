//! One module for each protocol Wardline speaks. A protocol reads its clients' messages, says what they need,
//! and turns answers into its own words; admission, decisions and the trail are the same for all of them and
//! live outside (`serve`, `gate`, `session`).

pub(crate) mod postgres;
