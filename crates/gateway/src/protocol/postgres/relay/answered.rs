//! The resource's side: what it answers, counted and withheld until its entry is durable.

use model::{Outcome, SqlState};

use super::super::codec::{self, Back, Header, Malformed, Status, back_header};
use super::super::track::Expect;
use super::Relay;
use super::masking::{Results, Treatment};
use crate::about::About;
use crate::control::Control;
use crate::error::Failure;
use crate::limits::{READ_BYTES, UPSTREAM_MESSAGE_BYTES_MAX};

/// Answers that may come before a result: of `Parse`, `Bind`, `Describe` and a `Describe` of ours.
const ANNOUNCEMENTS_MAX: usize = 4;

fn malformed(error: Malformed) -> Failure {
    Failure::UpstreamMalformed(error.to_string())
}

fn unexpected(what: &'static str) -> Failure {
    Failure::UpstreamMalformed(format!("{what} where the protocol does not have it"))
}

impl<C: Control> Relay<C> {
    /// Handles what was read from the resource.
    pub(super) fn answered(&mut self) -> Result<(), Failure> {
        let mut answers = std::mem::take(&mut self.answers);
        let handled = self.answers_in(&mut answers);
        self.answers = answers;
        handled?;
        self.release_windows()
    }

    fn answers_in(&mut self, answers: &mut super::Inbox) -> Result<(), Failure> {
        loop {
            if self.passing.0 > 0 {
                let count = self.passing.0.min(answers.bytes().len());
                if count == 0 {
                    return Ok(());
                }
                let number = self.passing.1;
                self.result(number, answers.bytes().get(..count).unwrap_or_default())?;
                self.passing.0 -= count;
                answers.take(count);
                continue;
            }
            let Some(header) = back_header(answers.bytes(), UPSTREAM_MESSAGE_BYTES_MAX).map_err(malformed)?
            else {
                return Ok(());
            };
            if header.kind.streams() && header.length > READ_BYTES && self.passes(&header)? {
                let number = self.row(header.kind, 1)?;
                self.passed(header.kind, 1);
                self.passing = (header.length, number);
                continue;
            }
            if header.length > UPSTREAM_MESSAGE_BYTES_MAX {
                // Only rows that pass as they come may be longer.
                return Err(Failure::Ours("a row is too long to be masked".to_owned()));
            }
            if answers.bytes().len() < header.length {
                answers.reserve(header.length);
                return Ok(());
            }
            if header.kind.streams() {
                let (count, length) = codec::together(answers.bytes(), header.kind);
                self.rows(header.kind, count, answers.bytes().get(..length).unwrap_or_default())?;
                answers.take(length);
                continue;
            }
            let frame = answers.bytes().get(..header.length).unwrap_or_default();
            self.answer(header, frame)?;
            answers.take(header.length);
        }
    }

    /// A result that no longer fits the window goes out in parts, each after an entry.
    fn release_windows(&mut self) -> Result<(), Failure> {
        let Some(Expect::Query { operation } | Expect::Execute { operation } | Expect::Call { operation }) =
            self.track.expected.front()
        else {
            return Ok(());
        };
        let number = *operation;
        let full = self.outbox.len() >= self.shared.config.limits.hold_window_bytes;
        let due = full && self.running.get(&number).is_some_and(|running| running.permit.owes());
        if due { self.advance(number) } else { Ok(()) }
    }

    /// Passes bytes of an operation's result, withheld while it has no entry, or while the next one is due.
    fn result(&mut self, number: Option<u64>, bytes: &[u8]) -> Result<(), Failure> {
        if let Some(running) = number.and_then(|number| self.running.get_mut(&number)) {
            if running.permit.owes() {
                self.outbox.hold();
            }
            running.bytes += bytes.len() as u64;
            if running.bytes > running.progress_at {
                number.map_or(Ok(()), |number| self.advance(number))?;
            }
        }
        self.outbox.push(bytes);
        Ok(())
    }

    /// Returns the operation that the answers at hand belong to.
    fn current(&self) -> Option<u64> {
        self.track.expected.front().and_then(Expect::operation)
    }

    /// Returns the operation whose results are at hand.
    fn at_hand(&self, what: &'static str) -> Result<u64, Failure> {
        self.track.expected.front().and_then(Expect::results_of).ok_or_else(|| unexpected(what))
    }

    /// Returns the results at hand, where the resource protects something.
    pub(super) fn results(&mut self) -> Option<(&mut Results, &mut About)> {
        let number = self.track.expected.front().and_then(Expect::results_of)?;
        let running = self.running.get_mut(&number)?;
        Some((running.results.as_deref_mut()?, running.permit.about()))
    }

    fn treatment(&mut self) -> Result<Treatment, Failure> {
        let own = self.change.is_some();
        self.results().map_or(Ok(Treatment::Pass), |(results, _)| results.treatment(own))
    }

    /// Tells whether a long row leaves as it comes, piece by piece. One that is too long to be read for whom it names
    /// counts as one of whom nobody knows.
    fn passes(&mut self, header: &Header<Back>) -> Result<bool, Failure> {
        Ok(match self.treatment()? {
            Treatment::Pass => true,
            Treatment::Read => header.length > UPSTREAM_MESSAGE_BYTES_MAX,
            Treatment::Rewrite => false,
        })
    }

    /// Counts rows that were not read.
    fn passed(&mut self, kind: Back, count: u64) {
        if let Some((results, _)) = self.results().filter(|_| matches!(kind, Back::DataRow | Back::CopyData))
        {
            results.passed(count);
        }
    }

    /// Passes whole rows, or pieces of copied data, that came together.
    fn rows(&mut self, kind: Back, count: u64, bytes: &[u8]) -> Result<(), Failure> {
        let number = self.row(kind, count)?;
        let treatment = self.treatment()?;
        let Some((results, about)) = self.results().filter(|_| treatment != Treatment::Pass) else {
            self.passed(kind, count);
            return self.result(number, bytes);
        };
        let mut shown = Vec::with_capacity(if treatment == Treatment::Rewrite { bytes.len() } else { 0 });
        let mut rest = bytes;
        while let Some(header) = back_header(rest, UPSTREAM_MESSAGE_BYTES_MAX).map_err(malformed)? {
            let (row, more) = rest.split_at_checked(header.length).ok_or_else(|| unexpected("half a row"))?;
            if kind == Back::CopyData {
                results.copied(row, about, &mut shown)?;
            } else {
                results.row(row, about, &mut shown)?;
            }
            rest = more;
        }
        match treatment {
            Treatment::Pass | Treatment::Read => self.result(number, bytes),
            Treatment::Rewrite => self.result(number, &shown),
        }
    }

    /// Counts rows, or pieces of copied data, of the operation at hand.
    fn row(&mut self, kind: Back, count: u64) -> Result<Option<u64>, Failure> {
        let number = self.at_hand("a row")?;
        if let Some(running) = self.running.get_mut(&number) {
            let counter = if kind == Back::DataRow { &mut running.rows } else { &mut running.copied };
            *counter += count;
        }
        Ok(Some(number))
    }

    fn answer(&mut self, header: Header<Back>, frame: &[u8]) -> Result<(), Failure> {
        match header.kind {
            Back::DataRow | Back::CopyData => self.rows(header.kind, 1, frame),
            Back::RowDescription => {
                let number = self.current();
                self.described(frame, number)
            }
            Back::NoData => self.described(frame, None),
            Back::ParameterDescription => {
                if let Some(Expect::Announce { .. }) = self.track.expected.front() {
                    return Ok(());
                }
                let Some(Expect::Describe) = self.track.expected.front() else {
                    return Err(unexpected("a parameter description"));
                };
                self.outbox.push(frame);
                Ok(())
            }
            Back::CopyOutResponse => self.copy_comes(frame),
            Back::CopyDone => {
                let number = self.at_hand("a copy")?;
                if let Some((results, _)) = self.results() {
                    results.copy_ends()?;
                }
                self.result(Some(number), frame)
            }
            Back::FunctionCallResponse => self.called(frame),
            Back::CopyInResponse => self.copy_begins(frame),
            Back::CommandComplete | Back::EmptyQueryResponse => self.command_done(header.kind, frame),
            Back::PortalSuspended => self.suspended(frame),
            Back::ParseComplete => {
                let Some(Expect::Parse { .. }) = self.track.expected.pop_front() else {
                    return Err(unexpected("a completed parse"));
                };
                self.hold_before_result();
                self.outbox.push(frame);
                Ok(())
            }
            Back::BindComplete => self.bound(frame),
            Back::CloseComplete => self.closed(frame),
            Back::ErrorResponse => self.failed(frame),
            Back::ReadyForQuery => self.ready(frame),
            Back::NoticeResponse => {
                let shown = self.diagnostic(frame)?;
                self.aside(shown.as_deref().unwrap_or(frame))
            }
            Back::NotificationResponse => self.notified(frame),
            Back::ParameterStatus => self.setting(frame),
            Back::Authentication
            | Back::BackendKeyData
            | Back::CopyBothResponse
            | Back::NegotiateProtocolVersion => Err(unexpected("a message of another phase")),
        }
    }

    /// Withholds what only announces a withheld result, so that both leave in one packet. The resource itself sends
    /// them together, and the result's entry, which frees them, is certain to come.
    fn hold_before_result(&mut self) {
        let next = self.track.expected.iter().take(ANNOUNCEMENTS_MAX).find_map(|expect| match expect {
            Expect::Parse { .. } | Expect::Announce { .. } | Expect::Bind { .. } | Expect::Describe => None,
            Expect::Execute { operation } => Some(Some(*operation)),
            Expect::Query { .. }
            | Expect::RefusedQuery { .. }
            | Expect::Close { .. }
            | Expect::Refused { .. }
            | Expect::Sync
            | Expect::Call { .. } => Some(None),
        });
        let running = next.flatten().and_then(|number| self.running.get(&number));
        if running.is_some_and(|running| running.permit.withholds()) {
            self.outbox.hold();
        }
    }

    /// Passes a notice in its place, withheld with the result it stands in. A portal that was only bound may never
    /// have a result, so what is said while binding gets an entry of its own.
    pub(super) fn aside(&mut self, frame: &[u8]) -> Result<(), Failure> {
        let number = self.current();
        let withheld = number.filter(|number| self.running.get(number).is_some_and(|r| r.permit.withholds()));
        if withheld.is_some() {
            self.outbox.hold();
        }
        self.outbox.push(frame);
        match (self.track.expected.front(), withheld) {
            (Some(Expect::Bind { .. }), Some(number)) => self.advance(number),
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }

    /// What others say to a channel may be anything: people who do not see everything do not hear it.
    fn notified(&mut self, frame: &[u8]) -> Result<(), Failure> {
        let at = self.shared.control.now();
        if self.masks(at).is_some() { Ok(()) } else { self.aside(frame) }
    }

    fn described(&mut self, frame: &[u8], number: Option<u64>) -> Result<(), Failure> {
        if let Some(Expect::Announce { announced }) = self.track.expected.front() {
            // Ours to know, not the client's: it did not ask.
            let _once = announced.set(frame.into());
            self.track.expected.pop_front();
            return Ok(());
        }
        if let Some(Expect::Describe) = self.track.expected.front() {
            self.track.expected.pop_front();
            self.hold_before_result();
            self.outbox.push(frame);
            return Ok(());
        }
        let at_hand = self.at_hand("a row description")?;
        let own = self.change.is_some();
        if let Some(results) = self.running.get_mut(&at_hand).and_then(|running| running.results.as_mut()) {
            results.announce(frame, own)?;
        }
        self.result(number, frame)
    }

    fn copy_comes(&mut self, frame: &[u8]) -> Result<(), Failure> {
        let number = self.at_hand("a copy")?;
        if let Some(running) = self.running.get_mut(&number)
            && let Some(results) = running.results.as_mut()
        {
            let statement = results.statement();
            let inspection = running.inspection.as_ref();
            let lineage = inspection.and_then(|inspection| inspection.lineage.get(statement));
            results.announce_copy(lineage, frame, self.change.is_some())?;
        }
        self.result(Some(number), frame)
    }

    fn called(&mut self, frame: &[u8]) -> Result<(), Failure> {
        let Some(Expect::Call { operation }) = self.track.expected.front() else {
            return Err(unexpected("a function's result"));
        };
        let number = *operation;
        let protects = self.target.protected.is_some();
        if let Some(running) = self.running.get_mut(&number).filter(|_| protects) {
            running.untold += 1;
        }
        self.result(Some(number), frame)
    }

    fn copy_begins(&mut self, frame: &[u8]) -> Result<(), Failure> {
        let number = self.at_hand("a copy")?;
        self.copying = Some(number);
        self.track.forget_syncs_during_copy();
        self.outbox.push(frame);
        Ok(())
    }

    fn command_done(&mut self, kind: Back, frame: &[u8]) -> Result<(), Failure> {
        let counted =
            if kind == Back::CommandComplete { codec::command_rows(frame).map_err(malformed)? } else { None };
        let number = self.at_hand("a completed command")?;
        self.copying = None;
        self.tell_absent()?;
        self.result(Some(number), frame)?;
        let Some(running) = self.running.get_mut(&number) else {
            return Err(unexpected("a completed command"));
        };
        // A tag counts rows that are not seen as messages: of INSERT, UPDATE, COPY.
        running.copied = 0;
        running.rows = running.rows.max(counted.unwrap_or(0));
        if let Some(results) = running.results.as_mut() {
            results.next(counted.unwrap_or(0));
        }
        if let Some(Expect::Execute { .. }) = self.track.expected.front() {
            self.track.expected.pop_front();
            return self.executed(number, true);
        }
        Ok(())
    }

    fn suspended(&mut self, frame: &[u8]) -> Result<(), Failure> {
        let Some(Expect::Execute { operation }) = self.track.expected.pop_front() else {
            return Err(unexpected("a suspended portal"));
        };
        self.result(Some(operation), frame)?;
        self.executed(operation, false)
    }

    /// An `Execute` was answered: its operation is done, unless the portal goes on or is asked to.
    fn executed(&mut self, number: u64, ended: bool) -> Result<(), Failure> {
        let Some(running) = self.running.get_mut(&number) else { return Ok(()) };
        running.awaited = running.awaited.saturating_sub(1);
        if ended && running.awaited == 0 { self.completed(number) } else { self.advance(number) }
    }

    fn bound(&mut self, frame: &[u8]) -> Result<(), Failure> {
        let Some(Expect::Bind { name, previous, operation }) = self.track.expected.pop_front() else {
            return Err(unexpected("a completed bind"));
        };
        self.hold_before_result();
        self.outbox.push(frame);
        if let Some(portal) = self.track.portals.get_mut(&name).filter(|p| p.operation == operation) {
            portal.live = true;
        }
        match previous {
            Some(previous) => self.abandoned(previous.operation),
            None => Ok(()),
        }
    }

    fn closed(&mut self, frame: &[u8]) -> Result<(), Failure> {
        let Some(Expect::Close { undo }) = self.track.expected.pop_front() else {
            return Err(unexpected("a completed close"));
        };
        self.outbox.push(frame);
        match undo {
            super::super::track::Closed::Portal(_, Some(portal)) => self.abandoned(portal.operation),
            super::super::track::Closed::Portal(_, None) | super::super::track::Closed::Statement(..) => {
                Ok(())
            }
        }
    }

    /// Settles the operation of a portal that is gone. A read that was bound and never run left no trace.
    fn abandoned(&mut self, number: u64) -> Result<(), Failure> {
        let Some(running) = self.running.get(&number) else { return Ok(()) };
        if running.permit.withholds() && !running.executed {
            self.running.remove(&number);
            return Ok(());
        }
        let detail = if running.executed { "closed before its last row" } else { "bound and never run" };
        self.settle(number, Outcome::Completed, Some(detail))
    }

    /// An error in the resource's own words may hold any value that the statement read.
    fn told(&mut self) {
        let number = self.track.expected.front().and_then(Expect::results_of);
        if let Some(running) = number.and_then(|number| self.running.get_mut(&number)) {
            running.untold += u64::from(running.results.as_ref().is_some_and(|results| results.tells()));
        }
    }

    fn failed(&mut self, frame: &[u8]) -> Result<(), Failure> {
        let shown = self.diagnostic(frame)?;
        if shown.is_none() {
            self.told();
        }
        let frame = shown.as_deref().unwrap_or(frame);
        let code = codec::error_field(frame, b'C').map_err(malformed)?;
        let state = SqlState(code.and_then(|c| c.first_chunk::<5>().copied()).unwrap_or(*b"XX000"));
        self.copying = None;
        if matches!(codec::error_field(frame, b'V').map_err(malformed)?, Some(b"FATAL" | b"PANIC")) {
            // Nothing else is answered any more, whatever was asked.
            self.fatal = true;
            let number = self.current();
            return self.result(number, frame);
        }
        match self.track.expected.front_mut() {
            None => {
                self.outbox.push(frame);
                Ok(())
            }
            Some(Expect::Query { operation } | Expect::Call { operation }) => {
                let number = *operation;
                self.result(Some(number), frame)?;
                if let Some(running) = self.running.get_mut(&number) {
                    running.failed = Some(state);
                }
                Ok(())
            }
            Some(Expect::RefusedQuery { error, pending } | Expect::Refused { error, pending }) => {
                let mut ours = Vec::new();
                error.locate(frame).map_err(malformed)?;
                error.encode(&mut ours);
                let pending = pending.take();
                let ends = matches!(self.track.expected.front(), Some(Expect::Refused { .. }));
                if let Some(pending) = pending {
                    self.outbox.gate(pending);
                }
                self.outbox.push(&ours);
                if ends { self.skip(state) } else { Ok(()) }
            }
            Some(Expect::Sync) => {
                self.outbox.push(frame);
                Ok(())
            }
            Some(
                Expect::Parse { .. }
                | Expect::Bind { .. }
                | Expect::Describe
                | Expect::Announce { .. }
                | Expect::Execute { .. }
                | Expect::Close { .. },
            ) => {
                let number = self.current();
                self.result(number, frame)?;
                self.skip(state)
            }
        }
    }

    /// Everything up to `Sync` did not happen; while the client sent none, what it sends will not happen either.
    fn skip(&mut self, state: SqlState) -> Result<(), Failure> {
        if !self.track.expected.iter().any(|expect| matches!(expect, Expect::Sync)) {
            self.skipping = true;
            if let Some(stalled) = self.stalled.as_mut() {
                stalled.void = Some(state);
            }
        }
        for number in self.track.skip_to_sync() {
            self.settle(number, Outcome::Failed(state), None)?;
        }
        Ok(())
    }

    fn ready(&mut self, frame: &[u8]) -> Result<(), Failure> {
        let status = codec::ready(frame).map_err(malformed)?;
        match self.track.expected.pop_front() {
            Some(Expect::Query { operation } | Expect::Call { operation }) => {
                self.result(Some(operation), frame)?;
                self.completed(operation)?;
            }
            Some(Expect::RefusedQuery { .. } | Expect::Sync) => self.outbox.push(frame),
            Some(_) | None => return Err(unexpected("readiness")),
        }
        self.status = status;
        self.copying = None;
        if status == Status::Idle {
            self.transaction_over()?;
        }
        // What was sent on ahead may be part of it.
        if self.track.expected.is_empty()
            && let Some(change) = self.change.take()
        {
            change.end(status == Status::Idle);
        }
        Ok(())
    }

    fn transaction_over(&mut self) -> Result<(), Failure> {
        // What the client sent on ahead may already belong to the next transaction.
        let ahead = !self.track.expected.is_empty();
        self.wrote &= ahead;
        let gone: Vec<u64> = self.track.portals.values().filter(|p| p.live).map(|p| p.operation).collect();
        self.track.portals.retain(|_, portal| !portal.live);
        for number in gone {
            self.abandoned(number)?;
        }
        if self.redefined {
            self.redefined = ahead;
            self.catalogue.stale();
            if self.refreshing.is_none() {
                self.refresh_catalogue();
            }
        }
        Ok(())
    }

    /// A changed setting of the session. Two of them decide how a text is read: with others, what was inspected is
    /// not what the resource runs.
    fn setting(&mut self, frame: &[u8]) -> Result<(), Failure> {
        let (name, value) = codec::parameter_status(frame).map_err(malformed)?;
        match name {
            b"standard_conforming_strings" if value != b"on" => {
                return Err(Failure::Unsupported(
                    "the session has turned `standard_conforming_strings` off, which is not supported: leave it on",
                ));
            }
            b"client_encoding" if !super::super::dial::is_read_as_sent(&String::from_utf8_lossy(value)) => {
                return Err(Failure::Unsupported(
                    "the session has set a `client_encoding` that is not supported: stay with UTF8",
                ));
            }
            b"application_name"
                if self.target.identity.is_told()
                    && !crate::acting::is_of(&self.gate.session().principal, value) =>
            {
                return Err(Failure::Unsupported(
                    "the session has set `application_name` from within the resource, which is not supported: it says \
                     who acts",
                ));
            }
            _ => {}
        }
        // What a trigger may set to any text: people who do not see everything are not told after a change of theirs.
        const FREE_TEXT: [&[u8]; 2] = [b"application_name", b"search_path"];
        let at = self.shared.control.now();
        if self.wrote && FREE_TEXT.contains(&name) && self.masks(at).is_some() {
            return Ok(());
        }
        self.aside(frame)
    }
}
