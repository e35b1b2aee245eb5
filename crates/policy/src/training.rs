//! What people must have learnt, judged at the time that a question is asked.

use std::collections::HashMap;
use std::sync::Arc;

use model::{PersonId, PolicyId};

use crate::sources::{Course, Diagnostic, Sources};

/// A course that a person must have learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// The course.
    pub course: Arc<Course>,
    /// From when on it is overdue, in seconds since 1970.
    pub due: i64,
}

impl Lesson {
    /// Tells whether it is overdue.
    pub fn is_overdue(&self, at: i64) -> bool {
        self.due <= at
    }

    /// Tells whether the person is to be told of it.
    pub fn is_told(&self, at: i64) -> bool {
        self.due.saturating_sub(self.course.warn_before_s) <= at
    }

    /// Returns how denials name it.
    pub(crate) fn reason(&self) -> PolicyId {
        PolicyId(format!("training.{}", self.course.name).into())
    }
}

/// Everybody's lessons, in the order of the courses' names.
pub(crate) fn lessons(sources: &Sources<'_>, faults: &mut Vec<Diagnostic>) -> HashMap<PersonId, Vec<Lesson>> {
    let courses: HashMap<&str, Arc<Course>> =
        sources.courses.iter().map(|course| (&*course.name, Arc::new(course.clone()))).collect();
    let mut lessons: HashMap<PersonId, Vec<Lesson>> = HashMap::new();
    for due in sources.dues {
        match courses.get(&*due.course) {
            Some(course) => {
                let lesson = Lesson { course: Arc::clone(course), due: due.at };
                lessons.entry(due.person).or_default().push(lesson);
            }
            None => faults.push(Diagnostic {
                file: "people".to_owned(),
                line: 0,
                column: 0,
                message: format!("a person must have learnt `{}`, which is not defined", due.course),
            }),
        }
    }
    for lessons in lessons.values_mut() {
        lessons.sort_by(|a, b| (&a.course.name, a.due).cmp(&(&b.course.name, b.due)));
    }
    lessons
}
