//! What stands for every value of a type, whatever it was: the result of `redact`.

use crate::mask::Format;
use crate::pgtype::{date, net, number, plain};
use crate::{Class, Type};

/// 1900-01-01, which every client's date type can hold.
const DAY: i64 = -36_524;

/// Appends the constant; `None` where a type has none.
pub(super) fn write(class: Class, ty: &Type, format: Format, out: &mut Vec<u8>) -> Option<()> {
    let text = format == Format::Text;
    let mut either = |shown: &[u8], binary: &[u8]| out.extend_from_slice(if text { shown } else { binary });
    match ty {
        Type::Bool => either(b"f", &[0]),
        Type::Int2 | Type::Int4 | Type::Int8 | Type::Oid => number::encode_int(ty, format, 0, out)?,
        Type::Float4 => either(b"0", &[0; 4]),
        Type::Float8 => either(b"0", &[0; 8]),
        Type::Numeric { scale } => numeric(*scale, format, out),
        Type::Text { .. } | Type::Bpchar { .. } | Type::Name => write_text(class, ty, out),
        Type::Char => either(b"*", b"*"),
        Type::Bytea => plain::encode_bytea(format, b"", out),
        Type::Date | Type::Timestamp | Type::TimestampTz => {
            let moment = date::Moment::At(date::join(ty, DAY, 0)?);
            date::encode(ty, format, moment, out)?;
        }
        Type::Time => either(b"00:00:00", &[0; 8]),
        Type::TimeTz => either(b"00:00:00+00", &[0; 12]),
        Type::Interval => either(b"00:00:00", &[0; 16]),
        Type::Uuid if text => plain::write_uuid_text(&[0; 16], out),
        Type::Uuid => out.extend_from_slice(&[0; 16]),
        Type::Inet | Type::Cidr => {
            let cidr = *ty == Type::Cidr;
            let network = net::Network { address: std::net::Ipv4Addr::UNSPECIFIED.into(), bits: 32 };
            if text { network.write_text(cidr, out) } else { network.write_binary(cidr, out) }
        }
        Type::Macaddr => either(b"00:00:00:00:00:00", &[0; 6]),
        Type::Macaddr8 => either(b"00:00:00:00:00:00:00:00", &[0; 8]),
        Type::Json => either(b"{}", b"{}"),
        Type::Jsonb => either(b"{}", b"\x01{}"),
        Type::Xml => either(b"<redacted/>", b"<redacted/>"),
        Type::Bit { length } => bits(*length, text, out),
        Type::Varbit => bits(0, text, out),
        Type::Enum { label } => out.extend_from_slice(label.as_ref()?.as_bytes()),
        // Its binary format is a count of pairs, but the type has no fixed number and is told as text by most servers.
        Type::Hstore => either(b"", &[0; 4]),
        Type::Array { oid, .. } => {
            either(b"{}", &[]);
            if !text {
                out.extend_from_slice(&[0; 8]);
                out.extend_from_slice(&oid.to_be_bytes());
            }
        }
        Type::Composite(columns) => composite(class, columns, text, out)?,
        Type::Range(_) => either(b"empty", &[1]),
        Type::Multirange(_) => either(b"{}", &[0; 4]),
        Type::Unknown => return None,
    }
    Some(())
}

fn numeric(scale: u16, format: Format, out: &mut Vec<u8>) {
    match format {
        Format::Binary => number::encode_numeric(0, scale, out),
        Format::Text => {
            out.push(b'0');
            if scale > 0 {
                out.push(b'.');
                out.extend(std::iter::repeat_n(b'0', usize::from(scale)));
            }
        }
    }
}

/// Appends the class's placeholder, or stars where it does not fit.
fn write_text(class: Class, ty: &Type, out: &mut Vec<u8>) {
    let placeholder = class.placeholder();
    let max = ty.characters_max().map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
    if placeholder.len() <= max {
        out.extend_from_slice(placeholder.as_bytes());
    } else {
        out.extend(std::iter::repeat_n(b'*', max.min(3)));
    }
    if let Type::Bpchar { length: Some(length) } = ty {
        let written = placeholder.len().min(if placeholder.len() <= max { usize::MAX } else { max.min(3) });
        pad(written, *length, out);
    }
}

/// Appends the blanks that `char(n)` ends with.
pub(super) fn pad(written: usize, length: u32, out: &mut Vec<u8>) {
    let length = usize::try_from(length).unwrap_or(0);
    out.extend(std::iter::repeat_n(b' ', length.saturating_sub(written)));
}

fn bits(length: u32, text: bool, out: &mut Vec<u8>) {
    let count = usize::try_from(length).unwrap_or(0);
    if text {
        out.extend(std::iter::repeat_n(b'0', count));
    } else {
        out.extend_from_slice(&length.to_be_bytes());
        out.extend(std::iter::repeat_n(0, count.div_ceil(8)));
    }
}

fn composite(class: Class, columns: &[(u32, Type)], text: bool, out: &mut Vec<u8>) -> Option<()> {
    let format = if text { Format::Text } else { Format::Binary };
    // Put together by the same code that masks a value: from a row of NULLs.
    let mut row = Vec::new();
    if text {
        row.push(b'(');
        row.extend(std::iter::repeat_n(b',', columns.len().saturating_sub(1)));
        row.push(b')');
    } else {
        row.extend_from_slice(&u32::try_from(columns.len()).ok()?.to_be_bytes());
        for (oid, _) in columns {
            row.extend_from_slice(&oid.to_be_bytes());
            row.extend_from_slice(&(-1_i32).to_be_bytes());
        }
    }
    crate::pgtype::container::composite(format, &row, columns.len(), out, &mut |place, _, out| {
        let start = out.len();
        let done = columns.get(place).and_then(|(_, ty)| write(class, ty, format, out)).is_some();
        if !done {
            out.truncate(start);
        }
        done
    })
}
