//! Properties of the masks over generated values.

use base64::Engine as _;
use phi::pgtype::canonical;
use phi::{Class, Format, Mask, Outcome, RowContext, Type};
use proptest::prelude::*;

use crate::decoders::{KEYS, class, operators, types};

const TEXT: Type = Type::Text { max: None };

fn mask(operator: &str, ty: &Type) -> Mask {
    let operator = operator.parse().expect("an operator");
    Mask::compile(class(operator), operator, ty, &KEYS).expect("suits")
}

fn apply(mask: &Mask, format: Format, value: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let outcome = mask.apply(format, Some(value), &RowContext::of_patient(2026, b"7"), &mut out);
    (outcome == Outcome::Masked).then_some(out)
}

/// Every transform of a canary that must not be in what a masked person sees.
fn transforms(canary: &str) -> Vec<(&'static str, String)> {
    let digits: String = canary.chars().filter(char::is_ascii_digit).collect();
    let hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
    let base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(canary);
    vec![
        ("itself", canary.to_owned()),
        ("reversed", canary.chars().rev().collect()),
        ("digits", digits),
        ("hex", hex),
        // The last characters depend on what follows.
        ("base64", base64[..base64.len() - 2].to_owned()),
        ("half", canary[..canary.len() / 2].to_owned()),
    ]
}

fn assert_hidden(canary: &str, out: &[u8], context: &str) {
    let shown = String::from_utf8_lossy(out).to_lowercase();
    let bare: String = shown.chars().filter(char::is_ascii_alphanumeric).collect();
    for (name, transform) in transforms(canary) {
        let transform = transform.to_lowercase();
        assert!(!shown.contains(&transform), "{context}: {name} in {shown}");
        // Per character: with anything between.
        assert!(!bare.contains(&transform), "{context}: {name}, spread out, in {shown}");
    }
    // A binary form may hold digits as a number.
    let digits: String = canary.chars().filter(char::is_ascii_digit).collect();
    if let Ok(number) = digits.parse::<i64>() {
        let bytes = number.to_be_bytes();
        let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count().min(4)..];
        assert!(
            !out.windows(significant.len()).any(|window| window == significant),
            "{context}: as a number"
        );
    }
}

/// A canary as a value of a type, in a format.
fn hidden_in(ty: &Type, format: Format, canary: &str) -> Vec<u8> {
    let digits: String = canary.chars().filter(char::is_ascii_digit).collect();
    match (ty, format) {
        (Type::Json, _) | (Type::Jsonb, Format::Text) => {
            format!("{{\"{canary}\": [\"x {canary}\", {digits}]}}").into_bytes()
        }
        (Type::Jsonb, Format::Binary) => format!("\u{1}{{\"k\": \"{canary}\"}}").into_bytes(),
        (Type::Int8, Format::Text) => digits.into_bytes(),
        (Type::Int8, Format::Binary) => digits.parse::<i64>().expect("fits").to_be_bytes().to_vec(),
        (Type::Array { .. }, Format::Text) => format!("{{{canary},\"a {canary}\",NULL}}").into_bytes(),
        (Type::Array { .. }, Format::Binary) => {
            let mut out = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 25, 0, 0, 0, 1, 0, 0, 0, 1];
            out.extend(u32::try_from(canary.len()).expect("short").to_be_bytes());
            out.extend(canary.bytes());
            out
        }
        (Type::Composite(_), Format::Text) => format!("({canary},{},2020-01-01)", &digits[..6]).into_bytes(),
        (Type::Bytea, Format::Text) => {
            let hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
            format!("\\x{hex}").into_bytes()
        }
        _ => canary.as_bytes().to_vec(),
    }
}

/// Letters that no constant, token prefix or placeholder is made of in that order, and at least ten digits.
fn canary() -> impl Strategy<Value = String> {
    ("[A-Z][a-z]{3}[A-Z][a-z]{2}", "[1-9][0-9]{11}").prop_map(|(letters, digits)| letters + &digits)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn null_redact_token_and_hash_hide_every_transform(canary in canary()) {
        for ty in types() {
            for operator in ["null", "redact", "token", "hash"] {
                let parsed = operator.parse().expect("an operator");
                let Ok(mask) = Mask::compile(Class::Mrn, parsed, &ty, &KEYS) else { continue };
                for format in [Format::Text, Format::Binary] {
                    let value = hidden_in(&ty, format, &canary);
                    if let Some(out) = apply(&mask, format, &value) {
                        assert_hidden(&canary, &out, &format!("{operator} on {ty} in {format:?}"));
                    }
                }
            }
        }
    }

    #[test]
    fn whatever_does_not_decode_is_never_passed(bytes in proptest::collection::vec(any::<u8>(), 8..40)) {
        for ty in types() {
            for operator in operators() {
                let Ok(mask) = Mask::compile(class(operator), operator, &ty, &KEYS) else { continue };
                for format in [Format::Text, Format::Binary] {
                    let out = apply(&mask, format, &bytes);
                    // Eight random bytes are some number in binary, and a rare one is its own bucket or age.
                    let number = bytes.len() <= 16 && matches!(ty, Type::Int8 | Type::Float8 | Type::Numeric { .. } | Type::Date | Type::Timestamp | Type::TimestampTz);
                    prop_assert!(number || out.as_deref() != Some(bytes.as_slice()), "{operator} on {ty}");
                }
            }
        }
    }

    #[test]
    fn partial_shows_what_it_should_and_nothing_else(text in "\\PC{0,20}", first in 0_u16..3, last in 1_u16..4) {
        let mask = mask(&format!("partial(first={first}, last={last})"), &TEXT);
        let out = apply(&mask, Format::Text, text.as_bytes()).expect("masked");
        let characters: Vec<char> = text.chars().collect();
        let (first, last) = (usize::from(first), usize::from(last));
        let expected: String = if characters.len() < first + last + 4 {
            "****".to_owned()
        } else {
            let shown = characters[..first].iter().copied().chain("****".chars());
            shown.chain(characters[characters.len() - last..].iter().copied()).collect()
        };
        prop_assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn whole_numbers_mask_alike_in_both_formats(number in any::<i32>(), small in any::<i16>()) {
        let cases = [
            (Type::Int4, number.to_string(), number.to_be_bytes().to_vec()),
            (Type::Int2, small.to_string(), small.to_be_bytes().to_vec()),
            (Type::Int8, number.to_string(), i64::from(number).to_be_bytes().to_vec()),
            (Type::Float8, number.to_string(), f64::from(number).to_be_bytes().to_vec()),
        ];
        for (ty, text, binary) in cases {
            both(&ty, text.as_bytes(), &binary)?;
        }
        let array = |cell: [u8; 4]| {
            let mut out = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 4];
            out.extend(cell);
            out
        };
        for operator in ["age", "bucket(size=7)", "format_preserving"] {
            let mask = mask(operator, &Type::array_of(23, Type::Int4));
            let text = apply(&mask, Format::Text, format!("{{{number}}}").as_bytes()).expect("masked");
            let binary = apply(&mask, Format::Binary, &array(number.to_be_bytes())).expect("masked");
            let cell = text.strip_prefix(b"{").and_then(|text| text.strip_suffix(b"}")).expect("an array");
            let number = std::str::from_utf8(cell).ok().and_then(|cell| cell.parse::<i32>().ok());
            match number {
                Some(number) => prop_assert_eq!(&binary, &array(number.to_be_bytes())),
                // A bucket below the smallest number is NULL in both.
                None => prop_assert!(cell == b"NULL" && binary.ends_with(&[0xff; 4])),
            }
        }
    }

    #[test]
    fn dates_mask_alike_in_both_formats(year in 1_i32..3000, month in 1_u32..13, day in 1_u32..29, micros in 0_i64..86_400_000_000) {
        let days = days_from_2000(year, month, day);
        let date = format!("{year:04}-{month:02}-{day:02}");
        both(&Type::Date, date.as_bytes(), &days.to_be_bytes())?;
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        let clock = format!("{:02}:{:02}:{:02}.{fraction:06}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        let stamp = (i64::from(days) * 86_400_000_000 + micros).to_be_bytes();
        both(&Type::Timestamp, format!("{date} {clock}").as_bytes(), &stamp)?;
        let east = (i64::from(days) * 86_400_000_000 + micros - 19_800_000_000).to_be_bytes();
        both(&Type::TimestampTz, format!("{date} {clock}+05:30").as_bytes(), &east)?;
    }

    #[test]
    fn uuids_and_addresses_mask_alike_in_both_formats(bytes in any::<[u8; 16]>(), v4 in any::<[u8; 4]>()) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let uuid = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        both(&Type::Uuid, uuid.as_bytes(), &bytes)?;
        let address = std::net::Ipv4Addr::from(v4);
        let binary: Vec<u8> = [2, 32, 0, 4].into_iter().chain(v4).collect();
        both(&Type::Inet, address.to_string().as_bytes(), &binary)?;
        let address = std::net::Ipv6Addr::from(bytes);
        let binary: Vec<u8> = [3, 128, 0, 16].into_iter().chain(bytes).collect();
        both(&Type::Inet, address.to_string().as_bytes(), &binary)?;
        both(&Type::Bytea, format!("\\x{hex}").as_bytes(), &bytes)?;
    }

    #[test]
    fn any_value_is_decoded_safely(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        for choice in 0..41_u8 {
            for format in 0..2 {
                crate::decoders::value(&[&[choice, format], bytes.as_slice()].concat());
            }
        }
        for choice in 0..4_u8 {
            crate::decoders::copy(&[&[choice], bytes.as_slice()].concat());
        }
    }

    #[test]
    fn any_text_is_searched_safely(text in "[A-Za-z0-9@:./+()#\\-' \n,é—]{0,80}") {
        crate::decoders::detect(text.as_bytes());
    }
}

/// Each operator makes the same of a value's text and of its binary form.
fn both(ty: &Type, text: &[u8], binary: &[u8]) -> Result<(), TestCaseError> {
    for operator in operators() {
        let Ok(mask) = Mask::compile(class(operator), operator, ty, &KEYS) else { continue };
        let form = |format, value: &[u8]| {
            apply(&mask, format, value).map(|out| {
                let mut form = Vec::new();
                // Floats have no canonical form; after these operators they are whole numbers.
                match (ty, format) {
                    (Type::Float8, Format::Binary) => {
                        let number = f64::from_be_bytes(out.try_into().expect("eight bytes"));
                        form = number.to_string().into_bytes();
                    }
                    (Type::Float8, Format::Text) => form = out,
                    _ => canonical(ty, format, &out, &mut form).expect("a value of the type"),
                }
                form
            })
        };
        let (of_text, of_binary) = (form(Format::Text, text), form(Format::Binary, binary));
        prop_assert_eq!(of_text, of_binary, "{} on {} of {}", operator, ty, String::from_utf8_lossy(text));
    }
    Ok(())
}

/// Counted month by month, as a second opinion.
fn days_from_2000(year: i32, month: u32, day: u32) -> i32 {
    let leap = |year: i32| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = |year: i32| if leap(year) { 366 } else { 365 };
    let years: i32 =
        if year >= 2000 { (2000..year).map(length).sum() } else { -(year..2000).map(length).sum::<i32>() };
    let february = if leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let whole: i32 = months.iter().take(usize::try_from(month).expect("small") - 1).sum();
    years + whole + i32::try_from(day).expect("small") - 1
}
