//! The right edge of a growing tree: all that is needed to append and to know the root.

use crate::hash::{EMPTY_ROOT, Hash, node_hash};
use crate::proof::{HashReader, ReadError, Rows};
use crate::tile::{LEAVES_MAX, TILE_LEVEL_MAX, Tile};

/// One slot for each bit of a size.
const EDGE_SLOTS: usize = 64;
/// Bits of the size that one level of tiles stands for.
const BITS_PER_TILE_LEVEL: usize = 8;

/// The roots of the maximal perfect subtrees of a tree, from which it can be continued (RFC 9162 calls the whole
/// a Merkle tree head's "right edge"; elsewhere a compact range).
#[derive(Clone, Debug)]
pub struct Frontier {
    size: u64,
    // INVARIANT: where bit `b` of `size` is set, `edge[b]` is the root of the perfect subtree of 2^b leaves
    // that this bit stands for; other slots hold leftovers.
    edge: [Hash; EDGE_SLOTS],
}

/// A list of hashes that cannot be the right edge of a tree of this size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrontierError {
    /// The right edge has one hash for each bit set in the size.
    #[error("a tree of {size} leaves has {expected} hashes on its right edge, not {found}")]
    Length {
        /// The tree size asked for.
        size: u64,
        /// How many hashes it needs.
        expected: u32,
        /// How many were given.
        found: usize,
    },
    /// No tree of this format is as large.
    #[error("a tree cannot have {0} leaves")]
    Size(u64),
}

impl Default for Frontier {
    fn default() -> Self {
        Self::new()
    }
}

impl Frontier {
    /// Returns the empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_size(0)
    }

    /// Restores a tree from its size and the hashes of [`Frontier::right_edge`].
    ///
    /// # Errors
    /// When the number of hashes does not fit the size.
    pub fn from_right_edge(size: u64, hashes: &[Hash]) -> Result<Self, FrontierError> {
        if size > LEAVES_MAX {
            return Err(FrontierError::Size(size));
        }
        let expected = size.count_ones();
        if hashes.len() != expected as usize {
            return Err(FrontierError::Length { size, expected, found: hashes.len() });
        }
        let mut frontier = Self::with_size(size);
        let slots = frontier.edge.iter_mut().enumerate().rev().filter(|(bit, _)| size >> bit & 1 == 1);
        for ((_, slot), hash) in slots.zip(hashes) {
            *slot = *hash;
        }
        Ok(frontier)
    }

    /// Restores a tree from the rightmost tiles of its levels.
    ///
    /// The tiles are believed: compare [`Frontier::root`] with a root known from elsewhere.
    ///
    /// # Errors
    /// When a tile cannot be read or has another length than the size demands.
    pub fn from_tiles<R: HashReader>(size: u64, reader: &R) -> Result<Self, ReadError<R::Error>> {
        let mut frontier = Self::with_size(size);
        let mut rows = Rows::new(reader, size)?;
        for level in 0..=TILE_LEVEL_MAX {
            if let Some(tile) = Tile::partial(level, size) {
                frontier.set_row(level, rows.row(tile)?);
            }
        }
        Ok(frontier)
    }

    /// Takes over the bits of the size that a partial tile stands for.
    pub(crate) fn set_row(&mut self, level: u8, row: &[[u8; 32]]) {
        let mut part = Self::new();
        row.iter().for_each(|hash| part.push(Hash(*hash)));
        let slots = self.edge.iter_mut().skip(usize::from(level) * BITS_PER_TILE_LEVEL);
        for (slot, hash) in slots.zip(part.edge.iter().take(BITS_PER_TILE_LEVEL)) {
            *slot = *hash;
        }
    }

    /// A tree whose edge is still to be filled in.
    pub(crate) const fn with_size(size: u64) -> Self {
        Self { size, edge: [EMPTY_ROOT; EDGE_SLOTS] }
    }

    /// Appends a leaf, given its [`crate::leaf_hash`]. Costs one node hash on average and allocates nothing.
    ///
    /// # Panics
    /// When the tree already holds [`LEAVES_MAX`] leaves.
    #[inline]
    pub fn push(&mut self, leaf: Hash) {
        self.push_with(leaf, |_, _| ());
    }

    /// Appends a leaf and reports each node that became complete: its height above the leaves and its hash.
    #[inline]
    pub(crate) fn push_with(&mut self, leaf: Hash, mut complete: impl FnMut(usize, &Hash)) {
        assert!(self.size < LEAVES_MAX, "fewer leaves than a checkpoint can count");
        let carries = self.size.trailing_ones() as usize;
        let mut node = leaf;
        complete(0, &node);
        for (height, left) in self.edge.iter().take(carries).enumerate() {
            node = node_hash(left, &node);
            complete(height + 1, &node);
        }
        *self.edge.get_mut(carries).expect("a size below 2^63 has fewer than 63 trailing ones") = node;
        self.size += 1;
    }

    /// Returns the number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns the Merkle tree hash of all leaves. Costs at most 62 node hashes.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.right_edge_rising().reduce(|right, left| node_hash(&left, &right)).unwrap_or(EMPTY_ROOT)
    }

    /// Returns the roots of the maximal perfect subtrees, left to right (so the largest first).
    pub fn right_edge(&self) -> impl Iterator<Item = Hash> + '_ {
        self.right_edge_rising().rev()
    }

    fn right_edge_rising(&self) -> impl DoubleEndedIterator<Item = Hash> + '_ {
        self.edge.iter().enumerate().filter(|(bit, _)| self.size >> bit & 1 == 1).map(|(_, hash)| *hash)
    }
}

/// Two trees are equal when their sizes and right edges are, whatever the unused slots hold.
impl PartialEq for Frontier {
    fn eq(&self, other: &Self) -> bool {
        self.size == other.size && self.right_edge().eq(other.right_edge())
    }
}

impl Eq for Frontier {}
