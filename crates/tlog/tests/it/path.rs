//! Paths of tiles and bundles.

use proptest::prelude::*;
use tlog::{Bundle, Tile, TreeFile};

fn tile(level: u8, index: u64, width: u16) -> TreeFile {
    TreeFile::Tile(Tile::new(level, index, width).unwrap())
}

fn entries(index: u64, width: u16) -> TreeFile {
    TreeFile::Entries(Bundle::new(index, width).unwrap())
}

#[test]
fn paths_are_those_of_the_specification() {
    let cases = [
        ("checkpoint", TreeFile::Checkpoint),
        ("tile/0/000", tile(0, 0, 256)),
        ("tile/0/x001/x234/067", tile(0, 1_234_067, 256)),
        ("tile/63/x001/000.p/255", tile(63, 1000, 255)),
        ("tile/2/999.p/1", tile(2, 999, 1)),
        ("tile/entries/000.p/7", entries(0, 7)),
        ("tile/entries/x018/x446/x744/x073/x709/x551/615", entries(u64::MAX, 256)),
    ];
    for (path, file) in cases {
        assert_eq!(file.to_string(), path);
        assert_eq!(path.parse(), Ok(file));
    }
}

#[test]
fn other_spellings_are_refused() {
    for path in [
        "",
        "/checkpoint",
        "checkpoint/",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/256/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/data/000",
        "tile/8/0/000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/x001/x000",
        "tile/0/xx01/000",
        "tile/0/X001/000",
        "tile/0/+01",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/+1",
        "tile/0/000.p/256",
        "tile/0/000.p/1.p/1",
        "tile/0/000/",
        "tile/0//000",
        "tile/0/000 ",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/../000",
        "tile/entries/",
        "tile/Entries/000",
    ] {
        assert!(path.parse::<TreeFile>().is_err(), "{path:?}");
    }
    assert_eq!(Tile::new(64, 0, 1), None);
    assert_eq!(Tile::new(0, 0, 0), None);
    assert_eq!(Tile::new(0, 0, 257), None);
    assert_eq!(Bundle::new(0, 0), None);
    assert_eq!(Bundle::new(u64::MAX, 1).unwrap().first_leaf(), None);
    assert_eq!(Tile::at(0, u64::MAX, u64::MAX), None);
}

proptest! {
    #[test]
    fn every_place_survives_its_path(level in 0..=63u8, index in any::<u64>(), shift in 0..64u32, width in 1..=256u16) {
        let file = tile(level, index >> shift, width);
        prop_assert_eq!(file.to_string().parse(), Ok(file));
        let file = entries(index >> shift, width);
        prop_assert_eq!(file.to_string().parse(), Ok(file));
    }

    /// The oracle writes the tile height after `tile/`, calls entries data, and panics on width 0.
    #[test]
    fn paths_are_those_of_the_oracle(
        path in "tile/(0?[0-9]|[1-5][0-9]|6[0-3]|entries)/(x[0-9]{3}/){0,3}[0-9]{2,4}(\\.p/[1-9][0-9]{0,2}|\\.p/0[1-9])?",
    ) {
        let theirs = path.replacen("tile/", "tile/8/", 1).replace("/entries/", "/data/");
        let theirs = tlog_tiles::Tile::from_path(&theirs);
        prop_assert_eq!(path.parse::<TreeFile>().is_ok(), theirs.is_ok(), "{}", path);
    }
}
