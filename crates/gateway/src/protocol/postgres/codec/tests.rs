//! Properties of every decoder: any cut, any length, any type, any count, and round trips where there is an encoder.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::protocol::postgres::codec;

use super::*;

#[path = "decoders.rs"]
mod decoders;

const LIMIT: usize = 16 << 20;

/// Frames a message; the body is the caller's.
fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, kind, |out| out.extend_from_slice(body));
    out
}

/// Takes a stream that arrives in pieces apart, as a session does: kinds and frames, or the first fault.
fn apart<K>(
    pieces: &[&[u8]],
    header: impl Fn(&[u8], usize) -> Result<Option<Header<K>>, Malformed>,
) -> (Vec<(K, Vec<u8>)>, Option<Malformed>) {
    let (mut waiting, mut found) = (Vec::new(), Vec::new());
    for piece in pieces {
        waiting.extend_from_slice(piece);
        loop {
            match header(&waiting, LIMIT) {
                Err(fault) => return (found, Some(fault)),
                Ok(Some(Header { kind, length })) if length <= waiting.len() => {
                    let rest = waiting.split_off(length);
                    found.push((kind, std::mem::replace(&mut waiting, rest)));
                }
                Ok(_) => break,
            }
        }
    }
    (found, None)
}

const FRONT: &[u8] = b"BCdcfDEHFPpQSX";
const BACK: &[u8] = b"RK23CWdcGHDIEVvnNAtS1sZT";

fn stream(kinds: &'static [u8]) -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    vec((proptest::sample::select(kinds), vec(any::<u8>(), 0..40)), 1..8)
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    vec(1..=255u8, 0..20)
}

fn cstr(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(text);
    out.push(0);
}

/// Cuts a body short in every place and lengthens it: none of it may be read.
fn only_whole(kind: u8, body: &[u8], read: impl Fn(&[u8]) -> bool) -> Result<(), TestCaseError> {
    prop_assert!(read(&framed(kind, body)));
    for length in 0..body.len() {
        prop_assert!(!read(&framed(kind, &body[..length])), "cut to {length} of {}", body.len());
    }
    let mut longer = body.to_vec();
    longer.push(7);
    prop_assert!(!read(&framed(kind, &longer)), "a byte left over");
    Ok(())
}

proptest! {
    #[test]
    fn frames_cut_at_any_byte_are_the_same_messages(
        messages in stream(FRONT), answers in stream(BACK), a in 0..500usize, b in 0..500usize
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|(kind, body)| framed(*kind, body)).collect();
        let (whole, fault) = apart(&[&bytes], front_header);
        prop_assert_eq!(fault, None);
        let sent: Vec<_> = messages.iter().map(|(kind, body)| framed(*kind, body)).collect();
        prop_assert_eq!(&whole.iter().map(|(_, frame)| frame.clone()).collect::<Vec<_>>(), &sent);
        let (a, b) = (a.min(b).min(bytes.len()), a.max(b).min(bytes.len()));
        let cut = apart(&[&bytes[..a], &bytes[a..b], &bytes[b..]], front_header);
        prop_assert_eq!(&cut, &(whole, None));
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(&apart(&single, front_header), &cut);

        let bytes: Vec<u8> = answers.iter().flat_map(|(kind, body)| framed(*kind, body)).collect();
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        let whole = apart(&[&bytes], back_header);
        prop_assert_eq!((whole.0.len(), whole.1), (answers.len(), None));
        prop_assert_eq!(apart(&single, back_header), whole);
    }

    #[test]
    fn a_header_is_read_or_refused_by_its_own_five_bytes(kind: u8, length: i32, limit in 5..100_000usize) {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&length.to_be_bytes());
        for short in 0..HEADER {
            prop_assert_eq!(front_header(&bytes[..short], limit), Ok(None));
            prop_assert_eq!(back_header(&bytes[..short], limit), Ok(None));
        }
        let whole = usize::try_from(length).ok().filter(|l| *l >= 4).map(|l| l + 1);
        let check = |known: bool, streams: bool, read: Result<Option<usize>, Malformed>| {
            let want = match whole {
                None => Err(Malformed::Length(length)),
                Some(_) if !known => Err(Malformed::Kind(kind)),
                Some(length) if length > limit && !streams => Err(Malformed::TooLong { length, limit }),
                Some(length) => Ok(Some(length)),
            };
            prop_assert_eq!(read, want);
            Ok(())
        };
        let front = front_header(&bytes, limit).map(|header| header.map(|h| h.length));
        check(FRONT.contains(&kind), kind == b'd', front)?;
        let back = back_header(&bytes, limit).map(|header| header.map(|h| h.length));
        check(BACK.contains(&kind), kind == b'd' || kind == b'D', back)?;
    }

    #[test]
    fn no_bytes_bring_a_decoder_down(bytes in vec(any::<u8>(), 0..600)) {
        decoders::decode(&bytes);
    }

    #[test]
    fn nearly_right_streams_bring_no_decoder_down(
        messages in stream(b"BCDEFPQSECST"), at in 0..200usize, byte: u8
    ) {
        let mut bytes: Vec<u8> = messages.iter().flat_map(|(kind, body)| framed(*kind, body)).collect();
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        decoders::decode(&bytes);
    }

    #[test]
    fn query_and_names_round_trip(text in name(), other in name(), rows: i32) {
        let mut body = Vec::new();
        cstr(&mut body, &text);
        let frame = framed(b'Q', &body);
        prop_assert_eq!(query(&frame), Ok(&text[..]));
        only_whole(b'Q', &body, |frame| query(frame).is_ok())?;

        for kind in [b'S', b'P'] {
            let mut body = vec![kind];
            cstr(&mut body, &text);
            only_whole(b'D', &body, |frame| target(frame, "Describe").is_ok())?;
        }
        body.extend_from_slice(&rows.to_be_bytes());
        let frame = framed(b'E', &body);
        prop_assert_eq!(execute(&frame), Ok(&text[..]));
        only_whole(b'E', &body, |frame| execute(frame).is_ok())?;

        let mut body = Vec::new();
        cstr(&mut body, &text);
        cstr(&mut body, &other);
        let frame = framed(b'S', &body);
        prop_assert_eq!(parameter_status(&frame), Ok((&text[..], &other[..])));
        only_whole(b'S', &body, |frame| parameter_status(frame).is_ok())?;
    }

    #[test]
    fn parse_with_any_count(portal in name(), text in name(), types in vec(any::<u32>(), 0..5), lie: u16) {
        let body = |count: usize| {
            let mut body = Vec::new();
            cstr(&mut body, &portal);
            cstr(&mut body, &text);
            body.extend_from_slice(&u16::try_from(count).unwrap().to_be_bytes());
            types.iter().for_each(|t| body.extend_from_slice(&t.to_be_bytes()));
            body
        };
        let frame = framed(b'P', &body(types.len()));
        let user_types = types.iter().any(|oid| *oid >= 16384);
        let parsed = parse(&frame).unwrap();
        prop_assert_eq!((parsed.name, parsed.text, parsed.user_types), (&*portal, &*text, user_types));
        prop_assert_eq!(&parsed.types().collect::<Vec<_>>(), &types);
        only_whole(b'P', &body(types.len()), |frame| parse(frame).is_ok())?;
        prop_assert_eq!(parse(&framed(b'P', &body(lie.into()))).is_ok(), usize::from(lie) == types.len());
    }

    #[test]
    fn bind_with_any_count(
        names in (name(), name()),
        formats in vec(0..2i16, 0..4),
        values in vec(proptest::option::of(vec(any::<u8>(), 0..12)), 0..5),
        results in vec(0..2i16, 0..4),
        lie: u16,
        length: i32,
    ) {
        let body = |count: usize, first: Option<i32>| {
            let mut body = Vec::new();
            cstr(&mut body, &names.0);
            cstr(&mut body, &names.1);
            let put = |out: &mut Vec<u8>, codes: &[i16]| {
                out.extend_from_slice(&u16::try_from(codes.len()).unwrap().to_be_bytes());
                codes.iter().for_each(|code| out.extend_from_slice(&code.to_be_bytes()));
            };
            put(&mut body, &formats);
            body.extend_from_slice(&u16::try_from(count).unwrap().to_be_bytes());
            for (at, value) in values.iter().enumerate() {
                let length = value.as_ref().map_or(-1, |v| i32::try_from(v.len()).unwrap());
                body.extend_from_slice(&first.filter(|_| at == 0).unwrap_or(length).to_be_bytes());
                body.extend_from_slice(value.as_deref().unwrap_or_default());
            }
            let end = body.len();
            put(&mut body, &results);
            (body, end)
        };
        let (right, end) = body(values.len(), None);
        let frame = framed(b'B', &right);
        let read = bind(&frame).unwrap();
        prop_assert_eq!((read.portal, read.statement), (&names.0[..], &names.1[..]));
        prop_assert_eq!(read.parameter_count, values.len());
        let from = names.0.len() + names.1.len() + 2;
        prop_assert_eq!(read.parameters, &right[from..end]);
        only_whole(b'B', &right, |frame| bind(frame).is_ok())?;
        if usize::from(lie) > values.len() + 40 {
            prop_assert!(bind(&framed(b'B', &body(lie.into(), None).0)).is_err());
        }
        if !values.is_empty() && !(-1..200).contains(&length) {
            prop_assert!(bind(&framed(b'B', &body(values.len(), Some(length)).0)).is_err());
        }
    }

    #[test]
    fn errors_of_ours_round_trip(
        message in ".{0,40}", detail in proptest::option::of("[a-z]{0,9}"), position in proptest::option::of(1..999usize)
    ) {
        let mut error = WireError::new(Severity::Fatal, b"42501", message.clone()).position(position);
        error.detail = detail.clone();
        let mut frame = Vec::new();
        error.encode(&mut frame);
        let field = |code| error_field(&frame, code).unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap());
        prop_assert_eq!(field(b'C'), Some("42501".to_owned()));
        prop_assert_eq!(field(b'M'), Some(message.replace('\0', "")));
        prop_assert_eq!(field(b'D'), detail);
        prop_assert_eq!(field(b'P'), position.map(|p| p.to_string()));
        prop_assert_eq!(back_header(&frame, LIMIT).unwrap().unwrap(), Header { kind: Back::ErrorResponse, length: frame.len() });
        only_whole(b'E', &frame[HEADER..], |frame| error_field(frame, b'C').is_ok())?;
    }

    #[test]
    fn start_ups_round_trip(pairs in vec(("[a-z_.]{1,12}", "\\PC{0,12}"), 0..6)) {
        let mut packet = Vec::new();
        put_startup(&mut packet, pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let length = first_packet_length(*packet.first_chunk().unwrap());
        prop_assert_eq!(length, Ok(packet.len()));
        let startup = Startup { major: 3, minor: 0, parameters: pairs };
        prop_assert_eq!(first_packet(&packet[4..]), Ok(FirstPacket::Startup(startup)));
        for end in 4..packet.len() {
            prop_assert!(first_packet(&packet[4..end]).is_err(), "cut to {}", end);
        }
        packet.push(b'x');
        prop_assert!(first_packet(&packet[4..]).is_err());
    }

    #[test]
    fn cancel_requests_round_trip(process: u32, key in vec(any::<u8>(), 0..300)) {
        let mut packet = Vec::new();
        put_cancel(&mut packet, process, &key);
        let read = first_packet(&packet[4..]);
        if CANCEL_KEY_BYTES.contains(&key.len()) {
            prop_assert_eq!(read, Ok(FirstPacket::Cancel { process, key }));
        } else {
            prop_assert!(read.is_err());
        }
    }

    #[test]
    fn first_packets_are_short(length: i32) {
        let read = first_packet_length(length.to_be_bytes());
        let possible = usize::try_from(length).is_ok_and(|l| (8..=STARTUP_BYTES_MAX).contains(&l));
        prop_assert_eq!(read.is_ok(), possible);
    }
}

#[test]
fn as_many_parameters_as_postgresql_takes() {
    let mut body = b"\0\0\0\0".to_vec();
    body.extend_from_slice(&u16::MAX.to_be_bytes());
    (0..u16::MAX).for_each(|_| body.extend_from_slice(&(-1i32).to_be_bytes()));
    body.extend_from_slice(&[0, 0]);
    assert_eq!(bind(&framed(b'B', &body)).unwrap().parameter_count, 65_535);
}

#[test]
fn readiness_and_tags() {
    for (byte, status) in [(b'I', Status::Idle), (b'T', Status::InTransaction), (b'E', Status::Failed)] {
        assert_eq!(ready(&framed(b'Z', &[byte])), Ok(status));
    }
    for body in [&b""[..], b"X", b"\0", b"II"] {
        assert!(ready(&framed(b'Z', body)).is_err(), "{body:?}");
    }
    let check = |tag: &[u8], rows| assert_eq!(command_rows(&framed(b'C', tag)), rows, "{tag:?}");
    check(b"SELECT 12\0", Ok(Some(12)));
    check(b"INSERT 0 3\0", Ok(Some(3)));
    check(b"BEGIN\0", Ok(None));
    check(b"\0", Ok(None));
    check(b"SELECT 99999999999999999999\0", Ok(None));
    check(b"SELECT -1\0", Ok(None));
    check(b"SELECT 1", Err(Malformed::Layout("CommandComplete")));
    check(b"SELECT 1\0\0", Err(Malformed::Layout("CommandComplete")));
}

#[test]
fn text_of_ours_cannot_end_a_field_early() {
    let mut out = Vec::new();
    put_cstr(&mut out, b"a\0b");
    assert_eq!(out, b"ab\0");
}

#[test]
fn corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/postgres_codec");
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 8, "{} has only {} files", folder.display(), files.len());
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        decoders::decode(&bytes);
        for at in 0..bytes.len().min(600) {
            decoders::decode(&bytes[..at]);
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            decoders::decode(&changed);
        }
    }
}
