//! Literals, parameters and the identifiers of patients, encrypted apart from the records that carry them.
//!
//! A sealed value says itself under which day's key it is; it opens only for the session and operation it was
//! sealed for. `docs/formats/record.md` has the bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::RandomizedNonceKey;
use model::{PatientToken, Patients};
use parking_lot::{Mutex, RwLock};

use crate::core::Core;
use crate::disk::Disk;
use crate::error::Error;
use crate::keys::{
    Class, Key, Keys, NONCE_BYTES, TokenKey, literal_day_key, month_of_day, next_generation, number_of_stamp,
    open_in, period_of, seal_behind, stamp_of, year_of_day,
};
use crate::record::{Input, varint};

const SEALED_VERSION: u8 = 1;
/// Version and day, before the nonce.
const SEALED_HEAD_BYTES: usize = 5;

struct Today {
    day: u32,
    /// The day, and which of the month's keys.
    stamp: u32,
    key: RandomizedNonceKey,
    year: u16,
    tokens: Arc<TokenKey>,
}

/// What a sealed value is. Each opens only as what it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    /// Literals and parameters of an operation.
    Literals,
    /// The identifiers of the patients that a record names.
    Patients,
}

impl Content {
    fn domain(self) -> &'static [u8] {
        match self {
            Content::Literals => b"wardline/literal/v1",
            Content::Patients => b"wardline/patients/v1",
        }
    }
}

/// The keys of the day, ready, and the month's key to make the next day's.
pub(crate) struct LiteralKeys {
    today: RwLock<Arc<Today>>,
    month: Mutex<(u32, Key)>,
}

impl LiteralKeys {
    /// Reads or makes the keys of the day's month and year.
    pub(crate) fn open(keys: &Keys, disk: &dyn Disk, day: u32) -> Result<LiteralKeys, Error> {
        let (month, year) = (month_of_day(day), year_of_day(day));
        let number = keys.newest(disk, Class::Literal, month)?;
        let key = keys.class_or_new(disk, Class::Literal, number)?;
        let tokens = Arc::new(TokenKey::new(&keys.class_or_new(disk, Class::Patient, year.into())?));
        let stamp = stamp_of(day, number);
        let today = Arc::new(Today { day, stamp, key: literal_day_key(&key, stamp), year, tokens });
        Ok(LiteralKeys { today: RwLock::new(today), month: Mutex::new((number, key)) })
    }

    /// Changes to the keys of another day. Writes a file when the month or the year is new.
    pub(crate) fn turn(&self, keys: &Keys, disk: &dyn Disk, day: u32) -> Result<(), Error> {
        let before = Arc::clone(&self.today.read());
        if before.day == day {
            return Ok(());
        }
        let (month, year) = (month_of_day(day), year_of_day(day));
        let tokens = if before.year == year {
            Arc::clone(&before.tokens)
        } else {
            Arc::new(TokenKey::new(&keys.class_or_new(disk, Class::Patient, year.into())?))
        };
        let mut held = self.month.lock();
        if period_of(held.0) != month {
            let number = keys.newest(disk, Class::Literal, month)?;
            *held = (number, keys.class_or_new(disk, Class::Literal, number)?);
        }
        let stamp = stamp_of(day, held.0);
        *self.today.write() =
            Arc::new(Today { day, stamp, key: literal_day_key(&held.1, stamp), year, tokens });
        Ok(())
    }

    /// Goes on under a further key of the month; returns its number.
    pub(crate) fn renew(&self, keys: &Keys, disk: &dyn Disk) -> Result<u32, Error> {
        let mut held = self.month.lock();
        let number = next_generation(keys.newest(disk, Class::Literal, period_of(held.0))?);
        *held = (number, keys.create(disk, Class::Literal, number)?);
        let mut today = self.today.write();
        let stamp = stamp_of(today.day, number);
        let key = literal_day_key(&held.1, stamp);
        *today = Arc::new(Today {
            day: today.day,
            stamp,
            key,
            year: today.year,
            tokens: Arc::clone(&today.tokens),
        });
        Ok(number)
    }
}

/// Seals literals, parameters and the identifiers of patients. Cheap to clone; does no I/O.
#[derive(Clone)]
pub struct Sealer(pub(crate) Arc<Core>);

impl Sealer {
    /// Encrypts one operation's literals and parameters for [`model::Record::sealed`].
    pub fn seal(&self, session: u128, operation: u64, plaintext: &[u8]) -> Vec<u8> {
        let today = Arc::clone(&self.0.literals.today.read());
        self.seal_under(&today, Content::Literals, (session, operation), plaintext)
    }

    /// Names patients for [`model::Record::patients`], by distinct identifiers in their canonical form. `None` for none.
    pub fn patients(
        &self,
        session: u128,
        operation: u64,
        issuer: &str,
        identifiers: &[Box<[u8]>],
    ) -> Option<Patients<'static>> {
        let today = Arc::clone(&self.0.literals.today.read());
        let named = |identifier: &'_ [u8]| today.tokens.token(issuer, identifier);
        let mut named: Vec<(PatientToken, &[u8])> =
            identifiers.iter().map(|identifier| (named(identifier), &**identifier)).collect();
        named.sort_unstable();
        named.dedup_by_key(|(token, _)| *token);
        let plain = plain_patients(issuer, named.iter().map(|(_, identifier)| *identifier));
        let sealed = self.seal_under(&today, Content::Patients, (session, operation), &plain);
        let tokens = named.into_iter().map(|(token, _)| token).collect();
        Patients::new(today.year, tokens, sealed.into())
    }

    fn seal_under(&self, today: &Today, content: Content, of: (u128, u64), plaintext: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEALED_HEAD_BYTES + NONCE_BYTES + plaintext.len() + 16);
        out.push(SEALED_VERSION);
        out.extend_from_slice(&today.stamp.to_le_bytes());
        out.resize(SEALED_HEAD_BYTES + NONCE_BYTES, 0);
        out.extend_from_slice(plaintext);
        let aad = aad(content, &self.0.options.origin, today.stamp, of);
        seal_behind(&today.key, &aad, &mut out, SEALED_HEAD_BYTES);
        out
    }
}

/// Lays out what is sealed of patients: the issuer, then each identifier, each behind its length.
fn plain_patients<'i>(issuer: &'i str, identifiers: impl Iterator<Item = &'i [u8]>) -> Vec<u8> {
    let mut plain = Vec::new();
    for part in std::iter::once(issuer.as_bytes()).chain(identifiers) {
        varint(&mut plain, part.len() as u64);
        plain.extend_from_slice(part);
    }
    plain
}

/// The patients of a record, opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedPatients {
    /// Whose identifiers they are.
    pub issuer: String,
    /// In canonical form, in the order of the record's tokens.
    pub identifiers: Vec<Vec<u8>>,
}

impl OpenedPatients {
    /// Reads what [`plain_patients`] lays out; `None` for anything else.
    pub(crate) fn read(plain: &[u8]) -> Option<OpenedPatients> {
        let mut input = Input { bytes: plain };
        let mut parts = Vec::new();
        while !input.bytes.is_empty() {
            parts.push(input.bytes(0, plain.len()).ok()?.to_vec());
        }
        let mut parts = parts.into_iter();
        let issuer = String::from_utf8(parts.next()?).ok()?;
        let identifiers = parts.collect();
        Some(OpenedPatients { issuer, identifiers })
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

fn aad(content: Content, origin: &str, day: u32, (session, operation): (u128, u64)) -> Vec<u8> {
    let mut aad = content.domain().to_vec();
    aad.extend_from_slice(&day.to_le_bytes());
    aad.extend_from_slice(&session.to_be_bytes());
    aad.extend_from_slice(&operation.to_le_bytes());
    aad.extend_from_slice(origin.as_bytes());
    aad
}

/// Returns the day and key under which a value was sealed; `None` for what is no sealed value.
pub(crate) fn sealed_stamp(sealed: &[u8]) -> Option<u32> {
    match sealed.first_chunk::<SEALED_HEAD_BYTES>()? {
        [SEALED_VERSION, day @ ..] => Some(u32::from_le_bytes(*day)),
        _ => None,
    }
}

/// Opens sealed values; remembers the keys of the days and years it saw.
#[derive(Default)]
pub(crate) struct Unsealer {
    days: BTreeMap<u32, RandomizedNonceKey>,
    years: BTreeMap<u16, TokenKey>,
}

impl Unsealer {
    pub(crate) fn open(
        &mut self,
        keys: &Keys,
        disk: &dyn Disk,
        content: Content,
        of: (u128, u64),
        sealed: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let day = sealed_stamp(sealed).ok_or(Error::Sealed)?;
        let rest = sealed.get(SEALED_HEAD_BYTES..).unwrap_or_default();
        let key = match self.days.entry(day) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let month = keys.class(disk, Class::Literal, number_of_stamp(day))?;
                place.insert(literal_day_key(&month, day))
            }
        };
        let mut buffer = rest.to_vec();
        let plain = open_in(key, &aad(content, keys.origin(), day, of), &mut buffer).ok_or(Error::Sealed)?;
        Ok(plain.to_vec())
    }

    /// Returns the token of a patient in a year.
    pub(crate) fn token(
        &mut self,
        keys: &Keys,
        disk: &dyn Disk,
        year: u16,
        issuer: &str,
        identifier: &[u8],
    ) -> Result<PatientToken, Error> {
        let key = match self.years.entry(year) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(TokenKey::new(&keys.class(disk, Class::Patient, year.into())?))
            }
        };
        Ok(key.token(issuer, identifier))
    }

    /// Opens the patients of a record; what was sealed must be who the tokens say.
    pub(crate) fn patients(
        &mut self,
        keys: &Keys,
        disk: &dyn Disk,
        of: (u128, u64),
        patients: &Patients<'_>,
    ) -> Result<OpenedPatients, Error> {
        let plain = self.open(keys, disk, Content::Patients, of, patients.sealed())?;
        let opened = OpenedPatients::read(&plain).ok_or(Error::Sealed)?;
        let mut tokens = Vec::with_capacity(opened.identifiers.len());
        for identifier in &opened.identifiers {
            tokens.push(self.token(keys, disk, patients.year(), &opened.issuer, identifier)?);
        }
        if tokens == patients.tokens() { Ok(opened) } else { Err(Error::Sealed) }
    }
}
