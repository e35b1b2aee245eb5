//! Integration tests: the hospital, real servers, and real clients against them.

#[path = "it/approval.rs"]
mod approval;
#[path = "it/browser.rs"]
mod browser;
#[path = "it/clients.rs"]
mod clients;
#[path = "it/conformance.rs"]
mod conformance;
#[path = "it/crash.rs"]
mod crash;
#[path = "it/explain.rs"]
mod explain;
#[path = "it/faults.rs"]
mod faults;
#[path = "it/filters.rs"]
mod filters;
#[path = "it/hospital.rs"]
mod hospital;
#[path = "it/hostile.rs"]
mod hostile;
#[path = "it/idp.rs"]
mod idp;
#[path = "it/leaks.rs"]
mod leaks;
#[path = "it/patients.rs"]
mod patients;
#[path = "it/postgres.rs"]
mod postgres;
#[path = "it/purpose.rs"]
mod purpose;
#[path = "it/round_trip.rs"]
mod round_trip;
#[path = "it/scan.rs"]
mod scan;
#[path = "it/store.rs"]
mod store;
#[path = "it/through_gateway.rs"]
mod through_gateway;
#[path = "it/utility.rs"]
mod utility;
#[path = "it/walk.rs"]
mod walk;
