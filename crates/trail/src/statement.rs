//! What a node says under its checkpoint key besides checkpoints: what it wrote into a file for others.
//!
//! INVARIANT: such a note can never be taken for a checkpoint: its first line is not an origin.

use tlog::{NoteVerifier, SignedNote};

/// The first line. No node can be called so: its name would be no name.
const FIRST_LINE: &str = "wardline/export/v1";

/// Returns the text that is signed over facts, one a line.
pub(crate) fn text(facts: &str) -> String {
    format!("{FIRST_LINE}\n{facts}")
}

/// Returns the facts of a note that this key signed about an export; `None` for anything else.
pub fn open_export(note: &[u8], verifier_key: &str) -> Option<String> {
    let key: NoteVerifier = verifier_key.trim().parse().ok()?;
    let note = SignedNote::parse(note).ok()?;
    note.verify(&[key]).ok()?;
    Some(note.text().strip_prefix(FIRST_LINE)?.strip_prefix('\n')?.to_owned())
}
