//! Access for a time: asked for, approved, denied, taken back.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Desk;
use super::caller::Caller;
use super::problem::{Problem, Refused};
use super::request::{Asked, Because, Given, Named, ask, unexpected};
use crate::admin::{Reply, Request, RequestView};

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(list, ask_for))
        .routes(routes!(approve))
        .routes(routes!(deny))
        .routes(routes!(withdraw))
        .routes(routes!(revoke))
}

/// What somebody asks for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Wish {
    role: String,
    resource: String,
    #[serde(default)]
    purpose: String,
    reason: String,
    duration_s: u64,
}

/// Which requests are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Listed {
    /// Also those that are decided and over.
    #[serde(default)]
    also_closed: bool,
}

/// Lists requests and grants.
#[utoipa::path(
    get,
    path = "/api/v1/access-requests",
    params(Listed),
    responses((status = 200, description = "Done", body = Vec<RequestView>), Refused),
    extensions(("x-right" = json!("admin | auditor | key-admin | privacy-officer | approver"))),
)]
async fn list(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Asked(query): Asked<Listed>,
) -> Result<Json<Vec<RequestView>>, Problem> {
    let request = Request::AccessList { also_closed: query.also_closed };
    let Reply::Requests(requests) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(requests))
}

/// Asks for a role on a resource for a time.
#[utoipa::path(
    post,
    path = "/api/v1/access-requests",
    request_body = Wish,
    responses((status = 200, description = "Done", body = Vec<RequestView>), Refused),
    extensions(("x-right" = json!("person"))),
)]
async fn ask_for(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Given(body): Given<Wish>,
) -> Result<Json<Vec<RequestView>>, Problem> {
    let request = Request::AccessAsk {
        role: body.role,
        resource: body.resource,
        purpose: body.purpose,
        reason: body.reason,
        duration_s: body.duration_s,
    };
    let Reply::Requests(requests) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(requests))
}

/// Approves what somebody else asked for.
#[utoipa::path(
    post,
    path = "/api/v1/access-requests/{number}/approve",
    params(("number" = u64, Path)),
    responses((status = 200, description = "Done", body = Vec<RequestView>), Refused),
    extensions(("x-right" = json!("approver"))),
)]
async fn approve(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(number): Named<u64>,
) -> Result<Json<Vec<RequestView>>, Problem> {
    let request = Request::AccessApprove { number };
    let Reply::Requests(requests) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(requests))
}

/// Says no to what somebody asked for.
#[utoipa::path(
    post,
    path = "/api/v1/access-requests/{number}/deny",
    params(("number" = u64, Path)),
    request_body = Because,
    responses((status = 200, description = "Done", body = Vec<RequestView>), Refused),
    extensions(("x-right" = json!("approver"))),
)]
async fn deny(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(number): Named<u64>,
    Given(body): Given<Because>,
) -> Result<Json<Vec<RequestView>>, Problem> {
    let request = Request::AccessDeny { number, reason: body.reason };
    let Reply::Requests(requests) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(requests))
}

/// Takes back what one asked for oneself.
#[utoipa::path(
    post,
    path = "/api/v1/access-requests/{number}/withdraw",
    params(("number" = u64, Path)),
    request_body = Because,
    responses((status = 200, description = "Done", body = Vec<RequestView>), Refused),
    extensions(("x-right" = json!("person"))),
)]
async fn withdraw(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(number): Named<u64>,
    Given(body): Given<Because>,
) -> Result<Json<Vec<RequestView>>, Problem> {
    let request = Request::AccessWithdraw { number, reason: body.reason };
    let Reply::Requests(requests) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(requests))
}

/// Takes a grant away.
#[utoipa::path(
    post,
    path = "/api/v1/access-requests/{number}/revoke",
    params(("number" = u64, Path)),
    request_body = Because,
    responses((status = 200, description = "Done", body = Vec<RequestView>), Refused),
    extensions(("x-right" = json!("admin | approver | privacy-officer"))),
)]
async fn revoke(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(number): Named<u64>,
    Given(body): Given<Because>,
) -> Result<Json<Vec<RequestView>>, Problem> {
    let request = Request::AccessRevoke { number, reason: body.reason };
    let Reply::Requests(requests) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(requests))
}
