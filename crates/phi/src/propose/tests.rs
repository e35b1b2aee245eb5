//! What is proposed for columns by their names, types and samples.

use super::*;

fn column(name: &str, type_name: &str, ty: Type) -> Column {
    Column {
        name: name.into(),
        type_name: type_name.into(),
        ty,
        domain: false,
        key: false,
        serial: false,
        computed: false,
        inherited: false,
        references: Vec::new(),
        tally: None,
    }
}

fn table(name: &str, columns: Vec<Column>) -> Table {
    Table { schema: "public".into(), name: name.into(), source: Source::Table, columns }
}

fn text() -> Type {
    Type::Text { max: None }
}

fn sampled<'v>(column: Column, values: impl IntoIterator<Item = &'v str>) -> Column {
    let (mut sampler, mut tally) = (Sampler::default(), Tally::default());
    values.into_iter().for_each(|value| sampler.count(&mut tally, value));
    Column { tally: Some(tally), ..column }
}

/// Returns what is proposed for the only column of a table, and why.
fn one(table_name: &str, column: Column) -> (Proposal, String) {
    let mut proposed = propose(&[table(table_name, vec![column])]);
    let one = proposed.remove(0).remove(0);
    (one.proposal, one.reason)
}

#[track_caller]
fn check(table: &str, name: &str, ty: Type, class: Option<Class>) {
    let (proposal, reason) = one(table, column(name, "", ty));
    let proposed = match proposal {
        Proposal::Protected { class, operator, .. } => {
            assert!(operator.suits(class), "{operator} {class}");
            Some(class)
        }
        Proposal::Clean | Proposal::Undecided | Proposal::Follows => None,
    };
    assert_eq!(proposed, class, "{table}.{name}: {proposal:?} {reason}");
}

#[test]
fn names_of_the_field() {
    let cases = [
        ("ssn", Class::Ssn),
        ("patient_ssn", Class::Ssn),
        ("SocialSecurityNumber", Class::Ssn),
        ("mrn", Class::Mrn),
        ("medical_record_no", Class::Mrn),
        ("home_phone2", Class::Phone),
        ("faxNumber", Class::Fax),
        ("e_mail", Class::Email),
        ("firstName", Class::Name),
        ("lname", Class::Name),
        ("mothers_maiden_name", Class::Name),
        ("emergency_contact_name", Class::Name),
        ("addr1", Class::Geographic),
        ("zip", Class::Geographic),
        ("birth_date", Class::Date),
        ("dob", Class::Date),
        ("member_id", Class::HealthPlan),
        ("account_number", Class::Account),
        ("npi", Class::Licence),
        ("vin", Class::Vehicle),
        ("device_serial", Class::Device),
        ("homepage", Class::Url),
        ("remote_ip", Class::Ip),
        ("progress_note", Class::FreeText),
        ("login", Class::UniqueCode),
    ];
    for (name, class) in cases {
        check("things", name, text(), Some(class));
    }
    check("patients", "name", text(), Some(Class::Name));
    check("departments", "name", text(), None);
    check("things", "age", Type::Int4, Some(Class::Age));
    check("things", "photo", Type::Bytea, Some(Class::Photo));
    check("things", "payload", Type::Jsonb, Some(Class::FreeText));
    check("things", "seen_from", Type::Inet, Some(Class::Ip));
}

#[test]
fn a_type_that_cannot_hold_it_is_not_what_its_name_says() {
    assert_eq!(one("things", column("has_phone", "boolean", Type::Bool)).0, Proposal::Clean);
    let label = Type::Enum { label: None };
    assert_eq!(one("things", column("address_kind", "kinds", label)).0, Proposal::Clean);
    // A number is no name, and a number of which nothing is known is not clean either.
    assert_eq!(one("things", column("doctor", "int4", Type::Int4)).0, Proposal::Undecided);
}

#[test]
fn the_sample_speaks_where_the_name_does_not() {
    let ssns = ["412-83-4756", "447-16-2038", "485-27-6149", "503-62-7715", "526-95-0834"];
    let (proposal, reason) = one("things", sampled(column("code", "text", text()), ssns));
    assert!(matches!(proposal, Proposal::Protected { class: Class::Ssn, .. }), "{proposal:?}");
    assert_eq!(reason, "5 of 5 sampled look like ssn");
    let mails = ["a.miller@example.org", "x@example.com", "unknown"];
    let (proposal, _) = one("things", sampled(column("value1", "text", text()), mails));
    assert!(matches!(proposal, Proposal::Protected { class: Class::Email, .. }), "{proposal:?}");
    let few = ["low", "high", "low", "low", "high", "412-83-4756"];
    let (proposal, reason) = one("things", sampled(column("urgency", "text", text()), few));
    assert_eq!((proposal, reason.as_str()), (Proposal::Undecided, "identifiers in 1 of 6 sampled"));
    let prose = ["seen today because of a cough since Monday", "no news since the last visit was made"];
    let (proposal, _) = one("things", sampled(column("x", "text", text()), prose));
    assert!(matches!(proposal, Proposal::Protected { class: Class::FreeText, .. }), "{proposal:?}");
}

#[test]
fn text_is_never_clean() {
    for name in ["status", "kind", "unit", "name", "code", "value", "count"] {
        let column = sampled(column(name, "text", text()), ["a", "b", "a", "b"]);
        let (proposal, reason) = one("departments", column);
        assert_eq!(proposal, Proposal::Undecided, "{name}");
        assert_eq!(reason, "nothing found; 2 different values in 4 sampled");
    }
    let one_character = Type::Bpchar { length: Some(1) };
    assert_eq!(one("patients", column("sex", "char(1)", one_character.clone())).0, Proposal::Clean);
    assert_eq!(one("patients", column("initial", "char(1)", one_character)).0, Proposal::Undecided);
}

#[test]
fn a_number_is_clean_by_its_name_only() {
    assert_eq!(one("rooms", column("beds", "int4", Type::Int4)).0, Proposal::Clean);
    assert_eq!(one("rooms", column("x", "int4", Type::Int4)).0, Proposal::Undecided);
    assert_eq!(one("rooms", column("order_number", "int8", Type::Int8)).0, Proposal::Undecided);
    assert_eq!(one("rooms", column("order_id", "int8", Type::Int8)).0, Proposal::Undecided);
    assert_eq!(one("rooms", column("code", "int8", Type::Int8)).0, Proposal::Undecided);
    assert_eq!(one("rooms", column("value", "int8", Type::Int8)).0, Proposal::Undecided);
    assert_eq!(one("rooms", column("value", "numeric(8,2)", Type::Numeric { scale: 2 })).0, Proposal::Clean);
    // What its name calls an amount may be a number of somebody all the same.
    let ssns = ["412834756", "447162038", "485276149"];
    let (proposal, _) = one("rooms", sampled(column("total", "int8", Type::Int8), ssns));
    assert_ne!(proposal, Proposal::Clean);
}

#[test]
fn a_key_is_clean_where_it_is_only_a_number_of_rows() {
    let key = |values: &[&str]| {
        let key = Column { key: true, ..column("id", "int8", Type::Int8) };
        one("visits", sampled(key, values.iter().copied())).0
    };
    assert_eq!(key(&["1", "2", "17"]), Proposal::Clean);
    assert_ne!(key(&["412834756", "447162038", "485276149"]), Proposal::Clean);
    assert_eq!(key(&[]), Proposal::Undecided);
    let serial = Column { key: true, serial: true, ..column("id", "int8", Type::Int8) };
    assert_eq!(one("visits", serial).0, Proposal::Clean);
}

/// Patients, visits that refer to them, measurements that refer to visits, and a list of holidays.
fn schema() -> Vec<Table> {
    let key = |name| Column { key: true, serial: true, ..column(name, "int8", Type::Int8) };
    let refers = |name, table, at| Column {
        references: vec![Place { table, column: at }],
        ..column(name, "int8", Type::Int8)
    };
    vec![
        table("patients", vec![key("id"), column("ssn", "text", text())]),
        table("visits", vec![key("id"), refers("who", 0, 0), column("at", "timestamptz", Type::TimestampTz)]),
        table(
            "measures",
            vec![refers("visit", 1, 0), column("taken", "date", Type::Date), refers("code", 3, 1)],
        ),
        table("holidays", vec![column("day", "date", Type::Date), column("label", "int8", Type::Int8)]),
        table("cards", vec![refers("ssn", 0, 1)]),
    ]
}

#[test]
fn foreign_keys_take_over_what_they_refer_to() {
    let proposed = propose(&schema());
    let at = |table: usize, column: usize| &proposed[table][column];
    let class = |table, column| at(table, column).class();
    for (table, column) in [(0, 0), (1, 1)] {
        assert!(at(table, column).patient, "{table} {column}");
        let joined =
            Proposal::Protected { class: Class::PatientId, operator: Operator::Token, usage: Usage::Join };
        assert_eq!(at(table, column).proposal, joined);
    }
    assert_eq!(at(1, 1).reason, "foreign key to public.patients.id");
    assert_eq!(at(2, 0).proposal, Proposal::Clean, "a key that is no patient's");
    assert_eq!(class(4, 0), Some(Class::Ssn));
    assert!(matches!(at(0, 1).proposal, Proposal::Protected { usage: Usage::Join, .. }), "to be joined with");
    assert_eq!(at(2, 2).proposal, Proposal::Undecided, "as what it refers to");
}

#[test]
fn dates_are_protected_where_they_are_about_people() {
    let proposed = propose(&schema());
    assert_eq!(proposed[1][2].class(), Some(Class::Date));
    assert_eq!(proposed[2][1].class(), Some(Class::Date), "by way of the visit");
    assert_eq!(proposed[3][0].proposal, Proposal::Undecided);
}

#[test]
fn patients_are_found_without_keys() {
    let id = |name| column(name, "int4", Type::Int4);
    let tables = [
        table("person", vec![Column { key: true, ..id("person_id") }]),
        table("observation", vec![id("person_id"), id("observation_id")]),
        table("patient_plan", vec![Column { key: true, serial: true, ..id("id") }]),
    ];
    let proposed = propose(&tables);
    let number = Operator::FormatPreserving { alphabet: Alphabet::Digits, min: 6 };
    let expected = Proposal::Protected { class: Class::PatientId, operator: number, usage: Usage::Join };
    assert_eq!((proposed[0][0].proposal, proposed[0][0].patient), (expected, true));
    assert_eq!((proposed[1][0].proposal, proposed[1][0].patient), (expected, true));
    assert!(!proposed[1][1].patient);
    assert!(!proposed[2][0].patient, "not every table with patients in its name holds them");
}

#[test]
fn the_number_of_a_person_or_a_household_is_not_clean() {
    let key = || Column { key: true, serial: true, ..column("id", "int8", Type::Int8) };
    let lives =
        Column { references: vec![Place { table: 0, column: 0 }], ..column("at", "int8", Type::Int8) };
    let proposed = propose(&[
        table("households", vec![key(), column("street", "text", text())]),
        table("visits", vec![key(), lives]),
    ]);
    assert_eq!(proposed[0][0].proposal, Proposal::Undecided);
    assert_eq!(proposed[1][1].proposal, Proposal::Undecided, "as what it refers to");
    assert_eq!(proposed[1][0].proposal, Proposal::Clean);
}

#[test]
fn views_and_partitions_follow() {
    let mut view = table("listing", vec![column("ssn", "text", text())]);
    view.source = Source::View;
    let inherited = Column { inherited: true, ..column("ssn", "text", text()) };
    let proposed = propose(&[view, table("child", vec![inherited])]);
    assert_eq!(proposed[0][0].proposal, Proposal::Follows);
    assert_eq!(proposed[1][0].proposal, Proposal::Follows);
}

#[test]
fn no_value_is_in_a_reason() {
    let canary = "Zwetschkenbaum 412-83-4756 quirinella@zwetschke.example";
    let column = sampled(column("x", "text", text()), [canary, canary]);
    let shown = format!("{:?}", propose(&[table("t", vec![column])]));
    for part in ["Zwetsch", "412-83", "quirinella"] {
        assert!(!shown.contains(part), "{shown}");
    }
    let mut tally = Tally::default();
    Sampler::default().count(&mut tally, canary);
    assert!(!format!("{tally:?}").contains("Zwetsch"));
}
