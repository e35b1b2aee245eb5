//! Cases are data: `cases.txt`, against the catalogue that `catalogue.sql` makes and `catalogue_15.txt` records.

mod beneath;
mod limits;
mod literals;
mod shape;

use super::*;

const RECORDED_15: &str = include_str!("catalogue_15.txt");
const RECORDED_18: &str = include_str!("catalogue_18.txt");
const CASES: &str = include_str!("cases.txt");

/// Reads recorded rows: `== n` begins the answer to query n.
fn rows(recorded: &str) -> Vec<Rows> {
    let mut answers = vec![Rows::new(); Catalogue::QUERIES.len()];
    let mut query = 0;
    for line in recorded.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("== ") {
            Some(number) => query = number.parse().unwrap(),
            None => answers[query].push(line.split('\t').map(field).collect()),
        }
    }
    answers
}

fn field(text: &str) -> Option<String> {
    (text != "\\N").then(|| text.replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\"))
}

pub(crate) fn catalogue() -> Catalogue {
    Catalogue::from_rows(&rows(RECORDED_15)).unwrap()
}

/// The catalogue with one more row in the answer to one query.
fn catalogue_with(query: usize, row: &[&str]) -> Catalogue {
    let mut answers = rows(RECORDED_15);
    answers[query].push(row.iter().map(|value| field(value)).collect());
    Catalogue::from_rows(&answers).unwrap()
}

/// A small hospital: tables, a view of a view, a materialised view, a function and an operator of users.
pub(crate) fn catalogue_of_hospital() -> Catalogue {
    let mut answers = vec![Rows::new(); Catalogue::QUERIES.len()];
    for line in include_str!("hospital.txt").lines().filter(|line| !line.starts_with('#')) {
        let (query, row) = line.split_once('\t').unwrap();
        answers[query.parse::<usize>().unwrap()].push(row.split('\t').map(field).collect());
    }
    Catalogue::from_rows(&answers).unwrap()
}

fn inspected(text: &str) -> Inspection {
    inspect(text, &catalogue(), &Limits::default()).unwrap()
}

fn effect(text: &str, catalogue: &Catalogue) -> Effect {
    inspect(text, catalogue, &Limits::default()).unwrap().effect
}

fn shown(needs: &[Need]) -> String {
    let needs: Vec<_> = needs.iter().map(|need| format!("{} {}", need.action.name(), need.object)).collect();
    if needs.is_empty() { "-".to_owned() } else { needs.join(", ") }
}

fn check_cases(recorded: &str) {
    let catalogue = Catalogue::from_rows(&rows(recorded)).unwrap();
    let lines: Vec<_> = CASES.lines().filter(|line| !line.starts_with('#')).collect();
    let mut wrong = Vec::new();
    for case in lines.chunks(3) {
        let [text, what, needs] = case else { panic!("a case is three lines: {case:?}") };
        let got = match inspect(text, &catalogue, &Limits::default()) {
            Ok(got) => got,
            Err(error) => panic!("{text}: {}", error.message),
        };
        let apart = if got.effect_apart == got.effect {
            String::new()
        } else {
            format!(" (apart {:?})", got.effect_apart)
        };
        let got_what = format!("{:?}{apart} {} {}", got.effect, got.action.name(), got.command);
        if got_what != what.trim() || shown(&got.needs) != needs.trim() {
            wrong.push(format!("{text}\n  {got_what}\n  {}", shown(&got.needs)));
        }
    }
    assert!(lines.len() >= 3 * 400, "{} cases", lines.len() / 3);
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn cases_hold_with_the_catalogue_of_postgresql_15() {
    check_cases(RECORDED_15);
}

#[test]
fn cases_hold_with_the_catalogue_of_postgresql_18() {
    check_cases(RECORDED_18);
}

#[test]
fn without_a_catalogue_nothing_is_a_read() {
    let unknown = Catalogue::unknown();
    for text in
        ["SELECT 1", "SELECT lower('a')", "TABLE pg_class", "COPY (SELECT 1) TO STDOUT", "EXPLAIN SELECT 1"]
    {
        assert_eq!(effect(text, &unknown), Effect::Write, "{text}");
    }
    for text in ["BEGIN", "COMMIT", "SET statement_timeout = 1", ""] {
        assert_eq!(effect(text, &unknown), Effect::Control, "{text}");
    }
}

#[test]
fn an_unfit_answer_is_not_a_catalogue() {
    assert_eq!(Catalogue::from_rows(&[]).unwrap_err().query, 0);
    for (query, row) in [(2, "public"), (3, "public"), (4, "="), (5, "1"), (6, "date"), (11, "query")] {
        let mut answers = rows(RECORDED_15);
        answers[query].push(vec![Some(row.to_owned())]);
        assert_eq!(Catalogue::from_rows(&answers).unwrap_err().query, query);
    }
}

#[test]
fn digest_follows_the_catalogue() {
    assert_eq!(catalogue().digest(), catalogue().digest());
    let other = catalogue_with(3, &["public", "lower", "false", "false"]);
    assert_ne!(catalogue().digest(), other.digest());
}

#[test]
fn what_users_add_ends_a_proof() {
    let read = |text: &str, query, row: &[&str]| effect(text, &catalogue_with(query, row)) == Effect::Read;
    // A function of the same name, in any schema; known extensions do not count.
    assert!(!read("SELECT lower('a')", 3, &["hr", "lower", "false", "false"]));
    assert!(read("SELECT lower('a')", 3, &["hr", "lower", "true", "false"]));
    assert!(read("SELECT pg_catalog.lower('a')", 3, &["hr", "lower", "false", "false"]));
    assert!(!read("SELECT pg_catalog.lower('a')", 3, &["pg_catalog", "lower", "false", "false"]));
    // What is syntax in PostgreSQL 18 was a call in 13.
    for (text, name) in [
        ("SELECT JSON('{}')", "json"),
        ("SELECT JSON_SCALAR(1)", "json_scalar"),
        ("SELECT JSON_SERIALIZE('1')", "json_serialize"),
        ("SELECT JSON_OBJECT()", "json_object"),
        ("SELECT JSON_ARRAY(1, 2)", "json_array"),
        ("SELECT JSON_ARRAYAGG(1)", "json_arrayagg"),
        ("SELECT JSON_EXISTS('{}', '$')", "json_exists"),
        ("SELECT JSON_QUERY('{}', '$')", "json_query"),
        ("SELECT JSON_VALUE('{}', '$')", "json_value"),
        ("SELECT MERGE_ACTION()", "merge_action"),
    ] {
        assert!(read(text, 3, &["hr", "unrelated", "false", "false"]), "{text}");
        assert!(!read(text, 3, &["hr", name, "false", "false"]), "{text}");
    }
    // An operator, written or implied.
    let equals = ["=", "public", "same", "false", "false"];
    for text in [
        "SELECT 1 = 2",
        "SELECT 1 IN (2)",
        "SELECT NULLIF(1, 2)",
        "SELECT CASE 1 WHEN 2 THEN 3 END",
        "SELECT * FROM notes JOIN encounters USING (id)",
        "SELECT * FROM notes NATURAL JOIN encounters",
        "SELECT 1 IS DISTINCT FROM 2",
        "SELECT 1 IN (SELECT 2)",
        "SELECT 1 = ANY (ARRAY[2])",
        "SELECT * FROM patient_names_2 JOIN notes USING (body)",
    ] {
        assert!(!read(text, 4, &equals), "{text}");
    }
    assert!(read("SELECT 1 < 2", 4, &equals));
    assert!(!read("SELECT 1 BETWEEN 2 AND 3", 4, &["<=", "public", "same", "false", "false"]));
    assert!(read("SELECT 1 = 2", 4, &["=", "pg_catalog", "texteq", "true", "false"]));
    assert!(!read("SELECT 'a' = 'b'", 4, &["=", "pg_catalog", "pg_notify", "true", "false"]));
    // A cast: explicit ones by their target, implicit ones and those that json looks for everywhere.
    assert!(!read("SELECT id::text FROM notes", 6, &["text", "e", "f", "false", "false"]));
    assert!(!read("SELECT text(id) FROM notes", 6, &["text", "e", "f", "false", "false"]));
    assert!(read("SELECT 1", 6, &["text", "e", "f", "false", "false"]));
    assert!(!read("SELECT 1", 6, &["text", "i", "f", "false", "false"]));
    assert!(!read("SELECT 1", 6, &["json", "e", "f", "false", "false"]));
    // A function of an operator class.
    assert!(!read("SELECT 1", 7, &["compare"]));
    // A type that shadows a built-in one.
    assert!(!read("SELECT 'a'::uuid", 5, &["30000", "uuid", "d", "25", "1", "0", "\\N", "false"]));
    assert!(read("SELECT 'a'::uuid", 5, &["30000", "uuid", "d", "25", "0", "0", "\\N", "false"]));
}

#[test]
fn temporary_relations_shadow_but_do_not_deny() {
    let view =
        ["pg_temp_3", "notes", "v", "false", "true", "false", "false", " SELECT public.evil(1) AS id;"];
    let shadowed = catalogue_with(2, &view);
    let got = inspect("SELECT * FROM notes", &shadowed, &Limits::default()).unwrap();
    assert_eq!(shown(&got.needs), "Read public.notes");
    assert_eq!(got.effect, Effect::Write);
    let table = ["pg_temp_3", "mine", "r", "false", "true", "false", "false", "\\N"];
    let got = inspect("SELECT * FROM mine, pg_temp.mine m", &catalogue_with(2, &table), &Limits::default())
        .unwrap();
    assert_eq!(shown(&got.needs), "Read pg_temp.mine");
    assert_eq!(got.effect, Effect::Read);
}

#[test]
fn views_that_cannot_be_read_are_not_proven() {
    let view =
        |definition| catalogue_with(2, &["public", "w", "v", "false", "false", "false", "false", definition]);
    assert_eq!(effect("SELECT * FROM w", &view(" SELECT 1;")), Effect::Read);
    assert_eq!(effect("SELECT * FROM w", &view(" SELECT * FROM public.w;")), Effect::Write);
    assert_eq!(effect("SELECT * FROM w", &view(" SELECT NEW GRAMMAR !;")), Effect::Write);
    assert_eq!(effect("SELECT * FROM w", &view("\\N")), Effect::Write);
    assert_eq!(effect("SELECT * FROM w", &view(" SELECT initcap('a'::text) AS x;")), Effect::Read);
    assert_eq!(effect("SELECT * FROM w", &view(" SELECT evil(1) AS x;")), Effect::Write);
    assert_eq!(effect("SELECT * FROM w", &view(" SELECT 1 OPERATOR(public.===) 2;")), Effect::Write);
    assert_eq!(effect("SELECT * FROM w", &view(" SELECT 1 FROM public.notes FOR UPDATE;")), Effect::Write);
}

#[test]
fn the_record_names_what_is_beneath_a_view() {
    let got = inspected("SELECT * FROM patient_names_2");
    let objects: Vec<&str> = got.objects.iter().map(|name| &**name).collect();
    assert_eq!(
        objects,
        ["public.notes", "public.patient_names", "public.patient_names_2", "public.patients"]
    );
    assert!(inspected("SELECT * FROM remote").reaches_foreign);
    assert!(!inspected("SELECT * FROM notes").reaches_foreign);
}

#[test]
fn shape_of_the_answer() {
    let check = |text: &str, statements, returns_rows, copy, changes_catalogue| {
        let got = inspected(text);
        let want = (statements, returns_rows, copy, changes_catalogue);
        assert_eq!((got.statements, got.returns_rows, got.copy, got.changes_catalogue), want, "{text}");
    };
    check("", 0, false, None, false);
    check(" -- nothing\n ; /* here */ ", 0, false, None, false);
    check("SELECT 1; SELECT 2", 2, true, None, false);
    check("INSERT INTO notes VALUES (1)", 1, false, None, false);
    check("INSERT INTO notes VALUES (1) RETURNING *", 1, true, None, false);
    check("COPY notes TO STDOUT", 1, false, Some(CopyDirection::Out), false);
    check("COPY notes FROM STDIN", 1, false, Some(CopyDirection::In), false);
    check("COPY notes FROM '/x'", 1, false, None, false);
    check("CREATE TEMP TABLE x (id int)", 1, false, None, true);
    check("SELECT 1 INTO x", 1, false, None, true);
    check("SELECT evil(1)", 1, true, None, true);
    check("DO ''", 1, false, None, true);
    check("EXPLAIN SELECT 1", 1, true, None, false);
    check("FETCH c", 1, true, None, false);
    check("MOVE c", 1, false, None, false);
}

#[test]
fn session_effects_come_in_order() {
    let text = "BEGIN; SAVEPOINT a; ROLLBACK TO a; RELEASE a; DECLARE c CURSOR WITH HOLD FOR SELECT 1; FETCH c; CLOSE c; \
        PREPARE p AS SELECT 1; EXECUTE p; DEALLOCATE ALL; SET LOCAL work_mem = '1MB'; RESET work_mem; LISTEN l; \
        UNLISTEN *; SET ROLE x; COMMIT AND CHAIN; ROLLBACK; PREPARE TRANSACTION 'x'; DISCARD ALL; DISCARD PLANS; \
        SELECT set_config('work_mem', '2MB', true)";
    let shown: Vec<String> = inspected(text).session.iter().map(|effect| format!("{effect:?}")).collect();
    let starts = [
        "Begin",
        "Savepoint(\"a\")",
        "RollbackTo(\"a\")",
        "Release(\"a\")",
        "Declare { name: \"c\"",
        "Fetch { name: \"c\" }",
        "Close(Some(\"c\"))",
        "Prepare { name: \"p\"",
        "Execute { name: \"p\" }",
        "Deallocate(None)",
        "Set { name: \"work_mem\", value: Some(\"1MB\"), local: true }",
        "Reset(Some(\"work_mem\"))",
        "Listen(\"l\")",
        "Unlisten(None)",
        "SetRole",
        "Commit { chain: true }",
        "Rollback { chain: false }",
        "PrepareTransaction",
        "DiscardAll",
        "DiscardOther",
        "Set { name: \"work_mem\", value: Some(\"2MB\"), local: false }",
    ];
    assert_eq!(shown.len(), starts.len(), "{shown:?}");
    for (shown, start) in shown.iter().zip(starts) {
        assert!(shown.starts_with(start), "{shown} for {start}");
    }
}

#[test]
fn prepared_statements_and_cursors_resolve() {
    let known = |effect, needs: &Inspection| {
        let needs = needs.needs.clone();
        Some(Arc::new(Known {
            lineage: None,
            needs,
            effect,
            command: "SELECT",
            objects: Box::new([]),
            changes_catalogue: false,
        }))
    };
    let source = inspected("SELECT * FROM notes");
    let check = |text: &str, prepared, cursor, effect, needs: &str| {
        let got = inspected(text);
        let lookup = |found| if found { known(Effect::Read, &source) } else { None };
        let resolved = got.resolve(|_| lookup(prepared), |_| lookup(cursor));
        assert_eq!((resolved.effect, shown(&resolved.needs).as_str()), (effect, needs), "{text}");
    };
    check("EXECUTE p(1)", true, false, Effect::Read, "Read public.notes");
    check("EXECUTE p(1)", false, true, Effect::Write, "Execute ?.p()");
    check("EXECUTE p(evil(1))", true, false, Effect::Write, "Read public.notes, Execute public.evil()");
    check("FETCH c", false, true, Effect::Read, "Read public.notes");
    check("FETCH c", true, false, Effect::Write, "Execute ?.c()");
    check("SELECT 1; FETCH c", false, true, Effect::Read, "Read public.notes");
    check("EXPLAIN ANALYZE EXECUTE p", true, false, Effect::Read, "Read public.notes");
    // What the text itself prepares comes before what the session had.
    check("PREPARE p AS DELETE FROM hr.staff; EXECUTE p", true, false, Effect::Write, "Write hr.staff");
    check("PREPARE p AS SELECT 1; EXECUTE p", false, false, Effect::Read, "-");
    check("DECLARE c CURSOR FOR TABLE notes; FETCH c", false, false, Effect::Read, "Read public.notes");
    check("BEGIN", false, false, Effect::Control, "-");
}

#[test]
fn what_drivers_ask_of_the_catalogue_is_a_read() {
    let catalogue = catalogue();
    let texts: Vec<_> = include_str!("utility.txt").lines().filter(|line| !line.starts_with('#')).collect();
    assert!(texts.len() >= 50);
    for text in texts {
        let got = inspect(text, &catalogue, &Limits::default()).unwrap();
        assert_ne!(got.effect, Effect::Write, "{text}");
        assert!(got.needs.iter().all(|need| need.action == Action::Read), "{text}: {}", shown(&got.needs));
    }
}
