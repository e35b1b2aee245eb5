//! `[resource.NAME]`: whom the resource is told to see, and how often Wardline's own password there changes.

use std::time::Duration;

use gateway::{PERSON, UpstreamIdentity};

use super::read::{At, Section};
use super::sections::one_of;

const IDENTITIES: [&str; 3] = ["none", "application_name", "set-role"];
/// PostgreSQL's names are no longer.
const ROLE_BYTES_MAX: usize = 63;
/// More often helps nobody, and each rotation is three entries.
const EVERY_MIN: Duration = Duration::from_mins(10);
const EVERY_MAX: Duration = Duration::from_hours(24 * 366);

/// Returns how the resource is told who acts.
pub(super) fn identity(section: &Section<'_, '_>) -> Option<UpstreamIdentity> {
    let way = match section.text("upstream_identity", "\"application_name\"") {
        Some(text) => one_of(section, "upstream_identity", &text, &IDENTITIES)?,
        None => "none",
    };
    let pattern = section.text("upstream_role", "\"person_{name}\"");
    if let Some(at) = &pattern {
        check_pattern(section, way, at)?;
    }
    Some(match way {
        "application_name" => UpstreamIdentity::ApplicationName,
        "set-role" => {
            let pattern = pattern.map_or_else(|| PERSON.into(), |at| at.value.into());
            UpstreamIdentity::SetRole { pattern }
        }
        _ => UpstreamIdentity::None,
    })
}

fn check_pattern(section: &Section<'_, '_>, way: &str, at: &At<String>) -> Option<()> {
    let field = section.child("upstream_role");
    let wrong = |message: String, help: &str| {
        section.reader().error(at.offset, message, help);
        None
    };
    if way != "set-role" {
        return wrong(
            format!("`{field}` is of no use without `upstream_identity = \"set-role\"`"),
            "add it, or remove this",
        );
    }
    // A role that is the same for everybody would name nobody.
    if at.value.matches(PERSON).count() != 1 || at.value.len() >= ROLE_BYTES_MAX {
        return wrong(
            format!("`{field}` must have `{PERSON}` in it once, and be short"),
            "write `person_{name}`",
        );
    }
    if at.value.contains(|c: char| c.is_control()) {
        return wrong(format!("`{field}` cannot be the name of a role"), "write `person_{name}`");
    }
    Some(())
}

/// Returns how often the password changes, if it does by itself.
pub(super) fn rotation(section: &Section<'_, '_>) -> Option<Duration> {
    let section = section.section("rotation")?;
    let at = section.required("every", "\"30d\"")?;
    let every = duration(&at.value).filter(|every| (EVERY_MIN..=EVERY_MAX).contains(every));
    if every.is_none() {
        let message = format!("`{}` is no such time: `{}`", section.child("every"), at.value);
        section.reader().error(
            at.offset,
            message,
            "write days, hours or minutes, such as \"30d\", \"12h\" or \"10m\"",
        );
    }
    every
}

fn duration(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        _ => return None,
    };
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    number.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn read(lines: &str) -> Result<(UpstreamIdentity, Option<Duration>), String> {
        let text =
            format!("node = \"gw1\"\n[resource.hospital]\nprotocol = \"postgres\"\nhost = \"h\"\n{lines}\n");
        let loaded = Config::parse(Path::new("wardline.toml"), &text);
        let config = loaded.config.ok_or_else(|| loaded.problems.to_string())?;
        let resource = &config.resources["hospital"];
        Ok((resource.identity.clone(), resource.rotation))
    }

    #[test]
    fn what_is_written_is_meant() {
        let role = |pattern: &str| UpstreamIdentity::SetRole { pattern: pattern.into() };
        let minutes = |minutes| Some(Duration::from_mins(minutes));
        for (lines, expected) in [
            ("", (UpstreamIdentity::None, None)),
            ("upstream_identity = \"none\"", (UpstreamIdentity::None, None)),
            ("upstream_identity = \"application_name\"", (UpstreamIdentity::ApplicationName, None)),
            ("upstream_identity = \"set-role\"", (role("{name}"), None)),
            ("upstream_identity = \"set-role\"\nupstream_role = \"p_{name}\"", (role("p_{name}"), None)),
            ("rotation = { every = \"30d\" }", (UpstreamIdentity::None, minutes(30 * 24 * 60))),
            ("rotation = { every = \"10m\" }", (UpstreamIdentity::None, minutes(10))),
        ] {
            assert_eq!(read(lines).as_ref(), Ok(&expected), "{lines}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for lines in [
            "upstream_identity = \"role\"",
            "upstream_role = \"p_{name}\"",
            "upstream_identity = \"set-role\"\nupstream_role = \"everybody\"",
            "upstream_identity = \"set-role\"\nupstream_role = \"{name}{name}\"",
            "rotation = {}",
            "rotation = { every = \"30\" }",
            "rotation = { every = \"9m\" }",
            "rotation = { every = \"d\" }",
            "rotation = { every = \"-1d\" }",
            "rotation = { every = \"400d\" }",
            "rotation = { every = \"99999999999999999999d\" }",
        ] {
            read(lines).expect_err(lines);
        }
    }
}
