//! `[training.NAME]`: what people of a role must learn, how often, and what they are told.

use std::collections::BTreeMap;
use std::time::Duration;

use policy::Role;

use super::problem;
use super::read::Section;
use super::sections::check_name;

const DAY: Duration = Duration::from_hours(24);

/// Longest title, and longest text of what to do: both stand in a message to a client.
const TITLE_CHARS_MAX: usize = 100;
const TEXT_CHARS_MAX: usize = 500;

/// A course.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Course {
    pub(crate) title: String,
    /// Whose people must learn it.
    pub(crate) roles: Vec<String>,
    /// For how long a completion counts.
    pub(crate) valid_for: Duration,
    /// For how long before it is due people are told.
    pub(crate) warn_before: Duration,
    /// How long somebody who is new to it may take.
    pub(crate) grace: Duration,
    /// Whether everything is refused to whom it is overdue.
    pub(crate) refuse: bool,
    /// What people are told to do.
    pub(crate) instructions: String,
    /// How a learning system calls it.
    pub(crate) activity: Option<String>,
}

impl Course {
    /// Returns the course as policy knows it.
    pub(crate) fn of_policy(&self, name: &str) -> policy::Course {
        policy::Course {
            name: name.into(),
            title: self.title.as_str().into(),
            refuse: self.refuse,
            warn_before_s: i64::try_from(self.warn_before.as_secs()).unwrap_or(i64::MAX),
            text: self.instructions.as_str().into(),
        }
    }
}

/// Reads the sections, by the names of their courses.
pub(super) fn courses(top: &Section<'_, '_>, roles: &[Role]) -> BTreeMap<String, Course> {
    let mut courses = BTreeMap::new();
    for (name, section) in top.section("training").iter().flat_map(Section::named) {
        check_name(&section, "name of the course", &name);
        let title = text(&section, "title", "\"Privacy basics\"", TITLE_CHARS_MAX);
        let instructions =
            text(&section, "instructions", "\"Take it at https://learn.example\"", TEXT_CHARS_MAX);
        let asked = section.texts("roles", "[\"nurse\"]");
        if asked.is_empty() && section.value("roles").is_none() {
            section.missing("roles", "[\"nurse\"]");
        }
        for role in asked.iter().filter(|role| !roles.iter().any(|known| known.name == role.value)) {
            let message = format!("`{}` names `{}`, which is no role", section.child("roles"), role.value);
            let help = match problem::nearest(&role.value, roles.iter().map(|role| role.name.as_str())) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("add [[role.{}.allow]]", role.value),
            };
            section.reader().error(role.offset, message, help);
        }
        let days = |name: &str, bounds, default| {
            DAY * u32::try_from(section.number(name, bounds, default)).unwrap_or(u32::MAX)
        };
        let course = Course {
            valid_for: days("valid_for_d", 1..=3_650, 365),
            warn_before: days("warn_before_d", 0..=365, 30),
            grace: days("grace_d", 0..=365, 0),
            refuse: section.boolean("refuse").is_none_or(|refuse| refuse.value),
            activity: section.text("activity", "\"https://learn.example/basics\"").map(|at| at.value),
            roles: asked.into_iter().map(|role| role.value).collect(),
            title,
            instructions,
        };
        courses.insert(name.value, course);
    }
    courses
}

fn text(section: &Section<'_, '_>, name: &str, example: &str, chars_max: usize) -> String {
    let Some(text) = section.required(name, example) else { return String::new() };
    if text.value.chars().count() > chars_max || text.value.chars().any(char::is_control) {
        let message = format!("`{}` is too long, or holds control characters", section.child(name));
        section.reader().error(text.offset, message, format!("write at most {chars_max} characters"));
    }
    text.value
}
