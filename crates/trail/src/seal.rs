//! Literals and parameters, encrypted apart from the records that carry them.
//!
//! A sealed value says itself under which day's key it is; it opens only for the session and operation it was
//! sealed for. `docs/formats/record.md` has the bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::RandomizedNonceKey;
use parking_lot::{Mutex, RwLock};

use crate::core::Core;
use crate::disk::Disk;
use crate::error::Error;
use crate::keys::{Class, Key, Keys, NONCE_BYTES, literal_day_key, month_of_day, open_in, seal_behind};

const SEALED_VERSION: u8 = 1;
/// Version and day, before the nonce.
const SEALED_HEAD_BYTES: usize = 5;

struct Today {
    day: u32,
    key: RandomizedNonceKey,
}

/// The key of the day, ready, and the month's key to make the next day's.
pub(crate) struct LiteralKeys {
    today: RwLock<Arc<Today>>,
    month: Mutex<(u32, Key)>,
}

impl LiteralKeys {
    /// Reads or makes the key of the day's month.
    pub(crate) fn open(keys: &Keys, disk: &dyn Disk, day: u32) -> Result<LiteralKeys, Error> {
        let month = month_of_day(day);
        let key = keys.class_or_new(disk, Class::Literal, month)?;
        let today = Arc::new(Today { day, key: literal_day_key(&key, day) });
        Ok(LiteralKeys { today: RwLock::new(today), month: Mutex::new((month, key)) })
    }

    /// Changes to the key of another day. Writes a file when the month is new.
    pub(crate) fn turn(&self, keys: &Keys, disk: &dyn Disk, day: u32) -> Result<(), Error> {
        if self.today.read().day == day {
            return Ok(());
        }
        let month = month_of_day(day);
        let mut held = self.month.lock();
        if held.0 != month {
            *held = (month, keys.class_or_new(disk, Class::Literal, month)?);
        }
        *self.today.write() = Arc::new(Today { day, key: literal_day_key(&held.1, day) });
        Ok(())
    }
}

/// Seals literals and parameters. Cheap to clone; does no I/O.
#[derive(Clone)]
pub struct Sealer(pub(crate) Arc<Core>);

impl Sealer {
    /// Encrypts one operation's literals and parameters for [`model::Record::sealed`].
    pub fn seal(&self, session: u128, operation: u64, plaintext: &[u8]) -> Vec<u8> {
        let today = Arc::clone(&self.0.literals.today.read());
        let mut out = Vec::with_capacity(SEALED_HEAD_BYTES + NONCE_BYTES + plaintext.len() + 16);
        out.push(SEALED_VERSION);
        out.extend_from_slice(&today.day.to_le_bytes());
        out.resize(SEALED_HEAD_BYTES + NONCE_BYTES, 0);
        out.extend_from_slice(plaintext);
        let aad = aad(&self.0.options.origin, today.day, session, operation);
        seal_behind(&today.key, &aad, &mut out, SEALED_HEAD_BYTES);
        out
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

fn aad(origin: &str, day: u32, session: u128, operation: u64) -> Vec<u8> {
    let mut aad = b"wardline/literal/v1".to_vec();
    aad.extend_from_slice(&day.to_le_bytes());
    aad.extend_from_slice(&session.to_be_bytes());
    aad.extend_from_slice(&operation.to_le_bytes());
    aad.extend_from_slice(origin.as_bytes());
    aad
}

/// Returns the day under whose key a value was sealed; `None` for what is no sealed value.
pub(crate) fn sealed_day(sealed: &[u8]) -> Option<u32> {
    match sealed.first_chunk::<SEALED_HEAD_BYTES>()? {
        [SEALED_VERSION, day @ ..] => Some(u32::from_le_bytes(*day)),
        _ => None,
    }
}

/// Opens sealed values; remembers the keys of the days it saw.
#[derive(Default)]
pub(crate) struct Unsealer {
    days: BTreeMap<u32, RandomizedNonceKey>,
}

impl Unsealer {
    pub(crate) fn open(
        &mut self,
        keys: &Keys,
        disk: &dyn Disk,
        origin: &str,
        of: (u128, u64),
        sealed: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let day = sealed_day(sealed).ok_or(Error::Sealed)?;
        let rest = sealed.get(SEALED_HEAD_BYTES..).unwrap_or_default();
        let key = match self.days.entry(day) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let month = keys.class(disk, Class::Literal, month_of_day(day))?;
                place.insert(literal_day_key(&month, day))
            }
        };
        let mut buffer = rest.to_vec();
        let plain = open_in(key, &aad(origin, day, of.0, of.1), &mut buffer).ok_or(Error::Sealed)?;
        Ok(plain.to_vec())
    }
}
