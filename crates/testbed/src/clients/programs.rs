//! PostgreSQL's own programs, psql and pgbench.

use std::fs::File;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::{Check, finish, read};
use crate::Conninfo;
use crate::process::Guarded;

const TIMEOUT: Duration = Duration::from_secs(60);

const DDL: &str = "create temporary table wire_check (id int constraint wire_check_pkey primary key, body text, \
    amount numeric(10,2) constraint wire_check_amount check (amount >= 0), data bytea);";

/// What psql is given, by check. Each runs in a session of its own; what it prints is what counts.
const SCRIPTS: [(&str, &str); 15] = [
    ("simple_query", "select 1 as a, 'x' as b;\n;\nselect;\n"),
    ("multi_statement", "select 1\\; select 'two'\\; select 3, 4;\n"),
    (
        "aligned_types",
        "\\pset null '(null)'\nselect 1.5::float4, null, '{1,2}'::int[], date '2026-03-04', '\\x00ff'::bytea;\n\\gdesc\nselect 1 as x, 'y'::text as y \\gdesc\n",
    ),
    ("cursor_fetch", "\\set FETCH_COUNT 100\nselect i, repeat('x', 10) from generate_series(1, 1000) i;\n"),
    (
        "sql_cursor",
        "begin; declare c scroll cursor for select i from generate_series(1, 50) i; fetch 10 from c; move 20 in c; fetch 5 from c; fetch backward 3 from c; close c; commit;\n",
    ),
    (
        "copy_in_out",
        "{DDL}\ncopy wire_check from stdin;\n1\tone\t1.5\t\\\\x00\n2\t\\N\t\\N\t\\N\n\\.\ncopy wire_check (id, body) from stdin with (format csv);\n3,\"a,b\"\n\\.\ncopy wire_check to stdout;\ncopy (select id, body from wire_check order by id) to stdout with (format csv, header);\n\\copy (select count(*) from wire_check) to stdout\n",
    ),
    (
        "copy_error",
        "{DDL}\ncopy wire_check (id) from stdin;\n1\nnot a number\n\\.\nselect count(*) from wire_check;\n",
    ),
    (
        "transaction_error",
        "{DDL}\nbegin;\ninsert into wire_check values (1, 'kept');\nsavepoint s;\ninsert into wire_check values (1, 'again');\nselect 1;\nrollback to s;\ninsert into wire_check values (2, 'after');\ncommit;\nselect * from wire_check order by id;\nbegin; select 1/0;\ncommit;\n",
    ),
    (
        "notice",
        "do $$ begin raise notice 'first %', 1 using detail = 'the detail', hint = 'the hint'; raise warning 'second'; end $$;\ndrop table if exists no_such_table;\n",
    ),
    (
        "error_fields",
        "\\set VERBOSITY verbose\n{DDL}\ninsert into wire_check values (1), (1);\ninsert into wire_check values (2, 'x', -1);\nselect 1 from no_such_table;\nselect 'é', nonsense( 1 );\nselect 1 +;\n\\errverbose\n",
    ),
    ("listen_notify", "listen wire_channel;\nnotify wire_channel, 'hello';\nselect 1;\nunlisten *;\n"),
    ("unicode", "select 'Zoë Müller · 田中 · Ω≈ç√ · 👩‍⚕️ · שלום', U&'\\00e9', length('👩‍⚕️');\n"),
    (
        "prepared_in_sql",
        "prepare p (int) as select $1 * 2;\nexecute p (21);\nexecute p (4);\ndeallocate p;\nexecute p (1);\n",
    ),
    ("catalogue", "\\d pg_catalog.pg_class\n\\df pg_catalog.lower\n\\l template0\n\\dn pg_catalog\n"),
    (
        "rows_100k",
        "select i, 'row ' || i as body, (i * 7919) % 1000 as code, i::numeric / 8 as share from generate_series(1, 100000) i order by i;\n",
    ),
];

/// Runs the checks with psql.
pub(super) fn psql(conninfo: &Conninfo) -> Result<Vec<Check>> {
    let mut checks: Vec<Check> =
        SCRIPTS.iter().map(|(name, sql)| Check::new(name, psql_script(conninfo, sql))).collect();
    checks.push(Check::new("cancel", psql_cancel(conninfo)));
    Ok(checks)
}

fn psql_script(conninfo: &Conninfo, sql: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("script.sql");
    std::fs::write(&file, sql.replace("{DDL}", DDL))?;
    let mut command = Command::new("psql");
    conninfo.apply(&mut command);
    command.env("LANG", "C.UTF-8").env("PGOPTIONS", "");
    command.args(["-X", "-w", "-P", "pager=off", "-f"]).arg(&file);
    let output = finish(command, TIMEOUT)?;
    // With -f and without ON_ERROR_STOP psql ends well unless the connection broke.
    ensure!(output.success, "psql ended with an error: {}", output.stderr.trim());
    let text = format!("{}\n--\n{}", output.stdout, output.stderr);
    Ok(without_varying(&text, &file.display().to_string()))
}

// Takes out what differs from run to run: process ids, the script's own name, the number of the schema for temporary
// tables.
fn without_varying(text: &str, file: &str) -> String {
    let text = text.replace(file, "script.sql");
    let mut pieces = text.split("pg_temp_");
    let first = pieces.next().unwrap_or_default().to_owned();
    let text = pieces.fold(first, |text, piece| {
        text + "pg_temp_" + piece.trim_start_matches(|c: char| c.is_ascii_digit())
    });
    text.lines()
        .map(|line| line.split(" received from server process").next().unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

// Control-C, as a person would.
fn psql_cancel(conninfo: &Conninfo) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let (stdout, stderr) = (folder.path().join("stdout"), folder.path().join("stderr"));
    let mut command = Command::new("psql");
    conninfo.apply(&mut command);
    command.env("LANG", "C.UTF-8").args(["-X", "-w", "-c", "select pg_sleep(30)"]);
    command.stdin(Stdio::null()).stdout(File::create(&stdout)?).stderr(File::create(&stderr)?);
    let mut program = Guarded::spawn(&mut command, "KILL")?;
    thread::sleep(Duration::from_millis(700));
    program.signal(Signal::INT)?;
    let ended = program.wait(Duration::from_secs(10))?;
    if ended.is_none() {
        program.kill()?;
    }
    ensure!(ended.is_some(), "psql went on for 10 s after its interrupt");
    let said = read(&stderr)?;
    ensure!(said.contains("canceling statement due to user request"), "not cancelled: {said}");
    Ok(said)
}

/// Runs the checks with pgbench.
pub(super) fn pgbench(conninfo: &Conninfo) -> Result<Vec<Check>> {
    const RUNS: [(&str, &[&str]); 5] = [
        ("select_simple", &["-S", "-M", "simple"]),
        ("select_extended", &["-S", "-M", "extended"]),
        ("select_prepared", &["-S", "-M", "prepared"]),
        ("tpcb", &["-M", "prepared"]),
        ("connect_each", &["-S", "-C"]),
    ];
    let mut checks =
        vec![Check::new("initialise", run_pgbench(conninfo, &["-i", "-q", "-s", "1", "-I", "dtgvp"]))];
    for (name, arguments) in RUNS {
        let fixed = ["-n", "-c", "4", "-j", "2", "-t", "25", "--random-seed", "7"];
        checks.push(Check::new(name, run_pgbench(conninfo, &[&fixed[..], arguments].concat())));
    }
    let sum = crate::postgres::psql(conninfo, "select count(*), sum(abalance) from pgbench_accounts");
    checks.push(Check::new("balance", sum));
    checks.push(Check::new("clean_up", run_pgbench(conninfo, &["-i", "-I", "d"])));
    Ok(checks)
}

fn run_pgbench(conninfo: &Conninfo, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("pgbench");
    conninfo.apply(&mut command);
    command.args(arguments);
    let output = finish(command, TIMEOUT)?;
    ensure!(output.success, "pgbench ended with an error: {}", output.stderr.trim());
    let counts = output.stdout.lines().filter(|line| {
        line.starts_with("number of transactions actually processed") || line.starts_with("number of failed")
    });
    Ok(counts.collect::<Vec<_>>().join("\n"))
}
