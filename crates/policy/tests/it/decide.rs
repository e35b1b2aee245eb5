//! What a snapshot answers.

use std::sync::Arc;

use model::{Action, Context, Micros, Need, PersonId, ResourceId};
use policy::{Emergencies, Emergency, Locked, Rule, Snapshot};

use crate::world::{
    MONDAY, World, check, check_at, context, need, patterns, principal, read, resource, rule, shown, unmask,
};

fn nurse() -> Rule {
    Rule { write: patterns(&["public.notes"]), ..read("hospital", &["public.*"]) }
}

#[test]
fn deny_is_the_default() {
    let snapshot =
        World::new().role("nurse", &[nurse()]).person("ann", &["nurse"]).person("bob", &[]).snapshot();
    check(&snapshot, 1, "Read public.patients", "allow role.nurse.1.read");
    check(&snapshot, 1, "Write public.notes", "allow role.nurse.1.write");
    check(&snapshot, 1, "Write public.patients", "deny");
    check(&snapshot, 1, "Read secret.patients", "deny");
    check(&snapshot, 1, "Read *", "deny");
    check(&snapshot, 1, "Execute public.f()", "deny");
    check(&snapshot, 1, "Review *", "deny");
    check_at(&snapshot, 1, "lab", "Read public.patients", &context(), "deny");
    check(&snapshot, 2, "Read public.patients", "deny");
    check(&snapshot, 2, "Connect *", "deny");
}

#[test]
fn names_are_case_sensitive_and_never_run_together() {
    let snapshot = World::new()
        .role("a", &[read("hospital", &["public.Patients", r#""a.b".c"#, r#"s."*""#])])
        .person("ann", &["a"])
        .snapshot();
    check(&snapshot, 1, "Read public.Patients", "allow role.a.1.read");
    check(&snapshot, 1, "Read public.patients", "deny");
    check(&snapshot, 1, "Read s.*", "allow role.a.1.read");
    check(&snapshot, 1, "Read s.t", "deny");
    // `split_once` of the test takes the first dot: schema `a`, name `b.c`.
    check(&snapshot, 1, "Read a.b.c", "deny");
}

#[test]
fn every_need_counts_and_reasons_are_united() {
    let snapshot = World::new()
        .role("nurse", &[nurse(), read("*", &["public.patients"])])
        .person("ann", &["nurse"])
        .snapshot();
    check(
        &snapshot,
        1,
        "Read public.patients, Write public.notes, Read public.notes",
        "allow role.nurse.1.read, role.nurse.1.write, role.nurse.2.read",
    );
    check(&snapshot, 1, "Read public.patients, Write public.patients", "deny");
    check_at(&snapshot, 1, "lab", "Read public.patients", &context(), "allow role.nurse.2.read");
}

#[test]
fn a_lock_refuses_whatever_is_allowed() {
    let world = World::new()
        .role("nurse", &[nurse(), read("lab", &["public.*"])])
        .role("clerk", &[read("hospital", &["public.*"])])
        .person("ann", &["nurse"])
        .person("bob", &["clerk"]);
    let locked = |what| world.clone().lock(what).snapshot();

    let person = locked(Locked::Person(PersonId(1)));
    check(&person, 1, "Connect *", "deny lock.1");
    check(&person, 1, "Read public.patients", "deny lock.1");
    check(&person, 2, "Read public.patients", "allow role.clerk.1.read");

    let role = locked(Locked::Role("clerk".to_owned()));
    check(&role, 2, "Connect *", "deny lock.1");
    check(&role, 1, "Read public.patients", "allow role.nurse.1.read");

    let place = locked(Locked::Resource("hospital".to_owned()));
    check(&place, 1, "Connect *", "deny lock.1");
    check(&place, 2, "Read public.patients", "deny lock.1");
    check_at(&place, 1, "lab", "Read public.patients", &context(), "allow role.nurse.2.read");

    let device = locked(Locked::Address("10.1.0.0/16".to_owned()));
    check(&device, 1, "Connect *", "deny lock.1");
    let elsewhere = Context { address: "10.2.0.1".parse().unwrap(), ..context() };
    check_at(&device, 1, "hospital", "Connect *", &elsewhere, "allow role.nurse.1.connect");

    assert_ne!(person.digest(), world.snapshot().digest());
    assert!(world.clone().lock(Locked::Address("the ward".to_owned())).compile().is_err());
}

#[test]
fn a_second_factor_opens_what_asks_for_it() {
    let fresh = Rule { step_up_s: Some(60), ..read("lab", &["public.*"]) };
    let world = World::new()
        .role("nurse", &[nurse(), fresh])
        .role("clerk", &[read("hospital", &["public.*"])])
        .person("ann", &["nurse"])
        .person("bob", &["clerk"])
        .factor("hospital", Some("nurse"));
    let snapshot = world.snapshot();
    let ago =
        |seconds: u64| Context { factor_at: Some(Micros(context().at.0 - seconds * 1_000_000)), ..context() };

    check(&snapshot, 1, "Connect *", "deny factor.hospital.nurse");
    check_at(&snapshot, 1, "hospital", "Connect *", &ago(9_999), "allow role.nurse.1.connect");
    check(&snapshot, 2, "Connect *", "allow role.clerk.1.connect");
    assert!(!snapshot.may_forbid(&resource("hospital")), "relations are not asked about");

    // A role may ask for a fresh one; the session may be opened without it.
    check_at(&snapshot, 1, "lab", "Connect *", &context(), "allow role.nurse.2.connect");
    check_at(&snapshot, 1, "lab", "Read public.samples", &context(), "deny");
    check_at(&snapshot, 1, "lab", "Read public.samples", &ago(60), "allow role.nurse.2.read");
    check_at(&snapshot, 1, "lab", "Read public.samples", &ago(61), "deny");

    let everybody = world.clone().factor("hospital", None);
    check(&everybody.snapshot(), 2, "Connect *", "deny factor.hospital");
    assert_ne!(everybody.snapshot().digest(), snapshot.digest());
}

#[test]
fn no_needs_means_connect() {
    let snapshot =
        World::new().role("nurse", &[nurse()]).person("ann", &["nurse"]).person("bob", &[]).snapshot();
    check(&snapshot, 1, "", "allow role.nurse.1.connect");
    check(&snapshot, 2, "", "deny");
    check_at(&snapshot, 1, "lab", "", &context(), "deny");
}

#[test]
fn any_right_implies_connect() {
    let transfer = Rule { transfer: true, ..rule("hospital") };
    let administer = Rule { administer: true, ..rule("*") };
    let define = Rule { define: patterns(&["public.*"]), ..rule("hospital") };
    let execute = Rule { execute: patterns(&["public.f"]), ..rule("hospital") };
    for rule in [transfer, administer, define, execute, unmask("hospital", &["age"]), nurse()] {
        let snapshot = World::new().role("r", &[rule]).person("ann", &["r"]).snapshot();
        check(&snapshot, 1, "Connect *", "allow role.r.1.connect");
    }
}

#[test]
fn wildcards_cover_their_extent() {
    let rules = [
        Rule { define: patterns(&["public.*"]), execute: patterns(&["*"]), ..read("hospital", &["*"]) },
        Rule { transfer: true, administer: true, ..rule("*") },
    ];
    let snapshot = World::new().role("r", &rules).person("ann", &["r"]).snapshot();
    for covered in ["Read *", "Read a.b", "Read ?.b", "Read pg_temp_3.x"] {
        check(&snapshot, 1, covered, "allow role.r.1.read");
    }
    check(&snapshot, 1, "Define public.t", "allow role.r.1.define");
    check(&snapshot, 1, "Define public.f()", "allow role.r.1.define");
    check(&snapshot, 1, "Define *", "deny");
    check(&snapshot, 1, "Define ?.t", "deny");
    check(&snapshot, 1, "Execute ?.f()", "allow role.r.1.execute");
    check(&snapshot, 1, "Execute *", "allow role.r.1.execute");
    check(&snapshot, 1, "Transfer public.t", "allow role.r.2.transfer");
    check_at(&snapshot, 1, "lab", "Administer *", &context(), "allow role.r.2.administer");
    check_at(&snapshot, 1, "lab", "Read *", &context(), "deny");
}

#[test]
fn wildcards_do_not_cover_what_reveals() {
    let rules = [Rule {
        execute: patterns(&["*", "pg_catalog.lo_get"]),
        ..read("hospital", &["*", "pg_catalog.*", "pg_catalog.pg_stat_activity"])
    }];
    let snapshot = World::new().role("r", &rules).person("ann", &["r"]).snapshot();
    for hidden in [
        "pg_catalog.pg_stats",
        "?.pg_authid",
        "public.pg_stat_statements",
        "information_schema.user_mapping_options",
    ] {
        check(&snapshot, 1, &format!("Read {hidden}"), "deny");
    }
    check(&snapshot, 1, "Execute pg_catalog.pg_read_file()", "deny");
    check(&snapshot, 1, "Execute pg_catalog.lo_get()", "allow role.r.1.execute");
    check(&snapshot, 1, "Read pg_catalog.pg_stat_activity", "allow role.r.1.read");
    check(&snapshot, 1, "Read public.pg_stats", "allow role.r.1.read");
}

#[test]
fn the_catalogue_is_readable_by_whoever_may_connect() {
    let snapshot = World::new()
        .role("nurse", &[nurse()])
        .role("dba", &[read("lab", &["pg_catalog.*"])])
        .person("ann", &["nurse"])
        .person("bob", &[])
        .person("dan", &["nurse", "dba"])
        .cedar(r#"@id("no-dan") forbid (principal, action == Action::"Connect", resource) when { principal.name == "dan" };"#)
        .snapshot();
    check(&snapshot, 1, "Read pg_catalog.pg_class", "allow wardline.catalogue");
    check(&snapshot, 1, "Read information_schema.tables", "allow wardline.catalogue");
    check(&snapshot, 1, "Read pg_catalog.pg_settings", "allow wardline.catalogue");
    for hidden in
        ["pg_stats", "pg_statistic", "pg_stat_activity", "pg_shadow", "pg_largeobject", "pg_user_mappings"]
    {
        check(&snapshot, 1, &format!("Read pg_catalog.{hidden}"), "deny");
    }
    check(&snapshot, 1, "Write pg_catalog.pg_class", "deny");
    check(&snapshot, 1, "Read ?.pg_class", "deny");
    check(&snapshot, 2, "Read pg_catalog.pg_class", "deny");
    // A forbidden Connect takes the built-in right away, not one that a role gives.
    check(&snapshot, 3, "Read pg_catalog.pg_class", "deny no-dan");
    check_at(&snapshot, 3, "lab", "Read pg_catalog.pg_class", &context(), "allow role.dba.1.read");
    check_at(&snapshot, 1, "lab", "Read pg_catalog.pg_class", &context(), "deny");
}

#[test]
fn strangers_the_disabled_and_unknown_resources_are_refused() {
    let mut world = World::new().role("nurse", &[nurse()]).person("ann", &["nurse"]);
    let snapshot = world.snapshot();
    check(&snapshot, 99, "Read public.patients", "deny wardline.not-a-member");
    check_at(&snapshot, 1, "morgue", "Connect *", &context(), "deny wardline.unknown-resource");
    world.people[0].disabled = true;
    let snapshot = world.snapshot();
    check(&snapshot, 1, "Read public.patients", "deny wardline.disabled");
    check(&snapshot, 1, "", "deny wardline.disabled");
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let all = Rule { administer: true, ..read("*", &["*"]) };
    let everything = r#"@id("all") permit (principal, action, resource);"#;
    let snapshot = World::new().role("r", &[all]).person("ann", &["r"]).cedar(everything).snapshot();
    for needs in [
        "Connect public.t",
        "Approve public.t",
        "Review public.f()",
        "Unmask public.f()",
        "Unmask public.t",
        "Read class ssn",
        "Connect class ssn",
    ] {
        check(&snapshot, 1, needs, "deny wardline.not-applicable");
    }
    check(&snapshot, 1, "Unmask class ssn, Unmask *, Review *, Approve *", "allow all");
}

#[test]
fn classes_are_unmasked_by_name_or_all() {
    let snapshot = World::new()
        .role("analyst", &[read("hospital", &["public.*"]), unmask("hospital", &["age", "date"])])
        .role("privacy", &[unmask("*", &["ssn"]), unmask("hospital", &["*"])])
        .role("dba", &[Rule { administer: true, ..read("*", &["*"]) }])
        .person("ann", &["analyst"])
        .person("pia", &["privacy"])
        .person("dan", &["dba"])
        .snapshot();
    check(&snapshot, 1, "Unmask class age", "allow role.analyst.2.unmask");
    check(&snapshot, 1, "Unmask class age, Unmask class date", "allow role.analyst.2.unmask");
    check(&snapshot, 1, "Unmask class ssn", "deny");
    check(&snapshot, 1, "Unmask class age, Unmask class ssn", "deny");
    check(&snapshot, 1, "Unmask *", "deny");
    check_at(&snapshot, 1, "lab", "Unmask class age", &context(), "deny");
    check(&snapshot, 2, "Unmask class ssn", "allow role.privacy.1.unmask, role.privacy.2.unmask");
    check(&snapshot, 2, "Unmask class age, Unmask *", "allow role.privacy.2.unmask");
    check_at(&snapshot, 2, "lab", "Unmask class ssn", &context(), "allow role.privacy.1.unmask");
    check_at(&snapshot, 2, "lab", "Unmask class age", &context(), "deny");
    check_at(&snapshot, 2, "lab", "Unmask *", &context(), "deny");
    check(&snapshot, 2, "Read public.patients", "deny");
    // Whoever reads and administers everything sees nothing of what is protected.
    check(&snapshot, 3, "Unmask *", "deny");
    check(&snapshot, 3, "Unmask class age", "deny");
}

#[test]
fn policies_name_classes_too() {
    let snapshot = World::new()
        .role("privacy", &[Rule { unmask: vec!["*".to_owned()], ..read("hospital", &["*"]) }])
        .person("pia", &["privacy"])
        .person("bob", &[])
        .cedar(
            r#"
            @id("never-ssn") forbid (principal, action, resource == Class::"hospital/ssn");
            @id("office") forbid (principal, action == Action::"Unmask", resource is Class) when { context.hour > 20 && resource.name == "date" };
            @id("bob") permit (principal, action == Action::"Unmask", resource == Class::"lab/age") when { principal.name == "bob" };
            "#,
        )
        .snapshot();
    check(&snapshot, 1, "Unmask class ssn", "deny never-ssn");
    check(&snapshot, 1, "Unmask class date", "allow role.privacy.1.unmask");
    let late = Context { at: Micros(context().at.0 + 12 * 3_600_000_000), ..context() };
    check_at(&snapshot, 1, "hospital", "Unmask class date", &late, "deny office");
    check_at(&snapshot, 1, "hospital", "Unmask class age", &late, "allow role.privacy.1.unmask");
    check_at(&snapshot, 2, "lab", "Unmask class age", &context(), "allow bob");
    check(&snapshot, 2, "Unmask class age", "deny");
    // Rules about classes do not mean an object whose schema is not known.
    check(&snapshot, 1, "Read ?.notes", "allow role.privacy.1.read");
}

#[test]
fn forbid_overrides_permit() {
    let snapshot = World::new()
        .role("nurse", &[nurse()])
        .role("away", &[read("lab", &["public.*"])])
        .person("ann", &["nurse"])
        .person("eve", &["nurse", "away"])
        .cedar(
            r#"
            @id("not-salaries") forbid (principal, action, resource == Relation::"hospital/public.salaries");
            @id("away") forbid (principal in Role::"away", action in [Action::"Read", Action::"Write"], resource in Schema::"hospital/public");
            @id("also-away") forbid (principal is Person in Role::"away", action, resource is Relation);
            "#,
        )
        .snapshot();
    check(&snapshot, 1, "Read public.patients", "allow role.nurse.1.read");
    check(&snapshot, 1, "Read public.salaries", "deny not-salaries");
    check(&snapshot, 1, "Read public.patients, Read public.salaries", "deny not-salaries");
    check(&snapshot, 2, "Read public.salaries", "deny also-away, away, not-salaries");
    check(&snapshot, 2, "Connect *", "allow role.nurse.1.connect");
}

/// 2^63 - 1 seconds times anything overflows: a type-correct policy that errs.
const OVERFLOW: &str = "context.at * 9223372036854775807 > 0";

#[test]
fn an_error_in_a_permit_denies() {
    let snapshot = World::new()
        .role("nurse", &[nurse()])
        .person("ann", &["nurse"])
        .person("bob", &["nurse"])
        .cedar(&format!(
            r#"@id("bad") permit (principal, action == Action::"Read", resource) when {{ principal.name == "ann" && {OVERFLOW} }};"#
        ))
        .snapshot();
    check(&snapshot, 1, "Read public.patients", "deny bad, wardline.evaluation-error");
    check(&snapshot, 1, "Write public.notes", "allow role.nurse.1.write");
    check(&snapshot, 1, "Write public.notes, Read public.notes", "deny bad, wardline.evaluation-error");
    check(&snapshot, 2, "Read public.patients", "allow role.nurse.1.read");
}

#[test]
fn an_error_in_a_forbid_denies() {
    for scope in [
        r#"principal"#,
        r#"principal in Role::"nurse""#,
        r#"principal == Person::"00000000000000000000000000000001""#,
    ] {
        let snapshot = World::new()
            .role("nurse", &[nurse()])
            .person("ann", &["nurse"])
            .cedar(&format!("forbid ({scope}, action, resource) when {{ {OVERFLOW} }};"))
            .snapshot();
        check(&snapshot, 1, "Read public.patients", "deny policies/1.cedar:1, wardline.evaluation-error");
        check(&snapshot, 1, "", "deny policies/1.cedar:1, wardline.evaluation-error");
        check(&snapshot, 1, "Read pg_catalog.pg_class", "deny policies/1.cedar:1, wardline.evaluation-error");
    }
}

#[test]
fn an_error_under_the_roles_of_others_does_not_matter() {
    let snapshot = World::new()
        .role("nurse", &[nurse()])
        .role("clerk", &[nurse()])
        .person("ann", &["nurse"])
        .person("cal", &["nurse", "clerk"])
        .cedar(&format!(
            r#"@id("bad") permit (principal in Role::"clerk", action, resource) when {{ {OVERFLOW} }};"#
        ))
        .snapshot();
    check(&snapshot, 1, "Read public.notes", "allow role.nurse.1.read");
    check(&snapshot, 2, "Read public.notes", "deny bad, wardline.evaluation-error");
}

#[test]
fn circumstances_are_what_the_schema_says() {
    let snapshot = World::new()
        .role("nurse", &[nurse()])
        .person("ann", &["nurse"])
        .cedar(
            r#"
            @id("office") forbid (principal, action, resource)
            unless { context.address.isInRange(ip("10.0.0.0/8")) || context.address.isLoopback() };
            @id("hours") forbid (principal, action, resource)
            when { context.hour < 8 || context.hour >= 18 || context.weekday > 5 || context.at < 1000 };
            "#,
        )
        .snapshot();
    let at = |address: &str, hours: u64| Context {
        address: address.parse().unwrap(),
        at: Micros(context().at.0 + hours * 3_600_000_000),
        ..context()
    };
    let asked = "Read public.notes";
    check_at(&snapshot, 1, "hospital", asked, &at("10.9.9.9", 0), "allow role.nurse.1.read");
    check_at(&snapshot, 1, "hospital", asked, &at("::1", 0), "allow role.nurse.1.read");
    // A client of IPv4 on a socket of IPv6 is the same client.
    check_at(&snapshot, 1, "hospital", asked, &at("::ffff:10.9.9.9", 0), "allow role.nurse.1.read");
    check_at(&snapshot, 1, "hospital", asked, &at("192.168.1.1", 0), "deny office");
    check_at(&snapshot, 1, "hospital", asked, &at("10.9.9.9", 9), "deny hours");
    check_at(&snapshot, 1, "hospital", asked, &at("10.9.9.9", 5 * 24), "deny hours");
}

#[test]
fn an_unresolved_object_does_not_slip_past_a_forbid() {
    let world = World::new()
        .role("r", &[Rule { write: patterns(&["*"]), ..read("*", &["*"]) }])
        .person("ann", &["r"]);
    let forbid =
        |scope: &str| world.clone().cedar(&format!("@id(\"f\") forbid (principal, {scope};")).snapshot();
    let unresolved = "deny wardline.unresolved-object";
    let asked = "Write ?.notes";

    check(&world.snapshot(), 1, asked, "allow role.r.1.write");
    let by_schema = forbid(r#"action, resource in Schema::"hospital/secret")"#);
    check(&by_schema, 1, asked, unresolved);
    check(&by_schema, 1, "Write public.notes", "allow role.r.1.write");
    check_at(&by_schema, 1, "lab", asked, &context(), "allow role.r.1.write");
    let by_name = forbid(r#"action, resource == Relation::"hospital/secret.notes")"#);
    check(&by_name, 1, asked, unresolved);
    check(&by_name, 1, "Write ?.orders", "allow role.r.1.write");
    check(&by_name, 1, "Write ?.notes()", "allow role.r.1.write");
    let by_condition =
        forbid(r#"action, resource) when { resource has schema && resource.schema == "secret" }"#);
    check(&by_condition, 1, asked, unresolved);
    let other_action = forbid(r#"action == Action::"Read", resource in Schema::"hospital/secret")"#);
    check(&other_action, 1, asked, "allow role.r.1.write");
    let on_the_whole = forbid(r#"action == Action::"Write", resource in Resource::"hospital")"#);
    check(&on_the_whole, 1, asked, "deny f");
    check_at(&on_the_whole, 1, "lab", asked, &context(), "allow role.r.1.write");
    let whatever = forbid(r#"action, resource is Relation) when { context.hour > 20 }"#);
    check(&whatever, 1, asked, "allow role.r.1.write");
}

#[test]
fn an_unresolved_object_is_not_permitted_by_what_it_might_not_be() {
    let snapshot = World::new()
        .role("r", &[read("lab", &["*"])])
        .person("ann", &["r"])
        .cedar(r#"@id("open") permit (principal, action == Action::"Read", resource is Relation in Resource::"hospital") unless { resource.schema == "secret" };"#)
        .snapshot();
    check(&snapshot, 1, "Read public.notes", "allow open");
    check(&snapshot, 1, "Read secret.notes", "deny");
    check(&snapshot, 1, "Read ?.notes", "deny");
}

/// Checks what is said of needs beneath: `-` where nothing is forbidden.
#[track_caller]
fn check_beneath(snapshot: &Snapshot, person: u128, on: &str, needs: &[Need], expected: &str) {
    let decision = snapshot.forbids(&principal(person), &resource(on), needs, &context());
    assert_eq!(decision.as_ref().map_or("-".to_owned(), shown), expected, "person {person}, {needs:?}");
}

#[test]
fn what_stands_beneath_needs_no_permit_and_is_forbidden_all_the_same() {
    let world = World::new()
        .role("reader", &[read("hospital", &["public.view"])])
        .role("officer", &[read("hospital", &["*"])])
        .person("ann", &["reader"])
        .person("olga", &["officer"]);
    let beneath = [need(Action::Read, "public.notes"), need(Action::Read, "hr.staff")];

    let open = world.snapshot();
    assert!(!open.may_forbid(&resource("hospital")));
    check_beneath(&open, 1, "hospital", &beneath, "-");

    let by_name = r#"@id("f") forbid (principal, action == Action::"Read", resource == Relation::"hospital/hr.staff") unless { principal in Role::"officer" };"#;
    let by_name = world.clone().cedar(by_name).snapshot();
    assert!(by_name.may_forbid(&resource("hospital")) && !by_name.may_forbid(&resource("lab")));
    check_beneath(&by_name, 1, "hospital", &beneath, "deny f");
    check_beneath(&by_name, 2, "hospital", &beneath, "-");
    check_beneath(&by_name, 1, "hospital", &beneath[..1], "-");
    check_beneath(&by_name, 1, "hospital", &[need(Action::Write, "hr.staff")], "-");
    check_beneath(&by_name, 1, "hospital", &[need(Action::Read, "archive.staff")], "-");
    check_beneath(&by_name, 1, "lab", &beneath, "-");

    let by_schema = world.clone().cedar(
        r#"@id("f") forbid (principal in Role::"reader", action, resource in Schema::"hospital/hr");"#,
    );
    check_beneath(&by_schema.snapshot(), 1, "hospital", &beneath, "deny f");
    check_beneath(&by_schema.snapshot(), 2, "hospital", &beneath, "-");

    let by_hour =
        world.clone().cedar(r#"@id("f") forbid (principal, action, resource) when { context.hour == 9 };"#);
    check_beneath(&by_hour.snapshot(), 1, "hospital", &beneath, "deny f");
    let of_classes = world
        .clone()
        .cedar(r#"forbid (principal, action == Action::"Unmask", resource == Class::"hospital/ssn");"#);
    assert!(!of_classes.snapshot().may_forbid(&resource("hospital")));
    let overflow = world.cedar(
        r#"@id("f") forbid (principal, action, resource) when { context.at * 9223372036854775807 > 0 };"#,
    );
    check_beneath(&overflow.snapshot(), 1, "hospital", &beneath, "deny f, wardline.evaluation-error");
    check_beneath(&overflow.snapshot(), 3, "hospital", &beneath, "deny wardline.not-a-member");
    check_beneath(&overflow.snapshot(), 1, "nowhere", &beneath, "deny wardline.unknown-resource");
}

#[test]
fn what_may_stand_beneath_is_refused_where_a_forbid_might_mean_it() {
    let world = World::new().role("r", &[read("*", &["*"])]).person("ann", &["r"]);
    let anything = [need(Action::Read, "?.?")];
    check_beneath(&world.snapshot(), 1, "hospital", &anything, "-");
    for (forbid, said) in [
        (r#"action, resource == Relation::"hospital/hr.staff")"#, "deny wardline.unresolved-object"),
        (r#"action, resource in Schema::"hospital/hr")"#, "deny wardline.unresolved-object"),
        (
            r#"action, resource) when { resource has schema && resource.schema == "hr" }"#,
            "deny wardline.unresolved-object",
        ),
        (r#"action, resource is Relation)"#, "deny f"),
        (r#"action, resource == Function::"hospital/hr.pay")"#, "-"),
        (r#"action == Action::"Write", resource in Schema::"hospital/hr")"#, "-"),
    ] {
        let world = world.clone().cedar(&format!("@id(\"f\") forbid (principal, {forbid};"));
        check_beneath(&world.snapshot(), 1, "hospital", &anything, said);
        check_beneath(
            &world.snapshot(),
            1,
            "lab",
            &anything,
            if forbid.contains("hospital") { "-" } else { said },
        );
    }
}

#[test]
fn the_digest_tells_sources_apart() {
    let world = World::new()
        .role("a", &[read("hospital", &["public.*", "s.t"])])
        .role("b", &[nurse()])
        .person("ann", &["a"])
        .person("bob", &["b", "a"])
        .cedar(r#"permit (principal, action, resource);"#)
        .cedar(r#"@id("x") permit (principal, action, resource);"#);
    let same = |change: &dyn Fn(&mut World)| {
        let mut changed = world.clone();
        change(&mut changed);
        changed.snapshot().digest() == world.snapshot().digest()
    };
    assert!(same(&|_| {}));
    assert!(same(&|w| w.roles.reverse()));
    assert!(same(&|w| w.people.reverse()));
    assert!(same(&|w| w.cedar.reverse()));
    assert!(same(&|w| w.resources.reverse()));
    assert!(same(&|w| w.roles[0].place.line = 99));
    assert!(same(&|w| w.people[1].roles.reverse()));
    assert!(!same(&|w| w.people[0].disabled = true));
    assert!(!same(&|w| w.people[0].id = PersonId(77)));
    assert!(!same(&|w| w.people[0].roles.clear()));
    assert!(!same(&|w| w.people[0].name = Arc::from("anna")));
    assert!(!same(&|w| {
        let spare = w.roles[1].clone();
        w.roles.push(policy::Role { name: "c".to_owned(), ..spare });
    }));
    assert!(!same(&|w| w.roles[0].rules[0].read.truncate(1)));
    assert!(!same(&|w| w.roles[0].rules[0].transfer = true));
    assert!(!same(&|w| w.roles[0].rules[0].unmask.push("age".to_owned())));
    assert!(!same(&|w| w.cedar[0].text.push('\n')));
    assert!(!same(&|w| w.cedar[0].path.push('x')));
    assert!(!same(&|w| drop(w.resources.pop())));
}

#[test]
fn a_snapshot_can_be_shared() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Snapshot>();
}

#[test]
fn a_purpose_and_a_date_limit_what_a_rule_allows() {
    let limited = Rule {
        purposes: vec!["treatment".to_owned()],
        until: Some(i64::try_from(context().at.0 / 1_000_000).unwrap() + 3_600),
        ..unmask("hospital", &["ssn"])
    };
    let snapshot = World::new().role("nurse", &[nurse(), limited]).person("ann", &["nurse"]).snapshot();
    let with = |purpose: Option<&str>, hours: u64| Context {
        at: Micros(context().at.0 + hours * 3_600_000_000),
        purpose: purpose.and_then(|purpose| snapshot.purpose(purpose)),
        ..context()
    };
    let asked = "Unmask class ssn";
    let check = |purpose, hours, expected| {
        check_at(&snapshot, 1, "hospital", asked, &with(purpose, hours), expected);
    };
    check(Some("treatment"), 0, "allow role.nurse.2.unmask");
    check(Some("research"), 0, "deny");
    check(None, 0, "deny");
    check(Some("treatment"), 1, "deny");
    // Not a purpose that is configured.
    assert_eq!(snapshot.purpose("marketing"), None);
    check_at(&snapshot, 1, "hospital", "Read public.notes", &with(None, 9), "allow role.nurse.1.read");
}

#[test]
fn a_session_may_be_opened_before_its_purpose_is_stated() {
    let limited = Rule { purposes: vec!["research".to_owned()], ..read("hospital", &["*"]) };
    let snapshot = World::new().role("study", &[limited]).person("ann", &["study"]).snapshot();
    check(&snapshot, 1, "Connect *", "allow role.study.1.connect");
    check(&snapshot, 1, "Read public.notes", "deny");
    let research = Context { purpose: snapshot.purpose("research"), ..context() };
    check_at(&snapshot, 1, "hospital", "Read public.notes", &research, "allow role.study.1.read");
}

#[test]
fn cedar_sees_the_purpose() {
    let text = r#"@id("no-research-on-ssn")
        forbid (principal, action == Action::"Unmask", resource == Class::"hospital/ssn")
        when { context.purpose == "research" || context.purpose == "" };"#;
    let snapshot = World::new()
        .role("nurse", &[unmask("hospital", &["*"])])
        .person("ann", &["nurse"])
        .cedar(text)
        .snapshot();
    let asked = "Unmask class ssn";
    let with = |purpose: &str| Context { purpose: snapshot.purpose(purpose), ..context() };
    check(&snapshot, 1, asked, "deny no-research-on-ssn");
    check_at(&snapshot, 1, "hospital", asked, &with("research"), "deny no-research-on-ssn");
    check_at(&snapshot, 1, "hospital", asked, &with("treatment"), "allow role.nurse.1.unmask");
}

#[test]
fn a_rule_names_configured_purposes_only() {
    let wrong = Rule { purposes: vec!["marketing".to_owned()], ..read("hospital", &["*"]) };
    let faults = World::new().role("study", &[wrong]).compile().unwrap_err();
    assert_eq!(
        crate::world::lines(&faults),
        "wardline.toml:2:1: role `study` names the purpose `marketing`, which is not configured"
    );
}

#[test]
fn an_emergency_is_a_circumstance_of_one_person_on_one_resource_until_its_end() {
    let text = r#"@id("in-an-emergency")
        permit (principal, action == Action::"Read", resource in Resource::"hospital") when { context.emergency };"#;
    let taken = |number, until| Emergency {
        number,
        person: PersonId(1),
        resource: "hospital".to_owned(),
        until: Micros(MONDAY.0 + until),
    };
    let mut world = World::new()
        .role("nurse", &[read("lab", &["*"])])
        .person("ann", &["nurse"])
        .person("ben", &[])
        .cedar(text);
    world.emergencies = Emergencies {
        initiators: vec!["nurse".to_owned()],
        resources: vec!["hospital".to_owned()],
        taken: vec![taken(7, 2), taken(8, 1)],
    };
    let snapshot = world.snapshot();
    let (hospital, lab) = (ResourceId("hospital".into()), ResourceId("lab".into()));
    let at = |after| Micros(MONDAY.0 + after);
    for (person, resource, after, number) in [
        (1, &hospital, 0, Some(8)),
        (1, &hospital, 1, Some(7)),
        (1, &hospital, 2, None),
        (1, &lab, 0, None),
        (2, &hospital, 0, None),
    ] {
        assert_eq!(snapshot.emergency(PersonId(person), resource, at(after)), number, "{person} {after}");
    }
    check(&snapshot, 1, "Read public.notes", "allow in-an-emergency");
    check(&snapshot, 2, "Read public.notes", "deny");
    let over = Context { at: at(2), ..context() };
    check_at(&snapshot, 1, "hospital", "Read public.notes", &over, "deny");
    let may = |person, resource| snapshot.may_take_emergency(PersonId(person), resource);
    assert_eq!(
        [may(1, &hospital), may(1, &lab), may(2, &hospital), may(3, &hospital)],
        [true, false, false, false]
    );
    assert!(snapshot.offers_emergencies() && !World::new().snapshot().offers_emergencies());
    assert_ne!(snapshot.digest(), World { emergencies: Emergencies::default(), ..world }.snapshot().digest());
}
