//! The server half.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::keys::{KEY_LENGTH, hmac_sha256, same, sha256, xor};
use super::message::{ClientFinal, ClientFirst, Flag};
use super::{CANDIDATES_MIN, Error, Mechanism, Parameters, Verifier};
use crate::random;

const NONCE_LENGTH: usize = 18;

/// The server after its first message, waiting for the client's proof.
pub struct ServerFirst {
    parameters: Parameters,
    /// client-first-message-bare, comma, server-first-message: the head of AuthMessage.
    transcript: String,
    nonce: String,
    /// What the client must repeat in `c=`.
    binding: Vec<u8>,
}

impl std::fmt::Debug for ServerFirst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerFirst(..)")
    }
}

impl ServerFirst {
    /// Answers the client's first message.
    ///
    /// `binding` is the `tls-server-end-point` value of our certificate, or nothing without TLS; the mechanisms
    /// offered must have been `Mechanism::offered(binding.is_some())`, or a downgrade would go unseen.
    pub fn answer(
        client_first: &[u8],
        mechanism: Mechanism,
        binding: Option<&[u8]>,
        parameters: &Parameters,
    ) -> Result<(ServerFirst, String), Error> {
        let nonce: [u8; NONCE_LENGTH] = random();
        ServerFirst::answer_with(client_first, mechanism, binding, parameters, &STANDARD.encode(nonce))
    }

    fn answer_with(
        client_first: &[u8],
        mechanism: Mechanism,
        binding: Option<&[u8]>,
        parameters: &Parameters,
        nonce: &str,
    ) -> Result<(ServerFirst, String), Error> {
        let first = ClientFirst::parse(client_first)?;
        let bound: &[u8] = match (first.flag, mechanism, binding) {
            (Flag::EndPoint, Mechanism::ScramSha256Plus, Some(data)) => data,
            (Flag::NotOffered, Mechanism::ScramSha256, Some(_)) => return Err(Error::BindingDowngrade),
            (Flag::NotOffered, Mechanism::ScramSha256, None)
            | (Flag::Unsupported, Mechanism::ScramSha256, _) => &[],
            (Flag::EndPoint, _, _) | (_, Mechanism::ScramSha256Plus, _) => {
                return Err(Error::BindingMechanism);
            }
        };
        let nonce = format!("{}{nonce}", first.nonce);
        let salt = STANDARD.encode(&parameters.salt);
        let message = format!("r={nonce},s={salt},i={}", parameters.iterations);
        let waiting = ServerFirst {
            parameters: parameters.clone(),
            transcript: format!("{},{message}", first.bare),
            nonce,
            binding: [first.gs2_header.as_bytes(), bound].concat(),
        };
        Ok((waiting, message))
    }

    /// Checks the client's proof against each candidate; returns which one it proves, and the last message.
    ///
    /// A candidate of other parameters than those sent never matches. The work is the same for any number of
    /// candidates up to [`CANDIDATES_MIN`], none included.
    pub fn check(
        self,
        client_final: &[u8],
        candidates: &[&Verifier],
    ) -> Result<Option<(usize, String)>, Error> {
        let last = ClientFinal::parse(client_final)?;
        if last.nonce != self.nonce {
            return Err(Error::Nonce);
        }
        if !same(&last.binding, &self.binding) {
            return Err(Error::BindingMismatch);
        }
        let auth_message = format!("{},{}", self.transcript, last.without_proof);
        let mut matched = None;
        for index in 0..candidates.len().max(CANDIDATES_MIN) {
            let candidate = candidates.get(index).filter(|it| *it.parameters() == self.parameters);
            let stored_key = candidate.map_or(&[0; KEY_LENGTH], |it| &it.stored_key);
            let signature = hmac_sha256(stored_key, auth_message.as_bytes());
            let proven = same(&sha256(&xor(last.proof, &signature)), stored_key);
            if let (true, Some(candidate)) = (proven, candidate) {
                matched = Some((index, candidate));
            }
        }
        let server_key = matched.map_or(&[0; KEY_LENGTH], |(_, it)| &it.server_key);
        let signature = hmac_sha256(server_key, auth_message.as_bytes());
        Ok(matched.map(|(index, _)| (index, format!("v={}", STANDARD.encode(signature)))))
    }
}

#[cfg(test)]
impl ServerFirst {
    pub(super) fn answer_with_nonce(
        client_first: &[u8],
        parameters: &Parameters,
        nonce: &str,
    ) -> Result<(ServerFirst, String), Error> {
        ServerFirst::answer_with(client_first, Mechanism::ScramSha256, None, parameters, nonce)
    }
}
