//! Signing in: the rows of the registry become what `identity` decides on, and its verdict is settled in the registry.
//!
//! A token costs one read and one SHA-256. A password costs one argon2 on a thread of its own, within a bound. Failed
//! attempts are all answered at the same moment, so that the time says nothing about what was wrong.

use std::sync::Arc;
use std::time::Duration;

use identity::scram::{Mechanism, Verifier};
use identity::token::{self, StoredToken, TokenId};
use identity::totp::Sealer;
use identity::{Account, Factor, Failures, Proof, Reason, Rules, ScramSignIn, recovery};
use model::{Micros, PersonId, Secret, Shown};
use registry::{AccountRow, FactorUsed, FactorsRow, FailuresRow, SignIn, TokenRow, Verifiers, Wanted};
use tokio::time::Instant;

use crate::guards::Newcomer;
use crate::node::Node;

/// A failed attempt is answered at a multiple of this after it began. More than an idle machine needs for the slowest
/// path: one hash, one write to the disk.
const FAILURE_ANSWER: Duration = Duration::from_millis(500);

impl Node {
    /// Checks a name with a password or token that came in clear.
    pub(crate) async fn prove(&self, name: &str, secret: Secret) -> Result<Proof, Reason> {
        let began = Instant::now();
        let verdict = self.prove_now(name, secret).await;
        answer_together(began, verdict).await
    }

    async fn prove_now(&self, name: &str, secret: Secret) -> Result<Proof, Reason> {
        let is_token = token::looks_like_token(&secret);
        let wanted = match token::token_id(&secret) {
            Some(id) => Wanted::Token(id.0),
            None => Wanted::NoTokens,
        };
        let (account, tokens) = self.account(name, wanted).await?;
        let at = self.now();
        if is_token {
            return identity::check(account.as_ref(), &tokens, &secret, at);
        }
        let person = account.as_ref().map(|account| account.id);
        if let Some(verdict) = self.prove_elsewhere(account.as_ref(), &secret).await {
            return self.settle(person, verdict).await;
        }
        let checked = self.hashing.run(move || identity::check(account.as_ref(), &tokens, &secret, at)).await;
        let verdict = checked.map_err(|_| {
            tracing::warn!("too many log-ins with passwords at once; one was refused");
            Reason::Unavailable
        })?;
        self.settle(person, verdict).await
    }

    /// Has the directory compare the password of somebody who came from there. Whoever is disabled or locked is not asked for:
    /// guesses here must not lock anybody there.
    async fn prove_elsewhere(
        &self,
        account: Option<&Account>,
        secret: &Secret,
    ) -> Option<Result<Proof, Reason>> {
        let account = account?;
        let known = self.known_elsewhere(account.id).await?;
        let matched = match known {
            Ok(_) if account.disabled || account.failures.locked(self.now()) => Ok(false),
            Ok((directory, subject)) => self.password_elsewhere(&directory, &subject, secret).await,
            Err(reason) => Err(reason),
        };
        Some(identity::check_elsewhere(account, matched, self.now()))
    }

    /// Checks a name with a password and a code of a second factor.
    async fn prove_both_now(&self, name: &str, secret: Secret, code: &Secret) -> Result<Proof, Reason> {
        if token::looks_like_token(&secret) {
            return Err(Reason::WrongPassword);
        }
        let (account, tokens) = self.account(name, Wanted::NoTokens).await?;
        let at = self.now();
        let person = account.as_ref().map(|account| account.id);
        let password = match self.prove_elsewhere(account.as_ref(), &secret).await {
            Some(verdict) => verdict,
            None => {
                let checked = move || identity::check(account.as_ref(), &tokens, &secret, at);
                self.hashing.run(checked).await.map_err(|_| {
                    tracing::warn!("too many log-ins with passwords at once; one was refused");
                    Reason::Unavailable
                })?
            }
        };
        let Some(person) = person else { return password };
        self.settle_factor(person, code, at, |factor| identity::check_both(password, factor, at)).await
    }

    /// Lets somebody sign in: with a password, and a code of a second factor where one is given.
    pub(crate) async fn sign_in_afresh(
        &self,
        name: &str,
        secret: Secret,
        code: Option<&Secret>,
    ) -> Result<Newcomer, Reason> {
        let began = Instant::now();
        let proven = match code {
            Some(code) => self.prove_both_now(name, secret, code).await,
            None => self.prove_now(name, secret).await,
        };
        let verdict = match proven {
            Ok(proof) => self.newcomer(proof).await,
            Err(reason) => Err(reason),
        };
        answer_together(began, verdict).await
    }

    /// Checks a code alone, of somebody who is signed in already: their second factor is shown again. Counts failures as
    /// at sign-in.
    pub(crate) async fn prove_code(&self, name: &str, code: &Secret) -> Result<Proof, Reason> {
        let began = Instant::now();
        let verdict = self.prove_code_now(name, code).await;
        answer_together(began, verdict).await
    }

    async fn prove_code_now(&self, name: &str, code: &Secret) -> Result<Proof, Reason> {
        let (account, _) = self.account(name, Wanted::NoTokens).await?;
        let at = self.now();
        let Some(account) = account else { return Err(Reason::UnknownPerson) };
        self.settle_factor(account.id, code, at, |factor| identity::check_code(&account, factor, at)).await
    }

    /// Finds out what a code is, decides, counts, and uses the code up, in one step of the registry.
    async fn settle_factor(
        &self,
        person: PersonId,
        code: &Secret,
        at: Micros,
        decide: impl FnOnce(Result<Factor, Reason>) -> Result<Proof, Reason> + Send,
    ) -> Result<Proof, Reason> {
        let rules = self.rules();
        let settled = self.registry.attempt_with_factor(person, at, |now, factors| {
            let factor = factor(&self.totp, person, code, factors, at);
            let verdict = decide(factor.clone());
            let (after, verdict) = identity::settle(failures(now), verdict, at, &rules);
            let used = match (&verdict, factor) {
                (Ok(_), Ok(Factor::Totp(step))) => FactorUsed::Totp(step),
                (Ok(_), Ok(Factor::Recovery(digest))) => FactorUsed::Recovery(digest),
                (Ok(_) | Err(_), _) => FactorUsed::Nothing,
            };
            (failures_row(after), used, verdict)
        });
        match settled.await {
            Ok(verdict) => verdict,
            Err(registry::Error::FactorUsed) => Err(Reason::CodeUsed),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Takes the word of another check, such as that of a passkey or an identity provider, for who it is.
    pub(crate) async fn vouch(&self, name: &str, shown: Shown) -> Result<Proof, Reason> {
        let (account, _) = self.account(name, Wanted::NoTokens).await?;
        identity::vouched(account.as_ref(), shown, self.now())
    }

    /// Answers the first message of a SCRAM exchange.
    pub(crate) async fn scram_begin(
        &self,
        name: &str,
        mechanism: Mechanism,
        binding: Option<&[u8]>,
        client_first: &[u8],
    ) -> Result<(ScramSignIn, String), Reason> {
        let (account, tokens) = self.account(name, Wanted::TokensOfPerson).await?;
        ScramSignIn::start(name, account, tokens, &self.salts, mechanism, binding, client_first)
    }

    /// Checks the proof that ends a SCRAM exchange.
    pub(crate) async fn scram_end(
        &self,
        sign_in: ScramSignIn,
        name: &str,
        client_final: &[u8],
    ) -> Result<(Proof, String), Reason> {
        let began = Instant::now();
        let verdict = self.scram_end_now(sign_in, name, client_final).await;
        answer_together(began, verdict).await
    }

    async fn scram_end_now(
        &self,
        sign_in: ScramSignIn,
        name: &str,
        client_final: &[u8],
    ) -> Result<(Proof, String), Reason> {
        let found = self.registry.person(name).await.map_err(|error| unavailable(&error))?;
        let person = found.map(|person| person.id);
        match sign_in.finish(client_final, self.now()) {
            Ok((proof, server_final)) => {
                self.settle(person, Ok(proof)).await.map(|proof| (proof, server_final))
            }
            Err(reason) => self.settle(person, Err(reason)).await.map(|proof| (proof, String::new())),
        }
    }

    /// Counts a failure, or forgets earlier ones; refuses if other attempts locked the account meanwhile.
    async fn settle(
        &self,
        person: Option<PersonId>,
        verdict: Result<Proof, Reason>,
    ) -> Result<Proof, Reason> {
        let Some(person) = person else { return verdict };
        let at = self.now();
        let rules = self.rules();
        let settled = self.registry.attempt(person, move |now| {
            let (after, verdict) = identity::settle(failures(now), verdict, at, &rules);
            (failures_row(after), verdict)
        });
        settled.await.map_err(|error| unavailable(&error))?
    }

    fn rules(&self) -> Rules {
        let config = self.config.load();
        Rules {
            failures_max: config.sign_in.failures_max,
            failure_window: config.sign_in.failure_window,
            lock_duration: config.sign_in.lockout,
        }
    }

    async fn account(
        &self,
        name: &str,
        wanted: Wanted,
    ) -> Result<(Option<Account>, Vec<StoredToken>), Reason> {
        let SignIn { mut account, mut tokens } =
            self.registry.sign_in(name, wanted).await.map_err(|error| unavailable(&error))?;
        let closed = !self.config.load().emergency.mode.sign_in;
        if let Some(since) = self.emergency_mode.since().filter(|_| closed) {
            // What was given since then was given for sealed codes.
            tokens.retain(|token| token.issued_at >= since);
            account.iter_mut().for_each(|account| account.verifiers = Verifiers::default());
        }
        let account = account.map(self::account).transpose()?;
        let tokens = tokens.into_iter().map(stored_token).collect::<Result<_, _>>()?;
        Ok((account, tokens))
    }
}

/// Holds a failure back until the moment at which all failures are answered.
pub(crate) async fn answer_together<T, E>(began: Instant, verdict: Result<T, E>) -> Result<T, E> {
    if verdict.is_err() {
        let spent = began.elapsed().as_nanos() / FAILURE_ANSWER.as_nanos();
        let steps = u32::try_from(spent + 1).unwrap_or(u32::MAX);
        tokio::time::sleep_until(began + FAILURE_ANSWER.saturating_mul(steps)).await;
    }
    verdict
}

fn unavailable(error: &registry::Error) -> Reason {
    tracing::error!(%error, cause = std::error::Error::source(error).map(ToString::to_string), "the registry could not be asked");
    Reason::Unavailable
}

fn failures(row: FailuresRow) -> Failures {
    Failures { count: row.count, first_at: row.first_at, locked_until: row.locked_until }
}

fn failures_row(failures: Failures) -> FailuresRow {
    FailuresRow { count: failures.count, first_at: failures.first_at, locked_until: failures.locked_until }
}

/// Finds out which second factor of a person a code is.
fn factor(
    sealer: &Sealer,
    person: PersonId,
    code: &Secret,
    factors: &FactorsRow,
    at: Micros,
) -> Result<Factor, Reason> {
    if recovery::looks_like_code(code) {
        let digest = recovery::digest(person, code).filter(|digest| factors.recovery.contains(digest));
        return digest.map(Factor::Recovery).ok_or(Reason::WrongCode);
    }
    let Some(sealed) = &factors.totp else { return Err(Reason::WrongCode) };
    let shared = sealer.open(person, sealed).map_err(|error| {
        tracing::error!(%person, %error, "an authenticator cannot be checked");
        Reason::Unavailable
    })?;
    match shared.check(code, at, factors.totp_last_step) {
        Some(step) => Ok(Factor::Totp(step)),
        None if shared.check(code, at, 0).is_some() => Err(Reason::CodeUsed),
        None => Err(Reason::WrongCode),
    }
}

fn verifier(text: &str) -> Result<Verifier, Reason> {
    text.parse().map_err(|_| {
        tracing::error!("a SCRAM verifier in the registry is not readable");
        Reason::Unavailable
    })
}

fn account(row: AccountRow) -> Result<Account, Reason> {
    let roles: Vec<Arc<str>> = row.person.roles.iter().map(|role| role.as_str().into()).collect();
    Ok(Account {
        id: row.person.id,
        name: row.person.name.as_str().into(),
        roles: roles.into(),
        disabled: row.person.disabled_at.is_some(),
        scram: row.verifiers.scram.as_deref().map(verifier).transpose()?,
        password: row.verifiers.password,
        failures: failures(row.failures),
        has_factor: row.has_factor,
    })
}

fn stored_token(row: TokenRow) -> Result<StoredToken, Reason> {
    Ok(StoredToken {
        id: TokenId(row.id),
        person: row.person,
        digest: row.digest,
        issued: row.issued_at,
        expires: row.expires_at,
        revoked: row.revoked_at,
        scram: row.scram.as_deref().map(verifier).transpose()?,
        shown: row.shown,
    })
}

#[cfg(test)]
mod tests;
