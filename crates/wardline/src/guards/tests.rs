//! Locks, means and fresh factors, at an open node and without a network.

use std::net::SocketAddr;
use std::path::Path;

use axum::http::HeaderMap;
use axum::http::header::{COOKIE, HeaderValue};
use model::{Kind, Record, Secret, Shown};

use super::*;
use crate::admin::{AgentReply, Answered, Claim, LockOn, Over, RecertifyReply, Reply, Sensitive};
use crate::changes::breakglass::Wish;
use crate::config::Config;
use crate::data::DataFolder;

const PASSWORD: &str = "correct horse battery";
const MINUTE_US: u64 = 60_000_000;

async fn node(folder: &Path) -> Node {
    let text = format!(
        "node = \"gw1\"\ndata = \"data\"\n[web]\naddress = \"127.0.0.1:0\"\nurl = \"https://localhost\"\n\
         [resource.hospital]\nprotocol = \"postgres\"\nhost = \"127.0.0.1\"\n\
         tls = {{ mode = \"disable\", exception = \"test on one machine, nobody, never\" }}\n\
         [role.nurse]\n[role.clerk]\n[role.lead]\n[role.sysadmin]\n\
         [role.clinician]\n[[role.clinician.allow]]\nresource = \"hospital\"\nread = [\"public.*\"]\n\
         [break_glass]\ninitiators = [\"nurse\"]\nrole = \"clinician\"\nduration_s_max = 600\n\
         [operators.rights]\n\"{}\" = [\"admin\", \"key-admin\"]\nsysadmin = [\"admin\"]\nlead = [\"approver\"]\n",
        Actor::ourselves().shown()
    );
    let config = Config::parse(&folder.join("wardline.toml"), &text);
    let config = config.config.unwrap_or_else(|| panic!("{:?}", config.problems));
    let data = DataFolder::at(&config.data);
    data.create().expect("created");
    vault::root_key_create(&data.root_key()).expect("a key");
    let lock = data.lock().expect("lockable").expect("free");
    Node::open(config, lock).await.expect("opens")
}

fn peer() -> SocketAddr {
    "192.0.2.7:1234".parse().expect("an address")
}

async fn does(node: &Node, actor: &Actor, request: Request) -> Reply {
    node.perform(actor, request).await.expect("done")
}

#[track_caller]
fn refused(answer: Result<Reply, Refusal>, why: &str) {
    let refusal = answer.expect_err("refused");
    assert!(refusal.message.contains(why), "{refusal}");
}

async fn add(node: &Node, name: &str, role: &str) {
    let password = Sensitive(Secret::new(PASSWORD));
    let (name, roles) = (name.to_owned(), vec![role.to_owned()]);
    does(node, &Actor::ourselves(), Request::UserAdd { name, display_name: String::new(), roles, password })
        .await;
}

fn log_in(name: &str, secret: &str, code: Option<Secret>) -> Request {
    let password = Sensitive(Secret::new(secret));
    Request::Login { name: name.to_owned(), password, life_s: None, code: code.map(Sensitive) }
}

async fn token(node: &Node, name: &str, code: Option<Secret>) -> Secret {
    let reply = does(node, &Actor::on_the_web(Some(peer())), log_in(name, PASSWORD, code)).await;
    let Reply::Token(token) = reply else { panic!("{reply:?}") };
    token.token.0
}

/// A token that is worth what is said was shown.
async fn token_of(node: &Node, name: &str, shown: Shown) -> Secret {
    let person = node.registry.person(name).await.expect("asked").expect("known");
    let record = Record::new(Kind::SignIn, node.now());
    let given = node.token_for(record, "a test", person.id, name, &shown, Duration::from_mins(5)).await;
    let Ok(Reply::Token(token)) = given else { panic!("{given:?}") };
    token.token.0
}

async fn acting(node: &Node, name: &str, token: &Secret) -> Result<Actor, Refusal> {
    let claim = Claim { name: name.to_owned(), token: Sensitive(Secret::new(token.expose())) };
    node.identify(Actor::on_the_web(Some(peer())), Some(claim)).await
}

async fn codes(node: &Node, name: &str) -> Vec<Secret> {
    let reply = does(node, &Actor::ourselves(), Request::UserRecoveryCodes { name: name.to_owned() }).await;
    let Reply::RecoveryCodes { codes, .. } = reply else { panic!("{reply:?}") };
    codes.into_iter().map(|code| code.0).collect()
}

fn give(name: &str, role: &str) -> Request {
    Request::UserRoles { name: name.to_owned(), roles: vec![role.to_owned()] }
}

fn campaign(due_us: u64) -> Request {
    Request::Recertify(RecertifyAsk::Start {
        over: Over::Manager("lea".to_owned()),
        due_us,
        reviewer: None,
        deputy: None,
        escalate_to: None,
        escalate_s: 0,
    })
}

fn decided(verdict: Answered) -> Request {
    let reason = "looked at the rota".to_owned();
    Request::Recertify(RecertifyAsk::Decide { campaign: 1, items: vec![1], verdict, reason })
}

#[tokio::test]
async fn a_review_gives_nobody_another_role() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = node(folder.path()).await;
    add(&node, "ann", "nurse").await;
    add(&node, "lea", "lead").await;
    let (kind, owner, approver) = (None, None, None);
    let describe = AccountAsk::Describe {
        name: "ann".to_owned(),
        kind,
        owner,
        approver,
        manager: Some("lea".to_owned()),
    };
    does(&node, &Actor::ourselves(), Request::Account(describe)).await;
    let lea = acting(&node, "lea", &token(&node, "lea", None).await).await.expect("proven");
    let soon = node.now().0 + 60 * 60 * 1_000_000;
    refused(node.perform(&lea, campaign(soon)).await, "a day from now at the earliest");
    let started = does(&node, &lea, campaign(node.now().0 + 25 * 60 * MINUTE_US)).await;
    assert!(matches!(started, Reply::Recertify(RecertifyReply::Campaign(_))), "{started:?}");
    let change = |role: &str| decided(Answered::ChangeTo(role.to_owned()));
    refused(node.perform(&lea, change("sysadmin")).await, "a review gives nobody a role with rights");
    refused(node.perform(&lea, change("clerk")).await, "takes the right `admin`");
    let ann = node.registry.person("ann").await.expect("asked").expect("known");
    assert_eq!(ann.roles, ["nurse"]);
    does(&node, &lea, decided(Answered::Revoke)).await;
    node.close().await.expect("closed");
}

#[tokio::test]
async fn a_lock_holds_whoever_it_is_on_everywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = node(folder.path()).await;
    add(&node, "ada", "sysadmin").await;
    let secret = token(&node, "ada", None).await;
    let before = acting(&node, "ada", &secret).await.expect("proven");
    let password = || Secret::new(PASSWORD);
    let newcomer = node.sign_in_afresh("ada", password(), None).await.expect("proven");
    let cookie = node.begin_browser_session(newcomer, peer()).await.expect("begun");
    let mut headers = HeaderMap::new();
    let pair = cookie.to_str().expect("text").split(';').next().unwrap_or_default().to_owned();
    headers.insert(COOKIE, HeaderValue::try_from(pair).expect("a cookie"));
    assert!(node.visitor(&headers).await.expect("asked").is_some());
    for (number, on) in [(1, LockOn::Person("ada".to_owned())), (2, LockOn::Role("sysadmin".to_owned()))] {
        let reason = "account stolen".to_owned();
        let by = Actor::ourselves();
        let placed = does(&node, &by, Request::LockPlace { on, reason: reason.clone() }).await;
        assert!(matches!(placed, Reply::Locked { number: it } if it == number), "{placed:?}");
        assert!(node.visitor(&headers).await.expect("asked").is_none(), "the browser");
        acting(&node, "ada", &secret).await.expect_err("the token");
        let fresh = node.sign_in_afresh("ada", password(), None).await;
        assert_eq!(fresh.expect_err("the password"), Reason::HeldByLock);
        node.perform(&Actor::on_the_web(None), log_in("ada", PASSWORD, None)).await.expect_err("no token");
        let vouched = node.vouch("ada", Shown::with_factor("passkey", node.now())).await.expect("a proof");
        assert_eq!(node.newcomer(vouched).await.expect_err("the passkey"), Reason::HeldByLock);
        // Whoever was proven before is refused all the same, and does not lift what holds them.
        let lift = || Request::LockLift { number, reason: reason.clone() };
        refused(node.perform(&before, lift()).await, "holds you");
        refused(node.perform(&before, give("ada", "lead")).await, "holds you");
        does(&node, &by, lift()).await;
        acting(&node, "ada", &secret).await.expect("the lock is lifted");
    }
    let on = LockOn::Address("192.0.2.0/28".to_owned());
    does(&node, &Actor::ourselves(), Request::LockPlace { on, reason: "infected".to_owned() }).await;
    assert_eq!(node.lock_on_address(peer().ip()), Some(3));
    assert_eq!(node.lock_on_address("192.0.2.16".parse().expect("an address")), None);
    node.close().await.expect("closed");
}

#[tokio::test]
async fn a_token_is_no_password_and_an_agent_has_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = node(folder.path()).await;
    add(&node, "ann", "nurse").await;
    let secret = token(&node, "ann", None).await;
    let refusal = node.sign_in_afresh("ann", Secret::new(secret.expose()), None).await;
    assert_eq!(refusal.expect_err("a token"), Reason::WrongPassword);
    let ours = Actor::ourselves();
    let (name, owner) = ("scribe".to_owned(), "ann".to_owned());
    let scribe = AgentAsk::Add { name, display_name: String::new(), roles: vec!["nurse".to_owned()], owner };
    does(&node, &ours, Request::Agent(scribe)).await;
    let name = || "scribe".to_owned();
    let password = Sensitive(Secret::new(PASSWORD));
    for request in [
        Request::UserPassword { name: name(), password },
        Request::UserTotp { name: name() },
        Request::UserRecoveryCodes { name: name() },
    ] {
        refused(node.perform(&ours, request).await, "is an agent");
    }
    let vouched = node.vouch("scribe", Shown::with_factor("browser", node.now())).await.expect("a proof");
    assert_eq!(node.newcomer(vouched).await.expect_err("approved"), Reason::NoVerifier);
    let ann = acting(&node, "ann", &secret).await.expect("proven");
    let delegate = || AgentAsk::Delegate { agent: name(), life_s: 60, purpose: None };
    let given = does(&node, &ann, Request::Agent(delegate())).await;
    let Reply::Agent(AgentReply::Delegated { token, .. }) = given else { panic!("{given:?}") };
    let begun = node.sign_in_afresh("scribe", token.0, None).await;
    assert_eq!(begun.expect_err("a delegation"), Reason::WrongPassword);
    // Whom two custodians named is not proven, and gets nothing that lasts.
    let sealed = token_of(&node, "ann", Shown::with_factor(SEALED_CODE, node.now())).await;
    let named = acting(&node, "ann", &sealed).await.expect("proven");
    for request in [Request::Agent(delegate()), Request::BreakGlass { act: Act::Begin { wish: wish() } }] {
        refused(node.perform(&named, request).await, "a sealed code stands for");
    }
    node.perform(&named, Request::BreakGlass { act: Act::List { also_done: false } }).await.expect("listed");
    node.close().await.expect("closed");
}

#[tokio::test]
async fn what_counts_takes_a_fresh_factor_of_whoever_has_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = node(folder.path()).await;
    add(&node, "ada", "sysadmin").await;
    add(&node, "ann", "nurse").await;
    let alone = acting(&node, "ada", &token(&node, "ada", None).await).await.expect("proven");
    does(&node, &alone, give("ann", "clerk")).await;
    let own = || Request::UserRecoveryCodes { name: "ada".to_owned() };
    refused(node.perform(&alone, own()).await, "nobody gives themselves");
    let mut codes = codes(&node, "ada").await;
    for request in [
        give("ann", "sysadmin"),
        Request::UserRecoveryCodes { name: "ann".to_owned() },
        Request::LockLift { number: 1, reason: "it is all right".to_owned() },
    ] {
        let refusal = node.perform(&alone, request).await.expect_err("refused");
        assert!(refusal.denied && refusal.to_string().contains("login ada --second-factor"), "{refusal}");
    }
    // What takes away is not held up.
    does(&node, &alone, Request::UserDisable { name: "ann".to_owned(), ended_at_us: None }).await;
    let both = token(&node, "ada", codes.pop()).await;
    let both = acting(&node, "ada", &both).await.expect("proven");
    does(&node, &both, Request::UserEnable { name: "ann".to_owned() }).await;
    refused(node.perform(&both, own()).await, "nobody gives themselves");
    for (minutes, fresh) in [(14, true), (16, false)] {
        let shown = Shown::with_factor("password+totp", Micros(node.now().0 - minutes * MINUTE_US));
        let then = acting(&node, "ada", &token_of(&node, "ada", shown).await).await.expect("proven");
        assert_eq!(node.perform(&then, give("ann", "nurse")).await.is_ok(), fresh, "{minutes}");
    }
    // An account of the operating system was proven by that system.
    does(&node, &Actor::ourselves(), give("ann", "clerk")).await;
    node.close().await.expect("closed");
}

fn wish() -> Wish {
    Wish {
        resource: "hospital".to_owned(),
        reason_code: "treatment".to_owned(),
        reason: Sensitive(Secret::new("an unconscious patient, nobody on call")),
        patient: None,
        duration_s: None,
        drill: false,
    }
}

#[tokio::test]
async fn a_refused_attempt_spends_no_sealed_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = node(folder.path()).await;
    add(&node, "ann", "nurse").await;
    let ours = Actor::ourselves();
    let reply = does(&node, &ours, Request::BreakGlass { act: Act::CodesNew { count: 2 } }).await;
    let Reply::Sheet(sheet) = reply else { panic!("{reply:?}") };
    let by_code = |place: usize| {
        let halves = sheet.codes[place].halves.as_ref().expect("fresh");
        let halves = halves.each_ref().map(|half| Sensitive(Secret::new(half.0.expose())));
        Request::BreakGlass { act: Act::ByCode { name: "ann".to_owned(), halves, wish: wish() } }
    };
    let used = async || {
        let reply = does(&node, &ours, Request::BreakGlass { act: Act::CodesList {} }).await;
        let Reply::Sheet(sheet) = reply else { panic!("{reply:?}") };
        sheet.codes.iter().filter(|code| code.used_at.is_some()).count()
    };
    let on = LockOn::Person("ann".to_owned());
    does(&node, &ours, Request::LockPlace { on, reason: "account stolen".to_owned() }).await;
    refused(node.perform(&ours, by_code(0)).await, "lock 1 holds");
    does(&node, &ours, Request::LockLift { number: 1, reason: "it was not".to_owned() }).await;
    assert_eq!(used().await, 0);
    does(&node, &ours, by_code(0)).await;
    refused(node.perform(&ours, by_code(1)).await, "has emergency access to `hospital` already");
    assert_eq!(used().await, 1, "the second code is still of use");
    node.close().await.expect("closed");
}

#[test]
fn ranges_reach_what_is_within_them() {
    for (range, address, within) in [
        ("10.1.2.3", "10.1.2.3", true),
        ("10.1.2.3", "10.1.2.4", false),
        ("10.1.2.0/24", "10.1.2.255", true),
        ("10.1.2.0/24", "10.1.3.0", false),
        ("10.1.2.0/24", "::ffff:10.1.2.9", true),
        ("0.0.0.0/0", "192.0.2.1", true),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("2001:db8::/32", "2001:db8:1::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
        ("::/0", "2001:db9::1", true),
        ("no range", "192.0.2.1", true),
    ] {
        assert_eq!(reaches(range, address.parse().expect("an address")), within, "{range} {address}");
    }
}
