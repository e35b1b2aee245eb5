//! What masking costs in the process, without a connection: `cargo xtask bench mask` runs this in a release build with
//! `WARDLINE_FIGURES` naming the file to write. Otherwise it is a short test that the same paths do what they should.

use std::hint::black_box;
use std::time::{Duration, Instant};

use model::{ResourceId, RootKey};
use phi::operator::KeyId;
use phi::{Class, Keys, Operator, RowContext, Usage};

use super::plan::{Plan, Protection};
use super::rows::{Means, Rows};
use crate::protected::Rule;
use crate::protocol::postgres::catalogues::Catalogues;
use crate::protocol::postgres::catalogues::tests::upstream;
use crate::protocol::postgres::codec;
use crate::protocol::postgres::sql::inspect;
use crate::protocol::postgres::sql::lineage::Column;
use crate::protocol::postgres::sql::lineage::tests::FOLLOWING;
use crate::protocol::postgres::sql::tests::catalogue_of_hospital;
use crate::protocol::postgres::verdicts::Verdicts;

const FIGURES: &str = "WARDLINE_FIGURES";
/// Statements of ordinary work: a look-up, a join, an aggregate.
const TEXTS: [(&str, &str); 3] = [
    ("lookup", "SELECT id, mrn, ssn, name, born FROM patients WHERE mrn = $1"),
    (
        "join",
        "SELECT p.id, p.name, e.ward, e.id FROM patients p JOIN encounters e ON e.patient_id = p.id \
         WHERE e.ward = $1 ORDER BY e.id LIMIT 50",
    ),
    (
        "aggregate",
        "WITH w AS (SELECT ward, count(*) AS n FROM encounters GROUP BY ward) \
         SELECT w.ward, w.n, upper(w.ward) FROM w WHERE w.n > 3 ORDER BY w.n DESC",
    ),
];
/// The operators of the six masked columns, their classes and a value of each.
const MASKED: [(&str, Class, &[u8]); 6] = [
    ("redact", Class::Name, b"Zofia Nowak"),
    ("partial(last=4)", Class::Ssn, b"123-45-6789"),
    ("token", Class::Mrn, b"4711223"),
    ("year", Class::Date, b"1980-03-15"),
    ("zip3", Class::Geographic, b"02139"),
    ("email_domain", Class::Email, b"zofia@mail.example.org"),
];
const TEXT: u32 = 25;
const RELATION: u32 = 20001;

/// The time this thread has run, from Linux; elsewhere the time of the clock.
fn processor_time() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let run = text.split(' ').next().and_then(|run| run.parse().ok());
    run.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

/// Returns the microseconds of processor time that one call takes, over so long.
fn cost_us(run: Duration, mut call: impl FnMut()) -> f64 {
    let (start, from, mut calls) = (Instant::now(), processor_time(), 0_u32);
    while start.elapsed() < run || calls == 0 {
        for _ in 0..100 {
            call();
        }
        calls += 100;
    }
    (processor_time() - from).as_secs_f64() * 1e6 / f64::from(calls)
}

fn protection() -> Protection {
    let mut protection = Protection::default();
    for (number, (operator, class, _)) in (1..).zip(MASKED) {
        let usage = if number == 1 { Usage::Join } else { Usage::Result };
        let rule = Rule { class, operator: operator.parse().unwrap(), usage };
        protection.rules.insert(Column { relation: RELATION, number }, rule);
    }
    let id = Rule { class: Class::Name, operator: Operator::Redact, usage: Usage::Join };
    protection.rules.insert(Column { relation: 20002, number: 2 }, id);
    for number in [1, 3, 4] {
        protection.clean.insert(Column { relation: 20002, number });
    }
    protection
}

/// Twelve columns: six masked, six as they are.
fn rows(protection: &Protection, keys: &Keys) -> (Rows, Vec<u8>) {
    let columns: Vec<(i16, &[u8])> =
        (1..).zip(MASKED).map(|(number, (_, _, value))| (number, value)).collect();
    let mut description = Vec::new();
    codec::message(&mut description, b'T', |out| {
        out.extend_from_slice(&12_u16.to_be_bytes());
        for (relation, number) in columns.iter().flat_map(|(number, _)| [(RELATION, *number), (0, 0)]) {
            out.extend_from_slice(b"x\0");
            out.extend_from_slice(&relation.to_be_bytes());
            out.extend_from_slice(&number.to_be_bytes());
            out.extend_from_slice(&TEXT.to_be_bytes());
            out.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
        }
    });
    let mut row = Vec::new();
    codec::message(&mut row, b'D', |out| {
        out.extend_from_slice(&12_u16.to_be_bytes());
        for value in columns.iter().flat_map(|(_, value)| [value, value]) {
            out.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
            out.extend_from_slice(value);
        }
    });
    let shown = columns.iter().flat_map(|(number, _)| {
        let column = Column { relation: RELATION, number: *number };
        [super::plan::Shown::Masked(column), super::plan::Shown::Plain]
    });
    let plan = Plan::Columns(shown.collect());
    let rows = Rows::compile(&plan, &description, Means { protection, keys, detector: None }, |_| false);
    (rows.unwrap().unwrap(), row)
}

#[test]
fn what_masking_costs() {
    let file = std::env::var_os(FIGURES);
    let run = if file.is_some() { Duration::from_secs(2) } else { Duration::ZERO };
    let mut figures: Vec<(String, f64, &str)> = Vec::new();
    let protection = protection();
    let catalogue = catalogue_of_hospital();
    let slot = Catalogues::new().slot(&upstream("one"));
    slot.replace(catalogue_of_hospital());
    let verdicts = Verdicts::new();
    let resource = ResourceId("one".into());
    for (name, text) in TEXTS {
        let cold = cost_us(run, || {
            let inspection = inspect(black_box(text), &catalogue, &FOLLOWING).unwrap();
            for lineage in &inspection.lineage {
                let _ = black_box(protection.plan(lineage, |_| false).unwrap());
            }
        });
        let cached = cost_us(run, || {
            let inspection = verdicts.inspect(&slot, &resource, black_box(text), true).unwrap();
            for lineage in &inspection.lineage {
                let _ = black_box(protection.plan(lineage, |_| false).unwrap());
            }
        });
        figures.push((format!("verdict_cold_us.{name}"), cold, "us"));
        figures.push((format!("verdict_cached_us.{name}"), cached, "us"));
    }
    let keys = Keys::derive(&RootKey::new([7; 32]), KeyId::new(1).unwrap());
    let (mut rows, row) = rows(&protection, &keys);
    let mut out = Vec::with_capacity(1024);
    let context = RowContext::new(2026);
    let cost = cost_us(run, || {
        out.clear();
        rows.rewrite(black_box(&row), &[], &context, &mut out).unwrap();
    });
    let shown = |value: &[u8]| out.windows(value.len()).filter(|bytes| *bytes == value).count();
    assert!(MASKED.iter().all(|(_, _, value)| shown(value) == 1), "each value is there twice, once masked");
    figures.push(("rewrite_rows_per_s".to_owned(), 1e6 / cost, "rows/s"));
    let lines = figures.iter().map(|(name, value, unit)| {
        format!("{{\"name\": \"{name}\", \"value\": {value:.3}, \"unit\": \"{unit}\"}}")
    });
    let json = format!("[{}]\n", lines.collect::<Vec<_>>().join(",\n"));
    println!("{json}");
    if let Some(file) = file {
        std::fs::write(file, json).unwrap();
    }
}
