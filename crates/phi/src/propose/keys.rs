//! What keys say: which tables are the patients', which columns name a patient, what a foreign key takes over.

use super::{Place, Proposal, Proposed, Source, Table, operator, terms};
use crate::{Class, Usage};

/// Marks the columns that name a patient: the primary keys of the patients' tables, what refers to them, and columns
/// that are called so.
pub(super) fn patients(tables: &[Table], proposed: &mut [Vec<Proposed>]) {
    let by_another_name = !tables.iter().any(|table| terms::is_patients(&table.name, false));
    let keys = keys_of_patients(tables, proposed, by_another_name);
    for place in &keys {
        mark(tables, proposed, *place, "key of the patients".to_owned());
    }
    mark_referring(tables, proposed, keys.clone());
    // A key such as `person_id` is called the same elsewhere, also where no foreign key says so.
    let names: Vec<&str> = keys.iter().map(|place| name_of(tables, *place)).collect();
    let named = |name: &str| names.contains(&name) && !terms::is_generic(name);
    for place in places(tables) {
        let name = name_of(tables, place);
        let known = proposed_at(proposed, place).is_none_or(|known| known.patient);
        if !known && (terms::is_patient_id(name) || named(name)) && is_stored(tables, place) {
            mark(tables, proposed, place, "name says patient".to_owned());
            let mut reached = vec![place];
            for target in references(tables, place) {
                mark(tables, proposed, *target, format!("{} refers to it", shown(tables, place)));
                reached.push(*target);
            }
            mark_referring(tables, proposed, reached);
        }
    }
}

/// Marks what refers to these columns, and what refers to that.
fn mark_referring(tables: &[Table], proposed: &mut [Vec<Proposed>], mut reached: Vec<Place>) {
    while let Some(target) = reached.pop() {
        for place in referring(tables, target) {
            if proposed_at(proposed, place).is_some_and(|known| !known.patient) {
                mark(tables, proposed, place, format!("foreign key to {}", shown(tables, target)));
                reached.push(place);
            }
        }
    }
}

/// Returns the columns that are the key of a table of patients, or a record number that is a table's key.
fn keys_of_patients(tables: &[Table], proposed: &[Vec<Proposed>], by_another_name: bool) -> Vec<Place> {
    let is_key = |place: &Place| {
        let Some(table) = tables.get(place.table) else { return false };
        let Some(facts) = table.columns.get(place.column) else { return false };
        let patients = terms::is_patients(&table.name, by_another_name);
        // Some schemas have no keys at all.
        let keyed = table.columns.iter().any(|column| column.key);
        let key = facts.key || (!keyed && facts.name.eq_ignore_ascii_case("id"));
        let class = proposed_at(proposed, *place).and_then(Proposed::class);
        is_stored(tables, *place) && key && (patients || class == Some(Class::Mrn))
    };
    places(tables).into_iter().filter(is_key).collect()
}

fn places(tables: &[Table]) -> Vec<Place> {
    let places = tables.iter().enumerate();
    let places =
        places.flat_map(|(table, facts)| (0..facts.columns.len()).map(move |column| Place { table, column }));
    places.collect()
}

/// Whether the column's values are its own, and not another's.
fn is_stored(tables: &[Table], place: Place) -> bool {
    let Some(table) = tables.get(place.table) else { return false };
    let inherited = table.columns.get(place.column).is_none_or(|column| column.inherited);
    !inherited && matches!(table.source, Source::Table | Source::Foreign)
}

fn references(tables: &[Table], place: Place) -> &[Place] {
    let column = tables.get(place.table).and_then(|table| table.columns.get(place.column));
    column.map_or(&[], |column| &column.references)
}

/// Takes back that the key of a table with names or addresses is clean: it is the number of a person or a household.
pub(super) fn of_somebody(tables: &[Table], proposed: &mut [Vec<Proposed>]) {
    let identifies = |class| {
        matches!(
            class,
            Class::Name
                | Class::Geographic
                | Class::Ssn
                | Class::Mrn
                | Class::Email
                | Class::Photo
                | Class::Biometric
        )
    };
    for (table, columns) in tables.iter().zip(proposed) {
        if !columns.iter().filter_map(Proposed::class).any(identifies) {
            continue;
        }
        for (facts, known) in table.columns.iter().zip(columns) {
            if facts.key && known.proposal == Proposal::Clean {
                *known = Proposed::new(Proposal::Undecided, "primary key of a table with names or addresses");
            }
        }
    }
}

/// Lets a foreign key take over what is proposed for the column it names: its class, because the values are the same
/// and only equal classes join, or that it is clean.
pub(super) fn follow(tables: &[Table], proposed: &mut [Vec<Proposed>]) {
    let mut grew = true;
    while grew {
        grew = false;
        for (at, table) in tables.iter().enumerate() {
            for (column, facts) in table.columns.iter().enumerate() {
                let place = Place { table: at, column };
                for target in &facts.references {
                    grew |= take_over(tables, proposed, place, *target);
                }
            }
        }
    }
}

fn take_over(tables: &[Table], proposed: &mut [Vec<Proposed>], place: Place, target: Place) -> bool {
    let (Some(own), Some(other)) = (proposed_at(proposed, place), proposed_at(proposed, target)) else {
        return false;
    };
    let reason = format!("foreign key to {}", shown(tables, target));
    match (own.proposal, other.proposal) {
        (Proposal::Undecided | Proposal::Clean, Proposal::Protected { class, .. }) => {
            protect(tables, proposed, place, class, reason);
            true
        }
        (
            Proposal::Protected { class, usage, .. },
            Proposal::Protected { class: same, usage: others, .. },
        ) => {
            let join = class == same && (usage < Usage::Join || others < Usage::Join);
            if join {
                allow_join(proposed, place);
                allow_join(proposed, target);
            }
            join
        }
        (Proposal::Undecided, Proposal::Clean) if all_clean(tables, proposed, place) => {
            replace(proposed, place, Proposed::new(Proposal::Clean, reason));
            true
        }
        (Proposal::Undecided, Proposal::Clean)
        | (Proposal::Clean, Proposal::Clean)
        | (Proposal::Protected { .. }, Proposal::Clean)
        | (_, Proposal::Undecided | Proposal::Follows)
        | (Proposal::Follows, _) => false,
    }
}

/// Whether everything that a column refers to is clean.
fn all_clean(tables: &[Table], proposed: &[Vec<Proposed>], place: Place) -> bool {
    let facts = tables.get(place.table).and_then(|table| table.columns.get(place.column));
    facts.is_some_and(|facts| {
        let clean = |target: &Place| {
            proposed_at(proposed, *target).is_some_and(|other| other.proposal == Proposal::Clean)
        };
        super::is_whole(&facts.ty) && !facts.computed && facts.references.iter().all(clean)
    })
}

fn mark(tables: &[Table], proposed: &mut [Vec<Proposed>], place: Place, reason: String) {
    // A record number that is the key of the patients keeps its class.
    let class = proposed_at(proposed, place).and_then(Proposed::class).unwrap_or(Class::PatientId);
    let class = if class == Class::UniqueCode { Class::PatientId } else { class };
    protect(tables, proposed, place, class, reason);
    if let Some(known) = at(proposed, place) {
        known.patient = true;
    }
}

fn protect(tables: &[Table], proposed: &mut [Vec<Proposed>], place: Place, class: Class, reason: String) {
    let facts = tables.get(place.table).and_then(|table| table.columns.get(place.column));
    let Some(facts) = facts else { return };
    let operator = operator(class, &facts.ty, false);
    let patient = proposed_at(proposed, place).is_some_and(|known| known.patient);
    let proposal = Proposal::Protected { class, operator, usage: Usage::Join };
    replace(proposed, place, Proposed { patient, ..Proposed::new(proposal, reason) });
}

fn allow_join(proposed: &mut [Vec<Proposed>], place: Place) {
    if let Some(Proposed { proposal: Proposal::Protected { usage, .. }, .. }) = at(proposed, place) {
        *usage = Usage::Join.max(*usage);
    }
}

fn replace(proposed: &mut [Vec<Proposed>], place: Place, with: Proposed) {
    if let Some(known) = at(proposed, place) {
        *known = with;
    }
}

fn at(proposed: &mut [Vec<Proposed>], place: Place) -> Option<&mut Proposed> {
    proposed.get_mut(place.table)?.get_mut(place.column)
}

fn proposed_at(proposed: &[Vec<Proposed>], place: Place) -> Option<&Proposed> {
    proposed.get(place.table)?.get(place.column)
}

fn referring(tables: &[Table], target: Place) -> Vec<Place> {
    let columns = tables.iter().enumerate().flat_map(|(table, facts)| {
        facts.columns.iter().enumerate().map(move |(column, facts)| (Place { table, column }, facts))
    });
    columns.filter(|(_, facts)| facts.references.contains(&target)).map(|(place, _)| place).collect()
}

fn name_of(tables: &[Table], place: Place) -> &str {
    let column = tables.get(place.table).and_then(|table| table.columns.get(place.column));
    column.map_or("", |column| column.name.as_str())
}

fn shown(tables: &[Table], place: Place) -> String {
    let Some(table) = tables.get(place.table) else { return String::new() };
    format!("{}.{}.{}", table.schema, table.name, name_of(tables, place))
}
