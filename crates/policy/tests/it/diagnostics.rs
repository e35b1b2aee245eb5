//! What is wrong is said with its place, and all at once.

use std::sync::Arc;

use model::PersonId;

use crate::world::{World, lines, read, rule, unmask};

#[track_caller]
fn check(world: World, expected: &str) {
    let faults = world.compile().map(|_| ()).unwrap_err();
    assert_eq!(lines(&faults), expected);
}

#[track_caller]
fn check_cedar(text: &str, expected: &str) {
    let world = World::new().role("nurse", &[read("hospital", &["*"])]).cedar(text);
    check(world, expected);
}

#[test]
fn everything_wrong_is_said_at_once() {
    let mut world = World::new()
        .role("nurse", &[read("hospitel", &["*"]), rule("hospital")])
        .role("nurse", &[])
        .role("a b", &[])
        .role("seer", &[unmask("hospital", &["age", "snn", "*", "public.*"])])
        .person("ann", &["nurse", "nrse"])
        .person("bob", &[])
        .cedar("permit (principal, action == Action::\"Raed\", resource);\n\n  foo bar;")
        .cedar("// fine\npermit (principal in Role::\"nrse\", action, resource);");
    world.people[1].id = PersonId(1);
    check(
        world,
        "people: person `ann` has the role `nrse`, which is not defined\n\
         people: person `bob` has the id 00000000000000000000000000000001 of somebody else\n\
         policies/1.cedar:1:30: unrecognized action `Action::\"Raed\"` (did you mean `Action::\"Read\"`?)\n\
         policies/1.cedar:3:7: unexpected token `bar`: expected `(`\n\
         policies/2.cedar:2:1: role `nrse` is not defined\n\
         wardline.toml:2:1: role `nurse` names the resource `hospitel`, which is not configured\n\
         wardline.toml:3:1: rule of role `nurse` allows nothing: give it `read`, `write`, `define`, `execute`, `transfer`, `administer` or `unmask`\n\
         wardline.toml:11:1: role `nurse` is defined twice\n\
         wardline.toml:21:1: role name \"a b\" must be made of letters, digits, `_`, `-` and `.`\n\
         wardline.toml:32:1: role `seer` unmasks the class `public.*`, which does not exist\n\
         wardline.toml:32:1: role `seer` unmasks the class `snn`, which does not exist",
    );
}

#[test]
fn what_is_not_cedar() {
    check_cedar(
        "permit (principal, action, resource)",
        "policies/1.cedar:1:37: unexpected end of input: expected `;` or identifier",
    );
    check_cedar(
        "permit (principal, action, resource);\nnonsense \"\\\";\" ;\n  forbid (principal action, resource);",
        "policies/1.cedar:2:10: unexpected token `\"\\\";\"`: expected `(`\n\
         policies/1.cedar:3:21: unexpected token `action`: expected `!=`, `)`, `,`, `:`, `<`, `<=`, `==`, `>`, `>=`, `in`, or `is`",
    );
    check_cedar(
        "permit (principal == ?principal, action, resource);",
        "policies/1.cedar:1:22: expected a static policy, got a template containing the slot ?principal (try removing the template slot(s) from this policy)",
    );
}

#[test]
fn what_does_not_validate() {
    check_cedar(
        "permit (principal, action, resource) when { principal.nme == \"é\" && 1 + \"a\" == 2 };",
        "policies/1.cedar:1:45: attribute `nme` on entity type `Person` not found (did you mean `name`?)\n\
         policies/1.cedar:1:45: attribute `nme` on entity type `Workload` not found (did you mean `name`?)\n\
         policies/1.cedar:1:73: unexpected type: expected Long but saw String (Cedar does not support string concatenation)",
    );
    check_cedar(
        "permit (principal, action, resource) when {\n  context.bogus\n};",
        "policies/1.cedar:2:3: attribute `bogus` in context for Action::\"Administer\" not found (did you mean `hour`?)",
    );
    check_cedar(
        "permit (principal, action, resource) when { resource.name == \"x\" && resource.schema == \"y\" };",
        "policies/1.cedar:1:69: attribute `schema` on entity type `Class` not found (did you mean `name`?)\n\
         policies/1.cedar:1:69: attribute `schema` on entity type `Resource` not found (did you mean `name`?)",
    );
}

#[test]
fn warnings_refuse_too() {
    let world =
        World::new().cedar("permit (principal, action == Action::\"Connect\", resource is Relation);");
    let faults = lines(&world.compile().map(|_| ()).unwrap_err());
    assert!(faults.contains("policies/1.cedar:1:1: unable to find an applicable action"), "{faults}");
    // U+202E turns the order of what follows around.
    check_cedar_contains(
        "permit (principal, action, resource) when { principal.name == \"a\u{202e}b\" };",
        "BIDI",
    );
    // A Cyrillic `а` in `аdmin`.
    check_cedar_contains(
        "permit (principal, action, resource) when { principal.name == \"\u{430}dmin\" };",
        "mixed scripts",
    );
}

#[track_caller]
fn check_cedar_contains(text: &str, part: &str) {
    let faults = lines(&World::new().cedar(text).compile().map(|_| ()).unwrap_err());
    assert!(faults.contains(part), "{faults}");
}

#[test]
fn ids_are_unique_and_reserved() {
    check_cedar(
        "@id(\"x\") permit (principal, action, resource);\n@id(\"x\") forbid (principal, action, resource);",
        "policies/1.cedar:2:1: policy id `x` is already used at policies/1.cedar:1",
    );
    let across = World::new()
        .cedar("@id(\"x\") permit (principal, action, resource);")
        .cedar("\n@id(\"x\") permit (principal, action, resource);");
    check(across, "policies/2.cedar:2:1: policy id `x` is already used at policies/1.cedar:1");
    check_cedar(
        "permit (principal, action, resource); permit (principal, action, resource);",
        "policies/1.cedar:1:39: give this policy an `@id(\"…\")`: by its place it would be `policies/1.cedar:1`, which is taken",
    );
    for reserved in ["role.nurse.1.read", "wardline.catalogue"] {
        check_cedar(
            &format!("@id(\"{reserved}\") permit (principal, action, resource);"),
            &format!(
                "policies/1.cedar:1:1: policy id `{reserved}` is reserved: ids cannot begin with `role.`, `lock.`, `training.`, `factor.` or `wardline.`"
            ),
        );
    }
    check_cedar(
        "@id(\"\") permit (principal, action, resource);",
        "policies/1.cedar:1:1: policy id is empty",
    );
    check_cedar(
        "@id(\"a\\nb\") permit (principal, action, resource);",
        "policies/1.cedar:1:1: policy id \"a\\nb\" holds a control character",
    );
    check_cedar(
        &format!("@id(\"{}\") permit (principal, action, resource);", "x".repeat(129)),
        "policies/1.cedar:1:1: policy id is longer than 128 bytes",
    );
}

#[test]
fn names_that_would_never_match() {
    let cases = [
        ("principal, action, resource == Resource::\"hospitel\"", "resource `hospitel` is not configured"),
        (
            "principal, action, resource in Schema::\"hospitel/x\"",
            "`Schema::\"hospitel/x\"`: resource `hospitel` is not configured",
        ),
        (
            "principal == Person::\"ann\", action, resource",
            "`Person::\"ann\"`: a person is named by an id of 32 hex digits; compare `principal.name` with a login name",
        ),
        (
            "principal, action, resource == Relation::\"public.patients\"",
            "`Relation::\"public.patients\"` is not of the form `Relation::\"resource/schema.name\"`",
        ),
        (
            "principal, action, resource in Schema::\"hospital/public.x\"",
            "`Schema::\"hospital/public.x\"` is not of the form `Schema::\"resource/schema\"`",
        ),
        (
            "principal, action, resource == Relation::\"hospital/\\\"a\\\".b\"",
            "`Relation::\"hospital/\\\"a\\\".b\"` must be written `Relation::\"hospital/a.b\"`",
        ),
        (
            "principal, action, resource == Class::\"hospital/snn\"",
            "`Class::\"hospital/snn\"`: there is no class `snn`",
        ),
        (
            "principal, action, resource == Class::\"hospitel/ssn\"",
            "`Class::\"hospitel/ssn\"`: resource `hospitel` is not configured",
        ),
        (
            "principal, action, resource == Class::\"ssn\"",
            "`Class::\"ssn\"` is not of the form `Class::\"resource/class\"`",
        ),
        (
            "principal, action, resource == Function::\"hospital/?.f\"",
            "`Function::\"hospital/?.f\"`: `?` stands for a schema that is not known and cannot be named",
        ),
    ];
    for (scope, message) in cases {
        check_cedar(&format!("permit ({scope});"), &format!("policies/1.cedar:1:1: {message}"));
    }
}

#[test]
fn entities_that_the_store_does_not_hold() {
    let somebody = "Person::\"00000000000000000000000000000001\"";
    let message = "policies/1.cedar:1:1: a named entity can only be compared (`==`, `!=`) or stand at the right of `in`: \
                   its attributes and parents are not known when the policy is asked";
    for condition in [format!("{somebody}.name == \"x\""), format!("{somebody} in Role::\"nurse\"")] {
        check_cedar(&format!("forbid (principal, action, resource) when {{ {condition} }};"), message);
    }
}

#[test]
fn odd_names_of_roles_resources_and_objects_are_no_way_out_of_a_literal() {
    let mut world =
        World::new().role("nürse", &[read("a\"b\\/c", &[r#""x""y\z"."p""q\""#, "emoji.\u{202e}"])]);
    world.resources = vec![model::ResourceId(Arc::from("a\"b\\/c"))];
    let world = world.person("ann", &["nürse"]);
    let snapshot = world.snapshot();
    let object = model::Object::Relation { schema: Arc::from("x\"y\\z"), name: Arc::from("p\"q\\") };
    let needs = [model::Need { action: model::Action::Read, object }];
    let decision =
        snapshot.decide(&crate::world::principal(1), &world.resources[0], &needs, &crate::world::context());
    assert_eq!(crate::world::shown(&decision), "allow role.nürse.1.read");
}
