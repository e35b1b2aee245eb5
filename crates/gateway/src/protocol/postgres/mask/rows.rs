//! Rows on their way to the client, cell by cell: as they came, or masked.
//!
//! The plan says what is masked by the statement's text; the resource's own announcement has the second vote. Where
//! the two disagree nothing is shown. Deliberately absent: deciding (`plan`), and the operators (`phi`).

use foldhash::HashSet;
use phi::detect::{self, Budget, Detector, Features, Scratch, Screened};
use phi::{Class, Keys, Mask, Outcome, RowContext, Type, copy};

use super::plan::{Plan, Protection, Shown};
use crate::limits::DETECT_CELL_BYTES_MAX;
use crate::protocol::postgres::codec::{self, Malformed};
use crate::protocol::postgres::sql::lineage::Column;

/// Why a result cannot be shown; the session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unshowable {
    /// The resource announces another number of columns than the statement returns.
    #[error("the resource announced {announced} columns where the statement returns {planned}")]
    Count { announced: usize, planned: usize },
    /// The resource announces a protected column where the statement's text showed none.
    #[error("the resource announced a protected column where the statement has none")]
    Disagrees,
    /// Objects were changed while the statement was under way: it may mean something else than was planned.
    #[error("the resource's objects were changed while the statement was under way")]
    Changed,
    /// A message that is not laid out as the protocol says.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Copied data that is not laid out as its options say.
    #[error(transparent)]
    Copy(copy::Error),
}

/// What is done to one cell, of a row or of copied data.
#[derive(Debug)]
pub(super) enum Cell {
    Plain,
    /// Without the identifiers that are found in it.
    Screened(Type),
    Masked(Mask),
    /// NULL whatever it is: of a value computed from hidden ones, whether it is NULL tells something of them.
    Absent,
}

/// How the rows of one result leave.
#[derive(Debug)]
pub(crate) struct Rows {
    cells: Box<[Cell]>,
    screen: Option<Box<Screen>>,
}

/// What looks through texts for identifiers.
#[derive(Debug)]
pub(super) struct Screen {
    detector: Detector,
    scratch: Scratch,
    /// For each column, short values in which nothing was found: many columns have few values.
    clean: Vec<HashSet<Box<[u8]>>>,
}

/// The values that are remembered of a column, and the longest of them.
const CLEAN_VALUES_MAX: usize = 256;
const CLEAN_VALUE_BYTES_MAX: usize = 64;

impl Screen {
    /// Returns one for somebody who sees these classes.
    pub(super) fn of(detector: &Detector, sees: impl Fn(Class) -> bool) -> Screen {
        let detector = detector.clone().for_whom_sees(sees);
        Screen { detector, scratch: Scratch::default(), clean: Vec::new() }
    }

    /// Looks through a cell of a column; what goes out in its place is appended. One that is too long is masked as a
    /// whole.
    pub(super) fn cell(&mut self, column: usize, cell: detect::Cell<'_>, out: &mut Vec<u8>) -> Screened {
        if self.clean.get(column).is_some_and(|clean| clean.contains(cell.value)) {
            return Screened::Clean;
        }
        let screened = self.looked(cell, out);
        if screened == Screened::Clean && cell.value.len() <= CLEAN_VALUE_BYTES_MAX {
            if self.clean.len() <= column {
                self.clean.resize_with(column + 1, HashSet::default);
            }
            let clean = self.clean.get_mut(column).filter(|clean| clean.len() < CLEAN_VALUES_MAX);
            if let Some(clean) = clean {
                clean.insert(cell.value.into());
            }
        }
        screened
    }

    fn looked(&mut self, cell: detect::Cell<'_>, out: &mut Vec<u8>) -> Screened {
        let mut budget = Budget::new(DETECT_CELL_BYTES_MAX);
        if *cell.ty != Type::Unknown {
            return self.detector.screen(cell, &Features::none(), &mut budget, &mut self.scratch, out);
        }
        // A type that did not come with PostgreSQL: what can be read of it is looked through, but not written.
        let text = detect::Cell { ty: &Type::Text { max: None }, ..cell };
        let start = out.len();
        let screened = self.detector.screen(text, &Features::none(), &mut budget, &mut self.scratch, out);
        out.truncate(start);
        match screened {
            Screened::Clean => Screened::Clean,
            Screened::Masked | Screened::Null => Screened::Null,
        }
    }
}

/// What masks are compiled with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means<'a> {
    pub(crate) protection: &'a Protection,
    pub(crate) keys: &'a Keys,
    pub(crate) detector: Option<&'a Detector>,
}

impl Means<'_> {
    /// Returns the mask of a column; one that does not suit the type becomes a constant, and NULL for a type that did
    /// not come with PostgreSQL.
    pub(super) fn mask(&self, column: Column, (oid, modifier): (u32, i32)) -> Mask {
        let ty = &Type::builtin(oid, modifier);
        match self.protection.rules.get(&column) {
            Some(rule) => Mask::compile(rule.class, rule.operator, ty, self.keys)
                .unwrap_or_else(|_| Mask::redact(rule.class, ty)),
            None => Mask::redact(Class::UniqueCode, ty),
        }
    }
}

impl Rows {
    /// Compiles a plan for the columns that a `RowDescription` announces, for somebody who sees these classes.
    /// `None` where rows leave as they come.
    ///
    /// # Errors
    /// When plan and announcement disagree, or the message is malformed.
    pub(crate) fn compile(
        plan: &Plan,
        description: &[u8],
        means: Means<'_>,
        sees: impl Fn(Class) -> bool,
    ) -> Result<Option<Rows>, Unshowable> {
        let fields = codec::row_description(description)?;
        let shown: &[Shown] = match plan {
            Plan::Columns(shown) if shown.len() != fields.len() => {
                return Err(Unshowable::Count { announced: fields.len(), planned: shown.len() });
            }
            Plan::Columns(shown) => shown,
            Plan::Plain | Plan::Screened => &[],
            Plan::Nothing | Plan::Prepared(_) | Plan::Cursor(_) => return Err(Unshowable::Disagrees),
        };
        let all = if *plan == Plan::Screened { Shown::Screened } else { Shown::Plain };
        let mut cells = Vec::with_capacity(fields.len());
        for (at, field) in fields.iter().enumerate() {
            let column = field.column.map(|(relation, number)| Column { relation, number });
            let announced = column.filter(|column| means.protection.hides(*column, &sees));
            cells.push(match (shown.get(at).copied().unwrap_or(all), announced) {
                (Shown::Plain, None) => Cell::Plain,
                (Shown::Screened, None) => screened(field.type_oid, field.modifier),
                (Shown::Plain | Shown::Screened, Some(_)) => return Err(Unshowable::Disagrees),
                (Shown::Masked(column), _) => {
                    Cell::Masked(means.mask(column, (field.type_oid, field.modifier)))
                }
                (Shown::Redacted, _) => Cell::Absent,
            });
        }
        let masks = cells.iter().any(|cell| !matches!(cell, Cell::Plain));
        let screens = cells.iter().any(|cell| matches!(cell, Cell::Screened(_)));
        let screen = means.detector.filter(|_| screens).map(|detector| Box::new(Screen::of(detector, &sees)));
        Ok(masks.then(|| Rows { cells: cells.into(), screen }))
    }

    /// Returns which columns are NULL whatever they are, counted from 1.
    pub(crate) fn absent(&self) -> impl Iterator<Item = usize> {
        (1..).zip(&self.cells).filter(|(_, cell)| matches!(cell, Cell::Absent)).map(|(number, _)| number)
    }

    /// Appends a `DataRow` with its cells masked. `formats` are the format codes of the portal: none for all text, one
    /// for all columns, or one each.
    ///
    /// # Errors
    /// When the row is malformed or has another number of columns; nothing of it is appended then.
    pub(crate) fn rewrite(
        &mut self,
        row: &[u8],
        formats: &[i16],
        context: &RowContext<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Unshowable> {
        let start = out.len();
        let written = self.write(row, formats, context, out);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    fn write(
        &mut self,
        row: &[u8],
        formats: &[i16],
        context: &RowContext<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Unshowable> {
        let (count, mut values) = codec::data_row(row)?;
        if count != self.cells.len() {
            return Err(Unshowable::Count { announced: count, planned: self.cells.len() });
        }
        let start = out.len();
        out.extend_from_slice(b"D\0\0\0\0");
        out.extend_from_slice(row.get(5..7).unwrap_or_default());
        for (at, cell) in self.cells.iter().enumerate() {
            let value = values.value()?;
            match (cell, value) {
                (Cell::Plain, Some(value)) => {
                    put_length(out, value.len())?;
                    out.extend_from_slice(value);
                }
                (Cell::Absent, _) | (_, None) => out.extend_from_slice(&NULL),
                (Cell::Screened(ty), Some(value)) => {
                    let cell = detect::Cell { ty, format: codec::format_at(formats, at)?, value };
                    screened_cell(self.screen.as_deref_mut(), at, cell, out)?;
                }
                (Cell::Masked(mask), Some(value)) => {
                    let format = codec::format_at(formats, at)?;
                    let at = out.len();
                    out.extend_from_slice(&NULL);
                    match mask.apply(format, Some(value), context, out) {
                        Outcome::Null => {}
                        Outcome::Masked => {
                            let length = out.len() - at - NULL.len();
                            set_length(out, at, length)?;
                        }
                    }
                }
            }
        }
        values.end()?;
        let length = out.len() - start - 1;
        set_length(out, start + 1, length)
    }
}

/// Types of PostgreSQL that hold no text, and whose values `phi` does not know: system identifiers, geometry, money.
const TEXTLESS: [u32; 22] = [
    27, 28, 29, 600, 601, 602, 603, 604, 628, 718, 790, 2202, 2203, 2204, 2205, 2206, 3220, 3734, 3769, 4089,
    4096, 5069,
];

/// Returns what is done to a cell that is looked through.
fn screened(oid: u32, modifier: i32) -> Cell {
    let ty = Type::builtin(oid, modifier);
    let textless = ty == Type::Unknown && TEXTLESS.contains(&oid);
    if Detector::looks_into(&ty) && !textless { Cell::Screened(ty) } else { Cell::Plain }
}

/// Appends a cell with its length, looked through. Where nothing looks, it is NULL.
fn screened_cell(
    screen: Option<&mut Screen>,
    column: usize,
    cell: detect::Cell<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Unshowable> {
    let at = out.len();
    out.extend_from_slice(&NULL);
    let Some(screen) = screen else { return Ok(()) };
    match screen.cell(column, cell, out) {
        Screened::Null => return Ok(()),
        Screened::Clean => out.extend_from_slice(cell.value),
        Screened::Masked => {}
    }
    let length = out.len() - at - NULL.len();
    set_length(out, at, length)
}

/// The length of a NULL.
const NULL: [u8; 4] = (-1_i32).to_be_bytes();

fn put_length(out: &mut Vec<u8>, length: usize) -> Result<(), Unshowable> {
    let length = i32::try_from(length).map_err(|_| Malformed::Layout("DataRow"))?;
    out.extend_from_slice(&length.to_be_bytes());
    Ok(())
}

fn set_length(out: &mut [u8], at: usize, length: usize) -> Result<(), Unshowable> {
    let length = i32::try_from(length).map_err(|_| Malformed::Layout("DataRow"))?;
    let place = out.get_mut(at..at + 4).ok_or(Malformed::Layout("DataRow"))?;
    place.copy_from_slice(&length.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::RootKey;
    use phi::operator::KeyId;
    use phi::{Operator, Usage};
    use proptest::prelude::*;

    use super::*;
    use crate::protected::Rule;

    const SSN: Column = Column { relation: 20001, number: 3 };
    const NAME: Column = Column { relation: 20001, number: 4 };
    const TEXT: u32 = 25;
    const INT4: u32 = 23;

    fn protection(operator: &str) -> Protection {
        let mut protection = Protection::default();
        let operator: Operator = operator.parse().unwrap();
        protection.rules.insert(SSN, Rule { class: Class::Ssn, operator, usage: Usage::None });
        protection.clean.insert(NAME);
        protection
    }

    fn description(fields: &[(Option<Column>, u32)]) -> Vec<u8> {
        let mut frame = Vec::new();
        codec::message(&mut frame, b'T', |out| {
            out.extend_from_slice(&u16::try_from(fields.len()).unwrap().to_be_bytes());
            for (column, oid) in fields {
                out.extend_from_slice(b"x\0");
                let column = column.unwrap_or(Column { relation: 0, number: 0 });
                out.extend_from_slice(&column.relation.to_be_bytes());
                out.extend_from_slice(&column.number.to_be_bytes());
                out.extend_from_slice(&oid.to_be_bytes());
                out.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
            }
        });
        frame
    }

    fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut frame = Vec::new();
        codec::message(&mut frame, b'D', |out| {
            out.extend_from_slice(&u16::try_from(values.len()).unwrap().to_be_bytes());
            for value in values {
                match value {
                    None => out.extend_from_slice(&NULL),
                    Some(value) => {
                        put_length(out, value.len()).unwrap();
                        out.extend_from_slice(value);
                    }
                }
            }
        });
        frame
    }

    fn compile(
        protection: &Protection,
        plan: &Plan,
        fields: &[(Option<Column>, u32)],
    ) -> Result<Option<Rows>, Unshowable> {
        let keys = Keys::derive(&RootKey::new([7; 32]), KeyId::new(1).unwrap());
        let detector = Detector::default();
        let means = Means { protection, keys: &keys, detector: Some(&detector) };
        Rows::compile(plan, &description(fields), means, |_| false)
    }

    fn columns(shown: &[Shown]) -> Plan {
        Plan::Columns(shown.into())
    }

    #[test]
    fn masked_cells_change_and_others_do_not() {
        let protection = protection("redact");
        let plan = columns(&[Shown::Masked(SSN), Shown::Plain, Shown::Redacted]);
        let fields = [(Some(SSN), TEXT), (Some(NAME), TEXT), (None, INT4)];
        let mut rows = compile(&protection, &plan, &fields).unwrap().unwrap();
        let mut out = b"before".to_vec();
        let came = row(&[Some(b"900-12-3456"), Some(b"Ann"), Some(b"42")]);
        rows.rewrite(&came, &[], &RowContext::new(2026), &mut out).unwrap();
        assert!(out.starts_with(b"before"));
        let (count, mut values) = codec::data_row(&out[6..]).unwrap();
        assert_eq!(count, 3);
        let masked = values.value().unwrap().unwrap().to_vec();
        assert!(!masked.windows(3).any(|part| part == b"900" || part == b"345"), "{masked:?}");
        assert_eq!(values.value().unwrap(), Some(b"Ann".as_slice()));
        assert_ne!(values.value().unwrap(), Some(b"42".as_slice()));
        values.end().unwrap();
    }

    #[test]
    fn what_the_resource_announces_has_the_second_vote() {
        let protection = protection("redact");
        let plain = compile(&protection, &Plan::Plain, &[(Some(NAME), TEXT)]);
        assert!(plain.unwrap().is_none());
        let catalogue = Column { relation: 1259, number: 2 };
        let plain = compile(&protection, &columns(&[Shown::Plain]), &[(Some(catalogue), TEXT)]);
        assert!(plain.unwrap().is_none());
        let unasked = compile(&protection, &Plan::Nothing, &[(None, TEXT)]);
        assert_eq!(unasked.unwrap_err(), Unshowable::Disagrees);
        let hidden = compile(&protection, &Plan::Plain, &[(Some(SSN), TEXT)]);
        assert_eq!(hidden.unwrap_err(), Unshowable::Disagrees);
        let unclassified = Column { relation: 20001, number: 5 };
        let hidden = compile(&protection, &columns(&[Shown::Plain]), &[(Some(unclassified), TEXT)]);
        assert_eq!(hidden.unwrap_err(), Unshowable::Disagrees);
        let more = compile(&protection, &columns(&[Shown::Plain]), &[(None, TEXT), (None, TEXT)]);
        assert_eq!(more.unwrap_err(), Unshowable::Count { announced: 2, planned: 1 });
    }

    #[test]
    fn a_clean_text_leaves_without_what_is_found_in_it() {
        const JSONB: u32 = 3802;
        let mut protection = protection("redact");
        let born = Column { relation: 20001, number: 5 };
        let fields = [(Some(NAME), TEXT), (Some(NAME), INT4), (None, JSONB), (Some(NAME), TEXT)];
        protection.clean.insert(born);
        let plan = columns(&[Shown::Screened, Shown::Screened, Shown::Screened, Shown::Plain]);
        let mut rows = compile(&protection, &plan, &fields).unwrap().unwrap();
        let found = "SSN 219-09-9999, call";
        let json = [b"\x01".as_slice(), br#"{"a": "ann@example.org", "n": 1}"#].concat();
        let came = row(&[Some(found.as_bytes()), Some(&[0, 0, 0, 7]), Some(&json), Some(found.as_bytes())]);
        let mut out = Vec::new();
        rows.rewrite(&came, &[1], &RowContext::new(2026), &mut out).unwrap();
        let (_, mut values) = codec::data_row(&out).unwrap();
        assert_eq!(values.value().unwrap(), Some(b"SSN [SSN], call".as_slice()));
        assert_eq!(values.value().unwrap(), Some([0, 0, 0, 7].as_slice()));
        let shown = String::from_utf8(values.value().unwrap().unwrap().to_vec()).unwrap();
        assert!(shown.contains("\"n\": 1") && !shown.contains("ann@"), "{shown}");
        assert_eq!(values.value().unwrap(), Some(found.as_bytes()), "the plan decides");
        // What is longer than what is looked through is masked as a whole.
        let long = "x ".repeat(1 << 20);
        let came = row(&[Some(long.as_bytes()), None, None, None]);
        out.clear();
        rows.rewrite(&came, &[], &RowContext::new(2026), &mut out).unwrap();
        let (_, mut values) = codec::data_row(&out).unwrap();
        assert!(values.value().unwrap().unwrap().len() < 100);
    }

    #[test]
    fn an_operator_that_does_not_suit_the_type_shows_a_constant() {
        let protection = protection("email_domain");
        let mut rows =
            compile(&protection, &columns(&[Shown::Masked(SSN)]), &[(Some(SSN), INT4)]).unwrap().unwrap();
        let mut out = Vec::new();
        rows.rewrite(&row(&[Some(&77_i32.to_be_bytes())]), &[1], &RowContext::new(2026), &mut out).unwrap();
        let (_, mut values) = codec::data_row(&out).unwrap();
        assert_ne!(values.value().unwrap(), Some(77_i32.to_be_bytes().as_slice()));
    }

    proptest! {
        #[test]
        fn a_broken_row_leaves_nothing(cut in 7_usize..40, extra in 0_usize..3, lie in any::<i32>()) {
            let protection = protection("redact");
            let plan = columns(&[Shown::Masked(SSN), Shown::Plain]);
            let mut rows = compile(&protection, &plan, &[(Some(SSN), TEXT), (None, TEXT)]).unwrap().unwrap();
            let whole = row(&[Some(b"900-12-3456"), Some(b"Ann Brown of ward 3")]);
            let context = RowContext::new(2026);
            let mut out = Vec::new();
            let cut = whole.get(..cut.min(whole.len() - 1)).unwrap();
            prop_assert!(rows.rewrite(cut, &[], &context, &mut out).is_err() && out.is_empty());
            let mut longer = whole.clone();
            longer.extend(std::iter::repeat_n(0, extra));
            prop_assert_eq!(rows.rewrite(&longer, &[], &context, &mut out).is_ok(), extra == 0);
            out.clear();
            let mut lying = whole;
            lying[7..11].copy_from_slice(&lie.to_be_bytes());
            if rows.rewrite(&lying, &[], &context, &mut out).is_err() {
                prop_assert!(out.is_empty());
            } else {
                prop_assert_eq!(lie, 11);
            }
        }
    }
}
