//! Cases: one type, one operator, one value.

use model::RootKey;

use super::*;
use crate::operator::KeyId;

const TEXT: Type = Type::Text { max: None };

fn keys() -> Keys {
    Keys::derive(&RootKey::new([9; 32]), KeyId::new(3).expect("in range"))
}

fn mask(class: Class, operator: &str, ty: &Type) -> Mask {
    Mask::compile(class, operator.parse().expect("an operator"), ty, &keys()).expect("suits")
}

fn apply(mask: &Mask, format: Format, value: &[u8]) -> Option<Vec<u8>> {
    let row = RowContext::of_patient(2026, b"17");
    let mut out = b"before".to_vec();
    let outcome = mask.apply(format, Some(value), &row, &mut out);
    let out = out.strip_prefix(b"before").expect("only appended").to_vec();
    assert!(out.is_empty() || outcome == Outcome::Masked);
    (outcome == Outcome::Masked).then_some(out)
}

#[track_caller]
fn check(operator: &str, ty: &Type, value: &str, expected: Option<&str>) {
    let operator: Operator = operator.parse().expect("an operator");
    let class = Class::ALL.into_iter().find(|class| operator.suits(*class)).expect("suits some class");
    let mask = Mask::compile(class, operator, ty, &keys()).expect("suits");
    let out = apply(&mask, Format::Text, value.as_bytes());
    assert_eq!(out.map(|out| String::from_utf8(out).expect("utf-8")).as_deref(), expected, "{value}");
}

#[test]
fn partial_shows_only_what_it_should() {
    check("partial(last=4, min=8)", &TEXT, "123-45-6789", Some("****6789"));
    check("partial(first=1, last=1)", &TEXT, "żółwik", Some("ż****k"));
    check("partial(last=4, min=8)", &TEXT, "1234567", Some("****"));
    check("partial(last=4, min=8)", &TEXT, "", Some("****"));
    check("partial(last=4)", &Type::Text { max: Some(6) }, "123456", Some("****"));
    check("partial(last=2)", &Type::Bpchar { length: Some(8) }, "123456  ", Some("****56  "));
}

#[test]
fn generalisations_of_text() {
    check("zip3", &TEXT, "02139-1234", Some("021"));
    check("zip3", &TEXT, "03601", Some("000"));
    check("zip3", &TEXT, "Cambridge", None);
    check("year", &TEXT, "2020-03-15", Some("2020"));
    check("year", &TEXT, "1921-03-15", Some("1936"));
    check("year", &TEXT, "15 March 2020", None);
    check("age", &TEXT, "93", Some("90"));
    check("age", &TEXT, " 41 ", Some("41"));
    check("age", &TEXT, "ninety", None);
    check("email_domain", &TEXT, "zofia@mail.example.org", Some("*@mail.example.org"));
    check("email_domain", &TEXT, "zofia at example", None);
    check("email_domain", &TEXT, "a@b c", None);
    check("email_domain", &TEXT, "call@617-555-0123", None);
    check("ip_prefix", &TEXT, "192.0.2.77", Some("192.0.2.0/24"));
    check("bucket(size=10)", &TEXT, "-7", Some("-10"));
}

#[test]
fn generalisations_of_numbers_dates_and_addresses() {
    check("age", &Type::Int4, "89", Some("89"));
    check("age", &Type::Int2, "104", Some("90"));
    check("age", &Type::Int4, "-41", Some("0"));
    check("age", &Type::Numeric { scale: 1 }, "89.9", Some("89"));
    check("bucket(size=1000)", &Type::Int8, "12345", Some("12000"));
    check("bucket(size=10)", &Type::Int2, "-32768", None);
    check("bucket(size=5)", &Type::Float8, "12.7", Some("10"));
    check("year", &Type::Date, "2020-03-15", Some("2020-01-01"));
    check("year", &Type::Date, "0044-03-15 BC", Some("1936-01-01"));
    check("year", &Type::Date, "infinity", Some("infinity"));
    check("year", &Type::TimestampTz, "2020-01-01 00:30:00+01", Some("2019-01-01 00:00:00+00"));
    check("year", &Type::Date, "03/15/2020", None);
    check("ip_prefix", &Type::Inet, "2001:db8:1:2::7", Some("2001:db8:1::/48"));
    check("year", &Type::Range(Type::Date.into()), "[2020-03-15,)", Some("[2020-01-01,)"));
    check("age", &Type::array_of(23, Type::Int4), "{{41,NULL},{99,x}}", Some("{{41,NULL},{90,NULL}}"));
}

#[test]
fn constants_do_not_depend_on_the_value() {
    let char5 = Type::Bpchar { length: Some(5) };
    let label = Some("unknown".into());
    let columns: Type = Type::Composite([(25, TEXT), (23, Type::Int4), (1, Type::Unknown)].into());
    let cases: [(Type, &str); 20] = [
        (TEXT, "[NAME]"),
        (char5, "***  "),
        (Type::Text { max: Some(2) }, "**"),
        (Type::Bool, "f"),
        (Type::Int8, "0"),
        (Type::Numeric { scale: 2 }, "0.00"),
        (Type::Date, "1900-01-01"),
        (Type::Timestamp, "1900-01-01 00:00:00"),
        (Type::TimestampTz, "1900-01-01 00:00:00+00"),
        (Type::Uuid, "00000000-0000-0000-0000-000000000000"),
        (Type::Inet, "0.0.0.0"),
        (Type::Cidr, "0.0.0.0/32"),
        (Type::Bytea, "\\x"),
        (Type::Jsonb, "{}"),
        (Type::Xml, "<redacted/>"),
        (Type::Bit { length: 3 }, "000"),
        (Type::Enum { label }, "unknown"),
        (Type::array_of(25, TEXT), "{}"),
        (Type::Range(Type::Date.into()), "empty"),
        (columns, "([NAME],0,)"),
    ];
    for (ty, expected) in cases {
        let mask = Mask::redact(Class::Name, &ty);
        assert_eq!(apply(&mask, Format::Text, b"anything"), Some(expected.as_bytes().to_vec()), "{ty}");
        assert_eq!(apply(&mask, Format::Text, b"anything"), apply(&mask, Format::Text, b""), "{ty}");
        assert_eq!(apply(&mask, Format::Binary, b"anything"), apply(&mask, Format::Binary, b""), "{ty}");
    }
    assert_eq!(apply(&Mask::redact(Class::Name, &Type::Unknown), Format::Text, b"x"), None);
    assert_eq!(apply(&Mask::redact(Class::Name, &Type::Enum { label: None }), Format::Text, b"x"), None);
}

#[test]
fn tokens_join_across_types_but_not_across_classes() {
    let text = apply(&mask(Class::Mrn, "token", &TEXT), Format::Text, b"4711").expect("masked");
    assert!(text.starts_with(b"tk3_"));
    assert_eq!(text.len(), 30);
    let short = apply(&mask(Class::Mrn, "token", &Type::Text { max: Some(16) }), Format::Text, b"4711");
    assert_eq!(short.as_deref(), text.get(..16));
    let padded = Type::Bpchar { length: Some(40) };
    let padded = apply(&mask(Class::Mrn, "token", &padded), Format::Text, b"4711      ").expect("masked");
    assert_eq!((padded.len(), padded.trim_ascii_end()), (40, text.as_slice()));
    assert_ne!(apply(&mask(Class::Ssn, "token", &TEXT), Format::Text, b"4711"), Some(text));
    let hash = apply(&mask(Class::Mrn, "hash", &TEXT), Format::Text, b"4711").expect("masked");
    assert_eq!((hash.len(), hash.starts_with(b"h3_")), (67, true));
    let number = apply(&mask(Class::PatientId, "token", &Type::Int8), Format::Text, b"4711").expect("masked");
    let number: i64 = std::str::from_utf8(&number).expect("text").parse().expect("a number");
    assert_eq!(number >> 56, 3);
}

#[test]
fn uuid_and_bytea_tokens_name_their_key() {
    let uuid = mask(Class::PatientId, "token", &Type::Uuid);
    let text = apply(&uuid, Format::Text, b"00112233-4455-6677-8899-aabbccddeeff").expect("masked");
    assert_eq!((text.len(), text.get(..2), text.get(14)), (36, Some(b"03".as_slice()), Some(&b'8')));
    let bytea =
        apply(&mask(Class::Biometric, "token", &Type::Bytea), Format::Binary, b"print").expect("masked");
    assert_eq!((bytea.len(), bytea.first()), (33, Some(&3)));
}

#[test]
fn json_keeps_its_shape_only() {
    let ty = Type::Jsonb;
    let mask = mask(Class::FreeText, "token", &ty);
    let out = apply(&mask, Format::Text, br#"{"n\u0061me": ["Zofia", 41, true, null]}"#).expect("masked");
    let plain = apply(&mask, Format::Text, br#"{"name": ["Zofia", 41, true, null]}"#).expect("masked");
    assert_eq!(out, plain);
    let text = String::from_utf8(out).expect("utf-8");
    assert!(text.ends_with(", false, null]}") && !text.contains("Zofia") && !text.contains("41,"), "{text}");
    assert_eq!(apply(&mask, Format::Binary, b"{}"), None, "no version byte");
    assert_eq!(apply(&mask, Format::Text, b"{"), None);
}

#[test]
fn dates_shift_by_patient() {
    let mask = mask(Class::Date, "date_shift", &Type::Date);
    let shift = |patient: Option<&[u8]>, value: &[u8]| {
        let mut out = Vec::new();
        let row = RowContext { patient, year_now: 2026 };
        let _ = mask.apply(Format::Binary, Some(value), &row, &mut out);
        Some(i32::from_be_bytes(*out.first_chunk()?))
    };
    let (day, later) = (7000_i32.to_be_bytes(), 7100_i32.to_be_bytes());
    let mut seen = std::collections::BTreeSet::new();
    for patient in 0..2000 {
        let patient = patient.to_string();
        let moved = shift(Some(patient.as_bytes()), &day).expect("a date") - 7000;
        assert!(moved != 0 && moved.abs() <= 365);
        assert_eq!(shift(Some(patient.as_bytes()), &later), Some(7100 + moved), "intervals stay");
        seen.insert(moved);
    }
    assert!(seen.len() > 600, "all of the range is used");
    // Without a patient nothing: the true year would tell the days.
    assert_eq!(shift(None, &day), None);
    assert_eq!(shift(Some(b""), &day), None);
}

#[test]
fn format_preserving_keeps_the_form() {
    let mask = mask(Class::Ssn, "format_preserving(min=9)", &TEXT);
    let out = apply(&mask, Format::Text, b"123-45-6789").expect("masked");
    assert_eq!((out.len(), out.get(3), out.get(6)), (11, Some(&b'-'), Some(&b'-')));
    assert_ne!(out, b"123-45-6789");
    for wrong in ["12345678", "12345678x", "ssn", "123-45-678é9"] {
        assert_eq!(apply(&mask, Format::Text, wrong.as_bytes()), None, "{wrong}");
    }
    let alnum = self::mask(Class::HealthPlan, "format_preserving(alphabet=alnum)", &TEXT);
    let out = apply(&alnum, Format::Text, b"1EG4-TE5-MK73").expect("masked");
    assert!(out.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'-'));
    let number = self::mask(Class::PatientId, "format_preserving", &Type::Int4);
    let all: std::collections::BTreeSet<_> =
        (-500_i32..500).map(|n| apply(&number, Format::Binary, &n.to_be_bytes()).expect("masked")).collect();
    assert_eq!(all.len(), 1000);
}

#[test]
fn columns_of_a_composite_have_their_own_masks() {
    let ssn = mask(Class::Ssn, "partial(last=4)", &TEXT);
    let whole = Mask::composite(Class::UniqueCode, vec![None, Some(ssn), None]);
    let out = apply(&whole, Format::Text, b"(7,123-45-6789,\"a b\")").expect("masked");
    assert_eq!(String::from_utf8_lossy(&out), "(7,****6789,\"a b\")");
    assert_eq!(apply(&whole, Format::Text, b"(7,123-45-6789)"), None);
}

#[test]
fn an_unsuitable_operator_is_answered_with_what_suits() {
    let error = |operator: &str, ty: &Type| {
        let operator = operator.parse().expect("an operator");
        Mask::compile(Class::Ssn, operator, ty, &keys()).expect_err("unsuitable").to_string()
    };
    assert_eq!(
        error("token", &Type::Int4),
        "`token` does not suit `ssn` in `int4`; what does: null, redact, format_preserving"
    );
    assert_eq!(
        error("hash", &Type::Unknown),
        "`hash` does not suit `ssn` in `unknown`; what does: null, redact"
    );
    assert!(
        error("token", &Type::Text { max: Some(11) }).contains("null, redact, partial, format_preserving")
    );
    assert!(
        error("bucket(size=10)", &Type::Int4).ends_with("null, redact, format_preserving"),
        "shows too much"
    );
    let date = Mask::compile(Class::Date, Operator::Zip3, &Type::Date, &keys()).expect_err("unsuitable");
    assert!(date.to_string().ends_with("null, redact, date_shift, year"));
    assert!(error("token", &Type::Xml).ends_with("null, redact"));
}

#[test]
fn null_stays_null() {
    let mut out = Vec::new();
    let row = RowContext::new(2026);
    assert_eq!(mask(Class::Name, "redact", &TEXT).apply(Format::Text, None, &row, &mut out), Outcome::Null);
    assert_eq!(
        mask(Class::Name, "null", &TEXT).apply(Format::Text, Some(b"x"), &row, &mut out),
        Outcome::Null
    );
    assert!(out.is_empty());
}
