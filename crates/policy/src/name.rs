//! Parts of names, quoted as SQL does where that is needed to keep them apart: `hospital/public."a.b"`.
//! Used for patterns of roles, for the names of columns and for the ids of Cedar entities; different names never give
//! the same text.

/// A part of a dotted name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A name, as the database stores it.
    Name(String),
    /// `*` without quotes.
    Wildcard,
}

/// Why a text is not a dotted name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameFault(pub(crate) &'static str);

/// Takes a dotted name apart. Never returns an empty list.
pub fn parts(text: &str) -> Result<Vec<Part>, NameFault> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, quoted, after) =
            take(rest).ok_or(NameFault("a name is missing or its quote is not closed"))?;
        parts.push(check(part, quoted)?);
        if after.is_empty() {
            return Ok(parts);
        }
        rest = after.strip_prefix('.').ok_or(NameFault("a `.` must separate the names"))?;
    }
}

/// Returns the text that [`parts`] takes apart into these names; `None` where one of them cannot be written.
pub fn dotted(names: &[&str]) -> Option<String> {
    let mut text = String::new();
    for (at, name) in names.iter().enumerate() {
        if name.is_empty() || name.chars().any(char::is_control) {
            return None;
        }
        if at > 0 {
            text.push('.');
        }
        let bare = !name.contains(['.', '/', '"', '*']) && !name.chars().any(char::is_whitespace);
        match bare {
            true => text.push_str(name),
            false => push_quoted(&mut text, name),
        }
    }
    Some(text)
}

fn check(part: String, quoted: bool) -> Result<Part, NameFault> {
    if part.is_empty() {
        return Err(NameFault("a name is empty"));
    }
    if part.chars().any(char::is_control) {
        return Err(NameFault("a name holds a control character"));
    }
    if quoted {
        return Ok(Part::Name(part));
    }
    if part.chars().any(char::is_whitespace) {
        return Err(NameFault("a name holds a space"));
    }
    match part.as_str() {
        "*" => Ok(Part::Wildcard),
        _ if part.contains('*') => Err(NameFault("a wildcard stands alone, for a whole name")),
        _ => Ok(Part::Name(part)),
    }
}

/// Appends a part: bare, or in double quotes when a character in it would end it.
pub(crate) fn push(text: &mut String, part: &str) {
    let bare = !part.is_empty() && part != "*" && !part.contains(['.', '/', '"']);
    if bare {
        text.push_str(part);
    } else {
        push_quoted(text, part);
    }
}

fn push_quoted(text: &mut String, part: &str) {
    text.push('"');
    for c in part.chars() {
        if c == '"' {
            text.push('"');
        }
        text.push(c);
    }
    text.push('"');
}

/// Takes a part off the front. Returns it, whether it was quoted, and the rest.
pub(crate) fn take(text: &str) -> Option<(String, bool, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(['.', '/', '"']).unwrap_or(text.len());
        let (part, rest) = text.split_at(end);
        return (!part.is_empty()).then(|| (part.to_owned(), false, rest));
    };
    let mut part = String::new();
    loop {
        let (before, after) = rest.split_once('"')?;
        part.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                part.push('"');
                rest = more;
            }
            None => return Some((part, true, after)),
        }
    }
}

/// The parts of an entity id: `resource/schema`, `resource/schema.name`, or `resource/class` with the class as schema.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Qualified {
    pub(crate) resource: String,
    pub(crate) schema: String,
    pub(crate) name: Option<String>,
}

impl Qualified {
    /// Reads an id as a policy may write it.
    pub(crate) fn parse(id: &str) -> Option<Qualified> {
        let (resource, _, rest) = take(id)?;
        let (schema, _, rest) = take(rest.strip_prefix('/')?)?;
        if rest.is_empty() {
            return Some(Qualified { resource, schema, name: None });
        }
        let (name, _, rest) = take(rest.strip_prefix('.')?)?;
        rest.is_empty().then_some(Qualified { resource, schema, name: Some(name) })
    }

    /// Returns the one id that a snapshot gives to this.
    pub(crate) fn id(&self) -> String {
        id(&self.resource, &self.schema, self.name.as_deref())
    }
}

/// Returns the id of a schema, or of an object in it.
pub(crate) fn id(resource: &str, schema: &str, name: Option<&str>) -> String {
    let mut text = String::with_capacity(resource.len() + schema.len() + name.map_or(0, str::len) + 2);
    push(&mut text, resource);
    text.push('/');
    push(&mut text, schema);
    if let Some(name) = name {
        text.push('.');
        push(&mut text, name);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part() -> impl Strategy<Value = String> {
        "[a-z.\"/*? é]{0,6}"
    }

    proptest! {
        #[test]
        fn dotted_names_read_back(names in proptest::collection::vec(part(), 1..4)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let Some(text) = dotted(&names) else {
                prop_assert!(names.contains(&""));
                return Ok(());
            };
            let read = parts(&text).expect("can be read");
            let expected: Vec<Part> = names.iter().map(|name| Part::Name((*name).to_owned())).collect();
            prop_assert_eq!(read, expected, "{}", text);
        }

        #[test]
        fn ids_read_back_as_what_they_name(resource in part(), schema in part(), name in proptest::option::of(part())) {
            let names = Qualified { resource, schema, name };
            let back = Qualified::parse(&names.id());
            prop_assert_eq!(back, Some(names));
        }
    }

    #[test]
    fn ids_read_as_sql_names_do() {
        assert_eq!(id("hospital", "public", Some("patients")), "hospital/public.patients");
        assert_eq!(id("hospital", "a.b", Some("c\"d")), r#"hospital/"a.b"."c""d""#);
        for bad in
            ["", "hospital", "hospital/", "hospital/public.", "hospital/public.a.b", "/public", "h/\"a"]
        {
            assert_eq!(Qualified::parse(bad), None, "{bad}");
        }
    }
}
