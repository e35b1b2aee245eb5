//! Roles become Cedar policies: text, so that an auditor can read what a rule of a role means.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use model::Action;

use crate::pattern::{Pattern, Shape};
use crate::sources::{Diagnostic, FactorRule, Lock, Locked, Place, Role, Rule, Sources};
use crate::vocabulary::{TYPES, action_uid, uid};

/// Stands for every class, and for what nobody classified.
const ALL_CLASSES: &str = "*";

/// Where locks are written: nowhere in a file.
static LOCKS: Place = Place { file: String::new(), line: 0 };

/// A policy made from a rule or a lock, not yet parsed.
pub(crate) struct Draft<'a> {
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) place: &'a Place,
}

/// Returns the policies of all roles, and adds what is wrong with the roles.
pub(crate) fn draft<'a>(sources: &Sources<'a>, faults: &mut Vec<Diagnostic>) -> Vec<Draft<'a>> {
    let mut drafts = Vec::new();
    let mut seen = HashSet::new();
    for role in sources.roles {
        check_name(role, faults);
        if !seen.insert(role.name.as_str()) {
            faults.push(Diagnostic::at(&role.place, format!("role `{}` is defined twice", role.name)));
            continue;
        }
        for (index, rule) in role.rules.iter().enumerate() {
            check_rule(role, rule, sources, faults);
            drafts.extend(policies(&role.name, index + 1, rule));
        }
    }
    drafts.extend(sources.locks.iter().map(forbid));
    drafts.extend(sources.factors.iter().map(ask_factor));
    drafts
}

/// Forbids Connect only: a factor that was shown stays shown for the session's life, and what stands over relations need
/// not be asked.
fn ask_factor<'a>(rule: &FactorRule) -> Draft<'a> {
    let (principal, id) = match &rule.role {
        Some(role) => (
            format!("principal is Person in {}", uid(&TYPES.role, role)),
            format!("factor.{}.{role}", rule.resource),
        ),
        // Programs show certificates.
        None => ("principal is Person".to_owned(), format!("factor.{}", rule.resource)),
    };
    let connect = action_uid(Action::Connect);
    let resource = uid(&TYPES.resource, &rule.resource);
    let text = format!(
        "forbid ({principal}, action == {connect}, resource == {resource})\nunless {{ context has step_up_age }};"
    );
    Draft { id, text, place: &LOCKS }
}

fn forbid<'a>(lock: &Lock) -> Draft<'a> {
    let (principal, resource, condition) = match &lock.what {
        Locked::Person(id) => (
            format!("principal == {}", uid(&TYPES.person, &id.to_string())),
            "resource".to_owned(),
            String::new(),
        ),
        Locked::Role(role) => {
            (format!("principal in {}", uid(&TYPES.role, role)), "resource".to_owned(), String::new())
        }
        Locked::Resource(name) => {
            ("principal".to_owned(), format!("resource in {}", uid(&TYPES.resource, name)), String::new())
        }
        Locked::Address(range) => (
            "principal".to_owned(),
            "resource".to_owned(),
            format!("\nwhen {{ context.address.isInRange(ip({})) }}", quoted(range)),
        ),
    };
    Draft {
        id: format!("lock.{}", lock.number),
        text: format!("forbid ({principal}, action, {resource}){condition};"),
        place: &LOCKS,
    }
}

fn check_name(role: &Role, faults: &mut Vec<Diagnostic>) {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    if role.name.is_empty() || !role.name.chars().all(fits) {
        let message = format!("role name {:?} must be made of letters, digits, `_`, `-` and `.`", role.name);
        faults.push(Diagnostic::at(&role.place, message));
    }
}

fn check_rule(role: &Role, rule: &Rule, sources: &Sources<'_>, faults: &mut Vec<Diagnostic>) {
    let name = &role.name;
    let known = || sources.resources.iter().any(|resource| *resource.0 == *rule.resource);
    if rule.resource != "*" && !known() {
        let message =
            format!("role `{name}` names the resource `{}`, which is not configured", rule.resource);
        faults.push(Diagnostic::at(&rule.place, message));
    }
    for class in rule.unmask.iter().filter(|class| !sources.classes.contains(&class.as_str())) {
        if class != ALL_CLASSES {
            let message = format!("role `{name}` unmasks the class `{class}`, which does not exist");
            faults.push(Diagnostic::at(&rule.place, message));
        }
    }
    for purpose in rule.purposes.iter().filter(|purpose| !sources.purposes.iter().any(|p| **p == **purpose)) {
        let message = format!("role `{name}` names the purpose `{purpose}`, which is not configured");
        faults.push(Diagnostic::at(&rule.place, message));
    }
    let lists = [&rule.read, &rule.write, &rule.define, &rule.execute];
    let granted = rule.transfer || rule.administer || !rule.unmask.is_empty();
    if lists.iter().all(|list| list.is_empty()) && !granted {
        let message = format!(
            "rule of role `{name}` allows nothing: give it `read`, `write`, `define`, `execute`, `transfer`, \
             `administer` or `unmask`"
        );
        faults.push(Diagnostic::at(&rule.place, message));
    }
}

fn policies<'a>(role: &str, number: usize, rule: &'a Rule) -> Vec<Draft<'a>> {
    let everywhere = rule.resource == "*";
    let resource = uid(&TYPES.resource, &rule.resource);
    let within = if everywhere { "resource".to_owned() } else { format!("resource in {resource}") };
    let class =
        if everywhere { "resource is Class".to_owned() } else { format!("resource is Class in {resource}") };
    let itself = if everywhere { "resource".to_owned() } else { format!("resource == {resource}") };
    let policy = |action: Action, scope: &str, condition: Option<String>| {
        let role_uid = uid(&TYPES.role, role);
        let mut conditions = String::new();
        for text in condition.into_iter().chain(circumstances(rule, action)) {
            conditions.push_str(&format!("\nwhen {{ {text} }}"));
        }
        Draft {
            id: format!("role.{role}.{number}.{}", action.name().to_ascii_lowercase()),
            text: format!(
                "permit (principal in {role_uid}, action == {}, {scope}){conditions};",
                action_uid(action)
            ),
            place: &rule.place,
        }
    };
    let mut made = Vec::new();
    let lists = [
        (Action::Read, &rule.read),
        (Action::Write, &rule.write),
        (Action::Define, &rule.define),
        (Action::Execute, &rule.execute),
    ];
    for (action, patterns) in lists {
        if !patterns.is_empty() {
            made.push(policy(action, &within, Some(condition(patterns))));
        }
    }
    for (action, granted) in [(Action::Transfer, rule.transfer), (Action::Administer, rule.administer)] {
        if granted {
            made.push(policy(action, &within, None));
        }
    }
    if rule.unmask.iter().any(|class| class == ALL_CLASSES) {
        made.push(policy(Action::Unmask, &within, None));
    } else if !rule.unmask.is_empty() {
        let classes = rule.unmask.iter().map(String::as_str).collect();
        made.push(policy(Action::Unmask, &class, Some(one_of("resource.name", &classes))));
    }
    if !made.is_empty() {
        made.insert(0, policy(Action::Connect, &itself, None));
    }
    made
}

/// Returns the conditions on when and for what a rule holds. The purpose is stated within a session, so a session may be
/// opened without it.
fn circumstances(rule: &Rule, action: Action) -> impl Iterator<Item = String> {
    let until = rule.until.map(|until| format!("context.at < {until}"));
    let purposes: BTreeSet<&str> = rule.purposes.iter().map(String::as_str).collect();
    let limited = !purposes.is_empty() && action != Action::Connect;
    let purpose = limited.then(|| one_of("context.purpose", &purposes));
    // A second factor can be shown within a session as well.
    let asked = rule.step_up_s.filter(|_| action != Action::Connect);
    let fresh = asked.map(|seconds| format!("context has step_up_age && context.step_up_age <= {seconds}"));
    until.into_iter().chain(purpose).chain(fresh)
}

/// Returns the condition that the resource is what a pattern means. A wildcard means nothing revealing.
fn condition(patterns: &[Pattern]) -> String {
    let mut all = false;
    let mut schemas: BTreeSet<&str> = BTreeSet::new();
    let mut objects: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for pattern in patterns {
        match &pattern.0 {
            Shape::All => all = true,
            Shape::Schema(schema) => {
                schemas.insert(schema);
            }
            Shape::Object { schema, name } => {
                objects.entry(schema).or_default().insert(name);
            }
        }
    }
    let mut choices = Vec::new();
    if all {
        choices.push("!(resource has revealing && resource.revealing)".to_owned());
    }
    if !schemas.is_empty() {
        let within = one_of("resource.schema", &schemas);
        choices.push(format!("(resource has schema && {within} && !resource.revealing)"));
    }
    for (schema, names) in objects {
        let schema = quoted(schema);
        let named = one_of("resource.name", &names);
        choices.push(format!("(resource has schema && resource.schema == {schema} && {named})"));
    }
    choices.join(" || ")
}

/// Returns the comparison with one text, or with a set: a set stays flat however long it is, where a chain
/// of `||` would grow deep.
fn one_of(attribute: &str, texts: &BTreeSet<&str>) -> String {
    let list: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    match list.as_slice() {
        [only] => format!("{attribute} == {only}"),
        _ => format!("[{}].contains({attribute})", list.join(", ")),
    }
}

/// Returns the text as a literal of Cedar.
fn quoted(text: &str) -> String {
    let mut literal = String::from("\"");
    literal.extend(text.chars().flat_map(char::escape_debug));
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_as_policies() {
        let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let rule = Rule {
            resource: "hospital".to_owned(),
            read: patterns(&["public.*", "pg_catalog.pg_stats"]),
            write: patterns(&["public.notes", "public.orders"]),
            define: Vec::new(),
            execute: patterns(&["*"]),
            transfer: true,
            administer: false,
            unmask: ["date", "age", "date"].map(str::to_owned).to_vec(),
            purposes: Vec::new(),
            until: None,
            step_up_s: None,
            place: Place::default(),
        };
        let text: Vec<String> = policies("nurse", 1, &rule)
            .into_iter()
            .map(|draft| format!("{}\n{}", draft.id, draft.text))
            .collect();
        let expected = r#"role.nurse.1.connect
permit (principal in Role::"nurse", action == Action::"Connect", resource == Resource::"hospital");
role.nurse.1.read
permit (principal in Role::"nurse", action == Action::"Read", resource in Resource::"hospital")
when { (resource has schema && resource.schema == "public" && !resource.revealing) || (resource has schema && resource.schema == "pg_catalog" && resource.name == "pg_stats") };
role.nurse.1.write
permit (principal in Role::"nurse", action == Action::"Write", resource in Resource::"hospital")
when { (resource has schema && resource.schema == "public" && ["notes", "orders"].contains(resource.name)) };
role.nurse.1.execute
permit (principal in Role::"nurse", action == Action::"Execute", resource in Resource::"hospital")
when { !(resource has revealing && resource.revealing) };
role.nurse.1.transfer
permit (principal in Role::"nurse", action == Action::"Transfer", resource in Resource::"hospital");
role.nurse.1.unmask
permit (principal in Role::"nurse", action == Action::"Unmask", resource is Class in Resource::"hospital")
when { ["age", "date"].contains(resource.name) };"#;
        assert_eq!(text.join("\n"), expected);
    }

    #[test]
    fn a_rule_for_a_purpose_and_a_time_reads_as_policies() {
        let rule = Rule {
            resource: "hospital".to_owned(),
            read: vec!["*".parse().unwrap()],
            write: Vec::new(),
            define: Vec::new(),
            execute: Vec::new(),
            transfer: false,
            administer: false,
            unmask: vec!["*".to_owned()],
            purposes: ["research", "audit"].map(str::to_owned).to_vec(),
            until: Some(1_798_761_600),
            step_up_s: Some(900),
            place: Place::default(),
        };
        let text: Vec<String> = policies("study", 1, &rule).into_iter().map(|draft| draft.text).collect();
        let expected = r#"permit (principal in Role::"study", action == Action::"Connect", resource == Resource::"hospital")
when { context.at < 1798761600 };
permit (principal in Role::"study", action == Action::"Read", resource in Resource::"hospital")
when { !(resource has revealing && resource.revealing) }
when { context.at < 1798761600 }
when { ["audit", "research"].contains(context.purpose) }
when { context has step_up_age && context.step_up_age <= 900 };
permit (principal in Role::"study", action == Action::"Unmask", resource in Resource::"hospital")
when { context.at < 1798761600 }
when { ["audit", "research"].contains(context.purpose) }
when { context has step_up_age && context.step_up_age <= 900 };"#;
        assert_eq!(text.join("\n"), expected);
    }
}
