//! The scripts that are played directly and through Wardline, and the tables they need. Data, and no code.
#![allow(clippy::too_many_lines, reason = "tables")]

use testbed::wire::front;

use super::scripts::Script;
use super::scripts::Step::{self, Await, End, Ready, Send};

pub(super) const TABLES: &str =
    "create table visits (id int primary key, body text, amount numeric check (amount >= 0));
    insert into visits select n, 'visit ' || n, n from generate_series(1, 2000) n;
    create function complain(text) returns int language plpgsql as $$ begin
        raise notice 'a notice: %', $1 using detail = 'the detail', hint = 'the hint';
        raise exception 'an error: %', $1 using errcode = 'P0042', detail = 'the detail', hint = 'the hint',
            column = 'c', constraint = 'k', datatype = 'd', table = 't', schema = 's';
    end $$;
    grant all on visits to app;";

fn script(name: &'static str, steps: impl IntoIterator<Item = Step>) -> Script {
    Script { name, steps: steps.into_iter().collect() }
}

/// A session of texts, each answered before the next.
fn texts(name: &'static str, texts: &[&str]) -> Script {
    script(name, texts.iter().flat_map(|text| [Send(front::query(text)), Ready(1)]))
}

/// Messages sent in one piece, and read up to so many `ReadyForQuery`.
fn piece(name: &'static str, ready: usize, messages: &[Vec<u8>]) -> Script {
    script(name, [Send(messages.concat()), Ready(ready)])
}

/// `Parse`, `Bind`, `Describe`, `Execute` of the unnamed statement and portal.
fn run(text: &str, parameters: &[Option<&str>]) -> Vec<u8> {
    [
        front::parse("", text),
        front::bind("", "", parameters, 0),
        front::describe('P', ""),
        front::execute("", 0),
    ]
    .concat()
}

fn sync() -> Vec<u8> {
    front::SYNC.to_vec()
}

fn flush() -> Vec<u8> {
    front::FLUSH.to_vec()
}

pub(super) fn scripts() -> Vec<Script> {
    let mut all = simple();
    all.extend(extended());
    all.extend(pipelines());
    all.extend(skipped());
    all.extend(copies());
    all.extend(copies_sent_ahead());
    all.extend(others());
    all
}

fn simple() -> Vec<Script> {
    vec![
        texts("empty", &["", " ", ";", ";;", "-- nothing", "select"]),
        texts("rows", &["select * from visits where id < 20 order by id", "values (null, 1.5, true)"]),
        texts("several", &["select 1; select 'two'; ; select * from visits where id = 3"]),
        texts(
            "several with an error in the middle",
            &[
                "insert into visits values (-1, 'gone', 1); select 1/0; select 'not reached'",
                "select count(*) from visits where id < 0",
                "begin; select 1; select 1/0; select 2",
                "select 'in a failed transaction'",
                "rollback; select 'after'",
            ],
        ),
        texts(
            "transaction states",
            &[
                "begin",
                "select 1",
                "savepoint s",
                "select 1/0",
                "select 1",
                "rollback to s",
                "select 2",
                "commit",
                "commit",
                "begin read only",
                "insert into visits values (0)",
                "end",
            ],
        ),
        texts(
            "errors with all fields",
            &[
                "insert into visits values (1, 'again', 1)",
                "insert into visits values (9000, 'x', -1)",
                "select no_such_column from visits",
                "select 'é', nonsense(1)",
                "select * from no_such_table",
                "select 'é' +",
                "selec 1",
                "select 'never ends",
                "select complain('one')",
                "select 'x'::int",
                "select repeat('x', 100) || 1/0",
            ],
        ),
        texts(
            "notices",
            &[
                "do $$ begin raise notice 'first %', 1 using detail = 'd', hint = 'h'; raise warning 'second'; end $$",
                "drop table if exists no_such_table",
                "set client_min_messages = debug1",
                "select complain('two')",
                "begin; begin; commit; commit",
            ],
        ),
        texts(
            "cursors",
            &[
                "begin",
                "declare c scroll cursor for select * from visits order by id",
                "fetch 5 from c",
                "move 100 in c",
                "fetch backward 3 from c",
                "savepoint s",
                "select 1/0",
                "rollback to s",
                "fetch 2 from c",
                "close c",
                "fetch 1 from c",
                "rollback",
                "begin; declare h cursor with hold for select id from visits order by id; commit",
                "fetch 3 from h",
                "begin; rollback",
                "fetch 3 from h",
                "close all",
            ],
        ),
        texts(
            "prepared in SQL",
            &[
                "prepare p (int) as select * from visits where id = $1",
                "execute p (5)",
                "execute p ('x')",
                "prepare w as insert into visits values (7777, 'w', 1)",
                "begin",
                "execute w",
                "rollback",
                "deallocate p",
                "execute p (5)",
                "discard all",
                "execute w",
            ],
        ),
        texts(
            "definitions in a transaction",
            &[
                "begin",
                "create table fresh (id int primary key, n int default 4)",
                "insert into fresh values (1), (2) returning id + 0, n + 0",
                "select count(*) from fresh",
                "alter table fresh add column more text",
                "select count(more), count(*) from fresh",
                "rollback",
                "select * from fresh",
                "create temporary table mine as select id from visits where id < 4",
                "select sum(id) from mine",
            ],
        ),
        texts(
            "settings",
            &[
                "set application_name = 'another'",
                "show application_name",
                "set timezone = 'Asia/Tokyo'",
                "begin; set local datestyle = 'German'; rollback",
                "set no.such = '1'",
                "set no_such = 1",
                "reset all",
            ],
        ),
    ]
}

fn extended() -> Vec<Script> {
    let limited = |rows| front::execute("p", rows);
    vec![
        piece("one statement", 1, &[run("select $1::int + 1, $2::text", &[Some("41"), None]), sync()]),
        piece("no text", 1, &[run("", &[]), sync()]),
        piece(
            "binary results",
            1,
            &[
                front::parse("", "select id, amount, body from visits where id < $1"),
                front::bind("", "", &[Some("9")], 1),
                front::execute("", 0),
                sync(),
            ],
        ),
        piece(
            "a statement described and used again",
            3,
            &[
                front::parse("s", "select id, body from visits where id = $1"),
                front::describe('S', "s"),
                sync(),
                front::bind("", "s", &[Some("1")], 0),
                front::execute("", 0),
                front::bind("", "s", &[Some("2")], 0),
                front::execute("", 0),
                sync(),
                front::close('S', "s"),
                front::close('S', "never was"),
                front::describe('S', "s"),
                sync(),
            ],
        ),
        piece(
            "a portal by and by",
            1,
            &[
                front::parse("", "select id from visits where id <= 25 order by id"),
                front::bind("p", "", &[], 0),
                limited(10),
                limited(10),
                limited(10),
                limited(10),
                front::close('P', "p"),
                sync(),
            ],
        ),
        piece(
            "two portals in turn, in a transaction",
            3,
            &[
                front::query("begin"),
                front::parse("s", "select id from visits order by id"),
                front::bind("a", "s", &[], 0),
                front::bind("p", "s", &[], 0),
                front::execute("a", 3),
                limited(2),
                front::execute("a", 3),
                sync(),
                limited(2),
                front::execute("a", 1),
                front::describe('P', "a"),
                front::bind("p", "s", &[], 0),
                sync(),
            ],
        ),
        piece(
            "a suspended portal is gone after its transaction",
            2,
            &[
                front::parse("", "select id from visits order by id"),
                front::bind("p", "", &[], 0),
                limited(2),
                sync(),
                front::describe('P', "p"),
                sync(),
            ],
        ),
        piece(
            "a write that returns rows, in portions",
            2,
            &[
                front::query("begin"),
                front::parse("", "update visits set amount = amount + 1 where id < 9 returning id, amount"),
                front::bind("p", "", &[], 0),
                limited(3),
                limited(3),
                limited(0),
                sync(),
            ],
        ),
        piece(
            "a portal read as a cursor",
            4,
            &[
                front::query("begin"),
                front::parse("", "select id from visits order by id"),
                front::bind("p", "", &[], 0),
                limited(2),
                sync(),
                front::query("fetch 2 from p"),
                front::query("close p"),
            ],
        ),
    ]
}

fn pipelines() -> Vec<Script> {
    let insert = |id: u32| run("insert into visits values ($1, 'piped', 1)", &[Some(&id.to_string())]);
    let select = |id: u32| run("select * from visits where id = $1", &[Some(&id.to_string())]);
    let many = |sync_each: bool| -> Vec<Vec<u8>> {
        (0..300).map(|n| [select(n), if sync_each { sync() } else { Vec::new() }].concat()).collect()
    };
    let mut one_sync = many(false);
    one_sync.push(sync());
    let mixed: Vec<Vec<u8>> = (1..=40)
        .map(|n| [insert(10_000 + n), select(10_000 + n), sync()].concat())
        .chain([front::query("delete from visits where id > 10000")])
        .collect();
    vec![
        piece("300 reads, each with its Sync", 300, &many(true)),
        piece("300 reads, one Sync", 1, &one_sync),
        piece("reads and writes", 41, &mixed),
        piece("simple queries", 20, &vec![front::query("select id from visits where id < 4"); 20]),
        piece(
            "simple and extended",
            4,
            &[
                front::query("select 1"),
                select(1),
                sync(),
                front::query("begin; rollback"),
                select(2),
                sync(),
            ],
        ),
        script(
            "Flush without Sync",
            [
                Send([front::parse("s", "select id from visits where id < $1"), flush()].concat()),
                Await(b'1'),
                Send([front::describe('S', "s"), flush()].concat()),
                Await(b'T'),
                Send([front::bind("", "s", &[Some("3")], 0), flush()].concat()),
                Await(b'2'),
                Send([front::execute("", 1), flush()].concat()),
                Await(b's'),
                Send([front::execute("", 0), flush()].concat()),
                Await(b'C'),
                Send([insert(20_000), flush()].concat()),
                Await(b'C'),
                Send([run("delete from visits where id = 20000", &[]), flush()].concat()),
                Await(b'C'),
                Send(sync()),
                Ready(1),
            ],
        ),
        piece(
            "a transaction in one piece",
            6,
            &[
                front::query("begin"),
                insert(30_000),
                sync(),
                select(30_000),
                sync(),
                front::query("rollback"),
                select(30_000),
                sync(),
                front::query("select 'end'"),
            ],
        ),
    ]
}

fn skipped() -> Vec<Script> {
    let good = || run("select 'good'", &[]);
    vec![
        piece(
            "an error in the middle skips up to Sync",
            2,
            &[good(), run("select 1/$1::int", &[Some("0")]), good(), good(), sync(), good(), sync()],
        ),
        piece(
            "a syntax error in the middle",
            2,
            &[good(), run("selec 1", &[]), good(), front::query("select 'skipped'"), sync(), good(), sync()],
        ),
        piece("a syntax error at the end", 1, &[run("select 1 +", &[]), good(), sync()]),
        piece(
            "an error undoes what was sent after the last Sync",
            3,
            &[
                run("insert into visits values (40000)", &[]),
                run("select no_such", &[]),
                run("insert into visits values (40001)", &[]),
                sync(),
                run("select count(*) from visits where id >= 40000", &[]),
                sync(),
                front::query("select 'end'"),
            ],
        ),
        script(
            "after an error and Flush all is skipped until Sync",
            [
                Send([front::parse("", "select no_such"), flush()].concat()),
                Await(b'E'),
                Send(
                    [good(), front::query("select 'skipped'"), run("insert into visits values (1)", &[])]
                        .concat(),
                ),
                Send([front::bind("", "unknown", &[], 0), flush(), sync()].concat()),
                Ready(1),
                Send([good(), sync()].concat()),
                Ready(1),
            ],
        ),
        script(
            "an error while more is under way",
            [
                Send([run("select 1/0", &[]), flush()].concat()),
                Send(run("insert into visits values (50000)", &[])),
                Send(run("insert into visits values (50001)", &[])),
                Await(b'E'),
                Send([run("insert into visits values (50002)", &[]), sync()].concat()),
                Ready(1),
                Send(front::query("select count(*) from visits where id >= 50000")),
                Ready(1),
            ],
        ),
        piece(
            "names after a skip",
            3,
            &[
                front::parse("s", "select 'first'"),
                sync(),
                front::close('S', "s"),
                front::parse("s", "select 1/0"),
                front::bind("", "s", &[], 0),
                front::execute("", 0),
                front::close('S', "s"),
                front::parse("s", "select 'third'"),
                sync(),
                front::bind("", "s", &[], 0),
                front::execute("", 0),
                sync(),
            ],
        ),
        piece(
            "an error in a transaction's pipeline",
            4,
            &[
                front::query("begin"),
                good(),
                run("select 1/0", &[]),
                sync(),
                good(),
                sync(),
                front::query("commit"),
            ],
        ),
        piece(
            "an unknown statement",
            2,
            &[front::bind("", "never", &[], 0), front::execute("", 0), sync(), good(), sync()],
        ),
        piece(
            "wrong parameters",
            2,
            &[run("select $1::int", &[Some("x")]), sync(), run("select $1::int", &[]), sync()],
        ),
        piece(
            "a name taken twice",
            1,
            &[front::parse("t", "select 1"), front::parse("t", "select 2"), sync()],
        ),
    ]
}

fn copies() -> Vec<Script> {
    let rows = |from: u32| -> Vec<u8> {
        (from..from + 200).flat_map(|n| front::copy_data(format!("{n}\tcopied\t1\n").as_bytes())).collect()
    };
    let done = || front::COPY_DONE.to_vec();
    let count = "select count(*), sum(id) from visits where id >= 100000";
    let gone = || Send(front::query("delete from visits where id >= 100000"));
    vec![
        texts(
            "copy out",
            &[
                "copy (select * from visits where id < 50 order by id) to stdout",
                "copy (select * from visits where id < 50 order by id) to stdout (format csv, header, force_quote *)",
                "copy (select id, amount from visits where id < 50 order by id) to stdout (format binary)",
                "copy visits (id) to stdout",
                "copy (select 1/(3 - id) from visits where id < 5 order by id) to stdout",
                "copy (select 1) to stdout; select 2; copy (select 3) to stdout",
            ],
        ),
        piece(
            "copy out, extended",
            1,
            &[run("copy (select id from visits where id < 9) to stdout", &[]), sync()],
        ),
        script(
            "copy in",
            [
                Send(front::query("copy visits from stdin")),
                Await(b'G'),
                Send([rows(100_000), rows(100_200), done()].concat()),
                Ready(1),
                Send(front::query(count)),
                Ready(1),
                gone(),
                Ready(1),
            ],
        ),
        script(
            "copy in as csv and binary",
            [
                Send(front::query("copy visits from stdin (format csv, header)")),
                Await(b'G'),
                Send(
                    [
                        front::copy_data(b"id,body,amount\n100000,\"a \"\"q\"\"\",\n10"),
                        front::copy_data(b"0001,,2\n"),
                        done(),
                    ]
                    .concat(),
                ),
                Ready(1),
                Send(front::query("copy visits (id) from stdin (format binary)")),
                Await(b'G'),
                Send(
                    [
                        front::copy_data(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"),
                        front::copy_data(b"\0\x01\0\0\0\x04\0\x02\0\0\xff\xff"),
                        done(),
                    ]
                    .concat(),
                ),
                Ready(1),
                Send(front::query(count)),
                Ready(1),
                gone(),
                Ready(1),
            ],
        ),
        script(
            "copy in, failed by the client",
            [
                Send(front::query("copy visits from stdin")),
                Await(b'G'),
                Send([rows(100_000), front::copy_fail("changed my mind")].concat()),
                Ready(1),
                Send(front::query(count)),
                Ready(1),
            ],
        ),
        script(
            "copy in, failed by the server",
            [
                Send(front::query("copy visits from stdin")),
                Await(b'G'),
                Send(
                    [front::copy_data(b"not a number\t\\N\t\\N\n"), rows(100_000), rows(100_200), done()]
                        .concat(),
                ),
                Ready(1),
                Send([rows(100_400), done(), front::query(count)].concat()),
                Ready(1),
            ],
        ),
        script(
            "copy in, extended",
            [
                Send([run("copy visits from stdin", &[]), sync()].concat()),
                Await(b'G'),
                Send([rows(100_000), flush(), sync(), done(), sync()].concat()),
                Ready(1),
                Send([run("copy visits from stdin", &[]), flush()].concat()),
                Await(b'G'),
                Send([rows(100_000), done(), run("select 'skipped'", &[]), sync()].concat()),
                Ready(1),
                Send([run("copy visits from stdin", &[]), sync()].concat()),
                Await(b'G'),
                Send([front::copy_fail("no"), sync()].concat()),
                Ready(1),
                gone(),
                Ready(1),
            ],
        ),
        script(
            "copies among other statements",
            [
                Send(front::query("select 1; copy visits from stdin; copy visits from stdin; select 2")),
                Await(b'G'),
                Send([rows(100_000), done()].concat()),
                Await(b'G'),
                Send([rows(100_200), done()].concat()),
                Ready(1),
                Send(front::query("begin; copy visits from stdin; copy visits from stdin; commit")),
                Await(b'G'),
                Send([rows(100_400), done()].concat()),
                Await(b'G'),
                Send([rows(100_400), done()].concat()),
                Ready(1),
                Send(front::query("rollback")),
                Ready(1),
                gone(),
                Ready(1),
            ],
        ),
        piece(
            "copied data that nobody asked for",
            2,
            &[
                rows(100_000),
                done(),
                front::query("select 1"),
                front::copy_fail("nothing to fail"),
                front::query("select 2"),
            ],
        ),
    ]
}

/// Some drivers (asyncpg) send the data without waiting for the server's wish.
fn copies_sent_ahead() -> Vec<Script> {
    let row = |n: u32| front::copy_data(format!("{n}\tahead\t1\n").as_bytes());
    let done = || front::COPY_DONE.to_vec();
    let copy = || front::query("copy visits from stdin");
    let extended = || run("copy visits from stdin", &[]);
    let gone = || front::query("delete from visits where id >= 100000");
    vec![
        piece("copy in, sent ahead", 2, &[copy(), row(100_000), row(100_001), done(), gone()]),
        piece("an empty copy, sent ahead", 2, &[copy(), done(), copy(), front::copy_fail("no")]),
        piece(
            "a copy that fails, sent ahead",
            2,
            &[front::query("copy no_such from stdin"), row(1), done(), front::query("select 'after'")],
        ),
        piece(
            "copy in, extended, sent ahead",
            3,
            &[extended(), row(100_000), done(), sync(), extended(), row(100_000), done(), sync(), gone()],
        ),
        piece(
            "a copy that fails, extended, sent ahead",
            2,
            &[run("copy no_such from stdin", &[]), row(1), done(), sync(), front::query("select 'after'")],
        ),
        piece(
            "copies in several transactions, sent ahead",
            5,
            &[
                front::query("begin"),
                copy(),
                row(100_000),
                done(),
                copy(),
                row(100_000),
                done(),
                front::query("rollback"),
                front::query("select 'after'"),
            ],
        ),
    ]
}

fn others() -> Vec<Script> {
    // The numbers of pg_proc: int4pl, lower, length; text in and out.
    vec![
        script(
            "function calls",
            [
                Send(front::call(177, &[Some("40"), Some("2")])),
                Ready(1),
                Send(front::call(870, &[Some("LOWER ME")])),
                Ready(1),
                Send(front::call(177, &[Some("x"), Some("2")])),
                Ready(1),
                Send(front::call(1, &[])),
                Ready(1),
                Send(
                    [
                        front::query("begin"),
                        front::call(154, &[Some("0"), Some("1")]),
                        front::call(870, &[None]),
                    ]
                    .concat(),
                ),
                Ready(3),
            ],
        ),
        texts(
            "listen and notify oneself",
            &[
                "listen a",
                "notify a, 'hello'",
                "begin; notify a; notify a, 'two'; commit",
                "unlisten *",
                "notify a",
            ],
        ),
        script(
            "terminate",
            [Send([front::query("select 1"), front::TERMINATE.to_vec()].concat()), Ready(1), End],
        ),
        texts(
            "large values",
            &[
                "select repeat('x', 3000000)",
                "select id, repeat('y', 5000) from visits where id <= 200",
                "select length(repeat('z', 100))",
            ],
        ),
        piece("a large text", 1, &[front::query(&format!("select length('{}')", "é".repeat(300_000)))]),
        piece(
            "a large parameter",
            1,
            &[run("select $1::text, length($1)", &[Some(&"ü".repeat(500_000))]), sync()],
        ),
    ]
}
