//! Messages by mail: SMTP over TLS, or with STARTTLS and never without it.

use std::fmt;
use std::time::Duration;

use lettre::message::{Mailbox, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use serde_json::Value;

use crate::error::{Error, NotTaken};
use crate::receiver::{Bearer, Line};
use crate::text::at;

/// The ports of RFC 8314 and RFC 6409.
const TLS_PORT: u16 = 465;
const STARTTLS_PORT: u16 = 587;
/// Longest subject: a line of a mail has at most 998 characters.
const SUBJECT_CHARS_MAX: usize = 200;

/// How mail is sent, as it is configured.
#[derive(Clone, Debug)]
pub struct MailAddress {
    /// `smtps://host:port` for TLS from the first byte, `smtp://host:port` for STARTTLS.
    pub url: String,
    /// Certificate authorities, PEM; the system's when left out.
    pub authorities: Option<Vec<u8>>,
    /// User and password, where the server asks for them.
    pub login: Option<(String, Bearer)>,
    /// The sender.
    pub from: String,
    /// Who gets it.
    pub to: Vec<String>,
    /// How long one command may take.
    pub timeout: Duration,
}

/// One mail server.
pub struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("to", &self.to.len()).finish_non_exhaustive()
    }
}

impl Mail {
    pub(crate) fn new(address: &MailAddress) -> Result<Mail, Error> {
        let wrong = |why: String| Error::Receiver(why);
        let uri: hyper::Uri =
            address.url.parse().map_err(|_| wrong(format!("`{}` is no address", address.url)))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let mut tls = TlsParameters::builder(host.clone());
        if let Some(pem) = &address.authorities {
            tls = tls.certificate_store(CertificateStore::None);
            let certificate = Certificate::from_pem(pem);
            tls = tls.add_root_certificate(
                certificate.map_err(|error| wrong(format!("the authorities: {error}")))?,
            );
        }
        let tls = tls.build_rustls().map_err(|error| wrong(format!("TLS: {error}")))?;
        let (tls, port) = match uri.scheme_str() {
            Some("smtps") => (Tls::Wrapper(tls), TLS_PORT),
            Some("smtp") => (Tls::Required(tls), STARTTLS_PORT),
            Some(_) | None => return Err(wrong(format!("`{}` is no mail server", address.url))),
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(uri.port_u16().unwrap_or(port))
            .tls(tls)
            .timeout(Some(address.timeout));
        if let Some((user, Bearer(password))) = &address.login {
            transport = transport.credentials(Credentials::new(user.clone(), password.clone()));
        }
        Ok(Mail {
            transport: transport.build(),
            from: mailbox(&address.from)?,
            to: address.to.iter().map(|to| mailbox(to)).collect::<Result<_, _>>()?,
        })
    }

    /// Sends one mail for each message.
    pub(crate) async fn take(&mut self, lines: &[Line]) -> Result<(), NotTaken> {
        for line in lines {
            let message = self.message(line).ok_or(NotTaken::Answer)?;
            self.transport.send(message).await.map_err(|error| NotTaken::Mail(Box::new(error)))?;
        }
        Ok(())
    }

    fn message(&self, line: &Line) -> Option<Message> {
        let told: Value = serde_json::from_str(&line.text).ok()?;
        let subject: String = at(&told, "/subject").as_str()?.chars().take(SUBJECT_CHARS_MAX).collect();
        let mut message = Message::builder().from(self.from.clone()).subject(subject);
        // So that a mail that comes twice can be told by its reader's program.
        message = message.message_id(Some(format!("<{}@wardline>", line.uuid)));
        for to in &self.to {
            message = message.to(to.clone());
        }
        let text = at(&told, "/text").as_str()?.to_owned();
        message.singlepart(SinglePart::plain(text)).ok()
    }
}

/// Tells whether a text is an address of mail.
pub fn is_mail_address(text: &str) -> bool {
    text.parse::<Mailbox>().is_ok()
}

fn mailbox(text: &str) -> Result<Mailbox, Error> {
    text.parse().map_err(|_| Error::Receiver(format!("`{text}` is no address of mail")))
}
