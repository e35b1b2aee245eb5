//! What kind of identifier a protected value is, and what a masked person may still do with its column.
//!
//! The classes are the 18 identifiers of HIPAA's Safe Harbor method, 45 CFR 164.514(b)(2)(i), with a few that practice
//! asks for beside them: the resource's own patient number, the age, and free text that may hold any of the others.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The class of a protected value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// (A) Names of the person, relatives, employers, household members.
    Name = 1,
    /// (B) Geographic subdivisions smaller than a state: street, city, county, ZIP code.
    Geographic = 2,
    /// (C) Elements of dates, except the year, that relate to a person.
    Date = 3,
    /// (D) Telephone numbers.
    Phone = 4,
    /// (E) Fax numbers.
    Fax = 5,
    /// (F) E-mail addresses.
    Email = 6,
    /// (G) Social Security numbers.
    Ssn = 7,
    /// (H) Medical record numbers.
    Mrn = 8,
    /// (I) Health plan beneficiary numbers, such as the Medicare Beneficiary Identifier.
    HealthPlan = 9,
    /// (J) Account numbers, including payment cards and bank routing numbers.
    Account = 10,
    /// (K) Certificate and licence numbers, including DEA and NPI.
    Licence = 11,
    /// (L) Vehicle identifiers, including plates and VIN.
    Vehicle = 12,
    /// (M) Device identifiers and serial numbers, including UDI.
    Device = 13,
    /// (N) Web addresses.
    Url = 14,
    /// (O) Network addresses.
    Ip = 15,
    /// (P) Biometric identifiers, such as finger and voice prints.
    Biometric = 16,
    /// (Q) Full-face photographs and comparable images.
    Photo = 17,
    /// (R) Any other unique identifying number, characteristic or code.
    UniqueCode = 18,
    /// The resource's own number of a patient, by which tables are joined. Falls under (R).
    PatientId = 19,
    /// An age, of which those over 89 are identifiers under (C).
    Age = 20,
    /// Text written by people, which may hold any of the others.
    FreeText = 21,
}

impl Class {
    /// All classes, in the order of their numbers.
    pub const ALL: [Class; 21] = [
        Class::Name,
        Class::Geographic,
        Class::Date,
        Class::Phone,
        Class::Fax,
        Class::Email,
        Class::Ssn,
        Class::Mrn,
        Class::HealthPlan,
        Class::Account,
        Class::Licence,
        Class::Vehicle,
        Class::Device,
        Class::Url,
        Class::Ip,
        Class::Biometric,
        Class::Photo,
        Class::UniqueCode,
        Class::PatientId,
        Class::Age,
        Class::FreeText,
    ];

    /// Returns the name used in configuration and records. It also separates the keys of classes: never rename one.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Name => "name",
            Class::Geographic => "geographic",
            Class::Date => "date",
            Class::Phone => "phone",
            Class::Fax => "fax",
            Class::Email => "email",
            Class::Ssn => "ssn",
            Class::Mrn => "mrn",
            Class::HealthPlan => "health_plan",
            Class::Account => "account",
            Class::Licence => "licence",
            Class::Vehicle => "vehicle",
            Class::Device => "device",
            Class::Url => "url",
            Class::Ip => "ip",
            Class::Biometric => "biometric",
            Class::Photo => "photo",
            Class::UniqueCode => "unique_code",
            Class::PatientId => "patient_id",
            Class::Age => "age",
            Class::FreeText => "free_text",
        }
    }

    /// Returns what stands in the place of a redacted value of this class.
    pub const fn placeholder(self) -> &'static str {
        match self {
            Class::Name => "[NAME]",
            Class::Geographic => "[LOCATION]",
            Class::Date => "[DATE]",
            Class::Phone => "[PHONE]",
            Class::Fax => "[FAX]",
            Class::Email => "[EMAIL]",
            Class::Ssn => "[SSN]",
            Class::Mrn => "[MRN]",
            Class::HealthPlan => "[HEALTH PLAN]",
            Class::Account => "[ACCOUNT]",
            Class::Licence => "[LICENCE]",
            Class::Vehicle => "[VEHICLE]",
            Class::Device => "[DEVICE]",
            Class::Url => "[URL]",
            Class::Ip => "[IP]",
            Class::Biometric => "[BIOMETRIC]",
            Class::Photo => "[PHOTO]",
            Class::UniqueCode => "[CODE]",
            Class::PatientId => "[PATIENT]",
            Class::Age => "[AGE]",
            Class::FreeText => "[REDACTED]",
        }
    }
}

/// What a person without the right to a protected column may still do with it in a statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Usage {
    /// Nothing: a statement that computes with or filters by the column is refused.
    #[default]
    None = 1,
    /// Join two columns of the same class.
    Join = 2,
    /// Compare with a parameter for equality. No LIKE, range, ORDER BY or GROUP BY.
    Equality = 3,
    /// Filter, sort and group; each use is recorded.
    Result = 4,
}

impl Usage {
    /// All usages, from the strictest.
    pub const ALL: [Usage; 4] = [Usage::None, Usage::Join, Usage::Equality, Usage::Result];

    /// Returns the name used in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Usage::None => "none",
            Usage::Join => "join",
            Usage::Equality => "equality",
            Usage::Result => "result",
        }
    }
}

/// A word that is no class or usage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {noun} `{word}`; known are {known}")]
pub struct Unknown {
    noun: &'static str,
    word: String,
    known: String,
}

impl Unknown {
    fn new(noun: &'static str, word: &str, known: &[&str]) -> Unknown {
        let word = word.chars().take(40).collect();
        Unknown { noun, word, known: known.join(", ") }
    }
}

macro_rules! named {
    ($kind:ty, $noun:literal) => {
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $kind {
            type Err = Unknown;

            fn from_str(word: &str) -> Result<Self, Unknown> {
                let found = Self::ALL.into_iter().find(|one| one.name() == word);
                found.ok_or_else(|| Unknown::new($noun, word, &Self::ALL.map(Self::name)))
            }
        }

        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

named!(Class, "class");
named!(Usage, "usage");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_snake_case_and_read_back() {
        for class in Class::ALL {
            assert_eq!(class.name().parse(), Ok(class));
            assert!(class.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            assert!(class.placeholder().starts_with('[') && class.placeholder().ends_with(']'));
        }
        for (place, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, place + 1);
        }
        for usage in Usage::ALL {
            assert_eq!(usage.to_string().parse(), Ok(usage));
        }
        assert_eq!(Usage::default(), Usage::None);
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_known_ones() {
        let error = "all".parse::<Usage>().expect_err("no usage").to_string();
        assert_eq!(error, "unknown usage `all`; known are none, join, equality, result");
    }
}
