//! The demonstration: a private PostgreSQL with the synthetic hospital, Wardline before it, three people to be.
//!
//! Everything goes through what a user has: the `wardline` program, `wardline.toml`, psql. Deliberately absent: any
//! shortcut into the product's own crates.

mod show;
mod tour;
pub(crate) mod wardline;

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::hospital;
use crate::postgres::{self, Cluster};
use crate::{Conninfo, SslMode, free_port};

use show::Show;
use wardline::Wardline;

/// What to demonstrate.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask demo
  cargo xtask demo --tour
  cargo xtask demo --dir ./demo --patients 100000")]
pub struct Demo {
    /// Walk through by itself and check each step; ends 0 only if each showed what it should
    #[arg(long)]
    tour: bool,
    /// Keep everything in this folder, and use again what is there; a temporary one where left out
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How many patients the hospital has: 1000 to 1000000
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    patients: u64,
}

/// The resource, and the database behind it.
const HOSPITAL: &str = "hospital";
/// The only user of the database; its password is in Wardline's vault and nowhere else.
const APPLICATION: &str = "wardline_app";
/// Taken where it is free, so that the printed commands are what the documentation says.
const PORT: u16 = 6432;

/// Somebody to be.
#[derive(Debug)]
struct Person {
    name: &'static str,
    role: &'static str,
    may: &'static str,
    password: String,
}

const PEOPLE: [(&str, &str, &str); 3] = [
    ("nora", "nurse", "reads patients and their care, writes notes, changes appointments"),
    ("amir", "analyst", "reads encounters, results and claims, patients masked, and no note"),
    ("paula", "privacy_officer", "reads everything masked, changes nothing"),
];

/// What runs while the demonstration does.
#[derive(Debug)]
struct Stage {
    // In the order in which they end: first the gateway, then the database, then the folder.
    wardline: Wardline,
    cluster: Cluster,
    people: Vec<Person>,
    address: (&'static str, u16),
    folder: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Demo {
    /// Builds the stage and then waits for Ctrl-C, or gives the tour.
    ///
    /// # Errors
    /// Something does not start, or a step of the tour does not show what it should.
    pub fn run(&self) -> Result<()> {
        let show = Show::stdout();
        show.title("Wardline demonstration");
        let mut stage = self.stage(show)?;
        if self.tour {
            return tour::run(&stage, show);
        }
        invite(&stage, show);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let why = runtime.block_on(stop_or_end(&mut stage))?;
        show.line("");
        show.progress(&why);
        Ok(())
    }

    fn stage(&self, show: Show) -> Result<Stage> {
        let (folder, temporary) = self.folder()?;
        show.progress("starting a private PostgreSQL (nothing of this machine's own is touched)");
        let cluster = Cluster::start(postgres::Options {
            dir: Some(folder.join("postgres")),
            tls: true,
            ..postgres::Options::default()
        })?;
        let secret = self.database(&cluster, show)?;
        let port = if TcpListener::bind(("127.0.0.1", PORT)).is_ok() { PORT } else { free_port()? };
        show.progress("writing wardline.toml, making keys, adding people");
        let mut wardline = Wardline::new(&folder)?;
        wardline.configure("demo", &configuration(&cluster, port)?)?;
        wardline.set_credential(HOSPITAL, APPLICATION, &secret)?;
        let mut people = Vec::new();
        for (name, role, may) in PEOPLE {
            let password = wardline.person(name, role)?;
            people.push(Person { name, role, may, password });
        }
        show.progress("starting `wardline serve`");
        wardline.serve(port)?;
        Ok(Stage { wardline, cluster, people, address: ("127.0.0.1", port), folder, _temporary: temporary })
    }

    fn folder(&self) -> Result<(PathBuf, Option<tempfile::TempDir>)> {
        let Some(dir) = &self.dir else {
            let temporary = tempfile::Builder::new().prefix("wardline-demo-").tempdir()?;
            open_to_all(temporary.path())?;
            return Ok((temporary.path().to_owned(), Some(temporary)));
        };
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        open_to_all(&dir)?;
        Ok((dir, None))
    }

    /// Fills the database where it is new, and returns the new password of its user.
    fn database(&self, cluster: &Cluster, show: Show) -> Result<String> {
        let there =
            cluster.psql(&format!("select count(*) from pg_database where datname = '{HOSPITAL}'"))?;
        if there == "0" {
            show.progress(&format!("filling it with a synthetic hospital of {} patients", self.patients));
            let loading = format!("{HOSPITAL}_loading");
            cluster.psql(&format!("drop database if exists {loading}"))?;
            cluster.create_database(&loading)?;
            let options = hospital::Options { patients: self.patients, seed: 1 };
            let size = hospital::load(options, &cluster.conninfo().with_dbname(&loading), |_| {})?;
            // Renamed when it is whole, so that a folder that is used again never holds half a hospital.
            cluster.psql(&format!("alter database {loading} rename to {HOSPITAL}"))?;
            show.progress(&format!("{} rows in {} tables", size.total(), hospital::Table::ALL.len()));
        }
        let secret = crate::process::random_password()?;
        let role = cluster.psql(&format!("select count(*) from pg_roles where rolname = '{APPLICATION}'"))?;
        let verb = if role == "0" { "create" } else { "alter" };
        cluster.psql(&format!("{verb} role {APPLICATION} login password '{secret}'"))?;
        cluster.psql_in(
            HOSPITAL,
            &format!("grant select, insert, update, delete on all tables in schema public to {APPLICATION}"),
        )?;
        Ok(secret)
    }
}

impl Stage {
    fn person(&self, name: &str) -> Result<&Person> {
        self.people.iter().find(|person| person.name == name).with_context(|| format!("nobody is `{name}`"))
    }

    /// Returns how a person reaches the hospital through Wardline.
    fn conninfo(&self, person: &Person) -> Conninfo {
        Conninfo {
            host: self.address.0.to_owned(),
            port: self.address.1,
            user: person.name.to_owned(),
            password: person.password.clone(),
            dbname: HOSPITAL.to_owned(),
            sslmode: SslMode::VerifyFull,
            root_cert: Some(self.wardline.certificate()),
        }
    }
}

/// Returns the configuration: the defaults, one resource, three roles.
fn configuration(cluster: &Cluster, port: u16) -> Result<String> {
    let ca = cluster.root_cert().context("the demonstration's database has TLS")?;
    let mut toml =
        String::from("# Written by `cargo xtask demo`. Everything that is not here has its default.\n");
    writeln!(toml, "node = \"demo\"\n\n[listener.postgres]\naddress = \"127.0.0.1:{port}\"\n")?;
    writeln!(toml, "[resource.{HOSPITAL}]\nprotocol = \"postgres\"\nhost = \"127.0.0.1\"")?;
    writeln!(toml, "port = {}\ntls = {{ ca = {:?} }}\n", cluster.port(), ca.display().to_string())?;
    toml.push_str(PROTECTION);
    toml.push_str(ROLES);
    Ok(toml)
}

/// What of the hospital is protected: what is not named is masked too.
const PROTECTION: &str = r#"[resource.hospital.phi]
clean = [
  "public.departments.*", "public.staff.*", "public.encounters.*", "public.results.*", "public.claims.*",
  "public.appointments.*", "public.patients.sex",
]
patients = [
  "public.patients.id", "public.care_teams.patient_id", "public.appointments.patient_id", "public.admissions.patient_id",
  "public.encounters.patient_id", "public.notes.patient_id", "public.results.patient_id",
  "public.prescriptions.patient_id", "public.claims.patient_id",
]

[resource.hospital.phi.columns]
"public.patients.id" = { class = "patient_id", usage = "equality" }
"public.patients.mrn" = { class = "mrn", operator = "token" }
"public.patients.ssn" = { class = "ssn", operator = "partial(last=4)" }
"public.patients.first_name" = { class = "name" }
"public.patients.last_name" = { class = "name" }
"public.patients.birth_date" = { class = "date" }
"public.patients.phone" = { class = "phone" }
"public.patients.email" = { class = "email" }
"public.encounters.patient_id" = { class = "patient_id", usage = "equality" }
"public.encounters.started_at" = { class = "date" }
"public.encounters.ended_at" = { class = "date" }
"public.results.patient_id" = { class = "patient_id", usage = "equality" }
"public.results.taken_at" = { class = "date" }
"public.claims.patient_id" = { class = "patient_id", usage = "equality" }
"public.claims.member_id" = { class = "health_plan" }
"public.claims.submitted_on" = { class = "date" }
"public.appointments.patient_id" = { class = "patient_id", usage = "equality" }
"public.appointments.starts_at" = { class = "date" }
"public.appointments.reason" = { class = "free_text" }
"public.notes.body" = { class = "free_text" }

"#;

const ROLES: &str = r#"[role.nurse]
[[role.nurse.allow]]
resource = "hospital"
read = [
  "public.patients", "public.households", "public.care_teams", "public.appointments", "public.admissions",
  "public.encounters", "public.notes", "public.results", "public.prescriptions", "public.departments", "public.staff",
]
write = ["public.notes", "public.appointments"]
unmask = ["*"]

[role.analyst]
[[role.analyst.allow]]
resource = "hospital"
read = ["public.patients", "public.encounters", "public.results", "public.claims", "public.departments"]

[role.privacy_officer]
[[role.privacy_officer.allow]]
resource = "hospital"
read = ["public.*"]
"#;

/// Prints who one can be and what one can type.
fn invite(stage: &Stage, show: Show) {
    let (host, port) = stage.address;
    show.heading("People");
    for person in &stage.people {
        show.line(&format!("  {:<6} {}  {}", person.name, show.bold(&person.password), person.role));
        show.line(&show.dim(&format!("         {}", person.may)));
    }
    show.heading("Copy and paste into another terminal");
    let certificate = stage.wardline.certificate().display().to_string();
    let psql = |name: &str, sql: &str| {
        let password = stage.person(name).map(|person| person.password.clone()).unwrap_or_default();
        format!(
            "PGPASSWORD={password} psql \"host={host} port={port} user={name} dbname={HOSPITAL} \\\n    \
             sslmode=verify-full sslrootcert={certificate}\" \\\n    -c \"{sql}\""
        )
    };
    show.line(&show.dim("  # allowed: a nurse reads a patient"));
    show.line(&format!("  {}", psql("nora", tour::ALLOWED)));
    show.line(&show.dim("  # masked: an analyst asks for the same"));
    show.line(&format!("  {}", psql("amir", tour::ALLOWED)));
    show.line(&show.dim("  # refused: the notes are nothing for an analyst"));
    show.line(&format!("  {}", psql("amir", tour::REFUSED)));
    show.line(&show.dim("  # a change, recorded before it is sent"));
    show.line(&format!("  {}", psql("nora", tour::UPDATE)));
    show.line(&show.dim("  # what the trail says, and the proof that nobody changed it"));
    let program = stage.wardline.command_line();
    show.line(&format!("  {program} trail tail --kind operation"));
    show.line(&format!("  {program} who-saw 1"));
    show.line(&format!("  {program} verify"));
    show.heading("Running");
    show.line(&format!("  gateway   {host}:{port}, log in {}", stage.wardline.log().display()));
    show.line(&format!("  database  127.0.0.1:{} (only Wardline has its password)", stage.cluster.port()));
    show.line(&format!("  folder    {}", stage.folder.display()));
    show.line("");
    show.line("  Ctrl-C ends it.");
}

/// Waits for Ctrl-C, SIGTERM, or the end of the gateway.
async fn stop_or_end(stage: &mut Stage) -> Result<String> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok("ending".to_owned()),
            _ = terminate.recv() => return Ok("ending".to_owned()),
            () = tokio::time::sleep(std::time::Duration::from_millis(300)) => {}
        }
        if !stage.wardline.runs() {
            bail!("`wardline serve` ended by itself; the end of its log:\n{}", stage.wardline.last_words());
        }
    }
}

/// Lets the user `postgres`, as whom the server runs when we are root, pass through.
fn open_to_all(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot open {}", folder.display()))
}
