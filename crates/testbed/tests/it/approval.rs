//! Signing in at psql without a secret: it shows a link and a code, and goes on when its person approved in the browser. Here the
//! pages are asked as a browser asks them.
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use testbed::gateway::Gateway;
use testbed::https::Https;
use testbed::phone::Phone;
use testbed::postgres::Cluster;
use testbed::{Conninfo, free_port};

use crate::conformance::stage::{self, HOSPITAL, answer, entries, of, text};

/// A psql that waits for approval, with what it showed.
pub(crate) struct Waiting {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    pub(crate) path: String,
    pub(crate) code: String,
}

impl Waiting {
    pub(crate) fn start(conninfo: &Conninfo) -> Waiting {
        let mut command = Command::new("psql");
        conninfo.apply(&mut command);
        command.args(["-X", "-q", "-A", "-t", "-c", "select count(*) from patients"]);
        // Nothing is asked for, and nothing may be at hand.
        command.env_remove("PGPASSWORD").env("PGPASSFILE", "/nowhere").env("PGCONNECT_TIMEOUT", "0");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("psql");
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("a notice");
        let word_after = |mark: &str| {
            let rest = line.split_once(mark).unwrap_or_else(|| panic!("no `{mark}` in: {line}")).1;
            rest.split_whitespace().next().expect("a word").trim_end_matches(',').to_owned()
        };
        let link = word_after("open ");
        let path = link[link.find("/approve/").expect("a link")..].to_owned();
        Waiting { code: word_after("the code "), path, child, stderr }
    }

    /// Waits for its end; returns whether it got in, what it printed and what it complained about.
    pub(crate) fn end(mut self) -> (bool, String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        self.child.stdout.take().expect("a pipe").read_to_string(&mut out).expect("text");
        self.stderr.read_to_string(&mut err).expect("text");
        let status = self.child.wait().expect("it ends");
        (status.success(), out.trim().to_owned(), err)
    }
}

pub(crate) fn gateway(cluster: &Cluster, port: u16) -> Gateway {
    stage::gateway(cluster)
        .toml(&format!(
            "[web]\naddress = \"127.0.0.1:{port}\"\nurl = \"https://localhost:{port}\"\n\
             tls = {{ certificate = \"listener.crt\", key = \"listener.key\" }}\n\
             [sign_in]\napproval = \"browser\"\nsecond_factor = \"required\"\napproval_timeout_s = 600\n\
             [resource.hospital.phi.columns]\n\"public.patients.ssn\" = {{ class = \"ssn\" }}"
        ))
        .person("ann", &["nurse"])
        .person("bob", &["nurse"])
        .start()
        .expect("it starts")
}

/// Signs in on the page; returns the cookie.
fn sign_in(https: &Https, gateway: &Gateway, name: &str, code: &str) -> String {
    let password = gateway.conninfo(name, HOSPITAL).expect("a person").password;
    let fields = [("name", name), ("password", &*password), ("code", code)];
    let answer = https.form("/sign-in", "", &fields).expect("an answer");
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{}", answer.body);
    answer.cookie().expect("a cookie")
}

#[test]
fn a_session_waits_for_its_person_in_the_browser() {
    let cluster = stage::hospital();
    let port = free_port().expect("a port");
    let gateway = gateway(&cluster, port);
    let https = Https::to(port, &gateway.folder().join("ca.crt")).expect("a client");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    let (phone, other_phone) =
        (Phone::of(&gateway, "ann").expect("a phone"), Phone::of(&gateway, "bob").expect("a phone"));

    let waiting = Waiting::start(&ann);
    // A stranger is shown the way to sign in, and then back.
    let stranger = https.page(&waiting.path, "").expect("an answer");
    assert_eq!(stranger.header("location"), Some(&*format!("/sign-in?next={}", waiting.path)));
    // Somebody else finds nothing, also with the code.
    let bob = sign_in(&https, &gateway, "bob", &other_phone.code());
    assert_eq!(https.page(&waiting.path, &bob).expect("an answer").status, 404);
    let approve = [("do", "approve"), ("code", &*waiting.code)];
    assert_eq!(https.form(&waiting.path, &bob, &approve).expect("an answer").status, 404);
    // Its person without a second factor is asked for it first.
    let without = sign_in(&https, &gateway, "ann", "");
    let asked = https.page(&waiting.path, &without).expect("an answer");
    assert_eq!(asked.header("location"), Some(&*format!("/step-up?next={}", waiting.path)));
    assert_eq!(
        https.form(&waiting.path, &without, &approve).expect("an answer").status,
        303,
        "not approved either"
    );

    let cookie = sign_in(&https, &gateway, "ann", &phone.code());
    let page = https.page(&waiting.path, &cookie).expect("an answer");
    for fact in ["ann", HOSPITAL, "psql", "127.0.0.1"] {
        assert!(page.body.contains(fact), "the page does not show {fact}: {}", page.body);
    }
    assert!(!page.body.contains(&waiting.code), "the code is for comparing, and not on the page");
    // A page of another site cannot approve.
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Cookie", &*cookie),
        ("Origin", "https://evil.example"),
    ];
    let body = format!("do=approve&code={}", waiting.code);
    assert_eq!(https.ask("POST", &waiting.path, &headers, &body).expect("an answer").status, 403);
    let wrong = https.form(&waiting.path, &cookie, &[("do", "approve"), ("code", "AAA-AAA")]);
    assert_eq!(wrong.expect("an answer").status, 403);
    let approved = https.form(&waiting.path, &cookie, &approve).expect("an answer");
    assert_eq!(approved.status, 200, "{}", approved.body);
    let (got_in, rows, complaint) = waiting.end();
    assert!(got_in, "{complaint}");
    assert_eq!(rows, "200");
    let seen = entries(&gateway);
    let opened = of(&seen, "sign-in", "ann");
    let how =
        opened.iter().rev().find(|entry| text(entry, "client") == "psql").map(|entry| text(entry, "sign_in"));
    assert_eq!(how.as_deref(), Some("browser at 127.0.0.1: password+totp"));

    denied_and_given_up(&gateway, &https, &ann, &cookie);
    // A token is still taken by whoever asks for a password.
    let reply = https.form("/tokens", &cookie, &[]).expect("an answer");
    let token =
        reply.body.split("<pre>").nth(1).and_then(|rest| rest.split("</pre>").next()).expect("a token");
    let with_token = ann.clone().with_user("ann", token);
    let mut command = Command::new("psql");
    with_token.apply(&mut command);
    command.env("PGOPTIONS", "-c wardline.sign_in=password");
    let output =
        command.args(["-X", "-A", "-t", "-c", "select count(*) from patients"]).output().expect("psql");
    assert_eq!(stage::out(&output), "200", "{}", stage::err(&output));
    signed_out(&https, &cookie, token);
    let _ = answer;
}

/// What is denied, what has three wrong codes, and a name that there is not, all end in the same words.
fn denied_and_given_up(gateway: &Gateway, https: &Https, ann: &Conninfo, cookie: &str) {
    let waiting = Waiting::start(ann);
    let denied = https.form(&waiting.path, cookie, &[("do", "deny")]).expect("an answer");
    assert_eq!(denied.status, 200);
    let (got_in, rows, complaint) = waiting.end();
    assert!(!got_in && rows.is_empty(), "{rows}");
    assert!(complaint.contains("FATAL:  access refused"), "{complaint}");
    let waiting = Waiting::start(ann);
    for _ in 0..3 {
        let wrong = https.form(&waiting.path, cookie, &[("do", "approve"), ("code", "AAA-AAA")]);
        assert_eq!(wrong.expect("an answer").status, 403);
    }
    let right = [("do", "approve"), ("code", &*waiting.code)];
    assert_eq!(https.form(&waiting.path, cookie, &right).expect("an answer").status, 404);
    let (got_in, _, complaint) = waiting.end();
    assert!(!got_in && complaint.contains("FATAL:  access refused"), "{complaint}");
    // Whoever there is not gets a link as well, and nobody who could open it.
    let nobody = Waiting::start(&Conninfo { user: "nobody".to_owned(), ..ann.clone() });
    assert_eq!(https.page(&nobody.path, cookie).expect("an answer").status, 404);
    let mut child = nobody.child;
    child.kill().expect("it is ended");
    child.wait().expect("it ends");
    let seen = entries(gateway);
    let reasons: Vec<String> =
        of(&seen, "sign-in", "ann").iter().map(|entry| text(entry, "detail")).collect();
    for reason in ["denied-in-browser", "not-approved", "wrong code for a session that waits"] {
        assert!(reasons.iter().any(|known| known == reason), "{reason}: {reasons:?}");
    }
}

/// A session that ended is none any more; nor is the API open to a cookie from another site.
fn signed_out(https: &Https, cookie: &str, token: &str) {
    let by_cookie = https.page("/api/v1/me", cookie).expect("an answer");
    assert_eq!((by_cookie.status, by_cookie.json()["name"].as_str()), (200, Some("ann")));
    let body = "{\"role\":\"nurse\",\"resource\":\"hospital\",\"reason\":\"x\",\"duration_s\":60}";
    let headers =
        [("Content-Type", "application/json"), ("Cookie", cookie), ("Origin", "https://evil.example")];
    let foreign = https.ask("POST", "/api/v1/access-requests", &headers, body).expect("an answer");
    assert_eq!(foreign.status, 403, "{}", foreign.body);
    assert_eq!(https.form("/sign-out", cookie, &[]).expect("an answer").status, 303);
    assert_eq!(https.page("/api/v1/me", cookie).expect("an answer").status, 401);
    assert_eq!(https.page("/", cookie).expect("an answer").status, 303);
    let by_token = https.json("GET", "/api/v1/me", token, &serde_json::Value::Null).expect("an answer");
    assert_eq!(by_token.status, 200);
}
