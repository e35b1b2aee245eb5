//! What a bucket really enforces: tried, not believed.
//!
//! A small object, `selftest/TIME`, is put, put again, and tried to be released and deleted. Where the bucket lets a deletion
//! happen, that is what is reported. Each trial has an object of its own, so that two at once do not disturb each other.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{Response, StatusCode};
use trail::{Store as _, StoreError, sha256};

use crate::date::Date;
use crate::s3::{Asked, S3, refusal};
use crate::xml;

/// Where the self-test's objects are.
const FOLDER: &str = "selftest";

/// The default retention of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// `COMPLIANCE`, or the weaker `GOVERNANCE`.
    pub mode: String,
    /// How many days an object is kept at least.
    pub days: u64,
}

/// What a bucket does when it is tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enforced {
    /// An object that exists is not overwritten by a put with `If-None-Match: *`.
    pub conditional_put: bool,
    /// Bytes that do not have the checksum that came with them are refused.
    pub checksum: bool,
    /// Versions are kept.
    pub versioning: bool,
    /// The default retention, where the bucket has Object Lock.
    pub lock: Option<Lock>,
    /// Deleting a version of an object was refused.
    pub deletion_refused: bool,
    /// Shortening an object's retention was refused.
    pub shortening_refused: bool,
}

impl Enforced {
    /// Tells whether what is put can be neither changed nor deleted before its time.
    pub fn keeps(&self) -> bool {
        let compliance = self.lock.as_ref().is_some_and(|lock| lock.mode == "COMPLIANCE");
        self.conditional_put
            && self.versioning
            && compliance
            && self.deletion_refused
            && self.shortening_refused
    }

    /// Returns what is missing, in words.
    pub fn missing(&self) -> Vec<&'static str> {
        let compliance = self.lock.as_ref().is_some_and(|lock| lock.mode == "COMPLIANCE");
        [
            (self.conditional_put, "an existing object can be overwritten: `If-None-Match` is not enforced"),
            (self.checksum, "checksums are not compared on arrival; objects are read back instead"),
            (self.versioning, "versions are not kept"),
            (self.lock.is_none() || compliance, "the retention is GOVERNANCE, which a right can bypass"),
            (self.deletion_refused, "this credential could delete an object"),
            (self.lock.is_none() || self.shortening_refused, "the retention of an object can be shortened"),
        ]
        .into_iter()
        .filter_map(|(holds, words)| (!holds).then_some(words))
        .collect()
    }
}

impl fmt::Display for Enforced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.lock {
            Some(Lock { mode, days }) => write!(f, "Object Lock {mode}, {days} days by default")?,
            None => write!(f, "no Object Lock with a default retention")?,
        }
        for missing in self.missing() {
            write!(f, "; {missing}")?;
        }
        Ok(())
    }
}

impl S3 {
    /// Finds out what the bucket enforces.
    ///
    /// # Errors
    /// When it cannot be reached, or refuses even to be written to.
    pub fn probe(&self) -> Result<Enforced, StoreError> {
        let now = SystemTime::now();
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let key = format!("{FOLDER}/{}-{:09}", Date::of(now).basic(), since.subsec_nanos());
        let version = self.put(&key, b"a self-test of Wardline\n")?;
        let overwritten = self.put_checked(&key, b"again\n", &sha256(b"again\n"));
        let overwritten = overwritten.map_err(|why| StoreError::failed("try to overwrite", why))?;
        let lock = self.default_lock()?;
        let query = version.map(|version| ("versionId", version)).into_iter().collect::<Vec<_>>();
        // In this order: what can be shortened can be deleted afterwards, and that is what is to be found out.
        let shortening_refused = lock.is_some() && self.shortening_refused(&key, &query, now)?;
        Ok(Enforced {
            conditional_put: overwritten.status() == StatusCode::PRECONDITION_FAILED,
            checksum: self.checksum_compared(&key)?,
            versioning: self.versioning()?,
            lock,
            deletion_refused: self.deletion_refused(&key, query)?,
            shortening_refused,
        })
    }

    fn versioning(&self) -> Result<bool, StoreError> {
        let query = vec![("versioning", String::new())];
        let answer = self.must("ask for versioning", Asked { method: "GET", query, ..Asked::default() })?;
        let status = xml::root(answer.body(), |root| xml::text(root, "Status"));
        Ok(status.as_deref() == Some("Enabled"))
    }

    fn default_lock(&self) -> Result<Option<Lock>, StoreError> {
        let query = vec![("object-lock", String::new())];
        let asked = Asked { method: "GET", query, ..Asked::default() };
        let answer = self.ask(asked).map_err(|why| StoreError::failed("ask for Object Lock", why))?;
        if !answer.status().is_success() {
            return Ok(None);
        }
        Ok(xml::root(answer.body(), |root| {
            let default = xml::child(xml::child(root, "Rule")?, "DefaultRetention")?;
            let number = |name| xml::text(default, name).and_then(|text| text.parse::<u64>().ok());
            let days = number("Days").or_else(|| number("Years").map(|years| years.saturating_mul(365)))?;
            Some(Lock { mode: xml::text(default, "Mode")?, days })
        }))
    }

    fn checksum_compared(&self, key: &str) -> Result<bool, StoreError> {
        let answer = self.put_checked(&format!("{key}-altered"), b"altered\n", &sha256(b"another\n"));
        let answer = answer.map_err(|why| StoreError::failed("try a wrong checksum", why))?;
        Ok(answer.status().is_client_error() && answer.status() != StatusCode::PRECONDITION_FAILED)
    }

    fn shortening_refused(
        &self,
        key: &str,
        version: &[(&'static str, String)],
        now: SystemTime,
    ) -> Result<bool, StoreError> {
        let until = Date::of(now + Duration::from_mins(1)).extended();
        let body = format!(
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>COMPLIANCE</Mode>\
             <RetainUntilDate>{until}</RetainUntilDate></Retention>"
        );
        let query = version.iter().cloned().chain([("retention", String::new())]).collect();
        self.refused("try to shorten a retention", "PUT", key, query, body.into_bytes())
    }

    fn deletion_refused(&self, key: &str, version: Vec<(&'static str, String)>) -> Result<bool, StoreError> {
        self.refused("try to delete a version", "DELETE", key, version, Vec::new())
    }

    /// Tries something, and tells whether it was forbidden; another failure is an error, not an answer.
    fn refused(
        &self,
        what: &str,
        method: &str,
        key: &str,
        query: Vec<(&'static str, String)>,
        body: Vec<u8>,
    ) -> Result<bool, StoreError> {
        let headers = vec![("x-amz-checksum-sha256", STANDARD.encode(sha256(&body)))];
        let asked = Asked { method, key: Some(self.full_key(key)), query, headers, body };
        let answer: Response<Bytes> = self.ask(asked).map_err(|why| StoreError::failed(what, why))?;
        match answer.status() {
            status if status.is_success() => Ok(false),
            StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST | StatusCode::CONFLICT => Ok(true),
            _ => Err(StoreError::failed(what, refusal(&answer))),
        }
    }
}
