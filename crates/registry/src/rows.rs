//! What goes in and comes out.

use std::fmt;

use model::{Micros, PersonId, Shown};

/// A person to be added.
#[derive(Clone, Debug)]
pub struct NewPerson {
    /// A fresh identity.
    pub id: PersonId,
    /// The login name.
    pub name: String,
    /// The name for people to read.
    pub display_name: String,
    /// The names of the roles to hold.
    pub roles: Vec<String>,
    /// How to sign in.
    pub verifiers: Verifiers,
}

/// What a password is checked against, in the two forms of sign-in.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Verifiers {
    /// The argon2id hash, a PHC string.
    pub password: Option<String>,
    /// The SCRAM-SHA-256 verifier, in PostgreSQL's text form.
    pub scram: Option<String>,
}

impl fmt::Debug for Verifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifiers")
            .field("password", &self.password.is_some())
            .field("scram", &self.scram.is_some())
            .finish()
    }
}

/// A living person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonRow {
    /// The identity for ever.
    pub id: PersonId,
    /// The login name.
    pub name: String,
    /// The name for people to read.
    pub display_name: String,
    /// The names of the roles held, in order.
    pub roles: Vec<String>,
    /// Since when the person may not sign in.
    pub disabled_at: Option<Micros>,
    /// When the person was added.
    pub created_at: Micros,
}

/// A person with what signing in needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// Who.
    pub person: PersonRow,
    /// What a password is checked against.
    pub verifiers: Verifiers,
    /// Failures so far.
    pub failures: FailuresRow,
    /// The person has an authenticator that was used, a recovery code that was not, or a passkey.
    pub has_factor: bool,
}

/// Failed sign-ins in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailuresRow {
    /// How many.
    pub count: u32,
    /// When the first of them happened.
    pub first_at: Micros,
    /// Until when the account is locked.
    pub locked_until: Option<Micros>,
}

/// A token, without the power to use it.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Its public part.
    pub id: [u8; 16],
    /// Whose it is.
    pub person: PersonId,
    /// SHA-256 of the whole.
    pub digest: [u8; 32],
    /// Its SCRAM-SHA-256 verifier, in PostgreSQL's text form.
    pub scram: Option<String>,
    /// When it was issued.
    pub issued_at: Micros,
    /// From when on it is no longer accepted.
    pub expires_at: Micros,
    /// When it was withdrawn.
    pub revoked_at: Option<Micros>,
    /// How the person showed who they are when it was issued.
    pub shown: Shown,
}

impl fmt::Debug for TokenRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRow")
            .field("id", &format_args!("{:032x}", u128::from_be_bytes(self.id)))
            .field("person", &self.person)
            .field("expires_at", &self.expires_at)
            .field("revoked_at", &self.revoked_at)
            .finish_non_exhaustive()
    }
}

/// Which tokens a sign-in needs. Depends on the shape of the claim only, never on the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// None: a password came in clear.
    NoTokens,
    /// The one with this id, whatever its state: a token came in clear.
    Token([u8; 16]),
    /// Those of the person that are not revoked, the longest-lived first and at most
    /// [`crate::TOKENS_PER_PERSON_MAX`]; expired ones may be among them. For SCRAM.
    TokensOfPerson,
}

/// What is known about somebody who wants to sign in.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// The living person of that name.
    pub account: Option<AccountRow>,
    /// The tokens asked for.
    pub tokens: Vec<TokenRow>,
}
