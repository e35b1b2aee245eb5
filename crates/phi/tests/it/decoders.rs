//! What must hold for any bytes: shared with the fuzz targets, which find the bytes.

use std::sync::LazyLock;

use model::RootKey;
use phi::copy::{Cell, Rewriter, Style};
use phi::detect::{self, Budget, Detector, Features, Scratch, Screened};
use phi::operator::KeyId;
use phi::pgtype::canonical;
use phi::{Class, Format, Keys, Mask, Operator, Outcome, RowContext, Type};

const TEXT: Type = Type::Text { max: None };

pub(crate) static KEYS: LazyLock<Keys> =
    LazyLock::new(|| Keys::derive(&RootKey::new([5; 32]), KeyId::new(1).expect("in range")));

/// Each type, at least once.
pub(crate) fn types() -> Vec<Type> {
    let composite = Type::Composite([(25, TEXT), (23, Type::Int4), (1082, Type::Date)].into());
    vec![
        TEXT,
        Type::Text { max: Some(16) },
        Type::Bpchar { length: Some(20) },
        Type::Name,
        Type::Char,
        Type::Bool,
        Type::Int2,
        Type::Int4,
        Type::Int8,
        Type::Oid,
        Type::Float4,
        Type::Float8,
        Type::Numeric { scale: 2 },
        Type::Bytea,
        Type::Date,
        Type::Time,
        Type::TimeTz,
        Type::Timestamp,
        Type::TimestampTz,
        Type::Interval,
        Type::Uuid,
        Type::Inet,
        Type::Cidr,
        Type::Macaddr,
        Type::Macaddr8,
        Type::Json,
        Type::Jsonb,
        Type::Xml,
        Type::Bit { length: 9 },
        Type::Varbit,
        Type::Enum { label: Some("other".into()) },
        Type::Hstore,
        Type::array_of(25, TEXT),
        Type::array_of(23, Type::Int4),
        Type::array_of(3912, Type::Range(Type::Date.into())),
        composite.clone(),
        Type::array_of(99_999, composite),
        Type::Range(Type::Date.into()),
        Type::Range(Type::Int4.into()),
        Type::Multirange(Type::TimestampTz.into()),
        Type::Unknown,
    ]
}

/// A class that the operator suits.
pub(crate) fn class(operator: Operator) -> Class {
    let classes = [Class::Mrn, Class::Date, Class::Geographic, Class::Age, Class::Email, Class::Ip];
    classes.into_iter().find(|class| operator.suits(*class)).expect("one of them")
}

/// Each operator.
pub(crate) fn operators() -> impl Iterator<Item = Operator> {
    [
        "null",
        "redact",
        "partial(first=1, last=2)",
        "token",
        "hash",
        "format_preserving",
        "format_preserving(alphabet=alnum)",
        "date_shift",
        "year",
        "zip3",
        "age",
        "bucket(size=7)",
        "email_domain",
        "ip_prefix",
    ]
    .into_iter()
    .map(|text| text.parse().expect("an operator"))
}

/// The first byte chooses the type, the second the format; every operator that suits is applied.
pub(crate) fn value(bytes: &[u8]) {
    let [choice, format, value @ ..] = bytes else { return };
    let types = types();
    let ty = &types[usize::from(*choice) % types.len()];
    let format = if format % 2 == 0 { Format::Text } else { Format::Binary };
    for operator in operators() {
        let Ok(mask) = Mask::compile(class(operator), operator, ty, &KEYS) else { continue };
        for row in [RowContext::new(2026), RowContext::of_patient(2026, b"7")] {
            masked(&mask, ty, format, value, &row);
        }
    }
}

fn masked(mask: &Mask, ty: &Type, format: Format, value: &[u8], row: &RowContext<'_>) {
    let mut out = b"before".to_vec();
    let outcome = mask.apply(format, Some(value), row, &mut out);
    let shown = out.strip_prefix(b"before").expect("only appended").to_vec();
    let mut again = Vec::new();
    assert_eq!(mask.apply(format, Some(value), row, &mut again), outcome);
    assert_eq!(again, shown, "one value, one mask");
    if outcome == Outcome::Null {
        assert!(shown.is_empty());
        return;
    }
    if mask.operator() == Operator::Redact {
        let mut other = Vec::new();
        assert_eq!(mask.apply(format, Some(b"something else"), row, &mut other), Outcome::Masked);
        assert_eq!(other, shown, "a constant");
    }
    // Whatever has a canonical form still has one: the type is kept. A year or a float is cut to what was shown.
    let formless = canonical(ty, format, value, &mut Vec::new()).is_none();
    assert!(formless || canonical(ty, format, &shown, &mut Vec::new()).is_some(), "{ty} {mask:?}");
    if let Type::Text { max: Some(max) } | Type::Bpchar { length: Some(max) } = ty {
        let count = String::from_utf8_lossy(&shown).chars().count();
        assert!(count <= usize::try_from(*max).expect("small"), "{count} characters");
    }
}

/// The first byte chooses the style, the second the columns, the third where the stream is split.
pub(crate) fn copy(bytes: &[u8]) {
    let [choice, columns, split, stream @ ..] = bytes else { return };
    let style = match choice % 4 {
        0 => Style::text(),
        1 => Style::csv(),
        2 => Style::Csv { delimiter: b';', null: b"NA".to_vec(), quote: b'\'', escape: b'\\' },
        _ => Style::Binary,
    };
    let columns = usize::from(columns % 5);
    let rewriter = || Rewriter::new(style.clone(), columns, false, 1 << 12).expect("options");
    let mut keep = |_: &phi::copy::Row<'_>, _: usize, _: &mut Vec<u8>| Cell::Keep;

    let (mut whole, mut kept) = (rewriter(), Vec::new());
    let result = whole.feed(stream, &mut kept, &mut keep);
    if result.is_ok() {
        assert!(stream.starts_with(&kept), "what is kept goes out as it came");
        let (head, tail) = stream.split_at(usize::from(*split).min(stream.len()));
        let (mut parts, mut apart) = (rewriter(), Vec::new());
        let rows = parts.feed(head, &mut apart, &mut keep).expect("the start of a sound stream")
            + parts.feed(tail, &mut apart, &mut keep).expect("the rest of it");
        assert_eq!((Ok(rows), apart), (result, kept), "however it is split");
    }

    let (mut first, mut second) = (Vec::new(), Vec::new());
    let mut out = Vec::new();
    let _ = rewriter().feed(stream, &mut out, &mut copying(&mut first));
    let written = out.clone();
    out.clear();
    let again = rewriter().feed(&written, &mut out, &mut copying(&mut second));
    if result.is_ok() {
        assert!(again.is_ok(), "what was written can be read");
        assert_eq!(first, second, "and is the same");
    }
}

/// Writes each cell anew, and notes what it was.
fn copying(
    seen: &mut Vec<Option<Vec<u8>>>,
) -> impl FnMut(&phi::copy::Row<'_>, usize, &mut Vec<u8>) -> Cell + '_ {
    |row, column, out| {
        let cell = row.cell(column);
        seen.push(cell.map(<[u8]>::to_vec));
        match cell {
            Some(cell) => {
                out.extend_from_slice(cell);
                Cell::Masked
            }
            None => Cell::Null,
        }
    }
}

/// Any bytes as a text, and as a cell of every type.
pub(crate) fn detect(bytes: &[u8]) {
    let detector = Detector::default();
    let mut scratch = Scratch::default();
    let mut budget = Budget::new(1 << 20);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let spans =
            detector.find(text, &Features::none(), &mut budget, &mut scratch).expect("a large budget");
        let mut end = 0;
        for span in spans {
            assert!(span.start >= end && span.end > span.start, "in order and apart");
            assert!(text.get(span.start..span.end).is_some(), "between characters");
            assert!(span.confidence >= detect::THRESHOLD && span.confidence <= 100);
            end = span.end;
        }
        let mut out = Vec::new();
        detect::redact_spans(text, spans, &mut out);
        assert!(std::str::from_utf8(&out).is_ok());
    }
    for ty in types() {
        for format in [Format::Text, Format::Binary] {
            let cell = detect::Cell { ty: &ty, format, value: bytes };
            let mut out = b"before".to_vec();
            let features = Features::of("patients", "name");
            let screened = detector.screen(cell, &features, &mut budget, &mut scratch, &mut out);
            let out = out.strip_prefix(b"before").expect("only appended");
            assert!(screened == Screened::Masked || out.is_empty());
        }
    }
}
