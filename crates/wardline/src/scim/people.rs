//! People and groups as a system of SCIM sees and changes them.

use std::collections::BTreeSet;

use model::{Micros, PersonId};
use registry::{NewPerson, ScimGroupRow, ScimUser, ScimUserRow, Verifiers};
use serde_json::{Map, Value, json};

use super::schema::{GROUP, GROUP_SCHEMA, LEAVER_SCHEMA, USER, USER_SCHEMA};
use super::{
    Changes, EMPLOYMENT_ENDED, Fault, Query, Source, check_version, meta, page, patch, projected, text, time,
};
use crate::admin::Actor;
use crate::changes::leavers::Leaving;
use crate::changes::{Change, fitting_display_name};
use crate::node::Node;
use crate::output;

/// A whole resource, or changes of one.
pub(crate) enum Wanted {
    Whole(Value),
    Changes(Changes),
}

impl Source {
    fn actor(&self) -> Actor {
        Actor::system(&self.shown())
    }

    fn shown(&self) -> String {
        format!("scim:{}", self.0)
    }
}

impl Node {
    /// Lists the people of a system.
    pub(crate) async fn scim_users(&self, source: &Source, query: &Query) -> Result<Value, Fault> {
        let users = self.registry.scim_users(&source.0).await?;
        let groups = self.registry.scim_groups(&source.0).await?;
        page(users.iter().map(|user| user_shown(user, &groups)).collect(), query)
    }

    /// Returns one of them, and its version.
    pub(crate) async fn scim_user(
        &self,
        source: &Source,
        id: &str,
        query: &Query,
    ) -> Result<(Value, u64), Fault> {
        let user = self.scim_user_row(source, id).await?;
        let groups = self.registry.scim_groups(&source.0).await?;
        let version = user.version;
        Ok((projected(user_shown(&user, &groups), query), version))
    }

    async fn scim_user_row(&self, source: &Source, id: &str) -> Result<ScimUserRow, Fault> {
        let person = person_id(id).ok_or_else(Fault::unknown)?;
        self.registry.scim_user(&source.0, person).await?.ok_or_else(Fault::unknown)
    }

    /// Makes a person.
    pub(crate) async fn scim_user_add(&self, source: &Source, given: &Value) -> Result<(Value, u64), Fault> {
        let mut all = patch::known(&flat(given)?, USER)?;
        all.entry("active").or_insert(Value::Bool(true));
        let wanted = Person::of(&all)?;
        let actor = source.actor();
        let turn = self.turn.lock().await;
        if self.config.load().workloads.contains_key(&wanted.name) {
            return Err(Fault::new(409, Some("uniqueness"), "a program has that name"));
        }
        registry::name_fits(&wanted.name)?;
        if self.registry.person(&wanted.name).await?.is_some() {
            return Err(Fault::new(409, Some("uniqueness"), "somebody has that name"));
        }
        let id = identity::person_id();
        let what = format!("add person `{}` (id {id}) with no role, as {} says", wanted.name, source.shown());
        let (change, registry) = self.admitted_numbered(Change::new(&actor, "user add", what)).await?;
        let person = NewPerson {
            id,
            name: wanted.name.clone(),
            display_name: wanted.display_name.clone(),
            roles: Vec::new(),
            verifiers: Verifiers::default(),
        };
        let added = registry.add_scim_user(&person, &source.0, &wanted.stored(), self.now()).await;
        self.scim_done(&change, added).await?;
        if !wanted.active {
            self.scim_bar(source, &actor, id, &wanted).await?;
        }
        self.publish(&self.config.load_full()).await?;
        self.scim_bind(source, &actor, id, wanted.external_id.as_deref()).await?;
        drop(turn);
        self.scim_user(source, &id.to_string(), &Query::default()).await
    }

    /// Changes a person: as a whole, or parts.
    pub(crate) async fn scim_user_change(
        &self,
        source: &Source,
        id: &str,
        version: Option<&str>,
        wanted: Wanted,
    ) -> Result<(Value, u64), Fault> {
        let turn = self.turn.lock().await;
        let row = self.scim_user_row(source, id).await?;
        check_version(version, row.version)?;
        let before = attributes(&row);
        let after = match wanted {
            Wanted::Whole(given) => patch::known(&flat(&given)?, USER)?,
            Wanted::Changes(changes) => patch::apply(&before, &changes.operations, USER)?,
        };
        let wanted = Person::of(&after)?;
        if after != before {
            self.scim_user_store(source, &row, &wanted).await?;
        }
        drop(turn);
        self.scim_user(source, id, &Query::default()).await
    }

    async fn scim_user_store(
        &self,
        source: &Source,
        row: &ScimUserRow,
        wanted: &Person,
    ) -> Result<(), Fault> {
        let actor = source.actor();
        registry::name_fits(&wanted.name)?;
        let person = &row.person;
        if person.name != wanted.name && self.config.load().workloads.contains_key(&wanted.name) {
            return Err(Fault::new(409, Some("uniqueness"), "a program has that name"));
        }
        let renamed = if person.name == wanted.name {
            String::new()
        } else {
            format!(", from now on `{}`", wanted.name)
        };
        let what = format!(
            "change person `{}` (id {}){renamed}, as {} says",
            person.name,
            person.id,
            source.shown()
        );
        let (change, registry) = self.admitted_numbered(Change::new(&actor, "user change", what)).await?;
        let changed = registry.change_scim_user(person.id, &wanted.stored(), self.now()).await;
        self.scim_done(&change, changed).await?;
        self.scim_bind(source, &actor, person.id, wanted.external_id.as_deref()).await?;
        match (person.disabled_at.is_some(), wanted.active) {
            (_, false) => self.scim_bar(source, &actor, person.id, wanted).await?,
            (true, true) => {
                let what = format!("enable person `{}` (id {})", wanted.name, person.id);
                let (change, registry) =
                    self.admitted_numbered(Change::new(&actor, "user enable", what)).await?;
                self.scim_done(&change, registry.enable(person.id).await).await?;
            }
            (false, true) => {}
        }
        Ok(self.publish(&self.config.load_full()).await?)
    }

    async fn scim_bar(
        &self,
        source: &Source,
        actor: &Actor,
        person: PersonId,
        wanted: &Person,
    ) -> Result<(), Fault> {
        let row = self.registry.scim_user(&source.0, person).await?.ok_or_else(Fault::unknown)?;
        let leaving = Leaving { source: source.shown(), ended_at: wanted.ended_at };
        let change = Change::new(actor, "user disable", String::new());
        Ok(self.part_with(change, &row.person, &leaving).await.map(drop)?)
    }

    /// Lets a person sign in at the provider that belongs to the system.
    async fn scim_bind(
        &self,
        source: &Source,
        actor: &Actor,
        person: PersonId,
        external_id: Option<&str>,
    ) -> Result<(), Fault> {
        let provider = self.config.load().scim.get(&source.0).and_then(|scim| scim.oidc.clone());
        let (Some(provider), Some(subject)) = (provider, external_id) else { return Ok(()) };
        let what = format!("bind person {person} to `{}` at oidc:{provider}", output::printable(subject));
        let (change, registry) = self.admitted_numbered(Change::new(actor, "user bind", what)).await?;
        let provider = format!("oidc:{provider}");
        let bound = registry.bind_identity(&provider, subject, person, &actor.shown(), self.now()).await;
        self.scim_done(&change, bound).await
    }

    /// Deletes a person, who has left.
    pub(crate) async fn scim_user_delete(
        &self,
        source: &Source,
        id: &str,
        version: Option<&str>,
    ) -> Result<(), Fault> {
        let _turn = self.turn.lock().await;
        let row = self.scim_user_row(source, id).await?;
        check_version(version, row.version)?;
        let ended_at = text(&attributes(&row), EMPLOYMENT_ENDED).and_then(time);
        let leaving = Leaving { source: source.shown(), ended_at };
        Ok(self.delete_person(&source.actor(), &row.person.name, &leaving).await?)
    }

    /// Lists people and groups of a system together.
    pub(crate) async fn scim_all(&self, source: &Source, query: &Query) -> Result<Value, Fault> {
        let users = self.registry.scim_users(&source.0).await?;
        let groups = self.registry.scim_groups(&source.0).await?;
        let people = users.iter().map(|user| user_shown(user, &groups));
        page(people.chain(groups.iter().map(group_shown)).collect(), query)
    }

    /// Lists the groups of a system.
    pub(crate) async fn scim_groups(&self, source: &Source, query: &Query) -> Result<Value, Fault> {
        let groups = self.registry.scim_groups(&source.0).await?;
        page(groups.iter().map(group_shown).collect(), query)
    }

    /// Returns one of them, and its version.
    pub(crate) async fn scim_group(
        &self,
        source: &Source,
        id: &str,
        query: &Query,
    ) -> Result<(Value, u64), Fault> {
        let group = self.scim_group_row(source, id).await?;
        let version = group.version;
        Ok((projected(group_shown(&group), query), version))
    }

    async fn scim_group_row(&self, source: &Source, id: &str) -> Result<ScimGroupRow, Fault> {
        let groups = self.registry.scim_groups(&source.0).await?;
        groups.into_iter().find(|group| output::hex(&group.id) == id).ok_or_else(Fault::unknown)
    }

    /// Makes a group.
    pub(crate) async fn scim_group_add(&self, source: &Source, given: &Value) -> Result<(Value, u64), Fault> {
        let wanted = patch::known(&flat(given)?, GROUP)?;
        let turn = self.turn.lock().await;
        let id = identity::person_id().0.to_be_bytes();
        self.scim_group_store(source, id, None, &wanted).await?;
        drop(turn);
        self.scim_group(source, &output::hex(&id), &Query::default()).await
    }

    /// Changes a group: as a whole, or parts.
    pub(crate) async fn scim_group_change(
        &self,
        source: &Source,
        id: &str,
        version: Option<&str>,
        wanted: Wanted,
    ) -> Result<(Value, u64), Fault> {
        let turn = self.turn.lock().await;
        let row = self.scim_group_row(source, id).await?;
        check_version(version, row.version)?;
        let before = group_attributes(&row);
        let after = match wanted {
            Wanted::Whole(given) => patch::known(&flat(&given)?, GROUP)?,
            Wanted::Changes(changes) => patch::apply(&before, &changes.operations, GROUP)?,
        };
        if after != before {
            self.scim_group_store(source, row.id, Some(&row), &after).await?;
        }
        drop(turn);
        self.scim_group(source, id, &Query::default()).await
    }

    /// Deletes a group; what it gave is taken.
    pub(crate) async fn scim_group_delete(
        &self,
        source: &Source,
        id: &str,
        version: Option<&str>,
    ) -> Result<(), Fault> {
        let _turn = self.turn.lock().await;
        let row = self.scim_group_row(source, id).await?;
        check_version(version, row.version)?;
        let actor = source.actor();
        let what =
            format!("delete the group `{}` of {}", output::printable(&row.display_name), source.shown());
        let (change, registry) = self.admitted_numbered(Change::new(&actor, "group delete", what)).await?;
        self.scim_done(&change, registry.delete_scim_group(&source.0, row.id).await).await?;
        let touched = row.members.iter().map(|(person, _)| *person).collect();
        self.scim_roles(source, &actor, &touched).await
    }

    async fn scim_group_store(
        &self,
        source: &Source,
        id: [u8; 16],
        before: Option<&ScimGroupRow>,
        wanted: &Map<String, Value>,
    ) -> Result<(), Fault> {
        let actor = source.actor();
        let name = text(wanted, "displayName").unwrap_or_default();
        let members = self.scim_members(source, wanted).await?;
        let taken = self.registry.scim_groups(&source.0).await?;
        if taken.iter().any(|group| group.display_name == name && group.id != id) {
            return Err(Fault::new(409, Some("uniqueness"), "a group has that name"));
        }
        let verb = if before.is_some() { "change" } else { "make" };
        let what = format!(
            "{verb} the group `{}` of {}, with {} people",
            output::printable(name),
            source.shown(),
            members.len()
        );
        let (change, registry) = self.admitted_numbered(Change::new(&actor, "group change", what)).await?;
        let external = text(wanted, "externalId");
        let put = registry.put_scim_group(id, &source.0, (name, external), &members, self.now()).await;
        self.scim_done(&change, put).await?;
        let were = before.iter().flat_map(|group| &group.members).map(|(person, _)| *person);
        let touched = members.iter().copied().chain(were).collect();
        self.scim_roles(source, &actor, &touched).await
    }

    /// Returns the people of a group, who must be of the same system.
    async fn scim_members(
        &self,
        source: &Source,
        wanted: &Map<String, Value>,
    ) -> Result<Vec<PersonId>, Fault> {
        let known: BTreeSet<PersonId> =
            self.registry.scim_users(&source.0).await?.iter().map(|user| user.person.id).collect();
        let listed = wanted.get("members").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut members = BTreeSet::new();
        for member in listed {
            let id = member.get("value").and_then(Value::as_str).and_then(person_id);
            let id = id.filter(|id| known.contains(id));
            members.insert(
                id.ok_or_else(|| Fault::new(400, Some("invalidValue"), "a member is nobody known here"))?,
            );
        }
        Ok(members.into_iter().collect())
    }

    /// Gives and takes the roles that the groups of a system decide over.
    async fn scim_roles(
        &self,
        source: &Source,
        actor: &Actor,
        touched: &BTreeSet<PersonId>,
    ) -> Result<(), Fault> {
        let config = self.config.load_full();
        let Some(scim) = config.scim.get(&source.0) else { return Ok(()) };
        let groups = self.registry.scim_groups(&source.0).await?;
        let mut changed = false;
        for person in touched {
            let Some(user) = self.registry.scim_user(&source.0, *person).await? else { continue };
            let mine = groups.iter().filter(|group| group.members.iter().any(|(member, _)| member == person));
            let given = mine.filter_map(|group| scim.groups.get(&group.display_name)).flatten();
            let decided = |role: &&String| scim.groups.values().flatten().any(|given| given == *role);
            let kept = user.person.roles.iter().filter(|role| !decided(role));
            let roles: BTreeSet<&String> = kept.chain(given).collect();
            let roles: Vec<String> = roles.into_iter().cloned().collect();
            if roles == user.person.roles {
                continue;
            }
            let name = &user.person.name;
            let what = format!(
                "give person `{name}` (id {person}) the roles `{}` by the groups of {}, before that `{}`",
                roles.join("`, `"),
                source.shown(),
                user.person.roles.join("`, `")
            );
            let (change, registry) = self.admitted_numbered(Change::new(actor, "user roles", what)).await?;
            self.scim_done(&change, registry.set_roles(*person, &roles).await).await?;
            changed = true;
        }
        if changed { Ok(self.publish(&config).await?) } else { Ok(()) }
    }

    /// As [`Node::done`], with the words of SCIM.
    async fn scim_done<T>(
        &self,
        change: &Change<'_>,
        result: Result<T, registry::Error>,
    ) -> Result<T, Fault> {
        match result {
            Ok(value) => {
                self.settled(change).await;
                Ok(value)
            }
            Err(error) => {
                let _recorded =
                    self.done::<(), _>(change, Err(std::io::Error::other(error.to_string()))).await;
                Err(error.into())
            }
        }
    }
}

/// What a system says of somebody, in our words.
struct Person {
    name: String,
    display_name: String,
    external_id: Option<String>,
    active: bool,
    ended_at: Option<Micros>,
    attributes: String,
}

impl Person {
    fn of(all: &Map<String, Value>) -> Result<Person, Fault> {
        let name = text(all, "userName").unwrap_or_default().to_lowercase();
        let formatted = all.get("name").and_then(|name| name.get("formatted")).and_then(Value::as_str);
        let display_name = text(all, "displayName").or(formatted).unwrap_or_default();
        let ended_at = text(all, EMPLOYMENT_ENDED).and_then(time);
        Ok(Person {
            name,
            display_name: fitting_display_name(display_name),
            external_id: text(all, "externalId").map(str::to_owned),
            active: all.get("active").and_then(Value::as_bool).unwrap_or(true),
            ended_at,
            attributes: Value::Object(all.clone()).to_string(),
        })
    }

    fn stored(&self) -> ScimUser<'_> {
        ScimUser {
            name: &self.name,
            display_name: &self.display_name,
            external_id: self.external_id.as_deref(),
            attributes: &self.attributes,
        }
    }
}

/// Returns a resource without the names of schemas around its parts.
fn flat(given: &Value) -> Result<Map<String, Value>, Fault> {
    let Value::Object(all) = given else {
        return Err(Fault::new(400, Some("invalidSyntax"), "a resource is an object of JSON"));
    };
    let mut flat = Map::new();
    for (name, value) in all {
        match value {
            Value::Object(extension) if name.starts_with("urn:") => flat.extend(extension.clone()),
            _ => drop(flat.insert(name.clone(), value.clone())),
        }
    }
    Ok(flat)
}

/// Returns what can be written of a person, as it is now: others may have disabled or renamed them meanwhile.
fn attributes(row: &ScimUserRow) -> Map<String, Value> {
    let stored: Value = serde_json::from_str(&row.attributes).unwrap_or_default();
    let Value::Object(mut all) = stored else { return Map::new() };
    if text(&all, "userName").is_none_or(|name| name.to_lowercase() != row.person.name) {
        all.insert("userName".to_owned(), json!(row.person.name));
    }
    // Who was never said to be active is, unless somebody else disabled them.
    if all.contains_key("active") || row.person.disabled_at.is_some() {
        all.insert("active".to_owned(), json!(row.person.disabled_at.is_none()));
    }
    all
}

fn user_shown(row: &ScimUserRow, groups: &[ScimGroupRow]) -> Value {
    let mut all = attributes(row);
    let id = row.person.id.to_string();
    let mut schemas = vec![USER_SCHEMA];
    if let Some(ended) = all.remove(EMPLOYMENT_ENDED) {
        schemas.push(LEAVER_SCHEMA);
        all.insert(LEAVER_SCHEMA.to_owned(), json!({EMPLOYMENT_ENDED: ended}));
    }
    let mine = groups.iter().filter(|group| group.members.iter().any(|(member, _)| *member == row.person.id));
    let mine: Vec<Value> =
        mine.map(|group| json!({"value": output::hex(&group.id), "display": group.display_name})).collect();
    if !mine.is_empty() {
        all.insert("groups".to_owned(), Value::Array(mine));
    }
    all.insert("schemas".to_owned(), json!(schemas));
    all.insert("meta".to_owned(), meta("User", &id, row.version, row.person.created_at, row.changed_at));
    all.insert("id".to_owned(), json!(id));
    Value::Object(all)
}

fn group_attributes(row: &ScimGroupRow) -> Map<String, Value> {
    let mut all = Map::new();
    all.insert("displayName".to_owned(), json!(row.display_name));
    if let Some(external) = &row.external_id {
        all.insert("externalId".to_owned(), json!(external));
    }
    let members: Vec<Value> = row
        .members
        .iter()
        .map(|(id, _)| json!({"value": id.to_string(), "$ref": format!("/scim/v2/Users/{id}"), "type": "User"}))
        .collect();
    if !members.is_empty() {
        all.insert("members".to_owned(), Value::Array(members));
    }
    all
}

fn group_shown(row: &ScimGroupRow) -> Value {
    let mut all = group_attributes(row);
    let id = output::hex(&row.id);
    all.insert("schemas".to_owned(), json!([GROUP_SCHEMA]));
    all.insert("meta".to_owned(), meta("Group", &id, row.version, row.created_at, row.changed_at));
    all.insert("id".to_owned(), json!(id));
    Value::Object(all)
}

fn person_id(text: &str) -> Option<PersonId> {
    let id = u128::from_str_radix(text, 16).ok().map(PersonId)?;
    // One id is written in one way.
    (id.to_string() == text).then_some(id)
}
