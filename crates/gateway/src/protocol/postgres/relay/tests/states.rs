//! Messages in states where they do not belong, and names whose meaning changes on the way: what is recorded is what
//! the resource runs.

use super::*;

/// A portal bound while the transaction was clean, run after it wrote.
#[tokio::test]
async fn a_commit_bound_before_the_write_is_judged_when_it_runs() {
    let mut scene = Scene::begin().await;
    scene.query("BEGIN", &[done("BEGIN"), ready(b'T')].concat()).await;
    scene.client.send(&[parse("c", "COMMIT"), bind("p", "c"), sync()].concat()).await;
    scene.server.expect("PBS").await;
    scene.server.send(&[PARSED, BOUND, &ready(b'T')].concat()).await;
    scene.client.expect("12Z").await;
    scene.query("DELETE FROM notes", &[done("DELETE 1"), ready(b'T')].concat()).await;
    scene.hold();
    scene.client.send(&[execute("p", 0), sync()].concat()).await;
    scene.server.quiet().await;
    scene.release();
    scene.server.expect("ES").await;
    scene.server.send(&[done("COMMIT"), ready(b'I')].concat()).await;
    scene.client.expect("CZ").await;
    scene.still_serves().await;
}

/// The same in one pipeline: `Bind` of the read is not answered yet when the objects change.
#[tokio::test]
async fn a_read_bound_before_the_objects_changed_is_judged_when_it_runs() {
    let mut scene = Scene::begin().await;
    scene.query("BEGIN", &[done("BEGIN"), ready(b'T')].concat()).await;
    scene.client.send(&[parse("r", "SELECT id FROM notes"), bind("p", "r")].concat()).await;
    scene.server.expect("PB").await;
    scene.client.send(&[parse("", "CREATE TABLE t (id int)"), bind("", ""), execute("", 0)].concat()).await;
    scene.server.expect("PBE").await;
    scene.hold();
    scene.client.send(&[execute("p", 0), sync()].concat()).await;
    scene.server.quiet().await;
    scene.release();
    scene.server.expect("ES").await;
}

/// The right to a relation is withdrawn while a portal on it is open.
#[tokio::test]
async fn a_portal_is_not_fetched_from_once_the_right_is_gone() {
    let mut scene = Scene::begin().await;
    scene.query("BEGIN", &[done("BEGIN"), ready(b'T')].concat()).await;
    let ask = [parse("", "SELECT * FROM patients"), bind("p", ""), execute("p", 1), sync()].concat();
    scene.client.send(&ask).await;
    scene.server.expect("PBES").await;
    scene.server.send(&[PARSED, BOUND, &row(), SUSPENDED, &ready(b'T')].concat()).await;
    scene.client.expect("12DsZ").await;
    scene.publish(2, false);
    scene.query("SELECT id FROM notes", &rows(1, b'T')).await;
    scene.client.send(&[execute("p", 1), sync()].concat()).await;
    let (kind, body) = scene.server.message().await.unwrap();
    assert_eq!((kind, body.first()), (b'D', Some(&b'S')), "a describe that fails in its place");
    scene.server.expect("S").await;
    scene.server.send(&[error("26000"), ready(b'E')].concat()).await;
    let got = scene.client.expect("EZ").await;
    assert!(got[0].windows(5).any(|w| w == b"42501"));
}

/// A change of the policy and a statement reach the session at the same moment: the change was first.
#[tokio::test]
async fn what_comes_together_with_a_change_is_decided_by_it() {
    for round in 0..16 {
        let mut scene = Scene::begin().await;
        scene.query("SELECT id FROM notes", &rows(1, b'I')).await;
        scene.publish(2, false);
        scene.client.send(&simple("SELECT * FROM patients")).await;
        let (_, sent) = scene.server.message().await.expect("something that fails in its place");
        assert!(!sent.starts_with(b"SELECT * FROM patients"), "round {round}: it went through");
    }
}

/// The resource skips what follows a failed message up to `Sync`, and takes what follows that: the statement is the
/// second one, not the one before the failed one.
#[tokio::test]
async fn a_statement_sent_behind_a_failed_one_is_the_one_that_runs() {
    let mut scene = Scene::begin().await;
    scene.client.send(&[parse("", "SELECT id FROM notes"), sync()].concat()).await;
    scene.server.expect("PS").await;
    scene.server.send(&[PARSED, &ready(b'I')].concat()).await;
    scene.client.expect("1Z").await;
    let ahead = [parse("", "SELECT nothing FROM notes"), sync(), parse("", "DELETE FROM notes"), sync()];
    scene.client.send(&ahead.concat()).await;
    scene.server.expect("PSPS").await;
    scene.server.send(&[error("42703"), ready(b'I'), PARSED.to_vec(), ready(b'I')].concat()).await;
    scene.client.expect("EZ1Z").await;
    scene.hold();
    scene.client.send(&[bind("", ""), execute("", 0), sync()].concat()).await;
    scene.server.quiet().await;
    scene.release();
    scene.server.expect("BES").await;
}

/// PostgreSQL cuts names after 63 bytes, and reads others than ASCII in the encoding of the moment: two names here
/// would be one there.
#[tokio::test]
async fn names_that_the_resource_would_read_otherwise_are_refused() {
    let mut scene = Scene::begin().await;
    let long = "n".repeat(64);
    for name in [long.as_str(), "n\u{e9}"] {
        let asks = [
            parse(name, "SELECT id FROM notes"),
            [parse("", "SELECT id FROM notes"), bind(name, "")].concat(),
            bind("", name),
            execute(name, 0),
            close('S', name),
            close('P', name),
            framed(b'D', format!("S{name}\0").as_bytes()),
        ];
        for ask in asks {
            scene.client.send(&[ask.clone(), sync()].concat()).await;
            let mut parsed = false;
            loop {
                let (kind, body) = scene.server.message().await.unwrap();
                assert!(!String::from_utf8_lossy(&body).contains(name), "it is not forwarded");
                parsed |= kind == b'P';
                if kind == b'S' {
                    break;
                }
            }
            let answer = [if parsed { PARSED } else { b"" }, &error("26000"), &ready(b'I')].concat();
            scene.server.send(&answer).await;
            let got = scene.client.expect(if parsed { "1EZ" } else { "EZ" }).await;
            let told = &got[got.len() - 2];
            assert!(told.windows(5).any(|w| w == b"42602" || w == b"26000" || w == b"34000"), "{told:?}");
        }
    }
    scene.still_serves().await;
}

/// While the resource reads copied data it takes any other message for a mistake and swallows it: a query sent then
/// would never be answered, and the next answer would be taken for its own.
#[tokio::test]
async fn nothing_is_sent_past_a_copy_that_begins() {
    let mut scene = Scene::begin().await;
    scene.client.send(&simple("COPY notes FROM STDIN")).await;
    scene.server.expect("Q").await;
    scene.client.send(&simple("SELECT id FROM notes")).await;
    scene.server.quiet().await;
    scene.server.send(COPY_IN).await;
    let got = scene.client.rest().await;
    assert_eq!(kinds(&got), "GE", "a query has no place in copied data");
    assert!(matches!(scene.end().await, (Ending::Unsupported, Some(Failure::ClientMalformed(_)))));
}

/// Data sent ahead of the resource's answer waits for it.
#[tokio::test]
async fn copied_data_may_be_sent_ahead() {
    let mut scene = Scene::begin().await;
    let data = framed(b'd', b"1\t1\tx\n");
    let ahead =
        [simple("COPY notes FROM STDIN"), data.clone(), framed(b'c', b""), simple("SELECT id FROM notes")];
    scene.client.send(&ahead.concat()).await;
    scene.server.expect("Q").await;
    scene.server.quiet().await;
    scene.server.send(COPY_IN).await;
    scene.client.expect("G").await;
    let sent = scene.server.expect("dc").await;
    assert_eq!(sent[0], data[HEADER..]);
    scene.server.send(&[done("COPY 1"), ready(b'I')].concat()).await;
    scene.client.expect("CZ").await;
    scene.server.expect("Q").await;
    scene.server.send(&rows(1, b'I')).await;
    scene.client.expect("TDCZ").await;
}

/// The copy fails at once: what was sent ahead for it is dropped, as PostgreSQL drops it.
#[tokio::test]
async fn copied_data_for_a_copy_that_failed_is_dropped() {
    let mut scene = Scene::begin().await;
    let ahead = [simple("COPY notes FROM STDIN"), framed(b'd', b"1\n"), framed(b'c', b"")];
    scene.client.send(&ahead.concat()).await;
    scene.server.expect("Q").await;
    scene.server.send(&[error("42P01"), ready(b'I')].concat()).await;
    scene.client.expect("EZ").await;
    scene.still_serves().await;
}

#[tokio::test]
async fn an_extended_copy_takes_a_sync_sent_ahead() {
    let mut scene = Scene::begin().await;
    scene
        .client
        .send(&[parse("", "COPY notes FROM STDIN"), bind("", ""), execute("", 0), sync()].concat())
        .await;
    scene.server.expect("PBE").await;
    scene.server.send(&[PARSED, BOUND, COPY_IN].concat()).await;
    scene.client.expect("12G").await;
    scene.client.send(&[framed(b'd', b"1\n"), framed(b'c', b""), sync()].concat()).await;
    // The first is ignored by the resource, the second answered.
    scene.server.expect("Sdc").await;
    scene.server.send(&done("COPY 1")).await;
    scene.client.expect("C").await;
    scene.server.expect("S").await;
    scene.server.send(&ready(b'I')).await;
    scene.client.expect("Z").await;
    scene.still_serves().await;
}

/// A cursor replaced by a later text of the same pipeline is not what the earlier text made it.
#[tokio::test]
async fn a_cursor_declared_twice_in_a_pipeline_is_not_known() {
    let mut scene = Scene::begin().await;
    scene.query("BEGIN", &[done("BEGIN"), ready(b'T')].concat()).await;
    let first = "DECLARE c CURSOR FOR SELECT id FROM notes";
    let second = "CLOSE c; DECLARE c CURSOR FOR SELECT evil(1); SELECT 1";
    scene.client.send(&simple(first)).await;
    scene.server.expect("Q").await;
    scene.client.send(&simple(second)).await;
    scene.server.expect("Q").await;
    scene.server.send(&[done("DECLARE CURSOR"), ready(b'T')].concat()).await;
    let done = [done("CLOSE CURSOR"), done("DECLARE CURSOR"), rows(1, b'T')].concat();
    scene.server.send(&done).await;
    scene.client.expect("CZCCTDCZ").await;
    scene.hold();
    scene.client.send(&simple("FETCH c")).await;
    scene.server.quiet().await;
    scene.release();
    scene.server.expect("Q").await;
}

/// Notices of a `Bind` are withheld, and then released by an entry of that very operation, also when the portal never
/// runs.
#[tokio::test]
async fn a_notice_while_binding_waits_for_an_entry_and_no_longer() {
    let mut scene = Scene::begin().await;
    scene.hold();
    scene.client.send(&[parse("", "SELECT id FROM notes"), bind("", ""), sync()].concat()).await;
    scene.server.expect("PBS").await;
    let notice = framed(b'N', b"SNOTICE\0VNOTICE\0C00000\0Ma datum\0\0");
    scene.server.send(&[PARSED, &notice, BOUND, &ready(b'I')].concat()).await;
    scene.client.expect_held(1, "1N2Z", || scene.world.held.release()).await;
    scene.still_serves().await;
}

#[tokio::test]
async fn a_portal_run_twice_in_one_pipeline() {
    let mut scene = Scene::begin().await;
    let ask = [parse("", "SELECT id FROM notes"), bind("p", ""), execute("p", 0), execute("p", 0), sync()];
    scene.client.send(&ask.concat()).await;
    scene.server.expect("PBEES").await;
    let answer = [PARSED, BOUND, &row(), &done("SELECT 1"), &done("SELECT 0"), &ready(b'I')].concat();
    scene.server.send(&answer).await;
    scene.client.expect("12DCCZ").await;
    scene.still_serves().await;
}

#[tokio::test]
async fn the_name_of_our_failing_message_cannot_be_taken() {
    let mut scene = Scene::begin().await;
    scene.client.send(&[parse("wardline: refused", "SELECT id FROM notes"), sync()].concat()).await;
    scene.server.expect("DS").await;
    scene.server.send(&[error("26000"), ready(b'I')].concat()).await;
    scene.client.expect("EZ").await;
    scene.still_serves().await;
}

#[tokio::test]
async fn messages_that_have_no_place_end_the_session() {
    for message in
        [framed(b'p', b"password\0"), framed(b'Q', b"no end"), b"Q\0\0\0\0".to_vec(), b"!\0\0\0\x04".to_vec()]
    {
        let mut scene = Scene::begin().await;
        scene.client.send(&message).await;
        let got = scene.client.rest().await;
        assert_eq!(kinds(&got), "E");
        assert!(got[0].1.windows(5).any(|w| w == b"08P01"));
        assert!(matches!(scene.end().await, (Ending::Unsupported, Some(Failure::ClientMalformed(_)))));
    }
}

#[tokio::test]
async fn copied_data_outside_of_a_copy_is_dropped() {
    let mut scene = Scene::begin().await;
    scene.client.send(&[framed(b'd', b"1\n"), framed(b'c', b""), framed(b'f', b"x\0")].concat()).await;
    scene.still_serves().await;
}

/// Answers to questions that nobody asked.
#[tokio::test]
async fn a_resource_that_answers_out_of_turn_loses_the_session() {
    let cases: &[&[u8]] = &[
        &row(),
        &framed(b'd', b"x"),
        DESCRIBED,
        PARSED,
        BOUND,
        CLOSED,
        NO_DATA,
        SUSPENDED,
        COPY_IN,
        &framed(b'H', b"\0\0\0"),
        &framed(b'c', b""),
        &framed(b'V', b"\0\0\0\x01x"),
        &framed(b't', b"\0\0"),
        &done("SELECT 1"),
        &framed(b'I', b""),
        &ready(b'I'),
        &framed(b'R', b"\0\0\0\0"),
        &framed(b'K', b"\0\0\0\0\0\0\0\0"),
        &framed(b'W', b"\0\0\0"),
        &framed(b'v', b"\0\x03\0\0\0\0\0\0"),
        b"D\xff\xff\xff\xff",
        b"Z\0\0\0\0",
        b"!\0\0\0\x04",
        &framed(b'Z', b"X"),
        &framed(b'S', b"no value\0"),
    ];
    for case in cases {
        let mut scene = Scene::begin().await;
        scene.server.send(case).await;
        let got = scene.client.rest().await;
        assert_eq!(kinds(&got), "E", "{case:?}");
        assert!(got[0].1.windows(5).any(|w| w == b"08006"), "{case:?}");
        let (ending, failure) = scene.end().await;
        assert!(
            matches!((ending, failure), (Ending::UpstreamLeft, Some(Failure::UpstreamMalformed(_)))),
            "{case:?}"
        );
    }
}

/// Statements of 900 KiB of literals each: at some point the session is told that it is enough.
#[tokio::test]
async fn prepared_statements_are_bounded_by_what_they_hold() {
    let mut scene = Scene::begin().await;
    let literal = "x".repeat(900 << 10);
    for number in 0..200 {
        let ask = [parse(&format!("s{number}"), &format!("SELECT '{literal}'")), sync()].concat();
        scene.client.send(&ask).await;
        let kind = scene.server.message().await.unwrap().0;
        scene.server.expect("S").await;
        if kind == b'D' {
            assert!((50..80).contains(&number), "{number}");
            scene.server.send(&[error("26000"), ready(b'I')].concat()).await;
            let got = scene.client.expect("EZ").await;
            assert!(got[0].windows(5).any(|w| w == b"53400"));
            return scene.still_serves().await;
        }
        scene.server.send(&[PARSED, &ready(b'I')].concat()).await;
        scene.client.expect("1Z").await;
    }
    panic!("no end");
}

/// The same name again and again holds one statement.
#[tokio::test]
async fn a_statement_that_is_replaced_holds_nothing() {
    let mut scene = Scene::begin().await;
    let literal = "x".repeat(900 << 10);
    for _ in 0..100 {
        scene.client.send(&[parse("", &format!("SELECT '{literal}'")), sync()].concat()).await;
        scene.server.expect("PS").await;
        scene.server.send(&[PARSED, &ready(b'I')].concat()).await;
        scene.client.expect("1Z").await;
    }
}

/// Parameters that would have to be held for the entry of a read are recorded before it is sent.
#[tokio::test]
async fn a_read_with_large_parameters_is_recorded_first() {
    let mut scene = Scene::begin().await;
    scene.hold();
    let text = "SELECT id FROM notes WHERE body = $1";
    let mut body = b"\0\0\0\0\0\x01\0\0\x40\0".to_vec();
    body.extend(vec![b'x'; 16 << 10]);
    body.extend_from_slice(&[0, 0]);
    scene.client.send(&[parse("", text), framed(b'B', &body), execute("", 0), sync()].concat()).await;
    let early = timeout(QUIET, scene.server.message()).await;
    assert!(early.is_err() || early.unwrap().unwrap().0 == b'P', "only the statement's text may be there");
    scene.release();
    while scene.server.message().await.unwrap().0 != b'S' {}
    scene.server.send(&[PARSED, BOUND, &done("SELECT 0"), &ready(b'I')].concat()).await;
    scene.client.expect("12CZ").await;
}
