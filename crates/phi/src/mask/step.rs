//! The operators that depend on the value, for one scalar type each.

use crate::mask::{Format, RowContext, constant};
use crate::operator::{AGE_TOP, Alphabet, Domain, Ff1, Mac, zip3};
use crate::pgtype::date::{self, Moment};
use crate::pgtype::{canonical, net, number, plain};
use crate::{Class, Keys, Operator, Type};

/// The shortest text that holds a token: prefix, key, and 50 bits.
const TOKEN_CHARACTERS_MIN: u32 = 15;
/// `h`, two digits, `_` and 64 of hexadecimal.
const HASH_CHARACTERS_MIN: u32 = 68;
/// Characters of a token after its prefix: 130 bits.
const TOKEN_SYMBOLS: usize = 26;
/// Ages over 89 are told as one; so are the years of birth that would tell them.
const AGE_YEARS: i64 = 90;
const STARS: &[u8; 4] = b"****";

/// An operator with its keys.
#[derive(Debug)]
pub(super) enum Step {
    Partial { first: usize, last: usize, min: usize },
    Token(Mac),
    Hash(Mac),
    FormatPreserving { cipher: Ff1, alphabet: Alphabet, min: usize },
    DateShift(Mac),
    Year,
    Zip3,
    Age,
    Bucket(i64),
    EmailDomain,
    IpPrefix,
}

impl Step {
    /// Returns the step, and `None` where the operator does not suit the type.
    pub(super) fn compile(class: Class, operator: Operator, ty: &Type, keys: &Keys) -> Option<Step> {
        if !suits(operator, ty) {
            return None;
        }
        Some(match operator {
            Operator::Null | Operator::Redact => return None,
            Operator::Partial { first, last, min } => {
                Step::Partial { first: first.into(), last: last.into(), min: min.into() }
            }
            Operator::Token => Step::Token(keys.mac(Domain::Token, class)),
            Operator::Hash => Step::Hash(keys.mac(Domain::Hash, class)),
            Operator::FormatPreserving { alphabet, min } => {
                let cipher = Ff1::new(&keys.key(Domain::FormatPreserving, class), class.name().as_bytes());
                Step::FormatPreserving { cipher, alphabet, min: min.into() }
            }
            // One shift for all dates of a patient, whatever class a column was given.
            Operator::DateShift => Step::DateShift(keys.mac(Domain::DateShift, Class::Date)),
            Operator::Year => Step::Year,
            Operator::Zip3 => Step::Zip3,
            Operator::Age => Step::Age,
            Operator::Bucket { size } => Step::Bucket(i64::from(size)),
            Operator::EmailDomain => Step::EmailDomain,
            Operator::IpPrefix => Step::IpPrefix,
        })
    }

    /// Appends the masked value; `None`, with `out` in any state, where it cannot be.
    pub(super) fn apply(
        &self,
        ty: &Type,
        format: Format,
        value: &[u8],
        row: &RowContext<'_>,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        match ty {
            Type::Text { .. } | Type::Bpchar { .. } | Type::Name => self.text(ty, value, row, out),
            Type::Int2 | Type::Int4 | Type::Int8 | Type::Oid => {
                let masked = self.whole(ty, number::decode_int(ty, format, value)?)?;
                number::encode_int(ty, format, masked, out)
            }
            Type::Numeric { .. } | Type::Float4 | Type::Float8 => {
                let masked = self.rounded(number::floor(ty, format, value)?)?;
                number::encode_whole(ty, format, masked, out)
            }
            Type::Date | Type::Timestamp | Type::TimestampTz => {
                let masked = self.moment(ty, date::decode(ty, format, value)?, row)?;
                date::encode(ty, format, masked, out)
            }
            Type::Uuid => self.uuid(format, &plain::decode_uuid(format, value)?, out),
            Type::Bytea => self.bytea(format, value, out),
            Type::Inet | Type::Cidr => match self {
                Step::IpPrefix => {
                    let network = net::decode(format, value)?.shortened();
                    let cidr = *ty == Type::Cidr;
                    match format {
                        Format::Text => network.write_text(cidr, out),
                        Format::Binary => network.write_binary(cidr, out),
                    }
                    Some(())
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn text(&self, ty: &Type, value: &[u8], row: &RowContext<'_>, out: &mut Vec<u8>) -> Option<()> {
        let value = if matches!(ty, Type::Bpchar { .. }) { plain::trim_blanks(value) } else { value };
        let max = ty.characters_max().map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        let start = out.len();
        match self {
            Step::Token(mac) => write_token(mac, false, Some(max), value, out),
            Step::Hash(mac) => write_token(mac, true, None, value, out),
            Step::Partial { first, last, min } => partial((*first, *last, *min), max, value, out)?,
            Step::FormatPreserving { cipher, alphabet, min } => {
                format_preserving(cipher, *alphabet, *min, value, out)?;
            }
            Step::DateShift(_) | Step::Year => self.date_text(value, row, out)?,
            Step::Zip3 => out.extend_from_slice(&zip3(value)?),
            Step::Age | Step::Bucket(_) => {
                let masked = self.rounded(number::floor_text(value.trim_ascii())?)?;
                number::write_decimal(masked, out);
            }
            Step::EmailDomain => email_domain(value, out)?,
            Step::IpPrefix => net::decode(Format::Text, value)?.shortened().write_text(false, out),
        }
        let written = std::str::from_utf8(out.get(start..)?).ok()?.chars().count();
        if written > max {
            return None;
        }
        if let Type::Bpchar { length: Some(length) } = ty {
            constant::pad(written, *length, out);
        }
        Some(())
    }

    fn whole(&self, ty: &Type, value: i64) -> Option<i64> {
        match (self, ty) {
            (Step::FormatPreserving { cipher, .. }, Type::Int4) => permute(cipher, 31, value),
            (Step::FormatPreserving { cipher, .. }, Type::Int8) => permute(cipher, 63, value),
            (Step::Token(mac), Type::Int8) => {
                let mut form = Vec::with_capacity(20);
                number::write_decimal(value, &mut form);
                let random = i64::from_be_bytes(*mac.sign(&form).first_chunk()?) & ((1 << 56) - 1);
                Some(i64::from(mac.id.number()) << 56 | random)
            }
            _ => self.rounded(value),
        }
    }

    /// Generalises a whole number.
    fn rounded(&self, value: i64) -> Option<i64> {
        match self {
            Step::Age => Some(value.clamp(0, i64::from(AGE_TOP))),
            Step::Bucket(size) => value.div_euclid(*size).checked_mul(*size),
            _ => None,
        }
    }

    fn moment(&self, ty: &Type, moment: Moment, row: &RowContext<'_>) -> Option<Moment> {
        let Moment::At(count) = moment else { return Some(moment) };
        let oldest = i64::from(row.year_now) - AGE_YEARS;
        let (day, microseconds) = date::split(ty, count);
        let first_of = |year: i64| date::join(ty, date::first_of_year(year.max(oldest)), 0);
        let masked = match (self, row.patient.filter(|patient| !patient.is_empty())) {
            (Step::DateShift(mac), Some(patient)) => {
                let shifted = day + shift_days(mac, patient)?;
                if date::year_of(shifted) <= oldest {
                    first_of(oldest)?
                } else {
                    date::join(ty, shifted, microseconds)?
                }
            }
            (Step::Year, _) => first_of(date::year_of(day))?,
            // Its true year, beside the shifted date that another statement shows, would tell the days it is shifted by.
            _ => return None,
        };
        Some(Moment::At(masked))
    }

    /// A date written in a text: a shift keeps how it was written, the year stands alone.
    fn date_text(&self, value: &[u8], row: &RowContext<'_>, out: &mut Vec<u8>) -> Option<()> {
        let kinds = [Type::Date, Type::Timestamp, Type::TimestampTz];
        let (moment, ty) = kinds.into_iter().find_map(|ty| Some((date::parse(&ty, value)?, ty)))?;
        let Moment::At(count) = self.moment(&ty, moment, row)? else { return None };
        if matches!(self, Step::DateShift(_)) {
            return date::encode(&ty, Format::Text, Moment::At(count), out);
        }
        let year = date::year_of(date::split(&ty, count).0);
        number::write_decimal(year, out);
        Some(())
    }

    fn uuid(&self, format: Format, value: &[u8; 16], out: &mut Vec<u8>) -> Option<()> {
        let Step::Token(mac) = self else { return None };
        let mut form = Vec::with_capacity(36);
        plain::write_uuid_text(value, &mut form);
        let mut token: [u8; 16] = *mac.sign(&form).first_chunk()?;
        token[0] = mac.id.number();
        // Version 8 (free form) and the variant of RFC 9562, so that strict clients take it.
        token[6] = 0x80 | token[6] & 0x0f;
        token[8] = 0x80 | token[8] & 0x3f;
        match format {
            Format::Binary => out.extend_from_slice(&token),
            Format::Text => plain::write_uuid_text(&token, out),
        }
        Some(())
    }

    fn bytea(&self, format: Format, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mut form = Vec::new();
        canonical(&Type::Bytea, format, value, &mut form)?;
        let (Step::Token(mac) | Step::Hash(mac)) = self else { return None };
        let mut token = [0; 33];
        token[0] = mac.id.number();
        token[1..].copy_from_slice(&mac.sign(&form));
        plain::encode_bytea(format, &token, out);
        Some(())
    }
}

fn suits(operator: Operator, ty: &Type) -> bool {
    let text = |least: u32| ty.is_text() && ty.characters_max().is_none_or(|max| max >= least);
    let dates = matches!(ty, Type::Date | Type::Timestamp | Type::TimestampTz);
    let integers = matches!(ty, Type::Int2 | Type::Int4 | Type::Int8);
    let decimals = matches!(ty, Type::Numeric { .. } | Type::Float4 | Type::Float8);
    match operator {
        Operator::Null | Operator::Redact => true,
        Operator::Partial { first, last, .. } => text(u32::from(first + last) + 1),
        Operator::Token => text(TOKEN_CHARACTERS_MIN) || matches!(ty, Type::Int8 | Type::Uuid | Type::Bytea),
        Operator::Hash => text(HASH_CHARACTERS_MIN) || *ty == Type::Bytea,
        Operator::FormatPreserving { min, .. } => {
            text(u32::from(min)) || matches!(ty, Type::Int4 | Type::Int8)
        }
        Operator::DateShift => dates || text(10),
        Operator::Year => dates || text(4),
        Operator::Zip3 => text(3),
        Operator::Age => integers || decimals || text(2),
        Operator::Bucket { .. } => integers || decimals || text(1),
        Operator::EmailDomain => text(6),
        Operator::IpPrefix => matches!(ty, Type::Inet | Type::Cidr) || text(9),
    }
}

/// Appends the token or hash of a value in canonical form, shortened to `max` characters.
pub(super) fn write_token(mac: &Mac, full: bool, max: Option<usize>, value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let tag = mac.sign(value);
    out.extend_from_slice(if full { b"h" } else { b"tk" });
    number::write_decimal(i64::from(mac.id.number()), out);
    out.push(b'_');
    if full {
        plain::write_hex(&tag, out);
        return;
    }
    let room = max.unwrap_or(usize::MAX).saturating_sub(out.len() - start);
    let (mut bits, mut held) = (0_u32, 0);
    let mut bytes = tag.iter();
    for _ in 0..TOKEN_SYMBOLS.min(room) {
        if held < 5 {
            bits = bits << 8 | u32::from(*bytes.next().expect("26 symbols need 17 of 32 bytes"));
            held += 8;
        }
        held -= 5;
        out.push(base32(u8::try_from(bits >> held & 31).expect("five bits")));
        bits &= (1 << held) - 1;
    }
}

fn base32(value: u8) -> u8 {
    if value < 26 { b'a' + value } else { b'2' + value - 26 }
}

/// Shows so many characters first and last, with as many stars as fit `max`, up to four: their number says nothing.
fn partial(
    (first, last, min): (usize, usize, usize),
    max: usize,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Option<()> {
    let text = std::str::from_utf8(value).ok()?;
    let count = text.chars().count();
    if count < min {
        out.extend(STARS.iter().take(max));
        return Some(());
    }
    out.extend_from_slice(plain::characters(text, first).as_bytes());
    out.extend(STARS.iter().take(max.saturating_sub(first + last)));
    let hidden = plain::characters(text, count.checked_sub(last)?).len();
    out.extend_from_slice(value.get(hidden..)?);
    Some(())
}

fn format_preserving(
    cipher: &Ff1,
    alphabet: Alphabet,
    min: usize,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Option<()> {
    let mut symbols = [0; crate::operator::FPE_SYMBOLS_MAX];
    let mut count = 0;
    for byte in value {
        match (byte, alphabet) {
            (b'0'..=b'9', _) => *symbols.get_mut(count)? = byte - b'0',
            (b'a'..=b'z', Alphabet::Alnum) => *symbols.get_mut(count)? = byte - b'a' + 10,
            (b'A'..=b'Z', Alphabet::Alnum) => *symbols.get_mut(count)? = byte - b'A' + 10,
            (byte, _) if byte.is_ascii_punctuation() || *byte == b' ' => continue,
            _ => return None,
        }
        count += 1;
    }
    if count < min {
        return None;
    }
    cipher.encrypt(alphabet.radix(), symbols.get_mut(..count)?)?;
    let mut masked = symbols.iter();
    for byte in value {
        if byte.is_ascii_alphanumeric() {
            let symbol = *masked.next()?;
            out.push(if symbol < 10 { b'0' + symbol } else { b'A' + symbol - 10 });
        } else {
            out.push(*byte);
        }
    }
    Some(())
}

/// Permutes the numbers of so many bits, and the negative ones among themselves.
fn permute(cipher: &Ff1, bits: usize, value: i64) -> Option<i64> {
    let flipped = if value < 0 { !value } else { value };
    let mut symbols = [0; 63];
    let symbols = symbols.get_mut(..bits)?;
    for (place, symbol) in symbols.iter_mut().rev().enumerate() {
        *symbol = u8::from(flipped >> place & 1 == 1);
    }
    cipher.encrypt(2, symbols)?;
    let masked = symbols.iter().fold(0, |sum, symbol| sum << 1 | i64::from(*symbol));
    Some(if value < 0 { !masked } else { masked })
}

/// Days from -365 to 365, never 0, fixed for a patient.
fn shift_days(mac: &Mac, patient: &[u8]) -> Option<i64> {
    let random = u64::from_be_bytes(*mac.sign(patient).first_chunk()?);
    let number = i64::try_from(random % 730).ok()?;
    Some(if number < 365 { number - 365 } else { number - 364 })
}

fn email_domain(value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let at = memchr::memrchr(b'@', value).filter(|at| *at > 0)?;
    let domain = value.get(at..)?;
    let sound = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    // Something else that was written into the column, such as a number after an `@`, has no such end.
    let dot = memchr::memrchr(b'.', domain).filter(|dot| *dot > 1)?;
    let top = domain.get(dot + 1..)?;
    if top.len() < 2 || !top.iter().all(u8::is_ascii_alphabetic) || !domain.iter().skip(1).all(sound) {
        return None;
    }
    out.push(b'*');
    out.extend_from_slice(domain);
    Some(())
}
