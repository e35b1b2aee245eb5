//! A bucket as a store.

use std::path::Path;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode};
use model::Secret;
use trail::{Store, StoreError, Version, sha256};

use crate::date::Date;
use crate::http::Endpoint;
use crate::sign::{self, Unsigned, encoded, hex};
use crate::xml;

/// Pages of a listing; a page has up to a thousand names.
const PAGES_MAX: usize = 100_000;
/// A file of credentials is a few lines.
const CREDENTIALS_BYTES_MAX: usize = 64 << 10;

/// A bucket, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// What every key begins with; empty, or ending in a slash.
    pub prefix: String,
    /// The region that requests are signed for.
    pub region: String,
}

impl Bucket {
    /// Reads `s3://BUCKET` or `s3://BUCKET/PREFIX`; `None` for anything else.
    pub fn parse(url: &str, region: &str) -> Option<Bucket> {
        let rest = url.strip_prefix("s3://")?;
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let proper = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if !(3..=63).contains(&name.len()) || !name.chars().all(proper) {
            return None;
        }
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Some(Bucket { name: name.to_owned(), prefix, region: region.to_owned() })
    }
}

/// Who signs the requests.
#[derive(Clone)]
pub struct Credentials {
    /// The access key's id.
    pub id: String,
    /// The secret access key.
    pub secret: Secret,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("cannot read `{0}`: {1}")]
    Read(String, std::io::Error),
    /// Others may read it.
    #[error("`{0}` is open to others: run `chmod 600 {0}`")]
    OpenToOthers(String),
    /// It does not hold both lines.
    #[error("`{0}` does not hold `aws_access_key_id = ...` and `aws_secret_access_key = ...`")]
    Form(String),
}

impl Credentials {
    /// Reads the form of `~/.aws/credentials`: the first id and secret in the file.
    ///
    /// # Errors
    /// When there are none, or others may read them.
    pub fn load(path: &Path) -> Result<Credentials, CredentialsError> {
        use std::io::Read as _;
        use std::os::unix::fs::PermissionsExt as _;
        let shown = || path.display().to_string();
        let read = |error| CredentialsError::Read(shown(), error);
        let file = std::fs::File::open(path).map_err(read)?;
        if file.metadata().map_err(read)?.permissions().mode() & 0o077 != 0 {
            return Err(CredentialsError::OpenToOthers(shown()));
        }
        let mut text = String::new();
        file.take(CREDENTIALS_BYTES_MAX as u64).read_to_string(&mut text).map_err(read)?;
        let value = |name: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once('=')?;
                (key.trim() == name).then(|| value.trim().to_owned())
            })
        };
        match (value("aws_access_key_id"), value("aws_secret_access_key")) {
            (Some(id), Some(secret)) if !id.is_empty() => Ok(Credentials { id, secret: Secret::new(secret) }),
            (_, _) => Err(CredentialsError::Form(shown())),
        }
    }
}

/// A bucket that is reached over the network.
#[derive(Debug)]
pub struct S3 {
    endpoint: Endpoint,
    pub(crate) bucket: Bucket,
    credentials: Credentials,
}

/// One request's parts beyond bucket and signature.
#[derive(Debug, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// The object's full key; `None` for the bucket itself.
    pub(crate) key: Option<String>,
    pub(crate) query: Vec<(&'a str, String)>,
    pub(crate) headers: Vec<(&'a str, String)>,
    pub(crate) body: Vec<u8>,
}

impl S3 {
    /// Names a bucket without asking it anything.
    pub fn new(endpoint: Endpoint, bucket: Bucket, credentials: Credentials) -> S3 {
        S3 { endpoint, bucket, credentials }
    }

    pub(crate) fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.bucket.prefix)
    }

    /// Signs and sends a request.
    pub(crate) fn ask(&self, asked: Asked<'_>) -> Result<Response<Bytes>, String> {
        let at = Date::of(SystemTime::now());
        let object = asked.key.as_deref().map(|key| format!("/{}", encoded(key, true))).unwrap_or_default();
        let path = format!("/{}{object}", encoded(&self.bucket.name, false));
        let digest = hex(&sha256(&asked.body));
        let mut headers = asked.headers;
        headers.push(("host", self.endpoint.authority()));
        headers.push(("x-amz-content-sha256", digest.clone()));
        headers.push(("x-amz-date", at.basic()));
        let query = &asked.query;
        let unsigned =
            Unsigned { method: asked.method, path: &path, query, headers: &headers, body_sha256: &digest };
        let authorization = sign::authorization(&unsigned, &self.credentials, &self.bucket.region, at);
        let query = sign::query(query);
        let uri = if query.is_empty() { path } else { format!("{path}?{query}") };
        let mut request = Request::builder().method(asked.method).uri(uri);
        for (name, value) in &headers {
            request = request.header(*name, value);
        }
        let request = request.header("authorization", authorization).body(Full::new(Bytes::from(asked.body)));
        self.endpoint.send(request.map_err(|error| error.to_string())?)
    }

    /// As [`S3::ask`], where any answer but a success is an error.
    pub(crate) fn must(&self, what: &str, asked: Asked<'_>) -> Result<Response<Bytes>, StoreError> {
        let answer = self.ask(asked).map_err(|why| StoreError::failed(what, why))?;
        if answer.status().is_success() {
            Ok(answer)
        } else {
            Err(StoreError::failed(what, refusal(&answer)))
        }
    }

    /// Puts an object, if there is none, with a checksum for the server to compare.
    pub(crate) fn put_checked(
        &self,
        key: &str,
        bytes: &[u8],
        checksum: &[u8; 32],
    ) -> Result<Response<Bytes>, String> {
        self.ask(Asked {
            method: "PUT",
            key: Some(self.full_key(key)),
            headers: vec![
                ("if-none-match", "*".to_owned()),
                ("content-type", "application/octet-stream".to_owned()),
                ("x-amz-checksum-sha256", STANDARD.encode(checksum)),
            ],
            body: bytes.to_vec(),
            ..Asked::default()
        })
    }

    fn get(&self, key: &str, version: Option<&str>, range: Option<String>) -> Result<Vec<u8>, StoreError> {
        let what = format!("read `{key}`");
        let query = version.map(|version| ("versionId", version.to_owned())).into_iter().collect();
        let headers = range.map(|range| ("range", range)).into_iter().collect();
        let asked =
            Asked { method: "GET", key: Some(self.full_key(key)), query, headers, ..Asked::default() };
        let answer = self.ask(asked).map_err(|why| StoreError::failed(&what, why))?;
        match answer.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(answer.into_body().to_vec()),
            StatusCode::NOT_FOUND => Err(StoreError::Absent(key.to_owned())),
            _ => Err(StoreError::failed(what, refusal(&answer))),
        }
    }

    /// Reads all pages of a listing. `page` takes what it needs of one and returns how to ask for the next.
    fn pages(
        &self,
        what: &str,
        first: Vec<(&'static str, String)>,
        mut page: impl FnMut(&[u8]) -> Option<Vec<(&'static str, String)>>,
    ) -> Result<(), StoreError> {
        let mut more = Vec::new();
        for _ in 0..PAGES_MAX {
            let query = first.iter().cloned().chain(more).collect();
            let answer = self.must(what, Asked { method: "GET", query, ..Asked::default() })?;
            more = page(answer.body())
                .ok_or_else(|| StoreError::failed(what, "the answer is not understood"))?;
            if more.is_empty() {
                return Ok(());
            }
        }
        Err(StoreError::failed(what, "the listing does not end"))
    }
}

/// Returns what the server said, in few words.
pub(crate) fn refusal(answer: &Response<Bytes>) -> String {
    let status = answer.status();
    let said = xml::root(answer.body(), |error| {
        let (code, message) = (xml::text(error, "Code")?, xml::text(error, "Message").unwrap_or_default());
        Some(format!("{code}: {message}"))
    });
    match said {
        Some(said) => {
            format!("{status}: {}", said.chars().filter(|c| !c.is_control()).take(300).collect::<String>())
        }
        None => status.to_string(),
    }
}

pub(crate) fn version_of(answer: &Response<Bytes>) -> Option<String> {
    let version = answer.headers().get("x-amz-version-id")?.to_str().ok()?;
    (version != "null" && !version.is_empty()).then(|| version.to_owned())
}

impl Store for S3 {
    fn place(&self) -> String {
        let Bucket { name, prefix, .. } = &self.bucket;
        format!("s3://{name}/{prefix} at {}", self.endpoint.shown())
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<Option<String>, StoreError> {
        let what = format!("put `{key}`");
        let answer =
            self.put_checked(key, bytes, &sha256(bytes)).map_err(|why| StoreError::failed(&what, why))?;
        match answer.status() {
            status if status.is_success() => Ok(version_of(&answer)),
            StatusCode::PRECONDITION_FAILED => Err(StoreError::Exists(key.to_owned())),
            _ => Err(StoreError::failed(what, refusal(&answer))),
        }
    }

    fn read(&self, key: &str, version: Option<&str>) -> Result<Vec<u8>, StoreError> {
        self.get(key, version, None)
    }

    fn read_head(&self, key: &str, version: Option<&str>, bytes: usize) -> Result<Vec<u8>, StoreError> {
        let mut head = self.get(key, version, Some(format!("bytes=0-{}", bytes.saturating_sub(1))))?;
        head.truncate(bytes);
        Ok(head)
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let prefix = format!("{}/", self.full_key(folder));
        let first = vec![("list-type", "2".to_owned()), ("prefix", prefix.clone())];
        let mut names = Vec::new();
        self.pages(&format!("list `{folder}`"), first, |body| {
            xml::root(body, |listing| {
                for item in listing.children().filter(|node| node.tag_name().name() == "Contents") {
                    let name = xml::text(item, "Key")?.strip_prefix(&prefix)?.to_owned();
                    // What names a folder is no object of ours.
                    if !name.is_empty() {
                        names.push(name);
                    }
                }
                let next = xml::text(listing, "NextContinuationToken").filter(|token| !token.is_empty());
                let truncated = xml::text(listing, "IsTruncated").as_deref() == Some("true");
                Some(
                    next.filter(|_| truncated)
                        .map(|token| ("continuation-token", token))
                        .into_iter()
                        .collect(),
                )
            })
        })?;
        names.sort_unstable();
        Ok(names)
    }

    fn versions(&self, folder: &str) -> Result<Vec<Version>, StoreError> {
        let first = vec![("versions", String::new()), ("prefix", format!("{}/", self.full_key(folder)))];
        let mut versions = Vec::new();
        self.pages(&format!("list the versions of `{folder}`"), first, |body| {
            xml::root(body, |listing| {
                for item in listing.children() {
                    let deleted = match item.tag_name().name() {
                        "Version" => false,
                        "DeleteMarker" => true,
                        _ => continue,
                    };
                    let key = xml::text(item, "Key")?.strip_prefix(&self.bucket.prefix)?.to_owned();
                    let id = xml::text(item, "VersionId").filter(|id| !id.is_empty() && id != "null");
                    let latest = xml::text(item, "IsLatest").as_deref() == Some("true");
                    let bytes = xml::text(item, "Size").and_then(|size| size.parse().ok()).unwrap_or(0);
                    if !key.ends_with('/') {
                        versions.push(Version { key, id, latest, deleted, bytes });
                    }
                }
                let truncated = xml::text(listing, "IsTruncated").as_deref() == Some("true");
                let marker =
                    |from: &str, to| Some((to, xml::text(listing, from)?)).filter(|(_, m)| !m.is_empty());
                let markers = [
                    marker("NextKeyMarker", "key-marker"),
                    marker("NextVersionIdMarker", "version-id-marker"),
                ];
                Some(if truncated { markers.into_iter().flatten().collect() } else { Vec::new() })
            })
        })?;
        versions.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(versions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_by_a_url() {
        let parsed = |url| Bucket::parse(url, "us-east-1").map(|bucket| (bucket.name, bucket.prefix));
        assert_eq!(parsed("s3://trail"), Some(("trail".to_owned(), String::new())));
        assert_eq!(parsed("s3://trail/a/b/"), Some(("trail".to_owned(), "a/b/".to_owned())));
        for bad in ["trail", "s3://", "s3://Trail", "s3:///x", "/mnt/trail"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }
}
