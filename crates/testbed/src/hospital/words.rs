//! The vocabulary: names with frequencies, places, departments, laboratory codes, drugs, templates of notes.

use super::random::{Random, Weighted};

/// Everything that is not a number, read once from `data/`.
#[derive(Debug)]
pub(crate) struct Words {
    female_old: Weighted<&'static str>,
    female_young: Weighted<&'static str>,
    male_old: Weighted<&'static str>,
    male_young: Weighted<&'static str>,
    /// Family names.
    pub(crate) last: Weighted<&'static str>,
    /// Cities with their ZIP and area codes.
    pub(crate) cities: Weighted<City>,
    /// Streets.
    pub(crate) streets: Vec<&'static str>,
    /// Departments.
    pub(crate) departments: Vec<Department>,
    /// Laboratory tests.
    pub(crate) labs: Vec<Lab>,
    /// Drugs as prescribed.
    pub(crate) drugs: Vec<Drug>,
    reasons: Vec<(&'static str, &'static str)>,
    /// Templates of notes.
    pub(crate) templates: Vec<Template>,
}

/// A city and what its addresses and telephones look like.
#[derive(Debug)]
pub(crate) struct City {
    pub(crate) name: &'static str,
    pub(crate) state: &'static str,
    zip_low: i64,
    zip_high: i64,
    area_codes: Vec<&'static str>,
}

/// A department of the hospital.
#[derive(Debug)]
pub(crate) struct Department {
    pub(crate) code: &'static str,
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) building: &'static str,
    pub(crate) floor: i64,
}

/// A laboratory test with the range of its values.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) code: &'static str,
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    low: f64,
    high: f64,
    decimals: u32,
}

/// A drug as prescribed.
#[derive(Debug)]
pub(crate) struct Drug {
    pub(crate) name: &'static str,
    pub(crate) dose: &'static str,
    pub(crate) route: &'static str,
    pub(crate) directions: &'static str,
    pub(crate) quantity: i64,
}

/// A note in which `{words}` are to be filled in.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) kind: &'static str,
    pub(crate) parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Debug)]
pub(crate) enum Part {
    Text(&'static str),
    Blank(&'static str),
}

/// Payers of claims, most frequent first.
pub(crate) const PAYERS: [&str; 8] = [
    "Medicare",
    "Medicaid of Ohio",
    "Anthem Blue Cross",
    "UnitedHealthcare",
    "Aetna",
    "Cigna",
    "Medical Mutual",
    "Self-pay",
];

impl Words {
    /// Reads the vocabulary that is built into the program.
    pub(crate) fn read() -> Words {
        let female = include_str!("../../data/first_female.txt");
        let male = include_str!("../../data/first_male.txt");
        Words {
            female_old: first_names(female, 'y'),
            female_young: first_names(female, 'o'),
            male_old: first_names(male, 'y'),
            male_young: first_names(male, 'o'),
            last: Weighted::new(include_str!("../../data/last.txt").lines().map(last_name)),
            cities: Weighted::new(include_str!("../../data/cities.txt").lines().map(city)),
            streets: include_str!("../../data/streets.txt").lines().collect(),
            departments: include_str!("../../data/departments.txt").lines().map(department).collect(),
            labs: include_str!("../../data/labs.txt").lines().map(lab).collect(),
            drugs: include_str!("../../data/drugs.txt").lines().map(drug).collect(),
            reasons: include_str!("../../data/reasons.txt").lines().map(|l| pair(l, '|')).collect(),
            templates: include_str!("../../data/notes.txt").trim().split("\n\n").map(template).collect(),
        }
    }

    /// Returns a first name that fits sex and age.
    pub(crate) fn first(&self, random: &mut Random, female: bool, age: i64) -> &'static str {
        let names = match (female, age >= 50) {
            (true, true) => &self.female_old,
            (true, false) => &self.female_young,
            (false, true) => &self.male_old,
            (false, false) => &self.male_young,
        };
        names.pick(random)
    }

    /// Returns why somebody comes to the department with this code.
    pub(crate) fn reason(&self, random: &mut Random, department: &str) -> &'static str {
        let own: Vec<_> = self.reasons.iter().filter(|(code, _)| *code == department).collect();
        let any = own.is_empty() || random.chance(250);
        if any {
            let general: Vec<_> = self.reasons.iter().filter(|(code, _)| *code == "any").collect();
            random.pick(&general).1
        } else {
            random.pick(&own).1
        }
    }
}

impl City {
    /// Returns one of its ZIP codes.
    pub(crate) fn zip(&self, random: &mut Random) -> String {
        format!("{:05}", random.between(self.zip_low, self.zip_high))
    }

    /// Returns a telephone number by the rules of the North American plan: neither exchange nor area begins
    /// with 0 or 1, and no exchange is of the form N11.
    pub(crate) fn phone(&self, random: &mut Random) -> String {
        let area = random.pick(&self.area_codes);
        let exchange = loop {
            let exchange = random.between(200, 999);
            if exchange % 100 != 11 {
                break exchange;
            }
        };
        format!("({area}) {exchange}-{:04}", random.between(0, 9999))
    }
}

impl Lab {
    /// Returns a value as written and its flag.
    pub(crate) fn value(&self, random: &mut Random) -> (String, Option<&'static str>) {
        let steps = random.between(0, 1000);
        let share = f64::from(u32::try_from(steps).expect("up to 1000")) / 1000.0;
        let value = self.low + (self.high - self.low) * share;
        let flag = match steps {
            0..=120 => Some("L"),
            840..=970 => Some("H"),
            971.. => Some("A"),
            _ => None,
        };
        (format!("{value:.*}", usize::try_from(self.decimals).expect("a small number")), flag)
    }
}

fn first_names(lines: &'static str, other_era: char) -> Weighted<&'static str> {
    Weighted::new(lines.lines().filter(|line| !line.ends_with(other_era)).map(|line| {
        let (name_and_weight, _) = rpair(line);
        last_name(name_and_weight)
    }))
}

fn last_name(line: &'static str) -> (u64, &'static str) {
    let (name, weight) = rpair(line);
    (number(weight), name)
}

fn city(line: &'static str) -> (u64, City) {
    let [name, state, zips, area_codes, weight] = fields(line);
    let (low, high) = pair(zips, '-');
    let city = City {
        name,
        state,
        zip_low: number(low),
        zip_high: number(high),
        area_codes: area_codes.split(',').collect(),
    };
    (number(weight), city)
}

fn department(line: &'static str) -> Department {
    let [code, name, kind, building, floor] = fields(line);
    Department { code, name, kind, building, floor: number(floor) }
}

fn lab(line: &'static str) -> Lab {
    let [code, name, unit, low, high, decimals] = fields(line);
    Lab { code, name, unit, low: number(low), high: number(high), decimals: number(decimals) }
}

fn drug(line: &'static str) -> Drug {
    let [name, dose, route, directions, quantity] = fields(line);
    Drug { name, dose, route, directions, quantity: number(quantity) }
}

fn template(block: &'static str) -> Template {
    let (kind, mut rest) = pair(block, '\n');
    let mut parts = Vec::new();
    while let Some((text, after)) = rest.split_once('{') {
        let (blank, after) = pair(after, '}');
        parts.push(Part::Text(text));
        parts.push(Part::Blank(blank));
        rest = after;
    }
    parts.push(Part::Text(rest));
    Template { kind, parts }
}

fn fields<const N: usize>(line: &'static str) -> [&'static str; N] {
    let fields: Vec<_> = line.split('|').collect();
    fields.try_into().expect("each line of the data has all its fields")
}

fn pair(line: &'static str, by: char) -> (&'static str, &'static str) {
    line.split_once(by).expect("the data is separated where it must be")
}

fn rpair(line: &'static str) -> (&'static str, &'static str) {
    line.rsplit_once(' ').expect("the data is separated where it must be")
}

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("the data has numbers where it must")
}
