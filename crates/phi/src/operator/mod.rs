//! How a protected value is masked: the operators, their configuration text, and what each needs.
//!
//! `null`, `redact`, `partial`, `year`, `zip3`, `age`, `bucket`, `email_domain` and `ip_prefix` remove or generalise.
//! `token`, `hash`, `format_preserving` and `date_shift` are keyed: the same value gives the same result wherever it
//! appears, so that joins and counts still work. Their results are pseudonyms, and still protected health information.

mod ff1;
mod keys;
mod parse;
mod zip3;

use std::fmt;

use crate::Class;

pub(crate) use ff1::{Ff1, SYMBOLS_MAX as FPE_SYMBOLS_MAX};
pub(crate) use keys::{Domain, Mac};
pub use keys::{KeyId, Keys};
pub use parse::ParseError;
pub use zip3::ZIP3_LIST_VERSION;
pub(crate) use zip3::zip3;

/// The smallest number of values that format-preserving encryption may permute (SP 800-38G revision 1).
pub const FPE_DOMAIN_MIN: u128 = 1_000_000;
/// The age from which all ages are told as this one.
pub const AGE_TOP: u16 = 90;

/// How a value is masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operator {
    /// NULL.
    Null,
    /// A constant of the type.
    Redact,
    /// The first and last characters of a text that has at least `min`; stars between. Shorter texts: stars only.
    Partial {
        /// Characters shown at the start.
        first: u16,
        /// Characters shown at the end.
        last: u16,
        /// The length below which nothing is shown.
        min: u16,
    },
    /// A short keyed token, the same for the same value of the same class.
    Token,
    /// A full-length keyed hash, the same for the same value of the same class.
    Hash,
    /// FF1 encryption of the digits (or letters and digits), everything else kept in place.
    FormatPreserving {
        /// Which characters are encrypted; others than these and punctuation make the value NULL.
        alphabet: Alphabet,
        /// Values with fewer such characters become NULL.
        min: u16,
    },
    /// Moves a date by a number of days that is fixed per patient; without a patient in the row, NULL.
    DateShift,
    /// The year of a date: its first of January, or in a text the four digits.
    Year,
    /// The first three digits of a ZIP code, `000` where too few people live there.
    Zip3,
    /// An age, where 90 stands for everything from 90.
    Age,
    /// A number rounded down to a multiple.
    Bucket {
        /// The multiple.
        size: u32,
    },
    /// Of an e-mail address, what follows the `@`.
    EmailDomain,
    /// Of a network address, the first 24 bits (IPv6: 48).
    IpPrefix,
}

/// What format-preserving encryption permutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alphabet {
    /// The ten digits.
    Digits,
    /// Digits and ASCII letters; case is not kept: letters come out in upper case.
    Alnum,
}

impl Alphabet {
    /// Returns the number of symbols.
    pub const fn radix(self) -> u32 {
        match self {
            Alphabet::Digits => 10,
            Alphabet::Alnum => 36,
        }
    }

    /// Returns the name used in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Alphabet::Digits => "digits",
            Alphabet::Alnum => "alnum",
        }
    }

    /// Returns the fewest symbols that make the domain large enough.
    pub const fn symbols_min(self) -> u16 {
        match self {
            Alphabet::Digits => 6,
            Alphabet::Alnum => 4,
        }
    }
}

impl Operator {
    /// One of each name, with parameters where it must have some: the list that messages choose from.
    pub(crate) const SAMPLES: [Operator; 13] = [
        Operator::Null,
        Operator::Redact,
        Operator::Partial { first: 0, last: 4, min: 8 },
        Operator::Token,
        Operator::Hash,
        Operator::FormatPreserving { alphabet: Alphabet::Digits, min: 6 },
        Operator::DateShift,
        Operator::Year,
        Operator::Zip3,
        Operator::Age,
        Operator::Bucket { size: 10 },
        Operator::EmailDomain,
        Operator::IpPrefix,
    ];

    /// Returns the names of the operators that suit a class.
    pub fn suiting(class: Class) -> Vec<&'static str> {
        let suiting = Operator::SAMPLES.into_iter().filter(|operator| operator.suits(class));
        suiting.map(Operator::name).collect()
    }

    /// Returns how values of a class are masked where nobody chose: what the Safe Harbor method leaves of a date and an
    /// age, a token of a patient's number, because rows that cannot be told apart serve nobody, and nothing of the rest.
    pub const fn usual(class: Class) -> Operator {
        match class {
            Class::Date => Operator::Year,
            Class::Age => Operator::Age,
            Class::PatientId => Operator::Token,
            Class::Name
            | Class::Geographic
            | Class::Phone
            | Class::Fax
            | Class::Email
            | Class::Ssn
            | Class::Mrn
            | Class::HealthPlan
            | Class::Account
            | Class::Licence
            | Class::Vehicle
            | Class::Device
            | Class::Url
            | Class::Ip
            | Class::Biometric
            | Class::Photo
            | Class::UniqueCode
            | Class::FreeText => Operator::Redact,
        }
    }

    /// Returns the word that stands for it in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Operator::Null => "null",
            Operator::Redact => "redact",
            Operator::Partial { .. } => "partial",
            Operator::Token => "token",
            Operator::Hash => "hash",
            Operator::FormatPreserving { .. } => "format_preserving",
            Operator::DateShift => "date_shift",
            Operator::Year => "year",
            Operator::Zip3 => "zip3",
            Operator::Age => "age",
            Operator::Bucket { .. } => "bucket",
            Operator::EmailDomain => "email_domain",
            Operator::IpPrefix => "ip_prefix",
        }
    }

    /// Returns whether the operator protects values of a class: `bucket` of a Social Security number would show most of
    /// it, and `age` would pass any number below 90.
    pub const fn suits(self, class: Class) -> bool {
        match self {
            Operator::Null | Operator::Redact | Operator::Token | Operator::Hash => true,
            Operator::Partial { .. } => !matches!(class, Class::FreeText | Class::Photo | Class::Biometric),
            Operator::FormatPreserving { .. } => matches!(
                class,
                Class::Phone
                    | Class::Fax
                    | Class::Ssn
                    | Class::Mrn
                    | Class::HealthPlan
                    | Class::Account
                    | Class::Licence
                    | Class::Vehicle
                    | Class::Device
                    | Class::UniqueCode
                    | Class::PatientId
            ),
            Operator::DateShift | Operator::Year => matches!(class, Class::Date),
            Operator::Zip3 => matches!(class, Class::Geographic),
            Operator::Age => matches!(class, Class::Age),
            Operator::Bucket { .. } => matches!(class, Class::Age | Class::UniqueCode),
            Operator::EmailDomain => matches!(class, Class::Email),
            Operator::IpPrefix => matches!(class, Class::Ip),
        }
    }

    /// Returns whether the result still stands for one value, so that it is a pseudonym under 45 CFR 164.514(c) and
    /// must be protected like the value itself.
    pub const fn is_pseudonym(self) -> bool {
        match self {
            Operator::Token
            | Operator::Hash
            | Operator::FormatPreserving { .. }
            | Operator::DateShift
            | Operator::Partial { .. } => true,
            Operator::Null
            | Operator::Redact
            | Operator::Year
            | Operator::Zip3
            | Operator::Age
            | Operator::Bucket { .. }
            | Operator::EmailDomain
            | Operator::IpPrefix => false,
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operator::Partial { first, last, min } => {
                write!(f, "partial(first={first}, last={last}, min={min})")
            }
            Operator::FormatPreserving { alphabet, min } => {
                write!(f, "format_preserving(alphabet={}, min={min})", alphabet.name())
            }
            Operator::Bucket { size } => write!(f, "bucket(size={size})"),
            other => f.write_str(other.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_suits() {
        for class in Class::ALL {
            assert!(Operator::usual(class).suits(class), "{class}");
            assert!(Operator::suiting(class).contains(&Operator::usual(class).name()), "{class}");
        }
        assert_eq!(Operator::suiting(Class::FreeText), ["null", "redact", "token", "hash"]);
    }

    #[test]
    fn samples_are_one_of_each_name() {
        for sample in Operator::SAMPLES {
            assert_eq!(sample.to_string().parse(), Ok(sample));
        }
        let mut names = Operator::SAMPLES.map(Operator::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}
