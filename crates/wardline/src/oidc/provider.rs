//! What is known of a provider: its addresses and keys, fetched when needed and again when they are old or a key is unknown.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use model::Micros;
use openidconnect::core::CoreJsonWebKeySet;
use openidconnect::url::form_urlencoded::byte_serialize;
use parking_lot::Mutex;
use serde::Deserialize;

use super::fetch::Fetch;
use super::token::{self, Expected, Said, Unbelieved};
use crate::config::OidcProvider;

/// Addresses and keys are fetched again after so long.
const KNOWN_FOR: Duration = Duration::from_mins(10);

/// Keys are fetched no more often than this because a token names an unknown one: whoever forges tokens must not make us
/// ask the provider for each.
const KEYS_PAUSE: Duration = Duration::from_secs(10);

/// What a provider says of itself (OpenID Connect Discovery 1.0).
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) issuer: String,
    pub(crate) authorization_endpoint: String,
    pub(crate) token_endpoint: String,
    pub(crate) jwks_uri: String,
    pub(crate) device_authorization_endpoint: Option<String>,
    /// RFC 9207: it says in its answers who it is.
    #[serde(default)]
    pub(crate) authorization_response_iss_parameter_supported: bool,
}

/// A provider as it was when it was last asked.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) metadata: Metadata,
    keys: CoreJsonWebKeySet,
    fetched_at: Micros,
}

/// What is known of all providers.
#[derive(Debug, Default)]
pub(crate) struct Providers(Mutex<HashMap<String, Arc<Known>>>);

impl Providers {
    /// Returns what is known of a provider, asking it where that is nothing or old.
    pub(crate) async fn known(
        &self,
        name: &str,
        config: &OidcProvider,
        now: Micros,
    ) -> anyhow::Result<Arc<Known>> {
        match self.held(name, config) {
            Some(known) if !is_older(&known, KNOWN_FOR, now) => Ok(known),
            Some(_) | None => self.fetch(name, config, now).await,
        }
    }

    fn held(&self, name: &str, config: &OidcProvider) -> Option<Arc<Known>> {
        let held = self.0.lock().get(name).cloned();
        held.filter(|known| known.metadata.issuer == config.issuer)
    }

    async fn fetch(&self, name: &str, config: &OidcProvider, now: Micros) -> anyhow::Result<Arc<Known>> {
        let fetch = Fetch::new(config.ca.as_deref())?;
        let address = format!("{}/.well-known/openid-configuration", config.issuer.trim_end_matches('/'));
        let metadata: Metadata = serde_json::from_slice(&fetch.get(&address).await?)
            .with_context(|| format!("{address} is not what a provider says of itself"))?;
        // Otherwise anybody who may write there could speak for another.
        if metadata.issuer != config.issuer {
            bail!("the provider calls itself something else than `issuer` of the configuration");
        }
        let keys = token::keys(&fetch.get(&metadata.jwks_uri).await?);
        let keys = keys.context("the provider's keys are not readable")?;
        let known = Arc::new(Known { metadata, keys, fetched_at: now });
        self.0.lock().insert(name.to_owned(), Arc::clone(&known));
        Ok(known)
    }

    /// Checks an ID token of a provider; a key that is not known is looked for once more.
    pub(crate) async fn check(
        &self,
        name: &str,
        config: &OidcProvider,
        token: &str,
        nonce: Option<&str>,
        now: Micros,
    ) -> anyhow::Result<Result<Said, Unbelieved>> {
        let expected = Expected { issuer: &config.issuer, audience: &config.client_id, nonce, at: now };
        let known = self.known(name, config, now).await?;
        let checked = token::check(token, &known.keys, &expected);
        if checked != Err(Unbelieved::KeyUnknown) || !is_older(&known, KEYS_PAUSE, now) {
            return Ok(checked);
        }
        let known = self.fetch(name, config, now).await?;
        Ok(token::check(token, &known.keys, &expected))
    }
}

fn is_older(known: &Known, than: Duration, now: Micros) -> bool {
    // A clock that was set back makes nothing young.
    let age = now.0.checked_sub(known.fetched_at.0);
    age.is_none_or(|age| Duration::from_micros(age) > than)
}

/// How Wardline proves itself to the provider: by its secret where it has one, else by its name alone.
pub(crate) fn client(config: &OidcProvider) -> anyhow::Result<Option<HeaderValue>> {
    let Some(file) = &config.secret else { return Ok(None) };
    let secret = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    // RFC 6749, section 2.3.1: both are form-encoded first.
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(&config.client_id), encoded(secret.trim_end()));
    let mut header = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)))?;
    header.set_sensitive(true);
    Ok(Some(header))
}
