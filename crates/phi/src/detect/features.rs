//! What a column's name says of its cells. It may raise a suspicion, never lower one.

use crate::Class;

/// A cell longer than this is text with something in it, not one value.
const WHOLE_CELL_MAX: usize = 64;

/// What is expected in a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    expected: Option<Class>,
}

impl Features {
    /// Returns features that expect nothing.
    pub fn none() -> Features {
        Features::default()
    }

    /// Returns what the names of a table and a column let expect.
    pub fn of(table: &str, column: &str) -> Features {
        let words = words(column);
        let expected = expected(&words).or_else(|| {
            // `patients.name`, but not `drugs.name`.
            let of_person =
                ["patient", "person", "people", "contact", "guarantor", "provider", "member", "relative"];
            let table = table.to_ascii_lowercase();
            let named = words.iter().any(|word| word == "name");
            (named && of_person.iter().any(|word| table.contains(word))).then_some(Class::Name)
        });
        Features { expected }
    }

    /// Returns the class that is expected.
    pub fn expected(&self) -> Option<Class> {
        self.expected
    }

    /// Returns the class of a short cell that is as a whole what the column's name says.
    pub(super) fn whole_cell(&self, text: &str) -> Option<Class> {
        let class = self.expected.filter(|_| text.len() <= WHOLE_CELL_MAX)?;
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        let letters = text.chars().any(char::is_alphabetic);
        let whole = match class {
            Class::Name => letters,
            Class::Geographic => letters || digits >= 3,
            Class::Email | Class::Url => letters,
            Class::FreeText | Class::Photo | Class::Biometric | Class::Age => false,
            Class::Date
            | Class::Phone
            | Class::Fax
            | Class::Ssn
            | Class::Mrn
            | Class::HealthPlan
            | Class::Account
            | Class::Licence
            | Class::Vehicle
            | Class::Device
            | Class::Ip
            | Class::UniqueCode
            | Class::PatientId => digits >= 3,
        };
        whole.then_some(class)
    }
}

/// The words of a name in `snake_case` or `camelCase`.
pub(crate) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut previous_lower = false;
    for character in name.chars() {
        let upper = character.is_uppercase();
        if !character.is_alphanumeric() || (upper && previous_lower) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| character.is_alphanumeric()) {
            word.extend(character.to_lowercase());
        }
        previous_lower = character.is_lowercase();
    }
    words
}

fn expected(words: &[String]) -> Option<Class> {
    let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(&word.as_str()));
    let joined = words.concat();
    let ends = |wanted: &[&str]| wanted.iter().any(|word| joined.ends_with(word));
    let person_name = has(&[
        "surname",
        "forename",
        "firstname",
        "lastname",
        "givenname",
        "familyname",
        "fullname",
        "maiden",
    ]) || (has(&["name"])
        && has(&["first", "last", "middle", "given", "family", "full", "patient", "person", "contact"]));
    let rules: [(bool, Class); 15] = [
        (person_name, Class::Name),
        (has(&["ssn", "social"]), Class::Ssn),
        (has(&["fax"]), Class::Fax),
        (has(&["email", "mail"]), Class::Email),
        (has(&["phone", "telephone", "mobile", "cell", "pager"]) || ends(&["phone"]), Class::Phone),
        (has(&["dob", "birthdate", "birthday"]) || (has(&["birth"]) && has(&["date"])), Class::Date),
        (has(&["mrn"]) || joined.contains("medicalrecord"), Class::Mrn),
        (
            has(&["address", "street", "city", "zip", "zipcode", "postcode", "postal", "county", "addr"]),
            Class::Geographic,
        ),
        (
            has(&["mbi", "medicare", "medicaid", "subscriber", "beneficiary", "policy", "insurance"]),
            Class::HealthPlan,
        ),
        (has(&["account", "acct", "iban", "card", "routing"]), Class::Account),
        (has(&["npi", "dea", "license", "licence", "passport"]), Class::Licence),
        (has(&["vin", "plate"]), Class::Vehicle),
        (has(&["udi", "serial"]), Class::Device),
        (has(&["url", "website", "homepage"]), Class::Url),
        (has(&["ip"]), Class::Ip),
    ];
    rules.into_iter().find(|(holds, _)| *holds).map(|(_, class)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(table: &str, column: &str, expected: Option<Class>) {
        assert_eq!(Features::of(table, column).expected(), expected);
    }

    #[test]
    fn names_of_columns() {
        check("t", "first_name", Some(Class::Name));
        check("t", "lastName", Some(Class::Name));
        check("patients", "name", Some(Class::Name));
        check("drugs", "name", None);
        check("t", "homePhone", Some(Class::Phone));
        check("t", "birth_date", Some(Class::Date));
        check("t", "zip_code", Some(Class::Geographic));
        check("t", "medical_record_number", Some(Class::Mrn));
        check("t", "description", None);
    }
}
