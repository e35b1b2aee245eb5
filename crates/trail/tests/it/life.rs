//! Open, record, close, open again.

use trail::{Error, State, Trail};

use crate::support::{ORIGIN, options, root, select};

#[test]
fn records_become_durable_in_order_and_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let trail = Trail::open(folder.path(), &root(), options()).unwrap();
    let pending: Vec<_> = (0..1000).map(|n| trail.record(&select(n)).unwrap()).collect();
    let indexes: Vec<u64> = pending.into_iter().map(|p| p.wait().unwrap().index()).collect();
    assert!(indexes.is_sorted_by(|a, b| a < b));
    assert_eq!(trail.state(), State::Open);
    trail.close().unwrap();
    assert_eq!(trail.state(), State::Closed);
    assert!(matches!(trail.record(&select(0)), Err(Error::Closed)));
    let durable = trail.durable();

    let trail = Trail::open(folder.path(), &root(), options()).unwrap();
    let index = trail.record(&select(1)).unwrap().wait().unwrap().index();
    assert!(index > durable, "{index} behind {durable}");
    trail.close().unwrap();
    let checkpoint = std::fs::read_to_string(folder.path().join("tree/checkpoint")).unwrap();
    let lines: Vec<&str> = checkpoint.lines().collect();
    assert_eq!(lines[0], ORIGIN);
    assert_eq!(lines[1], (index + 2).to_string(), "the checkpoint covers the node's stop");
}
