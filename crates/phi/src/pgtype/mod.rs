//! PostgreSQL's types as masking sees them: what a value's bytes mean in text and in binary format.
//!
//! Dates are read in ISO style only, intervals not at all (they are redacted or NULL): what the server writes under
//! another `DateStyle` does not decode, and is masked to NULL.

pub(crate) mod container;
pub(crate) mod date;
pub(crate) mod json;
pub(crate) mod net;
pub(crate) mod number;
pub(crate) mod plain;

use std::fmt;
use std::sync::Arc;

use crate::Format;

/// The shape of a type. A domain is its base type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Type {
    /// `bool`
    Bool,
    /// `int2`
    Int2,
    /// `int4`
    Int4,
    /// `int8`
    Int8,
    /// `oid`
    Oid,
    /// `float4`
    Float4,
    /// `float8`
    Float8,
    /// `numeric`, with the digits after the point that its constant shows.
    Numeric {
        /// Digits after the point.
        scale: u16,
    },
    /// `text`, `varchar(n)`, `citext` and what else is text without padding.
    Text {
        /// The most characters, for `varchar(n)`.
        max: Option<u32>,
    },
    /// `char(n)`, padded with blanks.
    Bpchar {
        /// The length in characters.
        length: Option<u32>,
    },
    /// `name`, at most 63 bytes.
    Name,
    /// `"char"`, one byte.
    Char,
    /// `bytea`
    Bytea,
    /// `date`
    Date,
    /// `time`
    Time,
    /// `timetz`
    TimeTz,
    /// `timestamp`
    Timestamp,
    /// `timestamptz`
    TimestampTz,
    /// `interval`
    Interval,
    /// `uuid`
    Uuid,
    /// `inet`
    Inet,
    /// `cidr`
    Cidr,
    /// `macaddr`
    Macaddr,
    /// `macaddr8`
    Macaddr8,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// `xml`
    Xml,
    /// `bit(n)`
    Bit {
        /// The length in bits.
        length: u32,
    },
    /// `varbit`
    Varbit,
    /// An enum, with the label that stands for all of them; without one it can only be NULL.
    Enum {
        /// The label shown.
        label: Option<Arc<str>>,
    },
    /// `hstore`
    Hstore,
    /// An array of any number of dimensions.
    Array {
        /// The element's type number, as the binary format repeats it.
        oid: u32,
        /// The element's type.
        element: Arc<Type>,
    },
    /// A composite type, with type number and type of each column.
    Composite(Arc<[(u32, Type)]>),
    /// A range.
    Range(Arc<Type>),
    /// A multirange.
    Multirange(Arc<Type>),
    /// Any other type: only NULL.
    Unknown,
}

impl Type {
    /// Returns the type for a built-in type's number and modifier (`atttypmod`, -1 for none).
    pub fn builtin(oid: u32, modifier: i32) -> Type {
        match scalar(oid, modifier) {
            Type::Unknown => array(oid, modifier).or_else(|| range(oid)).unwrap_or(Type::Unknown),
            known => known,
        }
    }

    /// Returns an array type.
    pub fn array_of(oid: u32, element: Type) -> Type {
        Type::Array { oid, element: Arc::new(element) }
    }

    /// Returns whether values are text, so that masked text fits.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Type::Text { .. } | Type::Bpchar { .. } | Type::Name)
    }

    /// Returns the most characters of a text type.
    pub(crate) fn characters_max(&self) -> Option<u32> {
        match self {
            Type::Text { max } => *max,
            Type::Bpchar { length } => *length,
            Type::Name => Some(63),
            _ => None,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Type::Bool => "bool",
            Type::Int2 => "int2",
            Type::Int4 => "int4",
            Type::Int8 => "int8",
            Type::Oid => "oid",
            Type::Float4 => "float4",
            Type::Float8 => "float8",
            Type::Numeric { .. } => "numeric",
            Type::Text { max: None } => "text",
            Type::Text { max: Some(max) } => return write!(f, "varchar({max})"),
            Type::Bpchar { length: None } => "bpchar",
            Type::Bpchar { length: Some(length) } => return write!(f, "char({length})"),
            Type::Name => "name",
            Type::Char => "\"char\"",
            Type::Bytea => "bytea",
            Type::Date => "date",
            Type::Time => "time",
            Type::TimeTz => "timetz",
            Type::Timestamp => "timestamp",
            Type::TimestampTz => "timestamptz",
            Type::Interval => "interval",
            Type::Uuid => "uuid",
            Type::Inet => "inet",
            Type::Cidr => "cidr",
            Type::Macaddr => "macaddr",
            Type::Macaddr8 => "macaddr8",
            Type::Json => "json",
            Type::Jsonb => "jsonb",
            Type::Xml => "xml",
            Type::Bit { length } => return write!(f, "bit({length})"),
            Type::Varbit => "varbit",
            Type::Enum { .. } => "enum",
            Type::Hstore => "hstore",
            Type::Array { element, .. } => return write!(f, "{element}[]"),
            Type::Composite(_) => "composite",
            Type::Range(bound) => return write!(f, "range of {bound}"),
            Type::Multirange(bound) => return write!(f, "multirange of {bound}"),
            Type::Unknown => "unknown",
        };
        f.write_str(word)
    }
}

/// `varchar(n)` and `char(n)` store n + 4.
fn length(modifier: i32) -> Option<u32> {
    u32::try_from(modifier.checked_sub(4)?).ok().filter(|length| *length > 0)
}

fn scalar(oid: u32, modifier: i32) -> Type {
    match oid {
        16 => Type::Bool,
        17 => Type::Bytea,
        18 => Type::Char,
        19 => Type::Name,
        20 => Type::Int8,
        21 => Type::Int2,
        23 => Type::Int4,
        25 => Type::Text { max: None },
        26 => Type::Oid,
        114 => Type::Json,
        142 => Type::Xml,
        650 => Type::Cidr,
        700 => Type::Float4,
        701 => Type::Float8,
        774 => Type::Macaddr8,
        829 => Type::Macaddr,
        869 => Type::Inet,
        1042 => Type::Bpchar { length: length(modifier) },
        1043 => Type::Text { max: length(modifier) },
        1082 => Type::Date,
        1083 => Type::Time,
        1114 => Type::Timestamp,
        1184 => Type::TimestampTz,
        1186 => Type::Interval,
        1266 => Type::TimeTz,
        // Without a modifier `bit` is `bit(1)`, but an expression's length is not told: one bit is a valid `bit`.
        1560 => Type::Bit { length: u32::try_from(modifier).unwrap_or(1).clamp(1, 1 << 16) },
        1562 => Type::Varbit,
        1700 => {
            let scale = length(modifier).map_or(0, |packed| packed & 0x7ff);
            // Above 1000 the eleven bits are a negative scale.
            Type::Numeric { scale: u16::try_from(scale).ok().filter(|scale| *scale <= 1000).unwrap_or(0) }
        }
        2950 => Type::Uuid,
        3802 => Type::Jsonb,
        _ => Type::Unknown,
    }
}

fn array(oid: u32, modifier: i32) -> Option<Type> {
    let element = match oid {
        1000 => 16,
        1001 => 17,
        1002 => 18,
        1003 => 19,
        1016 => 20,
        1005 => 21,
        1007 => 23,
        1009 => 25,
        1028 => 26,
        199 => 114,
        143 => 142,
        651 => 650,
        1021 => 700,
        1022 => 701,
        775 => 774,
        1040 => 829,
        1041 => 869,
        1014 => 1042,
        1015 => 1043,
        1182 => 1082,
        1183 => 1083,
        1115 => 1114,
        1185 => 1184,
        1187 => 1186,
        1270 => 1266,
        1561 => 1560,
        1563 => 1562,
        1231 => 1700,
        2951 => 2950,
        3807 => 3802,
        _ => return range_array(oid),
    };
    Some(Type::array_of(element, scalar(element, modifier)))
}

fn range_array(oid: u32) -> Option<Type> {
    let element = match oid {
        3905 => 3904,
        3907 => 3906,
        3909 => 3908,
        3911 => 3910,
        3913 => 3912,
        3927 => 3926,
        6150 => 4451,
        6151 => 4532,
        6152 => 4533,
        6153 => 4534,
        6155 => 4535,
        6157 => 4536,
        _ => return None,
    };
    Some(Type::array_of(element, range(element)?))
}

fn range(oid: u32) -> Option<Type> {
    let bound = |oid| Arc::new(scalar(oid, -1));
    Some(match oid {
        3904 => Type::Range(bound(23)),
        3906 => Type::Range(bound(1700)),
        3908 => Type::Range(bound(1114)),
        3910 => Type::Range(bound(1184)),
        3912 => Type::Range(bound(1082)),
        3926 => Type::Range(bound(20)),
        4451 => Type::Multirange(bound(23)),
        4532 => Type::Multirange(bound(1700)),
        4533 => Type::Multirange(bound(1114)),
        4534 => Type::Multirange(bound(1184)),
        4535 => Type::Multirange(bound(1082)),
        4536 => Type::Multirange(bound(20)),
        _ => return None,
    })
}

/// Appends the form of a value that is the same in both formats and in every type that can hold it: an `int4` 7, an
/// `int8` 7 and a text `7` are one value. Tokens and patients are made from it. `None`, with `out` in any state, where
/// the type has no such form or the value does not decode.
pub fn canonical(ty: &Type, format: Format, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match ty {
        Type::Text { .. } | Type::Name | Type::Char | Type::Enum { .. } | Type::Xml => {
            out.extend_from_slice(value);
        }
        Type::Bpchar { .. } => out.extend_from_slice(plain::trim_blanks(value)),
        Type::Int2 | Type::Int4 | Type::Int8 | Type::Oid => {
            number::write_decimal(number::decode_int(ty, format, value)?, out);
        }
        Type::Numeric { .. } => number::canonical_numeric(format, value, out)?,
        Type::Uuid => plain::write_uuid_text(&plain::decode_uuid(format, value)?, out),
        Type::Date | Type::Timestamp | Type::TimestampTz => {
            date::encode(ty, Format::Text, date::decode(ty, format, value)?, out)?;
        }
        Type::Bytea => plain::decode_bytea(format, value, out)?,
        Type::Inet | Type::Cidr => net::decode(format, value)?.write_text(*ty == Type::Cidr, out),
        Type::Bool
        | Type::Float4
        | Type::Float8
        | Type::Time
        | Type::TimeTz
        | Type::Interval
        | Type::Macaddr
        | Type::Macaddr8
        | Type::Json
        | Type::Jsonb
        | Type::Bit { .. }
        | Type::Varbit
        | Type::Hstore
        | Type::Array { .. }
        | Type::Composite(_)
        | Type::Range(_)
        | Type::Multirange(_)
        | Type::Unknown => return None,
    }
    Some(())
}

/// Calls with the [`canonical`] form of each element of an array, NULLs left out. In text the elements are taken for
/// values of the type; in binary they say themselves what they are. `None`, after some calls, where something does not decode.
pub fn canonical_elements(
    ty: &Type,
    format: Format,
    value: &[u8],
    each: &mut dyn FnMut(Vec<u8>),
) -> Option<()> {
    /// Where the elements' type stands, behind the number of dimensions and the flags.
    const ELEMENT_AT: usize = 8;
    let announced = match format {
        Format::Text => None,
        Format::Binary => {
            let oid = value.get(ELEMENT_AT..)?.first_chunk::<4>()?;
            Some(Type::builtin(u32::from_be_bytes(*oid), -1))
        }
    };
    let ty = announced.as_ref().unwrap_or(ty);
    let (mut sound, mut unused) = (true, Vec::new());
    container::array(format, value, &mut unused, &mut |_, cell, _| {
        if let Some(cell) = cell {
            let mut form = Vec::new();
            match canonical(ty, format, cell, &mut form) {
                Some(()) => each(form),
                None => sound = false,
            }
        }
        false
    })?;
    sound.then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(oid: u32, modifier: i32, expected: &str) {
        assert_eq!(Type::builtin(oid, modifier).to_string(), expected);
    }

    #[test]
    fn built_in_numbers() {
        check(1043, 15, "varchar(11)");
        check(1043, -1, "text");
        check(1042, 9, "char(5)");
        check(1015, 15, "varchar(11)[]");
        check(1560, 8, "bit(8)");
        check(3912, -1, "range of date");
        check(4533, -1, "multirange of timestamp");
        check(3913, -1, "range of date[]");
        check(2278, -1, "unknown");
        assert_eq!(Type::builtin(1700, (10 << 16 | 2) + 4), Type::Numeric { scale: 2 });
        assert_eq!(Type::builtin(1700, -1), Type::Numeric { scale: 0 });
    }

    #[test]
    fn one_value_has_one_form() {
        let form = |ty: &Type, format, value: &[u8]| {
            let mut out = Vec::new();
            canonical(ty, format, value, &mut out).map(|()| out)
        };
        let seven = Some(b"7".to_vec());
        assert_eq!(form(&Type::Int4, Format::Text, b"7"), seven);
        assert_eq!(form(&Type::Int4, Format::Binary, &[0, 0, 0, 7]), seven);
        assert_eq!(form(&Type::Int8, Format::Binary, &[0, 0, 0, 0, 0, 0, 0, 7]), seven);
        assert_eq!(form(&Type::Bpchar { length: Some(3) }, Format::Text, b"7  "), seven);
        assert_eq!(form(&Type::Numeric { scale: 0 }, Format::Text, b"7.00"), seven);
        assert_eq!(form(&Type::Numeric { scale: 0 }, Format::Binary, &[0, 1, 0, 0, 0, 0, 0, 2, 0, 7]), seven);
        assert_eq!(form(&Type::Int4, Format::Binary, &[0, 7]), None);
        assert_eq!(form(&Type::Unknown, Format::Text, b"7"), None);
    }
}
