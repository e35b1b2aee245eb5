//! The messages of RFC 5802 §7, taken apart. Never panics on any bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::keys::{KEY_LENGTH, SALT_BYTES_MAX, key, number};
use super::{Error, MESSAGE_BYTES_MAX};

/// The client's word on channel binding, from the first byte of its first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    /// `n`: the client cannot.
    Unsupported,
    /// `y`: the client could, and thinks the server cannot.
    NotOffered,
    /// `p=tls-server-end-point`.
    EndPoint,
}

/// client-first-message.
#[derive(Debug)]
pub(super) struct ClientFirst<'a> {
    pub(super) flag: Flag,
    /// The header as sent; the last message repeats it.
    pub(super) gs2_header: &'a str,
    pub(super) bare: &'a str,
    pub(super) nonce: &'a str,
}

/// server-first-message.
#[derive(Debug)]
pub(super) struct ServerFirst<'a> {
    pub(super) nonce: &'a str,
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u32,
}

/// client-final-message.
#[derive(Debug)]
pub(super) struct ClientFinal<'a> {
    pub(super) without_proof: &'a str,
    pub(super) binding: Vec<u8>,
    pub(super) nonce: &'a str,
    pub(super) proof: [u8; KEY_LENGTH],
}

/// server-final-message.
#[derive(Debug)]
pub(super) enum ServerFinal<'a> {
    Signature([u8; KEY_LENGTH]),
    Refused(&'a str),
}

impl<'a> ClientFirst<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<ClientFirst<'a>, Error> {
        const BAD: Error = Error::Malformed("client-first-message");
        let text = text(bytes, BAD)?;
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(identity), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(BAD);
        };
        let flag = match flag {
            "n" => Flag::Unsupported,
            "y" => Flag::NotOffered,
            "p=tls-server-end-point" => Flag::EndPoint,
            other if other.starts_with("p=") => return Err(Error::BindingType),
            _ => return Err(BAD),
        };
        match identity {
            "" => {}
            other if other.starts_with("a=") => return Err(Error::AuthorizationIdentity),
            _ => return Err(BAD),
        }
        let gs2_header = text.strip_suffix(bare).ok_or(BAD)?;
        let mut attributes = bare.split(',');
        let name = value(attributes.next(), "n", BAD)?;
        if !sasl_name(name) {
            return Err(BAD);
        }
        let nonce = printable(value(attributes.next(), "r", BAD)?, BAD)?;
        extensions(attributes, BAD)?;
        Ok(ClientFirst { flag, gs2_header, bare, nonce })
    }
}

impl<'a> ServerFirst<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<ServerFirst<'a>, Error> {
        const BAD: Error = Error::Malformed("server-first-message");
        let mut attributes = text(bytes, BAD)?.split(',');
        let nonce = printable(value(attributes.next(), "r", BAD)?, BAD)?;
        let salt = STANDARD.decode(value(attributes.next(), "s", BAD)?).map_err(|_| BAD)?;
        let iterations = number(value(attributes.next(), "i", BAD)?).ok_or(BAD)?;
        extensions(attributes, BAD)?;
        if salt.is_empty() || salt.len() > SALT_BYTES_MAX {
            return Err(BAD);
        }
        Ok(ServerFirst { nonce, salt, iterations })
    }
}

impl<'a> ClientFinal<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<ClientFinal<'a>, Error> {
        const BAD: Error = Error::Malformed("client-final-message");
        let (without_proof, proof) = text(bytes, BAD)?.rsplit_once(',').ok_or(BAD)?;
        let proof = key(value(Some(proof), "p", BAD)?).ok_or(BAD)?;
        let mut attributes = without_proof.split(',');
        let binding = STANDARD.decode(value(attributes.next(), "c", BAD)?).map_err(|_| BAD)?;
        let nonce = printable(value(attributes.next(), "r", BAD)?, BAD)?;
        extensions(attributes, BAD)?;
        Ok(ClientFinal { without_proof, binding, nonce, proof })
    }
}

impl<'a> ServerFinal<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<ServerFinal<'a>, Error> {
        const BAD: Error = Error::Malformed("server-final-message");
        let mut attributes = text(bytes, BAD)?.split(',');
        let first = attributes.next();
        let parsed = match first.and_then(|it| it.strip_prefix("e=")) {
            Some(error) => ServerFinal::Refused(error),
            None => ServerFinal::Signature(key(value(first, "v", BAD)?).ok_or(BAD)?),
        };
        extensions(attributes, BAD)?;
        Ok(parsed)
    }
}

fn text(bytes: &[u8], bad: Error) -> Result<&str, Error> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(Error::TooLong);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(bad),
    }
}

/// Returns the value of the attribute that must stand here.
fn value<'a>(attribute: Option<&'a str>, name: &str, bad: Error) -> Result<&'a str, Error> {
    let (found, value) = attribute.and_then(|it| it.split_once('=')).ok_or(bad.clone())?;
    match found {
        found if found == name => Ok(value),
        "m" => Err(Error::MandatoryExtension),
        _ => Err(bad),
    }
}

/// Skips attributes that we need not know, `m` excepted: whoever sends it insists on being understood.
fn extensions<'a>(attributes: impl Iterator<Item = &'a str>, bad: Error) -> Result<(), Error> {
    for attribute in attributes {
        let (name, _) = attribute.split_once('=').ok_or(bad.clone())?;
        match name.as_bytes() {
            [b'm'] => return Err(Error::MandatoryExtension),
            // A second proof or nonce would be read differently by somebody.
            [b'p' | b'r'] => return Err(bad),
            [b'a'..=b'z' | b'A'..=b'Z'] => {}
            _ => return Err(bad),
        }
    }
    Ok(())
}

/// A nonce: printable ASCII without comma, and not empty.
fn printable(value: &str, bad: Error) -> Result<&str, Error> {
    let fits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(value) } else { Err(bad) }
}

/// A name in which `=` only begins `=2C` or `=3D`.
fn sasl_name(name: &str) -> bool {
    name.split('=').skip(1).all(|rest| rest.starts_with("2C") || rest.starts_with("3D"))
}
