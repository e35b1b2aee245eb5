//! Signing in at an identity provider (OpenID Connect): by a browser, or by a code that is typed on another device.
//!
//! Here a provider's word becomes a proven [`Assertion`]; who that is among our people, and what they may do, is in
//! `changes::arrivals`. Deliberately absent: pages, cookies of a session (`web`), and single log-out.
//!
//! INVARIANT: what a client is told never says why a sign-in failed; the trail does.

pub(crate) mod fetch;
mod provider;
pub(crate) mod token;

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use aws_lc_rs::{constant_time, digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Micros;
use openidconnect::url::Url;
use parking_lot::Mutex;
use serde::Deserialize;

use crate::config::OidcProvider;
use fetch::{Answer, Fetch};
use provider::{Known, Providers, client};

/// Somebody must come back from the provider within this time.
const FLOW_LIFE: Duration = Duration::from_mins(10);

/// So many people may be at providers at once; who is one more is asked to try again.
const FLOWS_MAX: usize = 10_000;

/// A code for another device lives no longer than this, whatever the provider says.
const DEVICE_LIFE_MAX: Duration = Duration::from_mins(15);

/// The provider is asked no more often than this whether a code was typed (RFC 8628).
const DEVICE_PAUSE: Duration = Duration::from_secs(5);

/// Longest text of a provider that is passed on to a terminal.
const WORDS_MAX: usize = 512;

/// What a provider says of somebody, proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assertion {
    pub(crate) provider: String,
    /// Who, for ever, at this provider.
    pub(crate) subject: String,
    /// How the provider would have them called.
    pub(crate) name: Option<String>,
    pub(crate) display_name: Option<String>,
    pub(crate) groups: Vec<String>,
    /// Whether a second factor was shown there.
    pub(crate) factor: bool,
    /// How they signed in there, in the provider's words.
    pub(crate) how: String,
}

/// Why nobody was proven.
#[derive(Debug)]
pub(crate) enum NotProven {
    /// In a word for the trail.
    Refused(&'static str),
    /// The provider could not be asked: for the operator.
    Unreachable(anyhow::Error),
    /// Nobody typed the code yet.
    Waiting,
    /// Too many at once.
    Busy,
}

impl From<anyhow::Error> for NotProven {
    fn from(error: anyhow::Error) -> NotProven {
        NotProven::Unreachable(error)
    }
}

/// Somebody who is at a provider with a browser.
#[derive(Debug)]
struct Flow {
    provider: String,
    /// Of the cookie that came with it.
    binding: [u8; 32],
    nonce: String,
    verifier: String,
    redirect: String,
    began_at: Micros,
}

/// Somebody who types a code elsewhere.
#[derive(Clone, Debug)]
struct Device {
    provider: String,
    code: String,
    until: Micros,
    asked_at: Micros,
    pause: Duration,
}

/// Where a browser is sent, and what it must bring back.
#[derive(Debug)]
pub(crate) struct Begun {
    /// At the provider.
    pub(crate) location: String,
    /// The value of a cookie for the way back.
    pub(crate) cookie: String,
}

/// What somebody is told who has no browser here.
#[derive(Debug)]
pub(crate) struct DeviceCode {
    pub(crate) handle: String,
    pub(crate) user_code: String,
    pub(crate) address: String,
    pub(crate) address_with_code: Option<String>,
    pub(crate) expires_s: u64,
    pub(crate) pause_s: u64,
}

/// All sign-ins at providers that are under way.
#[derive(Debug, Default)]
pub(crate) struct Oidc {
    providers: Providers,
    flows: Mutex<HashMap<String, Flow>>,
    devices: Mutex<HashMap<String, Device>>,
}

/// What the provider's token endpoint answers.
#[derive(Deserialize)]
struct Tokens {
    id_token: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct DeviceAnswer {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

impl Oidc {
    /// Begins a sign-in with a browser, which comes back to `redirect`.
    pub(crate) async fn begin(
        &self,
        name: &str,
        config: &OidcProvider,
        redirect: String,
        now: Micros,
    ) -> Result<Begun, NotProven> {
        let known = self.providers.known(name, config, now).await?;
        let (state, cookie, nonce, verifier) = (random(), random(), random(), random());
        let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
        let mut location =
            Url::parse(&known.metadata.authorization_endpoint).context("the provider's own address")?;
        location.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", &config.client_id),
            ("redirect_uri", &redirect),
            ("scope", &config.scopes.join(" ")),
            ("state", &state),
            ("nonce", &nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let flow = Flow {
            provider: name.to_owned(),
            binding: sha256(&cookie),
            nonce,
            verifier,
            redirect,
            began_at: now,
        };
        let mut flows = self.flows.lock();
        flows.retain(|_, flow| is_within(flow.began_at, FLOW_LIFE, now));
        if flows.len() >= FLOWS_MAX {
            return Err(NotProven::Busy);
        }
        flows.insert(state, flow);
        Ok(Begun { location: location.into(), cookie })
    }

    /// Ends it: the browser came back with what the provider gave it. Works once.
    pub(crate) async fn finish(
        &self,
        name: &str,
        config: &OidcProvider,
        back: &Back<'_>,
        now: Micros,
    ) -> Result<Assertion, NotProven> {
        let flow = self.flows.lock().remove(back.state).ok_or(NotProven::Refused("state-unknown"))?;
        let bound = back.cookie.is_some_and(|cookie| {
            constant_time::verify_slices_are_equal(&sha256(cookie), &flow.binding).is_ok()
        });
        if !bound || flow.provider != name {
            return Err(NotProven::Refused("state-of-another"));
        }
        if !is_within(flow.began_at, FLOW_LIFE, now) {
            return Err(NotProven::Refused("state-expired"));
        }
        let Some(code) = back.code else { return Err(NotProven::Refused("provider-refused")) };
        let known = self.providers.known(name, config, now).await?;
        check_issuer(&known, back.issuer)?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &flow.redirect),
            ("code_verifier", &flow.verifier),
            ("client_id", &config.client_id),
        ];
        let token = match self.tokens(config, &known, &form).await? {
            Tokens { id_token: Some(token), .. } => token,
            Tokens { id_token: None, .. } => return Err(NotProven::Refused("code-refused")),
        };
        self.assertion(name, config, &token, Some(&flow.nonce), now).await
    }

    /// Asks for a code that somebody types on another device.
    pub(crate) async fn device(
        &self,
        name: &str,
        config: &OidcProvider,
        now: Micros,
    ) -> Result<DeviceCode, NotProven> {
        let known = self.providers.known(name, config, now).await?;
        let endpoint = known.metadata.device_authorization_endpoint.as_deref();
        let endpoint = endpoint.ok_or(NotProven::Refused("no-device-flow"))?;
        let scope = config.scopes.join(" ");
        let form = [("client_id", config.client_id.as_str()), ("scope", &scope)];
        let Answer { status, body } =
            Fetch::new(config.ca.as_deref())?.post(endpoint, &form, client(config)?).await?;
        if status != 200 {
            return Err(NotProven::Refused("device-flow-refused"));
        }
        let answer: DeviceAnswer =
            serde_json::from_slice(&body).context("the provider's code is not readable")?;
        let life = Duration::from_secs(answer.expires_in).min(DEVICE_LIFE_MAX);
        let pause = Duration::from_secs(answer.interval.unwrap_or_default()).clamp(DEVICE_PAUSE, FLOW_LIFE);
        let handle = random();
        let until = Micros(now.0.saturating_add(u64::try_from(life.as_micros()).unwrap_or(u64::MAX)));
        let device =
            Device { provider: name.to_owned(), code: answer.device_code, until, asked_at: now, pause };
        let mut devices = self.devices.lock();
        devices.retain(|_, device| device.until > now);
        if devices.len() >= FLOWS_MAX {
            return Err(NotProven::Busy);
        }
        devices.insert(handle.clone(), device);
        Ok(DeviceCode {
            handle,
            user_code: words(&answer.user_code),
            address: words(&answer.verification_uri),
            address_with_code: answer.verification_uri_complete.as_deref().map(words),
            expires_s: life.as_secs(),
            pause_s: pause.as_secs(),
        })
    }

    /// Returns the provider that a code is of.
    pub(crate) fn device_provider(&self, handle: &str) -> Option<String> {
        self.devices.lock().get(handle).map(|device| device.provider.clone())
    }

    /// Asks whether the code was typed. Works until it says yes or no.
    pub(crate) async fn device_ask(
        &self,
        handle: &str,
        config: &OidcProvider,
        now: Micros,
    ) -> Result<Assertion, NotProven> {
        let device = self.device_due(handle, now)?;
        let known = self.providers.known(&device.provider, config, now).await?;
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", device.code.as_str()),
            ("client_id", &config.client_id),
        ];
        let tokens = self.tokens(config, &known, &form).await?;
        match (tokens.id_token, tokens.error.as_deref()) {
            (Some(token), _) => {
                self.devices.lock().remove(handle);
                self.assertion(&device.provider, config, &token, None, now).await
            }
            (None, Some("authorization_pending")) => Err(NotProven::Waiting),
            (None, Some("slow_down")) => {
                if let Some(device) = self.devices.lock().get_mut(handle) {
                    device.pause += DEVICE_PAUSE;
                }
                Err(NotProven::Waiting)
            }
            (None, Some(_) | None) => {
                self.devices.lock().remove(handle);
                Err(NotProven::Refused("provider-refused"))
            }
        }
    }

    /// Returns a device whose turn it is to be asked about.
    fn device_due(&self, handle: &str, now: Micros) -> Result<Device, NotProven> {
        let mut devices = self.devices.lock();
        let Some(device) = devices.get_mut(handle) else { return Err(NotProven::Refused("code-unknown")) };
        if device.until <= now {
            devices.remove(handle);
            return Err(NotProven::Refused("code-expired"));
        }
        if is_within(device.asked_at, device.pause, now) {
            return Err(NotProven::Waiting);
        }
        device.asked_at = now;
        Ok(device.clone())
    }

    async fn tokens(
        &self,
        config: &OidcProvider,
        known: &Known,
        form: &[(&str, &str)],
    ) -> Result<Tokens, NotProven> {
        let fetch = Fetch::new(config.ca.as_deref())?;
        let Answer { status, body } =
            fetch.post(&known.metadata.token_endpoint, form, client(config)?).await?;
        if status >= 500 {
            return Err(anyhow::anyhow!("the provider answered {status}").into());
        }
        let tokens: Tokens =
            serde_json::from_slice(&body).context("the provider's answer is not readable")?;
        Ok(if status == 200 { tokens } else { Tokens { id_token: None, ..tokens } })
    }

    async fn assertion(
        &self,
        name: &str,
        config: &OidcProvider,
        token: &str,
        nonce: Option<&str>,
        now: Micros,
    ) -> Result<Assertion, NotProven> {
        let checked = self.providers.check(name, config, token, nonce, now).await?;
        let said = checked.map_err(|unbelieved| NotProven::Refused(unbelieved.name()))?;
        let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let (acr, amr) = (said.text("acr"), said.texts("amr"));
        let factor = acr.is_some_and(|acr| config.factor_acr.iter().any(|known| known == acr))
            || amr.iter().any(|amr| config.factor_amr.iter().any(|known| known == amr));
        let how = format!(
            "acr {}, amr {}",
            acr.unwrap_or("none"),
            if amr.is_empty() { "none".to_owned() } else { amr.join(" ") }
        );
        Ok(Assertion {
            provider: name.to_owned(),
            subject: said.subject.clone(),
            name: said.text(&config.name_claim).map(str::to_owned),
            display_name: said.text("name").map(str::to_owned),
            groups: owned(said.texts(&config.groups_claim)),
            factor,
            how: words(&how),
        })
    }
}

/// What a browser brings back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Back<'a> {
    pub(crate) state: &'a str,
    pub(crate) code: Option<&'a str>,
    /// RFC 9207: who answers.
    pub(crate) issuer: Option<&'a str>,
    pub(crate) cookie: Option<&'a str>,
}

/// An answer of one provider must not be taken for that of another.
fn check_issuer(known: &Known, issuer: Option<&str>) -> Result<(), NotProven> {
    match issuer {
        Some(issuer) if issuer == known.metadata.issuer => Ok(()),
        None if !known.metadata.authorization_response_iss_parameter_supported => Ok(()),
        Some(_) | None => Err(NotProven::Refused("answer-of-another-issuer")),
    }
}

/// Returns 256 random bits as text.
fn random() -> String {
    let mut bytes = [0; 32];
    // INVARIANT: AWS-LC seeds itself from the kernel once, before the first byte, and cannot run dry afterwards.
    rand::fill(&mut bytes).expect("the system's random source works");
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sha256(text: &str) -> [u8; 32] {
    crate::config::sha256(text.as_bytes())
}

fn is_within(began: Micros, life: Duration, now: Micros) -> bool {
    now.0.checked_sub(began.0).is_some_and(|age| Duration::from_micros(age) < life)
}

/// Returns a provider's words as they may be shown.
fn words(text: &str) -> String {
    crate::output::clipped(&crate::output::printable(text), WORDS_MAX)
}
