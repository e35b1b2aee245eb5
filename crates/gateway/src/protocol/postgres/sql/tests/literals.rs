//! What is kept of a text, and what is not.

use proptest::prelude::*;

use super::*;

fn check(text: &str, statement: &str, literals: &[&str]) {
    let got = inspected(text);
    let kept: Vec<_> =
        normalise::decode(&got.literals).unwrap().into_iter().map(|l| l.unwrap_or("withheld")).collect();
    assert_eq!((&*got.statement, &kept[..]), (statement, literals), "{text}");
}

#[test]
fn a_quoted_name_that_nothing_has_is_taken_out() {
    use crate::protocol::postgres::sql::lineage::tests::FOLLOWING;
    let text = "SELECT \"name\", \"upper\"(\"ssn\") AS \"Who\"\"\" FROM \"public\".\"patients\" \
                WHERE name = \"Miller\" AND U&\"mrn\" = 'x'";
    let expected =
        "SELECT \"name\", \"upper\"(\"ssn\") AS $1 FROM \"public\".\"patients\" WHERE name = $2 AND $3 = $4";
    let got = inspect(text, &catalogue_of_hospital(), &FOLLOWING).unwrap();
    assert_eq!(&*got.statement, expected);
    let literals = normalise::decode(&got.literals).unwrap();
    assert_eq!(literals, [Some("\"Who\"\"\""), Some("\"Miller\""), Some("U&\"mrn\""), Some("'x'")]);
    // Where nothing is protected, the names of columns are not known either.
    check("SELECT \"a\" FROM notes", "SELECT \"a\" FROM notes", &[]);
}

#[test]
fn literals_are_taken_out_wherever_they_stand() {
    check("SELECT a FROM notes WHERE id = 12345", "SELECT a FROM notes WHERE id = $1", &["12345"]);
    check(
        "SELECT 'it''s', E'a\\'b' , N'x',B'01',X'1F'",
        "SELECT $1, $2 , $3,$4,$5",
        &["'it''s'", "E'a\\'b'", "N'x'", "B'01'", "X'1F'"],
    );
    check("SELECT $$a'b$$, $q$ $$ $q$", "SELECT $1, $2", &["$$a'b$$", "$q$ $$ $q$"]);
    check("SELECT U&'\\0041' UESCAPE '!'", "SELECT $1 UESCAPE $2", &["U&'\\0041'", "'!'"]);
    check(
        "SELECT 1.5, .5, 1e-3, 1_000, 0x1F, 0b1, 2.",
        "SELECT $1, $2, $3, $4, $5, $6, $7",
        &["1.5", ".5", "1e-3", "1_000", "0x1F", "0b1", "2."],
    );
    check("SET app.patient = miller", "SET app.patient = $1", &["miller"]);
    check(
        "SET LOCAL app.patient TO Miller, 'x'; SET search_path = a",
        "SET LOCAL app.patient TO $1, $2; SET search_path = a",
        &["Miller", "'x'"],
    );
    check("SET app.patient TO DEFAULT; SELECT a", "SET app.patient TO DEFAULT; SELECT a", &[]);
    check("SELECT -1, a-1, a -- c\n-1", "SELECT -$1, a-$2, a -$3", &["1", "1", "1"]);
    check("SELECT 'a'\n  'b' , 'c'\r\n\t'd'", "SELECT $1 , $2", &["'a'\n  'b'", "'c'\r\n\t'd'"]);
    check("SELECT $2, 'x', $1", "SELECT $2, $3, $1", &["'x'"]);
    check(
        "SELECT date '2020-01-01', int4 '1', interval '1' day",
        "SELECT date $1, int4 $2, interval $3 day",
        &["'2020-01-01'", "'1'", "'1'"],
    );
    check(
        "SELECT a1, b$2, \"c 3\", U&\"d\\0034\", t1.c2 FROM notes",
        "SELECT a1, b$2, \"c 3\", U&\"d\\0034\", t1.c2 FROM notes",
        &[],
    );
    check(
        "CREATE TABLE x (a varchar(10) DEFAULT 'y')",
        "CREATE TABLE x (a varchar($1) DEFAULT $2)",
        &["10", "'y'"],
    );
    check("COMMENT ON TABLE notes IS 'who'", "COMMENT ON TABLE notes IS $1", &["'who'"]);
    check(
        "SELECT true, NULL, ARRAY[1,2], x[1:2]",
        "SELECT true, NULL, ARRAY[$1,$2], x[$3:$4]",
        &["1", "2", "1", "2"],
    );
    check("SELECT 5 */* c */ 3, 1 <> 2", "SELECT $1 * $2, $3 <> $4", &["5", "3", "1", "2"]);
    check("SELECT E'\\\\', 'a\\', 'b'", "SELECT $1, $2, $3", &["E'\\\\'", "'a\\'", "'b'"]);
    check("SELECT 'é', \"é\"", "SELECT $1, \"é\"", &["'é'"]);
}

#[test]
fn comments_and_white_space_go() {
    check(" SELECT  1 -- Jane Doe\n , /* ssn /* 999 */ */ 2 ; ", "SELECT $1 , $2 ;", &["1", "2"]);
    check("-- only\n/* comments */", "", &[]);
    check("", "", &[]);
}

#[test]
fn statements_of_one_shape_look_alike() {
    let shape = |text| inspected(text).statement.clone();
    assert_eq!(
        shape("SELECT * FROM notes WHERE id=7  AND body = 'x'"),
        shape("SELECT * FROM notes WHERE id=12\nAND body = $$y$$")
    );
    assert_ne!(shape("SELECT 1"), shape("SELECT a"));
}

#[test]
fn long_statements_are_cut() {
    let got = inspected(&format!("SELECT 1{}", ", 'a', b".repeat(5000)));
    assert!(got.statement.len() <= (8 << 10) + 8 && got.statement.ends_with(" …"));
    assert_eq!(normalise::decode(&got.literals).unwrap().len(), 5001);
    let got = inspected(&format!("SELECT 1 AS \"{}\"", "é".repeat(100)));
    assert!(got.statement.len() < 90 && got.statement.ends_with('…'), "{}", got.statement);
    let big = "x".repeat(300);
    check(&format!("SELECT '{big}'"), "SELECT $1", &[&format!("'{big}'")]);
}

fn check_secret(text: &str) {
    let got = inspected(text);
    assert!(got.secret, "{text}");
    assert!(!format!("{got:?}").contains("hunter2"), "{got:?}");
    assert!(!String::from_utf8_lossy(&got.literals).contains("hunter2"), "{text}");
}

#[test]
fn passwords_are_kept_nowhere() {
    for text in [
        "CREATE ROLE x LOGIN PASSWORD 'hunter2'",
        "CREATE USER x ENCRYPTED PASSWORD E'hunter2' VALID UNTIL '2030-01-01'",
        "ALTER ROLE x WITH PASSWORD 'hunter2'",
        "ALTER USER x PASSWORD $$hunter2$$",
        "ALTER USER x PASSWORD 'hun'\n'hunter2'",
        "ALTER USER x PASSWORD U&'hunter2'",
        "CREATE USER MAPPING FOR x SERVER other OPTIONS (user 'a', password 'hunter2')",
        "ALTER USER MAPPING FOR x SERVER other OPTIONS (SET password 'hunter2')",
        "CREATE SERVER s FOREIGN DATA WRAPPER fdw OPTIONS (password 'hunter2')",
        "ALTER SERVER other OPTIONS (ADD token 'hunter2')",
        "CREATE FOREIGN TABLE f (id int) SERVER other OPTIONS (auth 'hunter2')",
        "CREATE SUBSCRIPTION s CONNECTION 'host=x password=hunter2' PUBLICATION p",
        "ALTER SUBSCRIPTION s CONNECTION 'host=x password=hunter2'",
        "ALTER SYSTEM SET primary_conninfo = 'password=hunter2'",
        "ALTER ROLE x SET app.token = 'hunter2'",
        "SET app.password = 'hunter2'",
        "SELECT set_config('app.password', 'hunter2', false)",
        "DO $$ BEGIN EXECUTE 'ALTER ROLE x PASSWORD ''hunter2'''; END $$",
        "SELECT dblink_connect('host=x Password=hunter2')",
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT 'password=hunter2' $$",
        "COPY notes TO PROGRAM 'mysql --password=hunter2'",
        "SELECT 1; ALTER ROLE x PASSWORD 'hunter2'; SELECT 2",
        "/* x */ ALTER ROLE x PASSWORD /* hunter2 */ 'hunter2' -- hunter2",
    ] {
        check_secret(text);
    }
}

#[test]
fn a_secret_costs_only_its_own_statement() {
    check(
        "SELECT 1; ALTER ROLE x PASSWORD 'hunter2'; SELECT 2",
        "SELECT $1; ALTER ROLE x PASSWORD $2; SELECT $3",
        &["1", "withheld", "2"],
    );
    // Nobody hides what they looked for behind the word.
    check(
        "SELECT * FROM notes WHERE body = 'password' AND id = 7",
        "SELECT * FROM notes WHERE body = $1 AND id = $2",
        &["'password'", "7"],
    );
    assert!(!inspected("SELECT 'password'").secret);
}

#[test]
fn an_unreadable_text_leaves_no_trace_for_the_record() {
    let error = inspect("ALTER ROLE x PASSWORD 'hunter2' oops 'hunter2'", &catalogue(), &Limits::default())
        .unwrap_err();
    assert_eq!((error.reason, error.to_string().as_str()), (Reason::Syntax, "Syntax"));
}

/// A literal as PostgreSQL reads it, in one of the ways to write it.
fn literal() -> impl Strategy<Value = String> {
    let text = "[ -~é\n]{0,12}".prop_map(|text: String| text.replace("SECRET", ""));
    prop_oneof![
        text.clone().prop_map(|t| format!("'SECRET{}'", t.replace('\'', "''"))),
        text.clone().prop_map(|t| format!("E'SECRET{}'", t.replace('\\', "\\\\").replace('\'', "\\'"))),
        text.clone().prop_map(|t| format!("$tag$SECRET{}$tag$", t.replace('$', ""))),
        text.prop_map(|t| format!("'a'\n 'SECRET{}'", t.replace('\'', "''"))),
        any::<u32>().prop_map(|n| format!("{n}99987654")),
        any::<u32>().prop_map(|n| format!("{n}.99987654e3")),
    ]
}

fn between() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        " + ",
        "||",
        " -- c'\n, ",
        "/* ' /* $$ */ */ ^ ",
        ", \"q ' $$\" ,",
        ",a$b$c,",
        " <-> ",
        ",\n$1,",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_literal_is_taken_out_and_can_be_put_back(parts in prop::collection::vec((literal(), between()), 1..8)) {
        let mut text = "SELECT ".to_owned();
        for (literal, between) in &parts {
            text.push_str(literal);
            text.push_str(between);
        }
        text.push('0');
        let got = inspected(&text);
        prop_assert!(!got.statement.contains("SECRET") && !got.statement.contains("99987654"), "{}", got.statement);
        let kept = normalise::decode(&got.literals).unwrap();
        let wanted: Vec<_> = parts.iter().map(|(literal, _)| Some(literal.as_str())).chain([Some("0")]).collect();
        prop_assert_eq!(kept, wanted);
        // The normalised text is read as the same kind of statement, and has nothing left to take out.
        let again = inspected(&got.statement);
        prop_assert_eq!(&again.statement, &got.statement);
        prop_assert!(again.literals.is_empty());
    }
}
