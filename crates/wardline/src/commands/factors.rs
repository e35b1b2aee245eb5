//! `wardline user totp|recovery-codes|factors|remove-factors`: the second factors of people.

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::administer::{ask, unexpected};
use crate::admin::{FactorsView, Reply, Request};
use crate::cli::Json;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Factor {
    /// Give a person an authenticator app's secret, once; the one before ends
    #[command(after_help = "\
The person types the secret into an authenticator app, or scans the address as a QR code. The app's first code makes it
theirs: `wardline login ann --second-factor`.

Examples:
  wardline user totp ann
  wardline user totp ann --json | jq -r .address | qrencode -t ansiutf8")]
    Totp {
        /// Login name
        name: String,
        #[command(flatten)]
        output: Json,
    },
    /// Give a person ten recovery codes, once; those before end
    #[command(after_help = "\
Each code stands once for the second factor: for the first sign-in in the browser, or when the phone is lost. Hand them
over in person, on paper.

Examples:
  wardline user recovery-codes ann
  wardline user recovery-codes ann --json")]
    RecoveryCodes {
        /// Login name
        name: String,
        #[command(flatten)]
        output: Json,
    },
    /// Show which second factors a person has
    #[command(after_help = "Examples:\n  wardline user factors ann\n  wardline user factors ann --json")]
    Factors {
        /// Login name
        name: String,
        #[command(flatten)]
        output: Json,
    },
    /// Take all second factors of a person away, such as after a theft
    #[command(after_help = "\
Give new recovery codes afterwards; `wardline token revoke --person ann` ends the tokens too.

Example:
  wardline user remove-factors ann")]
    RemoveFactors {
        /// Login name
        name: String,
        #[command(flatten)]
        output: Json,
    },
}

/// Runs one of them.
pub(crate) fn run(file: &Path, command: &Factor) -> anyhow::Result<ExitCode> {
    match command {
        Factor::Totp { name, output } => totp(file, name, output.json),
        Factor::RecoveryCodes { name, output } => recovery_codes(file, name, output.json),
        Factor::Factors { name, output } => ask(file, Request::UserFactors { name: name.clone() }, |reply| {
            let Reply::Factors(factors) = reply else { return unexpected() };
            if output.json {
                return output::json(&factors);
            }
            lines(&factors).iter().for_each(|line| output::line(line));
            Ok(())
        }),
        Factor::RemoveFactors { name, output } => {
            ask(file, Request::UserFactorsRemove { name: name.clone() }, |reply| {
                let Reply::FactorsRemoved { factors } = reply else { return unexpected() };
                if output.json {
                    return output::json(&json!({ "removed": factors }));
                }
                output::line(&format!("{name} has no second factor any more; there were {factors}"));
                Ok(())
            })
        }
    }
}

fn totp(file: &Path, name: &str, json: bool) -> anyhow::Result<ExitCode> {
    ask(file, Request::UserTotp { name: name.to_owned() }, |reply| {
        let Reply::Authenticator { person, secret, address } = reply else { return unexpected() };
        if json {
            return output::json(&json!({ "person": person, "secret": secret, "address": address }));
        }
        output::line(&format!("secret:  {}", secret.0.expose()));
        output::line(&format!("address: {}", address.0.expose()));
        output::line("type the secret into an authenticator app, or scan the address as a QR code");
        output::line("it is shown this once; the app's first code at sign-in makes it count");
        Ok(())
    })
}

fn recovery_codes(file: &Path, name: &str, json: bool) -> anyhow::Result<ExitCode> {
    ask(file, Request::UserRecoveryCodes { name: name.to_owned() }, |reply| {
        let Reply::RecoveryCodes { person, codes } = reply else { return unexpected() };
        if json {
            return output::json(&json!({ "person": person, "codes": codes }));
        }
        codes.iter().for_each(|code| output::line(code.0.expose()));
        output::line("each counts once, beside the password; they are shown this once");
        Ok(())
    })
}

fn lines(factors: &FactorsView) -> Vec<String> {
    let authenticator = match (&factors.totp_added_at, &factors.totp_confirmed_at) {
        (Some(added), Some(_)) => format!("since {}", output::to_second(added)),
        (Some(added), None) => format!("given out {}, no code was used yet", output::to_second(added)),
        (None, _) => "none".to_owned(),
    };
    let mut lines = vec![
        format!("authenticator:  {authenticator}"),
        format!("recovery codes: {} left", factors.recovery_codes_left),
        format!("passkeys:       {}", factors.passkeys.len()),
    ];
    lines.extend(factors.passkeys.iter().map(|passkey| {
        let used = passkey
            .used_at
            .as_deref()
            .map_or("never used".to_owned(), |at| format!("used {}", output::to_second(at)));
        format!("  {} ({used})", output::printable(&passkey.label))
    }));
    lines
}
