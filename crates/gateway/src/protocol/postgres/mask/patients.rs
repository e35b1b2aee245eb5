//! Whose rows a statement returns or changes, as far as that can be told.
//!
//! A patient is in reach where the statement's text compares one of the configured columns with an identifier for every
//! row, where such a column is among the outputs, or where a comparison ties the rows to one of these. Every relation
//! that holds something of patients has to be in reach: a statement that reads one beside the patient it names is not
//! about that patient alone. Where it cannot be told the record says so, with the number of rows.
//! Deliberately absent: rights, and making tokens of identifiers, which is the trail's.

use foldhash::HashSet;
use phi::pgtype::{canonical, canonical_elements};
use phi::{Format, Type};

use super::copies::style;
use super::plan::Protection;
use crate::protocol::postgres::codec::{self, Malformed};
use crate::protocol::postgres::sql::lineage::{Column, Kind, Lineage, Operand, Origin, Outputs, Ties};

/// The columns by which patients are known, under one catalogue.
#[derive(Debug, Default)]
pub(crate) struct PatientColumns {
    /// Those that hold an identifier.
    pub(crate) columns: HashSet<Column>,
    /// The relations that hold one.
    pub(crate) naming: HashSet<u32>,
    /// The relations that hold anything that is not clean: their rows are about patients, whether or not they say which.
    pub(crate) bearing: HashSet<u32>,
}

/// How it can be told whose rows a statement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Its rows are about nobody.
    Nobody,
    /// Its text names them all.
    Text,
    /// Each row names its own.
    Rows,
    /// It cannot.
    Unknown,
}

/// Whom a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Concern {
    pub(crate) reach: Reach,
    /// It runs what is not followed, which may tell something without any row.
    pub(crate) runs: bool,
    /// The identifiers that the text names, in canonical form.
    pub(crate) named: Vec<Box<[u8]>>,
    /// The outputs that hold an identifier, in ascending order.
    pub(crate) outputs: Box<[usize]>,
    /// Everything in a row is of the one patient whom the row, or the text, names: dates may be shifted by that patient's
    /// days. Another's date shifted by them would tell both.
    pub(crate) shifts: bool,
}

impl Concern {
    /// Of a statement that is not known.
    pub(crate) fn unknown() -> Concern {
        Concern {
            reach: Reach::Unknown,
            runs: true,
            named: Vec::new(),
            outputs: Box::default(),
            shifts: false,
        }
    }
}

/// The parameters of a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameters<'a> {
    /// Format codes, count and values, as `Bind` has them.
    pub(crate) wire: &'a [u8],
    /// The types that `Parse` gave them; 0, or none, where the resource was to find out.
    pub(crate) types: &'a [u32],
}

impl<'a> Parameters<'a> {
    /// Adds the canonical forms of what a column of this type is compared with; `None` where that cannot be told.
    fn identifiers(&self, ty: (u32, i32), operand: &Operand, named: &mut Vec<Box<[u8]>>) -> Option<()> {
        let column = Type::builtin(ty.0, ty.1);
        let mut form = Vec::new();
        match operand {
            Operand::Element(array) => {
                let (format, value, given) = self.value(array)?;
                given.is_none_or(|given| means_the_same(ty.0, array_element(given))).then_some(())?;
                return canonical_elements(&column, format, value, &mut |form| named.push(form.into()));
            }
            Operand::Text(text) => {
                let (format, value, given) = self.value(text)?;
                let is_text = given.is_none_or(|oid| matches!(Type::builtin(oid, -1), Type::Text { .. }));
                canonical(&column, Format::Text, value, &mut form)?;
                // Written in another way it is no row's.
                let alone = is_written_alone(&column) && form == value;
                (alone && (format == Format::Text || is_text)).then_some(())?;
            }
            Operand::Literal(_) | Operand::Parameter(_) => {
                let (format, value, given) = self.value(operand)?;
                given.is_none_or(|given| means_the_same(ty.0, given)).then_some(())?;
                let given = given.filter(|_| format == Format::Binary);
                let ty = given.map_or(column, |oid| Type::builtin(oid, -1));
                canonical(&ty, format, value, &mut form)?;
            }
        }
        named.push(form.into());
        Some(())
    }

    /// Returns a value as it is written, and the type that `Parse` gave it.
    fn value<'v>(&self, operand: &'v Operand) -> Option<(Format, &'v [u8], Option<u32>)>
    where
        'a: 'v,
    {
        match operand {
            Operand::Literal(text) => Some((Format::Text, text.as_bytes(), None)),
            Operand::Parameter(number) => {
                let at = number.checked_sub(1)?;
                let (format, value) = codec::parameter(self.wire, at).ok()??;
                let given = self.types.get(at).copied().filter(|given| *given != 0);
                Some((codec::format_of(format, "Bind").ok()?, value, given))
            }
            Operand::Element(_) | Operand::Text(_) => None,
        }
    }
}

/// Tells whether a value that is given in a type says to a column of another what it says itself: a bit string or a `"char"`
/// that is cast to a number is another number than the one it is written as.
fn means_the_same(column: u32, given: u32) -> bool {
    const NUMBERS: [u32; 3] = [20, 21, 23];
    const TEXTS: [u32; 3] = [25, 705, 1043];
    column == given || TEXTS.contains(&given) || (NUMBERS.contains(&column) && NUMBERS.contains(&given))
}

/// Returns the type of an array's elements, of the arrays that identifiers come in; else the type itself.
fn array_element(array: u32) -> u32 {
    match array {
        1005 => 21,
        1007 => 23,
        1016 => 20,
        1009 => 25,
        1015 => 1043,
        2951 => 2950,
        other => other,
    }
}

/// Tells whether values of the type are written in one way only.
fn is_written_alone(ty: &Type) -> bool {
    matches!(ty, Type::Int2 | Type::Int4 | Type::Int8 | Type::Uuid | Type::Text { .. })
}

impl Protection {
    /// Finds out whom a statement is about.
    pub(crate) fn concern(&self, lineage: &Lineage, parameters: Parameters<'_>) -> Concern {
        let Ties { constants, equal: _, given, filled, moved: _, analyzes, loose: _ } = &lineage.ties;
        let mut named = Vec::new();
        let mut known: HashSet<Column> = HashSet::default();
        let mut unknown: HashSet<Column> = HashSet::default();
        for (column, operand) in constants.iter().chain(given) {
            if !self.patients.columns.contains(column) {
                continue;
            }
            if parameters.identifiers(self.type_of(*column), operand, &mut named).is_none() {
                unknown.insert(*column);
            }
        }
        known.extend(constants.iter().map(|(column, _)| *column));
        known.extend(filled);
        known.retain(|column| self.patients.columns.contains(column) && !unknown.contains(column));
        named.sort_unstable();
        named.dedup();
        let outputs: Box<[usize]> = match &lineage.outputs {
            Outputs::Columns(origins) => (0..).zip(origins).filter_map(|o| self.names_patient(o)).collect(),
            Outputs::None | Outputs::Open(_) | Outputs::Prepared(_) | Outputs::Cursor(_) => Box::default(),
        };
        let reach = self.reach(lineage, known, &outputs);
        let shifts = lineage.changed.is_empty()
            && match reach {
                Reach::Text => named.len() == 1,
                Reach::Rows => self.one_of_each_row(lineage, &outputs),
                Reach::Nobody | Reach::Unknown => false,
            };
        let code = matches!(lineage.kind, Kind::Other("DO" | "CALL"));
        let runs = reach == Reach::Unknown && (lineage.opaque || code || *analyzes);
        Concern { reach, runs, named, outputs, shifts }
    }

    /// Returns which columns that a `RowDescription` announces hold the identifier of a patient, with their type: those of
    /// these outputs, and those that the resource says are such a column.
    pub(crate) fn naming(
        &self,
        description: &[u8],
        outputs: &[usize],
    ) -> Result<Vec<(usize, Type)>, Malformed> {
        let mut naming = Vec::new();
        for (at, field) in codec::row_description(description)?.iter().enumerate() {
            let column = field.column.map(|(relation, number)| Column { relation, number });
            let announced = column.is_some_and(|column| self.patients.columns.contains(&column));
            if announced || outputs.contains(&at) {
                naming.push((at, Type::builtin(field.type_oid, field.modifier)));
            }
        }
        Ok(naming)
    }

    fn names_patient(&self, (at, origin): (usize, &Origin)) -> Option<usize> {
        let Origin::Column(column) = origin else { return None };
        self.patients.columns.contains(column).then_some(at)
    }

    fn reach(&self, lineage: &Lineage, mut known: HashSet<Column>, outputs: &[usize]) -> Reach {
        match lineage.kind {
            // A plan has no rows of patients, but tells what running it found.
            Kind::Explain if !lineage.ties.analyzes => return Reach::Nobody,
            Kind::Other(_) => return Reach::Unknown,
            Kind::Data | Kind::CopyOut(_) | Kind::CopyIn | Kind::Explain | Kind::Session | Kind::Prepare => {}
        }
        if lineage.opaque {
            return Reach::Unknown;
        }
        let bearing: Vec<u32> =
            lineage.relations.iter().copied().filter(|oid| self.patients.bearing.contains(oid)).collect();
        if bearing.is_empty() {
            return Reach::Nobody;
        }
        // Sorted: what is read again stands behind itself.
        if lineage.ties.loose || !bearing.is_sorted_by(|one, next| one < next) {
            return Reach::Unknown;
        }
        if self.covers(&lineage.ties, &mut known, &bearing) {
            return Reach::Text;
        }
        // Of copied data only what is written in a known way.
        let read = match &lineage.kind {
            Kind::CopyOut(options) => style(options).is_some(),
            Kind::Data | Kind::Session | Kind::Prepare | Kind::CopyIn | Kind::Other(_) => true,
            Kind::Explain => false,
        };
        if let (true, Outputs::Columns(origins)) = (read, &lineage.outputs) {
            // Not what a row was given by this very statement: it was another's before.
            let kept = |column: &&Column| !lineage.ties.moved.contains(column);
            let columns = outputs.iter().filter_map(|at| origins.get(*at)?.columns().first());
            known.extend(columns.filter(kept));
            if self.covers(&lineage.ties, &mut known, &bearing) {
                return Reach::Rows;
            }
        }
        Reach::Unknown
    }

    /// Tells whether everything in a row is of the patient whom any one of the outputs names.
    fn one_of_each_row(&self, lineage: &Lineage, outputs: &[usize]) -> bool {
        let Outputs::Columns(origins) = &lineage.outputs else { return false };
        let mut named = outputs.iter().filter_map(|at| origins.get(*at)?.columns().first());
        let Some(first) = named.next() else { return false };
        let mut known: HashSet<Column> = HashSet::default();
        known.insert(*first);
        let bearing = |oid: &u32| self.patients.bearing.contains(oid);
        let bearing: Vec<u32> = lineage.relations.iter().copied().filter(bearing).collect();
        self.covers(&lineage.ties, &mut known, &bearing) && named.all(|column| known.contains(column))
    }

    /// Tells whether the rows of all these relations are tied to what is known of patients.
    fn covers(&self, ties: &Ties, known: &mut HashSet<Column>, bearing: &[u32]) -> bool {
        // One with several identifiers is about several patients: each of them has to be known. A relation without an
        // identifier of its own is tied by any column to one that is known.
        let whole = |known: &HashSet<Column>, oid: u32| {
            let mut own = self.patients.columns.iter().filter(|column| column.relation == oid);
            own.all(|column| known.contains(column))
        };
        let mut tied: HashSet<u32> = known.iter().map(|column| column.relation).collect();
        tied.retain(|oid| whole(known, *oid));
        loop {
            let before = (known.len(), tied.len());
            for (one, other) in &ties.equal {
                if known.contains(one) && self.patients.columns.contains(other) {
                    known.insert(*other);
                    if whole(known, other.relation) {
                        tied.insert(other.relation);
                    }
                }
                if tied.contains(&one.relation) && !self.patients.naming.contains(&other.relation) {
                    tied.insert(other.relation);
                }
            }
            if before == (known.len(), tied.len()) {
                break;
            }
        }
        !known.is_empty() && bearing.iter().all(|oid| tied.contains(oid))
    }
}

#[cfg(test)]
mod tests;
