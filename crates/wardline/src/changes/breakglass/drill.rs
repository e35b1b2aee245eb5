//! An emergency that is rehearsed: taken for real and marked as an exercise, told to others, ended, with a signed report.
//!
//! The rights are real for the time that it takes, everything is recorded, and somebody reviews it as any other. Deliberately
//! absent: a session on the resource, which needs the person's own client.

use std::fs;
use std::time::{Duration, Instant};

use model::{Action, Context, Need, Object, Principal, ResourceId, Shown, Verdict};
use registry::{Emergency, Over};
use serde::{Deserialize, Serialize};
use trail::Folder;
use utoipa::ToSchema;

use super::asked::Wish;
use crate::admin::{Actor, Refusal, Reply};
use crate::changes::Change;
use crate::codes;
use crate::config::sha256;
use crate::data::{create_private, write_new};
use crate::node::{Node, load_root_key};
use crate::output::{self, hex};

const FORMAT: &str = "wardline/break-glass-drill/v1";
/// First line of what is signed.
const NOTE_TITLE: &str = "wardline break-glass drill v1";
/// How long others may take to be told; a command waits a minute for its answer.
const TOLD_MAX: Duration = Duration::from_secs(30);
const TOLD_PAUSE: Duration = Duration::from_millis(200);

/// What a drill showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct DrillReport {
    pub(crate) format: String,
    pub(crate) node: String,
    pub(crate) emergency: u64,
    pub(crate) person: String,
    pub(crate) resource: String,
    pub(crate) at: String,
    pub(crate) at_us: u64,
    /// From the question to the right.
    pub(crate) taken_ms: u64,
    /// The right was there, and named the emergency access.
    pub(crate) had: bool,
    /// Who was told, and after how long; `None` for who was not in time.
    pub(crate) told_ms: Vec<(String, Option<u64>)>,
    /// The right was gone after its end.
    pub(crate) gone: bool,
    /// Sealed codes that are left; `None` where there are none.
    pub(crate) codes_left: Option<usize>,
    pub(crate) passed: bool,
    /// What was wrong.
    pub(crate) findings: Vec<String>,
}

/// A report, and the signed text that goes with it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct DrilledView {
    pub(crate) report: DrillReport,
    pub(crate) path: String,
    pub(crate) note: String,
}

impl DrillReport {
    fn judge(mut self) -> DrillReport {
        let late = self.told_ms.iter().filter(|(_, after)| after.is_none());
        let mut findings: Vec<String> =
            late.map(|(name, _)| format!("`{name}` was not told within {} s", TOLD_MAX.as_secs())).collect();
        let mut unless = |fine: bool, said: &str| {
            if !fine {
                findings.push(said.to_owned());
            }
        };
        unless(
            !self.told_ms.is_empty(),
            "nobody is told: there is no [notify.NAME] with the topic `emergency`",
        );
        unless(self.had, "the right was not there");
        unless(self.gone, "the right was there after its end");
        unless(self.codes_left.is_some_and(|left| left > 0), "no sealed codes are left");
        self.passed = findings.is_empty();
        self.findings = findings;
        self
    }

    fn text(&self, json_sha256: &str) -> String {
        let told = self.told_ms.iter().map(|(name, after)| match after {
            Some(ms) => format!("told {name}: after {ms} ms\n"),
            None => format!("told {name}: NO\n"),
        });
        let findings = self.findings.iter().map(|finding| format!("finding: {finding}\n"));
        format!(
            "{NOTE_TITLE}\nnode: {}\nemergency access: {}\nperson: {}\nresource: {}\nat: {}\n\
             taken within: {} ms\n{}right had and gone again: {} and {}\nsealed codes left: {}\nresult: {}\n{}report sha256: {json_sha256}\n",
            self.node,
            self.emergency,
            self.person,
            self.resource,
            self.at,
            self.taken_ms,
            told.collect::<String>(),
            if self.had { "yes" } else { "NO" },
            if self.gone { "yes" } else { "NO" },
            self.codes_left.map_or("none".to_owned(), |left| left.to_string()),
            if self.passed { "passed" } else { "FAILED" },
            findings.collect::<String>(),
        )
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Node {
    pub(super) async fn emergency_drill(&self, actor: &Actor, wish: &Wish) -> Result<Reply, Refusal> {
        let began = Instant::now();
        let at = self.now();
        let config = self.config.load_full();
        let glass = config.emergency.break_glass.as_ref();
        // Any code will do for an exercise.
        let wish = &Wish {
            resource: wish.resource.clone(),
            reason_code: glass.and_then(|glass| glass.reason_codes.first().cloned()).unwrap_or_default(),
            reason: wish.reason.clone(),
            patient: None,
            duration_s: wish
                .duration_s
                .map(|asked| glass.map_or(asked, |glass| asked.min(glass.duration_max.as_secs()))),
            drill: true,
        };
        let taken = {
            let _turn = self.turn.lock().await;
            self.emergency_taken(actor, wish, None).await?
        };
        let taken_ms = millis(began);
        let had = self.has_by(&taken);
        let told_ms = if taken.taken.is_some() { self.told(&taken).await } else { Vec::new() };
        let over = if taken.taken.is_some() { Over::Ended } else { Over::Withdrawn };
        let what = format!("end the drill of {}", super::shown(&taken));
        let change = Change::new(actor, "break-glass end", what);
        let change = Change { emergency: Some(taken.number), ..change };
        let after = {
            let _turn = self.turn.lock().await;
            self.emergency_over(change, &taken, over, "the drill is done").await?
        };
        let left = codes::left(&self.folder.codes()).map_err(|error| Refusal::because(&error))?;
        let codes_left = left.map(|left| left.codes.iter().filter(|(_, used)| used.is_none()).count());
        let report = DrillReport {
            format: FORMAT.to_owned(),
            node: self.config.load().node.clone(),
            emergency: taken.number,
            person: taken.person_name.clone(),
            resource: taken.resource.clone(),
            at: output::time(at),
            at_us: at.0,
            taken_ms,
            had,
            told_ms,
            gone: !self.has_by(&after),
            codes_left,
            passed: false,
            findings: Vec::new(),
        };
        self.sign_drill(report.judge())
            .map(|view| Reply::Drilled(Box::new(view)))
            .map_err(|error| Refusal::new(format!("the report could not be written: {error:#}")))
    }

    /// Tells whether policy lets the person in by this emergency access now.
    fn has_by(&self, emergency: &Emergency) -> bool {
        let principal = Principal {
            id: emergency.person,
            name: emergency.person_name.as_str().into(),
            roles: Vec::new().into(),
            agent: None,
            shown: Shown::with_factor("drill", self.now()),
        };
        let resource = ResourceId(emergency.resource.as_str().into());
        let address = std::net::Ipv4Addr::LOCALHOST.into();
        let context = Context { address, at: self.now(), purpose: None, factor_at: Some(self.now()) };
        let needs = [Need { action: Action::Connect, object: Object::Resource }];
        let decision = self.snapshot().decide(&principal, &resource, &needs, &context);
        let by = format!("role.emergency.{}.", emergency.number);
        decision.verdict == Verdict::Allow && decision.reasons.iter().any(|reason| reason.0.starts_with(&by))
    }

    /// Waits until everybody who is told of emergencies was told of this one.
    async fn told(&self, emergency: &Emergency) -> Vec<(String, Option<u64>)> {
        let began = Instant::now();
        let config = self.config.load_full();
        let wants = |notify: &&String| {
            config
                .emergency
                .notify
                .get(*notify)
                .is_some_and(|one| one.topics.contains(&export::Topic::Emergency))
        };
        let mut told: Vec<(String, Option<u64>)> =
            config.emergency.notify.keys().filter(wants).map(|name| (name.clone(), None)).collect();
        while told.iter().any(|(_, after)| after.is_none()) && began.elapsed() < TOLD_MAX {
            for (name, after) in told.iter_mut().filter(|(_, after)| after.is_none()) {
                let path = crate::notify::position(self.folder.path(), name);
                if last_told(&path).is_some_and(|index| index >= emergency.entry) {
                    *after = Some(millis(began));
                }
            }
            tokio::time::sleep(TOLD_PAUSE).await;
        }
        told
    }

    fn sign_drill(&self, report: DrillReport) -> anyhow::Result<DrilledView> {
        let folder = self.folder.drills();
        create_private(&folder)?;
        let json = serde_json::to_vec_pretty(&report)?;
        let root = load_root_key(&self.folder.root_key())?;
        let text = report.text(&hex(&sha256(&json)));
        let note = trail::sign_text(&Folder::open(&self.folder.trail())?, &root, text)?;
        let path = folder.join(format!("break-glass-{:020}.txt", report.at_us));
        write_new(&path.with_extension("json"), 0o600, &json)?;
        write_new(&path, 0o600, note.as_bytes())?;
        Ok(DrilledView { report, path: path.display().to_string(), note })
    }
}

/// Returns the last entry that a receiver took.
fn last_told(path: &std::path::Path) -> Option<u64> {
    let position: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    position.pointer("/last/index")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drill_passes_when_everybody_was_told_and_the_right_came_and_went() {
        let report = DrillReport {
            format: FORMAT.to_owned(),
            node: "gw1".to_owned(),
            emergency: 3,
            person: "ann".to_owned(),
            resource: "hospital".to_owned(),
            at: "t".to_owned(),
            at_us: 1,
            taken_ms: 12,
            had: true,
            told_ms: vec![("office".to_owned(), Some(900))],
            gone: true,
            codes_left: Some(9),
            passed: false,
            findings: Vec::new(),
        };
        let passed = report.clone().judge();
        assert!(passed.passed && passed.text("x").contains("told office: after 900 ms\n"), "{passed:?}");
        for (worse, said) in [
            (DrillReport { had: false, ..report.clone() }, "was not there"),
            (DrillReport { gone: false, ..report.clone() }, "after its end"),
            (DrillReport { told_ms: Vec::new(), ..report.clone() }, "nobody is told"),
            (
                DrillReport { told_ms: vec![("office".to_owned(), None)], ..report.clone() },
                "`office` was not told",
            ),
            (DrillReport { codes_left: Some(0), ..report.clone() }, "no sealed codes"),
        ] {
            let judged = worse.judge();
            assert!(!judged.passed && judged.findings.len() == 1, "{judged:?}");
            assert!(judged.text("x").contains(said), "{}", judged.text("x"));
        }
    }
}
