//! Cases: a text, and what is found in it.

use super::*;
use crate::{Format, Type};

fn find(text: &str) -> Vec<(Class, String)> {
    let mut scratch = Scratch::default();
    let spans = Detector::default()
        .find(text, &Features::none(), &mut Budget::new(1 << 20), &mut scratch)
        .expect("a large budget");
    spans.iter().map(|span| (span.class, text[span.start..span.end].to_owned())).collect()
}

#[track_caller]
fn check(text: &str, expected: &[(Class, &str)]) {
    let found = find(text);
    let found: Vec<_> = found.iter().map(|(class, shown)| (*class, shown.as_str())).collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn numbers_with_rules() {
    check("SSN 123-45-6789.", &[(Class::Ssn, "123-45-6789")]);
    check("ID 999-12-3456", &[(Class::Ssn, "999-12-3456")]);
    check("social security number: 123456789", &[(Class::Ssn, "123456789")]);
    check("card 4111 1111 1111 1111 exp", &[(Class::Account, "4111 1111 1111 1111")]);
    check("Call (617) 555-0123 ext 44 today", &[(Class::Phone, "(617) 555-0123 ext 44")]);
    check("tel. 617.555.0123", &[(Class::Phone, "617.555.0123")]);
    check("fax: 617-555-0123", &[(Class::Fax, "617-555-0123")]);
    check("reach at +44 20 7946 0018.", &[(Class::Phone, "+44 20 7946 0018")]);
    check("NPI 1234567893", &[(Class::Licence, "1234567893")]);
    check("DEA AB1234563", &[(Class::Licence, "AB1234563")]);
    check("Medicare 1EG4-TE5-MK73", &[(Class::HealthPlan, "1EG4-TE5-MK73")]);
    check("routing 021000021", &[(Class::Account, "021000021")]);
    check("VIN 1HGCM82633A004352", &[(Class::Vehicle, "1HGCM82633A004352")]);
    check("plate ABC 1234", &[(Class::Vehicle, "ABC 1234")]);
    check("(01)00643169001763(21)A123", &[(Class::Device, "(01)00643169001763(21)A123")]);
    check("from 192.0.2.77, then", &[(Class::Ip, "192.0.2.77")]);
    check("host 2001:db8::7 up", &[(Class::Ip, "2001:db8::7")]);
    check("mac 00:1b:44:11:3a:b7", &[(Class::Device, "00:1b:44:11:3a:b7")]);
}

#[test]
fn codes_that_words_announce() {
    check("MRN: 4471123", &[(Class::Mrn, "4471123")]);
    check("medical record number 00-12-34", &[(Class::Mrn, "00-12-34")]);
    check("MRN#A12345", &[(Class::Mrn, "A12345")]);
    check("policy no. XJ-4471-22", &[(Class::HealthPlan, "XJ-4471-22")]);
    check("account number 88123", &[(Class::Account, "88123")]);
    check("driver's license S1234567", &[(Class::Licence, "S1234567")]);
    check("pacemaker serial number PJN-204417", &[(Class::Device, "PJN-204417")]);
    check("encounter #55120", &[(Class::UniqueCode, "55120")]);
    check("fingerprint ID F3-9921-07", &[(Class::Biometric, "F3-9921-07")]);
    check("iris 66021-4B", &[(Class::Biometric, "66021-4B")]);
    check("face photo IMG_20240311_0042", &[(Class::Photo, "IMG_20240311_0042")]);
    check("photos of 3 wounds, iris intact, retinal exam in 6 months", &[]);
    check("license plate 3HY N22", &[(Class::Vehicle, "3HY N22")]);
    check("plate 646 PCS noted", &[(Class::Vehicle, "646 PCS")]);
    check("the record of 5 visits", &[]);
    let site = Detector::with_record_numbers(vec!["@@-####".parse().expect("a form")]);
    let mut scratch = Scratch::default();
    let mut budget = Budget::new(1000);
    let spans = site.find("see XY-1234 and XY-12345", &Features::none(), &mut budget, &mut scratch);
    let mrn = spans.expect("enough").iter().filter(|span| span.class == Class::Mrn).count();
    assert_eq!(mrn, 1);
    assert_eq!("####".parse::<Pattern>().map(|_| ()), Ok(()));
    assert_eq!("@@@".parse::<Pattern>(), Err(PatternError));
}

#[test]
fn dates_and_ages() {
    for text in [
        "2020-03-15",
        "3/15/2020",
        "15.03.2020",
        "3/15/20",
        "March 15, 2020",
        "Mar 15th",
        "March 2020",
        "15 March 2020",
        "15-Mar-2020",
        "3rd of March",
        "20200315",
        "15MAR2020",
        "03/2020",
        "Sept. 3, 2019",
    ] {
        check(&format!("It was {text} then"), &[(Class::Date, text)]);
    }
    check("2020-03-15T10:15:00Z", &[(Class::Date, "2020-03-15T10")]);
    check("seen on 3/14 again", &[(Class::Date, "3/14")]);
    check("strength 4/5, BP 120/80, in 2019", &[]);
    check("version 1.2.3", &[]);
    check("a 93-year-old man", &[(Class::Age, "93")]);
    check("aged 91, 95yo, 101 y/o", &[(Class::Age, "91"), (Class::Age, "95yo"), (Class::Age, "101")]);
    check("a 45 year old, pulse 98, 90 mg", &[]);
    check("ninety-three-year-old", &[(Class::Age, "ninety-three-")]);
}

#[test]
fn networks() {
    check("mail z.nowak+x@mail.example.org.", &[(Class::Email, "z.nowak+x@mail.example.org")]);
    check("see https://portal.example.org/p?id=7, and", &[(Class::Url, "https://portal.example.org/p?id=7")]);
    check("www.example.org/zofia.", &[(Class::Url, "www.example.org/zofia")]);
    check("at 10:15:30 today", &[]);
}

#[test]
fn places() {
    check(
        "at 8813 Logan Plaza, Pottershire, 58316.",
        &[(Class::Geographic, "8813 Logan Plaza, Pottershire, 58316")],
    );
    check("seen at 28594 Roger Crossroad", &[(Class::Geographic, "28594 Roger Crossroad")]);
    check(
        "lives at 12 Elm Grove St., Apt 4B, Springfield, IL 62704 now",
        &[(Class::Geographic, "12 Elm Grove St., Apt 4B, Springfield, IL 62704")],
    );
    check("moved from Xanthopolis in May", &[(Class::Geographic, "Xanthopolis")]);
    check("P.O. Box 112", &[(Class::Geographic, "P.O. Box 112")]);
    check("ZIP 02139-1234", &[(Class::Geographic, "02139-1234")]);
    check("a clinic in Boston", &[(Class::Geographic, "Boston")]);
    check("from Ohio", &[]);
    check("took 2 tablets daily", &[]);
}

#[test]
fn names() {
    check("Mr. Qvist was seen by Dr. Ana Ruiz, MD.", &[(Class::Name, "Qvist"), (Class::Name, "Ana Ruiz")]);
    check("Patient: Nowak, Zofia", &[(Class::Name, "Nowak, Zofia")]);
    check("Her daughter Anneli called.", &[(Class::Name, "Anneli")]);
    check("We met Zbyszek Wrona. Wrona agreed.", &[(Class::Name, "Zbyszek Wrona"), (Class::Name, "Wrona")]);
    check("Maria denies pain.", &[(Class::Name, "Maria")]);
    check("mr. garcia", &[(Class::Name, "garcia")]);
    check("Foley catheter for Hodgkin lymphoma, Parkinson's disease.", &[]);
    check("Continue Metoprolol and Lisinopril. Chief Complaint: Chest pain.", &[]);
    check("CHF, COPD. ASSESSMENT AND PLAN:", &[]);
    check("Will follow up in May.", &[]);
    for text in [
        "Encounter for problem (procedure)",
        "24 HR Metformin hydrochloride 500 MG Extended Release Oral Tablet",
        "Blue Cross Blue Shield",
        "Hep B, adolescent or pediatric",
        "Non-Hispanic White",
        "America/New_York",
        "PostgreSQL 15.3 on x86_64-pc-linux-gnu",
        "Positive for SARS-CoV-2 RNA",
        "Massachusetts General Hospital",
    ] {
        check(text, &[]);
    }
}

#[test]
fn encodings_are_opened() {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let once = encode("SSN 123-45-6789");
    check(&format!("x {once} y"), &[(Class::Ssn, &once)]);
    let twice = encode(&format!("x {once} y"));
    check(&twice, &[(Class::Ssn, &twice)]);
    let thrice = encode(&twice);
    check(&thrice, &[(Class::FreeText, &thrice)]);
    let mut hex = Vec::new();
    crate::pgtype::plain::write_hex(b"call 617-555-0123", &mut hex);
    let hex = String::from_utf8(hex).expect("ascii");
    check(&hex, &[(Class::Phone, &hex)]);
    check("electroencephalography immunosuppression", &[]);
}

#[test]
fn a_spent_budget_masks_the_cell() {
    let detector = Detector::default();
    let mut scratch = Scratch::default();
    let mut budget = Budget::new(10);
    let text = "nothing to see here";
    assert_eq!(detector.find(text, &Features::none(), &mut budget, &mut scratch), Err(Exhausted));
    assert_eq!(
        detector.find("x", &Features::none(), &mut budget, &mut scratch),
        Err(Exhausted),
        "and stays spent"
    );
    let cell = Cell { ty: &Type::Text { max: None }, format: Format::Text, value: text.as_bytes() };
    let mut out = Vec::new();
    let screened = detector.screen(cell, &Features::none(), &mut budget, &mut scratch, &mut out);
    assert_eq!((screened, out.as_slice()), (Screened::Masked, b"[REDACTED]".as_slice()));
}

#[track_caller]
fn check_cell(ty: &Type, format: Format, value: &[u8], screened: Screened, expected: &[u8]) {
    let mut out = b"before".to_vec();
    let cell = Cell { ty, format, value };
    let mut scratch = Scratch::default();
    let found = Detector::default().screen(
        cell,
        &Features::none(),
        &mut Budget::new(1 << 20),
        &mut scratch,
        &mut out,
    );
    let shown = String::from_utf8_lossy(&out).into_owned();
    assert_eq!((found, out.strip_prefix(b"before")), (screened, Some(expected)), "{shown}");
}

#[test]
fn cells_of_many_types() {
    let text = Type::Text { max: None };
    check_cell(&text, Format::Text, b"stable", Screened::Clean, b"");
    check_cell(&text, Format::Text, b"call 617-555-0123", Screened::Masked, b"call [PHONE]");
    check_cell(&text, Format::Text, b"\xff", Screened::Masked, b"[REDACTED]");
    check_cell(&Type::Text { max: Some(6) }, Format::Text, b"a@b.co", Screened::Masked, b"***");
    check_cell(&Type::Int4, Format::Text, b"1234567893", Screened::Clean, b"");
    check_cell(&Type::Unknown, Format::Text, b"x", Screened::Null, b"");
    let doc = br#"{"a": ["call 617-555-0123", 7], "ssn": 123456789, "first_name": "Xi"}"#;
    let masked = br#"{"a": ["call [PHONE]", 7], "ssn": 0, "first_name": "[NAME]"}"#;
    check_cell(&Type::Json, Format::Text, doc, Screened::Masked, masked);
    check_cell(&text, Format::Text, doc, Screened::Masked, masked);
    check_cell(&Type::Jsonb, Format::Binary, b"\x01{\"a\": 1}", Screened::Clean, b"");
    check_cell(&Type::Jsonb, Format::Binary, b"\x01[\"a@b.org\"]", Screened::Masked, b"\x01[\"[EMAIL]\"]");
    check_cell(&Type::Json, Format::Text, b"{", Screened::Masked, b"{}");
    check_cell(&Type::Xml, Format::Text, b"<p>a@b.org</p>", Screened::Masked, b"<p>[EMAIL]</p>");
    check_cell(&Type::Xml, Format::Text, b"<p>&#74;ohn</p>", Screened::Masked, b"<redacted/>");
    let array = Type::array_of(25, text.clone());
    check_cell(&array, Format::Text, b"{a,\"call 617-555-0123\"}", Screened::Masked, b"{a,\"call [PHONE]\"}");
    check_cell(
        &Type::Composite([(25, text)].into()),
        Format::Text,
        b"(a@b.org)",
        Screened::Masked,
        b"([EMAIL])",
    );
    check_cell(&Type::Bytea, Format::Binary, b"a@b.org", Screened::Masked, b"");
    check_cell(&Type::Bytea, Format::Binary, b"\xff\xd8", Screened::Clean, b"");
}

#[test]
fn a_columns_name_raises_suspicion() {
    let mut scratch = Scratch::default();
    let mut found = |table: &str, column: &str, text: &str| {
        let features = Features::of(table, column);
        let spans = Detector::default().find(text, &features, &mut Budget::new(1000), &mut scratch);
        spans.expect("enough").first().map(|span| span.class)
    };
    assert_eq!(found("patients", "name", "xi"), Some(Class::Name));
    assert_eq!(found("t", "home_phone", "5550123"), Some(Class::Phone));
    assert_eq!(found("t", "result", "5550"), None);
}

/// Each pattern, repeated, would take minutes if anything were read again from each repetition.
#[test]
fn time_is_linear_in_the_text() {
    let patterns = [
        "a://",
        "www.",
        ".:",
        "a@",
        "@",
        "1-1/",
        "(01)1",
        "(01)00643169001763",
        "A.",
        "1 A.",
        "A-",
        "Zofia ",
        "Zofia, ",
        "MRN ",
        "MRN: ",
        "van ",
        "A van ",
        "1.1.",
        "+1 ",
        "a'",
        "é'",
        "ʼ",
        "12/",
        "ninety ",
        "in ",
        "lives in ",
        "St ",
        "1 St ",
        "{",
        "[1,",
        "QUJD",
        "QUJD/",
        "0",
        "A1",
        "&#",
        "Springfield, ",
        "Mr. ",
        "\"",
        "::",
        "1:",
    ];
    for pattern in patterns {
        let text = pattern.repeat(120_000 / pattern.len());
        let found = find(&text);
        assert!(found.len() <= text.len());
    }
}
