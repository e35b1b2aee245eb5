//! Recertification: campaigns in which named people confirm, change or revoke the rights of others.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Desk;
use super::caller::Caller;
use super::problem::{Problem, Refused};
use super::request::{Given, Named, ask, unexpected};
use crate::admin::{
    Answered, CampaignReport, CampaignView, Over, RecertifyAsk, RecertifyReply, Reply, Request,
};

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(list, start))
        .routes(routes!(show))
        .routes(routes!(decide))
        .routes(routes!(report))
}

/// A campaign to be started.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewCampaign {
    over: Over,
    /// Until when it is to be answered, in microseconds since 1970; what is not is taken away, or escalated.
    due_us: u64,
    /// Who looks at all of it, instead of each person's manager or owner.
    #[serde(default)]
    reviewer: Option<String>,
    /// Who looks at what the reviewer may not, or where there is none.
    #[serde(default)]
    deputy: Option<String>,
    /// Who is asked about what is not answered, before it is taken away.
    #[serde(default)]
    escalate_to: Option<String>,
    /// For how long.
    #[serde(default)]
    escalate_s: u64,
}

/// What somebody decides about rights.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Decision {
    items: Vec<u64>,
    verdict: Answered,
    #[serde(default)]
    reason: String,
}

/// A report as bytes of JSON, and the text about them that the log's key signed.
#[derive(Debug, Serialize, ToSchema)]
struct SignedReport {
    json: String,
    note: String,
}

/// Lists the campaigns.
#[utoipa::path(
    get,
    path = "/api/v1/campaigns",
    responses((status = 200, description = "Done", body = Vec<CampaignView>), Refused),
    extensions(("x-right" = json!("admin | auditor | privacy-officer | approver"))),
)]
async fn list(State(node): State<Desk>, Caller(actor): Caller) -> Result<Json<Vec<CampaignView>>, Problem> {
    let request = Request::Recertify(RecertifyAsk::List {});
    let Reply::Recertify(RecertifyReply::Campaigns(campaigns)) = ask(&node, &actor, request).await? else {
        return Err(unexpected());
    };
    Ok(Json(campaigns))
}

/// Starts a campaign: makes the list of rights, and says who looks at each.
#[utoipa::path(
    post,
    path = "/api/v1/campaigns",
    request_body = NewCampaign,
    responses((status = 200, description = "Done", body = CampaignReport), Refused),
    extensions(("x-right" = json!("admin | privacy-officer | approver"))),
)]
async fn start(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Given(body): Given<NewCampaign>,
) -> Result<Json<CampaignReport>, Problem> {
    let request = Request::Recertify(RecertifyAsk::Start {
        over: body.over,
        due_us: body.due_us,
        reviewer: body.reviewer,
        deputy: body.deputy,
        escalate_to: body.escalate_to,
        escalate_s: body.escalate_s,
    });
    let Reply::Recertify(RecertifyReply::Campaign(campaign)) = ask(&node, &actor, request).await? else {
        return Err(unexpected());
    };
    Ok(Json(*campaign))
}

/// Shows the rights of a campaign: all of them to whoever holds a right, to a reviewer what they review.
#[utoipa::path(
    get,
    path = "/api/v1/campaigns/{number}",
    params(("number" = u64, Path)),
    responses((status = 200, description = "Done", body = CampaignReport), Refused),
    extensions(("x-right" = json!("person"))),
)]
async fn show(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(number): Named<u64>,
) -> Result<Json<CampaignReport>, Problem> {
    let request = Request::Recertify(RecertifyAsk::Show { campaign: number });
    let Reply::Recertify(RecertifyReply::Campaign(campaign)) = ask(&node, &actor, request).await? else {
        return Err(unexpected());
    };
    Ok(Json(*campaign))
}

/// Decides about rights that one was named to look at.
#[utoipa::path(
    post,
    path = "/api/v1/campaigns/{number}/decisions",
    params(("number" = u64, Path)),
    request_body = Decision,
    responses((status = 200, description = "Done", body = CampaignReport), Refused),
    extensions(("x-right" = json!("person"))),
)]
async fn decide(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(number): Named<u64>,
    Given(body): Given<Decision>,
) -> Result<Json<CampaignReport>, Problem> {
    let request = Request::Recertify(RecertifyAsk::Decide {
        campaign: number,
        items: body.items,
        verdict: body.verdict,
        reason: body.reason,
    });
    let Reply::Recertify(RecertifyReply::Campaign(campaign)) = ask(&node, &actor, request).await? else {
        return Err(unexpected());
    };
    Ok(Json(*campaign))
}

/// Returns everything that was decided, signed with the key of the log.
#[utoipa::path(
    get,
    path = "/api/v1/campaigns/{number}/report",
    params(("number" = u64, Path)),
    responses((status = 200, description = "Done", body = SignedReport), Refused),
    extensions(("x-right" = json!("admin | auditor | privacy-officer | approver"))),
)]
async fn report(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(number): Named<u64>,
) -> Result<Json<SignedReport>, Problem> {
    let request = Request::Recertify(RecertifyAsk::Report { campaign: number });
    let Reply::Recertify(RecertifyReply::Signed { json, note }) = ask(&node, &actor, request).await? else {
        return Err(unexpected());
    };
    Ok(Json(SignedReport { json, note }))
}
