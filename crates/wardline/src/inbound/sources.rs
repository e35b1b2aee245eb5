//! Who may report: the tokens of other systems, stored as digests in a file of the data folder.
//!
//! A token has 256 random bits, so that a plain SHA-256 is enough. A source may have several, for a change without a
//! gap.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::rand;
use model::Secret;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::admin::{Actor, Refusal, Reply, Sensitive, SourceView};
use crate::changes::Change;
use crate::commands::no_such;
use crate::config::sha256;
use crate::data::DataFolder;
use crate::node::Node;
use crate::output::{self, hex};

/// What every token begins with.
const PREFIX: &str = "wlr_";
const SECRET_BYTES: usize = 32;
/// Enough for a change; more were forgotten.
const TOKENS_MAX: usize = 8;
/// Keeps the digest apart from any other use of SHA-256.
const LABEL: &str = "wardline/inbound/v1\n";
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    sources: BTreeMap<String, Vec<Token>>,
}

/// A token as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    id: String,
    sha256: String,
    added: String,
}

/// By what a change of the file is seen without reading it: every change is another file in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// The file.
#[derive(Debug)]
pub(crate) struct Sources {
    path: PathBuf,
    /// What was read last, and of which file.
    read: Mutex<Option<(Stamp, Arc<Stored>)>>,
}

impl Sources {
    pub(crate) fn of(folder: &DataFolder) -> Sources {
        Sources { path: folder.inbound(), read: Mutex::default() }
    }

    /// Returns whose token it is, and the token's id.
    pub(crate) fn whose(&self, secret: &str) -> io::Result<Option<(String, String)>> {
        let digest = digest(secret);
        let stored = self.latest()?;
        Ok(stored.sources.iter().find_map(|(source, tokens)| {
            let token = tokens.iter().find(|token| token.sha256 == digest)?;
            Some((source.clone(), token.id.clone()))
        }))
    }

    /// Returns what is stored now; the file is read again only after it changed.
    fn latest(&self) -> io::Result<Arc<Stored>> {
        let stamp = match fs::metadata(&self.path) {
            Ok(found) => {
                Stamp { inode: found.ino(), bytes: found.len(), changed: (found.ctime(), found.ctime_nsec()) }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.read().map(Arc::new),
            Err(error) => return Err(error),
        };
        if let Some((known, stored)) = &*self.read.lock()
            && *known == stamp
        {
            return Ok(Arc::clone(stored));
        }
        // Read after it was looked at: what is newer than the stamp is read once more the next time.
        let stored = Arc::new(self.read()?);
        *self.read.lock() = Some((stamp, Arc::clone(&stored)));
        Ok(stored)
    }

    fn read(&self) -> io::Result<Stored> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Stored { version: VERSION, sources: BTreeMap::new() });
            }
            Err(error) => return Err(error),
        };
        let stored: Stored = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
        if stored.version != VERSION {
            return Err(io::Error::other(format!("version {} is not known", stored.version)));
        }
        Ok(stored)
    }

    fn write(&self, stored: &Stored) -> io::Result<()> {
        let fresh = self.path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec(stored)?)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn digest(secret: &str) -> String {
    hex(&sha256(format!("{LABEL}{secret}").as_bytes()))
}

impl Node {
    /// Makes a token for a source of the configuration.
    pub(crate) async fn inbound_add(&self, actor: &Actor, source: &str) -> Result<Reply, Refusal> {
        let config = self.config.load_full();
        let known = config.inbound.iter().flat_map(|inbound| inbound.sources.keys().map(String::as_str));
        if !config.inbound.as_ref().is_some_and(|inbound| inbound.sources.contains_key(source)) {
            let refusal = no_such("source", source, known);
            return Err(refusal.help("add [inbound.source.NAME] to wardline.toml, and start the server anew"));
        }
        let sources = Sources::of(&self.folder);
        let mut stored = sources.read().map_err(|error| Refusal::because(&error))?;
        let mut bytes = [0; SECRET_BYTES];
        rand::fill(&mut bytes).map_err(|_| Refusal::new("the system gives no random bytes"))?;
        let secret = format!("{PREFIX}{}", hex(&bytes));
        let digest = digest(&secret);
        let id: String = digest.chars().take(16).collect();
        let token = Token { id: id.clone(), sha256: digest, added: output::time(self.now()) };
        let tokens = stored.sources.entry(source.to_owned()).or_default();
        if tokens.len() >= TOKENS_MAX {
            let help = format!("`wardline inbound remove {source} --token ID` ends one");
            return Err(Refusal::new(format!("`{source}` has {TOKENS_MAX} tokens")).help(help));
        }
        tokens.push(token);
        let change = Change::new(actor, "inbound add", format!("add token {id} of source `{source}`"));
        self.admitted(&change).await?;
        self.done(&change, sources.write(&stored)).await?;
        Ok(Reply::SourceToken { source: source.to_owned(), id, token: Sensitive(Secret::new(secret)) })
    }

    /// Ends the tokens of a source, or one of them.
    pub(crate) async fn inbound_remove(
        &self,
        actor: &Actor,
        source: &str,
        token: Option<&str>,
    ) -> Result<Reply, Refusal> {
        let sources = Sources::of(&self.folder);
        let mut stored = sources.read().map_err(|error| Refusal::because(&error))?;
        let known: Vec<String> = stored.sources.keys().cloned().collect();
        let Some(tokens) = stored.sources.get_mut(source) else {
            return Err(no_such("source", source, known.iter().map(String::as_str)));
        };
        let before = tokens.len();
        tokens.retain(|known| token.is_some_and(|token| known.id != token));
        let ended = before - tokens.len();
        if tokens.is_empty() {
            stored.sources.remove(source);
        }
        let what = match token {
            Some(token) => format!("end token {} of source `{source}`", output::printable(token)),
            None => format!("end all tokens of source `{source}`"),
        };
        let change = Change::new(actor, "inbound remove", what);
        self.admitted(&change).await?;
        self.done(&change, sources.write(&stored)).await?;
        Ok(Reply::Revoked { tokens: u64::try_from(ended).unwrap_or(u64::MAX) })
    }

    /// Lists who may report.
    pub(crate) fn inbound_list(&self) -> Result<Reply, Refusal> {
        let stored = Sources::of(&self.folder).read().map_err(|error| Refusal::because(&error))?;
        let config = self.config.load_full();
        let configured = config.inbound.iter().flat_map(|inbound| &inbound.sources);
        let mut views: BTreeMap<String, SourceView> = configured
            .map(|(name, source)| {
                let view = SourceView {
                    source: name.clone(),
                    issuer: Some(source.issuer.clone()),
                    tokens: Vec::new(),
                };
                (name.clone(), view)
            })
            .collect();
        for (name, tokens) in stored.sources {
            let unknown = SourceView { source: name.clone(), issuer: None, tokens: Vec::new() };
            let view = views.entry(name).or_insert(unknown);
            view.tokens = tokens.into_iter().map(|token| (token.id, token.added)).collect();
        }
        Ok(Reply::Sources(views.into_values().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_ended_is_unknown_at_once_and_the_file_is_read_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let sources = Sources { path: folder.path().join("inbound.json"), read: Mutex::default() };
        let whose = |secret: &str| sources.whose(secret).expect("readable").map(|(source, _)| source);
        assert_eq!(whose("wlr_one"), None, "there is no file");
        let token = |secret: &str| Token { id: "1".to_owned(), sha256: digest(secret), added: String::new() };
        let with = |tokens: Vec<Token>| Stored {
            version: VERSION,
            sources: BTreeMap::from([("ehr".to_owned(), tokens)]),
        };
        sources.write(&with(vec![token("wlr_one")])).expect("written");
        assert_eq!(whose("wlr_one").as_deref(), Some("ehr"));
        let first = sources.latest().expect("readable");
        assert!(Arc::ptr_eq(&first, &sources.latest().expect("readable")), "not read again");
        sources.write(&with(vec![token("wlr_two")])).expect("written");
        assert_eq!(whose("wlr_one"), None);
        assert_eq!(whose("wlr_two").as_deref(), Some("ehr"));
        fs::remove_file(&sources.path).expect("removed");
        assert_eq!(whose("wlr_two"), None);
    }
}
