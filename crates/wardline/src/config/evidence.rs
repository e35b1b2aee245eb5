//! `[trail.witness]`, `[trail.clock]` and `[trail.archive]`: what makes the trail's word good with others.

use std::path::Path;
use std::time::Duration;

use tlog::Policy;

use super::files;
use super::read::Section;
use crate::archiving::Archiving;
use crate::clock::{ClockWatch, Reference};
use crate::witness::client::Address;
use crate::witness::submit::Witnessing;

/// What the sections say.
pub(super) struct Evidence {
    pub(super) witnessing: Option<Witnessing>,
    pub(super) clock: ClockWatch,
    pub(super) archiving: Option<Archiving>,
}

/// Reads them.
pub(super) fn evidence(top: &Section<'_, '_>, node: Option<&str>, base: &Path) -> Evidence {
    let section = top.section("trail");
    let witness = section.as_ref().and_then(|trail| trail.section("witness"));
    let clock = section.as_ref().and_then(|trail| trail.section("clock"));
    let step_ms =
        clock.as_ref().map_or(2_000, |section| section.number("step_ms_max", 100..=3_600_000, 2_000));
    let archive = section.as_ref().and_then(|trail| trail.section("archive"));
    Evidence {
        witnessing: witness.and_then(|section| witnessing(&section, node, base)),
        clock: ClockWatch {
            step_max: Duration::from_millis(step_ms),
            reference: clock.and_then(|section| reference(&section)),
        },
        archiving: archive.map(|section| archiving(&section)),
    }
}

/// Reads when the archive is written.
fn archiving(section: &Section<'_, '_>) -> Archiving {
    let seconds = |name, bounds, default| Duration::from_secs(section.number(name, bounds, default));
    Archiving {
        every: seconds("every_s", 1..=86_400, 3_600),
        entries_min: section.number("entries_min", 1..=1 << 20, 65_536),
        lag: seconds("lag_s", 1..=31_536_000, 86_400),
        alarm_after: seconds("alarm_after_s", 1..=31_536_000, 86_400),
    }
}

/// Reads with whom the time of day is compared, if with anybody.
fn reference(section: &Section<'_, '_>) -> Option<Reference> {
    let server = section.text("ntp", "\"ntp.example.org\"")?;
    // An address of version 6 has colons of its own.
    let has_port = server.value.rsplit_once(':').is_some_and(|(host, port)| {
        port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
    });
    let ms = |name, bounds, default| Duration::from_millis(section.number(name, bounds, default));
    Some(Reference {
        server: if has_port { server.value } else { format!("{}:123", server.value) },
        every: ms("every_ms", 100..=86_400_000, 64_000),
        offset_max: ms("offset_ms_max", 1..=3_600_000, 1_000),
        alarm_after: ms("alarm_after_ms", 100..=604_800_000, 3_600_000),
    })
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
