//! Over real loopback sockets, with a rustls client and `identity`'s own SCRAM client.

use std::sync::Arc;

use identity::scram::{Binding, Client, ClientKeys, Salts, Verifier};
use identity::{Account, ScramSignIn};
use model::{Micros, PersonId, ResourceId, RootKey};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use rustls::pki_types::ServerName;
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::*;
use crate::control::Upstream;
use crate::limits::Limits;
use crate::tls::ClientTls;
use crate::tls::tests::localhost;

const PASSWORD: &str = "correct horse battery";

/// Knows one person, `nora`.
pub(crate) struct OnePerson;

impl Control for OnePerson {
    async fn sign_in(&self, name: &str, secret: Secret) -> Result<Principal, Reason> {
        if name != "nora" {
            return Err(Reason::UnknownPerson);
        }
        if secret.expose() != PASSWORD {
            return Err(Reason::WrongPassword);
        }
        Ok(Principal {
            id: PersonId(1),
            name: name.into(),
            roles: Arc::new([]),
            agent: None,
            shown: model::Shown::alone("password"),
        })
    }

    fn sign_in_certificate(
        &self,
        _name: &str,
        _certificate: &crate::tls::ClientCertificate,
    ) -> Result<Principal, Reason> {
        Err(Reason::UnknownPerson)
    }

    async fn scram_start(
        &self,
        name: &str,
        mechanism: Mechanism,
        binding: Option<&[u8]>,
        client_first: &[u8],
    ) -> Result<(ScramSignIn, String), Reason> {
        let salts = Salts::new(&RootKey::new([7; 32]));
        let verifier = Verifier::derive(&Secret::new(PASSWORD), &salts.parameters(name));
        let account = Account {
            id: PersonId(1),
            name: name.into(),
            roles: Arc::new([]),
            disabled: false,
            password: None,
            scram: Some(verifier),
            failures: identity::Failures::default(),
            has_factor: false,
        };
        ScramSignIn::start(name, Some(account), Vec::new(), &salts, mechanism, binding, client_first)
    }

    async fn scram_finish(
        &self,
        sign_in: ScramSignIn,
        _name: &str,
        client_final: &[u8],
    ) -> Result<(Principal, String), Reason> {
        let (proof, last) = sign_in.finish(client_final, Micros(1))?;
        Ok((proof.into_principal(), last))
    }

    fn resource(&self, _name: &str) -> Option<Arc<Upstream>> {
        None
    }

    fn credential(&self, _resource: &ResourceId) -> Option<vault::Credential> {
        None
    }

    fn snapshot(&self) -> Arc<policy::Snapshot> {
        panic!("a greeting asks for no policy")
    }

    fn snapshot_changes(&self) -> tokio::sync::watch::Receiver<u64> {
        panic!("a greeting asks for no policy")
    }

    fn trail(&self) -> &trail::Trail {
        panic!("a greeting writes no entries")
    }

    fn now(&self) -> Micros {
        Micros(1)
    }
}

fn config(tls: ListenerTls) -> ListenerConfig {
    ListenerConfig { address: "127.0.0.1:0".parse().unwrap(), tls, scram: false, limits: Limits::default() }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(client, listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

fn packet(version: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    codec::put_startup(&mut out, parameters.iter().copied());
    out[4..8].copy_from_slice(&version.to_be_bytes());
    out
}

const V3_0: u32 = 3 << 16;
const V3_2: u32 = V3_0 | 2;
const NORA: &[(&str, &str)] = &[("user", "nora"), ("database", "hospital")];
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];

/// Sends all of `sent` in clear, and returns what came of it and what was answered before the close.
async fn in_clear(tls: ListenerTls, sent: &[u8]) -> (Result<Greeting, Failure>, Vec<u8>) {
    let (mut client, accepted) = pair().await;
    client.write_all(sent).await.unwrap();
    client.shutdown().await.unwrap();
    let mut greeting = greet(accepted, &config(tls)).await;
    match &mut greeting {
        Ok(Greeting::Session(greeted)) => greeted.stream.shutdown().await.unwrap(),
        Ok(Greeting::Cancel { stream, .. }) => part(stream).await,
        Ok(Greeting::Left) | Err(_) => {}
    }
    let mut answered = Vec::new();
    // A reset after refused bytes is as good as a close.
    let _ = client.read_to_end(&mut answered).await;
    (greeting, answered)
}

fn error_code(frame: &[u8]) -> String {
    let code = codec::error_field(frame, b'C').unwrap().unwrap();
    String::from_utf8(code.to_vec()).unwrap()
}

fn session(greeting: Result<Greeting, Failure>) -> Box<Greeted> {
    match greeting {
        Ok(Greeting::Session(greeted)) => greeted,
        other => panic!("no session: {other:?}"),
    }
}

#[tokio::test]
async fn plaintext_start_up_on_loopback() {
    let (greeting, answered) = in_clear(ListenerTls::PlaintextOnLoopback, &packet(V3_2, NORA)).await;
    let greeted = session(greeting);
    assert_eq!((greeted.minor, greeted.binding), (2, None));
    assert_eq!(parameter(&greeted.startup, "database"), Some("hospital"));
    assert!(answered.is_empty());
}

#[tokio::test]
async fn encryption_requests_are_declined_once_each() {
    let mut sent = [GSS_REQUEST, codec::TLS_REQUEST].concat();
    sent.extend(packet(V3_0, NORA));
    let (greeting, answered) = in_clear(ListenerTls::PlaintextOnLoopback, &sent).await;
    assert_eq!(session(greeting).minor, 0);
    assert_eq!(answered, b"NN");

    let twice = [GSS_REQUEST, GSS_REQUEST].concat();
    let (greeting, answered) = in_clear(ListenerTls::PlaintextOnLoopback, &twice).await;
    assert!(matches!(greeting, Err(Failure::ClientMalformed(_))));
    assert_eq!(answered, b"N");
}

#[tokio::test]
async fn unfit_start_ups_are_told_why() {
    let cases = [
        (packet(2 << 16, NORA), "0A000"),
        (packet(V3_0, &[("user", "nora"), ("replication", "database")]), "0A000"),
        (packet(V3_0, &[("replication", "TRUE"), ("user", "nora"), ("replication", "off")]), "0A000"),
        (packet(V3_0, &[("database", "hospital")]), "28000"),
    ];
    for (sent, code) in cases {
        let (greeting, answered) = in_clear(ListenerTls::PlaintextOnLoopback, &sent).await;
        assert!(matches!(greeting, Ok(Greeting::Left)), "{greeting:?}");
        assert_eq!(error_code(&answered), code);
    }
    let harmless = packet(V3_0, &[("user", "nora"), ("replication", "off")]);
    session(in_clear(ListenerTls::PlaintextOnLoopback, &harmless).await.0);
}

#[tokio::test]
async fn plaintext_is_refused_where_tls_is_required_but_cancel_passes() {
    let (tls, _) = localhost();
    let (greeting, answered) = in_clear(ListenerTls::Tls(tls.clone()), &packet(V3_0, NORA)).await;
    assert!(matches!(greeting, Ok(Greeting::Left)));
    assert_eq!(error_code(&answered), "28000");

    let mut cancel = Vec::new();
    codec::put_cancel(&mut cancel, 9, &[1, 2, 3, 4]);
    let (greeting, answered) = in_clear(ListenerTls::Tls(tls.clone()), &cancel).await;
    assert!(matches!(greeting, Ok(Greeting::Cancel { process: 9, key, .. }) if key == [1, 2, 3, 4]));
    assert!(answered.is_empty());

    let (greeting, _) = in_clear(ListenerTls::Tls(tls), b"").await;
    assert!(matches!(greeting, Ok(Greeting::Left)));
}

#[tokio::test]
async fn newer_minor_and_unknown_options_are_negotiated() {
    let asked = [("user", "nora"), ("_pq_.grease", "1")];
    let (greeting, answered) = in_clear(ListenerTls::PlaintextOnLoopback, &packet(V3_0 | 9999, &asked)).await;
    assert_eq!(session(greeting).minor, 2);
    let mut expected = vec![b'v', 0, 0, 0, 24, 0, 3, 0, 2, 0, 0, 0, 1];
    expected.extend_from_slice(b"_pq_.grease\0");
    assert_eq!(answered, expected);

    let (greeting, answered) = in_clear(ListenerTls::PlaintextOnLoopback, &packet(V3_0, &asked)).await;
    assert_eq!(session(greeting).minor, 0);
    assert_eq!(answered[5..9], [0, 3, 0, 0]);
}

#[tokio::test]
async fn bytes_injected_before_the_handshake_break_it() {
    let (tls, _) = localhost();
    let mut sent = codec::TLS_REQUEST.to_vec();
    sent.extend(packet(V3_0, NORA));
    let (greeting, answered) = in_clear(ListenerTls::Tls(tls), &sent).await;
    assert!(matches!(greeting, Err(Failure::Client(_))), "{greeting:?}");
    assert_eq!(answered.first(), Some(&b'S'));
}

/// Greets a TLS client that sends NORA's start-up, with or without `SSLRequest` and ALPN.
async fn over_tls(ask: bool, alpn: bool) -> (Result<Greeting, Failure>, Option<Stream>) {
    let (tls, ca) = localhost();
    let (mut client, accepted) = pair().await;
    let mut client_config = (*ClientTls::verify_full(Some(ca.as_bytes())).unwrap().config()).clone();
    if !alpn {
        client_config.alpn_protocols.clear();
    }
    let connecting = async {
        if ask {
            client.write_all(&codec::TLS_REQUEST).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), b'S');
        }
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(client_config)).connect(name, client).await.unwrap();
        stream.write_all(&packet(V3_0, NORA)).await.ok()?;
        Some(Stream::Dialed(Box::new(stream)))
    };
    let listener = config(ListenerTls::Tls(tls));
    tokio::join!(greet(accepted, &listener), connecting)
}

#[tokio::test]
async fn tls_by_request_and_directly() {
    for (ask, alpn) in [(true, true), (true, false), (false, true)] {
        let (greeting, _client) = over_tls(ask, alpn).await;
        let greeted = session(greeting);
        assert!(matches!(greeted.stream, Stream::Served(_)));
        assert_eq!(greeted.binding.map(|hash| hash.len()), Some(32));
    }
    let (greeting, _client) = over_tls(false, false).await;
    assert!(matches!(greeting, Err(Failure::ClientMalformed(_))), "{greeting:?}");
}

/// Writes a password or SASL message.
async fn answer(client: &mut Stream, body: &[u8]) {
    let mut out = Vec::new();
    codec::message(&mut out, b'p', |out| out.extend_from_slice(body));
    client.write_all(&out).await.unwrap();
    client.flush().await.unwrap();
}

/// Reads one message and returns its authentication code and the rest.
async fn asked(client: &mut Stream) -> (i32, Vec<u8>) {
    let mut header = [0; HEADER];
    client.read_exact(&mut header).await.unwrap();
    assert_eq!(header[0], b'R');
    let mut body = vec![0; codec::back_header(&header, 10_000).unwrap().unwrap().length - HEADER];
    client.read_exact(&mut body).await.unwrap();
    let mut fields = Fields::within(&body, "Authentication");
    (fields.i32().unwrap(), fields.rest().to_vec())
}

async fn with_password(body: &[u8]) -> Result<Result<Principal, Reason>, Failure> {
    let (greeting, client) = over_tls(true, true).await;
    let (mut greeted, mut client) = (session(greeting), client.unwrap());
    let typing = async {
        assert_eq!(asked(&mut client).await, (3, Vec::new()));
        answer(&mut client, body).await;
    };
    tokio::join!(authenticate(&mut greeted, &OnePerson, false, None), typing).0
}

#[tokio::test]
async fn password_field() {
    let right = with_password(b"correct horse battery\0").await;
    assert_eq!(&*right.unwrap().unwrap().name, "nora");
    assert!(matches!(with_password(b"wrong\0").await, Ok(Err(Reason::WrongPassword))));
    assert!(matches!(with_password(b"no end").await, Err(Failure::ClientMalformed(_))));
    assert!(matches!(with_password(&[b'x'; 5_000]).await, Err(Failure::ClientMalformed(_))));
}

async fn with_scram(password: &str, plus: bool, spoil: bool) -> Result<Result<Principal, Reason>, Failure> {
    let (greeting, client) = over_tls(true, true).await;
    let (mut greeted, mut client) = (session(greeting), client.unwrap());
    let mut hash = greeted.binding.clone().unwrap();
    if spoil {
        hash[0] ^= 1;
    }
    let proving = async {
        let (code, offered) = asked(&mut client).await;
        assert_eq!((code, &offered[..]), (10, &b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"[..]));
        let binding = if plus { Binding::EndPoint(&hash) } else { Binding::Unsupported };
        let (scram, first) = Client::start(binding);
        let mut body = binding.mechanism().name().as_bytes().to_vec();
        body.push(0);
        body.extend_from_slice(&i32::try_from(first.len()).unwrap().to_be_bytes());
        body.extend_from_slice(first.as_bytes());
        answer(&mut client, &body).await;
        let (code, server_first) = asked(&mut client).await;
        assert_eq!(code, 11);
        let challenge = scram.challenge(&server_first).unwrap();
        let keys = ClientKeys::derive(&Secret::new(password), challenge.parameters());
        let (awaiting, last) = challenge.respond(&keys).unwrap();
        answer(&mut client, last.as_bytes()).await;
        if password == PASSWORD && !spoil {
            let (code, server_final) = asked(&mut client).await;
            assert_eq!(code, 12);
            awaiting.verify(&server_final).unwrap();
        }
    };
    tokio::join!(authenticate(&mut greeted, &OnePerson, true, None), proving).0
}

#[tokio::test]
async fn scram_with_and_without_channel_binding() {
    for plus in [true, false] {
        assert_eq!(&*with_scram(PASSWORD, plus, false).await.unwrap().unwrap().name, "nora");
        assert!(matches!(with_scram("another one, wrong", plus, false).await, Ok(Err(_))));
    }
    assert!(matches!(with_scram(PASSWORD, true, true).await, Ok(Err(Reason::Protocol(_)))));
}

#[tokio::test]
async fn mechanisms_that_were_not_offered_are_refused() {
    let offered = Mechanism::offered(false);
    let mut frame = vec![b'p', 0, 0, 0, 0];
    frame.extend_from_slice(b"SCRAM-SHA-256-PLUS\0");
    frame.extend_from_slice(&[0, 0, 0, 1, b'x']);
    assert!(matches!(sasl_initial(&frame, offered), Err(Failure::ClientMalformed(_))));
    assert!(sasl_initial(&frame, Mechanism::offered(true)).is_ok());
}

proptest! {
    #[test]
    fn no_bytes_of_a_sign_in_are_misread(body in vec(any::<u8>(), 0..120), length: i32) {
        let mut frame = Vec::new();
        codec::message(&mut frame, b'p', |out| out.extend_from_slice(&body));
        let text = body.strip_suffix(b"\0").filter(|text| !text.contains(&0));
        let text = text.and_then(|text| std::str::from_utf8(text).ok());
        let read = password(&frame).ok();
        prop_assert_eq!(read.as_ref().map(Secret::expose), text);
        // A SASL message whose length is any number: read only when it is the right one, and the mechanism offered.
        for mechanism in Mechanism::offered(true) {
            let mut named = mechanism.name().as_bytes().to_vec();
            named.push(0);
            let right = i32::try_from(body.len()).unwrap();
            for length in [length, right, -1, i32::MIN, i32::MAX, right + 1] {
                let mut frame = Vec::new();
                codec::message(&mut frame, b'p', |out| {
                    out.extend_from_slice(&named);
                    out.extend_from_slice(&length.to_be_bytes());
                    out.extend_from_slice(&body);
                });
                let read = sasl_initial(&frame, Mechanism::offered(true)).ok().map(|(_, first)| first);
                prop_assert_eq!(read, (length == right).then_some(&body[..]));
            }
        }
    }

    #[test]
    fn a_first_packet_is_the_same_however_it_arrives(packet in first_packets(), cut in 0..200usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let whole = runtime.block_on(first_packet(&mut &packet[..]));
        let (head, tail) = packet.split_at(cut.min(packet.len()));
        let in_two = runtime.block_on(first_packet(&mut head.chain(tail)));
        prop_assert_eq!(format!("{:?}", whole), format!("{:?}", in_two));
        if let Ok(Some(FirstPacket::Startup(_))) = whole {
            let short = packet.get(..packet.len() - 1).unwrap();
            prop_assert!(runtime.block_on(first_packet(&mut &short[..])).is_err());
        }
    }
}

fn first_packets() -> impl Strategy<Value = Vec<u8>> {
    let startups = vec(("[a-z_]{1,9}", "[a-z]{0,9}"), 0..4).prop_map(|pairs| {
        let mut out = Vec::new();
        codec::put_startup(&mut out, pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        out
    });
    let cancels = (any::<u32>(), vec(any::<u8>(), 4..40)).prop_map(|(process, key)| {
        let mut out = Vec::new();
        codec::put_cancel(&mut out, process, &key);
        out
    });
    prop_oneof![startups, cancels, vec(any::<u8>(), 0..100), Just(codec::TLS_REQUEST.to_vec())]
}
