//! Rows in the text format of COPY, and the places they go to.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::calendar::{Day, Moment};

/// The tables, in an order in which each comes after those it refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Table {
    Departments,
    Staff,
    Households,
    Patients,
    CareTeams,
    Appointments,
    Admissions,
    Encounters,
    Notes,
    Results,
    Prescriptions,
    Claims,
}

impl Table {
    /// All tables.
    pub const ALL: [Table; 12] = [
        Table::Departments,
        Table::Staff,
        Table::Households,
        Table::Patients,
        Table::CareTeams,
        Table::Appointments,
        Table::Admissions,
        Table::Encounters,
        Table::Notes,
        Table::Results,
        Table::Prescriptions,
        Table::Claims,
    ];

    /// Returns the table's name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Table::Departments => "departments",
            Table::Staff => "staff",
            Table::Households => "households",
            Table::Patients => "patients",
            Table::CareTeams => "care_teams",
            Table::Appointments => "appointments",
            Table::Admissions => "admissions",
            Table::Encounters => "encounters",
            Table::Notes => "notes",
            Table::Results => "results",
            Table::Prescriptions => "prescriptions",
            Table::Claims => "claims",
        }
    }
}

/// Where the rows of each table go.
#[derive(Debug)]
pub(crate) struct Sinks<W> {
    writers: Vec<W>,
    /// How many rows each table has got.
    pub(crate) rows: [u64; Table::ALL.len()],
    line: String,
}

impl<W: Write> Sinks<W> {
    /// Takes one writer for each table, in the order of [`Table::ALL`].
    pub(crate) fn new(writers: Vec<W>) -> Sinks<W> {
        assert_eq!(writers.len(), Table::ALL.len(), "one writer for each table");
        Sinks { writers, rows: [0; Table::ALL.len()], line: String::with_capacity(4096) }
    }

    /// Writes one row.
    pub(crate) fn row(&mut self, table: Table, fill: impl FnOnce(&mut Row<'_>)) -> io::Result<()> {
        self.line.clear();
        fill(&mut Row { line: &mut self.line });
        self.line.push('\n');
        let place = table as usize;
        *self.rows.get_mut(place).expect("a counter for each table") += 1;
        self.writers.get_mut(place).expect("a writer for each table").write_all(self.line.as_bytes())
    }

    /// Returns the writers.
    pub(crate) fn into_writers(self) -> Vec<W> {
        self.writers
    }
}

/// A row that is being filled, column by column.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    line: &'a mut String,
}

impl Row<'_> {
    fn next(&mut self) {
        if !self.line.is_empty() {
            self.line.push('\t');
        }
    }

    /// Adds a number.
    pub(crate) fn int(&mut self, number: impl Into<i128>) -> &mut Self {
        self.next();
        write!(self.line, "{}", number.into()).expect("a string takes all");
        self
    }

    /// Adds a number or NULL.
    pub(crate) fn int_or_null(&mut self, number: Option<impl Into<i128>>) -> &mut Self {
        match number {
            Some(number) => self.int(number),
            None => self.null(),
        }
    }

    /// Adds a text.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.next();
        for c in text.chars() {
            match c {
                '\\' => self.line.push_str("\\\\"),
                '\n' => self.line.push_str("\\n"),
                '\r' => self.line.push_str("\\r"),
                '\t' => self.line.push_str("\\t"),
                c => self.line.push(c),
            }
        }
        self
    }

    /// Adds a text or NULL.
    pub(crate) fn text_or_null(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    /// Adds a date.
    pub(crate) fn day(&mut self, day: Day) -> &mut Self {
        self.next();
        write!(self.line, "{day}").expect("a string takes all");
        self
    }

    /// Adds a date or NULL.
    pub(crate) fn day_or_null(&mut self, day: Option<Day>) -> &mut Self {
        match day {
            Some(day) => self.day(day),
            None => self.null(),
        }
    }

    /// Adds a time.
    pub(crate) fn moment(&mut self, moment: Moment) -> &mut Self {
        self.next();
        write!(self.line, "{moment}").expect("a string takes all");
        self
    }

    /// Adds an amount given in cents.
    pub(crate) fn cents(&mut self, cents: i64) -> &mut Self {
        self.next();
        write!(self.line, "{}.{:02}", cents / 100, cents % 100).expect("a string takes all");
        self
    }

    /// Adds NULL.
    pub(crate) fn null(&mut self) -> &mut Self {
        self.next();
        self.line.push_str("\\N");
        self
    }
}
