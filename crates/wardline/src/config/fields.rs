//! Every option there is: the one list that the reader, the documentation and the suggestions come from.
//!
//! `*` stands for a name the operator chooses. A field that is not listed here is refused.

use serde::Serialize;

/// One option of `wardline.toml`.
#[derive(Debug, Serialize)]
pub(crate) struct Field {
    /// Where it stands, `*` for chosen names.
    pub(crate) path: &'static str,
    /// What may be written there.
    pub(crate) form: &'static str,
    /// What holds when it is left out; `required` when it may not be.
    pub(crate) default: &'static str,
    /// What it is for.
    pub(crate) about: &'static str,
}

const fn field(path: &'static str, form: &'static str, default: &'static str, about: &'static str) -> Field {
    Field { path, form, default, about }
}

/// The options, in the order of the documentation.
pub(crate) const FIELDS: &[Field] = &[
    field(
        "node",
        "name",
        "required",
        "Name of this node and origin of its log. Never change it: a log is bound to its origin.",
    ),
    field("data", "path", "`./wardline-data`", "Folder for keys, trail, people and credentials (mode 0700)."),
    field(
        "drain_timeout_ms",
        "0 to 3600000",
        "`30000`",
        "How long open sessions may finish after SIGTERM before they are closed.",
    ),
    field(
        "listener.postgres.address",
        "address:port",
        "`127.0.0.1:6432`",
        "Where PostgreSQL clients connect.",
    ),
    field(
        "listener.postgres.tls",
        "`\"self-signed\"` or table",
        "`\"self-signed\"`",
        "Certificate shown to clients. A self-signed pair is made at the first start and its fingerprint printed at each.",
    ),
    field(
        "listener.postgres.tls.certificate",
        "path",
        "required in the table",
        "Certificate chain, PEM, the server's own certificate first.",
    ),
    field(
        "listener.postgres.tls.key",
        "path",
        "required in the table",
        "Private key of the certificate, PEM, not readable by group or others.",
    ),
    field(
        "listener.postgres.plaintext",
        "true or false",
        "`false`",
        "Clients connect without TLS. Only on a loopback address and without `tls`; logged as a warning at each start.",
    ),
    field(
        "listener.postgres.scram",
        "true or false",
        "`false`",
        "Asks every client for SCRAM-SHA-256 instead of the password inside TLS.",
    ),
    field(
        "listener.postgres.client_ca",
        "path",
        "none: clients show no certificate",
        "Authorities that vouch for the certificates of programs (`[workload.NAME]`), PEM. A client that shows a certificate is the program it is of, or refused.",
    ),
    field(
        "listener.postgres.sessions_max",
        "1 to 100000",
        "`1000`",
        "Sessions open at once; one more is refused with SQLSTATE 53300.",
    ),
    field(
        "listener.postgres.sessions_per_person_max",
        "1 to 100000",
        "`50`",
        "Sessions one person may have open at once.",
    ),
    field(
        "listener.postgres.handshakes_max",
        "1 to 100000",
        "`1000`",
        "Connections at once that have not signed in. They do not count as sessions; one more is refused with SQLSTATE 53300, or closed where it asks for TLS.",
    ),
    field(
        "listener.postgres.handshakes_per_address_max",
        "1 to 100000",
        "`128`",
        "Of these, from one IPv4 address or one IPv6 network of 64 bits. Raise it where many clients that connect at the same moment share an address.",
    ),
    field(
        "listener.postgres.handshake_timeout_ms",
        "100 to 600000",
        "`30000`",
        "From the connection to the end of the log-in; a slower client is closed.",
    ),
    field(
        "listener.postgres.dial_timeout_ms",
        "100 to 600000",
        "`10000`",
        "How long reaching a resource and logging in there may take.",
    ),
    field(
        "listener.postgres.idle_timeout_s",
        "1 to 604800",
        "`900`",
        "A session without an operation for so long is ended, with its connection to the resource. Empty queries are no operations.",
    ),
    field(
        "listener.postgres.idle_warning_s",
        "1 to 3600",
        "`60`",
        "So long before that the client gets a notice; at most half of the idle timeout.",
    ),
    field(
        "listener.postgres.session_lifetime_s_max",
        "60 to 2592000",
        "`43200`",
        "A session is ended after this time, whatever it does.",
    ),
    field(
        "listener.postgres.message_bytes_max",
        "65536 to 1073741824",
        "`16777216`",
        "Longest message taken from a client. Copied data and rows are streamed and not bound by it.",
    ),
    field(
        "listener.postgres.hold_window_bytes",
        "4096 to 16777216",
        "`65536`",
        "Result data held back until its record is durable. A larger result is released window by window.",
    ),
    field(
        "sign_in.failures_max",
        "1 to 1000",
        "`10`",
        "Failed log-ins within the window after which a person is locked.",
    ),
    field("sign_in.failure_window_s", "1 to 86400", "`900`", "How long a failed log-in counts."),
    field("sign_in.lockout_s", "1 to 86400", "`900`", "How long the lock lasts."),
    field(
        "sign_in.token_lifetime_s_max",
        "60 to 2592000",
        "`28800`",
        "Longest life of a token that `wardline login` gives out.",
    ),
    field(
        "sign_in.second_factor",
        "`\"optional\"` or `\"required\"`",
        "`\"optional\"`",
        "Whether a resource with `[resource.NAME.phi]` is opened only to whoever showed a second factor. The password alone does not suffice then; a token of `wardline login --second-factor` does.",
    ),
    field(
        "sign_in.second_factor_roles",
        "list of roles",
        "`[]`",
        "Asks it of whoever holds one of these roles, where it is optional for others.",
    ),
    field(
        "sign_in.approval",
        "`\"off\"`, `\"offered\"` or `\"browser\"`",
        "`\"off\"`",
        "How clients of PostgreSQL sign in. `browser`: they are shown a link and a code and wait until their person approved on the pages of `[web]`; with `PGOPTIONS='-c wardline.sign_in=password'` they are asked for a password or token instead. `offered`: the other way round, with `wardline.sign_in=browser`.",
    ),
    field("sign_in.approval_timeout_s", "10 to 600", "`120`", "How long a session waits for approval."),
    field(
        "sign_in.second_device",
        "`\"note\"`, `\"incident\"` or `\"refuse\"`",
        "`\"note\"`",
        "A person who connects from a second address while sessions from another are open: the entry of the session says so with both sessions' ids; that, and an incident; or the second is refused.",
    ),
    field(
        "metrics.address",
        "address:port",
        "none: no metrics",
        "Where Prometheus reads metrics, `/metrics`. They name no person and no statement.",
    ),
    field(
        "trail.witness.policy",
        "path",
        "required in the table",
        "Policy file (C2SP tlog-policy): witnesses with keys and URLs, groups, and the quorum that must sign the log's checkpoints.",
    ),
    field(
        "trail.witness.ca",
        "path",
        "the system's roots",
        "Certificate authorities to trust for the witnesses, PEM.",
    ),
    field(
        "trail.witness.interval_ms",
        "100 to 3600000",
        "`10000`",
        "How often the newest checkpoint is sent to the witnesses. What was recorded since they last signed is what a thief of all keys could still change.",
    ),
    field(
        "trail.witness.alarm_after_ms",
        "100 to 86400000",
        "`300000`",
        "A quorum that is missing for so long is an incident in the trail and an error in the log.",
    ),
    field(
        "trail.clock.step_ms_max",
        "100 to 3600000",
        "`2000`",
        "A step of the time of day by more, against the machine's own clock, is an incident in the trail and an error in the log.",
    ),
    field(
        "trail.clock.ntp",
        "`\"HOST\"` or `\"HOST:PORT\"`",
        "not compared",
        "A server that is asked for the time (SNTP). Nothing is set; a difference, and a server that is silent, are incidents in the trail.",
    ),
    field("trail.clock.every_ms", "100 to 86400000", "`64000`", "How often it is asked."),
    field(
        "trail.clock.offset_ms_max",
        "1 to 3600000",
        "`1000`",
        "A greater difference from its time is an incident: the clock is not synchronised.",
    ),
    field(
        "trail.clock.alarm_after_ms",
        "100 to 604800000",
        "`3600000`",
        "No usable answer for so long is an incident: the clock runs alone.",
    ),
    field(
        "trail.archive.every_s",
        "1 to 86400",
        "`3600`",
        "How often the archive is written while the node serves, by `wardline-lake` in a process of its own. Without the section it is written by `wardline trail archive` alone.",
    ),
    field(
        "trail.archive.entries_min",
        "1 to 1048576",
        "`65536`",
        "The fewest entries that a file of the archive is made of, unless they waited for as long as `lag_s`.",
    ),
    field(
        "trail.archive.lag_s",
        "1 to 31536000",
        "`86400`",
        "How long entries wait for the archive at most. What waits is found by a search all the same.",
    ),
    field(
        "trail.archive.alarm_after_s",
        "1 to 31536000",
        "`86400`",
        "An archive that could not be written for so long is an incident in the trail and an error in the log.",
    ),
    field(
        "trail.store.to",
        "path or `\"s3://BUCKET/PREFIX\"`",
        "`store` in the data folder",
        "Where complete segments of the trail, and checkpoints, are kept besides: best a bucket with Object Lock. See `store.md`.",
    ),
    field(
        "trail.store.endpoint",
        "URL",
        "`https://s3.REGION.amazonaws.com`",
        "Where the bucket is served; in clear only on a loopback address.",
    ),
    field("trail.store.region", "text", "`us-east-1`", "Region that requests to the bucket are signed for."),
    field(
        "trail.store.credentials",
        "path",
        "required for a bucket",
        "File with `aws_access_key_id` and `aws_secret_access_key`, not readable by group or others.",
    ),
    field(
        "trail.store.ca",
        "path",
        "the system's roots",
        "Certificate authorities to trust for the bucket, PEM.",
    ),
    field(
        "trail.store.seal_after_s",
        "60 to 31536000",
        "`86400`",
        "A segment that is not full after so long is complete, too, and goes to the store.",
    ),
    field(
        "trail.store.local_segments",
        "1 to 1000000",
        "all",
        "How many complete segments stay in the data folder; older ones are read from the store.",
    ),
    field(
        "registry.url_file",
        "path",
        "none: `registry.sqlite` in the data folder",
        "File of mode 0600 with one line, `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=FILE`: people and what they may are kept there. Without TLS on a loopback address or socket only.",
    ),
    field(
        "backup.to",
        "path or `\"s3://BUCKET/PREFIX\"`",
        "required in the section",
        "Where `wardline backup` puts backups unless it is told, and where `wardline drill` takes them from.",
    ),
    field(
        "backup.endpoint",
        "URL",
        "`https://s3.REGION.amazonaws.com`",
        "Where the bucket is served; in clear only on a loopback address.",
    ),
    field("backup.region", "text", "`us-east-1`", "Region that requests to the bucket are signed for."),
    field(
        "backup.credentials",
        "path",
        "required for a bucket",
        "File with `aws_access_key_id` and `aws_secret_access_key`, not readable by group or others.",
    ),
    field("backup.ca", "path", "the system's roots", "Certificate authorities to trust for the bucket, PEM."),
    field(
        "export.*.format",
        "`\"fhir\"`, `\"atna\"`, `\"ocsf\"` or `\"cloudevents\"`",
        "required",
        "In which form a receiver is told of what is recorded, see `export.md`.",
    ),
    field(
        "export.*.url",
        "address",
        "required",
        "Where it goes: `https://host/path`, for `atna` `tls://host:port` (syslog over TLS, port 6514 when left out).",
    ),
    field(
        "export.*.ca",
        "path",
        "the system's roots",
        "Certificate authorities to trust for this receiver, PEM.",
    ),
    field(
        "export.*.certificate",
        "path",
        "none",
        "Certificate chain that proves this node to the receiver, PEM; with `key`.",
    ),
    field("export.*.key", "path", "none", "Its private key, PEM, not readable by group or others."),
    field(
        "export.*.bearer_file",
        "path",
        "none",
        "File with one line that is sent as `Authorization: Bearer`, not readable by group or others.",
    ),
    field(
        "export.*.patients",
        "`\"tokens\"` or `\"identifiers\"`",
        "`\"tokens\"`",
        "How patients are named there. Identifiers in clear are logged as a warning at each start, and recorded.",
    ),
    field(
        "export.*.begin",
        "`\"beginning\"` or `\"now\"`",
        "`\"beginning\"`",
        "Where a receiver begins that has taken nothing yet.",
    ),
    field(
        "export.*.retry_pause_ms_max",
        "100 to 3600000",
        "`60000`",
        "Longest pause before a receiver that did not take a batch is asked again.",
    ),
    field(
        "export.*.alarm_after_s",
        "1 to 86400",
        "`600`",
        "How long a receiver may take nothing before an error is logged and an incident recorded.",
    ),
    field("export.*.timeout_ms", "100 to 600000", "`30000`", "How long a receiver may take for one batch."),
    field(
        "inbound.address",
        "address:port",
        "required in the section",
        "Where other systems report events, by HTTPS; see `inbound.md`.",
    ),
    field(
        "inbound.tls",
        "`\"self-signed\"` or table",
        "`\"self-signed\"`",
        "Certificate shown to them, as for the listener.",
    ),
    field("inbound.tls.certificate", "path", "required in the table", "Certificate chain, PEM."),
    field(
        "inbound.tls.key",
        "path",
        "required in the table",
        "Private key of the certificate, PEM, not readable by group or others.",
    ),
    field(
        "inbound.body_bytes_max",
        "1024 to 67108864",
        "`4194304`",
        "Longest request; a longer one gets 413.",
    ),
    field("inbound.events_max", "1 to 10000", "`1000`", "Most events of one request; more get 413."),
    field(
        "inbound.connections_max",
        "1 to 10000",
        "`64`",
        "Connections at once; others wait to be accepted.",
    ),
    field(
        "inbound.requests_per_minute_max",
        "1 to 1000000",
        "`600`",
        "Most requests a source may make in a minute; more get 429.",
    ),
    field(
        "inbound.source.*.issuer",
        "text",
        "required",
        "Whose identifiers the source names patients by, as in `resource.*.phi.issuer`: `who-saw` finds them together.",
    ),
    field(
        "web.address",
        "address:port",
        "required in the section",
        "Where the API is served, by HTTPS; see `../api/openapi.json`.",
    ),
    field(
        "web.url",
        "URL",
        "`https://` and the address",
        "How people reach it: `https://NAME` or `https://NAME:PORT`.",
    ),
    field(
        "web.tls",
        "`\"self-signed\"` or table",
        "`\"self-signed\"`",
        "Certificate shown there, as for the listener.",
    ),
    field("web.tls.certificate", "path", "required in the table", "Certificate chain, PEM."),
    field(
        "web.tls.key",
        "path",
        "required in the table",
        "Private key of the certificate, PEM, not readable by group or others.",
    ),
    field("web.connections_max", "1 to 10000", "`256`", "Connections at once; others wait to be accepted."),
    field(
        "web.requests_per_minute_max",
        "10 to 1000000",
        "`600`",
        "Requests a minute from one IPv4 address or one IPv6 network of 64 bits; more get the status 429.",
    ),
    field(
        "web.idle_timeout_s",
        "60 to 86400",
        "`900`",
        "A session in a browser ends after so long without a request.",
    ),
    field(
        "web.session_lifetime_s_max",
        "300 to 604800",
        "`43200`",
        "A session in a browser ends after this time, whatever it does.",
    ),
    field("resource.*.protocol", "`\"postgres\"`", "required", "What the resource speaks."),
    field(
        "resource.*.host",
        "name or address",
        "required",
        "Where it is. With `verify-full` its certificate must carry this name.",
    ),
    field("resource.*.port", "1 to 65535", "`5432`", "Its port."),
    field("resource.*.database", "name", "the resource's name", "The database to open there."),
    field(
        "resource.*.idle_timeout_s",
        "1 to 604800",
        "the listener's",
        "A shorter idle timeout for this resource.",
    ),
    field(
        "resource.*.session_lifetime_s_max",
        "1 to 2592000",
        "the listener's",
        "A shorter greatest age for sessions on this resource.",
    ),
    field(
        "resource.*.upstream_identity",
        "`\"none\"`, `\"application_name\"` or `\"set-role\"`",
        "`\"none\"`",
        "How the resource is told who acts: by `application_name = wardline:NAME`, or also by acting as a role of the person's own.",
    ),
    field(
        "resource.*.upstream_role",
        "text with `{name}`",
        "`{name}`",
        "Name of a person's role at the resource, for `set-role`.",
    ),
    field(
        "resource.*.rotation.every",
        "`\"10m\"` to `\"366d\"`",
        "required in the section",
        "How often Wardline changes its own password at the resource: `d` days, `h` hours, `m` minutes. The account must be Wardline's alone.",
    ),
    field(
        "resource.*.tls.mode",
        "`\"verify-full\"`, `\"no-verify\"` or `\"disable\"`",
        "`\"verify-full\"`",
        "How the connection to the resource is protected. Anything weaker than `verify-full` needs an `exception`.",
    ),
    field(
        "resource.*.tls.ca",
        "path",
        "the system's roots",
        "Certificate authorities to trust for this resource, PEM.",
    ),
    field(
        "resource.*.tls.exception",
        "text",
        "none",
        "Why the weaker mode is used, who decided it and until when. Logged as a warning at each start.",
    ),
    field(
        "resource.*.phi",
        "table",
        "none: results leave as they come",
        "What of the resource is protected. With it, a column that is neither protected nor clean is masked too.",
    ),
    field(
        "resource.*.phi.clean",
        "list of columns",
        "`[]`",
        "Columns found free of identifiers: `schema.table.column`, `schema.table.*` or `schema.*`. Protected columns stay protected.",
    ),
    field(
        "resource.*.phi.patients",
        "list of columns",
        "`[]`",
        "Columns that identify a patient, `schema.table.column`: by them the trail names whose records were returned. All of one kind of identifier.",
    ),
    field(
        "resource.*.phi.detect",
        "true or false",
        "`true`",
        "Look through the text of clean columns, for people who do not see everything, and take out the identifiers that are found.",
    ),
    field(
        "resource.*.phi.trusted",
        "list of columns",
        "`[]`",
        "Clean columns whose text is not looked through, such as the telephone numbers of wards: written as in `clean`.",
    ),
    field(
        "resource.*.phi.trusted_views",
        "list of columns",
        "`[]`",
        "Views that people may read though their definitions choose rows by protected columns, because which rows there are \
         tells nothing: `schema.view.*` or `schema.*`.",
    ),
    field(
        "resource.*.phi.record_numbers",
        "list of texts",
        "`[]`",
        "The forms of the site's record numbers, to be found in text: `#` for a digit, `@` for a letter, `W########`.",
    ),
    field(
        "resource.*.phi.issuer",
        "text",
        "the resource's name",
        "Whose identifiers these are. Resources that name the same issuer share their patients: `who-saw` finds them as one.",
    ),
    field(
        "resource.*.phi.columns.*.class",
        "name of a class",
        "required",
        "What kind of identifier the column `\"schema.table.column\"` holds, see `phi.md`. Who may `unmask` it sees it in clear.",
    ),
    field(
        "resource.*.phi.columns.*.operator",
        "name of an operator",
        "by class: `date` `\"year\"`, `age` `\"age\"`, `patient_id` `\"token\"`, others `\"redact\"`",
        "How everybody else sees it, see `phi.md`. Where the column's type does not suit, a constant is shown.",
    ),
    field(
        "resource.*.phi.columns.*.usage",
        "`\"none\"`, `\"join\"`, `\"equality\"` or `\"result\"`",
        "`\"none\"`",
        "What everybody else may do with it in a statement: nothing; join it with columns of its class; compare it for equality; filter, sort and group by it. Writing it takes `unmask`.",
    ),
    field(
        "role.*.allow",
        "list of tables",
        "nothing",
        "What the role may do, one `[[role.NAME.allow]]` for each resource.",
    ),
    field("role.*.allow.resource", "name or `\"*\"`", "required", "The resource; `\"*\"` means every one."),
    field(
        "role.*.allow.read",
        "list of patterns",
        "`[]`",
        "Relations that may be read: `schema.name`, `schema.*` or `*`.",
    ),
    field("role.*.allow.write", "list of patterns", "`[]`", "Relations whose rows may be changed."),
    field(
        "role.*.allow.define",
        "list of patterns",
        "`[]`",
        "Relations whose definition may be changed (DDL).",
    ),
    field(
        "role.*.allow.execute",
        "list of patterns",
        "`[]`",
        "Functions that may be called although they are not known to be read-only.",
    ),
    field(
        "role.*.allow.transfer",
        "true or false",
        "`false`",
        "May take out in bulk what `read` allows: `COPY … TO STDOUT`. Copying in needs `write` only.",
    ),
    field(
        "role.*.allow.administer",
        "true or false",
        "`false`",
        "May change roles, rights and settings of the resource.",
    ),
    field(
        "role.*.allow.unmask",
        "list of classes",
        "`[]`",
        "Classes of protected values that are seen in clear; `\"*\"` among them means all, and what nobody classified.",
    ),
    field(
        "workload.*.owner",
        "login name",
        "required",
        "Who answers for the program of this name. It signs in with the name as its user and is recorded as `workload:NAME`; where a person has the same name, only the program signs in.",
    ),
    field("workload.*.roles", "list of roles", "`[]`", "What it may do."),
    field(
        "workload.*.certificate.uri",
        "text",
        "one of the three",
        "Its certificate has this URI among its alternative names, such as a SPIFFE id. Needs `listener.postgres.client_ca`.",
    ),
    field(
        "workload.*.certificate.dns",
        "text",
        "one of the three",
        "Its certificate has this DNS name among its alternative names.",
    ),
    field(
        "workload.*.certificate.subject",
        "text",
        "one of the three",
        "Its certificate has exactly this subject, as RFC 4514 writes it: `CN=billing,O=Hospital`.",
    ),
    field(
        "access.*.resources",
        "list of resources",
        "all that the role is about",
        "On which resources the role of this name may be asked for, for a time. A role without `[access.ROLE]` may not be.",
    ),
    field("access.*.approvals", "1 to 5", "`1`", "How many people with the right `approver` must approve."),
    field("access.*.duration_s_max", "1 to 2592000", "`28800`", "For how long it may be had at most."),
    field("training.*.title", "text", "required", "What people call the course."),
    field("training.*.roles", "list of roles", "required", "Whose people must learn it."),
    field(
        "training.*.instructions",
        "text",
        "required",
        "What to do about it; people are told when they connect.",
    ),
    field("training.*.valid_for_d", "1 to 3650", "`365`", "For how many days a completion counts."),
    field(
        "training.*.warn_before_d",
        "0 to 365",
        "`30`",
        "For how many days before it is due people are told.",
    ),
    field(
        "training.*.grace_d",
        "0 to 365",
        "`0`",
        "How many days somebody who is new to it may work before they have learnt it.",
    ),
    field(
        "training.*.refuse",
        "true or false",
        "`true`",
        "Everything is refused to whom it is overdue. With false it is left to policies, which see `context.training_valid`.",
    ),
    field(
        "training.*.activity",
        "IRI",
        "none",
        "The course's activity in statements of a learning system (xAPI).",
    ),
    field(
        "break_glass.initiators",
        "list of roles",
        "required in the section",
        "Whose people may take emergency access (`wardline break-glass begin`). Without `[break_glass]` nobody may.",
    ),
    field(
        "break_glass.role",
        "role",
        "required in the section",
        "The role that emergency access gives, on one resource.",
    ),
    field(
        "break_glass.resources",
        "list of resources",
        "all that the role is about",
        "On which resources it may be taken.",
    ),
    field(
        "break_glass.duration_s_max",
        "1 to 604800",
        "`3600`",
        "For how long it is had at most, and unless less is asked for. Then the sessions of its person on the resource are cut.",
    ),
    field(
        "break_glass.reason_codes",
        "list of names",
        "`treatment`, `patient-safety`, `system-recovery`, `disaster`",
        "Codes of which one must be given, beside a reason of at least 15 characters.",
    ),
    field(
        "break_glass.approvals",
        "0 to 5",
        "`0`",
        "How many others with the right `approver` must approve before it begins; 1 makes it a matter of two people.",
    ),
    field(
        "break_glass.review_days",
        "1 to 30",
        "`1`",
        "Within how many business days after its end somebody else must have reviewed it; then an incident says that it is overdue. Business days are Monday to Friday in UTC; holidays are not known.",
    ),
    field(
        "emergency_mode.hours",
        "0 to 168",
        "`8`",
        "For how many hours access goes on by the last signed copy of the registry when the registry does not answer; then everything is refused. 0 lets nothing go on.",
    ),
    field(
        "emergency_mode.sign_in",
        "true or false",
        "`true`",
        "Whether people may sign in meanwhile, by passwords and tokens that the copy knows. Sealed codes work either way.",
    ),
    field(
        "notify.*.url",
        "address",
        "required",
        "Who is told at once: `https://host/path` (a webhook), `smtp://host:port` (mail with STARTTLS, port 587 when left out) or `smtps://host:port` (mail over TLS, 465). See `notice.md`.",
    ),
    field(
        "notify.*.topics",
        "list of `\"emergency\"`, `\"incident\"`, `\"lock\"`",
        "all of them",
        "What they are told of.",
    ),
    field(
        "notify.*.ca",
        "path",
        "the system's roots",
        "Certificate authorities to trust for this receiver, PEM.",
    ),
    field(
        "notify.*.secret_file",
        "path",
        "required for a webhook",
        "File with one line: the secret by which each message is signed (HMAC-SHA-256), not readable by group or others.",
    ),
    field("notify.*.from", "address of mail", "required for mail", "Who the mail is from."),
    field("notify.*.to", "list of addresses of mail", "required for mail", "Who gets it."),
    field("notify.*.user", "text", "none: no log-in", "User at the mail server; with `password_file`."),
    field(
        "notify.*.password_file",
        "path",
        "required with `user`",
        "File with one line, the password there, not readable by group or others.",
    ),
    field(
        "notify.*.retry_pause_ms_max",
        "100 to 3600000",
        "`5000`",
        "Longest pause before a receiver that did not take a message is asked again.",
    ),
    field(
        "notify.*.alarm_after_s",
        "1 to 86400",
        "`60`",
        "How long a receiver may take nothing before an error is logged and an incident recorded.",
    ),
    field("notify.*.timeout_ms", "100 to 600000", "`10000`", "How long a receiver may take for one message."),
    field(
        "role.*.allow.purposes",
        "list of purposes",
        "`[]`: every purpose, and none",
        "The rule holds only for sessions whose person states one of these. Opening a session stays allowed, so that one can be stated.",
    ),
    field(
        "role.*.allow.until",
        "date or time",
        "none: no end",
        "The rule holds until then, in UTC: `\"2026-12-31\"` includes that day, `\"2026-12-31T12:00:00Z\"` ends at noon.",
    ),
    field(
        "role.*.allow.step_up_s",
        "30 to 86400",
        "none",
        "The rule holds only for so many seconds after its holder showed a second factor. The session may be opened without.",
    ),
    field(
        "operators.socket",
        "path",
        "none: only through the data folder",
        "A second control socket, for accounts that cannot look into the data folder. Its folder must be there.",
    ),
    field(
        "operators.group",
        "name of a group",
        "none: only the server's account and root",
        "The group of the operating system that may connect to `socket` (mode 0660). What a member may do is in `rights`.",
    ),
    field(
        "operators.rights.*",
        "list of rights",
        "nobody holds any",
        "What the people of a role, or an account (`\"os:NAME\"`), may do with Wardline itself: `admin`, `auditor`, `key-admin`, `privacy-officer`, `approver`, `trainer`. Without `[operators]` the server's own account and root may do everything.",
    ),
    field(
        "retention.years",
        "1 to 100",
        "`6`",
        "For how many years entries of the trail are kept at least; 10 where a state or a payer asks for it. Nothing expires by itself: see `wardline retention`.",
    ),
    field(
        "policy.purposes",
        "list of names",
        "`[]`: none can be stated",
        "What a person may state as the purpose of a session, by `SET wardline.purpose = 'treatment'` or at start-up: `options=-cwardline.purpose=treatment`. Every entry says it.",
    ),
    field(
        "policy.files",
        "list of paths",
        "`[]`",
        "Cedar policy files; `*` in the last part of a path stands for any text.",
    ),
];

/// Returns the names that may stand directly under a section, given with `*` for chosen names.
///
/// The empty section is the top of the file. `None` means that any name may.
pub(crate) fn names_under(section: &str) -> Option<Vec<&'static str>> {
    let mut names: Vec<&'static str> = Vec::new();
    for field in FIELDS {
        let rest = match section {
            "" => Some(field.path),
            _ => field.path.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')),
        };
        let Some(name) = rest.and_then(|rest| rest.split('.').next()) else { continue };
        if name == "*" {
            return None;
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Some(names)
}
