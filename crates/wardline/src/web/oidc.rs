//! Signing in at an identity provider with a browser: there and back. What somebody gets who came back is a token, as text.
//!
//! Open to everybody, as a sign-in must be. The way back works once, with the cookie of the way there, and says nothing of
//! why it failed.

use axum::extract::{Path, Query, State};
use axum::http::header::{CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, LOCATION, SET_COOKIE};
use axum::http::{Response, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Desk;
use super::problem::Problem;
use crate::admin::{Refusal, TokenView};
use crate::oidc::Back;

/// `__Host-`: of this host alone, over TLS alone, whatever else is served under its name.
const COOKIE_NAME: &str = "__Host-wardline-oidc";

/// As long as the provider is waited for.
const COOKIE_LIFE_S: u32 = 600;

/// Longest value that a provider sends back.
const VALUE_BYTES_MAX: usize = 4 << 10;

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new().routes(routes!(begin)).routes(routes!(finish))
}

/// Sends a browser to an identity provider.
#[utoipa::path(
    get,
    path = "/oidc/{provider}/begin",
    extensions(("x-right" = json!("open"))),
    params(("provider" = String, Path, description = "Name of `[oidc.NAME]`")),
    responses(
        (status = 303, description = "To the provider"),
        (status = 403, description = "There is no such provider, or it cannot be reached", body = Problem),
    ),
)]
async fn begin(State(node): State<Desk>, Path(provider): Path<String>) -> Result<Response<String>, Problem> {
    let url = node.config.load().web.as_ref().map(|web| web.url.clone()).unwrap_or_default();
    let begun = node.oidc_begin(&provider, format!("{url}/oidc/{provider}/callback")).await;
    let begun = begun.map_err(refused)?;
    let cookie = format!(
        "{COOKIE_NAME}={}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={COOKIE_LIFE_S}",
        begun.cookie
    );
    let mut response = Response::new(String::new());
    *response.status_mut() = StatusCode::SEE_OTHER;
    for (name, value) in [(LOCATION, begun.location), (SET_COOKIE, cookie)] {
        let value = HeaderValue::from_str(&value).map_err(|_| Problem::new(500, "sign-in failed"))?;
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// What a provider sends a browser back with.
#[derive(Debug, Deserialize, IntoParams)]
struct Answer {
    /// Of the way there.
    #[serde(default)]
    state: String,
    /// To be exchanged for a token; missing where the provider said no.
    code: Option<String>,
    /// Who answers (RFC 9207).
    iss: Option<String>,
}

/// Takes a browser back from an identity provider.
#[utoipa::path(
    get,
    path = "/oidc/{provider}/callback",
    extensions(("x-right" = json!("open"))),
    params(("provider" = String, Path, description = "Name of `[oidc.NAME]`"), Answer),
    responses(
        (status = 200, description = "A token, as text", content_type = "text/plain", body = String),
        (status = 403, description = "Nobody was proven", body = Problem),
    ),
)]
async fn finish(
    State(node): State<Desk>,
    Path(provider): Path<String>,
    Query(answer): Query<Answer>,
    headers: HeaderMap,
) -> Result<Response<String>, Problem> {
    let long = |value: &Option<String>| value.as_ref().is_some_and(|value| value.len() > VALUE_BYTES_MAX);
    if answer.state.len() > VALUE_BYTES_MAX || long(&answer.code) || long(&answer.iss) {
        return Err(Problem::new(400, "the answer of the provider is too long"));
    }
    let back = Back {
        state: &answer.state,
        code: answer.code.as_deref(),
        issuer: answer.iss.as_deref(),
        cookie: cookie(&headers),
    };
    let arrived = node.oidc_finish(&provider, &back).await.map_err(refused)?;
    let token = node.token_of_arrival(&arrived).await.map_err(refused)?;
    let mut response = Response::new(shown(&token, arrived.shown.factor_at.is_some()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let over = format!("{COOKIE_NAME}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0");
    if let Ok(over) = HeaderValue::from_str(&over) {
        headers.insert(SET_COOKIE, over);
    }
    Ok(response)
}

/// Nobody was proven, whatever the reason.
fn refused(refusal: Refusal) -> Problem {
    let problem = Problem::new(403, refusal.message);
    match refusal.help {
        Some(help) => problem.help(help),
        None => problem,
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE_NAME).then_some(value))
}

fn shown(token: &TokenView, factor: bool) -> String {
    let factor = if factor { " with a second factor" } else { "" };
    format!(
        "You are signed in as {}{factor}.\n\nUse this in place of a password until {}; it is shown this once:\n\n{}\n",
        token.person,
        token.expires_at,
        token.token.0.expose()
    )
}
