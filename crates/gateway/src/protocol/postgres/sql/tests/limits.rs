//! Hostile and broken texts: an answer each time, on a stack of the size that a worker thread has.

use proptest::prelude::*;

use super::super::lineage::tests::FOLLOWING;
use super::*;

/// Less than the 2 MiB of a worker thread, so that what calls the inspection has room too.
const STACK_BYTES: usize = 768 << 10;

/// Inspects on a small stack; an overflow ends the process.
fn on_small_stack(text: String) -> Result<Effect, Reason> {
    let run = move || inspect(&text, &catalogue(), &FOLLOWING).map(|i| i.effect).map_err(|e| e.reason);
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run).unwrap().join().unwrap()
}

fn nested(open: &str, inner: &str, close: &str, depth: usize) -> String {
    format!("SELECT {}{inner}{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn deep_nesting_is_refused_and_never_overflows() {
    for (open, inner, close) in [
        ("(", "1", ")"),
        ("(SELECT ", "1", ")"),
        ("lower(", "'a'", ")"),
        ("ARRAY[", "1", "]"),
        ("CASE WHEN true THEN ", "1", " END"),
        ("ROW(", "1", ")"),
        ("(1 + ", "1", ")"),
        ("(true AND ", "true", ")"),
        ("NOT (", "true", ")"),
        ("COALESCE(", "1", ", 1)"),
        ("EXISTS (SELECT * FROM (SELECT ", "1", ") q)"),
        ("(ARRAY[1])[", "1", "]"),
        ("JSON_OBJECT('a': ", "1", ")"),
        ("XMLFOREST(", "1", " AS a)"),
        ("CAST(", "1", " AS int)"),
        ("1 IN (SELECT ", "1", ")"),
        ("(VALUES (", "1", "))"),
        ("(WITH x AS (SELECT ", "1", ") SELECT 1)"),
    ] {
        for depth in [1_000, 3_000, 9_000, 40_000] {
            let text = nested(open, inner, close, depth);
            match on_small_stack(text) {
                Ok(effect) => {
                    assert!(open == "(" || open.starts_with("CAST") || open == "NOT (", "{open}: {effect:?}")
                }
                Err(reason) => {
                    assert!(matches!(reason, Reason::TooDeep | Reason::TooLong | Reason::Syntax), "{open}")
                }
            }
        }
    }
}

#[test]
fn long_chains_are_read() {
    let chain = |first: &str, link: &str, length: usize| format!("SELECT {first}{}", link.repeat(length));
    for text in [
        chain("1", " + 1", 100_000),
        chain("'a'", " || 'a'", 80_000),
        chain("true", " AND true", 80_000),
        chain("true", " OR true", 80_000),
        chain("1", " UNION ALL SELECT 1", 40_000),
        chain("1", "::int", 100_000),
        chain("1", " IS NULL", 10_000),
        chain("'a'", " COLLATE \"C\"", 50_000),
        chain("data", "->'a'", 100_000),
        chain("1", ", 1", 200_000),
        chain("1 FROM notes", " CROSS JOIN notes", 40_000),
        chain("1 FROM notes", ", notes", 40_000),
        chain("(data)", "['a']", 100_000),
        format!("SELECT 1 WHERE 1 IN (1{})", ", 1".repeat(200_000)),
        format!("INSERT INTO notes VALUES (1){}", ", (1)".repeat(100_000)),
        format!("SELECT {} 1", "- ".repeat(4_000)),
        format!("SELECT {} true", "NOT ".repeat(4_000)),
        format!("{}SELECT 1", ";".repeat(100_000)),
    ] {
        let start = text[..40].to_owned();
        assert!(on_small_stack(text).is_ok(), "{start}");
    }
}

#[test]
fn no_text_costs_the_square_of_its_length() {
    let many = |of: &str| (0..40_000).map(|n| of.replace('#', &n.to_string())).collect::<String>();
    for text in [
        format!("SELECT 1 FROM a{}", many(", r#")),
        format!("SELECT a{}", many(", f#()")),
        format!("SELECT 1 FROM a{}", many(", patient_names_2")),
        format!("WITH a AS (SELECT 1){} SELECT 1", many(", w# AS (TABLE v#)")),
        format!("PREPARE p AS SELECT 1 FROM a{}", many(", r#")),
        many("ALTER ROLE x PASSWORD '#';").chars().take(30_000).collect(),
        format!("SELECT 1 WHERE{} 1 x 1", "( x".repeat(5_000)),
    ] {
        let started = std::time::Instant::now();
        let _ = inspect(&text, &catalogue(), &FOLLOWING);
        assert!(started.elapsed().as_secs() < 5, "{} took {:?}", &text[..30], started.elapsed());
    }
}

#[test]
fn what_real_programs_nest_is_read() {
    for text in
        [nested("(SELECT ", "1", ")", 50), nested("lower(", "'a'", ")", 150), nested("(1 + ", "1", ")", 150)]
    {
        assert_eq!(on_small_stack(text), Ok(Effect::Read));
    }
}

#[test]
fn limits_are_answers() {
    let reason = |text: &str, limits: &Limits| inspect(text, &catalogue(), limits).unwrap_err().reason;
    let limits = Limits { text_bytes_max: 20, statements_max: 2, depth_max: 3, ..Limits::default() };
    assert_eq!(reason("SELECT 1234567890 + 1234567890", &limits), Reason::TooLong);
    assert_eq!(reason("BEGIN;BEGIN;BEGIN", &limits), Reason::TooManyStatements);
    assert_eq!(reason("SELECT a[b[c[d[e]]]]", &limits), Reason::TooDeep);
    assert_eq!(reason("SELECT\0", &limits), Reason::Nul);
    assert_eq!(reason("SELEC 1", &limits), Reason::Syntax);
}

#[test]
fn syntax_errors_are_postgresqls_own() {
    let check = |text: &str, message: &str, position| {
        let error = inspect(text, &catalogue(), &Limits::default()).unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.position, error.sqlstate),
            (message, position, "42601"),
            "{text}"
        );
        assert_eq!(error.to_string(), "Syntax", "what is displayed must not quote the text");
    };
    check("SELEC 1", "syntax error at or near \"SELEC\"", Some(1));
    check("SELECT 1 FROM", "syntax error at end of input", Some(14));
    check("SELECT é, * FROM x WHERE y x", "syntax error at or near \"x\"", Some(28));
    check("SELECT 'abc", "unterminated quoted string at or near \"'abc\"", Some(8));
    check("ALTER ROLE x PASSWROD 'hunter2'", "unrecognized role option \"passwrod\"", None);
    check("SELECT $q$ a", "unterminated dollar-quoted string at or near \"$q$ a\"", Some(8));
    check("SELECT \"\"", "zero-length delimited identifier at or near \"\"\"\"", Some(8));
}

const WORDS: &str = "SELECT FROM WHERE notes patients evil ( ) , ; * = + - || 1 2.5 'a' 'it''s' E'\\'' $$b$$ $q$ \"x\" U&\"y\" \
    U&'z' -- /* */ \n AS WITH RECURSIVE x UNION ALL JOIN ON USING VALUES INSERT INTO UPDATE SET DELETE RETURNING MERGE WHEN \
    MATCHED THEN COPY TO STDOUT STDIN EXPLAIN ANALYZE PREPARE p EXECUTE DECLARE CURSOR FOR FETCH CREATE TABLE VIEW ALTER \
    ROLE PASSWORD DROP GRANT :: int text mood CASE END ARRAY [ ] . :: IN BETWEEN AND OR NOT NULL IS LIKE ORDER BY GROUP \
    HAVING LIMIT OFFSET OVER PARTITION WINDOW LATERAL XMLTABLE JSON_TABLE COLUMNS PATH $1 := => é \u{1f600} DO CALL";

fn soup() -> impl Strategy<Value = String> {
    let words: Vec<&'static str> = WORDS.split(' ').collect();
    prop::collection::vec(prop::sample::select(words), 0..40).prop_map(|words| words.join(" "))
}

/// A case of `cases.txt` with some bytes cut out, doubled or changed.
fn mutated() -> impl Strategy<Value = String> {
    let cases: Vec<&'static str> = CASES.lines().filter(|line| !line.starts_with(['#', ' '])).collect();
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0_u8..3, any::<char>()), 0..4);
    (prop::sample::select(cases), edits).prop_map(|(case, edits)| {
        let mut text: Vec<char> = case.chars().collect();
        for (place, kind, new) in edits {
            if text.is_empty() {
                break;
            }
            let place = place.index(text.len());
            match kind {
                0 => drop(text.drain(place..(place + 3).min(text.len()))),
                1 => text.insert(place, text[place]),
                _ => text[place] = new,
            }
        }
        text.into_iter().collect()
    })
}

fn check_any(text: &str) {
    thread_local!(static KNOWN: Catalogue = catalogue());
    KNOWN.with(|known| match inspect(text, known, &Limits::default()) {
        Ok(got) => {
            assert!(normalise::decode(&got.literals).is_some());
            assert!(got.needs.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(got.effect_apart <= got.effect);
        }
        Err(error) => assert_ne!(error.reason, Reason::Parser, "{text}"),
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gets_an_answer(text in any::<String>()) {
        check_any(&text);
    }

    #[test]
    fn any_words_get_an_answer(text in soup()) {
        check_any(&text);
    }

    #[test]
    fn mutated_statements_get_an_answer(text in mutated()) {
        check_any(&text);
    }
}
