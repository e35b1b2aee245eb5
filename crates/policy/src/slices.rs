//! Policies sorted by role, resource and action, so that a decision evaluates few of many.
//!
//! INVARIANT: asking the slices of a person's roles and the common one gives what asking all policies
//! would. A policy is left out only when its scope is false for the request: another action, `principal in`
//! a role that the person does not have, or a `resource` of, or in, another resource than the one asked
//! about. A false scope is neither an error nor satisfied, and Cedar's answer is made from the satisfied
//! policies and the errors alone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, AuthorizationError, Authorizer, Effect, Entities, EntityUid, Policy, PolicyId,
    PolicySet, PrincipalConstraint, Request, ResourceConstraint,
};
use model::{Action, Object, ResourceId};

use crate::catalogue::{UNKNOWN_NAME, UNKNOWN_SCHEMA};
use crate::cedar::{Checked, asks_about};
use crate::name::Qualified;
use crate::vocabulary::{self, TYPES, action_uid, index};

/// The policies of a snapshot for one role, or for everybody, by resource and action.
#[derive(Default)]
pub(crate) struct Slices(HashMap<Arc<str>, [Slice; 10]>);

/// The policies that one action can meet.
#[derive(Default)]
pub(crate) struct Slice {
    policies: PolicySet,
    /// Those of them that forbid.
    forbids: PolicySet,
    /// The names of relations that forbids are scoped to.
    forbidden: HashSet<String>,
    /// A forbid is not scoped to a relation, a function or classes.
    forbids_at_large: bool,
    /// Forbids that might mean an object whose schema is not known.
    wary: Vec<Wary>,
    /// Permits whose conditions ask about the resource: not to be relied on when its schema is not known.
    doubtful: HashSet<PolicyId>,
}

/// What a forbid might mean on its resource.
#[derive(Debug, PartialEq)]
enum Wary {
    Anything,
    Relation(String),
    Function(String),
}

/// What evaluating policies found, over any number of slices.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) permits: Vec<PolicyId>,
    pub(crate) forbids: Vec<PolicyId>,
    pub(crate) errors: Vec<PolicyId>,
    /// A forbid might have meant the object, if its schema were known.
    pub(crate) wary: bool,
}

/// Returns the common slices and those of each role.
pub(crate) fn sort(
    policies: &[Checked],
    resources: &[ResourceId],
) -> (Slices, HashMap<Arc<str>, Arc<Slices>>) {
    let mut common = Slices::default();
    let mut by_role: HashMap<Arc<str>, Slices> = HashMap::new();
    let resources: HashSet<&Arc<str>> = resources.iter().map(|resource| &resource.0).collect();
    for checked in policies {
        let slices = match role_of(&checked.policy) {
            Some(role) => by_role.entry(role).or_default(),
            None => &mut common,
        };
        let only = resource_of(&checked.policy);
        for resource in &resources {
            if only.as_deref().is_none_or(|only| only == &***resource) {
                slices.add(resource, checked);
            }
        }
    }
    (common, by_role.into_iter().map(|(role, slices)| (role, Arc::new(slices))).collect())
}

fn role_of(policy: &Policy) -> Option<Arc<str>> {
    let parent = match policy.principal_constraint() {
        PrincipalConstraint::In(parent) | PrincipalConstraint::IsIn(_, parent) => parent,
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) | PrincipalConstraint::Eq(_) => return None,
    };
    (*parent.type_name() == TYPES.role).then(|| Arc::from(parent.id().unescaped()))
}

/// Returns the only resource that a policy's scope can be true for, if there is only one.
fn resource_of(policy: &Policy) -> Option<String> {
    let scope = scope_entity(policy)?;
    let id = scope.id().unescaped();
    if *scope.type_name() == TYPES.resource {
        return Some(id.to_owned());
    }
    Qualified::parse(id).map(|parts| parts.resource)
}

fn scope_entity(policy: &Policy) -> Option<EntityUid> {
    match policy.resource_constraint() {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
            Some(uid)
        }
    }
}

impl Slices {
    pub(crate) fn of(&self, resource: &str, action: Action) -> Option<&Slice> {
        self.0.get(resource).and_then(|by_action| by_action.get(index(action)))
    }

    /// Returns the resources where a policy may forbid something of a relation.
    pub(crate) fn forbidding(&self) -> impl Iterator<Item = &Arc<str>> {
        let forbidding = |slice: &Slice| slice.forbids_at_large || !slice.forbidden.is_empty();
        let means = move |(slice, action): (&Slice, Action)| of_relations(action) && forbidding(slice);
        self.0
            .iter()
            .filter(move |(_, by_action)| by_action.iter().zip(Action::ALL).any(means))
            .map(|(resource, _)| resource)
    }

    fn add(&mut self, resource: &Arc<str>, checked: &Checked) {
        let by_action = self.0.entry(Arc::clone(resource)).or_default();
        for (slice, action) in by_action.iter_mut().zip(Action::ALL) {
            if may_mean(&checked.policy.action_constraint(), action_uid(action)) {
                slice.add(checked);
            }
        }
    }
}

/// Tells whether the action can be asked of a relation.
fn of_relations(action: Action) -> bool {
    let unknown = || Arc::from(UNKNOWN_SCHEMA);
    vocabulary::applies(action, &Object::Relation { schema: unknown(), name: unknown() })
}

/// Actions form no groups in the schema, so `in` is equality.
fn may_mean(constraint: &ActionConstraint, action: &EntityUid) -> bool {
    match constraint {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(only) => only == action,
        ActionConstraint::In(list) => list.contains(action),
    }
}

impl Slice {
    fn add(&mut self, checked: &Checked) {
        let policy = &checked.policy;
        if policy.effect() == Effect::Forbid {
            self.add_forbid(policy);
        }
        if checked.written {
            match policy.effect() {
                Effect::Forbid => self.wary.extend(wary_of(policy)),
                Effect::Permit if asks_about(policy, "resource") => {
                    self.doubtful.insert(policy.id().clone());
                }
                Effect::Permit => {}
            }
        }
        self.policies.add(policy.clone()).expect("ids were checked to be unique");
    }

    fn add_forbid(&mut self, policy: &Policy) {
        match wary_of(policy) {
            Some(Wary::Relation(name)) => drop(self.forbidden.insert(name)),
            Some(Wary::Function(_)) => {}
            Some(Wary::Anything) => self.forbids_at_large = true,
            None => self.forbids_at_large |= !means_classes(&policy.resource_constraint()),
        }
        self.forbids.add(policy.clone()).expect("ids were checked to be unique");
    }

    /// Tells whether a forbid may apply to the object at all: cheaper than asking.
    pub(crate) fn may_forbid(&self, object: &Object) -> bool {
        match object {
            Object::Resource | Object::Class(_) | Object::Function { .. } => !self.forbids.is_empty(),
            Object::Relation { schema, name } => {
                let is_named = || self.forbidden.contains(&**name);
                let might_be = || **schema == *UNKNOWN_SCHEMA && !self.forbidden.is_empty();
                self.forbids_at_large || is_named() || might_be()
            }
        }
    }

    /// As [`Slice::ask`], of the policies that forbid alone.
    pub(crate) fn ask_forbids(
        &self,
        authorizer: &Authorizer,
        request: &Request,
        entities: &Entities,
        unresolved: Option<&Object>,
        found: &mut Found,
    ) {
        let response = authorizer.is_authorized(request, &self.forbids, entities);
        found.errors.extend(response.diagnostics().errors().map(policy_of));
        // Without permits the reasons of whatever is answered are forbids.
        found.forbids.extend(response.diagnostics().reason().cloned());
        found.wary |= unresolved.is_some_and(|object| self.wary.iter().any(|wary| wary.may_mean(object)));
    }

    /// Asks the policies, and adds what they say. `unresolved` is the object if its schema is not known.
    pub(crate) fn ask(
        &self,
        authorizer: &Authorizer,
        request: &Request,
        entities: &Entities,
        unresolved: Option<&Object>,
        found: &mut Found,
    ) {
        if self.policies.is_empty() {
            return;
        }
        let response = authorizer.is_authorized(request, &self.policies, entities);
        let diagnostics = response.diagnostics();
        found.errors.extend(diagnostics.errors().map(policy_of));
        let reasons = diagnostics.reason();
        match response.decision() {
            cedar_policy::Decision::Deny => found.forbids.extend(reasons.cloned()),
            cedar_policy::Decision::Allow if unresolved.is_none() => found.permits.extend(reasons.cloned()),
            cedar_policy::Decision::Allow => {
                found.permits.extend(reasons.filter(|id| !self.doubtful.contains(*id)).cloned());
            }
        }
        if let Some(object) = unresolved {
            found.wary |= self.wary.iter().any(|wary| wary.may_mean(object));
        }
    }
}

fn policy_of(error: &AuthorizationError) -> PolicyId {
    let AuthorizationError::PolicyEvaluationError(error) = error;
    error.policy_id().clone()
}

/// Returns what a forbid might mean beyond what evaluating it with an unknown schema shows.
fn wary_of(policy: &Policy) -> Option<Wary> {
    if means_classes(&policy.resource_constraint()) {
        return None;
    }
    let scope = scope_entity(policy).filter(|scope| *scope.type_name() != TYPES.resource);
    let Some(scope) = scope else { return asks_about(policy, "resource").then_some(Wary::Anything) };
    let name = Qualified::parse(scope.id().unescaped()).and_then(|parts| parts.name);
    Some(match name {
        Some(name) if *scope.type_name() == TYPES.relation => Wary::Relation(name),
        Some(name) if *scope.type_name() == TYPES.function => Wary::Function(name),
        // A schema.
        Some(_) | None => Wary::Anything,
    })
}

/// Returns whether a scope is true for nothing but classes, which have no schema.
fn means_classes(constraint: &ResourceConstraint) -> bool {
    match constraint {
        ResourceConstraint::Any => false,
        ResourceConstraint::Is(kind) | ResourceConstraint::IsIn(kind, _) => *kind == TYPES.class,
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) => *uid.type_name() == TYPES.class,
    }
}

impl Wary {
    fn may_mean(&self, object: &Object) -> bool {
        match (self, object) {
            // Their names are always known.
            (_, Object::Resource | Object::Class(_)) => false,
            (Wary::Anything, Object::Relation { .. } | Object::Function { .. }) => true,
            (Wary::Relation(only), Object::Relation { name, .. })
            | (Wary::Function(only), Object::Function { name, .. }) => {
                **only == **name || **name == *UNKNOWN_NAME
            }
            (Wary::Relation(_), Object::Function { .. }) | (Wary::Function(_), Object::Relation { .. }) => {
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Context, Micros, PersonId};
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const PRINCIPALS: &[&str] = &[
        "principal",
        "principal is Person",
        r#"principal in Role::"a""#,
        r#"principal is Person in Role::"b""#,
        r#"principal == Person::"00000000000000000000000000000001""#,
    ];
    const ACTIONS: &[&str] = &[
        "action",
        r#"action == Action::"Read""#,
        r#"action == Action::"Unmask""#,
        r#"action in [Action::"Write", Action::"Read"]"#,
    ];
    const RESOURCES: &[&str] = &[
        "resource",
        "resource is Relation",
        r#"resource in Resource::"hospital""#,
        r#"resource == Resource::"lab""#,
        r#"resource is Relation in Resource::"lab""#,
        r#"resource in Schema::"hospital/s""#,
        r#"resource == Relation::"lab/s.t""#,
        r#"resource is Class in Resource::"lab""#,
        r#"resource == Class::"hospital/ssn""#,
    ];
    const CONDITIONS: &[&str] = &[
        "",
        "when { context.hour > 8 }",
        "when { resource has schema && resource.schema == \"s\" }",
        "unless { principal in Role::\"a\" }",
        "when { context.at * 9223372036854775807 > 0 }",
        "when { principal in Role::\"b\" && context.at * 9223372036854775807 > 0 }",
    ];

    fn some_policy() -> impl Strategy<Value = String> {
        let effect = select(&["permit", "forbid"][..]);
        (effect, select(PRINCIPALS), select(ACTIONS), select(RESOURCES), select(CONDITIONS)).prop_map(
            |(effect, principal, action, resource, condition)| {
                format!("{effect} ({principal}, {action}, {resource}) {condition};")
            },
        )
    }

    /// Returns permits, forbids and errors, as Cedar tells them: permits only where there is no forbid.
    fn sorted(mut found: Found) -> [Vec<PolicyId>; 3] {
        if !found.forbids.is_empty() {
            found.permits.clear();
        }
        let mut lists = [found.permits, found.forbids, found.errors];
        lists.iter_mut().for_each(|list| list.sort());
        lists
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn slices_answer_what_all_policies_would(
            texts in proptest::collection::vec(some_policy(), 1..12),
            roles in proptest::sample::subsequence(vec!["a", "b", "c"], 0..3),
            person in 1..3_u128,
        ) {
            let policies: Vec<Checked> = texts
                .iter()
                .enumerate()
                .map(|(n, text)| Policy::parse(Some(PolicyId::new(format!("p{n}"))), text).unwrap())
                .map(|policy| Checked { policy, written: true })
                .collect();
            let resources = ["hospital", "lab"].map(|id| ResourceId(Arc::from(id)));
            let (common, by_role) = sort(&policies, &resources);
            let mut all = Slice::default();
            policies.iter().for_each(|checked| all.add(checked));
            let person = vocabulary::person(PersonId(person), "ann", &roles);
            let now = Context { address: "10.0.0.1".parse().unwrap(), at: Micros(1_795_426_200_000_000), purpose: None, factor_at: None };
            let relation = Object::Relation { schema: Arc::from("s"), name: Arc::from("t") };
            let class = Object::Class(Arc::from("ssn"));
            for id in &resources {
                let resource = vocabulary::resource(&id.0);
                for object in [&relation, &class, &Object::Resource] {
                    let target = vocabulary::object(&resource.uid(), object).unwrap_or_else(|| resource.clone());
                    let actions = [Action::Read, Action::Write, Action::Define, Action::Unmask];
                    for action in actions.into_iter().filter(|action| vocabulary::applies(*action, object)) {
                        let request = Request::new(
                            person.uid(),
                            action_uid(action).clone(),
                            target.uid(),
                            vocabulary::circumstances(&now, &[], false).unwrap(),
                            Some(&vocabulary::SCHEMA),
                        ).unwrap();
                        let entities = Entities::from_entities([person.clone(), target.clone()], None).unwrap();
                        let authorizer = Authorizer::new();
                        let (mut few, mut many) = (Found::default(), Found::default());
                        all.ask(&authorizer, &request, &entities, None, &mut many);
                        let held = roles.iter().filter_map(|role| by_role.get(*role)).map(|slices| &**slices);
                        for slice in std::iter::once(&common).chain(held).filter_map(|slices| slices.of(&id.0, action)) {
                            slice.ask(&authorizer, &request, &entities, None, &mut few);
                        }
                        prop_assert_eq!(sorted(few), sorted(many));
                    }
                }
            }
        }
    }
}
