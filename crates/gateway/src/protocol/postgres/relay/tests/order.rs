//! The recording rule: nothing of a read reaches the client, and nothing of a write the resource, before its entry is
//! durable.

use super::*;

#[tokio::test]
async fn a_read_is_forwarded_at_once_and_withheld_until_recorded() {
    let mut scene = Scene::begin().await;
    scene.hold();
    scene.client.send(&simple("SELECT body FROM notes")).await;
    scene.server.expect("Q").await;
    scene.server.send(&rows(3, b'I')).await;
    scene.client.quiet().await;
    scene.release();
    let got = scene.client.expect("TDDDCZ").await;
    assert_eq!(got[1], row()[HEADER..]);
    assert!(matches!(scene.end().await, (Ending::ClientLeft, None)));
}

#[tokio::test]
async fn a_failed_read_is_withheld_too() {
    let mut scene = Scene::begin().await;
    scene.hold();
    scene.client.send(&simple("SELECT body FROM notes")).await;
    scene.server.expect("Q").await;
    scene.server.send(&[error("22012"), ready(b'I')].concat()).await;
    scene.client.quiet().await;
    scene.release();
    scene.client.expect("EZ").await;
}

#[tokio::test]
async fn a_write_is_recorded_before_it_is_forwarded() {
    for text in [
        "INSERT INTO notes VALUES (1, 1, 'x')",
        "SELECT evil(1)",
        "SELECT * FROM no_such_table_known",
        "BEGIN; UPDATE notes SET body = ''; COMMIT",
        "COPY notes FROM STDIN",
        "DO $$ BEGIN END $$",
        "EXECUTE nobody_prepared_it",
    ] {
        let mut scene = Scene::begin().await;
        scene.hold();
        scene.client.send(&simple(text)).await;
        scene.server.quiet().await;
        scene.release();
        assert_eq!(scene.server.expect("Q").await[0], [text.as_bytes(), b"\0"].concat());
        scene.server.send(&[done("DONE 1"), ready(b'I')].concat()).await;
        scene.client.expect("CZ").await;
    }
}

#[tokio::test]
async fn extended_reads_and_writes_keep_the_same_order() {
    let mut scene = Scene::begin().await;
    scene.hold();
    let ask = |text: &str| [parse("", text), bind("", ""), execute("", 0), sync()].concat();
    scene.client.send(&ask("SELECT body FROM notes")).await;
    scene.server.expect("PBES").await;
    scene.server.send(&[PARSED, BOUND, &row(), &done("SELECT 1"), &ready(b'I')].concat()).await;
    scene.client.expect_held(2, "12DCZ", || scene.world.held.release()).await;

    scene.hold();
    scene.client.send(&ask("DELETE FROM notes")).await;
    let early = timeout(QUIET, scene.server.message()).await;
    assert!(early.is_err() || early.unwrap().unwrap().0 == b'P', "only the statement's text may be there");
    scene.release();
    while scene.server.message().await.unwrap().0 != b'S' {}
    scene.server.send(&[PARSED, BOUND, &done("DELETE 1"), &ready(b'I')].concat()).await;
    scene.client.expect("12CZ").await;
}

#[tokio::test]
async fn a_large_result_leaves_window_by_window_each_after_its_entry() {
    let limits = Limits { hold_window_bytes: 8 << 10, ..Limits::default() };
    let mut scene = Scene::with(limits).await;
    scene.hold();
    scene.client.send(&simple("SELECT body FROM notes")).await;
    scene.server.expect("Q").await;
    let sent = rows(4_000, b'I');
    let total = sent.len();
    let answering = async {
        scene.server.send(&sent).await;
        scene.server.stream
    };
    let reading = async {
        scene.client.quiet().await;
        scene.world.held.release();
        let mut got = 0;
        while got < total {
            got += scene.client.more().await;
        }
        assert!(scene.client.arrived == sent, "every byte, in order");
    };
    let (_server, ()) = tokio::join!(answering, reading);
}

#[tokio::test]
async fn one_row_larger_than_the_window_is_withheld_whole() {
    let mut scene = Scene::begin().await;
    scene.hold();
    scene.client.send(&simple("SELECT body FROM notes")).await;
    scene.server.expect("Q").await;
    let mut big = vec![0, 1];
    big.extend_from_slice(&300_000u32.to_be_bytes());
    big.extend(vec![b'x'; 300_000]);
    let sent = [DESCRIBED, &framed(b'D', &big), &done("SELECT 1"), &ready(b'I')].concat();
    let (mut server, mut client) = (scene.server, scene.client);
    let held = scene.world.clone();
    let reading = async {
        client.quiet().await;
        held.held.release();
        assert_eq!(client.expect("TDCZ").await[1].len(), big.len());
    };
    tokio::join!(server.send(&sent), reading);
}

#[tokio::test]
async fn a_lost_entry_releases_nothing_and_ends_the_session() {
    let mut scene = Scene::begin().await;
    scene.hold();
    scene.client.send(&simple("SELECT body FROM notes")).await;
    scene.server.expect("Q").await;
    scene.server.send(&rows(2, b'I')).await;
    scene.client.quiet().await;
    scene.world.held.fail();
    let got = scene.client.rest().await;
    assert_eq!(kinds(&got), "E");
    assert!(got[0].1.windows(5).any(|w| w == b"58030"));
    assert!(matches!(scene.end().await, (Ending::TrailLost, Some(Failure::Trail(_)))));

    let mut scene = Scene::begin().await;
    scene.hold();
    scene.client.send(&simple("DELETE FROM notes")).await;
    scene.server.quiet().await;
    scene.world.held.fail();
    assert_eq!(kinds(&scene.client.rest().await), "E");
    assert_eq!(kinds(&scene.server.rest().await), "X", "the write never left");
}

#[tokio::test]
async fn a_refusal_is_recorded_before_the_client_hears_of_it() {
    let mut scene = Scene::begin().await;
    scene.publish(2, false);
    scene.still_serves().await;
    scene.hold();
    scene.client.send(&simple("SELECT * FROM patients")).await;
    assert!(!scene.server.expect("Q").await[0].windows(8).any(|w| w == b"patients"));
    scene.server.send(&[error("42601"), ready(b'I')].concat()).await;
    scene.client.quiet().await;
    scene.release();
    let got = scene.client.expect("EZ").await;
    assert!(got[0].windows(5).any(|w| w == b"42501"));
}

#[tokio::test]
async fn every_cut_of_the_stream_gives_the_same_session() {
    let asked = [
        simple("SELECT body FROM notes"),
        parse("s", "SELECT id FROM notes"),
        bind("", "s"),
        execute("", 0),
        sync(),
    ];
    let answers = [rows(2, b'I'), [PARSED, BOUND, &row(), &done("SELECT 1"), &ready(b'I')].concat()];
    let mut scene = Scene::begin().await;
    for byte in asked.concat() {
        scene.client.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    scene.server.expect("QPBES").await;
    for byte in answers.concat() {
        scene.server.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    while scene.client.arrived.len() < answers.concat().len() {
        scene.client.more().await;
    }
    assert_eq!(scene.client.arrived, answers.concat());
    assert!(matches!(scene.end().await, (Ending::ClientLeft, None)));
}

#[tokio::test]
async fn a_commit_after_a_write_is_a_write() {
    let mut scene = Scene::begin().await;
    scene.query("BEGIN", &[done("BEGIN"), ready(b'T')].concat()).await;
    scene.query("DELETE FROM notes", &[done("DELETE 1"), ready(b'T')].concat()).await;
    scene.hold();
    scene.client.send(&simple("COMMIT")).await;
    scene.server.quiet().await;
    scene.release();
    scene.server.expect("Q").await;
}

/// The next cancel request that reaches the resource.
async fn cancelled(cancels: &TcpListener) {
    let (mut stream, _) = timeout(PATIENCE, cancels.accept()).await.expect("a cancel request").unwrap();
    let mut got = Vec::new();
    let mut piece = [0; 20];
    while got.len() < 16 {
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "{got:?}");
        got.extend_from_slice(&piece[..count]);
    }
    let mut wanted = Vec::new();
    codec::put_cancel(&mut wanted, 77, &[9; 4]);
    assert_eq!(got, wanted);
}

/// Whoever is sent away while a statement runs does not have it done after all.
#[tokio::test]
async fn what_runs_is_cancelled_when_the_session_is_ended() {
    for cut in [false, true] {
        let mut scene = Scene::begin().await;
        scene.client.send(&[simple("DELETE FROM notes"), simple("DELETE FROM patients")].concat()).await;
        scene.server.expect("QQ").await;
        if cut {
            scene.drain.send_replace(Drain::Cut);
        } else {
            scene.withdraw();
        }
        // As long as the resource goes on it is told again: the first request stopped one statement of two.
        cancelled(&scene.cancels).await;
        cancelled(&scene.cancels).await;
        assert_eq!(kinds(&scene.server.rest().await), "", "nothing more was asked");
        drop(scene.server);
        let got = scene.client.rest().await;
        assert!(
            got.last().is_some_and(|(kind, body)| *kind == b'E' && body.windows(5).any(|w| w == b"57P01"))
        );
        let (ending, _, failure) = timeout(PATIENCE, scene.session).await.expect("it ends").unwrap();
        assert!(matches!((ending, failure), (Ending::Revoked | Ending::Drained, None)));
    }
}

/// A resource that does not take the request holds nobody for long.
#[tokio::test]
async fn a_cancel_that_does_not_arrive_is_given_up() {
    let mut scene = Scene::begin().await;
    scene.client.send(&simple("DELETE FROM notes")).await;
    scene.server.expect("Q").await;
    scene.withdraw();
    assert_eq!(kinds(&scene.client.rest().await), "E");
    timeout(PATIENCE, scene.session).await.expect("it ends").unwrap();
}

/// Nothing is cancelled for a session at rest, nor for a client that left by itself.
#[tokio::test]
async fn nothing_is_cancelled_without_need() {
    let mut scene = Scene::begin().await;
    scene.still_serves().await;
    scene.withdraw();
    assert_eq!(kinds(&scene.client.rest().await), "E");
    assert_eq!(kinds(&scene.server.rest().await), "X");
    assert!(timeout(QUIET, scene.cancels.accept()).await.is_err());

    let mut scene = Scene::begin().await;
    scene.client.send(&simple("DELETE FROM notes")).await;
    scene.server.expect("Q").await;
    drop(scene.client);
    assert_eq!(kinds(&scene.server.rest().await), "X");
    assert!(timeout(QUIET, scene.cancels.accept()).await.is_err());
}
