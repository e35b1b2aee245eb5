//! The oracle: the clients' ledger against the entries of the trail and the rows of the database.
//!
//! Pure, so that it can be shown to find what it is for: see the tests below, which take entries away.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::ledger::{Act, End, FIRST_ID, Line, Stored, Visit};

/// The window that is released without a further entry.
const WINDOW_BYTES: u64 = 64 << 10;
/// What a session is told when it ends; nothing of a statement's own.
const SESSION_ENDS: [&str; 4] = ["58030", "57P01", "08006", "57P05"];
/// What policy's refusal is told as.
const REFUSED: &str = "42501";

/// One entry of the trail, as `wardline trail tail --json --open-sealed` prints it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) index: u64,
    kind: String,
    session: String,
    operation: u64,
    phase: String,
    person: String,
    client: String,
    verdict: String,
    command: String,
    rows: u64,
    bytes: u64,
    outcome: String,
    sqlstate: String,
    detail: String,
    /// The statement's number, from its literals or parameters.
    id: Option<u64>,
}

impl Entry {
    pub(crate) fn read(value: &Value) -> Entry {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |name: &str| value.get(name).and_then(Value::as_u64).unwrap_or_default();
        let sealed = ["literals", "parameters"].into_iter().filter_map(|name| value.get(name)?.as_array());
        Entry {
            index: number("index"),
            kind: text("kind"),
            session: text("session"),
            operation: number("operation"),
            phase: text("phase"),
            person: text("person_name"),
            client: text("client"),
            verdict: text("verdict"),
            command: text("command"),
            rows: number("rows"),
            bytes: number("bytes"),
            outcome: text("outcome"),
            sqlstate: text("sqlstate"),
            detail: text("detail"),
            id: sealed.flatten().find_map(|value| statement_id(value.as_str()?)),
        }
    }

    /// Returns whether it says that a recovery cut off an unfinished frame.
    pub(crate) fn is_cut(&self) -> bool {
        self.kind == "incident" && self.detail.contains("cut off")
    }

    /// Returns whether it is about the statement with this number.
    #[cfg(test)]
    fn is_of(&self, id: u64) -> bool {
        self.id == Some(id)
    }
}

/// Reads a statement's number from a literal, quoted or not, or a binary parameter of eight bytes.
fn statement_id(text: &str) -> Option<u64> {
    let text = text.trim_matches('\'');
    let id = match text.strip_prefix("\\x") {
        Some(hex) if hex.len() == 16 => u64::from_str_radix(hex, 16).ok()?,
        Some(_) => return None,
        None => text.parse().ok()?,
    };
    (FIRST_ID..2 * FIRST_ID).contains(&id).then_some(id)
}

/// All entries of one operation, taken together.
#[derive(Clone, Debug, Default)]
struct Operation {
    /// By whom, and with which client: one of each.
    by: BTreeSet<(String, String)>,
    verdict: String,
    command: String,
    phases: BTreeSet<String>,
    rows: u64,
    bytes: u64,
    outcome: String,
    sqlstate: String,
    id: Option<u64>,
}

/// What the ledger and the trail do not agree on.
pub(crate) fn judge(visits: &[Visit], entries: &[Entry], stored: &BTreeSet<u64>) -> Vec<String> {
    let mut faults = Vec::new();
    let operations = operations(entries);
    let mut by_id: BTreeMap<u64, &Operation> = BTreeMap::new();
    for operation in operations.values() {
        let Some(id) = operation.id else { continue };
        if by_id.insert(id, operation).is_some() {
            faults.push(format!("statement {id} is recorded as two operations"));
        }
    }
    let opened: BTreeMap<&str, &str> = entries
        .iter()
        .filter(|entry| entry.kind == "session-opened")
        .map(|entry| (entry.client.as_str(), entry.person.as_str()))
        .collect();
    for visit in visits {
        if opened.get(visit.client.as_str()) != Some(&visit.person.as_str()) {
            faults.push(format!("session `{}` of {} has no entry", visit.client, visit.person));
        }
        for (command, acknowledged) in &visit.unnumbered {
            let by = (visit.person.clone(), visit.client.clone());
            let of = |operation: &&Operation| operation.by.contains(&by) && operation.command == *command;
            let recorded = operations.values().filter(of).count() as u64;
            if recorded < *acknowledged {
                let client = &visit.client;
                faults.push(format!("{client}: {acknowledged} {command} acknowledged, {recorded} recorded"));
            }
        }
        for line in &visit.lines {
            let found = by_id.remove(&line.id);
            let mut of_line = check(visit, line, found, stored.contains(&line.id));
            faults.extend(of_line.drain(..).map(|fault| format!("statement {}: {fault}: {line:?}", line.id)));
        }
    }
    faults.extend(by_id.keys().map(|id| format!("statement {id} is recorded and was never sent")));
    let sent: BTreeSet<u64> = visits.iter().flat_map(|visit| &visit.lines).map(|line| line.id).collect();
    faults.extend(stored.difference(&sent).map(|id| format!("row {id} was written by nobody")));
    faults
}

fn operations(entries: &[Entry]) -> BTreeMap<(&str, u64), Operation> {
    let mut operations: BTreeMap<(&str, u64), Operation> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.kind == "operation") {
        let operation = operations.entry((&entry.session, entry.operation)).or_default();
        operation.by.insert((entry.person.clone(), entry.client.clone()));
        operation.verdict.clone_from(&entry.verdict);
        operation.command.clone_from(&entry.command);
        operation.phases.insert(entry.phase.clone());
        operation.rows = operation.rows.max(entry.rows);
        operation.bytes = operation.bytes.max(entry.bytes);
        if !entry.outcome.is_empty() {
            operation.outcome.clone_from(&entry.outcome);
            operation.sqlstate.clone_from(&entry.sqlstate);
        }
        operation.id = operation.id.or(entry.id);
    }
    operations
}

/// Compares one statement with its operation.
fn check(visit: &Visit, line: &Line, found: Option<&Operation>, stored: bool) -> Vec<String> {
    let mut faults = Vec::new();
    match (line.stored, stored) {
        (Stored::Must, false) => faults.push("acknowledged, and not in the database".to_owned()),
        (Stored::MustNot, true) => faults.push("in the database against what the client was told".to_owned()),
        (Stored::Must | Stored::May, true) | (Stored::MustNot | Stored::May, false) => {}
    }
    let Some(operation) = found else {
        let session_ended = matches!(&line.end, End::Failed(code) if SESSION_ENDS.contains(&code.as_str()));
        if line.told() && !(session_ended && line.rows == 0 && line.bytes == 0) {
            faults.push("has no entry".to_owned());
        }
        if stored {
            faults.push("took effect and has no entry".to_owned());
        }
        return faults;
    };
    let has = |phase: &str| operation.phases.contains(phase);
    if operation.by != BTreeSet::from([(visit.person.clone(), visit.client.clone())]) {
        faults.push(format!("is of somebody else: {:?}", operation.by));
    }
    if stored && !has("admitted") {
        faults.push("took effect and was not recorded before it did".to_owned());
    }
    let expected = if line.end == End::Failed(REFUSED.to_owned()) { "deny" } else { "allow" };
    if line.told() && operation.verdict != expected {
        faults.push(format!("the decision is recorded as `{}`", operation.verdict));
    }
    if operation.verdict == "deny" && (line.rows > 0 || stored) {
        faults.push("was refused and had an effect".to_owned());
    }
    if !covers(line, operation) {
        faults.push(format!(
            "more was released than recorded: {} rows, {} bytes",
            operation.rows, operation.bytes
        ));
    }
    faults.extend(settled(line, operation));
    faults
}

/// Returns whether what reached the client was announced. Once the end is recorded, that is all of it; of a result that is
/// still under way, all but the window or half of what was released, whichever is more (`docs/decisions/0009`).
fn covers(line: &Line, operation: &Operation) -> bool {
    let under_way = ["complete", "settled"].iter().all(|phase| !operation.phases.contains(*phase));
    let slack = if under_way { WINDOW_BYTES.max(line.bytes / 2) } else { 0 };
    let unannounced = line.bytes.saturating_sub(operation.bytes);
    let rows_unannounced = match line.act {
        // Copied rows are counted by the server, at the end.
        Act::CopyOut if under_way => 0,
        Act::CopyOut | Act::Read | Act::Write => line.rows.saturating_sub(operation.rows),
    };
    let row_bytes = line.bytes / line.rows.max(1);
    unannounced <= slack && rows_unannounced * row_bytes <= slack
}

/// Compares how it ended, where both know.
fn settled(line: &Line, operation: &Operation) -> Option<String> {
    let ended = ["complete", "settled"].iter().any(|phase| operation.phases.contains(*phase));
    match &line.end {
        End::Acknowledged if ended && (operation.outcome != "completed" || operation.rows != line.rows) => {
            Some(format!("ended as `{}` with {} rows", operation.outcome, operation.rows))
        }
        End::Failed(code) if ended && code != REFUSED && !SESSION_ENDS.contains(&code.as_str()) => {
            (operation.sqlstate != *code).then(|| format!("failed as `{}`", operation.sqlstate))
        }
        End::Acknowledged | End::Failed(_) | End::Cut => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: u64 = FIRST_ID + 1;
    const WRITE: u64 = FIRST_ID + 2;
    const LARGE: u64 = FIRST_ID + 3;
    const DENIED: u64 = FIRST_ID + 4;

    fn line(id: u64, act: Act, rows: u64, bytes: u64, end: End, stored: Stored) -> Line {
        Line { id, act, rows, bytes, end, stored }
    }

    fn visits() -> Vec<Visit> {
        let mut visit = Visit::new("c1".to_owned(), "ann".to_owned());
        visit.lines = vec![
            line(READ, Act::Read, 3, 300, End::Acknowledged, Stored::MustNot),
            line(WRITE, Act::Write, 1, 0, End::Acknowledged, Stored::Must),
            line(LARGE, Act::Read, 1500, 150_000, End::Cut, Stored::MustNot),
            line(DENIED, Act::Read, 0, 0, End::Failed(REFUSED.to_owned()), Stored::MustNot),
        ];
        visit.unnumbered.insert("BEGIN", 1);
        vec![visit]
    }

    fn operation(number: u64, phase: &str, id: Option<u64>, rows: u64, bytes: u64, outcome: &str) -> Entry {
        Entry {
            index: 0,
            kind: "operation".to_owned(),
            session: "s".to_owned(),
            operation: number,
            phase: phase.to_owned(),
            person: "ann".to_owned(),
            client: "c1".to_owned(),
            verdict: if phase == "refused" { "deny" } else { "allow" }.to_owned(),
            command: "SELECT".to_owned(),
            rows,
            bytes,
            outcome: outcome.to_owned(),
            sqlstate: String::new(),
            detail: String::new(),
            id,
        }
    }

    fn entries() -> Vec<Entry> {
        let mut opened = operation(0, "", None, 0, 0, "");
        opened.kind = "session-opened".to_owned();
        let mut begin = operation(5, "complete", None, 0, 0, "completed");
        begin.command = "BEGIN".to_owned();
        vec![
            opened,
            operation(1, "complete", Some(READ), 3, 350, "completed"),
            operation(2, "admitted", Some(WRITE), 0, 0, ""),
            operation(2, "settled", None, 1, 15, "completed"),
            operation(3, "progress", Some(LARGE), 800, 80_000, ""),
            operation(4, "refused", Some(DENIED), 0, 0, "refused"),
            begin,
        ]
    }

    fn stored() -> BTreeSet<u64> {
        BTreeSet::from([WRITE])
    }

    #[track_caller]
    fn finds(visits: &[Visit], entries: &[Entry], stored: &BTreeSet<u64>, words: &str) {
        let faults = judge(visits, entries, stored);
        assert!(faults.iter().any(|fault| fault.contains(words)), "`{words}` is not in {faults:?}");
    }

    #[test]
    fn what_agrees_has_no_fault() {
        assert_eq!(judge(&visits(), &entries(), &stored()), Vec::<String>::new());
        // The end of a write comes when it comes.
        let mut unsettled = entries();
        unsettled.retain(|entry| entry.phase != "settled");
        assert_eq!(judge(&visits(), &unsettled, &stored()), Vec::<String>::new());
    }

    #[test]
    fn every_lost_entry_is_missed() {
        for (place, lost) in entries().iter().enumerate().filter(|(_, entry)| entry.phase != "settled") {
            let mut less = entries();
            less.remove(place);
            assert!(!judge(&visits(), &less, &stored()).is_empty(), "nobody misses {lost:?}");
        }
    }

    #[test]
    fn another_person_or_decision_is_seen() {
        for place in 0..entries().len() {
            let mut other = entries();
            other[place].person = "bob".to_owned();
            assert!(!judge(&visits(), &other, &stored()).is_empty(), "{:?}", other[place]);
        }
        let mut denied = entries();
        denied
            .iter_mut()
            .filter(|entry| entry.is_of(READ))
            .for_each(|entry| entry.verdict = "deny".to_owned());
        finds(&visits(), &denied, &stored(), "was refused and had an effect");
        let mut allowed = entries();
        allowed
            .iter_mut()
            .filter(|entry| entry.is_of(DENIED))
            .for_each(|entry| entry.verdict = "allow".to_owned());
        finds(&visits(), &allowed, &stored(), "the decision is recorded as");
    }

    #[test]
    fn rows_beyond_the_record_are_seen() {
        let mut fewer = entries();
        fewer.iter_mut().filter(|entry| entry.is_of(READ)).for_each(|entry| entry.rows = 2);
        finds(&visits(), &fewer, &stored(), "more was released than recorded");
        let mut understated = entries();
        understated.iter_mut().filter(|entry| entry.is_of(LARGE)).for_each(|entry| {
            entry.rows = 700;
            entry.bytes = 70_000;
        });
        finds(&visits(), &understated, &stored(), "more was released than recorded");
    }

    #[test]
    fn the_database_is_asked_too() {
        finds(&visits(), &entries(), &BTreeSet::new(), "acknowledged, and not in the database");
        finds(&visits(), &entries(), &BTreeSet::from([WRITE, WRITE + 50]), "was written by nobody");
        let mut late = entries();
        late.iter_mut()
            .filter(|entry| entry.is_of(WRITE))
            .for_each(|entry| entry.phase = "complete".to_owned());
        finds(&visits(), &late, &stored(), "not recorded before it did");
    }

    #[test]
    fn entries_for_nothing_are_seen() {
        let mut more = entries();
        more.push(operation(9, "complete", Some(FIRST_ID + 99), 0, 0, "completed"));
        finds(&visits(), &more, &stored(), "was never sent");
        more.push(operation(10, "complete", Some(READ), 3, 350, "completed"));
        finds(&visits(), &more, &stored(), "two operations");
    }

    #[test]
    fn numbers_are_found_in_literals_and_parameters() {
        assert_eq!(statement_id("1000000000007"), Some(FIRST_ID + 7));
        assert_eq!(statement_id("'1000000000007'"), Some(FIRST_ID + 7));
        assert_eq!(statement_id("\\x000000e8d4a51007"), Some(FIRST_ID + 7));
        assert_eq!(statement_id("4000"), None);
        assert_eq!(statement_id("\\x00000fa0"), None);
    }
}
