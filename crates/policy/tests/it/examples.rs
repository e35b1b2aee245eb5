//! The committed example policies validate and do what their comments say.

use model::{Context, Micros};
use policy::{Rule, Snapshot};

use crate::world::{World, check_at, context, patterns, read};

const EXAMPLES: &str = include_str!("../../../../policies/examples.cedar");

fn snapshot() -> Snapshot {
    let nurse = Rule { define: patterns(&["public.*"]), ..read("hospital", &["public.*"]) };
    World::new()
        .role("nurse", &[nurse])
        .role("analyst", &[read("hospital", &["*"])])
        .role("privacy", &[])
        .person("nina", &["nurse"])
        .person("alan", &["analyst"])
        .person("paul", &["privacy"])
        .cedar(EXAMPLES)
        .snapshot()
}

#[track_caller]
fn check(person: u128, needs: &str, expected: &str) {
    check_at(&snapshot(), person, "hospital", needs, &context(), expected);
}

#[test]
fn examples_do_what_they_say() {
    check(1, "Read public.patients", "allow role.nurse.1.read");
    check(1, "Write scratch.nina", "allow own-scratch-tables");
    check(1, "Write scratch.paul", "deny");
    check(1, "Define public.consents", "deny consents-are-append-only");
    check(2, "Read public.patients", "allow role.analyst.1.read");
    check(2, "Read hr.salaries", "deny hr-is-closed");
    check(2, "Read ?.salaries", "deny wardline.unresolved-object");
    check(3, "Read hr.salaries, Review *", "allow privacy-reads, privacy-reviews");
    check(3, "", "allow privacy-reads");
    check(3, "Read pg_catalog.pg_stat_activity", "deny");
    check(3, "Read pg_catalog.pg_class", "allow privacy-reads, wardline.catalogue");
    check(3, "Write public.patients", "deny");
    check(2, "Unmask class date", "allow cohort-study-sees-dates");
    check(2, "Unmask class ssn", "deny");
    check(3, "Unmask class date", "deny");
}

#[test]
fn examples_follow_place_and_time() {
    let late = Context { at: Micros(context().at.0 + 11 * 3_600_000_000), ..context() };
    let outside = Context { address: "203.0.113.9".parse().unwrap(), ..context() };
    let asked = "Read public.patients";
    check_at(&snapshot(), 2, "hospital", asked, &late, "deny analysts-in-working-hours");
    let after = Context { at: Micros(1_806_537_600_000_000 + 9 * 3_600_000_000), ..context() };
    check_at(&snapshot(), 2, "hospital", asked, &after, "allow role.analyst.1.read");
    check_at(&snapshot(), 2, "hospital", "Unmask class date", &after, "deny");
    check_at(&snapshot(), 1, "hospital", asked, &late, "allow role.nurse.1.read");
    check_at(&snapshot(), 1, "hospital", asked, &outside, "deny networks");
}
