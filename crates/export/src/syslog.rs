//! Syslog over TLS (RFC 5425), with octet counting.
//!
//! Syslog has no acknowledgement. Each batch has a connection of its own: after the last message our side is closed, and
//! the batch counts as taken when the receiver, having read up to that end, closes its side too. A receiver that dies
//! before leaves a reset, and the batch is sent again. What it has read and not yet written down is its own affair.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::error::NotTaken;
use crate::receiver::{Line, Peer, broken};

/// One receiver.
#[derive(Debug)]
pub struct Syslog {
    peer: Peer,
}

impl Syslog {
    pub(crate) fn new(peer: Peer) -> Syslog {
        Syslog { peer }
    }

    pub(crate) async fn take(&mut self, lines: &[Line]) -> Result<(), NotTaken> {
        let mut stream = self.peer.connect().await?;
        stream.write_all(&frames(lines)).await.map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        stream.shutdown().await.map_err(broken)?;
        let mut said = [0; 256];
        loop {
            match stream.read(&mut said).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                // Closed without a farewell of TLS: after it has read ours, nothing is missing.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(broken(error)),
            }
        }
    }
}

/// Returns messages behind their lengths.
fn frames(lines: &[Line]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        bytes.extend_from_slice(format!("{} ", line.text.len()).as_bytes());
        bytes.extend_from_slice(line.text.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_octets() {
        let line = |text: &str| Line { uuid: String::new(), text: text.to_owned() };
        assert_eq!(frames(&[line("ab"), line("é")]), "2 ab2 é".as_bytes());
    }
}
