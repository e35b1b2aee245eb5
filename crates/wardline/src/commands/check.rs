//! `wardline check`: would it start?

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use vault::Vault;

use crate::admin::{AccountAsk, AccountView, Reply, Request};
use crate::backup::drill;
use crate::cli::Check;
use crate::config::{Certificate, Config, FIELDS, Problem, Problems, Severity, StorePlace};
use crate::data::DataFolder;
use crate::node::{load_root_key, now};
use crate::{EXIT_RED, EXIT_REFUSED};
use crate::{control, exceptions, keep, output, tls, upstream};

#[derive(Debug, Serialize)]
struct Report<'a> {
    valid: bool,
    errors: usize,
    warnings: usize,
    problems: &'a [Problem],
}

/// Tells every problem; the exit code says whether one of them stands in the way.
pub(crate) fn run(file: &Path, arguments: &Check) -> anyhow::Result<ExitCode> {
    if arguments.fields {
        return fields(arguments.json);
    }
    let loaded = Config::load(file);
    let mut problems = loaded.problems;
    if let Some(config) = &loaded.config {
        problems.0.extend(surroundings(config));
        problems.sort();
    }
    let red = loaded.config.as_ref().map(without_exception).unwrap_or_default();
    let is_red = !red.is_empty();
    problems.0.extend(red);
    report(&problems, arguments.json)?;
    Ok(match (problems.fatal(), is_red) {
        (true, _) => ExitCode::from(EXIT_REFUSED),
        (false, true) => ExitCode::from(EXIT_RED),
        (false, false) => ExitCode::SUCCESS,
    })
}

/// Looks at what the configuration refers to beyond its own text: certificates, data folder, credentials.
fn surroundings(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Certificate::Files { certificate, key } = &config.listener.certificate
        && let Err(error) = tls::pair(certificate, key)
    {
        problems.push(Problem::error(&config.file, format!("`listener.postgres.tls`: {error:#}")));
    }
    if let Err(error) = upstream::check(config) {
        problems.push(Problem::error(&config.file, format!("{error:#}")));
    }
    if let Err(error) = config.registry_server() {
        let help = "write one line into it, mode 0600: `postgres://user:password@host/database?sslmode=verify-full&\
                    sslrootcert=FILE`";
        problems.push(Problem::error(&config.file, format!("{error:#}")).help(help));
    }
    if let Some(missing) = crate::witness::submit::standing(config) {
        let help = "see the log of the running server, and whether the witnesses run";
        problems.push(Problem::warning(&config.file, missing).help(help));
    }
    for exception in config.exceptions() {
        problems.push(Problem::warning(&config.file, exception));
    }
    for finding in config.findings() {
        problems.push(
            Problem::warning(&config.file, finding)
                .help("see `operators.rights` in `wardline check --fields`"),
        );
    }
    problems.extend(buckets(config));
    if config.resources.is_empty() {
        let help = "add `[resource.NAME]`; `wardline init` writes an example";
        problems.push(Problem::warning(&config.file, "there is no resource to protect").help(help));
    }
    let folder = DataFolder::at(&config.data);
    if !folder.path().exists() {
        let message = "there is no data folder yet";
        problems.push(Problem::warning(folder.path(), message).help("run `wardline init`"));
    } else if let Err(error) = folder.check() {
        problems.push(Problem::error(folder.path(), format!("{error:#}")));
    } else {
        problems.extend(credentials(config, &folder));
        problems.extend(trail_keys(config, &folder));
        problems.extend(drill::overdue(&folder, now()));
        problems.extend(accounts(config, &folder));
    }
    problems
}

/// Looks for protections that are switched off without an exception on file.
fn without_exception(config: &Config) -> Vec<Problem> {
    let path = DataFolder::at(&config.data).registry();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let exceptions = match (runtime, path.exists()) {
        (Ok(runtime), true) => runtime.block_on(registry::peek_exceptions(&path)).unwrap_or_else(|error| {
            tracing::debug!(%error, "the register of exceptions cannot be read");
            Vec::new()
        }),
        (Ok(_) | Err(_), _) => Vec::new(),
    };
    let red = exceptions::red(config, &exceptions, now());
    let problem = |one: exceptions::Weakened| {
        let message = format!("RED: `{}` is switched off without an exception: {}", one.control, one.what);
        let help = "switch it on, or `wardline exception add`; another person approves";
        Problem::warning(&config.file, message).help(help)
    };
    red.into_iter().map(problem).collect()
}

/// Looks at what is needed to reach buckets; they themselves are not asked.
fn buckets(config: &Config) -> Vec<Problem> {
    let named = [("trail.store", &config.trail_store.place), ("backup", &config.backup)];
    let buckets = named.into_iter().filter_map(|(section, place)| match place {
        Some(place @ StorePlace::Bucket { .. }) => Some((section, place)),
        Some(StorePlace::Folder(_)) | None => None,
    });
    let problem = |(section, place)| {
        let error = keep::open_store(place).err()?;
        Some(Problem::error(&config.file, format!("`{section}`: {error:#}")))
    };
    buckets.filter_map(problem).collect()
}

/// Asks the running server what is wrong with accounts; without one, nothing is said of them.
fn accounts(config: &Config, folder: &DataFolder) -> Vec<Problem> {
    let request = Request::Account(AccountAsk::Report { all: false });
    let accounts = match control::ask_running(config, request) {
        Some(Ok(Reply::Accounts(accounts))) => accounts,
        Some(Err(refusal)) => {
            let message = format!("accounts were not looked at: {}", refusal.message);
            return vec![Problem::warning(folder.path(), message)];
        }
        Some(Ok(_)) | None => return Vec::new(),
    };
    let problem = |account: AccountView| {
        let at = account.resource.map(|resource| format!(" at resource `{resource}`")).unwrap_or_default();
        let name = output::printable(&account.account);
        let findings = account.findings.into_iter();
        let message = move |finding| format!("{} account `{name}`{at}: {finding}", account.kind);
        findings.map(message).collect::<Vec<_>>()
    };
    let help = "see `wardline report accounts` and `wardline account describe --help`";
    let messages = accounts.into_iter().flat_map(problem);
    messages.map(|message| Problem::warning(folder.path(), message).help(help)).collect()
}

/// Looks for the keys without which the trail does not open.
fn trail_keys(config: &Config, folder: &DataFolder) -> Option<Problem> {
    let place = folder.trail();
    // A root key that is missing is told with the credentials.
    let root = load_root_key(&folder.root_key()).ok().filter(|_| place.exists())?;
    let origin = keep::origin(folder, &config.node);
    let error = trail::check_keys(&place, &root, &trail::Options::new(origin)).err()?;
    if let trail::Error::Origin { expected, found } = &error {
        let message = format!("`node` is `{expected}`, and the data folder holds the log of `{found}`");
        let help = format!("write `node = \"{found}\"`, or name another data folder with `data`");
        return Some(Problem::error(&config.file, message).help(help));
    }
    Some(Problem::error(&place, format!("{:#}", anyhow::Error::from(error))))
}

/// Looks for a readable credential of each resource.
fn credentials(config: &Config, folder: &DataFolder) -> Vec<Problem> {
    let path = folder.vault();
    let vault = load_root_key(&folder.root_key()).and_then(|root| Ok(Vault::open(&path, &root)?));
    let vault = match vault {
        Ok(vault) => vault,
        Err(error) => return vec![Problem::error(folder.path(), format!("{error:#}"))],
    };
    let mut problems = Vec::new();
    for resource in config.resource_ids() {
        match vault.credential(&resource) {
            Ok(Some(_)) => {}
            Ok(None) => {
                let message = format!("there is no credential of the resource `{resource}`");
                let help = format!("run `wardline vault set {resource} --user USER`");
                problems.push(Problem::warning(&path, message).help(help));
            }
            Err(error) => problems.push(Problem::error(&path, error.to_string())),
        }
    }
    problems
}

fn fields(json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::json(&FIELDS)?;
        return Ok(ExitCode::SUCCESS);
    }
    let paint = output::Paint::stdout();
    for field in FIELDS {
        output::line(&paint.bold(field.path));
        output::line(&format!("    {}; default: {}", plain(field.form), plain(field.default)));
        output::line(&format!("    {}", plain(field.about)));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns text of the documentation without its marks.
fn plain(text: &str) -> String {
    text.replace('`', "")
}

fn report(problems: &Problems, json: bool) -> anyhow::Result<()> {
    let (errors, warnings) = (problems.count(Severity::Error), problems.count(Severity::Warning));
    if json {
        return output::json(&Report { valid: errors == 0, errors, warnings, problems: &problems.0 });
    }
    if !problems.0.is_empty() {
        output::line(&problems.to_string());
    }
    output::line(&match (errors, warnings) {
        (0, 0) => "the configuration is valid".to_owned(),
        (0, warnings) => format!("the configuration is valid, with {}", counted(warnings, "warning")),
        (errors, warnings) => format!("{} and {}", counted(errors, "error"), counted(warnings, "warning")),
    });
    Ok(())
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
