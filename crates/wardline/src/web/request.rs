//! What comes in, with refusals in our own form, and how it becomes a `Request`.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Desk;
use super::problem::Problem;
use crate::admin::{Actor, Reply, Request};

/// The body, as JSON.
#[derive(Debug)]
pub(crate) struct Given<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Desk> for Given<T> {
    type Rejection = Problem;

    async fn from_request(request: axum::extract::Request, desk: &Desk) -> Result<Given<T>, Problem> {
        match Json::<T>::from_request(request, desk).await {
            Ok(Json(body)) => Ok(Given(body)),
            Err(rejection) => {
                Err(Problem::new(rejection.status().as_u16(), "the body is not what is asked for").help(
                    "send JSON as docs/api/openapi.json describes it, with `Content-Type: application/json`",
                ))
            }
        }
    }
}

/// A name or number in the path.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Desk> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Named<T>, Problem> {
        match Path::<T>::from_request_parts(parts, desk).await {
            Ok(Path(named)) => Ok(Named(named)),
            Err(_) => Err(Problem::new(404, "there is nothing at this address")),
        }
    }
}

/// What stands behind the `?`.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Desk> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Asked<T>, Problem> {
        match Query::<T>::from_request_parts(parts, desk).await {
            Ok(Query(asked)) => Ok(Asked(asked)),
            Err(_) => Err(Problem::new(400, "what stands behind the `?` is not what is asked for")
                .help("docs/api/openapi.json lists what may stand there")),
        }
    }
}

/// Why something is done; it is recorded.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Because {
    pub(crate) reason: String,
}

/// It was done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {}

/// Does what was asked.
pub(crate) async fn ask(desk: &Desk, actor: &Actor, request: Request) -> Result<Reply, Problem> {
    desk.perform(actor, request).await.map_err(Problem::from)
}

/// For a reply of another kind than the request has.
pub(crate) fn unexpected() -> Problem {
    Problem::new(500, "the server answered something else; its log may say more")
}
