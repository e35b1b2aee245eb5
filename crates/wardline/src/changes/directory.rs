//! What the directory says becomes people, roles and departures.

use std::collections::HashSet;

use identity::Reason;
use model::{Kind, PersonId, Record, Secret};
use registry::{NewPerson, PersonRow, Verifiers};

use super::leavers::Leaving;
use super::{Change, detail, fitting_display_name, quoted, roles_shown, shown};
use crate::admin::{Actor, Refusal};
use crate::config::Directory;
use crate::ldap::{Listed, PROVIDER};
use crate::node::Node;

impl Node {
    /// Makes people of whom the directory lists, and bars whom it does not list any more. `told` holds what was said before.
    pub(crate) async fn follow_directory(
        &self,
        directory: &Directory,
        listed: &[Listed],
        told: &mut HashSet<String>,
    ) -> Result<(), Refusal> {
        let _turn = self.turn.lock().await;
        let actor = Actor::system("ldap:directory");
        let known = self.registry.identities(PROVIDER).await.map_err(|error| Refusal::because(&error))?;
        let mut changed = false;
        for one in listed {
            match known.iter().find(|(subject, _)| *subject == one.id) {
                Some((_, person)) => changed |= self.follow_listed(&actor, directory, one, person).await?,
                None => changed |= self.add_listed(&actor, directory, one, told).await?,
            }
        }
        if changed {
            self.publish(&self.config.load_full()).await?;
        }
        let here: HashSet<&str> = listed.iter().map(|one| one.id.as_str()).collect();
        let gone: Vec<&PersonRow> = known
            .iter()
            .filter(|(subject, person)| !here.contains(subject.as_str()) && person.disabled_at.is_none())
            .map(|(_, person)| person)
            .collect();
        if gone.len() > directory.departures_max {
            return self.too_many_gone(directory, gone.len(), told).await;
        }
        for person in gone {
            let change = Change::new(&actor, "user disable", String::new());
            let leaving = Leaving { source: PROVIDER.to_owned(), ended_at: None };
            self.part_with(change, person, &leaving).await?;
        }
        Ok(())
    }

    async fn follow_listed(
        &self,
        actor: &Actor,
        directory: &Directory,
        one: &Listed,
        person: &PersonRow,
    ) -> Result<bool, Refusal> {
        let mut roles: Vec<String> =
            person.roles.iter().filter(|role| !directory.gives(role)).cloned().collect();
        roles.extend(directory.roles_of(&one.groups));
        roles.sort();
        roles.dedup();
        if roles == person.roles {
            return Ok(false);
        }
        let (before, after) = (roles_shown(&person.roles), roles_shown(&roles));
        let what =
            format!("give {} {after} by the groups of the directory, before that {before}", shown(person));
        let (change, registry) = self.admitted_numbered(Change::new(actor, "user roles", what)).await?;
        self.done(&change, registry.set_roles(person.id, &roles).await).await?;
        Ok(true)
    }

    async fn add_listed(
        &self,
        actor: &Actor,
        directory: &Directory,
        one: &Listed,
        told: &mut HashSet<String>,
    ) -> Result<bool, Refusal> {
        let taken = self.registry.person(&one.name).await.map_err(|error| Refusal::because(&error))?;
        let program = self.config.load().workloads.contains_key(&one.name);
        // A name that somebody has is not proof of being them.
        if registry::name_fits(&one.name).is_err() || taken.is_some() || program {
            if told.insert(one.id.clone()) {
                tracing::warn!(
                    id = one.id,
                    "somebody of the directory has a name that is taken or cannot be one"
                );
            }
            return Ok(false);
        }
        let (id, roles) = (identity::person_id(), directory.roles_of(&one.groups));
        let what = format!(
            "add person {} (id {id}) with {}, whom the directory lists",
            quoted(&one.name),
            roles_shown(&roles)
        );
        let (change, registry) = self.admitted_numbered(Change::new(actor, "user add", what)).await?;
        let display_name = fitting_display_name(&one.display_name);
        let verifiers = Verifiers::default();
        let person = NewPerson { id, name: one.name.clone(), display_name, roles, verifiers };
        let added = registry.add_person_of(&person, (PROVIDER, &one.id), &actor.shown(), self.now()).await;
        self.done(&change, added).await?;
        Ok(true)
    }

    /// A directory that is half empty is broken more often than a house is.
    async fn too_many_gone(
        &self,
        directory: &Directory,
        gone: usize,
        told: &mut HashSet<String>,
    ) -> Result<(), Refusal> {
        let what = format!(
            "the directory does not list {gone} people any more, which is more than `ldap.departures_max` ({}): nobody was disabled",
            directory.departures_max
        );
        if told.insert(what.clone()) {
            tracing::error!(gone, "so many people are gone from the directory that nobody was disabled");
            let mut record = Record::new(Kind::Incident, self.now());
            record.detail = Some(detail(&what).into_owned().into());
            self.record_urgent(&record).await.map_err(|error| Refusal::because(&error))?;
        }
        Ok(())
    }

    /// Returns the directory and who somebody is there; `None` for everybody who did not come from there.
    pub(crate) async fn known_elsewhere(
        &self,
        person: PersonId,
    ) -> Option<Result<(Directory, String), Reason>> {
        let directory = self.config.load().ldap.clone()?;
        match self.registry.subject_of(PROVIDER, person).await {
            Ok(subject) => subject.map(|subject| Ok((directory, subject))),
            Err(error) => {
                tracing::error!(%error, "the registry could not be asked");
                Some(Err(Reason::Unavailable))
            }
        }
    }

    /// Asks the directory whether a password is somebody's.
    pub(crate) async fn password_elsewhere(
        &self,
        directory: &Directory,
        subject: &str,
        secret: &Secret,
    ) -> Result<bool, Reason> {
        self.ldap.check(directory, subject, secret).await.map_err(|error| {
            tracing::error!(error = format!("{error:#}"), "the directory could not check a password");
            Reason::Unavailable
        })
    }
}
