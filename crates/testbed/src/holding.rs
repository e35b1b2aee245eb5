//! A way to a database that can stand still: a proxy which holds the connections that rotate a password, or keeps the
//! database's answer from them, so that a test can end Wardline between two steps.
//!
//! It reads the start-up message and looks for `ALTER ROLE`, so the connection must be in clear.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;

/// How often a connection that stands still looks whether it still has to.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// What happens to connections that rotate; all others pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Hold {
    /// They pass, too.
    Nothing = 0,
    /// None of them reaches the database.
    Every = 1,
    /// The first passes, those after it do not.
    AfterFirst = 2,
    /// The database is told of the new password, and its answer does not come back.
    Answer = 3,
}

/// The proxy. It ends with the process.
#[derive(Debug)]
pub struct Holding {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    hold: AtomicU32,
    rotating: AtomicU32,
    held: AtomicU32,
}

impl State {
    fn holds(&self, hold: Hold) -> bool {
        self.hold.load(Ordering::SeqCst) == hold as u32
    }
}

impl Holding {
    /// Begins before a database on 127.0.0.1.
    ///
    /// # Errors
    /// There is no port to listen on.
    pub fn before(port: u16) -> Result<Holding> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let holding = Holding { port: listener.local_addr()?.port(), state: Arc::default() };
        let state = Arc::clone(&holding.state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                thread::spawn(move || pass(client, port, &state));
            }
        });
        Ok(holding)
    }

    /// Returns the port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Chooses what is held from now on, and forgets what was.
    pub fn hold(&self, hold: Hold) {
        self.state.rotating.store(0, Ordering::SeqCst);
        self.state.held.store(0, Ordering::SeqCst);
        self.state.hold.store(hold as u32, Ordering::SeqCst);
    }

    /// Returns how many connections stand still.
    pub fn held(&self) -> u32 {
        self.state.held.load(Ordering::SeqCst)
    }
}

fn pass(mut client: TcpStream, port: u16, state: &Arc<State>) {
    let mut piece = [0; 16 << 10];
    let Ok(first) = client.read(&mut piece) else { return };
    let start = piece.get(..first).unwrap_or_default();
    let rotates = contains(start, b"wardline rotation");
    let number = if rotates { state.rotating.fetch_add(1, Ordering::SeqCst) } else { 0 };
    let held = rotates && (state.holds(Hold::Every) || (state.holds(Hold::AfterFirst) && number > 0));
    if held {
        state.held.fetch_add(1, Ordering::SeqCst);
        // Until whoever waits goes away, or something else is held.
        let _timed = client.set_read_timeout(Some(LOOK_PAUSE));
        let mode = state.hold.load(Ordering::SeqCst);
        while state.hold.load(Ordering::SeqCst) == mode {
            match client.read(&mut piece) {
                Ok(0) => return,
                Err(error) if !is_pause(&error) => return,
                Ok(_) | Err(_) => {}
            }
        }
        return;
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)) else { return };
    if server.write_all(start).is_err() {
        return;
    }
    let (Ok(mut back), Ok(mut answers)) = (client.try_clone(), server.try_clone()) else { return };
    let silent = Arc::new(AtomicU32::new(0));
    let mute = Arc::clone(&silent);
    thread::spawn(move || {
        let mut piece = [0; 16 << 10];
        while let Ok(read @ 1..) = answers.read(&mut piece) {
            if mute.load(Ordering::SeqCst) == 0
                && back.write_all(piece.get(..read).unwrap_or_default()).is_err()
            {
                break;
            }
        }
        if mute.load(Ordering::SeqCst) == 0 {
            let _ = back.shutdown(Shutdown::Both);
        }
    });
    while let Ok(read @ 1..) = client.read(&mut piece) {
        let bytes = piece.get(..read).unwrap_or_default();
        if rotates && state.holds(Hold::Answer) && contains(bytes, b"ALTER ROLE") {
            silent.store(1, Ordering::SeqCst);
            state.held.fetch_add(1, Ordering::SeqCst);
        }
        if server.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
