//! The way in: other systems report accesses by HTTPS, and each becomes a record of its own kind with its source.
//!
//! A request is read whole, then recorded; the answer comes when every event of it is durable. What a source says is
//! kept as what a source says: the person is no principal of ours, and the entry says who told of it.
//! `docs/formats/inbound.md` describes what is taken. Deliberately absent: anything that reads the trail for a caller.

mod answer;
mod read;
mod seen;
mod sources;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::header::AUTHORIZATION;
use hyper::{Method, Request, Response};
use model::{Kind, Record};
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::config::Config;
use crate::https::{Answers, Https, InTime, Place};
use crate::keep;
use crate::node::{Node, load_root_key};
use crate::output;
use answer::{Answer, Form};
use read::Reported;
use seen::Seen;
use sources::Sources;

/// For the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// The period of `requests_per_minute_max`.
const RATE_PERIOD: Duration = Duration::from_mins(1);

/// The listener.
pub(crate) struct Inbound(Https);

/// What every request needs.
struct Desk {
    config: Arc<crate::config::Inbound>,
    sources: Sources,
    recorder: Arc<Recorder>,
    rates: Mutex<HashMap<String, (Instant, u32)>>,
}

/// Records what is new.
struct Recorder {
    node: Arc<Node>,
    config: Arc<crate::config::Inbound>,
    /// One request is recorded at a time, so that an event that comes twice at once is recorded once.
    seen: tokio::sync::Mutex<Seen>,
}

impl Inbound {
    /// Starts to listen, where the configuration says so.
    pub(crate) async fn start(node: &Arc<Node>, config: &Config) -> anyhow::Result<Option<Inbound>> {
        let Some(inbound) = &config.inbound else { return Ok(None) };
        let reader = trail::Reader::open_on(keep::disk(config)?, &load_root_key(&node.folder.root_key())?)?;
        let seen = tokio::task::spawn_blocking(move || Seen::of(&reader)).await??;
        let config = Arc::new(inbound.clone());
        let recorder = Recorder {
            node: Arc::clone(node),
            config: Arc::clone(&config),
            seen: tokio::sync::Mutex::new(seen),
        };
        let desk = Arc::new(Desk {
            config,
            sources: Sources::of(&node.folder),
            recorder: Arc::new(recorder),
            rates: Mutex::default(),
        });
        let place = Place {
            what: "inbound",
            address: inbound.address,
            certificate: &inbound.certificate,
            connections_max: inbound.connections_max,
            body_timeout: BODY_TIMEOUT,
        };
        let https = Https::start(&node.folder, place, desk).await?;
        let (address, fingerprint) = (https.address(), https.fingerprint());
        tracing::info!(%address, fingerprint, "taking reports of other systems");
        output::line(&format!("wardline: reports on https://{address}, certificate SHA-256 {fingerprint}"));
        Ok(Some(Inbound(https)))
    }

    /// Takes nothing new, and lets requests finish for a moment.
    pub(crate) async fn stop(self) {
        self.0.stop().await;
    }
}

impl Answers for Desk {
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<InTime>, peer: SocketAddr) -> Response<Full<Bytes>> {
        self.answer_to(request, peer).await.into_response()
    }
}

impl Desk {
    async fn answer_to(&self, request: Request<InTime>, peer: SocketAddr) -> Answer {
        let path = request.uri().path().trim_end_matches('/');
        let form = match path {
            "/v1/events" => Form::Own,
            "/fhir" | "/fhir/AuditEvent" => Form::Fhir,
            _ => return Answer::refuse(Form::Own, 404, "post to /v1/events, /fhir or /fhir/AuditEvent"),
        };
        if request.method() != Method::POST {
            return Answer::refuse(form, 405, "only POST is taken here");
        }
        let (source, token) = match self.admit(&request, peer) {
            Ok(admitted) => admitted,
            Err((status, why)) => return Answer::refuse(form, status, why),
        };
        let body = Limited::new(request.into_body(), self.config.body_bytes_max).collect();
        let body = match timeout(BODY_TIMEOUT, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let most = self.config.body_bytes_max;
                return Answer::refuse(form, 413, &format!("a request has at most {most} bytes"));
            }
            Ok(Err(_)) => return Answer::refuse(form, 400, "the request broke off"),
            Err(_) => return Answer::refuse(form, 408, "the request did not end in time"),
        };
        let events = match read::events(&body, self.config.events_max) {
            Ok(events) => events,
            Err(problem) => {
                let status = if matches!(problem, read::Problem::TooMany { .. }) { 413 } else { 422 };
                return Answer::refuse(form, status, &problem.to_string());
            }
        };
        // In a task of its own: a request that breaks off is recorded to its end, and known when it comes again.
        let (recorder, whose) = (Arc::clone(&self.recorder), source.clone());
        let taken = tokio::spawn(async move { recorder.take(&whose, &token, &events).await }).await;
        let why = match taken {
            Ok(Ok(known)) => return Answer::taken(form, known),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(error = why, source, "reported events could not be recorded");
        Answer::refuse(form, 503, "it cannot be recorded now; send all of it again later")
    }

    /// Returns who reports, and by which token.
    fn admit(
        &self,
        request: &Request<InTime>,
        peer: SocketAddr,
    ) -> Result<(String, String), (u16, &'static str)> {
        let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let secret = header.and_then(|value| value.strip_prefix("Bearer "));
        let whose = match secret.map(|secret| self.sources.whose(secret.trim())) {
            Some(Ok(whose)) => whose,
            Some(Err(error)) => {
                tracing::error!(%error, "the tokens of the sources cannot be read");
                return Err((503, "the tokens cannot be read now"));
            }
            None => None,
        };
        let Some((source, token)) = whose else {
            metrics::counter!("inbound_refused_total", "why" => "token").increment(1);
            tracing::warn!(%peer, "a report without a valid token was refused");
            return Err((401, "send `Authorization: Bearer TOKEN`, with a token of `wardline inbound add`"));
        };
        if !self.config.sources.contains_key(&source) {
            return Err((403, "the source is no longer in the configuration"));
        }
        if !self.within_rate(&source) {
            metrics::counter!("inbound_refused_total", "why" => "rate").increment(1);
            return Err((429, "too many requests in this minute"));
        }
        Ok((source, token))
    }

    fn within_rate(&self, source: &str) -> bool {
        let mut rates = self.rates.lock();
        let (since, count) = rates.entry(source.to_owned()).or_insert((Instant::now(), 0));
        if since.elapsed() >= RATE_PERIOD {
            (*since, *count) = (Instant::now(), 0);
        }
        *count = count.saturating_add(1);
        *count <= self.config.requests_per_minute_max
    }
}

impl Recorder {
    /// Records what is new; returns for each event whether it was known. Everything is durable when this returns well. When
    /// it does not, what became durable all the same is known from then on: sent again, it is not recorded again.
    async fn take(&self, source: &str, token: &str, events: &[Reported]) -> Result<Vec<bool>, trail::Error> {
        let issuer = self.config.sources.get(source).map(|source| source.issuer.as_str()).unwrap_or_default();
        let mut seen = self.seen.lock().await;
        let mut known = Vec::with_capacity(events.len());
        let mut waiting = Vec::new();
        let mut fresh: HashSet<&str> = HashSet::new();
        let mut failed = None;
        for event in events {
            let before = seen.contains(source, &event.id) || fresh.contains(event.id.as_str());
            known.push(before);
            if before {
                continue;
            }
            match self.node.trail.record(&self.record(source, issuer, token, event)) {
                Ok(pending) => waiting.push((event.id.as_str(), pending)),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
            fresh.insert(&event.id);
        }
        let mut taken = 0;
        for (id, pending) in waiting {
            match pending.await {
                Ok(_durable) => {
                    seen.insert(source, id);
                    taken += 1;
                }
                Err(error) => failed = Some(failed.unwrap_or(error)),
            }
        }
        metrics::counter!("inbound_events_total", "source" => source.to_owned()).increment(taken);
        failed.map_or(Ok(known), Err)
    }

    fn record(&self, source: &str, issuer: &str, token: &str, event: &Reported) -> Record<'static> {
        let sealer = self.node.trail.sealer();
        let patients: Vec<Box<[u8]>> = event.patients.iter().map(|id| id.as_bytes().into()).collect();
        let mut record = Record::new(Kind::Reported, self.node.now());
        record.person_name = Some(format!("reported:{}", event.person).into());
        record.address = event.address;
        record.action = Some(event.action);
        record.command = Some(event.command.into());
        record.objects = event.objects.iter().map(|name| name.clone().into()).collect();
        record.outcome = event.outcome;
        record.detail = Some(format!("happened {}; by token {token}", event.happened).into());
        record.sealed = Some(sealer.seal(0, 0, &plaintext(&event.original)).into());
        if !patients.is_empty() {
            record.patients = sealer.patients(0, 0, issuer, &patients);
        }
        record.source = Some(source.to_owned().into());
        record.source_event = Some(event.id.clone().into());
        record
    }
}

/// Lays an event out as sealed literals are: see `docs/formats/record.md`.
fn plaintext(original: &[u8]) -> Vec<u8> {
    let mut literal = Vec::with_capacity(original.len() + 4);
    let mut length = original.len() + 1;
    while length > 0x7f {
        literal.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    literal.push(u8::try_from(length).expect("seven bits"));
    literal.extend_from_slice(original);
    let mut plain = u32::try_from(literal.len()).expect("an event is short").to_be_bytes().to_vec();
    plain.extend_from_slice(&literal);
    plain
}
