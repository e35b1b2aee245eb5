//! How the resource is told who acts, when all sessions log in with one account of Wardline's.
//!
//! `application_name` shows the person in the resource's log and in `pg_stat_activity`. With a role for each person, the
//! resource's own rights apply as well: the role is a start-up setting, so that nothing the client may send leads back
//! behind it. Deliberately absent: making the roles, which is the database administrator's.

use model::{PersonId, Principal};

use crate::error::Failure;

/// PostgreSQL cuts names that are longer.
const NAME_BYTES_MAX: usize = 63;
/// What every name of ours begins with.
pub(crate) const PREFIX: &str = "wardline:";
/// Where the person's name goes in the pattern of a role.
pub const PERSON: &str = "{name}";

/// How the resource is told who acts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UpstreamIdentity {
    /// Not at all.
    #[default]
    None,
    /// By `application_name`: `wardline:` and the login name, then what the client calls itself.
    ApplicationName,
    /// By the same, and by acting as a role of the person's own.
    SetRole {
        /// The role's name, with [`PERSON`] where the login name goes.
        pattern: Box<str>,
    },
}

impl UpstreamIdentity {
    /// Tells whether the resource is told anything.
    pub(crate) fn is_told(&self) -> bool {
        match self {
            UpstreamIdentity::None => false,
            UpstreamIdentity::ApplicationName | UpstreamIdentity::SetRole { .. } => true,
        }
    }

    /// Tells whether sessions act as a role of the person's own.
    pub(crate) fn acts_as_role(&self) -> bool {
        match self {
            UpstreamIdentity::None | UpstreamIdentity::ApplicationName => false,
            UpstreamIdentity::SetRole { .. } => true,
        }
    }

    /// Puts what tells who acts into the start-up settings.
    ///
    /// # Errors
    /// When the name of the role would be longer than PostgreSQL's are.
    pub(crate) fn announce(
        &self,
        person: &Principal,
        settings: &mut Vec<(String, String)>,
    ) -> Result<(), Failure> {
        if !self.is_told() {
            return Ok(());
        }
        let is_name = |name: &str| name.eq_ignore_ascii_case("application_name");
        let own = settings.iter().rev().find(|(name, _)| is_name(name)).map(|(_, own)| own.clone());
        settings.retain(|(name, _)| !is_name(name));
        let name = application_name(person, own.as_deref().unwrap_or_default());
        settings.push(("application_name".to_owned(), name));
        match self {
            UpstreamIdentity::None | UpstreamIdentity::ApplicationName => {}
            UpstreamIdentity::SetRole { pattern } => {
                let role = pattern.replace(PERSON, &person.name);
                if role.len() > NAME_BYTES_MAX {
                    return Err(Failure::Ours(format!(
                        "the name of the person's role at the resource would be longer than {NAME_BYTES_MAX} bytes"
                    )));
                }
                settings.push(("role".to_owned(), role));
            }
        }
        Ok(())
    }
}

/// Returns the name under which the resource sees the session of a person whose client calls itself `own`.
pub(crate) fn application_name(person: &Principal, own: &str) -> String {
    let whole = format!("{PREFIX}{}", person.name);
    // A name that was cut could be somebody else's.
    let mut name = if whole.len() <= NAME_BYTES_MAX { whole } else { by_id(person.id) };
    let own: String = own.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
    if !own.trim().is_empty() {
        name.push(' ');
        name.push_str(own.trim());
        name.truncate(NAME_BYTES_MAX);
    }
    name
}

fn by_id(person: PersonId) -> String {
    format!("{PREFIX}#{:032x}", person.0)
}

/// Tells whether a name is one that [`application_name`] gave this person.
pub(crate) fn is_of(person: &Principal, shown: &[u8]) -> bool {
    let begin = application_name(person, "");
    let rest = shown.strip_prefix(begin.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: &str) -> Principal {
        let (roles, shown) = ([].into(), model::Shown::alone("test"));
        Principal { id: PersonId(0xab), name: name.into(), roles, agent: None, shown }
    }

    #[test]
    fn the_resource_sees_the_person_and_the_client() {
        for (own, expected) in [
            ("", "wardline:ann"),
            ("psql", "wardline:ann psql"),
            ("\u{1b}[31m pg\n\"x\"", "wardline:ann [31m pg\"x\""),
            (&"x".repeat(80), &format!("wardline:ann {}", "x".repeat(50))),
        ] {
            assert_eq!(application_name(&person("ann"), own), expected);
            assert!(is_of(&person("ann"), expected.as_bytes()));
            assert!(
                !is_of(&person("an"), expected.as_bytes()) && !is_of(&person("anna"), expected.as_bytes())
            );
        }
        let long = "n".repeat(63);
        assert_eq!(application_name(&person(&long), ""), format!("wardline:#{:032x}", 0xab));
        assert!(!is_of(&person("ann"), b"psql") && !is_of(&person("ann"), b""));
    }

    #[test]
    fn what_the_client_asked_for_does_not_stay_beside_it() {
        let asked = [("Application_Name", "a"), ("timezone", "UTC"), ("application_name", "b")];
        let mut asked: Vec<_> = asked.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let pattern = "p_{name}".into();
        UpstreamIdentity::SetRole { pattern }.announce(&person("ann"), &mut asked).unwrap();
        let asked: Vec<_> = asked.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(asked, [("timezone", "UTC"), ("application_name", "wardline:ann b"), ("role", "p_ann")]);
        let long = UpstreamIdentity::SetRole { pattern: "role_of_{name}".into() };
        assert!(long.announce(&person(&"n".repeat(60)), &mut Vec::new()).is_err());
    }
}
