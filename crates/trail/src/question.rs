//! What may be asked of the trail, and whether an entry answers it.
//!
//! This is the meaning of a search: the archive's engine must find the same entries, and `verify-answer` asks here again.
//! Deliberately absent: how the entries are found, and whose identifiers the tokens are.

use model::{PatientToken, Record, Verdict};
use serde::{Deserialize, Serialize};

/// A patient by the token of one year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sought {
    /// The year of the token's key.
    pub year: u16,
    /// The token, as hexadecimal in JSON.
    #[serde(with = "token")]
    pub token: PatientToken,
}

mod token {
    use model::PatientToken;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(token: &PatientToken, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(token)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PatientToken, D::Error> {
        let text = String::deserialize(deserializer)?;
        let proper = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = u128::from_str_radix(&text, 16).ok().filter(|_| proper);
        let number = number.ok_or_else(|| D::Error::custom("not a token"))?;
        Ok(PatientToken(number.to_be_bytes()))
    }
}

/// What entries must be like; what is empty or absent is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Question {
    /// Entries that name one of these patients. `Some` of nothing finds nothing: nobody is called so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patients: Option<Vec<Sought>>,
    /// The login name, or the id, of the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The name of the resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// One of the relations or functions, `schema.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relation: Option<String>,
    /// The name of the kind of entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The name of the class of the statement: the strongest action it needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The statement's command word or words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What policy said: `allow` or `deny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// At least so many rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_min: Option<u64>,
    /// Captured at this time or later, in microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_us: Option<u64>,
    /// Captured before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_us: Option<u64>,
    /// Only what showed protected columns as they are.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unmasked: bool,
    /// Only what had rows of patients who could not be told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unresolved: bool,
    /// Only what was done under emergency access, or is about one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,
    /// What it was for, as the person said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The name, or the id, of an agent that acted for the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

impl Question {
    /// Tells whether a record answers the question.
    pub fn answers(&self, record: &Record<'_>) -> bool {
        fn is(wanted: Option<&str>, value: Option<&str>) -> bool {
            wanted.is_none_or(|wanted| value == Some(wanted))
        }
        let person = || record.person.map(|id| id.to_string());
        is(self.kind.as_deref(), Some(record.kind.name()))
            && is(self.resource.as_deref(), record.resource.as_deref())
            && is(self.action.as_deref(), record.action.map(model::Action::name))
            && is(self.command.as_deref(), record.command.as_deref())
            && is(self.decision.as_deref(), record.verdict.map(verdict_name))
            && self.rows_min.is_none_or(|least| record.rows.is_some_and(|rows| rows >= least))
            && self.from_us.is_none_or(|from| record.at.0 >= from)
            && self.to_us.is_none_or(|to| record.at.0 < to)
            && (!self.unmasked || !record.unmasked.is_empty())
            && (!self.unresolved || record.unresolved.is_some())
            && (!self.emergency || record.emergency.is_some())
            && is(self.purpose.as_deref(), record.purpose.as_deref())
            && self.agent.as_ref().is_none_or(|wanted| {
                record.agent.as_deref().is_some_and(|agents| names_agent(agents, wanted))
            })
            && self.relation.as_ref().is_none_or(|name| record.objects.iter().any(|object| object == name))
            && self.person.as_ref().is_none_or(|wanted| {
                record.person_name.as_deref() == Some(wanted) || person().as_ref() == Some(wanted)
            })
            && self.patients.as_ref().is_none_or(|sought| names_one(record, sought))
    }
}

/// Tells whether a record's agents, `ID:NAME:NUMBER` each, ` > ` between, have one of this name or id.
pub fn names_agent(agents: &str, wanted: &str) -> bool {
    agents.split(" > ").any(|agent| {
        let Some((id, rest)) = agent.split_once(':') else { return false };
        id == wanted || rest.rsplit_once(':').is_some_and(|(name, _)| name == wanted)
    })
}

fn names_one(record: &Record<'_>, sought: &[Sought]) -> bool {
    record.patients.as_ref().is_some_and(|patients| {
        sought.iter().any(|one| one.year == patients.year() && patients.names(one.token))
    })
}

fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    }
}

#[cfg(test)]
mod tests {
    use model::{Kind, Micros, Patients};

    use super::*;

    #[test]
    fn each_part_of_a_question_must_be_met() {
        let mut record = Record::new(Kind::Operation, Micros(100));
        record.person_name = Some("ann".into());
        record.objects = vec!["public.patients".into()];
        record.rows = Some(3);
        record.purpose = Some("treatment".into());
        record.agent = Some("00000000000000000000000000000007:scribe:3 > 09:other:1".into());
        record.verdict = Some(Verdict::Allow);
        record.patients = Patients::new(2026, vec![PatientToken([7; 16])], b"".as_slice().into());
        let patient = |year| Question {
            patients: Some(vec![Sought { year, token: PatientToken([7; 16]) }]),
            ..Question::default()
        };
        let of = |json: &str| serde_json::from_str::<Question>(json).unwrap();
        for (question, answers) in [
            (Question::default(), true),
            (patient(2026), true),
            (patient(2025), false),
            (of(r#"{"patients":[]}"#), false),
            (of(r#"{"person":"ann","rows_min":3,"from_us":100,"to_us":101}"#), true),
            (of(r#"{"person":"bob"}"#), false),
            (of(r#"{"rows_min":4}"#), false),
            (of(r#"{"to_us":100}"#), false),
            (of(r#"{"relation":"public.patients","decision":"allow","kind":"operation"}"#), true),
            (of(r#"{"decision":"deny"}"#), false),
            (of(r#"{"unmasked":true}"#), false),
            (of(r#"{"emergency":true}"#), false),
            (of(r#"{"purpose":"treatment","agent":"scribe"}"#), true),
            (of(r#"{"agent":"00000000000000000000000000000007"}"#), true),
            (of(r#"{"agent":"other"}"#), true),
            (of(r#"{"agent":"scribe:3"}"#), false),
            (of(r#"{"agent":"3"}"#), false),
            (of(r#"{"purpose":"research"}"#), false),
        ] {
            assert_eq!(question.answers(&record), answers, "{question:?}");
            let json = serde_json::to_string(&question).unwrap();
            assert_eq!(of(&json), question);
        }
    }
}
