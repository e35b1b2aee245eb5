//! The control socket: how a command on the same machine asks the running server for a change.
//!
//! A Unix socket in the data folder (0700), itself 0600; the kernel says who asks, and only the server's own account
//! and root are heard. One request and one answer a connection, each a line of JSON, bounded in length and time.
//! When no server runs, the command takes the data folder and does the same itself.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::admin::{Actor, Answer, Refusal, Reply, Request};
use crate::config::Config;
use crate::data::{DataFolder, Lock};
use crate::node::Node;

/// Longest request: a statement to be explained, each byte of which may take six in JSON.
const REQUEST_BYTES_MAX: u64 = 256 << 10;

/// Longest answer: the access matrix of a large house.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// From the connection to the end of the request, and for taking the answer.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a command waits for the server's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Requests worked on at once.
const REQUESTS_MAX: usize = 16;

/// A server that is starting or stopping holds the folder without answering; this often and this long it is tried.
const BUSY_RETRIES: u32 = 25;
const BUSY_PAUSE: Duration = Duration::from_millis(200);

/// Longest path of a Unix socket (`sun_path`), less its end.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The server's end.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Makes the socket in a folder this process holds; one left by a process that died is replaced.
    pub(crate) fn bind(folder: &DataFolder) -> anyhow::Result<ControlSocket> {
        let path = folder.control_socket();
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("removing {}", path.display())),
        }
        let reached = Reach::new(&path)?;
        let listener =
            UnixListener::bind(&reached.path).with_context(|| format!("making {}", path.display()))?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(ControlSocket { listener, path })
    }

    /// Answers requests until the future is dropped.
    pub(crate) async fn serve(&self, node: Arc<Node>) {
        let slots = Arc::new(Semaphore::new(REQUESTS_MAX));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let node = Arc::clone(&node);
                    tokio::spawn(async move {
                        if let Err(error) = answer(stream, &node).await {
                            tracing::warn!(
                                error = format!("{error:#}"),
                                "a control request was not answered"
                            );
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket does not accept");
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
            }
        }
    }

    /// Removes the socket.
    pub(crate) fn close(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the control socket stays behind");
        }
    }
}

/// Answers one connection.
async fn answer(mut stream: UnixStream, node: &Node) -> anyhow::Result<()> {
    let peer = stream.peer_cred().context("asking who it is")?.uid();
    let ours = rustix::process::geteuid().as_raw();
    let answer = if peer == ours || peer == 0 {
        match timeout(TRANSFER_TIMEOUT, request(&mut stream)).await {
            Ok(Ok(request)) => match node.perform(&Actor::of_uid(peer), request).await {
                Ok(reply) => Answer::Done(reply),
                Err(refusal) => Answer::Refused(refusal),
            },
            Ok(Err(refusal)) => Answer::Refused(refusal),
            Err(_) => bail!("uid {peer} did not finish its request in time"),
        }
    } else {
        tracing::warn!(uid = peer, "a control request of another account was refused");
        Answer::Refused(Refusal::new("only the server's own account and root may do this"))
    };
    let mut line = Zeroizing::new(serde_json::to_vec(&answer)?);
    line.push(b'\n');
    timeout(TRANSFER_TIMEOUT, stream.write_all(&line))
        .await
        .context("the answer was not taken in time")??;
    Ok(())
}

async fn request(stream: &mut UnixStream) -> Result<Request, Refusal> {
    let mut line = Zeroizing::new(Vec::new());
    let mut reader = tokio::io::BufReader::new(stream.take(REQUEST_BYTES_MAX));
    let read = reader.read_until(b'\n', &mut line).await;
    if read.is_err() || line.last() != Some(&b'\n') {
        return Err(Refusal::new(format!("a request is one line of at most {REQUEST_BYTES_MAX} bytes")));
    }
    // The parser's message may quote the request, and with it a password.
    serde_json::from_slice(&line).map_err(|_| {
        Refusal::new("the server does not understand the request")
            .help("use the `wardline` that the server runs")
    })
}

/// Asks the running server, or does it here when none runs.
pub(crate) fn ask(config: Config, request: Request) -> anyhow::Result<Result<Reply, Refusal>> {
    let folder = DataFolder::at(&config.data);
    folder.check()?;
    for _ in 0..BUSY_RETRIES {
        if let Some(answer) = ask_server(&folder, &request)? {
            return Ok(match answer {
                Answer::Done(reply) => Ok(reply),
                Answer::Refused(refusal) => Err(refusal),
            });
        }
        if let Some(lock) = folder.lock()? {
            return perform_here(config, lock, request);
        }
        std::thread::sleep(BUSY_PAUSE);
    }
    bail!(
        "another process holds {} and does not answer; if a server is starting or stopping, try again",
        folder.path().display()
    )
}

/// Returns the server's answer; `None` when no server listens.
fn ask_server(folder: &DataFolder, request: &Request) -> anyhow::Result<Option<Answer>> {
    let path = folder.control_socket();
    let reached = Reach::new(&path)?;
    let mut stream = match BlockingStream::connect(&reached.path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error).with_context(|| format!("connecting to {}", path.display())),
    };
    stream.set_write_timeout(Some(TRANSFER_TIMEOUT))?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut line = Zeroizing::new(serde_json::to_vec(request)?);
    line.push(b'\n');
    // A server that refuses at once closes before it has read; its answer says why.
    let asked = stream.write_all(&line);
    let mut answer = Zeroizing::new(Vec::new());
    let read = BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_until(b'\n', &mut answer);
    read.context("waiting for the server's answer")?;
    if answer.is_empty() {
        asked.context("asking the server")?;
        bail!("the server closed the connection without an answer; see its log");
    }
    let answer = serde_json::from_slice(&answer)
        .map_err(|_| anyhow!("the server's answer is not understood; use the `wardline` that it runs"))?;
    Ok(Some(answer))
}

/// Opens the node for one request.
fn perform_here(config: Config, lock: Lock, request: Request) -> anyhow::Result<Result<Reply, Refusal>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let node = Node::open(config, lock).await?;
        let result = node.perform(&Actor::ourselves(), request).await;
        node.close().await?;
        Ok(result)
    })
}

/// A path short enough for a socket: a long one is reached through its folder's descriptor.
struct Reach {
    path: PathBuf,
    _folder: Option<File>,
}

impl Reach {
    fn new(path: &Path) -> io::Result<Reach> {
        if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
            return Ok(Reach { path: path.to_owned(), _folder: None });
        }
        let parent = path.parent().unwrap_or(Path::new("."));
        let folder = File::open(parent)?;
        let name = path.file_name().unwrap_or_default();
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        Ok(Reach { path, _folder: Some(folder) })
    }
}
