//! Sessions of browsers: a cookie that stands for somebody who signed in, until they are idle, leave, or it is old.
//!
//! Kept in memory: who restarts the server signs in again, and nothing on the disk can stand for a person. The cookie is
//! `__Host-` (this host alone, TLS only), HttpOnly and SameSite=Strict; what changes anything also has to come from our own
//! pages (`Origin`). Only a SHA-256 of the secret is kept. With each request the person is read again: whoever was disabled
//! or deleted has no session any more, and roles are those of now.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{digest, rand};
use axum::http::HeaderMap;
use axum::http::header::{COOKIE, HeaderValue, ORIGIN};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::Reason;
use model::{Kind, Micros, Outcome, PersonId, Record, Shown};
use parking_lot::Mutex;
use registry::PersonRow;

use crate::admin::{ActingPerson, Actor, Refusal};
use crate::guards::Newcomer;
use crate::node::Node;
use crate::output;
use crate::standing::Standing;

/// The cookie's name. The prefix makes browsers refuse it from another host or without TLS.
const NAME: &str = "__Host-wardline";
const SECRET_BYTES: usize = 32;
/// So many sessions at once, of everybody and of one person; one more ends the one that was idle longest.
const SESSIONS_MAX: usize = 10_000;
const SESSIONS_PER_PERSON_MAX: usize = 16;

/// The sessions of browsers that are open.
#[derive(Debug, Default)]
pub(crate) struct Browsers(Mutex<HashMap<[u8; 32], Browser>>);

/// Somebody's session in a browser.
#[derive(Clone, Debug)]
pub(crate) struct Browser {
    pub(crate) person: PersonId,
    pub(crate) name: Arc<str>,
    /// How they showed who they are; a second factor may be shown again.
    pub(crate) shown: Shown,
    pub(crate) address: IpAddr,
    pub(crate) since: Micros,
    pub(crate) last: Micros,
}

/// Somebody who is signed in, as they are now.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) browser: Browser,
    pub(crate) person: PersonRow,
    key: [u8; 32],
}

impl Visitor {
    /// Returns them as one who asks for something.
    pub(crate) fn actor(&self, peer: SocketAddr) -> Actor {
        let person = ActingPerson {
            id: self.person.id,
            name: self.person.name.clone(),
            roles: self.person.roles.clone(),
            factor_at: self.browser.shown.factor_at,
            by_code: false,
        };
        Actor { person: Some(person), ..Actor::on_the_web(Some(peer)) }
    }

    /// Tells whether they showed a second factor within that time.
    pub(crate) fn is_fresh(&self, now: Micros, within: Duration) -> bool {
        let age = self.browser.shown.factor_at.map(|at| now.0.saturating_sub(at.0));
        age.is_some_and(|age| u128::from(age) <= within.as_micros())
    }
}

impl Browsers {
    fn begin(&self, key: [u8; 32], browser: Browser) {
        let mut open = self.0.lock();
        let mine = open.values().filter(|other| other.person == browser.person).count();
        if mine >= SESSIONS_PER_PERSON_MAX || open.len() >= SESSIONS_MAX {
            let of_person = mine >= SESSIONS_PER_PERSON_MAX;
            let oldest = open
                .iter()
                .filter(|(_, other)| !of_person || other.person == browser.person)
                .min_by_key(|(_, other)| other.last)
                .map(|(key, _)| *key);
            oldest.map(|key| open.remove(&key));
        }
        open.insert(key, browser);
    }

    /// Returns a session that is not over, and notes that it is used.
    fn touch(&self, key: &[u8; 32], now: Micros, bounds: Bounds) -> Option<Browser> {
        let mut open = self.0.lock();
        let browser = open.get_mut(key)?;
        if bounds.is_over(browser, now) {
            open.remove(key);
            return None;
        }
        browser.last = now;
        Some(browser.clone())
    }

    /// Ends a session.
    fn end(&self, key: &[u8; 32]) {
        self.0.lock().remove(key);
    }

    /// Ends the sessions of a person; returns how many there were.
    pub(crate) fn end_of(&self, person: PersonId) -> usize {
        let mut open = self.0.lock();
        let before = open.len();
        open.retain(|_, browser| browser.person != person);
        before - open.len()
    }

    /// Ends what is over, so that it takes no room.
    fn sweep(&self, now: Micros, bounds: Bounds) {
        self.0.lock().retain(|_, browser| !bounds.is_over(browser, now));
    }

    fn step_up(&self, key: &[u8; 32], shown: Shown) {
        if let Some(browser) = self.0.lock().get_mut(key) {
            browser.shown = shown;
        }
    }

    /// Returns the sessions of a person, the newest first.
    pub(crate) fn of(&self, person: PersonId) -> Vec<Browser> {
        let open = self.0.lock();
        let mut mine: Vec<Browser> =
            open.values().filter(|browser| browser.person == person).cloned().collect();
        mine.sort_by_key(|browser| std::cmp::Reverse(browser.since));
        mine
    }
}

#[derive(Clone, Copy)]
struct Bounds {
    idle: Duration,
    life: Duration,
}

impl Bounds {
    fn is_over(self, browser: &Browser, now: Micros) -> bool {
        let since = |at: Micros| u128::from(now.0.saturating_sub(at.0));
        since(browser.last) >= self.idle.as_micros() || since(browser.since) >= self.life.as_micros()
    }
}

impl Node {
    fn browser_bounds(&self) -> Bounds {
        let config = self.config.load();
        let web = config.web.as_ref();
        Bounds {
            idle: web.map_or(Duration::ZERO, |web| web.idle_timeout),
            life: web.map_or(Duration::ZERO, |web| web.session_lifetime_max),
        }
    }

    /// A sign-in in a browser is complete: records it and makes the session. Every way to sign in ends here. Returns the
    /// cookie to set.
    ///
    /// # Errors
    /// It cannot be recorded; then there is no session.
    pub(crate) async fn begin_browser_session(
        &self,
        newcomer: Newcomer,
        peer: SocketAddr,
    ) -> Result<HeaderValue, Refusal> {
        let principal = newcomer.into_principal();
        let mut record = self.browser_record(&principal.name, peer);
        record.person = Some(principal.id);
        record.outcome = Some(Outcome::Completed);
        record.sign_in = Some(principal.shown.how.to_string().into());
        self.record(&record).await.map_err(|error| Refusal::because(&error))?;
        let (secret, key) = fresh();
        let (now, bounds) = (self.now(), self.browser_bounds());
        self.browsers.sweep(now, bounds);
        let browser = Browser {
            person: principal.id,
            name: principal.name,
            shown: principal.shown,
            address: peer.ip(),
            since: now,
            last: now,
        };
        self.browsers.begin(key, browser);
        Ok(cookie(&secret, bounds.life.as_secs()))
    }

    /// Records that somebody did not sign in. The browser is told nothing of the reason.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub(crate) async fn refuse_browser_sign_in(
        &self,
        name: &str,
        reason: &Reason,
        peer: SocketAddr,
    ) -> Result<(), Refusal> {
        let mut record = self.browser_record(name, peer);
        record.outcome = Some(Outcome::Refused);
        record.detail = Some(reason.name().into());
        self.record_urgent(&record).await.map_err(|error| Refusal::because(&error))
    }

    /// Records what somebody who is signed in did about it: showed a factor again, typed a code, left.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub(super) async fn record_of_visitor(
        &self,
        visitor: &Visitor,
        peer: SocketAddr,
        outcome: Outcome,
        words: &'static str,
    ) -> Result<(), Refusal> {
        let mut record = self.browser_record(&visitor.person.name, peer);
        record.person = Some(visitor.person.id);
        record.sign_in = Some(visitor.browser.shown.how.to_string().into());
        record.outcome = Some(outcome);
        record.detail = Some(words.into());
        self.record(&record).await.map_err(|error| Refusal::because(&error))
    }

    fn browser_record(&self, name: &str, peer: SocketAddr) -> Record<'static> {
        let mut record = Record::new(Kind::SignIn, self.now());
        record.client = Some("browser".into());
        record.address = Some(peer.ip());
        record.port = Some(peer.port());
        record.person_name = Some(output::clipped(&output::printable(name), registry::NAME_BYTES_MAX).into());
        record
    }

    /// Returns who sends a request, by its cookie.
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub(crate) async fn visitor(&self, headers: &HeaderMap) -> Result<Option<Visitor>, Refusal> {
        let Some(key) = key_of(headers) else { return Ok(None) };
        // A registry of another time would let in whom a later change has barred.
        if let Standing::Older { .. } = self.standing() {
            return Ok(None);
        }
        let Some(browser) = self.browsers.touch(&key, self.now(), self.browser_bounds()) else {
            return Ok(None);
        };
        let person = self.registry.person(&browser.name).await.map_err(|error| Refusal::because(&error))?;
        let person = person.filter(|person| person.id == browser.person && person.disabled_at.is_none());
        let person = person.filter(|person| self.lock_on(person.id, &person.roles).is_none());
        if person.is_none() {
            self.browsers.end(&key);
        }
        Ok(person.map(|person| Visitor { browser, person, key }))
    }

    /// Notes that somebody who is signed in showed a second factor again.
    pub(crate) fn browser_stepped_up(&self, visitor: &Visitor, shown: Shown) {
        self.browsers.step_up(&visitor.key, shown);
    }

    /// Ends the session of a browser; returns the cookie that takes the other's place.
    pub(crate) fn end_browser_session(&self, visitor: &Visitor) -> HeaderValue {
        self.browsers.end(&visitor.key);
        cookie("", 0)
    }

    /// Tells whether a request comes from our own pages. Browsers say so with everything that is not a mere look.
    pub(crate) fn is_from_our_pages(&self, headers: &HeaderMap) -> bool {
        let config = self.config.load();
        let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
        config.web.as_ref().is_some_and(|web| origin == Some(web.url.as_str()))
    }
}

pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system's random source works");
    bytes
}

/// Returns a secret for a cookie, and the key under which its session is kept.
fn fresh() -> (String, [u8; 32]) {
    let secret = URL_SAFE_NO_PAD.encode(random::<SECRET_BYTES>());
    let key = key(&secret);
    (secret, key)
}

fn key(secret: &str) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, secret.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Returns the key of the session that a request's cookie names.
fn key_of(headers: &HeaderMap) -> Option<[u8; 32]> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == NAME).map(|(_, secret)| key(secret))
}

fn cookie(secret: &str, life_s: u64) -> HeaderValue {
    let text = format!("{NAME}={secret}; Max-Age={life_s}; Path=/; Secure; HttpOnly; SameSite=Strict");
    HeaderValue::try_from(text).expect("letters, digits and marks")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { idle: Duration::from_secs(60), life: Duration::from_secs(600) };

    fn at(seconds: u64) -> Micros {
        Micros(seconds * 1_000_000)
    }

    fn browser(person: u128, now: u64) -> Browser {
        Browser {
            person: PersonId(person),
            name: "ann".into(),
            shown: Shown::alone("password"),
            address: IpAddr::from([127, 0, 0, 1]),
            since: at(now),
            last: at(now),
        }
    }

    #[test]
    fn a_session_ends_when_idle_and_when_old() {
        let browsers = Browsers::default();
        browsers.begin([1; 32], browser(1, 0));
        for second in (0..600).step_by(59) {
            assert!(browsers.touch(&[1; 32], at(second), BOUNDS).is_some(), "{second}");
        }
        assert!(browsers.touch(&[1; 32], at(600), BOUNDS).is_none(), "old");
        browsers.begin([2; 32], browser(1, 0));
        assert!(browsers.touch(&[2; 32], at(60), BOUNDS).is_none(), "idle");
        assert!(browsers.touch(&[2; 32], at(1), BOUNDS).is_none(), "and gone");
    }

    #[test]
    fn sessions_are_bounded_and_end_with_their_person() {
        let browsers = Browsers::default();
        for number in 0..40_u8 {
            browsers.begin([number; 32], browser(1, u64::from(number)));
        }
        browsers.begin([99; 32], browser(2, 0));
        assert_eq!(browsers.of(PersonId(1)).len(), SESSIONS_PER_PERSON_MAX);
        assert!(browsers.touch(&[39; 32], at(40), BOUNDS).is_some(), "the newest stays");
        assert_eq!(browsers.end_of(PersonId(1)), SESSIONS_PER_PERSON_MAX);
        assert!(browsers.touch(&[39; 32], at(40), BOUNDS).is_none());
        assert!(browsers.touch(&[99; 32], at(40), BOUNDS).is_some(), "others stay");
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let (secret, wanted) = fresh();
        let mut headers = HeaderMap::new();
        assert_eq!(key_of(&headers), None);
        headers.append(COOKIE, HeaderValue::try_from(format!("a=b; {NAME}={secret}; c=d")).unwrap());
        assert_eq!(key_of(&headers), Some(wanted));
        let set = cookie(&secret, 60);
        for word in ["__Host-", "Secure", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=60"] {
            assert!(set.to_str().unwrap().contains(word), "{word}");
        }
    }
}
