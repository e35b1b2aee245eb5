//! A client that costs next to nothing: it reads a large result over TLS and looks at message headers only.
//!
//! Deliberately absent: everything else. It signs in, sends one query and counts what comes. psql would spend more
//! on each row than the gateway that is to be measured.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::Conninfo;
use crate::wire::{PROTOCOL_3_0, SSL_REQUEST, message, scram_proof, tls};

/// A connection that is signed in and idle.
pub(crate) struct Reader {
    stream: StreamOwned<ClientConnection, TcpStream>,
    buffer: Vec<u8>,
    filled: usize,
    read: usize,
    received: u64,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader(..)")
    }
}

impl Reader {
    /// Connects and signs in.
    pub(crate) fn connect(server: &Conninfo) -> Result<Reader> {
        let mut socket = TcpStream::connect((server.host.as_str(), server.port))?;
        socket.set_nodelay(true)?;
        socket.write_all(&SSL_REQUEST)?;
        let mut answer = [0];
        socket.read_exact(&mut answer)?;
        if answer != *b"S" {
            bail!("the server offers no TLS");
        }
        let name = ServerName::try_from(server.host.clone())?;
        let stream = StreamOwned::new(ClientConnection::new(Arc::new(tls(server)?), name)?, socket);
        let mut reader = Reader { stream, buffer: vec![0; 256 * 1024], filled: 0, read: 0, received: 0 };
        reader.sign_in(server)?;
        Ok(reader)
    }

    fn sign_in(&mut self, server: &Conninfo) -> Result<()> {
        let mut body = PROTOCOL_3_0.to_be_bytes().to_vec();
        for word in ["user", &server.user, "database", &server.dbname, ""] {
            body.extend_from_slice(word.as_bytes());
            body.push(0);
        }
        self.stream.write_all(&message(None, &body))?;
        let mut scram = String::new();
        loop {
            let (kind, body) = self.next()?;
            let code = body.get(..4).and_then(|code| code.try_into().ok()).map(u32::from_be_bytes);
            match (kind, code) {
                (b'R', Some(3)) => {
                    let mut password = server.password.clone().into_bytes();
                    password.push(0);
                    self.stream.write_all(&message(Some(b'p'), &password))?;
                }
                (b'R', Some(10)) => {
                    scram = format!("n=,r={}", STANDARD.encode(digest::digest(&digest::SHA256, b"bench")));
                    let first = format!("n,,{scram}");
                    let mut answer = b"SCRAM-SHA-256\0".to_vec();
                    answer.extend_from_slice(&u32::try_from(first.len())?.to_be_bytes());
                    answer.extend_from_slice(first.as_bytes());
                    self.stream.write_all(&message(Some(b'p'), &answer))?;
                }
                (b'R', Some(11)) => {
                    let challenge = String::from_utf8(body.get(4..).context("no challenge")?.to_vec())?;
                    let proof = scram_proof(&scram, &challenge, &server.password)?;
                    self.stream.write_all(&message(Some(b'p'), proof.as_bytes()))?;
                }
                // 0: signed in; 12: the server's own proof, which a benchmark need not check.
                (b'R', Some(0 | 12)) | (b'S' | b'K' | b'N', _) => {}
                (b'Z', _) => return Ok(()),
                (b'E', _) => bail!("sign-in failed: {}", error(&body)),
                (other, code) => bail!("unexpected message `{}` {code:?}", char::from(other)),
            }
        }
    }

    /// Runs a query and returns the rows per second from sending it to the end of its result.
    pub(crate) fn rows_per_second(&mut self, query: &str, expected: u64) -> Result<f64> {
        let mut body = query.as_bytes().to_vec();
        body.push(0);
        let begun = Instant::now();
        self.stream.write_all(&message(Some(b'Q'), &body))?;
        let mut rows = 0u64;
        let mut failed = None;
        loop {
            let (kind, length) = self.header()?;
            match kind {
                b'D' | b'd' => {
                    rows += 1;
                    self.skip(length)?;
                }
                b'E' => failed = Some(error(&self.body(length)?)),
                b'Z' => {
                    self.skip(length)?;
                    break;
                }
                _ => self.skip(length)?,
            }
        }
        if let Some(error) = failed {
            bail!("`{query}` failed: {error}");
        }
        if rows != expected {
            bail!("`{query}` gave {rows} rows, not {expected}");
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 rows")]
        Ok(rows as f64 / begun.elapsed().as_secs_f64())
    }

    /// Returns how many bytes came so far.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    fn next(&mut self) -> Result<(u8, Vec<u8>)> {
        let (kind, length) = self.header()?;
        Ok((kind, self.body(length)?))
    }

    fn header(&mut self) -> Result<(u8, usize)> {
        let header = self.take(5)?;
        let [kind, length @ ..] = <[u8; 5]>::try_from(header).context("a short header")?;
        let length = usize::try_from(u32::from_be_bytes(length))?;
        Ok((kind, length.checked_sub(4).context("a length below 4")?))
    }

    fn body(&mut self, length: usize) -> Result<Vec<u8>> {
        Ok(self.take(length)?.to_vec())
    }

    fn skip(&mut self, mut length: usize) -> Result<()> {
        while length > 0 {
            let here = length.min(self.filled - self.read);
            self.read += here;
            length -= here;
            if length > 0 {
                self.fill()?;
            }
        }
        Ok(())
    }

    /// Returns the next bytes; no message that is looked into is longer than the buffer.
    fn take(&mut self, length: usize) -> Result<&[u8]> {
        while self.filled - self.read < length {
            self.fill()?;
        }
        let from = self.read;
        self.read += length;
        self.buffer.get(from..from + length).context("a message beyond the buffer")
    }

    fn fill(&mut self) -> Result<()> {
        if self.read > 0 {
            self.buffer.copy_within(self.read..self.filled, 0);
            self.filled -= self.read;
            self.read = 0;
        }
        let room = self.buffer.get_mut(self.filled..).context("no room")?;
        if room.is_empty() {
            bail!("a message is longer than the buffer");
        }
        match self.stream.read(room)? {
            0 => bail!("the connection was closed"),
            read => {
                self.filled += read;
                self.received += read as u64;
            }
        }
        Ok(())
    }
}

/// Returns the message field of an error.
fn error(body: &[u8]) -> String {
    let fields = body.split(|byte| *byte == 0);
    let text = fields.filter_map(|field| field.strip_prefix(b"M")).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
