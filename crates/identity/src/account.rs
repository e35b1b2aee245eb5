//! The decision whether a claim is proven, and what failures do to an account.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::{Micros, PersonId, Principal, Secret, Shown};
use thiserror::Error;

use crate::token::{Parsed, StoredToken, TokenId, at_after};
use crate::{password, scram, token};

/// What is stored about one person, as far as signing in needs it.
#[derive(Clone, Debug)]
pub struct Account {
    /// Who, for ever.
    pub id: PersonId,
    /// The login name.
    pub name: Arc<str>,
    /// The names of the roles held.
    pub roles: Arc<[Arc<str>]>,
    /// May not sign in, by whatever means.
    pub disabled: bool,
    /// The argon2id hash of the password, a PHC string.
    pub password: Option<String>,
    /// The SCRAM verifier of the same password.
    pub scram: Option<scram::Verifier>,
    /// Failures so far.
    pub failures: Failures,
    /// The person has a second factor, whether or not it was shown now.
    pub has_factor: bool,
}

impl Account {
    fn principal(&self, shown: Shown) -> Principal {
        let (name, roles) = (Arc::clone(&self.name), Arc::clone(&self.roles));
        Principal { id: self.id, name, roles, agent: None, shown }
    }
}

/// Wrong passwords in a row, and whether they have locked the account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// How many, since `first_at`.
    pub count: u32,
    /// When the first of them happened; meaningless while `count` is 0.
    pub first_at: Micros,
    /// Until when passwords are not accepted.
    pub locked_until: Option<Micros>,
}

impl Failures {
    /// Tells whether passwords are not accepted at this time.
    pub fn locked(&self, at: Micros) -> bool {
        self.locked_until.is_some_and(|until| at < until)
    }

    fn and_one_more(self, at: Micros, rules: &Rules) -> Failures {
        let over = self.locked_until.is_some() || at >= at_after(self.first_at, rules.failure_window);
        let (count, first_at) = if over || self.count == 0 { (0, at) } else { (self.count, self.first_at) };
        let count = count.saturating_add(1);
        let locked_until = (count >= rules.failures_max).then(|| at_after(at, rules.lock_duration));
        Failures { count, first_at, locked_until }
    }
}

/// When failures lock an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// This many wrong passwords lock the account.
    pub failures_max: u32,
    /// Only failures that happened within this time of the first one count together.
    pub failure_window: Duration,
    /// How long the lock holds. Attempts meanwhile do not make it longer.
    pub lock_duration: Duration,
}

impl Default for Rules {
    fn default() -> Rules {
        let quarter_hour = Duration::from_secs(15 * 60);
        Rules { failures_max: 10, failure_window: quarter_hour, lock_duration: quarter_hour }
    }
}

/// How somebody proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// With the password.
    Password,
    /// With this token.
    Token(TokenId),
    /// By another check than ours: of a passkey's signature, or of an identity provider's word.
    Vouched,
}

/// What was shown beside the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// A code of an authenticator, of this step.
    Totp(u64),
    /// A recovery code, by what is stored of it.
    Recovery([u8; 32]),
}

impl Factor {
    /// Returns how it is called in the trail, with the password.
    fn how(self) -> &'static str {
        match self {
            Factor::Totp(_) => "password+totp",
            Factor::Recovery(_) => "password+recovery-code",
        }
    }
}

/// The proof that a claim is true. Only [`check`] and [`crate::ScramSignIn`] make one.
#[derive(Debug)]
pub struct Proof {
    principal: Principal,
    means: Means,
    /// Failures so far are forgotten. Not for a password alone where there is a second factor: its codes could be guessed
    /// for ever between two such sign-ins.
    clears: bool,
}

impl Proof {
    /// Returns who was proven.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Returns who was proven.
    pub fn into_principal(self) -> Principal {
        self.principal
    }

    /// Returns how it was proven.
    pub fn means(&self) -> Means {
        self.means
    }
}

/// Why a claim was not believed. For the trail only: the client gets a [`Rejected`] and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// There is nobody of that name.
    #[error("there is no such person")]
    UnknownPerson,
    /// The password, or under SCRAM the token, is not right.
    #[error("the password is wrong")]
    WrongPassword,
    /// The person may not sign in.
    #[error("the account is disabled")]
    Disabled,
    /// The code of the second factor is not right.
    #[error("the code is wrong")]
    WrongCode,
    /// The code is right and was used before.
    #[error("the code was used before")]
    CodeUsed,
    /// No passkey of theirs signed what it was given.
    #[error("the passkey was not accepted")]
    WrongPasskey,
    /// The person said no in the browser.
    #[error("the person denied it in the browser")]
    Denied,
    /// Nobody approved it in the browser in time.
    #[error("nobody approved it in the browser")]
    NotApproved,
    /// An administrator's lock holds the person, or a role of theirs.
    #[error("a lock holds the person")]
    HeldByLock,
    /// Too many wrong passwords; this attempt was not looked at.
    #[error("the account is locked after repeated failures")]
    Locked,
    /// The person has no password, or none in the form that this listener asks for.
    #[error("the account has no verifier of this kind; set the password again")]
    NoVerifier,
    /// The token is not one of this person's.
    #[error("there is no such token")]
    TokenUnknown,
    /// The token's life is over.
    #[error("the token has expired")]
    TokenExpired,
    /// The token was withdrawn.
    #[error("the token was revoked")]
    TokenRevoked,
    /// The client broke the rules of SCRAM.
    #[error("the SCRAM exchange failed: {0}")]
    Protocol(#[from] scram::Error),
    /// A certificate was shown that is not believed, or proves somebody else.
    #[error("{0}")]
    Certificate(WrongCertificate),
    /// A program's token is not believed.
    #[error("the token of the program is not believed: {0}")]
    Workload(WrongToken),
    /// Whether it is true could not be found out, by our own fault.
    #[error("the account could not be checked")]
    Unavailable,
}

impl Reason {
    /// Returns the word for the trail and for metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Reason::UnknownPerson => "unknown-person",
            Reason::WrongPassword => "wrong-password",
            Reason::WrongCode => "wrong-code",
            Reason::CodeUsed => "code-used",
            Reason::WrongPasskey => "wrong-passkey",
            Reason::Denied => "denied-in-browser",
            Reason::NotApproved => "not-approved",
            Reason::Disabled => "disabled",
            Reason::HeldByLock => "held-by-lock",
            Reason::Locked => "locked",
            Reason::NoVerifier => "no-verifier",
            Reason::TokenUnknown => "token-unknown",
            Reason::TokenExpired => "token-expired",
            Reason::TokenRevoked => "token-revoked",
            Reason::Protocol(_) => "protocol",
            Reason::Certificate(wrong) => wrong.name(),
            Reason::Workload(wrong) => wrong.name(),
            Reason::Unavailable => "unavailable",
        }
    }
}

/// Why a certificate proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WrongCertificate {
    /// Its time is over.
    #[error("the certificate has expired")]
    Expired,
    /// Its time has not come.
    #[error("the certificate is not valid yet")]
    NotYet,
    /// No authority that is trusted issued it.
    #[error("the certificate is of another authority")]
    Foreign,
    /// It is not for clients, or cannot be read.
    #[error("the certificate is of no use here")]
    Unusable,
    /// It is good, and of a program that the name is not of.
    #[error("the certificate is of somebody else")]
    OfAnother,
    /// The program signs in by certificate, and showed none.
    #[error("a certificate is missing")]
    Missing,
}

impl WrongCertificate {
    /// Returns the word for the trail and for metrics.
    pub fn name(self) -> &'static str {
        match self {
            WrongCertificate::Expired => "certificate-expired",
            WrongCertificate::NotYet => "certificate-not-yet-valid",
            WrongCertificate::Foreign => "certificate-of-another-authority",
            WrongCertificate::Unusable => "certificate-unusable",
            WrongCertificate::OfAnother => "certificate-of-another",
            WrongCertificate::Missing => "certificate-missing",
        }
    }
}

/// Why a program's token proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WrongToken {
    /// It is no token, or signed in a way that is not accepted.
    #[error("it is no token of a kind that is accepted")]
    Malformed,
    /// It is not signed by a key of the issuer.
    #[error("its signature is not the issuer's")]
    Signature,
    /// Another issuer made it.
    #[error("it is of another issuer")]
    Issuer,
    /// It is meant for others.
    #[error("it is meant for somebody else")]
    Audience,
    /// Its time is over, or has not come.
    #[error("its time is over or has not come")]
    Time,
    /// It is of another program.
    #[error("it is of another program")]
    Subject,
    /// The issuer's keys could not be had.
    #[error("the keys of its issuer are not to be had")]
    Keys,
}

impl WrongToken {
    /// Returns the word for the trail and for metrics.
    pub fn name(self) -> &'static str {
        match self {
            WrongToken::Malformed => "workload-token-malformed",
            WrongToken::Signature => "workload-token-signature",
            WrongToken::Issuer => "workload-token-issuer",
            WrongToken::Audience => "workload-token-audience",
            WrongToken::Time => "workload-token-expired",
            WrongToken::Subject => "workload-token-of-another",
            WrongToken::Keys => "workload-token-keys",
        }
    }
}

/// The one answer to a client whose claim was not believed, whatever the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected;

impl From<Reason> for Rejected {
    fn from(_: Reason) -> Rejected {
        Rejected
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sign-in failed")
    }
}

impl std::error::Error for Rejected {}

/// Decides on a secret that came in clear: a token if it looks like one, otherwise a password.
///
/// Costs one argon2 for a password and one SHA-256 for a token, whatever the outcome and whether or not there is an
/// account. The verdict goes through [`settle`] before anybody acts on it.
pub fn check(
    account: Option<&Account>,
    tokens: &[StoredToken],
    secret: &Secret,
    at: Micros,
) -> Result<Proof, Reason> {
    if token::looks_like_token(secret) {
        check_token(account, tokens, secret, at)
    } else {
        check_password(account, secret, at)
    }
}

/// Decides on a password that somebody else compared, such as a directory; `matched` is `Err` where it could not.
///
/// Who is disabled or locked is refused whatever was found: the caller does not even ask for them.
pub fn check_elsewhere(
    account: &Account,
    matched: Result<bool, Reason>,
    at: Micros,
) -> Result<Proof, Reason> {
    admit(Some(account), matched.map(|right| right.then(by_password)), at)
}

fn check_password(account: Option<&Account>, secret: &Secret, at: Micros) -> Result<Proof, Reason> {
    let phc = account.and_then(|account| account.password.as_deref());
    let matched = match phc {
        Some(phc) => password::verify(secret, phc).map_err(|_| Reason::Unavailable),
        None => {
            password::verify_nobody(secret);
            Err(Reason::NoVerifier)
        }
    };
    let matched = matched.map(|right| right.then(by_password));
    admit(account, matched, at)
}

/// What somebody who knows the password showed.
pub(crate) fn by_password() -> (Means, Shown) {
    (Means::Password, Shown::alone("password"))
}

/// Adds what came of a second factor to what came of the password. Costs nothing: the password was checked before, and the
/// factor is checked with the account as it is when it is settled.
///
/// A wrong code counts as a wrong password does; which of the two was wrong stays between us and the trail.
pub fn check_both(
    password: Result<Proof, Reason>,
    factor: Result<Factor, Reason>,
    at: Micros,
) -> Result<Proof, Reason> {
    let proof = password?;
    if proof.means != Means::Password {
        // A token has its worth already.
        return Err(Reason::WrongPassword);
    }
    let shown = Shown::with_factor(factor?.how(), at);
    Ok(Proof { principal: Principal { shown, ..proof.principal }, means: proof.means, clears: true })
}

fn check_token(
    account: Option<&Account>,
    tokens: &[StoredToken],
    secret: &Secret,
    at: Micros,
) -> Result<Proof, Reason> {
    let parsed = Parsed::new(secret);
    let account = account.ok_or(Reason::UnknownPerson)?;
    let own = tokens.iter().filter(|token| token.person == account.id);
    let found = parsed.and_then(|parsed| own.into_iter().find(|token| token.is(&parsed)));
    let means = alive(found.ok_or(Reason::TokenUnknown)?, at)?;
    admit(Some(account), Ok(Some(means)), at)
}

/// Decides on a code of somebody who is signed in already and shows it again.
pub fn check_code(account: &Account, factor: Result<Factor, Reason>, at: Micros) -> Result<Proof, Reason> {
    let shown = factor.map(|factor| (Means::Password, Shown::with_factor(factor.how(), at)));
    let proof = admit(Some(account), shown.map(Some), at)?;
    Ok(Proof { clears: true, ..proof })
}

/// Takes the word of another check for who it is: the signature of a passkey, an identity provider. What is asked of an
/// account is asked all the same; a lock after wrong passwords does not stop what cannot be guessed.
pub fn vouched(account: Option<&Account>, shown: Shown, at: Micros) -> Result<Proof, Reason> {
    admit(account, Ok(Some((Means::Vouched, shown))), at)
}

/// Returns the token as a means of proof while it lives, with what was shown for it.
pub(crate) fn alive(token: &StoredToken, at: Micros) -> Result<(Means, Shown), Reason> {
    if token.revoked.is_some() {
        return Err(Reason::TokenRevoked);
    }
    if at >= token.expires {
        return Err(Reason::TokenExpired);
    }
    Ok((Means::Token(token.id), token.shown.clone()))
}

/// Turns what matched into a verdict. The only maker of a [`Proof`].
///
/// A lock stops passwords only: a token cannot be guessed, and whoever knows a login name must not be able to stop
/// that person's programs.
pub(crate) fn admit(
    account: Option<&Account>,
    matched: Result<Option<(Means, Shown)>, Reason>,
    at: Micros,
) -> Result<Proof, Reason> {
    let account = account.ok_or(Reason::UnknownPerson)?;
    if account.disabled {
        return Err(Reason::Disabled);
    }
    let guessable = !matches!(matched, Ok(Some((Means::Token(_) | Means::Vouched, _))));
    if account.failures.locked(at) && guessable {
        return Err(Reason::Locked);
    }
    let (means, shown) = matched?.ok_or(Reason::WrongPassword)?;
    let clears = means == Means::Password && !account.has_factor;
    Ok(Proof { principal: account.principal(shown), means, clears })
}

/// Applies a verdict to the failures as they are now, and the failures to the verdict.
///
/// Belongs into one transaction of the registry. A wrong password counts; the right one clears the count, unless
/// other attempts locked the account while this one was being checked: then it is refused, so that trying many
/// passwords at once gains nothing.
pub fn settle(
    now: Failures,
    verdict: Result<Proof, Reason>,
    at: Micros,
    rules: &Rules,
) -> (Failures, Result<Proof, Reason>) {
    let locked = now.locked(at);
    match verdict {
        Ok(Proof { means: Means::Password, .. })
        | Err(Reason::WrongPassword | Reason::WrongCode | Reason::CodeUsed)
            if locked =>
        {
            (now, Err(Reason::Locked))
        }
        Ok(proof) if proof.clears => (Failures::default(), Ok(proof)),
        Err(reason @ (Reason::WrongPassword | Reason::WrongCode | Reason::CodeUsed)) => {
            (now.and_one_more(at, rules), Err(reason))
        }
        verdict => (now, verdict),
    }
}

#[cfg(test)]
mod tests;
