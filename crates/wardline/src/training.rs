//! Who must have learnt what until when: from the configuration, the roles that people hold, and what was entered.
//!
//! Pure: the registry's rows come in, as does the time. What follows from it is decided by policy.

use model::{Micros, PersonId};
use policy::Due;
use registry::{PersonRow, RequestRow, Training};

use crate::config::{Config, Course};

/// A person and a course that they must learn, or did.
#[derive(Clone, Debug)]
pub(crate) struct Lesson<'a> {
    pub(crate) person: &'a PersonRow,
    pub(crate) name: &'a str,
    pub(crate) course: &'a Course,
    /// The roles for which it is asked, those of grants included.
    pub(crate) roles: Vec<String>,
    pub(crate) completed_at: Option<Micros>,
    /// From when on it is overdue.
    pub(crate) due: Micros,
}

impl Lesson<'_> {
    /// Tells whether any role of the person asks for it.
    pub(crate) fn is_needed(&self) -> bool {
        !self.roles.is_empty()
    }

    /// Returns the word for lists.
    pub(crate) fn state(&self, now: Micros) -> &'static str {
        let warned = self.due.0.saturating_sub(micros(self.course.warn_before)) <= now.0;
        match (self.is_needed(), self.due <= now, self.completed_at) {
            (false, ..) => "not-needed",
            (true, true, _) => "overdue",
            (true, false, None) => "new",
            (true, false, Some(_)) if warned => "due-soon",
            (true, false, Some(_)) => "valid",
        }
    }
}

/// Returns every course that a person must learn or has learnt, by person and course.
pub(crate) fn lessons<'a>(
    config: &'a Config,
    people: &'a [PersonRow],
    grants: &[RequestRow],
    training: &Training,
    now: Micros,
) -> Vec<Lesson<'a>> {
    let mut lessons = Vec::new();
    for person in people {
        let held = held(person, grants);
        for (name, course) in &config.courses {
            let asks = |role: &&String| course.roles.contains(role);
            let roles: Vec<String> = held.iter().copied().filter(asks).cloned().collect();
            let completed_at = training.completed_at(person.id, name);
            if roles.is_empty() && completed_at.is_none() {
                continue;
            }
            let due = due(course, completed_at, training.assigned_at(person.id, name), now);
            lessons.push(Lesson { person, name, course, roles, completed_at, due });
        }
    }
    lessons
}

/// Returns the same as policy needs it.
pub(crate) fn dues(lessons: &[Lesson<'_>]) -> Vec<Due> {
    let needed = lessons.iter().filter(|lesson| lesson.is_needed());
    let due = |lesson: &Lesson<'_>| Due {
        person: lesson.person.id,
        course: lesson.name.into(),
        at: i64::try_from(lesson.due.0 / 1_000_000).unwrap_or(i64::MAX),
    };
    needed.map(due).collect()
}

/// Returns who was not asked yet to learn what they must.
pub(crate) fn unassigned(lessons: &[Lesson<'_>], training: &Training) -> Vec<(PersonId, String, String)> {
    let new = |lesson: &&Lesson<'_>| {
        lesson.is_needed() && training.assigned_at(lesson.person.id, lesson.name).is_none()
    };
    let named = |lesson: &Lesson<'_>| (lesson.person.id, lesson.person.name.clone(), lesson.name.to_owned());
    lessons.iter().filter(new).map(named).collect()
}

/// Returns the names of the roles that a person holds, those of grants included.
fn held<'a>(person: &'a PersonRow, grants: &'a [RequestRow]) -> Vec<&'a String> {
    let granted = grants.iter().filter(|grant| grant.person == person.id).map(|grant| &grant.role);
    let mut held: Vec<&String> = person.roles.iter().chain(granted).collect();
    held.sort_unstable();
    held.dedup();
    held
}

/// Who completed it has time until that is too old; who never did, the grace from when they were first asked.
fn due(course: &Course, completed_at: Option<Micros>, assigned_at: Option<Micros>, now: Micros) -> Micros {
    let (from, time) = match completed_at {
        Some(completed_at) => (completed_at, course.valid_for),
        None => (assigned_at.unwrap_or(now), course.grace),
    };
    Micros(from.0.saturating_add(micros(time)))
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DAY_US: u64 = 86_400_000_000;

    fn course() -> Course {
        let days = |days: u64| Duration::from_hours(24 * days);
        Course {
            title: "Privacy basics".to_owned(),
            roles: vec!["nurse".to_owned()],
            valid_for: days(365),
            warn_before: days(30),
            grace: days(14),
            refuse: true,
            instructions: String::new(),
            activity: None,
        }
    }

    #[test]
    fn a_completion_counts_for_a_while_and_who_is_new_has_some_time() {
        let person = PersonRow {
            id: PersonId(7),
            name: "nina".to_owned(),
            display_name: String::new(),
            roles: vec!["nurse".to_owned()],
            disabled_at: None,
            created_at: Micros(0),
        };
        let course = course();
        let day = |day: u64| Micros(day * DAY_US);
        let cases = [
            (None, None, 100, "new", 114),
            (None, Some(90), 100, "new", 104),
            (None, Some(86), 100, "overdue", 100),
            (Some(90), Some(10), 100, "valid", 455),
            (Some(90), None, 424, "valid", 455),
            (Some(90), None, 425, "due-soon", 455),
            (Some(90), None, 455, "overdue", 455),
        ];
        for (completed, assigned, now, state, until) in cases {
            let due = due(&course, completed.map(day), assigned.map(day), day(now));
            let lesson = Lesson {
                person: &person,
                name: "basics",
                course: &course,
                roles: person.roles.clone(),
                completed_at: completed.map(day),
                due,
            };
            assert_eq!(
                (lesson.state(day(now)), due),
                (state, day(until)),
                "{completed:?} {assigned:?} {now}"
            );
        }
    }
}
