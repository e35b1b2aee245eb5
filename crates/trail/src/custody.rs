//! Changing keys: a further class key within a month, another root key, and the list of what there is.
//!
//! A root key is changed in three steps. Each key is wrapped again into a file beside the one in force, and read back;
//! then whoever asked puts the new root key in the place of the old one, which decides; then the files take their places.
//! INVARIANT: at every moment the root key that is in its place opens everything: until the second step the files in force,
//! from then on those, or the ones beside them.

use std::io;

use model::RootKey;

use crate::Trail;
use crate::disk::{self, Disk};
use crate::error::Error;
use crate::keys::{
    CHECKPOINT_KEY_FILE, Class, Key, Keys, NONCE_BYTES, class_of_file, month_of, next_generation, open_in,
    period_of, seal_behind, wrapping_of,
};

/// What a key's file is called while it waits for its root key.
const NEXT: &str = ".next";

/// A key that the trail keeps, by a name that says nothing about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// `record`, `literal`, `patient`, `hold` or `checkpoint`.
    pub class: &'static str,
    /// The month as `YYYYMM`, or the year; 0 for a key that has none.
    pub period: u32,
    /// How many keys of the same month were before it.
    pub generation: u32,
    /// A digest of the key.
    pub id: String,
    /// Its file, relative to the trail's folder.
    pub file: String,
    /// Whether new entries are written under it.
    pub current: bool,
}

impl Trail {
    /// Returns the keys that the trail keeps.
    ///
    /// # Errors
    /// When they cannot be listed, or one of them does not open.
    pub fn keys(&self) -> Result<Vec<KeyRow>, Error> {
        let core = &self.handle.core;
        let month = month_of(core.now());
        let mut rows = rows(&*core.disk, &core.keys)?;
        for row in &mut rows {
            let class = match row.class {
                "record" => Class::Record,
                "literal" => Class::Literal,
                _ => continue,
            };
            let number = row.generation * 1_000_000 + row.period;
            row.current = row.period == month && core.keys.newest(&*core.disk, class, month)? == number;
        }
        Ok(rows)
    }

    /// Makes further class keys of this month for records and literals: what comes now is under them, what was before
    /// stays readable. Returns the new keys.
    ///
    /// # Errors
    /// When a key could not be written; then those in force stay.
    pub fn rotate_class_keys(&self) -> Result<Vec<KeyRow>, Error> {
        let core = &self.handle.core;
        let month = month_of(core.now());
        let newest = core.keys.newest(&*core.disk, Class::Record, month)?;
        let number = next_generation(newest);
        core.keys.create(&*core.disk, Class::Record, number)?;
        let literal = core.literals.renew(&core.keys, &*core.disk)?;
        core.renew_record_key(number);
        let made = [(Class::Record, number), (Class::Literal, literal)];
        let rows = rows(&*core.disk, &core.keys)?.into_iter();
        Ok(rows
            .map(|row| KeyRow { current: true, ..row })
            .filter(|row| {
                let name = row.file.rsplit('/').next().unwrap_or_default();
                class_of_file(name).is_some_and(|key| made.contains(&key))
            })
            .collect())
    }

    /// Seals something that must be kept beside the trail and may not lie in clear.
    ///
    /// # Errors
    /// When its key cannot be made or read.
    pub fn seal_apart(&self, what: &str, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let core = &self.handle.core;
        let key = core.keys.class_or_new(&*core.disk, Class::Hold, 0)?.aead();
        let mut sealed = vec![0; NONCE_BYTES];
        sealed.extend_from_slice(plain);
        seal_behind(&key, &apart(what, core.keys.origin()), &mut sealed, 0);
        Ok(sealed)
    }

    /// Opens what [`Trail::seal_apart`] sealed.
    ///
    /// # Errors
    /// When it is something else, or its key is missing.
    pub fn open_apart(&self, what: &str, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let core = &self.handle.core;
        let key = core.keys.class(&*core.disk, Class::Hold, 0)?.aead();
        let mut sealed = sealed.to_vec();
        let plain = open_in(&key, &apart(what, core.keys.origin()), &mut sealed).ok_or(Error::Sealed)?;
        Ok(plain.to_vec())
    }

    /// Wraps every key under another root key. `commit` puts that root key in the place of the old one, durably; if it
    /// fails, nothing has changed.
    ///
    /// # Errors
    /// Before `commit` returned, everything is as it was. After it, the new root key is in force, and the next opening
    /// finishes what is left.
    pub fn rotate_root(
        &self,
        new: &RootKey,
        commit: impl FnOnce() -> io::Result<()>,
    ) -> Result<usize, Error> {
        let core = &self.handle.core;
        let (disk, keys) = (&*core.disk, &core.keys);
        // No key file is made meanwhile.
        let mut wrapping = keys.wrapping.write();
        let new = wrapping_of(new);
        let files = key_files(disk)?;
        for (file, class, number) in &files {
            let bytes = disk.read(file).map_err(|source| Error::io(format!("read `{file}`"), source))?;
            let wrong = || Error::RootKey { file: file.clone() };
            let key = keys.unwrapped(&wrapping, &bytes).ok_or_else(wrong)?;
            let next = format!("{file}{NEXT}");
            let io = |source| Error::io(format!("write `{next}`"), source);
            disk::replace(disk, &next, &keys.wrapped(&new, *class, *number, &key)).map_err(io)?;
            let again = disk.read(&next).map_err(io)?;
            let same = keys.unwrapped(&new, &again).is_some_and(|again| again.id() == key.id());
            if !same {
                return Err(wrong());
            }
        }
        if let Err(source) = commit() {
            drop(wrapping);
            settle(disk, keys)?;
            return Err(Error::io("put the new root key in its place", source));
        }
        *wrapping = new;
        drop(wrapping);
        settle(disk, keys)?;
        Ok(files.len())
    }
}

fn apart(what: &str, origin: &str) -> Vec<u8> {
    [b"wardline/apart/v1", what.as_bytes(), b"\0", origin.as_bytes()].concat()
}

/// Finishes or takes back a change of the root key that was under way when the process ended: the root key in its place
/// says which.
pub(crate) fn settle(disk: &dyn Disk, keys: &Keys) -> Result<(), Error> {
    let folder = disk::parent(CHECKPOINT_KEY_FILE);
    let io = |source| Error::io("finish a change of the root key", source);
    let mut changed = false;
    for name in disk.list(folder).map_err(io)? {
        let Some(place) = name.strip_suffix(NEXT) else { continue };
        let next = format!("{folder}/{name}");
        let bytes = disk.read(&next).map_err(io)?;
        if keys.unwrapped(&keys.wrapping.read(), &bytes).is_some() {
            disk.rename(&next, &format!("{folder}/{place}")).map_err(io)?;
        } else {
            disk.remove(&next).map_err(io)?;
        }
        changed = true;
    }
    if changed { disk.sync_dir(folder).map_err(io) } else { Ok(()) }
}

/// Returns every file of a key, with its class and number.
fn key_files(disk: &dyn Disk) -> Result<Vec<(String, Class, u32)>, Error> {
    let folder = disk::parent(CHECKPOINT_KEY_FILE);
    let names = disk.list(folder).map_err(|source| Error::io("list the keys", source))?;
    let file = |name: String| {
        class_of_file(&name).map(|(class, number)| (format!("{folder}/{name}"), class, number))
    };
    Ok(names.into_iter().filter_map(file).collect())
}

fn rows(disk: &dyn Disk, keys: &Keys) -> Result<Vec<KeyRow>, Error> {
    let mut rows = Vec::new();
    for (file, class, number) in key_files(disk)? {
        let key: Key = keys.class(disk, class, number)?;
        let class = match class {
            Class::Record => "record",
            Class::Literal => "literal",
            Class::Checkpoint => "checkpoint",
            Class::Patient => "patient",
            Class::Hold => "hold",
        };
        let period = period_of(number);
        let generation = (number - period) / 1_000_000;
        rows.push(KeyRow { class, period, generation, id: key.id(), file, current: false });
    }
    Ok(rows)
}
