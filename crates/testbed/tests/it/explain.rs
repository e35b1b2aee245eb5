//! `wardline phi explain`: what it says, and that it says what the gateway then does.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::Path;
use std::thread;

use serde_json::Value;
use testbed::gateway::{Gateway, Listener};
use testbed::hospital::{CONSTRAINTS_SQL, TABLES_SQL};
use testbed::leaks::{self, Case, Held, MASKED, Stage, WORLDS};
use testbed::postgres::{Cluster, Options};
use testbed::wire::{Message, Wire};

const PROTECTION: &str = r#"
[resource.hospital.phi]
clean = ["public.departments.*", "public.encounters.*", "public.patients.sex", "public.claims.*"]
patients = ["public.patients.id"]

[resource.hospital.phi.columns]
"public.patients.id" = { class = "patient_id", usage = "join" }
"public.patients.ssn" = { class = "ssn", operator = "partial(last=2)" }
"public.patients.mrn" = { class = "mrn", usage = "equality" }
"public.patients.first_name" = { class = "name" }
"public.patients.last_name" = { class = "name" }
"public.patients.birth_date" = { class = "date" }
"public.encounters.patient_id" = { class = "patient_id", usage = "join" }
"public.notes.body" = { class = "free_text" }
"#;

/// Who sends what.
const STATEMENTS: [(&str, &str); 15] = [
    ("ann", "SELECT sex, ssn, birth_date, upper(last_name) || 'x', email, 1 FROM patients"),
    ("ann", "SELECT * FROM claims"),
    ("ann", "SELECT count(*) FROM patients WHERE ssn = '412-83-4756'"),
    ("ann", "SELECT sex FROM patients WHERE mrn = 'MRN-1' AND first_name LIKE 'A%' ORDER BY last_name"),
    ("ann", "SELECT p.sex, e.type FROM patients p JOIN encounters e ON e.patient_id = p.id"),
    ("ann", "SELECT ssn::int FROM patients"),
    ("ann", "COPY patients TO STDOUT"),
    ("ann", "DO $$ BEGIN END $$"),
    ("ann", "UPDATE patients SET ssn = '1'; SELECT body FROM notes"),
    ("ann", "EXECUTE before"),
    ("ann", "SELEC 1"),
    ("bob", "SELECT ssn, birth_date FROM patients"),
    ("sam", "SELECT ssn, upper(last_name) FROM patients"),
    ("sam", "SELECT code FROM results"),
    ("sam", "SELECT n FROM owed"),
];

/// Nobody may read claims at night, nor what stands over them.
const FORBID: &str = "@id(\"no-claims\") forbid (principal, action == Action::\"Read\", \
    resource == Relation::\"hospital/public.claims\") when { principal in Role::\"privacy\" };";

#[test]
fn what_is_said() {
    let cluster = Cluster::start(Options::default()).expect("PostgreSQL");
    cluster.create_database("hospital").expect("a database");
    cluster.psql_in("hospital", TABLES_SQL).expect("tables");
    cluster.psql_in("hospital", CONSTRAINTS_SQL).expect("keys");
    cluster.psql_in("hospital", "create view owed as select count(*) as n from claims").expect("a view");
    let folder = tempfile::tempdir().expect("a folder");
    let policy = folder.path().join("forbid.cedar");
    std::fs::write(&policy, FORBID).expect("written");
    let gateway = Gateway::builder()
        .listener(Listener::Plaintext)
        .resource_of("hospital", &cluster, "hospital")
        .toml(PROTECTION)
        .toml(&format!("[policy]\nfiles = [{policy:?}]"))
        .role(
            "analyst",
            "hospital",
            "read = [\"public.*\"]\nwrite = [\"public.patients\"]\nunmask = [\"date\"]",
        )
        .role("biller", "hospital", "read = [\"public.claims\"]")
        .role("privacy", "hospital", "read = [\"public.*\"]\nunmask = [\"*\"]")
        .person("ann", &["analyst"])
        .person("bob", &["biller"])
        .person("sam", &["privacy"])
        .prepare()
        .expect("Wardline");
    let mut said = String::new();
    for (person, statement) in STATEMENTS {
        let words = gateway.cli(&["phi", "explain", "hospital", statement, "--as", person]).expect("words");
        let _ = write!(said, "> {statement}\n{words}\n");
    }
    golden("explain.txt", &said);
    let stdin =
        gateway.cli_stdin(&["phi", "explain", "hospital", "-", "--as", "ann"], "SELECT sex FROM patients");
    assert!(stdin.expect("words").contains("public.patients.sex (clean)"));
    let nobody =
        gateway.cli_output(&["phi", "explain", "hospital", "SELECT 1", "--as", "anm"]).expect("it runs");
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("did you mean `ann`?"), "{nobody:?}");
    not_kept(&gateway);
}

/// The literal of the third statement is nowhere: not in the trail, sealed or not, and not in a log.
fn not_kept(gateway: &Gateway) {
    let entries =
        gateway.cli_json(&["trail", "tail", "-n", "1000", "--open-sealed", "--json"]).expect("entries");
    let explained: Vec<&Value> = entries.iter().filter(|entry| entry["command"] == "phi explain").collect();
    assert!(explained.len() >= STATEMENTS.len(), "{}", explained.len());
    for entry in &entries {
        let text = entry.to_string();
        assert!(!text.contains("412-83-4756") && !text.contains("MRN-1"), "{text}");
        assert!(entry["command"] != "phi explain" || entry["statement"].is_null(), "{text}");
    }
}

/// Compares with the golden file; with `BLESS=1` in the environment writes it instead.
fn golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/explain").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, actual).expect("written");
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(expected, actual, "{} differs; `BLESS=1` writes it anew", path.display());
}

/// What the gateway does with a statement.
#[derive(Debug)]
struct Done {
    /// Wardline itself said no.
    refused: bool,
    /// The session was ended.
    ended: bool,
    rows: Vec<Vec<Option<Vec<u8>>>>,
}

/// Runs a statement, and takes back whatever it did.
fn run(wire: &mut Option<Wire>, server: &testbed::Conninfo, text: &str) -> Done {
    let session = wire.get_or_insert_with(|| Wire::connect(server).expect("a session"));
    session.query("begin").expect("an answer");
    let mut done = Done { refused: false, ended: false, rows: Vec::new() };
    if session.send(&testbed::wire::front::query(text)).is_err() {
        done.ended = true;
    }
    while !done.ended {
        match session.receive_or_end() {
            Ok(Some(message)) => {
                done.refused |= message.kind == b'E' && message.field(b'R').is_none();
                match message.kind {
                    b'Z' => break,
                    b'D' => done.rows.push(nullable(&message)),
                    b'G' => session.send(&testbed::wire::front::copy_fail("enough")).expect("a session"),
                    _ => {}
                }
            }
            Ok(None) | Err(_) => done.ended = true,
        }
    }
    if done.ended || session.query("rollback").is_err() {
        *wire = None;
    }
    done
}

/// Returns the cells of a row, with NULL told apart.
fn nullable(row: &Message) -> Vec<Option<Vec<u8>>> {
    let mut rest = &row.body[2..];
    let mut all = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        let (cell, after) = after.split_at(length.unwrap_or(0));
        all.push(length.map(|_| cell.to_vec()));
        rest = after;
    }
    all
}

#[test]
fn what_is_said_is_what_is_done() {
    let stage = Stage::start().expect("the worlds");
    // The words of one statement, as one text: what was named before is not known to an explanation.
    let cases = leaks::cases().expect("the battery").into_iter().filter(Case::is_one);
    // Each is a process of its own: a fifth of them takes half a minute.
    let cases: Vec<Case> = cases.step_by(5).collect();
    assert!(cases.len() > 80, "{}", cases.len());
    let explanations = explain(&stage, &cases);
    // Some of the statements hold somebody's number.
    let ssn = leaks::PATIENTS[0][0].ssn;
    assert!(cases.iter().any(|case| case.texts[0].contains(ssn)));
    let log = std::fs::read_to_string(stage.gateway.log()).expect("a log");
    assert!(!log.contains(ssn), "a statement was logged");
    let (masked, direct) = (stage.masked(WORLDS[0]).expect("a person"), stage.direct());
    let (mut through, mut beside) = (None, None);
    let mut wrong = String::new();
    let mut columns = 0;
    for (case, said) in cases.iter().zip(&explanations) {
        let text = &case.texts[0];
        let verdict = said["verdict"].as_str().expect("a verdict");
        let done = run(&mut through, &masked, text);
        if done.ended {
            continue;
        }
        // A text that cannot be read is answered as PostgreSQL answers it.
        let nothing = done.refused || (verdict == "unreadable" && done.rows.is_empty());
        if nothing != (verdict != "sent") {
            let _ = writeln!(wrong, "{} {text}: said {verdict}, done {done:?}", case.line);
        }
        let outputs = said["statements"][0]["outputs"].as_array();
        if done.refused || case.held != Held::Masked {
            continue;
        }
        let straight = run(&mut beside, &direct, text);
        let Some(outputs) = outputs.filter(|_| straight.rows.len() == done.rows.len()) else { continue };
        for (row, before) in done.rows.iter().zip(&straight.rows) {
            for ((output, cell), before) in outputs.iter().zip(row).zip(before) {
                columns += 1;
                let as_said = match output["fate"].as_str().expect("a fate") {
                    "plain" => cell == before,
                    // What is found depends on the value.
                    "screened" => cell.is_some() == before.is_some() || cell.is_none(),
                    "masked" => cell.is_none() || cell != before,
                    "null" => cell.is_none(),
                    _ => false,
                };
                if !as_said {
                    let _ = writeln!(wrong, "{} {text}: {output} is not so", case.line);
                }
            }
        }
    }
    println!("{} statements, {columns} cells compared", cases.len());
    assert!(columns > 80, "{columns}");
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Asks for all explanations, two at a time.
fn explain(stage: &Stage, cases: &[Case]) -> Vec<Value> {
    let half = cases.len().div_ceil(2);
    thread::scope(|scope| {
        let asked = cases.chunks(half).map(|cases| {
            scope.spawn(move || {
                let one = |case: &Case| {
                    let text = case.texts[0].as_str();
                    let arguments = ["phi", "explain", WORLDS[0], "--as", MASKED, "--json", "--", text];
                    stage.gateway.cli_json(&arguments).expect("an explanation").remove(0)
                };
                cases.iter().map(one).collect::<Vec<Value>>()
            })
        });
        let asked: Vec<_> = asked.collect();
        asked.into_iter().flat_map(|asked| asked.join().expect("explanations")).collect()
    })
}
