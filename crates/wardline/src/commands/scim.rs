//! `wardline scim …`: the tokens of systems that manage people.

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::administer::{ask, unexpected};
use crate::admin::{Reply, Request};
use crate::cli::Json;
use crate::output;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
A system is written into the configuration, [scim.NAME]. With its token it makes, changes and disables people at
/scim/v2 of the API's address, and nothing else.

Example:
  wardline scim token okta")]
pub(crate) enum ScimCommand {
    /// Make a token for a system; it is shown this once
    #[command(after_help = "Example:\n  wardline scim token okta")]
    Token {
        /// Name of [scim.NAME]
        source: String,
        #[command(flatten)]
        output: Json,
    },
    /// End all tokens of a system
    #[command(after_help = "Example:\n  wardline scim revoke okta")]
    Revoke {
        /// Name of the system, also one that is not in the configuration any more
        source: String,
        #[command(flatten)]
        output: Json,
    },
}

/// Runs `wardline scim …`.
pub(crate) fn run(file: &Path, command: &ScimCommand) -> anyhow::Result<ExitCode> {
    match command {
        ScimCommand::Token { source, output } => {
            ask(file, Request::ScimToken { source: source.clone() }, |reply| {
                let Reply::SourceToken { source, id, token } = reply else { return unexpected() };
                let token = token.0.expose();
                if output.json {
                    return output::json(&json!({ "source": source, "id": id, "token": token }));
                }
                output::line(&format!("token of {source}: {token}"));
                output::line("it is shown this once and stored nowhere in clear");
                Ok(())
            })
        }
        ScimCommand::Revoke { source, output } => {
            ask(file, Request::ScimRevoke { source: source.clone() }, |reply| {
                let Reply::Revoked { tokens } = reply else { return unexpected() };
                if output.json {
                    return output::json(&json!({ "revoked": tokens }));
                }
                output::line(&format!("revoked {tokens} tokens of {source}"));
                Ok(())
            })
        }
    }
}
