//! Rows 31, 55, 56 and 57: what is recorded is handed over whole and in forms that others defined, and what others
//! report enters the same reports.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use testbed::gateway::Gateway;
use testbed::receivers::{self, Message, Rsyslog};
use testbed::tls::Authority;
use testbed::{Conninfo, free_port};

use super::stage::{self, HOSPITAL, answer, psql, refused, script};

/// The machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

const PHI: &str = "[resource.hospital.phi]\n\
    clean = [\"public.claims.*\", \"public.notes.*\"]\n\
    patients = [\"public.patients.id\", \"public.notes.patient_id\", \"public.claims.patient_id\"]\n\
    [resource.hospital.phi.columns]\n\
    \"public.patients.id\" = { class = \"patient_id\", usage = \"result\" }\n\
    \"public.patients.name\" = { class = \"name\" }\n\
    \"public.patients.ssn\" = { class = \"ssn\" }";

const DOCTOR: &str = "read = [\"public.*\"]\nwrite = [\"public.*\"]\ndefine = [\"public.*\"]\n\
    execute = [\"pg_catalog.nextval\"]\ntransfer = true\nunmask = [\"*\"]";

#[track_caller]
fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Writes a file of events and returns what was said about it.
fn export(gateway: &Gateway, format: &str, file: &Path) -> Value {
    let file = file.to_str().expect("a path");
    let said = gateway.cli_json(&["export", format, "--out", file, "--json"]).expect("an export");
    said.into_iter().next().expect("an answer")
}

/// Reads, writes, refusals, failures, bulk copies, sign-ins that fail: a thousand events and more.
fn a_thousand_deeds(gateway: &Gateway) {
    let (dora, bert) = (
        gateway.conninfo("dora", HOSPITAL).expect("dora"),
        gateway.conninfo("bert", HOSPITAL).expect("bert"),
    );
    let mut deeds = String::new();
    for id in 1..=150 {
        deeds.push_str(&format!("select name, ssn from patients where id = {id};\n"));
        deeds.push_str(&format!("update patients set name = 'somebody else' where id = {id};\n"));
    }
    for id in 1..=20 {
        let new = 1_000 + id;
        deeds.push_str(&format!("insert into patients values ({new}, 'new', '000-00-{new}');\n"));
        deeds.push_str(&format!("delete from patients where id = {new};\n"));
        deeds.push_str(&format!(
            "insert into claims values ({id}, {id}, 1);\nselect nonsense from patients;\n"
        ));
        deeds.push_str(&format!("select billed from claims where id = {id};\n"));
    }
    deeds.push_str("select id, name from patients order by id limit 200;\ncopy patients to stdout;\n");
    deeds.push_str("create table empty (id int);\ncopy notes (body) to stdout;\nselect 1;\n");
    let done = script(&dora, &["-v", "ON_ERROR_STOP=0"], &deeds);
    assert!(done.status.success(), "{}", stage::err(&done));
    let refusals = "select name from patients where id = 7;\n".repeat(20);
    let done = script(&bert, &["-v", "ON_ERROR_STOP=0"], &refusals);
    assert!(done.status.success(), "{}", stage::err(&done));
    assert!(!psql(&Conninfo { password: "another".to_owned(), ..bert.clone() }, "select 1").status.success());
}

#[test]
fn row_55_a_thousand_events_are_audit_events() {
    let cluster = stage::hospital();
    let gateway = stage::gateway(&cluster)
        .toml(PHI)
        .role("doctor", HOSPITAL, DOCTOR)
        .person("dora", &["doctor"])
        .person("bert", &["billing"])
        .start()
        .expect("it starts");
    a_thousand_deeds(&gateway);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("events.ndjson");
    let said = eventually("a thousand events", || {
        let _gone =
            (std::fs::remove_file(&file), std::fs::remove_file(folder.path().join("events.ndjson.digest")));
        let said = export(&gateway, "fhir", &file);
        (said["events"].as_u64() > Some(1_000)).then_some(said)
    });
    let profiles = receivers::balp_profiles();
    if profiles.is_none() {
        eprintln!("SKIP: no BALP profiles; set BALP_PROFILES. AuditEvents are held against base R4 only");
    }
    let told = receivers::validate_fhir(&file, profiles.as_deref()).expect("the validators");
    eprintln!("{told}");
    assert_eq!(told["problems"], serde_json::json!([]));
    assert_eq!(told["events"], said["events"]);
    for pattern in
        ["PatientRead", "PatientCreate", "PatientUpdate", "PatientDelete", "PrivacyDisclosure.Source", "Read"]
    {
        let url = format!("https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.{pattern}");
        assert!(told["profiled"][&url].as_u64() > Some(0), "{pattern}: {told}");
    }
    let text = std::fs::read_to_string(&file).expect("the file");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    // What succeeded on a resource claims a pattern; the definition of a table is described by none.
    for event in &events {
        let operation =
            event["entity"].as_array().into_iter().flatten().any(|e| e["type"]["code"] == "XrequestId");
        if event["outcome"] == "0"
            && operation
            && matches!(event["action"].as_str(), Some("C" | "R" | "U" | "D"))
        {
            assert!(event["meta"]["profile"].is_array(), "{event}");
        }
    }
    for canary in ["patient 7", "somebody else", "000-00-"] {
        assert!(!text.contains(canary), "`{canary}` left in clear");
    }
    // The same in OCSF, against its own schema.
    let file = folder.path().join("events.json");
    let said = export(&gateway, "ocsf", &file);
    let told = receivers::validate_ocsf(&file).expect("the validator");
    eprintln!("{told}");
    assert_eq!(told["problems"], serde_json::json!([]));
    assert_eq!(told["events"], said["events"]);
    for class in ["Datastore Activity", "Authentication", "Entity Management"] {
        assert!(told["classes"][class].as_u64() > Some(0), "{told}");
    }
}

/// Returns the entries that a message is about, from its details.
fn entry_of(message: &Message) -> u64 {
    let value = message.text.split("type=\"entry\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    let value = STANDARD.decode(value.expect("it names its entry")).expect("base64");
    let value = String::from_utf8(value).expect("text");
    value.rsplit('/').next().and_then(|index| index.parse().ok()).expect("an index")
}

/// Returns the entries that are to be handed over, of what the trail holds up to an operation of that statement.
fn expected(gateway: &Gateway, last_statement: &str) -> BTreeSet<u64> {
    let entries = eventually("the last operation is in the trail", || {
        let entries = gateway.cli_json(&["trail", "tail", "-n", "100000", "--json"]).expect("entries");
        let last = entries.iter().rposition(|entry| entry["objects"][0] == last_statement)?;
        Some(entries.into_iter().take(last + 1).collect::<Vec<Value>>())
    });
    let internal = ["heartbeat", "segment-opened", "segment-sealed", "epoch-head", "archive-manifest"];
    let handed =
        entries.iter().filter(|entry| !internal.contains(&entry["kind"].as_str().unwrap_or_default()));
    handed.map(|entry| entry["index"].as_u64().expect("an index")).collect()
}

/// Waits until everything came, and checks that what came first came in order.
fn all_came(syslog: &Rsyslog, expected: &BTreeSet<u64>) -> Vec<Message> {
    let messages = eventually("all entries at the receiver", || {
        let messages = syslog.messages().expect("messages");
        let came: BTreeSet<u64> = messages.iter().map(entry_of).collect();
        expected.is_subset(&came).then_some(messages)
    });
    let mut seen = BTreeSet::new();
    let firsts: Vec<u64> = messages.iter().map(entry_of).filter(|index| seen.insert(*index)).collect();
    assert!(firsts.is_sorted(), "out of order: {firsts:?}");
    messages
}

#[test]
fn row_56_a_syslog_receiver_that_was_away_gets_everything() {
    let cluster = stage::hospital();
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("receivers").expect("an authority");
    let mut syslog = Rsyslog::prepare(folder.path(), &authority).expect("rsyslog");
    syslog.start().expect("rsyslog starts");
    let export = format!(
        "[export.siem]\nformat = \"atna\"\nurl = \"tls://localhost:{}\"\nca = {:?}\nretry_pause_ms_max = 500\n\
         alarm_after_s = 1\ntimeout_ms = 10000",
        syslog.port(),
        syslog.ca()
    );
    let mut gateway = stage::gateway(&cluster)
        .toml(PHI)
        .toml(&export)
        .role("doctor", HOSPITAL, DOCTOR)
        .person("dora", &["doctor"])
        .start()
        .expect("it starts");
    let dora = gateway.conninfo("dora", HOSPITAL).expect("dora");
    let reads = |count: u64| {
        let reads: Vec<String> =
            (1..=count).map(|id| format!("select name from patients where id = {id};")).collect();
        script(&dora, &[], &reads.join("\n"))
    };
    assert!(reads(50).status.success());
    answer(&dora, "select count(*) from notes");
    all_came(&syslog, &expected(&gateway, "public.notes"));
    // The receiver dies; what happens meanwhile waits for it, also while we die too.
    syslog.kill9().expect("killed");
    assert!(reads(100).status.success());
    eventually("an incident says so", || {
        let incidents =
            gateway.cli_json(&["trail", "tail", "--kind", "incident", "--json"]).expect("incidents");
        incidents.iter().any(|entry| entry["detail"].to_string().contains("nothing was taken")).then_some(())
    });
    gateway.kill9().expect("killed");
    gateway.serve().expect("it starts again");
    assert!(reads(50).status.success());
    answer(&dora, "select count(*) from claims");
    let expected = expected(&gateway, "public.claims");
    syslog.start().expect("rsyslog starts again");
    let messages = all_came(&syslog, &expected);
    let first = messages.first().expect("a message");
    assert_eq!((first.version.as_str(), first.priority.as_str()), ("1", "85"));
    assert_eq!((first.host.as_str(), first.program.as_str()), ("test", "wardline"));
    assert_eq!(first.id, "DICOM+RFC3881");
    let documents: Vec<&str> =
        messages.iter().map(|message| message.text.trim_start().trim_start_matches('\u{feff}')).collect();
    let roots = receivers::check_xml(&documents).expect("well-formed");
    assert!(roots.as_array().expect("a list").iter().all(|root| root == "AuditMessage"), "{roots}");
    let named = messages.iter().filter(|message| message.text.contains("Patient Number")).count();
    assert!(named >= 200, "{named} messages name a patient");
}

const BODY: &str = r#"{"resourceType":"Bundle","type":"batch","entry":[{"resource":{"resourceType":"AuditEvent",
    "id":"ehr-1","type":{"code":"rest"},"recorded":"2026-11-23T09:40:16Z","action":"R","outcome":"0",
    "agent":[{"requestor":true,"who":{"identifier":{"value":"dr.who"}},"network":{"address":"192.0.2.7","type":"2"}}],
    "source":{"observer":{"display":"ehr"}},"entity":[{"what":{"reference":"Patient/7"}}]}}]}"#;

#[test]
fn row_57_what_another_system_reports_is_in_the_same_report() {
    let cluster = stage::hospital();
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("inbound").expect("an authority");
    let ca = folder.path().join("ca.crt");
    authority.write(&ca).expect("written");
    let pair = authority.issue(&["localhost", "127.0.0.1"], folder.path(), "inbound").expect("a pair");
    let port = free_port().expect("a port");
    let inbound = format!(
        "[inbound]\naddress = \"127.0.0.1:{port}\"\ntls = {{ certificate = {:?}, key = {:?} }}\n\
         [inbound.source.ehr]\nissuer = \"hospital\"",
        pair.certificate, pair.key
    );
    let mut gateway = stage::gateway(&cluster)
        .toml(PHI)
        .toml(&inbound)
        .role("doctor", HOSPITAL, DOCTOR)
        .person("dora", &["doctor"])
        .start()
        .expect("it starts");
    let added = gateway.cli_json(&["inbound", "add", "ehr", "--json"]).expect("a token");
    let token = added[0]["token"].as_str().expect("a token").to_owned();
    let post = |path: &str, token: &str, body: &str| {
        receivers::post(&format!("https://localhost:{port}{path}"), &ca, token, body).expect("an answer")
    };
    let lines = |body: &str| {
        let (status, said) = post("/v1/events", &token, body);
        let said: Value = serde_json::from_str(&said).expect("JSON");
        (status, said["taken"].as_u64(), said["known"].as_u64())
    };
    answer(&gateway.conninfo("dora", HOSPITAL).expect("dora"), "select name from patients where id = 7");
    assert_eq!(post("/fhir", "wlr_wrong", BODY).0, 401);
    // One of the two cannot be read: nothing of the request is taken.
    let line = r#"{"id":"app-1","at":"2026-11-23T09:40:16Z","person":"app.nurse","action":"update","patients":["7"]}"#;
    let half = format!("{line}\n{{\"id\":\"app-2\"}}");
    let (status, why) = post("/v1/events", &token, &half);
    assert_eq!(status, 422, "{why}");
    assert!(why.contains("event 2") && !why.contains("app.nurse"), "{why}");
    let (status, taken) = post("/fhir", &token, BODY);
    assert!(status == 200 && taken.contains("201 Created"), "{status} {taken}");
    assert_eq!(lines(line), (200, Some(1), Some(0)));
    // An answer was given, so it is durable; and it is known again.
    gateway.kill9().expect("killed");
    gateway.serve().expect("it starts again");
    let (status, taken) = post("/fhir", &token, BODY);
    assert!(status == 200 && taken.contains("200 OK"), "{status} {taken}");
    assert_eq!(lines(line), (200, Some(0), Some(1)));
    let found = gateway.cli_json(&["who-saw", "7", "--json"]).expect("who-saw");
    let accesses = found[0]["accesses"].as_array().expect("a list");
    let of = |access: &Value| [&access["person_name"], &access["source"], &access["command"]].map(stage_text);
    let accesses: Vec<[String; 3]> = accesses.iter().map(of).collect();
    let expected =
        [["dora", "", "SELECT"], ["reported:dr.who", "ehr", "READ"], ["reported:app.nurse", "ehr", "UPDATE"]];
    assert_eq!(accesses, expected.map(|access| access.map(str::to_owned)));
    gateway.cli(&["inbound", "remove", "ehr"]).expect("removed");
    assert_eq!(post("/v1/events", &token, line).0, 401);
    assert!(gateway.cli(&["verify"]).expect("verify").contains("whole"));
}

fn stage_text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Passes bytes on and flips one bit of one byte of one direction.
fn flipping(port: u16, from_server: bool, at: usize) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let own = listener.local_addr().expect("an address").port();
    let flipped = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&flipped);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
            let (to_server, to_client) =
                (server.try_clone().expect("a copy"), client.try_clone().expect("a copy"));
            let (up, down) = if from_server { (None, Some(at)) } else { (Some(at), None) };
            let (one, other) = (Arc::clone(&told), Arc::clone(&told));
            thread::spawn(move || pass(client, to_server, up, &one));
            thread::spawn(move || pass(server, to_client, down, &other));
        }
    });
    (own, flipped)
}

fn pass(mut from: TcpStream, mut to: TcpStream, flip: Option<usize>, flipped: &AtomicBool) {
    let (mut buffer, mut passed) = ([0; 4096], 0);
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 {
            break;
        }
        if let Some(byte) =
            flip.and_then(|at| at.checked_sub(passed)).and_then(|at| buffer[..read].get_mut(at))
        {
            *byte ^= 1;
            flipped.store(true, Ordering::SeqCst);
        }
        passed += read;
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _closed = to.shutdown(Shutdown::Both);
}

#[test]
fn row_31_a_flipped_bit_ends_the_connection_and_a_changed_file_is_found() {
    let cluster = stage::hospital();
    let gateway = stage::gateway(&cluster).person("ann", &["nurse"]).start().expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("ann");
    let sql = "select * from patients order by id";
    let right = answer(&ann, sql);
    assert!(right.len() > 4_000);
    // Behind the request for TLS, which nothing protects yet, and within records of TLS.
    for (from_server, at) in [(true, 700), (true, 3_000), (true, 6_000), (false, 900)] {
        let (port, flipped) = flipping(gateway.port(), from_server, at);
        let said = psql(&Conninfo { port, ..ann.clone() }, sql);
        let whole = said.status.success() && stage::out(&said) == right;
        // What comes first decides whether the byte was passed at all.
        assert_ne!(
            whole,
            flipped.load(Ordering::SeqCst),
            "byte {at} of {}",
            if from_server { "the server" } else { "the client" }
        );
        assert!(whole || !said.status.success(), "a changed answer was taken for a whole one");
    }
    refused(&ann, "select * from claims");
    let folder = tempfile::tempdir().expect("a folder");
    for format in ["fhir", "atna", "ocsf", "cloudevents"] {
        let file = folder.path().join(format);
        export(&gateway, format, &file);
        let name = file.to_str().expect("a path");
        assert!(gateway.cli(&["export", "verify", name]).expect("whole").contains("whole"));
        let mut bytes = std::fs::read(&file).expect("the file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&file, &bytes).expect("changed");
        let said = gateway.cli_output(&["export", "verify", name]).expect("it runs");
        assert_eq!(said.status.code(), Some(1), "{}", stage::out(&said));
    }
}
