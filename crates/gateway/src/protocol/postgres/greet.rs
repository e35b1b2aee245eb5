//! From an accepted connection to a signed-in person: TLS, the start-up message, the proof of identity.
//!
//! Source: PostgreSQL documentation, sections "Message Flow: Start-up", "SSL Session Encryption" and "SASL
//! Authentication". Everything here reads exactly as many bytes as a packet has, so that nothing sent in
//! clear can be taken for something sent under TLS (CVE-2021-23214). The caller sets the deadline.
//! Deliberately absent: whether the person may enter (`serve`), `AuthenticationOk` (sent when the resource
//! answers), GSSAPI.

use std::io;
use std::time::Duration;

use identity::Reason;
use identity::scram::Mechanism;
use model::{Micros, Principal, Secret};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::control::Control;
use crate::error::Failure;
use crate::listen::{ListenerConfig, ListenerTls};
use crate::protocol::postgres::codec::{
    self, Fields, FirstPacket, Front, HEADER, Malformed, Severity, Startup, WireError,
};
use crate::stream::Stream;
use crate::tls::{ALPN, ClientCertificate, ServerTls};

/// The newest minor version of protocol 3 spoken here.
const MINOR_MAX: u16 = 2;
/// One message of a sign-in: a password (`identity` allows 1 KiB), a token, or a step of SCRAM.
const SIGN_IN_BYTES_MAX: usize = 4 << 10;
/// For telling a client why it is left.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
/// A TLS handshake record begins with it; no PostgreSQL packet that we accept does.
const TLS_HANDSHAKE_BYTE: u8 = 0x16;

/// What a connection turned out to be.
#[derive(Debug)]
pub(crate) enum Greeting {
    /// It wants a session.
    Session(Box<Greeted>),
    /// It wants another session's operation cancelled.
    Cancel { stream: Stream, process: u32, key: Vec<u8> },
    /// It is over: it left, or was told why not.
    Left,
}

/// A connection that said who it is, not yet proven.
#[derive(Debug)]
pub(crate) struct Greeted {
    pub(crate) stream: Stream,
    pub(crate) startup: Startup,
    /// The minor version both speak: 0 or 2.
    pub(crate) minor: u16,
    /// The `tls-server-end-point` hash; `None` without TLS, or when the certificate defines none.
    pub(crate) binding: Option<Vec<u8>>,
    /// `AuthenticationOk` was sent already, to be able to send notices.
    pub(crate) told_ok: bool,
    /// What the client showed, leaf first; empty for most.
    pub(crate) chain: Vec<CertificateDer<'static>>,
}

/// What TLS says of a connection.
#[derive(Debug, Default)]
struct Secured {
    binding: Option<Vec<u8>>,
    chain: Vec<CertificateDer<'static>>,
}

/// Takes a connection through TLS and the start-up message, refusing what is not supported.
///
/// # Errors
/// When the connection breaks or the bytes are not this protocol.
pub(crate) async fn greet(mut socket: TcpStream, config: &ListenerConfig) -> Result<Greeting, Failure> {
    let ListenerTls::Tls(tls) = &config.tls else {
        let packet = negotiate(&mut socket, false).await?;
        return admit(Stream::Plain(socket), packet, Secured::default()).await;
    };
    let mut first = [0; 1];
    let direct = match socket.peek(&mut first).await.map_err(Failure::Client)? {
        0 => return Ok(Greeting::Left),
        _ => first == [TLS_HANDSHAKE_BYTE],
    };
    let packet = if direct { Some(FirstPacket::TlsRequest) } else { negotiate(&mut socket, true).await? };
    match packet {
        Some(FirstPacket::TlsRequest) => secure(socket, tls, direct).await,
        Some(FirstPacket::Startup(_)) => {
            let error = fatal(b"28000", "TLS is required").hint("connect with sslmode=require or stronger");
            leave(&mut Stream::Plain(socket), &error).await
        }
        // `libpq` before 17 sends cancel requests in clear, whatever its session does; the key is the proof.
        Some(FirstPacket::Cancel { process, key }) => {
            Ok(Greeting::Cancel { stream: Stream::Plain(socket), process, key })
        }
        Some(FirstPacket::GssRequest) | None => Ok(Greeting::Left),
    }
}

/// Serves TLS on the connection and reads the packet that follows within it.
async fn secure(socket: TcpStream, tls: &ServerTls, direct: bool) -> Result<Greeting, Failure> {
    let served = TlsAcceptor::from(tls.config()).accept(socket).await.map_err(Failure::Client)?;
    if direct && served.get_ref().1.alpn_protocol() != Some(ALPN) {
        return Err(Failure::ClientMalformed("direct TLS without the ALPN protocol `postgresql`".into()));
    }
    let chain = served.get_ref().1.peer_certificates().unwrap_or_default();
    let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
    let mut stream = Stream::Served(Box::new(served));
    let packet = first_packet(&mut stream).await?;
    admit(stream, packet, Secured { binding: tls.binding().map(<[u8]>::to_vec), chain }).await
}

/// Answers requests for encryption, each at most once, and returns the packet that ends them: `TlsRequest`
/// once it was granted. `None` when the client left.
async fn negotiate<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    tls: bool,
) -> Result<Option<FirstPacket>, Failure> {
    let (mut tls_asked, mut gss_asked) = (false, false);
    loop {
        let packet = first_packet(stream).await?;
        let (asked, answer) = match &packet {
            Some(FirstPacket::TlsRequest) => (&mut tls_asked, if tls { b'S' } else { b'N' }),
            Some(FirstPacket::GssRequest) => (&mut gss_asked, b'N'),
            _ => return Ok(packet),
        };
        if std::mem::replace(asked, true) {
            return Err(Failure::ClientMalformed("asked twice for the same encryption".into()));
        }
        stream.write_all(&[answer]).await.map_err(Failure::Client)?;
        stream.flush().await.map_err(Failure::Client)?;
        if answer == b'S' {
            return Ok(packet);
        }
    }
}

/// Reads one packet without a type byte; `None` when the client closed before its first byte.
pub(crate) async fn first_packet<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<Option<FirstPacket>, Failure> {
    let mut field = [0; 4];
    let Some((first, others)) = field.split_first_mut() else { return Ok(None) };
    if stream.read(std::slice::from_mut(first)).await.map_err(Failure::Client)? == 0 {
        return Ok(None);
    }
    stream.read_exact(others).await.map_err(Failure::Client)?;
    let length = codec::first_packet_length(field).map_err(malformed)?;
    let mut body = vec![0; length - field.len()];
    stream.read_exact(&mut body).await.map_err(Failure::Client)?;
    codec::first_packet(&body).map(Some).map_err(malformed)
}

/// Lets in what begins a session that can be served.
async fn admit(
    mut stream: Stream,
    packet: Option<FirstPacket>,
    secured: Secured,
) -> Result<Greeting, Failure> {
    let startup = match packet {
        Some(FirstPacket::Startup(startup)) => startup,
        Some(FirstPacket::Cancel { process, key }) => return Ok(Greeting::Cancel { stream, process, key }),
        Some(FirstPacket::TlsRequest | FirstPacket::GssRequest) => {
            return Err(Failure::ClientMalformed("asked for encryption within TLS".into()));
        }
        None => return Ok(Greeting::Left),
    };
    if let Some(error) = unfit(&startup) {
        return leave(&mut stream, &error).await;
    }
    if let Some(answer) = version_answer(&startup) {
        stream.write_all(&answer).await.map_err(Failure::Client)?;
    }
    let Secured { binding, chain } = secured;
    let minor = if startup.minor >= MINOR_MAX { MINOR_MAX } else { 0 };
    Ok(Greeting::Session(Box::new(Greeted { stream, startup, minor, binding, told_ok: false, chain })))
}

/// Returns why a start-up cannot be served whoever sent it.
fn unfit(startup: &Startup) -> Option<WireError> {
    if startup.major != 3 {
        let asked = format!("{}.{}", startup.major, startup.minor);
        let message = format!("unsupported frontend protocol {asked}: server supports 3.0 to 3.{MINOR_MAX}");
        return Some(fatal(b"0A000", message));
    }
    let replication = |(name, value): &(String, String)| name == "replication" && !is_false(value);
    if startup.parameters.iter().any(replication) {
        return Some(fatal(b"0A000", "not supported: replication"));
    }
    if parameter(startup, "user").is_none_or(str::is_empty) {
        return Some(fatal(b"28000", "no user name specified in the start-up packet"));
    }
    None
}

/// What PostgreSQL reads as false; anything else counts as asking for it.
fn is_false(value: &str) -> bool {
    ["false", "off", "no", "0", "f", "n"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// Returns the value of a start-up parameter; the last one counts, as in PostgreSQL.
pub(crate) fn parameter<'a>(startup: &'a Startup, name: &str) -> Option<&'a str> {
    startup.parameters.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

/// Encodes `NegotiateProtocolVersion`, where the client asked for more than is spoken here. The version is
/// the whole number, major in the upper half, as PostgreSQL sends it and `libpq` reads it.
fn version_answer(startup: &Startup) -> Option<Vec<u8>> {
    let names = startup.parameters.iter().map(|(name, _)| name).filter(|name| name.starts_with("_pq_."));
    let unknown: Vec<&String> = names.collect();
    if startup.minor <= MINOR_MAX && unknown.is_empty() {
        return None;
    }
    let version = (3u32 << 16) | u32::from(startup.minor.min(MINOR_MAX));
    let count = u32::try_from(unknown.len()).expect("a start-up packet has less than 10,000 bytes");
    let mut out = Vec::new();
    codec::message(&mut out, b'v', |out| {
        out.extend_from_slice(&version.to_be_bytes());
        out.extend_from_slice(&count.to_be_bytes());
        for name in unknown {
            codec::put_cstr(out, name.as_bytes());
        }
    });
    Some(out)
}

/// Judges the certificate that the client showed; `None` where it showed none.
pub(crate) fn certificate(
    greeted: &Greeted,
    config: &ListenerConfig,
    at: Micros,
) -> Option<ClientCertificate> {
    let ListenerTls::Tls(tls) = &config.tls else { return None };
    let shown = (!greeted.chain.is_empty()).then_some(&greeted.chain)?;
    tls.clients().map(|authorities| authorities.judge(shown, at))
}

/// Asks for the proof of identity and has `control` check it. The inner error is for the trail: the caller
/// answers, in the same words for all of them. `AuthenticationOk` is not sent.
///
/// # Errors
/// When the connection breaks or the bytes are not this protocol.
pub(crate) async fn authenticate<C: Control>(
    greeted: &mut Greeted,
    control: &C,
    scram: bool,
    certificate: Option<&ClientCertificate>,
) -> Result<Result<Principal, Reason>, Failure> {
    let Some(name) = parameter(&greeted.startup, "user").map(str::to_owned) else {
        return Ok(Err(Reason::UnknownPerson));
    };
    // Whoever shows a certificate is who it says, or nobody.
    if let Some(certificate) = certificate {
        return Ok(control.sign_in_certificate(&name, certificate));
    }
    if scram {
        let binding = greeted.binding.as_deref();
        return by_scram(&mut greeted.stream, control, &name, binding).await;
    }
    by_password(&mut greeted.stream, control, &name).await
}

async fn by_password<C: Control, S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    control: &C,
    name: &str,
) -> Result<Result<Principal, Reason>, Failure> {
    ask(stream, 3, |_| {}).await?;
    let frame = sign_in_frame(stream).await?;
    let secret = password(&frame)?;
    Ok(control.sign_in(name, secret).await)
}

fn password(frame: &[u8]) -> Result<Secret, Failure> {
    let mut fields = Fields::of(frame, "PasswordMessage");
    let text = fields.cstr().map_err(malformed)?;
    fields.end().map_err(malformed)?;
    let text = std::str::from_utf8(text).map_err(|_| malformed(Malformed::Layout("PasswordMessage")))?;
    Ok(Secret::new(text))
}

async fn by_scram<C: Control, S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    control: &C,
    name: &str,
    binding: Option<&[u8]>,
) -> Result<Result<Principal, Reason>, Failure> {
    let offered = Mechanism::offered(binding.is_some());
    ask(stream, 10, |out| {
        for mechanism in offered {
            codec::put_cstr(out, mechanism.name().as_bytes());
        }
        out.push(0);
    })
    .await?;
    let frame = sign_in_frame(stream).await?;
    let (mechanism, client_first) = sasl_initial(&frame, offered)?;
    let (sign_in, server_first) = match control.scram_start(name, mechanism, binding, client_first).await {
        Ok(started) => started,
        Err(reason) => return Ok(Err(reason)),
    };
    ask(stream, 11, |out| out.extend_from_slice(server_first.as_bytes())).await?;
    let frame = sign_in_frame(stream).await?;
    let client_final = Fields::of(&frame, "SASLResponse").rest();
    let (principal, server_final) = match control.scram_finish(sign_in, name, client_final).await {
        Ok(finished) => finished,
        Err(reason) => return Ok(Err(reason)),
    };
    ask(stream, 12, |out| out.extend_from_slice(server_final.as_bytes())).await?;
    Ok(Ok(principal))
}

/// Reads the mechanism, which must be one that was offered, and the client's first message.
fn sasl_initial<'a>(frame: &'a [u8], offered: &[Mechanism]) -> Result<(Mechanism, &'a [u8]), Failure> {
    let layout = || malformed(Malformed::Layout("SASLInitialResponse"));
    let mut fields = Fields::of(frame, "SASLInitialResponse");
    let name = std::str::from_utf8(fields.cstr().map_err(malformed)?).map_err(|_| layout())?;
    let first = fields.value().map_err(malformed)?.ok_or_else(layout)?;
    fields.end().map_err(malformed)?;
    let mechanism = Mechanism::from_name(name).filter(|m| offered.iter().any(|o| o.name() == m.name()));
    let refused = || Failure::ClientMalformed("chose a SASL mechanism that was not offered".into());
    Ok((mechanism.ok_or_else(refused)?, first))
}

/// Sends one authentication message.
async fn ask<S: AsyncWrite + Unpin>(
    stream: &mut S,
    code: u32,
    body: impl FnOnce(&mut Vec<u8>),
) -> Result<(), Failure> {
    let mut out = Vec::new();
    codec::message(&mut out, b'R', |out| {
        out.extend_from_slice(&code.to_be_bytes());
        body(out);
    });
    stream.write_all(&out).await.map_err(Failure::Client)?;
    stream.flush().await.map_err(Failure::Client)
}

/// Reads one whole password or SASL message, which is wiped when dropped.
async fn sign_in_frame<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).await.map_err(Failure::Client)?;
    let parsed = codec::front_header(&header, SIGN_IN_BYTES_MAX).map_err(malformed)?;
    let Some(parsed) = parsed.filter(|h| h.kind == Front::Password) else {
        return Err(Failure::ClientMalformed("expected a password or SASL message".into()));
    };
    let mut frame = Zeroizing::new(vec![0; parsed.length]);
    let (head, body) =
        frame.split_at_mut_checked(HEADER).ok_or_else(|| malformed(Malformed::Layout("PasswordMessage")))?;
    head.copy_from_slice(&header);
    stream.read_exact(body).await.map_err(Failure::Client)?;
    Ok(frame)
}

async fn leave(stream: &mut Stream, error: &WireError) -> Result<Greeting, Failure> {
    say(stream, error).await;
    Ok(Greeting::Left)
}

/// Tells the client why it is left and closes, as far as it listens.
pub(crate) async fn say<S: AsyncWrite + Unpin>(stream: &mut S, error: &WireError) {
    let mut out = Vec::new();
    error.encode(&mut out);
    let telling = async {
        stream.write_all(&out).await?;
        stream.flush().await?;
        stream.shutdown().await
    };
    let told: Result<io::Result<()>, _> = tokio::time::timeout(FAREWELL_TIMEOUT, telling).await;
    if !matches!(told, Ok(Ok(()))) {
        tracing::debug!("client did not take its last message");
    }
}

/// Closes a connection that is told nothing: within TLS with the word for it, without which the client takes the end for
/// an attack.
pub(crate) async fn part<S: AsyncWrite + Unpin>(stream: &mut S) {
    let closed = tokio::time::timeout(FAREWELL_TIMEOUT, stream.shutdown()).await;
    if !matches!(closed, Ok(Ok(()))) {
        tracing::debug!("client was gone before its connection was closed");
    }
}

fn fatal(code: &[u8; 5], message: impl Into<String>) -> WireError {
    WireError::new(Severity::Fatal, code, message)
}

fn malformed(error: Malformed) -> Failure {
    Failure::ClientMalformed(error.to_string())
}

#[cfg(test)]
pub(crate) mod tests;
