//! Why a statement is sent or not, and its outputs leave as they do, for one person: asked before, without sending it.
//!
//! INVARIANT: nothing is decided here. Rights are policy's, the text is read by `sql`, how an output leaves is `mask`'s,
//! all by the functions that a session uses, under a catalogue read as a session's is. What is added is words.
//! Names of objects and policies are in them, literals of the text are not.
//!
//! It is what a new session would do with the text: what was prepared or declared before in some session is not known.

use std::collections::HashMap;
use std::time::Duration;

use model::{Action, Context, Decision, Need, Object, PolicyId, Principal, Verdict};
use phi::{Class, Operator, Usage};
use policy::Snapshot;
use tokio::time::timeout;

use super::catalogues;
use super::dial::LoginKeys;
use super::mask::{self, Plan, Protection, Refusal, Shown};
use super::sql::lineage::{Column, Lineage, Origin, Outputs};
use super::sql::{self, Catalogue, Inspection, Limits};
use crate::control::Upstream;
use crate::error::Failure;
use crate::gate::{Sight, decide_over, unmask_of};

/// For reading the catalogue, connecting and logging in included.
const CATALOGUE_TIMEOUT: Duration = Duration::from_secs(40);

/// What is asked: what becomes of a text that a person sends from an address.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// Who.
    pub principal: &'a Principal,
    /// By which policy.
    pub snapshot: &'a Snapshot,
    /// From where, and when.
    pub context: Context,
}

/// What would become of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What it needs, and whether policy permits it. The first is the session itself.
    pub needs: Vec<Permitted>,
    /// Policy permits all of it.
    pub permitted: bool,
    /// The text cannot be read: why, in words that may quote it. Nothing else is known then.
    pub unreadable: Option<String>,
    /// Why nothing is masked, where that is so.
    pub unmasked: Option<String>,
    /// Its statements in order.
    pub statements: Vec<Explained>,
}

/// A right, and whether policy gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permitted {
    /// What is to be done.
    pub action: Action,
    /// To what.
    pub object: Object,
    /// Policy permits it.
    pub allowed: bool,
    /// The policies that say so.
    pub policies: Vec<String>,
}

/// One statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explained {
    /// Why it is refused whatever policy permits: it would show protected values, or tell of them. Empty if it is not.
    pub refused: Vec<String>,
    /// What its outputs are; `None` where their number is not known from the text.
    pub outputs: Option<Vec<Comes>>,
}

/// How something leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// As it is.
    Plain,
    /// As it is, without the identifiers that are found in its text.
    Screened,
    /// Masked by an operator.
    Masked,
    /// Replaced by NULL.
    Null,
    /// Not at all: the statement is refused because of it.
    Refused,
}

/// One output: how it leaves, and what it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comes {
    /// What the output is called; empty where that is not known.
    pub name: String,
    /// How it leaves.
    pub fate: Fate,
    /// Why, in a few words.
    pub reason: String,
    /// The columns that it tells something of.
    pub columns: Vec<Touched>,
}

/// A column beneath an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// `schema.relation.column`.
    pub name: String,
    /// What the configuration says of it.
    pub held: Held,
    /// The policies by which the person sees it as it is, where its class is one that they see.
    pub seen_by: Vec<String>,
}

/// What the configuration says of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It is free of identifiers.
    Clean,
    /// It is protected.
    Protected {
        /// What it holds.
        class: Class,
        /// How it is masked.
        operator: Operator,
        /// What it may be used for.
        usage: Usage,
    },
    /// Nothing: nobody classified it.
    Unclassified,
}

/// Says what would become of a text, sent by somebody to a resource in a new session.
///
/// # Errors
/// When the resource's catalogue cannot be read.
pub async fn explain(
    upstream: &Upstream,
    credential: &vault::Credential,
    asked: Asked<'_>,
    text: &str,
) -> Result<Explanation, Failure> {
    let keys = LoginKeys::new();
    let reading = catalogues::read(upstream, credential, &keys, upstream.protected.is_some());
    let catalogue = timeout(CATALOGUE_TIMEOUT, reading).await.map_err(|_| Failure::UpstreamSilent)??;
    Ok(told(upstream, &catalogue, asked, text))
}

fn told(upstream: &Upstream, catalogue: &Catalogue, asked: Asked<'_>, text: &str) -> Explanation {
    let connect = Need { action: Action::Connect, object: Object::Resource };
    let beneath = |needs: &[Need]| catalogue.beneath(needs);
    let Asked { principal, snapshot, context } = asked;
    let decide = |needs: &[Need]| decide_over(snapshot, principal, &upstream.id, needs, &context, beneath);
    let limits = Limits { lineage: upstream.protected.is_some(), ..Limits::default() };
    let mut explanation = Explanation {
        permitted: decide(std::slice::from_ref(&connect)).verdict == Verdict::Allow,
        needs: vec![permitted(connect, &decide)],
        unreadable: None,
        unmasked: None,
        statements: Vec::new(),
    };
    let inspection = match sql::inspect(text, catalogue, &limits) {
        Ok(inspection) => inspection,
        Err(unreadable) => {
            explanation.unreadable = Some(unreadable.message);
            return explanation;
        }
    };
    // What some session prepared or declared before is not known here.
    let resolved = inspection.resolve(|_| None, |_| None);
    explanation.permitted &= decide(&resolved.needs).verdict == Verdict::Allow;
    let needs = resolved.needs.iter().cloned();
    explanation.needs.extend(needs.map(|need| permitted(need, &decide)));
    let Some(protected) = &upstream.protected else {
        explanation.unmasked = Some("nothing of the resource is protected".to_owned());
        return explanation;
    };
    let everything = decide(&[Need { action: Action::Unmask, object: Object::Resource }]);
    let sight = Sight::decided(everything.verdict == Verdict::Allow, |needs| decide(needs).verdict);
    if sight.everything {
        explanation.unmasked = Some(format!("everything is seen, by {}", listed(&everything.reasons)));
    }
    let protection = Protection::resolve(protected, catalogue);
    let names = names(catalogue);
    let teller = Teller { protection: &protection, sight, names: &names, decide: &decide };
    explanation.statements = teller.statements(&inspection);
    explanation
}

fn permitted(need: Need, decide: &impl Fn(&[Need]) -> Decision) -> Permitted {
    let decision = decide(std::slice::from_ref(&need));
    let Need { action, object } = need;
    let policies = decision.reasons.iter().map(ToString::to_string).collect();
    Permitted { action, object, allowed: decision.verdict == Verdict::Allow, policies }
}

fn listed(policies: &[PolicyId]) -> String {
    policies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Returns what the columns of users are called.
fn names(catalogue: &Catalogue) -> HashMap<Column, String> {
    let mut names = HashMap::new();
    catalogue.each_column(|schema, relation, column, number, _| {
        names.insert(number, format!("{schema}.{relation}.{column}"));
    });
    names
}

/// Puts into words what `mask` decides.
struct Teller<'a, D> {
    protection: &'a Protection,
    sight: Sight,
    names: &'a HashMap<Column, String>,
    decide: &'a D,
}

impl<D: Fn(&[Need]) -> Decision> Teller<'_, D> {
    fn statements(&self, inspection: &Inspection) -> Vec<Explained> {
        let followed = inspection.lineage.len() == inspection.statements;
        let statements = inspection.lineage.iter().map(|lineage| self.statement(lineage));
        let mut statements: Vec<Explained> = statements.collect();
        if !followed && !self.sight.everything {
            statements.push(Explained { refused: vec![self.words(Refusal::Opaque)], outputs: None });
        }
        statements
    }

    fn statement(&self, lineage: &Lineage) -> Explained {
        let sees = |class| self.sight.sees(class);
        let outputs = match &lineage.outputs {
            Outputs::None => Some(Vec::new()),
            Outputs::Columns(origins) => {
                let names = lineage.names.iter().map(|name| name.to_string());
                let names = names.chain(std::iter::repeat_with(String::new));
                Some(origins.iter().zip(names).map(|(origin, name)| self.output(origin, name)).collect())
            }
            Outputs::Open(_) | Outputs::Prepared(_) | Outputs::Cursor(_) => None,
        };
        if self.sight.everything {
            return Explained { refused: Vec::new(), outputs };
        }
        let refused = match self.protection.plan(lineage, sees) {
            Err(first) => {
                let mut all = vec![first];
                all.extend(
                    self.protection.disallowed(lineage, sees).into_iter().filter(|other| *other != first),
                );
                all
            }
            Ok(Plan::Prepared(_)) => vec![Refusal::Kind("EXECUTE of a statement that is not known")],
            Ok(Plan::Cursor(_)) => vec![Refusal::Kind("FETCH from a cursor that is not known")],
            Ok(plan @ (Plan::Nothing | Plan::Plain | Plan::Screened | Plan::Columns(_))) => {
                mask::refused_copy(lineage, &plan).into_iter().collect()
            }
        };
        Explained { refused: refused.into_iter().map(|refusal| self.words(refusal)).collect(), outputs }
    }

    fn output(&self, origin: &Origin, name: String) -> Comes {
        let columns: Vec<Touched> = origin.columns().iter().map(|column| self.touched(*column)).collect();
        let shown = match self.sight.everything {
            true => Ok(Shown::Plain),
            false => self.protection.shown(origin, &|class| self.sight.sees(class)),
        };
        let (fate, reason) = match shown {
            Ok(Shown::Plain) if self.sight.everything => (Fate::Plain, "everything is seen".to_owned()),
            Ok(Shown::Plain) if columns.is_empty() => (Fate::Plain, "from no column".to_owned()),
            Ok(Shown::Plain) => (Fate::Plain, "every column may be seen".to_owned()),
            Ok(Shown::Screened) => {
                (Fate::Screened, "clean; identifiers that are found in its text are taken out".to_owned())
            }
            Ok(Shown::Masked(column)) => (Fate::Masked, self.masked_by(column)),
            Ok(Shown::Redacted) => (Fate::Null, "computed from a column that is not seen".to_owned()),
            Err(refusal) => (Fate::Refused, self.words(refusal)),
        };
        Comes { name, fate, reason, columns }
    }

    fn masked_by(&self, column: Column) -> String {
        match self.protection.rules.get(&column) {
            Some(rule) => format!("{}, operator {}", rule.class, rule.operator),
            None => "nobody classified it: redacted".to_owned(),
        }
    }

    fn touched(&self, column: Column) -> Touched {
        let rule = self.protection.rules.get(&column);
        let seen_by = match rule.filter(|rule| self.sight.sees(rule.class)) {
            Some(rule) => {
                let of_class = (self.decide)(&[unmask_of(rule.class)]);
                of_class.reasons.iter().map(ToString::to_string).collect()
            }
            None => Vec::new(),
        };
        let held = match rule {
            // As `plan` has it: a column named as both is clean.
            _ if self.protection.clean.contains(&column) => Held::Clean,
            Some(rule) => Held::Protected { class: rule.class, operator: rule.operator, usage: rule.usage },
            None => Held::Unclassified,
        };
        Touched { name: self.name(column), held, seen_by }
    }

    fn name(&self, column: Column) -> String {
        let known = self.names.get(&column).cloned();
        known.unwrap_or_else(|| format!("column {} of relation {}", column.number, column.relation))
    }

    /// Returns the name of a column with what stands against its use.
    fn guarded(&self, column: Column) -> String {
        let name = self.name(column);
        match self.protection.rules.get(&column) {
            Some(rule) => format!("{name} (class {}, usage {})", rule.class, rule.usage),
            None => format!("{name} (unclassified)"),
        }
    }

    fn words(&self, refusal: Refusal) -> String {
        match refusal {
            Refusal::Kind(what) => format!("{what} is not open to people who see protected values masked"),
            Refusal::Changing => "the resource's objects are being changed: try again".to_owned(),
            Refusal::Filters(per_hour) => {
                format!("filters by columns that are seen masked more than {per_hour} times in this hour")
            }
            Refusal::Opaque => {
                "uses something that cannot be followed, and could show protected values".to_owned()
            }
            Refusal::Use(column) => {
                format!(
                    "filters, sorts, groups or joins by {} in a way that its usage does not allow",
                    self.guarded(column)
                )
            }
            Refusal::Computes(column) => {
                format!("computes with {} in a way that could tell its value", self.guarded(column))
            }
            Refusal::Assigns(column) => {
                format!("gives {} a value, or copies it elsewhere", self.guarded(column))
            }
            Refusal::Bound(column) => format!(
                "changes rows that a constraint or an index holds against {}: whether it is accepted would tell its value",
                self.guarded(column)
            ),
            Refusal::View(column) => format!(
                "reads a view that chooses its rows by {} (`phi.trusted_views` names those that may)",
                self.guarded(column)
            ),
            Refusal::Open => {
                "returns a number of columns that cannot be told, protected ones among them".to_owned()
            }
        }
    }
}
