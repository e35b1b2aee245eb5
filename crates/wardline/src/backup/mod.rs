//! Backups: everything that a node is, but for its root key, as encrypted objects and a signed manifest.
//!
//! ```text
//! manifests/LOG-TIME.json   what there is, with digests          objects/DIGEST   a piece: zstd ▸ AES-256-GCM
//! manifests/LOG-TIME.note   the manifest's digest, signed        written last: without it there is no backup
//! ```
//!
//! `docs/formats/backup.md` has the bytes, docs/decisions/0021 why the key is made from the root key. [`take`] makes one,
//! [`bring`] puts it together again. Deliberately absent: deleting old backups.

pub(crate) mod bring;
pub(crate) mod drill;
pub(crate) mod node;
pub(crate) mod take;

use anyhow::{Context as _, bail};
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf;
use model::RootKey;
use serde::{Deserialize, Serialize};
use trail::{Store, sha256};
use zeroize::Zeroizing;

use crate::output::hex;

const FORMAT: &str = "wardline/backup/v1";
const MAGIC: [u8; 8] = *b"WLBAK\0\0\x01";
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// A part is stored in pieces of at most this much.
pub(crate) const PIECE_BYTES_MAX: usize = 64 << 20;
const OBJECTS: &str = "objects";
const MANIFESTS: &str = "manifests";
/// Quick, and half of what slower levels would save.
const ZSTD_LEVEL: i32 = 3;
/// First line of what is signed.
const NOTE_TITLE: &str = "wardline backup manifest v1";

/// One file, or what takes the place of several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    /// What it is, see the format.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    /// It will never be another: the next backup takes it over unread.
    pub(crate) complete: bool,
    /// Its pieces.
    pub(crate) objects: Vec<String>,
}

/// One log: the one that is written, or one that was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    /// Its folder in the data folder.
    pub(crate) folder: String,
    pub(crate) origin: String,
    pub(crate) verifier_key: String,
    pub(crate) entries: u64,
    pub(crate) checkpoint: String,
}

/// Everything that is in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) format: String,
    pub(crate) node: String,
    pub(crate) made_at: String,
    pub(crate) made_us: u64,
    /// Names the key of the pieces, without telling anything of it.
    pub(crate) key_id: String,
    /// The last change that the registry holds.
    pub(crate) registry_change: u64,
    /// The log that is written comes last.
    pub(crate) logs: Vec<Log>,
    pub(crate) parts: Vec<Part>,
}

impl Manifest {
    /// Returns the log that was written when the backup was made.
    pub(crate) fn log(&self) -> anyhow::Result<&Log> {
        self.logs.last().context("the manifest names no log")
    }

    pub(crate) fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

/// Seals and opens pieces.
pub(crate) struct Cipher {
    key: RandomizedNonceKey,
    id: String,
    node: String,
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher(..)")
    }
}

impl Cipher {
    pub(crate) fn new(root: &RootKey, node: &str) -> Cipher {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"wardline/backup/v1").extract(root.expose());
        let derive = |info: &[u8]| {
            let mut key = Zeroizing::new([0; 32]);
            secret
                .expand(&[info], hkdf::HKDF_SHA256)
                .and_then(|okm| okm.fill(key.as_mut_slice()))
                .expect("HKDF-SHA-256 gives 32 bytes");
            key
        };
        let key = RandomizedNonceKey::new(&AES_256_GCM, derive(b"pieces").as_slice());
        let id = hex(derive(b"id").get(..8).unwrap_or_default());
        Cipher { key: key.expect("the key has 32 bytes"), id, node: node.to_owned() }
    }

    /// Returns the name of the key.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What a piece is bound to: node, part, its place in it and its length.
    fn place(&self, part: &str, piece: usize, bytes: usize) -> Vec<u8> {
        let mut place = b"wardline/backup/v1".to_vec();
        for text in [&self.node, part] {
            place.extend((text.len() as u64).to_le_bytes());
            place.extend(text.as_bytes());
        }
        for number in [piece, bytes] {
            place.extend((number as u64).to_le_bytes());
        }
        place
    }

    fn seal(&self, part: &str, piece: usize, plain: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut body = zstd::bulk::compress(plain, ZSTD_LEVEL).context("compressing")?;
        let place = self.place(part, piece, plain.len());
        let nonce = self.key.seal_in_place_append_tag(Aad::from(&place), &mut body);
        let nonce = nonce.map_err(|_| anyhow::anyhow!("encryption failed"))?;
        let mut object = Vec::with_capacity(MAGIC.len() + NONCE_BYTES + body.len());
        object.extend(MAGIC);
        object.extend(nonce.as_ref());
        object.append(&mut body);
        Ok(object)
    }

    /// `None` when it is not this piece, or was made under another root key.
    fn open(&self, part: &str, piece: usize, bytes: usize, object: &[u8]) -> Option<Vec<u8>> {
        let (nonce, body) = object.strip_prefix(&MAGIC)?.split_first_chunk::<NONCE_BYTES>()?;
        let mut body = body.to_vec();
        let place = self.place(part, piece, bytes);
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.key.open_in_place(nonce, Aad::from(&place), &mut body).ok()?;
        debug_assert!(plain.len() + TAG_BYTES + NONCE_BYTES + MAGIC.len() == object.len());
        zstd::bulk::decompress(plain, bytes).ok().filter(|plain| plain.len() == bytes)
    }
}

/// Returns the lengths of the pieces of a part.
fn piece_lengths(bytes: u64) -> impl Iterator<Item = usize> {
    let piece = PIECE_BYTES_MAX as u64;
    (0..bytes.div_ceil(piece))
        .map(move |n| usize::try_from((bytes - n * piece).min(piece)).expect("a piece fits memory"))
}

/// Puts a part's pieces into a store, reads each back, and returns the part.
pub(crate) fn put_part(
    store: &dyn Store,
    cipher: &Cipher,
    name: &str,
    plain: &[u8],
    complete: bool,
) -> anyhow::Result<Part> {
    let mut objects = Vec::new();
    for (piece, chunk) in plain.chunks(PIECE_BYTES_MAX).enumerate() {
        let object = cipher.seal(name, piece, chunk)?;
        let digest = sha256(&object);
        let key = format!("{OBJECTS}/{}", hex(&digest));
        store.put(&key, &object)?;
        if sha256(&store.read(&key, None)?) != digest {
            bail!("`{key}` in {} is not what was put there", store.place());
        }
        objects.push(hex(&digest));
    }
    let sha256 = hex(&sha256(plain));
    Ok(Part { name: name.to_owned(), bytes: plain.len() as u64, sha256, complete, objects })
}

/// Reads a part, whole: every digest must hold.
pub(crate) fn read_part(store: &dyn Store, cipher: &Cipher, part: &Part) -> anyhow::Result<Vec<u8>> {
    let mut plain = Vec::new();
    let lengths: Vec<usize> = piece_lengths(part.bytes).collect();
    if lengths.len() != part.objects.len() {
        bail!("the manifest is wrong about the pieces of `{}`", part.name);
    }
    for (piece, (object, bytes)) in part.objects.iter().zip(lengths).enumerate() {
        let key = format!("{OBJECTS}/{object}");
        let read = store.read(&key, None).with_context(|| format!("`{}` of the backup", part.name))?;
        if hex(&sha256(&read)) != *object {
            bail!("`{key}` of the backup was altered: `{}` cannot be restored from it", part.name);
        }
        let opened = cipher.open(&part.name, piece, bytes, &read);
        let opened = opened.with_context(|| {
            format!("`{}` does not open: the backup is under another root key", part.name)
        })?;
        plain.extend_from_slice(&opened);
    }
    if hex(&sha256(&plain)) != part.sha256 {
        bail!("`{}` of the backup is not what the manifest says", part.name);
    }
    Ok(plain)
}

/// Returns what the names of a node's manifests begin with.
fn manifest_prefix(node: &str) -> String {
    let digest = sha256(node.as_bytes());
    format!("{}-", hex(digest.get(..8).unwrap_or_default()))
}

/// Returns the text that is signed for a manifest.
fn note_text(manifest: &Manifest, digest: &[u8; 32]) -> anyhow::Result<String> {
    let log = manifest.log()?;
    Ok(format!(
        "{NOTE_TITLE}\nnode {}\nmade {}\nlog {} of {} entries\nsha256 {}\n",
        manifest.node,
        manifest.made_at,
        log.origin,
        log.entries,
        hex(digest)
    ))
}

/// A manifest that is signed, and whose digest holds.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) manifest: Manifest,
    pub(crate) digest: [u8; 32],
    /// Its name without an ending.
    pub(crate) name: String,
}

/// Returns the names of the backups in a store, oldest first; of one node, or of all.
pub(crate) fn backups(store: &dyn Store, node: Option<&str>) -> anyhow::Result<Vec<String>> {
    let prefix = node.map(manifest_prefix).unwrap_or_default();
    let names = store.list(MANIFESTS)?;
    let mut names: Vec<String> = names
        .iter()
        .filter(|name| name.starts_with(&prefix))
        .filter_map(|name| name.strip_suffix(".note").map(str::to_owned))
        .collect();
    // Behind the node's digest comes the time.
    names.sort_by_key(|name| name.rsplit('-').next().unwrap_or_default().to_owned());
    Ok(names)
}

/// Reads one manifest. Signed it must be by the log's own key, which it names: that this key is the right one is known when
/// the root key opens it, or from a verifier key held elsewhere.
pub(crate) fn find(store: &dyn Store, name: &str, verifier_key: Option<&str>) -> anyhow::Result<Found> {
    let json = store.read(&format!("{MANIFESTS}/{name}.json"), None)?;
    let note = store.read(&format!("{MANIFESTS}/{name}.note"), None)?;
    let manifest: Manifest =
        serde_json::from_slice(&json).with_context(|| format!("the manifest `{name}`"))?;
    if manifest.format != FORMAT {
        bail!("the manifest `{name}` has the format `{}`, which this version does not read", manifest.format);
    }
    let digest = sha256(&json);
    let key = verifier_key
        .map_or_else(|| manifest.log().map(|log| log.verifier_key.clone()), |key| Ok(key.to_owned()))?;
    let text = trail::signed_text(&note, &key);
    if text.as_deref() != Some(note_text(&manifest, &digest)?.as_str()) {
        bail!("the manifest `{name}` is not signed by the key of its log: it was altered");
    }
    Ok(Found { manifest, digest, name: name.to_owned() })
}

/// Signs a manifest and puts it into the store: only now there is a backup. Returns its name and digest.
fn publish(
    store: &dyn Store,
    manifest: &Manifest,
    sign: impl FnOnce(String) -> anyhow::Result<String>,
) -> anyhow::Result<(String, [u8; 32])> {
    let json = serde_json::to_vec_pretty(manifest)?;
    let digest = sha256(&json);
    let name = format!("{}{:020}", manifest_prefix(&manifest.node), manifest.made_us);
    let note = sign(note_text(manifest, &digest)?)?;
    store.put(&format!("{MANIFESTS}/{name}.json"), &json)?;
    store.put(&format!("{MANIFESTS}/{name}.note"), note.as_bytes())?;
    Ok((name, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cipher() -> Cipher {
        Cipher::new(&RootKey::new([7; 32]), "gw1")
    }

    #[test]
    fn a_piece_opens_only_in_its_place() {
        let object = cipher().seal("vault.json", 0, b"a credential, a credential").unwrap();
        let open = |cipher: &Cipher, part: &str, piece, bytes| cipher.open(part, piece, bytes, &object);
        assert_eq!(open(&cipher(), "vault.json", 0, 26).as_deref(), Some(&b"a credential, a credential"[..]));
        assert_eq!(open(&cipher(), "tls/server.key", 0, 26), None);
        assert_eq!(open(&cipher(), "vault.json", 1, 26), None);
        assert_eq!(open(&cipher(), "vault.json", 0, 25), None);
        assert_eq!(open(&Cipher::new(&RootKey::new([8; 32]), "gw1"), "vault.json", 0, 26), None);
        assert_eq!(open(&Cipher::new(&RootKey::new([7; 32]), "gw2"), "vault.json", 0, 26), None);
        assert!(!object.windows(10).any(|window| window == b"credential"));
    }

    #[test]
    fn an_altered_object_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let store = trail::FolderStore::create(folder.path()).unwrap();
        let part = put_part(&store, &cipher(), "vault.json", &[5; 10_000], false).unwrap();
        assert_eq!(read_part(&store, &cipher(), &part).unwrap(), [5; 10_000]);
        let file = folder.path().join("objects").join(&part.objects[0]);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[20] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        let refused = read_part(&store, &cipher(), &part).unwrap_err().to_string();
        assert!(refused.contains("altered"), "{refused}");
        std::fs::write(&file, &bytes[..15]).unwrap();
        assert!(read_part(&store, &cipher(), &part).is_err());
    }

    #[test]
    fn parts_are_cut_into_pieces() {
        let lengths = |bytes| piece_lengths(bytes).collect::<Vec<_>>();
        assert_eq!(lengths(0), Vec::<usize>::new());
        assert_eq!(lengths(5), [5]);
        let piece = PIECE_BYTES_MAX as u64;
        assert_eq!(lengths(piece), [PIECE_BYTES_MAX]);
        assert_eq!(lengths(piece + 1), [PIECE_BYTES_MAX, 1]);
    }
}
