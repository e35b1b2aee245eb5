//! What learning systems tell: statements of xAPI, of which completions of courses are entered.
//!
//! Only taking statements is there (xAPI 1.0.3, part three, section 2.1.2). Absent: voiding, reading back, states, profiles.

use std::net::SocketAddr;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, FromRequestParts, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Secret;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Desk;
use super::caller::Caller;
use super::problem::Problem;
use crate::admin::{Actor, Claim, Completed, Request, Sensitive, Told, TrainingAsk};
use crate::changes::COMPLETIONS_MAX;
use crate::config::Config;
use crate::output;

/// Longest name and token in HTTP's Basic form.
const BASIC_BYTES_MAX: usize = 1_024;
/// Verbs that say that somebody has learnt it.
const VERBS: [&str; 2] =
    ["http://adlnet.gov/expapi/verbs/completed", "http://adlnet.gov/expapi/verbs/passed"];
const MINUTE_US: u64 = 60_000_000;

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new().routes(routes!(statements))
}

/// A learning system: proven by a token as everybody, or by name and token in the form that such systems send.
struct LearningSystem(Actor);

impl FromRequestParts<Desk> for LearningSystem {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, node: &Desk) -> Result<LearningSystem, Problem> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((name, token)) = header.and_then(basic) else {
            return Caller::from_request_parts(parts, node).await.map(|Caller(actor)| LearningSystem(actor));
        };
        let claim = Claim { name, token: Sensitive(token) };
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0);
        let proven = node.identify(Actor::on_the_web(peer), Some(claim)).await;
        proven.map(LearningSystem).map_err(|_recorded| {
            Problem::new(401, "who calls is not proven").help("send the login name and a token of it")
        })
    }
}

/// Reads `Basic base64(name:token)`.
fn basic(header: &str) -> Option<(String, Secret)> {
    let encoded = header.strip_prefix("Basic ").filter(|text| text.len() <= BASIC_BYTES_MAX)?;
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, token) = text.split_once(':')?;
    Some((name.to_owned(), Secret::new(token)))
}

/// What of a statement is looked at.
#[derive(Debug, Deserialize)]
struct Statement {
    id: Option<String>,
    actor: Party,
    verb: Named,
    object: Named,
    result: Option<Outcome>,
    timestamp: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Party {
    account: Option<Account>,
}

#[derive(Debug, Deserialize)]
struct Account {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Named {
    #[serde(default)]
    id: String,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    success: Option<bool>,
    completion: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Statements {
    Many(Vec<Statement>),
    One(Box<Statement>),
}

/// Takes statements of a learning system (xAPI). Completions of configured courses are entered; others are ignored.
#[utoipa::path(
    post,
    path = "/xapi/statements",
    request_body(content = Vec<serde_json::Value>, content_type = "application/json", description = "Statements; one alone may stand without the list"),
    responses(
        (status = 200, description = "The ids of the statements", body = Vec<String>),
        (status = 400, description = "They cannot be read", body = Problem),
        (status = 401, description = "Who calls is not proven", body = Problem),
        (status = 403, description = "Takes the right `trainer` or `admin`; or a person is not known", body = Problem),
    ),
    extensions(("x-right" = json!("admin | trainer"))),
)]
async fn statements(
    State(node): State<Desk>,
    LearningSystem(actor): LearningSystem,
    body: Bytes,
) -> Result<Json<Vec<String>>, Problem> {
    let unreadable = || Problem::new(400, "these are no statements of xAPI");
    let read: Statements = serde_json::from_slice(&body).map_err(|_| unreadable())?;
    let read = match read {
        Statements::Many(many) => many,
        Statements::One(one) => vec![*one],
    };
    if read.len() > COMPLETIONS_MAX {
        return Err(Problem::new(400, format!("send at most {COMPLETIONS_MAX} statements at once")));
    }
    let config = node.config.load_full();
    let now = output::time(node.now());
    let mut completions = Vec::new();
    for statement in &read {
        completions.extend(completed(&config, statement, &now).map_err(|why| unreadable().help(why))?);
    }
    // Also for nothing, so that a stranger's statement is refused whatever it says.
    let request = TrainingAsk::Complete { completions, from: Told::Xapi };
    node.perform(&actor, Request::Training(request)).await.map_err(Problem::from)?;
    Ok(Json(read.into_iter().map(|statement| statement.id.unwrap_or_else(fresh_id)).collect()))
}

/// Returns a random UUID, for statements that come without.
fn fresh_id() -> String {
    let id = format!("{:032x}", identity::person_id().0);
    let part = |from: usize, to: usize| id.get(from..to).unwrap_or_default();
    format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

/// Returns what a statement says of a course of ours, if it does.
fn completed(config: &Config, statement: &Statement, now: &str) -> Result<Option<Completed>, String> {
    let course =
        config.courses.iter().find(|(_, course)| course.activity.as_ref() == Some(&statement.object.id));
    let failed = statement
        .result
        .as_ref()
        .is_some_and(|result| result.success == Some(false) || result.completion == Some(false));
    let (Some((course, _)), true, false) = (course, VERBS.contains(&statement.verb.id.as_str()), failed)
    else {
        return Ok(None);
    };
    let Some(account) = &statement.actor.account else {
        return Err("the actor needs an `account`, whose `name` is the login name here".to_owned());
    };
    let on = match &statement.timestamp {
        Some(timestamp) => utc(timestamp)?,
        None => now.to_owned(),
    };
    let reference = statement.id.clone();
    Ok(Some(Completed { person: account.name.clone(), course: course.clone(), on, reference }))
}

/// Returns a time of ISO 8601, which may be that of another zone, in UTC.
fn utc(timestamp: &str) -> Result<String, String> {
    let wrong = || "a `timestamp` is written as 2026-11-23T09:40:16Z or 2026-11-23T10:40:16+01:00".to_owned();
    let clock = timestamp.find('T').ok_or_else(wrong)?;
    let (date, time) = timestamp.split_at_checked(clock).ok_or_else(wrong)?;
    let Some(at) = time.find(['+', '-']) else {
        return output::parse_time(timestamp).map(output::time).map_err(|_| wrong());
    };
    let (time, offset) = time.split_at_checked(at).ok_or_else(wrong)?;
    let local = output::parse_time(&format!("{date}{time}")).map_err(|_| wrong())?;
    let (sign, digits) = offset.split_at_checked(1).ok_or_else(wrong)?;
    let digits = digits.replace(':', "");
    let (hours, minutes) = digits.split_at_checked(2).ok_or_else(wrong)?;
    let number = |text: &str, most: u64| text.parse().ok().filter(|number| *number <= most).ok_or_else(wrong);
    let minutes = if minutes.is_empty() { 0 } else { number(minutes, 59)? };
    let offset = (number(hours, 23)? * 60 + minutes) * MINUTE_US;
    let moved = if sign == "+" { local.0.checked_sub(offset) } else { local.0.checked_add(offset) };
    moved.map(|at| output::time(model::Micros(at))).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const CONFIG: &str = r#"
node = "gw1"
[listener.postgres]
[role.nurse]
[training.basics]
title = "Basics"
roles = ["nurse"]
instructions = "Learn."
activity = "https://learn.example/basics"
"#;

    fn said(statement: &str) -> Result<Option<Completed>, String> {
        let config = Config::parse(Path::new("wardline.toml"), CONFIG).config.expect("it is valid");
        completed(
            &config,
            &serde_json::from_str(statement).expect("a statement"),
            "2026-11-23T00:00:00.000000Z",
        )
    }

    #[test]
    fn a_statement_counts_that_says_that_a_person_completed_a_course() {
        let statement = |verb: &str, activity: &str, more: &str| {
            format!(
                r#"{{"id": "s-1", "actor": {{"account": {{"homePage": "https://hr.example", "name": "ann"}}}},
                "verb": {{"id": "http://adlnet.gov/expapi/verbs/{verb}"}}, "object": {{"id": "https://learn.example/{activity}"}},
                "timestamp": "2026-11-23T01:30:00+02:00"{more}}}"#
            )
        };
        let expected = Completed {
            person: "ann".to_owned(),
            course: "basics".to_owned(),
            on: "2026-11-22T23:30:00.000000Z".to_owned(),
            reference: Some("s-1".to_owned()),
        };
        assert_eq!(said(&statement("completed", "basics", "")), Ok(Some(expected.clone())));
        let passed = statement("passed", "basics", r#", "result": {"success": true, "completion": true}"#);
        assert_eq!(said(&passed), Ok(Some(expected)));
        for (verb, activity, more) in [
            ("attempted", "basics", ""),
            ("completed", "other", ""),
            ("completed", "basics", r#", "result": {"success": false}"#),
            ("completed", "basics", r#", "result": {"completion": false}"#),
        ] {
            assert_eq!(said(&statement(verb, activity, more)), Ok(None), "{verb} {activity} {more}");
        }
        let nobody = statement("completed", "basics", "").replace("\"account\"", "\"mbox\"");
        assert!(said(&nobody).is_err());
    }

    #[test]
    fn times_of_other_zones_and_names_with_tokens_are_read() {
        for (text, expected) in [
            ("2026-11-23T09:40:16Z", "2026-11-23T09:40:16.000000Z"),
            ("2026-11-23T09:40:16.5-0530", "2026-11-23T15:10:16.500000Z"),
            ("2026-11-23T00:10:00+01", "2026-11-22T23:10:00.000000Z"),
        ] {
            assert_eq!(utc(text).as_deref(), Ok(expected));
        }
        for wrong in ["", "2026-11-23", "2026-11-23T09:40:16+99:00", "2026-11-23T09:40:16+é", "T+"] {
            assert!(utc(wrong).is_err(), "{wrong}");
        }
        let (name, token) = basic("Basic bG1zOnNlY3JldDp4").expect("it is read");
        assert_eq!((name.as_str(), token.expose()), ("lms", "secret:x"));
        assert!(basic("Bearer x").is_none() && basic("Basic ???").is_none() && basic("Basic bG1z").is_none());
        assert_eq!(fresh_id().len(), 36);
    }
}
