//! The filters and paths of SCIM (RFC 7644, sections 3.4.2.2 and 3.5.2): text to tree, and what a tree says of a value.
//!
//! Attribute names are compared without case, texts too, as all of ours are `caseExact: false` but ids.

use std::cmp::Ordering;

use serde_json::Value;

/// Longest filter or path.
pub(super) const TEXT_BYTES_MAX: usize = 4 << 10;

/// Parentheses and brackets within each other.
const DEPTH_MAX: usize = 16;

/// What is asked of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Contains,
    StartsWith,
    EndsWith,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// An attribute: perhaps with its schema before it, perhaps with one below it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) sub: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Filter {
    Present(Attribute),
    Compare(Attribute, Operator, Value),
    /// Some value of a list fits.
    Within(String, Box<Filter>),
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
}

/// Where a change is to be made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path {
    pub(super) name: String,
    /// Which values of a list.
    pub(super) chosen: Option<Filter>,
    pub(super) sub: Option<String>,
}

/// It is not of the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

impl Filter {
    pub(super) fn parse(text: &str) -> Result<Filter, Unreadable> {
        let mut parser = Parser::new(text)?;
        let filter = parser.any_of(DEPTH_MAX)?;
        parser.end()?;
        Ok(filter)
    }

    /// Tells whether a resource, or one value of a list, fits.
    pub(super) fn fits(&self, value: &Value) -> bool {
        match self {
            Filter::And(one, other) => one.fits(value) && other.fits(value),
            Filter::Or(one, other) => one.fits(value) || other.fits(value),
            Filter::Not(one) => !one.fits(value),
            Filter::Present(attribute) => values(value, attribute).iter().any(|value| is_something(value)),
            Filter::Within(name, inner) => member(value, name).is_some_and(|list| match list {
                Value::Array(list) => list.iter().any(|value| inner.fits(value)),
                one => inner.fits(one),
            }),
            Filter::Compare(attribute, operator, wanted) => {
                let found = values(value, attribute);
                match operator {
                    // Nothing is equal to null, and to no value (section 3.4.2.2).
                    Operator::Equal if wanted.is_null() => !found.iter().any(|value| is_something(value)),
                    Operator::NotEqual => !found.iter().any(|value| compares(value, Operator::Equal, wanted)),
                    operator => found.iter().any(|value| compares(value, *operator, wanted)),
                }
            }
        }
    }
}

impl Path {
    pub(super) fn parse(text: &str) -> Result<Path, Unreadable> {
        let mut parser = Parser::new(text)?;
        let attribute = parser.attribute()?;
        let chosen = if parser.take('[') {
            let filter = parser.any_of(DEPTH_MAX)?;
            parser.expect(']')?;
            Some(filter)
        } else {
            None
        };
        let sub = match (&chosen, attribute.sub) {
            (Some(_), None) if parser.take('.') => Some(parser.name()?),
            (Some(_), Some(_)) => return Err(Unreadable),
            (_, sub) => sub,
        };
        parser.end()?;
        Ok(Path { name: attribute.name, chosen, sub })
    }
}

fn is_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// Returns a member by its name without case.
pub(super) fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Returns all values of an attribute: each of a list; of a list of objects that are compared as such, their `value`.
fn values<'v>(value: &'v Value, attribute: &Attribute) -> Vec<&'v Value> {
    let Some(found) = member(value, &attribute.name) else { return Vec::new() };
    let each: Vec<&Value> = match found {
        Value::Array(list) => list.iter().collect(),
        one => vec![one],
    };
    match &attribute.sub {
        Some(sub) => each.into_iter().filter_map(|value| member(value, sub)).collect(),
        None => each.into_iter().map(|value| member(value, "value").unwrap_or(value)).collect(),
    }
}

fn compares(found: &Value, operator: Operator, wanted: &Value) -> bool {
    let ordered = |order: Ordering| match operator {
        Operator::Equal => order == Ordering::Equal,
        Operator::NotEqual => order != Ordering::Equal,
        Operator::Greater => order == Ordering::Greater,
        Operator::GreaterOrEqual => order != Ordering::Less,
        Operator::Less => order == Ordering::Less,
        Operator::LessOrEqual => order != Ordering::Greater,
        Operator::Contains | Operator::StartsWith | Operator::EndsWith => false,
    };
    match (found, wanted) {
        (Value::String(found), Value::String(wanted)) => {
            let (found, wanted) = (found.to_lowercase(), wanted.to_lowercase());
            match operator {
                Operator::Contains => found.contains(&wanted),
                Operator::StartsWith => found.starts_with(&wanted),
                Operator::EndsWith => found.ends_with(&wanted),
                Operator::Equal
                | Operator::NotEqual
                | Operator::Greater
                | Operator::GreaterOrEqual
                | Operator::Less
                | Operator::LessOrEqual => ordered(found.cmp(&wanted)),
            }
        }
        (Value::Number(found), Value::Number(wanted)) => {
            found.as_f64().zip(wanted.as_f64()).and_then(|(a, b)| a.partial_cmp(&b)).is_some_and(ordered)
        }
        (Value::Bool(found), Value::Bool(wanted)) => match operator {
            Operator::Equal => found == wanted,
            Operator::NotEqual => found != wanted,
            _ => false,
        },
        // Some clients write truth values as texts.
        (Value::Bool(found), Value::String(wanted)) => {
            operator == Operator::Equal && wanted.eq_ignore_ascii_case(if *found { "true" } else { "false" })
        }
        _ => false,
    }
}

struct Parser<'t> {
    text: &'t str,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Result<Parser<'t>, Unreadable> {
        if text.len() > TEXT_BYTES_MAX { Err(Unreadable) } else { Ok(Parser { text }) }
    }

    fn blank(&mut self) {
        self.text = self.text.trim_start();
    }

    fn take(&mut self, c: char) -> bool {
        match self.text.strip_prefix(c) {
            Some(rest) => {
                self.text = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, c: char) -> Result<(), Unreadable> {
        self.blank();
        if self.take(c) { Ok(()) } else { Err(Unreadable) }
    }

    fn end(&mut self) -> Result<(), Unreadable> {
        self.blank();
        if self.text.is_empty() { Ok(()) } else { Err(Unreadable) }
    }

    /// Takes a word of the grammar, which ends with a blank or a parenthesis.
    fn word(&mut self, word: &str) -> bool {
        self.blank();
        let Some((head, rest)) = self.text.split_at_checked(word.len()) else { return false };
        let ends = rest.chars().next().is_none_or(|c| c.is_whitespace() || matches!(c, '(' | ')' | ']'));
        if head.eq_ignore_ascii_case(word) && ends {
            self.text = rest;
            true
        } else {
            false
        }
    }

    fn any_of(&mut self, depth: usize) -> Result<Filter, Unreadable> {
        let mut filter = self.all_of(depth)?;
        while self.word("or") {
            filter = Filter::Or(Box::new(filter), Box::new(self.all_of(depth)?));
        }
        Ok(filter)
    }

    fn all_of(&mut self, depth: usize) -> Result<Filter, Unreadable> {
        let mut filter = self.one(depth)?;
        while self.word("and") {
            filter = Filter::And(Box::new(filter), Box::new(self.one(depth)?));
        }
        Ok(filter)
    }

    fn one(&mut self, depth: usize) -> Result<Filter, Unreadable> {
        let deeper = depth.checked_sub(1).ok_or(Unreadable)?;
        if self.word("not") {
            self.expect('(')?;
            let inner = self.any_of(deeper)?;
            self.expect(')')?;
            return Ok(Filter::Not(Box::new(inner)));
        }
        self.blank();
        if self.take('(') {
            let inner = self.any_of(deeper)?;
            self.expect(')')?;
            return Ok(inner);
        }
        let attribute = self.attribute()?;
        if attribute.sub.is_none() && self.take('[') {
            let inner = self.any_of(deeper)?;
            self.expect(']')?;
            return Ok(Filter::Within(attribute.name, Box::new(inner)));
        }
        if self.word("pr") {
            return Ok(Filter::Present(attribute));
        }
        let operator = OPERATORS.into_iter().find(|(word, _)| self.word(word)).ok_or(Unreadable)?.1;
        Ok(Filter::Compare(attribute, operator, self.value()?))
    }

    /// Reads `name`, `name.sub`, or either behind `urn:…:`.
    fn attribute(&mut self) -> Result<Attribute, Unreadable> {
        self.blank();
        let stop = |c: char| c.is_whitespace() || matches!(c, '[' | ']' | '(' | ')' | '"');
        let length = self.text.find(stop).unwrap_or(self.text.len());
        let (whole, rest) = self.text.split_at_checked(length).ok_or(Unreadable)?;
        self.text = rest;
        // A schema's own name has dots: `urn:ietf:params:scim:schemas:core:2.0:User:userName`.
        let name = whole.rsplit_once(':').map_or(whole, |(_, name)| name);
        let (name, sub) = match name.split_once('.') {
            Some((name, sub)) => (name, Some(sub)),
            None => (name, None),
        };
        if !is_name(name) || sub.is_some_and(|sub| !is_name(sub)) {
            return Err(Unreadable);
        }
        Ok(Attribute { name: name.to_owned(), sub: sub.map(str::to_owned) })
    }

    fn name(&mut self) -> Result<String, Unreadable> {
        let attribute = self.attribute()?;
        if attribute.sub.is_some() { Err(Unreadable) } else { Ok(attribute.name) }
    }

    /// Reads a value of JSON that is no list and no object.
    fn value(&mut self) -> Result<Value, Unreadable> {
        self.blank();
        let mut stream = serde_json::Deserializer::from_str(self.text).into_iter::<Value>();
        let value = stream.next().and_then(Result::ok).ok_or(Unreadable)?;
        let read = stream.byte_offset();
        self.text = self.text.get(read..).ok_or(Unreadable)?;
        if value.is_array() || value.is_object() { Err(Unreadable) } else { Ok(value) }
    }
}

const OPERATORS: [(&str, Operator); 9] = [
    ("eq", Operator::Equal),
    ("ne", Operator::NotEqual),
    ("co", Operator::Contains),
    ("sw", Operator::StartsWith),
    ("ew", Operator::EndsWith),
    ("gt", Operator::Greater),
    ("ge", Operator::GreaterOrEqual),
    ("lt", Operator::Less),
    ("le", Operator::LessOrEqual),
];

fn is_name(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '$')
        && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ann() -> Value {
        json!({
            "userName": "Ann", "active": true, "title": "",
            "name": {"familyName": "Example"},
            "emails": [{"value": "ann@work.test", "type": "work"}, {"value": "ann@home.test", "type": "home"}],
            "meta": {"lastModified": "2026-11-23T10:00:00Z"},
        })
    }

    #[test]
    fn filters_say_what_the_standard_says() {
        let cases = [
            ("userName eq \"ann\"", true),
            ("urn:ietf:params:scim:schemas:core:2.0:User:userName eq \"ann\"", true),
            ("USERNAME Eq \"ANN\"", true),
            ("userName ne \"ann\"", false),
            ("name.familyName co \"amp\"", true),
            ("userName sw \"A\" and active eq true", true),
            ("userName ew \"x\" or active eq false", false),
            ("not (userName eq \"ben\")", true),
            ("emails[type eq \"work\" and value co \"@work\"]", true),
            ("emails[type eq \"work\" and value co \"@home\"]", false),
            ("emails.type eq \"home\"", true),
            ("emails co \"home.test\"", true),
            ("title pr", false),
            ("nickName pr", false),
            ("nickName eq null", true),
            ("meta.lastModified gt \"2026-11-22T10:00:00Z\"", true),
            ("meta.lastModified le \"2026-11-22T10:00:00Z\"", false),
            // `and` binds tighter than `or`.
            ("userName eq \"ann\" or userName eq \"x\" and active eq false", true),
            ("(userName eq \"ann\" or userName eq \"x\") and active eq false", false),
            ("active eq \"True\"", true),
        ];
        for (text, fits) in cases {
            assert_eq!(Filter::parse(text).map(|filter| filter.fits(&ann())), Ok(fits), "{text}");
        }
    }

    #[test]
    fn what_is_not_of_the_grammar_is_refused() {
        let deep = format!("{}userName pr{}", "(".repeat(40), ")".repeat(40));
        let long = format!("userName eq \"{}\"", "a".repeat(TEXT_BYTES_MAX));
        let texts = [
            "",
            "userName",
            "userName eq",
            "userName eq ann",
            "userName xx \"a\"",
            "eq \"a\"",
            "userName eq \"a\" and",
            "(userName pr",
            "userName pr)",
            "emails[type eq \"work\"",
            "userName eq [1]",
            "userName eq {}",
            "a.b.c eq 1",
            "1a eq 1",
            "userName eqx \"a\"",
            "not userName pr",
            &deep,
            &long,
        ];
        for text in texts {
            assert_eq!(Filter::parse(text), Err(Unreadable), "{text}");
        }
    }

    #[test]
    fn paths_name_an_attribute_a_value_or_a_part_of_one() {
        let path = |name: &str, sub: Option<&str>| Path {
            name: name.to_owned(),
            chosen: None,
            sub: sub.map(str::to_owned),
        };
        assert_eq!(Path::parse("userName"), Ok(path("userName", None)));
        assert_eq!(Path::parse("name.givenName"), Ok(path("name", Some("givenName"))));
        let chosen = Path::parse("emails[type eq \"work\"].value").unwrap();
        assert_eq!((chosen.name.as_str(), chosen.sub.as_deref()), ("emails", Some("value")));
        assert!(chosen.chosen.is_some());
        assert!(Path::parse("members[value eq \"1\"]").unwrap().sub.is_none());
        for text in
            ["", "a b", "emails[", "emails[]", "emails[type eq \"x\"]value", "emails.x[type eq \"x\"]"]
        {
            assert_eq!(Path::parse(text), Err(Unreadable), "{text}");
        }
    }
}
