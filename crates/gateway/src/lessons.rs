//! What people are told of courses that they must learn: in time, when it is too late, and when a session ends for it.

use model::{Decision, Micros, PersonId, Verdict};
use policy::{Lesson, Snapshot};

use crate::protocol::postgres::codec::{Severity, WireError};

/// What denials begin with that are for want of training.
const REASON: &str = "training.";
const DAY_S: i64 = 86_400;

/// Returns what to do about a denial that is for want of training and for nothing else.
pub(crate) fn remedy(
    snapshot: &Snapshot,
    person: PersonId,
    decision: &Decision,
    at: Micros,
) -> Option<String> {
    let wanting = decision.verdict == Verdict::Deny
        && !decision.reasons.is_empty()
        && decision.reasons.iter().all(|reason| reason.0.starts_with(REASON));
    if !wanting {
        return None;
    }
    let now = seconds(at);
    let overdue = snapshot.lessons(person, at).into_iter().filter(|lesson| lesson.is_overdue(now));
    let texts: Vec<String> = overdue.map(|lesson| words(&lesson, now)).collect();
    (!texts.is_empty()).then(|| texts.join(" "))
}

/// Returns what a person is told who gets in.
pub(crate) fn notices(snapshot: &Snapshot, person: PersonId, at: Micros) -> Vec<WireError> {
    let now = seconds(at);
    let told = snapshot.lessons(person, at).into_iter();
    told.map(|lesson| WireError::new(Severity::Notice, b"01000", words(&lesson, now))).collect()
}

fn words(lesson: &Lesson, now: i64) -> String {
    let course = &lesson.course;
    let when = match (lesson.is_overdue(now), (lesson.due - now).max(0) / DAY_S) {
        (true, _) => "is overdue".to_owned(),
        (false, 0) => "is due today".to_owned(),
        (false, 1) => "is due in 1 day".to_owned(),
        (false, days) => format!("is due in {days} days"),
    };
    format!("Training \"{}\" {when}. {}", course.title, course.text).trim_end().to_owned()
}

fn seconds(at: Micros) -> i64 {
    i64::try_from(at.0 / 1_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use policy::Course;

    use super::*;

    #[test]
    fn the_words_say_when_and_what_to_do() {
        let course = Course {
            name: "basics".into(),
            title: "Privacy basics".into(),
            refuse: true,
            warn_before_s: 0,
            text: "See learn.example/basics.".into(),
        };
        let lesson = Lesson { course: course.into(), due: 10 * DAY_S };
        let said = |now| words(&lesson, now);
        let about = |when: &str| format!("Training \"Privacy basics\" {when}. See learn.example/basics.");
        assert_eq!(said(0), about("is due in 10 days"));
        assert_eq!(said(8 * DAY_S + 1), about("is due in 1 day"));
        assert_eq!(said(10 * DAY_S - 1), about("is due today"));
        assert_eq!(said(10 * DAY_S), about("is overdue"));
    }
}
