//! The decisions of a log-in, and what is read of a server's messages.

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::*;

const BOTH: &[u8] = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
const PLAIN: &[u8] = b"SCRAM-SHA-256\0\0";

fn flag(offer: &[u8], tls: bool, hash: Option<&[u8]>) -> String {
    binding(offer, tls, hash).map_or_else(|_| "refused".to_owned(), |b| format!("{b:?}"))
}

#[test]
fn binds_wherever_both_can() {
    assert_eq!(flag(BOTH, true, Some(&[1])), "EndPoint([1])");
    assert_eq!(flag(BOTH, true, None), "Unsupported");
    assert_eq!(flag(PLAIN, true, Some(&[1])), "NotOffered");
    assert_eq!(flag(PLAIN, false, None), "Unsupported");
    assert_eq!(flag(b"SCRAM-SHA-256-PLUS\0\0", false, None), "refused");
    assert_eq!(flag(b"OAUTHBEARER\0\0", true, Some(&[1])), "refused");
    assert_eq!(flag(b"SCRAM-SHA-256", true, Some(&[1])), "refused");
}

#[test]
fn settings_that_change_the_meaning_of_a_text_are_refused() {
    let check = |strings: &str, server: &str, client: &str| {
        let pairs = [
            ("standard_conforming_strings", strings),
            ("server_encoding", server),
            ("client_encoding", client),
            ("server_version", "15.18"),
        ];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        check_settings(&ResourceId("r".into()), &pairs).is_ok()
    };
    assert!(check("on", "UTF8", "UTF8"));
    assert!(check("on", "LATIN9", "UTF8"));
    assert!(!check("on", "LATIN9", "LATIN9"));
    assert!(check("on", "ISO_8859_5", "SQL_ASCII"));
    assert!(!check("off", "UTF8", "UTF8"));
    assert!(!check("", "UTF8", "UTF8"));
    for encoding in ["SJIS", "GBK", "BIG5", "LATIN11", "WIN1259", ""] {
        assert!(!check("on", "UTF8", encoding), "{encoding}");
        assert!(!check("on", encoding, "UTF8"), "{encoding}");
    }
}

#[test]
fn an_error_keeps_its_code_only() {
    let mut frame = Vec::new();
    let error = codec::WireError::new(codec::Severity::Fatal, b"28P01", "user alice of ward 3");
    error.encode(&mut frame);
    assert_eq!(refusal(&frame).unwrap().to_string(), "resource refused the log-in: SQLSTATE 28P01");
}

#[tokio::test]
async fn keys_are_derived_once_per_credential() {
    let keys = LoginKeys::new();
    let id = ResourceId("r".into());
    let credential = |password: &str| vault::Credential { user: "u".into(), password: Secret::new(password) };
    let parameters = Parameters { salt: vec![1; 16], iterations: 4096 };
    let first = keys.keys(&id, &credential("one"), &parameters).await.unwrap();
    let again = keys.keys(&id, &credential("one"), &parameters).await.unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    let other = keys.keys(&id, &credential("two"), &parameters).await.unwrap();
    assert!(!Arc::ptr_eq(&first, &other));
    let salted = Parameters { salt: vec![2; 16], iterations: 4096 };
    assert!(keys.keys(&id, &credential("two"), &salted).await.unwrap().fits(&salted));
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    codec::message(&mut out, kind, |out| out.extend_from_slice(body));
    out
}

proptest! {
    #[test]
    fn rows_with_any_count_and_length(
        values in vec(proptest::option::of("[a-z]{0,9}"), 0..5), lie: u16, length: i32
    ) {
        let body = |count: u16, first: Option<i32>| {
            let mut out = count.to_be_bytes().to_vec();
            for (at, value) in values.iter().enumerate() {
                let length = value.as_ref().map_or(-1, |v| i32::try_from(v.len()).unwrap());
                out.extend_from_slice(&first.filter(|_| at == 0).unwrap_or(length).to_be_bytes());
                out.extend_from_slice(value.as_deref().unwrap_or_default().as_bytes());
            }
            framed(b'D', &out)
        };
        let count = u16::try_from(values.len()).unwrap();
        let read = row(&body(count, None)).ok();
        prop_assert_eq!(read.as_ref(), Some(&values));
        prop_assert_eq!(row(&body(lie, None)).is_ok(), lie == count);
        if !values.is_empty() && !(-1..100).contains(&length) {
            prop_assert!(row(&body(count, Some(length))).is_err());
        }
    }

    #[test]
    fn no_bytes_of_a_server_bring_the_log_in_down(body in vec(any::<u8>(), 0..200), kind: u8) {
        let frame = framed(kind, &body);
        let _ = row(&frame);
        if let Ok(Failure::UpstreamLogin(words)) = refusal(&frame) {
            prop_assert!(words.len() <= "SQLSTATE unknown".len(), "the server's words are not kept");
        }
        for tls in [true, false] {
            let _ = binding(&body, tls, Some(&[7; 32]));
        }
    }

    #[test]
    fn a_message_costs_what_arrives_not_what_it_claims(
        kind in proptest::sample::select(&b"RSKZEDTCN"[..]), claimed in 0..80_000_000i32, body in vec(any::<u8>(), 0..300)
    ) {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&claimed.to_be_bytes());
        bytes.extend_from_slice(&body);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut frame = Vec::new();
        let taken = runtime.block_on(read(&mut &bytes[..], &mut frame, LOGIN_MESSAGE_BYTES_MAX));
        let whole = usize::try_from(claimed).unwrap() + 1;
        let fits = (HEADER..=LOGIN_MESSAGE_BYTES_MAX.min(bytes.len())).contains(&whole);
        prop_assert_eq!(taken.is_ok(), fits);
        prop_assert!(frame.len() <= bytes.len() && frame.capacity() <= 4 * bytes.len() + 1024);
        prop_assert!(!fits || frame[..] == bytes[..whole]);
    }
}
