//! Who may administer: rights of accounts and of people, and which right each request takes.
//!
//! Without `[operators]` the server's own account and root hold every right, as whoever can read the root key does
//! anyway. With it, nobody holds what is not written there. Deliberately absent: rights on resources, which are policy's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use identity::{Means, Reason};
use model::{Action, Kind, Outcome, Phase, Record, Verdict};

use crate::admin::{
    ActingPerson, Actor, AgentAsk, AskedEntries, Claim, RecertifyAsk, Refusal, Reply, Request, RightsView,
};
use crate::changes::{breakglass, exceptions};
use crate::guards::SEALED_CODE;
use crate::node::{DETAIL_BYTES_MAX, Node};
use crate::output;
use crate::standing::Standing;

/// What the name of an account of the operating system begins with, where rights are written.
pub(crate) const ACCOUNT_PREFIX: &str = "os:";

/// One administrative role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Right {
    /// People, credentials, configuration.
    Admin,
    /// Reads the trail, and what is in force.
    Auditor,
    /// Changes and destroys keys.
    KeyAdmin,
    /// Opens sealed values; decides what is kept and for how long.
    PrivacyOfficer,
    /// Agrees to what another person proposed.
    Approver,
    /// Enters who has learnt what.
    Trainer,
}

impl Right {
    /// All rights.
    pub(crate) const ALL: [Right; 6] = [
        Right::Admin,
        Right::Auditor,
        Right::KeyAdmin,
        Right::PrivacyOfficer,
        Right::Approver,
        Right::Trainer,
    ];

    /// Returns the word of the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Right::Admin => "admin",
            Right::Auditor => "auditor",
            Right::KeyAdmin => "key-admin",
            Right::PrivacyOfficer => "privacy-officer",
            Right::Approver => "approver",
            Right::Trainer => "trainer",
        }
    }

    /// Returns the right of that name.
    pub(crate) fn named(name: &str) -> Option<Right> {
        Right::ALL.into_iter().find(|right| right.name() == name)
    }
}

/// Rights somebody holds.
pub(crate) type Rights = BTreeSet<Right>;

/// The section `[operators]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Operators {
    /// A control socket for accounts that cannot look into the data folder.
    pub(crate) socket: Option<PathBuf>,
    /// The group of the operating system that may connect to it.
    pub(crate) group: Option<String>,
    /// By `os:ACCOUNT` or the name of a role.
    pub(crate) rights: BTreeMap<String, Rights>,
}

impl Operators {
    fn of(&self, actor: &Actor) -> Rights {
        let held = |holder: &str| self.rights.get(holder).into_iter().flatten().copied();
        match &actor.person {
            // Whoever acts as a person has that person's rights, and no more for the account they sit at.
            Some(person) => person.roles.iter().flat_map(|role| held(role)).collect(),
            None => held(&format!("{ACCOUNT_PREFIX}{}", actor.name)).collect(),
        }
    }
}

/// What a request takes: all of these, of each one of its alternatives.
#[derive(Clone, Copy, Debug)]
struct Needed {
    rights: &'static [&'static [Right]],
    action: Action,
}

/// Says what a request takes. A new request does not compile until somebody decided that.
#[expect(clippy::too_many_lines, reason = "a flat match: each request and what it takes")]
fn needed(request: &Request) -> Needed {
    use Right::{Admin, Approver, Auditor, KeyAdmin, PrivacyOfficer, Trainer};
    let (rights, action): (&[&[Right]], Action) = match request {
        // Whoever knows the password may have a token, and everybody may ask what they may do.
        Request::Login { .. }
        | Request::DeviceBegin { .. }
        | Request::DeviceAsk { .. }
        | Request::OperatorRights {} => (&[], Action::Connect),
        Request::UserAdd { .. }
        | Request::UserBind { .. }
        | Request::ScimToken { .. }
        | Request::ScimRevoke { .. }
        | Request::UserPassword { .. }
        | Request::UserDisable { .. }
        | Request::UserEnable { .. }
        | Request::UserDelete { .. }
        | Request::UserRoles { .. }
        | Request::UserTotp { .. }
        | Request::UserRecoveryCodes { .. }
        | Request::UserFactorsRemove { .. }
        | Request::TokenRevoke { .. }
        | Request::TokensRevoke { .. }
        | Request::VaultSet { .. }
        | Request::VaultRotate { .. }
        | Request::VaultRemove { .. }
        | Request::TrailSeal {}
        | Request::RegistryImport { .. }
        | Request::BackupBegin { .. }
        | Request::BackupEnd { .. }
        | Request::DrillEnd { .. }
        | Request::VaultList {}
        | Request::InboundAdd { .. }
        | Request::InboundRemove { .. } => (&[&[Admin]], Action::Administer),
        Request::InboundList {} => (&[&[Admin, Auditor]], Action::Review),
        Request::ExportFile { identifiers: false, .. } => (&[&[Auditor]], Action::Review),
        Request::ExportFile { identifiers: true, .. } => (&[&[Auditor], &[PrivacyOfficer]], Action::Review),
        Request::SurveyBegin { .. } | Request::SurveyEnd { .. } | Request::Explain { .. } => {
            (&[&[Admin, PrivacyOfficer]], Action::Administer)
        }
        // A person who asks for access need hold nothing; that it is a person is checked where it is done.
        Request::AccessAsk { .. } | Request::AccessWithdraw { .. } => (&[], Action::Connect),
        Request::AccessApprove { .. } | Request::AccessDeny { .. } => (&[&[Approver]], Action::Approve),
        Request::AccessRevoke { .. } => (&[&[Admin, Approver, PrivacyOfficer]], Action::Approve),
        Request::AccessList { .. } => {
            (&[&[Admin, Auditor, KeyAdmin, PrivacyOfficer, Approver]], Action::Review)
        }
        Request::BreakGlass { act } => breakglass::needed(act),
        Request::Exception { act } => exceptions::needed(act),
        Request::Training(ask) if ask.changes() => (&[&[Trainer, Admin]], Action::Administer),
        Request::Training(_) => (&[&[Trainer, Admin, Auditor, PrivacyOfficer, Approver]], Action::Review),
        // A reviewer need hold nothing; that it is the one who was named is checked where it is done.
        Request::Recertify(RecertifyAsk::Decide { .. } | RecertifyAsk::Show { .. }) => (&[], Action::Approve),
        Request::Recertify(RecertifyAsk::Start { .. }) => {
            (&[&[Admin, PrivacyOfficer, Approver]], Action::Approve)
        }
        Request::Recertify(_) => (&[&[Admin, Auditor, PrivacyOfficer, Approver]], Action::Review),
        Request::Account(ask) if ask.changes() => (&[&[Admin]], Action::Administer),
        Request::Account(_) => (&[&[Admin, Auditor, KeyAdmin, PrivacyOfficer, Approver]], Action::Review),
        Request::Policy(_) => (&[&[Admin, Auditor, KeyAdmin, PrivacyOfficer, Approver]], Action::Review),
        Request::Agent(AgentAsk::Add { .. }) => (&[&[Admin]], Action::Administer),
        // People delegate for themselves, and end what is theirs.
        Request::Agent(AgentAsk::Delegate { .. } | AgentAsk::End { .. }) => (&[], Action::Connect),
        Request::Agent(AgentAsk::List { .. }) => {
            (&[&[Admin, Auditor, KeyAdmin, PrivacyOfficer, Approver]], Action::Review)
        }
        Request::ArchiveManifest { .. } => (&[&[Admin, KeyAdmin, Auditor]], Action::Administer),
        Request::KeyList {} => (&[&[KeyAdmin, Auditor, PrivacyOfficer]], Action::Review),
        Request::KeyRotate {} | Request::KeyRotateCheckpoint { .. } | Request::KeyEscrow { .. } => {
            (&[&[KeyAdmin]], Action::Administer)
        }
        Request::HoldAdd { .. } | Request::HoldRemove { .. } => (&[&[PrivacyOfficer]], Action::Administer),
        Request::HoldList {} | Request::RetentionPlan {} | Request::Agreements {} => {
            (&[&[PrivacyOfficer, Approver, Auditor, KeyAdmin]], Action::Review)
        }
        Request::ExpirePropose { .. } => (&[&[PrivacyOfficer, KeyAdmin]], Action::Administer),
        Request::Agree { .. } => (&[&[Approver, PrivacyOfficer]], Action::Approve),
        Request::SessionKill { .. } | Request::LockPlace { .. } | Request::LockLift { .. } => {
            (&[&[Admin, PrivacyOfficer]], Action::Administer)
        }
        Request::UserList {}
        | Request::UserFactors { .. }
        | Request::ReportLeavers { .. }
        | Request::WorkloadList {}
        | Request::AccessMatrix { .. }
        | Request::SessionList {}
        | Request::LockList {} => (&[&[Admin, Auditor, KeyAdmin, PrivacyOfficer, Approver]], Action::Review),
        Request::TrailView { sealed: false, .. }
        | Request::Entries { asked: AskedEntries { sealed: false, .. } } => (&[&[Auditor]], Action::Review),
        Request::TrailView { sealed: true, .. }
        | Request::Entries { asked: AskedEntries { sealed: true, .. } } => {
            (&[&[Auditor], &[PrivacyOfficer]], Action::Review)
        }
    };
    Needed { rights, action }
}

/// Says what a request takes, in words: `` `admin` or `auditor` ``; empty where it takes nothing.
#[cfg(test)]
pub(crate) fn needed_in_words(request: &Request) -> String {
    needed(request).to_string()
}

/// Says what somebody wants to do, for the entry that they may not.
#[expect(clippy::too_many_lines, reason = "a flat match: each request and what it is called")]
fn what(request: &Request) -> (Kind, &'static str, String) {
    let change = |command: &'static str| (Kind::AdminChange, command, command.to_owned());
    match request {
        Request::Entries { asked } => (Kind::TrailViewed, "trail", asked.words()),
        Request::TrailView { what, .. } => (Kind::TrailViewed, "trail", what.clone()),
        Request::ExportFile { what, .. } => (Kind::Exported, "export file", what.clone()),
        Request::InboundAdd { source } => named("inbound add", source),
        Request::InboundRemove { source, .. } => named("inbound remove", source),
        Request::InboundList {} => change("inbound list"),
        Request::UserAdd { name, .. } => named("user add", name),
        Request::UserPassword { name, .. } => named("user passwd", name),
        Request::UserDisable { name, .. } => named("user disable", name),
        Request::UserEnable { name } => named("user enable", name),
        Request::UserDelete { name } => named("user delete", name),
        Request::UserRoles { name, .. } => named("user roles", name),
        Request::UserTotp { name } => named("user totp", name),
        Request::UserRecoveryCodes { name } => named("user recovery-codes", name),
        Request::UserFactors { name } | Request::UserFactorsRemove { name } => named("user factors", name),
        Request::TokensRevoke { name } => named("token revoke", name),
        Request::VaultSet { resource, .. } => named("vault set", resource),
        Request::VaultRotate { resource, .. } => named("vault rotate", resource),
        Request::VaultRemove { resource } => named("vault remove", resource),
        Request::SurveyBegin { resource, .. } | Request::SurveyEnd { resource, .. } => {
            named("phi scan", resource)
        }
        Request::Explain { resource, .. } => named("phi explain", resource),
        Request::SessionKill { .. } => change("session kill"),
        Request::LockPlace { .. } => change("lock add"),
        Request::LockLift { .. } => change("lock remove"),
        Request::AccessAsk { role, .. } => named("access request", role),
        Request::AccessApprove { .. } => change("access approve"),
        Request::AccessDeny { .. } => change("access deny"),
        Request::AccessWithdraw { .. } => change("access withdraw"),
        Request::AccessRevoke { .. } => change("access revoke"),
        Request::AccessList { .. } => change("access list"),
        Request::BreakGlass { act } => breakglass::what(act),
        Request::Exception { act } => exceptions::what(act),
        Request::Training(ask) => change(ask.command()),
        Request::Recertify(ask) => change(ask.command()),
        Request::Account(ask) => change(ask.command()),
        Request::Agent(ask) => change(ask.command()),
        Request::Policy(_) => change("policy who-can"),
        Request::SessionList {} => change("session list"),
        Request::LockList {} => change("lock list"),
        Request::UserList {} => change("user list"),
        Request::ReportLeavers { .. } => change("report leavers"),
        Request::WorkloadList {} => change("workload list"),
        Request::ScimToken { source } => named("scim token", source),
        Request::ScimRevoke { source } => named("scim revoke", source),
        Request::DeviceBegin { .. } | Request::DeviceAsk { .. } => change("login"),
        Request::UserBind { name, .. } => named("user bind", name),
        Request::TokenRevoke { .. } => change("token revoke"),
        Request::VaultList {} => change("vault list"),
        Request::AccessMatrix { .. } => change("access matrix"),
        Request::Login { .. } => change("login"),
        Request::TrailSeal {} => change("trail seal"),
        Request::RegistryImport { .. } => change("registry import"),
        Request::BackupBegin { .. } | Request::BackupEnd { .. } => change("backup"),
        Request::DrillEnd { .. } => change("drill"),
        Request::OperatorRights {} => change("operator rights"),
        Request::ArchiveManifest { .. } => change("trail archive"),
        Request::KeyList {} => change("key list"),
        Request::KeyRotate {} => change("key rotate"),
        Request::KeyRotateCheckpoint { .. } => change("key rotate-checkpoint"),
        Request::KeyEscrow { .. } => change("key escrow"),
        Request::HoldAdd { .. } => change("retention hold add"),
        Request::HoldList {} => change("retention hold list"),
        Request::HoldRemove { .. } => change("retention hold remove"),
        Request::RetentionPlan {} => change("retention plan"),
        Request::ExpirePropose { .. } => change("retention expire"),
        Request::Agree { .. } => change("operator agree"),
        Request::Agreements {} => change("operator agreements"),
    }
}

fn named(command: &'static str, name: &str) -> (Kind, &'static str, String) {
    let name = output::clipped(&output::printable(name), registry::NAME_BYTES_MAX);
    (Kind::AdminChange, command, format!("{command} `{name}`"))
}

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, any) in self.rights.iter().enumerate() {
            let names: Vec<String> = any.iter().map(|right| format!("`{}`", right.name())).collect();
            write!(f, "{}{}", if place > 0 { " and " } else { "" }, names.join(" or "))?;
        }
        Ok(())
    }
}

impl Node {
    /// Finds out who asks: the account, or the person who proves it with a token. A claim that fails is recorded.
    pub(crate) async fn identify(&self, account: Actor, claim: Option<Claim>) -> Result<Actor, Refusal> {
        let Some(Claim { name, token }) = claim else { return Ok(account) };
        // A registry of another time would let in whom a later change has barred.
        if let Standing::Older { .. } = self.standing() {
            let refusal =
                Refusal::new("nobody can act as a person while the registry is older than the trail");
            return Err(refusal.help("act as the server's own account, without --as"));
        }
        let reason = match self.prove(&name, token.0).await {
            Ok(proof) if matches!(proof.means(), Means::Token(_)) => match self.acting_for(proof).await {
                Ok(principal) if self.lock_on(principal.id, &principal.roles).is_some() => {
                    Reason::HeldByLock.name()
                }
                Ok(principal) if principal.agent.is_none() => {
                    let roles = principal.roles.iter().map(ToString::to_string).collect();
                    let person = ActingPerson {
                        id: principal.id,
                        name: principal.name.to_string(),
                        roles,
                        factor_at: principal.shown.factor_at,
                        by_code: *principal.shown.how == *SEALED_CODE,
                    };
                    return Ok(Actor { person: Some(person), ..account });
                }
                // What a person lets an agent do is done on resources, and not to Wardline.
                Ok(_) => "an-agent",
                Err(reason) => reason.name(),
            },
            Ok(_) => "not-a-token",
            Err(reason) => reason.name(),
        };
        let mut record = Record::new(Kind::SignIn, self.now());
        record.client = Some(format!("wardline, {}", account.shown()).into());
        record.person_name =
            Some(output::clipped(&output::printable(&name), registry::NAME_BYTES_MAX).into());
        record.outcome = Some(Outcome::Refused);
        record.detail = Some(reason.into());
        self.record_urgent(&record).await.map_err(|error| Refusal::because(&error))?;
        let refusal = Refusal::new(format!("that this is `{}` was not proven", output::printable(&name)));
        Err(refusal.help("`wardline login NAME --save` gets a token; an old one may have ended"))
    }

    /// Returns what somebody may do now.
    pub(crate) fn rights_of(&self, actor: &Actor) -> Rights {
        // Who was named and not proven administers nothing.
        if actor.person.as_ref().is_some_and(|person| person.by_code) {
            return Rights::new();
        }
        match &self.config.load().operators {
            Some(operators) => operators.of(actor),
            None if actor.is_owner() => Right::ALL.into_iter().collect(),
            None => Rights::new(),
        }
    }

    /// Refuses what somebody has no right to, or may not do now; the refusal is recorded.
    pub(crate) async fn authorise(&self, actor: &Actor, request: &Request) -> Result<(), Refusal> {
        let needed = needed(request);
        let held = self.rights_of(actor);
        let has = needed.rights.iter().all(|any| any.iter().any(|right| held.contains(right)));
        let (why, refusal) = match has {
            false => {
                let refusal =
                    Refusal::new(format!("{} has no right to this: it takes {needed}", actor.shown()));
                let help = "rights are given in [operators.rights] of the server's configuration";
                (format!("takes the right {needed}"), refusal.help(help))
            }
            true => match self.barrier(actor, request).await? {
                Some(refusal) => (refusal.message.clone(), refusal),
                None => return Ok(()),
            },
        };
        let (kind, command, what) = what(request);
        let mut record = Record::new(kind, self.now());
        actor.sign(&mut record);
        record.phase = Some(Phase::Refused);
        record.outcome = Some(Outcome::Refused);
        record.verdict = Some(Verdict::Deny);
        record.action = Some(needed.action);
        record.command = Some(command.into());
        let detail = format!("{}: {why}", output::printable(&what));
        record.detail = Some(output::clipped(&detail, DETAIL_BYTES_MAX).into());
        self.record_urgent(&record).await.map_err(|error| Refusal::because(&error))?;
        Err(refusal.denied())
    }

    /// Tells who holds which right, and what the one who asks may do.
    pub(crate) fn operator_rights(&self, actor: &Actor) -> Reply {
        let names = |rights: &Rights| rights.iter().map(|right| right.name().to_owned()).collect();
        let configured = self.config.load().operators.as_ref().map(|operators| {
            operators.rights.iter().map(|(holder, rights)| (holder.clone(), names(rights))).collect()
        });
        let (you, yours) = (actor.shown(), names(&self.rights_of(actor)));
        Reply::Rights(RightsView { you, yours, holders: configured })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operators() -> Operators {
        let rights = [
            ("os:root", &[Right::Admin, Right::KeyAdmin][..]),
            ("audit", &[Right::Auditor]),
            ("privacy", &[Right::PrivacyOfficer, Right::Auditor]),
        ];
        let rights =
            rights.into_iter().map(|(holder, rights)| (holder.to_owned(), rights.iter().copied().collect()));
        Operators { rights: rights.collect(), ..Operators::default() }
    }

    fn actor(account: &str, roles: Option<&[&str]>) -> Actor {
        let person = roles.map(|roles| ActingPerson {
            id: model::PersonId(1),
            name: "ann".into(),
            roles: roles.iter().map(ToString::to_string).collect(),
            factor_at: None,
            by_code: false,
        });
        Actor { uid: 0, name: account.into(), person }
    }

    fn may(actor: &Actor, request: &Request) -> bool {
        let held = operators().of(actor);
        needed(request).rights.iter().all(|any| any.iter().any(|right| held.contains(right)))
    }

    #[test]
    fn rights_are_those_that_are_written_and_no_more() {
        let view =
            |sealed| Request::TrailView { what: String::new(), patients: vec![], issuers: vec![], sealed };
        let delete = || Request::UserDelete { name: "ann".into() };
        let cases = [
            (actor("root", None), delete(), true),
            (actor("root", None), view(false), false),
            (actor("wardline", None), delete(), false),
            // A person brings nothing of the account.
            (actor("root", Some(&["audit"])), delete(), false),
            (actor("root", Some(&["audit"])), view(false), true),
            (actor("root", Some(&["audit"])), view(true), false),
            (actor("guest", Some(&["privacy"])), view(true), true),
            (actor("guest", Some(&["nurse"])), view(false), false),
            (actor("guest", Some(&[])), Request::OperatorRights {}, true),
            // A role cannot be called as an account is written.
            (actor("guest", Some(&["root"])), delete(), false),
        ];
        for (actor, request, expected) in cases {
            assert_eq!(may(&actor, &request), expected, "{actor:?} {request:?}");
        }
    }

    #[test]
    fn a_right_has_one_name() {
        for right in Right::ALL {
            assert_eq!(Right::named(right.name()), Some(right));
        }
        assert_eq!(Right::named("Admin"), None);
    }
}
