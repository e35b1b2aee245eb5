//! A hospital that never was: staff, households, patients and what happened to them, from a seed and a size.
//!
//! The same options give the same bytes, on any machine and in any release that does not say otherwise. No
//! number of patients is kept in memory: households are made one after another and their rows leave at once.
//! Deliberately absent: external data of any kind, and the clock (the records end on 2026-11-01).

mod calendar;
mod care;
mod load;
mod notes;
mod people;
pub(crate) mod random;
mod rows;
mod words;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};

pub use load::{load, load_with};
pub use rows::Table;

use care::{Care, department_id};
use people::{Household, Population, Workforce};
use rows::Sinks;
use words::Words;

/// The statements that make the tables, without keys.
pub const TABLES_SQL: &str = include_str!("tables.sql");
/// The statements that make keys, indexes and foreign keys, for after the load.
pub const CONSTRAINTS_SQL: &str = include_str!("constraints.sql");
/// The fewest and the most patients that a hospital can have.
pub const PATIENTS_RANGE: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;

/// Which hospital.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many patients it has.
    pub patients: u64,
    /// What everything else follows from.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { patients: 1_000, seed: 1 }
    }
}

/// How many rows there are of each table, in the order of [`Table::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The rows.
    pub rows: [u64; Table::ALL.len()],
}

impl Size {
    /// Returns the rows of all tables.
    pub fn total(&self) -> u64 {
        self.rows.iter().sum()
    }

    /// Returns the rows of one table.
    pub fn of(&self, table: Table) -> u64 {
        self.rows.get(table as usize).copied().unwrap_or(0)
    }
}

/// Writes the rows of each table, in the text format of COPY, to its own writer (in the order of
/// [`Table::ALL`]), and hands the writers back. Calls `progress` with the number of patients so far.
///
/// # Errors
/// A size out of range, or what a writer says.
pub fn generate<W: Write>(
    options: Options,
    writers: Vec<W>,
    mut progress: impl FnMut(u64),
) -> Result<(Size, Vec<W>)> {
    ensure!(
        PATIENTS_RANGE.contains(&options.patients),
        "a hospital has {} to {} patients, not {}",
        PATIENTS_RANGE.start(),
        PATIENTS_RANGE.end(),
        options.patients
    );
    let words = Words::read();
    let workforce = Workforce::hire(&words, options.seed, options.patients);
    let mut out = Sinks::new(writers);
    write_departments(&mut out, &words)?;
    write_staff(&mut out, &workforce)?;
    let mut care = Care::new(&words, &workforce, options.seed);
    let mut patients = 0;
    for household in Population::new(&words, &workforce, options.seed, options.patients) {
        write_household(&mut out, &household)?;
        for patient in &household.members {
            care.of(&mut out, &household, patient)?;
        }
        patients += household.members.len() as u64;
        progress(patients);
    }
    let size = Size { rows: out.rows };
    let mut writers = out.into_writers();
    for writer in &mut writers {
        writer.flush()?;
    }
    Ok((size, writers))
}

/// Writes `tables.sql`, `constraints.sql` and one `<table>.tsv` for each table into the folder.
///
/// # Errors
/// A size out of range, or a folder that cannot be written.
pub fn write_folder(options: Options, folder: &Path, progress: impl FnMut(u64)) -> Result<Size> {
    std::fs::create_dir_all(folder).with_context(|| format!("make the folder `{}`", folder.display()))?;
    std::fs::write(folder.join("tables.sql"), TABLES_SQL)?;
    std::fs::write(folder.join("constraints.sql"), CONSTRAINTS_SQL)?;
    let mut writers = Vec::new();
    for table in Table::ALL {
        let path = folder.join(format!("{}.tsv", table.name()));
        let file = File::create(&path).with_context(|| format!("make `{}`", path.display()))?;
        writers.push(BufWriter::with_capacity(1 << 18, file));
    }
    generate(options, writers, progress).map(|(size, _)| size)
}

fn write_departments<W: Write>(out: &mut Sinks<W>, words: &Words) -> std::io::Result<()> {
    for (place, department) in words.departments.iter().enumerate() {
        out.row(Table::Departments, |row| {
            row.int(department_id(place)).text(department.code).text(department.name).text(department.kind);
            row.text(department.building)
                .int(department.floor)
                .text(&format!("(614) 293-{:04}", 8000 + place));
        })?;
    }
    Ok(())
}

fn write_staff<W: Write>(out: &mut Sinks<W>, workforce: &Workforce) -> std::io::Result<()> {
    for staff in &workforce.all {
        out.row(Table::Staff, |row| {
            row.int(staff.id).int(department_id(staff.department)).text(staff.role).text(&staff.login);
            row.text(staff.first).text(staff.last).text(&format!("{}@hospital.example", staff.login));
            row.text(&staff.phone).day(staff.hired).day_or_null(staff.left);
        })?;
    }
    Ok(())
}

fn write_household<W: Write>(out: &mut Sinks<W>, household: &Household<'_>) -> std::io::Result<()> {
    out.row(Table::Households, |row| {
        row.int(household.id).text(&household.street).text_or_null(household.unit.as_deref());
        row.text(household.city.name).text(household.city.state).text(&household.zip);
        row.text_or_null(household.phone.as_deref());
    })?;
    for patient in &household.members {
        out.row(Table::Patients, |row| {
            row.int(patient.id).text(&patient.mrn).text_or_null(patient.ssn.as_deref());
            row.text(patient.first).text(patient.last).day(patient.birth);
            row.text(if patient.female { "F" } else { "M" }).text(&patient.phone);
            row.text_or_null(patient.email.as_deref()).int(household.id).int_or_null(patient.employee);
            row.day_or_null(patient.deceased);
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::people::plain;
    use super::*;

    #[test]
    fn names_become_logins() {
        for (name, login) in [("O'Brien", "obrien"), ("Peña", "pena"), ("Van der Berg", "vanderberg")] {
            assert_eq!(plain(name), login);
        }
    }

    #[test]
    fn too_small_and_too_large_hospitals_are_refused() {
        for patients in [0, 999, 1_000_001] {
            let writers: Vec<Vec<u8>> = vec![Vec::new(); Table::ALL.len()];
            assert!(generate(Options { patients, seed: 1 }, writers, |_| ()).is_err());
        }
    }
}
