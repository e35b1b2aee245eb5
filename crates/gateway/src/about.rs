//! Whom an operation is about, gathered until its next entry names them.
//!
//! Each patient is named once: an operation remembers whom it named, as far as its memory goes; beyond, somebody may be
//! named again, and nobody is left out.
//! Deliberately absent: finding identifiers (the protocol does), and making tokens of them (the trail does).

use std::sync::Arc;

use foldhash::HashSet;
use model::{Patients, Record};
use trail::Sealer;

use crate::limits::{PATIENTS_PER_ENTRY_MAX, PATIENTS_REMEMBERED_MAX};

/// Whom an operation is about, and what of protected columns it returns.
#[derive(Debug, Default)]
pub(crate) struct About {
    /// Whose identifiers they are.
    issuer: Arc<str>,
    known: HashSet<Box<[u8]>>,
    /// Not yet in an entry.
    next: Vec<Box<[u8]>>,
    /// The protected columns returned masked.
    pub(crate) masked: Vec<Arc<str>>,
    /// The protected columns returned as they are.
    pub(crate) unmasked: Vec<Arc<str>>,
    /// Other protected columns may have been returned.
    pub(crate) partly: bool,
}

impl About {
    /// Begins with nobody.
    pub(crate) fn of(issuer: Arc<str>) -> About {
        About { issuer, ..About::default() }
    }

    /// Names a patient, by the identifier in its canonical form.
    pub(crate) fn name(&mut self, identifier: &[u8]) {
        if self.known.contains(identifier) {
            return;
        }
        if self.known.len() >= PATIENTS_REMEMBERED_MAX {
            self.known.clear();
        }
        self.known.insert(identifier.into());
        self.next.push(identifier.into());
    }

    /// Returns how many patients no entry names yet.
    pub(crate) fn unnamed(&self) -> usize {
        self.next.len()
    }

    /// Takes as many as the next entry may name, sealed for this operation.
    pub(crate) fn take(&mut self, sealer: &Sealer, of: (u128, u64)) -> Option<Patients<'static>> {
        let rest = self.next.split_off(self.next.len().min(PATIENTS_PER_ENTRY_MAX));
        let now = std::mem::replace(&mut self.next, rest);
        sealer.patients(of.0, of.1, &self.issuer, &now)
    }

    /// Writes the protected columns into an entry.
    pub(crate) fn note<'r>(&'r self, record: &mut Record<'r>) {
        record.masked = self.masked.iter().map(|name| (&**name).into()).collect();
        record.unmasked = self.unmasked.iter().map(|name| (&**name).into()).collect();
    }
}
