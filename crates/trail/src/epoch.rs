//! What a node says at each start: which epoch begins, how many entries are behind it, and what their root is.
//!
//! An epoch is the time between two starts. The head binds it to all that was before, in the log itself: whoever holds one
//! entry of a later epoch with its record holds the root of the epochs before.

use std::fmt;
use std::str::FromStr;

use tlog::Hash;

/// The `detail` of an epoch head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EpochHead {
    /// How often the node has started, as in the frames.
    pub(crate) epoch: u32,
    /// The entries of the epochs before.
    pub(crate) size: u64,
    /// Their root.
    pub(crate) root: Hash,
}

impl fmt::Display for EpochHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} behind {} entries with root {}", self.epoch, self.size, self.root)
    }
}

impl FromStr for EpochHead {
    type Err = ();

    fn from_str(text: &str) -> Result<EpochHead, ()> {
        let (epoch, rest) =
            text.strip_prefix("epoch ").and_then(|rest| rest.split_once(" behind ")).ok_or(())?;
        let (size, root) = rest.split_once(" entries with root ").ok_or(())?;
        let head = EpochHead {
            epoch: epoch.parse().map_err(|_| ())?,
            size: size.parse().map_err(|_| ())?,
            root: root.parse().map_err(|_| ())?,
        };
        // One spelling for each head.
        if head.to_string() == text { Ok(head) } else { Err(()) }
    }
}
