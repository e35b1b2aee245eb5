//! Who there is: staff in departments, patients in households.

use std::collections::HashMap;

use super::calendar::Day;
use super::random::{Random, Weighted, index};
use super::words::{City, PAYERS, Words};

/// Somebody who works at the hospital.
#[derive(Debug)]
pub(crate) struct Staff {
    pub(crate) id: i32,
    /// Index into the departments.
    pub(crate) department: usize,
    pub(crate) role: &'static str,
    pub(crate) login: String,
    pub(crate) first: &'static str,
    pub(crate) last: &'static str,
    pub(crate) female: bool,
    pub(crate) phone: String,
    pub(crate) hired: Day,
    pub(crate) left: Option<Day>,
}

/// All staff, and who works where.
#[derive(Debug)]
pub(crate) struct Workforce {
    pub(crate) all: Vec<Staff>,
    /// By department: who sees patients as physician and the like.
    pub(crate) physicians: Vec<Vec<usize>>,
    /// By department: who nurses.
    pub(crate) nurses: Vec<Vec<usize>>,
}

/// People who share an address.
#[derive(Debug)]
pub(crate) struct Household<'a> {
    pub(crate) id: i64,
    pub(crate) street: String,
    pub(crate) street_name: &'static str,
    pub(crate) unit: Option<String>,
    pub(crate) city: &'a City,
    pub(crate) zip: String,
    pub(crate) phone: Option<String>,
    pub(crate) members: Vec<Patient>,
}

/// Somebody who is cared for.
#[derive(Debug)]
pub(crate) struct Patient {
    pub(crate) id: i64,
    pub(crate) mrn: String,
    pub(crate) ssn: Option<String>,
    pub(crate) first: &'static str,
    pub(crate) last: &'static str,
    pub(crate) female: bool,
    pub(crate) birth: Day,
    pub(crate) phone: String,
    pub(crate) email: Option<String>,
    pub(crate) employee: Option<i32>,
    pub(crate) deceased: Option<Day>,
    pub(crate) payer: &'static str,
    pub(crate) member_id: String,
}

/// Makes the households one after another.
#[derive(Debug)]
pub(crate) struct Population<'a> {
    words: &'a Words,
    workforce: &'a Workforce,
    seed: u64,
    patients_max: i64,
    next_patient: i64,
    next_household: i64,
    next_employee: usize,
    adults_per_employee: i64,
    adults: i64,
}

const SALT_STAFF: u64 = 1;
const SALT_HOUSEHOLD: u64 = 2;
const EMAIL_DOMAINS: [&str; 4] = ["example.com", "example.net", "example.org", "mail.example.com"];

impl Workforce {
    /// Hires as many as the number of patients asks for.
    pub(crate) fn hire(words: &Words, seed: u64, patients: u64) -> Workforce {
        let mut random = Random::new(seed, SALT_STAFF, 0);
        let departments = words.departments.len();
        let mut workforce = Workforce {
            all: Vec::new(),
            physicians: vec![Vec::new(); departments],
            nurses: vec![Vec::new(); departments],
        };
        let mut logins = HashMap::new();
        let rounds = (2 + patients / 6_000).min(60);
        for round in 0..rounds {
            for place in 0..departments {
                workforce.hire_team(words, &mut random, &mut logins, place, round == 0);
            }
        }
        workforce
    }

    // INVARIANT: the first of each role in a department has been there from the start and stays, so that
    // `at_work` always finds somebody.
    fn hire_team(
        &mut self,
        words: &Words,
        random: &mut Random,
        logins: &mut HashMap<String, u32>,
        place: usize,
        founders: bool,
    ) {
        let department = words.departments.get(place).expect("a place in the list");
        let team: &[&'static str] = match (department.kind, department.code) {
            ("clinical", _) => &["physician", "nurse", "nurse", "resident", "clerk"],
            (_, "RAD") => &["radiologist", "technician"],
            (_, "LAB") => &["technician"],
            (_, "PHAR") => &["pharmacist"],
            (_, "SW") => &["social worker"],
            (_, "REG") => &["registrar"],
            (_, "BILL") => &["biller", "coder"],
            (_, "HIM") => &["records clerk", "analyst"],
            (_, "IT") => &["administrator", "analyst"],
            (_, _) => &["privacy officer"],
        };
        for role in team {
            let at = self.all.len();
            let staff = person_of_staff(words, random, logins, at, place, role, founders);
            match *role {
                "physician" | "resident" => self.physicians.get_mut(place),
                "nurse" => self.nurses.get_mut(place),
                _ => None,
            }
            .into_iter()
            .for_each(|list| list.push(at));
            self.all.push(staff);
        }
    }

    /// Returns one of the list who worked at the hospital on that day.
    pub(crate) fn at_work(&self, random: &mut Random, list: &[usize], day: Day) -> &Staff {
        for _ in 0..4 {
            let staff = self.one(*random.pick(list));
            if staff.hired <= day && staff.left.is_none_or(|left| day < left) {
                return staff;
            }
        }
        self.one(*list.first().expect("each department has a founder of each role"))
    }

    fn one(&self, at: usize) -> &Staff {
        self.all.get(at).expect("an index into the staff")
    }
}

fn person_of_staff(
    words: &Words,
    random: &mut Random,
    logins: &mut HashMap<String, u32>,
    at: usize,
    department: usize,
    role: &'static str,
    founder: bool,
) -> Staff {
    let female = random.chance(if role == "nurse" { 850 } else { 520 });
    let age = random.between(26, 62);
    let first = words.first(random, female, age);
    let last = *words.last.pick(random);
    let hired = Day(Day::TODAY.0 - random.between(if founder { 1_500 } else { 60 }, 6_000));
    let gone = !founder && random.chance(60);
    let left = gone.then(|| Day(random.between(hired.0 + 30, Day::TODAY.0)));
    Staff {
        id: i32::try_from(at + 1).expect("no hospital has that many"),
        department,
        role,
        login: login(logins, first, last),
        first,
        last,
        female,
        phone: format!("(614) 293-{:04}", random.between(0, 9999)),
        hired,
        left,
    }
}

fn login(taken: &mut HashMap<String, u32>, first: &str, last: &str) -> String {
    let stem: String = plain(first).chars().take(1).chain(plain(last).chars().take(14)).collect();
    let count = taken.entry(stem.clone()).or_insert(0);
    *count += 1;
    if *count == 1 { stem } else { format!("{stem}{count}") }
}

/// Returns the name in small ASCII letters.
pub(crate) fn plain(name: &str) -> String {
    name.chars()
        .filter_map(|c| match c {
            'Á' | 'á' | 'ã' => Some('a'),
            'é' | 'ë' => Some('e'),
            'í' => Some('i'),
            'ó' | 'ö' => Some('o'),
            'ú' | 'ü' => Some('u'),
            'ñ' => Some('n'),
            'ç' => Some('c'),
            'ạ' => Some('a'),
            c if c.is_ascii_alphabetic() => Some(c.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

impl<'a> Population<'a> {
    /// Begins with the first household.
    pub(crate) fn new(
        words: &'a Words,
        workforce: &'a Workforce,
        seed: u64,
        patients: u64,
    ) -> Population<'a> {
        let patients_max = i64::try_from(patients).expect("at most a million");
        let employees = i64::try_from(workforce.all.len() / 3 + 1).expect("a small number");
        Population {
            words,
            workforce,
            seed,
            patients_max,
            next_patient: 1,
            next_household: 1,
            next_employee: 0,
            // Nearly half of the patients are adults of working age.
            adults_per_employee: (patients_max * 2 / 5 / employees).max(1),
            adults: 0,
        }
    }

    fn ages(random: &mut Random, sizes: &Weighted<u64>) -> Vec<(i64, bool)> {
        let size = *sizes.pick(random);
        let head = random.between(21, 40) + random.between(0, 52);
        let head_female = random.chance(510);
        let mut ages = vec![(head, head_female)];
        let partner = size >= 2 && random.chance(800);
        if partner {
            let age = (head + random.between(-6, 6)).max(19);
            ages.push((age, if random.chance(30) { head_female } else { !head_female }));
        }
        while index(size) > ages.len() {
            let youngest_parent = ages.iter().take(2).map(|a| a.0).min().unwrap_or(head);
            let oldest_child = (youngest_parent - 17).clamp(1, 58);
            let age = random.between(0, oldest_child).min(random.between(0, oldest_child.min(24)));
            ages.push((age, random.chance(488)));
        }
        ages
    }

    fn member(&mut self, random: &mut Random, city: &City, last: &'static str, who: (i64, bool)) -> Patient {
        let (age, female) = who;
        let id = self.next_patient;
        self.next_patient += 1;
        let birth = Day(Day::TODAY.0 - age * 1461 / 4 - random.between(1, 364));
        let (mut first, mut last, mut female) = (self.words.first(random, female, age), last, female);
        let employee = self.employee(age);
        if let Some(staff) = employee {
            (first, last, female) = (staff.first, staff.last, staff.female);
        }
        let employee = employee.map(|staff| staff.id);
        let email = (age >= 16 && random.chance(780)).then(|| email(random, first, last, birth));
        let dies = employee.is_none() && random.chance(u64::try_from(age * age / 130).unwrap_or(0));
        let deceased = dies.then(|| Day(Day::TODAY.0 - random.between(0, 1_000))).filter(|day| *day > birth);
        let payer = match age {
            65.. => PAYERS.first().expect("there are payers"),
            _ => random.pick(PAYERS.get(1..).expect("there are payers")),
        };
        Patient {
            id,
            mrn: mrn(self.seed, id),
            ssn: (age > 0 && random.chance(970)).then(|| ssn(self.seed, id)),
            first,
            last,
            female,
            birth,
            phone: city.phone(random),
            email,
            employee,
            deceased,
            payer,
            member_id: member_id(random),
        }
    }

    // Every so many adults of working age one is an employee.
    fn employee(&mut self, age: i64) -> Option<&'a Staff> {
        if !(24..=64).contains(&age) {
            return None;
        }
        self.adults += 1;
        if self.adults % self.adults_per_employee != 0 {
            return None;
        }
        let staff = self.workforce.all.get(self.next_employee)?;
        self.next_employee += 3;
        Some(staff)
    }
}

impl<'a> Iterator for Population<'a> {
    type Item = Household<'a>;

    fn next(&mut self) -> Option<Household<'a>> {
        if self.next_patient > self.patients_max {
            return None;
        }
        let id = self.next_household;
        self.next_household += 1;
        let mut random = Random::new(self.seed, SALT_HOUSEHOLD, id.unsigned_abs());
        let sizes = Weighted::new([(28, 1), (34, 2), (16, 3), (13, 4), (6, 5), (3, 6)]);
        let ages = Self::ages(&mut random, &sizes);
        let words = self.words;
        let city = words.cities.pick(&mut random);
        let street_name = *random.pick(&words.streets);
        let last = *words.last.pick(&mut random);
        let mut household = Household {
            id,
            street: format!("{} {street_name}", random.between(1, 9999)),
            street_name,
            unit: random.chance(220).then(|| format!("Apt {}", random.between(1, 48))),
            city,
            zip: city.zip(&mut random),
            phone: random.chance(350).then(|| city.phone(&mut random)),
            members: Vec::new(),
        };
        for who in ages {
            if self.next_patient > self.patients_max {
                break;
            }
            let own_name = who.0 > 18 && !household.members.is_empty() && random.chance(250);
            let last = if own_name { *words.last.pick(&mut random) } else { last };
            household.members.push(self.member(&mut random, city, last, who));
        }
        Some(household)
    }
}

// `W`, seven digits and a Luhn check digit. Multiplication by a number prime to the modulus spreads the
// digits without giving any number twice.
fn mrn(seed: u64, id: i64) -> String {
    let number = (id.unsigned_abs() * 1_234_567 + seed % 7_919) % 9_999_991;
    let mut sum = 0;
    let mut rest = number;
    for place in 0..7 {
        let digit = rest % 10;
        rest /= 10;
        let weighted = if place % 2 == 0 { digit * 2 } else { digit };
        sum += weighted / 10 + weighted % 10;
    }
    format!("W{number:07}{}", (10 - sum % 10) % 10)
}

// Area 001 to 899 without 666, group 01 to 99, serial 0001 to 9999.
fn ssn(seed: u64, id: i64) -> String {
    const ALL: u64 = 898 * 99 * 9_999;
    let number = (id.unsigned_abs() * 433_494_437 + seed % 104_729) % ALL;
    let area = number / (99 * 9_999) + 1;
    let area = if area >= 666 { area + 1 } else { area };
    let group = number / 9_999 % 99 + 1;
    let serial = number % 9_999 + 1;
    format!("{area:03}-{group:02}-{serial:04}")
}

fn email(random: &mut Random, first: &str, last: &str, birth: Day) -> String {
    let (first, last, domain) = (plain(first), plain(last), random.pick(&EMAIL_DOMAINS));
    let year = birth.civil().0;
    match random.below(4) {
        0 => format!("{first}.{last}@{domain}"),
        1 => format!("{first}{last}{:02}@{domain}", year % 100),
        2 => format!("{last}_{first}@{domain}"),
        _ => format!("{first}.{last}{year}@{domain}"),
    }
}

fn member_id(random: &mut Random) -> String {
    const LETTERS: [char; 20] =
        ['A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'J', 'K', 'M', 'N', 'P', 'Q', 'R', 'T', 'U', 'V', 'W', 'Y'];
    let mut id = String::new();
    for _ in 0..3 {
        id.push(*random.pick(&LETTERS));
    }
    format!("{id}{:09}", random.below(1_000_000_000))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_of_a_million_patients_are_all_different_and_well_formed() {
        let mut mrns = HashSet::new();
        let mut ssns = HashSet::new();
        for id in 1..=1_000_000 {
            assert!(mrns.insert(mrn(7, id)));
            let ssn = ssn(7, id);
            assert!(!ssn.starts_with("000") && !ssn.starts_with("666") && !ssn.starts_with('9'), "{ssn}");
            assert!(!ssn.contains("-00-") && !ssn.ends_with("-0000"), "{ssn}");
            assert!(ssns.insert(ssn));
        }
    }

    #[test]
    fn telephone_numbers_follow_the_plan() {
        let words = Words::read();
        let mut random = Random::new(1, 2, 3);
        for _ in 0..10_000 {
            let phone = words.cities.pick(&mut random).phone(&mut random);
            let exchange = &phone[6..9];
            assert!(!exchange.starts_with(['0', '1']) && !exchange.ends_with("11"), "{phone}");
        }
    }

    #[test]
    fn nobody_is_their_own_parent() {
        let words = Words::read();
        let workforce = Workforce::hire(&words, 7, 3_000);
        for household in Population::new(&words, &workforce, 7, 3_000) {
            let head = household.members.first().expect("nobody lives nowhere");
            assert!(Day::TODAY.age(head.birth) >= 20);
            for member in &household.members {
                assert!(member.birth < Day::TODAY);
                assert!(member.deceased.is_none_or(|day| day > member.birth && day <= Day::TODAY));
            }
        }
    }
}
