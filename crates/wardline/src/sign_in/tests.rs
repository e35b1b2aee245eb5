//! Signing in at an open node, by all means, as the gateway asks for it.

use std::path::Path;

use identity::Means;
use identity::scram::{Binding, Client, ClientKeys};

use super::*;
use crate::admin::{Actor, Reply, Request, Sensitive};
use crate::config::Config;
use crate::data::DataFolder;

const PASSWORD: &str = "correct horse battery";

async fn node(folder: &Path, scram: bool) -> Node {
    let text = format!(
        "node = \"gw1\"\ndata = \"data\"\n[listener.postgres]\nscram = {scram}\n[sign_in]\nfailures_max = 2\n\
         [role.nurse]\n"
    );
    let config = Config::parse(&folder.join("wardline.toml"), &text).config.expect("valid");
    let data = DataFolder::at(&config.data);
    data.create().expect("created");
    vault::root_key_create(&data.root_key()).expect("a key");
    let lock = data.lock().expect("lockable").expect("free");
    Node::open(config, lock).await.expect("opens")
}

async fn add_ann(node: &Node) {
    let request = Request::UserAdd {
        name: "ann".to_owned(),
        display_name: String::new(),
        roles: vec!["nurse".to_owned()],
        password: Sensitive(Secret::new(PASSWORD)),
    };
    node.perform(&Actor::ourselves(), request).await.expect("added");
}

async fn token_of_ann(node: &Node) -> Secret {
    let password = Sensitive(Secret::new(PASSWORD));
    let request = Request::Login { name: "ann".to_owned(), password, life_s: None, code: None };
    let reply = node.perform(&Actor::ourselves(), request).await.expect("logged in");
    let Reply::Token(token) = reply else { panic!("{reply:?}") };
    token.token.0
}

async fn scram(node: &Node, name: &str, secret: &str) -> Result<Proof, Reason> {
    let (client, first) = Client::start(Binding::Unsupported);
    let (sign_in, challenge) = node
        .scram_begin(name, Mechanism::ScramSha256, None, first.as_bytes())
        .await
        .expect("answers anybody");
    let challenge = client.challenge(challenge.as_bytes()).expect("a challenge");
    let keys = ClientKeys::derive(&Secret::new(secret), challenge.parameters());
    let (server, last) = challenge.respond(&keys).expect("an answer");
    let (proof, server_final) = node.scram_end(sign_in, name, last.as_bytes()).await?;
    server.verify(server_final.as_bytes()).expect("the server knows the secret too");
    Ok(proof)
}

#[tokio::test]
async fn passwords_and_tokens_prove_who_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = node(folder.path(), false).await;
    add_ann(&node).await;
    let proof = node.prove("ann", Secret::new(PASSWORD)).await.expect("proven");
    assert_eq!((&*proof.principal().name, proof.means()), ("ann", Means::Password));
    let token = token_of_ann(&node).await;
    let proof = node.prove("ann", token.clone()).await.expect("proven");
    assert!(matches!(proof.means(), Means::Token(_)));
    assert_eq!(node.prove("bob", token).await.expect_err("not bob's"), Reason::UnknownPerson);
    let malformed = node.prove("ann", Secret::new("wlt_short")).await;
    assert_eq!(malformed.expect_err("no token"), Reason::TokenUnknown);
    node.close().await.expect("closed");
}

#[tokio::test]
async fn failures_lock_passwords_but_not_tokens() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = node(folder.path(), false).await;
    add_ann(&node).await;
    let token = token_of_ann(&node).await;
    for _ in 0..2 {
        let wrong = node.prove("ann", Secret::new("wrong password!")).await;
        assert_eq!(wrong.expect_err("wrong"), Reason::WrongPassword);
    }
    assert_eq!(node.prove("ann", Secret::new(PASSWORD)).await.expect_err("locked"), Reason::Locked);
    node.prove("ann", token).await.expect("a token cannot be guessed");
    node.close().await.expect("closed");
}

#[tokio::test]
async fn all_failures_are_answered_at_the_same_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = node(folder.path(), false).await;
    add_ann(&node).await;
    for (name, secret) in [("ann", "wrong password!"), ("nobody", "wrong password!"), ("ann", "wlt_x")] {
        let began = Instant::now();
        node.prove(name, Secret::new(secret)).await.expect_err("wrong");
        let (spent, step) = (began.elapsed().as_millis(), FAILURE_ANSWER.as_millis());
        assert!(spent >= step && spent % step < 200, "{name}: {spent} ms");
    }
    node.close().await.expect("closed");
}

#[tokio::test]
async fn scram_takes_passwords_and_tokens_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = node(folder.path(), true).await;
    add_ann(&node).await;
    let token = token_of_ann(&node).await;
    assert_eq!(scram(&node, "ann", PASSWORD).await.expect("proven").means(), Means::Password);
    assert!(matches!(scram(&node, "ann", token.expose()).await.expect("proven").means(), Means::Token(_)));
    scram(&node, "nobody", PASSWORD).await.expect_err("there is nobody");
    for _ in 0..2 {
        assert_eq!(scram(&node, "ann", "wrong password!").await.expect_err("wrong"), Reason::WrongPassword);
    }
    assert_eq!(scram(&node, "ann", PASSWORD).await.expect_err("locked"), Reason::Locked);
    node.close().await.expect("closed");
}

#[tokio::test]
async fn a_second_factor_is_worth_more_and_counts_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = node(folder.path(), false).await;
    add_ann(&node).await;
    let request = Request::UserTotp { name: "ann".to_owned() };
    let reply = node.perform(&Actor::ourselves(), request).await.expect("given");
    let Reply::Authenticator { secret, .. } = reply else { panic!("{reply:?}") };
    let phone = identity::totp::Shared::from_base32(secret.0.expose()).expect("a secret");
    let code = || Secret::new(phone.code_at(node.now()));
    let both = async |code: Secret| node.prove_both_now("ann", Secret::new(PASSWORD), &code).await;

    let first = code();
    let shown = both(first.clone()).await.expect("proven").into_principal().shown;
    assert_eq!(&*shown.how, "password+totp");
    assert!(shown.factor_at.is_some());
    assert_eq!(both(first).await.expect_err("used"), Reason::CodeUsed);
    assert_eq!(both(Secret::new("000")).await.expect_err("wrong"), Reason::WrongCode);
    // Two failures lock, also for the password alone, which did not clear the first of them.
    assert_eq!(node.prove("ann", Secret::new(PASSWORD)).await.expect_err("locked"), Reason::Locked);
    node.close().await.expect("closed");
}

#[tokio::test]
async fn a_recovery_code_counts_once_beside_the_password() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = node(folder.path(), false).await;
    add_ann(&node).await;
    let request = Request::UserRecoveryCodes { name: "ann".to_owned() };
    let reply = node.perform(&Actor::ourselves(), request).await.expect("given");
    let Reply::RecoveryCodes { codes, .. } = reply else { panic!("{reply:?}") };
    let code = &codes.first().expect("ten").0;
    let wrong = node.prove_both_now("ann", Secret::new("wrong password!"), code).await;
    assert_eq!(wrong.expect_err("wrong"), Reason::WrongPassword);
    let proof = node.prove_both_now("ann", Secret::new(PASSWORD), code).await.expect("not used up before");
    assert_eq!(&*proof.principal().shown.how, "password+recovery-code");
    let again = node.prove_both_now("ann", Secret::new(PASSWORD), code).await;
    assert_eq!(again.expect_err("used"), Reason::WrongCode);
    let nobody = node.prove_both_now("nobody", Secret::new(PASSWORD), code).await;
    assert_eq!(nobody.expect_err("nobody"), Reason::UnknownPerson);
    node.close().await.expect("closed");
}
