//! Signing in without a secret on this connection: the client shows a link and a code, and waits until its person has approved
//! in a browser.
//!
//! Clients show notices only after `AuthenticationOk` (`libpq` ends a connection that gets one before), so that is sent first;
//! nothing of the client's is read, and nothing reaches the resource, until the person approved. Deliberately absent: the pages,
//! and who may approve (`Control`).

use std::time::Duration;

use identity::Reason;
use model::Principal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, interval_at};

use crate::control::Approval;
use crate::error::Failure;
use crate::protocol::postgres::codec::{self, Severity, WireError};

/// A waiting client is told how long it has left this often; also so that a client that went is noticed.
const REMINDER_PAUSE: Duration = Duration::from_secs(20);

/// Waits for the person's word. The inner error is for the trail.
///
/// # Errors
/// When the client leaves, or sends anything while it waits.
pub(crate) async fn wait<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    approval: Approval,
) -> Result<Result<Principal, Reason>, Failure> {
    let Approval { notice, patience, mut answer } = approval;
    let deadline = Instant::now() + patience;
    let mut first = Vec::new();
    codec::message(&mut first, b'R', |out| out.extend_from_slice(&0i32.to_be_bytes()));
    say(&notice, &mut first);
    send(stream, &first).await?;
    let mut reminders = interval_at(Instant::now() + REMINDER_PAUSE, REMINDER_PAUSE);
    let mut byte = [0; 1];
    loop {
        tokio::select! {
            biased;
            said = &mut answer => return Ok(said.unwrap_or(Err(Reason::NotApproved))),
            () = tokio::time::sleep_until(deadline) => return Ok(Err(Reason::NotApproved)),
            _ = reminders.tick() => {
                let left = deadline.saturating_duration_since(Instant::now()).as_secs();
                let mut reminder = Vec::new();
                say(&format!("waiting for approval in the browser, {left} s left"), &mut reminder);
                send(stream, &reminder).await?;
            }
            read = stream.read(&mut byte) => {
                return Err(match read {
                    Ok(0) => Failure::ClientSilent,
                    Ok(_) => Failure::ClientMalformed("sent something before it was let in".into()),
                    Err(error) => Failure::Client(error),
                });
            }
        }
    }
}

fn say(text: &str, out: &mut Vec<u8>) {
    WireError::new(Severity::Notice, b"00000", text).encode(out);
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<(), Failure> {
    stream.write_all(bytes).await.map_err(Failure::Client)?;
    stream.flush().await.map_err(Failure::Client)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{PersonId, Shown};
    use tokio::io::duplex;
    use tokio::sync::oneshot;

    use super::*;

    fn approval(answer: oneshot::Receiver<Result<Principal, Reason>>) -> Approval {
        Approval { notice: "open the page".into(), patience: Duration::from_secs(60), answer }
    }

    fn ann() -> Principal {
        let shown = Shown::alone("test");
        Principal { id: PersonId(1), name: "ann".into(), roles: Arc::new([]), agent: None, shown }
    }

    #[tokio::test]
    async fn who_approves_lets_the_client_in_after_it_was_told_where() {
        let (mut client, mut server) = duplex(4096);
        let (say, answer) = oneshot::channel();
        let waiting = tokio::spawn(async move { wait(&mut server, approval(answer)).await });
        let mut head = [0; 9];
        client.read_exact(&mut head).await.unwrap();
        assert_eq!(head, [b'R', 0, 0, 0, 8, 0, 0, 0, 0]);
        assert_eq!(client.read_u8().await.unwrap(), b'N');
        say.send(Ok(ann())).unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), Ok(ann()));
    }

    #[tokio::test]
    async fn nobody_who_approves_is_a_refusal() {
        let (_client, mut server) = duplex(4096);
        let (_say, answer) = oneshot::channel();
        let waited = wait(&mut server, Approval { patience: Duration::ZERO, ..approval(answer) }).await;
        assert_eq!(waited.unwrap(), Err(Reason::NotApproved));
        let (_client, mut server) = duplex(4096);
        let (say, answer) = oneshot::channel();
        drop(say);
        assert_eq!(wait(&mut server, approval(answer)).await.unwrap(), Err(Reason::NotApproved));
    }

    #[tokio::test]
    async fn a_client_that_leaves_or_speaks_is_left() {
        let (client, mut server) = duplex(4096);
        let (_say, answer) = oneshot::channel();
        drop(client);
        assert!(wait(&mut server, approval(answer)).await.is_err());
        let (mut client, mut server) = duplex(4096);
        let (say, answer) = oneshot::channel();
        client.write_all(b"Q").await.unwrap();
        let waited = wait(&mut server, approval(answer)).await;
        assert!(matches!(waited, Err(Failure::ClientMalformed(_))));
        assert!(say.is_closed(), "and nobody is asked any more");
    }
}
