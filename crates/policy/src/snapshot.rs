//! An immutable version of all policy, and the decision it gives.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use cedar_policy::{Authorizer, Entities, Entity, EntityUid, PolicyId as CedarId, Request};
use model::{
    Action, Agent, Context, Decision, Micros, Need, Object, PersonId, PolicyId, Principal, ResourceId,
    Verdict,
};

use crate::catalogue::{self, UNKNOWN_SCHEMA};
use crate::slices::{self, Found, Slice, Slices};
use crate::sources::{Delegation, Diagnostic, Emergencies, Sources};
use crate::training::{self, Lesson};
use crate::{cedar, digest, reason, roles, vocabulary};

/// One version of all policy: roles, policies, people and resources. Cheap to ask, never changes.
pub struct Snapshot {
    version: u64,
    digest: [u8; 32],
    authorizer: Authorizer,
    /// Whether any policy asks about the circumstances: if none does, they need not be translated.
    asks_about_circumstances: bool,
    /// Policies whose scope names no role.
    common: Slices,
    people: HashMap<PersonId, Member>,
    resources: BTreeMap<Arc<str>, Entity>,
    /// What may be stated as a purpose.
    purposes: Box<[Arc<str>]>,
    /// Those where a policy may forbid something of a relation, to whomever.
    forbidding: HashSet<Arc<str>>,
    /// Who may take emergency access, and who has it.
    emergencies: Emergencies,
    /// By whose leave agents act, by number.
    delegations: HashMap<u64, Delegation>,
    /// The moments, in seconds since 1970, from which decisions are others although nothing was changed.
    turns: BTreeSet<i64>,
}

struct Member {
    id: PersonId,
    name: Arc<str>,
    roles: Box<[Arc<str>]>,
    disabled: bool,
    uid: EntityUid,
    /// The person alone: what a need names is added when it is asked.
    entities: Entities,
    slices: Vec<Arc<Slices>>,
    lessons: Vec<Lesson>,
}

impl Member {
    /// Returns what is overdue.
    fn overdue(&self, at: i64) -> impl Iterator<Item = &Lesson> {
        self.lessons.iter().filter(move |lesson| lesson.is_overdue(at))
    }
}

/// Policies that determined an answer.
type Reasons = Vec<PolicyId>;

/// One line of the access matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Who.
    pub person: PersonId,
    /// Their login name.
    pub name: Arc<str>,
    /// Where.
    pub resource: ResourceId,
    /// What they would do.
    pub action: Action,
    /// To what.
    pub object: Object,
    /// What [`Snapshot::decide`] answers.
    pub decision: Decision,
}

impl Snapshot {
    /// Compiles the sources, or returns everything that is wrong with them, sorted by place.
    pub fn compile(sources: &Sources<'_>, version: u64) -> Result<Snapshot, Vec<Diagnostic>> {
        let mut faults = Vec::new();
        let drafts = roles::draft(sources, &mut faults);
        let policies = cedar::read(sources, drafts, &mut faults);
        check_people(sources, &mut faults);
        let mut lessons = training::lessons(sources, &mut faults);
        if !faults.is_empty() {
            faults.sort();
            faults.dedup();
            return Err(faults);
        }
        let (common, by_role) = slices::sort(&policies, sources.resources);
        let all = std::iter::once(&common).chain(by_role.values().map(|slices| &**slices));
        let forbidding = all.flat_map(Slices::forbidding).cloned().collect();
        let resources = sources.resources.iter().map(|id| (Arc::clone(&id.0), vocabulary::resource(&id.0)));
        let people = sources.people.iter().map(|person| {
            let roles: HashSet<&Arc<str>> = person.roles.iter().collect();
            let entity = vocabulary::principal(person);
            let member = Member {
                id: person.id,
                name: Arc::clone(&person.name),
                roles: person.roles.as_slice().into(),
                disabled: person.disabled,
                uid: entity.uid(),
                entities: Entities::from_entities([entity], None)
                    .expect("one entity has no duplicate and no cycle"),
                slices: roles.into_iter().filter_map(|role| by_role.get(role)).cloned().collect(),
                lessons: lessons.remove(&person.id).unwrap_or_default(),
            };
            (person.id, member)
        });
        Ok(Snapshot {
            version,
            digest: digest::of(sources),
            authorizer: Authorizer::new(),
            asks_about_circumstances: policies
                .iter()
                .any(|checked| cedar::asks_about(&checked.policy, "context")),
            common,
            people: people.collect(),
            resources: resources.collect(),
            purposes: sources.purposes.into(),
            forbidding,
            emergencies: sources.emergencies.clone(),
            delegations: sources.delegations.iter().map(|one| (one.number, one.clone())).collect(),
            turns: turns(sources),
        })
    }

    /// Returns the version given at compilation.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns the SHA-256 of all sources, of the schema and of the built-in policies.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Returns the purpose of that name, if people may state it.
    pub fn purpose(&self, name: &str) -> Option<Arc<str>> {
        self.purposes.iter().find(|purpose| &***purpose == name).cloned()
    }

    /// Returns the purposes that people may state, as the configuration orders them.
    pub fn purposes(&self) -> &[Arc<str>] {
        &self.purposes
    }

    /// Returns the number of the emergency access that a person has to a resource at that time; of several the last.
    pub fn emergency(&self, person: PersonId, resource: &ResourceId, at: Micros) -> Option<u64> {
        self.emergency_on(person, &resource.0, at)
    }

    fn emergency_on(&self, person: PersonId, resource: &str, at: Micros) -> Option<u64> {
        let taken = self.emergencies.taken.iter();
        let theirs = taken.filter(|taken| taken.person == person && taken.resource == resource);
        theirs.filter(|taken| at < taken.until).map(|taken| taken.number).max()
    }

    /// Tells whether there is such a thing as emergency access, for anybody to anything.
    pub fn offers_emergencies(&self) -> bool {
        !self.emergencies.resources.is_empty() && !self.emergencies.initiators.is_empty()
    }

    /// Tells whether this person may take emergency access to the resource.
    pub fn may_take_emergency(&self, person: PersonId, resource: &ResourceId) -> bool {
        let initiates = |role: &Arc<str>| self.emergencies.initiators.iter().any(|known| **known == **role);
        let member = self.people.get(&person).filter(|member| !member.disabled);
        let offered = self.emergencies.resources.iter().any(|offered| **offered == *resource.0);
        offered && member.is_some_and(|member| member.roles.iter().any(initiates))
    }

    /// Decides whether a person may do all that an operation needs; without needs, whether they may Connect.
    ///
    /// Only ids count: names and roles are the snapshot's. The reasons of an allow are those of all needs, the
    /// reasons of a denial those of the first need that is denied; both sorted.
    ///
    /// An agent may do what both it and the person may, while the person's delegation holds, and no more.
    pub fn decide(
        &self,
        principal: &Principal,
        resource: &ResourceId,
        needs: &[Need],
        context: &Context,
    ) -> Decision {
        let decided = self.delegated(principal, context).and_then(|agent| {
            let mut reasons = self.judge(principal.id, resource, needs, context)?;
            if let Some(agent) = agent {
                reasons.extend(self.judge(agent.id, resource, needs, context)?);
            }
            Ok(reasons)
        });
        self.decided(decided)
    }

    /// Returns the agent of a principal, whose delegation must be in force and for this purpose.
    fn delegated<'p>(
        &self,
        principal: &'p Principal,
        context: &Context,
    ) -> Result<Option<&'p Agent>, Reasons> {
        let Some(agent) = principal.agent.as_deref() else { return Ok(None) };
        let known = self.delegations.get(&agent.delegation).filter(|known| {
            known.agent == agent.id && known.person == principal.id && known.until > seconds(context.at)
        });
        let Some(known) = known else { return Err(because(reason::DELEGATION_ENDED)) };
        match (&known.purpose, &context.purpose) {
            (Some(only), Some(stated)) if only != stated => Err(because(reason::DELEGATION_PURPOSE)),
            (Some(_) | None, _) => Ok(Some(agent)),
        }
    }

    /// Returns what a person must learn now: what is overdue, and what they are to be told of.
    pub fn lessons(&self, person: PersonId, at: Micros) -> Vec<Lesson> {
        let at = seconds(at);
        let member = self.people.get(&person);
        member
            .into_iter()
            .flat_map(|member| &member.lessons)
            .filter(|lesson| lesson.is_told(at))
            .cloned()
            .collect()
    }

    /// Tells whether decisions turned by time alone: after one moment, and no later than another.
    pub fn turns(&self, after: Micros, until: Micros) -> bool {
        let (after, until) = (seconds(after), seconds(until));
        after < until && self.turns.range(after.saturating_add(1)..=until).next().is_some()
    }

    /// Returns the next moment after one from which time alone makes decisions others.
    pub fn next_turn(&self, after: Micros) -> Option<Micros> {
        let next = self.turns.range(seconds(after).saturating_add(1)..).next()?;
        Some(Micros(u64::try_from(*next).ok()?.saturating_mul(1_000_000)))
    }

    /// Tells whether a policy may forbid something of the resource's relations: if none does, [`Snapshot::forbids`] need
    /// not be asked about relations.
    pub fn may_forbid(&self, resource: &ResourceId) -> bool {
        self.forbidding.contains(&resource.0)
    }

    /// Returns the denial of the first need that a policy forbids explicitly, for what stands beneath what an operation
    /// names: nobody needs a permit for that. Denied as well is what cannot be evaluated, an object of which only the
    /// kind is known (schema and name `?`) where a forbid might mean such a one, and what strangers ask.
    pub fn forbids(
        &self,
        principal: &Principal,
        resource: &ResourceId,
        needs: &[Need],
        context: &Context,
    ) -> Option<Decision> {
        let agent = match self.delegated(principal, context) {
            Ok(agent) => agent.map(|agent| agent.id),
            Err(reasons) => return Some(self.denial(reasons)),
        };
        let mut acting = std::iter::once(principal.id).chain(agent);
        acting
            .find_map(|person| self.forbidden(person, resource, needs, context).err())
            .map(|reasons| self.denial(reasons))
    }

    fn forbidden(
        &self,
        person: PersonId,
        resource: &ResourceId,
        needs: &[Need],
        context: &Context,
    ) -> Result<(), Reasons> {
        let Known { member, resource, .. } = self.known(person, resource, context.at)?;
        let case =
            Case::new(self, member, resource, context).ok_or_else(|| because(reason::EVALUATION_ERROR))?;
        needs.iter().try_for_each(|need| case.forbidden(need))
    }

    fn denial(&self, reasons: Reasons) -> Decision {
        self.decision(Verdict::Deny, reasons)
    }

    fn decision(&self, verdict: Verdict, mut reasons: Reasons) -> Decision {
        reasons.sort_unstable();
        reasons.dedup();
        Decision { verdict, reasons, policy_version: self.version }
    }

    /// Returns the decision for each person, resource, action and object, in this order, as
    /// [`Snapshot::decide`] gives it. Leaves out what cannot be asked, such as Connect of a relation.
    pub fn matrix<'a>(
        &'a self,
        objects: &'a [Object],
        context: &'a Context,
    ) -> impl Iterator<Item = Cell> + 'a {
        let mut people: Vec<_> = self.people.iter().collect();
        people.sort_by_key(|(id, _)| **id);
        people.into_iter().flat_map(move |(person, member)| {
            self.resources.keys().flat_map(move |resource| {
                Action::ALL.into_iter().flat_map(move |action| {
                    let asked = objects.iter().filter(move |object| vocabulary::applies(action, object));
                    asked.map(move |object| {
                        let resource = ResourceId(Arc::clone(resource));
                        let needs = [Need { action, object: object.clone() }];
                        let decision = self.decide_for(*person, &resource, &needs, context);
                        let [Need { action, object }] = needs;
                        Cell {
                            person: *person,
                            name: Arc::clone(&member.name),
                            resource,
                            action,
                            object,
                            decision,
                        }
                    })
                })
            })
        })
    }

    fn decide_for(
        &self,
        person: PersonId,
        resource: &ResourceId,
        needs: &[Need],
        context: &Context,
    ) -> Decision {
        self.decided(self.judge(person, resource, needs, context))
    }

    fn decided(&self, decided: Result<Reasons, Reasons>) -> Decision {
        match decided {
            Ok(reasons) => self.decision(Verdict::Allow, reasons),
            Err(reasons) => self.denial(reasons),
        }
    }

    /// Returns a member and a resource that there are; the member has learnt what is asked of everybody, or has emergency
    /// access to the resource: an emergency goes before training, and gives no more than itself.
    fn known(&self, person: PersonId, resource: &ResourceId, at: Micros) -> Result<Known<'_>, Reasons> {
        let member = self.people.get(&person).ok_or_else(|| because(reason::NOT_A_MEMBER))?;
        if member.disabled {
            return Err(because(reason::DISABLED));
        }
        let overdue = member.overdue(seconds(at)).filter(|lesson| lesson.course.refuse);
        let overdue: Reasons = overdue.map(Lesson::reason).collect();
        let only = match (overdue.is_empty(), self.emergency(person, resource, at)) {
            (true, _) => None,
            (false, Some(number)) => Some(Only { emergency: reason::of_emergency(number), overdue }),
            (false, None) => return Err(overdue),
        };
        let resource = self.resources.get(&resource.0).ok_or_else(|| because(reason::UNKNOWN_RESOURCE))?;
        Ok(Known { member, resource, only })
    }

    fn judge(
        &self,
        person: PersonId,
        resource: &ResourceId,
        needs: &[Need],
        context: &Context,
    ) -> Result<Reasons, Reasons> {
        const CONNECT: [Need; 1] = [Need { action: Action::Connect, object: Object::Resource }];
        let Known { member, resource, only } = self.known(person, resource, context.at)?;
        let needs = if needs.is_empty() { &CONNECT } else { needs };
        let case =
            Case::new(self, member, resource, context).ok_or_else(|| because(reason::EVALUATION_ERROR))?;
        let mut reasons = Vec::new();
        for need in needs {
            let permits = case.need(need)?;
            if let Some(only) = only.as_ref().filter(|only| !only.gives(&permits)) {
                return Err(only.overdue.clone());
            }
            reasons.extend(permits);
        }
        Ok(reasons)
    }
}

/// Whom and what a question is about.
struct Known<'a> {
    member: &'a Member,
    resource: &'a Entity,
    /// Nothing else counts, because training is overdue.
    only: Option<Only>,
}

/// What emergency access gives to whom everything else is refused.
struct Only {
    /// What the reasons of its permits begin with.
    emergency: String,
    overdue: Reasons,
}

impl Only {
    /// Tells whether something is permitted by the emergency access, or is the catalogue of whoever may connect.
    fn gives(&self, permits: &[PolicyId]) -> bool {
        permits.iter().any(|id| id.0.starts_with(&self.emergency) || *id.0 == *reason::CATALOGUE)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("version", &self.version)
            .field("people", &self.people.len())
            .field("resources", &self.resources.len())
            .finish_non_exhaustive()
    }
}

/// Returns whole seconds since 1970.
fn seconds(at: Micros) -> i64 {
    i64::try_from(at.0 / 1_000_000).unwrap_or(i64::MAX)
}

/// Returns the moments at which something that was given for a time is over.
fn turns(sources: &Sources<'_>) -> BTreeSet<i64> {
    let dues = sources.dues.iter().map(|due| due.at);
    let delegations = sources.delegations.iter().map(|one| one.until);
    let rules = sources.roles.iter().flat_map(|role| &role.rules).filter_map(|rule| rule.until);
    let emergencies = sources.emergencies.taken.iter().map(|taken| seconds(taken.until));
    dues.chain(delegations).chain(rules).chain(emergencies).collect()
}

fn because(reason: &str) -> Reasons {
    vec![PolicyId(Arc::from(reason))]
}

fn check_people(sources: &Sources<'_>, faults: &mut Vec<Diagnostic>) {
    let roles: HashSet<&str> = sources.roles.iter().map(|role| role.name.as_str()).collect();
    let mut ids = HashSet::new();
    let mut fault = |message| {
        faults.push(Diagnostic { file: "people".to_owned(), line: 0, column: 0, message });
    };
    for person in sources.people {
        let name = &person.name;
        if !ids.insert(person.id) {
            fault(format!("person `{name}` has the id {} of somebody else", person.id));
        }
        for role in person.roles.iter().filter(|role| !roles.contains(&***role)) {
            fault(format!("person `{name}` has the role `{role}`, which is not defined"));
        }
    }
}

/// One person on one resource under given circumstances.
struct Case<'a> {
    snapshot: &'a Snapshot,
    member: &'a Member,
    resource: &'a Entity,
    context: cedar_policy::Context,
}

impl<'a> Case<'a> {
    fn new(
        snapshot: &'a Snapshot,
        member: &'a Member,
        resource: &'a Entity,
        context: &Context,
    ) -> Option<Case<'a>> {
        let context = match snapshot.asks_about_circumstances {
            true => {
                let overdue = member.overdue(seconds(context.at));
                let missing: Vec<&str> = overdue.map(|lesson| &*lesson.course.name).collect();
                let uid = resource.uid();
                let emergency = snapshot.emergency_on(member.id, uid.id().unescaped(), context.at);
                vocabulary::circumstances(context, &missing, emergency.is_some())?
            }
            false => cedar_policy::Context::empty(),
        };
        Some(Case { snapshot, member, resource, context })
    }

    fn need(&self, need: &Need) -> Result<Reasons, Reasons> {
        if !vocabulary::applies(need.action, &need.object) {
            return Err(because(reason::NOT_APPLICABLE));
        }
        let reasons = self.ask(need.action, &need.object)?;
        if !is_catalogue(&need.object) || !reasons.iter().any(|id| &*id.0 == reason::CATALOGUE) {
            return Ok(reasons);
        }
        // The built-in policy counts only for whoever may Connect; other permits count all the same.
        let Err(no_connection) = self.ask(Action::Connect, &Object::Resource) else { return Ok(reasons) };
        let rest: Reasons = reasons.into_iter().filter(|id| &*id.0 != reason::CATALOGUE).collect();
        if rest.is_empty() { Err(no_connection) } else { Ok(rest) }
    }

    /// Refuses what a policy forbids; what none permits is not refused.
    fn forbidden(&self, need: &Need) -> Result<(), Reasons> {
        let Need { action, object } = need;
        if !vocabulary::applies(*action, object) {
            return Err(because(reason::NOT_APPLICABLE));
        }
        if !self.slices(*action).any(|slice| slice.may_forbid(object)) {
            return Ok(());
        }
        let found = self.find(*action, object, Slice::ask_forbids)?;
        let permitted = Found { permits: vec![CedarId::new("nobody needs one")], ..found };
        conclude(permitted).map(drop)
    }

    /// Asks Cedar. A denial that no policy determined has no reasons.
    fn ask(&self, action: Action, object: &Object) -> Result<Reasons, Reasons> {
        conclude(self.find(action, object, Slice::ask)?)
    }

    /// Returns the policies that an action can meet.
    fn slices(&self, action: Action) -> impl Iterator<Item = &'a Slice> + use<'a> {
        let all = std::iter::once(&self.snapshot.common).chain(self.member.slices.iter().map(|s| &**s));
        let resource = self.resource.uid();
        all.filter_map(move |slices| slices.of(resource.id().unescaped(), action))
    }

    fn find(&self, action: Action, object: &Object, ask: Ask) -> Result<Found, Reasons> {
        let evaluation_error = || because(reason::EVALUATION_ERROR);
        let resource_uid = self.resource.uid();
        let target = vocabulary::object(&resource_uid, object).unwrap_or_else(|| self.resource.clone());
        let request = self.request(action, target.uid()).ok_or_else(evaluation_error)?;
        let entities = self.member.entities.clone();
        let entities = entities.add_entities([target], None).map_err(|_impossible| evaluation_error())?;
        let unresolved = is_unresolved(object).then_some(object);
        let mut found = Found::default();
        for slice in self.slices(action) {
            ask(slice, &self.snapshot.authorizer, &request, &entities, unresolved, &mut found);
        }
        Ok(found)
    }

    fn request(&self, action: Action, target: EntityUid) -> Option<Request> {
        let action = vocabulary::action_uid(action).clone();
        Request::new(self.member.uid.clone(), action, target, self.context.clone(), None).ok()
    }
}

/// What is asked of a slice: all its policies, or those that forbid.
type Ask = fn(&Slice, &Authorizer, &Request, &Entities, Option<&Object>, &mut Found);

/// Deny on any error, whatever else was found; then forbid over permit; deny by default.
fn conclude(found: Found) -> Result<Reasons, Reasons> {
    let ids = |ids: Vec<CedarId>| ids.into_iter().map(|id| PolicyId(Arc::from(AsRef::<str>::as_ref(&id))));
    if !found.errors.is_empty() {
        return Err(because(reason::EVALUATION_ERROR).into_iter().chain(ids(found.errors)).collect());
    }
    if !found.forbids.is_empty() || found.permits.is_empty() {
        return Err(ids(found.forbids).collect());
    }
    if found.wary {
        return Err(because(reason::UNRESOLVED_OBJECT));
    }
    Ok(ids(found.permits).collect())
}

fn is_catalogue(object: &Object) -> bool {
    matches!(object, Object::Relation { schema, .. } if catalogue::holds(schema))
}

fn is_unresolved(object: &Object) -> bool {
    match object {
        Object::Resource | Object::Class(_) => false,
        Object::Relation { schema, .. } | Object::Function { schema, .. } => **schema == *UNKNOWN_SCHEMA,
    }
}
