//! What policies were made from: kept when one comes into force, and given to whoever may know who may do what.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::admin::{PolicyAsk, PolicyView, Refusal, Reply};
use crate::node::Node;
use crate::output::hex;

/// Digits of a SHA-256.
const DIGITS: usize = 64;

impl Node {
    pub(super) async fn policy_asked(&self, ask: PolicyAsk) -> Result<Reply, Refusal> {
        let PolicyAsk::Sources { digest } = ask;
        let (digest, version) = match digest {
            Some(text) => (parse(&text)?, None),
            None => {
                // It is kept when it comes into force for sessions, and may be wanted before.
                let snapshot = self.keep_policy_in_force().await?;
                (snapshot.digest(), Some(snapshot.version()))
            }
        };
        let kept = self.registry.policy_sources(digest).await.map_err(|error| Refusal::because(&error))?;
        let sources = kept.map(|bytes| STANDARD.encode(bytes));
        Ok(Reply::Policy(PolicyView { sources, digest: hex(&digest), version, now_us: self.now().0 }))
    }
}

fn parse(text: &str) -> Result<[u8; 32], Refusal> {
    let wrong = || Refusal::new("a digest has 64 hexadecimal digits");
    if text.len() != DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate() {
        let digits = text.get(at * 2..at * 2 + 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}
