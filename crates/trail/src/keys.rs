//! From the root key to the key of one segment, one literal, one checkpoint.
//!
//! root key ▸ wrapping key (HKDF) ▸ class key of a month, random, wrapped in `keys/` ▸ data key of a segment,
//! random, wrapped in its header; the sealing key of a day's literals by HKDF; the key of a year's patient tokens,
//! random, wrapped in `keys/`. `docs/formats/segment.md` has the bytes. Changing and destroying keys is for
//! `custody`.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, hkdf, hmac, rand};
use model::{Micros, PatientToken, RootKey};
use parking_lot::RwLock;
use tlog::NoteSigner;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::disk::{self, Disk};
use crate::error::{Damage, DamageKind, Error};
use crate::signers::changes_count;
use crate::used::entry_under;

/// The length of every symmetric key.
pub(crate) const KEY_BYTES: usize = 32;
/// The random nonce before a ciphertext.
pub(crate) const NONCE_BYTES: usize = 12;
/// The authentication tag behind it.
pub(crate) const TAG_BYTES: usize = 16;
/// A wrapped key: nonce, ciphertext, tag.
pub(crate) const WRAPPED_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;

/// The length of a key's name.
const KEY_ID_BYTES: usize = 8;

const FILE_MAGIC: [u8; 8] = *b"WLKEY\0\0\x01";
const FILE_HEAD_BYTES: usize = 16;
pub(crate) const CHECKPOINT_KEY_FILE: &str = "keys/checkpoint.key";
/// The verifier's half of the checkpoint key, in clear, for whoever wants to check the log.
pub(crate) const VERIFIER_FILE: &str = "verifier.txt";

/// 32 secret bytes.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Key([u8; KEY_BYTES]);

impl Key {
    fn random() -> Key {
        let mut bytes = [0; KEY_BYTES];
        rand::fill(&mut bytes).expect("the system gives random bytes");
        Key(bytes)
    }

    fn from_slice(bytes: &[u8]) -> Option<Key> {
        bytes.try_into().ok().map(Key)
    }

    /// Makes a key and wraps it under another.
    pub(crate) fn new_wrapped(under: &Key, aad: &[u8]) -> (Key, [u8; WRAPPED_BYTES]) {
        let key = Key::random();
        let wrapped = wrap(under, aad, &key);
        (key, wrapped)
    }

    /// Returns what names the key and says nothing about it.
    pub(crate) fn id(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"wardline/key-id/v1");
        context.update(&self.0);
        let digest = context.finish();
        digest.as_ref().iter().take(KEY_ID_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn aead(&self) -> RandomizedNonceKey {
        RandomizedNonceKey::new(&AES_256_GCM, &self.0).expect("the key is as long as AES-256 wants")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

fn derive(secret: &[u8], salt: &[u8], info: &[&[u8]]) -> Key {
    let mut out = Key([0; KEY_BYTES]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(secret)
        .expand(info, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut out.0))
        .expect("HKDF-SHA-256 gives 32 bytes");
    out
}

/// Encrypts in place behind room for the nonce: `buffer[at..at + 12]` becomes the nonce, the tag is appended.
pub(crate) fn seal_behind(key: &RandomizedNonceKey, aad: &[u8], buffer: &mut Vec<u8>, at: usize) {
    let plain = buffer.get_mut(at + NONCE_BYTES..).expect("the buffer has room for the nonce");
    let (nonce, tag) = key
        .seal_in_place_separate_tag(Aad::from(aad), plain)
        .expect("the plaintext is below the limit of GCM");
    buffer
        .get_mut(at..at + NONCE_BYTES)
        .expect("the buffer has room for the nonce")
        .copy_from_slice(nonce.as_ref());
    buffer.extend_from_slice(tag.as_ref());
}

/// Decrypts nonce, ciphertext and tag in place; `None` when they are not what was sealed.
pub(crate) fn open_in<'a>(
    key: &RandomizedNonceKey,
    aad: &[u8],
    sealed: &'a mut [u8],
) -> Option<&'a mut [u8]> {
    let (nonce, rest) = sealed.split_first_chunk_mut::<NONCE_BYTES>()?;
    let plain = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), rest).ok()?;
    Some(plain)
}

/// What a class of keys protects. The number is part of the key files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Record = 1,
    Literal = 2,
    Checkpoint = 3,
    Patient = 4,
    Hold = 5,
}

/// One step of the number of a class key: above it the generation, below it the month as `YYYYMM` or the year.
const GENERATION: u32 = 1_000_000;

/// Returns the month or year of a class key's number.
pub(crate) fn period_of(number: u32) -> u32 {
    number % GENERATION
}

/// Returns the number of a key that has no month.
pub(crate) fn generation(number: u32) -> u32 {
    number.saturating_mul(GENERATION)
}

/// Returns the number of the next key of the same month.
pub(crate) fn next_generation(number: u32) -> u32 {
    number.saturating_add(GENERATION)
}

/// The lower bits of what a sealed value says of its key hold the day, the upper ones the key's generation.
const STAMP_DAY_BITS: u32 = 24;

/// Returns what a sealed value says of the day and of the key of its month.
pub(crate) fn stamp_of(day: u32, number: u32) -> u32 {
    (number / GENERATION) << STAMP_DAY_BITS | day
}

/// Returns the number of the class key that a sealed value is under.
pub(crate) fn number_of_stamp(stamp: u32) -> u32 {
    let (generation, day) = (stamp >> STAMP_DAY_BITS, stamp & ((1 << STAMP_DAY_BITS) - 1));
    generation * GENERATION + month_of_day(day)
}

/// A calendar year in UTC: the period of a key of patient tokens.
pub(crate) fn year_of_day(day: u32) -> u16 {
    u16::try_from(month_of_day(day) / 100).unwrap_or(u16::MAX)
}

/// A calendar month in UTC as `YYYYMM`: the period of a class key.
pub(crate) fn month_of(at: Micros) -> u32 {
    month_of_day(day_of(at))
}

/// Days since 1970-01-01.
pub(crate) fn day_of(at: Micros) -> u32 {
    u32::try_from(at.0 / 86_400_000_000).unwrap_or(u32::MAX)
}

/// The civil calendar from a day's number, after Howard Hinnant's `civil_from_days`.
pub(crate) fn month_of_day(day: u32) -> u32 {
    let z = u64::from(day) + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    u32::try_from(year * 100 + month).unwrap_or(u32::MAX)
}

/// The key that wraps the others, and the place where they lie.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Held for reading while a key file is read or written, so that no file is made under a root key on its way out.
    pub(crate) wrapping: RwLock<Key>,
    origin: String,
}

impl Keys {
    /// Derives the wrapping key of a log.
    pub(crate) fn new(root: &RootKey, origin: &str) -> Keys {
        Keys { wrapping: RwLock::new(wrapping_of(root)), origin: origin.to_owned() }
    }

    /// Reads the checkpoint key in force, which is the proof that the root key is the right one.
    pub(crate) fn checkpoint_signer(&self, disk: &dyn Disk) -> Result<NoteSigner, Error> {
        self.checkpoint_signer_of(disk, generation(changes_count(disk)?))
    }

    /// Reads one of the checkpoint keys.
    pub(crate) fn checkpoint_signer_of(&self, disk: &dyn Disk, number: u32) -> Result<NoteSigner, Error> {
        self.class(disk, Class::Checkpoint, number).and_then(|seed| self.signer(&seed))
    }

    /// Reads the checkpoint keys that sign now: the one in force, and the one before while it is kept.
    pub(crate) fn checkpoint_signers(&self, disk: &dyn Disk) -> Result<Vec<NoteSigner>, Error> {
        let number = changes_count(disk)?;
        let mut signers = vec![self.checkpoint_signer_of(disk, generation(number))?];
        if let Some(before) = number.checked_sub(1) {
            match self.checkpoint_signer_of(disk, generation(before)) {
                Ok(signer) => signers.push(signer),
                Err(Error::Damaged(damage)) if damage.kind == DamageKind::Missing => {}
                Err(error) => return Err(error),
            }
        }
        Ok(signers)
    }

    /// Makes a further checkpoint key, which nothing names yet.
    pub(crate) fn create_signer(&self, disk: &dyn Disk, number: u32) -> Result<NoteSigner, Error> {
        self.create(disk, Class::Checkpoint, number).and_then(|seed| self.signer(&seed))
    }

    /// Makes the checkpoint key of a new log.
    pub(crate) fn create_checkpoint_signer(&self, disk: &dyn Disk) -> Result<NoteSigner, Error> {
        let seed = Key::random();
        let signer = self.signer(&seed)?;
        let verifier = format!("{}\n", signer.verifier());
        let io = |source| Error::io("write the checkpoint key", source);
        disk::replace(disk, VERIFIER_FILE, verifier.as_bytes()).map_err(io)?;
        // The key comes last: where it is, the rest is.
        self.write(disk, CHECKPOINT_KEY_FILE, Class::Checkpoint, 0, &seed).map_err(io)?;
        Ok(signer)
    }

    fn signer(&self, seed: &Key) -> Result<NoteSigner, Error> {
        NoteSigner::from_seed(&self.origin, &seed.0)
            .map_err(|_| Error::Option { name: "origin", problem: "it cannot be the name of a signing key" })
    }

    /// Reads the key of a class and period: a month, for patients a year.
    pub(crate) fn class(&self, disk: &dyn Disk, class: Class, period: u32) -> Result<Key, Error> {
        self.read(disk, &class_file(class, period), class, period)
    }

    /// Returns the first key file that this root key does not open; what is not one of ours is no key.
    pub(crate) fn unopened(&self, disk: &dyn Disk) -> std::io::Result<Option<String>> {
        let folder = disk::parent(CHECKPOINT_KEY_FILE);
        for name in disk.list(folder)? {
            let file = format!("{folder}/{name}");
            let opened = match class_of_file(&name) {
                Some((class, number)) => self.read(disk, &file, class, number).map(drop),
                None => Ok(()),
            };
            if opened.is_err() {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// Returns the same keys once more.
    pub(crate) fn again(&self) -> Keys {
        Keys { wrapping: RwLock::new(self.wrapping.read().clone()), origin: self.origin.clone() }
    }

    /// Returns the name of the log.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Reads the key of a class and period, or makes it if nothing was ever written under it.
    pub(crate) fn class_or_new(&self, disk: &dyn Disk, class: Class, period: u32) -> Result<Key, Error> {
        if let Some(key) = self.class_or_lost(disk, class, period)? {
            return Ok(key);
        }
        self.create(disk, class, period)
    }

    /// Reads the key of a class and period; `None` when there is none and nothing was ever written under it.
    pub(crate) fn class_or_lost(
        &self,
        disk: &dyn Disk,
        class: Class,
        period: u32,
    ) -> Result<Option<Key>, Error> {
        let file = class_file(class, period);
        let name = file.rsplit('/').next().unwrap_or(&file);
        let names = disk.list(disk::parent(&file)).map_err(|source| Error::io("list the keys", source))?;
        if names.iter().any(|known| known == name) {
            return self.class(disk, class, period).map(Some);
        }
        match entry_under(self, disk, class, period)? {
            Some(index) => Err(Error::KeyLost { file, index }),
            None => Ok(None),
        }
    }

    /// Returns the number of the newest key of a month.
    pub(crate) fn newest(&self, disk: &dyn Disk, class: Class, period: u32) -> Result<u32, Error> {
        let names = disk.list(disk::parent(CHECKPOINT_KEY_FILE));
        let names = names.map_err(|source| Error::io("list the keys", source))?;
        let numbers = names.iter().filter_map(|name| class_of_file(name));
        let of = numbers.filter(|(known, number)| *known == class && period_of(*number) == period);
        Ok(of.map(|(_, number)| number).max().unwrap_or(period))
    }

    /// Makes a key where none is.
    pub(crate) fn create(&self, disk: &dyn Disk, class: Class, number: u32) -> Result<Key, Error> {
        let key = Key::random();
        self.write(disk, &class_file(class, number), class, number, &key)
            .map_err(|source| Error::io("write a class key", source))?;
        Ok(key)
    }

    fn write(&self, disk: &dyn Disk, file: &str, class: Class, id: u32, key: &Key) -> std::io::Result<()> {
        let wrapping = self.wrapping.read();
        disk::replace(disk, file, &self.wrapped(&wrapping, class, id, key))
    }

    fn read(&self, disk: &dyn Disk, file: &str, class: Class, id: u32) -> Result<Key, Error> {
        let bytes = match disk.read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(missing(file));
            }
            Err(error) => return Err(Error::io(format!("read `{file}`"), error)),
        };
        let wrong = || Error::RootKey { file: file.to_owned() };
        let (head, wrapped) = bytes.split_first_chunk::<FILE_HEAD_BYTES>().ok_or_else(wrong)?;
        if *head != file_head(class, id) {
            return Err(wrong());
        }
        unwrap(&self.wrapping.read(), &self.aad(head), wrapped).ok_or_else(wrong)
    }

    /// Returns the bytes of a key's file.
    pub(crate) fn wrapped(&self, under: &Key, class: Class, id: u32, key: &Key) -> Vec<u8> {
        let head = file_head(class, id);
        [head.as_slice(), &wrap(under, &self.aad(&head), key)].concat()
    }

    /// Opens the bytes of a key's file.
    pub(crate) fn unwrapped(&self, under: &Key, bytes: &[u8]) -> Option<Key> {
        let (head, wrapped) = bytes.split_first_chunk::<FILE_HEAD_BYTES>()?;
        unwrap(under, &self.aad(head), wrapped)
    }

    fn aad(&self, head: &[u8; FILE_HEAD_BYTES]) -> Vec<u8> {
        [head.as_slice(), self.origin.as_bytes()].concat()
    }
}

fn missing(file: &str) -> Error {
    Error::Damaged(Damage { file: file.to_owned(), offset: None, index: None, kind: DamageKind::Missing })
}

/// How the names of a class's key files begin; `None` for the one that has no period.
fn class_prefix(class: Class) -> Option<&'static str> {
    match class {
        Class::Record => Some("record-"),
        Class::Literal => Some("literal-"),
        Class::Patient => Some("patient-"),
        Class::Hold => Some("hold-"),
        Class::Checkpoint => None,
    }
}

/// Returns the file of a class key.
pub(crate) fn class_file(class: Class, number: u32) -> String {
    let (generation, period) = (number / GENERATION, period_of(number));
    match (class_prefix(class), generation) {
        (None, 0) => CHECKPOINT_KEY_FILE.to_owned(),
        (None, generation) => format!("keys/checkpoint.{generation}.key"),
        // A month has six digits, a year four.
        (Some(prefix), 0) => format!("keys/{prefix}{period:04}.key"),
        (Some(prefix), generation) => format!("keys/{prefix}{period:04}.{generation}.key"),
    }
}

/// Returns the class and number of a key by the name of its file.
pub(crate) fn class_of_file(name: &str) -> Option<(Class, u32)> {
    if let Some(generation) = name.strip_prefix("checkpoint").and_then(|words| words.strip_suffix(".key")) {
        let generation = generation.strip_prefix('.').unwrap_or("0").parse().ok().map(self::generation)?;
        let file = class_file(Class::Checkpoint, generation);
        return (file == format!("keys/{name}")).then_some((Class::Checkpoint, generation));
    }
    let of = |class: Class| {
        let words = name.strip_prefix(class_prefix(class)?)?.strip_suffix(".key")?;
        let (period, generation) = words.split_once('.').unwrap_or((words, "0"));
        let (period, generation): (u32, u32) = (period.parse().ok()?, generation.parse().ok()?);
        let number = generation.checked_mul(GENERATION)?.checked_add(period)?;
        (class_file(class, number) == format!("keys/{name}")).then_some((class, number))
    };
    [Class::Record, Class::Literal, Class::Patient, Class::Hold].into_iter().find_map(of)
}

/// Returns the key that wraps the others under a root key.
pub(crate) fn wrapping_of(root: &RootKey) -> Key {
    derive(root.expose(), b"wardline/trail/v1", &[b"wrap"])
}

fn file_head(class: Class, id: u32) -> [u8; FILE_HEAD_BYTES] {
    let mut head = [0; FILE_HEAD_BYTES];
    let [magic @ .., c, _, _, _, i0, i1, i2, i3] = &mut head;
    magic.copy_from_slice(&FILE_MAGIC);
    *c = class as u8;
    [*i0, *i1, *i2, *i3] = id.to_le_bytes();
    head
}

/// Encrypts a key under another.
pub(crate) fn wrap(under: &Key, aad: &[u8], key: &Key) -> [u8; WRAPPED_BYTES] {
    let mut buffer = Vec::with_capacity(WRAPPED_BYTES);
    buffer.resize(NONCE_BYTES, 0);
    buffer.extend_from_slice(&key.0);
    seal_behind(&under.aead(), aad, &mut buffer, 0);
    buffer.try_into().expect("nonce, key and tag have fixed lengths")
}

/// Decrypts a wrapped key; `None` under another key or when it is damaged.
pub(crate) fn unwrap(under: &Key, aad: &[u8], wrapped: &[u8]) -> Option<Key> {
    if wrapped.len() != WRAPPED_BYTES {
        return None;
    }
    let mut buffer = Zeroizing::new(wrapped.to_vec());
    open_in(&under.aead(), aad, &mut buffer).and_then(|plain| Key::from_slice(plain))
}

/// The keys of one segment: for its frames and for the salts of its leaves.
#[derive(Debug)]
pub(crate) struct SegmentKeys {
    pub(crate) frames: RandomizedNonceKey,
    salt: hmac::Key,
}

impl SegmentKeys {
    /// Makes a data key and wraps it under the class key.
    pub(crate) fn create(class: &Key, aad: &[u8]) -> (SegmentKeys, [u8; WRAPPED_BYTES]) {
        let data = Key::random();
        let wrapped = wrap(class, aad, &data);
        (SegmentKeys::new(&data), wrapped)
    }

    /// Opens the data key in a segment's header.
    pub(crate) fn open(class: &Key, aad: &[u8], wrapped: &[u8]) -> Option<SegmentKeys> {
        unwrap(class, aad, wrapped).map(|data| SegmentKeys::new(&data))
    }

    /// The keys of a known data key, for test vectors.
    #[cfg(test)]
    pub(crate) fn of_data_key(data: [u8; KEY_BYTES]) -> SegmentKeys {
        SegmentKeys::new(&Key(data))
    }

    fn new(data: &Key) -> SegmentKeys {
        let frames = derive(&data.0, b"wardline/segment/v1", &[b"frames"]);
        let salt = derive(&data.0, b"wardline/segment/v1", &[b"salt"]);
        SegmentKeys { frames: frames.aead(), salt: hmac::Key::new(hmac::HMAC_SHA256, &salt.0) }
    }

    /// Returns the salt of the leaf at an index.
    pub(crate) fn salt(&self, index: u64) -> [u8; 32] {
        let tag = hmac::sign(&self.salt, &index.to_le_bytes());
        tag.as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes")
    }
}

/// Returns the key that seals the literals of one day: a day's own, so that the number of random nonces under
/// one key stays far below 2^32.
pub(crate) fn literal_day_key(class: &Key, stamp: u32) -> RandomizedNonceKey {
    derive(&class.0, b"wardline/literal/v1", &[&stamp.to_le_bytes()]).aead()
}

/// Makes the tokens of patients: HMAC-SHA-256 under a year's key, of the issuer's length, the issuer and the
/// identifier, cut to 16 bytes.
#[derive(Debug)]
pub(crate) struct TokenKey(hmac::Key);

impl TokenKey {
    pub(crate) fn new(class: &Key) -> TokenKey {
        let key = derive(&class.0, b"wardline/patient/v1", &[b"token"]);
        TokenKey(hmac::Key::new(hmac::HMAC_SHA256, &key.0))
    }

    pub(crate) fn token(&self, issuer: &str, identifier: &[u8]) -> PatientToken {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&(issuer.len() as u64).to_le_bytes());
        context.update(issuer.as_bytes());
        context.update(identifier);
        let tag = context.sign();
        PatientToken(*tag.as_ref().first_chunk().expect("HMAC-SHA-256 gives 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_the_calendar() {
        for (day, month) in [
            (0, 197_001),
            (30, 197_001),
            (31, 197_002),
            (58, 197_002),
            (59, 197_003),
            (11_016, 200_002),
            (11_017, 200_003),
        ] {
            assert_eq!(month_of_day(day), month, "day {day}");
        }
        assert_eq!(month_of(Micros(1_795_428_000_000_000)), 202_611);
    }

    #[test]
    fn a_wrapped_key_opens_only_with_its_key_and_place() {
        let (under, key) = (Key::random(), Key::random());
        let wrapped = wrap(&under, b"place", &key);
        assert_eq!(unwrap(&under, b"place", &wrapped).unwrap().0, key.0);
        assert!(unwrap(&under, b"other", &wrapped).is_none());
        assert!(unwrap(&Key::random(), b"place", &wrapped).is_none());
        for byte in 0..wrapped.len() {
            let mut bad = wrapped;
            bad[byte] ^= 1;
            assert!(unwrap(&under, b"place", &bad).is_none(), "byte {byte}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", Key::random()), "Key(..)");
    }
}
