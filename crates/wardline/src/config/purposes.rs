//! What sessions may be for, and until when a rule holds.

use std::sync::Arc;

use super::read::Section;
use super::sections::check_name;
use crate::output;

/// The length of a date alone, `2026-12-31`.
const DATE_CHARS: usize = 10;
const DAY_S: u64 = 24 * 3_600;

/// Returns the purposes that people may state.
pub(super) fn purposes(section: Option<&Section<'_, '_>>) -> Vec<Arc<str>> {
    let Some(section) = section else { return Vec::new() };
    let mut purposes: Vec<Arc<str>> = Vec::new();
    for at in section.texts("purposes", "[\"treatment\", \"research\"]") {
        check_name(section, "name of the purpose", &at);
        if purposes.iter().any(|known| **known == *at.value) {
            let message = format!("`{}`: `{}` is there twice", section.child("purposes"), at.value);
            section.reader().error(at.offset, message, "remove one of the two");
            continue;
        }
        purposes.push(at.value.into());
    }
    purposes
}

/// Returns when a rule ends, in seconds since 1970: a date alone includes its day.
pub(super) fn until(section: &Section<'_, '_>) -> Option<i64> {
    let at = section.text("until", "\"2026-12-31\"")?;
    match output::parse_time(&at.value) {
        Ok(time) => {
            let day = if at.value.trim().len() == DATE_CHARS { DAY_S } else { 0 };
            i64::try_from(time.0 / 1_000_000 + day).ok()
        }
        Err(error) => {
            let message = format!("`{}`: {error}", section.child("until"));
            section.reader().error(
                at.offset,
                message,
                "write a date such as \"2026-12-31\", or a time in UTC",
            );
            None
        }
    }
}
