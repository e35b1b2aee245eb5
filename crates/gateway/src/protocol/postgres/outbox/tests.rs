//! Against a model, with entries that become durable in any order: no byte leaves before its entry, none is lost,
//! none overtakes another.

use std::task::Waker;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::*;
use crate::held::{HeldTrail, until};

/// Each gate of a case waits for a trail of its own, so that they can open in any order.
const GATES: usize = 5;

#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    Hold,
    Gate,
    /// The entry of one of the gates becomes durable, whichever is first in line.
    Durable(usize),
    /// The client takes at most so many bytes.
    Write(usize),
    Cut,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1..40_000usize).prop_map(Step::Push),
        6 => (1..50usize).prop_map(Step::Push),
        3 => Just(Step::Hold),
        4 => Just(Step::Gate),
        4 => any::<usize>().prop_map(Step::Durable),
        6 => (0..60_000usize).prop_map(Step::Write),
        1 => Just(Step::Cut),
    ];
    vec(step, 1..40)
}

/// What the outbox promises, in the plainest form.
#[derive(Default)]
struct Model {
    pushed: Vec<u8>,
    written: usize,
    /// Where each gate stands, and whether its entry is durable.
    gates: Vec<(usize, bool)>,
    held_from: Option<usize>,
    next: u8,
}

impl Model {
    fn barrier(&self) -> usize {
        let closed = self.gates.iter().filter(|(_, durable)| !durable).map(|(from, _)| *from);
        closed.chain(self.held_from).min().unwrap_or(self.pushed.len())
    }

    fn fresh(&mut self, count: usize) -> Vec<u8> {
        // 251 is prime, so that a swap of any two blocks shows.
        let bytes = (0..count).map(|at| u8::try_from((usize::from(self.next) + at) % 251).unwrap()).collect();
        self.next = u8::try_from((usize::from(self.next) + count) % 251).unwrap();
        bytes
    }
}

fn releasable(outbox: &mut Outbox) -> Vec<u8> {
    outbox.releasable(&mut Context::from_waker(Waker::noop())).unwrap().to_vec()
}

/// What may leave is exactly what the model says. An entry that was just made durable is noticed a moment later, so
/// less is waited for; more is never right.
fn compare(outbox: &mut Outbox, model: &Model) {
    let may = model.pushed.get(model.written..model.barrier()).unwrap_or_default();
    until("bytes whose entries are durable leave", || {
        let now = releasable(outbox);
        assert!(may.starts_with(&now), "a byte without a durable entry, or out of order");
        now.len() == may.len()
    });
    assert_eq!(outbox.len(), model.pushed.len() - model.written);
    assert_eq!(outbox.is_empty(), model.pushed.len() == model.written);
}

fn run(trails: &[HeldTrail], steps: &[Step]) {
    trails.iter().for_each(HeldTrail::hold);
    let (mut outbox, mut model) = (Outbox::default(), Model::default());
    for step in steps {
        match step {
            Step::Push(count) => {
                let bytes = model.fresh(*count);
                outbox.push(&bytes);
                model.pushed.extend_from_slice(&bytes);
            }
            Step::Hold => {
                outbox.hold();
                model.held_from.get_or_insert(model.pushed.len());
            }
            Step::Gate => {
                if let Some(trail) = trails.get(model.gates.len()) {
                    outbox.gate(trail.entry());
                    model.gates.push((model.held_from.take().unwrap_or(model.pushed.len()), false));
                }
            }
            Step::Durable(any) => {
                let closed: Vec<usize> = (0..model.gates.len()).filter(|at| !model.gates[*at].1).collect();
                if let Some(at) = closed.get(any % closed.len().max(1)) {
                    trails[*at].settle();
                    model.gates[*at].1 = true;
                }
            }
            Step::Write(most) => {
                let count = releasable(&mut outbox).len().min(*most);
                if count > 0 {
                    outbox.wrote(count);
                    model.written += count;
                }
            }
            Step::Cut => {
                compare(&mut outbox, &model);
                outbox.cut();
                model.pushed.truncate(model.barrier().max(model.written));
                model.held_from = None;
                model.gates.iter_mut().for_each(|(_, durable)| *durable = true);
            }
        }
        assert!(model.written <= model.barrier());
        compare(&mut outbox, &model);
    }
}

#[test]
fn no_byte_leaves_before_its_entry_is_durable() {
    let trails: Vec<HeldTrail> = (0..GATES).map(|_| HeldTrail::open()).collect();
    let config = Config { cases: 128, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&steps(), |steps| {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&trails, &steps)));
            trails.iter().for_each(HeldTrail::settle);
            outcome.map_err(|_| TestCaseError::fail("see the panic above"))
        })
        .unwrap();
}

/// The bytes of one gate, then of the next, whose entry is durable first.
#[test]
fn a_later_entry_opens_no_earlier_gate() {
    let trails = [HeldTrail::open(), HeldTrail::open()];
    trails.iter().for_each(HeldTrail::hold);
    let mut outbox = Outbox::default();
    outbox.push(b"free ");
    outbox.hold();
    outbox.push(b"first ");
    outbox.gate(trails[0].entry());
    outbox.hold();
    outbox.push(b"second");
    outbox.gate(trails[1].entry());
    trails[1].settle();
    assert_eq!(releasable(&mut outbox), b"free ");
    outbox.wrote(5);
    assert_eq!(releasable(&mut outbox), b"");
    trails[0].settle();
    until("both gates open", || releasable(&mut outbox) == b"first second");
}

#[test]
fn nothing_leaves_once_an_entry_is_lost() {
    let held = HeldTrail::open();
    held.hold();
    let mut outbox = Outbox::default();
    outbox.push(b"before");
    outbox.gate(held.entry());
    outbox.push(b"after");
    assert_eq!(releasable(&mut outbox), b"before");
    outbox.wrote(6);
    held.fail();
    until("the loss is known", || {
        match outbox.releasable(&mut Context::from_waker(Waker::noop())) {
            Ok(bytes) => assert_eq!(bytes, b"", "released although its entry is lost"),
            Err(_) => return true,
        }
        false
    });
    outbox.cut();
    outbox.push(b"FATAL");
    assert_eq!(releasable(&mut outbox), b"FATAL");
}

/// Memory: what was written is given back, also while later bytes wait.
#[test]
fn what_was_written_takes_no_memory() {
    let mut outbox = Outbox::default();
    for _ in 0..1_000 {
        outbox.push(&[7; 8 << 10]);
        let count = releasable(&mut outbox).len() - 1;
        outbox.wrote(count);
        assert!(outbox.bytes.capacity() < 1 << 20, "{}", outbox.bytes.capacity());
    }
    outbox.wrote(1);
    assert!(outbox.bytes.capacity() <= KEEP_BYTES);
}
