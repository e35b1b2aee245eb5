//! The words of `wardline.cedarschema` as Cedar's values: types, actions, entities, circumstances.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression, Schema};
use model::{Action, Context, Micros, Object, PersonId};

use crate::catalogue::{self, UNKNOWN_SCHEMA};
use crate::name;

/// The committed schema.
pub(crate) const SCHEMA_TEXT: &str = include_str!("wardline.cedarschema");
/// The committed policies that hold everywhere.
pub(crate) const BUILTIN_TEXT: &str = include_str!("builtin.cedar");

/// The schema, parsed once.
pub(crate) static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| Schema::from_cedarschema_str(SCHEMA_TEXT).expect("the committed schema is valid").0);

static ACTIONS: LazyLock<[EntityUid; 10]> =
    LazyLock::new(|| Action::ALL.map(|action| uid(&TYPES.action, action.name())));

/// The types of the schema.
pub(crate) struct Types {
    pub(crate) action: EntityTypeName,
    pub(crate) person: EntityTypeName,
    pub(crate) workload: EntityTypeName,
    pub(crate) role: EntityTypeName,
    pub(crate) resource: EntityTypeName,
    pub(crate) schema: EntityTypeName,
    pub(crate) relation: EntityTypeName,
    pub(crate) function: EntityTypeName,
    pub(crate) class: EntityTypeName,
}

/// The types of the schema, parsed once.
pub(crate) static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let named = |name: &str| name.parse::<EntityTypeName>().expect("a type name is an identifier");
    Types {
        action: named("Action"),
        person: named("Person"),
        workload: named("Workload"),
        role: named("Role"),
        resource: named("Resource"),
        schema: named("Schema"),
        relation: named("Relation"),
        function: named("Function"),
        class: named("Class"),
    }
});

/// Returns the position of an action in arrays over all actions.
pub(crate) fn index(action: Action) -> usize {
    usize::from(action as u8) - 1
}

/// Returns Cedar's name of an action.
pub(crate) fn action_uid(action: Action) -> &'static EntityUid {
    ACTIONS.get(index(action)).expect("actions are numbered from 1 without a gap")
}

/// Returns Cedar's name of a thing.
pub(crate) fn uid(type_name: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(type_name.clone(), EntityId::new(id))
}

/// Returns whether the schema lets the action be asked of such an object.
pub(crate) fn applies(action: Action, object: &Object) -> bool {
    match action {
        Action::Connect | Action::Approve | Action::Review => matches!(object, Object::Resource),
        Action::Unmask => matches!(object, Object::Resource | Object::Class(_)),
        Action::Read
        | Action::Write
        | Action::Define
        | Action::Execute
        | Action::Transfer
        | Action::Administer => !matches!(object, Object::Class(_)),
    }
}

/// Returns the person or program as an entity, a child of their roles.
pub(crate) fn principal(one: &crate::Person) -> Entity {
    let kind = if one.program { &TYPES.workload } else { &TYPES.person };
    member(kind, one.id, &one.name, &one.roles)
}

/// Returns the person as an entity, a child of their roles.
#[cfg(test)]
pub(crate) fn person(id: PersonId, login: &str, roles: &[impl AsRef<str>]) -> Entity {
    member(&TYPES.person, id, login, roles)
}

fn member(kind: &EntityTypeName, id: PersonId, login: &str, roles: &[impl AsRef<str>]) -> Entity {
    let parents = roles.iter().map(|role| uid(&TYPES.role, role.as_ref())).collect();
    entity(uid(kind, &id.to_string()), [("name", text(login))], parents)
}

/// Returns a resource as an entity.
pub(crate) fn resource(id: &str) -> Entity {
    entity(uid(&TYPES.resource, id), [("name", text(id))], HashSet::new())
}

/// Returns an object of a resource as an entity; its ancestors are all named here, so that the schema and the
/// resource need not be in the store.
pub(crate) fn object(resource: &EntityUid, object: &Object) -> Option<Entity> {
    let resource_id = resource.id().unescaped();
    let (kind, schema, name, revealing) = match object {
        Object::Resource => return None,
        Object::Class(name) => {
            let class = uid(&TYPES.class, &name::id(resource_id, name, None));
            return Some(entity(class, [("name", text(name))], HashSet::from([resource.clone()])));
        }
        Object::Relation { schema, name } => {
            (&TYPES.relation, schema, name, catalogue::relation_reveals(schema, name))
        }
        Object::Function { schema, name } => {
            (&TYPES.function, schema, name, catalogue::function_reveals(schema, name))
        }
    };
    let mut parents = HashSet::from([resource.clone()]);
    if **schema != *UNKNOWN_SCHEMA {
        parents.insert(uid(&TYPES.schema, &name::id(resource_id, schema, None)));
    }
    let attributes = [
        ("schema", text(schema)),
        ("name", text(name)),
        ("catalogue", RestrictedExpression::new_bool(catalogue::holds(schema))),
        ("revealing", RestrictedExpression::new_bool(revealing)),
    ];
    Some(entity(uid(kind, &name::id(resource_id, schema, Some(name))), attributes, parents))
}

/// Returns the circumstances as Cedar's context, with the courses that are overdue, and whether it is an emergency.
pub(crate) fn circumstances(
    context: &Context,
    missing: &[&str],
    emergency: bool,
) -> Option<cedar_policy::Context> {
    let (at, hour, weekday) = calendar(context.at);
    let number = RestrictedExpression::new_long;
    let mut pairs = vec![
        ("address".to_owned(), RestrictedExpression::new_ip(context.address.to_canonical().to_string())),
        ("at".to_owned(), number(at)),
        ("hour".to_owned(), number(hour)),
        ("weekday".to_owned(), number(weekday)),
        ("purpose".to_owned(), text(context.purpose.as_deref().unwrap_or_default())),
        ("emergency".to_owned(), RestrictedExpression::new_bool(emergency)),
        ("training_valid".to_owned(), RestrictedExpression::new_bool(missing.is_empty())),
        ("training_missing".to_owned(), RestrictedExpression::new_set(missing.iter().map(|name| text(name)))),
    ];
    // Absent where no second factor was shown: no number could stand for that.
    if let Some(shown) = context.factor_at {
        let age = i64::try_from(context.at.0.saturating_sub(shown.0) / 1_000_000);
        pairs.push(("step_up_age".to_owned(), number(age.unwrap_or(i64::MAX))));
    }
    cedar_policy::Context::from_pairs(pairs).ok()
}

/// Returns seconds, hour and weekday in UTC.
fn calendar(at: Micros) -> (i64, i64, i64) {
    const HOUR_S: i64 = 3_600;
    const DAY_S: i64 = 24 * HOUR_S;
    let at = i64::try_from(at.0 / 1_000_000).expect("2^64 microseconds are fewer than 2^63 seconds");
    let hour = at / HOUR_S % 24;
    // 1970-01-01 was a Thursday, the fourth day.
    let weekday = (at / DAY_S + 3) % 7 + 1;
    (at, hour, weekday)
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn entity<const N: usize>(
    uid: EntityUid,
    attributes: [(&str, RestrictedExpression); N],
    parents: HashSet<EntityUid>,
) -> Entity {
    let attributes = HashMap::from(attributes.map(|(name, value)| (name.to_owned(), value)));
    Entity::new(uid, attributes, parents).expect("strings and truth values evaluate to themselves")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cedar_policy::Entities;

    use super::*;

    #[test]
    fn calendar_follows_utc() {
        // 2026-11-23T09:30:00Z is a Monday.
        assert_eq!(calendar(Micros(1_795_426_200_000_000)), (1_795_426_200, 9, 1));
        assert_eq!(calendar(Micros(0)), (0, 0, 4));
        assert_eq!(calendar(Micros(3 * 86_400_000_000 - 1)), (259_199, 23, 6));
        assert_eq!(calendar(Micros(3 * 86_400_000_000)).2, 7);
        assert_eq!(calendar(Micros(4 * 86_400_000_000)).2, 1);
        assert!(calendar(Micros(u64::MAX)).0 > 0);
    }

    #[test]
    fn applies_says_what_the_schema_says() {
        let names = || (std::sync::Arc::from("s"), std::sync::Arc::from("n"));
        let ((schema, name), (function_schema, function_name)) = (names(), names());
        let objects = [
            (Object::Resource, "Resource"),
            (Object::Relation { schema, name }, "Relation"),
            (Object::Function { schema: function_schema, name: function_name }, "Function"),
            (Object::Class(std::sync::Arc::from("ssn")), "Class"),
        ];
        let ours: BTreeSet<(String, String)> = Action::ALL
            .into_iter()
            .flat_map(|action| {
                let asked = objects.iter().filter(move |(object, _)| applies(action, object));
                asked.map(move |(_, kind)| (action_uid(action).to_string(), (*kind).to_owned()))
            })
            .collect();
        let schema: BTreeSet<(String, String)> =
            SCHEMA.request_envs().map(|env| (env.action().to_string(), env.resource().to_string())).collect();
        assert_eq!(ours, schema);
    }

    #[test]
    fn entities_and_circumstances_conform_to_the_schema() {
        let hospital = resource("hospital");
        let names = |schema: &str| (std::sync::Arc::from(schema), std::sync::Arc::from("n"));
        let mut all = vec![person(PersonId(7), "ann", &["nurse"]), hospital.clone()];
        for kind in ["public", "?", "pg_catalog"] {
            let (schema, name) = names(kind);
            all.extend(object(&hospital.uid(), &Object::Relation { schema, name }));
            let (schema, name) = names(kind);
            all.extend(object(&hospital.uid(), &Object::Function { schema, name }));
        }
        all.extend(object(&hospital.uid(), &Object::Class(std::sync::Arc::from("ssn"))));
        assert_eq!(all.len(), 9);
        Entities::from_entities(all, Some(&SCHEMA)).unwrap();
        for address in ["10.0.0.1", "::1", "::ffff:10.0.0.1", "fe80::1"] {
            let contexts = [None, Some(Micros(0)), Some(Micros(5))].map(|factor_at| Context {
                address: address.parse().unwrap(),
                at: Micros(1),
                purpose: None,
                factor_at,
            });
            for (context, missing) in contexts.iter().zip([&[][..], &["basics", "advanced"], &["basics"]]) {
                let context = circumstances(context, missing, missing.is_empty()).unwrap();
                context.validate(&SCHEMA, action_uid(Action::Read)).unwrap();
            }
        }
    }
}
