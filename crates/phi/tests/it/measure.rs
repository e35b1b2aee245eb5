//! Compares what the detectors find with what the generator put there.
#![allow(clippy::indexing_slicing, reason = "for tests")]

use std::collections::BTreeMap;

use phi::Class;
use phi::detect::{Budget, Detector, Features, Scratch, Span};

use super::notes::{Note, Random};

/// What was found of one class.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Row {
    /// Identifiers in the notes.
    pub(crate) truth: u64,
    /// Of them, covered from first to last letter by findings of whatever class: nothing of them gets out.
    pub(crate) found: u64,
    /// Of them, told as this class.
    pub(crate) named: u64,
    /// Findings told as this class.
    pub(crate) given: u64,
    /// Of them, on an identifier of whatever class.
    pub(crate) right: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) rows: BTreeMap<Class, Row>,
    /// All findings.
    pub(crate) given: u64,
    /// Of them, on an identifier.
    pub(crate) right: u64,
    /// Some of what was missed or found for nothing, with what stands around it.
    pub(crate) samples: Vec<String>,
}

impl Table {
    #[allow(dead_code, reason = "the example prints all rows")]
    pub(crate) fn row(&self, class: Class) -> Row {
        self.rows.get(&class).copied().unwrap_or_default()
    }
}

/// Measures so many notes of a seed, made by one of the generators.
pub(crate) fn run(seed: u64, count: usize, make: fn(&mut Random) -> Note) -> Table {
    let mut random = Random(seed);
    let detector = Detector::default();
    let mut scratch = Scratch::default();
    let mut table = Table::default();
    for _ in 0..count {
        let note = make(&mut random);
        let mut budget = Budget::new(1 << 20);
        let spans = detector.find(&note.text, &Features::none(), &mut budget, &mut scratch).expect("enough");
        compare(&note, spans, &mut table);
    }
    table
}

fn compare(note: &Note, spans: &[Span], table: &mut Table) {
    for (start, end, class) in &note.truth {
        let row = table.rows.entry(*class).or_default();
        row.truth += 1;
        let overlapping = || spans.iter().filter(|span| span.start < *end && span.end > *start);
        let hidden = |at: usize| overlapping().any(|span| (span.start..span.end).contains(&at));
        let text = &note.text[*start..*end];
        let covered = text.char_indices().all(|(at, c)| !c.is_alphanumeric() || hidden(start + at));
        row.found += u64::from(covered);
        row.named += u64::from(covered && overlapping().any(|span| span.class == *class));
        if !covered && table.samples.len() < 400 {
            table.samples.push(format!("missed {class}: {}", around(note, *start, *end)));
        }
    }
    for span in spans {
        let right = note.truth.iter().any(|(start, end, _)| span.start < *end && span.end > *start);
        let row = table.rows.entry(span.class).or_default();
        row.given += 1;
        row.right += u64::from(right);
        table.given += 1;
        table.right += u64::from(right);
        if !right && table.samples.len() < 400 {
            table.samples.push(format!("wrong {}: {}", span.class, around(note, span.start, span.end)));
        }
    }
}

fn around(note: &Note, start: usize, end: usize) -> String {
    let from = (start.saturating_sub(24)..=start).find(|at| note.text.is_char_boundary(*at)).unwrap_or(start);
    let to = (end + 12).min(note.text.len());
    let to = (to..=note.text.len()).find(|at| note.text.is_char_boundary(*at)).unwrap_or(end);
    format!("{}⟦{}⟧{}", &note.text[from..start], &note.text[start..end], &note.text[end..to])
        .replace('\n', "⏎")
}
