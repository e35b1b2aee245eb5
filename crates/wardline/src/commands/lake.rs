//! The archive beside a trail, and `wardline-lake`, the program that reads and writes it.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, anyhow, bail};
use model::RootKey;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use trail::{ArchiveIndex, Found, Manifest, Reader};

use crate::commands::place::Place;
use crate::config::StorePlace;
use crate::{keep, output};

/// The program that has the query engine: beside this one, unless the environment names another.
const PROGRAM: &str = "wardline-lake";
const PROGRAM_VARIABLE: &str = "WARDLINE_LAKE";

/// The archive of a trail.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) folder: PathBuf,
    trail: PathBuf,
    /// Where the segments are that are not in the trail's folder any more, as the program is told.
    store: Option<Value>,
    key: RootKey,
}

/// Says to the program where the store is; which credential it takes, not the credential.
fn told(store: &StorePlace) -> Value {
    match store {
        StorePlace::Folder(path) => json!({ "folder": path }),
        StorePlace::Bucket { bucket, endpoint, credentials, ca } => json!({ "bucket": {
            "name": bucket.name, "prefix": bucket.prefix, "region": bucket.region, "endpoint": endpoint,
            "credentials": credentials, "ca": ca,
        } }),
    }
}

impl Archive {
    /// Names the archive of a trail: beside it, unless another folder is given.
    pub(crate) fn of(place: &Place, folder: Option<&Path>) -> anyhow::Result<Archive> {
        let beside = place.folder.parent().unwrap_or(Path::new(".")).join("archive");
        Ok(Archive {
            folder: folder.map_or(beside, Path::to_path_buf),
            trail: place.folder.clone(),
            store: place.own.as_ref().map(|config| told(&keep::place(config))),
            key: place.needed_key()?.clone(),
        })
    }

    fn index_file(&self) -> PathBuf {
        self.folder.join("index")
    }

    /// Returns what the archive's index says; of an archive that was never written, nothing.
    pub(crate) fn index(&self) -> anyhow::Result<ArchiveIndex> {
        let file = self.index_file();
        match fs::read_to_string(&file) {
            Ok(text) => text.parse().with_context(|| {
                format!(
                    "{}; remove it, and `wardline trail archive` makes it again from the log",
                    file.display()
                )
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(ArchiveIndex::default()),
            Err(error) => Err(error).with_context(|| format!("reading {}", file.display())),
        }
    }

    /// Looks through the log for manifests that the index does not know yet, and keeps what was found.
    pub(crate) fn refresh(&self, reader: &Reader) -> anyhow::Result<ArchiveIndex> {
        let mut index = self.index()?;
        let size = reader.durable_at_least()?;
        for (at, manifest) in reader.manifests(index.seen.min(size)..size)? {
            index.take(at, manifest);
        }
        index.seen = size;
        self.keep(&index)?;
        Ok(index)
    }

    fn keep(&self, index: &ArchiveIndex) -> anyhow::Result<()> {
        let (file, new) = (self.index_file(), self.folder.join("index.new"));
        let write = || -> io::Result<()> {
            let mut written = File::create(&new)?;
            written.write_all(index.to_string().as_bytes())?;
            written.sync_all()?;
            fs::rename(&new, &file)?;
            File::open(&self.folder)?.sync_all()
        };
        write().with_context(|| format!("writing {}", file.display()))
    }

    /// Holds the archive: to change it, alone; to read it, with others. `None` when somebody else has it.
    pub(crate) fn hold(&self, alone: bool) -> anyhow::Result<Option<File>> {
        if !alone && !self.folder.is_dir() {
            return Ok(None);
        }
        crate::data::create_private(&self.folder)?;
        let path = self.folder.join("lock");
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.with_context(|| path.display().to_string())?;
        let how = if alone { FlockOperation::NonBlockingLockExclusive } else { FlockOperation::LockShared };
        match flock(&file, how) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("locking {}", path.display())),
        }
    }

    /// Starts the program with something to do.
    pub(crate) fn run(&self, manifests: &[&Manifest], what: Value) -> anyhow::Result<Lake> {
        let mut job = json!({
            "kinds": model::Kind::ALL.len(), "archive_form": trail::ARCHIVE_FORM, "trail": self.trail, "store": self.store,
            "archive": self.folder, "key": output::hex(self.key.expose()),
            "manifests": manifests.iter().map(ToString::to_string).collect::<Vec<_>>(),
        });
        if let (Some(job), Value::Object(what)) = (job.as_object_mut(), what) {
            job.extend(what);
        }
        let program = program()?;
        let started = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = started.with_context(|| format!("starting {}", program.display()))?;
        let (input, out) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(out)) = (input, out) else { bail!("{} has no pipes", program.display()) };
        let mut lake = Lake { child, input: Some(input), out: BufReader::new(out) };
        lake.tell(&job.to_string())?;
        Ok(lake)
    }
}

fn program() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os(PROGRAM_VARIABLE) {
        return Ok(named.into());
    }
    let here = std::env::current_exe().context("finding this program")?;
    let beside = here.with_file_name(PROGRAM);
    if !beside.is_file() {
        bail!(
            "{} is not there; the archive needs it (it is built with `cargo build -p lake`, and installed beside \
             `wardline`)",
            beside.display()
        );
    }
    Ok(beside)
}

/// The program at work.
#[derive(Debug)]
pub(crate) struct Lake {
    child: Child,
    input: Option<ChildStdin>,
    out: BufReader<ChildStdout>,
}

impl Lake {
    /// Writes a line to it.
    pub(crate) fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        let Some(input) = &mut self.input else { return Ok(()) };
        // One that ended already says why; that is told when it is waited for.
        let _told = writeln!(input, "{line}").and_then(|()| input.flush());
        Ok(())
    }

    /// Hands entries over to it, and the end.
    pub(crate) fn hand_over(&mut self, found: &[Found]) -> anyhow::Result<()> {
        let Some(input) = self.input.take() else { return Ok(()) };
        let mut input = io::BufWriter::new(input);
        let mut written = found.iter().try_for_each(|found| found.write(&mut input));
        if written.is_ok() {
            written = Found::write_end(&mut input);
        }
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Returns its next line of JSON; `None` at the end.
    pub(crate) fn line(&mut self) -> anyhow::Result<Option<Value>> {
        let mut line = String::new();
        if self.out.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&line).context("the archive's program speaks another language")?))
    }

    /// Returns the next entry that it found; `None` at the end.
    pub(crate) fn found(&mut self) -> anyhow::Result<Option<Found>> {
        match Found::read(&mut self.out) {
            Ok(found) => Ok(found),
            // It ended early, and says why.
            Err(error) => Err(self.failed().unwrap_or_else(|| anyhow!(error).context("the archive"))),
        }
    }

    /// Copies what it writes to standard output.
    pub(crate) fn show(&mut self) -> anyhow::Result<()> {
        match io::copy(&mut self.out, &mut io::stdout().lock()) {
            Ok(_) => Ok(()),
            // As `head` expects.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> anyhow::Result<()> {
        drop(self.input.take());
        self.failed().map_or(Ok(()), Err)
    }

    /// Waits for its end; says why it failed, if it did.
    fn failed(&mut self) -> Option<anyhow::Error> {
        drop(self.input.take());
        let mut said = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            let _read = io::Read::read_to_string(&mut errors, &mut said);
        }
        match self.child.wait() {
            Ok(status) if status.success() => None,
            Ok(status) if said.trim().is_empty() => Some(anyhow!("{PROGRAM} ended with {status}")),
            Ok(_) => Some(anyhow!("{}", output::printable(said.trim()))),
            Err(error) => Some(error.into()),
        }
    }
}
