//! The detectors on a cell of any type: text as it is, the strings of json, the elements of arrays and composites.

use super::{Budget, Detector, Exhausted, Features, Scratch, redact_spans};
use crate::pgtype::{container, json, plain};
use crate::{Class, Format, Mask, Outcome, RowContext, Type};

/// What the detectors make of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Screened {
    /// Nothing was found, and nothing appended: the cell may pass.
    Clean,
    /// Something was found: what was appended goes out in its place.
    Masked,
    /// The cell cannot be looked into, or not be redacted in its type: NULL goes out in its place.
    Null,
}

/// A value as it came, with its type.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'a> {
    /// The type.
    pub ty: &'a Type,
    /// How the value is written.
    pub format: Format,
    /// The value.
    pub value: &'a [u8],
}

impl Detector {
    /// Tells whether cells of a type can hold text.
    pub fn looks_into(ty: &Type) -> bool {
        looked_into(ty)
    }

    /// Looks for identifiers in a cell that no policy masks. A cell for which the budget does not suffice, and one that
    /// does not decode, is masked as a whole.
    pub fn screen(
        &self,
        cell: Cell<'_>,
        features: &Features,
        budget: &mut Budget,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Screened {
        let start = out.len();
        let screened = self.typed(cell, features, budget, scratch, out);
        match screened {
            Ok(Screened::Masked) => Screened::Masked,
            Ok(Screened::Clean) => {
                out.truncate(start);
                Screened::Clean
            }
            Ok(Screened::Null) | Err(Exhausted) => {
                out.truncate(start);
                let whole = Mask::redact(Class::FreeText, cell.ty);
                match whole.apply(cell.format, Some(cell.value), &RowContext::new(0), out) {
                    Outcome::Masked => Screened::Masked,
                    Outcome::Null => Screened::Null,
                }
            }
        }
    }

    fn typed(
        &self,
        cell: Cell<'_>,
        features: &Features,
        budget: &mut Budget,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<Screened, Exhausted> {
        let Cell { ty, format, value } = cell;
        if !looked_into(ty) {
            return Ok(Screened::Clean);
        }
        match ty {
            Type::Text { .. } | Type::Bpchar { .. } | Type::Name | Type::Xml => {
                self.text(ty, value, features, budget, scratch, out)
            }
            Type::Hstore if format == Format::Text => self.text(ty, value, features, budget, scratch, out),
            Type::Json | Type::Jsonb => {
                let versioned = *ty == Type::Jsonb && format == Format::Binary;
                let Some(text) = (if versioned { value.strip_prefix(&[1]) } else { Some(value) }) else {
                    return Ok(Screened::Null);
                };
                if versioned {
                    out.push(1);
                }
                self.json(text, features, budget, scratch, out)
            }
            Type::Bytea => {
                let mut bytes = Vec::new();
                if plain::decode_bytea(format, value, &mut bytes).is_none() {
                    return Ok(Screened::Null);
                }
                // What is no text, such as an image, is the policy's to protect.
                let Ok(text) = std::str::from_utf8(&bytes) else { return Ok(Screened::Clean) };
                let found = !self.find(text, features, budget, scratch)?.is_empty();
                Ok(if found { Screened::Null } else { Screened::Clean })
            }
            Type::Array { element, .. } => parts(
                |out, part| container::array(format, value, out, part),
                |_, value, out| {
                    let cell = Cell { ty: element, format, value };
                    self.typed(cell, features, budget, scratch, out)
                },
                out,
            ),
            Type::Composite(columns) => parts(
                |out, part| container::composite(format, value, columns.len(), out, part),
                |place, value, out| {
                    let ty = columns.get(place).map_or(&Type::Unknown, |(_, ty)| ty);
                    self.typed(Cell { ty, format, value }, features, budget, scratch, out)
                },
                out,
            ),
            _ => Ok(Screened::Null),
        }
    }

    fn text(
        &self,
        ty: &Type,
        value: &[u8],
        features: &Features,
        budget: &mut Budget,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<Screened, Exhausted> {
        let Ok(text) = std::str::from_utf8(value) else { return Ok(Screened::Null) };
        let start = out.len();
        if matches!(text.as_bytes().first(), Some(b'{' | b'[')) && !matches!(ty, Type::Xml | Type::Hstore) {
            match self.json(text.as_bytes(), features, budget, scratch, out)? {
                Screened::Null => out.truncate(start),
                decided => return Ok(decided),
            }
        }
        // Character references could spell anything.
        if *ty == Type::Xml && memchr::memmem::find(value, b"&#").is_some() {
            return Ok(Screened::Null);
        }
        let spans = self.find(text, features, budget, scratch)?;
        if spans.is_empty() {
            return Ok(Screened::Clean);
        }
        redact_spans(text, spans, out);
        let shown = out.get(start..).and_then(|shown| std::str::from_utf8(shown).ok());
        let max = ty.characters_max().map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        let fits = shown.is_some_and(|shown| shown.chars().count() <= max);
        Ok(if fits { Screened::Masked } else { Screened::Null })
    }

    /// Looks into the names, strings and numbers of a document; `Null` where it is none.
    fn json(
        &self,
        text: &[u8],
        features: &Features,
        budget: &mut Budget,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<Screened, Exhausted> {
        let mut plain = Vec::new();
        let (mut sound, mut masked, mut exhausted) = (true, false, false);
        // What a member's name lets expect of its value.
        let mut expected = *features;
        let mut look = |raw: &[u8], features: &Features, out: &mut Vec<u8>| {
            plain.clear();
            let decoded = json::unescape(raw, &mut plain).and_then(|()| std::str::from_utf8(&plain).ok());
            let Some(text) = decoded else {
                sound = false;
                return false;
            };
            match self.find(text, features, budget, scratch) {
                Ok([]) => false,
                Ok(spans) => {
                    let mut shown = Vec::with_capacity(text.len());
                    redact_spans(text, spans, &mut shown);
                    json::write_string(&shown, out);
                    masked = true;
                    true
                }
                Err(Exhausted) => {
                    exhausted = true;
                    false
                }
            }
        };
        let quoted = |raw: &[u8], out: &mut Vec<u8>| {
            out.push(b'"');
            out.extend_from_slice(raw);
            out.push(b'"');
        };
        let walked = json::scan(text, |piece| match piece {
            json::Piece::Raw(raw) | json::Piece::Bool(raw) => out.extend_from_slice(raw),
            json::Piece::Null => out.extend_from_slice(b"null"),
            json::Piece::Key(raw) => {
                let of_name = Features::of("", &String::from_utf8_lossy(raw));
                expected = if of_name.expected().is_some() { of_name } else { *features };
                if !look(raw, &Features::none(), out) {
                    quoted(raw, out);
                }
            }
            json::Piece::String(raw) => {
                if !look(raw, &expected, out) {
                    quoted(raw, out);
                }
            }
            json::Piece::Number(raw) => {
                let start = out.len();
                if look(raw, &expected, out) {
                    out.truncate(start);
                    out.push(b'0');
                } else {
                    out.extend_from_slice(raw);
                }
            }
        });
        match (exhausted, walked, sound, masked) {
            (true, ..) => Err(Exhausted),
            (false, Some(()), true, true) => Ok(Screened::Masked),
            (false, Some(()), true, false) => Ok(Screened::Clean),
            (false, None, ..) | (false, _, false, _) => Ok(Screened::Null),
        }
    }
}

/// Looks into the parts of a container; a part that must be masked as a whole is NULL.
fn parts(
    walk: impl FnOnce(&mut Vec<u8>, &mut container::Part<'_>) -> Option<()>,
    mut look: impl FnMut(usize, &[u8], &mut Vec<u8>) -> Result<Screened, Exhausted>,
    out: &mut Vec<u8>,
) -> Result<Screened, Exhausted> {
    let (mut masked, mut exhausted) = (false, false);
    let walked = walk(out, &mut |place, cell, out| {
        let Some(cell) = cell else { return false };
        let start = out.len();
        match look(place, cell, out) {
            Ok(Screened::Clean) => {
                out.truncate(start);
                out.extend_from_slice(cell);
                true
            }
            Ok(Screened::Masked) => {
                masked = true;
                true
            }
            Ok(Screened::Null) => {
                masked = true;
                false
            }
            Err(Exhausted) => {
                exhausted = true;
                false
            }
        }
    });
    match (exhausted, walked, masked) {
        (true, ..) => Err(Exhausted),
        (false, None, _) => Ok(Screened::Null),
        (false, Some(()), true) => Ok(Screened::Masked),
        (false, Some(()), false) => Ok(Screened::Clean),
    }
}

/// Whether values of the type are looked into at all.
fn looked_into(ty: &Type) -> bool {
    match ty {
        Type::Text { .. }
        | Type::Bpchar { .. }
        | Type::Name
        | Type::Xml
        | Type::Json
        | Type::Jsonb
        | Type::Bytea
        | Type::Hstore
        | Type::Composite(_)
        | Type::Unknown => true,
        Type::Array { element, .. } => looked_into(element),
        _ => false,
    }
}
