//! Tokens that others sign: ID tokens of people and tokens of programs. Signature, issuer, audience and time are checked by
//! `openidconnect`; which algorithms, and what must be said besides, is decided here.
//!
//! No symmetric algorithm and no `none`: whoever can check such a token could have made it.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use chrono::{DateTime, Utc};
use identity::WrongToken;
use model::Micros;
use openidconnect::core::{
    CoreGenderClaim, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
};
use openidconnect::{
    AdditionalClaims, ClaimsVerificationError, ClientId, IdToken, IdTokenClaims, IssuerUrl, Nonce,
    SignatureVerificationError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest token: one that lists a few hundred groups.
pub(crate) const TOKEN_BYTES_MAX: usize = 16 << 10;

/// A token that was issued by so much later than now is not from the future: clocks differ.
const SKEW_S: i64 = 60;

/// Signatures that are accepted: only those whose keys the checker does not hold.
fn algorithms() -> [CoreJwsSigningAlgorithm; 8] {
    use CoreJwsSigningAlgorithm as A;
    [
        A::RsaSsaPkcs1V15Sha256,
        A::RsaSsaPkcs1V15Sha384,
        A::RsaSsaPkcs1V15Sha512,
        A::RsaSsaPssSha256,
        A::RsaSsaPssSha384,
        A::RsaSsaPssSha512,
        A::EcdsaP256Sha256,
        A::EcdsaP384Sha384,
    ]
}

/// Whatever else the issuer says.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Others {
    #[serde(flatten)]
    all: BTreeMap<String, Value>,
}

impl AdditionalClaims for Others {}

type Token = IdToken<Others, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;

/// What a token must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    /// For an ID token our own id there.
    pub(crate) audience: &'a str,
    /// Of an ID token that was asked for by a browser.
    pub(crate) nonce: Option<&'a str>,
    pub(crate) at: Micros,
}

/// What a token says, proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) subject: String,
    /// All claims, the usual ones included.
    claims: serde_json::Map<String, Value>,
}

impl Said {
    /// Returns a claim that is a text.
    pub(crate) fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }

    /// Returns a claim that is a list of texts, or one.
    pub(crate) fn texts(&self, claim: &str) -> Vec<&str> {
        match self.claims.get(claim) {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(one)) => vec![one],
            Some(_) | None => Vec::new(),
        }
    }
}

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unbelieved {
    /// For good.
    Wrong(WrongToken),
    /// The issuer's keys have none of that name: they may have changed.
    KeyUnknown,
    /// It does not answer what was asked.
    Nonce,
}

impl Unbelieved {
    /// Returns the word for the trail.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Unbelieved::Wrong(WrongToken::Malformed) => "token-malformed",
            Unbelieved::Wrong(WrongToken::Signature) | Unbelieved::KeyUnknown => "token-signature",
            Unbelieved::Wrong(WrongToken::Issuer) => "token-issuer",
            Unbelieved::Wrong(WrongToken::Audience) => "token-audience",
            Unbelieved::Wrong(WrongToken::Time) => "token-expired",
            Unbelieved::Wrong(WrongToken::Subject) => "token-of-another",
            Unbelieved::Wrong(WrongToken::Keys) => "token-keys",
            Unbelieved::Nonce => "token-nonce",
        }
    }
}

/// Reads a set of keys.
pub(crate) fn keys(json: &[u8]) -> Option<CoreJsonWebKeySet> {
    serde_json::from_slice(json).ok()
}

/// Checks a token and returns what it says.
pub(crate) fn check(
    token: &str,
    keys: &CoreJsonWebKeySet,
    expected: &Expected<'_>,
) -> Result<Said, Unbelieved> {
    let malformed = Unbelieved::Wrong(WrongToken::Malformed);
    if token.len() > TOKEN_BYTES_MAX {
        return Err(malformed);
    }
    let issuer =
        IssuerUrl::new(expected.issuer.to_owned()).map_err(|_| Unbelieved::Wrong(WrongToken::Issuer))?;
    let now = i64::try_from(expected.at.0 / 1_000_000).unwrap_or(i64::MAX);
    let clock = move || DateTime::<Utc>::from_timestamp(now, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let verifier = CoreIdTokenVerifier::new_public_client(
        ClientId::new(expected.audience.to_owned()),
        issuer,
        keys.clone(),
    )
    .set_allowed_algs(algorithms())
    .set_time_fn(clock)
    .set_issue_time_verifier_fn(move |issued| in_the_past(issued.timestamp(), now));
    let parsed = Token::from_str(token).map_err(|_| malformed)?;
    let nonce = expected.nonce.map(|nonce| Nonce::new(nonce.to_owned()));
    let checked = match &nonce {
        Some(nonce) => parsed.into_claims(&verifier, nonce),
        None => parsed.into_claims(&verifier, |_: Option<&Nonce>| Ok(())),
    };
    let said = said(&checked.map_err(|error| unbelieved(&error))?).ok_or(malformed)?;
    not_before(&said, now)?;
    authorised_party(&said, expected.audience)?;
    Ok(said)
}

fn said(claims: &IdTokenClaims<Others, CoreGenderClaim>) -> Option<Said> {
    let Ok(Value::Object(all)) = serde_json::to_value(claims) else { return None };
    let subject = claims.subject().as_str();
    (!subject.is_empty()).then(|| Said { subject: subject.to_owned(), claims: all })
}

fn in_the_past(issued: i64, now: i64) -> Result<(), String> {
    if issued > now.saturating_add(SKEW_S) { Err("issued in the future".to_owned()) } else { Ok(()) }
}

fn not_before(said: &Said, now: i64) -> Result<(), Unbelieved> {
    match said.claims.get("nbf").map(Value::as_f64) {
        None => Ok(()),
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit many times over")]
        Some(Some(from)) if from <= now.saturating_add(SKEW_S) as f64 => Ok(()),
        Some(_) => Err(Unbelieved::Wrong(WrongToken::Time)),
    }
}

/// A token that was made for another client, and only lists us, is not for us.
fn authorised_party(said: &Said, audience: &str) -> Result<(), Unbelieved> {
    match said.claims.get("azp") {
        None => Ok(()),
        Some(Value::String(party)) if party == audience => Ok(()),
        Some(_) => Err(Unbelieved::Wrong(WrongToken::Audience)),
    }
}

fn unbelieved(error: &ClaimsVerificationError) -> Unbelieved {
    Unbelieved::Wrong(match error {
        ClaimsVerificationError::Expired(_) | ClaimsVerificationError::InvalidAuthTime(_) => WrongToken::Time,
        ClaimsVerificationError::InvalidAudience(_) => WrongToken::Audience,
        ClaimsVerificationError::InvalidIssuer(_) => WrongToken::Issuer,
        ClaimsVerificationError::InvalidNonce(_) => return Unbelieved::Nonce,
        ClaimsVerificationError::InvalidSubject(_) => WrongToken::Subject,
        ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey) => {
            return Unbelieved::KeyUnknown;
        }
        ClaimsVerificationError::SignatureVerification(_) => WrongToken::Signature,
        // What is left is about forms that are not accepted; the library may add more.
        _ => WrongToken::Malformed,
    })
}

#[cfg(test)]
mod tests;
