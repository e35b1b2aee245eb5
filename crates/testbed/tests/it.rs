//! Integration tests: the hospital, real servers, and real clients against them.

#[path = "it/clients.rs"]
mod clients;
#[path = "it/conformance.rs"]
mod conformance;
#[path = "it/crash.rs"]
mod crash;
#[path = "it/hospital.rs"]
mod hospital;
#[path = "it/hostile.rs"]
mod hostile;
#[path = "it/leaks.rs"]
mod leaks;
#[path = "it/postgres.rs"]
mod postgres;
#[path = "it/through_gateway.rs"]
mod through_gateway;
#[path = "it/utility.rs"]
mod utility;
