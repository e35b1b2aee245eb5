//! The control socket: how a command on the same machine asks the running server for a change.
//!
//! A Unix socket in the data folder (0700), itself 0600, and where it is configured a second one for other accounts. The
//! kernel says which account asks, a token which person; what they may do is for `operators`. One request and one answer
//! a connection, each a line of JSON, bounded in length and time. When no server runs, the command takes the data folder
//! and does the same itself.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::admin::{Actor, Answer, Asked, Claim, Refusal, Reply, Request};
use crate::config::Config;
use crate::data::{DataFolder, Lock};
use crate::node::Node;
use crate::operators::Operators;

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

/// Who commands of this process act as, where it is a person. Said once, from the command line.
static CLAIM: OnceLock<Claim> = OnceLock::new();

/// Lets everything that this process asks be asked by a person.
pub(crate) fn speak_as(claim: Claim) {
    let _said_before = CLAIM.set(claim);
}

/// The server's end: one socket in the data folder, and one for operators where it is configured.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listeners: Vec<(Arc<UnixListener>, PathBuf)>,
}

impl ControlSocket {
    /// Makes the sockets; one left by a process that died is replaced.
    pub(crate) fn bind(folder: &DataFolder, operators: Option<&Operators>) -> anyhow::Result<ControlSocket> {
        let path = folder.control_socket();
        let mut listeners = vec![(listen(&path)?, path.clone())];
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        if let Some(Operators { socket: Some(path), group, .. }) = operators {
            listeners.push((listen(path)?, path.clone()));
            // Whoever connects is known by the kernel's word and may do what is written for them; the mode only keeps
            // others from trying.
            let mode = if let Some(group) = group {
                let gid = gid_of(group).with_context(|| format!("there is no group `{group}`"))?;
                chown(path, None, Some(gid))
                    .with_context(|| format!("giving {} to `{group}`", path.display()))?;
                0o660
            } else {
                0o600
            };
            fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        Ok(ControlSocket { listeners })
    }

    /// Answers requests until the future is dropped.
    pub(crate) async fn serve(&self, node: Arc<Node>) {
        let slots = Arc::new(Semaphore::new(REQUESTS_MAX));
        let mut accepting = JoinSet::new();
        for (listener, _) in &self.listeners {
            accepting.spawn(accept(Arc::clone(listener), Arc::clone(&node), Arc::clone(&slots)));
        }
        while accepting.join_next().await.is_some() {}
    }

    /// Removes the sockets.
    pub(crate) fn close(&self) {
        for (_, path) in &self.listeners {
            if let Err(error) = fs::remove_file(path) {
                tracing::warn!(%error, path = %path.display(), "the control socket stays behind");
            }
        }
    }
}

fn listen(path: &Path) -> anyhow::Result<Arc<UnixListener>> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => bail!("{} is there and is no socket", path.display()),
        Ok(_) => fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("looking for {}", path.display())),
    }
    let reached = Reach::new(path).with_context(|| format!("making {}", path.display()))?;
    let listener = UnixListener::bind(&reached.path).with_context(|| format!("making {}", path.display()))?;
    Ok(Arc::new(listener))
}

/// Returns the number of a group.
fn gid_of(name: &str) -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

async fn accept(listener: Arc<UnixListener>, node: Arc<Node>, slots: Arc<Semaphore>) {
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let node = Arc::clone(&node);
                tokio::spawn(async move {
                    if let Err(error) = answer(stream, &node).await {
                        tracing::warn!(error = format!("{error:#}"), "a control request was not answered");
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

/// Answers one connection.
async fn answer(mut stream: UnixStream, node: &Node) -> anyhow::Result<()> {
    let peer = stream.peer_cred().context("asking who it is")?.uid();
    let account = Actor::of_uid(peer);
    let answer = if account.is_owner() || node.config.load().operators.is_some() {
        match timeout(TRANSFER_TIMEOUT, request(&mut stream)).await {
            Ok(Ok(asked)) => match perform(node, account, asked).await {
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

async fn perform(node: &Node, account: Actor, asked: Asked) -> Result<Reply, Refusal> {
    let actor = node.identify(account, asked.claim).await?;
    node.perform(&actor, asked.request).await
}

async fn request(stream: &mut UnixStream) -> Result<Asked, Refusal> {
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
    let asked = Asked { claim: CLAIM.get().cloned(), request };
    if let Err(closed) = folder.check() {
        let Some(socket) = config.operators.as_ref().and_then(|operators| operators.socket.as_ref()) else {
            return Err(closed);
        };
        // The folder is another account's, as it should be.
        return match ask_server(socket, &asked)? {
            Some(answer) => Ok(result(answer)),
            None => Err(closed.context(format!("no server listens at {}", socket.display()))),
        };
    }
    for _ in 0..BUSY_RETRIES {
        if let Some(answer) = ask_server(&folder.control_socket(), &asked)? {
            return Ok(result(answer));
        }
        if let Some(lock) = folder.lock()? {
            return perform_here(config, lock, asked);
        }
        std::thread::sleep(BUSY_PAUSE);
    }
    bail!(
        "another process holds {} and does not answer; if a server is starting or stopping, try again",
        folder.path().display()
    )
}

fn result(answer: Answer) -> Result<Reply, Refusal> {
    match answer {
        Answer::Done(reply) => Ok(reply),
        Answer::Refused(refusal) => Err(refusal),
    }
}

/// Returns the server's answer; `None` when no server listens.
fn ask_server(path: &Path, asked: &Asked) -> anyhow::Result<Option<Answer>> {
    let reached = match Reach::new(path) {
        Ok(reached) => reached,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("connecting to {}", path.display())),
    };
    let mut stream = match BlockingStream::connect(&reached.path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error).with_context(|| format!("connecting to {}", path.display())),
    };
    stream.set_write_timeout(Some(TRANSFER_TIMEOUT))?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut line = Zeroizing::new(serde_json::to_vec(asked)?);
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

/// Asks the running server, if one runs and answers; a question that nobody is asked when none does.
pub(crate) fn ask_running(config: &Config, request: Request) -> Option<Result<Reply, Refusal>> {
    let folder = DataFolder::at(&config.data);
    let asked = Asked { claim: CLAIM.get().cloned(), request };
    ask_server(&folder.control_socket(), &asked).ok().flatten().map(result)
}

/// Opens the node for one request.
fn perform_here(config: Config, lock: Lock, asked: Asked) -> anyhow::Result<Result<Reply, Refusal>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let node = Node::open(config, lock).await?;
        let result = perform(&node, Actor::ourselves(), asked).await;
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
