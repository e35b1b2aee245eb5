//! Rows 1, 2 and 6: deny by default, roles, people with names of their own. Also: what a policy forbids is forbidden by
//! whatever name it is reached.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use testbed::Conninfo;
use testbed::postgres::Cluster;

use super::stage::{self, HOSPITAL, Held, answer, entries, of, psql, refused, text};

#[test]
fn row_1_default_deny() {
    let cluster = stage::hospital();
    let gateway = stage::gateway(&cluster)
        .person("newcomer", &[])
        .person("ann", &["nurse"])
        .start()
        .expect("it starts");
    let output = psql(&gateway.conninfo("newcomer", HOSPITAL).expect("a person"), "select 1");
    assert!(!output.status.success(), "somebody without a grant got in: {}", stage::out(&output));
    assert_eq!(stage::out(&output), "");
    let denied = denials(&entries(&gateway), "newcomer");
    assert_eq!(denied.len(), 1, "one event for one refusal: {denied:#?}");
    let event = denied.first().expect("one");
    assert_eq!(text(event, "resource"), HOSPITAL);
    assert!(names_a_rule(event), "{event:#?}");

    // Within a session: what no rule allows is refused, each time with one event of its own.
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    refused(&ann, "select billed from claims");
    refused(&ann, "update patients set name = 'x'");
    refused(&ann, "drop table notes");
    refused(&ann, "copy claims to stdout");
    refused(&ann, "select lo_create(0)");
    let denied = denials(&entries(&gateway), "ann");
    assert_eq!(denied.len(), 5, "{denied:#?}");
    for event in denied {
        assert_eq!(text(&event, "resource"), HOSPITAL);
        assert!(names_a_rule(&event), "{event:#?}");
    }
    assert_eq!(cluster.psql_in(HOSPITAL, "select count(*) from notes").expect("psql"), "200");
}

fn denials(entries: &[Value], person: &str) -> Vec<Value> {
    let denied = |entry: &&&Value| text(entry, "verdict") == "deny";
    let all: Vec<&Value> = entries.iter().filter(|entry| text(entry, "person_name") == person).collect();
    all.iter().filter(denied).map(|entry| (*entry).clone()).collect()
}

/// A denial names the policies that forbade it, or the version of the policy in which nothing allowed it.
fn names_a_rule(event: &Value) -> bool {
    let policies = event.get("policies").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    policies || !text(event, "policy_version").is_empty()
}

#[test]
fn row_2_roles_by_resource_and_verb() {
    let cluster = stage::hospital();
    cluster.psql_in(HOSPITAL, "create table labs (id int); create table rooms (id int);").expect("tables");
    own_everything(&cluster);
    let gateway = stage::gateway(&cluster)
        .role("builder", HOSPITAL, "read = [\"public.rooms\"]\nwrite = [\"public.rooms\"]\ndefine = [\"public.rooms\", \"public.labs\"]")
        .person("bill", &["billing"])
        .person("ann", &["nurse"])
        .person("cleo", &["clerk"])
        .person("both", &["billing", "builder"])
        .start()
        .expect("it starts");
    own_everything(&cluster);
    let bill = gateway.conninfo("bill", HOSPITAL).expect("a person");
    assert_eq!(answer(&bill, "select count(*) from claims"), "200");
    refused(&bill, "select body from notes");

    let triples = random_triples(1_000);
    let relations: Vec<String> = RELATIONS.iter().map(|name| format!("public.{name}")).collect();
    let mut arguments = vec!["access", "matrix", "--json"];
    for relation in &relations {
        arguments.extend(["--relation", relation]);
    }
    let matrix = matrix(&gateway.cli(&arguments).expect("the matrix"));
    let mut compared = 0;
    for person in PEOPLE {
        let mine: Vec<&Triple> = triples.iter().filter(|triple| triple.person == person).collect();
        let effective = effective(&gateway.conninfo(person, HOSPITAL).expect("a person"), &mine);
        for (triple, allowed) in mine.iter().zip(effective) {
            let key = (person.to_owned(), triple.action.to_owned(), format!("public.{}", triple.relation));
            let said = matrix.get(&key).unwrap_or_else(|| panic!("the matrix lacks {key:?}"));
            assert_eq!(*said, allowed, "the matrix and the gateway disagree on {key:?}");
            compared += 1;
        }
    }
    assert_eq!(compared, 1_000);
}

const PEOPLE: [&str; 4] = ["bill", "ann", "cleo", "both"];
const ACTIONS: [&str; 3] = ["Read", "Write", "Define"];
const RELATIONS: [&str; 5] = ["patients", "notes", "claims", "labs", "rooms"];

struct Triple {
    person: &'static str,
    action: &'static str,
    relation: &'static str,
}

/// Returns triples drawn by a fixed generator (MMIX), so that each run asks the same.
fn random_triples(count: usize) -> Vec<Triple> {
    let mut state: u64 = 64;
    let mut pick = |from: &[&'static str]| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        from[usize::try_from(state >> 33).expect("31 bits") % from.len()]
    };
    (0..count)
        .map(|_| Triple { person: pick(&PEOPLE), action: pick(&ACTIONS), relation: pick(&RELATIONS) })
        .collect()
}

/// The database itself refuses nothing: what is refused was refused by Wardline.
fn own_everything(cluster: &Cluster) {
    let known = cluster.psql("select count(*) from pg_roles where rolname = 'wardline_app'").expect("psql");
    if known == "1" {
        for relation in RELATIONS {
            cluster
                .psql_in(HOSPITAL, &format!("alter table {relation} owner to wardline_app"))
                .expect("psql");
        }
    }
}

/// Tries each triple in one session and returns what was allowed.
fn effective(conninfo: &Conninfo, triples: &[&Triple]) -> Vec<bool> {
    let mut text = String::new();
    for triple in triples {
        let relation = triple.relation;
        let statement = match triple.action {
            "Read" => format!("select count(*) from public.{relation}"),
            "Write" => format!("delete from public.{relation} where false"),
            _ => format!("comment on table public.{relation} is null"),
        };
        let _ = writeln!(text, "\\o /dev/null\n{statement};\n\\o\n\\echo :SQLSTATE");
    }
    let output = stage::script(conninfo, &["-v", "ON_ERROR_STOP=0"], &text);
    let states = stage::out(&output);
    let states: Vec<&str> = states.lines().collect();
    assert_eq!(states.len(), triples.len(), "{}", stage::err(&output));
    states
        .iter()
        .zip(triples)
        .map(|(state, triple)| match *state {
            "00000" => true,
            "42501" => false,
            other => panic!("SQLSTATE {other} for {} on {}", triple.action, triple.relation),
        })
        .collect()
}

fn matrix(json: &str) -> BTreeMap<(String, String, String), bool> {
    let matrix: Value = serde_json::from_str(json).expect("JSON");
    let cells = matrix.get("decisions").and_then(Value::as_array).expect("decisions");
    cells
        .iter()
        .map(|cell| {
            let allowed = cell.get("allowed").and_then(Value::as_bool).expect("a verdict");
            ((text(cell, "person"), text(cell, "action"), text(cell, "object")), allowed)
        })
        .collect()
}

/// A secret table and all that can stand over one; a partitioned table with a forbidden part, and an heir of a forbidden
/// table.
const OVER_A_SECRET: &str = "
    create table secret (id int primary key, body text);
    insert into secret values (1, 'one');
    create view over_secret as select id, body from secret;
    create view over_view as select * from over_secret;
    create materialized view stored as select * from over_secret;
    create table ruled (id int);
    create rule copies as on insert to ruled do also insert into secret values (new.id, 'by rule');
    create table whole (id int) partition by range (id);
    create table part partition of whole for values from (0) to (10);
    create table other partition of whole for values from (10) to (20);
    insert into whole values (1), (11);
    create table elder (id int);
    create table heir () inherits (elder);
    insert into heir values (1);
";

/// Nobody may use these tables; whoever asks by another name may not either.
const FORBID: &str = r#"
    @id("no-secret") forbid (principal, action, resource == Relation::"hospital/public.secret");
    @id("no-part") forbid (principal, action == Action::"Read", resource == Relation::"hospital/public.part");
    @id("no-elder") forbid (principal, action in [Action::"Read", Action::"Write"], resource == Relation::"hospital/public.elder");
"#;

#[test]
fn a_forbid_reaches_what_stands_over_its_table() {
    let reached = [
        ("select * from over_secret", "no-secret"),
        ("select * from over_view", "no-secret"),
        ("select * from stored", "no-secret"),
        ("copy (select * from over_view) to stdout", "no-secret"),
        ("begin; declare c cursor for select * from over_view; fetch all from c", "no-secret"),
        ("prepare p as select * from over_view; execute p", "no-secret"),
        ("update over_secret set body = 'two'", "no-secret"),
        ("delete from over_view where false", "no-secret"),
        ("insert into ruled values (7)", "no-secret"),
        ("select * from whole", "no-part"),
        ("select * from heir", "no-elder"),
        ("insert into heir values (2)", "no-elder"),
    ];
    let free = ["select * from other", "insert into whole values (12)", "select * from notes limit 1"];
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("test.cedar");
    std::fs::write(&file, "").expect("a policy without policies");
    let cluster = stage::hospital();
    cluster.psql_in(HOSPITAL, OVER_A_SECRET).expect("tables");
    // The role may do all this, but is never granted anything on the secret table itself.
    let names = ["over_secret", "over_view", "stored", "ruled", "whole", "other", "heir", "notes"];
    let names = names.map(|name| format!("\"public.{name}\"")).join(", ");
    let gateway = stage::gateway(&cluster)
        .toml(&format!("[policy]\nfiles = [{file:?}]\n"))
        .role(
            "viewer",
            HOSPITAL,
            &format!("read = [{names}]\nwrite = [{names}]\ndefine = [\"pg_temp.*\"]\ntransfer = true"),
        )
        .person("vera", &["viewer"])
        .start()
        .expect("it starts");
    let vera = gateway.conninfo("vera", HOSPITAL).expect("a person");
    for (statement, _) in reached {
        answer(&vera, statement);
    }
    free.iter().for_each(|statement| drop(answer(&vera, statement)));
    let held = Held::open("127.0.0.2", &vera);
    let prepared = held.prepare("select body from over_view");
    let free_prepared = held.prepare("select body from notes where id < 3");
    assert_eq!(held.run(&prepared), Ok(2));
    assert!(denials(&entries(&gateway), "vera").is_empty());

    std::fs::write(&file, FORBID).expect("a policy");
    gateway.reload().expect("it runs");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while held.run(&prepared).is_ok() {
        assert!(std::time::Instant::now() < until, "the new policy is not in force");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let before = denials(&entries(&gateway), "vera");
    assert_eq!(before.iter().map(forbidden_by).collect::<Vec<_>>(), ["no-secret"], "{before:#?}");
    assert_eq!(held.run(&prepared), Err("42501".to_owned()));

    for (index, (statement, forbid)) in reached.into_iter().enumerate() {
        refused(&vera, statement);
        let denied = denials(&entries(&gateway), "vera");
        assert_eq!(denied.len(), 2 + index + 1, "one entry for `{statement}`");
        assert_eq!(forbidden_by(&denied[2 + index]), forbid, "`{statement}`");
    }
    for statement in free {
        answer(&vera, statement);
        // Whoever makes objects makes the others look again, also where nothing new is prepared.
        answer(&vera, "create temporary table mine (id int)");
        assert_eq!(held.run(&free_prepared), Ok(2), "{statement}");
    }
    let unchanged = "select string_agg(id || body, ' ' order by id) from secret";
    assert_eq!(cluster.psql_in(HOSPITAL, unchanged).expect("psql"), "1two 7by rule");
}

fn forbidden_by(event: &Value) -> String {
    let policies = event.get("policies").and_then(Value::as_array).expect("policies");
    policies.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
}

#[test]
fn row_6_unique_people_behind_one_account() {
    let cluster = stage::hospital();
    let names: Vec<String> = (1..=50).map(|n| format!("person{n}")).collect();
    let mut builder = stage::gateway(&cluster);
    for name in &names {
        builder = builder.person(name, &["nurse"]);
    }
    let gateway = builder.start().expect("it starts");
    for name in &names {
        let conninfo = gateway.conninfo(name, HOSPITAL).expect("a person");
        assert_eq!(answer(&conninfo, "select current_user, count(*) from patients"), "wardline_app|200");
    }
    let entries = entries(&gateway);
    let mut ids = BTreeMap::new();
    for name in &names {
        let reads = of(&entries, "operation", name);
        assert_eq!(reads.len(), 1, "the entries of {name}");
        ids.insert(text(reads[0], "person"), name);
    }
    assert_eq!(ids.len(), 50, "50 people have 50 ids");
    assert!(!ids.contains_key(""), "an entry has no id");

    let again = gateway.cli_stdin(
        &["user", "add", "person7", "--role", "nurse", "--password-stdin"],
        "a long enough password",
    );
    assert!(again.is_err(), "a name was given twice");

    // The same person from two devices at once.
    let conninfo = gateway.conninfo("person7", HOSPITAL).expect("a person");
    let first = Held::open("127.0.0.2", &conninfo);
    let second = Held::open("127.0.0.3", &conninfo);
    let flagged = stage::entries(&gateway);
    let flagged = of(&flagged, "session-opened", "person7");
    let last = flagged.last().expect("a session of person7");
    assert!(text(last, "detail").contains("127.0.0.2"), "concurrent use is not flagged: {last:#?}");
    drop((first, second));
}
