//! Open sessions and locks.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Desk;
use super::caller::Caller;
use super::problem::{Problem, Refused};
use super::request::{Because, Done, Given, Named, ask, unexpected};
use crate::admin::{LockOn, LockView, OpenSession, Reply, Request, Which};

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(end))
        .routes(routes!(locks, lock))
        .routes(routes!(lift))
}

/// Which sessions are to end, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Ending {
    which: Which,
    reason: String,
}

/// How many sessions were told to end.
#[derive(Debug, Serialize, ToSchema)]
struct Ended {
    sessions: usize,
}

/// A lock to be placed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewLock {
    on: LockOn,
    reason: String,
}

/// The number of a lock.
#[derive(Debug, Serialize, ToSchema)]
struct Placed {
    number: u64,
}

/// Lists the open sessions.
#[utoipa::path(
    get,
    path = "/api/v1/sessions",
    responses((status = 200, description = "Done", body = Vec<OpenSession>), Refused),
    extensions(("x-right" = json!("admin | auditor | key-admin | privacy-officer | approver"))),
)]
async fn list(State(node): State<Desk>, Caller(actor): Caller) -> Result<Json<Vec<OpenSession>>, Problem> {
    let request = Request::SessionList {};
    let Reply::Sessions(sessions) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(sessions))
}

/// Ends open sessions, with their connections to the resource.
#[utoipa::path(
    post,
    path = "/api/v1/sessions/end",
    request_body = Ending,
    responses((status = 200, description = "Done", body = Ended), Refused),
    extensions(("x-right" = json!("admin | privacy-officer"))),
)]
async fn end(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Given(body): Given<Ending>,
) -> Result<Json<Ended>, Problem> {
    let request = Request::SessionKill { which: body.which, reason: body.reason };
    let Reply::Ended { sessions } = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(Ended { sessions }))
}

/// Lists the locks in force.
#[utoipa::path(
    get,
    path = "/api/v1/locks",
    responses((status = 200, description = "Done", body = Vec<LockView>), Refused),
    extensions(("x-right" = json!("admin | auditor | key-admin | privacy-officer | approver"))),
)]
async fn locks(State(node): State<Desk>, Caller(actor): Caller) -> Result<Json<Vec<LockView>>, Problem> {
    let request = Request::LockList {};
    let Reply::Locks(locks) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(locks))
}

/// Keeps a person, a role, a resource or an address out.
#[utoipa::path(
    post,
    path = "/api/v1/locks",
    request_body = NewLock,
    responses((status = 200, description = "Done", body = Placed), Refused),
    extensions(("x-right" = json!("admin | privacy-officer"))),
)]
async fn lock(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Given(body): Given<NewLock>,
) -> Result<Json<Placed>, Problem> {
    let request = Request::LockPlace { on: body.on, reason: body.reason };
    let Reply::Locked { number } = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(Placed { number }))
}

/// Ends a lock.
#[utoipa::path(
    post,
    path = "/api/v1/locks/{number}/lift",
    params(("number" = u64, Path)),
    request_body = Because,
    responses((status = 200, description = "Done", body = Done), Refused),
    extensions(("x-right" = json!("admin | privacy-officer"))),
)]
async fn lift(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(number): Named<u64>,
    Given(body): Given<Because>,
) -> Result<Json<Done>, Problem> {
    let request = Request::LockLift { number, reason: body.reason };
    let Reply::Nothing {} = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(Done {}))
}
