//! The walk through the demonstration without a person: each step is done with the real programs, shown, and checked.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::show::Show;
use super::{HOSPITAL, PEOPLE, Stage};

pub(super) const ALLOWED: &str = "select mrn, first_name, last_name, birth_date from patients where id = 1";
pub(super) const REFUSED: &str = "select body from notes limit 3";
pub(super) const UPDATE: &str = "update appointments set status = 'arrived' where id = 1";
const AGGREGATE: &str = "select type, count(*) from encounters group by type order by type";
const GUESS: &str = "select count(*) from patients where last_name like 'A%'";
const DELETE: &str = "delete from notes";
const STAFF: &str = "select role, count(*) from staff group by role order by role";

/// What psql says of a statement without the right to it.
const REFUSED_SQLSTATE: &str = "42501";

/// Gives the tour; the first step that does not show what it should is the error.
pub(super) fn run(stage: &Stage, show: Show) -> Result<()> {
    show.heading("1  Who is allowed, gets rows");
    allowed(stage, show)?;
    show.heading("2  Who is not, gets an error and nothing else");
    refused(stage, show)?;
    show.heading("3  Who may not see a value, gets it masked, and cannot ask around it");
    masked(stage, show)?;
    show.heading("4  A change is recorded before it is sent");
    update(stage, show)?;
    show.heading("5  Every access left an entry with a name");
    entries(stage, show)?;
    show.heading("6  Who saw a patient is one question");
    who_saw(stage, show)?;
    show.heading("7  The trail proves itself");
    verified(stage, show)?;
    show.heading("8  One flipped byte in a copy is found and named");
    damaged(stage, show)?;
    show.line("");
    show.shown("each step showed what it should");
    Ok(())
}

fn allowed(stage: &Stage, show: Show) -> Result<()> {
    let row = answer(&psql(stage, show, "nora", ALLOWED)?)?;
    ensure!(row.contains("MRN") || row.contains("(1 row)"), "the nurse did not get the patient:\n{row}");
    ensure!(row.contains("(1 row)"), "the nurse got another number of rows:\n{row}");
    show.shown("the nurse reads a patient");
    let rows = answer(&psql(stage, show, "amir", AGGREGATE)?)?;
    ensure!(rows.contains("rows)"), "the analyst got no counts:\n{rows}");
    show.shown("the analyst counts encounters");
    let rows = answer(&psql(stage, show, "paula", STAFF)?)?;
    ensure!(rows.contains("rows)"), "the privacy officer got no staff:\n{rows}");
    show.shown("the privacy officer looks at the staff");
    Ok(())
}

fn refused(stage: &Stage, show: Show) -> Result<()> {
    refuse(stage, show, "amir", REFUSED)?;
    show.shown("the analyst sees no note: not a row, not a value");
    let count = || stage.cluster.psql_in(HOSPITAL, "select count(*) from notes");
    let before = count()?;
    refuse(stage, show, "paula", DELETE)?;
    ensure!(count()? == before, "a refused statement changed something");
    show.shown(&format!("the privacy officer deletes nothing: the database still holds {before} notes"));
    let wrong = stage.conninfo(stage.person("nora")?).with_user("nora", "not her password");
    let output = run_psql(&wrong, "select 1")?;
    ensure!(!output.status.success(), "a wrong password was accepted");
    show.command("somebody", "psql … with a wrong password");
    show.answer(&String::from_utf8_lossy(&output.stderr));
    show.shown("a wrong password opens nothing");
    Ok(())
}

fn refuse(stage: &Stage, show: Show, who: &str, sql: &str) -> Result<()> {
    let output = psql(stage, show, who, sql)?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "`{sql}` of {who} was not refused");
    ensure!(output.stdout.is_empty(), "a refused statement returned something");
    ensure!(
        error.contains(REFUSED_SQLSTATE),
        "the refusal has another SQLSTATE than {REFUSED_SQLSTATE}: {error}"
    );
    Ok(())
}

fn masked(stage: &Stage, show: Show) -> Result<()> {
    let row = answer(&psql(stage, show, "amir", ALLOWED)?)?;
    ensure!(row.contains("(1 row)"), "the analyst got another number of rows:\n{row}");
    let truth = "select mrn || '|' || first_name || '|' || last_name from patients where id = 1";
    for value in stage.cluster.psql_in(HOSPITAL, truth)?.split('|') {
        ensure!(!row.contains(value), "a protected value reached the analyst:\n{row}");
    }
    show.shown("the analyst gets the same patient without who it is");
    refuse(stage, show, "amir", GUESS)?;
    show.shown("a filter would tell the name too: refused");
    Ok(())
}

fn who_saw(stage: &Stage, show: Show) -> Result<()> {
    show.command("privacy officer", "wardline who-saw 1");
    show.answer(&stage.wardline.done(&["who-saw", "1"], None)?);
    let found = stage.wardline.json_lines(&["who-saw", "1", "--json"])?;
    let accesses = found.first().and_then(|found| found.get("accesses")?.as_array()).context("accesses")?;
    let people: Vec<String> = accesses.iter().map(|access| text(access, "person_name")).collect();
    ensure!(people.starts_with(&["nora".to_owned(), "amir".to_owned()]), "patient 1 was seen by {people:?}");
    show.shown("the nurse and the analyst, and nobody else; the masked row counts as well");
    Ok(())
}

fn update(stage: &Stage, show: Show) -> Result<()> {
    let done = answer(&psql(stage, show, "nora", UPDATE)?)?;
    ensure!(done.trim() == "UPDATE 1", "the update answered `{}`", done.trim());
    let status = stage.cluster.psql_in(HOSPITAL, "select status from appointments where id = 1")?;
    ensure!(status == "arrived", "the database says `{status}` after the update");
    show.shown("the nurse changed an appointment; the database, asked directly, has it");
    Ok(())
}

fn entries(stage: &Stage, show: Show) -> Result<()> {
    show.command("auditor", "wardline trail tail --kind operation");
    show.answer(&stage.wardline.done(&["trail", "tail", "--kind", "operation"], None)?);
    let entries = stage.wardline.json_lines(&["trail", "tail", "-n", "200", "--json"])?;
    let of = |who: &str, kind: &str| -> Vec<&Value> {
        entries
            .iter()
            .filter(|entry| text(entry, "person_name") == who && text(entry, "kind") == kind)
            .collect()
    };
    for (who, role, _) in PEOPLE {
        ensure!(!of(who, "sign-in").is_empty(), "no entry of the sign-in of {who}");
        let allowed = of(who, "operation").iter().any(|entry| text(entry, "verdict") == "allow");
        ensure!(allowed, "no entry of an allowed operation of {who}");
        show.shown(&format!("{who}, {role}: signed in, and did what was allowed"));
    }
    for who in ["amir", "paula"] {
        let refused = of(who, "operation").iter().any(|entry| text(entry, "phase") == "refused");
        ensure!(refused, "no entry of the refused operation of {who}");
    }
    show.shown("the refusals are entries as well");
    let phases: Vec<String> = of("nora", "operation")
        .iter()
        .filter(|entry| text(entry, "command") == "UPDATE")
        .map(|entry| text(entry, "phase"))
        .collect();
    ensure!(phases == ["admitted", "settled"], "the update was recorded as {phases:?}");
    show.shown("the update has two: one before it was sent, one with what came of it");
    let everything = serde_json::to_string(&entries)?;
    ensure!(!everything.contains("'arrived'"), "a literal is in an entry without the right to open it");
    show.shown("literals are sealed: statements are shown without their values");
    Ok(())
}

fn verified(stage: &Stage, show: Show) -> Result<()> {
    show.command("auditor", "wardline verify");
    show.answer(&stage.wardline.done(&["verify"], None)?);
    show.shown("nothing was altered, dropped, reordered or cut off");
    Ok(())
}

fn damaged(stage: &Stage, show: Show) -> Result<()> {
    let copy = stage.folder.join("copy-of-the-trail");
    if copy.exists() {
        std::fs::remove_dir_all(&copy)?;
    }
    copy_folder(&stage.wardline.data().join("trail"), &copy)?;
    let key = stage.wardline.data().join("root.key");
    let args = ["verify", "--trail", &copy.display().to_string(), "--root-key", &key.display().to_string()]
        .map(str::to_owned);
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    args.extend(["--node", "demo"]);
    let whole = stage.wardline.output(&args, None)?;
    ensure!(whole.status.success(), "the copy does not verify before it is damaged: {}", said(&whole));
    show.shown("the copy verifies");
    let (file, at) = flip(&copy)?;
    show.line(&format!("  flipped one bit of byte {at} in {}", file.strip_prefix(&copy)?.display()));
    show.command("auditor", "wardline verify --trail copy-of-the-trail …");
    let damaged = stage.wardline.output(&args, None)?;
    show.answer(&said(&damaged));
    ensure!(damaged.status.code() == Some(1), "damage ended `verify` with {}", damaged.status);
    show.shown("damage found, and the first bad entry named");
    std::fs::remove_dir_all(&copy)?;
    Ok(())
}

/// Flips a bit in the middle of what is written in the largest file of a trail.
fn flip(trail: &Path) -> Result<(std::path::PathBuf, usize)> {
    let mut files = Vec::new();
    list(trail, &mut files)?;
    let mut best = None;
    for file in files {
        let bytes = std::fs::read(&file)?;
        // Files are allocated ahead; what is written ends at the last byte that is not zero.
        let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        if best.as_ref().is_none_or(|(most, _, _)| written > *most) {
            best = Some((written, file, bytes));
        }
    }
    let (written, file, mut bytes) = best.context("the trail has no files")?;
    let at = written / 2;
    *bytes.get_mut(at).context("the largest file of the trail is empty")? ^= 1;
    std::fs::write(&file, bytes)?;
    Ok((file, at))
}

fn list(folder: &Path, files: &mut Vec<std::path::PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().context("a name")?);
        if path.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            std::fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

fn text(entry: &Value, field: &str) -> String {
    entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn answer(output: &Output) -> Result<String> {
    ensure!(output.status.success(), "psql failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs the real psql as a person, and shows it.
fn psql(stage: &Stage, show: Show, who: &str, sql: &str) -> Result<Output> {
    show.command(who, &format!("psql -c \"{sql}\""));
    let output = run_psql(&stage.conninfo(stage.person(who)?), sql)?;
    show.answer(&said(&output));
    Ok(output)
}

fn run_psql(conninfo: &crate::Conninfo, sql: &str) -> Result<Output> {
    let mut command = Command::new("psql");
    conninfo.apply(&mut command);
    command.args(["-X", "-P", "pager=off", "-v", "VERBOSITY=verbose", "-c", sql]).stdin(Stdio::null());
    command.output().context("cannot start psql")
}
