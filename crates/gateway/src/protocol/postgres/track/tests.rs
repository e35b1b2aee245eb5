//! Pipelines, errors up to `Sync`, and that a name never stands for what the resource does not have under it.

use model::SqlState;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};

use super::super::codec::Severity;
use super::super::sql::Effect;
use super::*;

fn known(objects: &str) -> Arc<Known> {
    Arc::new(Known {
        lineage: None,
        needs: Box::new([]),
        effect: Effect::Read,
        command: "EXECUTE",
        objects: Box::new([objects.into()]),
        changes_catalogue: false,
    })
}

fn statement(text: &str) -> Statement {
    Statement::named(known(text))
}

fn refused() -> Expect {
    let code = SqlState(*b"42501");
    Expect::Refused { error: WireError::new(Severity::Error, &code.0, "no"), pending: None }
}

impl Track {
    fn ask_parse(&mut self, name: &[u8], text: &str) {
        let previous = self.statements.insert(name.into(), statement(text));
        self.expected.push_back(Expect::Parse { name: name.into(), previous });
    }

    fn ask_bind(&mut self, name: &[u8], text: &str, operation: u64) {
        let (formats, concerns) = (Arc::default(), Arc::default());
        let made = Portal {
            statement: statement(text),
            operation,
            live: false,
            formats,
            concerns,
            runs: Box::default(),
            replaced: false,
        };
        let previous = self.portals.insert(name.into(), made);
        self.expected.push_back(Expect::Bind { name: name.into(), previous, operation });
    }

    fn ask_close(&mut self, target: &[u8], portal: bool) {
        let undo = if portal {
            Closed::Portal(target.into(), self.portals.remove(target))
        } else {
            Closed::Statement(target.into(), self.statements.remove(target))
        };
        self.expected.push_back(Expect::Close { undo });
    }

    /// What each name stands for.
    fn names(&self) -> Vec<(Box<[u8]>, String)> {
        let statements =
            self.statements.iter().map(|(name, s)| (name.clone(), format!("S {:?}", s.known.objects)));
        let portals = self
            .portals
            .iter()
            .map(|(name, p)| (name.clone(), format!("P {:?} {}", p.statement.known.objects, p.operation)));
        let mut names: Vec<_> = statements.chain(portals).collect();
        names.sort();
        names
    }
}

#[test]
fn an_error_undoes_everything_up_to_sync_and_nothing_after() {
    let mut track = Track::default();
    track.ask_parse(b"old", "one");
    track.ask_bind(b"p", "one", 1);
    track.expected.clear();
    let before = track.names();

    track.ask_parse(b"new", "two");
    track.ask_close(b"old", false);
    track.ask_bind(b"p", "two", 2);
    track.expected.push_back(Expect::Describe);
    track.expected.push_back(Expect::Execute { operation: 2 });
    track.expected.push_back(Expect::Query { operation: 3 });
    track.expected.push_back(refused());
    track.expected.push_back(Expect::Sync);
    track.expected.push_back(Expect::Query { operation: 4 });

    assert_eq!(track.skip_to_sync(), [2, 3], "each operation once, oldest first");
    assert_eq!(track.names(), before);
    assert!(matches!(track.expected.make_contiguous(), [Expect::Sync, Expect::Query { operation: 4 }]));
}

#[test]
fn a_name_taken_twice_in_one_pipeline_falls_back_to_its_first_meaning() {
    let mut track = Track::default();
    track.ask_parse(b"", "one");
    track.expected.clear();
    track.ask_parse(b"", "two");
    track.ask_parse(b"", "three");
    track.skip_to_sync();
    assert_eq!(*track.prepared("").unwrap().objects, ["one".into()]);

    track.ask_close(b"", false);
    track.ask_parse(b"", "four");
    track.expected.pop_front();
    assert_eq!(track.skip_to_sync(), Vec::<u64>::new());
    assert!(track.prepared("").is_none(), "the close was answered: it stays");
}

#[test]
fn a_portal_executed_again_and_again_is_one_operation() {
    let mut track = Track::default();
    track.ask_bind(b"p", "one", 7);
    track.expected.pop_front();
    for _ in 0..3 {
        track.expected.push_back(Expect::Execute { operation: 7 });
    }
    assert_eq!(track.skip_to_sync(), [7]);
    assert!(track.portals.contains_key(&b"p"[..]), "bound before, so it is there still");
}

#[test]
fn without_sync_everything_is_skipped() {
    let mut track = Track::default();
    track.ask_bind(b"a", "one", 1);
    track.ask_bind(b"b", "two", 2);
    track.expected.push_back(Expect::Call { operation: 3 });
    assert_eq!(track.skip_to_sync(), [1, 2, 3]);
    assert!(track.expected.is_empty() && track.portals.is_empty());
}

#[test]
fn cursors_and_portals_share_their_names() {
    let mut track = Track::default();
    track.ask_bind(b"c", "portal", 1);
    assert_eq!(*track.cursor("c").unwrap().objects, ["portal".into()]);
    track.cursors.insert("c".into(), known("declared"));
    assert!(track.cursor("c").is_none(), "which of them the resource has is not known");
    track.supersede_cursor(b"c");
    assert_eq!(*track.cursor("c").unwrap().objects, ["portal".into()], "one that is bound goes before");
    track.cursors.insert("c".into(), known("declared"));
    track.forget_cursor(Some("c"));
    assert!(track.cursor("c").is_none(), "a text may have put another in its place");
    track.cursors.insert("c".into(), known("declared"));
    assert_eq!(*track.cursor("c").unwrap().objects, ["declared".into()]);
    assert!(track.cursor("d").is_none());
}

#[test]
fn syncs_sent_ahead_of_copied_data_are_not_answered() {
    let mut track = Track::default();
    track.expected.push_back(Expect::Execute { operation: 1 });
    track.expected.push_back(Expect::Sync);
    track.expected.push_back(Expect::Sync);
    track.forget_syncs_during_copy();
    assert!(matches!(track.expected.make_contiguous(), [Expect::Execute { operation: 1 }]));
}

#[derive(Clone, Debug)]
enum Ask {
    Parse(u8, u8),
    Bind(u8, u8),
    Close(u8, bool),
    Execute(u8),
    Sync,
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let ask = prop_oneof![
        (0..3u8, any::<u8>()).prop_map(|(name, text)| Ask::Parse(name, text)),
        (0..3u8, any::<u8>()).prop_map(|(name, text)| Ask::Bind(name, text)),
        (0..3u8, any::<bool>()).prop_map(|(name, portal)| Ask::Close(name, portal)),
        (0..9u8).prop_map(Ask::Execute),
        proptest::prelude::Just(Ask::Sync),
    ];
    vec(ask, 0..30)
}

fn ask(track: &mut Track, asked: &Ask, number: u64) {
    match asked {
        Ask::Parse(name, text) => track.ask_parse(&[*name], &text.to_string()),
        Ask::Bind(name, text) => track.ask_bind(&[*name], &text.to_string(), number),
        Ask::Close(name, portal) => track.ask_close(&[*name], *portal),
        Ask::Execute(operation) => {
            track.expected.push_back(Expect::Execute { operation: u64::from(*operation) });
        }
        Ask::Sync => track.expected.push_back(Expect::Sync),
    }
}

proptest! {
    /// A resource that answers some questions and fails one: the names are those of the questions that it answered.
    #[test]
    fn names_are_those_of_what_was_answered(asked in asks(), good in 0..30usize) {
        let (mut track, mut mirror) = (Track::default(), Track::default());
        for (number, asked) in asked.iter().enumerate() {
            ask(&mut track, asked, 100 + number as u64);
        }
        let good = good.min(asked.len());
        for (number, asked) in asked.iter().take(good).enumerate() {
            track.expected.pop_front();
            ask(&mut mirror, asked, 100 + number as u64);
        }
        track.skip_to_sync();
        let sync = asked.iter().skip(good).position(|ask| matches!(ask, Ask::Sync));
        let after = sync.map_or(asked.len(), |at| good + at);
        for (number, asked) in asked.iter().enumerate().skip(after) {
            ask(&mut mirror, asked, 100 + number as u64);
        }
        prop_assert_eq!(track.names(), mirror.names());
        prop_assert_eq!(track.expected.len(), asked.len() - after);
    }
}
