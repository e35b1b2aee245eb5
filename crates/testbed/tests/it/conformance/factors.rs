//! Row 28: where a second factor is asked for, the password alone opens nothing with protected columns.

use serde_json::Value;
use testbed::Conninfo;
use testbed::gateway::Gateway;
use testbed::phone::Phone;

use super::stage::{self, HOSPITAL, answer, entries, err, of, psql, text};

/// Makes the hospital's patients protected, and asks nurses for a second factor there.
const PROTECTED: &str = "[resource.hospital.phi.columns]\n\"public.patients.ssn\" = { class = \"ssn\" }\n\
    [sign_in]\nsecond_factor_roles = [\"nurse\"]\nfailures_max = 4";

fn login(gateway: &Gateway, password: &str, code: &str) -> std::process::Output {
    let arguments = ["login", "ann", "--second-factor", "--password-stdin", "--json"];
    gateway.cli_output_stdin(&arguments, &format!("{password}\n{code}")).expect("it runs")
}

#[test]
fn row_28_a_password_alone_opens_no_protected_resource() {
    let cluster = stage::hospital();
    let gateway = stage::gateway(&cluster)
        .toml(PROTECTED)
        .person("ann", &["nurse"])
        .person("cleo", &["clerk"])
        .start()
        .expect("it starts");
    let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
    let phone = Phone::of(&gateway, "ann").expect("an authenticator");

    // The password alone is refused in the words that a wrong one is refused in.
    let alone = psql(&ann, "select 1");
    assert!(!alone.status.success());
    let wrong = psql(&Conninfo { password: "not the password".to_owned(), ..ann.clone() }, "select 1");
    assert_eq!(without_reference(&err(&alone)), without_reference(&err(&wrong)));
    let seen = entries(&gateway);
    let refused = of(&seen, "session-opened", "ann").last().map(|entry| text(entry, "policies"));
    assert_eq!(refused.as_deref(), Some("[\"factor.hospital.nurse\"]"));
    // A token that was given for the password alone is worth no more.
    let token = gateway.conninfo_token("ann", HOSPITAL).expect("a token");
    assert!(!psql(&token, "select 1").status.success());

    // With the authenticator's code there is a token that opens it.
    let code = phone.code();
    let given = login(&gateway, &ann.password, &code);
    assert!(given.status.success(), "{}", err(&given));
    let given: Value = serde_json::from_slice(&given.stdout).expect("JSON");
    let with_both = ann.clone().with_user("ann", &text(&given, "token"));
    assert_eq!(answer(&with_both, "select count(*) from patients"), "200");
    let seen = entries(&gateway);
    let how = of(&seen, "sign-in", "ann").last().map(|entry| text(entry, "sign_in"));
    assert_eq!(how.as_deref(), Some("password+totp"));

    // Whoever it is not asked of gets in with the password.
    let cleo = gateway.conninfo("cleo", HOSPITAL).expect("a person");
    assert_eq!(answer(&cleo, "select count(*) from claims"), "200");

    // The same code again is refused, and so is a wrong one, in one and the same words; then the account is locked.
    let replayed = login(&gateway, &ann.password, &code);
    assert_eq!((replayed.status.code(), err(&replayed)), (Some(1), err(&login(&gateway, "wrong", &code))));
    for _ in 0..2 {
        let wrong = login(&gateway, &ann.password, "0000");
        assert_eq!((wrong.status.code(), err(&wrong)), (Some(1), err(&replayed)));
    }
    let seen = entries(&gateway);
    let reasons: Vec<String> =
        of(&seen, "sign-in", "ann").iter().map(|entry| text(entry, "detail")).collect();
    let said = |word: &str| reasons.iter().any(|reason| reason.starts_with(word));
    assert!(said("code-used") && said("wrong-code") && said("wrong-password"), "{reasons:?}");
    let locked = login(&gateway, &ann.password, &phone.code());
    assert_eq!((locked.status.code(), err(&locked)), (Some(1), err(&replayed)));
    let seen = entries(&gateway);
    let last = of(&seen, "sign-in", "ann").last().map(|entry| text(entry, "detail"));
    assert!(last.is_some_and(|last| last.starts_with("locked")), "the account is not locked after failures");
    // The token goes on: it cannot be guessed.
    assert_eq!(answer(&with_both, "select count(*) from patients"), "200");
}

/// Leaves out the number of the entry, which is another each time.
fn without_reference(text: &str) -> String {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    words.retain(|word| !word.trim_end_matches(')').bytes().all(|byte| byte.is_ascii_digit()));
    words.join(" ")
}
