//! Accounts: what they are, who answers for them, programs that act for people, and who left.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Desk;
use super::caller::Caller;
use super::problem::{Problem, Refused};
use super::request::{Asked, Because, Given, Named, ask, unexpected};
use crate::admin::{
    AccountAsk, AccountView, AgentAsk, AgentReply, DelegationView, LeaverView, PersonView, Reply, Request,
    Sensitive, WorkloadView,
};

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(describe))
        .routes(routes!(describe_upstream))
        .routes(routes!(bind))
        .routes(routes!(add_agent))
        .routes(routes!(delegations, delegate))
        .routes(routes!(end_delegation))
        .routes(routes!(workloads))
        .routes(routes!(leavers))
}

/// Which accounts are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Listed {
    /// Also those of single people.
    #[serde(default)]
    all: bool,
}

/// What an account is and who answers for it; what is left out stays, an empty name is nobody.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Described {
    /// `person`, `service` or `shared`.
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    approver: Option<String>,
    #[serde(default)]
    manager: Option<String>,
}

/// Who answers for the account by which Wardline signs in at a resource.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Answerable {
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    approver: Option<String>,
}

/// Who somebody of an identity provider is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Bound {
    provider: String,
    subject: String,
}

/// A program that acts for people.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAgent {
    name: String,
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    roles: Vec<String>,
    owner: String,
}

/// What a person lets an agent do on their behalf.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewDelegation {
    agent: String,
    life_s: u64,
    #[serde(default)]
    purpose: Option<String>,
}

/// A delegation, with the agent's token in clear: the only time.
#[derive(Debug, Serialize, ToSchema)]
struct Delegated {
    delegation: DelegationView,
    token: Sensitive,
    /// Where clients connect.
    address: String,
}

/// Which delegations are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Ended {
    #[serde(default)]
    also_ended: bool,
}

/// The time that is asked about, in microseconds since 1970.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Between {
    #[serde(default)]
    from_us: u64,
    /// Before this; until now where it is left out.
    #[serde(default)]
    to_us: Option<u64>,
}

/// Lists the accounts that are not one person's, and what is wrong with accounts.
#[utoipa::path(
    get,
    path = "/api/v1/accounts",
    params(Listed),
    responses((status = 200, description = "Done", body = Vec<AccountView>), Refused),
    extensions(("x-right" = json!("admin | auditor | key-admin | privacy-officer | approver"))),
)]
async fn list(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Asked(query): Asked<Listed>,
) -> Result<Json<Vec<AccountView>>, Problem> {
    let request = Request::Account(AccountAsk::Report { all: query.all });
    let Reply::Accounts(accounts) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(accounts))
}

/// Says what an account is and who answers for it.
#[utoipa::path(
    put,
    path = "/api/v1/accounts/{name}",
    params(("name" = String, Path)),
    request_body = Described,
    responses((status = 200, description = "Done", body = Vec<AccountView>), Refused),
    extensions(("x-right" = json!("admin"))),
)]
async fn describe(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(name): Named<String>,
    Given(body): Given<Described>,
) -> Result<Json<Vec<AccountView>>, Problem> {
    let request = Request::Account(AccountAsk::Describe {
        name,
        kind: body.kind,
        owner: body.owner,
        approver: body.approver,
        manager: body.manager,
    });
    let Reply::Accounts(accounts) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(accounts))
}

/// Says who answers for the account by which Wardline signs in at a resource.
#[utoipa::path(
    put,
    path = "/api/v1/resources/{name}/account",
    params(("name" = String, Path)),
    request_body = Answerable,
    responses((status = 200, description = "Done", body = Vec<AccountView>), Refused),
    extensions(("x-right" = json!("admin"))),
)]
async fn describe_upstream(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(name): Named<String>,
    Given(body): Given<Answerable>,
) -> Result<Json<Vec<AccountView>>, Problem> {
    let request = Request::Account(AccountAsk::DescribeUpstream {
        resource: name,
        owner: body.owner,
        approver: body.approver,
    });
    let Reply::Accounts(accounts) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(accounts))
}

/// Says who somebody of an identity provider is.
#[utoipa::path(
    post,
    path = "/api/v1/people/{name}/identities",
    params(("name" = String, Path)),
    request_body = Bound,
    responses((status = 200, description = "Done", body = PersonView), Refused),
    extensions(("x-right" = json!("admin"))),
)]
async fn bind(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(name): Named<String>,
    Given(body): Given<Bound>,
) -> Result<Json<PersonView>, Problem> {
    let request = Request::UserBind { name, provider: body.provider, subject: body.subject };
    let Reply::Person(person) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(person))
}

/// Adds a program that acts for people.
#[utoipa::path(
    post,
    path = "/api/v1/agents",
    request_body = NewAgent,
    responses((status = 200, description = "Done", body = PersonView), Refused),
    extensions(("x-right" = json!("admin"))),
)]
async fn add_agent(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Given(body): Given<NewAgent>,
) -> Result<Json<PersonView>, Problem> {
    let request = Request::Agent(AgentAsk::Add {
        name: body.name,
        display_name: body.display_name,
        roles: body.roles,
        owner: body.owner,
    });
    let Reply::Person(agent) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(agent))
}

/// Lists by whose leave agents act.
#[utoipa::path(
    get,
    path = "/api/v1/delegations",
    params(Ended),
    responses((status = 200, description = "Done", body = Vec<DelegationView>), Refused),
    extensions(("x-right" = json!("admin | auditor | key-admin | privacy-officer | approver"))),
)]
async fn delegations(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Asked(query): Asked<Ended>,
) -> Result<Json<Vec<DelegationView>>, Problem> {
    let request = Request::Agent(AgentAsk::List { also_ended: query.also_ended });
    let Reply::Agent(AgentReply::Delegations(delegations)) = ask(&node, &actor, request).await? else {
        return Err(unexpected());
    };
    Ok(Json(delegations))
}

/// Lets an agent act on one's own behalf.
#[utoipa::path(
    post,
    path = "/api/v1/delegations",
    request_body = NewDelegation,
    responses((status = 200, description = "Done", body = Delegated), Refused),
    extensions(("x-right" = json!("person"))),
)]
async fn delegate(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Given(body): Given<NewDelegation>,
) -> Result<Json<Delegated>, Problem> {
    let request =
        Request::Agent(AgentAsk::Delegate { agent: body.agent, life_s: body.life_s, purpose: body.purpose });
    let Reply::Agent(AgentReply::Delegated { delegation, token, address }) =
        ask(&node, &actor, request).await?
    else {
        return Err(unexpected());
    };
    Ok(Json(Delegated { delegation, token, address }))
}

/// Ends a delegation: one's own, or as whoever may.
#[utoipa::path(
    post,
    path = "/api/v1/delegations/{number}/end",
    params(("number" = u64, Path)),
    request_body = Because,
    responses((status = 200, description = "Done", body = Vec<DelegationView>), Refused),
    extensions(("x-right" = json!("person"))),
)]
async fn end_delegation(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Named(number): Named<u64>,
    Given(body): Given<Because>,
) -> Result<Json<Vec<DelegationView>>, Problem> {
    let request = Request::Agent(AgentAsk::End { number, reason: body.reason });
    let Reply::Agent(AgentReply::Delegations(delegations)) = ask(&node, &actor, request).await? else {
        return Err(unexpected());
    };
    Ok(Json(delegations))
}

/// Lists the programs that sign in by themselves.
#[utoipa::path(
    get,
    path = "/api/v1/workloads",
    responses((status = 200, description = "Done", body = Vec<WorkloadView>), Refused),
    extensions(("x-right" = json!("admin | auditor | key-admin | privacy-officer | approver"))),
)]
async fn workloads(
    State(node): State<Desk>,
    Caller(actor): Caller,
) -> Result<Json<Vec<WorkloadView>>, Problem> {
    let request = Request::WorkloadList {};
    let Reply::Workloads(workloads) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(workloads))
}

/// Says who was barred, and how long it took.
#[utoipa::path(
    get,
    path = "/api/v1/reports/leavers",
    params(Between),
    responses((status = 200, description = "Done", body = Vec<LeaverView>), Refused),
    extensions(("x-right" = json!("admin | auditor | key-admin | privacy-officer | approver"))),
)]
async fn leavers(
    State(node): State<Desk>,
    Caller(actor): Caller,
    Asked(query): Asked<Between>,
) -> Result<Json<Vec<LeaverView>>, Problem> {
    let request = Request::ReportLeavers { from_us: query.from_us, to_us: query.to_us.unwrap_or(u64::MAX) };
    let Reply::Leavers(leavers) = ask(&node, &actor, request).await? else { return Err(unexpected()) };
    Ok(Json(leavers))
}
