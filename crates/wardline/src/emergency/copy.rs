//! The last known registry, for the day when it is gone: copies in the data folder, each under the signature of the log's key.
//!
//! The newest whose signature and digest hold is taken; what somebody else put there is not.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use model::{Micros, RootKey};
use registry::Registry;
use trail::Folder;

use crate::data::{DataFolder, create_private, write_new};
use crate::output::hex;

/// First line of what is signed.
const NOTE_TITLE: &str = "wardline emergency copy v1";
/// The one before the last is kept until the last is whole.
const COPIES_KEPT: usize = 2;

/// A copy whose signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) path: PathBuf,
    /// When it was made.
    pub(crate) at: Micros,
}

fn text(node: &str, at: Micros, sha256: &str) -> String {
    format!("{NOTE_TITLE}\nnode: {node}\nat_us: {}\nsha256: {sha256}\n", at.0)
}

/// Makes a copy, signs it, and removes older ones.
pub(crate) async fn keep(
    registry: &Registry,
    folder: &DataFolder,
    root: &RootKey,
    node: &str,
    at: Micros,
) -> anyhow::Result<()> {
    let place = folder.emergency();
    create_private(&place)?;
    let fresh = place.join("registry.new");
    remove(&fresh)?;
    registry.copy_to(&fresh).await.context("copying the registry")?;
    let path = place.join(format!("registry-{:020}.sqlite", at.0));
    let text = text(node, at, &digest(&fresh)?);
    let note = trail::sign_text(&Folder::open(&folder.trail())?, root, text)?;
    File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, &path)?;
    write_new(&path.with_extension("note"), 0o600, note.as_bytes())?;
    let copies = copies(&place)?;
    for old in copies.iter().rev().skip(COPIES_KEPT) {
        remove(&old.with_extension("note"))?;
        remove(old)?;
    }
    Ok(())
}

/// Returns the newest copy that holds.
pub(crate) fn newest(folder: &DataFolder, node: &str) -> Option<Copy> {
    let key = fs::read_to_string(folder.trail().join("verifier.txt")).ok()?;
    let copies = copies(&folder.emergency()).ok()?;
    copies.into_iter().rev().find_map(|path| {
        let at = path.file_stem()?.to_str()?.strip_prefix("registry-")?.parse().ok().map(Micros)?;
        let note = fs::read(path.with_extension("note")).ok()?;
        let expected = text(node, at, &digest(&path).ok()?);
        let holds = trail::signed_text(&note, &key).is_some_and(|signed| signed == expected);
        if !holds {
            tracing::error!(path = %path.display(), "a copy of the registry does not have the signature that it must");
        }
        holds.then_some(Copy { path, at })
    })
}

/// Returns the copies, the oldest first.
fn copies(place: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut copies = Vec::new();
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("registry-") && name.ends_with(".sqlite") {
            copies.push(path);
        }
    }
    copies.sort();
    Ok(copies)
}

fn digest(path: &Path) -> std::io::Result<String> {
    Ok(hex(&trail::sha256(&fs::read(path)?)))
}

/// Removes a file that may not be there.
pub(crate) fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_copy_that_was_not_changed_is_taken() {
        let place = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(place.path());
        let root = RootKey::new([7; 32]);
        trail::Trail::open(&folder.trail(), &root, trail::Options::new("gw1")).unwrap().close().unwrap();
        let registry = Registry::open(&folder.registry()).await.unwrap();
        assert_eq!(newest(&folder, "gw1"), None);
        for at in [1, 2, 3] {
            keep(&registry, &folder, &root, "gw1", Micros(at)).await.unwrap();
        }
        assert_eq!(copies(&folder.emergency()).unwrap().len(), COPIES_KEPT);
        let last = newest(&folder, "gw1").unwrap();
        assert_eq!(last.at, Micros(3));
        assert_eq!(newest(&folder, "gw2"), None, "a copy of another node");
        let mut bytes = fs::read(&last.path).unwrap();
        bytes[100] ^= 1;
        fs::write(&last.path, bytes).unwrap();
        assert_eq!(newest(&folder, "gw1").unwrap().at, Micros(2));
        // A note of another copy does not make this one whole.
        let other = newest(&folder, "gw1").unwrap().path;
        fs::copy(last.path.with_extension("note"), other.with_extension("note")).unwrap();
        assert_eq!(newest(&folder, "gw1"), None);
    }
}
