//! Canonical bytes of a record, as `docs/formats/record.md` describes them.
//!
//! One record has exactly one encoding, and the decoder accepts nothing else: a commitment over these bytes is
//! a commitment to the facts. Deliberately absent: salts and commitments (`leaf`), encryption (`segment`).

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::{
    Action, CertificateId, Kind, Micros, OperationId, Outcome, PatientToken, Patients, PersonId, Phase,
    Record, SessionId, SqlState, Verdict,
};

/// The first version. A record is written in the lowest version that has all of its fields, so that what was
/// written under an earlier one is still the only encoding of its facts.
const VERSION_1: u8 = 1;
/// With patients and protected columns.
const VERSION_2: u8 = 2;
/// With purposes, and with what other systems told.
const VERSION_3: u8 = 3;
/// With how somebody signed in, with emergencies, the certificates of programs, and agents.
const VERSION_4: u8 = 4;
/// The longest record. A statement text or sealed parameters of many megabytes must fit, an endless one not.
pub const RECORD_BYTES_MAX: usize = 16 << 20;
/// The longest name: of a person, client program, resource, command, object or policy.
pub const NAME_BYTES_MAX: usize = 64 << 10;
/// The longest `detail`.
pub const DETAIL_BYTES_MAX: usize = 1 << 20;
/// The most objects, policies, columns or patients of one record.
pub const LIST_ITEMS_MAX: usize = 65_535;
/// The length of a patient's token.
const TOKEN_BYTES: usize = 16;

/// A record is longer than a record may be. Nothing of it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` of the record: {length} is more than {max}")]
pub struct TooLarge {
    /// The field, or `record` for the whole.
    pub field: &'static str,
    /// Its length in bytes, for a list in items.
    pub length: usize,
    /// The longest it may be.
    pub max: usize,
}

/// Bytes that are not the canonical form of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The version is not known.
    #[error("unknown version {0}")]
    Version(u8),
    /// The bytes end within a field.
    #[error("the bytes end within a field")]
    Truncated,
    /// A field has no known number.
    #[error("unknown field {0}")]
    Field(u64),
    /// Fields are not in ascending order, or one comes twice.
    #[error("field {0} is out of order")]
    Order(u64),
    /// `kind` or `at` is missing.
    #[error("field {0} is missing")]
    Missing(u64),
    /// A number is not in its shortest form, or too large.
    #[error("a number is not in its shortest form")]
    Number,
    /// A value is not one that the field can have.
    #[error("field {0} has no such value")]
    Value(u64),
    /// A text is not UTF-8.
    #[error("field {0} is not UTF-8")]
    Utf8(u64),
    /// A length is over its limit.
    #[error("field {0} is over its limit")]
    Limit(u64),
}

/// The numbers of the fields, part of the format and never reused.
mod field {
    pub(super) const KIND: u64 = 1;
    pub(super) const AT: u64 = 2;
    pub(super) const SESSION: u64 = 3;
    pub(super) const OPERATION: u64 = 4;
    pub(super) const PHASE: u64 = 5;
    pub(super) const PERSON: u64 = 6;
    pub(super) const PERSON_NAME: u64 = 7;
    pub(super) const ADDRESS: u64 = 8;
    pub(super) const PORT: u64 = 9;
    pub(super) const CLIENT: u64 = 10;
    pub(super) const RESOURCE: u64 = 11;
    pub(super) const ACTION: u64 = 12;
    pub(super) const COMMAND: u64 = 13;
    pub(super) const STATEMENT: u64 = 14;
    pub(super) const SEALED: u64 = 15;
    pub(super) const OBJECTS: u64 = 16;
    pub(super) const VERDICT: u64 = 17;
    pub(super) const POLICIES: u64 = 18;
    pub(super) const POLICY_VERSION: u64 = 19;
    pub(super) const ROWS: u64 = 20;
    pub(super) const BYTES: u64 = 21;
    pub(super) const DURATION_US: u64 = 22;
    pub(super) const OUTCOME: u64 = 23;
    pub(super) const DETAIL: u64 = 24;
    pub(super) const PATIENTS: u64 = 25;
    pub(super) const PATIENTS_SEALED: u64 = 26;
    pub(super) const UNRESOLVED: u64 = 27;
    pub(super) const MASKED: u64 = 28;
    pub(super) const UNMASKED: u64 = 29;
    pub(super) const PURPOSE: u64 = 35;
    pub(super) const SOURCE: u64 = 36;
    pub(super) const SOURCE_EVENT: u64 = 37;
    pub(super) const SIGN_IN: u64 = 38;
    pub(super) const AGENT: u64 = 39;
    pub(super) const EMERGENCY: u64 = 40;
    pub(super) const CERTIFICATE: u64 = 41;
}

/// Appends the canonical bytes of a record.
///
/// # Errors
/// When a field or the whole is over its limit; then `out` is as it was.
pub fn encode(record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), TooLarge> {
    let start = out.len();
    let result = check(record).and_then(|()| {
        write(record, out);
        within("record", out.len() - start, RECORD_BYTES_MAX)
    });
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn within(field: &'static str, length: usize, max: usize) -> Result<(), TooLarge> {
    if length > max { Err(TooLarge { field, length, max }) } else { Ok(()) }
}

fn check(record: &Record<'_>) -> Result<(), TooLarge> {
    let text =
        |field, text: &Option<Cow<'_, str>>, max| within(field, text.as_ref().map_or(0, |t| t.len()), max);
    text("person_name", &record.person_name, NAME_BYTES_MAX)?;
    text("client", &record.client, NAME_BYTES_MAX)?;
    text("resource", &record.resource, NAME_BYTES_MAX)?;
    text("command", &record.command, NAME_BYTES_MAX)?;
    text("statement", &record.statement, RECORD_BYTES_MAX)?;
    within("sealed", record.sealed.as_ref().map_or(0, |s| s.len()), RECORD_BYTES_MAX)?;
    text("detail", &record.detail, DETAIL_BYTES_MAX)?;
    text("purpose", &record.purpose, NAME_BYTES_MAX)?;
    text("source", &record.source, NAME_BYTES_MAX)?;
    text("source_event", &record.source_event, NAME_BYTES_MAX)?;
    text("sign_in", &record.sign_in, NAME_BYTES_MAX)?;
    text("agent", &record.agent, NAME_BYTES_MAX)?;
    if let Some(patients) = &record.patients {
        within("patients", patients.tokens().len(), LIST_ITEMS_MAX)?;
        within("patients_sealed", patients.sealed().len(), RECORD_BYTES_MAX)?;
    }
    for (field, list) in [
        ("objects", &record.objects),
        ("policies", &record.policies),
        ("masked", &record.masked),
        ("unmasked", &record.unmasked),
    ] {
        within(field, list.len(), LIST_ITEMS_MAX)?;
        let longest = list.iter().map(|item| item.len()).max().unwrap_or(0);
        within(field, longest, NAME_BYTES_MAX)?;
        within(field, list.iter().map(|item| item.len()).sum(), RECORD_BYTES_MAX)?;
    }
    Ok(())
}

fn write(record: &Record<'_>, out: &mut Vec<u8>) {
    out.push(version(record));
    byte(out, field::KIND, Some(record.kind as u8));
    varint(out, field::AT);
    out.extend_from_slice(&record.at.0.to_le_bytes());
    fixed(out, field::SESSION, record.session.map(|id| id.0));
    number(out, field::OPERATION, record.operation.map(|id| id.0));
    byte(out, field::PHASE, record.phase.map(|phase| phase as u8));
    fixed(out, field::PERSON, record.person.map(|id| id.0));
    text(out, field::PERSON_NAME, record.person_name.as_deref());
    match record.address {
        Some(IpAddr::V4(address)) => bytes(out, field::ADDRESS, Some(&address.octets())),
        Some(IpAddr::V6(address)) => bytes(out, field::ADDRESS, Some(&address.octets())),
        None => {}
    }
    number(out, field::PORT, record.port.map(u64::from));
    text(out, field::CLIENT, record.client.as_deref());
    text(out, field::RESOURCE, record.resource.as_deref());
    byte(out, field::ACTION, record.action.map(|action| action as u8));
    text(out, field::COMMAND, record.command.as_deref());
    text(out, field::STATEMENT, record.statement.as_deref());
    bytes(out, field::SEALED, record.sealed.as_deref());
    list(out, field::OBJECTS, &record.objects);
    byte(out, field::VERDICT, record.verdict.map(|verdict| verdict as u8));
    list(out, field::POLICIES, &record.policies);
    number(out, field::POLICY_VERSION, record.policy_version);
    number(out, field::ROWS, record.rows);
    number(out, field::BYTES, record.bytes);
    number(out, field::DURATION_US, record.duration_us);
    outcome(out, record.outcome);
    text(out, field::DETAIL, record.detail.as_deref());
    patients(out, record.patients.as_ref());
    number(out, field::UNRESOLVED, record.unresolved);
    list(out, field::MASKED, &record.masked);
    list(out, field::UNMASKED, &record.unmasked);
    text(out, field::PURPOSE, record.purpose.as_deref());
    text(out, field::SOURCE, record.source.as_deref());
    text(out, field::SOURCE_EVENT, record.source_event.as_deref());
    text(out, field::SIGN_IN, record.sign_in.as_deref());
    text(out, field::AGENT, record.agent.as_deref());
    number(out, field::EMERGENCY, record.emergency);
    if let Some(CertificateId(id)) = record.certificate {
        varint(out, field::CERTIFICATE);
        out.extend_from_slice(&id);
    }
}

/// Returns the lowest version that can say all of a record.
fn version(record: &Record<'_>) -> u8 {
    let Record { kind, patients, unresolved, masked, unmasked, purpose, source, source_event, .. } = record;
    if has_fields_of_version_4(record) {
        return VERSION_4;
    }
    if kind_is_of_version_3(*kind) || purpose.is_some() || source.is_some() || source_event.is_some() {
        return VERSION_3;
    }
    let first = patients.is_none() && unresolved.is_none() && masked.is_empty() && unmasked.is_empty();
    if first { VERSION_1 } else { VERSION_2 }
}

fn has_fields_of_version_4(record: &Record<'_>) -> bool {
    let Record { kind, sign_in, emergency, certificate, agent, .. } = record;
    let of_emergencies =
        matches!(kind, Kind::EmergencyBegun | Kind::EmergencyEnded | Kind::EmergencyReviewed);
    of_emergencies || sign_in.is_some() || emergency.is_some() || certificate.is_some() || agent.is_some()
}

fn kind_is_of_version_3(kind: Kind) -> bool {
    matches!(kind, Kind::Reported | Kind::Exported)
}

fn patients(out: &mut Vec<u8>, patients: Option<&Patients<'_>>) {
    let Some(patients) = patients else { return };
    varint(out, field::PATIENTS);
    out.extend_from_slice(&patients.year().to_le_bytes());
    varint(out, patients.tokens().len() as u64);
    patients.tokens().iter().for_each(|token| out.extend_from_slice(&token.0));
    bytes(out, field::PATIENTS_SEALED, Some(patients.sealed()));
}

/// Appends a number in LEB128: seven bits a byte, the lowest first.
pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn byte(out: &mut Vec<u8>, field: u64, value: Option<u8>) {
    if let Some(value) = value {
        varint(out, field);
        out.push(value);
    }
}

fn number(out: &mut Vec<u8>, field: u64, value: Option<u64>) {
    if let Some(value) = value {
        varint(out, field);
        varint(out, value);
    }
}

fn fixed(out: &mut Vec<u8>, field: u64, value: Option<u128>) {
    if let Some(value) = value {
        varint(out, field);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

fn bytes(out: &mut Vec<u8>, field: u64, value: Option<&[u8]>) {
    if let Some(value) = value {
        varint(out, field);
        varint(out, value.len() as u64);
        out.extend_from_slice(value);
    }
}

fn text(out: &mut Vec<u8>, field: u64, value: Option<&str>) {
    bytes(out, field, value.map(str::as_bytes));
}

fn list(out: &mut Vec<u8>, field: u64, items: &[Cow<'_, str>]) {
    if items.is_empty() {
        return;
    }
    varint(out, field);
    varint(out, items.len() as u64);
    for item in items {
        varint(out, item.len() as u64);
        out.extend_from_slice(item.as_bytes());
    }
}

fn outcome(out: &mut Vec<u8>, outcome: Option<Outcome>) {
    let Some(outcome) = outcome else { return };
    varint(out, field::OUTCOME);
    match outcome {
        Outcome::Completed => out.push(1),
        Outcome::Failed(state) => {
            out.push(2);
            out.extend_from_slice(&state.0);
        }
        Outcome::Refused => out.push(3),
        Outcome::Unknown => out.push(4),
    }
}

/// Returns the number of the kind in canonical bytes made by [`encode`], which begin with version and kind.
pub(crate) fn kind_number(canonical: &[u8]) -> u8 {
    canonical.get(2).copied().unwrap_or(0)
}

/// Reads a record back.
///
/// # Errors
/// When the bytes are anything but what [`encode`] writes for some record.
pub fn decode(bytes: &[u8]) -> Result<Record<'static>, DecodeError> {
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(DecodeError::Limit(0));
    }
    let mut input = Input { bytes };
    let version = input.byte()?;
    if !(VERSION_1..=VERSION_4).contains(&version) {
        return Err(DecodeError::Version(version));
    }
    if input.varint()? != field::KIND {
        return Err(DecodeError::Missing(field::KIND));
    }
    let kind = input.one_of(field::KIND, &Kind::ALL, |kind| kind as u8)?;
    if input.varint().map_err(|_| DecodeError::Missing(field::AT))? != field::AT {
        return Err(DecodeError::Missing(field::AT));
    }
    let mut record = Record::new(kind, Micros(u64::from_le_bytes(input.array()?)));
    let mut last = field::AT;
    while !input.bytes.is_empty() {
        let number = input.varint()?;
        if number <= last {
            return Err(DecodeError::Order(number));
        }
        read_field(&mut record, number, &mut input)?;
        last = number;
    }
    if version == self::version(&record) { Ok(record) } else { Err(DecodeError::Version(version)) }
}

fn read_field(record: &mut Record<'static>, number: u64, input: &mut Input<'_>) -> Result<(), DecodeError> {
    let name = NAME_BYTES_MAX;
    match number {
        field::SESSION => record.session = Some(SessionId(u128::from_be_bytes(input.array()?))),
        field::OPERATION => record.operation = Some(OperationId(input.varint()?)),
        field::PHASE => record.phase = Some(input.one_of(number, &Phase::ALL, |phase| phase as u8)?),
        field::PERSON => record.person = Some(PersonId(u128::from_be_bytes(input.array()?))),
        field::PERSON_NAME => record.person_name = Some(input.text(number, name)?),
        field::ADDRESS => record.address = Some(input.address()?),
        field::PORT => {
            record.port = Some(u16::try_from(input.varint()?).map_err(|_| DecodeError::Value(number))?);
        }
        field::CLIENT => record.client = Some(input.text(number, name)?),
        field::RESOURCE => record.resource = Some(input.text(number, name)?),
        field::ACTION => record.action = Some(input.one_of(number, &Action::ALL, |action| action as u8)?),
        field::COMMAND => record.command = Some(input.text(number, name)?),
        field::STATEMENT => record.statement = Some(input.text(number, RECORD_BYTES_MAX)?),
        field::SEALED => {
            record.sealed = Some(Cow::Owned(input.bytes(number, RECORD_BYTES_MAX)?.to_vec()));
        }
        field::OBJECTS => record.objects = input.list(number)?,
        field::VERDICT => {
            let both = [Verdict::Allow, Verdict::Deny];
            record.verdict = Some(input.one_of(number, &both, |verdict| verdict as u8)?);
        }
        field::POLICIES => record.policies = input.list(number)?,
        field::POLICY_VERSION => record.policy_version = Some(input.varint()?),
        field::ROWS => record.rows = Some(input.varint()?),
        field::BYTES => record.bytes = Some(input.varint()?),
        field::DURATION_US => record.duration_us = Some(input.varint()?),
        field::OUTCOME => record.outcome = Some(input.outcome()?),
        field::DETAIL => record.detail = Some(input.text(number, DETAIL_BYTES_MAX)?),
        field::PATIENTS => record.patients = Some(input.patients()?),
        field::UNRESOLVED => record.unresolved = Some(input.varint()?),
        field::MASKED => record.masked = input.list(number)?,
        field::UNMASKED => record.unmasked = input.list(number)?,
        field::PURPOSE => record.purpose = Some(input.text(number, name)?),
        field::SOURCE => record.source = Some(input.text(number, name)?),
        field::SOURCE_EVENT => record.source_event = Some(input.text(number, name)?),
        field::SIGN_IN => record.sign_in = Some(input.text(number, name)?),
        field::EMERGENCY => record.emergency = Some(input.varint()?),
        field::AGENT => record.agent = Some(input.text(number, name)?),
        field::CERTIFICATE => record.certificate = Some(CertificateId(input.array()?)),
        _ => return Err(DecodeError::Field(number)),
    }
    Ok(())
}

/// Bytes still to be read.
pub(crate) struct Input<'a> {
    pub(crate) bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.bytes.split_first().ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(*first)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(*taken)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return Err(DecodeError::Number);
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(DecodeError::Number) } else { Ok(value) };
            }
        }
        Err(DecodeError::Number)
    }

    fn one_of<T: Copy>(&mut self, field: u64, all: &[T], number: fn(T) -> u8) -> Result<T, DecodeError> {
        let byte = self.byte()?;
        all.iter().copied().find(|item| number(*item) == byte).ok_or(DecodeError::Value(field))
    }

    pub(crate) fn bytes(&mut self, field: u64, max: usize) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.varint()?).map_err(|_| DecodeError::Limit(field))?;
        if length > max {
            return Err(DecodeError::Limit(field));
        }
        self.take(length)
    }

    fn text(&mut self, field: u64, max: usize) -> Result<Cow<'static, str>, DecodeError> {
        let bytes = self.bytes(field, max)?;
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8(field))?;
        Ok(Cow::Owned(text.to_owned()))
    }

    fn list(&mut self, field: u64) -> Result<Vec<Cow<'static, str>>, DecodeError> {
        let count = usize::try_from(self.varint()?).map_err(|_| DecodeError::Limit(field))?;
        match count {
            0 => return Err(DecodeError::Value(field)),
            1..=LIST_ITEMS_MAX => {}
            _ => return Err(DecodeError::Limit(field)),
        }
        // An item takes at least its length's byte: a lying count cannot make a large allocation.
        let mut items = Vec::with_capacity(count.min(self.bytes.len()));
        for _ in 0..count {
            items.push(self.text(field, NAME_BYTES_MAX)?);
        }
        Ok(items)
    }

    /// Reads the tokens, and the sealed identifiers that always follow.
    fn patients(&mut self) -> Result<Patients<'static>, DecodeError> {
        let year = u16::from_le_bytes(self.array()?);
        let count = usize::try_from(self.varint()?).map_err(|_| DecodeError::Limit(field::PATIENTS))?;
        match count {
            0..=LIST_ITEMS_MAX => {}
            _ => return Err(DecodeError::Limit(field::PATIENTS)),
        }
        let tokens = self.take(count * TOKEN_BYTES)?.as_chunks::<TOKEN_BYTES>().0;
        let tokens = tokens.iter().copied().map(PatientToken).collect();
        match self.varint() {
            Ok(field::PATIENTS_SEALED) => {}
            Ok(_) | Err(DecodeError::Truncated) => return Err(DecodeError::Missing(field::PATIENTS_SEALED)),
            Err(error) => return Err(error),
        }
        let sealed = self.bytes(field::PATIENTS_SEALED, RECORD_BYTES_MAX)?.to_vec();
        Patients::new(year, tokens, Cow::Owned(sealed)).ok_or(DecodeError::Value(field::PATIENTS))
    }

    fn address(&mut self) -> Result<IpAddr, DecodeError> {
        match self.varint()? {
            4 => Ok(IpAddr::V4(Ipv4Addr::from(self.array::<4>()?))),
            16 => Ok(IpAddr::V6(Ipv6Addr::from(self.array::<16>()?))),
            _ => Err(DecodeError::Value(field::ADDRESS)),
        }
    }

    fn outcome(&mut self) -> Result<Outcome, DecodeError> {
        match self.byte()? {
            1 => Ok(Outcome::Completed),
            2 => Ok(Outcome::Failed(SqlState(self.array()?))),
            3 => Ok(Outcome::Refused),
            4 => Ok(Outcome::Unknown),
            _ => Err(DecodeError::Value(field::OUTCOME)),
        }
    }
}
