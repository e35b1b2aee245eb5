//! Entries into files and back, merged, searched, checked and damaged.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use lake::{Engine, Error, Folder, Limits, SealedStore, Wanted};
use model::{
    Action, Kind, Micros, OperationId, Outcome, Patients, PersonId, Phase, Record, RootKey, SessionId,
    SqlState, Verdict,
};
use object_store::local::LocalFileSystem;
use trail::{ArchiveIndex, Found, Manifest, Options, Question, Reader, Sought, Trail};

const KEY: [u8; 32] = [7; 32];
const ENTRIES: u64 = 900;

struct House {
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    reader: Arc<Reader>,
    archive: Folder,
}

/// A record like those of the gateway, all different.
fn record<'r>(number: u64, trail: &Trail) -> Record<'r> {
    let mut record = Record::new(Kind::Operation, Micros(1_795_428_000_000_000 + number * 1_000));
    let session = u128::from(number / 10) << 64 | 5;
    record.session = Some(SessionId(session));
    record.operation = Some(OperationId(number % 10));
    record.phase = Some(if number.is_multiple_of(3) { Phase::Refused } else { Phase::Complete });
    record.person = Some(PersonId(u128::from(number % 7)));
    record.person_name = Some(format!("person{}", number % 7).into());
    record.address = Some(IpAddr::from([192, 0, 2, (number % 200) as u8]));
    record.port = Some(50_000);
    record.resource = Some("hospital".into());
    record.action = Some(Action::Read);
    record.command = Some("SELECT".into());
    record.statement = Some(format!("SELECT name FROM patients WHERE ward = ${}", number % 5).into());
    record.objects = vec!["public.patients".into(), format!("public.t{}", number % 4).into()];
    record.verdict = Some(if number.is_multiple_of(3) { Verdict::Deny } else { Verdict::Allow });
    record.rows = Some(number % 50);
    record.outcome = Some(Outcome::Completed);
    match number % 9 {
        0 => record.outcome = Some(Outcome::Failed(SqlState(*b"22012"))),
        // Nothing that a column can say.
        1 => record.outcome = Some(Outcome::Failed(SqlState([0, b'-', 0xff, 0, 0]))),
        2 => record.address = Some(IpAddr::V6(Ipv6Addr::LOCALHOST.to_ipv4().unwrap().to_ipv6_mapped())),
        3 => record.unmasked = vec!["public.patients.ssn".into()],
        4 => record.unresolved = Some(2),
        5 => record.detail = Some("a \"quote\",\nand a line".into()),
        6 => record.emergency = Some(number % 2),
        7 => record.purpose = Some("research".into()),
        _ => record.sign_in = Some("passkey".into()),
    }
    if number.is_multiple_of(11) {
        record.agent = Some(format!("{:032x}:scribe{}:3", number % 3, number % 2).into());
    }
    let named: Vec<Box<[u8]>> = match number % 4 {
        0 => Vec::new(),
        1 => vec![format!("{}", number % 40).into_bytes().into()],
        2 => (0..number % 30).map(|patient| format!("{patient}").into_bytes().into()).collect(),
        _ => vec![b"4711".as_slice().into(), b"4712".as_slice().into()],
    };
    record.patients = trail.sealer().patients(session, number % 10, "hospital", &named);
    record.sealed = Some(Cow::Owned(trail.sealer().seal(session, number % 10, b"literal")));
    record
}

impl House {
    fn new() -> House {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("trail");
        let mut options = Options::new("gw1.example");
        options.segment_bytes = 64 << 10;
        options.reserve_bytes = 64 << 10;
        options.clock = Arc::new(|| Micros(1_795_428_000_000_000));
        let trail = Trail::open(&place, &RootKey::new(KEY), options).unwrap();
        let mut last = None;
        for number in 0..ENTRIES {
            last = Some(trail.record(&record(number, &trail)).unwrap());
        }
        let _receipt = last.unwrap().wait().unwrap();
        trail.close().unwrap();
        let reader = Arc::new(Reader::open(&place, &RootKey::new(KEY)).unwrap());
        let archive = lake::folder(&folder.path().join("archive")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        House { folder, runtime, reader, archive }
    }

    fn size(&self) -> u64 {
        self.reader.durable_at_least().unwrap()
    }

    fn store(&self) -> Arc<SealedStore> {
        let below = LocalFileSystem::new_with_prefix(&self.archive.0).unwrap();
        Arc::new(SealedStore::new(Arc::new(below), Arc::clone(&self.reader)))
    }

    fn engine(&self) -> Engine {
        Engine::new(self.store(), Limits::default())
    }

    fn archived(&self, entries_max: u64) -> Vec<Manifest> {
        let wanted = Wanted { range: 0..self.size(), entries_min: 1, entries_max };
        let mut manifests = Vec::new();
        lake::archive(&self.reader, &self.archive, &wanted, |manifest| {
            manifests.push(manifest.clone());
            Ok::<(), Error>(())
        })
        .unwrap();
        manifests
    }

    fn compacted(&self, group: &[Manifest]) -> Manifest {
        self.runtime.block_on(lake::compact(&self.reader, &self.store(), &self.archive, group)).unwrap()
    }

    fn searched(&self, archive: &[Manifest], question: &Question, latest: Option<usize>) -> Vec<Found> {
        let mut all = Vec::new();
        let found = |found: &Found| {
            all.push(found.clone());
            Ok(())
        };
        self.runtime.block_on(self.engine().search(archive, question, latest, found)).unwrap();
        all
    }

    fn checked(&self, manifest: &Manifest) -> Vec<String> {
        let mut findings = lake::check_digests(&self.archive, manifest).unwrap();
        if findings.is_empty() {
            let salts = self.reader.salts().unwrap();
            let store = self.store();
            let work = lake::check_rows(&self.reader, &salts, &store, manifest);
            findings.extend(self.runtime.block_on(work).unwrap().1);
        }
        findings.into_iter().map(|finding| format!("{}: {:?}", finding.problem, finding.index)).collect()
    }

    fn path(&self, manifest: &Manifest, part: &str) -> PathBuf {
        self.archive.0.join(manifest.file_name(part))
    }

    fn sought(&self, patient: &str) -> Sought {
        Sought { year: 2026, token: self.reader.patient_token(2026, "hospital", patient.as_bytes()).unwrap() }
    }
}

fn indexes(found: &[Found]) -> Vec<u64> {
    found.iter().map(|found| found.index).collect()
}

#[test]
fn every_entry_comes_back_as_it_was() {
    let house = House::new();
    let archive = house.archived(200);
    assert_eq!(archive.len() as u64, house.size().div_ceil(200));
    let found = house.searched(&archive, &Question::default(), None);
    let entries = house.reader.entries(0).unwrap().map(|entry| Found::whole(entry.unwrap()));
    assert!(entries.eq(found));
    for manifest in &archive {
        assert_eq!(house.checked(manifest), Vec::<String>::new());
    }
}

#[test]
fn files_that_are_merged_answer_as_before() {
    let house = House::new();
    let archive = house.archived(200);
    let groups = lake::compactions(&archive, true);
    assert_eq!(groups, std::slice::from_ref(&archive));
    assert!(lake::compactions(&archive, false).is_empty(), "the month is not over, and the files are few");
    let merged = house.compacted(&archive);
    assert_eq!((merged.first, merged.end), (0, house.size()));
    assert_eq!(merged.rows, archive.iter().map(|manifest| manifest.rows).sum::<u64>());
    let mut index = ArchiveIndex::default();
    archive.iter().chain([&merged]).for_each(|manifest| index.take(0, manifest.clone()));
    assert_eq!(index.manifests, [(0, merged.clone())]);
    let before = house.searched(&archive, &Question::default(), None);
    assert_eq!(house.searched(std::slice::from_ref(&merged), &Question::default(), None), before);
    assert_eq!(house.checked(&merged), Vec::<String>::new());
    assert_eq!(house.archive.tidy(std::slice::from_ref(&merged)).unwrap(), 4 * archive.len() as u64);
    assert_eq!(house.checked(&merged), Vec::<String>::new());
}

/// The engine finds what the meaning of the question says, entry by entry.
#[test]
fn the_engine_answers_what_is_asked() {
    let house = House::new();
    let archive = house.archived(300);
    let of = |json: &str| serde_json::from_str::<Question>(json).unwrap();
    let patients = |sought: &[&str]| Question {
        patients: Some(sought.iter().map(|patient| house.sought(patient)).collect()),
        ..Question::default()
    };
    let questions = [
        of("{}"),
        of(r#"{"person":"person3"}"#),
        of(r#"{"person":"00000000000000000000000000000003"}"#),
        of(r#"{"kind":"operation","decision":"deny","rows_min":30}"#),
        of(r#"{"relation":"public.t2","action":"read","command":"SELECT"}"#),
        of(r#"{"from_us":1795428000100000,"to_us":1795428000200000}"#),
        of(r#"{"unmasked":true}"#),
        of(r#"{"unresolved":true,"resource":"hospital"}"#),
        of(r#"{"emergency":true}"#),
        of(r#"{"purpose":"research"}"#),
        of(r#"{"agent":"scribe1","decision":"allow"}"#),
        of(r#"{"agent":"00000000000000000000000000000002"}"#),
        of(r#"{"resource":"nowhere"}"#),
        Question { emergency: true, ..patients(&["4711", "5"]) },
        Question { agent: Some("scribe0".to_owned()), ..patients(&["4711"]) },
        patients(&["4711"]),
        patients(&["4711", "4712", "3"]),
        patients(&["nobody"]),
        patients(&[]),
        Question { decision: Some("allow".to_owned()), ..patients(&["5"]) },
    ];
    for question in questions {
        let expected: Vec<u64> = house
            .reader
            .entries(0)
            .unwrap()
            .map(Result::unwrap)
            .filter(|entry| question.answers(&entry.record))
            .map(|entry| entry.index)
            .collect();
        let found = house.searched(&archive, &question, None);
        assert_eq!(indexes(&found), expected, "{question:?}");
        let last = house.searched(&archive, &question, Some(5));
        let from = last.len().saturating_sub(5);
        assert_eq!(indexes(&last[from..]), expected[expected.len().saturating_sub(5)..], "{question:?}");
        for found in found {
            let tokens = found.record.patients.as_ref().map_or(0, |patients| patients.tokens().len());
            assert!(question.answers(&found.record), "{question:?}");
            assert!(!found.whole || tokens == found.patients as usize, "{question:?}");
        }
    }
}

#[test]
fn sql_reads_and_nothing_else() {
    let house = House::new();
    let archive = house.archived(300);
    let ask = |query: &str| {
        let mut cells = Vec::new();
        let rows = |batch: &arrow::array::RecordBatch| {
            for column in batch.columns() {
                let column =
                    arrow::util::display::ArrayFormatter::try_new(column, &Default::default()).unwrap();
                cells.extend((0..batch.num_rows()).map(|row| column.value(row).to_string()));
            }
            Ok(())
        };
        let engine = house.engine();
        house.runtime.block_on(engine.sql(&archive, Vec::new(), query, rows)).map(|()| cells)
    };
    assert_eq!(ask("SELECT count(*) FROM events WHERE part = 0").unwrap(), [house.size().to_string()]);
    let operations = ask("SELECT sum(operations) FROM person_days").unwrap();
    assert_eq!(operations, [ENTRIES.to_string()]);
    let named = ask("SELECT sum(operations) FROM patient_days").unwrap();
    assert_eq!(named, ask("SELECT count(*) FROM events WHERE token IS NOT NULL").unwrap());
    let has = ask("SELECT count(*) FROM events WHERE part = 0 AND has(objects, 'public.t1')").unwrap();
    assert_eq!(has, [(ENTRIES / 4).to_string()]);
    for (column, count) in
        [("emergency", ENTRIES / 9), ("purpose", ENTRIES / 9), ("agent", ENTRIES.div_ceil(11))]
    {
        let counted = ask(&format!("SELECT count({column}) FROM events WHERE part = 0")).unwrap();
        assert_eq!(counted, [count.to_string()], "{column}");
    }
    let whole = ask("SELECT count(*) FROM events WHERE whole IS NOT NULL AND purpose IS NOT NULL").unwrap();
    assert_eq!(whole, ["0"], "these fields have columns");
    let secret = house.folder.path().join("secret.csv");
    std::fs::write(&secret, "a\n1\n").unwrap();
    for refused in [
        "CREATE TABLE x AS SELECT 1".to_owned(),
        "DROP TABLE events".to_owned(),
        "INSERT INTO events SELECT * FROM events".to_owned(),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        format!("COPY (SELECT 1) TO '{}'", house.folder.path().join("out.csv").display()),
        format!("SELECT * FROM '{}'", secret.display()),
        format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{}'", secret.display()),
    ] {
        assert!(ask(&refused).is_err(), "{refused}");
    }
    assert!(!house.folder.path().join("out.csv").exists());
}

#[test]
fn damage_is_found_and_nothing_of_it_is_shown() {
    let house = House::new();
    let archive = house.archived(10_000);
    let [manifest] = archive.as_slice() else { panic!("one file") };
    let path = house.path(manifest, "events");
    let good = std::fs::read(&path).unwrap();
    let search = || {
        let engine = house.engine();
        house.runtime.block_on(engine.search(&archive, &Question::default(), None, |_| Ok(())))
    };
    search().unwrap();
    // In the header, the wrapped key, the first frame, the middle, the footer.
    for at in [0, 9, 20, 100, 200, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, bad).unwrap();
        assert!(search().is_err(), "byte {at}");
        assert_eq!(
            house.checked(manifest),
            ["it is not the file of its manifest in the log: Some(0)"],
            "byte {at}"
        );
    }
    // Whole frames cut off, and a file of another name.
    std::fs::write(&path, &good[..128 + 65_564]).unwrap();
    assert!(search().is_err());
    std::fs::copy(house.path(manifest, "people"), &path).unwrap();
    assert!(search().is_err());
    std::fs::remove_file(&path).unwrap();
    assert!(search().is_err());
    assert_eq!(house.checked(manifest), ["a manifest in the log names it, and it is not there: Some(0)"]);
}

/// A file that was written with the right keys but not from the log is found by its rows.
#[test]
fn rows_of_another_log_are_found() {
    let (house, other) = (House::new(), House::new());
    let manifest = house.archived(10_000).remove(0);
    let mut forged = manifest.clone();
    forged.end -= 1;
    assert_ne!(house.checked(&forged), Vec::<String>::new(), "the name is part of what is sealed");
    let theirs = other.archived(10_000).remove(0);
    std::fs::copy(other.path(&theirs, "events"), house.path(&manifest, "events")).unwrap();
    assert_ne!(house.checked(&manifest), Vec::<String>::new());
}

/// What lies in the folder shows nothing of what it holds.
#[test]
fn files_hold_nothing_in_clear() {
    let house = House::new();
    house.archived(10_000);
    for entry in std::fs::read_dir(&house.archive.0).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for word in [b"person3".as_slice(), b"hospital", b"SELECT", b"PAR1", b"4711"] {
            assert!(!bytes.windows(word.len()).any(|window| window == word), "{word:?}");
        }
        let token = house.sought("4711").token.0;
        assert!(!bytes.windows(token.len()).any(|window| window == token));
    }
    let named = Patients::new(2026, vec![house.sought("4711").token], b"".as_slice().into());
    assert!(named.is_some());
}

/// A run that ended anywhere leaves nothing that is believed.
#[test]
fn what_no_manifest_names_is_removed() {
    let house = House::new();
    let wanted = Wanted { range: 0..house.size(), entries_min: 1, entries_max: 300 };
    let mut recorded = Vec::new();
    let stopped = lake::archive(&house.reader, &house.archive, &wanted, |manifest| {
        // The process dies before the second manifest is in the log.
        if recorded.is_empty() {
            recorded.push(manifest.clone());
            return Ok(());
        }
        Err(Error::Question("killed".to_owned()))
    });
    assert!(stopped.is_err());
    std::fs::write(house.archive.0.join("000000000000000-000000000000009.events.new"), b"half").unwrap();
    std::fs::write(house.archive.0.join("notes.txt"), b"kept").unwrap();
    assert_eq!(house.archive.tidy(&recorded).unwrap(), 5);
    assert!(house.archive.0.join("notes.txt").exists());
    assert_eq!(house.checked(&recorded[0]), Vec::<String>::new());
}
