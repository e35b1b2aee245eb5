//! Reaching a resource: connect, TLS, log in, and the few questions Wardline asks for itself.
//!
//! Speaks protocol 3.0, in which every server takes part. Reads message by message up to `ReadyForQuery`, so that
//! what follows on the stream belongs to the caller. Of what a server says about an error, only the SQLSTATE is kept:
//! its text may quote data. Deliberately absent: time limits (the caller's), pooling, MD5 and cleartext passwords.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use identity::scram::{self, Binding, ClientKeys, Mechanism, Parameters};
use model::{ResourceId, Secret};
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::codec::{self, Back, Fields, HEADER, Malformed};
use super::sql;
use crate::control::Upstream;
use crate::error::Failure;
use crate::limits::READ_BYTES;
use crate::session::CancelTarget;
use crate::stream::Stream;
use crate::tls::{ClientTls, UpstreamTls, end_point_hash};

/// One message while logging in; PostgreSQL's are below 1 KiB.
const LOGIN_MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Messages between the proof of the password and `ReadyForQuery`; PostgreSQL 18 sends 17, and notices.
const LOGIN_MESSAGES_MAX: usize = 1_000;
/// The answer to one question of ours: text, and as much again for the bookkeeping of each value.
const ROWS_BYTES_MAX: usize = 64 << 20;
/// Rows of one answer.
const ROWS_MAX: usize = 1_000_000;
/// What one value or row costs beside its text.
const ROW_OVERHEAD_BYTES: usize = size_of::<Option<String>>();
/// Between two requests to stop what an ended session left running, and for each of them.
const HALT_PAUSE: Duration = Duration::from_millis(250);
/// Major versions that are tested.
const VERSIONS: std::ops::RangeInclusive<u32> = 13..=18;

/// A connection to a resource that is logged in and idle.
#[derive(Debug)]
pub(crate) struct Dialed {
    /// The connection; nothing beyond the first `ReadyForQuery` was read.
    pub(crate) stream: Stream,
    /// The server's settings, as reported; the last one of a name counts.
    pub(crate) parameters: Vec<(String, String)>,
    /// For cancelling: the server's process.
    pub(crate) process: u32,
    /// For cancelling: the secret.
    pub(crate) key: Vec<u8>,
}

/// What was derived from the credentials of the resources, so that PBKDF2 runs once for each and not per connection.
///
/// Holds one credential per resource; a changed one replaces it, and the replaced keys are wiped.
#[derive(Debug, Default)]
pub(crate) struct LoginKeys {
    derived: Mutex<HashMap<ResourceId, Derived>>,
}

#[derive(Debug)]
struct Derived {
    fingerprint: Fingerprint,
    keys: Arc<ClientKeys>,
}

/// Of user, password, salt and iterations together.
#[derive(PartialEq, Eq)]
struct Fingerprint([u8; 32]);

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

impl LoginKeys {
    /// Starts with none.
    pub(crate) fn new() -> LoginKeys {
        LoginKeys::default()
    }

    async fn keys(
        &self,
        resource: &ResourceId,
        credential: &vault::Credential,
        parameters: &Parameters,
    ) -> Result<Arc<ClientKeys>, Failure> {
        let fingerprint = fingerprint(credential, parameters);
        if let Some(keys) = self.find(resource, &fingerprint) {
            return Ok(keys);
        }
        // A server may ask for so many iterations that a quarter of a second passes.
        let (password, parameters): (Secret, Parameters) = (credential.password.clone(), parameters.clone());
        let keys = tokio::task::spawn_blocking(move || ClientKeys::derive(&password, &parameters))
            .await
            .map_err(|_| Failure::Ours("deriving the keys of a credential failed".to_owned()))?;
        let keys = Arc::new(keys);
        let derived = Derived { fingerprint, keys: Arc::clone(&keys) };
        self.derived.lock().insert(resource.clone(), derived);
        Ok(keys)
    }

    fn find(&self, resource: &ResourceId, fingerprint: &Fingerprint) -> Option<Arc<ClientKeys>> {
        let derived = self.derived.lock();
        derived.get(resource).filter(|d| d.fingerprint == *fingerprint).map(|d| Arc::clone(&d.keys))
    }
}

fn fingerprint(credential: &vault::Credential, parameters: &Parameters) -> Fingerprint {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [credential.user.as_bytes(), credential.password.expose().as_bytes(), &parameters.salt] {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    context.update(&parameters.iterations.to_be_bytes());
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    Fingerprint(out)
}

/// Connects and logs in. `parameters` go into the start-up packet after user and database.
///
/// # Errors
///
/// When the resource cannot be reached, is not who it should be, refuses, or reads SQL in another way than Wardline.
pub(crate) async fn dial(
    upstream: &Upstream,
    credential: &vault::Credential,
    parameters: &[(String, String)],
    keys: &LoginKeys,
) -> Result<Dialed, Failure> {
    let mut stream = connect(upstream).await?;
    let mut packet = Vec::new();
    let fixed = [("user", credential.user.as_str()), ("database", upstream.database.as_str())];
    let asked = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    codec::put_startup(&mut packet, fixed.into_iter().chain(asked.filter(|(name, _)| may_ask(name))));
    send(&mut stream, &packet).await?;
    authenticate(&mut stream, upstream, credential, keys).await?;
    let dialed = settle(stream).await?;
    check_settings(&upstream.id, &dialed.parameters)?;
    Ok(dialed)
}

/// Cancels what a session of the resource is doing, over a new connection; returns when the server has closed it.
///
/// # Errors
///
/// When the resource cannot be reached. Whether it cancelled anything, the protocol does not say.
pub(crate) async fn cancel(upstream: &Upstream, process: u32, key: &[u8]) -> Result<(), Failure> {
    let mut stream = connect(upstream).await?;
    let mut packet = Vec::new();
    codec::put_cancel(&mut packet, process, key);
    send(&mut stream, &packet).await?;
    // The server closes when it is done, mostly without saying goodbye in TLS.
    match stream.read(&mut [0; 1]).await {
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Stops what a connection runs and ends it, so that nothing of it is done or committed later. Returns when the server
/// has closed; how long that may take is the caller's to say.
pub(crate) async fn halt(stream: &mut Stream, of: &CancelTarget) {
    loop {
        // Again and again: a cancel stops one statement, and more of them may have been sent behind it.
        let cancelling = timeout(HALT_PAUSE, cancel(&of.upstream, of.process, &of.key)).await;
        if let Err(failure) = cancelling.unwrap_or(Err(Failure::UpstreamSilent)) {
            tracing::warn!(resource = %of.upstream.id, error = %failure, "a cancel request did not arrive");
        }
        // Whoever reads nothing more gets nothing more to do; its answers are dropped, so that it never waits for room.
        let closed = async {
            let _ = stream.shutdown().await;
            let mut piece = [0; 4096];
            while let Ok(1..) = stream.read(&mut piece).await {}
        };
        if timeout(HALT_PAUSE, closed).await.is_ok() {
            return;
        }
    }
}

/// Runs one statement and returns its rows, all values as text. After an error that is not the statement's own, the
/// stream is of no use any more.
///
/// # Errors
///
/// When the statement fails, the answer exceeds the limits or is not UTF-8, or the connection breaks.
pub(crate) async fn rows(stream: &mut Stream, sql: &str) -> Result<sql::Rows, Failure> {
    let mut packet = Vec::new();
    codec::message(&mut packet, b'Q', |out| codec::put_cstr(out, sql.as_bytes()));
    send(stream, &packet).await?;
    let mut reader = BufReader::with_capacity(READ_BYTES, stream);
    let (mut rows, mut bytes, mut refused) = (sql::Rows::new(), 0_usize, None);
    let mut frame = Vec::new();
    loop {
        match read(&mut reader, &mut frame, ROWS_BYTES_MAX).await? {
            Back::DataRow => {
                let row = row(&frame)?;
                bytes = bytes.saturating_add(frame.len() + (row.len() + 1) * ROW_OVERHEAD_BYTES);
                rows.push(row);
                if bytes > ROWS_BYTES_MAX || rows.len() > ROWS_MAX {
                    return Err(Failure::Ours(format!(
                        "the resource's catalogue exceeds {ROWS_MAX} rows or {ROWS_BYTES_MAX} bytes"
                    )));
                }
            }
            Back::ErrorResponse => refused = Some(Failure::UpstreamQuery(sqlstate(&frame)?)),
            Back::ReadyForQuery => break,
            Back::RowDescription
            | Back::CommandComplete
            | Back::EmptyQueryResponse
            | Back::NoticeResponse
            | Back::NotificationResponse
            | Back::ParameterStatus => {}
            other => return Err(unexpected(other)),
        }
    }
    if !reader.buffer().is_empty() {
        return Err(Failure::UpstreamMalformed("bytes after ReadyForQuery".to_owned()));
    }
    refused.map_or(Ok(rows), Err)
}

/// Says goodbye and closes; the server ends either way.
pub(crate) async fn leave(mut stream: Stream) {
    let mut packet = Vec::new();
    codec::message(&mut packet, b'X', |_| {});
    let left = send(&mut stream, &packet).await;
    if left.is_err() || stream.shutdown().await.is_err() {
        tracing::debug!("the resource closed first");
    }
}

fn row(frame: &[u8]) -> Result<Vec<Option<String>>, Failure> {
    let mut fields = Fields::of(frame, "DataRow");
    let count = fields.count().map_err(malformed)?;
    let mut row = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let value = fields.value().map_err(malformed)?;
        let value = value.map(|bytes| String::from_utf8(bytes.to_vec())).transpose();
        row.push(
            value
                .map_err(|_| Failure::UpstreamMalformed("a catalogue value that is not UTF-8".to_owned()))?,
        );
    }
    fields.end().map_err(malformed)?;
    Ok(row)
}

/// Tells whether a start-up parameter may be passed on: who logs in where is not the caller's to say, a replication
/// connection speaks another language, and protocol extensions are not spoken here.
fn may_ask(name: &str) -> bool {
    !matches!(name, "" | "user" | "database" | "replication")
        && !name.starts_with("_pq_.")
        && !name.contains('\0')
}

async fn connect(upstream: &Upstream) -> Result<Stream, Failure> {
    let address = (upstream.host.as_str(), upstream.port);
    let mut socket = TcpStream::connect(address).await.map_err(Failure::Upstream)?;
    socket.set_nodelay(true).map_err(Failure::Upstream)?;
    let tls = match &upstream.tls {
        UpstreamTls::Required(tls) => tls,
        UpstreamTls::Disabled { .. } => return Ok(Stream::Plain(socket)),
    };
    socket.write_all(&codec::TLS_REQUEST).await.map_err(Failure::Upstream)?;
    // INVARIANT: exactly one byte is read; whatever was slipped in behind it goes to the TLS handshake, which fails.
    match socket.read_u8().await.map_err(Failure::Upstream)? {
        b'S' => encrypt(socket, tls, &upstream.host).await,
        b'N' => Err(Failure::UpstreamLogin(
            "the resource does not offer TLS; set an exception (`mode = \"disable\"`) to go without"
                .to_owned(),
        )),
        b'E' => {
            Err(Failure::UpstreamLogin("the resource answered the request for TLS with an error".to_owned()))
        }
        other => Err(Failure::UpstreamMalformed(format!("answer 0x{other:02x} to the request for TLS"))),
    }
}

async fn encrypt(socket: TcpStream, tls: &ClientTls, host: &str) -> Result<Stream, Failure> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::Ours("the resource's host is neither a DNS name nor an address".to_owned()))?;
    let connector = TlsConnector::from(tls.config());
    let stream = connector.connect(name, socket).await.map_err(Failure::Upstream)?;
    Ok(Stream::Dialed(Box::new(stream)))
}

/// Answers the server's questions up to `AuthenticationOk`.
async fn authenticate(
    stream: &mut Stream,
    upstream: &Upstream,
    credential: &vault::Credential,
    keys: &LoginKeys,
) -> Result<(), Failure> {
    const OK: i32 = 0;
    const SASL: i32 = 10;
    let mut frame = Vec::new();
    let (kind, body) = question(stream, &mut frame).await?;
    let method = match kind {
        OK => return Ok(()),
        SASL => return sasl(stream, body.to_vec(), upstream, credential, keys).await,
        3 => "a cleartext password",
        5 => "an MD5 password",
        2 | 7 | 8 | 9 => "Kerberos, GSSAPI or SSPI",
        _ => "the method the resource asks for",
    };
    Err(Failure::UpstreamLogin(format!(
        "{method} is not supported: set `password_encryption = scram-sha-256`"
    )))
}

async fn sasl(
    stream: &mut Stream,
    offer: Vec<u8>,
    upstream: &Upstream,
    credential: &vault::Credential,
    keys: &LoginKeys,
) -> Result<(), Failure> {
    const CONTINUE: i32 = 11;
    const FINAL: i32 = 12;
    let hash = certificate_hash(stream);
    let binding = binding(&offer, matches!(stream, Stream::Dialed(_)), hash.as_deref())?;
    let (client, first) = scram::Client::start(binding);
    let mut packet = Vec::new();
    codec::message(&mut packet, b'p', |out| {
        codec::put_cstr(out, binding.mechanism().name().as_bytes());
        out.extend_from_slice(&u32::try_from(first.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(first.as_bytes());
    });
    send(stream, &packet).await?;

    let mut frame = Vec::new();
    let server_first = answer(stream, &mut frame, CONTINUE).await?;
    let challenge = client.challenge(server_first).map_err(exchange)?;
    let keys = keys.keys(&upstream.id, credential, challenge.parameters()).await?;
    let (client, last) = challenge.respond(&keys).map_err(exchange)?;
    packet.clear();
    codec::message(&mut packet, b'p', |out| out.extend_from_slice(last.as_bytes()));
    send(stream, &packet).await?;

    let server_final = answer(stream, &mut frame, FINAL).await?;
    client.verify(server_final).map_err(exchange)?;
    answer(stream, &mut frame, 0).await.map(|_| ())
}

/// Chooses the mechanism, binding to the TLS connection wherever both sides can.
fn binding<'a>(offer: &[u8], tls: bool, hash: Option<&'a [u8]>) -> Result<Binding<'a>, Failure> {
    let mut offered = Fields::within(offer, "AuthenticationSASL");
    let (mut plain, mut plus) = (false, false);
    loop {
        let name = offered.cstr().map_err(malformed)?;
        if name.is_empty() {
            break;
        }
        plain |= name == Mechanism::ScramSha256.name().as_bytes();
        plus |= name == Mechanism::ScramSha256Plus.name().as_bytes();
    }
    match (tls && plus, plain, hash) {
        (true, _, Some(hash)) => Ok(Binding::EndPoint(hash)),
        // RFC 5929 defines no hash for some certificates (Ed25519): then we cannot bind, and `n` says so.
        (true, true, None) => Ok(Binding::Unsupported),
        (false, true, _) if tls => Ok(Binding::NotOffered),
        (false, true, _) => Ok(Binding::Unsupported),
        (true, false, None) | (false, false, _) => Err(Failure::UpstreamLogin(
            "none of the SASL mechanisms offered is supported: set `password_encryption = scram-sha-256`"
                .to_owned(),
        )),
    }
}

fn certificate_hash(stream: &Stream) -> Option<Vec<u8>> {
    let Stream::Dialed(tls) = stream else { return None };
    let (_, connection) = tls.get_ref();
    end_point_hash(connection.peer_certificates()?.first()?)
}

/// Reads the next authentication request, skipping notices: its code and what follows.
async fn question<'a>(stream: &mut Stream, frame: &'a mut Vec<u8>) -> Result<(i32, &'a [u8]), Failure> {
    for _ in 0..LOGIN_MESSAGES_MAX {
        match read(stream, frame, LOGIN_MESSAGE_BYTES_MAX).await? {
            Back::Authentication => {
                let mut fields = Fields::of(frame, "Authentication");
                let kind = fields.i32().map_err(malformed)?;
                return Ok((kind, fields.rest()));
            }
            Back::NoticeResponse => {}
            Back::ErrorResponse => return Err(refusal(frame)?),
            Back::NegotiateProtocolVersion => {
                return Err(Failure::UpstreamLogin("the resource does not speak protocol 3.0".to_owned()));
            }
            other => return Err(unexpected(other)),
        }
    }
    Err(too_many())
}

async fn answer<'a>(stream: &mut Stream, frame: &'a mut Vec<u8>, wanted: i32) -> Result<&'a [u8], Failure> {
    let (kind, body) = question(stream, frame).await?;
    if kind == wanted {
        Ok(body)
    } else {
        Err(Failure::UpstreamMalformed(format!("authentication step {kind} where {wanted} belongs")))
    }
}

/// Reads what follows the log-in, up to `ReadyForQuery`.
async fn settle(mut stream: Stream) -> Result<Dialed, Failure> {
    let (mut parameters, mut process, mut key) = (Vec::new(), 0, Vec::new());
    let mut frame = Vec::new();
    for _ in 0..LOGIN_MESSAGES_MAX {
        match read(&mut stream, &mut frame, LOGIN_MESSAGE_BYTES_MAX).await? {
            Back::ParameterStatus => {
                let (name, value) = codec::parameter_status(&frame).map_err(malformed)?;
                parameters.push((lossy(name), lossy(value)));
            }
            Back::BackendKeyData => {
                let mut fields = Fields::of(&frame, "BackendKeyData");
                process = fields.i32().map_err(malformed)?.cast_unsigned();
                key = fields.rest().to_vec();
                if !codec::CANCEL_KEY_BYTES.contains(&key.len()) {
                    return Err(malformed(Malformed::Layout("BackendKeyData")));
                }
            }
            Back::NoticeResponse => {}
            Back::ErrorResponse => return Err(refusal(&frame)?),
            Back::ReadyForQuery => {
                codec::ready(&frame).map_err(malformed)?;
                return Ok(Dialed { stream, parameters, process, key });
            }
            other => return Err(unexpected(other)),
        }
    }
    Err(too_many())
}

/// Checks that the server reads a text as Wardline's parser does.
fn check_settings(resource: &ResourceId, parameters: &[(String, String)]) -> Result<(), Failure> {
    let reported =
        |name: &str| parameters.iter().rev().find(|(n, _)| n == name).map_or("", |(_, value)| value);
    if reported("standard_conforming_strings") != "on" {
        return Err(Failure::Ours("the resource must have `standard_conforming_strings = on`".to_owned()));
    }
    if !encoding_is_safe(reported("server_encoding")) {
        return Err(Failure::Ours("the resource's `server_encoding` is not supported".to_owned()));
    }
    if !is_read_as_sent(reported("client_encoding")) {
        return Err(Failure::Ours("`client_encoding` must be UTF8 or SQL_ASCII".to_owned()));
    }
    let version = reported("server_version");
    let major =
        version.split(|c: char| !c.is_ascii_digit()).next().and_then(|major| major.parse::<u32>().ok());
    if !major.is_some_and(|major| VERSIONS.contains(&major)) {
        tracing::warn!(%resource, major, "the resource's version of PostgreSQL is not a tested one");
    }
    Ok(())
}

/// Tells whether in this encoding a byte below 128 is always that ASCII character: only then does the server see the
/// quotes and backslashes that the parser sees.
fn encoding_is_safe(encoding: &str) -> bool {
    let encoding = encoding.to_ascii_uppercase();
    let numbered = |prefix: &str, numbers: std::ops::RangeInclusive<u32>| {
        let number = encoding.strip_prefix(prefix).and_then(|number| number.parse().ok());
        number.is_some_and(|number| numbers.contains(&number))
    };
    matches!(encoding.as_str(), "UTF8" | "SQL_ASCII" | "WIN866" | "WIN874")
        || numbered("LATIN", 1..=10)
        || numbered("ISO_8859_", 1..=16)
        || numbered("WIN", 1250..=1258)
}

/// Tells whether the server takes the bytes of a text in this encoding for the characters that the parser takes them for:
/// in any other, a name beyond ASCII would be inspected as another name.
pub(crate) fn is_read_as_sent(client_encoding: &str) -> bool {
    client_encoding.eq_ignore_ascii_case("UTF8") || client_encoding.eq_ignore_ascii_case("SQL_ASCII")
}

/// Reads exactly one message into `frame`, header included.
async fn read(
    reader: &mut (impl AsyncRead + Unpin),
    frame: &mut Vec<u8>,
    limit: usize,
) -> Result<Back, Failure> {
    let mut head = [0; HEADER];
    reader.read_exact(&mut head).await.map_err(Failure::Upstream)?;
    let header = codec::back_header(&head, limit).map_err(malformed)?;
    let header = header.ok_or_else(|| malformed(Malformed::Layout("header")))?;
    // Rows have no limit in the codec, since sessions pass them in pieces; here they are kept.
    if header.length > limit {
        return Err(malformed(Malformed::TooLong { length: header.length, limit }));
    }
    frame.clear();
    frame.extend_from_slice(&head);
    let body = u64::try_from(header.length - HEADER).unwrap_or(u64::MAX);
    // Grows with what arrives, not with what the header claims.
    reader.take(body).read_to_end(frame).await.map_err(Failure::Upstream)?;
    if frame.len() != header.length {
        return Err(Failure::Upstream(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(header.kind)
}

async fn send(stream: &mut Stream, bytes: &[u8]) -> Result<(), Failure> {
    stream.write_all(bytes).await.map_err(Failure::Upstream)?;
    stream.flush().await.map_err(Failure::Upstream)
}

/// Returns what an `ErrorResponse` to the log-in amounts to, without the server's words.
fn refusal(frame: &[u8]) -> Result<Failure, Failure> {
    sqlstate(frame).map(Failure::UpstreamLogin)
}

fn sqlstate(frame: &[u8]) -> Result<String, Failure> {
    let code = codec::error_field(frame, b'C').map_err(malformed)?.unwrap_or_default();
    let sound = code.len() == 5 && code.iter().all(u8::is_ascii_alphanumeric);
    Ok(format!("SQLSTATE {}", if sound { lossy(code) } else { "unknown".to_owned() }))
}

fn exchange(error: scram::Error) -> Failure {
    Failure::UpstreamLogin(format!("SCRAM: {error}"))
}

fn malformed(error: Malformed) -> Failure {
    Failure::UpstreamMalformed(error.to_string())
}

fn unexpected(kind: Back) -> Failure {
    Failure::UpstreamMalformed(format!("unexpected message {kind:?}"))
}

fn too_many() -> Failure {
    Failure::UpstreamMalformed(format!("more than {LOGIN_MESSAGES_MAX} messages while logging in"))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
