//! `wardline inbound …`: which other systems may report events.

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use serde_json::json;

use crate::admin::{Reply, Request, SourceView};
use crate::cli::Json;
use crate::commands::administer::ask;
use crate::output::{self, Paint};

/// What can be asked for.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Sources are configured: [inbound] and [inbound.source.NAME] in wardline.toml. Each needs a token.

Examples:
  wardline inbound add ehr
  wardline inbound list
  wardline inbound remove ehr")]
pub(crate) enum Inbound {
    /// Make a token for a source; it is shown this once
    #[command(after_help = "\
A source may have several tokens, so that one can be changed without a gap.

Example:
  wardline inbound add ehr
  curl --cacert gw1.pem -H \"Authorization: Bearer $TOKEN\" --data-binary @events.ndjson \\
    https://gw1:8443/v1/events")]
    Add {
        /// Name of the source in the configuration
        source: String,
        #[command(flatten)]
        output: Json,
    },
    /// List the sources and their tokens; never the secrets
    #[command(after_help = "Example:\n  wardline inbound list --json")]
    List {
        #[command(flatten)]
        output: Json,
    },
    /// End the tokens of a source, at once
    #[command(after_help = "\
Examples:
  wardline inbound remove ehr
  wardline inbound remove ehr --token 3f0c9d2b41e5a6b7")]
    Remove {
        /// Name of the source
        source: String,
        /// End this token only
        #[arg(long, value_name = "ID")]
        token: Option<String>,
        #[command(flatten)]
        output: Json,
    },
}

/// Runs `wardline inbound …`.
pub(crate) fn run(file: &Path, command: &Inbound) -> anyhow::Result<ExitCode> {
    match command {
        Inbound::Add { source, output } => {
            ask(file, Request::InboundAdd { source: source.clone() }, |reply| {
                let Reply::SourceToken { source, id, token } = reply else { return unexpected() };
                let secret = token.0.expose();
                if output.json {
                    return output::json(&json!({ "source": source, "id": id, "token": secret }));
                }
                output::line(&format!("token:   {secret}"));
                output::line(&format!("id:      {id}"));
                output::line("it is shown this once and stored nowhere in clear");
                Ok(())
            })
        }
        Inbound::List { output } => ask(file, Request::InboundList {}, |reply| {
            let Reply::Sources(sources) = reply else { return unexpected() };
            list(sources, output.json)
        }),
        Inbound::Remove { source, token, output } => {
            let request = Request::InboundRemove { source: source.clone(), token: token.clone() };
            ask(file, request, |reply| {
                let Reply::Revoked { tokens } = reply else { return unexpected() };
                if output.json {
                    return output::json(&json!({ "removed": tokens }));
                }
                output::line(&format!("ended {tokens} of the tokens of {source}"));
                Ok(())
            })
        }
    }
}

fn list(sources: Vec<SourceView>, json: bool) -> anyhow::Result<()> {
    if json {
        let of = |(id, added): &(String, String)| json!({ "id": id, "added": added });
        let sources = sources.iter().map(|source| {
            let tokens: Vec<_> = source.tokens.iter().map(of).collect();
            json!({ "source": source.source, "issuer": source.issuer, "tokens": tokens })
        });
        return output::json(&sources.collect::<Vec<_>>());
    }
    let mut rows = vec![["SOURCE", "ISSUER", "TOKEN", "ADDED"].map(str::to_owned).to_vec()];
    for source in sources {
        let issuer = source.issuer.unwrap_or_else(|| "not in the configuration".to_owned());
        if source.tokens.is_empty() {
            rows.push(vec![source.source.clone(), issuer.clone(), "none".to_owned(), String::new()]);
        }
        for (id, added) in source.tokens {
            rows.push(vec![source.source.clone(), issuer.clone(), id, added]);
        }
    }
    output::line(output::table(&rows, Paint::stdout()).trim_end());
    Ok(())
}

fn unexpected() -> anyhow::Result<()> {
    bail!("the server answered something else; use the `wardline` that it runs")
}
