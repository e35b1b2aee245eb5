//! Measures the detectors and the masks on one core: `cargo run --release -p phi --example bench_detect`.
//! With a file's name only the detectors, and their figures in it as JSON.
#![allow(missing_docs, reason = "an example")]

use std::time::{Duration, Instant};

use model::RootKey;
use phi::detect::{Budget, Detector, Features, Scratch};
use phi::operator::KeyId;
use phi::{Class, Format, Keys, Mask, RowContext, Type};

#[path = "../tests/it/notes.rs"]
mod notes;

const NOTES: usize = 20_000;
const RUN: Duration = Duration::from_secs(2);

fn main() {
    let rates = [
        ("dense", detection("dense notes", notes::note)),
        ("hard", detection("hard notes", notes::hard_note)),
        ("sparse", detection("sparse notes", notes::sparse_note)),
    ];
    match std::env::args().nth(1) {
        None => {
            masking();
            rows();
        }
        Some(file) => {
            let figures = rates.map(|(name, rate)| {
                format!("{{\"name\": \"detect_mb_per_s.{name}\", \"value\": {rate:.1}, \"unit\": \"MB/s\"}}")
            });
            std::fs::write(file, format!("[{}]\n", figures.join(",\n"))).expect("a file");
        }
    }
}

/// Returns the megabytes a second.
fn detection(title: &str, make: fn(&mut notes::Random) -> notes::Note) -> f64 {
    let mut random = notes::Random(1);
    let notes: Vec<notes::Note> = (0..NOTES).map(|_| make(&mut random)).collect();
    let bytes: usize = notes.iter().map(|note| note.text.len()).sum();
    let identifiers: usize = notes.iter().map(|note| note.truth.len()).sum();
    let detector = Detector::default();
    let mut scratch = Scratch::default();
    let mut pass = || {
        let mut found = 0;
        for note in &notes {
            let mut budget = Budget::new(1 << 20);
            let spans = detector.find(&note.text, &Features::none(), &mut budget, &mut scratch);
            found += spans.expect("enough").len();
        }
        found
    };
    let found = pass();
    let (passes, elapsed) = repeat(&mut || {
        pass();
    });
    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    let rate = bytes as f64 * f64::from(passes) / elapsed.as_secs_f64() / 1e6;
    println!(
        "detect, {title}: {rate:.0} MB/s ({NOTES} notes, {bytes} bytes, {identifiers} identifiers, {found} found)"
    );
    rate
}

fn masking() {
    let keys = Keys::derive(&RootKey::new([1; 32]), KeyId::new(1).expect("in range"));
    let text = Type::Text { max: None };
    let cases: [(&str, Class, Type, Format, &[u8]); 10] = [
        ("redact", Class::Name, text.clone(), Format::Text, b"Zofia Nowak"),
        ("partial(last=4)", Class::Ssn, text.clone(), Format::Text, b"123-45-6789"),
        ("token", Class::Mrn, text.clone(), Format::Text, b"4711223"),
        ("hash", Class::Mrn, text.clone(), Format::Text, b"4711223"),
        ("format_preserving", Class::Ssn, text.clone(), Format::Text, b"123-45-6789"),
        ("format_preserving", Class::PatientId, Type::Int4, Format::Binary, &[0, 0, 7, 7]),
        ("date_shift", Class::Date, Type::Date, Format::Text, b"1980-03-15"),
        ("date_shift", Class::Date, Type::Date, Format::Binary, &[0, 0, 7, 7]),
        ("zip3", Class::Geographic, text, Format::Text, b"02139"),
        ("year", Class::Date, Type::Timestamp, Format::Text, b"1980-03-15 10:20:30"),
    ];
    let row = RowContext::of_patient(2026, b"17");
    for (operator, class, ty, format, value) in cases {
        let mask = Mask::compile(class, operator.parse().expect("an operator"), &ty, &keys).expect("suits");
        let mut out = Vec::with_capacity(128);
        let (passes, elapsed) = repeat(&mut || {
            for _ in 0..1000 {
                out.clear();
                let _ = std::hint::black_box(mask.apply(format, Some(value), &row, &mut out));
            }
        });
        let cell = elapsed.as_secs_f64() * 1e9 / f64::from(passes) / 1000.0;
        println!("{operator:<18} {:<10} {format:?}: {cell:.0} ns a cell", ty.to_string());
    }
}

/// Rows of twelve columns, of which six are masked and six copied.
fn rows() {
    let keys = Keys::derive(&RootKey::new([1; 32]), KeyId::new(1).expect("in range"));
    let columns: [(&str, Class, &[u8]); 6] = [
        ("redact", Class::Name, b"Zofia Nowak"),
        ("partial(last=4)", Class::Ssn, b"123-45-6789"),
        ("token", Class::Mrn, b"4711223"),
        ("date_shift", Class::Date, b"1980-03-15"),
        ("zip3", Class::Geographic, b"02139"),
        ("email_domain", Class::Email, b"zofia@mail.example.org"),
    ];
    let text = Type::Text { max: None };
    let masks = columns.map(|(operator, class, value)| {
        let operator = operator.parse().expect("an operator");
        (Mask::compile(class, operator, &text, &keys).expect("suits"), value)
    });
    let row = RowContext::of_patient(2026, b"17");
    let mut out = Vec::with_capacity(1024);
    let (passes, elapsed) = repeat(&mut || {
        for _ in 0..1000 {
            out.clear();
            for (mask, value) in &masks {
                let _ = std::hint::black_box(mask.apply(Format::Text, Some(value), &row, &mut out));
                out.extend_from_slice(std::hint::black_box(value));
            }
        }
    });
    let rate = f64::from(passes) * 1000.0 / elapsed.as_secs_f64() / 1e6;
    println!("rows of 12 columns, 6 masked: {rate:.2} million a second");
}

/// Repeats for two seconds, and returns how often and the processor time it took: what other programs of the machine
/// take does not count.
fn repeat(pass: &mut dyn FnMut()) -> (u32, Duration) {
    let (start, from) = (Instant::now(), processor_time());
    let mut passes = 0;
    while start.elapsed() < RUN {
        pass();
        passes += 1;
    }
    (passes, processor_time() - from)
}

/// The time this thread has run, from Linux; elsewhere the time of the clock.
fn processor_time() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let run = text.split(' ').next().and_then(|run| run.parse().ok());
    run.map_or_else(|| START.elapsed(), Duration::from_nanos)
}
