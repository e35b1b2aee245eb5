//! `wardline operator …`, and as whom commands act: a person with a token, or the account they run for.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use model::Secret;

use crate::admin::{Claim, Reply, Request, Sensitive};
use crate::cli::Json;
use crate::commands::administer::{ask, unexpected};
use crate::commands::retention::agreements;
use crate::output::{self, Paint};
use crate::{admin, control};

/// The variable that holds a token.
const TOKEN_VARIABLE: &str = "WARDLINE_TOKEN";

/// Longest file taken as a token.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// As whom a command acts.
#[derive(Debug, Args)]
pub(crate) struct Operator {
    /// Act as this person, with the token in WARDLINE_TOKEN or the one that `wardline login NAME --save` kept; before
    /// the command
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) person: Option<String>,
}

impl Operator {
    /// Says as whom this process asks, from here on.
    pub(crate) fn claim(&self) -> anyhow::Result<()> {
        let Some(name) = &self.person else { return Ok(()) };
        let token = match std::env::var(TOKEN_VARIABLE) {
            Ok(token) if !token.is_empty() => token,
            Ok(_) | Err(_) => read_token(&token_file(name)?, name)?,
        };
        let token = Sensitive(Secret::new(token.trim().to_owned()));
        control::speak_as(Claim { name: name.clone(), token });
        Ok(())
    }
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  wardline operator rights")]
pub(crate) enum OperatorCommand {
    /// Show who may do what with Wardline itself, and what you may do
    #[command(after_help = "\
Examples:
  wardline operator rights
  wardline --as ann operator rights --json")]
    Rights {
        #[command(flatten)]
        output: Json,
    },
    /// Show what was proposed and agreed
    #[command(after_help = "Example:\n  wardline operator agreements")]
    Agreements {
        #[command(flatten)]
        output: Json,
    },
    /// Agree to what another person proposed; then it is done
    #[command(after_help = "\
Nobody agrees to what they proposed themselves. A proposal lives seven days.

Example:
  wardline --as otto operator agree 1")]
    Agree {
        /// Number of the proposal
        id: u64,
        #[command(flatten)]
        output: Json,
    },
}

/// Runs `wardline operator …`.
pub(crate) fn run(file: &Path, command: &OperatorCommand) -> anyhow::Result<ExitCode> {
    let output = match command {
        OperatorCommand::Rights { output } => output,
        OperatorCommand::Agreements { output } => {
            return agreements(file, Request::Agreements {}, output.json);
        }
        OperatorCommand::Agree { id, output } => {
            return agreements(file, Request::Agree { id: *id }, output.json);
        }
    };
    ask(file, Request::OperatorRights {}, |reply| {
        let Reply::Rights(view) = reply else { return unexpected() };
        if output.json {
            return output::json(&view);
        }
        show(&view);
        Ok(())
    })
}

fn show(view: &admin::RightsView) {
    let yours = if view.yours.is_empty() { "nothing".to_owned() } else { view.yours.join(", ") };
    output::line(&format!("you are {} and may: {yours}", view.you));
    let Some(holders) = &view.holders else {
        output::line("there is no [operators] section: the server's own account and root may do everything");
        return;
    };
    let mut rows = vec![vec!["HOLDER".to_owned(), "RIGHTS".to_owned()]];
    let shown = |holder: &String| match holder.starts_with(crate::operators::ACCOUNT_PREFIX) {
        true => holder.clone(),
        false => format!("role {holder}"),
    };
    rows.extend(holders.iter().map(|(holder, rights)| vec![shown(holder), rights.join(", ")]));
    output::line(output::table(&rows, Paint::stdout()).trim_end());
}

/// Keeps a token for later commands of the same account, in a file that nobody else can read.
pub(crate) fn save_token(name: &str, token: &Secret) -> anyhow::Result<PathBuf> {
    let path = token_file(name)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&path).with_context(|| format!("writing {}", path.display()))?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(format!("{}\n", token.expose()).as_bytes())?;
    Ok(path)
}

fn token_file(name: &str) -> anyhow::Result<PathBuf> {
    registry::name_fits(name)?;
    let Some(home) = std::env::var_os("HOME").filter(|home| !home.is_empty()) else {
        bail!("HOME is not set; give the token in {TOKEN_VARIABLE}");
    };
    Ok(Path::new(&home).join(".config/wardline").join(format!("token-{name}")))
}

fn read_token(path: &Path, name: &str) -> anyhow::Result<String> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!(
                "there is no token of `{name}`: set {TOKEN_VARIABLE}, or run `wardline login {name} --save`"
            )
        }
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    if found.permissions().mode() & 0o077 != 0 {
        bail!("others can read {}; run `chmod 600` on it, and revoke the token", path.display());
    }
    if found.len() > TOKEN_FILE_BYTES_MAX {
        bail!("{} is no token", path.display());
    }
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}
