//! The HTTP API and the pages of people, over TLS.
//!
//! A route proves who calls, makes the `Request` that the command of the same name makes, and hands it to
//! `Node::perform`: rights, records and words are the same on both ways. `docs/api/openapi.json` is written from the
//! code and compared by a test; each operation says there which right it takes (`x-right`), and a test walks all of them. Deliberately absent: anything that only the account of the server may do.

mod accounts;
mod approvals;
mod caller;
mod campaigns;
mod courses;
mod emergency;
mod exceptions;
mod home;
mod html;
mod me;
mod oidc;
mod oversight;
mod own;
mod pages;
mod passkeys;
mod people;
mod picture;
mod problem;
mod rate;
mod request;
mod requests;
mod scim;
mod session;
mod sessions;
mod sign_in;
#[cfg(test)]
mod tests;
mod training;
mod visit;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::response::IntoResponse as _;
use hyper::{Request, Response};
use tokio::time::timeout;
use tower_service::Service as _;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::config::Config;
use crate::https::{Answers, Https, InTime, Place};
use crate::node::Node;
use crate::output;
use problem::Problem;
use rate::Rates;

pub(crate) use approvals::Approvals;
pub(crate) use passkeys::Ceremonies;
pub(crate) use session::Browsers;

/// Longest body of a request.
const BODY_BYTES_MAX: usize = 1 << 20;
/// From the head of a request to the end of its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// From the head of a request to its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Said with every answer: nothing here is cached, framed, sniffed or told to other sites.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
    ),
    (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
];

/// What every route is handed.
pub(crate) type Desk = Arc<Node>;

/// The API as a document; the routes add themselves.
#[derive(OpenApi)]
#[openapi(info(
    title = "Wardline",
    description = "Everything the command line does to a running server, by HTTPS. Send `Authorization: Bearer TOKEN` \
                   with a token of `wardline login`. Every call is recorded."
))]
struct Document;

/// Returns all routes, with what they say of themselves.
fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(me::routes())
        .merge(sign_in::routes())
        .merge(people::routes())
        .merge(sessions::routes())
        .merge(requests::routes())
        .merge(oversight::routes())
        .merge(emergency::routes())
        .merge(exceptions::routes())
        .merge(accounts::routes())
        .merge(campaigns::routes())
        .merge(courses::routes())
        .merge(pages::routes())
        .merge(passkeys::routes())
        .merge(training::routes())
        .merge(oidc::routes())
        .merge(scim::routes())
}

/// The listener of the API.
#[derive(Debug)]
pub(crate) struct Web(Https);

struct Api {
    node: Desk,
    router: Router,
    rates: Rates,
}

impl Web {
    /// Starts to listen, where the configuration says so.
    pub(crate) async fn start(node: &Arc<Node>, config: &Config) -> anyhow::Result<Option<Web>> {
        let Some(web) = &config.web else { return Ok(None) };
        let (router, _document) = routes().split_for_parts();
        let router = router
            .fallback(|| async { Problem::new(404, "there is nothing at this address") })
            .method_not_allowed_fallback(|| async { Problem::new(405, "this is not done here") })
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(Arc::clone(node));
        let rates = Rates::new(web.requests_per_minute_max, Instant::now());
        let place = Place {
            what: "web",
            address: web.address,
            certificate: &web.certificate,
            connections_max: web.connections_max,
            body_timeout: BODY_TIMEOUT,
        };
        let https =
            Https::start(&node.folder, place, Arc::new(Api { node: Arc::clone(node), router, rates }))
                .await?;
        let (address, fingerprint) = (https.address(), https.fingerprint());
        tracing::info!(%address, fingerprint, "serving the API");
        output::line(&format!("wardline: API on https://{address}, certificate SHA-256 {fingerprint}"));
        Ok(Some(Web(https)))
    }

    /// Takes nothing new, and lets requests finish for a moment.
    pub(crate) async fn stop(self) {
        self.0.stop().await;
    }
}

impl Answers for Api {
    type Body = Body;

    async fn answer(&self, mut request: Request<InTime>, peer: SocketAddr) -> Response<Body> {
        request.extensions_mut().insert(ConnectInfo(peer));
        if !self.rates.allows(peer.ip(), Instant::now()) {
            return with_headers(Problem::new(429, "too many requests from this address").into_response());
        }
        if self.node.lock_on_address(peer.ip()).is_some() {
            return with_headers(Problem::new(403, "this address is locked").into_response());
        }
        // INVARIANT: what was begun is done to its end, also when whoever asked does not wait for it. A caller who hangs up
        // after a change is written and before it is in force would otherwise keep what was taken away.
        let done = tokio::spawn(self.router.clone().call(request));
        let response = match timeout(ANSWER_TIMEOUT, done).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(error)) => {
                tracing::error!(%error, "a call of the API ended by itself");
                Problem::new(500, "the server failed; its log says more").into_response()
            }
            Err(_) => Problem::new(503, "the answer was not ready in time; what was asked for may be done")
                .into_response(),
        };
        with_headers(response)
    }
}

fn with_headers(mut response: Response<Body>) -> Response<Body> {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}
