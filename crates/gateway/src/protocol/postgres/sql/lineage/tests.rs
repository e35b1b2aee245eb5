//! Cases are data: a statement, what it returns, and what its columns are used for besides.

use super::super::tests::catalogue_of_hospital;
use super::super::{Limits, inspect};
use super::*;

/// The default limits, with lineage.
pub(crate) const FOLLOWING: Limits = Limits {
    text_bytes_max: 1 << 20,
    statements_max: 1000,
    depth_max: 200,
    statement_bytes_max: 8 << 10,
    lineage: true,
    catalogue: 0,
};

const CASES: &str = include_str!("cases.txt");

/// The columns of the hospital's tables, by OID and number, as the cases write them.
fn name(column: Column) -> &'static str {
    let names: &[&str] = match column.relation {
        20001 => &["id", "mrn", "ssn", "name", "born", "tags", "full"],
        20002 => &["e.id", "e.patient", "e.ward", "e.note"],
        20004 => &["s.label"],
        20005 => &["a.label"],
        other => panic!("no relation {other}"),
    };
    names[usize::try_from(column.number).unwrap() - 1]
}

fn list(columns: &[Column]) -> String {
    columns.iter().map(|column| name(*column)).collect::<Vec<_>>().join(",")
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Clean => "-".to_owned(),
        Origin::Computed { columns, total: _, shaped: _ } if columns.is_empty() => "-".to_owned(),
        Origin::Column(column) => name(*column).to_owned(),
        Origin::Computed { columns, total: true, shaped: _ } => format!("f({})", list(columns)),
        Origin::Computed { columns, total: false, shaped: _ } => format!("f({})!", list(columns)),
        Origin::Unknown => "?".to_owned(),
    }
}

fn shown(lineage: &Lineage) -> (String, String) {
    let mut outputs = match &lineage.outputs {
        Outputs::None => "none".to_owned(),
        Outputs::Columns(origins) => origins.iter().map(origin).collect::<Vec<_>>().join(" "),
        Outputs::Open(any) => format!("open {}", origin(any)),
        Outputs::Prepared(name) => format!("prepared {name}"),
        Outputs::Cursor(name) => format!("cursor {name}"),
    };
    if let Kind::Other(what) = lineage.kind {
        outputs = format!("other {what}");
    }
    if lineage.opaque {
        outputs += " opaque";
    }
    for (column, from) in &lineage.assigned {
        outputs += &format!(" {}:={}", name(*column), origin(from));
    }
    let uses = lineage.uses.iter().map(|(column, how)| match how {
        Use::Equality { operand: Operand::Literal(text), every } => {
            format!("{}={text}{}", name(*column), if *every { "" } else { "?" })
        }
        Use::Equality { operand: Operand::Element(_) | Operand::Text(_), every: _ } => {
            panic!("only ties are of these")
        }
        Use::Equality { operand: Operand::Parameter(number), every } => {
            format!("{}=${number}{}", name(*column), if *every { "" } else { "?" })
        }
        Use::Join(other) => format!("{}~{}", name(*column), name(*other)),
        Use::Computed => format!("{}!", name(*column)),
        Use::Other => format!("{}*", name(*column)),
    });
    let uses = uses.collect::<Vec<_>>().join(" ");
    let through: Vec<String> =
        lineage.through.iter().map(|(view, column, _)| format!("{view}:{}", name(*column))).collect();
    let uses = [uses, through.join(" ")].join(" ").trim().to_owned();
    (outputs, if uses.is_empty() { "-".to_owned() } else { uses })
}

#[test]
fn cases_hold() {
    let catalogue = catalogue_of_hospital();
    let lines: Vec<_> = CASES.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let mut wrong = Vec::new();
    for case in lines.chunks(3) {
        let [text, outputs, uses] = case else { panic!("a case is three lines: {case:?}") };
        let got = match inspect(text, &catalogue, &FOLLOWING) {
            Ok(got) => got,
            Err(error) => panic!("{text}: {}", error.message),
        };
        let [lineage] = &*got.lineage else { panic!("{text}: not one statement") };
        let shown = shown(lineage);
        if (shown.0.as_str(), shown.1.as_str()) != (outputs.trim(), uses.trim()) {
            wrong.push(format!("{text}\n  {}\n  {}", shown.0, shown.1));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases differ:\n{}", wrong.len(), lines.len() / 3, wrong.join("\n"));
}

#[test]
fn without_a_catalogue_nothing_is_known() {
    let got = inspect("SELECT 1", &super::super::Catalogue::unknown(), &FOLLOWING).unwrap();
    assert!(got.lineage[0].opaque);
    let got = inspect("ROLLBACK", &super::super::Catalogue::unknown(), &FOLLOWING).unwrap();
    assert!(!got.lineage[0].opaque);
}
