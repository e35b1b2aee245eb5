//! The client half: how Wardline logs in at a resource.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::keys::{KEY_LENGTH, hmac_sha256, same, sha256, xor};
use super::message::{ServerFinal, ServerFirst};
use super::{ClientKeys, Error, ITERATIONS_MAX, ITERATIONS_MIN, Mechanism, Parameters};
use crate::random;

const NONCE_LENGTH: usize = 18;
/// As much of a server's refusal as an error may repeat.
const REFUSAL_CHARS_MAX: usize = 64;

/// What the client says about channel binding.
#[derive(Clone, Copy, Debug)]
pub enum Binding<'a> {
    /// There is no TLS: `n`.
    Unsupported,
    /// There is TLS, but the server did not offer `-PLUS`: `y`, which makes a server that did offer it refuse.
    NotOffered,
    /// There is TLS and the server offers `-PLUS`: the `tls-server-end-point` value of its certificate.
    EndPoint(&'a [u8]),
}

impl Binding<'_> {
    /// Returns the mechanism to ask for.
    pub fn mechanism(&self) -> Mechanism {
        match self {
            Binding::Unsupported | Binding::NotOffered => Mechanism::ScramSha256,
            Binding::EndPoint(_) => Mechanism::ScramSha256Plus,
        }
    }

    fn gs2_header(&self) -> &'static str {
        match self {
            Binding::Unsupported => "n,,",
            Binding::NotOffered => "y,,",
            Binding::EndPoint(_) => "p=tls-server-end-point,,",
        }
    }
}

/// The client after its first message.
#[derive(Debug)]
pub struct Client {
    nonce: String,
    bare: String,
    /// The value of `c=`, encoded.
    binding: String,
}

impl Client {
    /// Begins; returns the first message. The user name is left out: it stands in the startup packet.
    pub fn start(binding: Binding<'_>) -> (Client, String) {
        let nonce: [u8; NONCE_LENGTH] = random();
        Client::start_with(binding, "", STANDARD.encode(nonce))
    }

    fn start_with(binding: Binding<'_>, name: &str, nonce: String) -> (Client, String) {
        let header = binding.gs2_header();
        let data = if let Binding::EndPoint(data) = binding { data } else { &[] };
        let bare = format!("n={name},r={nonce}");
        let message = format!("{header}{bare}");
        let binding = STANDARD.encode([header.as_bytes(), data].concat());
        (Client { nonce, bare, binding }, message)
    }

    /// Reads the server's first message.
    pub fn challenge(self, server_first: &[u8]) -> Result<Challenge, Error> {
        let first = ServerFirst::parse(server_first)?;
        let added = first.nonce.strip_prefix(self.nonce.as_str()).ok_or(Error::Nonce)?;
        if added.is_empty() {
            return Err(Error::Nonce);
        }
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&first.iterations) {
            return Err(Error::Iterations(first.iterations));
        }
        let without_proof = format!("c={},r={}", self.binding, first.nonce);
        let server_first = String::from_utf8_lossy(server_first);
        let auth_message = format!("{},{server_first},{without_proof}", self.bare);
        let parameters = Parameters { salt: first.salt, iterations: first.iterations };
        Ok(Challenge { parameters, without_proof, auth_message })
    }
}

/// The server's question. Answered with keys for its parameters.
#[derive(Debug)]
pub struct Challenge {
    parameters: Parameters,
    without_proof: String,
    auth_message: String,
}

impl Challenge {
    /// Returns what the keys must have been derived with.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Answers; returns the last message to the server.
    pub fn respond(self, keys: &ClientKeys) -> Result<(AwaitServer, String), Error> {
        if !keys.fits(&self.parameters) {
            return Err(Error::Parameters);
        }
        let auth_message = self.auth_message.as_bytes();
        let signature = Zeroizing::new(hmac_sha256(&sha256(&keys.client_key), auth_message));
        let proof = xor(keys.client_key, &signature);
        let message = format!("{},p={}", self.without_proof, STANDARD.encode(proof));
        Ok((AwaitServer { signature: hmac_sha256(&keys.server_key, auth_message) }, message))
    }
}

/// The client after its last message: the server is not trusted until it has proven itself.
pub struct AwaitServer {
    signature: [u8; KEY_LENGTH],
}

impl std::fmt::Debug for AwaitServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AwaitServer(..)")
    }
}

impl AwaitServer {
    /// Checks that the server knows the password too.
    pub fn verify(self, server_final: &[u8]) -> Result<(), Error> {
        match ServerFinal::parse(server_final)? {
            ServerFinal::Signature(signature) if same(&signature, &self.signature) => Ok(()),
            ServerFinal::Signature(_) => Err(Error::ServerSignature),
            ServerFinal::Refused(error) => Err(Error::Refused(
                error.chars().filter(|c| c.is_ascii_graphic()).take(REFUSAL_CHARS_MAX).collect(),
            )),
        }
    }
}

#[cfg(test)]
impl Client {
    pub(super) fn start_as(name: &str, nonce: &str) -> (Client, String) {
        Client::start_with(Binding::Unsupported, name, nonce.to_owned())
    }
}
