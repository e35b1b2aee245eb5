//! What the relations that a text names stand over: what a view reads or changes, what a table's rules name, and the
//! tables that it shares rows with by inheritance or partitioning.
//!
//! PostgreSQL checks no right of the client's account on these, so nobody asks for a permit either; a policy that
//! forbids one of them reaches what stands over it by this list.
//! Deliberately absent: the bodies of functions, also of triggers and of conditions on rows.

use std::sync::Arc;

use foldhash::{HashSet, HashSetExt};
use model::{Action, Need, Object};

use super::catalogue::{Catalogue, Kind, Relation};
use super::walk::{Walk, candidates};

/// Schema and name of a relation.
pub(super) type RelationName = (Arc<str>, Arc<str>);

/// The relations next to one.
#[derive(Debug, Default)]
pub(super) struct Edges {
    /// Read by the query of the view or materialised view.
    pub(super) query: Vec<RelationName>,
    /// Named by its rules for changes.
    pub(super) rules: Vec<RelationName>,
    /// Whose rows its own are part of.
    pub(super) parents: Vec<RelationName>,
    /// Whose rows are part of its own.
    pub(super) children: Vec<RelationName>,
}

impl Edges {
    fn is_empty(&self) -> bool {
        let Edges { query, rules, parents, children } = self;
        [query, rules, parents, children].iter().all(|list| list.is_empty())
    }
}

impl Catalogue {
    /// Returns what is done to relations that are not named when the needs are met, sorted. Where that is not known, as
    /// of a relation that the catalogue does not have, it may be done to any: `?.?`.
    pub(crate) fn beneath(&self, needs: &[Need]) -> Vec<Need> {
        let mut search = Search { catalogue: self, relatives: true, seen: HashSet::new(), found: Vec::new() };
        for Need { action, object } in needs {
            if let Object::Relation { schema, name } = object
                && !search.of_named(*action, schema, name)
                && *action != Action::Define
            {
                let object = Object::Relation { schema: Arc::from("?"), name: Arc::from("?") };
                search.found.push(Need { action: *action, object });
            }
        }
        search.found.sort_unstable();
        search.found.dedup();
        search.found
    }

    /// Returns the relations beneath the views among what is needed, for the record: relatives of a table may be
    /// thousands.
    pub(super) fn beneath_views(&self, needs: &[Need]) -> Vec<Need> {
        let mut search =
            Search { catalogue: self, relatives: false, seen: HashSet::new(), found: Vec::new() };
        for Need { action, object } in needs {
            if let Object::Relation { schema, name } = object {
                search.of_named(*action, schema, name);
            }
        }
        search.found
    }
}

struct Search<'c> {
    catalogue: &'c Catalogue,
    /// Parents and children count.
    relatives: bool,
    seen: HashSet<(Action, *const Relation)>,
    found: Vec<Need>,
}

impl<'c> Search<'c> {
    /// Follows a relation as a need names it, and tells whether it is known. Temporary ones of its name count: for
    /// their own session they may be what is meant.
    fn of_named(&mut self, action: Action, schema: &str, name: &str) -> bool {
        let is_meant = |relation: &&'c Relation| relation.temporary || *relation.schema == *schema;
        let mut known = matches!(schema, "pg_catalog" | "information_schema");
        for relation in self.catalogue.relations(name).iter().filter(is_meant) {
            known = true;
            if !(relation.edges.is_empty() && relation.definition.is_none()) {
                self.follow(action, relation);
            }
        }
        known
    }

    fn follow(&mut self, action: Action, relation: &'c Relation) {
        let mut ahead = vec![(action, relation)];
        while let Some((action, relation)) = ahead.pop() {
            if !self.seen.insert((action, std::ptr::from_ref(relation))) {
                continue;
            }
            if self.relatives {
                self.relatives(action, relation);
            }
            for (action, (schema, name)) in self.next(action, relation) {
                for next in candidates(self.catalogue, Some(&schema), &name) {
                    ahead.push((action, next));
                }
                self.found.push(Need { action, object: object(&schema, &name) });
            }
        }
    }

    /// Returns what is done next to a relation beneath when the action is done to this one.
    fn next(&self, action: Action, relation: &'c Relation) -> Vec<(Action, RelationName)> {
        let Edges { query, rules, parents: _, children: _ } = &relation.edges;
        let proof = Walk::new(self.catalogue, super::Limits::default().depth_max).proof(relation);
        let is_view = relation.kind == Kind::View;
        // What came with PostgreSQL is in the query, and not among what the query is noted to depend on.
        let reads =
            || query.iter().chain(proof.filter(|_| is_view).into_iter().flat_map(|proof| &proof.reads));
        match action {
            Action::Read | Action::Transfer => reads().map(|name| (action, name.clone())).collect(),
            Action::Write => {
                let target = proof.and_then(|proof| proof.target.as_ref());
                // A view that is not one table's is changed by triggers: whatever it reads may be what they change.
                let written: Vec<RelationName> = match target {
                    Some(target) => vec![target.clone()],
                    None if is_view => reads().cloned().collect(),
                    None => Vec::new(),
                };
                // Rules may also return rows.
                let ruled =
                    rules.iter().flat_map(|name| [Action::Read, Action::Write].map(|a| (a, name.clone())));
                written.into_iter().map(|name| (action, name)).chain(ruled).collect()
            }
            Action::Connect
            | Action::Define
            | Action::Execute
            | Action::Administer
            | Action::Unmask
            | Action::Approve
            | Action::Review => Vec::new(),
        }
    }

    /// Adds the tables that share rows with this one. Another child of its parent does not.
    fn relatives(&mut self, action: Action, relation: &'c Relation) {
        let (down, up) = match action {
            Action::Read | Action::Transfer | Action::Write => (true, true),
            // A change of shape is passed on to children.
            Action::Define => (true, false),
            Action::Connect
            | Action::Execute
            | Action::Administer
            | Action::Unmask
            | Action::Approve
            | Action::Review => (false, false),
        };
        if down {
            self.family(action, relation, |edges| &edges.children);
        }
        if up {
            self.family(action, relation, |edges| &edges.parents);
        }
    }

    fn family(&mut self, action: Action, relation: &'c Relation, of: fn(&Edges) -> &[RelationName]) {
        let mut seen = HashSet::new();
        let mut ahead = vec![relation];
        while let Some(relation) = ahead.pop() {
            for (schema, name) in of(&relation.edges) {
                if seen.insert((schema, name)) {
                    self.found.push(Need { action, object: object(schema, name) });
                    ahead.extend(candidates(self.catalogue, Some(schema), name));
                }
            }
        }
    }
}

/// Returns a relation as a policy names it: temporary schemas are all `pg_temp`.
fn object(schema: &Arc<str>, name: &Arc<str>) -> Object {
    let schema = if schema.starts_with("pg_temp_") { Arc::from("pg_temp") } else { Arc::clone(schema) };
    Object::Relation { schema, name: Arc::clone(name) }
}
