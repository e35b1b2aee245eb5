//! What a source is answered: in our own form, or as a FHIR server would.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

/// When a refused source may come again.
const RETRY_AFTER_S: &str = "30";

/// In which words a source is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON of our own.
    Own,
    /// FHIR.
    Fhir,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    form: Form,
    status: u16,
    body: Value,
}

impl Answer {
    /// Says that everything is recorded; of each event whether it was before.
    pub(super) fn taken(form: Form, known: Vec<bool>) -> Answer {
        let before = known.iter().filter(|known| **known).count();
        let body = match form {
            Form::Own => json!({ "taken": known.len() - before, "known": before }),
            Form::Fhir => {
                let entry = |known: bool| {
                    let status = if known { "200 OK" } else { "201 Created" };
                    json!({ "response": { "status": status } })
                };
                let entries: Vec<Value> = known.into_iter().map(entry).collect();
                json!({ "resourceType": "Bundle", "type": "batch-response", "entry": entries })
            }
        };
        Answer { form, status: 200, body }
    }

    /// Says why nothing was taken.
    pub(super) fn refuse(form: Form, status: u16, why: &str) -> Answer {
        let body = match form {
            Form::Own => json!({ "error": why }),
            Form::Fhir => json!({
                "resourceType": "OperationOutcome",
                "issue": [{ "severity": "error", "code": "processing", "diagnostics": why }],
            }),
        };
        Answer { form, status, body }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body.to_string() + "\n")));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let kind = match self.form {
            Form::Own => "application/json",
            Form::Fhir => "application/fhir+json",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        match self.status {
            401 => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            429 | 503 => drop(headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S))),
            _ => {}
        }
        response
    }
}
