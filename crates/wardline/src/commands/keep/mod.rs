//! `wardline backup`, `restore`, `drill`, and `wardline trail seal|store`: what is kept elsewhere, and how it comes back.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use trail::newest_checkpoint;

use crate::EXIT_REFUSED;
use crate::admin::{Reply, Request};
use crate::backup::bring::{Bringing, data_folder, wanted};
use crate::backup::{drill, take};
use crate::cli::Json;
use crate::commands::{administer, configuration};
use crate::config::{Config, StorePlace, bucket_place};
use crate::data::DataFolder;
use crate::keep::{self, Target};
use crate::node::load_root_key;
use crate::output::{self, Paint, hex};

/// The commands beside `wardline trail`.
#[derive(Debug, Subcommand)]
pub(crate) enum Keep {
    /// Back up trail, people, credentials and configuration, encrypted; also while the gateway runs
    Backup(Backup),
    /// Bring a backup back on a clean machine
    Restore(Restore),
    /// Try a restore in a folder that is thrown away, and write a signed report
    Drill(Drill),
}

/// The commands beneath `wardline trail`.
#[derive(Debug, Subcommand)]
pub(crate) enum TrailKeep {
    /// End the segment that is written to, and bring all complete ones to the store
    #[command(after_help = "Example:\n  wardline trail seal")]
    Seal {
        #[command(flatten)]
        output: Json,
    },
    /// Show where segments are kept, what that place enforces, and whether it has what was sealed
    #[command(after_help = "\
A bucket is tried: an object is put, put again, and tried to be deleted and released.

Examples:
  wardline trail store
  wardline trail store --read --json

Exit codes: 0 as it should be, 1 something was deleted, replaced or altered, 2 could not run.")]
    Store {
        /// Also read every object and compare it
        #[arg(long)]
        read: bool,
        #[command(flatten)]
        output: Json,
    },
}

/// How a bucket is reached, where the configuration does not say it.
#[derive(Clone, Debug, Args)]
pub(crate) struct BucketArguments {
    /// For `s3://`: where the bucket is served
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// For `s3://`: region that requests are signed for
    #[arg(long, value_name = "NAME", default_value = "us-east-1")]
    pub(crate) region: String,
    /// For `s3://`: file with `aws_access_key_id` and `aws_secret_access_key`
    #[arg(long, value_name = "FILE")]
    pub(crate) credentials: Option<PathBuf>,
    /// For `s3://`: certificate authorities to trust, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A backup is encrypted under a key made from the root key, which is never in it: keep a copy of
`root.key` elsewhere. What the backup before has and cannot have changed is not copied again.

Examples:
  wardline backup /mnt/backup
  wardline backup s3://backups/gw1 --endpoint https://s3.example.org --credentials s3-credentials
  wardline backup --json")]
pub(crate) struct Backup {
    /// Folder or `s3://BUCKET/PREFIX`; `backup.to` when left out
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) bucket: BucketArguments,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Everything is checked in a folder beside its place, which then gets its name. Nothing is
overwritten. The trail goes on only when it is safe: `wardline serve` says what it needs.

Examples:
  wardline --config /etc/wardline/wardline.toml restore /mnt/backup --root-key root.key
  wardline restore /mnt/backup --root-key root.key --data /srv/wardline --verifier-key \"$KEY\"

Exit codes: 0 restored and verified, 2 it was not.")]
pub(crate) struct Restore {
    /// Folder or `s3://BUCKET/PREFIX` that holds backups
    pub(crate) from: String,
    /// The root key, from where it was kept apart
    #[arg(long, value_name = "FILE")]
    pub(crate) root_key: PathBuf,
    /// Where the data folder goes; where the configuration says when left out
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Node, where the place holds backups of several
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// Name of the backup; the newest when left out
    #[arg(long, value_name = "NAME")]
    pub(crate) backup: Option<String>,
    /// Public key that the backup must be signed with (`name+hash+key`)
    #[arg(long, value_name = "KEY")]
    pub(crate) verifier_key: Option<String>,
    /// Do not take newer segments from the store that the configuration names
    #[arg(long)]
    pub(crate) no_refill: bool,
    #[command(flatten)]
    pub(crate) bucket: BucketArguments,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The real log is never signed for: the node of the drill writes one of its own. The report is kept
in the data folder, as JSON and as a signed text; `wardline check` warns when the last one is older
than twelve months.

Examples:
  wardline drill
  wardline drill /mnt/backup --json")]
pub(crate) struct Drill {
    /// Folder or `s3://BUCKET/PREFIX`; `backup.to` when left out
    pub(crate) from: Option<String>,
    /// Folder to restore in; beside the data folder when left out
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) bucket: BucketArguments,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs `wardline backup`, `restore` or `drill`.
pub(crate) fn run(file: &Path, command: &Keep) -> anyhow::Result<ExitCode> {
    match command {
        Keep::Backup(arguments) => backup(file, arguments),
        Keep::Restore(arguments) => restore(file, arguments),
        Keep::Drill(arguments) => rehearse(file, arguments),
    }
}

/// Runs `wardline trail seal` or `store`.
pub(crate) fn trail(file: &Path, command: &TrailKeep) -> anyhow::Result<ExitCode> {
    match command {
        TrailKeep::Seal { output } => administer::ask(file, Request::TrailSeal {}, |reply| {
            let Reply::Sealed { segments } = reply else {
                bail!("the server answered something else; use the `wardline` that it runs")
            };
            if output.json {
                return output::json(&json!({ "sealed": segments }));
            }
            for segment in &segments {
                output::line(segment);
            }
            output::line(&format!("{} segments sealed", segments.len()));
            Ok(())
        }),
        TrailKeep::Store { read, output } => store(file, *read, output.json),
    }
}

/// Opens the place that a word names.
fn open_place(to: &str, bucket: &BucketArguments) -> anyhow::Result<Target> {
    if !to.starts_with("s3://") {
        return keep::open_store(&StorePlace::Folder(PathBuf::from(to)));
    }
    let Some(credentials) = bucket.credentials.clone() else {
        bail!("a bucket needs --credentials FILE with `aws_access_key_id` and `aws_secret_access_key`");
    };
    let place = bucket_place(to, bucket.endpoint.clone(), &bucket.region, credentials, bucket.ca.clone());
    keep::open_store(&place.map_err(|message| anyhow::anyhow!("{message}"))?)
}

/// Opens the place that was named, or the configured one.
fn backup_place(config: &Config, to: Option<&str>, bucket: &BucketArguments) -> anyhow::Result<Target> {
    match (to, &config.backup) {
        (Some(to), _) => open_place(to, bucket),
        (None, Some(place)) => keep::open_store(place),
        (None, None) => {
            bail!("name a folder or bucket, or write `[backup]` with `to` into {}", config.file.display())
        }
    }
}

fn teller(json: bool) -> impl FnMut(&str) {
    move |what| {
        if !json {
            eprintln!("wardline: {what}");
        }
    }
}

fn backup(file: &Path, arguments: &Backup) -> anyhow::Result<ExitCode> {
    let config = configuration(file)?;
    let store = backup_place(&config, arguments.to.as_deref(), &arguments.bucket)?.store();
    let taken = take::take(&config, &*store, teller(arguments.json))?;
    let manifest = &taken.found.manifest;
    let log = manifest.log()?;
    if arguments.json {
        output::json(&json!({
            "backup": taken.found.name, "place": store.place(), "made_at": manifest.made_at, "node": manifest.node,
            "log": log.origin, "entries": log.entries, "parts": manifest.parts.len(), "bytes": manifest.bytes(),
            "new_bytes": taken.new_bytes, "parts_taken_over": taken.reused, "manifest_sha256": hex(&taken.found.digest),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::line(&format!("backed up {} entries of {} to {}", log.entries, log.origin, store.place()));
    output::line(&format!(
        "  {} bytes in {} parts, {} of them new; {} parts were there already",
        manifest.bytes(),
        manifest.parts.len(),
        taken.new_bytes,
        taken.reused
    ));
    output::line(&format!("  {}, manifest sha256 {}", taken.found.name, hex(&taken.found.digest)));
    output::line("the root key is not in it: keep a copy elsewhere");
    Ok(ExitCode::SUCCESS)
}

fn restore(file: &Path, arguments: &Restore) -> anyhow::Result<ExitCode> {
    let store = open_place(&arguments.from, &arguments.bucket)?.store();
    let root = load_root_key(&arguments.root_key)?;
    let (node, name) = (arguments.node.as_deref(), arguments.backup.as_deref());
    let found = wanted(&*store, node, name, arguments.verifier_key.as_deref())?;
    let bringing = Bringing::new(&*store, &root, &found)?;
    let toml = bringing.part("config/wardline.toml")?;
    let data = match &arguments.data {
        Some(data) => data.clone(),
        None => data_folder(&toml, file)?,
    };
    if data.exists() && data.read_dir().with_context(|| format!("{}", data.display()))?.next().is_some() {
        bail!(
            "{} is not empty; a backup is restored onto a clean machine, or elsewhere with --data",
            data.display()
        );
    }
    let mut name = data.file_name().unwrap_or_default().to_os_string();
    name.push(".restoring");
    let beside = data.with_file_name(name);
    if beside.exists() {
        bail!("{} is left from a restore that did not finish; remove it", beside.display());
    }
    // First the configuration: it says where segments are kept.
    bringing.settings(file, true)?;
    let kept = if arguments.no_refill { None } else { kept_store(file) };
    let brought = bringing.data(&beside, kept.as_deref(), &mut teller(arguments.json))?;
    if data.exists() {
        std::fs::remove_dir(&data).with_context(|| format!("{}", data.display()))?;
    }
    std::fs::rename(&beside, &data).with_context(|| format!("naming {}", data.display()))?;
    let log = found.manifest.log()?;
    let report = &brought.report;
    if arguments.json {
        output::json(&json!({
            "backup": found.name, "made_at": found.manifest.made_at, "data": data, "config": file, "log": log.origin,
            "entries": report.size, "root": report.root.to_string(), "records_decrypted": report.records,
            "segments_from_store": brought.refilled, "entries_behind_checkpoint": report.tail.records,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::line(&format!("restored {} entries of {} to {}", report.size, log.origin, data.display()));
    output::line(&format!(
        "  verified: {} records decrypted and compared, root {}",
        report.records, report.root
    ));
    if brought.refilled > 0 {
        let more = report.tail.records;
        output::line(&format!(
            "  {} segments came from the trail's store, {more} entries newer than the backup",
            brought.refilled
        ));
    }
    output::line(
        "the trail does not go on by itself: nothing may have been signed after what is here. Either",
    );
    output::line(
        "  wardline serve --last-checkpoint FILE     with the last checkpoint that anybody holds, or",
    );
    output::line("  wardline serve --next-origin \"reason\"     which begins the next log");
    Ok(ExitCode::SUCCESS)
}

/// Returns the store that the restored configuration names apart from the data folder, if it can be opened.
fn kept_store(file: &Path) -> Option<std::sync::Arc<dyn trail::Store>> {
    let place = Config::load(file).config?.trail_store.place?;
    match keep::open_store(&place) {
        Ok(target) => Some(target.store()),
        Err(error) => {
            eprintln!("wardline: the trail's store cannot be opened, so nothing is taken from it: {error:#}");
            None
        }
    }
}

fn rehearse(file: &Path, arguments: &Drill) -> anyhow::Result<ExitCode> {
    let config = configuration(file)?;
    let folder = DataFolder::at(&config.data);
    folder.check()?;
    let root = load_root_key(&folder.root_key())?;
    let store = backup_place(&config, arguments.from.as_deref(), &arguments.bucket)?.store();
    let scratch = arguments.scratch.clone().unwrap_or_else(|| folder.path().join("drill"));
    if scratch.exists() {
        bail!("{} is there already; remove it, or name another with --scratch", scratch.display());
    }
    crate::data::create_private(&scratch)?;
    let drilled = drill::rehearse(&*store, &config.node, &root, &scratch, teller(arguments.json));
    // People's names are in it.
    let removed = std::fs::remove_dir_all(&scratch);
    let drilled = drilled.context("the drill failed: this backup cannot be relied on")?;
    removed.with_context(|| format!("removing {}", scratch.display()))?;
    let (path, note) = drilled.write(&folder, &root)?;
    crate::control::ask(config, Request::DrillEnd { what: drilled.shown() })?
        .map_err(crate::admin::Refused)?;
    if arguments.json {
        let mut value = serde_json::to_value(&drilled)?;
        if let Some(object) = value.as_object_mut() {
            object.insert("report".to_owned(), json!(path));
        }
        output::json(&value)?;
    } else {
        output::line(note.trim_end());
        output::line(&format!("\nwrote {}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn store(file: &Path, read: bool, json: bool) -> anyhow::Result<ExitCode> {
    let config = configuration(file)?;
    let folder = DataFolder::at(&config.data);
    folder.check()?;
    let target = keep::open_store(&keep::place(&config))?;
    let store = target.store();
    let origin = keep::origin(&folder, &config.node);
    let enforced = target.probe()?;
    let newest = newest_checkpoint(&*store, &origin)?;
    let held = newest.and_then(|note| String::from_utf8_lossy(&note).lines().nth(1).map(str::to_owned));
    let (sealed, findings) = match folder.trail().is_dir() {
        true => {
            let disk = keep::disk(&config)?;
            (trail::sealed_of(&*disk)?, trail::check_store(&*disk, &*store, read)?)
        }
        false => (Vec::new(), Vec::new()),
    };
    let said: Vec<String> = findings.iter().map(|finding| finding.damage.to_string()).collect();
    if json {
        let shown = enforced.as_ref().map(|enforced| {
            json!({
                "conditional_put": enforced.conditional_put, "checksum": enforced.checksum,
                "versioning": enforced.versioning, "deletion_refused": enforced.deletion_refused,
                "shortening_refused": enforced.shortening_refused, "keeps": enforced.keeps(),
                "lock": enforced.lock.as_ref().map(|lock| json!({ "mode": lock.mode, "days": lock.days })),
            })
        });
        output::json(&json!({
            "place": store.place(), "log": origin, "enforced": shown, "sealed_segments": sealed.len(),
            "sealed_entries": sealed.iter().map(|sealed| sealed.count).sum::<u64>(),
            "sealed_bytes": sealed.iter().map(|sealed| sealed.bytes).sum::<u64>(),
            "newest_checkpoint": held.as_deref().and_then(|size| size.parse::<u64>().ok()), "findings": said,
        }))?;
    } else {
        let paint = Paint::stdout();
        output::line(&format!("segments of {origin} go to {}", store.place()));
        match &enforced {
            Some(enforced) if enforced.keeps() => {
                output::line(&paint.good(&format!("it keeps them: {enforced}")))
            }
            Some(enforced) => {
                output::line(&paint.bad(&format!("it does not keep them for certain: {enforced}")))
            }
            None => {
                output::line("a folder: nothing but the rights of its files keeps anybody from changing it")
            }
        }
        let entries = sealed.iter().map(|sealed| sealed.count).sum::<u64>();
        output::line(&format!("{} segments sealed, {entries} entries", sealed.len()));
        output::line(&match &held {
            Some(size) => format!("newest checkpoint there: {size} entries"),
            None => "there is no checkpoint yet".to_owned(),
        });
        for finding in &said {
            output::line(&paint.bad(&output::printable(finding)));
        }
    }
    Ok(if said.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_REFUSED) })
}
