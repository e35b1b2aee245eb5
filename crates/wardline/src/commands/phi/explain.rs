//! `wardline phi explain`: what would become of a statement, for the person who wonders why something is masked.
//!
//! The statement may hold a patient's datum: it goes to the server over the control socket, and into no log and no
//! record.

use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use model::Secret;

use crate::admin::{ExplainView, OriginView, OutputView, Reply, Request, Sensitive};
use crate::cli::Explain;
use crate::commands::administer;
use crate::output::{self, Paint, printable};

/// Longest statement; what goes over the control socket is bounded.
const STATEMENT_BYTES_MAX: usize = 32 << 10;

/// Runs `wardline phi explain`.
pub(super) fn run(file: &Path, arguments: &Explain) -> anyhow::Result<ExitCode> {
    let text = statement(&arguments.sql)?;
    let request = Request::Explain {
        resource: arguments.resource.clone(),
        person: arguments.person.clone(),
        text: Sensitive(Secret::new(text)),
        address: arguments.address,
        purpose: arguments.purpose.clone(),
    };
    administer::ask(file, request, |reply| {
        let Reply::Explained(view) = reply else {
            bail!("the server answered something else; use the `wardline` that it runs")
        };
        if arguments.json {
            return output::json(&view);
        }
        output::line(text_of(&view, Paint::stdout()).trim_end());
        Ok(())
    })
}

fn statement(argument: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    if argument == "-" {
        let limit = u64::try_from(STATEMENT_BYTES_MAX + 1)?;
        io::stdin().lock().take(limit).read_to_string(&mut text).context("reading the statement")?;
    } else {
        text.push_str(argument);
    }
    if text.len() > STATEMENT_BYTES_MAX {
        bail!("a statement of more than {STATEMENT_BYTES_MAX} bytes cannot be explained; give a part of it");
    }
    Ok(text)
}

/// Returns the explanation for people.
fn text_of(view: &ExplainView, paint: Paint) -> String {
    let mut text = String::new();
    let verdict = match view.verdict.as_str() {
        "sent" => paint.good("it would be sent"),
        "denied" => paint.bad("policy does not permit it"),
        "refused" => paint.bad("it would be refused, because of protected values"),
        _ => paint.bad("it cannot be read"),
    };
    let _ = writeln!(text, "{} on {}: {verdict}", printable(&view.person), printable(&view.resource));
    if let Some(why) = &view.unreadable {
        let _ = writeln!(text, "  {}", printable(why));
    }
    for need in &view.needs {
        let decision = match (need.allowed, need.policies.is_empty()) {
            (true, _) => format!("allowed by {}", need.policies.join(", ")),
            (false, true) => "denied: no policy allows it".to_owned(),
            (false, false) => format!("denied by {}", need.policies.join(", ")),
        };
        let _ = writeln!(text, "  {} {}: {}", need.action, printable(&need.object), printable(&decision));
    }
    if let Some(why) = &view.unmasked {
        let _ = writeln!(text, "  nothing is masked: {}", printable(why));
    }
    for (at, statement) in view.statements.iter().enumerate() {
        if view.statements.len() > 1 {
            let _ = writeln!(text, "{}", paint.bold(&format!("statement {}", at + 1)));
        }
        for why in &statement.refused {
            let _ = writeln!(text, "  {} {}", paint.bad("refused:"), printable(why));
        }
        let Some(outputs) = &statement.outputs else {
            text.push_str("  how many columns it returns cannot be told from the text\n");
            continue;
        };
        let rows = outputs.iter().enumerate().map(|(at, output)| row(at, output));
        let heading = ["COLUMN", "LEAVES", "WHY", "COMES FROM"].map(str::to_owned).to_vec();
        let rows: Vec<Vec<String>> = std::iter::once(heading).chain(rows).collect();
        if rows.len() > 1 {
            for line in output::table(&rows, paint).lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
    }
    text
}

fn row(at: usize, output: &OutputView) -> Vec<String> {
    let columns: Vec<String> = output.columns.iter().map(origin).collect();
    let fate = match output.fate.as_str() {
        "plain" => "as it is",
        "null" => "NULL",
        other => other,
    };
    vec![(at + 1).to_string(), fate.to_owned(), printable(&output.reason), columns.join(", ")]
}

fn origin(column: &OriginView) -> String {
    let name = printable(&column.name);
    let seen = match column.seen_by.is_empty() {
        true => String::new(),
        false => format!(", seen by {}", printable(&column.seen_by.join(", "))),
    };
    match &column.class {
        Some(class) => format!("{name} ({class}{seen})"),
        None => format!("{name} ({})", column.held),
    }
}
