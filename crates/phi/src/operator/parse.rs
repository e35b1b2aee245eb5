//! The configuration text of an operator: a word, or a word with named numbers: `partial(last=4, min=8)`.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Alphabet, Operator};

/// Characters that `partial` hides at least, also of the shortest text of which it shows anything.
const PARTIAL_HIDDEN_MIN: u16 = 4;
/// Characters that `partial` shows at most.
const PARTIAL_SHOWN_MAX: u16 = 8;
/// The longest value, in symbols, that format-preserving encryption takes.
const FPE_SYMBOLS_MAX: u16 = 46;

/// Why a text is no operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The word before the parenthesis is unknown.
    #[error(
        "unknown operator `{0}`; known are null, redact, partial, token, hash, format_preserving, date_shift, year, \
         zip3, age, bucket, email_domain, ip_prefix"
    )]
    UnknownOperator(String),
    /// The parentheses do not match or hold something else than `name=value, ...`.
    #[error("`{0}` is not of the form `operator` or `operator(name=value, ...)`")]
    Syntax(String),
    /// The operator has no such parameter.
    #[error("`{operator}` has no parameter `{parameter}`; it takes {takes}")]
    UnknownParameter {
        /// The operator.
        operator: &'static str,
        /// What was written.
        parameter: String,
        /// What could be written.
        takes: &'static str,
    },
    /// A parameter stands twice.
    #[error("`{operator}` has `{parameter}` twice")]
    Twice {
        /// The operator.
        operator: &'static str,
        /// The parameter.
        parameter: String,
    },
    /// A parameter's value is not what it must be.
    #[error("`{parameter}` of `{operator}` must be {expected}")]
    Value {
        /// The operator.
        operator: &'static str,
        /// The parameter.
        parameter: &'static str,
        /// What it must be.
        expected: String,
    },
}

impl FromStr for Operator {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Operator, ParseError> {
        let text = text.trim();
        let syntax = || ParseError::Syntax(text.chars().take(60).collect());
        let (word, inside) = match text.split_once('(') {
            None => (text, ""),
            Some((word, rest)) => (word.trim_end(), rest.strip_suffix(')').ok_or_else(syntax)?),
        };
        let mut given: Vec<(&str, &str)> = Vec::new();
        for piece in inside.split(',').map(str::trim).filter(|_| !inside.trim().is_empty()) {
            let (name, value) = piece.split_once('=').ok_or_else(syntax)?;
            given.push((name.trim(), value.trim()));
        }
        named(word, &given)
    }
}

fn named(word: &str, given: &[(&str, &str)]) -> Result<Operator, ParseError> {
    let plain = |operator: Operator| {
        Given::new(operator.name(), "none", &[], given)?;
        Ok(operator)
    };
    match word {
        "null" => plain(Operator::Null),
        "redact" => plain(Operator::Redact),
        "partial" => partial(given),
        "token" => plain(Operator::Token),
        "hash" => plain(Operator::Hash),
        "format_preserving" => format_preserving(given),
        "date_shift" => plain(Operator::DateShift),
        "year" => plain(Operator::Year),
        "zip3" => plain(Operator::Zip3),
        "age" => plain(Operator::Age),
        "bucket" => bucket(given),
        "email_domain" => plain(Operator::EmailDomain),
        "ip_prefix" => plain(Operator::IpPrefix),
        _ => Err(ParseError::UnknownOperator(word.chars().take(40).collect())),
    }
}

fn partial(given: &[(&str, &str)]) -> Result<Operator, ParseError> {
    let given = Given::new("partial", "first, last, min", &["first", "last", "min"], given)?;
    let first = given.number("first", 0, PARTIAL_SHOWN_MAX)?.unwrap_or(0);
    let last = given.number("last", 0, PARTIAL_SHOWN_MAX)?.unwrap_or(0);
    let shown = first + last;
    if shown == 0 || shown > PARTIAL_SHOWN_MAX {
        let expected = format!(
            "such that together with `last` it shows 1 to {PARTIAL_SHOWN_MAX} characters; or `redact`"
        );
        return Err(ParseError::Value { operator: "partial", parameter: "first", expected });
    }
    let min = given.number("min", shown + PARTIAL_HIDDEN_MIN, 1000)?.unwrap_or(shown + PARTIAL_HIDDEN_MIN);
    Ok(Operator::Partial { first, last, min })
}

fn format_preserving(given: &[(&str, &str)]) -> Result<Operator, ParseError> {
    let given = Given::new("format_preserving", "alphabet, min", &["alphabet", "min"], given)?;
    let alphabet = match given.value("alphabet") {
        None | Some("digits") => Alphabet::Digits,
        Some("alnum") => Alphabet::Alnum,
        Some(_) => {
            let expected = "`digits` or `alnum`".to_owned();
            return Err(ParseError::Value { operator: "format_preserving", parameter: "alphabet", expected });
        }
    };
    let least = alphabet.symbols_min();
    let min = given.number("min", least, FPE_SYMBOLS_MAX).map_err(|error| match error {
        ParseError::Value { operator, parameter, expected } => ParseError::Value {
            operator,
            parameter,
            expected: format!("{expected}: fewer `{}` have less than a million values", alphabet.name()),
        },
        other => other,
    })?;
    Ok(Operator::FormatPreserving { alphabet, min: min.unwrap_or(least) })
}

fn bucket(given: &[(&str, &str)]) -> Result<Operator, ParseError> {
    let given = Given::new("bucket", "size", &["size"], given)?;
    let wrong = || ParseError::Value {
        operator: "bucket",
        parameter: "size",
        expected: "given, a whole number from 2 to 1000000000".to_owned(),
    };
    let size: u32 = given.value("size").ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
    if (2..=1_000_000_000).contains(&size) { Ok(Operator::Bucket { size }) } else { Err(wrong()) }
}

/// The parameters as written, known and each at most once.
struct Given<'a> {
    operator: &'static str,
    values: &'a [(&'a str, &'a str)],
}

impl<'a> Given<'a> {
    fn new(
        operator: &'static str,
        takes: &'static str,
        known: &[&str],
        values: &'a [(&'a str, &'a str)],
    ) -> Result<Given<'a>, ParseError> {
        for (place, (name, _)) in values.iter().enumerate() {
            let shown = || name.chars().take(40).collect();
            if !known.contains(name) {
                return Err(ParseError::UnknownParameter { operator, parameter: shown(), takes });
            }
            if values.iter().take(place).any(|(earlier, _)| earlier == name) {
                return Err(ParseError::Twice { operator, parameter: shown() });
            }
        }
        Ok(Given { operator, values })
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.values.iter().find(|(given, _)| *given == name).map(|(_, value)| *value)
    }

    fn number(&self, name: &'static str, least: u16, most: u16) -> Result<Option<u16>, ParseError> {
        let Some(text) = self.value(name) else { return Ok(None) };
        let number = text.parse::<u16>().ok().filter(|number| (least..=most).contains(number));
        number.map(Some).ok_or_else(|| ParseError::Value {
            operator: self.operator,
            parameter: name,
            expected: format!("a whole number from {least} to {most}"),
        })
    }
}

impl Serialize for Operator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Operator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let operator: Operator = text.parse().expect("an operator");
        assert_eq!(operator.to_string(), expected);
        assert_eq!(expected.parse(), Ok(operator), "what is shown reads back");
    }

    #[track_caller]
    fn check_fault(text: &str, expected: &str) {
        let error = text.parse::<Operator>().expect_err("a fault").to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn operators_read_back() {
        for word in ["null", "redact", "token", "hash", "date_shift", "year", "zip3", "age", "email_domain"] {
            check(word, word);
        }
        check("ip_prefix()", "ip_prefix");
        check(" partial( last = 4 )", "partial(first=0, last=4, min=8)");
        check("partial(first=1,last=2,min=12)", "partial(first=1, last=2, min=12)");
        check("format_preserving", "format_preserving(alphabet=digits, min=6)");
        check("format_preserving(alphabet=alnum)", "format_preserving(alphabet=alnum, min=4)");
        check("bucket(size=10)", "bucket(size=10)");
    }

    #[test]
    fn faults_say_what_is_wrong() {
        check_fault("mask", "unknown operator `mask`; known are null, redact,");
        check_fault("token(4)", "not of the form");
        check_fault("token(a=4", "not of the form");
        check_fault("token(a=4)", "`token` has no parameter `a`; it takes none");
        check_fault("partial", "shows 1 to 8");
        check_fault("partial(first=5, last=5)", "shows 1 to 8");
        check_fault("partial(last=4, min=5)", "`min` of `partial` must be a whole number from 8");
        check_fault("partial(last=4, last=5)", "`last` twice");
        check_fault("format_preserving(min=5)", "fewer `digits` have less than a million values");
        check_fault("format_preserving(alphabet=latin)", "`digits` or `alnum`");
        check_fault("bucket", "`size` of `bucket` must be given");
        check_fault("bucket(size=1)", "from 2 to");
    }
}
