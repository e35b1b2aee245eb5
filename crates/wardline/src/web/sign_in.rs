//! Tokens for those who prove who they are.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Desk;
use super::problem::{Problem, Refused};
use super::request::{Given, ask, unexpected};
use super::visit::Peer;
use crate::admin::{Actor, Reply, Request, Sensitive, TokenView};

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new().routes(routes!(login))
}

/// A password, and a code of the second factor where there is one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    name: String,
    password: Sensitive,
    code: Option<Sensitive>,
    life_s: Option<u64>,
}

/// Exchanges a password for a token of limited life.
#[utoipa::path(
    post,
    path = "/api/v1/tokens",
    request_body = Login,
    responses((status = 200, description = "Done", body = TokenView), Refused),
    extensions(("x-right" = json!("open"))),
)]
async fn login(
    State(node): State<Desk>,
    Peer(peer): Peer,
    Given(body): Given<Login>,
) -> Result<Json<TokenView>, Problem> {
    let Login { name, password, code, life_s } = body;
    let request = Request::Login { name, password, life_s, code };
    let Reply::Token(token) = ask(&node, &Actor::on_the_web(Some(peer)), request).await? else {
        return Err(unexpected());
    };
    Ok(Json(token))
}
