//! SCIM 2.0 (RFC 7643, RFC 7644): an identity provider makes, changes and disables people, and says who is in which group.
//!
//! A system sees and changes only people whom it made. What it says of them goes through the same records as what an
//! administrator does, in its name, `scim:NAME`; who is no longer active is a leaver. Roles that the configuration lets its
//! groups give follow them; others are left alone. Deliberately absent: HTTP (`web::scim`), passwords, bulk, sorting.

mod filter;
mod patch;
mod people;
mod schema;
mod tokens;

use std::cmp::Ordering;

use model::Micros;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::admin::Refusal;
use crate::output;
use filter::Filter;
use patch::{Operation, Unfit};
pub(crate) use people::Wanted;
use schema::EMPLOYMENT_ENDED;

/// An answer lists at most so many resources; more are had page by page.
pub(crate) const RESULTS_MAX: usize = 200;

/// A system that proved which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source(pub(crate) String);

/// What went wrong, as SCIM says it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) status: u16,
    /// `scimType`.
    pub(crate) kind: Option<&'static str>,
    pub(crate) detail: String,
}

impl Fault {
    pub(crate) fn new(status: u16, kind: Option<&'static str>, detail: impl Into<String>) -> Fault {
        Fault { status, kind, detail: detail.into() }
    }

    pub(crate) fn unknown() -> Fault {
        Fault::new(404, None, "there is no such resource")
    }

    pub(crate) fn to_json(&self) -> Value {
        let schemas = ["urn:ietf:params:scim:api:messages:2.0:Error"];
        let status = self.status.to_string();
        match self.kind {
            Some(kind) => {
                json!({"schemas": schemas, "status": status, "scimType": kind, "detail": self.detail})
            }
            None => json!({"schemas": schemas, "status": status, "detail": self.detail}),
        }
    }
}

impl From<Unfit> for Fault {
    fn from(unfit: Unfit) -> Fault {
        let (kind, detail) = match unfit {
            Unfit::InvalidPath => ("invalidPath", "there is no such attribute"),
            Unfit::InvalidValue => ("invalidValue", "a value is missing or not one of its attribute"),
            Unfit::InvalidSyntax => ("invalidSyntax", "there is no such operation"),
            Unfit::NoTarget => ("noTarget", "nothing is there that is meant"),
            Unfit::Mutability => ("mutability", "the attribute cannot be changed"),
            Unfit::TooMany => ("tooMany", "more than is taken in one request"),
        };
        Fault::new(400, Some(kind), detail)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Fault {
        Fault::new(400, Some("invalidValue"), refusal.message)
    }
}

impl From<registry::Error> for Fault {
    fn from(error: registry::Error) -> Fault {
        match error {
            registry::Error::NameTaken { .. } => {
                Fault::new(409, Some("uniqueness"), "somebody or something has that name")
            }
            registry::Error::NameUnfit { .. } => Fault::new(400, Some("invalidValue"), error.to_string()),
            registry::Error::UnknownPerson => Fault::unknown(),
            error => {
                tracing::error!(%error, "the registry could not be asked for SCIM");
                Fault::new(500, None, "the registry could not be asked")
            }
        }
    }
}

/// A list that is asked for.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Query {
    filter: Option<String>,
    #[serde(rename = "startIndex")]
    start_index: Option<i64>,
    count: Option<i64>,
    attributes: Option<String>,
    #[serde(rename = "excludedAttributes")]
    excluded: Option<String>,
}

/// A list that is asked for in the body of a request.
#[derive(Debug, Deserialize)]
pub(crate) struct Search {
    filter: Option<String>,
    #[serde(rename = "startIndex")]
    start_index: Option<i64>,
    count: Option<i64>,
    attributes: Option<Vec<String>>,
    #[serde(rename = "excludedAttributes")]
    excluded: Option<Vec<String>>,
}

impl From<Search> for Query {
    fn from(search: Search) -> Query {
        let Search { filter, start_index, count, attributes, excluded } = search;
        let (attributes, excluded) = (attributes.map(|all| all.join(",")), excluded.map(|all| all.join(",")));
        Query { filter, start_index, count, attributes, excluded }
    }
}

/// A request to change a part.
#[derive(Debug, Deserialize)]
pub(crate) struct Changes {
    #[serde(rename = "Operations", alias = "operations")]
    operations: Vec<Operation>,
}

/// Returns the page of a list that is asked for.
pub(crate) fn page(all: Vec<Value>, query: &Query) -> Result<Value, Fault> {
    let filter = query.filter.as_deref().map(Filter::parse).transpose();
    let filter = filter.map_err(|_| Fault::new(400, Some("invalidFilter"), "the filter cannot be read"))?;
    let found: Vec<Value> =
        all.into_iter().filter(|one| filter.as_ref().is_none_or(|filter| filter.fits(one))).collect();
    let total = found.len();
    // Counted from 1; what is less means 1, and a count below 0 means 0.
    let start = usize::try_from(query.start_index.unwrap_or(1).max(1)).unwrap_or(usize::MAX);
    let count = query.count.map_or(RESULTS_MAX, |count| usize::try_from(count.max(0)).unwrap_or(usize::MAX));
    let shown: Vec<Value> = found
        .into_iter()
        .skip(start - 1)
        .take(count.min(RESULTS_MAX))
        .map(|one| projected(one, query))
        .collect();
    Ok(json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": total, "startIndex": start, "itemsPerPage": shown.len(), "Resources": shown,
    }))
}

/// Leaves out what was not asked for; `id` and `schemas` stay.
pub(crate) fn projected(resource: Value, query: &Query) -> Value {
    let Value::Object(mut all) = resource else { return resource };
    let names = |list: &Option<String>| -> Option<Vec<String>> {
        let list = list.as_deref()?;
        let short = |name: &str| {
            let name = name.trim();
            let name = name.rsplit_once(':').map_or(name, |(_, name)| name);
            name.split('.').next().unwrap_or_default().to_ascii_lowercase()
        };
        Some(list.split(',').map(short).collect())
    };
    let kept = |name: &str| matches!(name, "id" | "schemas");
    if let Some(only) = names(&query.attributes) {
        all.retain(|name, _| kept(name) || only.contains(&name.to_ascii_lowercase()));
    } else if let Some(without) = names(&query.excluded) {
        all.retain(|name, _| kept(name) || !without.contains(&name.to_ascii_lowercase()));
    }
    Value::Object(all)
}

/// Returns the schemas, or the one of that id.
pub(crate) fn schemas(id: Option<&str>) -> Result<Value, Fault> {
    listed(schema::schemas(), id)
}

/// Returns the kinds of resources, or the one of that name.
pub(crate) fn resource_types(id: Option<&str>) -> Result<Value, Fault> {
    listed(schema::resource_types(), id)
}

fn listed(all: Vec<Value>, id: Option<&str>) -> Result<Value, Fault> {
    match id {
        Some(id) => all.into_iter().find(|one| one["id"] == id).ok_or_else(Fault::unknown),
        None => page(all, &Query::default()),
    }
}

/// Returns what this server can do.
pub(crate) fn service() -> Value {
    schema::service(RESULTS_MAX)
}

/// Tells whether a version is the one that was named; `None` where none was.
pub(crate) fn check_version(wanted: Option<&str>, version: u64) -> Result<(), Fault> {
    let named = wanted.is_none_or(|wanted| {
        wanted
            .split(',')
            .any(|one| one.trim() == "*" || one.trim().trim_start_matches("W/") == format!("\"{version}\""))
    });
    if named { Ok(()) } else { Err(Fault::new(412, None, "it was changed meanwhile; read it again")) }
}

/// Returns what a resource has about itself.
fn meta(kind: &str, id: &str, version: u64, created: Micros, changed: Micros) -> Value {
    let changed = if changed.cmp(&created) == Ordering::Less { created } else { changed };
    json!({
        "resourceType": kind, "created": output::time(created), "lastModified": output::time(changed),
        "version": format!("W/\"{version}\""), "location": format!("/scim/v2/{kind}s/{id}"),
    })
}

/// Reads a time as SCIM writes it, with `Z` or another way to say UTC.
fn time(text: &str) -> Option<Micros> {
    let text = text.strip_suffix("+00:00").unwrap_or(text);
    output::parse_time(text).ok()
}

fn text<'v>(resource: &'v Map<String, Value>, name: &str) -> Option<&'v str> {
    resource.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_list_is_had_page_by_page() {
        let all =
            || (1..=500).map(|n| json!({"id": n.to_string(), "n": n, "schemas": []})).collect::<Vec<_>>();
        let ids = |query: &Query| -> (u64, Vec<u64>) {
            let page = page(all(), query).unwrap();
            let ids = page["Resources"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["id"].as_str().unwrap().parse().unwrap());
            (page["totalResults"].as_u64().unwrap(), ids.collect())
        };
        assert_eq!(ids(&query("{}")).1.len(), RESULTS_MAX);
        assert_eq!(ids(&query(r#"{"startIndex":0,"count":2}"#)), (500, vec![1, 2]));
        assert_eq!(ids(&query(r#"{"startIndex":499,"count":9}"#)), (500, vec![499, 500]));
        assert_eq!(ids(&query(r#"{"startIndex":501}"#)), (500, vec![]));
        assert_eq!(ids(&query(r#"{"count":-1}"#)), (500, vec![]));
        assert_eq!(ids(&query(r#"{"filter":"n gt 498"}"#)), (2, vec![499, 500]));
        assert_eq!(page(all(), &query(r#"{"filter":"n gt"}"#)).unwrap_err().kind, Some("invalidFilter"));
    }

    #[test]
    fn only_what_is_asked_for_is_shown() {
        let one = || json!({"id": "1", "schemas": [], "userName": "ann", "emails": []});
        let shown = projected(one(), &query(r#"{"attributes":"USERNAME"}"#));
        assert_eq!(shown, json!({"id": "1", "schemas": [], "userName": "ann"}));
        let shown = projected(one(), &query(r#"{"excludedAttributes":"emails.value,id"}"#));
        assert_eq!(shown, json!({"id": "1", "schemas": [], "userName": "ann"}));
    }

    #[test]
    fn a_change_of_another_version_is_refused() {
        for named in [None, Some("*"), Some("W/\"3\""), Some("\"3\""), Some("W/\"2\", W/\"3\"")] {
            assert_eq!(check_version(named, 3), Ok(()), "{named:?}");
        }
        assert_eq!(check_version(Some("W/\"2\""), 3).unwrap_err().status, 412);
    }
}
