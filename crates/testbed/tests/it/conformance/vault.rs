//! Credentials that rotate, sessions whose person the database sees, and the registry on PostgreSQL.
//!
//! Not rows of their own: they belong to row 6 (no shared log-ins upstream) and to what issue 5 asks of the vault.

use std::time::{Duration, Instant};

use testbed::Conninfo;
use testbed::gateway::{Builder, Gateway, ROLE_ALL};
use testbed::holding::{Hold, Holding};
use testbed::postgres::{Cluster, Options};

use super::stage::{self, HOSPITAL, answer, entries, err, of, psql, text};

const PATIENCE: Duration = Duration::from_secs(60);
const FIRST: &str = "first password of wardline";
const SECOND: &str = "first password of the second account";

/// A server in clear, whose log says who asked what.
fn cluster() -> Cluster {
    let settings = [
        ("log_statement", "all"),
        ("log_line_prefix", "%u|%a|"),
        ("fsync", "off"),
        ("log_error_verbosity", "verbose"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let cluster = Cluster::start(Options { settings, ..Options::default() }).expect("PostgreSQL");
    cluster.create_database(HOSPITAL).expect("a database");
    let sql = format!(
        "create role wardline_app login password '{FIRST}'; create role wardline_two login password '{SECOND}';
         grant all on schema public to wardline_app, wardline_two; create table wards (id int, name text);
         insert into wards values (1, 'north'); grant select on wards to wardline_app, wardline_two;"
    );
    cluster.psql_in(HOSPITAL, &sql).expect("roles and a table");
    cluster
}

/// Begins a gateway before a port of that server.
fn builder(cluster: &Cluster, port: u16) -> Builder {
    let conninfo = cluster.conninfo().with_dbname(HOSPITAL).with_user("wardline_app", FIRST);
    Gateway::builder().resource(HOSPITAL, &Conninfo { port, ..conninfo })
}

fn nurse(builder: Builder) -> Builder {
    builder.role("nurse", HOSPITAL, "read = [\"public.*\"]").person("ann", &["nurse"])
}

#[track_caller]
fn wait_for(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the server checks the password of an account against.
fn stored(cluster: &Cluster, user: &str) -> String {
    cluster.psql(&format!("select rolpassword from pg_authid where rolname = '{user}'")).expect("psql")
}

fn logs_in(cluster: &Cluster, user: &str, password: &str) -> bool {
    psql(&cluster.conninfo().with_dbname(HOSPITAL).with_user(user, password), "select 1").status.success()
}

fn vault_file(gateway: &Gateway) -> String {
    std::fs::read_to_string(gateway.data().join("vault.json")).expect("the vault")
}

/// Wardline is killed between any two steps; whichever password the database then wants, sessions go on.
#[test]
fn a_rotation_that_dies_leaves_a_credential_that_works() {
    let cluster = cluster();
    let way = Holding::before(cluster.port()).expect("a proxy");
    let mut gateway = nurse(builder(&cluster, way.port())).start().expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    assert_eq!(answer(&ann, "select name from wards"), "north");
    for (hold, changed) in [(Hold::Every, false), (Hold::Answer, true), (Hold::AfterFirst, true)] {
        let before = stored(&cluster, "wardline_app");
        way.hold(hold);
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                gateway.cli_output(&["vault", "rotate", HOSPITAL]).expect("it runs").status.success()
            });
            wait_for("the rotation to stand still", || way.held() > 0);
            if changed {
                wait_for("the new password", || stored(&cluster, "wardline_app") != before);
            }
            assert!(vault_file(&gateway).contains("\"next\""), "{hold:?}: the intent is not in the vault");
            let server = gateway
                .process_id()
                .and_then(|id| i32::try_from(id).ok())
                .and_then(rustix::process::Pid::from_raw);
            rustix::process::kill_process(server.expect("it runs"), rustix::process::Signal::KILL)
                .expect("killed");
            assert!(!asked.join().expect("it ends"), "{hold:?}: a dead server said that it was done");
        });
        let _reaped = gateway.kill9();
        assert_eq!(stored(&cluster, "wardline_app") != before, changed, "{hold:?}");

        // Nothing of a rotation passes yet, so whatever lets this session in was there before.
        way.hold(Hold::Every);
        gateway.serve().expect("it starts again");
        assert_eq!(answer(&ann, "select name from wards"), "north", "{hold:?}");
        way.hold(Hold::Nothing);
        // The start found it half way, and another attempt would come in an hour; somebody asks for it.
        if vault_file(&gateway).contains("\"next\"") {
            gateway.cli(&["vault", "rotate", HOSPITAL]).expect("it is finished");
        }
        assert!(!vault_file(&gateway).contains("\"next\""), "{hold:?}");
        assert_eq!(answer(&ann, "select name from wards"), "north", "{hold:?}");
        assert!(stored(&cluster, "wardline_app") != before, "{hold:?}: nothing was rotated in the end");
    }
    assert!(!logs_in(&cluster, "wardline_app", FIRST), "the first password still works");
    let changes: Vec<_> =
        entries(&gateway).into_iter().filter(|entry| text(entry, "command") == "vault rotate").collect();
    assert!(
        changes
            .iter()
            .any(|entry| text(entry, "phase") == "settled" && text(entry, "outcome") == "completed")
    );
    let trail = format!("{changes:?}") + &std::fs::read_to_string(gateway.log()).expect("the log");
    assert!(!trail.contains("SCRAM-SHA-256$"), "a verifier is in the trail or the log");
    // The database was given verifiers only.
    let log = std::fs::read_to_string(cluster.log()).expect("the server's log");
    let orders: Vec<&str> = log.lines().filter(|line| line.contains("ALTER ROLE CURRENT_USER")).collect();
    assert!(orders.len() >= 3);
    assert!(orders.iter().all(|line| line.contains("PASSWORD 'SCRAM-SHA-256$4096:")), "{orders:?}");
}

#[test]
fn two_accounts_take_turns_and_open_sessions_go_on() {
    let cluster = cluster();
    let gateway = nurse(builder(&cluster, cluster.port())).start().expect("it starts");
    let set = ["vault", "set", HOSPITAL, "--user", "wardline_two", "--second", "--password-stdin"];
    gateway.cli_stdin(&set, SECOND).expect("stored");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    let using = |user: &str| {
        let sql =
            format!("select count(*) from pg_stat_activity where usename = '{user}' and query = 'select 1'");
        cluster.psql(&sql).expect("psql").parse::<u32>().expect("a number")
    };
    let old = stage::Held::open("127.0.0.1", &ann);
    old.ask("select 1").expect("an answer");
    assert_eq!((using("wardline_app"), using("wardline_two")), (1, 0));

    let (one, two) = (stored(&cluster, "wardline_app"), stored(&cluster, "wardline_two"));
    let said = gateway.cli(&["vault", "rotate", HOSPITAL]).expect("rotated");
    assert!(said.contains("wardline_two"), "{said}");
    assert_eq!(stored(&cluster, "wardline_app"), one, "the account in use was touched");
    assert_ne!(stored(&cluster, "wardline_two"), two);
    old.ask("select 1").expect("an open session goes on");
    let new = stage::Held::open("127.0.0.1", &ann);
    new.ask("select 1").expect("an answer");
    assert_eq!((using("wardline_app"), using("wardline_two")), (1, 1));
    assert!(logs_in(&cluster, "wardline_app", FIRST), "who still has the other credential must get in");

    gateway.cli(&["vault", "rotate", HOSPITAL, "--all"]).expect("both");
    assert!(!logs_in(&cluster, "wardline_app", FIRST) && !logs_in(&cluster, "wardline_two", SECOND));
    assert_eq!(answer(&ann, "select name from wards"), "north");
    let wrong = gateway.cli_output(&["vault", "rotate", "nowhere"]).expect("it runs");
    assert_eq!(wrong.status.code(), Some(1), "{}", err(&wrong));
}

#[test]
fn a_password_that_is_due_changes_by_itself() {
    let cluster = cluster();
    let rotating = builder(&cluster, cluster.port()).toml("rotation = { every = \"10m\" }");
    let mut gateway = nurse(rotating).start().expect("it starts");
    wait_for("the first rotation", || !logs_in(&cluster, "wardline_app", FIRST));
    wait_for("its end", || !vault_file(&gateway).contains("\"next\""));
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    assert_eq!(answer(&ann, "select name from wards"), "north");
    let before = stored(&cluster, "wardline_app");
    gateway.terminate().expect("it ends");
    gateway.serve().expect("it starts again");
    assert_eq!(answer(&ann, "select name from wards"), "north");
    assert_eq!(stored(&cluster, "wardline_app"), before, "it was not due");
}

/// Runs a text as psql does, and returns what it said and whether it was done.
fn tried(conninfo: &Conninfo, sql: &str) -> (bool, String) {
    let output = psql(conninfo, sql);
    (output.status.success(), stage::out(&output) + &err(&output))
}

#[test]
fn the_databases_own_log_names_the_person() {
    let cluster = cluster();
    let named = builder(&cluster, cluster.port()).toml("upstream_identity = \"application_name\"");
    let gateway =
        named.role_all().person("ann", &[ROLE_ALL]).person("ben", &[ROLE_ALL]).start().expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    assert_eq!(answer(&ann, "select 'asked by ann' from wards"), "asked by ann");
    let log = std::fs::read_to_string(cluster.log()).expect("the server's log");
    let line = log.lines().find(|line| line.contains("asked by ann")).expect("the statement");
    assert!(line.starts_with("wardline_app|wardline:ann psql|"), "{line}");

    let shown = "show application_name";
    for (name, expected) in [
        ("set application_name = 'wardline:ben'", "wardline:ann wardline:ben"),
        ("set session application_name to 'x''y'", "wardline:ann x'y"),
        ("set application_name to default", "wardline:ann psql"),
        ("reset application_name", "wardline:ann psql"),
        ("reset all", "wardline:ann psql"),
        ("discard all", "wardline:ann psql"),
        ("set application_name = ''", "wardline:ann"),
    ] {
        let script = format!("{name};\n{shown};\n");
        let output = stage::script(&ann, &[], &script);
        assert_eq!((stage::out(&output).as_str(), err(&output).as_str()), (expected, ""), "{name}");
    }
    for refused in [
        "set application_name = 'a'; select 1",
        "select set_config('application_name', 'wardline:ben', false)",
        "select set_config('application' || '_name', 'wardline:ben', false)",
    ] {
        let (done, said) = tried(&ann, refused);
        assert!(!done && said.contains("0A000"), "`{refused}`: {said}");
    }
    // From within the database it cannot be refused; the session ends before it asks anything under that name.
    let inside = "do $$ begin perform set_config('application_name', 'wardline:ben', false); end $$;\nselect 'as ben';\n";
    let output = stage::script(&ann, &[], inside);
    assert!(!stage::out(&output).contains("as ben"), "{}", stage::out(&output));
    let log = std::fs::read_to_string(cluster.log()).expect("the server's log");
    assert!(
        !log.lines().any(|line| line.contains("|wardline:ben") && !line.contains("wardline:ann")),
        "{log}"
    );
}

#[test]
fn a_session_acts_as_a_role_of_its_person_and_as_no_other() {
    let cluster = cluster();
    let roles = "create role person_ann; create role person_ben; grant person_ann, person_ben to wardline_app;
                 grant select on wards to person_ann; create table secrets (id int);
                 grant select on secrets to wardline_app, person_ben; grant usage on schema public to person_ann";
    cluster.psql_in(HOSPITAL, roles).expect("roles");
    let acting = builder(&cluster, cluster.port())
        .toml("upstream_identity = \"set-role\"\nupstream_role = \"person_{name}\"");
    let people = acting.role_all().person("ann", &[ROLE_ALL]).person("eve", &[ROLE_ALL]);
    let gateway = people.start().expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    assert_eq!(answer(&ann, "select current_user || ' ' || session_user"), "person_ann wardline_app");
    assert_eq!(answer(&ann, "select name from wards"), "north");
    let (done, said) = tried(&ann, "select * from secrets");
    assert!(!done && said.contains("42501"), "the database's own rights do not count: {said}");

    for attack in [
        "set role none",
        "reset role",
        "set role person_ben",
        "set session role wardline_app",
        "set local role person_ben",
        "set \"role\" to person_ben",
        "SET \"ROLE\" TO person_ben",
        "/* */ SeT rOlE 'person_ben'",
        "set role to default",
        "set session authorization default",
        "reset session authorization",
        "set session authorization wardline_app",
        "discard all",
        "select 1; reset role",
        "begin; set local role none; commit",
        "select set_config('role', 'person_ben', false)",
        "select set_config('ro' || 'le', 'person_ben', false)",
        "do $$ begin set role person_ben; end $$",
        "do $$ begin execute 'reset role'; end $$",
    ] {
        let script = format!("{attack};\nselect 'still ' || current_user;\n");
        let output = stage::script(&ann, &[], &script);
        let said = stage::out(&output);
        assert!(err(&output).contains("0A000"), "`{attack}` was not refused: {said} {}", err(&output));
        assert!(said.contains("still person_ann"), "`{attack}`: {said} {}", err(&output));
    }
    for harmless in ["reset all", "set timezone = 'UTC'", "discard temp", "rollback"] {
        let script = format!("{harmless};\nselect 'still ' || current_user;\n");
        assert_eq!(stage::out(&stage::script(&ann, &[], &script)), "still person_ann", "{harmless}");
    }
    let eve = gateway.conninfo("eve", HOSPITAL).expect("a person");
    let (done, said) = tried(&eve, "select 1");
    assert!(!done && said.contains("the resource has no role for you"), "{said}");
    assert!(of(&entries(&gateway), "session-closed", "eve").len() == 1, "her session has no end");
}

/// Sign-in fails closed while the registry cannot be asked, open sessions go on, and nothing needs a restart.
#[test]
fn people_live_on_postgresql_and_the_gateway_outlives_its_outage() {
    let resources = cluster();
    let mut home = Cluster::start(Options::default()).expect("PostgreSQL");
    home.create_database("wardline").expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let url = folder.path().join("registry.url");
    let conninfo = home.conninfo();
    let line =
        format!("postgres://{}:{}@127.0.0.1:{}/wardline\n", conninfo.user, conninfo.password, home.port());
    std::fs::write(&url, line).expect("written");
    let private = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    std::fs::set_permissions(&url, private).expect("private");

    let mut gateway = nurse(builder(&resources, resources.port())).start().expect("it starts");
    gateway.terminate().expect("it ends");
    // Without the mode in which people go on signing in by a copy.
    let section = format!("[registry]\nurl_file = {url:?}\n[emergency_mode]\nhours = 0\n");
    let configuration = std::fs::read_to_string(gateway.config()).expect("the configuration") + &section;
    std::fs::write(gateway.config(), configuration).expect("written");
    gateway.serve().expect_err("nobody of the people is there");
    let file = gateway.data().join("registry.sqlite");
    let import = ["registry", "import", file.to_str().expect("a path")];
    gateway.cli(&import).expect("moved");
    let again = gateway.cli_output(&import).expect("it runs");
    assert!(!again.status.success() && err(&again).contains("not overwritten"), "{}", err(&again));
    std::fs::remove_file(file).expect("the old one is put away");
    gateway.serve().expect("it starts");
    assert_eq!(home.psql_in("wardline", "select name from people").expect("psql"), "ann");
    let backups = folder.path().join("backups");
    let backups = backups.to_str().expect("a path");
    gateway.cli(&["backup", backups]).expect("a backup");
    let drill = gateway.cli(&["drill", backups]).expect("a drill, which asks no server");
    assert!(drill.contains("ready to serve"), "{drill}");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    let held = stage::Held::open("127.0.0.1", &ann);
    held.ask("select name from wards").expect("an answer");

    home.stop_immediate().expect("it dies");
    held.ask("select name from wards").expect("an open session goes on");
    assert!(!psql(&ann, "select 1").status.success(), "somebody got in without being looked up");
    let log = std::fs::read_to_string(gateway.log()).expect("the log");
    assert!(log.contains("the registry could not be asked"), "{log}");
    let refused = gateway.cli_output(&["user", "disable", "ann"]).expect("it runs");
    assert!(!refused.status.success(), "a change that nobody kept");
    held.ask("select name from wards").expect("an open session goes on");

    home.restart().expect("it is back");
    assert_eq!(answer(&ann, "select name from wards"), "north");
    gateway.cli(&["user", "disable", "ann"]).expect("changes are made again");
    wait_for("the end of her session", || held.ask("select 1").is_err());
    assert!(!psql(&ann, "select 1").status.success());
}

/// A bound that holds on a machine that does much else; `testbed bench revoke` measures. About 20 s.
#[test]
fn what_is_taken_away_is_gone_from_every_open_session() {
    let figures = testbed::bench::revoke::measure(120).expect("measured");
    for (what, figure) in figures {
        assert!(figure.last < Duration::from_secs(20), "{what}: {figure:?}");
        assert!(figure.database < Duration::from_secs(25), "{what}: {figure:?}");
    }
}
