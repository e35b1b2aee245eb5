//! Every change to a closed trail is found and named.

use std::sync::Arc;

use trail::{DamageKind, Finding, FrameHeader, Trail, VerifyOptions, verify_on};

use crate::memory::{MemoryDisk, Random};
use crate::support::{options, root, select};

const SEGMENT_HEADER_BYTES: usize = 4096;

/// A trail of several segments, full and partial tiles, closed in order.
fn closed_trail() -> MemoryDisk {
    let disk = MemoryDisk::default();
    let mut options = options();
    options.segment_bytes = trail::SEGMENT_BYTES_MIN;
    let trail = Trail::open_on(Arc::new(disk.clone()), &root(), options).unwrap();
    let mut random = Random::new(5);
    for n in 0..800 {
        let mut record = select(n);
        let text = (0..100).map(|_| random.next().to_le_bytes()[0]).collect::<Vec<_>>();
        record.sealed = Some(trail.sealer().seal(record.session.unwrap().0, n, &text).into());
        let pending = trail.record(&record).unwrap();
        if n % 5 == 0 {
            let _receipt = pending.wait().unwrap();
        }
    }
    trail.close().unwrap();
    assert!(find(&disk, true).is_empty());
    assert!(segments(&disk).len() >= 3, "{:?}", disk.files());
    disk
}

fn find(disk: &MemoryDisk, with_key: bool) -> Vec<Finding> {
    let root = root();
    let options = VerifyOptions { root_key: with_key.then_some(&root), ..VerifyOptions::default() };
    verify_on(disk, options).unwrap().findings
}

fn segments(disk: &MemoryDisk) -> Vec<String> {
    disk.files().into_iter().filter(|file| file.ends_with(".seg")).collect()
}

/// Where the frames of a segment begin, and the index of the first entry of each.
fn frames(bytes: &[u8]) -> Vec<(usize, usize, u64)> {
    let mut at = SEGMENT_HEADER_BYTES;
    let mut frames = Vec::new();
    while let Ok(header) = FrameHeader::decode(&bytes[at..]) {
        let length = header.frame_bytes() as usize;
        frames.push((at, length, header.first));
        at += length;
    }
    frames
}

#[track_caller]
fn check_named(disk: &MemoryDisk, file: &str, kind: DamageKind, index: Option<u64>, what: &str) {
    for with_key in [false, true] {
        let findings = find(disk, with_key);
        let named = findings.iter().any(|finding| {
            let damage = &finding.damage;
            damage.file == file && damage.kind == kind && (index.is_none() || damage.index == index)
        });
        assert!(named, "{what} (key: {with_key}): {findings:?}");
        let first = &findings[0].damage;
        assert!(
            index.is_none() || first.index.is_none() || first.index >= index,
            "{what}: too early: {first}"
        );
    }
}

#[test]
fn a_flipped_bit_in_a_frame_names_the_frame() {
    let disk = closed_trail();
    let mut random = Random::new(1);
    for file in segments(&disk) {
        let bytes = disk.bytes(&file);
        for (at, length, first) in frames(&bytes).into_iter().step_by(7) {
            let copy = disk.copy();
            let place = at + random.below(length);
            copy.alter(&file, |bytes| bytes[place] ^= 1 << random.below(8));
            check_named(&copy, &file, DamageKind::Frame, Some(first), &format!("{file} byte {place}"));
        }
    }
}

#[test]
fn a_flipped_bit_in_a_header_or_behind_the_frames_names_the_segment() {
    let disk = closed_trail();
    let mut random = Random::new(2);
    for file in segments(&disk) {
        for _ in 0..12 {
            let copy = disk.copy();
            let place = random.below(SEGMENT_HEADER_BYTES);
            copy.alter(&file, |bytes| bytes[place] ^= 1 << random.below(8));
            check_named(&copy, &file, DamageKind::SegmentHeader, None, &format!("{file} byte {place}"));
        }
        let bytes = disk.bytes(&file);
        let end = frames(&bytes).last().map(|(at, length, _)| at + length).unwrap();
        let copy = disk.copy();
        let place = end + random.below(bytes.len() - end);
        copy.alter(&file, |bytes| bytes[place] ^= 0x80);
        check_named(
            &copy,
            &file,
            DamageKind::Frame,
            None,
            &format!("{file} byte {place}, behind the frames"),
        );
    }
}

#[test]
fn a_flipped_bit_in_the_tree_names_the_entry() {
    let disk = closed_trail();
    let mut random = Random::new(3);
    for file in disk.files().into_iter().filter(|file| file.starts_with("tree/tile/")) {
        let entries = file.contains("/entries/");
        let length = disk.bytes(&file).len();
        for _ in 0..20 {
            let place = random.below(length);
            let copy = disk.copy();
            copy.alter(&file, |bytes| bytes[place] ^= 1 << random.below(8));
            let kind = if entries { DamageKind::Bundle } else { DamageKind::Tile };
            let number: u64 = file
                .split("/")
                .find_map(|part| part.trim_end_matches(".p").parse().ok().filter(|_| part.len() >= 3))
                .unwrap();
            let level = u32::from(file.starts_with("tree/tile/1/"));
            let index = (number << (8 * (level + 1)))
                + if entries { place as u64 / 54 } else { (place as u64 / 32) << (8 * level) };
            check_named(&copy, &file, kind, Some(index), &format!("{file} byte {place}"));
        }
    }
}

#[test]
fn a_flipped_bit_in_the_checkpoint_or_a_key_is_named() {
    let disk = closed_trail();
    let pinned = String::from_utf8(disk.bytes("verifier.txt")).unwrap();
    for place in 0..disk.bytes("tree/checkpoint").len() {
        let copy = disk.copy();
        copy.alter("tree/checkpoint", |bytes| bytes[place] ^= 1);
        let findings = find(&copy, false);
        assert_eq!(findings[0].damage.file, "tree/checkpoint", "byte {place}: {findings:?}");
    }
    for place in 0..pinned.len() - 1 {
        let copy = disk.copy();
        copy.alter("verifier.txt", |bytes| bytes[place] ^= 1);
        let options = VerifyOptions { verifier_key: Some(pinned.clone()), ..VerifyOptions::default() };
        let findings = verify_on(&copy, options).unwrap().findings;
        assert_eq!(findings.first().map(|f| f.damage.file.as_str()), Some("verifier.txt"), "byte {place}");
    }
    let used = |file: &String| file.starts_with("keys/checkpoint") || file.starts_with("keys/record");
    for file in disk.files().into_iter().filter(used) {
        for place in 0..disk.bytes(&file).len() {
            let copy = disk.copy();
            copy.alter(&file, |bytes| bytes[place] ^= 1);
            let findings = find(&copy, true);
            assert_eq!(findings[0].damage.kind, DamageKind::Key, "{file} byte {place}: {findings:?}");
        }
    }
}

/// Rebuilds a segment from its frames in another order.
fn with_frames(disk: &MemoryDisk, file: &str, order: impl Fn(&mut Vec<Vec<u8>>)) -> MemoryDisk {
    let copy = disk.copy();
    copy.alter(file, |bytes| {
        let mut parts: Vec<Vec<u8>> =
            frames(bytes).into_iter().map(|(at, length, _)| bytes[at..at + length].to_vec()).collect();
        order(&mut parts);
        let length = bytes.len();
        bytes.truncate(SEGMENT_HEADER_BYTES);
        bytes.extend(parts.concat());
        bytes.resize(length, 0);
    });
    copy
}

#[test]
fn a_dropped_swapped_or_doubled_frame_names_the_entry() {
    let disk = closed_trail();
    for file in segments(&disk) {
        let frames = frames(&disk.bytes(&file));
        let (middle, last) = (frames.len() / 2, frames.len() - 1);
        // How records gather into frames is a matter of timing: the last segment may have hardly any.
        if frames.len() >= 4 {
            let dropped = with_frames(&disk, &file, |parts| drop(parts.remove(middle)));
            check_named(&dropped, &file, DamageKind::Chain, Some(frames[middle].2), "dropped");
            let swapped = with_frames(&disk, &file, |parts| parts.swap(middle, middle + 1));
            check_named(&swapped, &file, DamageKind::Chain, Some(frames[middle].2), "swapped");
            let doubled = with_frames(&disk, &file, |parts| parts.insert(middle, parts[middle].clone()));
            check_named(&doubled, &file, DamageKind::Chain, Some(frames[middle + 1].2), "doubled");
        }
        // A segment that ends early: the next one's header does not follow, or the tree knows more.
        let truncated = with_frames(&disk, &file, |parts| drop(parts.pop()));
        let number: usize = file["segments/".len()..].trim_end_matches(".seg").parse().unwrap();
        match segments(&disk).get(number + 1) {
            Some(next) => check_named(&truncated, next, DamageKind::Chain, Some(frames[last].2), "truncated"),
            None => check_named(&truncated, &file, DamageKind::Truncated, Some(frames[last].2), "truncated"),
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let disk = closed_trail();
    let last = segments(&disk).pop().unwrap();
    for file in disk.files() {
        let kind = match &file {
            file if *file == last => DamageKind::Chain,
            file if file.ends_with(".seg") || file.starts_with("tree/") => DamageKind::Missing,
            _ => continue,
        };
        let copy = disk.copy();
        copy.delete(&file);
        if kind == DamageKind::Missing {
            check_named(&copy, &file, kind, None, &file);
        } else {
            assert_eq!(find(&copy, false)[0].damage.kind, DamageKind::Truncated, "{file}");
        }
    }
}

#[test]
fn leaves_rewritten_with_their_tiles_are_found_by_the_root() {
    let disk = closed_trail();
    // An insider without the signing key changes a leaf and every hash above it.
    let size: u64 =
        String::from_utf8(disk.bytes("tree/checkpoint")).unwrap().lines().nth(1).unwrap().parse().unwrap();
    let mut builder = tlog::TileBuilder::new();
    let mut tiles = Vec::new();
    for bundle in tlog::bundles_between(0, size) {
        let file = format!("tree/{}", bundle.path());
        if bundle.index() == 1 {
            disk.alter(&file, |bytes| bytes[40] ^= 1);
        }
        for leaf in tlog::decode_bundle(bundle, &disk.bytes(&file)).unwrap() {
            builder.push(tlog::leaf_hash(leaf), |tile, bytes| tiles.push((tile, bytes.to_vec())));
        }
    }
    tiles.extend(builder.partials().map(|(tile, bytes)| (tile, bytes.to_vec())));
    for (tile, bytes) in tiles {
        disk.put(&format!("tree/{}", tile.path()), bytes);
    }
    assert_eq!(find(&disk, false)[0].damage.kind, DamageKind::Root);
    let with_key = find(&disk, true);
    assert_eq!((with_key[0].damage.kind, with_key[0].damage.index), (DamageKind::Commitment, Some(256)));
}

/// What can be done to a run of equal units: bytes, leaves, hashes.
#[derive(Clone, Copy, Debug)]
enum Mutation {
    Flip,
    Drop,
    Swap,
    Double,
    Truncate,
}

impl Mutation {
    const ALL: [Mutation; 5] =
        [Mutation::Flip, Mutation::Drop, Mutation::Swap, Mutation::Double, Mutation::Truncate];

    /// Changes the unit that begins at a byte; `false` when nothing would change.
    fn apply(self, bytes: &mut Vec<u8>, at: usize, unit: usize) -> bool {
        match self {
            Mutation::Flip => bytes[at + unit / 2] ^= 0x10,
            Mutation::Drop => drop(bytes.drain(at..at + unit)),
            Mutation::Swap => {
                let (left, right) = bytes.split_at_mut(at + unit);
                let Some(next) = right.get_mut(..unit).filter(|next| **next != left[at..]) else {
                    return false;
                };
                left[at..].swap_with_slice(next);
            }
            Mutation::Double => {
                let copy = bytes[at..at + unit].to_vec();
                bytes.splice(at..at, copy);
            }
            Mutation::Truncate => bytes.truncate(at),
        }
        true
    }
}

/// The bytes of one leaf in a bundle.
const BUNDLED: usize = trail::LEAF_BYTES + 2;

/// The number that a file of the tree has, and how many leaves stand below each of its hashes or entries.
fn tree_place(file: &str) -> (u64, u64) {
    let number = file
        .split('/')
        .find_map(|part| part.trim_end_matches(".p").parse::<u64>().ok().filter(|_| part.len() >= 3))
        .unwrap();
    (number, if file.starts_with("tree/tile/1/") { 256 } else { 1 })
}

#[test]
fn leaves_and_hashes_flipped_dropped_swapped_doubled_or_cut_are_named() {
    let disk = closed_trail();
    let mut random = Random::new(6);
    for file in disk.files().into_iter().filter(|file| file.starts_with("tree/tile/")) {
        let entries = file.contains("/entries/");
        let (kind, whole) = if entries { (DamageKind::Bundle, BUNDLED) } else { (DamageKind::Tile, 32) };
        let (number, below) = tree_place(&file);
        let length = disk.bytes(&file).len();
        for unit in [1, whole] {
            for mutation in Mutation::ALL {
                let at = random.below(length / unit) * unit;
                let copy = disk.copy();
                let mut changed = false;
                copy.alter(&file, |bytes| {
                    changed = (at + 2 * unit <= length || !matches!(mutation, Mutation::Swap))
                        && mutation.apply(bytes, at, unit);
                });
                if !changed {
                    continue;
                }
                // The first unit that differs: where one was doubled or swapped for its like, it is a later one.
                let (old, new) = (disk.bytes(&file), copy.bytes(&file));
                let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count().min(length - 1);
                let index = (number * 256 + (same / whole) as u64) * below;
                check_named(
                    &copy,
                    &file,
                    kind,
                    Some(index),
                    &format!("{mutation:?} of {unit} at {at} in {file}"),
                );
            }
        }
    }
}

#[test]
fn bytes_of_frames_flipped_dropped_swapped_doubled_or_cut_are_named() {
    let disk = closed_trail();
    let mut random = Random::new(7);
    for file in segments(&disk) {
        let frames = frames(&disk.bytes(&file));
        for mutation in Mutation::ALL {
            let (at, length, first) = frames[random.below(frames.len())];
            // Within the frame, so that what is cut off is more than a frame that was never finished.
            let place = at + 1 + random.below(length - 2);
            let copy = disk.copy();
            let mut changed = false;
            copy.alter(&file, |bytes| changed = mutation.apply(bytes, place, 1));
            if changed {
                let what = format!("{mutation:?} at {place} in {file}");
                check_named(&copy, &file, DamageKind::Frame, Some(first), &what);
            }
        }
    }
}

#[test]
fn segments_swapped_or_doubled_are_named() {
    let disk = closed_trail();
    let files = segments(&disk);
    for pair in files.windows(2) {
        let swapped = disk.copy();
        swapped.put(&pair[0], disk.bytes(&pair[1]));
        swapped.put(&pair[1], disk.bytes(&pair[0]));
        check_named(&swapped, &pair[0], DamageKind::SegmentHeader, None, "swapped segments");
    }
    // A segment once more behind the last.
    let next = format!("segments/{:010}.seg", files.len());
    let doubled = disk.copy();
    doubled.put(&next, disk.bytes(files.last().unwrap()));
    check_named(&doubled, &next, DamageKind::SegmentHeader, None, "a doubled segment");
}

#[test]
fn files_of_the_tree_swapped_are_named() {
    let disk = closed_trail();
    for folder in ["tree/tile/0/", "tree/tile/entries/"] {
        let (one, two) = (format!("{folder}000"), format!("{folder}001"));
        let swapped = disk.copy();
        swapped.put(&one, disk.bytes(&two));
        swapped.put(&two, disk.bytes(&one));
        let kind = if folder.contains("entries") { DamageKind::Bundle } else { DamageKind::Tile };
        check_named(&swapped, &one, kind, Some(0), &one);
        let findings = find(&swapped, false);
        let second = |finding: &Finding| finding.damage.file == two && finding.damage.index == Some(256);
        assert!(findings.iter().any(second), "{findings:?}");
    }
}
