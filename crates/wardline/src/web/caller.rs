//! Who calls: proven by a token or by a session of a browser, or refused. A token that proves nothing is recorded.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::Method;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use identity::token;
use model::Secret;

use super::Desk;
use super::problem::Problem;
use crate::admin::{Actor, Claim, Sensitive};

/// Whoever proved who they are, with this call.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) Actor);

impl FromRequestParts<Desk> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, node: &Desk) -> Result<Caller, Problem> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0);
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let secret = header.and_then(|value| value.strip_prefix("Bearer ")).map(|it| Secret::new(it.trim()));
        let Some(secret) = secret else { return by_cookie(parts, node, peer).await };
        // A token without an owner is proven like one with: the name of nobody fails in the same way.
        let name = match token::token_id(&secret) {
            Some(id) => node.registry.token_holder(id.0).await.map_err(|error| {
                tracing::error!(%error, "the registry could not be asked");
                Problem::new(503, "who calls cannot be checked now")
            })?,
            None => None,
        };
        let claim = Claim { name: name.unwrap_or_default(), token: Sensitive(secret) };
        match node.identify(Actor::on_the_web(peer), Some(claim)).await {
            Ok(actor) => Ok(Caller(actor)),
            Err(_recorded) => Err(unproven()),
        }
    }
}

/// Takes a session of a browser for a proof; what is not a mere look has to come from our own pages.
async fn by_cookie(parts: &Parts, node: &Desk, peer: Option<SocketAddr>) -> Result<Caller, Problem> {
    let visitor = node.visitor(&parts.headers).await?;
    let (Some(visitor), Some(peer)) = (visitor, peer) else { return Err(unproven()) };
    if parts.method != Method::GET && !node.is_from_our_pages(&parts.headers) {
        return Err(Problem::new(403, "this did not come from a page of Wardline")
            .help("send `Authorization: Bearer TOKEN` in place of the cookie"));
    }
    Ok(Caller(visitor.actor(peer)))
}

fn unproven() -> Problem {
    Problem::new(401, "who calls is not proven").help(
        "send `Authorization: Bearer TOKEN` with a token of `wardline login`; an old one may have ended",
    )
}
