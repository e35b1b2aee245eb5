//! What an administrator can ask for, as values: what goes over the control socket and what comes back.
//!
//! How it is done is in `changes`; nothing here acts.

mod accounts;
mod policy;
mod recertify;
mod training;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use model::{Micros, PersonId, Record, Secret};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use crate::changes::breakglass::{Act, ByCodeView, DrilledView, EmergencyView, SheetView, TimelineView};
use crate::changes::exceptions::{self, ExceptionView};
pub(crate) use accounts::{AccountAsk, AccountView, AgentAsk, AgentReply, DelegationView};
pub(crate) use policy::{PolicyAsk, PolicyView};
pub(crate) use recertify::{
    Answered, CampaignReport, CampaignView, Over, RecertifyAsk, RecertifyReply, RightView,
};
pub(crate) use training::{Completed, CompletionView, LessonView, Told, TrainingAsk, TrainingReply};

/// A password on its way to the server process: serialised for the socket, never shown.
#[derive(Clone, Debug, ToSchema)]
#[schema(value_type = String, format = Password)]
pub(crate) struct Sensitive(pub(crate) Secret);

impl Serialize for Sensitive {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for Sensitive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sensitive, D::Error> {
        String::deserialize(deserializer).map(|text| Sensitive(Secret::new(text)))
    }
}

/// One thing an administrator asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Add a person.
    UserAdd { name: String, display_name: String, roles: Vec<String>, password: Sensitive },
    /// Set a password and end a lock.
    UserPassword { name: String, password: Sensitive },
    /// Refuse a person from now on, and end what they have; the time is when the employment ended.
    UserDisable {
        name: String,
        #[serde(default)]
        ended_at_us: Option<u64>,
    },
    /// Admit a disabled person again.
    UserEnable { name: String },
    /// Delete a person for ever.
    UserDelete { name: String },
    /// Replace a person's roles.
    UserRoles { name: String, roles: Vec<String> },
    /// List the people.
    UserList {},
    /// Ask an identity provider for a code that is typed on another device.
    DeviceBegin { provider: Option<String> },
    /// Ask whether it was typed; then it is a token.
    DeviceAsk { handle: Sensitive, life_s: Option<u64> },
    /// Say who somebody of an identity provider is.
    UserBind { name: String, provider: String, subject: String },
    /// Make a token for a system that manages people.
    ScimToken { source: String },
    /// End the tokens of such a system.
    ScimRevoke { source: String },
    /// The programs that sign in by themselves.
    WorkloadList {},
    /// Who was barred, and how long it took, told from one time to before another.
    ReportLeavers { from_us: u64, to_us: u64 },
    /// Exchange a password for a token.
    Login {
        name: String,
        password: Sensitive,
        life_s: Option<u64>,
        /// Of the second factor, where it is shown.
        #[serde(default)]
        code: Option<Sensitive>,
    },
    /// Give a person an authenticator in place of the one before.
    UserTotp { name: String },
    /// Give a person recovery codes in place of those before.
    UserRecoveryCodes { name: String },
    /// Which second factors a person has.
    UserFactors { name: String },
    /// Take all second factors of a person away.
    UserFactorsRemove { name: String },
    /// End one token.
    TokenRevoke { id: String },
    /// End all tokens of a person.
    TokensRevoke { name: String },
    /// Store a resource's credential.
    VaultSet {
        resource: String,
        user: String,
        password: Sensitive,
        /// The account that takes turns with the first.
        #[serde(default)]
        second: bool,
    },
    /// Change the password of a resource's account.
    VaultRotate {
        resource: String,
        /// Of both accounts, where there are two.
        #[serde(default)]
        all: bool,
    },
    /// Forget a resource's credential.
    VaultRemove { resource: String },
    /// List the resources that have a credential.
    VaultList {},
    /// Record that somebody is about to read the trail.
    TrailView {
        what: String,
        /// The patients that are looked for, and whose identifiers these may be.
        #[serde(default)]
        patients: Vec<Sensitive>,
        #[serde(default)]
        issuers: Vec<String>,
        /// Sealed values are opened too.
        #[serde(default)]
        sealed: bool,
    },
    /// Record that entries are about to be written into a file for others.
    ExportFile {
        what: String,
        /// Patients are named by their identifiers, in clear.
        #[serde(default)]
        identifiers: bool,
    },
    /// Make a token by which another system reports events.
    InboundAdd { source: String },
    /// End the tokens of such a system, or one of them.
    InboundRemove { source: String, token: Option<String> },
    /// List the systems that may report.
    InboundList {},
    /// Record which files of the archive were written.
    ArchiveManifest { manifest: String },
    /// List the open sessions.
    SessionList {},
    /// End open sessions.
    SessionKill { which: Which, reason: String },
    /// Refuse everything to, or of, something.
    LockPlace { on: LockOn, reason: String },
    /// End a lock.
    LockLift { number: u64, reason: String },
    /// List the locks in force.
    LockList {},
    /// Ask for a role on a resource for a time.
    AccessAsk { role: String, resource: String, purpose: String, reason: String, duration_s: u64 },
    /// Approve what somebody else asked for.
    AccessApprove { number: u64 },
    /// Say no to what somebody asked for.
    AccessDeny { number: u64, reason: String },
    /// Take back what one asked for oneself.
    AccessWithdraw { number: u64, reason: String },
    /// Take a grant away.
    AccessRevoke { number: u64, reason: String },
    /// List requests and grants.
    AccessList { also_closed: bool },
    /// Something about emergency access.
    BreakGlass { act: Act },
    /// Something about the register of exceptions.
    Exception { act: exceptions::Act },
    /// What people must learn, and did.
    Training(TrainingAsk),
    /// Campaigns in which people look at the rights of others.
    Recertify(RecertifyAsk),
    /// What accounts are, and who answers for them.
    Account(AccountAsk),
    /// Programs that act for people.
    Agent(AgentAsk),
    /// What a policy is, or was, made from.
    Policy(PolicyAsk),
    /// Who may do what with Wardline itself.
    OperatorRights {},
    /// The keys of the trail.
    KeyList {},
    /// Make further class keys of this month.
    KeyRotate {},
    /// Let another key sign checkpoints.
    KeyRotateCheckpoint { overlap_days: u32 },
    /// Entries, for an account that cannot read the trail itself.
    Entries { asked: AskedEntries },
    /// The root key is sealed for the day when its file is lost.
    KeyEscrow { key_id: String, custodians: u8 },
    /// Keep entries beyond their time.
    HoldAdd { hold: NewHold },
    /// What is held.
    HoldList {},
    /// Propose that a hold ends.
    HoldRemove { id: u64, reason: String },
    /// Which months are there, and which may expire.
    RetentionPlan {},
    /// Propose that a month expires.
    ExpirePropose { month: u32, reason: String },
    /// Agree to what somebody else proposed; then it is done.
    Agree { id: u64 },
    /// What was proposed and agreed.
    Agreements {},
    /// Record that an administrator is about to read a resource outside of any session.
    SurveyBegin { resource: String, what: String },
    /// Record what came of it.
    SurveyEnd { resource: String, what: String, rows: u64, failed: Option<String> },
    /// Say what would become of a statement that a person sends. The text may hold a patient's datum.
    Explain {
        resource: String,
        person: String,
        text: Sensitive,
        address: IpAddr,
        #[serde(default)]
        purpose: Option<String>,
    },
    /// End the segment that is written to, and bring all complete ones to the store.
    TrailSeal {},
    /// Fill the registry, which must be empty, from a file.
    RegistryImport { file: PathBuf },
    /// Make what a backup begins with: a copy of the registry, and the checkpoint that goes with it.
    BackupBegin { to: String },
    /// Record that a backup is whole.
    BackupEnd { what: String },
    /// Record that a backup was restored for trial.
    DrillEnd { what: String },
    /// Decide, for every person, resource, action, relation and class of protected values.
    AccessMatrix {
        relations: Vec<String>,
        #[serde(default)]
        classes: Vec<String>,
        address: IpAddr,
        #[serde(default)]
        purpose: Option<String>,
    },
}

/// Which sessions are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Which {
    /// One, by its id.
    Session(String),
    /// All of a person.
    Person(String),
    /// All on a resource.
    Resource(String),
}

/// What a lock is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LockOn {
    /// A person, by login name.
    Person(String),
    /// Everybody who holds a role.
    Role(String),
    /// A resource, for everybody.
    Resource(String),
    /// An address or range.
    Address(String),
}

/// What came of a request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// It was done.
    Done(Reply),
    /// It was not.
    Refused(Refusal),
}

/// What a request gave.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// Nothing but that it was done.
    Nothing {},
    /// The credential is stored; whether the resource is in the configuration in force.
    Stored { in_force: bool },
    /// The account whose password was changed, and which is in use now.
    Rotated { users: Vec<String> },
    /// The person as they are now.
    Person(PersonView),
    /// Everybody.
    People(Vec<PersonView>),
    /// A code to be typed on another device.
    Device(DeviceView),
    /// Programs.
    Workloads(Vec<WorkloadView>),
    /// Who was barred.
    Leavers(Vec<LeaverView>),
    /// A fresh token.
    Token(TokenView),
    /// A fresh secret of an authenticator, in clear: the only time.
    Authenticator { person: String, secret: Sensitive, address: Sensitive },
    /// Fresh recovery codes, in clear: the only time.
    RecoveryCodes { person: String, codes: Vec<Sensitive> },
    /// The second factors of a person.
    Factors(FactorsView),
    /// How many second factors were taken away.
    FactorsRemoved { factors: u64 },
    /// How many tokens ended.
    Revoked { tokens: u64 },
    /// A fresh token of a system that reports, in clear: the only time.
    SourceToken { source: String, id: String, token: Sensitive },
    /// Systems that may report.
    Sources(Vec<SourceView>),
    /// Names of resources.
    Resources(Vec<String>),
    /// The open sessions.
    Sessions(Vec<OpenSession>),
    /// How many sessions were told to end.
    Ended { sessions: usize },
    /// The number of the new lock.
    Locked { number: u64 },
    /// The locks in force.
    Locks(Vec<LockView>),
    /// Requests and grants.
    Requests(Vec<RequestView>),
    /// Emergency access.
    Emergencies(Vec<EmergencyView>),
    /// What was done under emergency access.
    Timeline(Box<TimelineView>),
    /// Emergency access by a sealed code, and the token that goes with it.
    ByCode(Box<ByCodeView>),
    /// Sealed codes.
    Sheet(SheetView),
    /// What a drill of emergency access showed.
    Drilled(Box<DrilledView>),
    /// Exceptions, and protections without one.
    Exceptions(Vec<ExceptionView>),
    /// About training.
    Training(TrainingReply),
    /// About campaigns.
    Recertify(RecertifyReply),
    /// Accounts.
    Accounts(Vec<AccountView>),
    /// About agents.
    Agent(AgentReply),
    /// What a policy was made from.
    Policy(PolicyView),
    /// Decisions.
    Matrix(Vec<CellView>),
    /// What would become of a statement.
    Explained(ExplainView),
    /// Segments that were sealed.
    Sealed { segments: Vec<String> },
    /// How many people the registry has now.
    Imported { people: usize },
    /// Where the copy of the registry is, and the checkpoint that goes with it.
    Snapshot { registry: PathBuf, checkpoint: String, change: u64 },
    /// Who may do what with Wardline itself.
    Rights(RightsView),
    /// Keys.
    Keys(Vec<KeyView>),
    /// Entries as they are shown, one a text; and whether there were more than an answer takes.
    Entries { lines: Vec<String>, more: bool },
    /// Another key signs.
    KeyChanged(KeyChangeView),
    /// Holds.
    Holds(Vec<HoldView>),
    /// Months.
    Months(Vec<MonthView>),
    /// Agreements.
    Agreements(Vec<AgreementView>),
}

/// Which entries to keep. Everything that is said must fit.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewHold {
    pub(crate) reason: String,
    pub(crate) patient: Option<Sensitive>,
    pub(crate) person: Option<String>,
    pub(crate) resource: Option<String>,
    pub(crate) from_us: Option<u64>,
    pub(crate) to_us: Option<u64>,
}

/// A key, without the key.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct KeyView {
    pub(crate) class: String,
    pub(crate) period: u32,
    pub(crate) generation: u32,
    pub(crate) id: String,
    pub(crate) current: bool,
}

/// Which entries are asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskedEntries {
    /// This one; otherwise the last ones.
    pub(crate) index: Option<u64>,
    pub(crate) count: u32,
    pub(crate) person: Option<String>,
    pub(crate) resource: Option<String>,
    /// The name of a kind.
    pub(crate) kind: Option<String>,
    /// With literals and identifiers, which takes another right.
    pub(crate) sealed: bool,
    pub(crate) json: bool,
}

impl AskedEntries {
    /// Returns what is recorded of it.
    pub(crate) fn words(&self) -> String {
        let mut words = match self.index {
            Some(index) => format!("show {index}"),
            None => format!("tail {}", self.count),
        };
        let filters = [("person", &self.person), ("resource", &self.resource), ("kind", &self.kind)];
        for (name, value) in filters {
            if let Some(value) = value {
                words.push_str(&format!(" {name} {value}"));
            }
        }
        words.push_str(", over the operators' socket");
        if self.sealed {
            words.push_str(", sealed values opened");
        }
        words
    }
}

/// A change of the key that signs checkpoints.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct KeyChangeView {
    pub(crate) number: u32,
    pub(crate) old: String,
    pub(crate) new: String,
    pub(crate) entries: u64,
    pub(crate) both_until: String,
    pub(crate) entry: u64,
}

/// A hold. The patient is not told: whoever asks may read no sealed values.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct HoldView {
    pub(crate) id: u64,
    pub(crate) reason: String,
    pub(crate) of_a_patient: bool,
    pub(crate) person: Option<String>,
    pub(crate) resource: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) added_by: String,
    pub(crate) added_at: String,
    pub(crate) removed_at: Option<String>,
}

/// A month of the trail.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct MonthView {
    pub(crate) month: u32,
    pub(crate) first: u64,
    pub(crate) entries: u64,
    pub(crate) last_at: String,
    /// `kept`, `may-expire` or `expired`.
    pub(crate) state: String,
    /// The first month in which it may expire, as `YYYYMM`.
    pub(crate) may_expire_in: u32,
    pub(crate) tombstone: Option<u64>,
    pub(crate) held: u64,
}

/// An act that takes two people.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AgreementView {
    pub(crate) id: u64,
    pub(crate) what: String,
    pub(crate) reason: String,
    pub(crate) proposed_by: String,
    pub(crate) proposed_at: String,
    pub(crate) expires_at: String,
    pub(crate) agreed_by: Option<String>,
    pub(crate) agreed_at: Option<String>,
    pub(crate) done_at: Option<String>,
}

/// The second factors of a person, without their secrets.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct FactorsView {
    pub(crate) person: String,
    /// When an authenticator was given out.
    pub(crate) totp_added_at: Option<String>,
    /// When its first code was taken.
    pub(crate) totp_confirmed_at: Option<String>,
    pub(crate) recovery_codes_left: usize,
    pub(crate) passkeys: Vec<PasskeyView>,
}

/// A passkey, without its key.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PasskeyView {
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) added_at: String,
    pub(crate) used_at: Option<String>,
}

/// Who may do what with Wardline itself.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RightsView {
    pub(crate) you: String,
    pub(crate) yours: Vec<String>,
    /// `None` where the configuration has no `[operators]`.
    pub(crate) holders: Option<BTreeMap<String, Vec<String>>>,
}

/// A person, for humans and machines.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PersonView {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) display_name: String,
    pub(crate) roles: Vec<String>,
    pub(crate) disabled: bool,
    /// Until when sign-in is locked, after failures.
    pub(crate) locked_until: Option<String>,
    pub(crate) created_at: String,
    /// What ended, where they were just barred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) departure: Option<DepartureView>,
}

/// What ended because somebody was barred.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct DepartureView {
    pub(crate) sessions: u64,
    pub(crate) tokens: u64,
    pub(crate) ended_at: Option<String>,
}

/// A code to be typed on another device.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DeviceView {
    /// By which it is asked for.
    pub(crate) handle: Sensitive,
    pub(crate) user_code: String,
    pub(crate) address: String,
    pub(crate) address_with_code: Option<String>,
    pub(crate) expires_s: u64,
    pub(crate) pause_s: u64,
}

/// A program that signs in by itself.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct WorkloadView {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) owner: String,
    pub(crate) roles: Vec<String>,
    pub(crate) means: Vec<String>,
    /// What is not as it should be, in words; empty where nothing is.
    pub(crate) finding: String,
}

/// Somebody who was barred.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LeaverView {
    pub(crate) number: u64,
    pub(crate) person: String,
    pub(crate) person_id: String,
    /// `command`, `scim:NAME` or `ldap`.
    pub(crate) source: String,
    pub(crate) told_by: String,
    /// When the employment ended, where that was said.
    pub(crate) ended_at: Option<String>,
    pub(crate) told_at: String,
    /// When nothing of theirs was alive any more.
    pub(crate) cut_at: Option<String>,
    pub(crate) sessions: u64,
    pub(crate) tokens: u64,
    /// To the last cut, or until now.
    pub(crate) seconds_from_told: u64,
    pub(crate) minutes_from_end: Option<u64>,
    /// More than 60 minutes after the end of the employment.
    pub(crate) late: bool,
    /// What is not as it should be, in words; empty where nothing is.
    pub(crate) finding: String,
}

/// An open session.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct OpenSession {
    pub(crate) id: String,
    pub(crate) person: String,
    pub(crate) resource: String,
    pub(crate) address: String,
    /// What the client program calls itself.
    pub(crate) client: String,
    /// The program that acts for the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<String>,
    pub(crate) since: String,
    /// How many operations were asked.
    pub(crate) asked: u64,
    /// How long nothing was asked.
    pub(crate) idle_s: u64,
}

/// A request for access, and what became of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RequestView {
    pub(crate) number: u64,
    pub(crate) person: String,
    pub(crate) person_id: String,
    pub(crate) role: String,
    pub(crate) resource: String,
    pub(crate) purpose: String,
    pub(crate) reason: String,
    pub(crate) duration_s: u64,
    pub(crate) approvals: u32,
    pub(crate) approved_by: Vec<String>,
    /// `waiting`, `granted`, `denied`, `withdrawn`, `revoked` or `expired`.
    pub(crate) state: String,
    pub(crate) asked_at: String,
    /// Until when it is a grant.
    pub(crate) until: Option<String>,
    pub(crate) closed_by: Option<String>,
    pub(crate) closed_why: Option<String>,
}

/// A lock in force.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LockView {
    pub(crate) number: u64,
    /// `person`, `role`, `resource` or `address`.
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) reason: String,
    pub(crate) placed_by: String,
    pub(crate) placed_at: String,
}

/// A token, in clear: the only time.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TokenView {
    pub(crate) token: Sensitive,
    pub(crate) id: String,
    pub(crate) person: String,
    pub(crate) expires_at: String,
    /// Where clients connect, for hints.
    pub(crate) address: String,
}

/// A system that may report.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SourceView {
    pub(crate) source: String,
    /// Whose identifiers it uses; `None` when it is not in the configuration.
    pub(crate) issuer: Option<String>,
    /// Its tokens: id, and when it was added.
    pub(crate) tokens: Vec<(String, String)>,
}

/// One decision of the matrix.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CellView {
    pub(crate) person: String,
    pub(crate) resource: String,
    pub(crate) action: String,
    pub(crate) object: String,
    pub(crate) allowed: bool,
    pub(crate) policies: Vec<String>,
}

/// What would become of a statement.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExplainView {
    pub(crate) person: String,
    pub(crate) resource: String,
    /// `sent`, `denied` by policy, `refused` for protected values, or `unreadable`.
    pub(crate) verdict: String,
    /// Why it cannot be read.
    pub(crate) unreadable: Option<String>,
    /// Why nothing is masked, where that is so.
    pub(crate) unmasked: Option<String>,
    pub(crate) needs: Vec<NeedView>,
    pub(crate) statements: Vec<StatementView>,
}

/// A right, and whether policy gives it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NeedView {
    pub(crate) action: String,
    pub(crate) object: String,
    pub(crate) allowed: bool,
    pub(crate) policies: Vec<String>,
}

/// One statement of a text.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StatementView {
    /// Why it is refused; empty if it is not.
    pub(crate) refused: Vec<String>,
    /// `None` where their number is not known from the text.
    pub(crate) outputs: Option<Vec<OutputView>>,
}

/// One output of a statement.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OutputView {
    /// Empty where it is not known.
    #[serde(default)]
    pub(crate) name: String,
    /// `plain`, `masked`, `null` or `refused`.
    pub(crate) fate: String,
    pub(crate) reason: String,
    pub(crate) columns: Vec<OriginView>,
}

/// A column beneath an output.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OriginView {
    pub(crate) name: String,
    /// `protected`, `clean` or `unclassified`.
    pub(crate) held: String,
    pub(crate) class: Option<String>,
    pub(crate) operator: Option<String>,
    pub(crate) usage: Option<String>,
    pub(crate) seen_by: Vec<String>,
}

/// Why something was not done, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// For want of a right.
    #[serde(default)]
    pub(crate) denied: bool,
}

impl Refusal {
    /// Says why.
    pub(crate) fn new(message: impl Into<String>) -> Refusal {
        Refusal { message: message.into(), help: None, denied: false }
    }

    /// Adds what to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Refusal {
        self.help = Some(help.into());
        self
    }

    /// Says that it is for want of a right.
    pub(crate) fn denied(mut self) -> Refusal {
        self.denied = true;
        self
    }

    /// Tells an error with its causes.
    pub(crate) fn because(error: &dyn std::error::Error) -> Refusal {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Refusal::new(message)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

/// What ends a command as refused: exit code 1, and not 2 as for what could not run.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Refusal);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Refused {}

/// Who somebody says they are, and the token that proves it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claim {
    pub(crate) name: String,
    pub(crate) token: Sensitive,
}

/// What goes over the control socket: a request, and who asks where it is a person.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub(crate) claim: Option<Claim>,
    pub(crate) request: Request,
}

/// No account of the operating system.
const NOBODY: u32 = u32::MAX;

/// Who asks: an account of the operating system, as the kernel says, and the person who proved to sit there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Actor {
    pub(crate) uid: u32,
    pub(crate) name: String,
    pub(crate) person: Option<ActingPerson>,
}

/// A person of the registry who acts, proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ActingPerson {
    pub(crate) id: PersonId,
    pub(crate) name: String,
    pub(crate) roles: Vec<String>,
    /// When they last showed a second factor.
    pub(crate) factor_at: Option<Micros>,
    /// Named by two custodians with a sealed code, and not proven.
    pub(crate) by_code: bool,
}

/// What the names of other systems begin with.
const SYSTEMS: [&str; 3] = ["oidc:", "scim:", "ldap:"];

impl Actor {
    /// Returns the account behind a uid.
    pub(crate) fn of_uid(uid: u32) -> Actor {
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let name = accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, number) = (fields.next()?, fields.nth(1)?);
            (number.parse() == Ok(uid)).then(|| name.to_owned())
        });
        Actor { uid, name: name.unwrap_or_else(|| format!("uid-{uid}")), person: None }
    }

    /// Stands for the passing of time, by which grants end.
    pub(crate) fn time() -> Actor {
        Actor { uid: rustix::process::getuid().as_raw(), name: "wardline".to_owned(), person: None }
    }

    /// Stands for another system that says who people are, such as `oidc:hospital`; no account has a colon in its name.
    pub(crate) fn system(name: &str) -> Actor {
        Actor { uid: NOBODY, name: name.to_owned(), person: None }
    }

    /// Stands for nobody who calls from that address, until a person is proven.
    pub(crate) fn on_the_web(peer: Option<SocketAddr>) -> Actor {
        let name = peer.map_or("web".to_owned(), |peer| format!("web {}", peer.ip()));
        Actor { uid: NOBODY, name, person: None }
    }

    /// Returns the account this process runs for.
    pub(crate) fn ourselves() -> Actor {
        Actor::of_uid(rustix::process::getuid().as_raw())
    }

    /// Returns the name for the trail: the person's, or the account's with a prefix that cannot begin a login name.
    pub(crate) fn shown(&self) -> String {
        match &self.person {
            Some(person) => person.name.clone(),
            None => self.account(),
        }
    }

    fn account(&self) -> String {
        if SYSTEMS.iter().any(|system| self.name.starts_with(system)) {
            return self.name.clone();
        }
        format!("os:{}", self.name)
    }

    /// Tells whether it is the account that the server runs for, or root: they can reach every file anyway.
    pub(crate) fn is_owner(&self) -> bool {
        self.uid == 0 || self.uid == rustix::process::geteuid().as_raw()
    }

    /// Writes into a record who acts, and at which account a person sits.
    pub(crate) fn sign(&self, record: &mut Record<'_>) {
        record.person_name = Some(self.shown().into());
        record.client = Some(match &self.person {
            Some(_) => format!("wardline, {}", self.account()).into(),
            None => "wardline".into(),
        });
        record.person = self.person.as_ref().map(|person| person.id);
    }
}
