//! Whom to believe about a log (C2SP `tlog-policy`): its keys, its witnesses, and how many of these must have signed.

use crate::checkpoint::{Checkpoint, OpenError};
use crate::cosignature::CosignatureVerifier;
use crate::note::{NoteVerifier, SignedNote};
use crate::succession::Succession;

/// The longest policy file.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;
/// The most logs, witnesses or groups; the specification asks for at least 32.
pub const POLICY_ITEMS_MAX: usize = 64;

const NONE: &str = "none";

/// A log that is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyLog {
    /// Its key; the key's name is the log's origin.
    pub key: NoteVerifier,
    /// Where it is.
    pub url: Option<String>,
}

/// A witness that is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyWitness {
    /// What groups and the quorum call it.
    pub name: String,
    /// Its key.
    pub key: CosignatureVerifier,
    /// Where checkpoints are submitted to it.
    pub url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    name: String,
    threshold: usize,
    members: Vec<Member>,
}

/// A name once it is known what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// Which checkpoints are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    /// `None` is the quorum of nobody.
    quorum: Option<Member>,
}

/// A policy file is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PolicyParseError {
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub problem: &'static str,
}

/// A checkpoint is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No log of the policy has this origin.
    #[error("the policy names no log `{0}`")]
    UnknownLog(String),
    /// The log's signature does not hold.
    #[error("the checkpoint is refused")]
    Checkpoint(#[from] OpenError),
    /// Too few witnesses signed.
    #[error("the quorum is not reached: signed by {}", if .signed.is_empty() { "no witness".to_owned() } else { .signed.join(", ") })]
    Quorum {
        /// The witnesses that did.
        signed: Vec<String>,
    },
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// When a line is not understood, a key is duplicate, a name unknown, or there is not exactly one quorum.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyParseError> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(PolicyParseError { line: 0, problem: "the file is too long" });
        }
        let mut draft = Draft::default();
        for (line, bytes) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            draft.line(bytes).map_err(|problem| PolicyParseError { line, problem })?;
        }
        let quorum =
            draft.quorum.ok_or(PolicyParseError { line: 0, problem: "there is no `quorum` line" })?;
        Ok(Self { logs: draft.logs, witnesses: draft.witnesses, groups: draft.groups, quorum })
    }

    /// Returns the logs.
    #[must_use]
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// Returns the witnesses.
    #[must_use]
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// Believes a checkpoint of this origin only if the log signed it, and as many witnesses as the quorum wants.
    ///
    /// A policy without logs leaves it to the caller which keys the log has.
    ///
    /// # Errors
    /// When it is not to be believed.
    pub fn open(
        &self,
        note: &SignedNote,
        origin: &str,
        known: &[NoteVerifier],
    ) -> Result<Checkpoint, PolicyError> {
        let own: Vec<NoteVerifier> =
            self.logs.iter().filter(|log| log.key.name() == origin).map(|log| log.key.clone()).collect();
        if own.is_empty() && !self.logs.is_empty() {
            return Err(PolicyError::UnknownLog(origin.to_owned()));
        }
        let keys = if self.logs.is_empty() { known } else { own.as_slice() };
        let checkpoint = Checkpoint::from_note(note, origin, keys)?;
        self.enough(note, checkpoint)
    }

    fn enough(&self, note: &SignedNote, checkpoint: Checkpoint) -> Result<Checkpoint, PolicyError> {
        let signed = self.signed(note);
        if self.reached(&signed) {
            return Ok(checkpoint);
        }
        let names = self.witnesses.iter().zip(&signed).filter(|(_, signed)| **signed);
        Err(PolicyError::Quorum { signed: names.map(|(witness, _)| witness.name.clone()).collect() })
    }

    /// As [`Policy::open`], of a log whose key may have changed: it is enough that the policy names one of its keys.
    ///
    /// # Errors
    /// When it is not to be believed.
    pub fn open_of(&self, note: &SignedNote, log: &Succession) -> Result<Checkpoint, PolicyError> {
        let names_one = self.logs.is_empty() || self.logs.iter().any(|own| log.keys().contains(&own.key));
        if !names_one {
            return self.open(note, log.origin(), &[]);
        }
        let checkpoint = log.from_note(note)?;
        self.enough(note, checkpoint)
    }

    /// Tells whether the witnesses that signed a note, whoever else did, are enough.
    #[must_use]
    pub fn is_witnessed(&self, note: &SignedNote) -> bool {
        self.reached(&self.signed(note))
    }

    fn signed(&self, note: &SignedNote) -> Vec<bool> {
        self.witnesses.iter().map(|witness| witness.key.seen(note).is_some()).collect()
    }

    /// Groups name only what stands before them, so one pass in their order decides.
    fn reached(&self, signed: &[bool]) -> bool {
        let mut groups: Vec<bool> = Vec::with_capacity(self.groups.len());
        let holds = |groups: &[bool], member: &Member| match member {
            Member::Witness(place) => signed.get(*place).copied().unwrap_or(false),
            Member::Group(place) => groups.get(*place).copied().unwrap_or(false),
        };
        for group in &self.groups {
            let count = group.members.iter().filter(|member| holds(&groups, member)).count();
            groups.push(count >= group.threshold);
        }
        self.quorum.as_ref().is_none_or(|quorum| holds(&groups, quorum))
    }
}

#[derive(Default)]
struct Draft {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    quorum: Option<Option<Member>>,
    /// Each name can be a member of one group only.
    used: Vec<Member>,
}

impl Draft {
    fn line(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        if bytes.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
            return Err("a control character");
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8: not supported")?;
        let words: Vec<&str> = text.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["log", key] => self.log(key, None),
            ["log", key, url] => self.log(key, Some(url)),
            ["witness", name, key] => self.witness(name, key, None),
            ["witness", name, key, url] => self.witness(name, key, Some(url)),
            ["group", name, threshold, members @ ..] => self.group(name, threshold, members),
            ["quorum", name] => self.quorum(name),
            [..] => Err("not a `log`, `witness`, `group` or `quorum` line"),
        }
    }

    fn log(&mut self, key: &str, url: Option<&str>) -> Result<(), &'static str> {
        let key: NoteVerifier = key.parse().map_err(|_| "not the verifier key of a log")?;
        if self.logs.iter().any(|log| log.key.public_key() == key.public_key()) {
            return Err("a log with this key is already there");
        }
        if self.logs.len() == POLICY_ITEMS_MAX {
            return Err("too many logs");
        }
        self.logs.push(PolicyLog { key, url: url.map(str::to_owned) });
        Ok(())
    }

    fn witness(&mut self, name: &str, key: &str, url: Option<&str>) -> Result<(), &'static str> {
        let key: CosignatureVerifier =
            key.parse().map_err(|_| "not the verifier key of a witness (Ed25519 cosignatures)")?;
        self.check_new(name)?;
        if self.witnesses.iter().any(|witness| witness.key.public_key() == key.public_key()) {
            return Err("a witness with this key is already there");
        }
        if self.witnesses.len() == POLICY_ITEMS_MAX {
            return Err("too many witnesses");
        }
        self.witnesses.push(PolicyWitness { name: name.to_owned(), key, url: url.map(str::to_owned) });
        Ok(())
    }

    fn group(&mut self, name: &str, threshold: &str, members: &[&str]) -> Result<(), &'static str> {
        self.check_new(name)?;
        if members.is_empty() {
            return Err("a group without members");
        }
        if self.groups.len() == POLICY_ITEMS_MAX {
            return Err("too many groups");
        }
        let mut known = Vec::with_capacity(members.len());
        for member in members {
            let member = self.find(member).ok_or("a member that no line before names")?;
            if self.used.contains(&member) {
                return Err("a member that is already in a group");
            }
            self.used.push(member);
            known.push(member);
        }
        let threshold = match threshold {
            "all" => known.len(),
            "any" => 1,
            number => crate::checkpoint::decimal(number)
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| (1..=known.len()).contains(number))
                .ok_or("the threshold is not `all`, `any` or a number up to that of the members")?,
        };
        self.groups.push(Group { name: name.to_owned(), threshold, members: known });
        Ok(())
    }

    fn quorum(&mut self, name: &str) -> Result<(), &'static str> {
        if self.quorum.is_some() {
            return Err("a second `quorum` line");
        }
        let member = if name == NONE {
            None
        } else {
            Some(self.find(name).ok_or("a quorum that no line before names")?)
        };
        self.quorum = Some(member);
        Ok(())
    }

    fn find(&self, name: &str) -> Option<Member> {
        let witness = self.witnesses.iter().position(|witness| witness.name == name).map(Member::Witness);
        witness.or_else(|| self.groups.iter().position(|group| group.name == name).map(Member::Group))
    }

    fn check_new(&self, name: &str) -> Result<(), &'static str> {
        if name == NONE || self.find(name).is_some() {
            return Err("a name that is taken");
        }
        Ok(())
    }
}
