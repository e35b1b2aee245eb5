//! The register of exceptions: what is switched off, who asked for it, who approved it and until when.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Desk;
use super::caller::Caller;
use super::problem::{Problem, Refused};
use super::request::{Because, Given, Named, ask, unexpected};
use crate::admin::{Reply, Request};
use crate::changes::exceptions::{Act, ExceptionView};

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(approve)).routes(routes!(end))
}

/// An exception that somebody asks for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewException {
    /// What is switched off, as the list names it.
    control: String,
    reason: String,
    /// When it ends, in microseconds since 1970.
    until_us: u64,
}

/// Lists what is switched off, and the exceptions.
#[utoipa::path(
    get,
    path = "/api/v1/exceptions",
    responses((status = 200, description = "Done", body = Vec<ExceptionView>), Refused),
    extensions(("x-right" = json!("admin | auditor | key-admin | privacy-officer | approver"))),
)]
async fn list(State(node): State<Desk>, Caller(actor): Caller) -> Result<Json<Vec<ExceptionView>>, Problem> {
    let request = Request::Exception { act: Act::List {} };
    let Reply::Exceptions(exceptions) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(exceptions))
}

/// Asks for an exception.
#[utoipa::path(
    post,
    path = "/api/v1/exceptions",
    request_body = NewException,
    responses((status = 200, description = "Done", body = Vec<ExceptionView>), Refused),
    extensions(("x-right" = json!("admin | privacy-officer"))),
)]
async fn add(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Given(body): Given<NewException>,
) -> Result<Json<Vec<ExceptionView>>, Problem> {
    let request = Request::Exception {
        act: Act::Add { control: body.control, reason: body.reason, until_us: body.until_us },
    };
    let Reply::Exceptions(exceptions) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(exceptions))
}

/// Approves an exception that somebody else asked for.
#[utoipa::path(
    post,
    path = "/api/v1/exceptions/{number}/approve",
    params(("number" = u64, Path)),
    responses((status = 200, description = "Done", body = Vec<ExceptionView>), Refused),
    extensions(("x-right" = json!("approver | privacy-officer"))),
)]
async fn approve(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(number): Named<u64>,
) -> Result<Json<Vec<ExceptionView>>, Problem> {
    let request = Request::Exception { act: Act::Approve { number } };
    let Reply::Exceptions(exceptions) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(exceptions))
}

/// Ends an exception.
#[utoipa::path(
    post,
    path = "/api/v1/exceptions/{number}/end",
    params(("number" = u64, Path)),
    request_body = Because,
    responses((status = 200, description = "Done", body = Vec<ExceptionView>), Refused),
    extensions(("x-right" = json!("admin | approver | privacy-officer"))),
)]
async fn end(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(number): Named<u64>,
    Given(body): Given<Because>,
) -> Result<Json<Vec<ExceptionView>>, Problem> {
    let request = Request::Exception { act: Act::End { number, reason: body.reason } };
    let Reply::Exceptions(exceptions) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(exceptions))
}
