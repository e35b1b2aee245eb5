//! The ways from foreign bytes into this crate, with what must hold of whatever they accept.
//!
//! Shared by the fuzz targets, the replay of their corpora, and the property tests.

use tlog::{
    Bundle, Checkpoint, Frontier, Hash, KeyChange, NoteSigner, NoteVerifier, OfflineProof, SignedNote, Tile,
    TreeFile, decode_bundle, encode_entry, root_from_tiles, verify_consistency, verify_inclusion,
};

/// Notes, checkpoints, proofs and keys: what is accepted is written back byte for byte.
pub(crate) fn note(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes);
    if let Ok(note) = SignedNote::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes);
        let key = NoteSigner::from_seed("example.com/fuzz", &[1; 32]).expect("a key name").verifier();
        let _ = Checkpoint::from_note(&note, "example.com/fuzz", &[key]);
        if let Ok(checkpoint) = note.text().parse::<Checkpoint>() {
            assert_eq!(checkpoint.to_string(), note.text());
        }
    }
    if let Ok(change) = KeyChange::open(bytes) {
        assert_eq!(SignedNote::parse(bytes).expect("was a note before").text(), change.to_string());
    }
    if let Ok(proof) = OfflineProof::parse(bytes) {
        assert_eq!(proof.to_string().as_bytes(), bytes);
        let _ = proof.verify(&Hash([0; 32]), "example.com/fuzz", &[]);
    }
    if let Ok(checkpoint) = text.map(str::parse::<Checkpoint>).unwrap_or_else(|_| "".parse()) {
        assert_eq!(checkpoint.to_string().as_bytes(), bytes);
    }
    if let Ok(key) = text.map(str::parse::<NoteVerifier>).unwrap_or_else(|_| "".parse()) {
        assert_eq!(key.to_string().as_bytes(), bytes);
    }
}

/// Paths, bundles, tiles, right edges and proofs. The first bytes choose widths and sizes.
pub(crate) fn tile(bytes: &[u8]) {
    if let Ok(Ok(file)) = std::str::from_utf8(bytes).map(str::parse::<TreeFile>) {
        assert_eq!(file.to_string().as_bytes(), bytes);
    }
    let Some((head, body)) = bytes.split_first_chunk::<17>() else { return };
    let [kind, numbers @ ..] = head;
    let (a, b) = numbers.split_at(8);
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("8 bytes"));
    let (a, b) = (number(a) >> (kind & 63), number(b) >> (kind & 63));

    let width = u16::from(*kind) + 1;
    if let Some(bundle) = Bundle::new(a, width)
        && let Ok(entries) = decode_bundle(bundle, body)
    {
        let mut again = Vec::new();
        entries.iter().for_each(|entry| encode_entry(entry, &mut again).expect("was short enough before"));
        assert_eq!(again, body);
    }
    let (hashes, _) = body.as_chunks();
    let hashes: Vec<Hash> = hashes.iter().copied().map(Hash).collect();
    let zero = Hash([0; 32]);
    let _ = verify_inclusion(a, b, &zero, &hashes, &zero);
    let _ = verify_consistency(a, b, &zero, &zero, &hashes);
    if let Ok(frontier) = Frontier::from_right_edge(a, &hashes) {
        assert!(frontier.right_edge().eq(hashes.iter().copied()));
        let _ = frontier.root();
    }
    let reader = |tile: Tile| {
        let bytes = if *kind > 127 { body.to_vec() } else { vec![7; usize::from(tile.width()) * 32] };
        Ok::<_, std::io::Error>(bytes)
    };
    let _ = root_from_tiles(a, &reader);
    let _ = tlog::prove_inclusion(a, b, &reader);
    let _ = tlog::prove_consistency(a, b, &reader);
}
