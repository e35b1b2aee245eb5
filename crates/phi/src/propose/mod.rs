//! Proposes what of a database is protected: by names, types, keys and what the detectors make of a sample.
//!
//! A proposal is read and confirmed by a person. Its errors are not alike: an identifier that is called clean is shown
//! to everybody, a harmless column that is called protected or left undecided costs somebody a minute. So a column is
//! clean only when its type and its name leave no room for an identifier and nothing in the sample speaks against it;
//! what is neither is undecided, and stays masked.
//!
//! INVARIANT: no value enters a proposal or its reason. A [`Tally`] counts, and forgets what it was shown.
//! Deliberately absent: reading the catalogue and the sample (`gateway`), and how a proposal is written down (`wardline`).

mod keys;
mod tally;
mod terms;

pub use tally::{Sampler, Tally};

use model::RootKey;

use crate::operator::{Alphabet, KeyId};
use crate::{Class, Keys, Mask, Operator, Type, Usage};
use terms::{Counts, Says};

/// From this share of a column's cells, in percent, it is what they look like.
const SHARE_PERCENT: u32 = 50;
/// Text with so many words to a cell is prose.
const PROSE_WORDS: u64 = 4;
/// A text cell longer than this can hold a sentence.
const PROSE_CHARACTERS: usize = 60;
/// Numbers from nine digits on may be somebody's: Social Security, telephone and provider numbers have nine and ten.
const NUMBER_DIGITS_MAX: usize = 8;

/// A column, by its place among the tables and within its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which table.
    pub table: usize,
    /// Which of its columns.
    pub column: usize,
}

/// What holds rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A table.
    Table,
    /// A table on another server: it is not sampled.
    Foreign,
    /// A view, which takes after the tables beneath it.
    View,
    /// A partition, which takes after the table that it is part of.
    Partition,
}

/// A table with all that is known of it.
#[derive(Debug)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub source: Source,
    /// Its columns, in order.
    pub columns: Vec<Column>,
}

/// A column with all that is known of it.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as SQL writes it.
    pub type_name: String,
    /// The shape of its type; of a domain that of its base type.
    pub ty: Type,
    /// It is a domain, whose name may tell something.
    pub domain: bool,
    /// It alone is the table's primary key.
    pub key: bool,
    /// Its values come from a sequence.
    pub serial: bool,
    /// It is computed from other columns.
    pub computed: bool,
    /// It comes from a table that this one inherits from.
    pub inherited: bool,
    /// The columns that its foreign keys name.
    pub references: Vec<Place>,
    /// What a sample showed, where one was taken.
    pub tally: Option<Tally>,
}

/// What is proposed for a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Proposal {
    /// It is protected so.
    Protected {
        /// What it holds.
        class: Class,
        /// How it is masked.
        operator: Operator,
        /// What it may be used for.
        usage: Usage,
    },
    /// It is free of identifiers.
    Clean,
    /// Nothing is proposed: it stays masked until somebody decides.
    Undecided,
    /// It takes after the columns that it comes from.
    Follows,
}

/// What is proposed for a column, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposed {
    /// The proposal.
    pub proposal: Proposal,
    /// It identifies the patient whose row it is.
    pub patient: bool,
    /// Why, in a few words.
    pub reason: String,
}

impl Proposed {
    fn new(proposal: Proposal, reason: impl Into<String>) -> Proposed {
        Proposed { proposal, patient: false, reason: reason.into() }
    }

    fn class(&self) -> Option<Class> {
        match self.proposal {
            Proposal::Protected { class, .. } => Some(class),
            Proposal::Clean | Proposal::Undecided | Proposal::Follows => None,
        }
    }
}

/// Proposes what each column of each table is, in their order.
pub fn propose(tables: &[Table]) -> Vec<Vec<Proposed>> {
    let people: Vec<bool> = tables.iter().map(is_of_people).collect();
    let mut proposed: Vec<Vec<Proposed>> = tables
        .iter()
        .zip(&people)
        .map(|(table, people)| table.columns.iter().map(|column| own(table, column, *people)).collect())
        .collect();
    keys::of_somebody(tables, &mut proposed);
    keys::patients(tables, &mut proposed);
    keys::follow(tables, &mut proposed);
    dates(tables, &people, &mut proposed);
    proposed
}

/// Whether the rows of a table are people: its name says so, or it has a column for a person's name.
fn is_of_people(table: &Table) -> bool {
    terms::is_of_people(&table.name) || table.columns.iter().any(|column| terms::is_name(&column.name))
}

/// Proposes what a column is by itself, without what it refers to.
fn own(table: &Table, column: &Column, people: bool) -> Proposed {
    if column.inherited {
        return Proposed::new(Proposal::Follows, "inherited");
    }
    match table.source {
        Source::View => return Proposed::new(Proposal::Follows, "view"),
        Source::Partition => return Proposed::new(Proposal::Follows, "partition"),
        Source::Table | Source::Foreign => {}
    }
    if column.ty == Type::Bool {
        return Proposed::new(Proposal::Clean, "boolean");
    }
    if matches!(column.ty, Type::Enum { .. }) {
        return Proposed::new(Proposal::Clean, "enum");
    }
    let vague = |class| matches!(class, Class::UniqueCode | Class::FreeText);
    if let Some(says) = says(table, column, people) {
        // What the sample shows is surer than a name that may mean anything.
        let shown = || by_sample(column).filter(|shown| shown.class().is_some_and(|class| !vague(class)));
        if let Some(shown) = Some(says.class).filter(|class| vague(*class)).and_then(|_| shown()) {
            return shown;
        }
        let evidence = column.tally.as_ref().and_then(|tally| tally.evidence(says.class));
        let reason = [Some(format!("{} says {}", says.what, says.class)), evidence];
        let reason = reason.into_iter().flatten().collect::<Vec<_>>().join("; ");
        return protected(column, says, reason);
    }
    by_sample(column).unwrap_or_else(|| harmless(column))
}

/// Returns what names and types say of a column, where its type can hold such a thing.
fn says(table: &Table, column: &Column, people: bool) -> Option<Says> {
    let holder = element(&column.ty);
    let by_type = match holder {
        Type::Inet | Type::Cidr => Some(Class::Ip),
        Type::Macaddr | Type::Macaddr8 => Some(Class::Device),
        Type::Json | Type::Jsonb | Type::Xml | Type::Hstore => Some(Class::FreeText),
        _ => None,
    };
    if let Some(class) = by_type {
        return Some(Says { class, what: "type", zip: false });
    }
    let address = table.columns.iter().any(|column| terms::is_street(&column.name));
    let named = terms::says(&column.name, terms::Around { people, address });
    let domain = || column.domain.then(|| terms::says(&column.type_name, terms::Around::default())).flatten();
    let named = named.or_else(|| domain().map(|says| Says { what: "type", ..says }));
    named.filter(|says| can_hold(holder, says.class))
}

/// Whether values of a type can be of a class.
fn can_hold(ty: &Type, class: Class) -> bool {
    match class {
        Class::Name | Class::Email | Class::Url | Class::FreeText => is_texty(ty) || *ty == Type::Unknown,
        Class::Photo | Class::Biometric => {
            is_texty(ty) || matches!(ty, Type::Bytea | Type::Oid | Type::Unknown)
        }
        Class::Age => is_texty(ty) || is_number(ty),
        Class::Date => true,
        Class::Geographic
        | Class::Phone
        | Class::Fax
        | Class::Ssn
        | Class::Mrn
        | Class::HealthPlan
        | Class::Account
        | Class::Licence
        | Class::Vehicle
        | Class::Device
        | Class::Ip
        | Class::UniqueCode
        | Class::PatientId => !is_moment(ty),
    }
}

/// Proposes by what the sample looks like; `None` where nothing speaks.
fn by_sample(column: &Column) -> Option<Proposed> {
    let tally = column.tally.as_ref()?;
    let texty = is_texty(element(&column.ty));
    if let Some((class, cells)) = tally.most()
        && cells.saturating_mul(100) >= tally.filled().saturating_mul(SHARE_PERCENT)
        && (texty || class != Class::UniqueCode)
    {
        let reason = format!("{cells} of {} sampled look like {class}", tally.filled());
        return Some(protected(column, Says { class, what: "sample", zip: false }, reason));
    }
    if !texty {
        return None;
    }
    let found = tally.found();
    let prose = tally.words_mean() >= PROSE_WORDS || tally.longest() > PROSE_CHARACTERS;
    let says = Says { class: Class::FreeText, what: "sample", zip: false };
    match (prose, found) {
        (true, 0) => Some(protected(column, says, "text of several words".to_owned())),
        (true, found) => {
            let reason =
                format!("text of several words; identifiers in {found} of {} sampled", tally.filled());
            Some(protected(column, says, reason))
        }
        (false, 0) => None,
        (false, found) => {
            let reason = format!("identifiers in {found} of {} sampled", tally.filled());
            Some(Proposed::new(Proposal::Undecided, reason))
        }
    }
}

/// Calls a column clean where type and name leave no room for an identifier, and leaves it undecided otherwise.
fn harmless(column: &Column) -> Proposed {
    let ty = &column.ty;
    if column.computed {
        return Proposed::new(Proposal::Undecided, "computed from other columns");
    }
    if column.key && column.references.is_empty() && is_whole(ty) {
        return surrogate(column);
    }
    if column.key || !column.references.is_empty() {
        return Proposed::new(Proposal::Undecided, nothing_found(column));
    }
    let long = column.tally.as_ref().is_some_and(|tally| tally.digits_max() > NUMBER_DIGITS_MAX);
    let one_character =
        matches!(ty, Type::Bpchar { length: Some(1) | None } | Type::Char | Type::Text { max: Some(1) });
    match terms::counts(&column.name) {
        Some(Counts::Amount | Counts::Code) if is_number(ty) && !long => {
            Proposed::new(Proposal::Clean, "number; name")
        }
        Some(Counts::Measure) if is_fractional(ty) => {
            Proposed::new(Proposal::Clean, "number with a fraction; name")
        }
        Some(Counts::Code) if one_character => Proposed::new(Proposal::Clean, "one character; name"),
        Some(Counts::Amount | Counts::Code | Counts::Measure) | None => {
            Proposed::new(Proposal::Undecided, nothing_found(column))
        }
    }
}

/// Proposes for the number that a table's rows have for themselves.
fn surrogate(column: &Column) -> Proposed {
    if column.serial {
        return Proposed::new(Proposal::Clean, "number from a sequence, primary key");
    }
    match column.tally.as_ref() {
        Some(tally) if tally.filled() > 0 && tally.digits_max() <= NUMBER_DIGITS_MAX => {
            Proposed::new(Proposal::Clean, "short number, primary key")
        }
        Some(_) | None => {
            Proposed::new(Proposal::Undecided, "primary key; not known to be a mere number of rows")
        }
    }
}

fn nothing_found(column: &Column) -> String {
    let Some(tally) = column.tally.as_ref().filter(|tally| tally.filled() > 0) else { return String::new() };
    match tally.distinct() {
        Some(distinct) => format!("nothing found; {distinct} different values in {} sampled", tally.filled()),
        None => format!("nothing found in {} sampled", tally.filled()),
    }
}

/// Protects the dates of every table whose rows are about a person: elements of dates are identifiers where they
/// relate to one, and harmless in a list of holidays.
fn dates(tables: &[Table], people: &[bool], proposed: &mut [Vec<Proposed>]) {
    let mut personal: Vec<bool> = people.to_vec();
    for (at, columns) in proposed.iter().enumerate() {
        if let Some(personal) = personal.get_mut(at) {
            *personal |= columns.iter().any(|column| column.patient);
        }
    }
    let mut grew = true;
    while grew {
        grew = false;
        for (at, table) in tables.iter().enumerate() {
            let refers = table.columns.iter().flat_map(|column| &column.references);
            let about = refers.into_iter().any(|place| personal.get(place.table) == Some(&true));
            if let Some(known) = personal.get_mut(at).filter(|known| about && !**known) {
                *known = true;
                grew = true;
            }
        }
    }
    for ((table, columns), personal) in tables.iter().zip(proposed).zip(personal) {
        for (column, proposed) in table.columns.iter().zip(columns) {
            if personal && proposed.proposal == Proposal::Undecided && is_moment(element(&column.ty)) {
                let says = Says { class: Class::Date, what: "type", zip: false };
                *proposed = protected(column, says, "date in a table about people".to_owned());
            }
        }
    }
}

fn protected(column: &Column, says: Says, reason: String) -> Proposed {
    let operator = operator(says.class, &column.ty, says.zip);
    Proposed::new(Proposal::Protected { class: says.class, operator, usage: Usage::None }, reason)
}

/// Returns the operator to propose for a class in a type: the usual one where it suits both.
fn operator(class: Class, ty: &Type, zip: bool) -> Operator {
    // Only whether it compiles is asked, which no key changes.
    let keys = Keys::derive(&RootKey::new([0; 32]), KeyId::new(1).expect("from 1 to 99"));
    let number =
        Operator::FormatPreserving { alphabet: Alphabet::Digits, min: Alphabet::Digits.symbols_min() };
    let wanted = match class {
        Class::PatientId => [Operator::Token, number],
        Class::Geographic if zip => [Operator::Zip3, Operator::Redact],
        other => [Operator::usual(other), Operator::Redact],
    };
    let fits = |operator: &Operator| Mask::compile(class, *operator, ty, &keys).is_ok();
    wanted.into_iter().find(fits).unwrap_or(Operator::Redact)
}

/// The type of an array's elements, or the type itself.
fn element(ty: &Type) -> &Type {
    match ty {
        Type::Array { oid: _, element } => element,
        other => other,
    }
}

fn is_texty(ty: &Type) -> bool {
    matches!(ty, Type::Text { .. } | Type::Bpchar { .. } | Type::Name)
}

fn is_whole(ty: &Type) -> bool {
    matches!(ty, Type::Int2 | Type::Int4 | Type::Int8)
}

fn is_number(ty: &Type) -> bool {
    is_whole(ty) || matches!(ty, Type::Float4 | Type::Float8 | Type::Numeric { .. })
}

fn is_fractional(ty: &Type) -> bool {
    matches!(ty, Type::Float4 | Type::Float8 | Type::Numeric { scale: 1.. })
}

fn is_moment(ty: &Type) -> bool {
    match ty {
        Type::Date | Type::Timestamp | Type::TimestampTz => true,
        Type::Range(of) | Type::Multirange(of) => is_moment(of),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
