//! Into a database: tables, then all of them at once by COPY through psql, then keys, indexes, foreign keys.
//! COPY into a table truncated in the same transaction, with FREEZE, spares the log and a later vacuum.

use std::io::BufWriter;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

use super::{CONSTRAINTS_SQL, Options, Size, TABLES_SQL, Table, generate};
use crate::Conninfo;

/// How many statements of a parallel stage run at once.
const CONNECTIONS: usize = 2;

/// Makes the hospital in an empty schema `public` of the database.
///
/// # Errors
/// A size out of range, no `psql`, or what the server says.
pub fn load(options: Options, conninfo: &Conninfo, progress: impl FnMut(u64)) -> Result<Size> {
    load_with(options, &|command| conninfo.apply(command), progress)
}

/// Does the same where `connect` tells psql how to reach the database.
///
/// # Errors
/// A size out of range, no `psql`, or what the server says.
pub fn load_with(
    options: Options,
    connect: &(dyn Fn(&mut Command) + Sync),
    progress: impl FnMut(u64),
) -> Result<Size> {
    run(psql(connect).arg("-c").arg(TABLES_SQL))?;
    let size = copy(options, connect, progress)?;
    for stage in CONSTRAINTS_SQL.split("-- stage: ").skip(1) {
        let (name, statements) = stage.split_once('\n').context("a stage has a name")?;
        let statements: Vec<&str> = statements.lines().filter(|line| !line.is_empty()).collect();
        let connections = if name.contains("in parallel") { CONNECTIONS } else { 1 };
        run_stage(connect, &statements, connections)?;
    }
    Ok(size)
}

fn copy(
    options: Options,
    connect: &(dyn Fn(&mut Command) + Sync),
    progress: impl FnMut(u64),
) -> Result<Size> {
    let mut copies = Vec::new();
    let mut pipes = Vec::new();
    for table in Table::ALL {
        let (child, pipe) = begin_copy(connect, table)?;
        copies.push((table, child));
        pipes.push(BufWriter::with_capacity(1 << 18, pipe));
    }
    let generated = generate(options, pipes, progress);
    // A psql that failed broke its pipe: what it said is more use than what the pipe said.
    let generated = generated.map(|(size, pipes)| {
        drop(pipes);
        size
    });
    for (table, child) in copies {
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("load `{}`: {}", table.name(), String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    generated
}

fn begin_copy(connect: &dyn Fn(&mut Command), table: Table) -> Result<(Child, ChildStdin)> {
    let name = table.name();
    let mut command = psql(connect);
    command.args(["-c", "begin", "-c", &format!("truncate {name}")]);
    command.args(["-c", &format!("\\copy {name} from pstdin with (freeze)"), "-c", "commit"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("start psql")?;
    let pipe = child.stdin.take().context("a pipe to psql")?;
    Ok((child, pipe))
}

fn run_stage(connect: &(dyn Fn(&mut Command) + Sync), statements: &[&str], connections: usize) -> Result<()> {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..connections)
            .map(|worker| {
                let mine: Vec<&str> = statements.iter().skip(worker).step_by(connections).copied().collect();
                scope.spawn(move || run_statements(connect, &mine))
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("the loader does not panic"))
    })
}

fn run_statements(connect: &dyn Fn(&mut Command), statements: &[&str]) -> Result<()> {
    let mut command = psql(connect);
    command.args(["-c", "set maintenance_work_mem = '512MB'"]);
    for statement in statements {
        command.args(["-c", statement]);
    }
    run(&mut command)
}

fn psql(connect: &dyn Fn(&mut Command)) -> Command {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-w", "-v", "ON_ERROR_STOP=1"]).stdin(Stdio::null());
    connect(&mut command);
    command
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().context("start psql")?;
    if !output.status.success() {
        bail!("psql: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
