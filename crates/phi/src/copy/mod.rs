//! COPY streams: taken apart into rows and cells, and put together again with masked cells.
//!
//! A stream may be cut into chunks at any byte. What is held back is at most one row, and a row has a limit. A cell that is
//! kept goes out byte for byte as it came. After an error nothing more of the stream may go out.

mod binary;
mod csv;
mod text;

use std::ops::Range;

use crate::{Format, Outcome};

/// How the stream is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Style {
    /// `FORMAT text`
    Text {
        /// Between two cells.
        delimiter: u8,
        /// What stands for NULL.
        null: Vec<u8>,
    },
    /// `FORMAT csv`
    Csv {
        /// Between two cells.
        delimiter: u8,
        /// What stands for NULL, when not in quotes.
        null: Vec<u8>,
        /// The quote.
        quote: u8,
        /// What stands before a quote inside of quotes.
        escape: u8,
    },
    /// `FORMAT binary`
    Binary,
}

impl Style {
    /// Returns text with the default options.
    pub fn text() -> Style {
        Style::Text { delimiter: b'\t', null: b"\\N".to_vec() }
    }

    /// Returns csv with the default options.
    pub fn csv() -> Style {
        Style::Csv { delimiter: b',', null: Vec::new(), quote: b'"', escape: b'"' }
    }

    /// Returns the format of the cells.
    pub fn format(&self) -> Format {
        match self {
            Style::Text { .. } | Style::Csv { .. } => Format::Text,
            Style::Binary => Format::Binary,
        }
    }
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A row is longer than allowed.
    #[error("a row of the COPY stream is longer than {0} bytes")]
    RowTooLong(usize),
    /// A row has more or fewer cells than the stream has columns.
    #[error("a row of the COPY stream does not have {0} columns")]
    Columns(usize),
    /// A cell or the frame around it is malformed.
    #[error("the COPY stream is malformed")]
    Malformed,
    /// Bytes follow the end.
    #[error("bytes follow the end of the COPY stream")]
    AfterEnd,
    /// The stream ended within a row.
    #[error("the COPY stream ends within a row")]
    Cut,
    /// Two of the special characters are the same, or one cannot be one.
    #[error("the COPY options contradict each other")]
    Options,
}

/// What becomes of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Cell {
    /// It goes out as it came.
    Keep,
    /// What was appended goes out in its place.
    Masked,
    /// NULL goes out in its place.
    Null,
}

impl From<Outcome> for Cell {
    fn from(outcome: Outcome) -> Cell {
        match outcome {
            Outcome::Masked => Cell::Masked,
            Outcome::Null => Cell::Null,
        }
    }
}

/// One row with its cells decoded.
#[derive(Debug)]
pub struct Row<'a> {
    raw: &'a [u8],
    plain: &'a [u8],
    cells: &'a [Span],
}

impl<'a> Row<'a> {
    /// Returns the number of cells.
    pub fn columns(&self) -> usize {
        self.cells.len()
    }

    /// Returns a cell without escapes and quotes; `None` for NULL and beyond the last.
    pub fn cell(&self, column: usize) -> Option<&'a [u8]> {
        match &self.cells.get(column)?.value {
            Value::Null => None,
            Value::Raw(range) => self.raw.get(range.clone()),
            Value::Plain(range) => self.plain.get(range.clone()),
        }
    }
}

/// Where a cell stands.
#[derive(Clone, Debug)]
struct Span {
    /// As it came, within the row.
    written: Range<usize>,
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    Null,
    /// Needs no decoding: within the row.
    Raw(Range<usize>),
    /// Decoded: within the plain bytes.
    Plain(Range<usize>),
}

/// The buffers of one row, used again for the next.
#[derive(Debug, Default)]
struct Cells {
    plain: Vec<u8>,
    spans: Vec<Span>,
    masked: Vec<u8>,
}

/// What the bytes at the front of the stream are.
#[derive(Debug, PartialEq, Eq)]
enum Front {
    /// Not yet all of it is there.
    Incomplete,
    /// So many bytes of header: they go out as they came.
    Header(usize),
    /// So many bytes of a row.
    Row(usize),
    /// So many bytes that end the stream.
    End(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    Rows,
    Ended,
}

/// Rewrites a COPY stream. Once it has given an error, it gives nothing else.
#[derive(Debug)]
pub struct Rewriter {
    style: Style,
    columns: usize,
    row_bytes_max: usize,
    stage: Stage,
    failed: Option<Error>,
    held: Vec<u8>,
    scan: Scan,
    cells: Cells,
}

/// How far the search for the end of the row at the front has come.
#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    at: usize,
    inside: bool,
}

impl Rewriter {
    /// Returns a rewriter for a stream of so many columns, with a header line (text and csv) or without.
    pub fn new(style: Style, columns: usize, header: bool, row_bytes_max: usize) -> Result<Rewriter, Error> {
        let line_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let (contradicts, null) = match &style {
            Style::Text { delimiter, null } => (*delimiter == b'\\' || line_end(delimiter), null.as_slice()),
            Style::Csv { delimiter, null, quote, escape } => {
                (delimiter == quote || [delimiter, quote, escape].into_iter().any(line_end), null.as_slice())
            }
            Style::Binary => (false, [].as_slice()),
        };
        if contradicts || null.iter().any(line_end) {
            return Err(Error::Options);
        }
        let stage = if header || style == Style::Binary { Stage::Header } else { Stage::Rows };
        Ok(Rewriter {
            style,
            columns,
            row_bytes_max,
            stage,
            failed: None,
            held: Vec::new(),
            scan: Scan::default(),
            cells: Cells::default(),
        })
    }

    /// Takes the next bytes of the stream and appends the rows that are complete, with what `each` makes of their
    /// cells: it is given the row, the column and where to append. Returns the number of rows.
    pub fn feed(
        &mut self,
        chunk: &[u8],
        out: &mut Vec<u8>,
        each: &mut dyn FnMut(&Row<'_>, usize, &mut Vec<u8>) -> Cell,
    ) -> Result<u64, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let start = out.len();
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(chunk);
        let rows = self.rewrite(&held, out, each);
        match rows {
            Ok((used, rows)) => {
                held.drain(..used);
                self.held = held;
                Ok(rows)
            }
            Err(error) => {
                out.truncate(start);
                self.failed = Some(error);
                Err(error)
            }
        }
    }

    /// Returns an error where the stream may not end here.
    pub fn finish(&self) -> Result<(), Error> {
        match (self.failed, &self.style, self.stage) {
            (Some(error), ..) => Err(error),
            (None, Style::Binary, Stage::Ended) => Ok(()),
            (None, Style::Text { .. } | Style::Csv { .. }, _) if self.held.is_empty() => Ok(()),
            (None, ..) => Err(Error::Cut),
        }
    }

    fn rewrite(
        &mut self,
        held: &[u8],
        out: &mut Vec<u8>,
        each: &mut dyn FnMut(&Row<'_>, usize, &mut Vec<u8>) -> Cell,
    ) -> Result<(usize, u64), Error> {
        let (mut used, mut rows) = (0, 0);
        loop {
            let rest = held.get(used..).unwrap_or_default();
            if self.stage == Stage::Ended {
                return if rest.is_empty() { Ok((used, rows)) } else { Err(Error::AfterEnd) };
            }
            let front = self.front(rest)?;
            let length = match front {
                Front::Incomplete if rest.len() > self.row_bytes_max => {
                    return Err(Error::RowTooLong(self.row_bytes_max));
                }
                Front::Incomplete => return Ok((used, rows)),
                Front::Header(length) | Front::Row(length) | Front::End(length) => length,
            };
            if length > self.row_bytes_max {
                return Err(Error::RowTooLong(self.row_bytes_max));
            }
            let bytes = rest.get(..length).ok_or(Error::Malformed)?;
            match front {
                Front::Row(_) => {
                    self.row(bytes, out, each)?;
                    rows += 1;
                }
                Front::Header(_) | Front::End(_) | Front::Incomplete => out.extend_from_slice(bytes),
            }
            self.stage = if matches!(front, Front::End(_)) { Stage::Ended } else { Stage::Rows };
            self.scan = Scan::default();
            used += length;
        }
    }

    fn front(&mut self, rest: &[u8]) -> Result<Front, Error> {
        let header = self.stage == Stage::Header;
        let length = match &self.style {
            Style::Binary => return binary::front(rest, header, self.columns),
            Style::Text { .. } => text::line(rest, &mut self.scan),
            Style::Csv { quote, escape, .. } => csv::line(rest, *quote, *escape, &mut self.scan),
        };
        let Some(length) = length else { return Ok(Front::Incomplete) };
        Ok(match rest.get(..length) {
            Some(b"\\.\n") => Front::End(length),
            _ if header => Front::Header(length),
            _ => Front::Row(length),
        })
    }

    fn row(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        each: &mut dyn FnMut(&Row<'_>, usize, &mut Vec<u8>) -> Cell,
    ) -> Result<(), Error> {
        let Cells { plain, spans, masked } = &mut self.cells;
        plain.clear();
        spans.clear();
        match &self.style {
            Style::Text { delimiter, null } => text::cells(bytes, *delimiter, null, plain, spans),
            Style::Csv { delimiter, null, quote, escape } => {
                csv::cells(bytes, [*delimiter, *quote, *escape], null, plain, spans)?;
            }
            Style::Binary => binary::cells(bytes, spans)?,
        }
        // A table without columns gives empty lines.
        if self.columns == 0 && bytes == b"\n" {
            spans.clear();
        }
        if spans.len() != self.columns {
            return Err(Error::Columns(self.columns));
        }
        let row = Row { raw: bytes, plain, cells: spans };
        if self.style == Style::Binary {
            out.extend_from_slice(bytes.get(..2).ok_or(Error::Malformed)?);
        }
        for (column, span) in spans.iter().enumerate() {
            masked.clear();
            let cell = each(&row, column, masked);
            let written = bytes.get(span.written.clone()).ok_or(Error::Malformed)?;
            match &self.style {
                Style::Text { delimiter, null } => {
                    separate(column, *delimiter, out);
                    match cell {
                        Cell::Keep => out.extend_from_slice(written),
                        Cell::Masked => text::encode(masked, *delimiter, out),
                        Cell::Null => out.extend_from_slice(null),
                    }
                }
                Style::Csv { delimiter, null, quote, escape } => {
                    separate(column, *delimiter, out);
                    match cell {
                        Cell::Keep => out.extend_from_slice(written),
                        Cell::Masked => {
                            // Whether the value that was masked stood in quotes would tell something of it.
                            let force = masked == null || (self.columns == 1 && masked == b"\\.");
                            csv::encode(masked, [*delimiter, *quote, *escape], force, out);
                        }
                        Cell::Null => out.extend_from_slice(null),
                    }
                }
                Style::Binary => match cell {
                    Cell::Keep => out.extend_from_slice(written),
                    Cell::Masked => binary::encode(masked, out)?,
                    Cell::Null => out.extend_from_slice(&binary::NULL),
                },
            }
        }
        if self.style != Style::Binary {
            out.push(b'\n');
        }
        Ok(())
    }
}

fn separate(column: usize, delimiter: u8, out: &mut Vec<u8>) {
    if column > 0 {
        out.push(delimiter);
    }
}

#[cfg(test)]
mod tests;
