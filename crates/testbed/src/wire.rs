//! A client that says exactly what it is told to, byte by byte, and gives back every message as it came.
//!
//! Source: PostgreSQL documentation, chapter "Frontend/Backend Protocol". Deliberately absent: any understanding of
//! what is sent, so that a test may send what no driver would.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::{Conninfo, SslMode};

/// No answer for so long is a failure.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The version number of protocol 3.0.
pub const PROTOCOL_3_0: u32 = 3 << 16;
/// The version number of protocol 3.2.
pub const PROTOCOL_3_2: u32 = (3 << 16) | 2;
/// The first packet that asks for TLS.
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// The first packet that asks for encryption by GSSAPI.
pub const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

/// A message of the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The type byte.
    pub kind: u8,
    /// What follows the length.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", char::from(self.kind), self.body.escape_ascii())
    }
}

impl Message {
    /// Returns a field of an error or a notice.
    pub fn field(&self, code: u8) -> Option<String> {
        let mut fields = self.body.split(|byte| *byte == 0);
        let found = fields.find_map(|field| field.strip_prefix(&[code]))?;
        Some(String::from_utf8_lossy(found).into_owned())
    }
}

/// How to begin a session.
#[derive(Clone, Debug)]
pub struct Start {
    /// The protocol asked for.
    pub protocol: u32,
    /// Parameters beside user and database.
    pub parameters: Vec<(String, String)>,
    /// TLS from the first byte, with the ALPN protocol `postgresql`, in place of asking for it.
    pub direct_tls: bool,
}

impl Default for Start {
    fn default() -> Start {
        Start { protocol: PROTOCOL_3_0, parameters: Vec::new(), direct_tls: false }
    }
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A connection.
pub struct Wire {
    transport: Transport,
    /// What was received; up to `taken` it was returned already.
    received: Vec<u8>,
    taken: usize,
    /// The server's process, for cancelling.
    pub process: u32,
    /// The secret, for cancelling.
    pub key: Vec<u8>,
    /// What the server said before it was ready, except for the authentication.
    pub greeting: Vec<Message>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("process", &self.process).finish_non_exhaustive()
    }
}

impl Wire {
    /// Connects, with TLS as the server's `sslmode` has it, and signs in.
    ///
    /// # Errors
    /// The server is not there, is not who it should be, or says no.
    pub fn connect(server: &Conninfo) -> Result<Wire> {
        Wire::start(server, &Start::default())
    }

    /// Does the same as `start` has it.
    ///
    /// # Errors
    /// The server is not there, is not who it should be, or says no.
    pub fn start(server: &Conninfo, start: &Start) -> Result<Wire> {
        let mut wire = Wire::open(server, start)?;
        wire.start_up(server, start)?;
        wire.sign_in(server)?;
        Ok(wire)
    }

    /// Connects, with TLS as the server's `sslmode` has it, and says nothing yet.
    ///
    /// # Errors
    /// The server is not there or is not who it should be.
    pub fn open(server: &Conninfo, start: &Start) -> Result<Wire> {
        let mut wire = Wire::plain(server)?;
        if server.sslmode != SslMode::Disable {
            if !start.direct_tls {
                wire.send(&SSL_REQUEST)?;
                ensure!(wire.byte()? == b'S', "the server offers no TLS");
            }
            wire.secure(server, start.direct_tls.then_some("postgresql"))?;
        }
        Ok(wire)
    }

    /// Connects, and nothing more.
    ///
    /// # Errors
    /// The server is not there.
    pub fn plain(server: &Conninfo) -> Result<Wire> {
        let socket = TcpStream::connect((server.host.as_str(), server.port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SILENCE_MAX))?;
        socket.set_write_timeout(Some(SILENCE_MAX))?;
        let transport = Transport::Plain(socket);
        Ok(Wire {
            transport,
            received: Vec::new(),
            taken: 0,
            process: 0,
            key: Vec::new(),
            greeting: Vec::new(),
        })
    }

    /// Begins TLS.
    ///
    /// # Errors
    /// The server is not who it should be, or does not want to.
    pub fn secure(&mut self, server: &Conninfo, alpn: Option<&str>) -> Result<()> {
        let Transport::Plain(socket) = &self.transport else { bail!("TLS is there already") };
        let mut config = tls(server)?;
        config.alpn_protocols = alpn.into_iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(server.host.clone())?;
        let connection = ClientConnection::new(Arc::new(config), name)?;
        let mut stream = StreamOwned::new(connection, socket.try_clone()?);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        self.transport = Transport::Tls(Box::new(stream));
        Ok(())
    }

    /// Returns the ALPN protocol that was agreed on.
    pub fn alpn(&self) -> Option<Vec<u8>> {
        match &self.transport {
            Transport::Plain(_) => None,
            Transport::Tls(stream) => stream.conn.alpn_protocol().map(<[u8]>::to_vec),
        }
    }

    /// Sends the start-up message.
    ///
    /// # Errors
    /// The connection broke.
    pub fn start_up(&mut self, server: &Conninfo, start: &Start) -> Result<()> {
        let mut body = start.protocol.to_be_bytes().to_vec();
        let fixed = [("user", server.user.as_str()), ("database", server.dbname.as_str())];
        let more = start.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in fixed.into_iter().chain(more) {
            put_text(&mut body, name);
            put_text(&mut body, value);
        }
        body.push(0);
        self.send(&message(None, &body))
    }

    /// Answers the server's questions up to its readiness.
    ///
    /// # Errors
    /// The server says no, or the connection broke.
    pub fn sign_in(&mut self, server: &Conninfo) -> Result<()> {
        let mut scram = String::new();
        loop {
            let Message { kind, body } = self.receive()?;
            let code = body.get(..4).and_then(|code| code.try_into().ok()).map(u32::from_be_bytes);
            match (kind, code) {
                (b'R', Some(3)) => {
                    let mut password = Vec::new();
                    put_text(&mut password, &server.password);
                    self.send(&message(Some(b'p'), &password))?;
                }
                (b'R', Some(10)) => {
                    scram = format!("n=,r={}", STANDARD.encode(crate::process::random_bytes::<18>()?));
                    let first = format!("n,,{scram}");
                    let mut answer = b"SCRAM-SHA-256\0".to_vec();
                    answer.extend_from_slice(&u32::try_from(first.len())?.to_be_bytes());
                    answer.extend_from_slice(first.as_bytes());
                    self.send(&message(Some(b'p'), &answer))?;
                }
                (b'R', Some(11)) => {
                    let challenge = String::from_utf8(body.get(4..).context("no challenge")?.to_vec())?;
                    let proof = scram_proof(&scram, &challenge, &server.password)?;
                    self.send(&message(Some(b'p'), proof.as_bytes()))?;
                }
                // 0: signed in; 12: the server's own proof, which a test need not check.
                (b'R', Some(0 | 12)) => {}
                (b'K', Some(process)) => {
                    self.process = process;
                    self.key = body.get(4..).unwrap_or_default().to_vec();
                }
                (b'Z', _) => return Ok(()),
                (b'E', _) => bail!("sign-in failed: {:?}", Message { kind, body }),
                _ => self.greeting.push(Message { kind, body }),
            }
        }
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// The connection broke, or the server takes nothing.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.transport {
            Transport::Plain(socket) => socket.write_all(bytes)?,
            Transport::Tls(stream) => {
                stream.write_all(bytes)?;
                stream.flush()?;
            }
        }
        Ok(())
    }

    /// Returns the next message.
    ///
    /// # Errors
    /// The connection ended, or the server is silent.
    pub fn receive(&mut self) -> Result<Message> {
        self.receive_or_end()?.context("the connection was closed")
    }

    /// Returns the next message; `None` when the connection was closed between two messages.
    ///
    /// # Errors
    /// The server is silent, or the connection broke.
    pub fn receive_or_end(&mut self) -> Result<Option<Message>> {
        while self.waiting().len() < 5 {
            if self.fill()? == 0 {
                ensure!(self.waiting().is_empty(), "the connection was closed within a message");
                return Ok(None);
            }
        }
        let header = self.waiting().first_chunk::<5>().context("five bytes are there")?;
        let [kind, length @ ..] = *header;
        let length = usize::try_from(u32::from_be_bytes(length))? + 1;
        while self.waiting().len() < length {
            ensure!(self.fill()? > 0, "the connection was closed within a message");
        }
        let body = self.waiting().get(5..length).context("a length below 4")?.to_vec();
        self.taken += length;
        Ok(Some(Message { kind, body }))
    }

    /// Returns the messages up to one of this type, which is the last.
    ///
    /// # Errors
    /// The connection ended, or the server is silent; the error has the messages until then.
    pub fn until(&mut self, kind: u8) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        loop {
            let message = self.receive().with_context(|| format!("after {messages:?}"))?;
            let last = message.kind == kind;
            messages.push(message);
            if last {
                return Ok(messages);
            }
        }
    }

    /// Returns the messages up to the end of the connection.
    ///
    /// # Errors
    /// The server is silent.
    pub fn rest(&mut self) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        while let Some(message) = self.receive_or_end()? {
            messages.push(message);
        }
        Ok(messages)
    }

    /// Sends a text and returns everything up to readiness.
    ///
    /// # Errors
    /// The connection ended, or the server is silent.
    pub fn query(&mut self, text: &str) -> Result<Vec<Message>> {
        self.send(&front::query(text))?;
        self.until(b'Z')
    }

    /// Returns the next byte, outside of any message.
    ///
    /// # Errors
    /// The connection ended, or the server is silent.
    pub fn byte(&mut self) -> Result<u8> {
        ensure!(!self.waiting().is_empty() || self.fill()? > 0, "the connection was closed");
        let byte = self.waiting().first().copied().context("a byte is there")?;
        self.taken += 1;
        Ok(byte)
    }

    /// Closes the connection without a word.
    ///
    /// # Errors
    /// It is closed already.
    pub fn hang_up(self) -> Result<()> {
        match &self.transport {
            Transport::Plain(socket) => socket.shutdown(Shutdown::Both)?,
            Transport::Tls(stream) => stream.sock.shutdown(Shutdown::Both)?,
        }
        Ok(())
    }

    fn waiting(&self) -> &[u8] {
        self.received.get(self.taken..).unwrap_or_default()
    }

    fn fill(&mut self) -> Result<usize> {
        self.received.drain(..self.taken);
        self.taken = 0;
        let mut bytes = vec![0; 64 << 10];
        let read = match &mut self.transport {
            Transport::Plain(socket) => socket.read(&mut bytes),
            Transport::Tls(stream) => stream.read(&mut bytes),
        };
        let count = match read {
            Ok(count) => count,
            // Closed without the goodbye of TLS, or with something of ours unread.
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => 0,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("the server is silent for {} s", SILENCE_MAX.as_secs())
            }
            Err(error) => return Err(error.into()),
        };
        self.received.extend_from_slice(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Asks the server to cancel what a session does, and waits until it has closed the connection.
///
/// # Errors
/// The server is not there, or answers.
pub fn cancel(server: &Conninfo, process: u32, key: &[u8]) -> Result<()> {
    let mut wire = Wire::open(server, &Start::default())?;
    let mut body = 80_877_102u32.to_be_bytes().to_vec();
    body.extend_from_slice(&process.to_be_bytes());
    body.extend_from_slice(key);
    wire.send(&message(None, &body))?;
    let said = wire.rest()?;
    ensure!(said.is_empty(), "a cancel request was answered: {said:?}");
    Ok(())
}

/// Messages of a client.
pub mod front {
    use super::{message, put_text};

    /// `Sync`.
    pub const SYNC: [u8; 5] = [b'S', 0, 0, 0, 4];
    /// `Flush`.
    pub const FLUSH: [u8; 5] = [b'H', 0, 0, 0, 4];
    /// `CopyDone`.
    pub const COPY_DONE: [u8; 5] = [b'c', 0, 0, 0, 4];
    /// `Terminate`.
    pub const TERMINATE: [u8; 5] = [b'X', 0, 0, 0, 4];

    /// `Query`.
    pub fn query(text: &str) -> Vec<u8> {
        texts(b'Q', &[text], &[])
    }

    /// `Parse`, with no types given.
    pub fn parse(name: &str, text: &str) -> Vec<u8> {
        texts(b'P', &[name, text], &[0, 0])
    }

    /// `Bind`, with parameters as text and results in one format: 0 for text, 1 for binary.
    pub fn bind(portal: &str, statement: &str, parameters: &[Option<&str>], format: u8) -> Vec<u8> {
        let count = u16::try_from(parameters.len()).unwrap_or(u16::MAX);
        let mut rest = vec![0, 0];
        rest.extend_from_slice(&count.to_be_bytes());
        for parameter in parameters {
            let length = parameter.map_or(-1, |text| i32::try_from(text.len()).unwrap_or(i32::MAX));
            rest.extend_from_slice(&length.to_be_bytes());
            rest.extend_from_slice(parameter.unwrap_or_default().as_bytes());
        }
        rest.extend_from_slice(&[0, 1, 0, format]);
        texts(b'B', &[portal, statement], &rest)
    }

    /// `Describe` of a statement (`S`) or a portal (`P`).
    pub fn describe(what: char, name: &str) -> Vec<u8> {
        texts(b'D', &[&format!("{what}{name}")], &[])
    }

    /// `Close` of a statement (`S`) or a portal (`P`).
    pub fn close(what: char, name: &str) -> Vec<u8> {
        texts(b'C', &[&format!("{what}{name}")], &[])
    }

    /// `Execute`, with the most rows to return; 0 for all.
    pub fn execute(portal: &str, rows: u32) -> Vec<u8> {
        texts(b'E', &[portal], &rows.to_be_bytes())
    }

    /// `CopyData`.
    pub fn copy_data(bytes: &[u8]) -> Vec<u8> {
        message(Some(b'd'), bytes)
    }

    /// `CopyFail`.
    pub fn copy_fail(why: &str) -> Vec<u8> {
        texts(b'f', &[why], &[])
    }

    /// `FunctionCall`, with arguments and the result as text.
    pub fn call(function: u32, arguments: &[Option<&str>]) -> Vec<u8> {
        let mut body = function.to_be_bytes().to_vec();
        body.extend_from_slice(&[0, 0]);
        body.extend_from_slice(&u16::try_from(arguments.len()).unwrap_or(u16::MAX).to_be_bytes());
        for argument in arguments {
            let length = argument.map_or(-1, |text| i32::try_from(text.len()).unwrap_or(i32::MAX));
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(argument.unwrap_or_default().as_bytes());
        }
        body.extend_from_slice(&[0, 0]);
        message(Some(b'F'), &body)
    }

    fn texts(kind: u8, texts: &[&str], rest: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        texts.iter().for_each(|text| put_text(&mut body, text));
        body.extend_from_slice(rest);
        message(Some(kind), &body)
    }
}

/// Returns a message with its length; the first packet of a connection has no type.
pub fn message(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = kind.into_iter().collect();
    bytes.extend_from_slice(&u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// Returns what TLS with this server needs: its authority and nothing else is believed.
pub(crate) fn tls(server: &Conninfo) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let ca = server.root_cert.as_ref().context("no certificate authority")?;
    for certificate in CertificateDer::pem_file_iter(ca)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// Returns the client-final message of SCRAM-SHA-256 (RFC 5802), without channel binding.
pub(crate) fn scram_proof(client_first: &str, server_first: &str, password: &str) -> Result<String> {
    let field = |name: &str| {
        server_first
            .split(',')
            .find_map(|field| field.strip_prefix(name))
            .context("a field of the challenge is missing")
    };
    let (nonce, salt, rounds) = (field("r=")?, STANDARD.decode(field("s=")?)?, field("i=")?.parse()?);
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut salted);
    let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
    let client_key = sign(&salted, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let last = format!("c=biws,r={nonce}");
    let signature = sign(stored_key.as_ref(), format!("{client_first},{server_first},{last}").as_bytes());
    let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
    Ok(format!("{last},p={}", STANDARD.encode(proof)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn the_proof_of_the_rfc() {
        let proof = scram_proof(
            "n=user,r=rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "pencil",
        );
        assert_eq!(
            proof.expect("a proof"),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
    }
}
