//! Who may administer, what two people agreed to, what is kept and for how long, keys.

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
use crate::admin::{
    AgreementView, HoldView, KeyChangeView, KeyView, MonthView, NewHold, Reply, Request, RightsView,
    Sensitive,
};

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(rights))
        .routes(routes!(agreements))
        .routes(routes!(agree))
        .routes(routes!(holds, hold))
        .routes(routes!(release))
        .routes(routes!(plan))
        .routes(routes!(expire))
        .routes(routes!(keys))
        .routes(routes!(rotate_keys))
        .routes(routes!(change_log_key))
        .routes(routes!(resources))
        .routes(routes!(store, forget))
        .routes(routes!(rotate))
}

/// The month that is to expire, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Expiry {
    /// As `YYYYMM`.
    month: u32,
    reason: String,
}

/// For how long the old key signs beside the new one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Overlap {
    overlap_days: u32,
}

/// The credential of a resource.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewCredential {
    user: String,
    password: Sensitive,
    /// Of the account that takes turns with the first.
    #[serde(default)]
    second: bool,
}

/// Whether the resource is in the configuration in force.
#[derive(Debug, Serialize, ToSchema)]
struct Stored {
    in_force: bool,
}

/// Of which account the password is changed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// Of both accounts, where there are two.
    #[serde(default)]
    all: bool,
}

/// The accounts whose password was changed.
#[derive(Debug, Serialize, ToSchema)]
struct Rotated {
    users: Vec<String>,
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

/// Agrees to what somebody else proposed; then it is done.
#[utoipa::path(
    post,
    path = "/api/v1/operators/agreements/{number}/agree",
    params(("number" = u64, Path)),
    responses((status = 200, description = "Done", body = Vec<AgreementView>), Refused),
    extensions(("x-right" = json!("approver | privacy-officer"))),
)]
async fn agree(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(number): Named<u64>,
) -> Result<Json<Vec<AgreementView>>, Problem> {
    let request = Request::Agree { id: number };
    let Reply::Agreements(agreements) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(agreements))
}

/// Keeps entries beyond their time.
#[utoipa::path(
    post,
    path = "/api/v1/retention/holds",
    request_body = NewHold,
    responses((status = 200, description = "Done", body = Vec<HoldView>), Refused),
    extensions(("x-right" = json!("privacy-officer"))),
)]
async fn hold(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Given(hold): Given<NewHold>,
) -> Result<Json<Vec<HoldView>>, Problem> {
    let request = Request::HoldAdd { hold };
    let Reply::Holds(holds) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(holds))
}

/// Proposes that a hold ends; somebody else has to agree.
#[utoipa::path(
    post,
    path = "/api/v1/retention/holds/{number}/release",
    params(("number" = u64, Path)),
    request_body = Because,
    responses((status = 200, description = "Done", body = Vec<AgreementView>), Refused),
    extensions(("x-right" = json!("privacy-officer"))),
)]
async fn release(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(number): Named<u64>,
    Given(body): Given<Because>,
) -> Result<Json<Vec<AgreementView>>, Problem> {
    let request = Request::HoldRemove { id: number, reason: body.reason };
    let Reply::Agreements(agreements) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(agreements))
}

/// Proposes that a month expires; somebody else has to agree.
#[utoipa::path(
    post,
    path = "/api/v1/retention/expiries",
    request_body = Expiry,
    responses((status = 200, description = "Done", body = Vec<AgreementView>), Refused),
    extensions(("x-right" = json!("privacy-officer | key-admin"))),
)]
async fn expire(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Given(body): Given<Expiry>,
) -> Result<Json<Vec<AgreementView>>, Problem> {
    let request = Request::ExpirePropose { month: body.month, reason: body.reason };
    let Reply::Agreements(agreements) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(agreements))
}

/// Makes further keys of this month for each class of entries.
#[utoipa::path(
    post,
    path = "/api/v1/keys/rotate",
    responses((status = 200, description = "Done", body = Vec<KeyView>), Refused),
    extensions(("x-right" = json!("key-admin"))),
)]
async fn rotate_keys(State(node): State<Desk>, Caller(actor): Caller) -> Result<Json<Vec<KeyView>>, Problem> {
    let request = Request::KeyRotate {};
    let Reply::Keys(keys) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(keys))
}

/// Lets another key sign checkpoints.
#[utoipa::path(
    post,
    path = "/api/v1/keys/checkpoint",
    request_body = Overlap,
    responses((status = 200, description = "Done", body = KeyChangeView), Refused),
    extensions(("x-right" = json!("key-admin"))),
)]
async fn change_log_key(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Given(body): Given<Overlap>,
) -> Result<Json<KeyChangeView>, Problem> {
    let request = Request::KeyRotateCheckpoint { overlap_days: body.overlap_days };
    let Reply::KeyChanged(change) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(change))
}

/// Stores the credential of a resource. It is never told again.
#[utoipa::path(
    put,
    path = "/api/v1/vault/{name}",
    params(("name" = String, Path)),
    request_body = NewCredential,
    responses((status = 200, description = "Done", body = Stored), Refused),
    extensions(("x-right" = json!("admin"))),
)]
async fn store(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(name): Named<String>,
    Given(body): Given<NewCredential>,
) -> Result<Json<Stored>, Problem> {
    let request =
        Request::VaultSet { resource: name, user: body.user, password: body.password, second: body.second };
    let Reply::Stored { in_force } = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(Stored { in_force }))
}

/// Forgets the credential of a resource.
#[utoipa::path(
    delete,
    path = "/api/v1/vault/{name}",
    params(("name" = String, Path)),
    responses((status = 200, description = "Done", body = Done), Refused),
    extensions(("x-right" = json!("admin"))),
)]
async fn forget(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(name): Named<String>,
) -> Result<Json<Done>, Problem> {
    let request = Request::VaultRemove { resource: name };
    let Reply::Nothing {} = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(Done {}))
}

/// Changes the password of the account of a resource, there and in the vault.
#[utoipa::path(
    post,
    path = "/api/v1/vault/{name}/rotate",
    params(("name" = String, Path)),
    request_body = Rotation,
    responses((status = 200, description = "Done", body = Rotated), Refused),
    extensions(("x-right" = json!("admin"))),
)]
async fn rotate(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(name): Named<String>,
    Given(body): Given<Rotation>,
) -> Result<Json<Rotated>, Problem> {
    let request = Request::VaultRotate { resource: name, all: body.all };
    let Reply::Rotated { users } = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(Rotated { users }))
}
