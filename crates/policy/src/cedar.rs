//! Reads policies: splits files into statements, parses, validates strictly, and refuses what would
//! validate but not mean what it says. Every fault has a line and a column.

use std::collections::{HashMap, HashSet};

use cedar_policy::{EntityUid, Policy, PolicyId, PolicySet, ValidationMode, Validator};
use serde_json::Value;

use crate::catalogue::UNKNOWN_SCHEMA;
use crate::name::Qualified;
use crate::roles::Draft;
use crate::sources::{CedarFile, Diagnostic, Sources};
use crate::vocabulary::{BUILTIN_TEXT, SCHEMA, TYPES};

/// Longer ids would fill the trail.
const ID_BYTES_MAX: usize = 128;

/// A policy that is in force.
pub(crate) struct Checked {
    pub(crate) policy: Policy,
    /// Whether a person wrote it: then it may not have unresolved objects in mind.
    pub(crate) written: bool,
}

/// Returns all policies, and adds what is wrong with them.
pub(crate) fn read(
    sources: &Sources<'_>,
    drafts: Vec<Draft<'_>>,
    faults: &mut Vec<Diagnostic>,
) -> Vec<Checked> {
    let validator = Validator::new(SCHEMA.clone());
    let builtin = CedarFile { path: "builtin.cedar".to_owned(), text: BUILTIN_TEXT.to_owned() };
    let mut checked = Vec::new();
    for statement in split(&builtin) {
        let parsed = statement.parse().map_err(|found| faults.extend(found));
        let Ok(policy) = parsed else { continue };
        let id = policy.annotation("id").expect("built-in policies have ids").to_owned();
        checked.push(Checked { policy: policy.new_id(PolicyId::new(id)), written: false });
    }
    for draft in drafts {
        match parse_draft(&validator, &draft) {
            Ok(policy) => checked.push(Checked { policy, written: false }),
            Err(message) => faults.push(Diagnostic::at(draft.place, message)),
        }
    }
    let mut ids = HashMap::new();
    let known = Known::of(sources);
    for statement in sources.cedar.iter().flat_map(split) {
        let result = statement.check(&validator, &known, &mut ids);
        match result {
            Ok(policy) => checked.push(Checked { policy, written: true }),
            Err(found) => faults.extend(found),
        }
    }
    checked
}

fn parse_draft(validator: &Validator, draft: &Draft<'_>) -> Result<Policy, String> {
    let policy = Policy::parse(Some(PolicyId::new(&draft.id)), &draft.text)
        .map_err(|error| format!("policy `{}` of this rule does not parse: {error}", draft.id))?;
    let set = PolicySet::from_policies([policy.clone()]).map_err(|error| error.to_string())?;
    let result = validator.validate(&set, ValidationMode::Strict);
    match result.validation_errors().next() {
        Some(error) => Err(format!("policy of this rule does not validate: {error}")),
        None => Ok(policy),
    }
}

/// One policy in a file, from its first word to its semicolon.
struct Statement<'a> {
    file: &'a CedarFile,
    start: usize,
    text: &'a str,
}

/// Returns the statements of a file. Only a `;` outside strings and comments ends one, as in Cedar's grammar;
/// what follows the last one becomes a statement too, so that no text goes unread.
fn split(file: &CedarFile) -> Vec<Statement<'_>> {
    let mut statements = Vec::new();
    let mut start = None;
    let mut chars = file.text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '/' && chars.peek().is_some_and(|(_, next)| *next == '/') {
            while chars.next_if(|(_, c)| *c != '\n' && *c != '\r').is_some() {}
            continue;
        }
        if c.is_whitespace() {
            continue;
        }
        let from = *start.get_or_insert(at);
        if c == '"' {
            skip_string(&mut chars);
        } else if c == ';' {
            let text = file.text.get(from..=at).expect("`;` is one byte and both ends are characters");
            statements.push(Statement { file, start: from, text });
            start = None;
        }
    }
    if let Some(start) = start {
        let text = file.text.get(start..).expect("a statement starts at a character");
        statements.push(Statement { file, start, text });
    }
    statements
}

fn skip_string(chars: &mut impl Iterator<Item = (usize, char)>) {
    while let Some((_, c)) = chars.next() {
        match c {
            '"' => return,
            '\\' => {
                chars.next();
            }
            _ => {}
        }
    }
}

impl Statement<'_> {
    fn parse(&self) -> Result<Policy, Vec<Diagnostic>> {
        Policy::parse(None, self.text).map_err(|errors| {
            errors.iter().map(|error| self.fault(error, with_label(error.to_string(), error))).collect()
        })
    }

    fn check(
        &self,
        validator: &Validator,
        known: &Known<'_>,
        ids: &mut HashMap<String, String>,
    ) -> Result<Policy, Vec<Diagnostic>> {
        let policy = self.parse()?;
        let here = self.place(0);
        let mut faults = Vec::new();
        let place = format!("{}:{}", self.file.path, here.line);
        let chosen = policy.annotation("id").is_some();
        let id = policy.annotation("id").map_or_else(|| place.clone(), str::to_owned);
        if let Err(message) = check_id(&id, chosen) {
            faults.push(Diagnostic { message, ..here.clone() });
        }
        if let Some(first) = ids.insert(id.clone(), place) {
            let message = match chosen {
                true => format!("policy id `{id}` is already used at {first}"),
                false => format!(
                    "give this policy an `@id(\"…\")`: by its place it would be `{id}`, which is taken"
                ),
            };
            faults.push(Diagnostic { message, ..here.clone() });
        }
        let policy = policy.new_id(PolicyId::new(id));
        faults.extend(self.validate(validator, &policy));
        let unknown = known.faults(&policy);
        faults.extend(unknown.into_iter().map(|message| Diagnostic { message, ..here.clone() }));
        if faults.is_empty() { Ok(policy) } else { Err(faults) }
    }

    /// Warnings count too: a policy that can never apply, or a text that reads differently than it is, must
    /// not be in force. Beside errors they say nothing new.
    fn validate(&self, validator: &Validator, policy: &Policy) -> Vec<Diagnostic> {
        let set = match PolicySet::from_policies([policy.clone()]) {
            Ok(set) => set,
            Err(error) => return vec![self.fault(&error, error.to_string())],
        };
        let result = validator.validate(&set, ValidationMode::Strict);
        let mut faults: Vec<Diagnostic> =
            result.validation_errors().map(|error| self.fault(error, plain(error, policy))).collect();
        if faults.is_empty() {
            let warnings = result.validation_warnings();
            faults.extend(warnings.map(|warning| self.fault(warning, plain(warning, policy))));
        }
        faults.sort();
        // Cedar repeats some errors for each action that the policy can meet.
        let but_for_action = |fault: &Diagnostic| {
            let text = fault.message.split("Action::").next().map(str::to_owned);
            (fault.line, fault.column, text)
        };
        faults.dedup_by_key(|fault| but_for_action(fault));
        faults
    }

    /// Returns a fault at the first label of Cedar's error.
    fn fault(&self, error: &impl miette::Diagnostic, message: String) -> Diagnostic {
        let label = error.labels().and_then(|mut labels| labels.next());
        let offset = label.map_or(0, |label| label.offset());
        Diagnostic { message, ..self.place(offset) }
    }

    /// Returns the place of a byte of this statement, without a message.
    fn place(&self, offset: usize) -> Diagnostic {
        let end = self.start.saturating_add(offset).min(self.file.text.len());
        let before = self.file.text.get(..end).unwrap_or(&self.file.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..).map_or(0, |text| text.chars().count()) + 1;
        Diagnostic { file: self.file.path.clone(), line, column, message: String::new() }
    }
}

fn with_label(message: String, error: &impl miette::Diagnostic) -> String {
    let label = error.labels().and_then(|mut labels| labels.next());
    let message = match label.as_ref().and_then(|label| label.label()) {
        Some(label) => format!("{message}: {label}"),
        None => message,
    };
    match error.help() {
        Some(help) => format!("{message} ({help})"),
        None => message,
    }
}

/// Returns the error with its help, without the policy's name, which its place tells, and without
/// Cedar's inner names.
fn plain(error: &(impl miette::Diagnostic + std::fmt::Display), policy: &Policy) -> String {
    let text = error.to_string();
    let prefix = format!("for policy `{}`, ", policy.id());
    let text =
        text.strip_prefix(&prefix).unwrap_or(&text).replace("__cedar::internal::AnyEntity", "an entity");
    match error.help() {
        Some(help) => format!("{text} ({help})"),
        None => text,
    }
}

fn check_id(id: &str, chosen: bool) -> Result<(), String> {
    if id.is_empty() {
        return Err("policy id is empty".to_owned());
    }
    if id.len() > ID_BYTES_MAX {
        return Err(format!("policy id is longer than {ID_BYTES_MAX} bytes"));
    }
    if id.chars().any(char::is_control) {
        return Err(format!("policy id {id:?} holds a control character"));
    }
    let reserved = ["role.", "lock.", "training.", "factor.", "wardline."];
    if chosen && reserved.iter().any(|reserved| id.starts_with(reserved)) {
        return Err(format!(
            "policy id `{id}` is reserved: ids cannot begin with `role.`, `lock.`, `training.`, `factor.` or `wardline.`"
        ));
    }
    Ok(())
}

/// What a policy may name.
struct Known<'a> {
    roles: HashSet<&'a str>,
    resources: HashSet<&'a str>,
    classes: HashSet<&'a str>,
}

impl<'a> Known<'a> {
    fn of(sources: &Sources<'a>) -> Known<'a> {
        Known {
            roles: sources.roles.iter().map(|role| role.name.as_str()).collect(),
            resources: sources.resources.iter().map(|resource| &*resource.0).collect(),
            classes: sources.classes.iter().copied().collect(),
        }
    }

    /// Returns what would silently never match, or be asked of an entity that is not in the store.
    fn faults(&self, policy: &Policy) -> Vec<String> {
        let mut literals = policy.entity_literals();
        literals.sort();
        literals.dedup();
        let mut faults: Vec<String> = literals.iter().filter_map(|uid| self.fault(uid)).collect();
        match conditions(policy) {
            Ok(conditions) if conditions.iter().any(|condition| has_stray_entity(condition, false)) => {
                let message = "a named entity can only be compared (`==`, `!=`) or stand at the right of `in`: \
                               its attributes and parents are not known when the policy is asked";
                faults.push(message.to_owned());
            }
            Ok(_) => {}
            Err(message) => faults.push(message),
        }
        faults
    }

    fn fault(&self, uid: &EntityUid) -> Option<String> {
        let (kind, id) = (uid.type_name(), uid.id().unescaped());
        if *kind == TYPES.role {
            return (!self.roles.contains(id)).then(|| format!("role `{id}` is not defined"));
        }
        if *kind == TYPES.resource {
            return (!self.resources.contains(id)).then(|| format!("resource `{id}` is not configured"));
        }
        if *kind == TYPES.person {
            let canonical = id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            return (!canonical).then(|| {
                format!("`{uid}`: a person is named by an id of 32 hex digits; compare `principal.name` with a login name")
            });
        }
        let form = if *kind == TYPES.schema {
            "resource/schema"
        } else if *kind == TYPES.class {
            "resource/class"
        } else if *kind == TYPES.relation || *kind == TYPES.function {
            "resource/schema.name"
        } else {
            return None;
        };
        let has_name = form.contains('.');
        let Some(parts) = Qualified::parse(id).filter(|parts| parts.name.is_some() == has_name) else {
            return Some(format!("`{uid}` is not of the form `{kind}::\"{form}\"`"));
        };
        if *kind == TYPES.class && !self.classes.contains(parts.schema.as_str()) {
            return Some(format!("`{uid}`: there is no class `{}`", parts.schema));
        }
        if parts.schema == UNKNOWN_SCHEMA {
            return Some(format!("`{uid}`: `?` stands for a schema that is not known and cannot be named"));
        }
        if parts.id() != id {
            return Some(format!("`{uid}` must be written `{}`", crate::vocabulary::uid(kind, &parts.id())));
        }
        let resource = &parts.resource;
        (!self.resources.contains(resource.as_str()))
            .then(|| format!("`{uid}`: resource `{resource}` is not configured"))
    }
}

/// Returns the `when` and `unless` expressions of a policy in Cedar's JSON form.
fn conditions(policy: &Policy) -> Result<Vec<Value>, String> {
    let json = policy.to_json().map_err(|error| error.to_string())?;
    let conditions = json.get("conditions").and_then(Value::as_array);
    let conditions = conditions.ok_or("a policy without its list of conditions")?;
    Ok(conditions.iter().filter_map(|condition| condition.get("body")).cloned().collect())
}

/// Returns whether a policy's conditions ask about `resource` or `context`. What cannot be read may do so.
pub(crate) fn asks_about(policy: &Policy, variable: &str) -> bool {
    conditions(policy).map_or(true, |conditions| conditions.iter().any(|body| mentions(body, variable)))
}

fn mentions(expression: &Value, variable: &str) -> bool {
    match expression {
        Value::Object(fields) => fields.iter().any(|(key, value)| {
            (key == "Var" && value.as_str() == Some(variable)) || mentions(value, variable)
        }),
        Value::Array(items) => items.iter().any(|item| mentions(item, variable)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Returns whether a named entity stands where its attributes or parents would be looked up: anywhere but
/// as an operand of a comparison or at the right of `in`.
fn has_stray_entity(expression: &Value, comparable: bool) -> bool {
    let fields = match expression {
        Value::Object(fields) => fields,
        Value::Array(items) => return items.iter().any(|item| has_stray_entity(item, comparable)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return false,
    };
    fields.iter().any(|(operator, operands)| {
        let side = |side: &str, comparable: bool| {
            operands.get(side).is_some_and(|operand| has_stray_entity(operand, comparable))
        };
        match operator.as_str() {
            "__entity" => !comparable,
            "Value" | "Set" => has_stray_entity(operands, comparable),
            "==" | "!=" | "contains" | "containsAll" | "containsAny" => {
                side("left", true) || side("right", true)
            }
            "in" => side("left", false) || side("right", true),
            "is" => side("left", false) || side("in", true),
            "if-then-else" => side("if", false) || side("then", comparable) || side("else", comparable),
            _ => match operands {
                Value::Object(inner) => inner.values().any(|operand| has_stray_entity(operand, false)),
                other => has_stray_entity(other, false),
            },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(text: &str) -> Vec<String> {
        let file = CedarFile { path: "p".to_owned(), text: text.to_owned() };
        split(&file).into_iter().map(|s| format!("{}@{}", s.text, s.start)).collect()
    }

    #[test]
    fn statements_end_at_semicolons_outside_strings_and_comments() {
        assert_eq!(
            statements(" // a; b\n x;\n\"a;\\\";\" y // ;\n;z"),
            ["x;@10", "\"a;\\\";\" y // ;\n;@13", "z@29"]
        );
        assert_eq!(statements("// only a comment;"), Vec::<String>::new());
        assert_eq!(statements("a / b; \"open; "), ["a / b;@0", "\"open; @7"]);
        assert_eq!(statements(";"), [";@0"]);
    }

    fn stray(condition: &str) -> bool {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        let policy = Policy::parse(None, text).unwrap();
        conditions(&policy).unwrap().iter().any(|condition| has_stray_entity(condition, false))
    }

    #[test]
    fn named_entities_may_only_be_compared() {
        for fine in [
            r#"principal == Person::"a""#,
            r#"Person::"a" != principal"#,
            r#"resource in [Schema::"a/b", Schema::"a/c"]"#,
            r#"principal is Person in Role::"a""#,
            r#"[Person::"a"].contains(principal)"#,
            r#"principal == (if context.hour > 3 then Person::"a" else Person::"b")"#,
            r#"principal.name == "Person::x" || {"==": 1}["=="] == 1"#,
        ] {
            assert!(!stray(fine), "{fine}");
        }
        for bad in [
            r#"Person::"a".name == "x""#,
            r#"Person::"a" in Role::"r""#,
            r#"Person::"a" is Person in Role::"r""#,
            r#"Person::"a" has name"#,
            r#"(if context.hour > 3 then Person::"a" else principal).name == "x""#,
            r#"(if context.hour > 3 then Person::"a" else principal) in Role::"x""#,
            r#"principal == Person::"b" && {"a": Person::"a"}["a"].name == "x""#,
            r#"{"==": {"left": Person::"a"}}["=="].left.name == "x""#,
            r#"[Person::"a".name].contains("x")"#,
        ] {
            assert!(stray(bad), "{bad}");
        }
    }

    #[test]
    fn conditions_on_the_resource_are_seen() {
        let asks = |text: &str| asks_about(&Policy::parse(None, text).unwrap(), "resource");
        assert!(!asks(r#"forbid (principal, action, resource == Resource::"a") when { context.hour > 1 };"#));
        assert!(!asks(r#"forbid (principal, action, resource) when { principal.name == "resource" };"#));
        assert!(asks(r#"forbid (principal, action, resource) unless { resource is Relation };"#));
        assert!(asks(
            r#"forbid (principal, action, resource) when { [{"a": resource}["a"].name].contains("x") };"#
        ));
    }

    #[test]
    fn the_built_in_policies_validate() {
        let file = CedarFile { path: "builtin.cedar".to_owned(), text: BUILTIN_TEXT.to_owned() };
        let validator = Validator::new(SCHEMA.clone());
        let statements = split(&file);
        assert_eq!(statements.len(), 1);
        for statement in statements {
            let policy = statement.parse().unwrap();
            assert_eq!(statement.validate(&validator, &policy), []);
            assert_eq!(policy.annotation("id"), Some(crate::reason::CATALOGUE));
        }
    }
}
