//! What stands before everything that somebody asks, beside the right that it takes: locks, how they signed in, and how long
//! ago they showed a second factor.
//!
//! Asked where somebody is proven ([`Node::newcomer`], `identify`, `visitor`) and where they are authorised; nowhere else.
//! Deliberately absent: sessions on resources, which policy decides with the same locks.

use std::net::IpAddr;
use std::time::Duration;

use identity::{Means, Proof, Reason};
use model::{Micros, PersonId, Principal};
pub(crate) use registry::SEALED_CODE;
use registry::{AccountKind, LockRow, LockedRow, PersonRow, Wanted};

use crate::admin::{AccountAsk, ActingPerson, Actor, AgentAsk, RecertifyAsk, Refusal, Request, TrainingAsk};
use crate::changes::breakglass::{Act, Finish};
use crate::changes::{Change, exceptions};
use crate::node::Node;

/// A second factor shown so long ago at most is behind an act of administration that counts.
const STEP_UP_AGE: Duration = Duration::from_mins(15);

/// Somebody who proved just now, by something of their own, who they are: a password, a passkey, a provider's word.
///
/// INVARIANT: [`Node::newcomer`] is the only maker, and nothing else begins a session of the web or is given a token. So no
/// token begets another one, or lives on as a session.
#[derive(Debug)]
pub(crate) struct Newcomer(Principal);

impl Newcomer {
    /// Returns who it is.
    pub(crate) fn into_principal(self) -> Principal {
        self.0
    }
}

/// What a request asks of whoever makes it, beside a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight<'a> {
    /// Nothing: it proves itself who asks.
    Proves,
    /// It is also for whom a sealed code named.
    Named,
    /// A sign-in of any kind.
    Usual,
    /// A fresh second factor, of whoever has one.
    Sensitive,
    /// The same; and it is about that person's proofs, which nobody gives themselves.
    Proofs(&'a str),
}

/// Says what a request asks. A new one does not compile until somebody decided that.
#[expect(clippy::too_many_lines, reason = "a flat match: each request and what it asks")]
fn weight(request: &Request) -> Weight<'_> {
    match request {
        Request::Login { .. }
        | Request::DeviceBegin { .. }
        | Request::DeviceAsk { .. }
        | Request::BreakGlass { act: Act::ByCode { .. } } => Weight::Proves,
        Request::BreakGlass { act: Act::List { .. } | Act::Finish { how: Finish::End, .. } }
        | Request::OperatorRights {} => Weight::Named,
        Request::UserPassword { name, .. }
        | Request::UserTotp { name }
        | Request::UserRecoveryCodes { name }
        | Request::UserFactorsRemove { name }
        | Request::UserBind { name, .. } => Weight::Proofs(name),
        Request::UserAdd { .. }
        | Request::UserEnable { .. }
        | Request::UserDelete { .. }
        | Request::UserRoles { .. }
        | Request::ScimToken { .. }
        | Request::InboundAdd { .. }
        | Request::VaultSet { .. }
        | Request::VaultRotate { .. }
        | Request::VaultRemove { .. }
        | Request::RegistryImport { .. }
        | Request::AccessApprove { .. }
        | Request::BreakGlass { act: Act::CodesNew { .. } | Act::Approve { .. } | Act::Review { .. } }
        | Request::Exception { act: exceptions::Act::Add { .. } | exceptions::Act::Approve { .. } }
        | Request::Recertify(RecertifyAsk::Start { .. } | RecertifyAsk::Decide { .. })
        | Request::Account(AccountAsk::Describe { .. } | AccountAsk::DescribeUpstream { .. })
        | Request::Agent(AgentAsk::Add { .. })
        | Request::KeyRotate {}
        | Request::KeyRotateCheckpoint { .. }
        | Request::KeyEscrow { .. }
        | Request::HoldAdd { .. }
        | Request::HoldRemove { .. }
        | Request::ExpirePropose { .. }
        | Request::Agree { .. }
        | Request::LockLift { .. } => Weight::Sensitive,
        // What takes away is not held up, and looking is no change.
        Request::UserDisable { .. }
        | Request::UserList {}
        | Request::UserFactors { .. }
        | Request::ScimRevoke { .. }
        | Request::WorkloadList {}
        | Request::ReportLeavers { .. }
        | Request::TokenRevoke { .. }
        | Request::TokensRevoke { .. }
        | Request::VaultList {}
        | Request::TrailView { .. }
        | Request::ExportFile { .. }
        | Request::InboundRemove { .. }
        | Request::InboundList {}
        | Request::ArchiveManifest { .. }
        | Request::SessionList {}
        | Request::SessionKill { .. }
        | Request::LockPlace { .. }
        | Request::LockList {}
        | Request::AccessAsk { .. }
        | Request::AccessDeny { .. }
        | Request::AccessWithdraw { .. }
        | Request::AccessRevoke { .. }
        | Request::AccessList { .. }
        | Request::BreakGlass {
            act:
                Act::Begin { .. }
                | Act::Drill { .. }
                | Act::CodesList {}
                | Act::Finish { how: Finish::Revoke, .. }
                | Act::Timeline { .. },
        }
        | Request::Exception { act: exceptions::Act::End { .. } | exceptions::Act::List {} }
        | Request::Training(
            TrainingAsk::Complete { .. }
            | TrainingAsk::Withdraw { .. }
            | TrainingAsk::Roster {}
            | TrainingAsk::Completions {},
        )
        | Request::Recertify(
            RecertifyAsk::List {} | RecertifyAsk::Show { .. } | RecertifyAsk::Report { .. },
        )
        | Request::Account(AccountAsk::Report { .. })
        | Request::Agent(AgentAsk::Delegate { .. } | AgentAsk::End { .. } | AgentAsk::List { .. })
        | Request::Policy(_)
        | Request::KeyList {}
        | Request::Entries { .. }
        | Request::HoldList {}
        | Request::RetentionPlan {}
        | Request::Agreements {}
        | Request::SurveyBegin { .. }
        | Request::SurveyEnd { .. }
        | Request::Explain { .. }
        | Request::TrailSeal {}
        | Request::BackupBegin { .. }
        | Request::BackupEnd { .. }
        | Request::DrillEnd { .. }
        | Request::AccessMatrix { .. } => Weight::Usual,
    }
}

impl Node {
    /// Takes a proof for a sign-in. Not that of a token, which would live on for ever; not that of an agent, which acts by
    /// nothing but delegations; not of somebody whom a lock holds.
    pub(crate) async fn newcomer(&self, proof: Proof) -> Result<Newcomer, Reason> {
        match proof.means() {
            Means::Password | Means::Vouched => {}
            Means::Token(_) => return Err(Reason::WrongPassword),
        }
        let principal = self.acting_for(proof).await?;
        match self.lock_on(principal.id, &principal.roles) {
            Some(_) => Err(Reason::HeldByLock),
            None => Ok(Newcomer(principal)),
        }
    }

    /// Returns the lock that holds somebody: on them, or on a role of theirs.
    pub(crate) fn lock_on(&self, person: PersonId, roles: &[impl AsRef<str>]) -> Option<u64> {
        let locks = self.locks.load();
        locks.iter().find(|lock| holds(lock, person, roles)).map(|lock| lock.number)
    }

    /// Returns the lock that holds whoever comes from an address.
    pub(crate) fn lock_on_address(&self, address: IpAddr) -> Option<u64> {
        let locks = self.locks.load();
        let is = |lock: &&LockRow| lock.locked == LockedRow::Address && reaches(&lock.name, address);
        locks.iter().find(is).map(|lock| lock.number)
    }

    /// Returns why somebody who has the right may not do it now all the same.
    pub(crate) async fn barrier(&self, actor: &Actor, request: &Request) -> Result<Option<Refusal>, Refusal> {
        // An account of the operating system was proven by that system, and shows no factor to us.
        let Some(person) = &actor.person else { return Ok(None) };
        if let Some(number) = self.lock_on(person.id, &person.roles) {
            return Ok(Some(Refusal::new(format!("lock {number} holds you")).help(
                "somebody whom no lock holds lifts it, or the server's own account: `wardline lock remove`",
            )));
        }
        match weight(request) {
            Weight::Proves | Weight::Named => Ok(None),
            Weight::Usual | Weight::Sensitive | Weight::Proofs(_) if person.by_code => {
                let refusal = Refusal::new("a sealed code stands for one emergency access and nothing else");
                Ok(Some(refusal.help("sign in as usual")))
            }
            Weight::Usual => Ok(None),
            Weight::Proofs(name) if name == person.name => {
                let refusal = Refusal::new("nobody gives themselves a password or a second factor");
                Ok(Some(refusal.help("ask somebody else who holds the right; your own page changes the factors that you can show")))
            }
            Weight::Sensitive | Weight::Proofs(_) => self.stale(person).await,
        }
    }

    /// Returns why somebody has to sign in again: they have a second factor, and did not show it a short while ago.
    async fn stale(&self, person: &ActingPerson) -> Result<Option<Refusal>, Refusal> {
        if person.factor_at.is_some_and(|at| is_fresh(at, self.now())) {
            return Ok(None);
        }
        let known = self.registry.sign_in(&person.name, Wanted::NoTokens).await;
        let known = known.map_err(|error| Refusal::because(&error))?;
        if known.account.is_some_and(|account| !account.has_factor) {
            return Ok(None);
        }
        let minutes = STEP_UP_AGE.as_secs() / 60;
        let message = format!("this takes your second factor, shown within the last {minutes} minutes");
        let help = format!(
            "`wardline login {} --second-factor --save` gets such a token; in a browser, open /step-up",
            person.name
        );
        Ok(Some(Refusal::new(message).help(help)))
    }

    /// Finds somebody who may have a password and second factors. An agent has none: it acts by delegations alone.
    pub(crate) async fn known_to_sign_in(
        &self,
        change: &Change<'_>,
        name: &str,
    ) -> Result<PersonRow, Refusal> {
        let person = self.known(change, name).await?;
        let kind = self.registry.account_kind(person.id).await.map_err(|error| Refusal::because(&error))?;
        if kind != AccountKind::Agent {
            return Ok(person);
        }
        let refusal =
            Refusal::new(format!("`{}` is an agent: it signs in by delegations alone", person.name));
        Err(self.refused(change, refusal.help("`wardline agent delegate` gives one")).await)
    }
}

fn is_fresh(shown: Micros, now: Micros) -> bool {
    u128::from(now.0.saturating_sub(shown.0)) <= STEP_UP_AGE.as_micros()
}

fn holds(lock: &LockRow, person: PersonId, roles: &[impl AsRef<str>]) -> bool {
    match &lock.locked {
        LockedRow::Person(locked) => *locked == person,
        LockedRow::Role => roles.iter().any(|role| role.as_ref() == lock.name),
        LockedRow::Resource | LockedRow::Address => false,
    }
}

/// Tells whether an address is within a range such as `10.1.2.0/24`, or is that address. What cannot be read reaches
/// everybody: a lock that holds nobody would be worse.
fn reaches(range: &str, address: IpAddr) -> bool {
    let (base, prefix) = match range.split_once('/') {
        Some((base, prefix)) => (base, prefix.parse::<u32>().ok()),
        None => (range, Some(u128::BITS)),
    };
    let (Ok(base), Some(prefix)) = (base.parse::<IpAddr>(), prefix) else { return true };
    let kept = |bits: u32| bits.saturating_sub(prefix.min(bits));
    match (base.to_canonical(), address.to_canonical()) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            (base.to_bits() ^ address.to_bits()).checked_shr(kept(32)).unwrap_or(0) == 0
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => {
            (base.to_bits() ^ address.to_bits()).checked_shr(kept(128)).unwrap_or(0) == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests;
