//! A proposal for people and machines: a fragment of `wardline.toml`, a table, JSON. Pure.
//!
//! Names come from a database and may be anything: in comments they are made printable, as keys they are quoted.

use std::fmt::Write as _;

use gateway::Sampled;
use phi::Usage;
use phi::propose::{Column, Proposal, Proposed, Source, Table};
use policy::name;
use serde_json::{Value, json};

use super::scan::source;
use crate::output::{self, Paint, printable};

/// A table with what is proposed for its columns.
#[derive(Clone, Copy)]
pub(super) struct Relation<'a> {
    pub(super) table: &'a Table,
    pub(super) proposed: &'a [Proposed],
    pub(super) sampled: &'a Sampled,
    /// About how many rows it has.
    pub(super) rows: u64,
}

/// A column with what is proposed for it.
struct Line<'a> {
    /// As the configuration names it; `None` where it cannot.
    name: Option<String>,
    type_name: &'a str,
    shown: String,
    proposed: &'a Proposed,
}

impl Relation<'_> {
    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.table.columns.iter().zip(self.proposed).map(|(column, proposed)| {
            let parts = [self.table.schema.as_str(), &self.table.name, &column.name];
            Line { name: name::dotted(&parts), type_name: &column.type_name, shown: dotted(&parts), proposed }
        })
    }

    /// How many columns are protected, clean, undecided, and take after others.
    fn counts(&self) -> [usize; 4] {
        let mut counts = [0; 4];
        for proposed in self.proposed {
            let [protected, clean, undecided, follows] = &mut counts;
            *match proposed.proposal {
                Proposal::Protected { .. } => protected,
                Proposal::Clean => clean,
                Proposal::Undecided => undecided,
                Proposal::Follows => follows,
            } += 1;
        }
        counts
    }

    fn sampled(&self) -> String {
        match self.sampled {
            Sampled::Rows(rows) => format!("{rows} rows"),
            Sampled::Nothing => "-".to_owned(),
            Sampled::Refused(why) => format!("refused: {why}"),
        }
    }
}

/// Returns the name for people, quoted as SQL would where it must be.
pub(super) fn dotted(parts: &[&str]) -> String {
    name::dotted(parts).unwrap_or_else(|| printable(&parts.join(".")))
}

/// Returns the fragment: valid in `wardline.toml` as it stands, with the reason behind each line.
pub(super) fn toml(resource: &str, relations: &[Relation<'_>]) -> String {
    let key = if resource.contains('.') { basic(resource) } else { resource.to_owned() };
    let mut text = format!(
        "# Proposed by `wardline phi scan {resource}`. Read each line before it is used: what is clean is shown to\n\
         # everybody who may read it, and what is neither protected nor clean stays masked.\n\
         [resource.{key}.phi]\n"
    );
    let lines: Vec<Line<'_>> = relations.iter().flat_map(Relation::lines).collect();
    list(&mut text, "patients", lines.iter().filter(|line| line.proposed.patient));
    list(&mut text, "clean", lines.iter().filter(|line| line.proposed.proposal == Proposal::Clean));
    let _ = writeln!(text, "\n[resource.{key}.phi.columns]");
    for line in &lines {
        let (Some(name), Proposal::Protected { class, operator, usage }) =
            (&line.name, line.proposed.proposal)
        else {
            continue;
        };
        let usage = match usage {
            Usage::None => String::new(),
            Usage::Join | Usage::Equality | Usage::Result => format!(", usage = \"{usage}\""),
        };
        let (name, reason) = (basic(name), printable(&line.proposed.reason));
        let _ =
            writeln!(text, "{name} = {{ class = \"{class}\", operator = \"{operator}\"{usage} }} # {reason}");
    }
    undecided(&mut text, &lines);
    text.push_str("\n# Coverage:\n");
    for line in coverage(relations, Paint::off()).lines() {
        let _ = writeln!(text, "#   {line}");
    }
    text
}

fn list<'a>(text: &mut String, field: &str, lines: impl Iterator<Item = &'a Line<'a>>) {
    let mut any = false;
    for line in lines {
        let Some(name) = &line.name else { continue };
        if !any {
            let _ = writeln!(text, "{field} = [");
        }
        any = true;
        let _ = writeln!(text, "    {}, # {}", basic(name), printable(&line.proposed.reason));
    }
    text.push_str(&if any { "]\n".to_owned() } else { format!("{field} = []\n") });
}

fn undecided(text: &mut String, lines: &[Line<'_>]) {
    let undecided = |line: &&Line<'_>| line.name.is_none() || line.proposed.proposal == Proposal::Undecided;
    let mut lines = lines.iter().filter(undecided).peekable();
    if lines.peek().is_some() {
        text.push_str(
            "\n# Undecided: masked for everybody who does not see everything, until somebody decides.\n",
        );
    }
    for line in lines {
        let reason = if line.name.is_some() { line.proposed.reason.as_str() } else { "cannot be named here" };
        let reason = if reason.is_empty() { String::new() } else { format!(": {}", printable(reason)) };
        let _ = writeln!(text, "#   {} ({}){reason}", line.shown, printable(line.type_name));
    }
}

/// Returns a basic string of TOML.
fn basic(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Returns a table with a line for each relation.
pub(super) fn coverage(relations: &[Relation<'_>], paint: Paint) -> String {
    let heading = ["RELATION", "KIND", "ROWS", "COLUMNS", "PROTECTED", "CLEAN", "UNDECIDED", "SAMPLED"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let mut totals = [0; 4];
    for relation in relations {
        let Relation { table, proposed, sampled: _, rows: about } = relation;
        let counts = relation.counts();
        let [protected, clean, undecided, _] = counts;
        totals.iter_mut().zip([proposed.len(), protected, clean, undecided]).for_each(|(sum, n)| *sum += n);
        let mut row = vec![dotted(&[&table.schema, &table.name]), source(table).to_owned()];
        match table.source {
            Source::Table | Source::Foreign => {
                row.push(if *about == 0 { "?".to_owned() } else { format!("~{about}") });
                row.extend([proposed.len(), protected, clean, undecided].map(|count| count.to_string()));
                row.push(relation.sampled());
            }
            Source::View | Source::Partition => {
                row.extend(["-".to_owned(), proposed.len().to_string()]);
                row.push("takes after what it comes from".to_owned());
            }
        }
        rows.push(row);
    }
    let mut total = vec!["total".to_owned(), String::new(), String::new()];
    total.extend(totals.map(|count| count.to_string()));
    rows.push(total);
    output::table(&rows, paint)
}

/// Returns everything as one JSON object.
pub(super) fn json(resource: &str, relations: &[Relation<'_>]) -> Value {
    let relations = relations.iter().map(|relation| {
        let [protected, clean, undecided, follows] = relation.counts();
        let (sampled, refused) = match relation.sampled {
            Sampled::Rows(rows) => (Some(*rows), None),
            Sampled::Nothing => (None, None),
            Sampled::Refused(why) => (None, Some(why)),
        };
        json!({
            "schema": relation.table.schema,
            "name": relation.table.name,
            "kind": source(relation.table),
            "rows_estimate": relation.rows,
            "rows_sampled": sampled,
            "refused": refused,
            "coverage": {
                "columns": relation.proposed.len(),
                "protected": protected,
                "clean": clean,
                "undecided": undecided,
                "follows": follows,
            },
            "columns": relation.table.columns.iter().zip(relation.proposed).map(column_json).collect::<Vec<_>>(),
        })
    });
    json!({ "resource": resource, "relations": relations.collect::<Vec<_>>() })
}

fn column_json((column, proposed): (&Column, &Proposed)) -> Value {
    let (word, protected) = match proposed.proposal {
        Proposal::Protected { class, operator, usage } => ("protected", Some((class, operator, usage))),
        Proposal::Clean => ("clean", None),
        Proposal::Undecided => ("undecided", None),
        Proposal::Follows => ("follows", None),
    };
    json!({
        "name": column.name,
        "type": column.type_name,
        "proposal": word,
        "class": protected.map(|(class, ..)| class.name()),
        "operator": protected.map(|(_, operator, _)| operator.to_string()),
        "usage": protected.map(|(.., usage)| usage.name()),
        "patient": proposed.patient,
        "reason": proposed.reason,
    })
}
