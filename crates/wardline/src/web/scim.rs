//! The routes of SCIM. A token of `wardline scim token` proves the system; it opens nothing else.

use std::fmt;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH, LOCATION,
    WWW_AUTHENTICATE,
};
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use bytes::Bytes;
use model::Secret;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;

use super::Desk;
use crate::scim::{self, Changes, Fault, Source, Wanted};

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/scim+json");

/// Returns the routes. SCIM describes itself under `/scim/v2/Schemas`, so they are not in the document of the API.
pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .route("/scim/v2/ServiceProviderConfig", get(service))
        .route("/scim/v2/Schemas", get(schemas))
        .route("/scim/v2/Schemas/{id}", get(one_schema))
        .route("/scim/v2/ResourceTypes", get(resource_types))
        .route("/scim/v2/ResourceTypes/{id}", get(one_resource_type))
        .route("/scim/v2/Users", get(users).post(add_user))
        .route("/scim/v2/.search", post(search))
        .route("/scim/v2/Users/.search", post(search_users))
        .route("/scim/v2/Users/{id}", get(user).put(put_user).patch(patch_user).delete(delete_user))
        .route("/scim/v2/Groups", get(groups).post(add_group))
        .route("/scim/v2/Groups/.search", post(search_groups))
        .route("/scim/v2/Groups/{id}", get(group).put(put_group).patch(patch_group).delete(delete_group))
        .route("/scim/v2/Me", get(nothing))
        .route("/scim/v2/Bulk", post(nothing))
        .route("/scim/v2/{*rest}", any(unknown))
}

/// An answer of SCIM.
struct Answer {
    status: StatusCode,
    body: Option<Value>,
    version: Option<u64>,
}

impl Answer {
    fn ok(body: Value) -> Answer {
        Answer { status: StatusCode::OK, body: Some(body), version: None }
    }

    fn resource(status: StatusCode, (body, version): (Value, u64)) -> Answer {
        Answer { status, body: Some(body), version: Some(version) }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response<Body> {
        let location =
            self.body.as_ref().and_then(|body| body.pointer("/meta/location")).and_then(Value::as_str);
        let location = location.and_then(|location| HeaderValue::from_str(location).ok());
        let text = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, MEDIA_TYPE);
        if let (Some(location), StatusCode::CREATED) = (location, self.status) {
            headers.insert(LOCATION, location);
        }
        if let Some(etag) =
            self.version.and_then(|version| HeaderValue::from_str(&format!("W/\"{version}\"")).ok())
        {
            headers.insert(ETAG, etag);
        }
        response
    }
}

/// A refusal of SCIM.
struct Refused(Fault);

impl<E: Into<Fault>> From<E> for Refused {
    fn from(fault: E) -> Refused {
        Refused(fault.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response<Body> {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Answer { status, body: Some(self.0.to_json()), version: None }.into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

type Answered = Result<Answer, Refused>;

/// The system that calls, proven.
struct Caller(Source);

impl FromRequestParts<Desk> for Caller {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, node: &Desk) -> Result<Caller, Refused> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let secret = header.and_then(|value| value.strip_prefix("Bearer "));
        let secret = secret.map(|secret| Secret::new(secret.trim().to_owned()));
        match node.scim_identify(secret.as_ref()).await {
            Ok(source) => Ok(Caller(source)),
            Err(refusal) => Err(Fault::new(401, None, refusal.message).into()),
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    let malformed = || Fault::new(400, Some("invalidSyntax"), "the body is not a request of SCIM");
    serde_json::from_slice(body).map_err(|_| malformed().into())
}

fn named<'h>(headers: &'h HeaderMap, name: &axum::http::HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Answers with a resource, or that the client has it as it is.
fn fresh(headers: &HeaderMap, (body, version): (Value, u64)) -> Answer {
    let held =
        named(headers, &IF_NONE_MATCH).is_some_and(|held| scim::check_version(Some(held), version).is_ok());
    if held {
        return Answer { status: StatusCode::NOT_MODIFIED, body: None, version: Some(version) };
    }
    Answer::resource(StatusCode::OK, (body, version))
}

const DELETED: Answer = Answer { status: StatusCode::NO_CONTENT, body: None, version: None };

async fn service(_caller: Caller) -> Answered {
    Ok(Answer::ok(scim::service()))
}

async fn schemas(_caller: Caller) -> Answered {
    Ok(Answer::ok(scim::schemas(None)?))
}

async fn one_schema(_caller: Caller, Path(id): Path<String>) -> Answered {
    Ok(Answer::ok(scim::schemas(Some(&id))?))
}

async fn resource_types(_caller: Caller) -> Answered {
    Ok(Answer::ok(scim::resource_types(None)?))
}

async fn one_resource_type(_caller: Caller, Path(id): Path<String>) -> Answered {
    Ok(Answer::ok(scim::resource_types(Some(&id))?))
}

async fn search(State(node): State<Desk>, Caller(source): Caller, body: Bytes) -> Answered {
    let query: scim::Query = read::<scim::Search>(&body)?.into();
    Ok(Answer::ok(node.scim_all(&source, &query).await?))
}

async fn search_users(State(node): State<Desk>, Caller(source): Caller, body: Bytes) -> Answered {
    let query: scim::Query = read::<scim::Search>(&body)?.into();
    Ok(Answer::ok(node.scim_users(&source, &query).await?))
}

async fn search_groups(State(node): State<Desk>, Caller(source): Caller, body: Bytes) -> Answered {
    let query: scim::Query = read::<scim::Search>(&body)?.into();
    Ok(Answer::ok(node.scim_groups(&source, &query).await?))
}

async fn unknown(_caller: Caller) -> Answered {
    Err(Fault::unknown().into())
}

async fn nothing(_caller: Caller) -> Answered {
    Err(Fault::new(501, None, "not supported").into())
}

async fn users(
    State(node): State<Desk>,
    Caller(source): Caller,
    Query(query): Query<scim::Query>,
) -> Answered {
    Ok(Answer::ok(node.scim_users(&source, &query).await?))
}

async fn user(
    State(node): State<Desk>,
    Caller(source): Caller,
    Path(id): Path<String>,
    Query(query): Query<scim::Query>,
    headers: HeaderMap,
) -> Answered {
    Ok(fresh(&headers, node.scim_user(&source, &id, &query).await?))
}

async fn add_user(State(node): State<Desk>, Caller(source): Caller, body: Bytes) -> Answered {
    let given: Value = read(&body)?;
    Ok(Answer::resource(StatusCode::CREATED, node.scim_user_add(&source, &given).await?))
}

async fn put_user(
    State(node): State<Desk>,
    Caller(source): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let wanted = Wanted::Whole(read(&body)?);
    let changed = node.scim_user_change(&source, &id, named(&headers, &IF_MATCH), wanted).await?;
    Ok(Answer::resource(StatusCode::OK, changed))
}

async fn patch_user(
    State(node): State<Desk>,
    Caller(source): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let wanted = Wanted::Changes(read::<Changes>(&body)?);
    let changed = node.scim_user_change(&source, &id, named(&headers, &IF_MATCH), wanted).await?;
    Ok(Answer::resource(StatusCode::OK, changed))
}

async fn delete_user(
    State(node): State<Desk>,
    Caller(source): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    node.scim_user_delete(&source, &id, named(&headers, &IF_MATCH)).await?;
    Ok(DELETED)
}

async fn groups(
    State(node): State<Desk>,
    Caller(source): Caller,
    Query(query): Query<scim::Query>,
) -> Answered {
    Ok(Answer::ok(node.scim_groups(&source, &query).await?))
}

async fn group(
    State(node): State<Desk>,
    Caller(source): Caller,
    Path(id): Path<String>,
    Query(query): Query<scim::Query>,
    headers: HeaderMap,
) -> Answered {
    Ok(fresh(&headers, node.scim_group(&source, &id, &query).await?))
}

async fn add_group(State(node): State<Desk>, Caller(source): Caller, body: Bytes) -> Answered {
    let given: Value = read(&body)?;
    Ok(Answer::resource(StatusCode::CREATED, node.scim_group_add(&source, &given).await?))
}

async fn put_group(
    State(node): State<Desk>,
    Caller(source): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let wanted = Wanted::Whole(read(&body)?);
    let changed = node.scim_group_change(&source, &id, named(&headers, &IF_MATCH), wanted).await?;
    Ok(Answer::resource(StatusCode::OK, changed))
}

async fn patch_group(
    State(node): State<Desk>,
    Caller(source): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let wanted = Wanted::Changes(read::<Changes>(&body)?);
    let changed = node.scim_group_change(&source, &id, named(&headers, &IF_MATCH), wanted).await?;
    Ok(Answer::resource(StatusCode::OK, changed))
}

async fn delete_group(
    State(node): State<Desk>,
    Caller(source): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answered {
    node.scim_group_delete(&source, &id, named(&headers, &IF_MATCH)).await?;
    Ok(DELETED)
}
