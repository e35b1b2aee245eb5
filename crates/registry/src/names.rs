//! What login names and role names may look like.
//!
//! Narrow on purpose: no two names that look alike, nothing that needs quoting in a connection string, a policy or a
//! shell. Sign-in compares names byte for byte.

use crate::error::Error;

/// A name has at most this many bytes, as in PostgreSQL.
pub const NAME_BYTES_MAX: usize = 63;

/// Tells whether this can be a login name.
pub fn name_fits(name: &str) -> Result<(), Error> {
    let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if fits(name, first, "._@-") { Ok(()) } else { Err(Error::NameUnfit { name: shown(name) }) }
}

/// Tells whether this can be the name of a role.
pub fn role_fits(role: &str) -> Result<(), Error> {
    let first = |c: char| c.is_ascii_lowercase();
    if fits(role, first, "_-") { Ok(()) } else { Err(Error::RoleUnfit { role: shown(role) }) }
}

fn fits(name: &str, first: impl Fn(char) -> bool, marks: &str) -> bool {
    let other = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || marks.contains(c);
    name.len() <= NAME_BYTES_MAX && name.starts_with(first) && name.chars().all(other)
}

/// A bounded, printable form of what was asked for.
fn shown(name: &str) -> String {
    name.chars().take(NAME_BYTES_MAX).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_names() {
        for good in ["a", "nina.nurse", "j_doe-2", "j.doe@clinic.example", "7of9", &"x".repeat(63)] {
            assert!(name_fits(good).is_ok(), "{good}");
        }
        for bad in ["", "Nina", ".nina", "-n", "nina nurse", "нина", "a'b", "a\"b", "a\n", &"x".repeat(64)]
        {
            assert!(matches!(name_fits(bad), Err(Error::NameUnfit { .. })), "{bad}");
        }
    }

    #[test]
    fn role_names() {
        assert!(role_fits("privacy-officer_2").is_ok());
        for bad in ["", "2nd", "Nurse", "a.b", "a@b", "-a"] {
            assert!(matches!(role_fits(bad), Err(Error::RoleUnfit { .. })), "{bad}");
        }
    }

    #[test]
    fn an_error_shows_a_hostile_name_harmlessly() {
        let error = name_fits(&"\u{1b}[2J".repeat(100)).unwrap_err().to_string();
        assert!(!error.contains('\u{1b}') && error.len() < 600, "{error}");
    }
}
