//! Hands batches over by HTTPS. A batch is taken when the answer says so: a status of success, for FHIR one for each
//! event.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::error::NotTaken;
use crate::format::Format;
use crate::receiver::{Line, Peer};
use crate::text::at;

/// The longest answer that is read: one for each event of a batch.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// One receiver, and the connection to it.
#[derive(Debug)]
pub struct Http {
    peer: Peer,
    path: String,
    host: String,
    format: Format,
    bearer: Option<HeaderValue>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Http {
    pub(crate) fn new(peer: Peer, uri: &Uri, format: Format, bearer: Option<HeaderValue>) -> Http {
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let host = uri.authority().map(|authority| authority.as_str().to_owned());
        let host = host.unwrap_or_else(|| peer.host.clone());
        Http { peer, path, host, format, bearer, connection: None }
    }

    pub(crate) async fn take(&mut self, lines: &[Line]) -> Result<(), NotTaken> {
        // Kept only after an exchange that went well.
        let mut connection = match self.connection.take() {
            Some(connection) if !connection.is_closed() => connection,
            Some(_) | None => self.connect().await?,
        };
        let answer = connection.send_request(self.request(lines)).await.map_err(NotTaken::Http)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| NotTaken::Answer)?.to_bytes();
        if !status.is_success() {
            return Err(NotTaken::Status(status.as_u16()));
        }
        if self.format == Format::Fhir {
            all_taken(&body, lines.len())?;
        }
        self.connection = Some(connection);
        Ok(())
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, NotTaken> {
        let stream = self.peer.connect().await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(NotTaken::Http)?;
        // Ends with the sender, or with the peer's end.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a receiver ended");
            }
        });
        Ok(sender)
    }

    fn request(&self, lines: &[Line]) -> Request<Full<Bytes>> {
        let (kind, body) = body(self.format, lines);
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        let agent = concat!("wardline/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(ACCEPT, HeaderValue::from_static("application/fhir+json, application/json, */*"));
        if let Ok(host) = HeaderValue::from_str(&self.host) {
            headers.insert(HOST, host);
        }
        if self.format == Format::Fhir {
            headers.insert("prefer", HeaderValue::from_static("return=minimal"));
        }
        if let Some(bearer) = &self.bearer {
            headers.insert(AUTHORIZATION, bearer.clone());
        }
        request
    }
}

/// Returns a batch in the form that the receiver takes, and the name of the form.
fn body(format: Format, lines: &[Line]) -> (&'static str, String) {
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    match format {
        // ITI-20 (RESTful ATNA): a Bundle of type batch.
        Format::Fhir => {
            let entries: Vec<String> = lines
                .iter()
                .map(|line| {
                    format!(
                        "{{\"fullUrl\":\"urn:uuid:{}\",\"resource\":{},\"request\":{{\"method\":\"POST\",\
                         \"url\":\"AuditEvent\"}}}}",
                        line.uuid, line.text
                    )
                })
                .collect();
            let bundle = format!(
                "{{\"resourceType\":\"Bundle\",\"type\":\"batch\",\"entry\":[{}]}}",
                entries.join(",")
            );
            ("application/fhir+json", bundle)
        }
        Format::CloudEvents => ("application/cloudevents-batch+json", format!("[{}]", texts.join(","))),
        Format::Ocsf | Format::Atna => ("application/x-ndjson", texts.join("\n") + "\n"),
    }
}

/// Reads a FHIR server's answer: every event must have been taken.
fn all_taken(answer: &[u8], count: usize) -> Result<(), NotTaken> {
    let answer: Value = serde_json::from_slice(answer).map_err(|_| NotTaken::Answer)?;
    let entries = at(&answer, "/entry").as_array().ok_or(NotTaken::Answer)?;
    if entries.len() != count {
        return Err(NotTaken::Answer);
    }
    for (number, entry) in entries.iter().enumerate() {
        let status = at(entry, "/response/status").as_str().unwrap_or("no status");
        if !status.starts_with('2') {
            let status = crate::text::plain(status).chars().take(40).collect();
            return Err(NotTaken::Event { number, status });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_taken_when_every_event_is() {
        let check = |answer: &str, taken: bool| {
            assert_eq!(all_taken(answer.as_bytes(), 1).is_ok(), taken, "{answer}")
        };
        check(r#"{"resourceType":"Bundle","entry":[{"response":{"status":"201 Created"}}]}"#, true);
        check(r#"{"resourceType":"Bundle","entry":[{"response":{"status":"422"}}]}"#, false);
        check(r#"{"resourceType":"Bundle","entry":[]}"#, false);
        check("ok", false);
    }

    #[test]
    fn batches_are_json() {
        let line = Line { uuid: "u".to_owned(), text: "{\"a\":1}".to_owned() };
        for format in [Format::Fhir, Format::CloudEvents] {
            let (_, body) = body(format, &[line.clone(), line.clone()]);
            assert!(serde_json::from_str::<Value>(&body).is_ok(), "{body}");
        }
        assert_eq!(body(Format::Ocsf, &[line.clone(), line]).1, "{\"a\":1}\n{\"a\":1}\n");
    }
}
