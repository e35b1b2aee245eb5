//! A running server: its control socket, its lock, reload and the end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::people::{CONFIG, PASSWORD};
use crate::place::Place;

/// Longest time that anything here may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that is killed when the test ends.
pub(crate) struct Server {
    child: Child,
    log: mpsc::Receiver<String>,
    pub(crate) seen: String,
    pub(crate) greeting: String,
}

impl Server {
    /// Starts a server and waits until it serves.
    pub(crate) fn start(place: &Place) -> Server {
        Server::start_with(place, &[])
    }

    /// The same with further arguments.
    pub(crate) fn start_with(place: &Place, arguments: &[&str]) -> Server {
        Server::start_on(place, "wardline.toml", "data", arguments)
    }

    /// The same on another configuration, with its data folder.
    pub(crate) fn start_on(place: &Place, config: &str, data: &str, arguments: &[&str]) -> Server {
        let serve = ["--config", config, "serve", "--log-json"];
        let mut command = place.command(&[&serve[..], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ended = sender.send(line);
            }
        });
        let mut greeting = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        stdout.read_line(&mut greeting).expect("readable");
        let mut server = Server { child, log, seen: String::new(), greeting };
        assert!(server.greeting.contains("PostgreSQL on"), "{}", server.rest_of_log());
        let began = Instant::now();
        while !place.path(data).join("control.sock").exists() {
            assert!(began.elapsed() < PATIENCE, "no control socket");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits until the log says something.
    pub(crate) fn logs(&mut self, text: &str) -> String {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Ok(line) = self.log.recv_timeout(Duration::from_millis(100)) {
                self.seen.push_str(&line);
                self.seen.push('\n');
                if line.contains(text) {
                    return line;
                }
            }
        }
        panic!("`{text}` is not in the log:\n{}", self.seen);
    }

    fn rest_of_log(&mut self) -> String {
        while let Ok(line) = self.log.recv_timeout(Duration::from_secs(1)) {
            self.seen.push_str(&line);
            self.seen.push('\n');
        }
        self.seen.clone()
    }

    /// Waits for the end and returns the exit code.
    pub(crate) fn ends(mut self) -> i32 {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("waitable") {
                return status.code().unwrap_or(-1);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the server does not end:\n{}", self.rest_of_log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A log on a full disk, or to a reader that went away, stops nothing.
#[test]
fn a_log_that_cannot_be_written_is_not_needed() {
    let place = Place::ready();
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let mut child = place.command(&["serve"]).stdout(Stdio::piped()).stderr(full).spawn().expect("it starts");
    let mut greeting = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    stdout.read_line(&mut greeting).expect("readable");
    assert!(greeting.contains("PostgreSQL on"), "{greeting}");
    let id = child.id().to_string();
    let signal = |name: &str| {
        std::process::Command::new("kill").args([name, id.as_str()]).status().expect("kill runs")
    };
    assert!(signal("-HUP").success());
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().expect("a child").is_none(), "it ended over its log");
    assert!(signal("-TERM").success());
    let began = Instant::now();
    let ended = loop {
        match child.try_wait().expect("a child") {
            Some(ended) => break ended,
            None => assert!(began.elapsed() < PATIENCE, "it does not end"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn commands_go_through_the_running_server() {
    let place = Place::ready();
    let server = Server::start(&place);
    place.add("ann", "nurse").exits(0);
    place.add("ann", "nurse").exits(1);
    place.login("ann", PASSWORD).exits(0);
    place.login("ann", "wrong password!\n").exits(1);
    assert_eq!(place.run(&["user", "list", "--json"]).exits(0).json()[0]["name"], "ann");
    let second = place.run(&["serve"]).exits(2);
    assert!(second.stderr.contains("another process holds"), "{second:?}");
    server.signal("TERM");
    assert_eq!(server.ends(), 0);
    assert!(!place.path("data/control.sock").exists());
    assert_eq!(place.run(&["user", "list", "--json"]).exits(0).json()[0]["name"], "ann");
}

#[test]
fn the_control_socket_is_private_and_bounded() {
    let place = Place::ready();
    let _server = Server::start(&place);
    let socket = place.path("data/control.sock");
    assert_eq!(std::fs::metadata(&socket).expect("there").mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(place.path("data")).expect("there").mode() & 0o777, 0o700);
    let ask = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(&socket).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let _refused_early = stream.write_all(bytes);
        let mut answer = String::new();
        let _reset = stream.read_to_string(&mut answer);
        answer
    };
    assert!(ask(b"{\"request\":{\"ask\":\"user-list\"}}\n").contains("\"people\""));
    let unknown = ask(b"{\"request\":{\"ask\":\"user-list\",\"password\":\"canary\"}}\n");
    assert!(unknown.contains("does not understand") && !unknown.contains("canary"), "{unknown}");
    assert!(ask(&vec![b'a'; 300_000]).contains("one line of at most"));
}

#[test]
fn another_account_is_not_heard() {
    let place = Place::ready();
    let _server = Server::start(&place);
    if std::fs::metadata(place.path("data")).expect("there").uid() != 0 {
        eprintln!("SKIP: only root can become another account");
        return;
    }
    // Everything but the kernel's word is opened to the other account.
    let open = |path: std::path::PathBuf, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
    };
    let mut folder = place.path("data");
    open(place.path("data/control.sock"), 0o666);
    while folder.starts_with(std::env::temp_dir()) && folder != std::env::temp_dir() {
        open(folder.clone(), 0o755);
        folder = folder.parent().expect("a parent").to_owned();
    }
    let script = "$SIG{PIPE} = q(IGNORE); my $s = IO::Socket::UNIX->new(Peer => shift) or die $!;\
                  print $s qq({\"request\":{\"ask\":\"user-list\"}}\\n); $s->flush; print <$s>;";
    let socket = place.path("data/control.sock");
    let output = std::process::Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "perl",
            "-MIO::Socket::UNIX",
            "-e",
            script,
        ])
        .arg(&socket)
        .output();
    let Ok(output) = output else {
        eprintln!("SKIP: no setpriv");
        return;
    };
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(answer.contains("only the server's own account"), "{answer} {output:?}");
}

#[test]
fn a_reload_takes_effect_or_changes_nothing() {
    let place = Place::ready();
    place.add("ann", "nurse").exits(0);
    let mut server = Server::start(&place);
    let may = |place: &Place| {
        let arguments = ["access", "matrix", "--person", "ann", "--relation", "public.claims"];
        place.run(&arguments).exits(0).stdout.lines().any(|line| line.contains("Read"))
    };
    assert!(!may(&place));
    place.write("wardline.toml", &CONFIG.replace("\"public.patients\"", "\"public.*\""));
    server.signal("HUP");
    server.logs("configuration activated");
    assert!(may(&place));
    place.write("wardline.toml", "node = \"gw1\"\nnonsense = 1\n");
    server.signal("HUP");
    let refused = server.logs("reload refused");
    assert!(refused.contains("unknown key `nonsense`"), "{refused}");
    assert!(may_in_force(&place), "the configuration in force stays");
    // So does what is protected, which comes into force with the rest.
    let classified =
        CONFIG.replace("[[role.nurse.allow]]", "phi = { clean = [\"x\"] }\n[[role.nurse.allow]]");
    place.write("wardline.toml", &classified);
    server.signal("HUP");
    let refused = server.logs("reload refused");
    assert!(refused.contains("`x` names no columns"), "{refused}");
    place.write("wardline.toml", &classified.replace("[\"x\"]", "[\"x.*\"]"));
    server.signal("HUP");
    server.logs("configuration activated");
    // A role that somebody holds may go; it then grants nothing.
    let without = CONFIG.replace("[[role.nurse.allow]]", "[[role.other.allow]]");
    place.write("wardline.toml", &without);
    server.signal("HUP");
    server.logs("configuration activated");
    assert!(!may(&place));
}

/// Asks the server although the file is invalid.
fn may_in_force(place: &Place) -> bool {
    let mut stream = UnixStream::connect(place.path("data/control.sock")).expect("connects");
    let request = "{\"request\":{\"ask\":\"access-matrix\",\"relations\":[\"public.claims\"],\"address\":\"127.0.0.1\"}}\n";
    stream.write_all(request.as_bytes()).expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    let cells = answer["done"]["matrix"].as_array().expect("a matrix").clone();
    cells.iter().any(|cell| {
        cell["person"] == "ann"
            && cell["action"] == "Read"
            && cell["object"] == "public.claims"
            && cell["allowed"] == true
    })
}

#[test]
fn weak_protection_is_logged_at_each_start() {
    let place = Place::ready();
    let mut server = Server::start(&place);
    let line = server.logs("protection is weakened");
    assert!(line.contains("test on one machine") && line.contains("WARN"), "{line}");
}

#[test]
fn the_fingerprint_is_that_of_the_file_and_stays() {
    let place = Place::ready();
    let first = Server::start(&place);
    let greeting = first.greeting.split("SHA-256").nth(1).expect("a fingerprint").to_owned();
    first.signal("INT");
    assert_eq!(first.ends(), 0);
    assert_eq!(
        std::fs::metadata(place.path("data/tls/self-signed.key")).expect("there").mode() & 0o777,
        0o600
    );
    let second = Server::start(&place);
    assert_eq!(second.greeting.split("SHA-256").nth(1), Some(greeting.as_str()));
}

#[test]
fn a_socket_left_behind_is_replaced() {
    let place = Place::ready();
    let mut killed = Server::start(&place);
    killed.child.kill().expect("killed");
    killed.child.wait().expect("reaped");
    assert!(place.path("data/control.sock").exists());
    place.add("ann", "nurse").exits(0);
    let _server = Server::start(&place);
    assert_eq!(place.run(&["user", "list", "--json"]).exits(0).json()[0]["name"], "ann");
}

#[test]
fn a_start_that_fails_ends_in_order() {
    let place = Place::ready();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    place.write("wardline.toml", &CONFIG.replace("127.0.0.1:0", &address));
    let failed = place.run(&["serve"]).exits(2);
    assert!(failed.stderr.contains(&address), "{failed:?}");
    let verified = place.run(&["verify", "--json"]).exits(0).json();
    assert_eq!(verified["starts_without_stop"], 0, "{verified}");
}

#[test]
fn a_credential_may_come_before_the_reload() {
    let place = Place::ready();
    let server = Server::start(&place);
    let lab = "\n[resource.lab]\nprotocol = \"postgres\"\nhost = \"127.0.0.1\"\n\
        tls = { mode = \"disable\", exception = \"test on one machine, nobody, never\" }\n";
    place.write("wardline.toml", &format!("{CONFIG}{lab}"));
    let set = |resource| {
        place.run_with_input(&["vault", "set", resource, "--user", "app", "--password-stdin"], PASSWORD)
    };
    assert!(set("lab").exits(0).stdout.contains("send it SIGHUP"));
    assert!(!set("hospital").exits(0).stdout.contains("SIGHUP"));
    assert!(set("nosuch").exits(1).stderr.contains("defines: hospital, lab"));
    place.add("ann", "nurse").exits(0);
    let explained = place.run(&["phi", "explain", "lab", "SELECT 1", "--as", "ann"]).exits(1);
    assert!(explained.stderr.contains("SIGHUP"), "{explained:?}");
    drop(server);
}
