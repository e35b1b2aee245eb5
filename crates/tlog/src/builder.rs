//! Tiles as the leaves come.

use crate::frontier::Frontier;
use crate::hash::{HASH_BYTES, Hash};
use crate::proof::{HashReader, ReadError, Rows};
use crate::tile::{TILE_HASHES_MAX, TILE_LEVEL_MAX, Tile};

const LEVELS: usize = TILE_LEVEL_MAX as usize + 1;
const ROWS_PER_LEVEL: usize = 8;

/// A growing tree that hands out its tiles: a [`Frontier`] and the one open tile of each level.
///
/// A leaf costs what it costs the frontier and one copy of 32 bytes; memory is at most 64 KiB.
#[derive(Clone, Debug, Default)]
pub struct TileBuilder {
    frontier: Frontier,
    // INVARIANT: `open[l]` holds the hashes of the partial tile of level `l` at the frontier's size.
    open: [Vec<[u8; HASH_BYTES]>; LEVELS],
}

impl TileBuilder {
    /// Returns the empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Continues a tree from its partial tiles.
    ///
    /// The tiles are believed: compare [`TileBuilder::root`] with a root known from elsewhere.
    ///
    /// # Errors
    /// When a tile cannot be read or has another length than the size demands.
    pub fn from_tiles<R: HashReader>(size: u64, reader: &R) -> Result<Self, ReadError<R::Error>> {
        let mut builder = Self { frontier: Frontier::with_size(size), open: Default::default() };
        let mut rows = Rows::new(reader, size)?;
        for (level, open) in (0..).zip(&mut builder.open) {
            if let Some(tile) = Tile::partial(level, size) {
                let row = rows.row(tile)?;
                builder.frontier.set_row(level, row);
                open.extend_from_slice(row);
            }
        }
        Ok(builder)
    }

    /// Appends a leaf, given its [`crate::leaf_hash`], and calls `full` with each tile that it completes
    /// (mostly none), the lowest level first.
    #[inline]
    pub fn push(&mut self, leaf: Hash, mut full: impl FnMut(Tile, &[u8])) {
        let number = self.frontier.size();
        let open = &mut self.open;
        self.frontier.push_with(leaf, |height, hash| {
            if height % ROWS_PER_LEVEL != 0 {
                return;
            }
            let level = height / ROWS_PER_LEVEL;
            let row = open.get_mut(level).expect("a tree of 2^63 leaves has 8 levels of tiles");
            row.push(hash.0);
            if row.len() == usize::from(TILE_HASHES_MAX) {
                full(full_tile(level, number), row.as_flattened());
                row.clear();
            }
        });
    }

    /// Returns the partial tiles of the tree as it is, with their bytes, the lowest level first.
    pub fn partials(&self) -> impl Iterator<Item = (Tile, &[u8])> {
        let size = self.frontier.size();
        (0..)
            .zip(&self.open)
            .filter_map(move |(level, row)| Some((Tile::partial(level, size)?, row.as_flattened())))
    }

    /// Returns the bytes of the partial tile of one level, if the tree has one there.
    #[must_use]
    pub fn partial(&self, level: u8) -> Option<(Tile, &[u8])> {
        let tile = Tile::partial(level, self.frontier.size())?;
        Some((tile, self.open.get(usize::from(level))?.as_flattened()))
    }

    /// Returns the number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Returns the Merkle tree hash of all leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Returns the right edge.
    #[must_use]
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }
}

/// The tile of a level that leaf `number` fills.
fn full_tile(level: usize, number: u64) -> Tile {
    let level = u8::try_from(level).expect("levels end at 7");
    let index = number.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0);
    Tile::new(level, index, TILE_HASHES_MAX).expect("level and width are in range")
}
