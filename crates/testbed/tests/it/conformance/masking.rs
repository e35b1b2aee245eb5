//! Row 4: protected columns leave masked, on the wire and not only on the screen.

use serde_json::Value;
use testbed::Conninfo;
use testbed::wire::{Message, Wire, front};

use super::stage::{self, HOSPITAL, answer, err, psql};

const PHI: &str = "[resource.hospital.phi]\n\
    clean = [\"public.patients.id\", \"public.notes.*\"]\n\
    [resource.hospital.phi.columns]\n\
    \"public.patients.ssn\" = { class = \"ssn\", operator = \"redact\" }\n\
    \"public.patients.name\" = { class = \"name\", operator = \"redact\", usage = \"result\" }";

/// Every byte that the server sent, as one text.
fn bytes(messages: &[Message]) -> String {
    messages.iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect()
}

#[test]
fn row_4_protected_columns_are_masked_on_the_wire() {
    let cluster = stage::hospital();
    let gateway = stage::gateway(&cluster)
        .toml(PHI)
        .role("analyst", HOSPITAL, "read = [\"public.patients\", \"public.claims\"]")
        .role("doctor", HOSPITAL, "read = [\"public.patients\"]\nunmask = [\"name\"]")
        .role("officer", HOSPITAL, "read = [\"public.patients\"]\nunmask = [\"*\"]")
        .person("ann", &["analyst"])
        .person("dora", &["doctor"])
        .person("olga", &["officer"])
        .start()
        .expect("it starts");
    let as_person = |name: &str| gateway.conninfo(name, HOSPITAL).expect("a person");
    let (ann, dora, olga) = (as_person("ann"), as_person("dora"), as_person("olga"));

    let one = "select id, name, ssn from patients where id = 7";
    assert_eq!(answer(&olga, one), "7|patient 7|000-00-7");
    let seen = answer(&dora, one);
    assert!(seen.starts_with("7|patient 7|") && !seen.contains("000-00-7"), "{seen}");
    let seen = answer(&ann, one);
    assert!(seen.starts_with("7|") && !seen.contains("patient 7") && !seen.contains("000-00-7"), "{seen}");
    // Nobody classified this column.
    assert_eq!(answer(&ann, "select billed from claims limit 1"), "0");

    for text in [
        "select 1 from patients where ssn = '000-00-7'",
        "select ssn::int from patients",
        "copy patients to stdout",
        "select id from patients order by ssn",
        "create temp table copied as select * from patients",
    ] {
        let refused = psql(&ann, text);
        assert!(!refused.status.success(), "`{text}` was not refused");
        assert!(err(&refused).contains("42501"), "`{text}`: {}", err(&refused));
    }
    // The name may be filtered by, and is not shown for it.
    let found = answer(&ann, "select id, name from patients where name = 'patient 9'");
    assert!(found.starts_with("9|") && !found.contains("patient 9"), "{found}");
    wire(&ann);

    // Every look is in the trail, the refused ones too.
    let entries = stage::entries(&gateway);
    let of_ann = stage::of(&entries, "operation", "ann");
    assert!(of_ann.len() >= 8, "{} entries", of_ann.len());
    let says = |person: &str, masked: &[&str], unmasked: &[&str]| {
        let all = stage::of(&entries, "operation", person);
        let is = |entry: &Value, field: &str, names: &[&str]| entry.get(field) == list(names).as_ref();
        let said = all.iter().any(|entry| is(entry, "masked", masked) && is(entry, "unmasked", unmasked));
        assert!(said, "{person}: {masked:?}, {unmasked:?}: {all:?}");
    };
    let (name, ssn) = ("public.patients.name", "public.patients.ssn");
    says("ann", &[name, ssn], &[]);
    says("dora", &[ssn], &[name]);
    says("olga", &[], &[name, ssn]);
    assert_eq!(stage::verify(&gateway, None, &[]).0, Some(0));
}

/// Returns a list as an entry has it: none where it is empty.
fn list(names: &[&str]) -> Option<Value> {
    (!names.is_empty()).then(|| names.iter().copied().collect())
}

/// The same on the raw wire: simple and extended, text and binary.
fn wire(ann: &Conninfo) {
    let mut wire = Wire::connect(ann).expect("a session");
    let simple = wire.query("select id, ssn from patients").expect("an answer");
    assert_eq!(simple.iter().filter(|message| message.kind == b'D').count(), 200);
    assert!(!bytes(&simple).contains("000-00"), "a clear value is on the wire");
    for format in [0, 1] {
        let asked = [
            front::parse("", "select ssn, id from patients where id = $1"),
            front::bind("", "", &[Some("7")], format),
            front::describe('P', ""),
            front::execute("", 0),
            front::SYNC.to_vec(),
        ];
        wire.send(&asked.concat()).expect("sent");
        let answers = wire.until(b'Z').expect("an answer");
        let kinds: String = answers.iter().map(|message| char::from(message.kind)).collect();
        assert_eq!(kinds, "12TDCZ");
        assert!(!bytes(&answers).contains("000-00"), "a clear value is on the wire");
    }
}
