//! Hands batches over by HTTPS. A batch is taken when the answer says so: a status of success, for FHIR one for each
//! event.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::error::NotTaken;
use crate::format::Format;
use crate::receiver::{Bearer, Line, Peer};
use crate::text::{at, hex};

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
    /// With which each request is signed, where it is.
    secret: Option<hmac::Key>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Http {
    pub(crate) fn new(peer: Peer, uri: &Uri, format: Format, bearer: Option<HeaderValue>) -> Http {
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let host = uri.authority().map(|authority| authority.as_str().to_owned());
        let host = host.unwrap_or_else(|| peer.host.clone());
        Http { peer, path, host, format, bearer, secret: None, connection: None }
    }

    /// Signs each request from now on.
    pub(crate) fn signed(self, secret: &Bearer) -> Http {
        Http { secret: Some(hmac::Key::new(hmac::HMAC_SHA256, secret.0.as_bytes())), ..self }
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
        let signature = self.secret.as_ref().map(|secret| signature(secret, SystemTime::now(), &body));
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
        if let Some(signature) = signature.and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert("wardline-signature", signature);
        }
        if let Some(bearer) = &self.bearer {
            headers.insert(AUTHORIZATION, bearer.clone());
        }
        request
    }
}

/// Returns the time in seconds, and HMAC-SHA-256 over it, a dot and the body: whoever knows the secret can tell that a
/// message is ours, and not an old one.
fn signature(secret: &hmac::Key, at: SystemTime, body: &str) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let tag = hmac::sign(secret, format!("{seconds}.{body}").as_bytes());
    format!("t={seconds},v1={}", hex(tag.as_ref()))
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
        Format::Notice(_) => ("application/json", texts.join("\n")),
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

    /// The vector of docs/formats/notice.md.
    #[test]
    fn a_message_is_signed_over_its_time() {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, b"a secret of both");
        let at = UNIX_EPOCH + std::time::Duration::from_secs(1_795_428_000);
        assert_eq!(
            signature(&secret, at, "{}"),
            "t=1795428000,v1=55277bde866f6be5d2e404c6604d781b2ba25fe312b2e2b3bde8321eb9fc7268"
        );
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
