//! What people and groups are in SCIM (RFC 7643), as far as it is kept here: the table that reading, changing and `/Schemas`
//! are made from.

use serde_json::{Value, json};

pub(super) const USER_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub(super) const GROUP_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// Ours: when somebody's employment ended.
pub(super) const LEAVER_SCHEMA: &str = "urn:wardline:params:scim:schemas:extension:leaver:1.0:User";
/// The attribute of ours.
pub(super) const EMPLOYMENT_ENDED: &str = "employmentEnded";

/// Longest text of an attribute.
pub(super) const TEXT_BYTES_MAX: usize = 1_024;

/// What the values of an attribute are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// A time, written as text.
    Time,
    /// The address of a resource.
    Reference,
    Truth,
    Complex,
}

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// A list.
    pub(super) many: bool,
    pub(super) required: bool,
    pub(super) writable: bool,
    pub(super) one_of: &'static [&'static str],
    pub(super) subs: &'static [Attribute],
    about: &'static str,
    /// Not of the schema itself: an attribute that all resources have, or one of an extension.
    apart: bool,
}

const fn text(name: &'static str, about: &'static str) -> Attribute {
    Attribute {
        name,
        kind: Kind::Text,
        many: false,
        required: false,
        writable: true,
        one_of: &[],
        subs: &[],
        about,
        apart: false,
    }
}

const fn truth(name: &'static str, about: &'static str) -> Attribute {
    Attribute { kind: Kind::Truth, ..text(name, about) }
}

/// What clients that fill in every attribute may write as a time.
const A_TIME: &[&str] = &["2026-11-23T16:00:00Z"];

const fn time(name: &'static str, about: &'static str) -> Attribute {
    Attribute { kind: Kind::Time, ..text(name, about) }
}

const fn complex(name: &'static str, subs: &'static [Attribute], about: &'static str) -> Attribute {
    Attribute { kind: Kind::Complex, subs, ..text(name, about) }
}

const fn many(attribute: Attribute) -> Attribute {
    Attribute { many: true, ..attribute }
}

const fn required(attribute: Attribute) -> Attribute {
    Attribute { required: true, ..attribute }
}

const fn shown(attribute: Attribute) -> Attribute {
    Attribute { writable: false, ..attribute }
}

const fn apart(attribute: Attribute) -> Attribute {
    Attribute { apart: true, ..attribute }
}

/// A person.
pub(super) const USER: &[Attribute] = &[
    required(text("userName", "The login name: a-z, 0-9 and . _ @ -, in lower case")),
    complex(
        "name",
        &[
            text("formatted", "The whole name"),
            text("familyName", "The family name"),
            text("givenName", "The given name"),
        ],
        "The parts of the name",
    ),
    text("displayName", "The name for people to read"),
    text("title", "Such as a profession"),
    truth("active", "Whether the person may sign in; false ends sessions and tokens"),
    many(complex(
        "emails",
        &[
            text("value", "The address"),
            text("type", "What it is for, such as `work` or `home`"),
            truth("primary", "Whether it is the preferred one"),
        ],
        "Addresses of mail; nothing is sent to them",
    )),
    shown(many(complex(
        "groups",
        &[shown(text("value", "The id of the group")), shown(text("display", "The name of the group"))],
        "The groups that the person is in",
    ))),
    apart(text("externalId", "What the client calls it")),
    apart(time(EMPLOYMENT_ENDED, "When the employment ended, a time in UTC")),
    apart(shown(text("id", "The id here"))),
    apart(shown(complex("meta", &[], "About the resource"))),
];

/// A group.
pub(super) const GROUP: &[Attribute] = &[
    required(text("displayName", "The name, by which the configuration gives roles")),
    many(complex(
        "members",
        &[
            text("value", "The id of the person"),
            Attribute { kind: Kind::Reference, ..text("$ref", "Their address here") },
            Attribute {
                one_of: &["User"],
                ..text("type", "People only: groups in groups are not supported")
            },
        ],
        "Who is in it",
    )),
    apart(text("externalId", "What the client calls it")),
    apart(shown(text("id", "The id here"))),
    apart(shown(complex("meta", &[], "About the resource"))),
];

/// Returns the schemas as `/Schemas` shows them.
pub(super) fn schemas() -> Vec<Value> {
    let core = |attributes: &[Attribute]| -> Vec<Value> {
        attributes.iter().filter(|attribute| !attribute.apart).map(described).collect()
    };
    let ended = time(EMPLOYMENT_ENDED, "When the employment ended, a time in UTC");
    vec![
        schema(USER_SCHEMA, "User", "A person", core(USER)),
        schema(GROUP_SCHEMA, "Group", "A group of people", core(GROUP)),
        schema(LEAVER_SCHEMA, "Leaver", "Who leaves", vec![described(&ended)]),
    ]
}

fn schema(id: &str, name: &str, about: &str, attributes: Vec<Value>) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": id, "name": name, "description": about, "attributes": attributes,
        "meta": {"resourceType": "Schema", "location": format!("/scim/v2/Schemas/{id}")},
    })
}

fn described(attribute: &Attribute) -> Value {
    let kind = match attribute.kind {
        // A time is a text to clients that write any text as an example.
        Kind::Text | Kind::Time => "string",
        Kind::Reference => "reference",
        Kind::Truth => "boolean",
        Kind::Complex => "complex",
    };
    let unique = if attribute.required { "server" } else { "none" };
    let said = json!({
        "name": attribute.name, "type": kind, "multiValued": attribute.many, "required": attribute.required,
        "description": attribute.about, "mutability": if attribute.writable { "readWrite" } else { "readOnly" },
        "returned": "default",
    });
    let Value::Object(mut described) = said else { return said };
    let mut put = |name: &str, value: Value| drop(described.insert(name.to_owned(), value));
    if matches!(attribute.kind, Kind::Text | Kind::Time) {
        put("caseExact", json!(false));
        put("uniqueness", json!(unique));
    }
    let values = if attribute.kind == Kind::Time { A_TIME } else { attribute.one_of };
    if !values.is_empty() {
        put("canonicalValues", json!(values));
    }
    if attribute.kind == Kind::Reference {
        put("referenceTypes", json!(["User"]));
    }
    if attribute.kind == Kind::Complex {
        put("subAttributes", attribute.subs.iter().map(described_sub).collect());
    }
    Value::Object(described)
}

fn described_sub(attribute: &Attribute) -> Value {
    described(attribute)
}

/// Returns the kinds of resources as `/ResourceTypes` shows them.
pub(super) fn resource_types() -> Vec<Value> {
    let kind = |name: &str, endpoint: &str, schema: &str, extensions: Value| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
            "id": name, "name": name, "endpoint": endpoint, "schema": schema, "schemaExtensions": extensions,
            "meta": {"resourceType": "ResourceType", "location": format!("/scim/v2/ResourceTypes/{name}")},
        })
    };
    vec![
        kind("User", "/Users", USER_SCHEMA, json!([{"schema": LEAVER_SCHEMA, "required": false}])),
        kind("Group", "/Groups", GROUP_SCHEMA, json!([])),
    ]
}

/// Returns what this server can do.
pub(super) fn service(results_max: usize) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": true},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": true, "maxResults": results_max},
        "changePassword": {"supported": false},
        "sort": {"supported": false},
        "etag": {"supported": true},
        "authenticationSchemes": [{
            "type": "oauthbearertoken", "name": "Bearer token", "primary": true,
            "description": "A token of `wardline scim token`",
        }],
        "meta": {"resourceType": "ServiceProviderConfig", "location": "/scim/v2/ServiceProviderConfig"},
    })
}
