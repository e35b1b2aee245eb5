//! Reads a TOML document field by field and goes on after a mistake, so that one run names them all.
//!
//! What a value means is not known here; see the parent module.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fields;
use super::problem::{Places, Problem, nearest};

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) offset: usize,
}

/// One file being read, with what was found wrong so far.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    places: Places<'a>,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Reader<'a> {
    /// Starts on a text.
    pub(crate) fn new(file: &'a Path, text: &'a str) -> Reader<'a> {
        Reader { places: Places::new(file, text), problems: RefCell::new(Vec::new()) }
    }

    /// Notes an error.
    pub(crate) fn error(&self, offset: usize, message: impl Into<String>, help: impl Into<String>) {
        let problem = self.places.error(offset, message).help(help);
        self.problems.borrow_mut().push(problem);
    }

    /// Notes a warning.
    pub(crate) fn warning(&self, offset: usize, message: impl Into<String>, help: impl Into<String>) {
        let problem = self.places.warning(offset, message).help(help);
        self.problems.borrow_mut().push(problem);
    }

    /// Returns the line of an offset.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.places.locate(offset).0
    }

    /// Notes an error of the TOML grammar and returns its line.
    pub(crate) fn syntax(&self, error: &toml::de::Error) -> usize {
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message().trim_end_matches('\n').replace('\n', ", ");
        let problem = self.places.error(offset, message).syntax();
        let line = problem.line.unwrap_or(0);
        self.problems.borrow_mut().push(problem);
        line
    }

    /// Returns everything found, but nothing about the meaning of lines that could not be read.
    pub(crate) fn finish(self, unreadable: &[usize]) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems
            .retain(|problem| problem.syntax || !problem.line.is_some_and(|line| unreadable.contains(&line)));
        problems
    }
}

/// One table of the document. Unknown names in it are noted when it is opened.
#[derive(Debug)]
pub(crate) struct Section<'r, 'd> {
    reader: &'r Reader<'r>,
    /// As the operator wrote it, for messages.
    path: String,
    /// The same with `*` for chosen names, for the list of fields.
    pattern: String,
    table: &'d DeTable<'d>,
    span: Range<usize>,
}

impl<'r, 'd> Section<'r, 'd> {
    /// Opens the top of the document.
    pub(crate) fn top(reader: &'r Reader<'r>, document: &'d Spanned<DeTable<'d>>) -> Section<'r, 'd> {
        Section::open(reader, String::new(), String::new(), document.get_ref(), document.span())
    }

    fn open(
        reader: &'r Reader<'r>,
        path: String,
        pattern: String,
        table: &'d DeTable<'d>,
        span: Range<usize>,
    ) -> Section<'r, 'd> {
        let section = Section { reader, path, pattern, table, span };
        section.refuse_unknown();
        section
    }

    fn refuse_unknown(&self) {
        let Some(known) = fields::names_under(&self.pattern) else { return };
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let help = match nearest(name, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known here: {}", quoted(&known)),
            };
            self.reader.error(key.span().start, format!("unknown key `{}`", self.child(name)), help);
        }
    }

    /// Returns the full name of a field of this section.
    pub(crate) fn child(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn child_pattern(&self, name: &str) -> String {
        if self.pattern.is_empty() { name.to_owned() } else { format!("{}.{name}", self.pattern) }
    }

    /// Returns where the section begins.
    pub(crate) fn offset(&self) -> usize {
        self.span.start
    }

    /// Returns the reader, to note problems of meaning.
    pub(crate) fn reader(&self) -> &'r Reader<'r> {
        self.reader
    }

    /// Returns a field's raw value.
    pub(crate) fn value(&self, name: &str) -> Option<&'d Spanned<DeValue<'d>>> {
        debug_assert!(
            fields::names_under(&self.pattern).is_none_or(|known| known.contains(&name)),
            "`{name}` is read but not in the list of fields",
        );
        self.table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
    }

    /// Notes that a required field is missing.
    pub(crate) fn missing(&self, name: &str, example: &str) {
        let message = format!("`{}` is missing", self.child(name));
        self.reader.error(self.span.start, message, format!("add `{name} = {example}`"));
    }

    /// Notes that a value has another type than its field.
    pub(crate) fn mistyped(&self, name: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let found = value.get_ref().type_str();
        let message = format!("`{}` is a TOML {found}", self.child(name));
        self.reader.error(value.span().start, message, format!("write {wanted}"));
    }

    /// Returns a text.
    pub(crate) fn text(&self, name: &str, example: &str) -> Option<At<String>> {
        let value = self.value(name)?;
        match value.get_ref().as_str() {
            Some(text) => Some(At { value: text.to_owned(), offset: value.span().start }),
            None => {
                self.mistyped(name, value, &format!("a text, such as `{name} = {example}`"));
                None
            }
        }
    }

    /// Returns a text that must be there.
    pub(crate) fn required(&self, name: &str, example: &str) -> Option<At<String>> {
        if self.value(name).is_none() {
            self.missing(name, example);
        }
        self.text(name, example)
    }

    /// Returns a yes or no.
    pub(crate) fn boolean(&self, name: &str) -> Option<At<bool>> {
        let value = self.value(name)?;
        match value.get_ref().as_bool() {
            Some(flag) => Some(At { value: flag, offset: value.span().start }),
            None => {
                self.mistyped(name, value, "true or false");
                None
            }
        }
    }

    /// Returns a number within bounds, or the default.
    pub(crate) fn number(&self, name: &str, bounds: RangeInclusive<u64>, default: u64) -> u64 {
        debug_assert!(bounds.contains(&default), "the default of `{name}` is within its bounds");
        let Some(value) = self.value(name) else { return default };
        let wanted = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        let Some(integer) = value.get_ref().as_integer() else {
            self.mistyped(name, value, &wanted);
            return default;
        };
        match u64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if bounds.contains(&number) => number,
            Ok(_) | Err(_) => {
                let message = format!("`{}` is out of bounds: {integer}", self.child(name));
                self.reader.error(value.span().start, message, format!("write {wanted}"));
                default
            }
        }
    }

    /// Returns a list of texts; empty when it is left out.
    pub(crate) fn texts(&self, name: &str, example: &str) -> Vec<At<String>> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let wanted = format!("a list of texts, such as `{name} = {example}`");
        let Some(array) = value.get_ref().as_array() else {
            self.mistyped(name, value, &wanted);
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in array.iter() {
            match item.get_ref().as_str() {
                Some(text) => texts.push(At { value: text.to_owned(), offset: item.span().start }),
                None => self.mistyped(name, item, &wanted),
            }
        }
        texts
    }

    /// Returns a sub-table.
    pub(crate) fn section(&self, name: &str) -> Option<Section<'r, 'd>> {
        let value = self.value(name)?;
        let Some(table) = value.get_ref().as_table() else {
            self.mistyped(name, value, &format!("a table, such as `[{}]`", self.child(name)));
            return None;
        };
        Some(Section::open(self.reader, self.child(name), self.child_pattern(name), table, value.span()))
    }

    /// Returns the names the operator chose, and where they stand.
    pub(crate) fn keys(&self) -> Vec<(String, usize)> {
        self.table.keys().map(|key| (key.get_ref().to_string(), key.span().start)).collect()
    }

    /// Returns the sub-tables under names the operator chose, each with its name.
    pub(crate) fn named(&self) -> Vec<(At<String>, Section<'r, 'd>)> {
        let mut sections = Vec::new();
        for (key, value) in self.table {
            let name = key.get_ref().to_string();
            let shown = shown_key(&name);
            let Some(table) = value.get_ref().as_table() else {
                self.mistyped(&shown, value, &format!("a table, such as `[{}]`", self.child(&shown)));
                continue;
            };
            let path = self.child(&shown);
            let section = Section::open(self.reader, path, self.child_pattern("*"), table, value.span());
            sections.push((At { value: name, offset: key.span().start }, section));
        }
        sections
    }

    /// Returns the tables of a list of tables.
    pub(crate) fn list(&self, name: &str) -> Vec<Section<'r, 'd>> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let wanted = format!("a list of tables, each beginning with `[[{}]]`", self.child(name));
        let Some(array) = value.get_ref().as_array() else {
            self.mistyped(name, value, &wanted);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in array.iter() {
            match item.get_ref().as_table() {
                Some(table) => sections.push(Section::open(
                    self.reader,
                    self.child(name),
                    self.child_pattern(name),
                    table,
                    item.span(),
                )),
                None => self.mistyped(name, item, &wanted),
            }
        }
        sections
    }
}

/// Returns a key as TOML has it: in quotes unless it is made of letters, digits, `_` and `-`.
fn shown_key(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { format!("{key:?}") }
}

/// Returns the words in backticks with commas between.
pub(crate) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
