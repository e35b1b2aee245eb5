//! What people must learn and did: the roster, and completions that are entered by hand or by another system.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Desk;
use super::caller::Caller;
use super::problem::{Problem, Refused};
use super::request::{Because, Done, Given, Named, ask, unexpected};
use crate::admin::{Completed, CompletionView, LessonView, Reply, Request, Told, TrainingAsk, TrainingReply};

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new().routes(routes!(roster)).routes(routes!(completions, enter)).routes(routes!(withdraw))
}

/// What was entered.
#[derive(Debug, Serialize, ToSchema)]
struct Entered {
    numbers: Vec<u64>,
    /// How many completions were there already.
    known: usize,
}

/// Says who must learn what until when, and did.
#[utoipa::path(
    get,
    path = "/api/v1/training/roster",
    responses((status = 200, description = "Done", body = Vec<LessonView>), Refused),
    extensions(("x-right" = json!("trainer | admin | auditor | privacy-officer | approver"))),
)]
async fn roster(State(node): State<Desk>, Caller(actor): Caller) -> Result<Json<Vec<LessonView>>, Problem> {
    let request = Request::Training(TrainingAsk::Roster {});
    let Reply::Training(TrainingReply::Roster(lessons)) = ask(&node, &actor, request).await? else {
        return Err(unexpected());
    };
    Ok(Json(lessons))
}

/// Lists what was entered.
#[utoipa::path(
    get,
    path = "/api/v1/training/completions",
    responses((status = 200, description = "Done", body = Vec<CompletionView>), Refused),
    extensions(("x-right" = json!("trainer | admin | auditor | privacy-officer | approver"))),
)]
async fn completions(
    State(node): State<Desk>,
    Caller(actor): Caller,
) -> Result<Json<Vec<CompletionView>>, Problem> {
    let request = Request::Training(TrainingAsk::Completions {});
    let Reply::Training(TrainingReply::Completions(completions)) = ask(&node, &actor, request).await? else {
        return Err(unexpected());
    };
    Ok(Json(completions))
}

/// Enters that people completed courses: all of it, or nothing where one cannot be entered.
#[utoipa::path(
    post,
    path = "/api/v1/training/completions",
    request_body = Vec<Completed>,
    responses((status = 200, description = "Done", body = Entered), Refused),
    extensions(("x-right" = json!("trainer | admin"))),
)]
async fn enter(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Given(completions): Given<Vec<Completed>>,
) -> Result<Json<Entered>, Problem> {
    let request = Request::Training(TrainingAsk::Complete { completions, from: Told::Command });
    let Reply::Training(TrainingReply::Entered { numbers, known }) = ask(&node, &actor, request).await?
    else {
        return Err(unexpected());
    };
    Ok(Json(Entered { numbers, known }))
}

/// Takes back what was entered by mistake.
#[utoipa::path(
    post,
    path = "/api/v1/training/completions/{number}/withdraw",
    params(("number" = u64, Path)),
    request_body = Because,
    responses((status = 200, description = "Done", body = Done), Refused),
    extensions(("x-right" = json!("trainer | admin"))),
)]
async fn withdraw(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(number): Named<u64>,
    Given(body): Given<Because>,
) -> Result<Json<Done>, Problem> {
    let request = Request::Training(TrainingAsk::Withdraw { number, reason: body.reason });
    let Reply::Training(TrainingReply::Withdrawn {}) = ask(&node, &actor, request).await? else {
        return Err(unexpected());
    };
    Ok(Json(Done {}))
}
