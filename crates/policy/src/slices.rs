//! Policies sorted by action and role, so that a decision evaluates few of many.
//!
//! INVARIANT: asking the slices of a person's roles and the common one gives what asking all policies
//! would. A policy is left out only when its scope is false for the request: another action, or `principal in`
//! a role that the person does not have. A false scope is neither an error nor satisfied, and Cedar's
//! answer is made from the satisfied policies and the errors alone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, AuthorizationError, Authorizer, Effect, Entities, EntityUid, Policy, PolicyId,
    PolicySet, PrincipalConstraint, Request, ResourceConstraint,
};
use model::{Action, Object};

use crate::cedar::{Checked, asks_about_resource};
use crate::name::Qualified;
use crate::vocabulary::{TYPES, action_uid, index};

/// The policies of a snapshot, for one role or for everybody, by action.
#[derive(Default)]
pub(crate) struct Slices([Slice; 10]);

/// The policies that one action can meet.
#[derive(Default)]
pub(crate) struct Slice {
    policies: PolicySet,
    /// Forbids that might mean an object whose schema is not known.
    wary: Vec<Wary>,
    /// Permits whose conditions ask about the resource: not to be relied on when its schema is not known.
    doubtful: HashSet<PolicyId>,
}

/// What a forbid might mean. `None` means anything.
struct Wary {
    resource: Option<String>,
    object: Option<(bool, String)>,
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
pub(crate) fn sort(policies: Vec<Checked>) -> (Slices, HashMap<Arc<str>, Arc<Slices>>) {
    let mut common = Slices::default();
    let mut by_role: HashMap<Arc<str>, Slices> = HashMap::new();
    for checked in policies {
        let slices = match role_of(&checked.policy) {
            Some(role) => by_role.entry(role).or_default(),
            None => &mut common,
        };
        slices.add(&checked);
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

impl Slices {
    pub(crate) fn of(&self, action: Action) -> &Slice {
        self.0.get(index(action)).expect("there is a slice for every action")
    }

    fn add(&mut self, checked: &Checked) {
        for action in Action::ALL {
            if may_mean(&checked.policy.action_constraint(), action_uid(action)) {
                self.0.get_mut(index(action)).expect("there is a slice for every action").add(checked);
            }
        }
    }
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
        if checked.written {
            match policy.effect() {
                Effect::Forbid => self.wary.extend(wary_of(policy)),
                Effect::Permit if asks_about_resource(policy) => {
                    self.doubtful.insert(policy.id().clone());
                }
                Effect::Permit => {}
            }
        }
        self.policies.add(policy.clone()).expect("ids were checked to be unique");
    }

    /// Asks the policies, and adds what they say. `unresolved` is the object if its schema is not known.
    pub(crate) fn ask(
        &self,
        authorizer: &Authorizer,
        request: &Request,
        entities: &Entities,
        unresolved: Option<(&str, &Object)>,
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
        if let Some((resource, object)) = unresolved {
            found.wary |= self.wary.iter().any(|wary| wary.may_mean(resource, object));
        }
    }
}

fn policy_of(error: &AuthorizationError) -> PolicyId {
    let AuthorizationError::PolicyEvaluationError(error) = error;
    error.policy_id().clone()
}

/// Returns what a forbid might mean beyond what evaluating it with an unknown schema shows.
fn wary_of(policy: &Policy) -> Option<Wary> {
    let parent = match policy.resource_constraint() {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
            Some(uid)
        }
    };
    let Some(parent) = parent else {
        return asks_about_resource(policy).then_some(Wary { resource: None, object: None });
    };
    let id = parent.id().unescaped();
    if *parent.type_name() == TYPES.resource {
        let wary = Wary { resource: Some(id.to_owned()), object: None };
        return asks_about_resource(policy).then_some(wary);
    }
    let is_function = *parent.type_name() == TYPES.function;
    // An id that does not read is refused earlier; were it not, the forbid might mean anything.
    let Some(parts) = Qualified::parse(id) else { return Some(Wary { resource: None, object: None }) };
    Some(Wary { resource: Some(parts.resource), object: parts.name.map(|name| (is_function, name)) })
}

impl Wary {
    fn may_mean(&self, resource: &str, object: &Object) -> bool {
        let (is_function, name) = match object {
            Object::Resource => return false,
            Object::Relation { name, .. } => (false, name),
            Object::Function { name, .. } => (true, name),
        };
        self.resource.as_deref().is_none_or(|only| only == resource)
            && self.object.as_ref().is_none_or(|only| only.0 == is_function && *only.1 == **name)
    }
}
