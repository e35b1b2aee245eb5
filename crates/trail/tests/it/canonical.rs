//! The canonical record: one encoding, no other accepted.

use model::{
    Action, CertificateId, Kind, Micros, OperationId, Outcome, PatientToken, Patients, PersonId, Phase,
    Record, SessionId, SqlState, Verdict,
};
use proptest::prelude::*;
use trail::{DecodeError, RECORD_BYTES_MAX, decode, encode};

use crate::support::select;

fn bytes(record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    encode(record, &mut out).unwrap();
    out
}

prop_compose! {
    fn who()(
        session in any::<Option<u128>>(), person in any::<Option<u128>>(), name in any::<Option<String>>(),
        address in any::<Option<std::net::IpAddr>>(), port in any::<Option<u16>>(), client in any::<Option<String>>(),
    ) -> (Option<u128>, Option<u128>, Option<String>, Option<std::net::IpAddr>, Option<u16>, Option<String>) {
        (session, person, name, address, port, client)
    }
}

fn outcome() -> impl Strategy<Value = Option<Outcome>> {
    prop_oneof![
        Just(None),
        Just(Some(Outcome::Completed)),
        any::<[u8; 5]>().prop_map(|state| Some(Outcome::Failed(SqlState(state)))),
        Just(Some(Outcome::Refused)),
        Just(Some(Outcome::Unknown)),
    ]
}

prop_compose! {
    fn what()(
        kind in prop::sample::select(Kind::ALL.to_vec()), at in any::<u64>(), who in who(),
        operation in any::<Option<u64>>(), phase in prop::option::of(prop::sample::select(Phase::ALL.to_vec())),
        action in prop::option::of(prop::sample::select(Action::ALL.to_vec())),
        texts in prop::array::uniform4(any::<Option<String>>()), sealed in any::<Option<Vec<u8>>>(),
        objects in prop::collection::vec(any::<String>(), 0..4),
    ) -> Record<'static> {
        let mut record = Record::new(kind, Micros(at));
        record.session = who.0.map(SessionId);
        record.person = who.1.map(PersonId);
        record.person_name = who.2.map(Into::into);
        record.address = who.3;
        record.port = who.4;
        record.client = who.5.map(Into::into);
        record.operation = operation.map(OperationId);
        record.phase = phase;
        record.action = action;
        let [resource, command, statement, detail] = texts.map(|text| text.map(Into::into));
        (record.resource, record.command, record.statement, record.detail) = (resource, command, statement, detail);
        record.sealed = sealed.map(Into::into);
        record.objects = objects.into_iter().map(Into::into).collect();
        record
    }
}

fn patients() -> impl Strategy<Value = Option<Patients<'static>>> {
    let tokens = prop::collection::btree_set(any::<[u8; 16]>(), 0..5);
    (any::<u16>(), tokens, any::<Vec<u8>>()).prop_map(|(year, tokens, sealed)| {
        Patients::new(year, tokens.into_iter().map(PatientToken).collect(), sealed.into())
    })
}

prop_compose! {
    fn any_record()(
        record in what(), verdict in prop::option::of(prop::sample::select(vec![Verdict::Allow, Verdict::Deny])),
        policies in prop::collection::vec(any::<String>(), 0..4), numbers in prop::array::uniform5(any::<Option<u64>>()),
        outcome in outcome(), patients in patients(), unresolved in any::<Option<u64>>(),
        columns in prop::array::uniform2(prop::collection::vec(any::<String>(), 0..3)),
        purpose in any::<Option<String>>(),
        source in prop::array::uniform2(any::<Option<String>>()), certificate in any::<Option<[u8; 32]>>(),
        sign_in in any::<Option<String>>(),
        agent in any::<Option<String>>(),
    ) -> Record<'static> {
        let mut record = record;
        [record.source, record.source_event] = source.map(|text| text.map(Into::into));
        (record.patients, record.unresolved) = (patients, unresolved);
        (record.purpose, record.sign_in) = (purpose.map(Into::into), sign_in.map(Into::into));
        record.certificate = certificate.map(CertificateId);
        record.agent = agent.map(Into::into);
        [record.masked, record.unmasked] = columns.map(|list| list.into_iter().map(Into::into).collect());
        record.verdict = verdict;
        record.policies = policies.into_iter().map(Into::into).collect();
        [record.policy_version, record.rows, record.bytes, record.duration_us, record.emergency] = numbers;
        record.outcome = outcome;
        record
    }
}

proptest! {
    #[test]
    fn a_record_comes_back(record in any_record()) {
        let encoded = bytes(&record);
        prop_assert_eq!(&decode(&encoded).unwrap(), &record);
    }

    #[test]
    fn what_decodes_is_canonical(record in any_record(), place in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut changed = bytes(&record);
        let place = place.index(changed.len());
        changed[place] ^= 1 << bit;
        if let Ok(other) = decode(&changed) {
            prop_assert_eq!(bytes(&other), changed);
        }
    }

    #[test]
    fn random_bytes_do_no_harm(random in any::<Vec<u8>>()) {
        if let Ok(record) = decode(&random) {
            prop_assert_eq!(bytes(&record), random);
        }
    }

    #[test]
    fn a_prefix_is_another_record_or_none(record in any_record(), cut in any::<prop::sample::Index>()) {
        let encoded = bytes(&record);
        let prefix = &encoded[..cut.index(encoded.len())];
        prop_assert_ne!(decode(prefix).ok(), Some(record));
    }
}

#[test]
fn refusals_say_what_is_wrong() {
    let base = [1, 1, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0];
    let check = |tail: &[u8], expected: DecodeError| {
        assert_eq!(decode(&[&base, tail].concat()), Err(expected), "{tail:02x?}");
    };
    assert_eq!(decode(&base).unwrap(), Record::new(Kind::Heartbeat, Micros(0)));
    check(&[30, 0], DecodeError::Field(30));
    // Of version 2, in a record of version 1; and the other way round.
    check(&[27, 1], DecodeError::Version(1));
    check(&[35, 1, b'a'], DecodeError::Version(1));
    check(&[5, 1, 5, 1], DecodeError::Order(5));
    check(&[12, 1, 5, 1], DecodeError::Order(5));
    check(&[5, 9], DecodeError::Value(5));
    check(&[4, 0x80, 0], DecodeError::Number);
    check(&[7, 2, b'a'], DecodeError::Truncated);
    check(&[7, 1, 0xff], DecodeError::Utf8(7));
    check(&[16, 0], DecodeError::Value(16));
    check(&[7, 0xff, 0xff, 0xff, 0x7f], DecodeError::Limit(7));
    assert_eq!(decode(&[9, 1, 3]), Err(DecodeError::Version(9)));
    let base = [3, 1, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(decode(&base), Err(DecodeError::Version(3)));
    assert_eq!(decode(&[&base[..], &[36, 1, b'a']].concat()).unwrap().source.as_deref(), Some("a"));
    let base = [4, 1, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(decode(&base), Err(DecodeError::Version(4)));
    assert_eq!(decode(&[&base[..], &[40, 7]].concat()).unwrap().emergency, Some(7));
    let begun = [3, 1, 42, 2, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(decode(&begun), Err(DecodeError::Version(3)));
    let reported = [1, 1, 50, 2, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(decode(&reported), Err(DecodeError::Version(1)));
    let base = [2, 1, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0];
    let check = |tail: &[u8], expected: DecodeError| {
        assert_eq!(decode(&[&base, tail].concat()), Err(expected), "{tail:02x?}");
    };
    check(&[], DecodeError::Version(2));
    let token = |last: u8| [&[0; 15][..], &[last]].concat();
    check(&[&[25, 0xea, 7, 1][..], &token(1)].concat(), DecodeError::Missing(26));
    check(&[&[25, 0xea, 7, 1][..], &token(1), &[27, 0]].concat(), DecodeError::Missing(26));
    check(&[25, 0xea, 7, 0, 26, 0], DecodeError::Value(25));
    check(&[&[25, 0xea, 7, 2][..], &token(2), &token(1), &[26, 0]].concat(), DecodeError::Value(25));
    check(&[&[25, 0xea, 7, 2][..], &token(1), &token(1), &[26, 0]].concat(), DecodeError::Value(25));
    check(&[25, 0xea, 7, 0xff, 0xff, 0x7f], DecodeError::Limit(25));
    check(&[26, 0], DecodeError::Field(26));
    assert_eq!(decode(&[1, 2]), Err(DecodeError::Missing(1)));
    assert_eq!(decode(&[1, 1, 3]), Err(DecodeError::Missing(2)));
    assert_eq!(decode(&[1, 1, 99, 2]), Err(DecodeError::Value(1)));
}

#[test]
fn a_long_statement_is_kept_whole_and_a_longer_one_refused_aloud() {
    let mut record = select(1);
    record.statement = Some("x".repeat(RECORD_BYTES_MAX - 1000).into());
    assert_eq!(decode(&bytes(&record)).unwrap(), record);
    record.statement = Some("x".repeat(RECORD_BYTES_MAX).into());
    let mut out = b"before".to_vec();
    assert_eq!(encode(&record, &mut out).unwrap_err().field, "record");
    assert_eq!(out, b"before");
    record.statement = None;
    record.client = Some("x".repeat(trail::NAME_BYTES_MAX + 1).into());
    assert_eq!(encode(&record, &mut out).unwrap_err().field, "client");
}

/// The vectors of `docs/formats/record.md`: hexadecimal bytes behind a name, in one block.
#[test]
fn the_documented_vectors_hold() {
    let document = include_str!("../../../../docs/formats/record.md");
    let vectors: Vec<(&str, &str)> = document
        .split("```vectors\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once(": "))
        .collect();
    let records = vector_records();
    assert_eq!(vectors.len(), records.len());
    for ((name, hex), (expected_name, record)) in vectors.into_iter().zip(records) {
        let encoded: String = bytes(&record).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((name, hex), (expected_name, encoded.as_str()));
    }
}

fn vector_records() -> [(&'static str, Record<'static>); 10] {
    let at = Micros(1_795_428_000_000_000);
    let mut refused = Record::new(Kind::SignIn, at);
    refused.person_name = Some("nurse.joy".into());
    refused.address = Some("192.0.2.7".parse().unwrap());
    refused.port = Some(50_000);
    refused.outcome = Some(Outcome::Failed(SqlState(*b"28P01")));
    let mut patients = select(300);
    patients.patients =
        Patients::new(2026, vec![PatientToken([1; 16]), PatientToken([2; 16])], vec![3; 4].into());
    patients.unresolved = Some(2);
    patients.masked = vec!["public.patients.ssn".into()];
    patients.unmasked = vec!["public.patients.name".into()];
    let mut purpose = patients.clone();
    purpose.purpose = Some("treatment".into());
    let mut reported = Record::new(Kind::Reported, at);
    reported.person_name = Some("reported:dr.who".into());
    reported.source = Some("ehr".into());
    reported.source_event = Some("e-1".into());
    let mut signed_in = Record::new(Kind::SignIn, at);
    signed_in.person_name = Some("nurse.joy".into());
    signed_in.outcome = Some(Outcome::Completed);
    signed_in.sign_in = Some("password+totp".into());
    let mut emergency = Record::new(Kind::EmergencyBegun, at);
    emergency.person_name = Some("nurse.joy".into());
    emergency.emergency = Some(3);
    let mut program = Record::new(Kind::SignIn, at);
    program.person_name = Some("workload:billing".into());
    program.outcome = Some(Outcome::Completed);
    program.certificate = Some(CertificateId([0xab; 32]));
    let mut agent = Record::new(Kind::SignIn, at);
    agent.person = Some(PersonId(42));
    agent.person_name = Some("ann".into());
    agent.outcome = Some(Outcome::Completed);
    agent.agent = Some("00000000000000000000000000000007:scribe:3".into());
    [
        ("heartbeat", Record::new(Kind::Heartbeat, at)),
        ("failed sign-in", refused),
        ("read", select(300)),
        ("read with patients", patients),
        ("read for a purpose", purpose),
        ("reported", reported),
        ("sign-in with two factors", signed_in),
        ("emergency begun", emergency),
        ("sign-in by certificate", program),
        ("sign-in of an agent", agent),
    ]
}
