//! Training: what people completed, entered by whoever may; and who must learn what, followed by the server.

use model::{Micros, PersonId};
use registry::{NewCompletion, Source};

use super::sessions::{check_reason, reason_shown};
use super::{Change, quoted};
use crate::admin::{
    Actor, Completed, CompletionView, LessonView, Refusal, Reply, Told, TrainingAsk, TrainingReply,
};
use crate::commands::no_such;
use crate::config::Config;
use crate::node::{Node, Subjects};
use crate::output;

/// As many completions are entered at once.
pub(crate) const COMPLETIONS_MAX: usize = 500;
/// Longest word by which a source knows a completion.
const REFERENCE_BYTES_MAX: usize = 100;
/// As many mistakes are told at once.
const FAULTS_SHOWN_MAX: usize = 10;
/// As many people are assigned in one change, so that the record can name them all.
const ASSIGNED_MAX: usize = 50;

impl Node {
    pub(super) async fn training(&self, actor: &Actor, ask: TrainingAsk) -> Result<Reply, Refusal> {
        let command = ask.command();
        match ask {
            TrainingAsk::Complete { completions, from } => {
                self.training_complete(actor, command, &completions, from).await
            }
            TrainingAsk::Withdraw { number, reason } => self.training_withdraw(actor, number, &reason).await,
            TrainingAsk::Roster {} => self.training_roster().await,
            TrainingAsk::Completions {} => self.training_completions().await,
        }
    }

    /// Enters all or, where one of them cannot be, none. What is there already is left as it is, so that a file may be
    /// read twice.
    async fn training_complete(
        &self,
        actor: &Actor,
        command: &'static str,
        completions: &[Completed],
        from: Told,
    ) -> Result<Reply, Refusal> {
        let what = format!("enter {} completions of training", completions.len());
        let change = Change::new(actor, command, what);
        let checked = self.completions(completions, from, &actor.shown()).await;
        let checked = self.or_refuse(&change, checked).await?;
        let (mut numbers, mut known) = (Vec::new(), 0);
        for (name, new) in &checked {
            let what = format!(
                "person {} (id {}) completed `{}` on {} ({}{})",
                quoted(name),
                new.person,
                new.course,
                output::time(new.completed_at),
                new.source.name(),
                new.reference
                    .as_ref()
                    .map(|word| format!(" {}", output::printable(word)))
                    .unwrap_or_default(),
            );
            let (change, registry) = self.admitted_numbered(Change::new(actor, command, what)).await?;
            match self.done(&change, registry.complete_training(new, self.now()).await).await {
                Ok(Some(number)) => numbers.push(number),
                Ok(None) => known += 1,
                Err(refusal) => {
                    self.publish(&self.config.load_full()).await?;
                    return Err(refusal.help(format!("{} were entered before", numbers.len())));
                }
            }
        }
        if !numbers.is_empty() {
            self.publish(&self.config.load_full()).await?;
        }
        Ok(Reply::Training(TrainingReply::Entered { numbers, known }))
    }

    async fn completions(
        &self,
        completions: &[Completed],
        from: Told,
        by: &str,
    ) -> Result<Vec<(String, NewCompletion)>, Refusal> {
        // A learning system also tells of what is none of ours.
        let nothing = completions.is_empty() && from != Told::Xapi;
        if nothing || completions.len() > COMPLETIONS_MAX {
            return Err(Refusal::new(format!("enter 1 to {COMPLETIONS_MAX} completions at once")));
        }
        let people = self.registry.people().await.map_err(|error| Refusal::because(&error))?;
        let config = self.config.load_full();
        let (mut checked, mut faults) = (Vec::new(), Vec::new());
        for completed in completions {
            let person = people.iter().find(|person| person.name == completed.person).ok_or_else(|| {
                no_such("person", &completed.person, people.iter().map(|person| person.name.as_str()))
            });
            let fits = person.and_then(|person| Ok((person.id, check(&config, completed, self.now())?)));
            match fits {
                Ok((person, (course, completed_at))) => {
                    let source = match from {
                        Told::Command => Source::Command,
                        Told::Csv => Source::Csv,
                        Told::Xapi => Source::Xapi,
                    };
                    let reference = completed.reference.clone();
                    let by = by.to_owned();
                    let new = NewCompletion { person, course, completed_at, source, reference, by };
                    checked.push((completed.person.clone(), new));
                }
                Err(fault) => faults.push(fault),
            }
        }
        match faults.len() {
            0 => Ok(checked),
            1 => Err(faults.remove(0)),
            count => {
                let told = faults.iter().take(FAULTS_SHOWN_MAX).map(|fault| format!("\n  {}", fault.message));
                Err(Refusal::new(format!(
                    "{count} completions cannot be entered:{}",
                    told.collect::<String>()
                ))
                .help("nothing was entered"))
            }
        }
    }

    async fn training_withdraw(&self, actor: &Actor, number: u64, reason: &str) -> Result<Reply, Refusal> {
        let what = format!("take back completion {number}: {}", reason_shown(reason));
        let change = Change::new(actor, "training withdraw", what);
        self.or_refuse(&change, check_reason(reason)).await?;
        let rows = self.registry.training_completions().await.map_err(|error| Refusal::because(&error))?;
        let found = rows.iter().find(|row| row.number == number);
        let found = found.ok_or_else(|| {
            Refusal::new(format!("there is no completion {number}"))
                .help("`wardline training list` shows what was entered")
        });
        let row = self.or_refuse(&change, found).await?;
        let what = format!("{} (`{}` by person {})", change.what, row.course, row.person);
        let (change, registry) = self.admitted_numbered(Change { what, ..change }).await?;
        let withdrawn = registry.withdraw_training(number, &actor.shown(), reason, self.now()).await;
        self.done(&change, withdrawn).await?;
        self.publish(&self.config.load_full()).await?;
        Ok(Reply::Training(TrainingReply::Withdrawn {}))
    }

    async fn training_roster(&self) -> Result<Reply, Refusal> {
        let subjects = Subjects::read(&self.registry).await.map_err(|error| Refusal::because(&error))?;
        let (config, now) = (self.config.load_full(), self.now());
        let views = subjects.lessons(&config, now).into_iter().map(|lesson| {
            let state = lesson.state(now);
            LessonView {
                person: lesson.person.name.clone(),
                person_id: lesson.person.id.to_string(),
                course: lesson.name.to_owned(),
                title: lesson.course.title.clone(),
                state: state.to_owned(),
                completed_at: lesson.completed_at.map(output::time),
                due: lesson.is_needed().then(|| output::time(lesson.due)),
                refused: lesson.course.refuse && state == "overdue",
                disabled: lesson.person.disabled_at.is_some(),
                roles: lesson.roles,
            }
        });
        Ok(Reply::Training(TrainingReply::Roster(views.collect())))
    }

    async fn training_completions(&self) -> Result<Reply, Refusal> {
        let rows = self.registry.training_completions().await.map_err(|error| Refusal::because(&error))?;
        let people = self.registry.people().await.map_err(|error| Refusal::because(&error))?;
        let views = rows.into_iter().map(|row| {
            let person = people.iter().find(|person| person.id == row.person);
            CompletionView {
                number: row.number,
                person: person.map_or_else(|| row.person.to_string(), |person| person.name.clone()),
                course: row.course,
                completed_at: output::time(row.completed_at),
                source: row.source.name().to_owned(),
                reference: row.reference,
                recorded_by: row.recorded_by,
            }
        });
        Ok(Reply::Training(TrainingReply::Completions(views.collect())))
    }

    /// Notes since when people must learn what, for those of whom it is not noted yet. Their time to learn it runs from
    /// then.
    pub(crate) async fn assign_training(&self) -> Result<(), Refusal> {
        let _turn = self.turn.lock().await;
        let subjects = Subjects::read(&self.registry).await.map_err(|error| Refusal::because(&error))?;
        let config = self.config.load_full();
        let new = subjects.unassigned(&config, self.now());
        if new.is_empty() {
            return Ok(());
        }
        let actor = Actor::time();
        for course in config.courses.keys() {
            let asked: Vec<&(PersonId, String, String)> =
                new.iter().filter(|(_, _, name)| name == course).collect();
            for some in asked.chunks(ASSIGNED_MAX) {
                let names: Vec<&str> = some.iter().map(|(_, name, _)| name.as_str()).collect();
                let what = format!("training `{course}` is asked of {}", names.join(", "));
                let (change, registry) =
                    self.admitted_numbered(Change::new(&actor, "training assign", what)).await?;
                let people: Vec<PersonId> = some.iter().map(|(id, ..)| *id).collect();
                let assigned = registry.assign_training(&people, course, self.now()).await;
                self.done(&change, assigned).await?;
            }
        }
        self.publish(&config).await
    }
}

/// Checks one completion; returns the course and when it was.
fn check(config: &Config, completed: &Completed, now: Micros) -> Result<(String, Micros), Refusal> {
    if !config.courses.contains_key(&completed.course) {
        return Err(no_such("course", &completed.course, config.courses.keys().map(String::as_str)));
    }
    let at = output::parse_time(&completed.on)
        .map_err(|error| Refusal::new(format!("{}: {error}", quoted(&completed.on))))?;
    if at > now {
        return Err(Refusal::new(format!("{} is in the future", quoted(&completed.on))));
    }
    let reference = completed.reference.as_deref().unwrap_or_default();
    if reference.len() > REFERENCE_BYTES_MAX || reference.chars().any(char::is_control) {
        return Err(Refusal::new(format!("a reference has at most {REFERENCE_BYTES_MAX} printable bytes")));
    }
    Ok((completed.course.clone(), at))
}
