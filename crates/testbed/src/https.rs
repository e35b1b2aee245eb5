//! A small client for the API and the pages: one request on each connection, as bytes, so that a test may send anything.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

/// The machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where to ask, and whom to believe.
#[derive(Clone, Debug)]
pub struct Https {
    port: u16,
    config: Arc<ClientConfig>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, their names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Returns the first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Reads the body as JSON; `Null` if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// Returns what a browser would send back of the cookies that are set.
    #[must_use]
    pub fn cookie(&self) -> Option<String> {
        self.header("set-cookie").and_then(|text| text.split(';').next()).map(str::to_owned)
    }
}

impl Https {
    /// Asks `localhost` at that port, whose certificate an authority signed.
    ///
    /// # Errors
    /// The authority's certificate cannot be read.
    pub fn to(port: u16, authority: &Path) -> Result<Https> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority)?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Https { port, config: Arc::new(config) })
    }

    /// Returns how pages name themselves.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Sends one request.
    ///
    /// # Errors
    /// The connection breaks, or what comes back is no answer.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from("localhost")?;
        let mut stream = StreamOwned::new(ClientConnection::new(self.config.clone(), name)?, stream);
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.port,
            body.len()
        );
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
        let mut bytes = Vec::new();
        // A server that closes without the word for it has said all the same.
        if let Err(error) = stream.read_to_end(&mut bytes)
            && error.kind() != std::io::ErrorKind::UnexpectedEof
        {
            return Err(error.into());
        }
        parsed(&String::from_utf8_lossy(&bytes))
    }

    /// Sends JSON with a token.
    ///
    /// # Errors
    /// As [`Https::ask`].
    pub fn json(&self, method: &str, path: &str, token: &str, body: &Value) -> Result<Answer> {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("Content-Type", "application/json")];
        if !token.is_empty() {
            headers.push(("Authorization", &bearer));
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.ask(method, path, &headers, &body)
    }

    /// Sends a form as a page of ours does, with a cookie.
    ///
    /// # Errors
    /// As [`Https::ask`].
    pub fn form(&self, path: &str, cookie: &str, fields: &[(&str, &str)]) -> Result<Answer> {
        let origin = self.origin();
        let mut headers = vec![("Content-Type", "application/x-www-form-urlencoded"), ("Origin", &*origin)];
        if !cookie.is_empty() {
            headers.push(("Cookie", cookie));
        }
        let body: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        self.ask("POST", path, &headers, &body.join("&"))
    }

    /// Looks at a page with a cookie.
    ///
    /// # Errors
    /// As [`Https::ask`].
    pub fn page(&self, path: &str, cookie: &str) -> Result<Answer> {
        let headers = [("Cookie", cookie)];
        self.ask("GET", path, if cookie.is_empty() { &[] } else { &headers }, "")
    }
}

fn parsed(text: &str) -> Result<Answer> {
    let (head, body) = text.split_once("\r\n\r\n").context("an answer")?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("a status")?.parse()?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    let headers: Vec<(String, String)> = headers.collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Ok(Answer { status, headers, body })
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let Some(chunk) = usize::from_str_radix(length, 16).ok().and_then(|length| rest.get(..length)) else {
            break;
        };
        whole.push_str(chunk);
        body = rest.get(chunk.len() + 2..).unwrap_or_default();
    }
    whole
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => escaped.push(char::from(byte)),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
