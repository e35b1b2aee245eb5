//! What a session is for: stated to Wardline alone, decided by from its answer on, and said by every entry.

use super::super::super::sql::tests::catalogue_of_hospital;
use super::masking::{NAME, data, description, protected};
use super::*;

const SSN: (u32, i16) = (NAME.0, 3);
const CANARY: &str = "900-12-3456";
const STAND_IN: &[u8] = b"SET wardline.purpose TO DEFAULT\0";
const ASKS: &str = "SELECT ssn, name FROM patients";

/// Nora sees protected values for treatment alone.
async fn scene() -> Scene {
    let text = r#"@id("treats") permit (principal, action == Action::"Unmask", resource)
        when { context.purpose == "treatment" };"#;
    let file = CedarFile { path: "test.cedar".into(), text: text.into() };
    let policy = policy_and(1, true, false, &[file]);
    Scene::under(policy, Limits::default(), Some(Arc::new(protected())), catalogue_of_hospital()).await
}

fn answer() -> Vec<u8> {
    [description(&[SSN, NAME]), data(&[CANARY, "Ann"]), done("SELECT 1"), ready(b'I')].concat()
}

fn set() -> Vec<u8> {
    [done("SET"), ready(b'I')].concat()
}

fn shows(messages: &[(u8, Vec<u8>)]) -> bool {
    messages.iter().any(|(_, body)| String::from_utf8_lossy(body).contains(CANARY))
}

impl Scene {
    /// States a purpose, which the resource is not told.
    async fn states(&mut self, text: &str, sent: &[u8]) {
        self.client.send(&simple(text)).await;
        assert_eq!(self.server.expect("Q").await, [sent]);
        self.server.send(&set()).await;
        self.client.expect("CZ").await;
    }

    /// Tells whether Nora sees a protected value now.
    async fn sees(&mut self) -> bool {
        shows(&self.query(ASKS, &answer()).await)
    }
}

#[tokio::test]
async fn a_purpose_holds_from_its_answer_on_and_everything_is_decided_again() {
    let mut scene = scene().await;
    assert!(!scene.sees().await);
    scene.states("SET wardline.purpose = 'treatment'", STAND_IN).await;
    assert!(scene.sees().await);
    scene.states("set \"Wardline\".\"PURPOSE\" to research", STAND_IN).await;
    assert!(!scene.sees().await);
    scene.states("SET wardline.purpose = treatment", STAND_IN).await;
    assert!(scene.sees().await);
    scene.states("RESET wardline.purpose", b"RESET wardline.purpose\0").await;
    assert!(!scene.sees().await);
    let records = scene.world.held.operations();
    let said: Vec<_> =
        records.iter().map(|r| (r.command.as_deref().unwrap(), r.purpose.as_deref())).collect();
    let (select, treatment, research) = ("SELECT", Some("treatment"), Some("research"));
    assert_eq!(
        said,
        [
            (select, None),
            ("SET", None),
            (select, treatment),
            ("SET", treatment),
            (select, research),
            ("SET", research),
            (select, treatment),
            ("RESET", treatment),
            (select, None)
        ]
    );
    assert_eq!(records[1].detail.as_deref(), Some("the purpose is `treatment` from here on"));
    assert_eq!(records[7].detail.as_deref(), Some("no purpose from here on"));
    assert!(records.iter().all(|r| !r.statement.as_deref().unwrap().contains("treatment")), "sealed");
    scene.end().await;
}

#[tokio::test]
async fn what_follows_a_statement_of_purpose_waits_for_its_answer() {
    let mut scene = scene().await;
    let both = [simple("SET wardline.purpose = 'treatment'"), simple(ASKS)].concat();
    scene.client.send(&both).await;
    assert_eq!(scene.server.expect("Q").await, [STAND_IN]);
    scene.server.quiet().await;
    scene.server.send(&set()).await;
    scene.server.expect("Q").await;
    scene.server.send(&answer()).await;
    let got = scene.client.expect("CZTDCZ").await;
    assert!(String::from_utf8_lossy(&got[3]).contains(CANARY));
    scene.end().await;
}

#[tokio::test]
async fn a_purpose_that_the_resource_did_not_take_does_not_hold() {
    let mut scene = scene().await;
    // In a transaction that failed.
    let both = [simple("SET wardline.purpose = 'treatment'"), simple(ASKS)].concat();
    scene.client.send(&both).await;
    scene.server.expect("Q").await;
    scene.server.send(&[error("25P02"), ready(b'E')].concat()).await;
    scene.server.expect("Q").await;
    scene.server.send(&answer()).await;
    let got = scene.client.expect("EZTDCZ").await;
    assert!(!String::from_utf8_lossy(&got[3]).contains(CANARY));
    assert!(scene.world.held.operations().iter().all(|record| record.purpose.is_none()));
    scene.end().await;
}

#[tokio::test]
async fn in_a_pipeline_the_purpose_holds_for_what_stands_behind_it() {
    let mut scene = scene().await;
    let states = [parse("", "SET wardline.purpose = 'treatment'"), bind("", ""), execute("", 0)].concat();
    let asks = [parse("", ASKS), bind("", ""), execute("", 0), sync()].concat();
    scene.client.send(&[states, asks].concat()).await;
    let sent = scene.server.expect("PDBEH").await;
    assert_eq!(sent[0], [b"\0", STAND_IN, b"\0\0"].concat());
    let parameters = framed(b't', b"\0\0");
    let announced = [PARSED, &parameters, NO_DATA, BOUND].concat();
    scene.server.send(&[announced, done("SET")].concat()).await;
    scene.server.expect("PDBES").await;
    let announced = [PARSED, &parameters, &description(&[SSN, NAME]), BOUND].concat();
    let rows = [data(&[CANARY, "Ann"]), done("SELECT 1"), ready(b'I')].concat();
    scene.server.send(&[announced, rows].concat()).await;
    let got = scene.client.expect("12C12DCZ").await;
    assert!(String::from_utf8_lossy(&got[5]).contains(CANARY));
    scene.end().await;
}

#[tokio::test]
async fn what_was_bound_for_another_purpose_is_decided_again() {
    let mut scene = scene().await;
    scene.states("SET wardline.purpose = 'treatment'", STAND_IN).await;
    scene.client.send(&[parse("s", ASKS), bind("p", "s"), sync()].concat()).await;
    scene.server.expect("PDBS").await;
    let parameters = framed(b't', b"\0\0");
    let announced = [PARSED, &parameters, &description(&[SSN, NAME]), BOUND].concat();
    // Within a transaction, so that the portal lives on.
    scene.server.send(&[announced, ready(b'T')].concat()).await;
    scene.client.expect("12Z").await;
    scene.client.send(&simple("SET wardline.purpose = 'research'")).await;
    scene.server.expect("Q").await;
    scene.server.send(&[done("SET"), ready(b'T')].concat()).await;
    scene.client.expect("CZ").await;
    scene.client.send(&[execute("p", 0), sync()].concat()).await;
    scene.server.expect("ES").await;
    scene.server.send(&[data(&[CANARY, "Ann"]), done("SELECT 1"), ready(b'T')].concat()).await;
    let got = scene.client.expect("DCZ").await;
    assert!(!String::from_utf8_lossy(&got[0]).contains(CANARY));
    let records = scene.world.held.operations();
    let last = records.last().expect("a record");
    assert_eq!((last.purpose.as_deref(), last.rows), (Some("research"), Some(1)));
    scene.end().await;
}

#[tokio::test]
async fn resetting_everything_resets_the_purpose() {
    let mut scene = scene().await;
    for all in ["RESET ALL", "DISCARD ALL"] {
        scene.states("SET wardline.purpose = 'treatment'", STAND_IN).await;
        assert!(scene.sees().await);
        scene.states(all, &[all.as_bytes(), b"\0"].concat()).await;
        assert!(!scene.sees().await, "{all}");
    }
    scene.end().await;
}

#[tokio::test]
async fn what_cannot_be_stated_is_refused_and_not_sent() {
    let mut scene = scene().await;
    let texts = [
        ("SET wardline.purpose = 'marketing'", "C22023"),
        ("SET wardline.purpose = 'a', 'b'", "C0A000"),
        ("SET wardline.purpose = 7", "C0A000"),
        ("SET LOCAL wardline.purpose = 'treatment'", "C0A000"),
        ("SET wardline.purpose = 'treatment'; SELECT 1", "C0A000"),
        ("SELECT set_config('wardline.purpose', 'treatment', false)", "C0A000"),
        ("SHOW wardline.purpose", "C0A000"),
        ("SET wardline.other = 'treatment'", "C0A000"),
    ];
    for (text, code) in texts {
        scene.client.send(&simple(text)).await;
        assert_eq!(scene.server.expect("Q").await, [b"wardline: refused\0"], "{text}");
        scene.server.send(&[error("42601"), ready(b'I')].concat()).await;
        let got = scene.client.expect("EZ").await;
        let words = String::from_utf8_lossy(&got[0]).into_owned();
        assert!(words.contains(code), "{text}: {words}");
        assert!(!words.contains("marketing"), "{words}");
    }
    scene.client.send(&[parse("", "SET wardline.purpose = 'marketing'"), sync()].concat()).await;
    scene.server.expect("PS").await;
    scene.server.send(&[error("42601"), ready(b'I')].concat()).await;
    scene.client.expect("EZ").await;
    assert!(!scene.sees().await);
    let refused = scene.world.held.operations();
    let refused = refused.iter().filter(|record| record.phase == Some(Phase::Refused)).count();
    assert_eq!(refused, texts.len() + 1);
    scene.end().await;
}

#[tokio::test]
async fn a_purpose_for_which_the_session_may_not_be_open_is_refused() {
    let text = r#"@id("no-research") forbid (principal, action == Action::"Connect", resource)
        when { context.purpose == "research" };"#;
    let file = CedarFile { path: "test.cedar".into(), text: text.into() };
    let policy = policy_and(1, true, false, &[file]);
    let mut scene = Scene::under(policy, Limits::default(), None, catalogue()).await;
    scene.client.send(&simple("SET wardline.purpose = 'research'")).await;
    scene.server.expect("Q").await;
    scene.server.send(&[error("42601"), ready(b'I')].concat()).await;
    let got = scene.client.expect("EZ").await;
    assert!(String::from_utf8_lossy(&got[0]).contains("C42501"));
    scene.states("SET wardline.purpose = 'treatment'", STAND_IN).await;
    scene.still_serves().await;
    scene.end().await;
}
