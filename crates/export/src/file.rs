//! Events in a file, with a digest beside it that the log's key signed.
//!
//! The file is written under another name and takes its own when it is whole and durable. The digest is a signed note
//! (`docs/formats/export.md`), so that whoever has the node's verifier key can tell that a file is as it was written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use trail::{Entry, OpenedPatients, Reader};

use crate::error::Error;
use crate::event::{Mapper, Shown};
use crate::format::Format;
use crate::text::hex;

/// Far above any digest file.
const NOTE_BYTES_MAX: u64 = 64 << 10;
const READ_BYTES: usize = 64 << 10;

/// A file that is being written.
pub struct Outgoing {
    path: PathBuf,
    fresh: PathBuf,
    file: BufWriter<File>,
    digest: digest::Context,
    format: Format,
    patients: Shown,
    mapper: Mapper,
    written: Written,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Events, one a line.
    pub events: u64,
    /// Entries of the trail that they come from.
    pub entries: u64,
    /// The first of these.
    pub first: Option<u64>,
    /// The last.
    pub last: Option<u64>,
    /// The file's length.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Outgoing {
    /// Begins a file that is not there yet.
    ///
    /// # Errors
    /// When it cannot be made, or is there already.
    pub fn begin(path: &Path, format: Format, patients: Shown) -> Result<Outgoing, Error> {
        let io = |source| Error::File { what: "write", path: path.to_owned(), source };
        if path.exists() || note_path(path).exists() {
            return Err(io(io::Error::new(io::ErrorKind::AlreadyExists, "it is there already")));
        }
        let fresh = with_suffix(path, ".part");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh);
        Ok(Outgoing {
            path: path.to_owned(),
            file: BufWriter::new(file.map_err(io)?),
            fresh,
            digest: digest::Context::new(&digest::SHA256),
            format,
            patients,
            mapper: Mapper::default(),
            written: Written::default(),
        })
    }

    /// Adds the events of an entry. Entries come in the order of the log.
    ///
    /// # Errors
    /// When the file cannot be written, or the patients do not open.
    pub fn add(&mut self, reader: &Reader, entry: &Entry) -> Result<(), Error> {
        let opened: Option<OpenedPatients> = match self.patients {
            Shown::Tokens => None,
            Shown::Identifiers => reader.open_patients(&entry.record)?,
        };
        let Some(subjects) = self.mapper.subjects(entry, opened.as_ref()) else { return Ok(()) };
        for event in subjects.events(reader.origin(), entry) {
            let mut line = self.format.line(&event);
            line.push('\n');
            self.file.write_all(line.as_bytes()).map_err(|source| self.io(source))?;
            self.digest.update(line.as_bytes());
            self.written.bytes += u64::try_from(line.len()).unwrap_or(u64::MAX);
            self.written.events += 1;
        }
        self.written.entries += 1;
        self.written.first.get_or_insert(entry.index);
        self.written.last = Some(entry.index);
        Ok(())
    }

    /// Makes the file and its digest durable, and gives them their names: the digest first, so that there is no file
    /// without.
    ///
    /// # Errors
    /// When they cannot be written, or the digest cannot be signed.
    pub fn finish(mut self, reader: &Reader) -> Result<Written, Error> {
        self.file.flush().map_err(|source| self.io(source))?;
        self.file.get_ref().sync_all().map_err(|source| self.io(source))?;
        self.written.sha256 = hex(self.digest.clone().finish().as_ref());
        let note = reader.sign_export(&self.facts(reader.origin()))?;
        let path = note_path(&self.path);
        let made = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(note.as_bytes())?;
            file.sync_all()?;
            fs::rename(&self.fresh, &self.path)?;
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        made().map_err(|source| self.io(source))?;
        Ok(self.written)
    }

    /// Forgets what was written.
    pub fn discard(self) {
        let _gone = fs::remove_file(&self.fresh);
    }

    fn facts(&self, origin: &str) -> String {
        let number = |number: Option<u64>| number.map_or("none".to_owned(), |number| number.to_string());
        let Written { events, entries, first, last, bytes, sha256 } = &self.written;
        format!(
            "origin {origin}\nformat {}\npatients {}\nevents {events}\nentries {entries}\nfirst {}\nlast {}\n\
             bytes {bytes}\nsha256 {sha256}\n",
            self.format.name(),
            self.patients.name(),
            number(*first),
            number(*last),
        )
    }

    fn io(&self, source: io::Error) -> Error {
        Error::File { what: "write", path: self.path.clone(), source }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Returns where the digest of a file is.
fn note_path(path: &Path) -> PathBuf {
    with_suffix(path, ".digest")
}

/// What checking a file gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It is as it was written. The facts of the digest file, a name and a value a line.
    Whole(String),
    /// It is not what the digest says.
    Altered {
        /// What the digest says.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The digest is not signed by that key.
    NotSigned,
}

/// Compares a file with the digest beside it, and the digest with the key that must have signed it.
///
/// # Errors
/// When either cannot be read.
pub fn check(path: &Path, verifier_key: &str) -> Result<Checked, Error> {
    let note_at = note_path(path);
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { what: "read", path, source }
    };
    let mut note = Vec::new();
    let opened = File::open(&note_at).map_err(io(&note_at))?;
    opened.take(NOTE_BYTES_MAX).read_to_end(&mut note).map_err(io(&note_at))?;
    let Some(facts) = trail::open_export(&note, verifier_key) else { return Ok(Checked::NotSigned) };
    let fact = |name: &str| {
        let line = facts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_default().to_owned()
    };
    let (bytes, sha256) = measure(path).map_err(io(path))?;
    let (expected, found) = (
        format!("{} bytes, SHA-256 {}", fact("bytes"), fact("sha256")),
        format!("{bytes} bytes, SHA-256 {sha256}"),
    );
    Ok(if expected == found { Checked::Whole(facts) } else { Checked::Altered { expected, found } })
}

fn measure(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes = 0_u64;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hex(context.finish().as_ref())));
        }
        context.update(buffer.get(..read).unwrap_or_default());
        bytes += u64::try_from(read).unwrap_or(u64::MAX);
    }
}
