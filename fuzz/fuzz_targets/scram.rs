//! Any bytes as every message of SCRAM, as a stored verifier and as a token: no panic, and nothing is proven by chance.
#![no_main]

use std::sync::LazyLock;

use identity::scram::{
    AwaitServer, Binding, Client, ClientKeys, Mechanism, Parameters, ServerFirst, Verifier,
};
use identity::token;
use libfuzzer_sys::fuzz_target;
use model::Secret;

static PARAMETERS: LazyLock<Parameters> =
    LazyLock::new(|| Parameters { salt: vec![9; 16], iterations: 4096 });
static KEYS: LazyLock<ClientKeys> = LazyLock::new(|| ClientKeys::derive(&Secret::new("pencil"), &PARAMETERS));
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| Verifier::derive(&Secret::new("pencil"), &PARAMETERS));

fuzz_target!(|bytes: &[u8]| {
    for mechanism in Mechanism::offered(true) {
        for binding in [None, Some([7; 32].as_slice())] {
            let answer = ServerFirst::answer(bytes, *mechanism, binding, &PARAMETERS);
            assert!(answer.is_err() || bytes.len() <= identity::scram::MESSAGE_BYTES_MAX);
        }
    }
    let (client, message) = Client::start(Binding::Unsupported);
    assert!(client.challenge(bytes).is_err(), "nobody guesses a nonce");

    let plain = Mechanism::ScramSha256;
    let (server, _) =
        ServerFirst::answer(message.as_bytes(), plain, None, &PARAMETERS).expect("our own message");
    assert!(!matches!(server.check(bytes, &[&VERIFIER]), Ok(Some(_))), "nobody guesses a proof");
    assert!(waiting_client().verify(bytes).is_err(), "nobody guesses a signature");

    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(verifier) = text.parse::<Verifier>() {
            assert!(verifier.to_text().parse::<Verifier>().is_ok());
        }
        let secret = Secret::new(text);
        assert!(token::token_id(&secret).is_none() || token::looks_like_token(&secret));
    }
});

fn waiting_client() -> AwaitServer {
    let (client, message) = Client::start(Binding::Unsupported);
    let plain = Mechanism::ScramSha256;
    let (_, message) =
        ServerFirst::answer(message.as_bytes(), plain, None, &PARAMETERS).expect("our own message");
    let challenge = client.challenge(message.as_bytes()).expect("our own message");
    challenge.respond(&KEYS).expect("our own parameters").0
}
