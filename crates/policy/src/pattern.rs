//! Which objects a rule of a role means.

use std::fmt;
use std::str::FromStr;

use crate::catalogue::UNKNOWN_SCHEMA;
use crate::name::{self, NameFault, Part};

/// `schema.name`, `schema.*` or `*`. Names are as the database stores them: case-sensitive, without folding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(pub(crate) Shape);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Shape {
    /// Everything of the resource, and the resource itself.
    All,
    /// Everything in one schema.
    Schema(String),
    /// One object.
    Object { schema: String, name: String },
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a pattern: {fault}; allowed are `schema.name`, `schema.*` and `*`, \
     with a name in double quotes where it holds a `.`, `/`, `*`, space or quote"
)]
pub struct PatternError {
    text: String,
    fault: NameFault,
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Pattern, PatternError> {
        parse(text).map(Pattern).map_err(|fault| PatternError { text: text.to_owned(), fault })
    }
}

fn parse(text: &str) -> Result<Shape, NameFault> {
    let mut parts = name::parts(text)?.into_iter();
    let schema = match (parts.next(), parts.len()) {
        (Some(Part::Wildcard), 0) => return Ok(Shape::All),
        (Some(Part::Wildcard), _) => return Err(NameFault("a schema cannot hold a wildcard")),
        (Some(Part::Name(schema)), _) => schema,
        (None, _) => return Err(NameFault("a name is missing")),
    };
    if schema == UNKNOWN_SCHEMA {
        return Err(NameFault("`?` stands for a schema that is not known and cannot be granted"));
    }
    match (parts.next(), parts.len()) {
        (None, _) => Err(NameFault("the schema is missing")),
        (Some(_), 1..) => Err(NameFault("there is more after the name")),
        (Some(Part::Wildcard), 0) => Ok(Shape::Schema(schema)),
        (Some(Part::Name(name)), 0) => Ok(Shape::Object { schema, name }),
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |part: &str| {
            let mut text = String::new();
            if part.contains(|c: char| c == '*' || c.is_whitespace()) {
                return format!("\"{}\"", part.replace('"', "\"\""));
            }
            name::push(&mut text, part);
            text
        };
        match &self.0 {
            Shape::All => f.write_str("*"),
            Shape::Schema(schema) => write!(f, "{}.*", part(schema)),
            Shape::Object { schema, name } => write!(f, "{}.{}", part(schema), part(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Result<Shape, &'static str>) {
        let parsed = text.parse::<Pattern>();
        match expected {
            Ok(shape) => assert_eq!(parsed, Ok(Pattern(shape)), "{text}"),
            Err(fault) => assert_eq!(parsed.unwrap_err().fault, NameFault(fault), "{text}"),
        }
    }

    fn object(schema: &str, name: &str) -> Result<Shape, &'static str> {
        Ok(Shape::Object { schema: schema.to_owned(), name: name.to_owned() })
    }

    #[test]
    fn patterns() {
        check("*", Ok(Shape::All));
        check("public.*", Ok(Shape::Schema("public".to_owned())));
        check("public.patients", object("public", "patients"));
        check("public.Patients", object("public", "Patients"));
        check(r#""my.schema"."a ""b"" *""#, object("my.schema", "a \"b\" *"));
        check(r#"public."*""#, object("public", "*"));
        check("", Err("a name is missing or its quote is not closed"));
        check("patients", Err("the schema is missing"));
        check("*.patients", Err("a schema cannot hold a wildcard"));
        check("public.pat*", Err("a wildcard stands alone, for a whole name"));
        check("db.public.patients", Err("there is more after the name"));
        check("*.*", Err("a schema cannot hold a wildcard"));
        check("public.patients.*", Err("there is more after the name"));
        check("pub*.patients", Err("a wildcard stands alone, for a whole name"));
        check("public.\"a\"b", Err("a `.` must separate the names"));
        check("public.", Err("a name is missing or its quote is not closed"));
        check("public/patients", Err("a `.` must separate the names"));
        check("public. patients", Err("a name holds a space"));
        check("public.\"a", Err("a name is missing or its quote is not closed"));
        check("\"\".a", Err("a name is empty"));
        check("?.a", Err("`?` stands for a schema that is not known and cannot be granted"));
        check("\"?\".*", Err("`?` stands for a schema that is not known and cannot be granted"));
    }

    #[test]
    fn the_error_says_what_is_allowed() {
        assert_eq!(
            "patients".parse::<Pattern>().unwrap_err().to_string(),
            "`patients` is not a pattern: the schema is missing; allowed are `schema.name`, `schema.*` and `*`, \
             with a name in double quotes where it holds a `.`, `/`, `*`, space or quote"
        );
    }

    proptest! {
        #[test]
        fn display_reads_back(schema in "[a-zA-Z.\"/* é]{1,6}", name in proptest::option::of("[a-z.\"/* ]{1,6}")) {
            let pattern = Pattern(match name {
                Some(name) => Shape::Object { schema, name },
                None => Shape::Schema(schema),
            });
            prop_assert_eq!(pattern.to_string().parse::<Pattern>(), Ok(pattern));
        }

        #[test]
        fn any_text_is_a_pattern_or_an_error(text in "\\PC{0,12}") {
            if let Ok(pattern) = text.parse::<Pattern>() {
                prop_assert_eq!(pattern.to_string().parse::<Pattern>(), Ok(pattern));
            }
        }
    }
}
