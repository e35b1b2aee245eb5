//! What of one statement's result a person sees, decided before the statement is sent.
//!
//! From where the values come from ([`Lineage`]), what the configuration protects ([`Protection`]) and which classes
//! the person sees. The default is the other way round: an output leaves as it is only when every column it tells
//! something of is known and may be seen. A column that nobody classified is not seen.
//! Deliberately absent: rights (the caller asks policy), types and operators (a column's rule is compiled for the
//! type that the resource announces), and the second vote of what the resource announces.

use std::sync::Arc;

use foldhash::{HashMap, HashSet};
use phi::{Class, Operator, Usage};

use super::patients::PatientColumns;
use crate::protected::Rule;
use crate::protocol::postgres::sql::lineage::{Change, Column, Kind, Lineage, Origin, Outputs, Use};
use crate::protocol::postgres::sql::{Bound, BoundKind};

/// What is known of a resource's columns, under one catalogue.
#[derive(Debug, Default)]
pub(crate) struct Protection {
    pub(crate) rules: HashMap<Column, Rule>,
    /// Columns that somebody looked at and found free of identifiers.
    pub(crate) clean: HashSet<Column>,
    /// The columns of views, with those that each comes from; `None` where that is not known.
    pub(crate) views: HashMap<Column, Option<Box<[Column]>>>,
    /// What the columns are called that are not clean.
    pub(crate) names: HashMap<Column, Arc<str>>,
    /// By which columns patients are known.
    pub(crate) patients: PatientColumns,
    /// The text of clean columns is looked through for identifiers.
    pub(crate) detects: bool,
    /// Clean columns whose text is not.
    pub(crate) trusted: HashSet<Column>,
    /// Views of which somebody said that which rows they have tells nothing.
    pub(crate) trusted_views: HashSet<u32>,
    /// What changes of rows are held against, by the relation that is changed.
    pub(crate) bounds: HashMap<u32, Vec<Bound>>,
    /// The types of columns, for a domain the one beneath: OID and modifier.
    pub(crate) types: HashMap<Column, (u32, i32)>,
}

/// What the record says of the protected columns that statements return.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Noted {
    /// Those that the person does not see as they are.
    pub(crate) masked: Vec<Arc<str>>,
    /// Those that the person sees as they are.
    pub(crate) unmasked: Vec<Arc<str>>,
    /// A statement could not be followed: there may be others.
    pub(crate) partly: bool,
}

/// A column that is not seen: its rule, or `None` where nobody classified it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Hidden {
    column: Column,
    rule: Option<Rule>,
}

impl Hidden {
    fn usage(self) -> Usage {
        self.rule.map_or(Usage::None, |rule| rule.usage)
    }
}

/// How one output leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// As it is.
    Plain,
    /// As it is, without the identifiers that are found in its text.
    Screened,
    /// Masked by the rule of this column; redacted where it has none.
    Masked(Column),
    /// Replaced by NULL: computed from columns that are not seen.
    Redacted,
}

/// How a statement's result leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// There is none: rows that come all the same are of a rule that the statement does not show.
    Nothing,
    /// As it is; how many columns there are is not known.
    Plain,
    /// The same, without the identifiers that are found in texts.
    Screened,
    /// Column by column.
    Columns(Box<[Shown]>),
    /// What the statement named so returns decides.
    Prepared(Box<str>),
    /// What the cursor named so returns decides.
    Cursor(Box<str>),
}

impl Plan {
    /// Tells whether something does not leave as it is.
    pub(crate) fn masks(&self) -> bool {
        match self {
            Plan::Nothing | Plan::Plain => false,
            Plan::Screened => true,
            Plan::Columns(shown) => shown.iter().any(|shown| *shown != Shown::Plain),
            Plan::Prepared(_) | Plan::Cursor(_) => true,
        }
    }
}

/// What is said of a plan that is not shown.
const EXPLAINED: &str = "EXPLAIN of a statement that returns protected columns";

/// Relations below came with PostgreSQL.
const FIRST_USER_OID: u32 = 16384;

/// Why a statement is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A kind of statement that masked people may not run.
    Kind(&'static str),
    /// The resource's objects are being changed: what it would read is not known for this moment.
    Changing,
    /// It filters by columns that are not seen, which the person did as often in this hour as the resource allows.
    Filters(u32),
    /// It runs or reads what is not known.
    Opaque,
    /// It filters, sorts, groups or joins by a column in a way that its usage does not allow.
    Use(Column),
    /// It computes with a column in a way that may fail.
    Computes(Column),
    /// It gives a column a value, or copies one into another.
    Assigns(Column),
    /// It changes rows that a constraint or an index holds against this column.
    Bound(Column),
    /// It reads a view that chooses its rows by this column.
    View(Column),
    /// How many outputs there are is not known, and one may come from a column that is not seen.
    Open,
}

impl Protection {
    /// Returns the type of a column; of one that is not known, a type that nothing suits.
    pub(crate) fn type_of(&self, column: Column) -> (u32, i32) {
        self.types.get(&column).copied().unwrap_or((0, -1))
    }

    fn hidden(&self, column: Column, sees: &impl Fn(Class) -> bool) -> Option<Hidden> {
        if self.clean.contains(&column) {
            return None;
        }
        let rule = self.rules.get(&column).copied();
        let seen = rule.is_some_and(|rule| sees(rule.class));
        (!seen).then_some(Hidden { column, rule })
    }

    /// Tells whether the column is not seen by somebody who sees these classes. Number 0 is the whole row.
    pub(crate) fn hides(&self, column: Column, sees: &impl Fn(Class) -> bool) -> bool {
        // PostgreSQL's own relations: those that show values of others are not followed in the first place.
        if column.relation < FIRST_USER_OID {
            return false;
        }
        // Where a row is stored and which transaction wrote it: the plan decides.
        if column.number < 0 {
            return false;
        }
        let of_view = |from: &Option<Box<[Column]>>| match from {
            Some(from) => from.iter().any(|column| self.hidden(*column, sees).is_some()),
            None => true,
        };
        if column.number == 0 {
            let within = |known: &Column| known.relation == column.relation;
            return self.rules.iter().any(|(known, rule)| within(known) && !sees(rule.class))
                || self.views.iter().any(|(known, from)| within(known) && of_view(from));
        }
        match self.views.get(&column) {
            Some(from) => of_view(from) || self.rules.get(&column).is_some_and(|rule| !sees(rule.class)),
            None => self.hidden(column, sees).is_some(),
        }
    }

    /// Tells whether a value that may be seen is looked through: where it tells something of a column that somebody
    /// called clean, and that is not trusted to be.
    fn screens(&self, origin: &Origin) -> bool {
        let looked_through = |column: &&Column| self.clean.contains(column) && !self.trusted.contains(column);
        self.detects && origin.columns().iter().any(|column| looked_through(&column))
    }

    /// Finds, for the record, which protected columns the statements return something of.
    pub(crate) fn note<'l>(
        &self,
        lineage: impl Iterator<Item = &'l Lineage>,
        everything: bool,
        sees: impl Fn(Class) -> bool,
    ) -> Noted {
        let mut noted = Noted::default();
        let mut columns: Vec<Column> =
            lineage.inspect(|lineage| noted.partly |= lineage.opaque).flat_map(Lineage::returned).collect();
        columns.sort_unstable();
        columns.dedup();
        for column in columns {
            let Some(name) = self.names.get(&column) else { continue };
            // Where nobody classified it, who sees everything sees it.
            let seen = match self.rules.get(&column) {
                Some(rule) => sees(rule.class),
                None => everything,
            };
            let list = if seen { &mut noted.unmasked } else { &mut noted.masked };
            list.push(Arc::clone(name));
        }
        noted
    }

    /// Decides how the result of a statement leaves, for somebody who sees these classes and no others.
    ///
    /// # Errors
    /// When the statement must not be sent.
    pub(crate) fn plan(&self, lineage: &Lineage, sees: impl Fn(Class) -> bool) -> Result<Plan, Refusal> {
        if let Kind::Other(what) = lineage.kind {
            return Err(Refusal::Kind(what));
        }
        if lineage.opaque {
            return Err(Refusal::Opaque);
        }
        for (column, how) in &lineage.uses {
            if let Some(hidden) = self.hidden(*column, &sees) {
                self.allows(hidden, how)?;
            }
        }
        for (view, column, how) in &lineage.through {
            if let Some(hidden) = self.hidden(*column, &sees).filter(|_| !self.trusted_views.contains(view)) {
                self.allows(hidden, how).map_err(|_| Refusal::View(hidden.column))?;
            }
        }
        for (column, from) in &lineage.assigned {
            self.assigns(*column, from, &sees)?;
        }
        for (relation, how) in &lineage.changed {
            self.changes(*relation, *how, lineage, &sees)?;
        }
        match &lineage.outputs {
            Outputs::None => Ok(Plan::Nothing),
            Outputs::Prepared(name) => Ok(Plan::Prepared(name.clone())),
            Outputs::Cursor(name) => Ok(Plan::Cursor(name.clone())),
            Outputs::Open(Origin::Unknown) => Err(Refusal::Open),
            Outputs::Open(origin) => {
                let hides = origin.columns().iter().any(|column| self.hidden(*column, &sees).is_some());
                match (hides, self.screens(origin)) {
                    (true, _) => Err(Refusal::Open),
                    (false, true) => Ok(Plan::Screened),
                    (false, false) => Ok(Plan::Plain),
                }
            }
            Outputs::Columns(origins) => {
                let shown = origins.iter().map(|origin| self.shown(origin, &sees));
                if lineage.kind == Kind::Explain {
                    // A plan tells how many and how wide the values are, but holds none: only what the statement says.
                    let shown = shown.map(|shown| match shown? {
                        Shown::Screened => Ok(Shown::Plain),
                        shown @ (Shown::Plain | Shown::Masked(_) | Shown::Redacted) => Ok(shown),
                    });
                    let shown = shown.collect::<Result<Box<[Shown]>, Refusal>>();
                    return shown.map(Plan::Columns).map_err(|_| Refusal::Kind(EXPLAINED));
                }
                shown.collect::<Result<Box<[Shown]>, Refusal>>().map(Plan::Columns)
            }
        }
    }

    /// Counts how often an allowed statement filters by columns that are not seen: each answers a guess.
    pub(crate) fn filters(&self, lineage: &Lineage, sees: impl Fn(Class) -> bool) -> u64 {
        if lineage.kind == Kind::Prepare {
            return 0;
        }
        let filters = |(column, how): &(Column, Use)| match how {
            Use::Equality { .. } | Use::Computed | Use::Other => self.hidden(*column, &sees).is_some(),
            // With a column of the same class, of the resource's own rows.
            Use::Join(_) => false,
        };
        lineage.uses.iter().filter(|used| filters(used)).fold(0, |count, _| count + 1)
    }

    /// Returns the uses of columns for which a statement is refused: all of them, where [`Protection::plan`] tells one.
    pub(crate) fn disallowed(&self, lineage: &Lineage, sees: impl Fn(Class) -> bool) -> Vec<Refusal> {
        // What an output is computed from is said of the output.
        let of_output = |column: &Column| lineage.returned().contains(column);
        let used = lineage.uses.iter().filter(|(column, how)| *how != Use::Computed || !of_output(column));
        let used = used.filter_map(|(column, how)| {
            self.hidden(*column, &sees).and_then(|hidden| self.allows(hidden, how).err())
        });
        let through = lineage.through.iter().filter(|(view, ..)| !self.trusted_views.contains(view));
        let through = through.filter_map(|(_, column, how)| {
            let hidden = self.hidden(*column, &sees)?;
            self.allows(hidden, how).err().map(|_| Refusal::View(hidden.column))
        });
        let changed =
            lineage.changed.iter().filter_map(|(oid, how)| self.changes(*oid, *how, lineage, &sees).err());
        let assigned =
            lineage.assigned.iter().filter_map(|(column, from)| self.assigns(*column, from, &sees).err());
        let mut refusals: Vec<Refusal> = Vec::new();
        for refusal in used.chain(through).chain(assigned).chain(changed) {
            if !refusals.contains(&refusal) {
                refusals.push(refusal);
            }
        }
        refusals
    }

    fn allows(&self, hidden: Hidden, how: &Use) -> Result<(), Refusal> {
        let allowed = match how {
            Use::Equality { operand: _, every: _ } => hidden.usage() >= Usage::Equality,
            // Joined with a column of another kind, it would tell its value by the other's.
            Use::Join(other) => {
                let class = |column: &Column| self.rules.get(column).map(|rule| rule.class);
                hidden.usage() >= Usage::Join && class(other) == class(&hidden.column)
            }
            Use::Computed if hidden.usage() < Usage::Result => return Err(Refusal::Computes(hidden.column)),
            Use::Computed => true,
            Use::Other => hidden.usage() >= Usage::Result,
        };
        if allowed { Ok(()) } else { Err(Refusal::Use(hidden.column)) }
    }

    /// Whether a change of rows is accepted tells something of what it is held against: a check or an index over a column
    /// that is not seen, beside one that is given a value; rows that refer to one that goes.
    fn changes(
        &self,
        relation: u32,
        how: Change,
        lineage: &Lineage,
        sees: &impl Fn(Class) -> bool,
    ) -> Result<(), Refusal> {
        for bound in self.bounds.get(&relation).into_iter().flatten() {
            let given = || lineage.assigned.iter().any(|(column, _)| bound.columns.contains(column));
            let (held, needed) = match bound.kind {
                BoundKind::References(other) => {
                    (given() || how == Change::Deleted && other == relation, Usage::Join)
                }
                BoundKind::Unique => (how != Change::Deleted && given(), Usage::Join),
                BoundKind::Computed => (how != Change::Deleted && given(), Usage::Result),
            };
            let hidden = bound.columns.iter().filter_map(|column| self.hidden(*column, sees));
            if let Some(hidden) = hidden.filter(|hidden| hidden.usage() < needed).find(|_| held) {
                return Err(Refusal::Bound(hidden.column));
            }
        }
        if how != Change::Added {
            return Ok(());
        }
        // A date that is known, as that of a row which is added now, would show by how much the patient's are shifted.
        let own = |rule: &&Column| rule.relation == relation;
        let shifted = self.rules.keys().filter(own).filter_map(|column| self.hidden(*column, sees));
        let shifted = shifted
            .filter(|hidden| hidden.rule.is_some_and(|rule| matches!(rule.operator, Operator::DateShift)));
        // The same one each time: the client is told its name.
        shifted.map(|hidden| hidden.column).min().map_or(Ok(()), |column| Err(Refusal::Assigns(column)))
    }

    /// Giving a value to a column tells whether it is there already, where values are unique; copying one elsewhere
    /// takes it out of sight of its rule.
    fn assigns(&self, column: Column, from: &Origin, sees: &impl Fn(Class) -> bool) -> Result<(), Refusal> {
        if *from == Origin::Unknown {
            return Err(Refusal::Assigns(column));
        }
        if let Some(copied) = from.columns().iter().find(|from| self.hidden(**from, sees).is_some()) {
            return Err(Refusal::Assigns(*copied));
        }
        match self.hidden(column, sees) {
            // Whoever does not see a value does not write one over it: a mask, say, over what it stands for.
            Some(hidden) => Err(Refusal::Assigns(hidden.column)),
            None => Ok(()),
        }
    }

    /// Decides how one output leaves, for somebody who sees these classes.
    ///
    /// # Errors
    /// When the statement must not be sent because of it.
    pub(crate) fn shown(&self, origin: &Origin, sees: &impl Fn(Class) -> bool) -> Result<Shown, Refusal> {
        let hidden = origin.columns().iter().find(|column| self.hidden(**column, sees).is_some());
        match (origin, hidden) {
            (Origin::Unknown, _) => Err(Refusal::Opaque),
            (Origin::Clean, _) => Ok(Shown::Plain),
            (_, None) if self.screens(origin) => Ok(Shown::Screened),
            (_, None) => Ok(Shown::Plain),
            (Origin::Column(column), Some(_)) => Ok(Shown::Masked(*column)),
            (Origin::Computed { columns: _, total: true, shaped: _ }, Some(_)) => Ok(Shown::Redacted),
            (Origin::Computed { columns: _, total: false, shaped: _ }, Some(column)) => {
                Err(Refusal::Computes(*column))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use phi::Usage;

    use super::*;
    use crate::protocol::postgres::sql::inspect;
    use crate::protocol::postgres::sql::lineage::tests::FOLLOWING;
    use crate::protocol::postgres::sql::tests::catalogue_of_hospital;

    const ID: Column = Column { relation: 20001, number: 1 };
    const MRN: Column = Column { relation: 20001, number: 2 };
    const SSN: Column = Column { relation: 20001, number: 3 };
    const NAME: Column = Column { relation: 20001, number: 4 };
    const BORN: Column = Column { relation: 20001, number: 5 };
    const PATIENT: Column = Column { relation: 20002, number: 2 };

    fn protection() -> Protection {
        let mut protection = Protection::default();
        let mut rule = |column, class, usage| {
            protection.rules.insert(column, Rule { class, operator: Operator::Redact, usage });
        };
        rule(ID, Class::PatientId, Usage::Join);
        rule(MRN, Class::Mrn, Usage::Equality);
        rule(SSN, Class::Ssn, Usage::None);
        rule(NAME, Class::Name, Usage::Result);
        rule(PATIENT, Class::PatientId, Usage::Join);
        protection.names.insert(SSN, "ssn".into());
        protection.names.insert(NAME, "name".into());
        for number in [1, 3] {
            protection.clean.insert(Column { relation: 20002, number });
        }
        protection
    }

    fn plan(text: &str, seen: &[Class]) -> Result<Plan, Refusal> {
        let inspection = inspect(text, &catalogue_of_hospital(), &FOLLOWING).unwrap();
        let [lineage] = &*inspection.lineage else { panic!("not one statement") };
        let plan = protection().plan(lineage, |class| seen.contains(&class))?;
        Ok(if plan.masks() || plan == Plan::Nothing { plan } else { Plan::Plain })
    }

    fn columns(shown: &[Shown]) -> Result<Plan, Refusal> {
        Ok(Plan::Columns(shown.into()))
    }

    #[test]
    fn what_is_not_seen_is_masked_and_what_is_seen_is_not() {
        let text = "SELECT ssn, name, 1, upper(ssn) FROM patients";
        let masked = [Shown::Masked(SSN), Shown::Masked(NAME), Shown::Plain, Shown::Redacted];
        assert_eq!(plan(text, &[]), columns(&masked));
        let partly = [Shown::Masked(SSN), Shown::Plain, Shown::Plain, Shown::Redacted];
        assert_eq!(plan(text, &[Class::Name]), columns(&partly));
        assert_eq!(plan(text, &[Class::Name, Class::Ssn]), Ok(Plan::Plain));
        assert_eq!(plan("SELECT ward, count(*) FROM encounters GROUP BY ward", &[]), Ok(Plan::Plain));
    }

    #[test]
    fn what_nobody_classified_is_not_seen() {
        assert_eq!(plan("SELECT born FROM patients", &[]), columns(&[Shown::Masked(BORN)]));
        assert_eq!(plan("SELECT 1 FROM patients ORDER BY born", &Class::ALL), Err(Refusal::Use(BORN)));
        assert_eq!(
            plan("SELECT label FROM public.settings", &Class::ALL),
            columns(&[Shown::Masked(Column { relation: 20004, number: 1 })])
        );
    }

    #[test]
    fn a_column_is_used_as_its_usage_allows() {
        assert_eq!(plan("SELECT 1 FROM patients WHERE ssn = $1", &[]), Err(Refusal::Use(SSN)));
        assert_eq!(plan("SELECT 1 FROM patients WHERE mrn = $1", &[]), Ok(Plan::Plain));
        assert_eq!(plan("SELECT 1 FROM patients WHERE mrn > $1", &[]), Err(Refusal::Use(MRN)));
        assert_eq!(plan("SELECT 1 FROM patients WHERE mrn IN ('1', $2)", &[]), Ok(Plan::Plain));
        assert_eq!(plan("SELECT 1 FROM patients WHERE mrn NOT IN ('1')", &[]), Err(Refusal::Use(MRN)));
        assert_eq!(plan("SELECT 1 FROM patients WHERE mrn = ANY ($1)", &[]), Err(Refusal::Use(MRN)));
        assert_eq!(plan("SELECT 1 FROM patients WHERE name LIKE $1", &[]), Ok(Plan::Plain));
        assert_eq!(plan("SELECT 1 FROM patients WHERE ssn LIKE $1", &[Class::Ssn]), Ok(Plan::Plain));
        let join = "SELECT 1 FROM patients p JOIN encounters e ON p.id = e.patient_id";
        assert_eq!(plan(join, &[]), Ok(Plan::Plain));
        let guess = "SELECT 1 FROM patients p JOIN encounters e ON p.id = e.ward";
        assert_eq!(plan(guess, &[]), Err(Refusal::Use(ID)));
        assert_eq!(plan("SELECT DISTINCT ssn FROM patients", &[]), Err(Refusal::Use(SSN)));
    }

    #[test]
    fn what_may_fail_or_is_not_known_is_refused() {
        assert_eq!(plan("SELECT ssn::int FROM patients", &[]), Err(Refusal::Computes(SSN)));
        assert_eq!(plan("SELECT reveal(1)", &[]), Err(Refusal::Opaque));
        assert_eq!(plan("SELECT (e).* FROM encounters e", &[]), Err(Refusal::Open));
        assert_eq!(plan("SELECT (p).* FROM patients p", &[]), Err(Refusal::Computes(ID)));
        assert_eq!(plan("DO 'begin end'", &[]), Err(Refusal::Kind("DO")));
        assert_eq!(plan("SELECT most_common_vals FROM pg_stats", &[]), Err(Refusal::Opaque));
    }

    #[test]
    fn what_was_masked_and_what_was_clear_is_noted() {
        let note = |text: &str, seen: &[Class]| {
            let inspection = inspect(text, &catalogue_of_hospital(), &FOLLOWING).unwrap();
            let noted = protection().note(inspection.lineage.iter(), false, |class| seen.contains(&class));
            (noted.masked.join(" "), noted.unmasked.join(" "), noted.partly)
        };
        let says = |masked: &str, unmasked: &str, partly| (masked.to_owned(), unmasked.to_owned(), partly);
        let text = "SELECT ssn, upper(name), 1 FROM patients; SELECT name FROM patients";
        assert_eq!(note(text, &[Class::Name]), says("ssn", "name", false));
        assert_eq!(note(text, &[]), says("ssn name", "", false));
        assert_eq!(note("SELECT ward FROM encounters", &[]), says("", "", false));
        assert_eq!(note("SELECT reveal(1)", &Class::ALL), says("", "", true));
        assert_eq!(note("SELECT ssn, reveal(1) FROM patients", &Class::ALL), says("", "ssn", true));
    }

    #[test]
    fn the_text_of_clean_columns_is_looked_through() {
        let shown = |text: &str, trusted: &[Column]| {
            let inspection = inspect(text, &catalogue_of_hospital(), &FOLLOWING).unwrap();
            let mut protection = Protection { detects: true, ..protection() };
            protection.trusted.extend(trusted);
            protection.plan(&inspection.lineage[0], |class| class == Class::Name)
        };
        let ward = Column { relation: 20002, number: 3 };
        let text = "SELECT ward, upper(ward), 'ward', name, ssn FROM encounters, patients";
        let first = [Shown::Screened, Shown::Screened, Shown::Plain, Shown::Plain, Shown::Masked(SSN)];
        assert_eq!(shown(text, &[]), columns(&first));
        let second = [Shown::Plain, Shown::Plain, Shown::Plain, Shown::Plain, Shown::Masked(SSN)];
        assert_eq!(shown(text, &[ward]), columns(&second));
        assert_eq!(shown("SELECT relname FROM pg_class", &[]), columns(&[Shown::Plain]));
        assert_eq!(shown("EXPLAIN SELECT ward FROM encounters", &[]), columns(&[Shown::Plain]));
    }

    #[test]
    fn values_are_not_copied_out_of_sight() {
        let copy = "INSERT INTO encounters (ward) SELECT ssn FROM patients";
        assert_eq!(plan(copy, &[]), Err(Refusal::Assigns(SSN)));
        assert_eq!(plan("INSERT INTO patients (ssn) VALUES ('1')", &[]), Err(Refusal::Assigns(SSN)));
        assert_eq!(plan("INSERT INTO patients (mrn) VALUES ('1')", &[]), Err(Refusal::Assigns(MRN)));
        assert_eq!(plan("UPDATE patients SET mrn = '1' WHERE mrn = '2'", &[]), Err(Refusal::Assigns(MRN)));
        assert_eq!(plan("INSERT INTO patients (mrn) VALUES ('1')", &[Class::Mrn]), Ok(Plan::Nothing));
        assert_eq!(plan("UPDATE encounters SET ward = 'x' WHERE id = 1", &[]), Ok(Plan::Nothing));
    }
}
