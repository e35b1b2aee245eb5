//! Routes about the one who calls.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Desk;
use super::caller::Caller;
use super::problem::Refused;

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new().routes(routes!(me))
}

/// Who calls, and what they may do with Wardline itself.
#[derive(Debug, Serialize, ToSchema)]
struct Me {
    name: String,
    roles: Vec<String>,
    rights: Vec<String>,
}

/// Says who you are and what you may do with Wardline itself.
#[utoipa::path(
    get,
    path = "/api/v1/me",
    responses((status = 200, description = "Who calls", body = Me), Refused),
    extensions(("x-right" = json!("person"))),
)]
async fn me(State(node): State<Desk>, Caller(actor): Caller) -> Json<Me> {
    let rights = node.rights_of(&actor).into_iter().map(|right| right.name().to_owned()).collect();
    let roles = actor.person.as_ref().map(|person| person.roles.clone()).unwrap_or_default();
    Json(Me { name: actor.shown(), roles, rights })
}
