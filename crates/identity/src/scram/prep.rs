//! SASLprep as PostgreSQL does it (`src/common/saslprep.c`).
//!
//! The tables are those of RFC 3454. Unlike a plain reading of the RFC, PostgreSQL looks for prohibited characters
//! *before* normalisation, and takes the password as it is when preparation fails. Doing it differently would lock
//! out people whose verifier PostgreSQL made.

use std::borrow::Cow;

use stringprep::tables;
use unicode_normalization::UnicodeNormalization;

/// Returns the password in the form that is hashed.
pub(super) fn prepare(password: &str) -> Cow<'_, str> {
    if password.is_ascii() {
        return Cow::Borrowed(password);
    }
    let mapped: Vec<char> = password
        .chars()
        .map(|c| if tables::non_ascii_space_character(c) { ' ' } else { c })
        .filter(|c| !tables::commonly_mapped_to_nothing(*c))
        .collect();
    if mapped.is_empty() || mapped.iter().any(|c| prohibited(*c)) || !bidi_consistent(&mapped) {
        return Cow::Borrowed(password);
    }
    Cow::Owned(mapped.into_iter().nfkc().collect())
}

fn prohibited(c: char) -> bool {
    tables::non_ascii_space_character(c)
        || tables::ascii_control_character(c)
        || tables::non_ascii_control_character(c)
        || tables::private_use(c)
        || tables::non_character_code_point(c)
        || tables::surrogate_code(c)
        || tables::inappropriate_for_plain_text(c)
        || tables::inappropriate_for_canonical_representation(c)
        || tables::change_display_properties_or_deprecated(c)
        || tables::tagging_character(c)
        || tables::unassigned_code_point(c)
}

/// RFC 3454 §6: with a right-to-left character anywhere there is no left-to-right one, and both ends are
/// right-to-left.
fn bidi_consistent(text: &[char]) -> bool {
    if !text.iter().any(|c| tables::bidi_r_or_al(*c)) {
        return true;
    }
    let ends = [text.first(), text.last()];
    !text.iter().any(|c| tables::bidi_l(*c)) && ends.into_iter().flatten().all(|c| tables::bidi_r_or_al(*c))
}
