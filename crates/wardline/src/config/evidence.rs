//! `[trail.witness]` and `[trail.clock]`: what makes the trail's word good with others.

use std::path::Path;
use std::time::Duration;

use tlog::Policy;

use super::files;
use super::read::Section;
use crate::clock::ClockWatch;
use crate::witness::client::Address;
use crate::witness::submit::Witnessing;

/// What the two sections say.
pub(super) struct Evidence {
    pub(super) witnessing: Option<Witnessing>,
    pub(super) clock: ClockWatch,
}

/// Reads both.
pub(super) fn evidence(top: &Section<'_, '_>, node: Option<&str>, base: &Path) -> Evidence {
    let section = top.section("trail");
    let witness = section.as_ref().and_then(|trail| trail.section("witness"));
    let clock = section.as_ref().and_then(|trail| trail.section("clock"));
    let step_ms = clock.map_or(2_000, |section| section.number("step_ms_max", 100..=3_600_000, 2_000));
    Evidence {
        witnessing: witness.and_then(|section| witnessing(&section, node, base)),
        clock: ClockWatch { step_max: Duration::from_millis(step_ms) },
    }
}

/// Reads who witnesses the log, if anybody does.
fn witnessing(section: &Section<'_, '_>, node: Option<&str>, base: &Path) -> Option<Witnessing> {
    let at = section.required("policy", "\"witnesses.policy\"")?;
    let policy_file = base.join(&at.value);
    let ca = section.text("ca", "\"ca.pem\"").map(|at| base.join(at.value));
    let interval = Duration::from_millis(section.number("interval_ms", 100..=3_600_000, 10_000));
    let alarm_after = Duration::from_millis(section.number("alarm_after_ms", 100..=86_400_000, 300_000));
    let wrong = |message: String, help: &str| {
        let message = format!("`{}`: {}: {message}", section.child("policy"), policy_file.display());
        section.reader().error(at.offset, message, help);
    };
    if let Some(ca) = &ca
        && let Err(reason) = files::check_certificates(ca)
    {
        wrong(format!("{} {reason}", ca.display()), "name the authorities of the witnesses, PEM");
    }
    let policy = std::fs::read(&policy_file).map_err(|error| error.to_string());
    let policy = match policy.and_then(|bytes| Policy::parse(&bytes).map_err(|error| error.to_string())) {
        Ok(policy) => policy,
        Err(reason) => {
            wrong(reason, "write `witness NAME KEY URL` and `quorum NAME` (C2SP tlog-policy)");
            return None;
        }
    };
    let own = policy.logs().is_empty() || policy.logs().iter().any(|log| Some(log.key.name()) == node);
    if !own {
        wrong("it names other logs than this node's".to_owned(), "add `log` with the key in `verifier.txt`");
    }
    for url in policy.witnesses().iter().filter_map(|witness| witness.url.as_deref()) {
        if let Err(error) = Address::of(url, ca.as_deref()) {
            wrong(format!("{error:#}"), "write https://HOST:PORT, or http:// on this machine");
        }
    }
    Some(Witnessing { policy, ca, interval, alarm_after })
}
