//! Changes of a resource (RFC 7644, section 3.5.2): add, replace and remove, by path or without one.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::filter::{Filter, Path};
use super::schema::{Attribute, EMPLOYMENT_ENDED, Kind, LEAVER_SCHEMA};

/// One request changes at most so much.
pub(super) const OPERATIONS_MAX: usize = 100;

/// Lists have at most so many values: members of a large group.
pub(super) const VALUES_MAX: usize = 10_000;

/// A change.
#[derive(Debug, Deserialize)]
pub(super) struct Operation {
    op: String,
    path: Option<String>,
    #[serde(default)]
    value: Value,
}

/// Why a change is not made, in the words of the standard (`scimType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The path is not of the grammar.
    InvalidPath,
    /// The value is not one of the attribute.
    InvalidValue,
    /// There is no such operation.
    InvalidSyntax,
    /// No value fits the filter.
    NoTarget,
    /// It may not be changed.
    Mutability,
    /// More than is taken.
    TooMany,
}

/// Makes changes of a resource of these attributes, all or none.
pub(super) fn apply(
    resource: &Map<String, Value>,
    operations: &[Operation],
    attributes: &[Attribute],
) -> Result<Map<String, Value>, Unfit> {
    if operations.len() > OPERATIONS_MAX {
        return Err(Unfit::TooMany);
    }
    let mut changed = resource.clone();
    for operation in operations {
        one(&mut changed, operation, attributes)?;
    }
    Ok(changed)
}

#[derive(Clone, Copy, PartialEq)]
enum Verb {
    Add,
    Replace,
    Remove,
}

fn one(
    resource: &mut Map<String, Value>,
    operation: &Operation,
    attributes: &[Attribute],
) -> Result<(), Unfit> {
    // Some clients write `Add`.
    let verb = match operation.op.to_ascii_lowercase().as_str() {
        "add" => Verb::Add,
        "replace" => Verb::Replace,
        "remove" => Verb::Remove,
        _ => return Err(Unfit::InvalidSyntax),
    };
    let Some(path) = &operation.path else {
        let Value::Object(all) = &operation.value else {
            return Err(if verb == Verb::Remove { Unfit::NoTarget } else { Unfit::InvalidValue });
        };
        if verb == Verb::Remove {
            return Err(Unfit::NoTarget);
        }
        return all
            .iter()
            .try_for_each(|(name, value)| without_path(resource, verb, name, value, attributes));
    };
    if path.eq_ignore_ascii_case(LEAVER_SCHEMA) {
        return extension(resource, verb, &operation.value, attributes);
    }
    let path = Path::parse(path).map_err(|_| Unfit::InvalidPath)?;
    at(resource, verb, &path, &operation.value, attributes)
}

/// A path may be that of our extension as a whole.
fn extension(
    resource: &mut Map<String, Value>,
    verb: Verb,
    value: &Value,
    attributes: &[Attribute],
) -> Result<(), Unfit> {
    match (verb, value) {
        (Verb::Remove, _) => drop(resource.remove(EMPLOYMENT_ENDED)),
        (Verb::Add | Verb::Replace, Value::Object(all)) => {
            return all
                .iter()
                .try_for_each(|(name, value)| without_path(resource, verb, name, value, attributes));
        }
        (Verb::Add | Verb::Replace, _) => return Err(Unfit::InvalidValue),
    }
    Ok(())
}

/// A member of a value without a path is an attribute, or `name.givenName` as some clients write it, or a schema.
fn without_path(
    resource: &mut Map<String, Value>,
    verb: Verb,
    name: &str,
    value: &Value,
    attributes: &[Attribute],
) -> Result<(), Unfit> {
    if name.eq_ignore_ascii_case("schemas") {
        return Ok(());
    }
    if name.eq_ignore_ascii_case(LEAVER_SCHEMA) {
        return extension(resource, verb, value, attributes);
    }
    let path = Path::parse(name).map_err(|_| Unfit::InvalidPath)?;
    match at(resource, verb, &path, value, attributes) {
        // What is read-only, such as `id` and `meta`, comes back unchanged in whole resources.
        Err(Unfit::Mutability) => Ok(()),
        done => done,
    }
}

fn at(
    resource: &mut Map<String, Value>,
    verb: Verb,
    path: &Path,
    value: &Value,
    attributes: &[Attribute],
) -> Result<(), Unfit> {
    let attribute = find(attributes, &path.name).ok_or(Unfit::InvalidPath)?;
    if !attribute.writable {
        return Err(Unfit::Mutability);
    }
    let sub = match &path.sub {
        None => None,
        Some(sub) => Some(find(attribute.subs, sub).ok_or(Unfit::InvalidPath)?),
    };
    match (&path.chosen, sub) {
        (None, None) => whole(resource, verb, attribute, value),
        (None, Some(sub)) if !attribute.many => part(resource, verb, attribute, sub, value),
        (Some(filter), sub) if attribute.many => chosen(resource, verb, attribute, filter, sub, value),
        (_, _) => Err(Unfit::InvalidPath),
    }
}

fn whole(
    resource: &mut Map<String, Value>,
    verb: Verb,
    attribute: &Attribute,
    value: &Value,
) -> Result<(), Unfit> {
    let name = attribute.name;
    if verb == Verb::Remove && (value.is_null() || !attribute.many) {
        if attribute.required {
            return Err(Unfit::Mutability);
        }
        resource.remove(name);
        return Ok(());
    }
    if !attribute.many {
        let fitting = attribute.fitting(value).ok_or(Unfit::InvalidValue)?;
        match (verb, resource.get_mut(name), fitting) {
            // Adding to an object keeps what is not named.
            (Verb::Add | Verb::Replace, Some(Value::Object(there)), Value::Object(new)) => there.extend(new),
            (_, _, fitting) => drop(resource.insert(name.to_owned(), fitting)),
        }
        return Ok(());
    }
    let given = match value {
        Value::Array(list) => list.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    };
    let given: Option<Vec<Value>> = given.iter().map(|value| attribute.fitting_one(value)).collect();
    let given = given.ok_or(Unfit::InvalidValue)?;
    let mut list = taken(resource, name);
    match verb {
        Verb::Replace => list = given,
        Verb::Add => {
            for value in given {
                demote(&mut list, &value);
                if !list.iter().any(|there| same(there, &value)) {
                    list.push(value);
                }
            }
        }
        Verb::Remove => list.retain(|there| !given.iter().any(|value| same(there, value))),
    }
    put(resource, name, list)
}

fn part(
    resource: &mut Map<String, Value>,
    verb: Verb,
    attribute: &Attribute,
    sub: &Attribute,
    value: &Value,
) -> Result<(), Unfit> {
    let entry = resource.entry(attribute.name).or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(there) = entry else { return Err(Unfit::InvalidPath) };
    if verb == Verb::Remove {
        there.remove(sub.name);
    } else {
        there.insert(sub.name.to_owned(), sub.fitting(value).ok_or(Unfit::InvalidValue)?);
    }
    if there.is_empty() {
        resource.remove(attribute.name);
    }
    Ok(())
}

fn chosen(
    resource: &mut Map<String, Value>,
    verb: Verb,
    attribute: &Attribute,
    filter: &Filter,
    sub: Option<&Attribute>,
    value: &Value,
) -> Result<(), Unfit> {
    let mut list = taken(resource, attribute.name);
    let meant = list.iter().filter(|there| filter.fits(there)).count();
    if verb == Verb::Remove {
        match sub {
            None => list.retain(|there| !filter.fits(there)),
            Some(sub) => list.iter_mut().filter(|there| filter.fits(there)).for_each(|there| {
                if let Value::Object(there) = there {
                    there.remove(sub.name);
                }
            }),
        }
        list.retain(|there| there.as_object().is_none_or(|there| !there.is_empty()));
        return put(resource, attribute.name, list);
    }
    if meant == 0 {
        // What a filter of equalities says is made where it is not there, as identity providers expect.
        let mut made = made(filter).ok_or(Unfit::NoTarget)?;
        write(&mut made, attribute, sub, value)?;
        let made = attribute.fitting_one(&Value::Object(made)).ok_or(Unfit::InvalidValue)?;
        demote(&mut list, &made);
        list.push(made);
        return put(resource, attribute.name, list);
    }
    for there in list.iter_mut().filter(|there| filter.fits(there)) {
        let Value::Object(there) = there else { return Err(Unfit::InvalidPath) };
        write(there, attribute, sub, value)?;
    }
    put(resource, attribute.name, list)
}

fn write(
    there: &mut Map<String, Value>,
    attribute: &Attribute,
    sub: Option<&Attribute>,
    value: &Value,
) -> Result<(), Unfit> {
    match sub {
        Some(sub) => {
            there.insert(sub.name.to_owned(), sub.fitting(value).ok_or(Unfit::InvalidValue)?);
        }
        None => match attribute.fitting_one(value) {
            Some(Value::Object(new)) => there.extend(new),
            Some(_) | None => return Err(Unfit::InvalidValue),
        },
    }
    Ok(())
}

/// Returns the value that a filter describes, where it is made of equalities alone.
fn made(filter: &Filter) -> Option<Map<String, Value>> {
    match filter {
        Filter::Compare(attribute, super::filter::Operator::Equal, value) if attribute.sub.is_none() => {
            Some(Map::from_iter([(attribute.name.clone(), value.clone())]))
        }
        Filter::And(one, other) => {
            let mut both = made(one)?;
            both.extend(made(other)?);
            Some(both)
        }
        Filter::Compare(..) | Filter::Present(_) | Filter::Within(..) | Filter::Or(..) | Filter::Not(_) => {
            None
        }
    }
}

/// At most one value is the primary one.
fn demote(list: &mut [Value], new: &Value) {
    if new.get("primary") != Some(&Value::Bool(true)) {
        return;
    }
    for there in list {
        if let Some(primary) = there.get_mut("primary") {
            *primary = Value::Bool(false);
        }
    }
}

/// Two values are the same when their `value` is.
fn same(one: &Value, other: &Value) -> bool {
    match (one.get("value"), other.get("value")) {
        (Some(one), Some(other)) => one == other,
        (_, _) => one == other,
    }
}

fn taken(resource: &mut Map<String, Value>, name: &str) -> Vec<Value> {
    match resource.remove(name) {
        Some(Value::Array(list)) => list,
        Some(Value::Null) | None => Vec::new(),
        Some(one) => vec![one],
    }
}

fn put(resource: &mut Map<String, Value>, name: &str, list: Vec<Value>) -> Result<(), Unfit> {
    if list.len() > VALUES_MAX {
        return Err(Unfit::TooMany);
    }
    if !list.is_empty() {
        resource.insert(name.to_owned(), Value::Array(list));
    }
    Ok(())
}

fn find<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

/// Returns what of a whole resource is known and may be written, in its own spelling.
pub(super) fn known(
    given: &Map<String, Value>,
    attributes: &[Attribute],
) -> Result<Map<String, Value>, Unfit> {
    let mut kept = Map::new();
    for (name, value) in given {
        let Some(attribute) = find(attributes, name).filter(|attribute| attribute.writable) else { continue };
        if value.is_null() {
            continue;
        }
        whole(&mut kept, Verb::Replace, attribute, value)?;
    }
    let missing = |attribute: &&Attribute| attribute.required && !kept.contains_key(attribute.name);
    if attributes.iter().any(|attribute| missing(&attribute)) { Err(Unfit::InvalidValue) } else { Ok(kept) }
}

impl Attribute {
    /// Returns a value as one of the attribute; a list's as a list.
    fn fitting(&self, value: &Value) -> Option<Value> {
        if !self.many {
            return self.fitting_one(value);
        }
        let list = value.as_array()?;
        list.iter().map(|value| self.fitting_one(value)).collect::<Option<Vec<_>>>().map(Value::Array)
    }

    fn fitting_one(&self, value: &Value) -> Option<Value> {
        match (self.kind, value) {
            (Kind::Text | Kind::Reference, Value::String(text)) => self.text(text),
            (Kind::Time, Value::String(text)) => super::time(text).is_some().then(|| value.clone()),
            (Kind::Truth, Value::Bool(_)) => Some(value.clone()),
            (Kind::Truth, Value::String(text)) if text.eq_ignore_ascii_case("true") => {
                Some(Value::Bool(true))
            }
            (Kind::Truth, Value::String(text)) if text.eq_ignore_ascii_case("false") => {
                Some(Value::Bool(false))
            }
            (Kind::Complex, Value::Object(given)) => {
                let mut kept = Map::new();
                for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
                    let Some(sub) = find(self.subs, name) else { continue };
                    kept.insert(sub.name.to_owned(), sub.fitting(value)?);
                }
                Some(Value::Object(kept))
            }
            // A list of plain texts stands for a list of their values.
            (Kind::Complex, Value::String(_)) if self.many => {
                let sub = find(self.subs, "value")?;
                Some(Value::Object(Map::from_iter([(sub.name.to_owned(), sub.fitting(value)?)])))
            }
            (Kind::Text | Kind::Time | Kind::Reference | Kind::Truth | Kind::Complex, _) => None,
        }
    }

    fn text(&self, text: &str) -> Option<Value> {
        let fits = text.len() <= super::schema::TEXT_BYTES_MAX && !text.chars().any(char::is_control);
        let one_of = self.one_of.is_empty() || self.one_of.contains(&text);
        (fits && one_of).then(|| Value::String(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::schema::USER;
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn ann() -> Map<String, Value> {
        object(json!({
            "userName": "ann", "active": true, "name": {"familyName": "Example", "givenName": "Ann"},
            "emails": [{"value": "a@work.test", "type": "work", "primary": true}, {"value": "a@home.test", "type": "home"}],
        }))
    }

    #[track_caller]
    fn check(operations: Value, expected: Result<Value, Unfit>) {
        let operations: Vec<Operation> = serde_json::from_value(operations).unwrap();
        let changed = apply(&ann(), &operations, USER);
        match expected {
            Err(unfit) => assert_eq!(changed, Err(unfit)),
            Ok(differs) => {
                let changed = changed.unwrap();
                for (name, value) in differs.as_object().unwrap() {
                    assert_eq!(changed.get(name).unwrap_or(&Value::Null), value, "{name}");
                }
            }
        }
    }

    #[test]
    fn changes_are_made_as_identity_providers_write_them() {
        check(json!([{"op": "replace", "path": "active", "value": false}]), Ok(json!({"active": false})));
        // Azure writes truth values as texts and verbs with a capital.
        check(json!([{"op": "Replace", "path": "active", "value": "False"}]), Ok(json!({"active": false})));
        // Okta sends no path.
        check(json!([{"op": "replace", "value": {"active": false}}]), Ok(json!({"active": false})));
        check(
            json!([{"op": "replace", "value": {"name.givenName": "Anne", "id": "9"}}]),
            Ok(json!({"name": {"familyName": "Example", "givenName": "Anne"}})),
        );
        check(
            json!([{"op": "add", "value": {"name": {"formatted": "Ann E."}}}]),
            Ok(json!({"name": {"familyName": "Example", "givenName": "Ann", "formatted": "Ann E."}})),
        );
        check(
            json!([{"op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:displayName", "value": "A"}]),
            Ok(json!({"displayName": "A"})),
        );
        check(
            json!([{"op": "remove", "path": "name.givenName"}]),
            Ok(json!({"name": {"familyName": "Example"}})),
        );
        check(json!([{"op": "remove", "path": "emails"}]), Ok(json!({"emails": null})));
    }

    #[test]
    fn values_of_lists_are_found_by_what_they_are() {
        check(
            json!([{"op": "replace", "path": "emails[type eq \"home\"].value", "value": "new@home.test"}]),
            Ok(json!({"emails": [
                {"value": "a@work.test", "type": "work", "primary": true}, {"value": "new@home.test", "type": "home"},
            ]})),
        );
        check(
            json!([{"op": "remove", "path": "emails[type eq \"work\"]"}]),
            Ok(json!({"emails": [{"value": "a@home.test", "type": "home"}]})),
        );
        check(
            json!([{"op": "add", "path": "emails", "value": [{"value": "x@test", "primary": true}]}]),
            Ok(json!({"emails": [
                {"value": "a@work.test", "type": "work", "primary": false},
                {"value": "a@home.test", "type": "home"}, {"value": "x@test", "primary": true},
            ]})),
        );
        // What is not there is made from what it is asked to be.
        check(
            json!([{"op": "add", "path": "emails[type eq \"other\"].value", "value": "o@test"}]),
            Ok(json!({"emails": [
                {"value": "a@work.test", "type": "work", "primary": true}, {"value": "a@home.test", "type": "home"},
                {"value": "o@test", "type": "other"},
            ]})),
        );
        check(
            json!([{"op": "add", "path": "emails", "value": {"value": "a@work.test"}}]),
            Ok(json!({"emails": ann()["emails"]})),
        );
    }

    #[test]
    fn what_cannot_be_is_refused_and_nothing_is_changed() {
        let cases = [
            (json!({"op": "replace", "path": "id", "value": "9"}), Unfit::Mutability),
            (json!({"op": "remove", "path": "userName"}), Unfit::Mutability),
            (json!({"op": "replace", "path": "nothing", "value": 1}), Unfit::InvalidPath),
            (json!({"op": "replace", "path": "name.nothing", "value": "x"}), Unfit::InvalidPath),
            (json!({"op": "replace", "path": "userName[value eq 1]", "value": "x"}), Unfit::InvalidPath),
            (json!({"op": "replace", "path": "active", "value": "perhaps"}), Unfit::InvalidValue),
            (json!({"op": "replace", "path": "userName", "value": ["a"]}), Unfit::InvalidValue),
            (json!({"op": "replace", "path": "userName", "value": "a\u{0}"}), Unfit::InvalidValue),
            (json!({"op": "replace", "path": "emails[type co \"x\"].value", "value": "x"}), Unfit::NoTarget),
            (json!({"op": "remove"}), Unfit::NoTarget),
            (json!({"op": "move", "path": "active"}), Unfit::InvalidSyntax),
        ];
        for (operation, unfit) in cases {
            check(json!([operation]), Err(unfit));
        }
        let many = vec![json!({"op": "remove", "path": "title"}); OPERATIONS_MAX + 1];
        check(Value::Array(many), Err(Unfit::TooMany));
    }
}
