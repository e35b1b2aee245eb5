//! Free text as people write it: names, numbers and dates of the patient and of relatives among the prose.

use super::calendar::{Day, Moment};
use super::people::{Household, Patient, Staff};
use super::random::Random;
use super::words::{Drug, Lab, Part, Template, Words};

/// What a note can speak of.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) words: &'a Words,
    pub(crate) household: &'a Household<'a>,
    pub(crate) patient: &'a Patient,
    pub(crate) doctor: &'a Staff,
    pub(crate) nurse: &'a Staff,
    pub(crate) department: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) at: Moment,
}

/// Somebody the note names besides the patient: of the household where there is one.
#[derive(Debug)]
struct Relative {
    first: &'static str,
    last: &'static str,
    relation: &'static str,
    phone: String,
    birth: Day,
}

/// Returns kind and body of a note.
pub(crate) fn write(scene: &Scene<'_>, random: &mut Random) -> (&'static str, String) {
    let template = loop {
        let template = random.pick(&scene.words.templates);
        if fits(template, scene) {
            break template;
        }
    };
    let writing = Writing {
        scene,
        relative: relative(scene, random),
        lab: random.pick(&scene.words.labs),
        drug: random.pick(&scene.words.drugs),
    };
    let mut body = String::with_capacity(512);
    for part in &template.parts {
        match part {
            Part::Text(text) => body.push_str(text),
            Part::Blank(blank) => body.push_str(&writing.fill(blank, random)),
        }
    }
    (template.kind, body)
}

fn fits(template: &Template, scene: &Scene<'_>) -> bool {
    let age = scene.at.day().age(scene.patient.birth);
    match template.kind {
        "pediatrics" => age < 18,
        "obstetrics" => scene.patient.female && (18..46).contains(&age),
        "psychiatry" | "social_work" | "portal" | "billing" => age >= 18,
        _ => true,
    }
}

fn relative(scene: &Scene<'_>, random: &mut Random) -> Relative {
    let others: Vec<_> = scene.household.members.iter().filter(|m| m.id != scene.patient.id).collect();
    let years = |a: &Patient| Day::TODAY.age(a.birth);
    if others.is_empty() {
        let female = random.chance(500);
        let age = (years(scene.patient) + random.between(-8, 8)).max(19);
        return Relative {
            first: scene.words.first(random, female, age),
            last: if random.chance(600) { scene.patient.last } else { scene.words.last.pick(random) },
            relation: if female { "sister" } else { "brother" },
            phone: scene.household.city.phone(random),
            birth: Day(Day::TODAY.0 - age * 1461 / 4 - random.between(1, 364)),
        };
    }
    let other = random.pick(&others);
    let apart = years(other) - years(scene.patient);
    let relation = match (apart, other.female) {
        (16.., true) => "mother",
        (16.., false) => "father",
        (..=-16, true) => "daughter",
        (..=-16, false) => "son",
        (_, true) if years(scene.patient) < 19 => "sister",
        (_, false) if years(scene.patient) < 19 => "brother",
        (_, true) => "wife",
        (_, false) => "husband",
    };
    Relative {
        first: other.first,
        last: other.last,
        relation,
        phone: other.phone.clone(),
        birth: other.birth,
    }
}

#[derive(Debug)]
struct Writing<'a> {
    scene: &'a Scene<'a>,
    relative: Relative,
    lab: &'a Lab,
    drug: &'a Drug,
}

impl Writing<'_> {
    fn fill(&self, blank: &str, random: &mut Random) -> String {
        self.of_patient(blank, random)
            .or_else(|| self.of_relative(blank))
            .or_else(|| self.of_care(blank, random))
            .or_else(|| self.of_time(blank, random))
            .unwrap_or_else(|| measure(blank, random))
    }

    fn of_patient(&self, blank: &str, random: &mut Random) -> Option<String> {
        let (p, home) = (self.scene.patient, self.scene.household);
        let word = |female: &str, male: &str| if p.female { female } else { male }.to_owned();
        Some(match blank {
            "first" => p.first.to_owned(),
            "last" => p.last.to_owned(),
            "full" => format!("{} {}", p.first, p.last),
            "first_upper" => p.first.to_uppercase(),
            "last_upper" => p.last.to_uppercase(),
            "last_typo" => typo(p.last, random),
            "middle" => p.first.chars().last().unwrap_or('x').to_uppercase().to_string(),
            "mrn" => p.mrn.clone(),
            "ssn" => p.ssn.clone().unwrap_or_else(|| "unknown".to_owned()),
            "ssn4" => p.ssn.as_deref().and_then(|s| s.get(7..)).unwrap_or("none").to_owned(),
            "dob_us" => p.birth.us(),
            "dob_iso" => p.birth.to_string(),
            "dob_long" => p.birth.long(),
            "age" => self.scene.at.day().age(p.birth).to_string(),
            "phone" => p.phone.clone(),
            "email" => p.email.clone().unwrap_or_else(|| "no email".to_owned()),
            "member_id" => p.member_id.clone(),
            "payer" => p.payer.to_owned(),
            "street" => home.street.clone(),
            "street_name" => home.street_name.to_owned(),
            "city" => home.city.name.to_owned(),
            "state" => home.city.state.to_owned(),
            "zip" => home.zip.clone(),
            "sex_word" if self.grown() => word("woman", "man"),
            "sex_word" => word("girl", "boy"),
            "sex_letter" => word("F", "M"),
            "He" => word("She", "He"),
            "him" => word("her", "him"),
            "his" => word("her", "his"),
            "His" => word("Her", "His"),
            "Mr" => word("Ms.", "Mr."),
            _ => return None,
        })
    }

    fn grown(&self) -> bool {
        self.scene.at.day().age(self.scene.patient.birth) >= 18
    }

    fn of_relative(&self, blank: &str) -> Option<String> {
        let r = &self.relative;
        Some(match blank {
            "relative_first" => r.first.to_owned(),
            "relative_full" => format!("{} {}", r.first, r.last),
            "relative_phone" => r.phone.clone(),
            "relative_dob_us" => r.birth.us(),
            "relation" => r.relation.to_owned(),
            "relation_cap" => capital(r.relation),
            "signer" if self.grown() => "patient".to_owned(),
            "signer" => format!("{} ({})", r.first, r.relation),
            _ => return None,
        })
    }

    fn of_care(&self, blank: &str, random: &mut Random) -> Option<String> {
        let scene = self.scene;
        Some(match blank {
            "doctor" => format!("{} {}", scene.doctor.first, scene.doctor.last),
            "doctor_last" => scene.doctor.last.to_owned(),
            "nurse" => format!("{} {}", scene.nurse.first, scene.nurse.last),
            "nurse_initials" => {
                scene.nurse.first.chars().take(1).chain(scene.nurse.last.chars().take(1)).collect()
            }
            "department" => scene.department.to_owned(),
            "reason" => scene.reason.to_owned(),
            "reason_cap" => capital(scene.reason),
            "phone2" => scene.doctor.phone.clone(),
            "lab" => self.lab.name.to_owned(),
            "lab_value" => self.lab.value(random).0,
            "lab_unit" => self.lab.unit.to_owned(),
            "drug" => self.drug.name.to_owned(),
            "dose" => self.drug.dose.to_owned(),
            _ => return None,
        })
    }

    fn of_time(&self, blank: &str, random: &mut Random) -> Option<String> {
        let day = self.scene.at.day();
        let mut past = || Day((day.0 - random.between(7, 120)).max(self.scene.patient.birth.0));
        Some(match blank {
            "date_us" => day.us(),
            "date_iso" => day.to_string(),
            "date_long" => day.long(),
            "time" => self.scene.at.clock(),
            "past_us" => past().us(),
            "past_iso" => past().to_string(),
            "past_long" => past().long(),
            "next_us" => Day(day.0 + random.between(7, 120)).us(),
            "next_long" => Day(day.0 + random.between(7, 120)).long(),
            _ => return None,
        })
    }
}

fn measure(blank: &str, random: &mut Random) -> String {
    match blank {
        "bp" => format!("{}/{}", random.between(98, 172), random.between(56, 102)),
        "pulse" => random.between(52, 118).to_string(),
        "temp" => format!("{}.{}", random.between(97, 101), random.between(0, 9)),
        "pain" => random.between(0, 10).to_string(),
        "weeks" => random.between(2, 38).to_string(),
        "visit_number" => random.between(2, 24).to_string(),
        "extension" => random.between(1000, 9999).to_string(),
        "room" => format!("{}{:02}{}", random.between(2, 8), random.between(1, 40), random.pick(&["A", "B"])),
        "serial" => random.between(10_000_000, 99_999_999).to_string(),
        "license" => format!("R{}{:06}", random.pick(&["T", "U", "V"]), random.below(1_000_000)),
        "plate" => format!("{}{:04}", random.pick(&["HJK ", "GRT ", "JBX "]), random.below(10_000)),
        "ip" => format!("10.{}.{}.{}", random.below(256), random.below(256), random.between(1, 254)),
        other => unreachable!("a template has the blank `{other}`, which nothing fills"),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

// Swaps two letters, as typists do.
fn typo(name: &str, random: &mut Random) -> String {
    let mut letters: Vec<char> = name.chars().collect();
    if letters.len() > 3 {
        let at = usize::try_from(random.below(letters.len() as u64 - 2)).expect("a letter's place") + 1;
        letters.swap(at, at - 1);
    }
    letters.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hospital::people::{Population, Workforce};

    #[test]
    fn every_template_can_be_filled_and_leaves_no_blank() {
        let words = Words::read();
        assert!(words.templates.len() >= 30);
        let workforce = Workforce::hire(&words, 1, 1_000);
        let household = Population::new(&words, &workforce, 1, 10).next().expect("there are patients");
        let staff = workforce.all.first().expect("there is staff");
        let scene = Scene {
            words: &words,
            household: &household,
            patient: &household.members[0],
            doctor: staff,
            nurse: staff,
            department: "Cardiology",
            reason: "palpitations",
            at: Day::TODAY.at(600),
        };
        let mut random = Random::new(1, 1, 1);
        let writing = Writing {
            scene: &scene,
            relative: relative(&scene, &mut random),
            lab: &words.labs[0],
            drug: &words.drugs[0],
        };
        for template in &words.templates {
            for part in &template.parts {
                if let Part::Blank(blank) = part {
                    assert!(!writing.fill(blank, &mut random).is_empty(), "{blank}");
                }
            }
        }
    }
}
