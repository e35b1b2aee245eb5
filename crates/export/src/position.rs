//! How far a receiver is: one small file, durable, bound to the log.
//!
//! It names the next entry and has the digest of the last one that was taken, so that a position is never applied to
//! another log, nor to one that was set back. `docs/formats/export.md` has the fields.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use trail::{Entry, Reader};

use crate::error::Error;
use crate::format::Format;
use crate::text::{at, hex, sha256};

const VERSION: u64 = 1;
/// Far above any position; a wrong file is not read into memory.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The last entry that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    index: u64,
    digest: String,
}

impl Mark {
    pub(crate) fn of(entry: &Entry) -> Result<Mark, Error> {
        let mut canonical = Vec::new();
        trail::encode(&entry.record, &mut canonical).map_err(|error| Error::Trail(error.into()))?;
        Ok(Mark { index: entry.index, digest: hex(&sha256(&canonical)) })
    }

    /// Returns the entry after it.
    pub(crate) fn next(&self) -> u64 {
        self.index + 1
    }
}

/// The file of one receiver.
#[derive(Debug)]
pub(crate) struct PositionFile {
    path: PathBuf,
    origin: String,
    format: Format,
}

impl PositionFile {
    pub(crate) fn new(path: &Path, origin: &str, format: Format) -> PositionFile {
        PositionFile { path: path.to_owned(), origin: origin.to_owned(), format }
    }

    /// Returns the last entry that was taken; `None` when nothing was yet. The log must be the one, and have the entry.
    pub(crate) fn load(&self, reader: &Reader) -> Result<Option<Mark>, Error> {
        let bytes = match read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io("read", error)),
        };
        let mark = self.parse(&bytes)?;
        let entry = reader.entries(mark.index)?.next().transpose()?;
        match entry.map(|entry| Mark::of(&entry)).transpose()? {
            Some(found) if found == mark => Ok(Some(mark)),
            Some(_) | None => Err(self.foreign(format!(
                "entry {} is not the one that was handed over: this is another trail, or an older copy of it",
                mark.index
            ))),
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<Mark, Error> {
        let value: Value =
            serde_json::from_slice(bytes).map_err(|_| self.foreign("it is no position".to_owned()))?;
        let (origin, format) = (at(&value, "/origin").as_str(), at(&value, "/format").as_str());
        if at(&value, "/version").as_u64() != Some(VERSION) {
            return Err(self.foreign("it is of a version that is not known here".to_owned()));
        }
        if origin != Some(&self.origin) || format != Some(self.format.name()) {
            let found = format!("{} as {}", origin.unwrap_or("?"), format.unwrap_or("?"));
            let wanted = format!("{} as {}", self.origin, self.format.name());
            return Err(self.foreign(format!("it is about {found}, not about {wanted}")));
        }
        let (index, digest) = (at(&value, "/last/index").as_u64(), at(&value, "/last/sha256").as_str());
        match (index, digest) {
            (Some(index), Some(digest)) => Ok(Mark { index, digest: digest.to_owned() }),
            _ => Err(self.foreign("it names no entry".to_owned())),
        }
    }

    /// Makes a position durable.
    pub(crate) fn save(&self, mark: &Mark) -> Result<(), Error> {
        let value = json!({
            "version": VERSION,
            "origin": self.origin,
            "format": self.format.name(),
            "last": { "index": mark.index, "sha256": mark.digest },
        });
        replace(&self.path, format!("{value}\n").as_bytes()).map_err(|error| self.io("write", error))
    }

    fn foreign(&self, why: String) -> Error {
        Error::Position { path: self.path.clone(), why }
    }

    fn io(&self, what: &'static str, source: io::Error) -> Error {
        Error::File { what, path: self.path.clone(), source }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(File::open(path)?, FILE_BYTES_MAX), &mut bytes)?;
    Ok(bytes)
}

/// Writes a file whole or not at all, and returns when it is durable.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(folder)?.sync_all()
}
