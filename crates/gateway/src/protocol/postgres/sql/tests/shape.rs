//! Texts of one shape, against what inspecting each of them gives.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const NUMBERS: &[&str] = &["0", "7", "54", "999999999"];
const STRINGS: &[&str] =
    &["''", "'x'", "'role'", "'off'", "'password'", "'2026-01-01'", "'--'", "'/*'", "'\"$1'"];

fn shape(text: &str) -> Option<String> {
    Shape::of(text)
        .map(|shape| String::from_utf8(shape.text).unwrap().replace('\u{1}', "#").replace('\u{2}', "?"))
}

/// Puts other literals, from the `turn`-th on, into a text.
fn with_other_literals(shape: &Shape, turn: usize) -> String {
    let mut turns = turn..;
    let mut next = |from: &[&'static str]| from[turns.next().unwrap() % from.len()];
    let pieces = shape.text.iter().map(|byte| match byte {
        1 => next(NUMBERS).to_owned(),
        2 => next(STRINGS).to_owned(),
        other => char::from(*other).to_string(),
    });
    pieces.collect()
}

#[test]
fn plain_literals_are_taken_out() {
    for (text, expected) in [
        ("SELECT a FROM t WHERE id = 12345;", "SELECT a FROM t WHERE id = #;"),
        ("SELECT  'x' ,\n -5", "SELECT  ? ,\n -#"),
        ("INSERT INTO t VALUES (1,'a'),(2,'b')", "INSERT INTO t VALUES (#,?),(#,?)"),
        ("SELECT date '2026-01-01' + 5::int", "SELECT date ? + #::int"),
        ("SELECT a[1:2] FROM t2 WHERE a<-1", "SELECT a[#:#] FROM t2 WHERE a<-#"),
        ("SELECT '--', '/*', '\"', '$1', '(;'", "SELECT ?, ?, ?, ?, ?"),
    ] {
        assert_eq!(shape(text).as_deref(), Some(expected), "{text}");
        let literals = inspected(text).literals;
        assert_eq!(Shape::of(text).unwrap().literals, *literals, "{text}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_has_no_shape() {
    for text in [
        "SELECT 1 -- 2",
        "SELECT 1 /* 2 */",
        "SELECT 1 --'",
        "SELECT 'a' 'b'",
        "SELECT 'a'\n'b'",
        "SELECT 'it''s'",
        r"SELECT 'a\'",
        r"SELECT E'a\'b'",
        "SELECT e'a'",
        "SELECT N'a'",
        "SELECT B'1'",
        "SELECT x'1f'",
        "SELECT U&'a'",
        "SELECT 'ä'",
        "SELECT ä, 1",
        "SELECT 'a\u{1}'",
        "SELECT '\u{7f}'",
        "SELECT \u{1}, 1",
        "SELECT 1.5",
        "SELECT .5",
        "SELECT 5.",
        "SELECT 1e5",
        "SELECT 1_000",
        "SELECT 0x1f",
        "SELECT 1a",
        "SELECT 1234567890",
        "SELECT 5'a'",
        "SELECT 'a'5",
        "SELECT 'a'b",
        "SELECT $1, 1",
        "SELECT $$a$$, 1",
        "SELECT \"1\", 1",
        "SELECT 'a",
        "SELECT '",
        "SELECT 1 & 2",
        "SELECT a",
        "",
    ] {
        assert_eq!(shape(text), None, "{text}");
    }
}

/// Compares a text with others of its shape; tells whether there was anything to compare.
fn compare(text: &str, catalogue: &Catalogue) -> bool {
    let Some(shape) = Shape::of(text) else { return false };
    let Ok(one) = inspect(text, catalogue, &Limits::default()) else { return false };
    if !one.holds_for_any_literals() {
        return false;
    }
    assert_eq!(shape.literals, *one.literals, "{text}");
    for turn in 0..12 {
        let other = with_other_literals(&shape, turn);
        let alike = Shape::of(&other).unwrap();
        assert_eq!(alike.text, shape.text, "{text} {other}");
        // What the grammar refuses for the value of a literal, PostgreSQL refuses itself.
        if let Ok(got) = inspect(&other, catalogue, &Limits::default()) {
            assert_eq!(format!("{:?}", got.meaning), format!("{:?}", one.meaning), "{text} {other}");
            assert_eq!(alike.literals, *got.literals, "{other}");
        }
    }
    true
}

#[test]
fn texts_of_one_shape_mean_the_same() {
    let catalogue = catalogue();
    let cases = CASES.lines().filter(|line| !line.starts_with('#')).step_by(3);
    let compared = cases.filter(|text| compare(text, &catalogue)).count();
    assert!(compared > 40, "{compared} compared");
}

#[test]
fn what_asks_for_the_value_of_a_literal_is_not_alike() {
    for text in [
        "EXPLAIN (ANALYZE 1) DELETE FROM notes WHERE id = 1",
        "SET work_mem = 5",
        "SELECT set_config('work_mem', '1', true)",
        "SELECT set_config('role', 'x', true)",
        "SELECT evil(1)",
        "SELECT 1; SELECT 2",
        "PREPARE p AS SELECT 1",
        "COPY notes TO STDOUT WITH (DELIMITER 'x')",
        "CREATE TABLE t (id int DEFAULT 1)",
        "SELECT 1 INTO made",
    ] {
        assert!(!inspected(text).holds_for_any_literals(), "{text}");
    }
}

const TOKENS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "AND",
    "IN",
    "LIKE",
    "LIMIT",
    "ORDER BY",
    "AS",
    "date",
    "interval",
    "e",
    "U&",
    "x",
    "N",
    "notes",
    "hr.staff",
    "id",
    "name",
    "lower",
    "(",
    ")",
    ",",
    ";",
    ".",
    "=",
    "<",
    ">",
    "+",
    "-",
    "*",
    "/",
    "%",
    "|",
    ":",
    "::",
    "int",
    "[",
    "]",
    "'a'",
    "'it''s'",
    "'",
    "''",
    "1",
    "23",
    "1.5",
    "$1",
    "$$",
    "--",
    "/*",
    "*/",
    "\\",
    "\"",
    " ",
    " ",
    " ",
    "\n",
    "\t",
    "set_config",
    "'role'",
    "UPDATE",
    "SET",
    "DELETE",
    "VALUES",
    "INSERT INTO",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn so_do_texts_of_any_tokens(
        start in select(&["SELECT ", "SELECT name FROM notes WHERE id = ", "UPDATE notes SET body = "][..]),
        tokens in proptest::collection::vec((select(TOKENS), any::<bool>()), 1..10),
    ) {
        let mut text = start.to_owned();
        for (token, spaced) in tokens {
            text.push_str(token);
            text.push_str(if spaced { " " } else { "" });
        }
        compare(&text, &catalogue_of_hospital());
    }
}
