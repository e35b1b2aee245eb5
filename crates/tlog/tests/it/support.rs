//! A log in memory, ours and as the oracle `tlog_tiles` keeps it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Error, ErrorKind};
use std::path::Path;

use tlog::{
    Checkpoint, Hash, HashReader, NoteSigner, Tile, TileBuilder, bundles_between, encode_entry, leaf_hash,
    tiles_of,
};
use tlog_tiles::stored_hashes_for_record_hash;

pub(crate) const ORIGIN: &str = "example.com/wardline/gw1";

/// Every tile that a tree had at any size up to now.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) builder: TileBuilder,
    pub(crate) tiles: BTreeMap<Tile, Vec<u8>>,
    /// Roots by size.
    pub(crate) roots: Vec<Hash>,
    pub(crate) leaves: Vec<Hash>,
}

pub(crate) fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

impl Log {
    /// A log of these many entries, keeping the partial tiles of every size.
    pub(crate) fn grown(size: u64) -> Self {
        let mut log = Self::default();
        log.roots.push(log.builder.root());
        (0..size).for_each(|index| {
            log.push(index);
            log.keep_partials();
        });
        log
    }

    /// A log of these many entries, keeping the partial tiles of the last size only.
    pub(crate) fn at(size: u64) -> Self {
        let mut log = Self::default();
        (0..size).for_each(|index| log.push(index));
        log.keep_partials();
        log
    }

    pub(crate) fn push(&mut self, index: u64) {
        let leaf = leaf_hash(&entry(index));
        let tiles = &mut self.tiles;
        self.builder.push(leaf, |tile, bytes| {
            assert!(tiles.insert(tile, bytes.to_vec()).is_none(), "{tile} comes once");
        });
        self.leaves.push(leaf);
        self.roots.push(self.builder.root());
    }

    pub(crate) fn keep_partials(&mut self) {
        self.tiles.extend(self.builder.partials().map(|(tile, bytes)| (tile, bytes.to_vec())));
    }

    /// Writes the standard tree with a checkpoint signed by the key of this seed.
    pub(crate) fn write_to(&self, folder: &Path, signer: &NoteSigner) {
        let size = self.builder.size();
        let write = |path: &str, bytes: &[u8]| {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        for tile in tiles_of(size) {
            write(&tile.path(), &self.tiles[&tile]);
        }
        for bundle in bundles_between(0, size) {
            let first = bundle.first_leaf().unwrap();
            let mut bytes = Vec::new();
            (first..first + u64::from(bundle.width()))
                .for_each(|i| encode_entry(&entry(i), &mut bytes).unwrap());
            write(&bundle.path(), &bytes);
        }
        let checkpoint = Checkpoint::new(ORIGIN, size, self.builder.root()).unwrap();
        write("checkpoint", checkpoint.sign(&[signer]).unwrap().to_string().as_bytes());
    }
}

impl HashReader for Log {
    type Error = Error;

    fn tile(&self, tile: Tile) -> Result<Vec<u8>, Error> {
        self.tiles.get(&tile).cloned().ok_or_else(|| Error::from(ErrorKind::NotFound))
    }
}

/// The hashes of a tree in the order of the oracle.
#[derive(Default)]
pub(crate) struct Oracle(pub(crate) Vec<tlog_tiles::Hash>);

impl Oracle {
    pub(crate) fn of(leaves: &[Hash]) -> Self {
        let mut oracle = Self::default();
        for (index, leaf) in (0..).zip(leaves) {
            let stored = stored_hashes_for_record_hash(index, tlog_tiles::Hash(leaf.0), &oracle).unwrap();
            oracle.0.extend(stored);
        }
        oracle
    }
}

impl tlog_tiles::HashReader for Oracle {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[*index as usize]).collect())
    }
}

pub(crate) fn theirs(hashes: &[Hash]) -> Vec<tlog_tiles::Hash> {
    hashes.iter().map(|hash| tlog_tiles::Hash(hash.0)).collect()
}

pub(crate) fn hash(hex: &str) -> Hash {
    let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
    Hash(std::array::from_fn(byte))
}
