//! `wardline phi scan`: looks a resource over, and says what should be protected or what has changed.
//!
//! INVARIANT: the record that the resource is about to be read is durable before anything of it is asked. What was
//! sampled stays in `gateway` as numbers; nothing here ever holds a value.

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use gateway::{SAMPLE_ROWS_MAX, Sampled, Survey, Upstream};
use indicatif::{ProgressBar, ProgressStyle};
use phi::propose::{Source, Table, propose};
use phi::{Keys, operator::KeyId};
use vault::{Credential, Vault};

use super::compare;
use super::write::{self, Relation};
use crate::admin::{Refusal, Refused, Request};
use crate::cli::Scan;
use crate::commands::{configuration, no_such};
use crate::config::{self, Config};
use crate::control;
use crate::data::{DataFolder, write_new};
use crate::node::{PHI_KEYS, load_root_key};
use crate::{output, upstream};

/// What a scan saw.
struct Seen {
    survey: Survey,
    /// What became of sampling each table.
    sampled: Vec<Sampled>,
}

impl Seen {
    fn rows(&self) -> u64 {
        let rows = self.sampled.iter().map(|sampled| match sampled {
            Sampled::Rows(rows) => *rows,
            Sampled::Nothing | Sampled::Refused(_) => 0,
        });
        rows.sum()
    }
}

/// Runs `wardline phi scan`.
pub(super) fn run(file: &Path, arguments: &Scan) -> anyhow::Result<ExitCode> {
    let config = configuration(file)?;
    let resource = known(&config, &arguments.resource)?;
    if let Some(output) = arguments.output.as_ref().filter(|output| output.exists()) {
        return Err(Refused(exists(output)).into());
    }
    let (target, credential) = reach(&config, &arguments.resource, resource)?;
    let samples = !arguments.no_samples && !arguments.check;
    let what = described(samples, &arguments.schema);
    let begin = Request::SurveyBegin { resource: arguments.resource.clone(), what: what.clone() };
    control::ask(config.clone(), begin)?.map_err(Refused)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let seen = runtime.block_on(look(&target, &credential, samples, arguments));
    let end = Request::SurveyEnd {
        resource: arguments.resource.clone(),
        what: match &seen {
            Ok(seen) => format!("{what}; {} relations", seen.survey.tables().len()),
            Err(_) => what,
        },
        rows: seen.as_ref().map_or(0, Seen::rows),
        failed: seen.as_ref().err().map(|error| format!("{error:#}")),
    };
    control::ask(config.clone(), end)?.map_err(Refused)?;
    let seen = seen.with_context(|| format!("the resource `{}` was not read", arguments.resource))?;
    let code = show(arguments, resource, &seen);
    runtime.block_on(seen.survey.close());
    code
}

fn show(arguments: &Scan, resource: &config::Resource, seen: &Seen) -> anyhow::Result<ExitCode> {
    let tables = seen.survey.tables();
    check_schemas(tables, &arguments.schema)?;
    if arguments.check {
        let Some(protection) = &resource.protection else {
            return Err(unprotected(&arguments.resource).into());
        };
        return compare::run(arguments, protection, tables);
    }
    let proposed = propose(tables);
    let relations: Vec<Relation<'_>> = tables
        .iter()
        .zip(&proposed)
        .zip(&seen.sampled)
        .enumerate()
        .filter(|(_, ((table, _), _))| is_wanted(table, &arguments.schema))
        .map(|(at, ((table, proposed), sampled))| Relation {
            table,
            proposed,
            sampled,
            rows: seen.survey.rows_estimate(at),
        })
        .collect();
    if let Some(output) = &arguments.output {
        let text = write::toml(&arguments.resource, &relations);
        match write_new(output, 0o644, text.as_bytes()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Refused(exists(output)).into());
            }
            Err(error) => return Err(error).with_context(|| format!("writing {}", output.display())),
        }
    }
    match (&arguments.output, arguments.json) {
        (_, true) => output::json(&write::json(&arguments.resource, &relations))?,
        (None, false) => output::line(write::toml(&arguments.resource, &relations).trim_end()),
        (Some(output), false) => {
            output::line(&write::coverage(&relations, output::Paint::stdout()));
            output::line(&format!(
                "wrote {}: read each line, then put it into the configuration",
                output.display()
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn look(
    target: &Upstream,
    credential: &Credential,
    samples: bool,
    arguments: &Scan,
) -> anyhow::Result<Seen> {
    let mut survey = Survey::open(target, credential).await?;
    let count = survey.tables().len();
    let mut sampled = vec![Sampled::Nothing; count];
    if !samples {
        return Ok(Seen { survey, sampled });
    }
    let bar = progress(count as u64, arguments.json);
    for (at, sampled) in sampled.iter_mut().enumerate() {
        let wanted = survey.tables().get(at).is_some_and(|table| is_wanted(table, &arguments.schema));
        if wanted {
            *sampled = survey.sample(at).await?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Seen { survey, sampled })
}

/// A bar without colour, and none where nobody watches.
fn progress(tables: u64, json: bool) -> ProgressBar {
    if json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = "sampling {bar:40} {pos}/{len} relations";
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(tables).with_style(style)
}

/// Returns the resource as the gateway would dial it, and the credential.
fn reach(config: &Config, name: &str, resource: &config::Resource) -> anyhow::Result<(Upstream, Credential)> {
    let folder = DataFolder::at(&config.data);
    folder.check()?;
    let root = load_root_key(&folder.root_key())?;
    let keys = Keys::derive(&root, KeyId::new(PHI_KEYS).expect("from 1 to 99"));
    let target = upstream::one(name, resource, &keys)?;
    match Vault::open(&folder.vault(), &root)?.credential(&target.id)? {
        Some(credential) => Ok((target, credential)),
        None => {
            let refusal = Refusal::new(format!("there is no credential of the resource `{name}`"));
            Err(Refused(refusal.help(format!("run `wardline vault set {name} --user USER`"))).into())
        }
    }
}

/// Returns the resource of that name, or says which was meant.
fn known<'c>(config: &'c Config, name: &str) -> anyhow::Result<&'c config::Resource> {
    if let Some(resource) = config.resources.get(name) {
        return Ok(resource);
    }
    let names = config.resources.keys().map(String::as_str);
    Err(Refused(no_such("resource", name, names)).into())
}

fn is_wanted(table: &Table, schemas: &[String]) -> bool {
    schemas.is_empty() || schemas.contains(&table.schema)
}

fn check_schemas(tables: &[Table], schemas: &[String]) -> anyhow::Result<()> {
    let Some(unknown) = schemas.iter().find(|schema| !tables.iter().any(|table| table.schema == **schema))
    else {
        return Ok(());
    };
    let names = tables.iter().map(|table| table.schema.as_str());
    Err(Refused(no_such("schema with relations", unknown, names)).into())
}

fn described(samples: bool, schemas: &[String]) -> String {
    let mut what = match samples {
        true => format!("read the catalogue and at most {SAMPLE_ROWS_MAX} rows of each table"),
        false => "read the catalogue".to_owned(),
    };
    if !schemas.is_empty() {
        what.push_str(&format!(" of the schemas {}", schemas.join(", ")));
    }
    what
}

fn exists(output: &Path) -> Refusal {
    Refusal::new(format!("{} exists already and is left alone", output.display())).help("name a new file")
}

fn unprotected(resource: &str) -> Refused {
    let refusal = Refusal::new(format!("nothing of `{resource}` is protected: it has no `phi` section"));
    Refused(refusal.help(format!("`wardline phi scan {resource}` proposes one")))
}

/// Says what a table is, for people.
pub(super) fn source(table: &Table) -> &'static str {
    match table.source {
        Source::Table => "table",
        Source::Foreign => "foreign table",
        Source::View => "view",
        Source::Partition => "partition",
    }
}
