//! Who looks at a page: somebody signed in, or a stranger who is shown the way to sign in.

use std::net::SocketAddr;

use axum::Form;
use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode};
use axum::response::IntoResponse as _;
use serde::de::DeserializeOwned;

use super::Desk;
use super::html::{Page, go_to, onward};
use super::session::Visitor;

/// Somebody who is signed in, and where from. A request that is not a mere look has to come from our own pages.
#[derive(Debug)]
pub(crate) struct Visiting {
    pub(crate) visitor: Visitor,
    pub(crate) peer: SocketAddr,
}

impl FromRequestParts<Desk> for Visiting {
    type Rejection = Response<Body>;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Visiting, Response<Body>> {
        let Peer(peer) = Peer::from_request_parts(parts, desk).await?;
        if parts.method != Method::GET && !desk.is_from_our_pages(&parts.headers) {
            return Err(foreign());
        }
        match desk.visitor(&parts.headers).await {
            Ok(Some(visitor)) => Ok(Visiting { visitor, peer }),
            Ok(None) if parts.method == Method::GET => {
                Err(go_to(&format!("/sign-in?next={}", onward(Some(parts.uri.path()))), None))
            }
            Ok(None) => Err(go_to("/sign-in", None)),
            Err(refusal) => {
                tracing::error!(%refusal, "a page cannot be shown");
                Err(unavailable())
            }
        }
    }
}

/// Where a request comes from.
#[derive(Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl FromRequestParts<Desk> for Peer {
    type Rejection = Response<Body>;

    async fn from_request_parts(parts: &mut Parts, _: &Desk) -> Result<Peer, Response<Body>> {
        parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| Peer(peer.0)).ok_or_else(unavailable)
    }
}

/// A form of our own pages, filled in.
#[derive(Debug)]
pub(crate) struct Filled<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Desk> for Filled<T> {
    type Rejection = Response<Body>;

    async fn from_request(request: axum::extract::Request, desk: &Desk) -> Result<Filled<T>, Response<Body>> {
        if !desk.is_from_our_pages(request.headers()) {
            return Err(foreign());
        }
        match Form::<T>::from_request(request, desk).await {
            Ok(Form(form)) => Ok(Filled(form)),
            Err(_) => Err(Page::new("This did not work")
                .status(StatusCode::BAD_REQUEST)
                .text("The form was not complete. Go back and try again.")
                .into_response()),
        }
    }
}

fn foreign() -> Response<Body> {
    Page::new("This did not come from here")
        .status(StatusCode::FORBIDDEN)
        .text("For your safety, Wardline only does what is asked on its own pages.")
        .link("/", "To the first page")
        .into_response()
}

/// For what fails on our side.
pub(crate) fn unavailable() -> Response<Body> {
    Page::new("Not now")
        .status(StatusCode::SERVICE_UNAVAILABLE)
        .text("Wardline cannot do this at the moment. Try again soon, or tell your administrator.")
        .into_response()
}
