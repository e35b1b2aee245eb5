//! What must hold of every decoder for any bytes. Driven by the property tests, by the replay of the committed corpus,
//! and by the fuzz target `postgres_codec`, which takes in this file and the codec as they are.

use super::codec::{self, Fields, FirstPacket, Front, HEADER, Target};

/// A limit that short inputs reach.
const LIMIT: usize = 300;

/// Any bytes as a stream of a client, as a stream of a server, and as a first packet.
pub(crate) fn decode(bytes: &[u8]) {
    front_stream(bytes);
    back_stream(bytes);
    first_packet(bytes);
    fields(bytes);
    messages(bytes);
}

fn front_stream(mut bytes: &[u8]) {
    while let Ok(Some(header)) = codec::front_header(bytes, LIMIT) {
        assert!(header.length >= HEADER);
        assert!(header.length <= LIMIT || header.kind == Front::CopyData);
        let Some((frame, rest)) = bytes.split_at_checked(header.length) else { return };
        messages(frame);
        bytes = rest;
    }
}

fn back_stream(mut bytes: &[u8]) {
    while let Ok(Some(header)) = codec::back_header(bytes, LIMIT) {
        assert!(header.length >= HEADER);
        assert!(header.length <= LIMIT || header.kind.streams());
        let Some((frame, rest)) = bytes.split_at_checked(header.length) else { return };
        messages(frame);
        bytes = rest;
    }
}

/// Every reader of a message on one frame, whatever its type byte says. What is returned lies within the frame.
fn messages(frame: &[u8]) {
    let within = |part: &[u8]| assert!(part.is_empty() || frame.as_ptr_range().contains(&part.as_ptr()));
    if let Ok(text) = codec::query(frame) {
        assert!(!text.contains(&0));
        within(text);
    }
    if let Ok(codec::Parse { name, text, .. }) = codec::parse(frame) {
        within(name);
        within(text);
    }
    if let Ok(bind) = codec::bind(frame) {
        within(bind.portal);
        within(bind.statement);
        within(bind.parameters);
        for at in 0..=bind.parameter_count {
            // Whatever was walked once can be walked again.
            let parameter = codec::parameter(bind.parameters, at).expect("a parameter that was read");
            assert!(at < bind.parameter_count || parameter.is_none());
            parameter.into_iter().for_each(|(_, value)| within(value));
        }
        assert!(bind.parameters.len() >= 4 + 4 * bind.parameter_count, "each parameter has a length");
    }
    if let Ok((_, columns)) = codec::copy_response(frame) {
        assert!(columns * 2 <= frame.len());
    }
    if let Ok(portal) = codec::execute(frame) {
        within(portal);
    }
    if let Ok(Target::Statement(name) | Target::Portal(name)) = codec::target(frame, "Describe") {
        within(name);
    }
    if let Ok((_, arguments)) = codec::function_call(frame) {
        within(arguments);
    }
    if codec::ready(frame).is_ok() {
        assert_eq!(frame.len(), HEADER + 1);
    }
    if let Ok((name, value)) = codec::parameter_status(frame) {
        within(name);
        within(value);
    }
    let _ = codec::command_rows(frame);
    for wanted in [b'C', b'M', 0] {
        if let Ok(Some(value)) = codec::error_field(frame, wanted) {
            within(value);
        }
    }
}

fn first_packet(bytes: &[u8]) {
    if let Some(field) = bytes.first_chunk::<4>() {
        let length = codec::first_packet_length(*field);
        assert!(length.is_err() || (8..=codec::STARTUP_BYTES_MAX).contains(&length.unwrap_or(8)));
    }
    let mut again = Vec::new();
    match codec::first_packet(bytes) {
        Ok(FirstPacket::Startup(startup)) => {
            let pairs = startup.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            codec::put_startup(&mut again, pairs);
            let body = again.get(8..).unwrap_or_default();
            assert_eq!(bytes.get(4..), Some(body), "what was read is written as it came");
        }
        Ok(FirstPacket::Cancel { process, key }) => {
            codec::put_cancel(&mut again, process, &key);
            assert_eq!(again.get(4..), Some(bytes));
        }
        Ok(FirstPacket::TlsRequest | FirstPacket::GssRequest) => assert_eq!(bytes.len(), 4),
        Err(_) => {}
    }
}

/// The cursor itself: the bytes choose what is read from them.
fn fields(bytes: &[u8]) {
    let Some((script, body)) = bytes.split_at_checked(bytes.len() / 4) else { return };
    let mut fields = Fields::within(body, "fuzz");
    for step in script {
        let failed = match step % 7 {
            0 => fields.u8().is_err(),
            1 => fields.i16().is_err(),
            2 => fields.i32().is_err(),
            3 => fields.cstr().is_err(),
            4 => fields.count().is_err(),
            5 => fields.value().is_err(),
            _ => fields.bytes(usize::from(*step)).is_err(),
        };
        if failed {
            return;
        }
    }
    let left = fields.rest().len();
    assert!(left <= body.len());
}
