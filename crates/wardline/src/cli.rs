//! The command line: what can be asked for, with help and examples. What it does is in `commands`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use model::Micros;

use crate::commands::account::{AccountCommand, AgentCommand};
use crate::commands::policy::PolicyCommand;
use crate::commands::recertify::RecertifyCommand;
use crate::commands::sessions::{LockCommand, SessionCommand};
use crate::commands::training::TrainingCommand;
use crate::commands::{operator, retention};
use crate::output;

/// An access gateway for health data. Every access has a person, a policy and a record.
#[derive(Debug, Parser)]
#[command(name = "wardline", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "\
Examples:
  wardline init                          writes wardline.toml and the keys
  wardline vault set hospital --user app stores the credential of a resource
  wardline user add ann --role nurse     adds a person
  wardline serve                         starts the gateway
  wardline trail tail -f                 follows what is being accessed

Exit codes: 0 done, 1 refused or damage found, 2 could not run, 3 the trail failed, 4 a protection is switched off without
an exception.")]
pub(crate) struct Cli {
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = "wardline.toml")]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) operator: operator::Operator,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the gateway
    Serve(Serve),
    /// Validate the configuration, the policies and the files they name, without starting
    Check(Check),
    /// Write a first configuration and the keys; never overwrites
    Init(Init),
    /// Add, change and list people
    #[command(subcommand)]
    User(User),
    /// Exchange a password for a token of limited life
    Login(Login),
    /// Tokens given out by `login`
    #[command(subcommand)]
    Token(Token),
    /// Who may administer Wardline itself
    #[command(subcommand)]
    Operator(operator::OperatorCommand),
    /// The trail's keys
    #[command(subcommand)]
    Key(retention::Key),
    /// For how long entries are kept
    #[command(subcommand)]
    Retention(retention::Retention),
    /// The registry as a whole
    #[command(subcommand)]
    Registry(crate::commands::registry::RegistryCommand),
    /// Credentials of the resources; no client ever sees them
    #[command(subcommand)]
    Vault(Vault),
    /// Who is connected now, and ending that
    #[command(subcommand)]
    Session(SessionCommand),
    /// Keep a person, a role, a resource or a device out, at once and until further notice
    #[command(subcommand)]
    Lock(LockCommand),
    /// What people must learn, and did
    #[command(subcommand)]
    Training(TrainingCommand),
    /// Examples that the policy must answer rightly, and who may do what, also on a past day
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Let named people look at the rights that others hold
    #[command(subcommand)]
    Recertify(RecertifyCommand),
    /// What accounts are, and who answers for them
    #[command(subcommand)]
    Account(AccountCommand),
    /// Programs that act on behalf of people
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Read the trail
    #[command(subcommand)]
    Trail(Trail),
    /// Who asked for a patient's records, or was shown them
    WhoSaw(WhoSaw),
    /// Which accesses a person had, and of how many patients
    Saw(Saw),
    /// Hand entries over to other systems, as files
    #[command(subcommand)]
    Export(crate::commands::export::Export),
    /// Other systems that report events
    #[command(subcommand)]
    Inbound(crate::commands::inbound::Inbound),
    /// Prove that nothing in a trail was altered, dropped, reordered or cut off
    Verify(Verify),
    /// Check an answer that `trail search --prove` wrote, without trust in who wrote it
    VerifyAnswer(crate::commands::answer::VerifyAnswer),
    /// Check a proof that an entry is in a log, without the log
    VerifyProof(crate::commands::prove::VerifyProof),
    /// Sign for others which checkpoints of their logs were seen
    Witness(crate::commands::witness::Witness),
    /// Who may do what
    #[command(subcommand)]
    Access(Access),
    /// Emergency access: taken, told to others, over by itself, reviewed
    #[command(subcommand)]
    BreakGlass(crate::commands::breakglass::BreakGlass),
    /// Protections that are switched off, and why that is allowed
    #[command(subcommand)]
    Exception(crate::commands::exception::ExceptionCommand),
    /// Programs that sign in by themselves
    #[command(subcommand)]
    Workload(crate::commands::workload::WorkloadCommand),
    /// Systems that manage people by SCIM
    #[command(subcommand)]
    Scim(crate::commands::scim::ScimCommand),
    /// Reports for auditors
    #[command(subcommand)]
    Report(crate::commands::report::Report),
    /// What of a resource is protected, and what that does to a statement
    #[command(subcommand)]
    Phi(Phi),
    #[command(flatten)]
    Keep(crate::commands::keep::Keep),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Signals:
  SIGHUP             read the configuration again; open sessions re-decide at once
  SIGTERM, SIGINT    let sessions finish, then close (`drain_timeout_ms`)

Examples:
  wardline serve
  wardline --config /etc/wardline/wardline.toml serve --log-json

Exit codes: 0 drained, 2 could not start, 3 the trail could not be written.")]
pub(crate) struct Serve {
    /// Write the log as JSON lines
    #[arg(long)]
    pub(crate) log_json: bool,
    /// What to log: error, warn, info, debug, or a filter such as `gateway=debug`
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,
    /// Start with a registry that is older than the trail, for this reason; it is recorded as an incident
    #[arg(long, value_name = "REASON", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) accept_older_registry: Option<String>,
    /// Go on with a restored trail, of which this is the last checkpoint that anybody holds; it is recorded
    #[arg(long, value_name = "FILE", conflicts_with = "next_origin")]
    pub(crate) last_checkpoint: Option<PathBuf>,
    /// Close the trail as it is and begin the next one, for this reason; its first entry says so
    #[arg(long, value_name = "REASON", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) next_origin: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wardline check
  wardline --config new.toml check --json
  wardline check --fields

Exit codes: 0 it would start, 1 it would not, 4 it would, and a protection is switched off without an exception.")]
pub(crate) struct Check {
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// List every option there is, with its default, instead
    #[arg(long)]
    pub(crate) fields: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wardline init
  wardline --config /etc/wardline/wardline.toml init --node gw1")]
pub(crate) struct Init {
    /// Name of this node and origin of its log; the host's name when left out
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Every change is in the trail before it takes effect. It takes effect at once, also for open sessions.

Examples:
  wardline user add ann --role nurse
  wardline user list")]
pub(crate) enum User {
    /// Add a person
    #[command(after_help = "\
Examples:
  wardline user add ann --role nurse
  wardline user add ann --role nurse --role triage --generate-password
  echo \"$PASSWORD\" | wardline user add ann --role nurse --password-stdin")]
    Add {
        /// Login name; ids behind names are never reused
        name: String,
        /// Role from wardline.toml; may be given several times
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// Name for humans, such as "Ann Example, ward 3"
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        #[command(flatten)]
        password: PasswordSource,
        #[command(flatten)]
        output: Json,
    },
    /// Set a new password; ends a lock after failed log-ins
    #[command(after_help = "\
Tokens live on; `wardline token revoke --person ann` ends them.

Examples:
  wardline user passwd ann
  wardline user passwd ann --generate-password")]
    Passwd {
        /// Login name
        name: String,
        #[command(flatten)]
        password: PasswordSource,
        #[command(flatten)]
        output: Json,
    },
    /// Refuse a person from now on; open sessions end
    #[command(after_help = "\
All sessions and tokens of the person end within a minute; `wardline report leavers` says when the last did.

Examples:
  wardline user disable ann
  wardline user disable ann --ended-at 2026-11-23T16:00:00Z")]
    Disable {
        /// Login name
        name: String,
        /// When the employment ended: a day, or a day and time in UTC
        #[arg(long, value_name = "TIME", value_parser = output::parse_time)]
        ended_at: Option<Micros>,
        #[command(flatten)]
        output: Json,
    },
    /// Admit a disabled person again
    #[command(after_help = "Example:\n  wardline user enable ann")]
    Enable {
        /// Login name
        name: String,
        #[command(flatten)]
        output: Json,
    },
    /// Delete a person; the name is free again, the id never is
    #[command(after_help = "Example:\n  wardline user delete ann")]
    Delete {
        /// Login name
        name: String,
        #[command(flatten)]
        output: Json,
    },
    /// Say who somebody of an identity provider is
    #[command(after_help = "\
The subject is the claim `sub` of the provider's tokens. It is bound for ever; a person may have several.

Example:
  wardline user bind ann --provider hospital --subject 2f1c7a90-83ab-4c5e-9d10-5b6f3f0c7d21")]
    Bind {
        /// Login name
        name: String,
        /// Name of [oidc.NAME]
        #[arg(long, value_name = "NAME")]
        provider: String,
        /// Who they are there
        #[arg(long, value_name = "SUBJECT")]
        subject: String,
        #[command(flatten)]
        output: Json,
    },
    /// Replace the roles of a person
    #[command(after_help = "\
Examples:
  wardline user roles ann --role nurse --role triage
  wardline user roles ann --none")]
    Roles {
        /// Login name
        name: String,
        /// Role to hold from now on; may be given several times
        #[arg(long = "role", value_name = "ROLE", required_unless_present = "none")]
        roles: Vec<String>,
        /// Hold no role
        #[arg(long, conflicts_with = "roles")]
        none: bool,
        #[command(flatten)]
        output: Json,
    },
    #[command(flatten)]
    Factor(crate::commands::factors::Factor),
    /// List the people
    #[command(after_help = "Examples:\n  wardline user list\n  wardline user list --json")]
    List {
        #[command(flatten)]
        output: Json,
    },
}

#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct PasswordSource {
    /// Read the password from the first line of standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// Make a password and print it, once
    #[arg(long)]
    pub(crate) generate_password: bool,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Json {
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The token goes where the password goes. Its life ends by itself, or by `wardline token revoke`.

Examples:
  wardline login ann
  wardline login ann --second-factor
  wardline login ann --life-s 3600 --json
  export PGPASSWORD=$(wardline login ann --token-only); psql -h 127.0.0.1 -p 6432 -U ann hospital
  wardline login ann --pgpass >> ~/.pgpass
  wardline login ann --save; wardline --as ann trail tail
  wardline login --device hospital --pgpass >> ~/.pgpass")]
pub(crate) struct Login {
    /// Login name
    #[arg(required_unless_present = "device")]
    pub(crate) name: Option<String>,
    /// Sign in at an identity provider, [oidc.NAME], with a code that is typed on any device; no password here
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["name", "password_stdin"])]
    pub(crate) device: Option<String>,
    /// Life of the token in seconds; `sign_in.token_lifetime_s_max` is the default and the most
    #[arg(long, value_name = "SECONDS")]
    pub(crate) life_s: Option<u64>,
    /// Ask for a code of the second factor too: of the authenticator, or a recovery code
    #[arg(long)]
    pub(crate) second_factor: bool,
    /// Read the password from the first line of standard input, and the code from the second
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// Keep the token for `wardline --as NAME`, in a file that nobody else can read
    #[arg(long, group = "form")]
    pub(crate) save: bool,
    /// Write a line for ~/.pgpass
    #[arg(long, group = "form")]
    pub(crate) pgpass: bool,
    /// Write the token and nothing else
    #[arg(long, group = "form")]
    pub(crate) token_only: bool,
    /// Write JSON
    #[arg(long, group = "form")]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  wardline token revoke --person ann")]
pub(crate) enum Token {
    /// End the life of one token, or of all of a person
    #[command(after_help = "\
A session that was opened with the token goes on; `wardline user disable` ends sessions.

Examples:
  wardline token revoke 3f0c9d2b41e5a6b7c8d9e0f112233445
  wardline token revoke --person ann")]
    Revoke {
        /// Id of the token, as `login` printed it
        #[arg(required_unless_present = "person")]
        id: Option<String>,
        /// Login name whose tokens all end
        #[arg(long, value_name = "NAME", conflicts_with = "id")]
        person: Option<String>,
        #[command(flatten)]
        output: Json,
    },
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  wardline vault set hospital --user app\n  wardline vault list")]
pub(crate) enum Vault {
    /// Store the credential of a resource
    #[command(after_help = "\
Examples:
  wardline vault set hospital --user app
  echo \"$PASSWORD\" | wardline vault set hospital --user app --password-stdin")]
    Set {
        /// Resource from wardline.toml
        resource: String,
        /// User at the resource
        #[arg(long, value_name = "USER")]
        user: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
        /// It is of a second account, which takes turns with the first when passwords are rotated
        #[arg(long)]
        second: bool,
        #[command(flatten)]
        output: Json,
    },
    /// Change the password of a resource's account, there and here
    #[command(after_help = "\
Wardline makes the new password; nobody sees it. Of two accounts the one that is not in use is changed, and is in use
then. `resource.NAME.rotation.every` does it by itself.

Examples:
  wardline vault rotate hospital
  wardline vault rotate hospital --all")]
    Rotate {
        /// Resource
        resource: String,
        /// The passwords of both accounts, also of the one in use: after an emergency
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        output: Json,
    },
    /// List the resources that have a credential; never the credentials
    #[command(after_help = "Example:\n  wardline vault list --json")]
    List {
        #[command(flatten)]
        output: Json,
    },
    /// Forget the credential of a resource
    #[command(after_help = "Example:\n  wardline vault remove hospital")]
    Remove {
        /// Resource
        resource: String,
        #[command(flatten)]
        output: Json,
    },
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Reading the trail is itself recorded in it.

Examples:
  wardline trail tail -f --person ann
  wardline trail show 1042")]
pub(crate) enum Trail {
    /// Show the latest entries
    #[command(after_help = "\
Examples:
  wardline trail tail
  wardline trail tail -f --person ann
  wardline trail tail -n 100 --kind operation --resource hospital --json
  wardline trail tail --open-sealed")]
    Tail {
        /// How many entries
        #[arg(short = 'n', value_name = "COUNT", default_value_t = 20)]
        count: usize,
        /// Wait for more
        #[arg(short = 'f', long)]
        follow: bool,
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        view: View,
        #[command(flatten)]
        place: TrailPlace,
    },
    /// Show one entry in full
    #[command(
        after_help = "Examples:\n  wardline trail show 1042\n  wardline trail show 1042 --open-sealed --json"
    )]
    Show {
        /// Index of the entry in the log
        index: u64,
        #[command(flatten)]
        view: View,
        #[command(flatten)]
        place: TrailPlace,
    },
    /// Find entries, in the archive and behind it
    Search(Box<crate::commands::search::Search>),
    /// Answer an SQL query over the trail; for reading only
    Sql(crate::commands::search::Sql),
    /// Bring entries into the archive, from which searches over years are fast
    Archive(crate::commands::archive::ArchiveArguments),
    /// Write the proof that an entry is in the log, for somebody who has nothing else of it
    Prove(crate::commands::prove::Prove),
    #[command(flatten)]
    Keep(crate::commands::keep::TrailKeep),
    /// Write the log as a standard tlog-tiles tree, for any verifier of that format
    #[command(after_help = "Example:\n  wardline trail export-tlog /tmp/tree")]
    ExportTlog {
        /// Folder to write; must not exist or be empty
        directory: PathBuf,
        #[command(flatten)]
        place: TrailPlace,
        #[command(flatten)]
        output: Json,
    },
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Filter {
    /// Only entries of this login name
    #[arg(long, value_name = "NAME")]
    pub(crate) person: Option<String>,
    /// Only entries about this resource
    #[arg(long, value_name = "NAME")]
    pub(crate) resource: Option<String>,
    /// Only entries of this kind
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<KindName>,
}

/// The kinds of records, as the command line names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindName {
    NodeStarted,
    NodeStopped,
    Heartbeat,
    SegmentOpened,
    PolicyActivated,
    ConfigActivated,
    KeyRotated,
    KeyDestroyed,
    EpochHead,
    SignIn,
    SessionOpened,
    SessionClosed,
    SegmentSealed,
    BackedUp,
    Restored,
    ArchiveManifest,
    Operation,
    AdminChange,
    Incident,
    TrailViewed,
    EmergencyBegun,
    EmergencyEnded,
    EmergencyReviewed,
    Reported,
    Exported,
}

impl KindName {
    /// Returns the kind of that name.
    pub(crate) fn kind(self) -> model::Kind {
        let name = self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        model::Kind::ALL.into_iter().find(|kind| kind.name() == name).expect("the names of kinds are these")
    }
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct View {
    /// Also show the literals and parameters of statements, which may name patients
    #[arg(long)]
    pub(crate) open_sealed: bool,
    /// Write JSON, one entry a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where the trail is, when it is not the configured node's own.
#[derive(Clone, Debug, Args)]
pub(crate) struct TrailPlace {
    /// Trail folder, such as a copy; the configured node's when left out
    #[arg(long, value_name = "DIR")]
    pub(crate) trail: Option<PathBuf>,
    /// Root key of that trail
    #[arg(long, value_name = "FILE", requires = "trail")]
    pub(crate) root_key: Option<PathBuf>,
    /// Node name that trail must have
    #[arg(long, value_name = "NAME", requires = "trail")]
    pub(crate) node: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
An access is listed when its statement named the patient, or a row of its result was theirs: also
when it was refused, and when no row came. That you ask is itself in the trail, with the patient.

Examples:
  wardline who-saw 4711
  wardline who-saw 4711 --from 2026-11-01 --to 2026-12-01 --json
  wardline who-saw - < patients.txt
  wardline who-saw --unresolved")]
pub(crate) struct WhoSaw {
    /// Identifier of a patient, as in the columns that `patients` names; several, or `-` for one a line from
    /// standard input, which keeps them out of the shell's history
    #[arg(value_name = "PATIENT", required_unless_present = "unresolved")]
    pub(crate) patients: Vec<String>,
    /// List the accesses of which it is not known whom they were about
    #[arg(long, conflicts_with = "patients")]
    pub(crate) unresolved: bool,
    /// Whose identifier it is, as in `[resource.NAME.phi]`; those of all resources when left out
    #[arg(long, value_name = "NAME")]
    pub(crate) issuer: Vec<String>,
    #[command(flatten)]
    pub(crate) period: Period,
    /// Write JSON, one patient a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: TrailPlace,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wardline saw ann
  wardline saw ann --from 2026-11-23T08:00:00Z --open-sealed

Exit codes: 0 shown, 1 there is no such access, 2 could not run.")]
pub(crate) struct Saw {
    /// Login name, or the id that a name never shares with another
    #[arg(value_name = "PERSON")]
    pub(crate) person: String,
    /// Also show the identifiers of the patients
    #[arg(long)]
    pub(crate) open_sealed: bool,
    #[command(flatten)]
    pub(crate) period: Period,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: TrailPlace,
}

/// From when to when, by the time of the access.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Period {
    /// Only from this time on: a day, or a day and time in UTC
    #[arg(long, value_name = "TIME", value_parser = output::parse_time)]
    pub(crate) from: Option<Micros>,
    /// Only before this time
    #[arg(long, value_name = "TIME", value_parser = output::parse_time)]
    pub(crate) to: Option<Micros>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Levels:
  1-3  signature of the checkpoint; leaves, tiles and root recomputed; order, gaps, heartbeats and
       the chain of frames; always together
  4    with the root key: the archive's files are those of their manifests, each row gives its leaf
  5    with the root key: every record decrypted and compared with its leaf

Examples:
  wardline verify
  wardline verify --anchor /media/usb/checkpoint
  wardline verify --policy witnesses.policy
  wardline verify --trail /mnt/copy/trail --root-key root.key --node gw1 --json

Exit codes: 0 whole, 1 damaged (the first bad entry is named), 2 could not run.")]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) place: TrailPlace,
    /// Checkpoint held elsewhere, such as a witness's; the trail must contain everything below it
    #[arg(long, visible_alias = "anchor", value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Public key the checkpoints must be signed with (`name+hash+key`)
    #[arg(long, value_name = "KEY")]
    pub(crate) verifier_key: Option<String>,
    /// Policy file (C2SP tlog-policy): so many of these witnesses must have signed a checkpoint
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// How deep to look; 5 when the root key is at hand, else 3
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=5))]
    pub(crate) level: Option<u8>,
    /// Check the tree alone, as for a copy without the encrypted segments
    #[arg(long, conflicts_with = "level")]
    pub(crate) tree_only: bool,
    /// Write the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  wardline access matrix --person ann
  wardline --as ann access request nurse hospital --purpose treatment --reason \"night shift on ward 3\"
  wardline --as lea access approve 7")]
pub(crate) enum Access {
    /// Ask for a role on a resource, for a time
    #[command(after_help = "\
Which roles may be asked for is in [access.ROLE]. You ask for yourself: sign in with `wardline login` and say --as.

Example:
  wardline --as ann access request nurse hospital --purpose treatment --reason \"night shift on ward 3\" --for-s 28800")]
    Request {
        /// The role
        role: String,
        /// The resource
        resource: String,
        /// What for, one word
        #[arg(long, value_name = "WORD")]
        purpose: String,
        /// Why; approvers read it
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// For how many seconds, from its approval
        #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
        for_s: u64,
        #[command(flatten)]
        output: Json,
    },
    /// Approve what somebody else asked for
    #[command(after_help = "\
Takes the right `approver`. Nobody approves their own request, and one person is one approval.

Example:
  wardline --as lea access approve 7")]
    Approve {
        /// Its number, as `access list` shows it
        number: u64,
        #[command(flatten)]
        output: Json,
    },
    /// Say no to what somebody asked for
    #[command(after_help = "Example:\n  wardline --as lea access deny 7 --reason \"not on this ward\"")]
    Deny(Closing),
    /// Take back what you asked for
    #[command(after_help = "Example:\n  wardline --as ann access withdraw 7 --reason \"shift was swapped\"")]
    Withdraw(Closing),
    /// Take a grant away; open sessions lose it at once
    #[command(after_help = "Example:\n  wardline access revoke 7 --reason \"left the ward\"")]
    Revoke(Closing),
    /// List requests and grants that are open
    #[command(after_help = "Examples:\n  wardline access list\n  wardline access list --all --json")]
    List {
        /// Also what is decided and over
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        output: Json,
    },
    /// Show what each person may do, as policy decides it now
    #[command(after_help = "\
Examples:
  wardline access matrix
  wardline access matrix --person ann --relation public.patients --json
  wardline access matrix --class ssn --class mrn --purpose treatment")]
    Matrix {
        /// Only this person; may be given several times
        #[arg(long, value_name = "NAME")]
        person: Vec<String>,
        /// Only this resource; may be given several times
        #[arg(long, value_name = "NAME")]
        resource: Vec<String>,
        /// Relation to ask about; without this and --class, those that roles name
        #[arg(long, value_name = "SCHEMA.NAME")]
        relation: Vec<String>,
        /// Class of protected values to ask about; without this and --relation, those in use
        #[arg(long, value_name = "CLASS")]
        class: Vec<String>,
        /// Client address to assume
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
        address: IpAddr,
        /// Purpose to assume, one of `policy.purposes`
        #[arg(long, value_name = "PURPOSE")]
        purpose: Option<String>,
        #[command(flatten)]
        output: Json,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Closing {
    /// Its number, as `access list` shows it
    pub(crate) number: u64,
    /// Why; it is recorded
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) output: Json,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  wardline phi scan hospital --output hospital.toml
  wardline phi scan hospital --check
  wardline phi explain hospital 'SELECT ssn FROM patients' --as ann")]
pub(crate) enum Phi {
    /// Propose what of a resource is protected, clean, and names patients; or compare it with the configuration
    #[command(after_help = "\
Reads the resource's catalogue and up to 200 rows of each table with the credential in the vault. No value is
shown, logged or kept; that it is read is in the trail before it is. What is proposed is to be read and confirmed by a
person: what it calls clean is shown to everybody who may read it.

Examples:
  wardline phi scan hospital
  wardline phi scan hospital --schema public --schema lab --output hospital.toml
  wardline phi scan hospital --no-samples --json
  wardline phi scan hospital --check

Exit codes: 0 done, 1 refused, or --check found columns that nobody classified or that do not exist, 2 could not run.")]
    Scan(Scan),
    /// Say what would become of a statement that a person sends, and why
    #[command(after_help = "\
The statement is not run and not recorded. Its catalogue is read from the resource, the policy is the one in force.
What is said holds for a new session: what was prepared or declared before in another is not known.

Examples:
  wardline phi explain hospital 'SELECT ssn, sex FROM patients' --as ann
  wardline phi explain hospital 'SELECT ssn FROM patients' --as ann --purpose research
  wardline phi explain hospital - --as ann --json < query.sql

Exit codes: 0 it was explained, whatever the verdict, 1 refused, 2 could not run.")]
    Explain(Explain),
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Resource from wardline.toml
    pub(crate) resource: String,
    /// The statement; `-` reads it from standard input
    pub(crate) sql: String,
    /// Login name of the person who sends it
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) person: String,
    /// Client address to assume
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) address: IpAddr,
    /// Purpose to assume, one of `policy.purposes`
    #[arg(long, value_name = "PURPOSE")]
    pub(crate) purpose: Option<String>,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Scan {
    /// Resource from wardline.toml
    pub(crate) resource: String,
    /// Only this schema; may be given several times
    #[arg(long, value_name = "SCHEMA")]
    pub(crate) schema: Vec<String>,
    /// Look at names, types and keys only, at no row
    #[arg(long)]
    pub(crate) no_samples: bool,
    /// Compare the configuration with the resource as it is now, instead
    #[arg(long, conflicts_with_all = ["no_samples", "output"])]
    pub(crate) check: bool,
    /// Write the proposal to a new file; never overwrites
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}
