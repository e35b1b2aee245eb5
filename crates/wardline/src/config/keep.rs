//! `[trail.store]` and `[backup]`: where copies go.

use std::path::{Path, PathBuf};
use std::time::Duration;

use store::{Bucket, Endpoint};

use super::read::Section;
use super::sections::narrow;

/// The region of buckets that have none.
const REGION: &str = "us-east-1";
/// A segment is complete after a day, unless it is full before.
const SEAL_AFTER_S: u64 = 86_400;

/// A folder or a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StorePlace {
    /// A folder, which may be a mount.
    Folder(PathBuf),
    /// A bucket, with what is needed to reach it.
    Bucket { bucket: Bucket, endpoint: String, credentials: PathBuf, ca: Option<PathBuf> },
}

/// Where complete segments and checkpoints are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrailStore {
    /// The data folder's own, when it is left out.
    pub(crate) place: Option<StorePlace>,
    pub(crate) seal_after: Duration,
    /// How many complete segments stay in the data folder; all when it is left out.
    pub(crate) local_segments: Option<usize>,
}

impl Default for TrailStore {
    fn default() -> TrailStore {
        TrailStore { place: None, seal_after: Duration::from_secs(SEAL_AFTER_S), local_segments: None }
    }
}

pub(super) fn trail_store(top: &Section<'_, '_>, base: &Path) -> TrailStore {
    let outer = top.section("trail");
    let Some(section) = outer.as_ref().and_then(|trail| trail.section("store")) else {
        return TrailStore::default();
    };
    let local = section.value("local_segments").is_some();
    TrailStore {
        place: place(&section, base),
        seal_after: Duration::from_secs(section.number("seal_after_s", 60..=31_536_000, SEAL_AFTER_S)),
        local_segments: local.then(|| narrow(section.number("local_segments", 1..=1_000_000, 1))),
    }
}

pub(super) fn backup(top: &Section<'_, '_>, base: &Path) -> Option<StorePlace> {
    let section = top.section("backup")?;
    if section.value("to").is_none() {
        section.missing("to", "\"/mnt/backup\"");
    }
    place(&section, base)
}

fn place(section: &Section<'_, '_>, base: &Path) -> Option<StorePlace> {
    let to = section.text("to", "\"/mnt/backup\"");
    let endpoint = section.text("endpoint", "\"https://s3.example.org\"");
    let region = section.text("region", "\"us-east-1\"");
    let credentials = section.text("credentials", "\"/etc/wardline/s3-credentials\"");
    let ca = section.text("ca", "\"ca.pem\"");
    let to = to?;
    if !to.value.starts_with("s3://") {
        for (name, at) in
            [("endpoint", &endpoint), ("region", &region), ("credentials", &credentials), ("ca", &ca)]
        {
            if let Some(at) = at {
                let message = format!("`{}` is for a bucket, and `to` is a folder", section.child(name));
                section.reader().error(
                    at.offset,
                    message,
                    "remove it, or write `to = \"s3://BUCKET/PREFIX\"`",
                );
            }
        }
        return Some(StorePlace::Folder(base.join(&to.value)));
    }
    let region = region.map_or(REGION.to_owned(), |at| at.value);
    let Some(credentials) = credentials else {
        section.missing("credentials", "\"/etc/wardline/s3-credentials\"");
        return None;
    };
    let endpoint_offset = endpoint.as_ref().map_or(to.offset, |at| at.offset);
    let endpoint = endpoint.map(|at| at.value);
    match bucket_place(
        &to.value,
        endpoint,
        &region,
        base.join(credentials.value),
        ca.map(|at| base.join(at.value)),
    ) {
        Ok(place) => Some(place),
        Err(message) => {
            let message = format!("`{}`: {message}", section.child("endpoint"));
            section.reader().error(
                endpoint_offset,
                message,
                "write `to = \"s3://BUCKET/PREFIX\"` and `endpoint = \"https://HOST\"`",
            );
            None
        }
    }
}

/// Names a bucket, also for the command line.
pub(crate) fn bucket_place(
    url: &str,
    endpoint: Option<String>,
    region: &str,
    credentials: PathBuf,
    ca: Option<PathBuf>,
) -> Result<StorePlace, String> {
    let bucket = Bucket::parse(url, region).ok_or_else(|| format!("`{url}` is not `s3://BUCKET/PREFIX`"))?;
    let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
    // Only its form is looked at here; the authorities are read when it is used.
    match Endpoint::check(&endpoint) {
        Ok(()) => Ok(StorePlace::Bucket { bucket, endpoint, credentials, ca }),
        Err(error) => Err(error.to_string()),
    }
}
