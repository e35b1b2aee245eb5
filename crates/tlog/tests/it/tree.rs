//! Hashes, frontier and tiles.

use proptest::prelude::*;
use tlog::{
    Bundle, BundleError, EMPTY_ROOT, Frontier, FrontierError, Hash, LEAVES_MAX, ReadError, Tile, TileBuilder,
    bundles_between, decode_bundle, encode_entry, leaf_hash, node_hash, root_from_tiles, tiles_between,
    tiles_of,
};

use super::support::{Log, Oracle, entry, hash};

/// Leaves and roots of the reference implementation of RFC 6962.
const LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

#[test]
fn roots_are_those_of_rfc_6962() {
    let mut frontier = Frontier::new();
    for (size, root) in (0..).zip(ROOTS) {
        assert_eq!(frontier.root(), hash(root), "{size} leaves");
        assert_eq!(frontier.size(), size);
        if let Some(leaf) = LEAVES.get(size as usize) {
            frontier.push(leaf_hash(leaf));
        }
    }
    assert_eq!(Frontier::default().root(), EMPTY_ROOT);
}

#[test]
fn leaves_of_every_length_hash_as_the_oracle_says() {
    for length in (0..600).chain([65_535, 100_000]) {
        let leaf: Vec<u8> = (0..length).map(|i: u32| i as u8).collect();
        assert_eq!(leaf_hash(&leaf).0, tlog_tiles::record_hash(&leaf).0, "{length} bytes");
    }
    let (left, right) = (leaf_hash(b"l"), leaf_hash(b"r"));
    let theirs = tlog_tiles::node_hash(tlog_tiles::Hash(left.0), tlog_tiles::Hash(right.0));
    assert_eq!(node_hash(&left, &right).0, theirs.0);
}

#[test]
fn a_hash_survives_its_text() {
    let root = hash(ROOTS[3]);
    assert_eq!(root.to_string().parse(), Ok(root));
    let text = root.to_string();
    for wrong in ["", "AAAA", &text[..43], &format!("{text}="), &format!("{text}\n"), &format!(" {text}")] {
        assert!(wrong.parse::<Hash>().is_err(), "{wrong:?}");
    }
}

#[test]
fn tree_and_tiles_are_those_of_the_oracle() {
    const SIZE: u64 = 1030;
    let log = Log::grown(SIZE);
    let oracle = Oracle::of(&log.leaves);
    for size in 0..=SIZE {
        assert_eq!(log.roots[size as usize].0, tlog_tiles::tree_hash(size, &oracle).unwrap().0, "{size}");
        assert_eq!(root_from_tiles(size, &log).unwrap(), log.roots[size as usize]);
        let theirs = tlog_tiles::Tile::new_tiles(8, size / 2, size);
        assert!(tiles_between(size / 2, size).eq(theirs.iter().map(ours)), "{size}");
    }
    for theirs in tlog_tiles::Tile::new_tiles(8, 0, SIZE) {
        assert_eq!(log.tiles[&ours(&theirs)], theirs.read_data(&oracle).unwrap(), "{}", theirs.path());
    }
}

fn ours(tile: &tlog_tiles::Tile) -> Tile {
    Tile::new(tile.level(), tile.level_index(), tile.width() as u16).unwrap()
}

/// The example of the specification.
#[test]
fn a_tree_of_70_000_leaves_has_the_tiles_that_the_specification_counts() {
    let tiles: Vec<Tile> = tiles_of(70_000).collect();
    assert_eq!(tiles.iter().filter(|tile| tile.level() == 0 && tile.is_full()).count(), 273);
    let partial = |level, index, width| Tile::new(level, index, width).unwrap();
    assert!(tiles.contains(&partial(0, 273, 112)));
    assert!(tiles.contains(&partial(1, 0, 256)));
    assert!(tiles.contains(&partial(1, 1, 17)));
    assert!(tiles.contains(&partial(2, 0, 1)));
    assert_eq!(tiles.len(), 273 + 1 + 1 + 1 + 1);
    assert_eq!(tiles_of(256).map(Tile::path).collect::<Vec<_>>(), ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(
        bundles_between(255, 257).map(Bundle::path).collect::<Vec<_>>(),
        ["tile/entries/000", "tile/entries/001.p/1"]
    );
    assert_eq!(tiles_of(0).count() + bundles_between(7, 7).count() + tiles_between(9, 3).count(), 0);

    let log = Log::at(70_000);
    assert!(tiles.iter().eq(log.tiles.keys()), "the builder made these and no others");
    for tile in &tiles {
        assert_eq!(log.tiles[tile].len(), usize::from(tile.width()) * 32);
    }
    let oracle = Oracle::of(&log.leaves);
    assert_eq!(log.builder.root().0, tlog_tiles::tree_hash(70_000, &oracle).unwrap().0);
}

#[test]
fn a_tree_continues_from_its_tiles_and_from_its_right_edge() {
    let mut log = Log::default();
    for index in 0..66_100 {
        log.push(index);
        let size = index + 1;
        if !(size < 3
            || size.is_multiple_of(255)
            || size.is_multiple_of(256)
            || (65_530..65_540).contains(&size))
        {
            continue;
        }
        log.keep_partials();
        let mut restored = TileBuilder::from_tiles(size, &log).unwrap();
        assert!(restored.partials().eq(log.builder.partials()), "{size}");
        assert_eq!(restored.frontier(), log.builder.frontier(), "{size}");
        assert_eq!(Frontier::from_tiles(size, &log).unwrap(), *log.builder.frontier(), "{size}");
        let edge: Vec<Hash> = log.builder.frontier().right_edge().collect();
        let mut frontier = Frontier::from_right_edge(size, &edge).unwrap();
        assert_eq!(frontier.root(), log.builder.root());

        let mut twin = log.builder.clone();
        for next in size..size + 300 {
            let leaf = leaf_hash(&entry(next));
            let (mut full, mut twin_full) = (Vec::new(), Vec::new());
            restored.push(leaf, |tile, bytes| full.push((tile, bytes.to_vec())));
            twin.push(leaf, |tile, bytes| twin_full.push((tile, bytes.to_vec())));
            frontier.push(leaf);
            assert_eq!(full, twin_full, "{size} then {next}");
        }
        assert_eq!((restored.root(), frontier.root()), (twin.root(), twin.root()));
        assert!(restored.partials().eq(twin.partials()));
        log.tiles.retain(|tile, _| tile.is_full());
    }
}

#[test]
fn a_wrong_right_edge_or_tile_is_refused() {
    let log = Log::at(300);
    let edge: Vec<Hash> = log.builder.frontier().right_edge().collect();
    let length = |found| FrontierError::Length { size: 300, expected: 4, found };
    assert_eq!(Frontier::from_right_edge(300, &edge[1..]), Err(length(3)));
    assert_eq!(Frontier::from_right_edge(300, &[]), Err(length(0)));
    assert_eq!(Frontier::from_right_edge(u64::MAX, &[edge[0]; 64]), Err(FrontierError::Size(u64::MAX)));

    for bytes in [0, 31, 32 * 43, 32 * 44 + 1, 32 * 257] {
        let reader = |tile| {
            let known = log.tiles.get(&tile).cloned().unwrap();
            Ok::<_, std::io::Error>(if tile.level() == 0 { vec![7; bytes] } else { known })
        };
        let tile = Tile::new(0, 1, 44).unwrap();
        let error = root_from_tiles(300, &reader).unwrap_err();
        assert!(
            matches!(error, ReadError::Length { tile: t, bytes: b } if t == tile && b == bytes),
            "{error}"
        );
    }
    assert!(matches!(root_from_tiles(301, &log), Err(ReadError::Reader { .. })));
    assert!(matches!(root_from_tiles(LEAVES_MAX + 1, &log), Err(ReadError::OutOfRange)));
    assert!(matches!(TileBuilder::from_tiles(u64::MAX, &log), Err(ReadError::OutOfRange)));
}

/// Trees too large to build: only their right edge exists.
#[test]
fn the_largest_trees_keep_to_their_levels() {
    let node = leaf_hash(b"node");
    for size in [1 << 62, LEAVES_MAX - 1, (1 << 56) - 1, (1 << 48) + 12_345] {
        let reader = |tile: Tile| Ok::<_, std::io::Error>(node.0.repeat(tile.width().into()));
        let mut builder = TileBuilder::from_tiles(size, &reader).unwrap();
        let mut full = Vec::new();
        builder.push(node, |tile, _| full.push(tile));
        assert_eq!(builder.size(), size + 1);
        assert!(full.iter().copied().eq(tiles_between(size, size + 1).filter(|tile| tile.is_full())));
        assert!(
            builder.partials().map(|(tile, _)| tile).eq((0..8).filter_map(|l| Tile::partial(l, size + 1)))
        );
        // The made-up tiles of one level are not the roots of those below. The last leaf's path shows it only where it
        // climbs through full tiles, so at 2^62; elsewhere it meets the right edge alone, from which the root is made.
        let proof = tlog::prove_inclusion(size - 1, size, &reader).unwrap();
        let root = root_from_tiles(size, &reader).unwrap();
        assert!(proof.len() <= tlog::PROOF_HASHES_MAX);
        let result = tlog::verify_inclusion(size - 1, size, &node, &proof, &root);
        assert_eq!(result.is_ok(), !size.is_power_of_two(), "{size}: {result:?}");
    }
}

#[test]
fn a_bundle_survives_its_bytes_and_nothing_else_does() {
    let entries: [&[u8]; 4] = [b"", b"a", &[7; 65_535], b"last"];
    let mut bytes = Vec::new();
    entries.iter().for_each(|entry| encode_entry(entry, &mut bytes).unwrap());
    let of = |width| Bundle::new(9, width).unwrap();
    assert_eq!(decode_bundle(of(4), &bytes).unwrap(), entries);
    assert_eq!(decode_bundle(of(3), &bytes), Err(BundleError::Count { expected: 3 }));
    assert_eq!(decode_bundle(of(5), &bytes), Err(BundleError::Count { expected: 5 }));
    assert_eq!(decode_bundle(of(4), &bytes[..bytes.len() - 1]), Err(BundleError::Truncated(3)));
    assert_eq!(decode_bundle(of(4), &[]), Err(BundleError::Count { expected: 4 }));
    let before = bytes.len();
    assert!(encode_entry(&[0; 65_536], &mut bytes).is_err());
    assert_eq!(bytes.len(), before, "nothing is appended");
}

proptest! {
    #[test]
    fn any_entries_survive_a_bundle(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..=256)) {
        let mut bytes = Vec::new();
        entries.iter().for_each(|entry| encode_entry(entry, &mut bytes).unwrap());
        let bundle = Bundle::new(0, entries.len() as u16).unwrap();
        prop_assert_eq!(decode_bundle(bundle, &bytes).unwrap(), entries);
    }

    #[test]
    fn tiles_between_are_those_of_the_oracle(old in 0..5_000_000u64, more in 0..20_000u64) {
        let theirs = tlog_tiles::Tile::new_tiles(8, old, old + more);
        prop_assert!(tiles_between(old, old + more).eq(theirs.iter().map(ours)));
    }
}
