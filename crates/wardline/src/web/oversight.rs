//! Who may administer, what two people agreed to, what is kept and for how long, keys.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Desk;
use super::caller::Caller;
use super::problem::{Problem, Refused};
use super::request::{ask, unexpected};
use crate::admin::{AgreementView, HoldView, KeyView, MonthView, Reply, Request, RightsView};

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(rights))
        .routes(routes!(agreements))
        .routes(routes!(holds))
        .routes(routes!(plan))
        .routes(routes!(keys))
        .routes(routes!(resources))
}

/// Says who may do what with Wardline itself.
#[utoipa::path(
    get,
    path = "/api/v1/operators/rights",
    responses((status = 200, description = "Done", body = RightsView), Refused),
    extensions(("x-right" = json!("person"))),
)]
async fn rights(State(node): State<Desk>, Caller(actor): Caller) -> Result<Json<RightsView>, Problem> {
    let request = Request::OperatorRights {};
    let Reply::Rights(rights) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(rights))
}

/// Lists what was proposed and agreed.
#[utoipa::path(
    get,
    path = "/api/v1/operators/agreements",
    responses((status = 200, description = "Done", body = Vec<AgreementView>), Refused),
    extensions(("x-right" = json!("privacy-officer | approver | auditor | key-admin"))),
)]
async fn agreements(
    State(node): State<Desk>,
    Caller(actor): Caller,
) -> Result<Json<Vec<AgreementView>>, Problem> {
    let request = Request::Agreements {};
    let Reply::Agreements(agreements) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(agreements))
}

/// Lists what is kept beyond its time.
#[utoipa::path(
    get,
    path = "/api/v1/retention/holds",
    responses((status = 200, description = "Done", body = Vec<HoldView>), Refused),
    extensions(("x-right" = json!("privacy-officer | approver | auditor | key-admin"))),
)]
async fn holds(State(node): State<Desk>, Caller(actor): Caller) -> Result<Json<Vec<HoldView>>, Problem> {
    let request = Request::HoldList {};
    let Reply::Holds(holds) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(holds))
}

/// Says which months are there, and which may expire.
#[utoipa::path(
    get,
    path = "/api/v1/retention/plan",
    responses((status = 200, description = "Done", body = Vec<MonthView>), Refused),
    extensions(("x-right" = json!("privacy-officer | approver | auditor | key-admin"))),
)]
async fn plan(State(node): State<Desk>, Caller(actor): Caller) -> Result<Json<Vec<MonthView>>, Problem> {
    let request = Request::RetentionPlan {};
    let Reply::Months(months) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(months))
}

/// Lists the keys of the trail, without the keys.
#[utoipa::path(
    get,
    path = "/api/v1/keys",
    responses((status = 200, description = "Done", body = Vec<KeyView>), Refused),
    extensions(("x-right" = json!("key-admin | auditor | privacy-officer"))),
)]
async fn keys(State(node): State<Desk>, Caller(actor): Caller) -> Result<Json<Vec<KeyView>>, Problem> {
    let request = Request::KeyList {};
    let Reply::Keys(keys) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(keys))
}

/// Lists the resources that have a credential.
#[utoipa::path(
    get,
    path = "/api/v1/vault",
    responses((status = 200, description = "Done", body = Vec<String>), Refused),
    extensions(("x-right" = json!("admin"))),
)]
async fn resources(State(node): State<Desk>, Caller(actor): Caller) -> Result<Json<Vec<String>>, Problem> {
    let request = Request::VaultList {};
    let Reply::Resources(resources) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(resources))
}
