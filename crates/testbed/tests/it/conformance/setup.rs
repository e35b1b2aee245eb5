//! Row 63: from nothing to the first logged query with the commands of the README, on defaults alone.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use testbed::postgres::Cluster;
use testbed::{Conninfo, SslMode, free_port};

use super::stage::{self, HOSPITAL, answer, err, out, psql, refused};

const TIME_MAX: Duration = Duration::from_mins(10);

#[test]
fn row_63_first_protected_database_in_minutes() {
    let cluster = stage::hospital();
    cluster.psql("create role app login password 'a password of the database'").expect("a role");
    cluster.psql_in(HOSPITAL, "grant select on all tables in schema public to app").expect("a right");
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home { folder: folder.path() };
    let begun = Instant::now();

    // The commands of README.md, "First use".
    home.done(&["init"], None);
    let port = free_port().expect("a port");
    home.edit(&cluster, port);
    home.done(&["check"], None);
    home.done(
        &["vault", "set", HOSPITAL, "--user", "app", "--password-stdin"],
        Some("a password of the database"),
    );
    home.done(&["user", "add", "ann", "--role", "nurse", "--password-stdin"], Some("a password of ann's"));
    home.done(&["user", "add", "newcomer", "--password-stdin"], Some("a password of theirs"));
    let mut server = home.serve(port);
    let token = home.done(&["login", "ann", "--token-only", "--password-stdin"], Some("a password of ann's"));
    let ann = conninfo(port, "ann", token.trim());
    assert_eq!(answer(&ann, "select name from patients where id = 7"), "patient 7");
    let trail = home.done(&["trail", "tail", "--kind", "operation"], None);
    assert!(trail.contains("ann") && trail.contains("patients"), "{trail}");
    assert!(begun.elapsed() < TIME_MAX, "it took {:?}", begun.elapsed());

    // The defaults keep the rows of their own: 1, 16, 19, 25 and 30, each in brief; 14 is a default of `idle_timeout_s`.
    refused(&ann, "select * from claims");
    assert!(!psql(&conninfo(port, "newcomer", "a password of theirs"), "select 1").status.success());
    assert!(!psql(&Conninfo { sslmode: SslMode::Disable, ..ann }, "select 1").status.success());
    let fields = home.done(&["check", "--fields"], None);
    assert!(fields.contains("idle_timeout_s"), "{fields}");
    home.done(&["verify"], None);
    server.kill().expect("it runs");
    server.wait().expect("it ends");
    // Now that nothing is replaced any more while it is read.
    for file in stage::files(&folder.path().join("wardline-data")) {
        let bytes = stage::content(&file).expect("a file");
        for canary in ["patient 7", "password of"] {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "`{canary}` lies in clear in {}", file.display());
        }
    }
}

fn conninfo(port: u16, user: &str, password: &str) -> Conninfo {
    Conninfo {
        host: "127.0.0.1".to_owned(),
        port,
        user: user.to_owned(),
        password: password.to_owned(),
        dbname: HOSPITAL.to_owned(),
        sslmode: SslMode::Require,
        root_cert: None,
    }
}

struct Home<'a> {
    folder: &'a Path,
}

impl Home<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(testbed::gateway::program().expect("the wardline program"));
        command.args(arguments).current_dir(self.folder).env("NO_COLOR", "1");
        command
    }

    #[track_caller]
    fn done(&self, arguments: &[&str], stdin: Option<&str>) -> String {
        let output = self.run(arguments, stdin);
        assert!(
            output.status.success(),
            "wardline {}: {}{}",
            arguments.join(" "),
            out(&output),
            err(&output)
        );
        out(&output)
    }

    fn run(&self, arguments: &[&str], stdin: Option<&str>) -> Output {
        use std::io::Write as _;
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("wardline");
        let mut pipe = child.stdin.take().expect("a pipe");
        // A command that asks for nothing may have ended already.
        let _ = writeln!(pipe, "{}", stdin.unwrap_or_default());
        drop(pipe);
        child.wait_with_output().expect("it ends")
    }

    /// Does with the first configuration what the README says: names the database and a role.
    fn edit(&self, cluster: &Cluster, port: u16) {
        let file = self.folder.join("wardline.toml");
        let first = std::fs::read_to_string(&file).expect("init wrote it");
        let first = first.replace("127.0.0.1:6432", &format!("127.0.0.1:{port}"));
        let ca = cluster.root_cert().expect("the database has TLS");
        let more = format!(
            "[resource.hospital]\nprotocol = \"postgres\"\nhost = \"127.0.0.1\"\nport = {}\ntls = {{ ca = {ca:?} }}\n\
             [role.nurse]\n[[role.nurse.allow]]\nresource = \"hospital\"\n\
             read = [\"public.patients\", \"public.notes\"]\nwrite = [\"public.notes\"]\n",
            cluster.port()
        );
        std::fs::write(&file, format!("{first}\n{more}")).expect("a configuration");
    }

    fn serve(&self, port: u16) -> Child {
        let log = std::fs::File::create(self.folder.join("log")).expect("a log");
        let mut command = self.command(&["serve"]);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        let child = command.spawn().expect("wardline");
        let up = (0..300).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        assert!(up, "{}", std::fs::read_to_string(self.folder.join("log")).unwrap_or_default());
        child
    }
}
