//! What relations stand over, of a catalogue with views, rules, partitions and inheritance.

use super::*;

/// The answers that matter: relations, and what they stand over.
const CATALOGUE: &str = "\
2\tpublic\tt\tr\tfalse\tfalse\tfalse\tfalse\t\\N
2\tpublic\tlog\tr\tfalse\tfalse\tfalse\tfalse\t\\N
2\tpublic\trights\tr\tfalse\tfalse\tfalse\tfalse\t\\N
2\tpublic\talone\tr\tfalse\tfalse\tfalse\tfalse\t\\N
2\tpublic\tsecured\tr\tfalse\tfalse\tfalse\ttrue\tSELECT (EXISTS ( SELECT FROM public.rights))
2\tpublic\truled\tr\tfalse\tfalse\tfalse\tfalse\t\\N
2\tpublic\tv\tv\tfalse\tfalse\tfalse\tfalse\t SELECT t.a FROM public.t WHERE (EXISTS ( SELECT FROM public.rights));
2\tpublic\tw\tv\tfalse\tfalse\tfalse\tfalse\t SELECT v.a FROM public.v;
2\tpublic\tjoined\tv\tfalse\tfalse\tfalse\tfalse\t SELECT t.a FROM public.t, public.log;
2\tpublic\twatch\tv\tfalse\tfalse\tfalse\tfalse\t SELECT a.query FROM pg_stat_activity a;
2\tpublic\tm\tm\tfalse\tfalse\tfalse\tfalse\t\\N
2\tpublic\ttop\tp\tfalse\tfalse\tfalse\tfalse\t\\N
2\tpublic\tleft\tp\tfalse\tfalse\tfalse\tfalse\t\\N
2\tpublic\tright\tr\tfalse\tfalse\tfalse\tfalse\t\\N
2\tpublic\tleaf\tr\tfalse\tfalse\tfalse\tfalse\t\\N
2\tpublic\tover_left\tv\tfalse\tfalse\tfalse\tfalse\t SELECT a FROM public.\"left\";
2\tpg_temp_3\tmine\tv\tfalse\ttrue\tfalse\tfalse\t SELECT a FROM public.t;
2\tpublic\tmine\tr\tfalse\tfalse\tfalse\tfalse\t\\N
2\tpg_catalog\tpg_stat_activity\tv\ttrue\tfalse\tfalse\tfalse\t\\N
11\tquery\tpublic\tv\tpublic\tt
11\tquery\tpublic\tv\tpublic\trights
11\tquery\tpublic\tw\tpublic\tv
11\tquery\tpublic\tjoined\tpublic\tt
11\tquery\tpublic\tjoined\tpublic\tlog
11\tquery\tpublic\tm\tpublic\tw
11\tquery\tpublic\tover_left\tpublic\tleft
11\tquery\tpg_temp_3\tmine\tpublic\tt
11\trule\tpublic\truled\tpublic\tlog
11\tparent\tpublic\tleft\tpublic\ttop
11\tparent\tpublic\tright\tpublic\ttop
11\tparent\tpublic\tleaf\tpublic\tleft";

fn structure() -> Catalogue {
    let mut answers = vec![Rows::new(); Catalogue::QUERIES.len()];
    for line in CATALOGUE.lines() {
        let (query, row) = line.split_once('\t').unwrap();
        answers[query.parse::<usize>().unwrap()].push(row.split('\t').map(field).collect());
    }
    Catalogue::from_rows(&answers).unwrap()
}

#[test]
fn what_a_text_does_to_relations_that_it_does_not_name() {
    let catalogue = structure();
    for (text, beneath) in [
        ("SELECT 1", "-"),
        ("SELECT * FROM alone, t", "-"),
        // Conditions on rows show none of the rows that they look at.
        ("SELECT * FROM secured", "-"),
        // Views, of views, materialised.
        ("SELECT * FROM v", "Read public.rights, Read public.t"),
        ("SELECT * FROM public.w", "Read public.rights, Read public.t, Read public.v"),
        ("TABLE m", "Read public.rights, Read public.t, Read public.v, Read public.w"),
        ("SELECT * FROM watch", "Read pg_catalog.pg_stat_activity"),
        (
            "COPY (SELECT * FROM v) TO STDOUT",
            "Read public.rights, Read public.t, Transfer public.rights, Transfer public.t",
        ),
        ("PREPARE p AS SELECT * FROM v", "Read public.rights, Read public.t"),
        ("DECLARE c CURSOR FOR SELECT * FROM v", "Read public.rights, Read public.t"),
        (
            "WITH x AS (SELECT * FROM v) SELECT 1 FROM alone WHERE EXISTS (SELECT FROM x)",
            "Read public.rights, Read public.t",
        ),
        // What is written through a view is the one table it is about.
        ("INSERT INTO v VALUES (1)", "Write public.t"),
        ("UPDATE w SET a = 1", "Write public.t, Write public.v"),
        ("UPDATE v SET a = 1 WHERE a = 2", "Read public.rights, Read public.t, Write public.t"),
        ("UPDATE joined SET a = 1", "Write public.log, Write public.t"),
        ("DELETE FROM ruled", "Read public.log, Write public.log"),
        ("SELECT * FROM ruled", "-"),
        ("SELECT * FROM v FOR UPDATE", "Read public.rights, Read public.t, Write public.t"),
        // Rows are shared upwards and downwards, and not with another child.
        ("SELECT * FROM top", "Read public.leaf, Read public.left, Read public.right"),
        ("SELECT * FROM \"left\"", "Read public.leaf, Read public.top"),
        ("SELECT * FROM leaf", "Read public.left, Read public.top"),
        ("SELECT * FROM \"right\"", "Read public.top"),
        ("INSERT INTO leaf VALUES (1)", "Write public.left, Write public.top"),
        ("TRUNCATE \"left\"", "Write public.leaf, Write public.top"),
        ("SELECT * FROM over_left", "Read public.leaf, Read public.left, Read public.top"),
        ("ALTER TABLE \"left\" DROP COLUMN a", "Define public.leaf"),
        ("DROP VIEW v", "-"),
        ("CREATE TABLE fresh (a int)", "-"),
        // A temporary view may be what its own session means.
        ("SELECT * FROM mine", "Read public.t"),
        ("SELECT * FROM pg_temp.mine", "Read public.t"),
        // What is not in the catalogue may stand over anything.
        ("SELECT * FROM nowhere", "Read ?.?"),
        ("INSERT INTO public.nowhere SELECT * FROM v", "Read public.rights, Read public.t, Write ?.?"),
        ("SELECT * FROM pg_catalog.pg_class", "-"),
    ] {
        let inspection = inspect(text, &catalogue, &Limits::default()).unwrap();
        assert_eq!(shown(&catalogue.beneath(&inspection.needs)), beneath, "{text}");
    }
}

#[test]
fn what_is_run_by_name_stands_over_the_same() {
    let catalogue = structure();
    let prepared = inspect("PREPARE p AS SELECT * FROM v", &catalogue, &Limits::default()).unwrap();
    let SessionEffect::Prepare { statement, .. } = &prepared.session[0] else { panic!("{prepared:?}") };
    let execute = inspect("EXECUTE p", &catalogue, &Limits::default()).unwrap();
    let resolved = execute.resolve(|_| Some(statement.clone()), |_| None);
    assert_eq!(shown(&catalogue.beneath(&resolved.needs)), "Read public.rights, Read public.t");
}

#[test]
fn of_an_unknown_catalogue_everything_may_be_beneath() {
    let unknown = Catalogue::unknown();
    for (text, beneath) in [
        ("SELECT 1", "-"),
        ("SELECT * FROM public.alone", "Read ?.?"),
        ("UPDATE alone SET a = 1 WHERE a = 2", "Read ?.?, Write ?.?"),
        ("SELECT * FROM pg_catalog.pg_class", "-"),
        ("CREATE TABLE fresh (a int)", "-"),
    ] {
        let inspection = inspect(text, &unknown, &Limits::default()).unwrap();
        assert_eq!(shown(&unknown.beneath(&inspection.needs)), beneath, "{text}");
    }
}

#[test]
fn the_record_names_what_is_beneath_views() {
    let catalogue = structure();
    for (text, objects) in [
        ("TABLE m", "public.m public.rights public.t public.v public.w"),
        ("UPDATE v SET a = 1", "public.t public.v"),
        ("SELECT * FROM top", "public.top"),
        ("SELECT * FROM nowhere", "?.nowhere"),
    ] {
        let inspection = inspect(text, &catalogue, &Limits::default()).unwrap();
        assert_eq!(inspection.objects.join(" "), objects, "{text}");
    }
}
