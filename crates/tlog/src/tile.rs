//! Names and sizes of the files of a tiled log (C2SP `tlog-tiles`).

use std::fmt;
use std::str::FromStr;

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_HASHES_MAX: u16 = 256;

/// The largest tree: what a signed 64-bit integer counts, since the verifiers of others count with one.
pub const LEAVES_MAX: u64 = i64::MAX as u64;

/// The highest level at which a tree of [`LEAVES_MAX`] leaves has a tile.
pub const TILE_LEVEL_MAX: u8 = 7;

/// The highest level that a path may name.
const PATH_LEVEL_MAX: u8 = 63;

/// Longer paths are refused unread; the longest good one has 41 bytes.
const PATH_BYTES_MAX: usize = 64;

/// Log2 of [`TILE_HASHES_MAX`].
const TILE_BITS: u32 = 8;

/// A run of up to 256 hashes of one level: `tile/<L>/<N>[.p/<W>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

/// A run of up to 256 entries: `tile/entries/<N>[.p/<W>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bundle {
    index: u64,
    width: u16,
}

/// A file of a tiled log, named by its path below the log's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TreeFile {
    /// `checkpoint`
    Checkpoint,
    /// `tile/<L>/<N>[.p/<W>]`
    Tile(Tile),
    /// `tile/entries/<N>[.p/<W>]`
    Entries(Bundle),
}

/// The text is not the path of a file of a tiled log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a path of a tiled log")]
pub struct PathError;

impl Tile {
    /// Returns a tile; `None` when the level is above 63 or the width not within 1 to 256.
    #[must_use]
    pub fn new(level: u8, index: u64, width: u16) -> Option<Self> {
        (level <= PATH_LEVEL_MAX && (1..=TILE_HASHES_MAX).contains(&width)).then_some(Self {
            level,
            index,
            width,
        })
    }

    /// Returns the tile of a tree of `size` leaves at this place, as wide as that tree fills it.
    #[must_use]
    pub fn at(level: u8, index: u64, size: u64) -> Option<Self> {
        let hashes = hashes_at(level, size);
        let before = index.checked_mul(u64::from(TILE_HASHES_MAX))?;
        let width = hashes.checked_sub(before)?.min(u64::from(TILE_HASHES_MAX));
        Self::new(level, index, u16::try_from(width).ok()?)
    }

    /// Returns the partial tile that a tree of `size` leaves has at a level, if it has one there.
    #[must_use]
    pub fn partial(level: u8, size: u64) -> Option<Self> {
        Self::at(level, hashes_at(level, size) >> TILE_BITS, size)
    }

    /// Returns the level: 0 for leaf hashes, each further one 8 rows of the tree higher.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.level
    }

    /// Returns the index within the level.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.index
    }

    /// Returns the number of hashes, 1 to 256.
    #[must_use]
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Tells whether no later leaf can change the tile.
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.width == TILE_HASHES_MAX
    }

    /// Returns the same place at full width: the file to read where a partial tile was already removed.
    #[must_use]
    pub const fn full(self) -> Self {
        Self { width: TILE_HASHES_MAX, ..self }
    }

    /// Returns the path below the log's prefix.
    #[must_use]
    pub fn path(self) -> String {
        self.to_string()
    }
}

impl Bundle {
    /// Returns a bundle; `None` when the width is not within 1 to 256.
    #[must_use]
    pub fn new(index: u64, width: u16) -> Option<Self> {
        (1..=TILE_HASHES_MAX).contains(&width).then_some(Self { index, width })
    }

    /// Returns the bundle of a tree of `size` leaves at this place, as wide as that tree fills it.
    #[must_use]
    pub fn at(index: u64, size: u64) -> Option<Self> {
        Tile::at(0, index, size).map(Self::from)
    }

    /// Returns the index among the bundles.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.index
    }

    /// Returns the number of entries, 1 to 256.
    #[must_use]
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Tells whether no later leaf can change the bundle.
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.width == TILE_HASHES_MAX
    }

    /// Returns the index of the first leaf in it; `None` where no tree reaches.
    #[must_use]
    pub const fn first_leaf(self) -> Option<u64> {
        self.index.checked_mul(TILE_HASHES_MAX as u64)
    }

    /// Returns the path below the log's prefix.
    #[must_use]
    pub fn path(self) -> String {
        self.to_string()
    }
}

impl From<Tile> for Bundle {
    /// The bundle beside a tile of level 0.
    fn from(tile: Tile) -> Self {
        Self { index: tile.index, width: tile.width }
    }
}

/// Returns every tile, full and partial, of a tree of `size` leaves, lowest level first.
pub fn tiles_of(size: u64) -> impl Iterator<Item = Tile> {
    tiles_between(0, size)
}

/// Returns the tiles to write when a tree grows from `old` to `new` leaves, lowest level first.
///
/// A partial tile that grew is named again with its new width.
pub fn tiles_between(old: u64, new: u64) -> impl Iterator<Item = Tile> {
    (0..=TILE_LEVEL_MAX).flat_map(move |level| level_between(level, old, new))
}

/// Returns the entry bundles to write when a tree grows from `old` to `new` leaves.
pub fn bundles_between(old: u64, new: u64) -> impl Iterator<Item = Bundle> {
    level_between(0, old, new).map(Bundle::from)
}

fn level_between(level: u8, old: u64, new: u64) -> impl Iterator<Item = Tile> {
    let (old_hashes, new_hashes) = (hashes_at(level, old), hashes_at(level, new));
    let grew = new_hashes > old_hashes;
    let indices = (old_hashes >> TILE_BITS)..=(new_hashes >> TILE_BITS);
    indices.take_while(move |_| grew).filter_map(move |index| Tile::at(level, index, new))
}

/// Hashes that a tree has in the row on which the tiles of `level` stand.
fn hashes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(TILE_BITS * u32::from(level)).unwrap_or(0)
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        write_place(f, self.index, self.width)
    }
}

impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries/")?;
        write_place(f, self.index, self.width)
    }
}

impl fmt::Display for TreeFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint => f.write_str("checkpoint"),
            Self::Tile(tile) => tile.fmt(f),
            Self::Entries(bundle) => bundle.fmt(f),
        }
    }
}

/// Writes `x001/x234/067` for 1,234,067, and the width of a partial one.
fn write_place(f: &mut fmt::Formatter<'_>, index: u64, width: u16) -> fmt::Result {
    let mut divisor = 1;
    while index / divisor >= 1000 {
        divisor *= 1000;
    }
    while divisor > 1 {
        write!(f, "x{:03}/", index / divisor % 1000)?;
        divisor /= 1000;
    }
    write!(f, "{:03}", index % 1000)?;
    if width == TILE_HASHES_MAX { Ok(()) } else { write!(f, ".p/{width}") }
}

impl FromStr for TreeFile {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        let file = read_path(path).ok_or(PathError)?;
        // One spelling for each file: what is not written back the same was not canonical.
        if file.to_string() == path { Ok(file) } else { Err(PathError) }
    }
}

fn read_path(path: &str) -> Option<TreeFile> {
    if path == "checkpoint" {
        return Some(TreeFile::Checkpoint);
    }
    if path.len() > PATH_BYTES_MAX {
        return None;
    }
    let (kind, place) = path.strip_prefix("tile/")?.split_once('/')?;
    let (index, width) = match place.split_once(".p/") {
        Some((index, width)) => (index, width.parse().ok().filter(|width| *width < TILE_HASHES_MAX)?),
        None => (place, TILE_HASHES_MAX),
    };
    let index = read_index(index)?;
    match kind {
        "entries" => Bundle::new(index, width).map(TreeFile::Entries),
        level => Tile::new(level.parse().ok()?, index, width).map(TreeFile::Tile),
    }
}

fn read_index(text: &str) -> Option<u64> {
    text.split('/').try_fold(0u64, |index, group| {
        let digits = group.strip_prefix('x').unwrap_or(group);
        index.checked_mul(1000)?.checked_add(digits.parse::<u16>().ok()?.into())
    })
}
