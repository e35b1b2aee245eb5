//! `wardline phi scan --check`: what the configuration says of a resource against what the resource has now.

use std::process::ExitCode;

use gateway::{CleanColumns, ColumnName};
use phi::propose::{Source, Table};
use serde_json::json;

use super::write::dotted;
use crate::EXIT_REFUSED;
use crate::cli::Scan;
use crate::config::Protection;
use crate::output;

/// Where configuration and resource disagree, by name.
#[derive(Debug, PartialEq, Eq)]
struct Differences {
    /// Columns that are neither protected nor clean.
    unclassified: Vec<String>,
    /// What the configuration names and the resource does not have.
    missing: Vec<String>,
}

/// Tells the differences; the exit code says whether there are any.
pub(super) fn run(arguments: &Scan, protection: &Protection, tables: &[Table]) -> anyhow::Result<ExitCode> {
    let Differences { unclassified, missing } = differences(protection, tables, &arguments.schema);
    let agree = unclassified.is_empty() && missing.is_empty();
    if arguments.json {
        output::json(&json!({
            "resource": arguments.resource,
            "agree": agree,
            "unclassified": unclassified,
            "missing": missing,
        }))?;
    } else {
        for name in &unclassified {
            output::line(&format!("unclassified: {name}"));
        }
        for name in &missing {
            output::line(&format!("not there:    {name}"));
        }
        output::line(&match agree {
            true => "every column is classified, and everything that is named exists".to_owned(),
            false => format!(
                "{} columns are unclassified, so they stay masked; {} names of the configuration do not exist",
                unclassified.len(),
                missing.len()
            ),
        });
    }
    Ok(if agree { ExitCode::SUCCESS } else { ExitCode::from(EXIT_REFUSED) })
}

fn differences(protection: &Protection, tables: &[Table], schemas: &[String]) -> Differences {
    let wanted = |schema: &str| schemas.is_empty() || schemas.iter().any(|wanted| wanted == schema);
    let mut unclassified = Vec::new();
    for table in tables.iter().filter(|table| wanted(&table.schema)) {
        // What takes after others has nothing to be classified.
        let own = matches!(table.source, Source::Table | Source::Foreign);
        for column in table.columns.iter().filter(|column| own && !column.inherited) {
            let is = |name: &ColumnName| is_of(name, table) && *name.column == *column.name;
            let protected = protection.columns.iter().any(|(name, _)| is(name));
            let clean = protection.clean.iter().any(|clean| match clean {
                CleanColumns::Column(name) => is(name),
                CleanColumns::Relation { schema, relation } => {
                    **schema == *table.schema && **relation == *table.name
                }
                CleanColumns::Schema { schema } => **schema == *table.schema,
            });
            if !protected && !clean {
                unclassified.push(dotted(&[&table.schema, &table.name, &column.name]));
            }
        }
    }
    Differences { unclassified, missing: missing(protection, tables, wanted) }
}

fn missing(protection: &Protection, tables: &[Table], wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let has_column = |name: &ColumnName| {
        let columns = tables.iter().filter(|table| is_of(name, table)).flat_map(|table| &table.columns);
        columns.into_iter().any(|column| *column.name == *name.column)
    };
    let mut missing = Vec::new();
    let named = protection.columns.iter().map(|(name, _)| name).chain(&protection.patients);
    for name in named.filter(|name| wanted(&name.schema) && !has_column(name)) {
        missing.push(dotted(&[&name.schema, &name.relation, &name.column]));
    }
    for clean in &protection.clean {
        match clean {
            CleanColumns::Column(name) if wanted(&name.schema) && !has_column(name) => {
                missing.push(dotted(&[&name.schema, &name.relation, &name.column]));
            }
            CleanColumns::Relation { schema, relation }
                if wanted(schema)
                    && !tables.iter().any(|t| *t.schema == **schema && *t.name == **relation) =>
            {
                missing.push(format!("{}.*", dotted(&[schema, relation])));
            }
            CleanColumns::Schema { schema }
                if wanted(schema) && !tables.iter().any(|table| *table.schema == **schema) =>
            {
                missing.push(format!("{}.*", dotted(&[schema])));
            }
            CleanColumns::Column(_) | CleanColumns::Relation { .. } | CleanColumns::Schema { .. } => {}
        }
    }
    missing.sort();
    missing.dedup();
    missing
}

fn is_of(name: &ColumnName, table: &Table) -> bool {
    *name.schema == *table.schema && *name.relation == *table.name
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use phi::Type;
    use phi::propose::Column;

    use super::*;
    use crate::config::Config;

    fn table(schema: &str, name: &str, source: Source, columns: &[&str]) -> Table {
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            type_name: "text".into(),
            ty: Type::Text { max: None },
            domain: false,
            key: false,
            serial: false,
            computed: false,
            inherited: false,
            references: Vec::new(),
            tally: None,
        };
        let columns = columns.iter().map(column).collect();
        Table { schema: schema.into(), name: name.into(), source, columns }
    }

    #[test]
    fn what_is_new_and_what_is_gone_is_told() {
        let text = "node = \"gw1\"\n[resource.h]\nprotocol = \"postgres\"\nhost = \"h\"\n[resource.h.phi]\n\
            clean = [\"public.wards.*\", \"gone.*\", \"public.gone.*\", \"public.patients.sex\", \"public.patients.old\"]\n\
            patients = [\"public.patients.gone\"]\n\
            columns = { \"public.patients.ssn\" = { class = \"ssn\" }, \"public.patients.was\" = { class = \"ssn\" } }\n";
        let config = Config::parse(Path::new("wardline.toml"), text).config.expect("valid");
        let protection = config.resources["h"].protection.clone().expect("protected");
        let tables = [
            table("public", "patients", Source::Table, &["ssn", "sex", "new"]),
            table("public", "wards", Source::Table, &["name"]),
            table("public", "listing", Source::View, &["ssn"]),
            table("lab", "Odd.Table", Source::Table, &["a b"]),
        ];
        let found = differences(&protection, &tables, &[]);
        assert_eq!(found.unclassified, ["public.patients.new", "lab.\"Odd.Table\".\"a b\""]);
        let gone =
            ["gone.*", "public.gone.*", "public.patients.gone", "public.patients.old", "public.patients.was"];
        assert_eq!(found.missing, gone);
        let lab = differences(&protection, &tables, &["lab".to_owned()]);
        assert_eq!((lab.unclassified.len(), lab.missing.len()), (1, 0));
    }
}
