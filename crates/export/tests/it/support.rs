//! A trail with a few entries, and an HTTPS receiver that does what a test says.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use model::{Action, Kind, Micros, OperationId, Outcome, Phase, Record, RootKey, SessionId, Verdict};
use parking_lot::Mutex;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use trail::{Options, Reader, Trail};

pub(crate) const ORIGIN: &str = "node";

pub(crate) fn root() -> RootKey {
    RootKey::new([7; 32])
}

pub(crate) fn open(folder: &Path) -> Trail {
    Trail::open(&folder.join("trail"), &root(), Options::new(ORIGIN)).unwrap()
}

pub(crate) fn reader(folder: &Path) -> Reader {
    Reader::open(&folder.join("trail"), &root()).unwrap()
}

pub(crate) fn read(number: u64) -> Record<'static> {
    let mut record = Record::new(Kind::Operation, Micros(1_795_428_000_000_000 + number));
    record.session = Some(SessionId(9));
    record.operation = Some(OperationId(number));
    record.phase = Some(Phase::Complete);
    record.person_name = Some("ann".into());
    record.address = Some("192.0.2.7".parse().unwrap());
    record.resource = Some("hospital".into());
    record.action = Some(Action::Read);
    record.command = Some("SELECT".into());
    record.statement = Some("SELECT name FROM patients WHERE id = $1".into());
    record.objects = vec!["public.patients".into()];
    record.verdict = Some(Verdict::Allow);
    record.outcome = Some(Outcome::Completed);
    record
}

/// Makes a record durable.
pub(crate) fn write(trail: &Trail, record: &Record<'_>) {
    let _receipt = trail.record(record).unwrap().wait().unwrap();
}

#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How a receiver behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Takes,
    /// Takes the batch, and breaks off before the answer.
    TakesAndDies,
    /// Answers 500.
    Fails,
}

/// A receiver on this machine.
pub(crate) struct Receiver {
    pub(crate) port: u16,
    pub(crate) ca: Vec<u8>,
    pub(crate) bodies: Arc<Mutex<Vec<String>>>,
    pub(crate) mood: Arc<Mutex<Mood>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    pub(crate) fn start() -> Receiver {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (bodies, mood) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Mood::Takes)));
        let stop = Arc::new(AtomicBool::new(false));
        let (config, kept, its, ends) =
            (Arc::new(config), Arc::clone(&bodies), Arc::clone(&mood), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let (config, kept, its) = (Arc::clone(&config), Arc::clone(&kept), Arc::clone(&its));
                std::thread::spawn(move || drop(answer(stream, config, &kept, &its)));
            }
        });
        Receiver { port, ca: made.cert.pem().into_bytes(), bodies, mood, stop, thread: Some(thread) }
    }

    /// Returns the lines of all bodies, in the order of their coming.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.bodies
            .lock()
            .iter()
            .flat_map(|body| body.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn answer(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    bodies: &Mutex<Vec<String>>,
    mood: &Mutex<Mood>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let mut bytes = Vec::new();
    loop {
        let head = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            bytes.extend_from_slice(&buffer[..read]);
        };
        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length: usize = length.unwrap().parse().unwrap();
        while bytes.len() < head + length {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer)?;
            bytes.extend_from_slice(&buffer[..read]);
        }
        let body = String::from_utf8(bytes[head..head + length].to_vec()).unwrap();
        bytes.drain(..head + length);
        let mood = *mood.lock();
        let status = match mood {
            Mood::Takes | Mood::TakesAndDies => {
                bodies.lock().push(body);
                "200 OK"
            }
            Mood::Fails => "500 No",
        };
        if mood == Mood::TakesAndDies {
            return Ok(());
        }
        stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes())?;
        stream.flush()?;
    }
}
