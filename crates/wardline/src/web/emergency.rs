//! Emergency access (break-glass): taken, approved, ended, looked at, reviewed.
//!
//! Deliberately absent: taking it by a sealed code, because strangers could lock the codes with wrong ones, and making codes,
//! whose halves go to two custodians on paper. Both are done at the server.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Desk;
use super::caller::Caller;
use super::problem::{Problem, Refused};
use super::request::{Asked, Given, Named, ask, unexpected};
use crate::admin::{Reply, Request, Sensitive};
use crate::changes::breakglass::{Act, DrilledView, EmergencyView, Finish, SheetView, TimelineView, Wish};

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(list, begin))
        .routes(routes!(drill))
        .routes(routes!(codes))
        .routes(routes!(approve))
        .routes(routes!(end))
        .routes(routes!(revoke))
        .routes(routes!(timeline))
        .routes(routes!(review))
}

/// What somebody wants in an emergency. The reason and the patient may name one; neither is told to others as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Emergency {
    resource: String,
    /// One of the configured codes.
    reason_code: String,
    reason: Sensitive,
    /// The identifier of the patient, where it is about one.
    #[serde(default)]
    patient: Option<Sensitive>,
    /// As long as it may be had, where it is left out.
    #[serde(default)]
    duration_s: Option<u64>,
}

/// What is rehearsed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Exercise {
    resource: String,
}

/// Why it is ended.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EmergencyEnd {
    reason: Sensitive,
}

/// What a reviewer found.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Finding {
    justified: bool,
    /// What was looked at; it is sealed.
    note: Sensitive,
}

/// Which are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Listed {
    /// Also what is over and reviewed.
    #[serde(default)]
    also_done: bool,
}

/// Lists emergency access: everybody sees their own, whoever holds a right sees all.
#[utoipa::path(
    get,
    path = "/api/v1/break-glass",
    params(Listed),
    responses((status = 200, description = "Done", body = Vec<EmergencyView>), Refused),
    extensions(("x-right" = json!("person"))),
)]
async fn list(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Asked(query): Asked<Listed>,
) -> Result<Json<Vec<EmergencyView>>, Problem> {
    let request = Request::BreakGlass { act: Act::List { also_done: query.also_done } };
    let Reply::Emergencies(emergencies) = ask(&node, &actor, request).await? else {
        return Err(unexpected());
    };
    Ok(Json(emergencies))
}

/// Takes emergency access, or asks for it where others must approve. Others are told at once.
#[utoipa::path(
    post,
    path = "/api/v1/break-glass",
    request_body = Emergency,
    responses((status = 200, description = "Done", body = Vec<EmergencyView>), Refused),
    extensions(("x-right" = json!("person"))),
)]
async fn begin(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Given(body): Given<Emergency>,
) -> Result<Json<Vec<EmergencyView>>, Problem> {
    let wish = Wish {
        resource: body.resource,
        reason_code: body.reason_code,
        reason: body.reason,
        patient: body.patient,
        duration_s: body.duration_s,
        drill: false,
    };
    let request = Request::BreakGlass { act: Act::Begin { wish } };
    let Reply::Emergencies(emergencies) = ask(&node, &actor, request).await? else {
        return Err(unexpected());
    };
    Ok(Json(emergencies))
}

/// Rehearses an emergency: takes access, sees that others are told, gives it back, and reports under the log's signature.
#[utoipa::path(
    post,
    path = "/api/v1/break-glass/drill",
    request_body = Exercise,
    responses((status = 200, description = "Done", body = DrilledView), Refused),
    extensions(("x-right" = json!("person"))),
)]
async fn drill(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Given(body): Given<Exercise>,
) -> Result<Json<DrilledView>, Problem> {
    let wish = Wish::rehearsal(body.resource);
    let request = Request::BreakGlass { act: Act::Drill { wish } };
    let Reply::Drilled(drilled) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(*drilled))
}

/// Says which sealed codes are left, without the codes.
#[utoipa::path(
    get,
    path = "/api/v1/break-glass/codes",
    responses((status = 200, description = "Done", body = SheetView), Refused),
    extensions(("x-right" = json!("admin | auditor | key-admin | privacy-officer | approver"))),
)]
async fn codes(State(node): State<Desk>, Caller(actor): Caller) -> Result<Json<SheetView>, Problem> {
    let request = Request::BreakGlass { act: Act::CodesList {} };
    let Reply::Sheet(sheet) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(sheet))
}

/// Approves what somebody else asks for.
#[utoipa::path(
    post,
    path = "/api/v1/break-glass/{number}/approve",
    params(("number" = u64, Path)),
    responses((status = 200, description = "Done", body = Vec<EmergencyView>), Refused),
    extensions(("x-right" = json!("approver"))),
)]
async fn approve(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(number): Named<u64>,
) -> Result<Json<Vec<EmergencyView>>, Problem> {
    let request = Request::BreakGlass { act: Act::Approve { number } };
    let Reply::Emergencies(emergencies) = ask(&node, &actor, request).await? else {
        return Err(unexpected());
    };
    Ok(Json(emergencies))
}

/// Gives back what one has oneself.
#[utoipa::path(
    post,
    path = "/api/v1/break-glass/{number}/end",
    params(("number" = u64, Path)),
    request_body = EmergencyEnd,
    responses((status = 200, description = "Done", body = Vec<EmergencyView>), Refused),
    extensions(("x-right" = json!("person"))),
)]
async fn end(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(number): Named<u64>,
    Given(body): Given<EmergencyEnd>,
) -> Result<Json<Vec<EmergencyView>>, Problem> {
    let request = Request::BreakGlass { act: Act::Finish { number, how: Finish::End, reason: body.reason } };
    let Reply::Emergencies(emergencies) = ask(&node, &actor, request).await? else {
        return Err(unexpected());
    };
    Ok(Json(emergencies))
}

/// Takes it away from somebody.
#[utoipa::path(
    post,
    path = "/api/v1/break-glass/{number}/revoke",
    params(("number" = u64, Path)),
    request_body = EmergencyEnd,
    responses((status = 200, description = "Done", body = Vec<EmergencyView>), Refused),
    extensions(("x-right" = json!("admin | approver | privacy-officer"))),
)]
async fn revoke(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(number): Named<u64>,
    Given(body): Given<EmergencyEnd>,
) -> Result<Json<Vec<EmergencyView>>, Problem> {
    let request =
        Request::BreakGlass { act: Act::Finish { number, how: Finish::Revoke, reason: body.reason } };
    let Reply::Emergencies(emergencies) = ask(&node, &actor, request).await? else {
        return Err(unexpected());
    };
    Ok(Json(emergencies))
}

/// Shows what was done under it, without literals and identifiers; reading it is recorded.
#[utoipa::path(
    get,
    path = "/api/v1/break-glass/{number}/timeline",
    params(("number" = u64, Path)),
    responses((status = 200, description = "Done", body = TimelineView), Refused),
    extensions(("x-right" = json!("privacy-officer | auditor"))),
)]
async fn timeline(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(number): Named<u64>,
) -> Result<Json<TimelineView>, Problem> {
    let request = Request::BreakGlass { act: Act::Timeline { number } };
    let Reply::Timeline(timeline) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(*timeline))
}

/// Says what was found in what somebody else did.
#[utoipa::path(
    post,
    path = "/api/v1/break-glass/{number}/review",
    params(("number" = u64, Path)),
    request_body = Finding,
    responses((status = 200, description = "Done", body = Vec<EmergencyView>), Refused),
    extensions(("x-right" = json!("privacy-officer"))),
)]
async fn review(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(number): Named<u64>,
    Given(body): Given<Finding>,
) -> Result<Json<Vec<EmergencyView>>, Problem> {
    let request =
        Request::BreakGlass { act: Act::Review { number, justified: body.justified, note: body.note } };
    let Reply::Emergencies(emergencies) = ask(&node, &actor, request).await? else {
        return Err(unexpected());
    };
    Ok(Json(emergencies))
}
