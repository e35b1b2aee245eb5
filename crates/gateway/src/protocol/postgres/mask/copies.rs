//! Copied data on its way to the client: cell by cell, as rows are, in all three formats.
//!
//! Copied data does not say what its columns are, so the types come from the catalogue, and the announcement's second
//! vote is the number of columns and whether they are binary. Options that are not known here are refused before the
//! statement is sent. Deliberately absent: COPY from the client.

use std::sync::Arc;

use phi::copy::{self, Rewriter, Row, Style};
use phi::detect::{self, Screened};
use phi::{Class, Format, Outcome, RowContext, Type};

use super::plan::{Plan, Protection, Refusal, Shown};
use super::rows::{Cell, Means, Screen, Unshowable};
use crate::limits::UPSTREAM_MESSAGE_BYTES_MAX;
use crate::protocol::postgres::codec;
use crate::protocol::postgres::sql::lineage::{CopyOptions, Kind, Lineage, Origin, Outputs};

/// How copied data is written, and whether its first line is a heading; `None` for options that are not known.
pub(crate) fn style(options: &CopyOptions) -> Option<(Style, bool)> {
    let mut style = match &*options.format {
        "text" => Style::text(),
        "csv" => Style::csv(),
        "binary" => Style::Binary,
        _ => return None,
    };
    let mut header = false;
    let mut escaped = false;
    for (name, value) in &options.others {
        let value = value.as_deref();
        let one = || value.and_then(|value| <[u8; 1]>::try_from(value.as_bytes()).ok()).map(|[byte]| byte);
        match (&**name, &mut style) {
            ("delimiter", Style::Text { delimiter, .. } | Style::Csv { delimiter, .. }) => {
                *delimiter = one()?
            }
            ("null", Style::Text { null, .. } | Style::Csv { null, .. }) => {
                *null = value?.as_bytes().to_vec()
            }
            ("quote", Style::Csv { quote, escape, .. }) => {
                *quote = one()?;
                if !escaped {
                    *escape = *quote;
                }
            }
            ("escape", Style::Csv { escape, .. }) => {
                *escape = one()?;
                escaped = true;
            }
            // It says which cells are in quotes, of those that are not NULL: that is read from the data.
            ("force_quote", Style::Csv { .. }) => {}
            ("header", Style::Text { .. } | Style::Csv { .. }) => {
                header = match value.map(str::to_ascii_lowercase).as_deref() {
                    None | Some("true" | "on" | "1") => true,
                    Some("false" | "off" | "0") => false,
                    Some(_) => return None,
                }
            }
            ("encoding", _) if value.is_some_and(|value| value.eq_ignore_ascii_case("utf8")) => {}
            _ => return None,
        }
    }
    Some((style, header))
}

/// Returns why copied data cannot be masked by this plan, if that is so.
pub(crate) fn refusal(lineage: &Lineage, plan: &Plan) -> Option<Refusal> {
    let Kind::CopyOut(options) = &lineage.kind else { return None };
    let unknown = plan.masks() && style(options).is_none();
    unknown.then_some(Refusal::Kind("COPY of protected columns with these options"))
}

/// How one stream of copied data leaves.
#[derive(Debug)]
pub(crate) struct Copied {
    rewriter: Rewriter,
    format: Format,
    cells: Box<[Cell]>,
    /// The columns that hold the identifier of a patient.
    naming: Box<[(usize, Type)]>,
    /// Dates may be shifted by the days of the patient whom their row names.
    shifts: bool,
    screen: Option<Screen>,
}

/// Whom the cells of a row name: called with each identifier in canonical form.
pub(crate) type Names<'n> = &'n mut dyn FnMut(&[u8]);

impl Copied {
    /// Compiles a plan for the data that a `CopyOutResponse` announces; without a plan everything is seen. `outputs` are
    /// those that hold the identifier of a patient; with it, whether dates may be shifted by that patient's days. `None` where the data passes as it comes.
    ///
    /// # Errors
    /// When plan and announcement disagree, or the message is malformed.
    pub(crate) fn compile(
        lineage: &Lineage,
        options: &CopyOptions,
        plan: Option<&Plan>,
        (outputs, shifts): (&[usize], bool),
        response: &[u8],
        means: Means<'_>,
        sees: impl Fn(Class) -> bool,
    ) -> Result<Option<Copied>, Unshowable> {
        let masks = plan.is_some_and(Plan::masks);
        if !masks && outputs.is_empty() {
            return Ok(None);
        }
        let (style, header) = style(options).ok_or(Unshowable::Disagrees)?;
        let Outputs::Columns(origins) = &lineage.outputs else { return Err(Unshowable::Disagrees) };
        let (binary, columns) = codec::copy_response(response)?;
        if columns != origins.len() {
            return Err(Unshowable::Count { announced: columns, planned: origins.len() });
        }
        if binary != (style == Style::Binary) {
            return Err(Unshowable::Disagrees);
        }
        let shown: &[Shown] = match plan {
            Some(Plan::Columns(shown)) if shown.len() == columns => shown,
            Some(Plan::Columns(shown)) => {
                return Err(Unshowable::Count { announced: columns, planned: shown.len() });
            }
            None | Some(Plan::Plain | Plan::Screened) => &[],
            Some(Plan::Nothing | Plan::Prepared(_) | Plan::Cursor(_)) => return Err(Unshowable::Disagrees),
        };
        let all = if plan == Some(&Plan::Screened) { Shown::Screened } else { Shown::Plain };
        let cell = |at: usize| match shown.get(at).copied().unwrap_or(all) {
            Shown::Plain => Cell::Plain,
            Shown::Screened => Cell::Screened(type_of(means.protection, origins.get(at))),
            Shown::Masked(column) => Cell::Masked(means.mask(column, means.protection.type_of(column))),
            Shown::Redacted => Cell::Absent,
        };
        let format = style.format();
        let rewriter = Rewriter::new(style, columns, header, UPSTREAM_MESSAGE_BYTES_MAX);
        Ok(Some(Copied {
            rewriter: rewriter.map_err(Unshowable::Copy)?,
            format,
            cells: (0..columns).map(cell).collect(),
            naming: naming(means.protection, origins, outputs),
            shifts,
            screen: means.detector.map(|detector| Screen::of(detector, sees)),
        }))
    }

    /// Takes the next piece of the stream, and appends what leaves of it. Returns the number of rows, and of those that
    /// name nobody.
    ///
    /// # Errors
    /// When the data is not what was announced; nothing more of it may leave.
    pub(crate) fn feed(
        &mut self,
        piece: &[u8],
        year: u16,
        names: Names<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(u64, u64), Unshowable> {
        let Copied { rewriter, format, cells, naming, shifts, screen } = self;
        let mut nobody = 0;
        let mut patient: Option<Arc<[u8]>> = None;
        let mut each = |row: &Row<'_>, column: usize, out: &mut Vec<u8>| {
            if column == 0 {
                let named = named(naming, row, *format, names);
                nobody += u64::from(!named.0);
                patient = named.1.filter(|_| *shifts);
            }
            match (cells.get(column), row.cell(column)) {
                (Some(Cell::Plain), _) => copy::Cell::Keep,
                (Some(Cell::Screened(ty)), Some(value)) => match screen.as_mut() {
                    None => copy::Cell::Null,
                    Some(screen) => {
                        match screen.cell(column, detect::Cell { ty, format: *format, value }, out) {
                            Screened::Clean => copy::Cell::Keep,
                            Screened::Masked => copy::Cell::Masked,
                            Screened::Null => copy::Cell::Null,
                        }
                    }
                },
                (Some(Cell::Masked(mask)), Some(value)) => {
                    let context = RowContext { patient: patient.as_deref(), ..RowContext::new(year) };
                    match mask.apply(*format, Some(value), &context, out) {
                        Outcome::Masked => copy::Cell::Masked,
                        Outcome::Null => copy::Cell::Null,
                    }
                }
                // More cells than were announced are refused by the rewriter.
                (Some(Cell::Masked(_) | Cell::Screened(_)), None) | (Some(Cell::Absent) | None, _) => {
                    copy::Cell::Null
                }
            }
        };
        let rows = rewriter.feed(piece, out, &mut each).map_err(Unshowable::Copy)?;
        Ok((rows, nobody))
    }

    /// Checks that the stream may end here.
    ///
    /// # Errors
    /// When it ends within a row.
    pub(crate) fn finish(&self) -> Result<(), Unshowable> {
        self.rewriter.finish().map_err(Unshowable::Copy)
    }
}

/// Returns the type of an output: of a column from the catalogue, else a text, which every cell of copied data can be
/// read as.
fn type_of(protection: &Protection, origin: Option<&Origin>) -> Type {
    let of_column = match origin {
        Some(Origin::Column(column)) => Some(protection.type_of(*column)),
        Some(Origin::Clean | Origin::Computed { .. } | Origin::Unknown) | None => None,
    };
    const TEXT: (u32, i32) = (25, -1);
    let (oid, modifier) = of_column.unwrap_or(TEXT);
    Type::builtin(oid, modifier)
}

fn naming(protection: &Protection, origins: &[Origin], outputs: &[usize]) -> Box<[(usize, Type)]> {
    let ty = |at: &usize| match origins.get(*at) {
        Some(Origin::Column(column)) => {
            let (oid, modifier) = protection.type_of(*column);
            Some((*at, Type::builtin(oid, modifier)))
        }
        Some(Origin::Clean | Origin::Computed { .. } | Origin::Unknown) | None => None,
    };
    outputs.iter().filter_map(ty).collect()
}

/// Names whom a row is about. Returns whether it names somebody, and who it is where that is one.
fn named(
    naming: &[(usize, Type)],
    row: &Row<'_>,
    format: Format,
    names: Names<'_>,
) -> (bool, Option<Arc<[u8]>>) {
    let mut one: Option<Arc<[u8]>> = None;
    let mut several = false;
    for (at, ty) in naming {
        let Some(value) = row.cell(*at) else { continue };
        let mut form = Vec::new();
        if phi::pgtype::canonical(ty, format, value, &mut form).is_none() {
            continue;
        }
        names(&form);
        several |= one.as_deref().is_some_and(|other| other != form);
        one = Some(form.into());
    }
    (one.is_some(), one.filter(|_| !several))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(format: &str, others: &[(&str, Option<&str>)]) -> CopyOptions {
        let others = others.iter().map(|(name, value)| ((*name).into(), value.map(Into::into)));
        CopyOptions { format: format.into(), others: others.collect() }
    }

    #[test]
    fn options_are_known_or_refused() {
        let known = |format, others: &[_]| style(&options(format, others));
        assert_eq!(known("text", &[]), Some((Style::text(), false)));
        assert_eq!(known("binary", &[]), Some((Style::Binary, false)));
        assert_eq!(known("csv", &[("header", None)]), Some((Style::csv(), true)));
        let odd = Style::Csv { delimiter: b';', null: b"-".to_vec(), quote: b'\'', escape: b'\'' };
        let others =
            [("delimiter", Some(";")), ("null", Some("-")), ("quote", Some("'")), ("force_quote", None)];
        assert_eq!(known("csv", &others), Some((odd, false)));
        let escape = Style::Csv { delimiter: b',', null: Vec::new(), quote: b'\'', escape: b'\\' };
        let others = [("escape", Some("\\")), ("quote", Some("'")), ("header", Some("FALSE"))];
        assert_eq!(known("csv", &others), Some((escape, false)));
        for (format, name, value) in [
            ("text", "quote", Some("'")),
            ("binary", "delimiter", Some(",")),
            ("binary", "header", None),
            ("csv", "encoding", Some("latin1")),
            ("csv", "header", Some("match")),
            ("csv", "delimiter", Some("é")),
            ("csv", "something_new", None),
            ("parquet", "header", None),
        ] {
            assert_eq!(known(format, &[(name, value)]), None, "{format} {name}");
        }
    }
}
