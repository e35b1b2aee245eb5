//! Emergency access (break-glass): taken by whom the configuration names, told to others at once, over by itself, looked at
//! by somebody else.
//!
//! Each step is in the trail before it is in force: first that it is about to be done, then the fact itself
//! (`emergency-begun`, `-ended`, `-reviewed`), from which notifications are made, then the registry. A crash in between
//! tells somebody of an emergency that did not begin; it never lets one begin untold.

mod asked;
mod code;
mod drill;
mod timeline;
mod watch;

use std::time::Duration;

use gateway::Cut;
use model::{Kind, Micros, Patients, Record};
use registry::{Emergency, Finding, Over, Review};

pub(crate) use asked::{
    Act, EmergencyView, Finish, TimelineView, Wish, goes_on, needed, waits_for_turn, what,
};
pub(crate) use code::{ByCodeView, SheetView};
pub(crate) use drill::DrilledView;

use super::access::acting;
use super::{Change, detail, quoted};
use crate::admin::{ActingPerson, Actor, Refusal, Reply, Sensitive};
use crate::commands::{no_such, patient_forms};
use crate::config::{BreakGlass, Config};
use crate::node::Node;
use crate::operators::Right;
use crate::output;
use asked::sees_all;

/// Shortest reason: fewer letters explain nothing.
const REASON_CHARS_MIN: usize = 15;
const REASON_CHARS_MAX: usize = 500;
/// Shortest and longest note of a reviewer.
const NOTE_CHARS_MIN: usize = 15;
const NOTE_CHARS_MAX: usize = 4_000;
/// Longest identifier of a patient.
const PATIENT_BYTES_MAX: usize = 256;
/// What the registry's copy of the patient is sealed as, and what a reviewer wrote.
const SEALED_PATIENT: &str = "emergency/patient";
const SEALED_NOTE: &str = "emergency/note";

/// What the entry says of whose training is overdue, before the names of the courses.
const TRAINING_OVERDUE: &str = "training is overdue: ";

const DAY_US: u64 = 86_400_000_000;

impl Node {
    /// Does what somebody asks about emergency access.
    pub(super) async fn break_glass(&self, actor: &Actor, act: Act) -> Result<Reply, Refusal> {
        match act {
            Act::Begin { wish } => {
                let taken = self.emergency_taken(actor, &wish, None).await?;
                Ok(Reply::Emergencies(vec![self.emergency_view(&taken)]))
            }
            Act::ByCode { name, halves, wish } => {
                let halves = halves.each_ref().map(|half| half.0.expose());
                self.emergency_by_code(actor, &name, halves, &wish).await
            }
            Act::Drill { wish } => self.emergency_drill(actor, &wish).await,
            Act::CodesNew { count } => self.codes_new(actor, count).await,
            Act::CodesList {} => self.codes_list(),
            Act::Approve { number } => self.emergency_approve(actor, number).await,
            Act::Finish { number, how, reason } => {
                self.emergency_finish(actor, number, how, reason.0.expose()).await
            }
            Act::List { also_done } => self.emergency_list(actor, also_done).await,
            Act::Timeline { number } => self.emergency_timeline(actor, number).await,
            Act::Review { number, justified, note } => {
                let finding = if justified { Finding::Justified } else { Finding::NotJustified };
                self.emergency_review(actor, number, finding, note.0.expose()).await
            }
        }
    }

    /// Lets somebody have it, or ask for it where others must approve.
    async fn emergency_taken(
        &self,
        actor: &Actor,
        wish: &Wish,
        code: Option<String>,
    ) -> Result<Emergency, Refusal> {
        let config = self.config.load_full();
        let reason = screened(&config, wish);
        let what = format!(
            "take emergency access to {}, {}: {}",
            quoted(&wish.resource),
            quoted(&wish.reason_code),
            output::clipped(&output::printable(&reason), REASON_CHARS_MAX)
        );
        let change = Change::new(actor, "break-glass begin", what);
        let checked = acting(actor).and_then(|person| Ok((person, check(&config, person, wish)?)));
        let (person, glass) = self.or_refuse(&change, checked).await?;
        // Two custodians have agreed to a code.
        let approvals = if code.is_some() { 0 } else { glass.approvals };
        let wished = self.wished(person, glass, wish, reason).await?;
        let new = Emergency { code, approvals, ..wished };
        let free = self.check_free(person, &new.resource).await;
        self.or_refuse(&change, free).await?;
        let patient = wish.patient.as_ref().map(|patient| patient.0.expose());
        let named = patient.and_then(|patient| self.named(&config, &new.resource, patient));
        let change = Change { emergency: Some(new.number), ..change };
        let (change, registry) = self.admitted_numbered(change).await?;
        if new.approvals == 0 {
            self.emergency_begun(&new, named).await?;
        }
        let taken = self.done(&change, registry.take_emergency(&new).await).await?;
        if taken.taken.is_some() {
            self.publish(&config).await?;
            announce(&taken);
        }
        Ok(taken)
    }

    /// Returns what is asked for as a row, not yet written.
    async fn wished(
        &self,
        person: &ActingPerson,
        glass: &BreakGlass,
        wish: &Wish,
        reason: String,
    ) -> Result<Emergency, Refusal> {
        let patient = wish.patient.as_ref().map(|patient| patient.0.expose().as_bytes().to_vec());
        let patient = match patient {
            Some(plain) => Some(self.sealed_apart(SEALED_PATIENT, plain).await?),
            None => None,
        };
        Ok(Emergency {
            number: self.registry.next_emergency().await.map_err(|error| Refusal::because(&error))?,
            person: person.id,
            person_name: person.name.clone(),
            role: glass.role.clone(),
            resource: wish.resource.clone(),
            reason_code: wish.reason_code.clone(),
            reason,
            patient,
            drill: wish.drill,
            code: None,
            duration: wish.duration_s.map_or(glass.duration_max, Duration::from_secs),
            approvals: glass.approvals,
            approved_by: Vec::new(),
            asked_at: self.now(),
            // Whatever is recorded of it comes at or after this.
            entry: self.trail.durable(),
            taken: None,
            over: None,
            review_due: None,
            overdue_at: None,
            review: None,
            rotation: None,
        })
    }

    /// Refuses a second emergency access of one person to one resource; here the refusal is recorded as one.
    async fn check_free(&self, person: &ActingPerson, resource: &str) -> Result<(), Refusal> {
        let now = self.now();
        let open = self.registry.emergencies(false).await.map_err(|error| Refusal::because(&error))?;
        let had = open.iter().find(|known| {
            known.person == person.id
                && known.resource == resource
                && (known.waits() || known.is_in_force(now))
        });
        let Some(had) = had else { return Ok(()) };
        let message =
            format!("{} has emergency access to {} already", quoted(&person.name), quoted(resource));
        Err(Refusal::new(message).help(format!("it is number {}: `wardline break-glass list`", had.number)))
    }

    /// Makes the record durable that emergency access begins. From it others are told.
    async fn emergency_begun(
        &self,
        emergency: &Emergency,
        patients: Option<Patients<'static>>,
    ) -> Result<(), Refusal> {
        let mut record = self.emergency_record(Kind::EmergencyBegun, emergency);
        let until = self.now().0.saturating_add(micros(emergency.duration));
        record.detail = Some(detail(&format!(
            "until {}; role {}; {}{}{}{}{}: {}",
            output::time(Micros(until)),
            quoted(&emergency.role),
            self.overdue_said(emergency).unwrap_or_default(),
            emergency.code.as_ref().map(|code| format!("by the sealed code {code}; ")).unwrap_or_default(),
            if emergency.drill { "DRILL; " } else { "" },
            if emergency.patient.is_some() { "one patient; " } else { "" },
            quoted(&emergency.reason_code),
            emergency.reason
        )));
        record.patients = patients;
        self.record(&record).await.map_err(|error| {
            Refusal::because(&error).help("it did not begin, because it could not be recorded")
        })
    }

    /// Says which training of the person is overdue: an emergency goes before it, and whoever reviews it is to know.
    fn overdue_said(&self, emergency: &Emergency) -> Option<String> {
        let now = self.now();
        let seconds = i64::try_from(now.0 / 1_000_000).unwrap_or(i64::MAX);
        let lessons = self.snapshot().lessons(emergency.person, now);
        let overdue = lessons.iter().filter(|lesson| lesson.is_overdue(seconds) && lesson.course.refuse);
        let names: Vec<&str> = overdue.map(|lesson| &*lesson.course.name).collect();
        (!names.is_empty()).then(|| format!("{TRAINING_OVERDUE}{}; ", names.join(", ")))
    }

    fn emergency_record(&self, kind: Kind, emergency: &Emergency) -> Record<'static> {
        let mut record = Record::new(kind, self.now());
        record.person = Some(emergency.person);
        record.person_name = Some(emergency.person_name.clone().into());
        record.resource = Some(emergency.resource.clone().into());
        record.emergency = Some(emergency.number);
        record
    }

    async fn emergency_approve(&self, actor: &Actor, number: u64) -> Result<Reply, Refusal> {
        let change = Change::new(actor, "break-glass approve", format!("approve emergency access {number}"));
        let found = self.waiting(number).await;
        let emergency = self.or_refuse(&change, found).await?;
        let what = format!("approve {}", shown(&emergency));
        let change = Change { what, emergency: Some(number), ..change };
        let may = acting(actor).and_then(|person| may_approve(person, &emergency));
        let person = self.or_refuse(&change, may).await?;
        let (change, registry) = self.admitted_numbered(change).await?;
        let config = self.config.load_full();
        if emergency.approved_by.len() + 1 >= usize::try_from(emergency.approvals).unwrap_or(usize::MAX) {
            let patient = self.patient_of(&emergency).await?;
            let named = patient.and_then(|patient| self.named(&config, &emergency.resource, &patient));
            self.emergency_begun(&emergency, named).await?;
        }
        let approved = registry.approve_emergency(number, (person.id, &person.name), self.now()).await;
        let after = self.done(&change, approved).await?;
        if after.taken.is_some() {
            self.publish(&config).await?;
            announce(&after);
        }
        Ok(Reply::Emergencies(vec![self.emergency_view(&after)]))
    }

    async fn waiting(&self, number: u64) -> Result<Emergency, Refusal> {
        let emergency = self.known_emergency(number).await?;
        if emergency.waits() {
            return Ok(emergency);
        }
        Err(Refusal::new(format!("emergency access {number} does not wait for approval")))
    }

    async fn known_emergency(&self, number: u64) -> Result<Emergency, Refusal> {
        self.registry.emergency(number).await.map_err(|error| {
            Refusal::because(&error).help("`wardline break-glass list --all` shows what there is")
        })
    }

    /// Ends it before its time: whoever has it, or somebody else.
    async fn emergency_finish(
        &self,
        actor: &Actor,
        number: u64,
        how: Finish,
        why: &str,
    ) -> Result<Reply, Refusal> {
        let (command, verb) = match how {
            Finish::End => ("break-glass end", "give back"),
            Finish::Revoke => ("break-glass revoke", "take away"),
        };
        let why = output::clipped(&output::printable(why), REASON_CHARS_MAX);
        let change = Change::new(actor, command, format!("{verb} emergency access {number}: {why}"));
        let found = self.known_emergency(number).await;
        let emergency = self.or_refuse(&change, found).await?;
        let what = format!("{verb} {}: {why}", shown(&emergency));
        let change = Change { what, emergency: Some(number), ..change };
        let over = check_finish(actor, &emergency, how, &why);
        let over = self.or_refuse(&change, over).await?;
        let after = self.emergency_over(change, &emergency, over, &why).await?;
        Ok(Reply::Emergencies(vec![self.emergency_view(&after)]))
    }

    /// Ends it: recorded, out of the policy, its sessions cut.
    async fn emergency_over(
        &self,
        change: Change<'_>,
        emergency: &Emergency,
        over: Over,
        why: &str,
    ) -> Result<Emergency, Refusal> {
        let actor = change.actor;
        let (change, registry) = self.admitted_numbered(change).await?;
        if emergency.taken.is_some() {
            let mut record = self.emergency_record(Kind::EmergencyEnded, emergency);
            let drill = if emergency.drill { "DRILL; " } else { "" };
            record.detail = Some(detail(&format!("{drill}{} by {}", over.name(), actor.shown())));
            self.record_urgent(&record).await.map_err(|error| Refusal::because(&error))?;
        }
        let at = self.now();
        let config = self.config.load_full();
        let days = config.emergency.break_glass.as_ref().map_or(1, |glass| glass.review_days);
        let due = business_days_after(at, days);
        let ended = registry.end_emergency(emergency.number, over, &actor.shown(), why, at, due).await;
        let after = self.done(&change, ended).await?;
        self.publish(&config).await?;
        if emergency.taken.is_some() {
            let cut = self.sessions.end(Cut::EmergencyOver, |session| {
                session.person == emergency.person && *session.resource.0 == *emergency.resource
            });
            tracing::warn!(number = emergency.number, over = over.name(), cut, "emergency access is over");
            metrics::counter!("wardline_emergencies_ended_total").increment(1);
        }
        Ok(after)
    }

    async fn emergency_list(&self, actor: &Actor, also_done: bool) -> Result<Reply, Refusal> {
        let mut rows =
            self.registry.emergencies(also_done).await.map_err(|error| Refusal::because(&error))?;
        // Whoever holds no right sees their own.
        if !sees_all(&self.rights_of(actor)) {
            rows.retain(|row| actor.person.as_ref().is_some_and(|person| person.id == row.person));
        }
        Ok(Reply::Emergencies(rows.iter().map(|row| self.emergency_view(row)).collect()))
    }

    async fn emergency_review(
        &self,
        actor: &Actor,
        number: u64,
        finding: Finding,
        note: &str,
    ) -> Result<Reply, Refusal> {
        let what = format!("review emergency access {number}: {}", finding.name());
        let change = Change::new(actor, "break-glass review", what);
        let found = self.known_emergency(number).await;
        let emergency = self.or_refuse(&change, found).await?;
        let what = format!("review {}: {}", shown(&emergency), finding.name());
        let change = Change { what, emergency: Some(number), ..change };
        let may = acting(actor).and_then(|person| may_review(person, &emergency, note));
        let person = self.or_refuse(&change, may).await?;
        let sealed = self.sealed_apart(SEALED_NOTE, note.as_bytes().to_vec()).await?;
        let (change, registry) = self.admitted_numbered(change).await?;
        let mut record = self.emergency_record(Kind::EmergencyReviewed, &emergency);
        actor.sign(&mut record);
        record.detail = Some(finding.name().into());
        record.sealed = Some(self.trail.sealer().seal(0, 0, &as_literal(note)).into());
        self.record(&record).await.map_err(|error| Refusal::because(&error))?;
        let (by, name, at) = (person.id, person.name.clone(), self.now());
        let reviewed =
            registry.review_emergency(number, &Review { by, name, at, finding, note: sealed }).await;
        let after = self.done(&change, reviewed).await?;
        metrics::counter!("wardline_emergencies_reviewed_total").increment(1);
        Ok(Reply::Emergencies(vec![self.emergency_view(&after)]))
    }

    async fn sealed_apart(&self, what: &'static str, plain: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let trail = self.trail.clone();
        let sealed = tokio::task::spawn_blocking(move || trail.seal_apart(what, &plain)).await;
        let sealed = sealed.map_err(|error| Refusal::because(&error))?;
        sealed.map_err(|error| Refusal::because(&error))
    }

    /// Returns the identifier of the patient whom it is about.
    async fn patient_of(&self, emergency: &Emergency) -> Result<Option<String>, Refusal> {
        let Some(sealed) = emergency.patient.clone() else { return Ok(None) };
        let trail = self.trail.clone();
        let opened = tokio::task::spawn_blocking(move || trail.open_apart(SEALED_PATIENT, &sealed)).await;
        let opened = opened.map_err(|error| Refusal::because(&error))?;
        let opened = opened.map_err(|error| Refusal::because(&error))?;
        Ok(Some(String::from_utf8_lossy(&opened).into_owned()))
    }

    /// Returns the patient as a record names them: by token, and sealed.
    fn named(&self, config: &Config, resource: &str, patient: &str) -> Option<Patients<'static>> {
        let forms: Vec<Box<[u8]>> =
            patient_forms(patient).into_iter().map(|form| form.into_bytes().into()).collect();
        self.trail.sealer().patients(0, 0, &issuer(config, resource), &forms)
    }

    fn emergency_view(&self, row: &Emergency) -> EmergencyView {
        EmergencyView::of(row, self.now())
    }
}

/// Returns whose identifiers a resource has.
fn issuer(config: &Config, resource: &str) -> String {
    let configured = config.resources.get(resource).and_then(|resource| resource.protection.as_ref());
    configured.and_then(|protection| protection.issuer.clone()).unwrap_or_else(|| resource.to_owned())
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn announce(emergency: &Emergency) {
    metrics::counter!("wardline_emergencies_begun_total").increment(1);
    tracing::warn!(
        number = emergency.number,
        person = emergency.person_name,
        resource = emergency.resource,
        reason_code = emergency.reason_code,
        drill = emergency.drill,
        "EMERGENCY ACCESS has begun"
    );
}

fn shown(emergency: &Emergency) -> String {
    format!(
        "emergency access {} of {} (id {}) to {}",
        emergency.number,
        quoted(&emergency.person_name),
        emergency.person,
        quoted(&emergency.resource)
    )
}

/// Returns the reason with placeholders for what names a patient: it is told to others.
fn screened(config: &Config, wish: &Wish) -> String {
    use phi::detect::{Budget, Detector, Features, Scratch, redact_spans};
    let reason = output::printable(wish.reason.0.expose().trim());
    let protection = config.resources.get(&wish.resource).and_then(|resource| resource.protection.as_ref());
    let numbers = protection.map(|protection| protection.record_numbers.clone()).unwrap_or_default();
    let detector = Detector::with_record_numbers(numbers);
    let (mut budget, mut scratch) = (Budget::new(u64::MAX), Scratch::default());
    let Ok(spans) = detector.find(&reason, &Features::none(), &mut budget, &mut scratch) else {
        return "[REASON]".to_owned();
    };
    let mut plain = Vec::with_capacity(reason.len());
    redact_spans(&reason, spans, &mut plain);
    let plain = String::from_utf8_lossy(&plain).into_owned();
    match wish.patient.as_ref().map(|patient| patient.0.expose().trim()) {
        Some(patient) if !patient.is_empty() => without(&plain, patient),
        Some(_) | None => plain,
    }
}

/// Returns a text with a placeholder wherever a word of it is the patient's identifier.
fn without(text: &str, patient: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut from = 0;
    for (at, _) in text.match_indices(patient) {
        let end = at + patient.len();
        let (before, after) = (text.get(..at).unwrap_or_default(), text.get(end..).unwrap_or_default());
        let beside = [before.chars().next_back(), after.chars().next()];
        if !beside.into_iter().flatten().any(char::is_alphanumeric) {
            plain.push_str(text.get(from..at).unwrap_or_default());
            plain.push_str("[PATIENT]");
            from = end;
        }
    }
    plain.push_str(text.get(from..).unwrap_or_default());
    plain
}

/// Checks whether this person may have this, and returns by which terms.
fn check<'c>(config: &'c Config, person: &ActingPerson, wish: &Wish) -> Result<&'c BreakGlass, Refusal> {
    let Some(glass) = &config.emergency.break_glass else {
        let refusal = Refusal::new("there is no emergency access");
        return Err(refusal.help("the configuration has no [break_glass] section"));
    };
    if !person.roles.iter().any(|role| glass.initiators.contains(role)) {
        let refusal = Refusal::new(format!("{} may not take emergency access", quoted(&person.name)));
        return Err(refusal.help(format!("these roles may: {}", glass.initiators.join(", "))));
    }
    if !glass.resources.contains(&wish.resource) {
        let known = glass.resources.iter().map(String::as_str);
        return Err(no_such("resource with emergency access", &wish.resource, known));
    }
    if !glass.reason_codes.contains(&wish.reason_code) {
        let known = glass.reason_codes.iter().map(String::as_str);
        return Err(no_such("code of a reason", &wish.reason_code, known));
    }
    check_length("reason", &wish.reason, REASON_CHARS_MIN, REASON_CHARS_MAX)?;
    let most = glass.duration_max.as_secs();
    if wish.duration_s.is_some_and(|seconds| seconds == 0 || seconds > most) {
        let refusal = Refusal::new("it may not be had for so long");
        return Err(refusal.help(format!("ask for 1 to {most} seconds with --for")));
    }
    let patient = wish.patient.as_ref().map(|patient| patient.0.expose());
    if patient.is_some_and(|patient| patient.trim().is_empty() || patient.len() > PATIENT_BYTES_MAX) {
        return Err(Refusal::new("that is no identifier of a patient"));
    }
    Ok(glass)
}

fn check_length(noun: &str, text: &Sensitive, min: usize, max: usize) -> Result<(), Refusal> {
    let chars = text.0.expose().trim().chars().count();
    if (min..=max).contains(&chars) {
        return Ok(());
    }
    let refusal = Refusal::new(format!("a {noun} of {min} to {max} characters is needed"));
    Err(refusal.help(format!("say with --{noun} what happened, for whoever reviews it; no patient's name")))
}

fn may_approve<'a>(person: &'a ActingPerson, emergency: &Emergency) -> Result<&'a ActingPerson, Refusal> {
    if person.id == emergency.person {
        return Err(Refusal::new("nobody approves their own emergency access"));
    }
    Ok(person)
}

fn may_review<'a>(
    person: &'a ActingPerson,
    emergency: &Emergency,
    note: &str,
) -> Result<&'a ActingPerson, Refusal> {
    if person.id == emergency.person {
        let refusal = Refusal::new("nobody reviews their own emergency access");
        return Err(refusal.help("ask somebody else who holds the right `privacy-officer`"));
    }
    if !emergency.awaits_review() {
        let message = match (&emergency.review, &emergency.over) {
            (Some(_), _) => "it was reviewed before",
            (None, None) => "it is not over yet",
            (None, Some(_)) => "it never began, so there is nothing to review",
        };
        return Err(Refusal::new(message).help("`wardline break-glass list` shows what awaits review"));
    }
    let chars = note.trim().chars().count();
    if !(NOTE_CHARS_MIN..=NOTE_CHARS_MAX).contains(&chars) {
        let message = format!("a note of {NOTE_CHARS_MIN} to {NOTE_CHARS_MAX} characters is needed");
        return Err(Refusal::new(message).help("say with --note what was looked at; it is sealed"));
    }
    Ok(person)
}

/// Returns how it is over when somebody ends it so.
fn check_finish(actor: &Actor, emergency: &Emergency, how: Finish, why: &str) -> Result<Over, Refusal> {
    if emergency.over.is_some() {
        return Err(Refusal::new(format!("emergency access {} is over already", emergency.number)));
    }
    let began = emergency.taken.is_some();
    match how {
        Finish::End if acting(actor)?.id != emergency.person => {
            let refusal = Refusal::new(format!("emergency access {} is somebody else's", emergency.number));
            Err(refusal.help("`wardline break-glass revoke` takes it away"))
        }
        Finish::End => Ok(if began { Over::Ended } else { Over::Withdrawn }),
        Finish::Revoke if why.trim().is_empty() => {
            Err(Refusal::new("a reason is needed, for whoever reads the trail").help("give --reason"))
        }
        Finish::Revoke => Ok(if began { Over::Revoked } else { Over::Denied }),
    }
}

/// Returns the same time of day so many business days later: Monday to Friday in UTC, holidays are not known.
fn business_days_after(at: Micros, days: u32) -> Micros {
    let mut due = at.0;
    for _ in 0..days {
        due = due.saturating_add(DAY_US);
        // 1970-01-01 was a Thursday, the fourth day of a week; the sixth and seventh are no business days.
        while (due / DAY_US + 3) % 7 >= 5 && due < u64::MAX - DAY_US {
            due += DAY_US;
        }
    }
    Micros(due)
}

/// Lays a text out as the literals of a statement are, so that `--open-sealed` shows it.
fn as_literal(text: &str) -> Vec<u8> {
    let mut literals = Vec::with_capacity(text.len() + 4);
    let mut length = text.len() + 1;
    while length >= 0x80 {
        literals.push((length & 0x7f | 0x80).to_le_bytes()[0]);
        length >>= 7;
    }
    literals.push(length.to_le_bytes()[0]);
    literals.extend_from_slice(text.as_bytes());
    let mut plain = u32::try_from(literals.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    plain.extend_from_slice(&literals);
    plain
}

/// The rights by which somebody sees the emergency access of others.
const LOOKERS: [Right; 5] =
    [Right::Admin, Right::Auditor, Right::KeyAdmin, Right::PrivacyOfficer, Right::Approver];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn business_days_are_monday_to_friday() {
        // Monday 2026-11-23 09:30 UTC.
        let monday = 1_795_426_200_000_000;
        let day = |number: u64| Micros(monday + number * DAY_US);
        for (from, days, due) in
            [(0, 1, 1), (3, 1, 4), (4, 1, 7), (5, 1, 7), (6, 1, 7), (4, 2, 8), (0, 5, 7), (0, 6, 8)]
        {
            assert_eq!(business_days_after(day(from), days), day(due), "{from} + {days}");
        }
        assert!(business_days_after(Micros(u64::MAX), 30).0 > 0);
    }

    #[test]
    fn the_patient_is_taken_out_of_a_reason_word_by_word() {
        for (text, expected) in [
            ("patient 7 of 77, room 7", "patient [PATIENT] of 77, room [PATIENT]"),
            ("7", "[PATIENT]"),
            ("a7 7b (7)", "a7 7b ([PATIENT])"),
            ("nobody", "nobody"),
        ] {
            assert_eq!(without(text, "7"), expected);
        }
    }

    #[test]
    fn a_note_reads_as_a_literal() {
        for text in ["a note of a reviewer", &"long ".repeat(100)] {
            let opened = crate::render::Opened::read(&as_literal(text));
            assert_eq!(opened.literals, [Some(text.to_owned())]);
        }
    }
}
