//! A follower and its receiver: order, repeats, restarts, alarms, and positions that are not of this log.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use export::{Address, Begin, Follower, Format, Notice, Plan, Receiver as To, Shown};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use crate::support::{Mood, ORIGIN, Receiver, eventually, open, read, reader, write};

struct Following {
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
    notices: Arc<Mutex<Vec<Notice>>>,
}

impl Following {
    fn start(folder: &Path, receiver: &Receiver, begin: Begin) -> Following {
        let plan = Plan {
            name: "test".to_owned(),
            format: Format::Ocsf,
            patients: Shown::Tokens,
            begin,
            position: folder.join("export/test.position"),
            retry_pause_max: Duration::from_millis(50),
            alarm_after: Duration::from_millis(1),
            timeout: Duration::from_secs(20),
        };
        let address = Address {
            url: format!("https://localhost:{}/in", receiver.port),
            authorities: Some(receiver.ca.clone()),
            ..Address::default()
        };
        let to = To::new(Format::Ocsf, &address).unwrap();
        let (stop, stopped) = watch::channel(false);
        let notices = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&notices);
        let notice = Box::new(move |notice| kept.lock().push(notice));
        let follower = Follower::new(plan, reader(folder), to, stopped, notice);
        Following { stop, thread: std::thread::spawn(move || follower.run()), notices }
    }

    fn stop(self) -> Vec<Notice> {
        self.stop.send_replace(true);
        self.thread.join().unwrap();
        std::mem::take(&mut *self.notices.lock())
    }
}

/// Returns the operations of Datastore Activity that came, in order.
fn operations(receiver: &Receiver) -> Vec<u64> {
    let number = |line: &String| {
        let value: Value = serde_json::from_str(line).unwrap();
        let id = value["metadata"]["correlation_uid"].as_str()?.to_owned();
        id.rsplit('/').next()?.parse().ok()
    };
    receiver.lines().iter().filter_map(number).collect()
}

#[test]
fn nothing_is_lost_whatever_the_receiver_does() {
    let folder = tempfile::tempdir().unwrap();
    let trail = open(folder.path());
    let receiver = Receiver::start();
    let following = Following::start(folder.path(), &receiver, Begin::Beginning);
    for number in 1..=300 {
        write(&trail, &read(number));
    }
    eventually("the first ones", || operations(&receiver).len() >= 300);
    *receiver.mood.lock() = Mood::Fails;
    write(&trail, &read(301));
    eventually("somebody is told", || {
        following.notices.lock().iter().any(|notice| matches!(notice, Notice::Stuck(_)))
    });
    assert!(matches!(following.stop().as_slice(), [Notice::Began(0), Notice::Stuck(_)]));
    // After a restart it goes on where the receiver was, also when the answer was lost.
    *receiver.mood.lock() = Mood::TakesAndDies;
    let following = Following::start(folder.path(), &receiver, Begin::Beginning);
    eventually("it comes, and again", || {
        operations(&receiver).iter().filter(|number| **number == 301).count() > 1
    });
    *receiver.mood.lock() = Mood::Takes;
    write(&trail, &read(302));
    eventually("the last one", || operations(&receiver).last() == Some(&302));
    let notices = following.stop();
    assert!(matches!(notices.as_slice(), [Notice::Began(from), ..] if *from > 300), "{notices:?}");
    let mut came = operations(&receiver);
    assert!(came.is_sorted(), "{came:?}");
    came.dedup();
    assert_eq!(came, (1..=302).collect::<Vec<u64>>());
    // Nothing comes twice that was answered.
    assert_eq!(operations(&receiver).iter().filter(|number| **number == 302).count(), 1);
}

#[test]
fn a_receiver_may_begin_now() {
    let folder = tempfile::tempdir().unwrap();
    let trail = open(folder.path());
    for number in 1..=5 {
        write(&trail, &read(number));
    }
    let before = || reader(folder.path()).durable_at_least().unwrap() > 5;
    eventually("a checkpoint", before);
    let receiver = Receiver::start();
    let following = Following::start(folder.path(), &receiver, Begin::Now);
    eventually("it began", || !following.notices.lock().is_empty());
    drop(following.stop());
    // What happens before the first delivery is not skipped by a restart.
    write(&trail, &read(6));
    let following = Following::start(folder.path(), &receiver, Begin::Now);
    write(&trail, &read(7));
    eventually("both", || operations(&receiver) == [6, 7]);
    drop(following.stop());
}

#[test]
fn a_position_of_another_log_is_not_used() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let receiver = Receiver::start();
    for (folder, number) in [(&folder, 1), (&other, 2)] {
        let trail = open(folder.path());
        write(&trail, &read(number));
        trail.close().unwrap();
    }
    let position = "export/test.position";
    let following = Following::start(folder.path(), &receiver, Begin::Beginning);
    eventually("the position", || folder.path().join(position).exists());
    drop(following.stop());
    assert_eq!(operations(&receiver), [1]);
    std::fs::create_dir(other.path().join("export")).unwrap();
    std::fs::copy(folder.path().join(position), other.path().join(position)).unwrap();
    let following = Following::start(other.path(), &receiver, Begin::Beginning);
    eventually("it ends", || {
        following.notices.lock().iter().any(|notice| matches!(notice, Notice::Ended(_)))
    });
    let notices = following.stop();
    assert!(
        matches!(notices.as_slice(), [Notice::Ended(why)] if why.contains("another trail")),
        "{notices:?}"
    );
    assert_eq!(operations(&receiver), [1]);
    assert_eq!(reader(other.path()).origin(), ORIGIN);
}
