//! What went wrong, as `application/problem+json` (RFC 9457), with what to do about it.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::admin::Refusal;

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
/// When somebody who was refused for now may come again, in seconds.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("5");

/// How calls are refused, all in one form.
#[derive(Debug, IntoResponses)]
#[expect(dead_code, reason = "says what answers there are, and is none")]
pub(crate) enum Refused {
    /// Who calls is not proven.
    #[response(status = 401, content_type = "application/problem+json")]
    Unproven(#[to_schema] Problem),
    /// There is no right to it.
    #[response(status = 403, content_type = "application/problem+json")]
    Denied(#[to_schema] Problem),
    /// It was understood and not done; the problem says why.
    #[response(status = 422, content_type = "application/problem+json")]
    NotDone(#[to_schema] Problem),
    /// Too many requests from one address.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(#[to_schema] Problem),
}

/// Why a call was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The HTTP status.
    status: u16,
    /// What is wrong.
    title: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Problem {
    /// Says what is wrong.
    pub(crate) fn new(status: u16, title: impl Into<String>) -> Problem {
        Problem { status, title: title.into(), detail: None }
    }

    /// Adds what to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Problem {
        self.detail = Some(help.into());
        self
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let status = if refusal.denied { 403 } else { 422 };
        Problem { status, title: refusal.message, detail: refusal.help }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, MEDIA_TYPE);
        match self.status {
            401 => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            429 | 503 => drop(headers.insert(RETRY_AFTER, RETRY_AFTER_S)),
            _ => {}
        }
        response
    }
}
