//! What happens to a patient: visits, stays, and what is written down about them. Nothing happens before birth
//! or after death, nobody is discharged before admission, and who acts belongs to the department.

use std::io::{self, Write};

use super::calendar::{Day, Moment};
use super::notes::{self, Scene};
use super::people::{Household, Patient, Staff, Workforce};
use super::random::{Random, index};
use super::rows::{Sinks, Table};
use super::words::Words;

/// How far back the records go, in days.
const WINDOW_DAYS: i64 = 1_095;
const SALT_CARE: u64 = 3;
const SALT_DOCTOR: u64 = 4;
/// A round number of encounters is never reached by more than one visit each day.
const VISITS_MAX: i64 = 12;

/// Writes what happens, and counts.
#[derive(Debug)]
pub(crate) struct Care<'a> {
    pub(crate) words: &'a Words,
    pub(crate) workforce: &'a Workforce,
    pub(crate) seed: u64,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    appointments: i64,
    admissions: i64,
    encounters: i64,
    notes: i64,
    results: i64,
    prescriptions: i64,
    claims: i64,
}

/// One patient's care while it is written.
#[derive(Debug)]
struct Chart<'a> {
    household: &'a Household<'a>,
    patient: &'a Patient,
    random: Random,
    team: Vec<Membership>,
}

#[derive(Debug)]
struct Membership {
    staff: i32,
    role: &'static str,
    since: Day,
    last: Day,
}

#[derive(Clone, Copy, Debug)]
struct Visit<'a> {
    department: usize,
    doctor: &'a Staff,
    nurse: &'a Staff,
    reason: &'static str,
    at: Moment,
}

impl<'a> Care<'a> {
    /// Begins with nothing written.
    pub(crate) fn new(words: &'a Words, workforce: &'a Workforce, seed: u64) -> Care<'a> {
        Care { words, workforce, seed, counts: Counts::default() }
    }

    /// Writes all that happens to one patient.
    pub(crate) fn of<W: Write>(
        &mut self,
        out: &mut Sinks<W>,
        household: &Household<'_>,
        patient: &Patient,
    ) -> io::Result<()> {
        let random = Random::new(self.seed, SALT_CARE, patient.id.unsigned_abs());
        let mut chart = Chart { household, patient, random, team: Vec::new() };
        let until = patient.deceased.unwrap_or(Day(Day::TODAY.0 - 1));
        let from = Day(patient.birth.0.max(Day::TODAY.0 - WINDOW_DAYS)).min(until);
        let mut days: Vec<i64> =
            (0..visits(&mut chart)).map(|_| chart.random.between(from.0, until.0)).collect();
        days.sort_unstable();
        days.dedup();
        for day in days {
            self.visit(out, &mut chart, Day(day), until)?;
        }
        if patient.deceased.is_none() && chart.random.chance(300) {
            self.coming_appointment(out, &mut chart)?;
        }
        Self::care_team(out, &chart)
    }

    fn visit<W: Write>(
        &mut self,
        out: &mut Sinks<W>,
        chart: &mut Chart<'_>,
        day: Day,
        until: Day,
    ) -> io::Result<()> {
        let how = chart.random.below(1000);
        let department = match how {
            0..=129 => self.named("ED"),
            130..=159 => self.named("ICU"),
            _ => self.department(chart),
        };
        let visit = self.attend(chart, department, day);
        match how {
            0..=129 => self.encounter(out, chart, visit, "emergency", None, None),
            130..=209 => self.stay(out, chart, visit, until),
            210..=279 => self.missed_appointment(out, chart, visit),
            280..=369 => self.booked_encounter(out, chart, visit, "telehealth"),
            370..=409 => self.booked_encounter(out, chart, visit, "procedure"),
            _ => self.booked_encounter(out, chart, visit, "office"),
        }
    }

    // The same patient meets the same physician in the same department.
    fn attend(&self, chart: &mut Chart<'_>, department: usize, day: Day) -> Visit<'a> {
        let number = chart.patient.id.unsigned_abs() * 64 + department as u64;
        let mut same = Random::new(self.seed, SALT_DOCTOR, number);
        let list = |lists: &'a [Vec<usize>]| lists.get(department).expect("a list for each department");
        let doctor = self.workforce.at_work(&mut same, list(&self.workforce.physicians), day);
        let nurse = self.workforce.at_work(&mut chart.random, list(&self.workforce.nurses), day);
        let code = self.words.departments.get(department).expect("a department").code;
        chart.joins(doctor, if code == "FM" { "primary care" } else { "attending" }, day);
        if chart.random.chance(500) {
            chart.joins(nurse, "nurse", day);
        }
        let reason = self.words.reason(&mut chart.random, code);
        Visit { department, doctor, nurse, reason, at: day.at(chart.random.between(7 * 12, 18 * 12) * 5) }
    }

    fn named(&self, code: &str) -> usize {
        self.words.departments.iter().position(|d| d.code == code).expect("the department is in the data")
    }

    fn department(&self, chart: &mut Chart<'_>) -> usize {
        let age = Day::TODAY.age(chart.patient.birth);
        if age < 16 && chart.random.chance(950) {
            return self.named("PED");
        }
        if chart.random.chance(400) {
            return self.named("FM");
        }
        loop {
            let department = index(chart.random.below(self.words.departments.len() as u64));
            let found = self.words.departments.get(department).expect("a department");
            let fits = match found.code {
                "OBG" => chart.patient.female && age >= 14,
                "PED" => age < 18,
                "ICU" => false,
                _ => true,
            };
            if found.kind == "clinical" && fits {
                return department;
            }
        }
    }

    fn appointment<W: Write>(
        &mut self,
        out: &mut Sinks<W>,
        chart: &mut Chart<'_>,
        visit: Visit<'_>,
        status: &str,
    ) -> io::Result<i64> {
        self.counts.appointments += 1;
        let id = self.counts.appointments;
        let minutes = *chart.random.pick(&[15, 20, 30, 45]);
        out.row(Table::Appointments, |row| {
            row.int(id).int(chart.patient.id).int(visit.doctor.id).int(department_id(visit.department));
            row.moment(visit.at).int(minutes).text(status).text(visit.reason);
        })?;
        Ok(id)
    }

    fn booked_encounter<W: Write>(
        &mut self,
        out: &mut Sinks<W>,
        chart: &mut Chart<'_>,
        visit: Visit<'_>,
        kind: &str,
    ) -> io::Result<()> {
        let appointment = self.appointment(out, chart, visit, "completed")?;
        self.encounter(out, chart, visit, kind, None, Some(appointment))
    }

    fn missed_appointment<W: Write>(
        &mut self,
        out: &mut Sinks<W>,
        chart: &mut Chart<'_>,
        visit: Visit<'_>,
    ) -> io::Result<()> {
        let status = *chart.random.pick(&["cancelled", "no-show"]);
        self.appointment(out, chart, visit, status).map(|_| ())
    }

    fn coming_appointment<W: Write>(&mut self, out: &mut Sinks<W>, chart: &mut Chart<'_>) -> io::Result<()> {
        let department = self.department(chart);
        let mut visit = self.attend(chart, department, Day::TODAY);
        visit.at = visit.at.plus(chart.random.between(0, 75) * 1_440);
        self.appointment(out, chart, visit, "scheduled").map(|_| ())
    }

    fn stay<W: Write>(
        &mut self,
        out: &mut Sinks<W>,
        chart: &mut Chart<'_>,
        visit: Visit<'_>,
        until: Day,
    ) -> io::Result<()> {
        self.counts.admissions += 1;
        let id = self.counts.admissions;
        let days = chart.random.between(1, 9).min(until.0 - visit.at.day().0);
        let still_here = chart.patient.deceased.is_none() && until.0 - visit.at.day().0 <= 2;
        let end = visit.at.plus(days * 1_440 + chart.random.between(60, 240));
        let discharged = (!still_here).then_some(end);
        let died = chart.patient.deceased == Some(end.day());
        let ward = chart.random.between(2, 8);
        let room = format!("{ward}{:02}{}", chart.random.between(1, 40), chart.random.pick(&["A", "B"]));
        let disposition = match (still_here, died) {
            (true, _) => None,
            (_, true) => Some("expired"),
            _ => Some(*chart.random.pick(&["home", "home", "home", "home health", "skilled nursing", "ama"])),
        };
        out.row(Table::Admissions, |row| {
            row.int(id).int(chart.patient.id).int(department_id(visit.department)).int(visit.doctor.id);
            row.text(&room).moment(visit.at);
            match discharged {
                Some(at) => row.moment(at),
                None => row.null(),
            };
            row.text(visit.reason).text_or_null(disposition);
        })?;
        self.encounter(out, chart, visit, "inpatient", Some(id), None)?;
        for day in 1..days {
            let round = Visit { at: visit.at.plus(day * 1_440), ..visit };
            self.encounter(out, chart, round, "inpatient", Some(id), None)?;
        }
        Ok(())
    }

    fn encounter<W: Write>(
        &mut self,
        out: &mut Sinks<W>,
        chart: &mut Chart<'_>,
        visit: Visit<'_>,
        kind: &str,
        admission: Option<i64>,
        appointment: Option<i64>,
    ) -> io::Result<()> {
        self.counts.encounters += 1;
        let id = self.counts.encounters;
        let end = visit.at.plus(chart.random.between(10, 55));
        out.row(Table::Encounters, |row| {
            row.int(id).int(chart.patient.id).int(visit.doctor.id).int(department_id(visit.department));
            row.int_or_null(admission).int_or_null(appointment).text(kind).moment(visit.at).moment(end);
        })?;
        self.note(out, chart, visit, id)?;
        self.results(out, chart, visit, id)?;
        self.prescriptions(out, chart, visit, id)?;
        self.claim(out, chart, visit, id)
    }

    fn note<W: Write>(
        &mut self,
        out: &mut Sinks<W>,
        chart: &mut Chart<'_>,
        visit: Visit<'_>,
        encounter: i64,
    ) -> io::Result<()> {
        if chart.random.chance(120) {
            return Ok(());
        }
        self.counts.notes += 1;
        let scene = Scene {
            words: self.words,
            household: chart.household,
            patient: chart.patient,
            doctor: visit.doctor,
            nurse: visit.nurse,
            department: self.words.departments.get(visit.department).expect("a department").name,
            reason: visit.reason,
            at: visit.at,
        };
        let (kind, body) = notes::write(&scene, &mut chart.random);
        let author = if matches!(kind, "nursing" | "telephone") { visit.nurse } else { visit.doctor };
        out.row(Table::Notes, |row| {
            row.int(self.counts.notes).int(encounter).int(chart.patient.id).int(author.id);
            row.moment(visit.at.plus(chart.random.between(5, 90))).text(kind).text(&body);
        })
    }

    fn results<W: Write>(
        &mut self,
        out: &mut Sinks<W>,
        chart: &mut Chart<'_>,
        visit: Visit<'_>,
        encounter: i64,
    ) -> io::Result<()> {
        if !chart.random.chance(450) {
            return Ok(());
        }
        let taken = visit.at.plus(chart.random.between(5, 40));
        let first = index(chart.random.below(self.words.labs.len() as u64));
        let count = index(chart.random.below(8)) + 1;
        for lab in self.words.labs.iter().cycle().skip(first).take(count) {
            self.counts.results += 1;
            let (value, flag) = lab.value(&mut chart.random);
            out.row(Table::Results, |row| {
                row.int(self.counts.results).int(encounter).int(chart.patient.id).text(lab.code);
                row.text(lab.name).text(&value).text(lab.unit).text_or_null(flag).moment(taken);
            })?;
        }
        Ok(())
    }

    fn prescriptions<W: Write>(
        &mut self,
        out: &mut Sinks<W>,
        chart: &mut Chart<'_>,
        visit: Visit<'_>,
        encounter: i64,
    ) -> io::Result<()> {
        let count = [0, 0, 0, 1, 1, 2];
        for _ in 0..*chart.random.pick(&count) {
            self.counts.prescriptions += 1;
            let drug = chart.random.pick(&self.words.drugs);
            let refills = chart.random.between(0, 5);
            out.row(Table::Prescriptions, |row| {
                row.int(self.counts.prescriptions).int(encounter).int(chart.patient.id).int(visit.doctor.id);
                row.text(drug.name).text(drug.dose).text(drug.route).text(drug.directions);
                row.int(drug.quantity).int(refills).day(visit.at.day());
            })?;
        }
        Ok(())
    }

    fn claim<W: Write>(
        &mut self,
        out: &mut Sinks<W>,
        chart: &mut Chart<'_>,
        visit: Visit<'_>,
        encounter: i64,
    ) -> io::Result<()> {
        if chart.random.chance(80) {
            return Ok(());
        }
        self.counts.claims += 1;
        let billed = chart.random.between(8_000, 90_000) * chart.random.between(1, 4);
        let submitted = Day(visit.at.day().0 + chart.random.between(1, 14)).min(Day::TODAY);
        let status = *chart.random.pick(&["paid", "paid", "paid", "paid", "denied", "pending", "appealed"]);
        let paid = (status == "paid").then(|| billed * chart.random.between(35, 92) / 100);
        out.row(Table::Claims, |row| {
            row.int(self.counts.claims).int(encounter).int(chart.patient.id).text(chart.patient.payer);
            row.text(&chart.patient.member_id).cents(billed);
            match paid {
                Some(paid) => row.cents(paid),
                None => row.null(),
            };
            row.text(status).day(submitted);
        })
    }

    fn care_team<W: Write>(out: &mut Sinks<W>, chart: &Chart<'_>) -> io::Result<()> {
        for member in &chart.team {
            let primary = member.role == "primary care";
            let over = !primary && Day::TODAY.0 - member.last.0 > 180;
            let until = chart.patient.deceased.or(over.then_some(Day(member.last.0 + 180)));
            out.row(Table::CareTeams, |row| {
                row.int(chart.patient.id).int(member.staff).text(member.role).day(member.since);
                row.day_or_null(until);
            })?;
        }
        Ok(())
    }
}

impl Chart<'_> {
    fn joins(&mut self, staff: &Staff, role: &'static str, day: Day) {
        match self.team.iter_mut().find(|member| member.staff == staff.id) {
            Some(member) => member.last = member.last.max(day),
            None => self.team.push(Membership { staff: staff.id, role, since: day, last: day }),
        }
    }
}

// Small children and old people come more often.
fn visits(chart: &mut Chart<'_>) -> i64 {
    let typical = match Day::TODAY.age(chart.patient.birth) {
        ..=2 => 5,
        3..=17 => 2,
        18..=44 => 3,
        45..=64 => 4,
        _ => 6,
    };
    let visits = chart.random.between(0, typical) + chart.random.between(0, typical / 2);
    visits.min(VISITS_MAX)
}

/// Returns the id of the department at this place of the list.
pub(crate) fn department_id(place: usize) -> i32 {
    i32::try_from(place + 1).expect("a short list")
}
