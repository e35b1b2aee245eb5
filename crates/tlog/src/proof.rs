//! Inclusion and consistency proofs: made from tiles, checked from nothing but hashes (RFC 6962, RFC 9162).

use crate::frontier::Frontier;
use crate::hash::{EMPTY_ROOT, HASH_BYTES, Hash, node_hash};
use crate::tile::{LEAVES_MAX, TILE_HASHES_MAX, Tile};

/// The longest proof: one hash for each row of the largest tree, and one more for a consistency proof.
pub const PROOF_HASHES_MAX: usize = 64;

/// Where the tiles of a tree come from.
///
/// Also implemented by every `Fn(Tile) -> Result<Vec<u8>, E>`.
pub trait HashReader {
    /// Why a tile could not be read.
    type Error: std::error::Error + 'static;

    /// Returns the bytes of a tile: its hashes, concatenated.
    ///
    /// A partial tile may be answered with a wider one of the same place, which begins with the same hashes.
    ///
    /// # Errors
    /// When the tile cannot be read.
    fn tile(&self, tile: Tile) -> Result<Vec<u8>, Self::Error>;
}

impl<F, E> HashReader for F
where
    F: Fn(Tile) -> Result<Vec<u8>, E>,
    E: std::error::Error + 'static,
{
    type Error = E;

    fn tile(&self, tile: Tile) -> Result<Vec<u8>, E> {
        self(tile)
    }
}

/// A root or proof could not be made from the tiles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError<E: std::error::Error + 'static> {
    /// The reader failed.
    #[error("cannot read `{tile}`")]
    Reader {
        /// The tile asked for.
        tile: Tile,
        /// What the reader said.
        source: E,
    },
    /// The bytes are no tile of that width.
    #[error("`{tile}` should have {} hashes, but has {bytes} bytes", tile.width())]
    Length {
        /// The tile asked for.
        tile: Tile,
        /// How long the answer was.
        bytes: usize,
    },
    /// The question makes no sense for a tree of this size.
    #[error("index or size is out of range")]
    OutOfRange,
}

/// A proof does not prove what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The leaf index is not below the tree size, or the old size is above the new one.
    #[error("index or size is out of range")]
    OutOfRange,
    /// The proof has too few or too many hashes for these sizes.
    #[error("the proof has the wrong number of hashes")]
    Length,
    /// The proof leads to another root than the given one.
    #[error("the proof leads to another root")]
    Root,
}

/// Returns the root of a tree of `size` leaves from the rightmost tiles of its levels.
///
/// # Errors
/// When a tile cannot be read or has the wrong length.
pub fn root_from_tiles<R: HashReader>(size: u64, reader: &R) -> Result<Hash, ReadError<R::Error>> {
    Ok(Frontier::from_tiles(size, reader)?.root())
}

/// Returns the audit path of leaf `index` in the tree of `size` leaves, from the leaf's sibling to the root's child.
///
/// # Errors
/// When `index` is not below `size`, or a tile cannot be read.
pub fn prove_inclusion<R: HashReader>(
    index: u64,
    size: u64,
    reader: &R,
) -> Result<Vec<Hash>, ReadError<R::Error>> {
    if index >= size {
        return Err(ReadError::OutOfRange);
    }
    let mut rows = Rows::new(reader, size)?;
    let (mut low, mut high) = (0, size);
    let mut siblings = Vec::with_capacity(PROOF_HASHES_MAX);
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            siblings.push((middle, high));
            high = middle;
        } else {
            siblings.push((low, middle));
            low = middle;
        }
    }
    siblings.into_iter().rev().map(|(low, high)| rows.range(low, high)).collect()
}

/// Returns the proof that the tree of `new` leaves continues the tree of `old` leaves.
///
/// It is empty when `old` equals `new`, and when `old` is 0, since everything continues the empty tree.
///
/// # Errors
/// When `old` is above `new`, or a tile cannot be read.
pub fn prove_consistency<R: HashReader>(
    old: u64,
    new: u64,
    reader: &R,
) -> Result<Vec<Hash>, ReadError<R::Error>> {
    if old > new {
        return Err(ReadError::OutOfRange);
    }
    let mut rows = Rows::new(reader, new)?;
    if old == 0 {
        return Ok(Vec::new());
    }
    let (mut low, mut high) = (0, new);
    let mut parts = Vec::with_capacity(PROOF_HASHES_MAX);
    while old < high {
        let middle = low + split(high - low);
        if old <= middle {
            parts.push((middle, high));
            high = middle;
        } else {
            parts.push((low, middle));
            low = middle;
        }
    }
    // RFC 6962, 2.1.2: the old tree itself is not repeated where it is a whole subtree of the new one.
    if low > 0 {
        parts.push((low, high));
    }
    parts.into_iter().rev().map(|(low, high)| rows.range(low, high)).collect()
}

/// Checks that the leaf with this hash is number `index` in the tree of `size` leaves with this root
/// (RFC 9162, 2.1.3.2).
///
/// # Errors
/// When the proof does not show it.
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Hash,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange);
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            (node, last) = skip_missing(node, last);
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    settle(last == 0, hash == *root)
}

/// Checks that the tree of `new` leaves continues the tree of `old` leaves (RFC 9162, 2.1.4.2).
///
/// # Errors
/// When the proof does not show it.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::OutOfRange);
    }
    if old == 0 {
        return settle(proof.is_empty(), *old_root == EMPTY_ROOT && (new > 0 || *new_root == EMPTY_ROOT));
    }
    if old == new {
        return settle(proof.is_empty(), old_root == new_root);
    }
    let mut hashes = proof.iter();
    // A whole subtree is not repeated in the proof: its root is the old root.
    let first = if old.is_power_of_two() { old_root } else { hashes.next().ok_or(ProofError::Length)? };
    let shift = (old - 1).trailing_ones();
    let (mut node, mut last) = ((old - 1) >> shift, (new - 1) >> shift);
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in hashes {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            (node, last) = skip_missing(node, last);
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    settle(last == 0, old_hash == *old_root && new_hash == *new_root)
}

/// Climbs over the rows in which the rightmost node has no sibling (none when `node` is a right child).
fn skip_missing(node: u64, last: u64) -> (u64, u64) {
    // INVARIANT: `node` is odd or equals `last`, which is above 0: so it has a bit set.
    let rows = node.trailing_zeros();
    (node >> rows, last >> rows)
}

fn settle(complete: bool, same: bool) -> Result<(), ProofError> {
    match (complete, same) {
        (false, _) => Err(ProofError::Length),
        (true, false) => Err(ProofError::Root),
        (true, true) => Ok(()),
    }
}

/// The largest power of two below `count`, which is above 1.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

/// The rows of a tree read through its tiles, each tile once.
pub(crate) struct Rows<'r, R> {
    reader: &'r R,
    size: u64,
    tiles: Vec<(Tile, Vec<u8>)>,
}

impl<'r, R: HashReader> Rows<'r, R> {
    pub(crate) fn new(reader: &'r R, size: u64) -> Result<Self, ReadError<R::Error>> {
        if size > LEAVES_MAX {
            return Err(ReadError::OutOfRange);
        }
        Ok(Self { reader, size, tiles: Vec::new() })
    }

    /// The hashes of one tile.
    pub(crate) fn row(&mut self, tile: Tile) -> Result<&[[u8; HASH_BYTES]], ReadError<R::Error>> {
        let known = self.tiles.iter().position(|(known, _)| *known == tile);
        let place = match known {
            Some(place) => place,
            None => {
                let bytes = self.reader.tile(tile).map_err(|source| ReadError::Reader { tile, source })?;
                self.tiles.push((tile, bytes));
                self.tiles.len() - 1
            }
        };
        let (_, bytes) = self.tiles.get(place).expect("found or just pushed");
        let (hashes, rest) = bytes.as_chunks();
        match hashes.get(..tile.width().into()) {
            Some(row) if rest.is_empty() && hashes.len() <= TILE_HASHES_MAX.into() => Ok(row),
            _ => Err(ReadError::Length { tile, bytes: bytes.len() }),
        }
    }

    /// The root of the leaves `low..high`, where `low` is a multiple of the next power of two.
    fn range(&mut self, low: u64, high: u64) -> Result<Hash, ReadError<R::Error>> {
        let mut parts = Vec::with_capacity(PROOF_HASHES_MAX);
        let mut start = low;
        while start < high {
            let height = (high - start).ilog2();
            parts.push(self.node(height, start >> height)?);
            start += 1 << height;
        }
        let root = parts.into_iter().rev().reduce(|right, left| node_hash(&left, &right));
        Ok(root.expect("the range is not empty"))
    }

    /// The root of the perfect subtree of 2^height leaves with this index in its row.
    fn node(&mut self, height: u32, index: u64) -> Result<Hash, ReadError<R::Error>> {
        let rise = height % 8;
        let level = u8::try_from(height / 8).expect("a tree has at most 63 rows");
        let first = index << rise;
        let tile =
            Tile::at(level, first / u64::from(TILE_HASHES_MAX), self.size).ok_or(ReadError::OutOfRange)?;
        let offset = usize::try_from(first % u64::from(TILE_HASHES_MAX)).expect("below 256");
        let leaves = self.row(tile)?.get(offset..offset + (1 << rise)).ok_or(ReadError::OutOfRange)?;
        let mut part = Frontier::new();
        leaves.iter().for_each(|hash| part.push(Hash(*hash)));
        Ok(part.root())
    }
}
