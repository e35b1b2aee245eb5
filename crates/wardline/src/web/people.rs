//! People: who there are, their roles, passwords, second factors and tokens.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Desk;
use super::caller::Caller;
use super::problem::{Problem, Refused};
use super::request::{Done, Given, Named, ask, unexpected};
use crate::admin::{FactorsView, PersonView, Reply, Request, Sensitive};

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(delete))
        .routes(routes!(set_password))
        .routes(routes!(set_roles))
        .routes(routes!(disable))
        .routes(routes!(enable))
        .routes(routes!(factors, remove_factors))
        .routes(routes!(give_totp))
        .routes(routes!(give_recovery_codes))
        .routes(routes!(revoke_tokens))
        .routes(routes!(revoke_token))
}

/// A person to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPerson {
    /// Login name; ids behind names are never reused.
    name: String,
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    roles: Vec<String>,
    password: Sensitive,
}

/// A new password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    password: Sensitive,
}

/// Roles to hold from now on, in place of those before.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Roles {
    roles: Vec<String>,
}

/// A fresh secret of an authenticator, in clear: the only time.
#[derive(Debug, Serialize, ToSchema)]
struct Authenticator {
    secret: Sensitive,
    /// What an authenticator app reads from a QR code.
    address: Sensitive,
}

/// Fresh recovery codes, in clear: the only time.
#[derive(Debug, Serialize, ToSchema)]
struct RecoveryCodes {
    codes: Vec<Sensitive>,
}

/// When somebody's employment ended, in microseconds since 1970, where it is known.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Leaving {
    ended_at_us: Option<u64>,
}

/// How many there were.
#[derive(Debug, Serialize, ToSchema)]
struct Count {
    count: u64,
}

/// Lists the people.
#[utoipa::path(
    get,
    path = "/api/v1/people",
    responses((status = 200, description = "Done", body = Vec<PersonView>), Refused),
    extensions(("x-right" = json!("admin | auditor | key-admin | privacy-officer | approver"))),
)]
async fn list(State(node): State<Desk>, Caller(actor): Caller) -> Result<Json<Vec<PersonView>>, Problem> {
    let request = Request::UserList {};
    let Reply::People(people) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(people))
}

/// Adds a person.
#[utoipa::path(
    post,
    path = "/api/v1/people",
    request_body = NewPerson,
    responses((status = 200, description = "Done", body = PersonView), Refused),
    extensions(("x-right" = json!("admin"))),
)]
async fn add(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Given(body): Given<NewPerson>,
) -> Result<Json<PersonView>, Problem> {
    let request = Request::UserAdd {
        name: body.name,
        display_name: body.display_name,
        roles: body.roles,
        password: body.password,
    };
    let Reply::Person(person) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(person))
}

/// Deletes a person; the name is free again, the id never is.
#[utoipa::path(
    delete,
    path = "/api/v1/people/{name}",
    params(("name" = String, Path)),
    responses((status = 200, description = "Done", body = Done), Refused),
    extensions(("x-right" = json!("admin"))),
)]
async fn delete(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(name): Named<String>,
) -> Result<Json<Done>, Problem> {
    let request = Request::UserDelete { name };
    let Reply::Nothing {} = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(Done {}))
}

/// Sets a password; ends a lock after failed sign-ins.
#[utoipa::path(
    put,
    path = "/api/v1/people/{name}/password",
    params(("name" = String, Path)),
    request_body = NewPassword,
    responses((status = 200, description = "Done", body = PersonView), Refused),
    extensions(("x-right" = json!("admin"))),
)]
async fn set_password(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(name): Named<String>,
    Given(body): Given<NewPassword>,
) -> Result<Json<PersonView>, Problem> {
    let request = Request::UserPassword { name, password: body.password };
    let Reply::Person(person) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(person))
}

/// Replaces the roles of a person.
#[utoipa::path(
    put,
    path = "/api/v1/people/{name}/roles",
    params(("name" = String, Path)),
    request_body = Roles,
    responses((status = 200, description = "Done", body = PersonView), Refused),
    extensions(("x-right" = json!("admin"))),
)]
async fn set_roles(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(name): Named<String>,
    Given(body): Given<Roles>,
) -> Result<Json<PersonView>, Problem> {
    let request = Request::UserRoles { name, roles: body.roles };
    let Reply::Person(person) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(person))
}

/// Refuses a person from now on; open sessions end.
#[utoipa::path(
    post,
    path = "/api/v1/people/{name}/disable",
    params(("name" = String, Path)),
    request_body = Leaving,
    responses((status = 200, description = "Done", body = PersonView), Refused),
    extensions(("x-right" = json!("admin"))),
)]
async fn disable(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(name): Named<String>,
    Given(body): Given<Leaving>,
) -> Result<Json<PersonView>, Problem> {
    let request = Request::UserDisable { name, ended_at_us: body.ended_at_us };
    let Reply::Person(person) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(person))
}

/// Admits a disabled person again.
#[utoipa::path(
    post,
    path = "/api/v1/people/{name}/enable",
    params(("name" = String, Path)),
    responses((status = 200, description = "Done", body = PersonView), Refused),
    extensions(("x-right" = json!("admin"))),
)]
async fn enable(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(name): Named<String>,
) -> Result<Json<PersonView>, Problem> {
    let request = Request::UserEnable { name };
    let Reply::Person(person) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(person))
}

/// Says which second factors a person has.
#[utoipa::path(
    get,
    path = "/api/v1/people/{name}/factors",
    params(("name" = String, Path)),
    responses((status = 200, description = "Done", body = FactorsView), Refused),
    extensions(("x-right" = json!("admin | auditor | key-admin | privacy-officer | approver"))),
)]
async fn factors(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(name): Named<String>,
) -> Result<Json<FactorsView>, Problem> {
    let request = Request::UserFactors { name };
    let Reply::Factors(factors) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(factors))
}

/// Takes all second factors of a person away.
#[utoipa::path(
    delete,
    path = "/api/v1/people/{name}/factors",
    params(("name" = String, Path)),
    responses((status = 200, description = "Done", body = Count), Refused),
    extensions(("x-right" = json!("admin"))),
)]
async fn remove_factors(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(name): Named<String>,
) -> Result<Json<Count>, Problem> {
    let request = Request::UserFactorsRemove { name };
    let Reply::FactorsRemoved { factors } = ask(&node, &actor, request).await? else {
        return Err(unexpected());
    };
    Ok(Json(Count { count: factors }))
}

/// Gives a person an authenticator; the one before ends.
#[utoipa::path(
    post,
    path = "/api/v1/people/{name}/totp",
    params(("name" = String, Path)),
    responses((status = 200, description = "Done", body = Authenticator), Refused),
    extensions(("x-right" = json!("admin"))),
)]
async fn give_totp(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(name): Named<String>,
) -> Result<Json<Authenticator>, Problem> {
    let request = Request::UserTotp { name };
    let Reply::Authenticator { secret, address, .. } = ask(&node, &actor, request).await? else {
        return Err(unexpected());
    };
    Ok(Json(Authenticator { secret, address }))
}

/// Gives a person recovery codes; those before end.
#[utoipa::path(
    post,
    path = "/api/v1/people/{name}/recovery-codes",
    params(("name" = String, Path)),
    responses((status = 200, description = "Done", body = RecoveryCodes), Refused),
    extensions(("x-right" = json!("admin"))),
)]
async fn give_recovery_codes(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(name): Named<String>,
) -> Result<Json<RecoveryCodes>, Problem> {
    let request = Request::UserRecoveryCodes { name };
    let Reply::RecoveryCodes { codes, .. } = ask(&node, &actor, request).await? else {
        return Err(unexpected());
    };
    Ok(Json(RecoveryCodes { codes }))
}

/// Ends all tokens of a person.
#[utoipa::path(
    delete,
    path = "/api/v1/people/{name}/tokens",
    params(("name" = String, Path)),
    responses((status = 200, description = "Done", body = Count), Refused),
    extensions(("x-right" = json!("admin"))),
)]
async fn revoke_tokens(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(name): Named<String>,
) -> Result<Json<Count>, Problem> {
    let request = Request::TokensRevoke { name };
    let Reply::Revoked { tokens } = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(Count { count: tokens }))
}

/// Ends one token.
#[utoipa::path(
    delete,
    path = "/api/v1/tokens/{id}",
    params(("id" = String, Path)),
    responses((status = 200, description = "Done", body = Count), Refused),
    extensions(("x-right" = json!("admin"))),
)]
async fn revoke_token(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(id): Named<String>,
) -> Result<Json<Count>, Problem> {
    let request = Request::TokenRevoke { id };
    let Reply::Revoked { tokens } = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(Count { count: tokens }))
}
