//! A class and an operator, compiled for one type: the function that masks a value.
//!
//! ```
//! use phi::{Class, Format, Keys, Mask, Operator, Outcome, RowContext, Type, operator::KeyId};
//!
//! let keys = Keys::derive(&model::RootKey::new([7; 32]), KeyId::new(1).expect("from 1 to 99"));
//! let operator: Operator = "partial(last=4)".parse().expect("an operator");
//! let mask = Mask::compile(Class::Ssn, operator, &Type::Text { max: None }, &keys).expect("suits text");
//! let mut out = Vec::new();
//! let outcome = mask.apply(Format::Text, Some(b"123-45-6789"), &RowContext::new(2026), &mut out);
//! assert_eq!((outcome, out.as_slice()), (Outcome::Masked, b"****6789".as_slice()));
//! ```

mod constant;
mod step;

use step::Step;

use crate::operator::{Domain, Mac};
use crate::pgtype::{container, json};
use crate::{Class, Keys, Operator, Type};

/// How a value is written on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Format code 0.
    Text,
    /// Format code 1.
    Binary,
}

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Outcome {
    /// A masked value was appended.
    Masked,
    /// Nothing was appended: the answer is NULL.
    Null,
}

/// What a mask may know of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowContext<'a> {
    /// The patient's identifier in canonical form (see [`crate::pgtype::canonical`]), where the row has one.
    pub patient: Option<&'a [u8]>,
    /// The current year: years that would tell an age over 89 are shown as the year 90 years ago.
    pub year_now: u16,
}

impl<'a> RowContext<'a> {
    /// Returns the context of a row without a patient.
    pub fn new(year_now: u16) -> RowContext<'a> {
        RowContext { patient: None, year_now }
    }

    /// Returns the context of a row of this patient.
    pub fn of_patient(year_now: u16, patient: &'a [u8]) -> RowContext<'a> {
        RowContext { patient: Some(patient), year_now }
    }
}

/// An operator that does not suit a class or a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{operator}` does not suit `{class}` in `{ty}`; what does: {fitting}")]
pub struct Unsuitable {
    operator: Operator,
    class: Class,
    ty: String,
    fitting: String,
}

/// A class and an operator, compiled for one type.
#[derive(Debug)]
pub struct Mask {
    class: Class,
    operator: Operator,
    method: Method,
}

#[derive(Debug)]
enum Method {
    Null,
    Constant { text: Box<[u8]>, binary: Box<[u8]> },
    Step { ty: Type, step: Box<Step> },
    Json { mac: Box<Mac>, full: bool, versioned: bool },
    Array(Box<Method>),
    Range(Box<Method>),
    Multirange(Box<Method>),
    Composite(Vec<Option<Mask>>),
}

impl Mask {
    /// Compiles an operator for values of a class and type.
    pub fn compile(class: Class, operator: Operator, ty: &Type, keys: &Keys) -> Result<Mask, Unsuitable> {
        match Method::compile(class, operator, ty, keys).filter(|_| operator.suits(class)) {
            Some(method) => Ok(Mask { class, operator, method }),
            None => {
                Err(Unsuitable { operator, class, ty: ty.to_string(), fitting: fitting(class, ty, keys) })
            }
        }
    }

    /// Returns the mask that shows a constant, which suits every type: what is used where another does not.
    pub fn redact(class: Class, ty: &Type) -> Mask {
        Mask { class, operator: Operator::Redact, method: Method::redact(class, ty) }
    }

    /// Returns a mask for a composite value whose columns have masks of their own; `None` passes a column unchanged.
    pub fn composite(class: Class, columns: Vec<Option<Mask>>) -> Mask {
        Mask { class, operator: Operator::Redact, method: Method::Composite(columns) }
    }

    /// Returns the class of the values.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Returns the operator.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// Appends the masked value in the same format. Never fails: what does not decode is NULL, and so is NULL.
    pub fn apply(
        &self,
        format: Format,
        value: Option<&[u8]>,
        row: &RowContext<'_>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let start = out.len();
        match value.and_then(|value| self.method.apply(format, value, row, out)) {
            Some(()) => Outcome::Masked,
            None => {
                out.truncate(start);
                Outcome::Null
            }
        }
    }
}

/// Names the operators that suit a class and a type.
fn fitting(class: Class, ty: &Type, keys: &Keys) -> String {
    let operators = Operator::SAMPLES.into_iter();
    let names = operators
        .filter(|operator| operator.suits(class) && Method::compile(class, *operator, ty, keys).is_some());
    names.map(Operator::name).collect::<Vec<_>>().join(", ")
}

impl Method {
    /// Returns how the operator masks the type, and `None` where it does not suit it.
    fn compile(class: Class, operator: Operator, ty: &Type, keys: &Keys) -> Option<Method> {
        match (operator, ty) {
            (Operator::Null, _) => Some(Method::Null),
            (Operator::Redact, ty) => Some(Method::redact(class, ty)),
            (operator, Type::Array { element, .. }) => {
                Some(Method::Array(Box::new(Method::compile(class, operator, element, keys)?)))
            }
            (Operator::DateShift | Operator::Year | Operator::Bucket { .. }, Type::Range(bound)) => {
                Some(Method::Range(Box::new(Method::compile(class, operator, bound, keys)?)))
            }
            (Operator::DateShift | Operator::Year | Operator::Bucket { .. }, Type::Multirange(bound)) => {
                Some(Method::Multirange(Box::new(Method::compile(class, operator, bound, keys)?)))
            }
            (Operator::Token | Operator::Hash, Type::Json | Type::Jsonb) => {
                let full = operator == Operator::Hash;
                let domain = if full { Domain::Hash } else { Domain::Token };
                Some(Method::Json {
                    mac: Box::new(keys.mac(domain, class)),
                    full,
                    versioned: *ty == Type::Jsonb,
                })
            }
            (operator, ty) => {
                let step = Step::compile(class, operator, ty, keys)?;
                Some(Method::Step { ty: ty.clone(), step: Box::new(step) })
            }
        }
    }

    fn redact(class: Class, ty: &Type) -> Method {
        let (mut text, mut binary) = (Vec::new(), Vec::new());
        let written = constant::write(class, ty, Format::Text, &mut text)
            .and_then(|()| constant::write(class, ty, Format::Binary, &mut binary));
        match written {
            Some(()) => Method::Constant { text: text.into(), binary: binary.into() },
            None => Method::Null,
        }
    }

    fn apply(&self, format: Format, value: &[u8], row: &RowContext<'_>, out: &mut Vec<u8>) -> Option<()> {
        let part = |method: &Method, cell: Option<&[u8]>, out: &mut Vec<u8>| {
            let start = out.len();
            let done = cell.and_then(|cell| method.apply(format, cell, row, out));
            if done.is_none() {
                out.truncate(start);
            }
            done.is_some()
        };
        match self {
            Method::Null => None,
            Method::Constant { text, binary } => {
                out.extend_from_slice(if format == Format::Text { text } else { binary });
                Some(())
            }
            Method::Step { ty, step } => step.apply(ty, format, value, row, out),
            Method::Json { mac, full, versioned } => json_tokens(mac, *full, *versioned, format, value, out),
            Method::Array(element) => {
                container::array(format, value, out, &mut |_, cell, out| part(element, cell, out))
            }
            Method::Range(bound) => {
                container::range(format, value, out, &mut |_, cell, out| part(bound, cell, out))
            }
            Method::Multirange(bound) => {
                container::multirange(format, value, out, &mut |_, cell, out| part(bound, cell, out))
            }
            Method::Composite(columns) => {
                container::composite(format, value, columns.len(), out, &mut |place, cell, out| match (
                    columns.get(place),
                    cell,
                ) {
                    (Some(Some(mask)), cell) => mask.apply(format, cell, row, out) == Outcome::Masked,
                    (Some(None), Some(cell)) => {
                        out.extend_from_slice(cell);
                        true
                    }
                    (Some(None) | None, _) => false,
                })
            }
        }
    }
}

/// The version byte before a `jsonb` in binary format.
const JSONB_VERSION: u8 = 1;

/// Appends a document in which every name, string and number is a token, and every `true` a `false`.
fn json_tokens(
    mac: &Mac,
    full: bool,
    versioned: bool,
    format: Format,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Option<()> {
    let text = if versioned && format == Format::Binary {
        out.push(JSONB_VERSION);
        value.strip_prefix(&[JSONB_VERSION])?
    } else {
        value
    };
    let mut plain = Vec::new();
    let mut sound = true;
    let mut scalar = |raw: &[u8], out: &mut Vec<u8>| {
        plain.clear();
        sound &= json::unescape(raw, &mut plain).is_some();
        out.push(b'"');
        step::write_token(mac, full, None, &plain, out);
        out.push(b'"');
    };
    json::scan(text, |piece| match piece {
        json::Piece::Raw(raw) => out.extend_from_slice(raw),
        json::Piece::Key(raw) | json::Piece::String(raw) | json::Piece::Number(raw) => scalar(raw, out),
        json::Piece::Bool(_) => out.extend_from_slice(b"false"),
        json::Piece::Null => out.extend_from_slice(b"null"),
    })?;
    sound.then_some(())
}

#[cfg(test)]
mod tests;
