//! Row 62: no protected value in what surrounds the work: data folder, log, metrics, the trail without the right to its
//! sealed part, and what the process says when it dies.
//!
//! Each way in has a value of its own, so that a find names it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use testbed::gateway::Gateway;
use testbed::wire::{Start, Wire, front, message};
use testbed::{Conninfo, free_port};

use super::stage::{self, HOSPITAL};

const PHI: &str = "[resource.hospital.phi]\n\
    clean = [\"public.patients.id\"]\n\
    [resource.hospital.phi.columns]\n\
    \"public.patients.ssn\" = { class = \"ssn\", usage = \"result\" }\n\
    \"public.patients.name\" = { class = \"name\", usage = \"result\" }\n\
    \"public.notes.body\" = { class = \"free_text\" }";

/// How a value comes in.
const WAYS: [&str; 29] = [
    "a result",
    "a literal",
    "a literal with an escape",
    "a dollar-quoted literal",
    "a number",
    "a comment",
    "a literal of Parse",
    "a parameter as text",
    "a parameter in binary",
    "a parameter of a refused statement",
    "the argument of a function call",
    "copied text",
    "copied csv",
    "a unique violation",
    "a failed cast",
    "a value too long",
    "a syntax error",
    "a text that is no UTF-8",
    "a DO block",
    "a raised notice",
    "a setting",
    "the argument of EXECUTE",
    "a statement cut off",
    "a large literal",
    "a password",
    "a literal of a masked person",
    "a parameter of a masked person",
    "a patient",
    "a name in double quotes",
];

/// The canary of a way: a name and a number, in none of which there is anything of another's.
fn canary(way: &str) -> (String, String) {
    let at = WAYS.iter().position(|known| *known == way).expect("a way");
    // Letters only, so that a name is a bare word as well.
    let letter = |number: usize| char::from(b'a' + u8::try_from(number % 26).expect("a letter"));
    let name = format!("Zwetsch{}{}kenbaumer", letter(at), letter(at * 7 + 3));
    (name, format!("9{:02}-7{}-{:04}", at + 10, at % 10, 8137 + at * 53))
}

/// What a canary may look like: as it is, in either case, backwards, its digits alone, hexadecimal, base64 at each
/// offset, UTF-16.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
    let mut forms = Vec::new();
    for text in [value, digits.as_str()] {
        if text.len() < 9 {
            continue;
        }
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        forms.extend([text.to_owned(), text.to_lowercase(), text.to_uppercase()].map(String::into_bytes));
        forms.extend(
            [text.chars().rev().collect::<String>(), hex.to_uppercase(), hex].map(String::into_bytes),
        );
        forms.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        forms.push(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
        for shift in 0..3 {
            let mut shifted = vec![b' '; shift];
            shifted.extend_from_slice(text.as_bytes());
            shifted.truncate(shifted.len() / 3 * 3);
            let encoded = STANDARD.encode(&shifted);
            forms.push(encoded.as_bytes()[if shift == 0 { 0 } else { 4 }..].to_vec());
        }
    }
    forms
}

/// Returns the ways whose canary stands in these bytes.
fn found(bytes: &[u8]) -> Vec<&'static str> {
    let found = WAYS.into_iter().filter(|way| {
        let (name, number) = canary(way);
        let forms = forms(&name).into_iter().chain(forms(&number));
        forms.into_iter().any(|form| bytes.windows(form.len()).any(|window| window == form))
    });
    found.collect()
}

/// Sends bytes and reads up to readiness or the end.
fn say(wire: &mut Wire, bytes: &[u8]) {
    let _ = wire.send(bytes);
    while let Ok(Some(answer)) = wire.receive_or_end() {
        if answer.kind == b'Z' {
            return;
        }
    }
}

/// `Bind` with one parameter in binary.
fn bind_binary(parameter: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 1, 0, 1, 0, 1];
    body.extend_from_slice(&u32::try_from(parameter.len()).expect("short").to_be_bytes());
    body.extend_from_slice(parameter);
    body.extend_from_slice(&[0, 0]);
    message(Some(b'B'), &body)
}

fn both(way: &str) -> String {
    let (name, number) = canary(way);
    format!("{name} {number}")
}

/// Lets every value in, by its way.
fn work(ann: &Conninfo, mia: &Conninfo) {
    let connect = |who: &Conninfo| Wire::connect(who).expect("a session");
    let mut wire = connect(ann);
    texts(&mut wire);
    let insert = "insert into notes (body) values ($1)";
    let bound = |text: &str, way: &str| {
        let value = both(way);
        let bind = front::bind("", "", &[Some(&value)], 0);
        [front::parse("", text), bind, front::execute("", 0), front::SYNC.to_vec()].concat()
    };
    say(&mut wire, &bound(insert, "a parameter as text"));
    say(&mut wire, &bound("insert into nowhere values ($1)", "a parameter of a refused statement"));
    let parse = front::parse("", &format!("select length('{}')", both("a literal of Parse")));
    let run = [parse, front::bind("", "", &[], 1), front::execute("", 0), front::SYNC.to_vec()];
    say(&mut wire, &run.concat());
    let binary = bind_binary(both("a parameter in binary").as_bytes());
    let run = [front::parse("", insert), binary, front::execute("", 0), front::SYNC.to_vec()];
    say(&mut wire, &run.concat());
    // upper(text)
    say(&mut wire, &front::call(871, &[Some(&both("the argument of a function call"))]));
    for (copy, way) in [
        ("copy notes (body) from stdin", "copied text"),
        ("copy notes (body) from stdin (format csv)", "copied csv"),
    ] {
        wire.send(&front::query(copy)).expect("sent");
        wire.until(b'G').expect("copying begins");
        let row = format!("{}\n", both(way));
        say(&mut wire, &[front::copy_data(row.as_bytes()), front::COPY_DONE.to_vec()].concat());
    }
    let cut = front::query(&format!("select '{}'", both("a statement cut off")));
    wire.send(&cut[..cut.len() - 4]).expect("sent");
    wire.hang_up().expect("closed");

    let mut wire = connect(mia);
    let (name, number) = canary("a literal of a masked person");
    say(
        &mut wire,
        &front::query(&format!("select id, name from patients where name = '{name}' or ssn = '{number}'")),
    );
    say(&mut wire, &front::query(&format!("select '{number}'::int from patients")));
    say(&mut wire, &bound("select id from patients where name = $1", "a parameter of a masked person"));
    say(&mut wire, &front::query("select * from patients"));
    let mut wrong = ann.clone();
    wrong.password = both("a password");
    assert!(Wire::connect(&wrong).is_err());
}

/// Lets values in by texts of `Query`.
fn texts(wire: &mut Wire) {
    let mut ask = |text: String| say(wire, &front::query(&text));
    ask("select name, ssn from patients".to_owned());
    let (name, number) = canary("a literal");
    ask(format!("select count(*) from patients where name = '{name}' and ssn = '{number}'"));
    ask(format!("select id from patients where name = \"{}\"", canary("a name in double quotes").0));
    ask(format!("select E'\\t{}'", both("a literal with an escape")));
    ask(format!("select $of${}$of$", both("a dollar-quoted literal")));
    ask(format!("select {}", canary("a number").1.replace('-', "")));
    ask(format!("select 1 -- {}\n /* {0} */", both("a comment")));
    let (name, number) = canary("a unique violation");
    ask(format!("insert into patients values (9001, '{name}', '{number}')"));
    ask(format!("insert into patients values (9001, '{name}', '{number}')"));
    ask("create unique index on patients (name, ssn)".to_owned());
    ask(format!("insert into patients values (9002, '{name}', '{number}')"));
    let (name, number) = canary("a failed cast");
    ask(format!("select '{number}'::int"));
    ask(format!("select name::int from (values ('{name}')) x (name)"));
    ask(format!("select '{name}'::date"));
    ask("create temp table short (x varchar(4))".to_owned());
    ask(format!("insert into short values ('{}')", both("a value too long")));
    ask(format!("selec '{}' frm", both("a syntax error")));
    ask(format!("do $$ begin perform '{}'; end $$", both("a DO block")));
    ask(format!("do $$ begin raise notice '%', '{}'; end $$", both("a raised notice")));
    ask(format!("set search_path = '{}'", both("a setting")));
    ask("set search_path = public".to_owned());
    ask("prepare p (text) as select length($1)".to_owned());
    ask(format!("execute p ('{}')", both("the argument of EXECUTE")));
    let large = both("a large literal").repeat(40_000);
    ask(format!("select length('{large}')"));
    let mut torn = b"select '\xff\xfe".to_vec();
    torn.extend_from_slice(both("a text that is no UTF-8").as_bytes());
    torn.extend_from_slice(b"'\0");
    say(wire, &message(Some(b'Q'), &torn));
}

fn metrics(port: u16) -> Vec<u8> {
    let mut http = TcpStream::connect(("127.0.0.1", port)).expect("metrics");
    http.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("asked");
    let mut body = Vec::new();
    http.read_to_end(&mut body).expect("metrics");
    let text = String::from_utf8_lossy(&body);
    assert!(text.contains("gateway_sessions_ended_total"), "no metrics: {text}");
    body
}

/// Looks for the values in everything that is at rest or shown without the right to what is sealed.
#[track_caller]
fn search(gateway: &Gateway) {
    let mut places = stage::files(&gateway.data());
    places.push(gateway.log());
    for file in places {
        let Ok(bytes) = stage::content(&file) else { continue };
        assert_eq!(found(&bytes), Vec::<&str>::new(), "in {}", file.display());
    }
}

#[test]
fn row_62_no_protected_value_around_the_work() {
    let cluster = stage::hospital();
    let (name, number) = canary("a result");
    let row = format!("insert into patients values (1000, '{name}', '{number}')");
    cluster.psql_in(HOSPITAL, &row).expect("a row");
    let port = free_port().expect("a port");
    let mut gateway = stage::gateway(&cluster)
        .toml(PHI)
        .toml(&format!("[metrics]\naddress = \"127.0.0.1:{port}\""))
        .log("trace")
        .role_all()
        .role("seer", HOSPITAL, "unmask = [\"*\"]")
        .person("ann", &["everything", "seer"])
        .person("mia", &["everything"])
        .start()
        .expect("it starts");
    let as_person = |name: &str| gateway.conninfo(name, HOSPITAL).expect("a person");
    work(&as_person("ann"), &as_person("mia"));
    assert_eq!(found(&metrics(port)), Vec::<&str>::new(), "in the metrics");
    for arguments in [
        &["trail", "tail", "-n", "1000000"][..],
        &["trail", "tail", "-n", "1000000", "--json"],
        &["access", "matrix"],
    ] {
        let output = gateway.cli_output(arguments).expect("the program");
        assert!(!output.stdout.is_empty(), "{arguments:?} shows nothing");
        let shown = [output.stdout, output.stderr].concat();
        assert_eq!(found(&shown), Vec::<&str>::new(), "in what {arguments:?} shows");
    }
    let log = std::fs::read_to_string(gateway.log()).expect("the log");
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "the log is not talkative");

    // They did come in, and the right to the sealed part shows the literals and parameters.
    let sealed = gateway.cli(&["trail", "tail", "-n", "1000000", "--json", "--open-sealed"]).expect("sealed");
    let seen = found(sealed.as_bytes());
    for way in ["a literal", "a parameter as text", "a unique violation", "a literal of a masked person"] {
        assert!(seen.contains(&way), "{way} is not in the sealed part: {seen:?}");
    }
    // An end without warning: whatever it says on the way goes to the log.
    let pid = gateway.process_id().expect("it runs").to_string();
    let killed = std::process::Command::new("kill").args(["-ABRT", &pid]).status().expect("kill");
    assert!(killed.success());
    gateway.wait(std::time::Duration::from_secs(10)).expect("it ended");
    search(&gateway);
    gateway.serve().expect("it starts again");
    assert!(gateway.terminate().expect("it ends").success());
    search(&gateway);
}

/// Names that are tried at sign-in, and the client's own name, are for the trail: who tried what is what it is for. They
/// stay out of everything else.
#[test]
fn row_62_names_tried_at_sign_in_stay_in_the_trail() {
    let cluster = stage::hospital();
    let port = free_port().expect("a port");
    let gateway = stage::gateway(&cluster)
        .toml(&format!("[metrics]\naddress = \"127.0.0.1:{port}\""))
        .log("trace")
        .person("ann", &["nurse"])
        .start()
        .expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    let (name, number) = canary("a password");
    for tried in [&name, &number] {
        assert!(Wire::connect(&Conninfo { user: tried.clone(), ..ann.clone() }).is_err());
        assert!(Wire::connect(&Conninfo { dbname: tried.clone(), ..ann.clone() }).is_err());
        assert!(Wire::connect(&Conninfo { password: tried.clone(), ..ann.clone() }).is_err());
    }
    let parameters = vec![("application_name".to_owned(), format!("{name} {number}"))];
    assert!(Wire::start(&ann, &Start { parameters, ..Start::default() }).is_ok());
    assert_eq!(found(&metrics(port)), Vec::<&str>::new(), "in the metrics");
    search(&gateway);
}

/// A patient's own number is a token wherever it is kept or shown, and only what opens the sealed part resolves it.
#[test]
fn row_62_patients_are_tokens() {
    let cluster = stage::hospital();
    let (name, number) = canary("a patient");
    let table = "create table charts (patient text primary key, name text)";
    let row = format!("{table}; insert into charts values ('{number}', '{name}')");
    cluster.psql_in(HOSPITAL, &row).expect("a chart");
    let mut gateway = stage::gateway(&cluster)
        .toml(
            "[resource.hospital.phi]\npatients = [\"public.charts.patient\"]\n\
             [resource.hospital.phi.columns]\n\
             \"public.charts.patient\" = { class = \"patient_id\", usage = \"equality\" }\n\
             \"public.charts.name\" = { class = \"name\" }",
        )
        .log("trace")
        .role_all()
        .role("seer", HOSPITAL, "unmask = [\"*\"]")
        .person("ann", &["everything", "seer"])
        .person("mia", &["everything"])
        .start()
        .expect("it starts");
    for person in ["ann", "mia"] {
        let mut wire =
            Wire::connect(&gateway.conninfo(person, HOSPITAL).expect("a person")).expect("a session");
        say(&mut wire, &front::query(&format!("select * from charts where patient = '{number}'")));
        say(&mut wire, &front::query("select * from charts"));
        let bind = front::bind("", "", &[Some(&number)], 1);
        let asked = [
            front::parse("", "select name from charts where patient = $1"),
            bind,
            front::execute("", 0),
            front::SYNC.to_vec(),
        ];
        say(&mut wire, &asked.concat());
    }
    // Who asks for the patient names them, and that is kept as a token too.
    let report = gateway.cli(&["who-saw", &number, "--json"]).expect("who-saw");
    let accesses: serde_json::Value =
        serde_json::from_str(report.lines().next().expect("an answer")).expect("JSON");
    assert_eq!(accesses["accesses"].as_array().map(Vec::len), Some(6), "{report}");
    for arguments in [
        &["trail", "tail", "-n", "1000000"][..],
        &["trail", "tail", "-n", "1000000", "--json"],
        &["saw", "ann", "--json"],
        &["saw", "mia"],
    ] {
        let shown = gateway.cli(arguments).expect("the program");
        assert_eq!(found(shown.as_bytes()), Vec::<&str>::new(), "in what {arguments:?} shows");
    }
    let tokens = stage::entries(&gateway).iter().filter(|entry| entry.get("patients").is_some()).count();
    assert!(tokens >= 6, "{tokens} entries name a patient");
    for person in ["ann", "mia"] {
        let opened = gateway.cli(&["saw", person, "--open-sealed", "--json"]).expect("saw");
        assert!(opened.contains(&number), "opened, the patient of {person} is not told: {opened}");
    }
    search(&gateway);
    assert!(gateway.terminate().expect("it ends").success());
    search(&gateway);
}
