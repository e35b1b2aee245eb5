//! `[resource.NAME.phi]`: which columns are protected and how, which are clean, which name a patient.
//!
//! Deliberately absent: whether the columns exist, which the resource's catalogue tells while serving, and who sees
//! them, which roles say.

use std::collections::HashMap;

use gateway::{CleanColumns, ColumnName, FILTERS_PER_HOUR, Rule};
use phi::detect::Pattern;
use phi::{Class, Operator, Usage};
use policy::name::{Part, parts};

use super::problem::nearest;
use super::read::{At, Section, quoted};
use super::sections::one_of;

const QUOTES: &str = "with a name in double quotes where it holds a `.`, `/`, `*`, space or quote";
/// Beyond it a limit would be none.
const FILTERS_PER_HOUR_MAX: u64 = 1_000_000;
const EXAMPLE: &str = "\"public.patients.ssn\" = { class = \"ssn\" }";

/// What of a resource is protected.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Protection {
    pub(crate) columns: Vec<(ColumnName, Rule)>,
    pub(crate) clean: Vec<CleanColumns>,
    pub(crate) patients: Vec<ColumnName>,
    /// Whose identifiers these are; the resource's name when left out.
    pub(crate) issuer: Option<String>,
    /// The text of clean columns is looked through for identifiers.
    pub(crate) detects: bool,
    /// Clean columns whose text is not.
    pub(crate) trusted: Vec<CleanColumns>,
    pub(crate) trusted_views: Vec<CleanColumns>,
    pub(crate) filters_per_hour: u32,
    /// The forms of the site's record numbers.
    pub(crate) record_numbers: Vec<Pattern>,
}

impl Default for Protection {
    fn default() -> Protection {
        Protection {
            columns: Vec::new(),
            clean: Vec::new(),
            patients: Vec::new(),
            issuer: None,
            detects: true,
            trusted: Vec::new(),
            trusted_views: Vec::new(),
            filters_per_hour: FILTERS_PER_HOUR,
            record_numbers: Vec::new(),
        }
    }
}

/// The protected columns by name, with the place of each in the text. A rule with a mistake is `None`.
type Columns = HashMap<ColumnName, (Option<Rule>, usize)>;

/// Returns what the resource's section says; `None` when it has no such section.
pub(super) fn protection(resource: &Section<'_, '_>) -> Option<Protection> {
    let section = resource.section("phi")?;
    let columns = columns(&section);
    let clean = clean(&section, &columns);
    let patients = patients(&section, &columns, &clean);
    let rules = columns.into_iter().filter_map(|(name, (rule, _))| rule.map(|rule| (name, rule)));
    let mut columns: Vec<(ColumnName, Rule)> = rules.collect();
    columns.sort_by(|(a, _), (b, _)| key(a).cmp(&key(b)));
    let issuer = section.text("issuer", "\"hospital\"").map(|issuer| issuer.value);
    let detects = section.boolean("detect").is_none_or(|detect| detect.value);
    let trusted_views = trusted(&section, "trusted_views", "[\"public.active_patients.*\"]");
    let trusted = trusted(&section, "trusted", "[\"public.departments.phone\"]");
    let record_numbers = record_numbers(&section);
    let per_hour = section.number("filters_per_hour", 1..=FILTERS_PER_HOUR_MAX, FILTERS_PER_HOUR.into());
    Some(Protection {
        columns,
        clean,
        patients,
        issuer,
        detects,
        trusted,
        trusted_views,
        filters_per_hour: u32::try_from(per_hour).unwrap_or(FILTERS_PER_HOUR),
        record_numbers,
    })
}

fn key(name: &ColumnName) -> [&str; 3] {
    [&name.schema, &name.relation, &name.column]
}

fn columns(section: &Section<'_, '_>) -> Columns {
    let mut columns = Columns::new();
    for (name, column) in section.section("columns").iter().flat_map(Section::named) {
        let help = format!("write `{EXAMPLE}`, {QUOTES}");
        let Some(known) = column_name(section, "columns", &name, &help) else { continue };
        let rule = rule(&column);
        if let Some((_, other)) = columns.insert(known, (rule, name.offset)) {
            let line = section.reader().line(other.min(name.offset));
            let message =
                format!("`{}`: `{}` is in line {line} already", section.child("columns"), name.value);
            section.reader().error(other.max(name.offset), message, "remove one of the two");
        }
    }
    columns
}

fn rule(column: &Section<'_, '_>) -> Option<Rule> {
    let class = column.required("class", "\"ssn\"");
    let class = class.and_then(|class| one_of(column, "class", &class, &Class::ALL.map(Class::name)));
    let class: Option<Class> = class.and_then(|class| class.parse().ok());
    let usage = match column.text("usage", "\"none\"") {
        Some(usage) => one_of(column, "usage", &usage, &Usage::ALL.map(Usage::name)),
        None => Some(Usage::default().name()),
    };
    let operator = match column.text("operator", "\"token\"") {
        Some(text) => operator_of(column, class, &text),
        None => class.map(Operator::usual),
    };
    Some(Rule { class: class?, operator: operator?, usage: usage?.parse().ok()? })
}

/// Returns the operator that a text names; notes what is wrong with it, also that it does not suit the class.
fn operator_of(column: &Section<'_, '_>, class: Option<Class>, text: &At<String>) -> Option<Operator> {
    let field = column.child("operator");
    let operator: Operator = match text.value.parse() {
        Ok(operator) => operator,
        Err(error) => {
            let known = Class::ALL.into_iter().flat_map(Operator::suiting);
            let word = text.value.split('(').next().unwrap_or_default().trim();
            let help = match nearest(word, known).filter(|meant| *meant != word) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "docs/formats/phi.md says what each operator does and takes".to_owned(),
            };
            column.reader().error(text.offset, format!("`{field}`: {error}"), help);
            return None;
        }
    };
    let class = class?;
    if !operator.suits(class) {
        let message = format!("`{field}`: `{}` does not suit the class `{class}`", operator.name());
        let help = format!("write one of {}", quoted(&Operator::suiting(class)));
        column.reader().error(text.offset, message, help);
        return None;
    }
    Some(operator)
}

fn clean(section: &Section<'_, '_>, columns: &Columns) -> Vec<CleanColumns> {
    let help = format!("write `schema.table.column`, `schema.table.*` or `schema.*`, {QUOTES}");
    let mut clean = Vec::new();
    for text in section.texts("clean", "[\"public.departments.*\", \"public.encounters.id\"]") {
        let Some(parts) = parts_of(section, "clean", &text, &help) else { continue };
        let Some(entry) = clean_columns(&parts) else {
            let message = match parts.as_slice() {
                [Part::Wildcard] => "a whole database cannot be clean".to_owned(),
                _ => format!("`{}` names no columns", text.value),
            };
            section.reader().error(text.offset, format!("`{}`: {message}", section.child("clean")), &*help);
            continue;
        };
        if let CleanColumns::Column(name) = &entry
            && let Some((_, offset)) = columns.get(name)
        {
            let line = section.reader().line(*offset);
            let message =
                format!("`{}`: `{}` is protected in line {line}", section.child("clean"), text.value);
            section.reader().error(text.offset, message, "remove one of the two");
        }
        clean.push(entry);
    }
    clean
}

fn trusted(section: &Section<'_, '_>, name: &str, example: &str) -> Vec<CleanColumns> {
    let help = format!("write `schema.table.column`, `schema.table.*` or `schema.*`, {QUOTES}");
    let mut trusted = Vec::new();
    for text in section.texts(name, example) {
        let Some(parts) = parts_of(section, name, &text, &help) else { continue };
        match clean_columns(&parts) {
            Some(entry) => trusted.push(entry),
            None => {
                let message = format!("`{}`: `{}` names no columns", section.child(name), text.value);
                section.reader().error(text.offset, message, &*help);
            }
        }
    }
    trusted
}

fn record_numbers(section: &Section<'_, '_>) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for text in section.texts("record_numbers", "[\"W########\"]") {
        match text.value.parse() {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => {
                let message = format!("`{}`: `{}`: {error}", section.child("record_numbers"), text.value);
                let help = "write the form with `#` for a digit and `@` for a letter, such as `W########`";
                section.reader().error(text.offset, message, help);
            }
        }
    }
    patterns
}

fn clean_columns(parts: &[Part]) -> Option<CleanColumns> {
    match parts {
        [Part::Name(schema), Part::Wildcard] => Some(CleanColumns::Schema { schema: schema.as_str().into() }),
        [Part::Name(schema), Part::Name(relation), Part::Wildcard] => Some(CleanColumns::Relation {
            schema: schema.as_str().into(),
            relation: relation.as_str().into(),
        }),
        _ => name_of(parts).map(CleanColumns::Column),
    }
}

fn patients(section: &Section<'_, '_>, columns: &Columns, clean: &[CleanColumns]) -> Vec<ColumnName> {
    let help = format!("write `schema.table.column`, {QUOTES}");
    let mut patients = Vec::new();
    for text in section.texts("patients", "[\"public.patients.id\", \"public.encounters.patient_id\"]") {
        let Some(name) = column_name(section, "patients", &text, &help) else { continue };
        if !columns.contains_key(&name) && clean.iter().any(|clean| covers(clean, &name)) {
            let message =
                format!("`{}`: `{}` names patients and is clean", section.child("patients"), text.value);
            let help = "protect it with the class `patient_id`, unless the number means nothing elsewhere";
            section.reader().warning(text.offset, message, help);
        }
        patients.push(name);
    }
    let shifts = |rule: &Option<Rule>| rule.is_some_and(|rule| rule.operator == Operator::DateShift);
    if patients.is_empty() && columns.values().any(|(rule, _)| shifts(rule)) {
        let message = format!("`{}` is empty, so `date_shift` shows years only", section.child("patients"));
        let help = "name the columns that identify a patient: dates are shifted by patient";
        section.reader().warning(section.offset(), message, help);
    }
    patients
}

fn covers(clean: &CleanColumns, name: &ColumnName) -> bool {
    match clean {
        CleanColumns::Column(only) => only == name,
        CleanColumns::Relation { schema, relation } => *schema == name.schema && *relation == name.relation,
        CleanColumns::Schema { schema } => *schema == name.schema,
    }
}

/// Returns the column that a text names; notes what is wrong with it otherwise.
fn column_name(section: &Section<'_, '_>, field: &str, text: &At<String>, help: &str) -> Option<ColumnName> {
    let parts = parts_of(section, field, text, help)?;
    let name = name_of(&parts);
    if name.is_none() {
        let message = format!("`{}`: `{}` names no column", section.child(field), text.value);
        section.reader().error(text.offset, message, help);
    }
    name
}

fn parts_of(section: &Section<'_, '_>, field: &str, text: &At<String>, help: &str) -> Option<Vec<Part>> {
    match parts(&text.value) {
        Ok(parts) => Some(parts),
        Err(fault) => {
            let message = format!("`{}`: `{}` names no column: {fault}", section.child(field), text.value);
            section.reader().error(text.offset, message, help);
            None
        }
    }
}

fn name_of(parts: &[Part]) -> Option<ColumnName> {
    let [Part::Name(schema), Part::Name(relation), Part::Name(column)] = parts else { return None };
    Some(ColumnName {
        schema: schema.as_str().into(),
        relation: relation.as_str().into(),
        column: column.as_str().into(),
    })
}
