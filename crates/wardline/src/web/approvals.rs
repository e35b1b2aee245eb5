//! Sessions that wait for their person's word: begun by a program such as psql, approved in the browser.
//!
//! A link leads to one waiting session. Whoever opens it must be the person it is for, signed in with a second factor shown
//! a short while ago, and must type the code that the waiting program shows: so nobody approves a session that they do not
//! have before them. A wrong code ends the request after a few. A request says nothing about whether there is such a person.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use gateway::{Approval, Claim};
use identity::Reason;
use model::{Micros, Principal, Shown};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::session::{Visitor, random};
use crate::config::SignInBy;
use crate::guards::Newcomer;
use crate::node::Node;

/// Sessions that wait at once: of all, from one address, for one name.
const WAITING_MAX: usize = 256;
const WAITING_PER_ADDRESS_MAX: usize = 16;
const WAITING_PER_NAME_MAX: usize = 4;
/// Wrong codes that end a request.
const WRONG_CODES_MAX: u8 = 3;
/// A second factor shown so long ago is shown again before something is approved.
pub(crate) const FACTOR_AGE_MAX: Duration = Duration::from_mins(5);
/// Without what is easily mistaken for something else. A power of two, so that no letter is likelier.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const CODE_CHARS: usize = 6;
const ID_CHARS: usize = 16;

/// The sessions that wait, by the id in their link.
#[derive(Debug, Default)]
pub(crate) struct Approvals(Mutex<HashMap<String, Waiting>>);

#[derive(Debug)]
struct Waiting {
    asked: Asked,
    code: String,
    wrong: u8,
    answer: oneshot::Sender<Result<Principal, Reason>>,
}

/// What a waiting session is, as its person sees it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) resource: String,
    pub(crate) client: String,
    pub(crate) peer: SocketAddr,
    pub(crate) since: Micros,
    pub(crate) until: Micros,
}

/// Why something was not approved, for the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotApproved {
    /// There is no such request, or it is somebody else's: the page does not tell which.
    Gone,
    /// The code is not the one that the program shows.
    WrongCode,
    /// The second factor was shown too long ago, or never.
    Stale,
    /// The account may not sign in.
    Refused,
}

/// What the person says, once they do.
type Answer = oneshot::Receiver<Result<Principal, Reason>>;

impl Approvals {
    /// Adds a waiting session; `None` when there are too many.
    fn begin(&self, asked: Asked) -> Option<(String, String, Answer)> {
        let mut waiting = self.0.lock();
        waiting.retain(|_, other| !other.answer.is_closed() && asked.since < other.asked.until);
        let from = |other: &&Waiting| other.asked.peer.ip() == asked.peer.ip();
        let of_name = |other: &&Waiting| other.asked.name == asked.name;
        if waiting.len() >= WAITING_MAX
            || waiting.values().filter(from).count() >= WAITING_PER_ADDRESS_MAX
            || waiting.values().filter(of_name).count() >= WAITING_PER_NAME_MAX
        {
            return None;
        }
        let (id, code) = (letters::<ID_CHARS>(), letters::<CODE_CHARS>());
        let (answer, receiver) = oneshot::channel();
        waiting.insert(id.clone(), Waiting { asked, code: code.clone(), wrong: 0, answer });
        Some((id, code, receiver))
    }

    /// Returns what waits under an id, if it is this person's.
    pub(crate) fn of(&self, id: &str, name: &str, now: Micros) -> Option<Asked> {
        let waiting = self.0.lock();
        let found = waiting.get(id).filter(|found| found.asked.name == name && now < found.asked.until);
        found.filter(|found| !found.answer.is_closed()).map(|found| found.asked.clone())
    }

    /// Takes a waiting session out, if the code is right.
    fn take(&self, id: &str, name: &str, code: &str, now: Micros) -> Result<Waiting, NotApproved> {
        let mut waiting = self.0.lock();
        let found = waiting.get_mut(id);
        let found = found.filter(|found| found.asked.name == name && now < found.asked.until);
        let found = found.filter(|found| !found.answer.is_closed()).ok_or(NotApproved::Gone)?;
        let typed: String =
            code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
        if verify_slices_are_equal(typed.as_bytes(), found.code.as_bytes()).is_err() {
            found.wrong += 1;
            if found.wrong >= WRONG_CODES_MAX {
                // Dropping it tells the waiting session that nobody will approve it.
                waiting.remove(id);
            }
            return Err(NotApproved::WrongCode);
        }
        waiting.remove(id).ok_or(NotApproved::Gone)
    }

    /// Takes a waiting session out without a code: to deny it.
    fn take_denied(&self, id: &str, name: &str) -> Option<Waiting> {
        let mut waiting = self.0.lock();
        waiting.get(id).filter(|found| found.asked.name == name)?;
        waiting.remove(id)
    }
}

fn letters<const N: usize>() -> String {
    let bytes: [u8; N] = random();
    let letter = |byte: u8| LETTERS.get(usize::from(byte & 31)).copied().map(char::from);
    bytes.into_iter().filter_map(letter).collect()
}

impl Node {
    /// Begins to wait for approval, where the configuration and the client's wish say so.
    pub(crate) fn begin_approval(&self, claim: &Claim) -> Option<Result<Approval, Reason>> {
        let config = self.config.load();
        let (by, web) = (config.sign_in.by, config.web.as_ref()?);
        let wanted = match (by, claim.wanted.as_deref()) {
            (SignInBy::Password, _) => false,
            (SignInBy::Either, wanted) => wanted == Some("browser"),
            (SignInBy::Browser, wanted) => wanted != Some("password"),
        };
        if !wanted {
            return None;
        }
        let patience = config.sign_in.approval_timeout;
        let since = self.now();
        let life = u64::try_from(patience.as_micros()).unwrap_or(u64::MAX);
        let asked = Asked {
            name: claim.name.clone(),
            resource: claim.resource.clone(),
            client: claim.client.clone(),
            peer: claim.peer,
            since,
            until: Micros(since.0.saturating_add(life)),
        };
        let Some((id, code, answer)) = self.approvals.begin(asked) else {
            tracing::warn!(peer = %claim.peer, "too many sessions wait for approval");
            return Some(Err(Reason::Unavailable));
        };
        let (first, second) = code.split_at_checked(CODE_CHARS / 2).unwrap_or((&code, ""));
        let notice = format!(
            "to sign in, open {}/approve/{id} in a browser and type the code {first}-{second} there, within {} seconds",
            web.url,
            patience.as_secs()
        );
        Some(Ok(Approval { notice, patience, answer }))
    }

    /// Lets a waiting session begin.
    pub(crate) async fn approve(
        &self,
        visitor: &Visitor,
        from: IpAddr,
        id: &str,
        code: &str,
    ) -> Result<Asked, NotApproved> {
        let now = self.now();
        let name = visitor.person.name.as_str();
        if self.approvals.of(id, name, now).is_none() {
            return Err(NotApproved::Gone);
        }
        if !visitor.is_fresh(now, FACTOR_AGE_MAX) {
            return Err(NotApproved::Stale);
        }
        let waiting = self.approvals.take(id, name, code, now)?;
        let how = format!("browser at {from}: {}", visitor.browser.shown.how);
        let shown = Shown { how: how.into(), factor_at: visitor.browser.shown.factor_at };
        let proven = match self.vouch(name, shown).await {
            Ok(proof) => self.newcomer(proof).await,
            Err(reason) => Err(reason),
        };
        let refused = proven.is_err();
        let sent = waiting.answer.send(proven.map(Newcomer::into_principal));
        match (refused, sent) {
            (true, _) => Err(NotApproved::Refused),
            (false, Err(_)) => Err(NotApproved::Gone),
            (false, Ok(())) => Ok(waiting.asked),
        }
    }

    /// Ends a waiting session before it begins.
    pub(crate) fn deny(&self, visitor: &Visitor, id: &str) -> Option<Asked> {
        let waiting = self.approvals.take_denied(id, &visitor.person.name)?;
        let _left = waiting.answer.send(Err(Reason::Denied));
        Some(waiting.asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str, from: &str) -> Asked {
        Asked {
            name: name.to_owned(),
            resource: "hospital".to_owned(),
            client: "psql".to_owned(),
            peer: from.parse().unwrap(),
            since: Micros(0),
            until: Micros(100),
        }
    }

    const NOW: Micros = Micros(50);

    #[test]
    fn only_its_person_with_its_code_finds_it_and_once() {
        let approvals = Approvals::default();
        let (id, code, mut answer) = approvals.begin(asked("ann", "192.0.2.1:5")).unwrap();
        assert!(approvals.of(&id, "bob", NOW).is_none());
        assert!(approvals.of(&id, "ann", Micros(100)).is_none(), "its time is over");
        assert_eq!(approvals.take(&id, "bob", &code, NOW).unwrap_err(), NotApproved::Gone);
        assert_eq!(approvals.take(&id, "ann", "AAAAAA", NOW).unwrap_err(), NotApproved::WrongCode);
        let typed = format!(" {}-{} ", &code[..3].to_lowercase(), &code[3..]);
        assert!(approvals.take(&id, "ann", &typed, NOW).is_ok());
        assert_eq!(approvals.take(&id, "ann", &code, NOW).unwrap_err(), NotApproved::Gone);
        assert!(answer.try_recv().is_err(), "nobody said yes");
    }

    #[test]
    fn three_wrong_codes_end_it() {
        let approvals = Approvals::default();
        let (id, code, mut answer) = approvals.begin(asked("ann", "192.0.2.1:5")).unwrap();
        for _ in 0..3 {
            let wrong = approvals.take(&id, "ann", "AAAAAA", NOW);
            assert_eq!(wrong.unwrap_err(), NotApproved::WrongCode);
        }
        assert_eq!(approvals.take(&id, "ann", &code, NOW).unwrap_err(), NotApproved::Gone);
        assert_eq!(answer.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }

    #[test]
    fn those_who_wait_are_bounded_and_those_who_left_do_not_count() {
        let approvals = Approvals::default();
        let mut answers: Vec<_> =
            (0..4).map(|_| approvals.begin(asked("ann", "192.0.2.1:5")).unwrap().2).collect();
        assert!(approvals.begin(asked("ann", "192.0.2.2:5")).is_none(), "four for one name");
        answers.pop();
        assert!(approvals.begin(asked("ann", "192.0.2.2:5")).is_some());
        let others: Vec<_> =
            (0..20).map(|n| approvals.begin(asked(&format!("p{n}"), "192.0.2.1:5"))).collect();
        assert_eq!(others.iter().flatten().count(), 13, "sixteen from one address");
    }
}
