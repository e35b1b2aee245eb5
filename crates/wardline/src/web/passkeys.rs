//! Passkeys: added by whoever has shown a second factor, and then both factors in one, as the device asks its owner for a
//! finger, a face or a number before it signs.
//!
//! Signing in names nobody beforehand: the device says whose key it used, so the server cannot be asked who has one. Keys are
//! checked by `webauthn-rs`; what is under way is kept in memory for some minutes.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, Response};
use axum::response::IntoResponse as _;
use identity::{Proof, Reason};
use model::{Micros, PersonId, Shown};
use parking_lot::Mutex;
use registry::PasskeyRow;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use webauthn_rs::prelude::{
    DiscoverableAuthentication, DiscoverableKey, Passkey, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, Url, Uuid, Webauthn, WebauthnBuilder,
};

use super::Desk;
use super::approvals::FACTOR_AGE_MAX;
use super::html::{go_to, onward};
use super::problem::{Problem, Refused};
use super::request::{Done, Given, Named};
use super::session::{Visitor, random};
use super::visit::{Peer, Visiting};
use crate::changes::Change;
use crate::guards::Newcomer;
use crate::node::Node;
use crate::output;

/// How long a person may take to use or make a passkey.
const CEREMONY_LIFE: Duration = Duration::from_mins(5);
/// So many are under way at once; when there are more, the oldest are forgotten.
const CEREMONIES_MAX: usize = 1_000;
/// Longest name of a passkey.
const LABEL_CHARS_MAX: usize = 60;

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(begin_sign_in))
        .routes(routes!(finish_sign_in))
        .routes(routes!(begin_enrol))
        .routes(routes!(finish_enrol))
        .routes(routes!(end))
}

/// What is under way, by its id.
#[derive(Debug, Default)]
pub(crate) struct Ceremonies(Mutex<HashMap<String, (Micros, Ceremony)>>);

#[derive(Debug)]
enum Ceremony {
    SignIn(Box<DiscoverableAuthentication>),
    Enrol { person: PersonId, label: String, state: Box<PasskeyRegistration> },
}

impl Ceremonies {
    fn begin(&self, ceremony: Ceremony, now: Micros) -> String {
        let id = output::hex(&random::<16>());
        let mut open = self.0.lock();
        open.retain(|_, (since, _)| !is_over(*since, now));
        if open.len() >= CEREMONIES_MAX {
            let oldest = open.iter().min_by_key(|(_, (since, _))| *since).map(|(id, _)| id.clone());
            oldest.map(|id| open.remove(&id));
        }
        open.insert(id.clone(), (now, ceremony));
        id
    }

    fn take(&self, id: &str, now: Micros) -> Option<Ceremony> {
        let (since, ceremony) = self.0.lock().remove(id)?;
        (!is_over(since, now)).then_some(ceremony)
    }
}

fn is_over(since: Micros, now: Micros) -> bool {
    u128::from(now.0.saturating_sub(since.0)) > CEREMONY_LIFE.as_micros()
}

/// What the browser is asked to do.
#[derive(Debug, Serialize, ToSchema)]
struct Begun {
    ceremony: String,
    /// Options of WebAuthn.
    options: Value,
}

/// What the browser did.
#[derive(Debug, Deserialize, ToSchema)]
struct Finished {
    ceremony: String,
    /// A credential of WebAuthn.
    credential: Value,
    next: Option<String>,
}

/// Where to go on.
#[derive(Debug, Serialize, ToSchema)]
struct Next {
    next: String,
}

/// What a new passkey is called.
#[derive(Debug, Deserialize, ToSchema)]
struct Label {
    label: String,
}

/// Begins to sign in with a passkey.
#[utoipa::path(
    post,
    path = "/passkeys/sign-in/begin",
    tag = "pages",
    responses((status = 200, description = "Options of WebAuthn", body = Begun), Refused),
    extensions(("x-right" = json!("open"))),
)]
async fn begin_sign_in(State(node): State<Desk>, headers: HeaderMap) -> Result<Json<Begun>, Problem> {
    from_our_pages(&node, &headers)?;
    let (options, state) =
        webauthn(&node)?.start_discoverable_authentication().map_err(|error| wrong(&error))?;
    let ceremony = node.ceremonies.begin(Ceremony::SignIn(Box::new(state)), node.now());
    let options = serde_json::to_value(options).map_err(|_| Problem::new(500, "passkeys do not work now"))?;
    Ok(Json(Begun { ceremony, options }))
}

/// Signs in with a passkey.
#[utoipa::path(
    post,
    path = "/passkeys/sign-in/finish",
    tag = "pages",
    request_body = Finished,
    responses((status = 200, description = "Signed in", body = Next), Refused),
    extensions(("x-right" = json!("open"))),
)]
async fn finish_sign_in(
    State(node): State<Desk>,
    Peer(peer): Peer,
    headers: HeaderMap,
    Given(finished): Given<Finished>,
) -> Result<Response<Body>, Problem> {
    from_our_pages(&node, &headers)?;
    let (name, proven) = node.prove_by_passkey(&finished).await;
    let newcomer = match proven {
        Ok(newcomer) => newcomer,
        Err(reason) => {
            node.refuse_browser_sign_in(&name, &reason, peer).await?;
            return Err(Problem::new(403, "That did not work."));
        }
    };
    let cookie = node.begin_browser_session(newcomer, peer).await?;
    let next = onward(finished.next.as_deref()).to_owned();
    Ok(([(SET_COOKIE, cookie)], Json(Next { next })).into_response())
}

/// Begins to add a passkey of one's own.
#[utoipa::path(
    post,
    path = "/passkeys/enrol/begin",
    tag = "pages",
    request_body = Label,
    responses((status = 200, description = "Options of WebAuthn", body = Begun), Refused),
    extensions(("x-right" = json!("person"))),
)]
async fn begin_enrol(
    State(node): State<Desk>,
    Visiting { visitor, .. }: Visiting,
    Given(label): Given<Label>,
) -> Result<Json<Begun>, Problem> {
    fresh(&node, &visitor)?;
    let label = label.label.trim().to_owned();
    if label.is_empty() || label.chars().count() > LABEL_CHARS_MAX || label.chars().any(char::is_control) {
        return Err(Problem::new(422, format!("A name of 1 to {LABEL_CHARS_MAX} characters is needed.")));
    }
    let person = &visitor.person;
    let known = node.passkeys_of(person.id).await?;
    let known = known.iter().map(|(_, passkey)| passkey.cred_id().clone()).collect();
    let shown = if person.display_name.is_empty() { &person.name } else { &person.display_name };
    let id = Uuid::from_u128(person.id.0);
    let (options, state) = webauthn(&node)?
        .start_passkey_registration(id, &person.name, shown, Some(known))
        .map_err(|error| wrong(&error))?;
    let ceremony = Ceremony::Enrol { person: person.id, label, state: Box::new(state) };
    let ceremony = node.ceremonies.begin(ceremony, node.now());
    let options = serde_json::to_value(options).map_err(|_| Problem::new(500, "passkeys do not work now"))?;
    Ok(Json(Begun { ceremony, options }))
}

/// Adds a passkey of one's own.
#[utoipa::path(
    post,
    path = "/passkeys/enrol/finish",
    tag = "pages",
    request_body = Finished,
    responses((status = 200, description = "Added", body = Done), Refused),
    extensions(("x-right" = json!("person"))),
)]
async fn finish_enrol(
    State(node): State<Desk>,
    Visiting { visitor, peer }: Visiting,
    Given(finished): Given<Finished>,
) -> Result<Json<Done>, Problem> {
    fresh(&node, &visitor)?;
    let Some(Ceremony::Enrol { person, label, state }) = node.ceremonies.take(&finished.ceremony, node.now())
    else {
        return Err(Problem::new(409, "It took too long. Try again."));
    };
    if person != visitor.person.id {
        return Err(Problem::new(409, "It took too long. Try again."));
    }
    let credential: RegisterPublicKeyCredential = serde_json::from_value(finished.credential)
        .map_err(|_| Problem::new(400, "the body is not what is asked for"))?;
    let passkey =
        webauthn(&node)?.finish_passkey_registration(&credential, &state).map_err(|error| wrong(&error))?;
    let state = serde_json::to_string(&passkey).map_err(|_| Problem::new(500, "passkeys do not work now"))?;
    let row = PasskeyRow {
        id: passkey.cred_id().as_slice().to_vec(),
        person,
        label,
        state,
        added_at: node.now(),
        used_at: None,
    };
    let actor = visitor.actor(peer);
    let what = format!("add a passkey called `{}` of their own", output::printable(&row.label));
    let _turn = node.turn.lock().await;
    let (change, registry) = node.admitted_numbered(Change::new(&actor, "passkey add", what)).await?;
    node.done(&change, registry.add_passkey(&row).await).await?;
    Ok(Json(Done {}))
}

/// Takes a passkey of one's own away.
#[utoipa::path(
    post,
    path = "/passkeys/{id}/end",
    tag = "pages",
    params(("id" = String, Path)),
    responses((status = 303, description = "To the first page")),
    extensions(("x-right" = json!("person"))),
)]
async fn end(
    State(node): State<Desk>,
    Visiting { visitor, peer }: Visiting,
    Named(id): Named<String>,
) -> Result<Response<Body>, Problem> {
    fresh(&node, &visitor)?;
    let mine = node.passkeys_of(visitor.person.id).await?;
    if let Some((row, _)) = mine.into_iter().find(|(row, _)| output::hex(&row.id) == id) {
        let actor = visitor.actor(peer);
        let what = format!("remove the passkey called `{}` of their own", output::printable(&row.label));
        let _turn = node.turn.lock().await;
        let (change, registry) = node.admitted_numbered(Change::new(&actor, "passkey remove", what)).await?;
        node.done(&change, registry.remove_passkey(visitor.person.id, &row.id).await).await?;
    }
    Ok(go_to("/", None))
}

impl Node {
    /// Returns the passkeys of a person that can be read.
    async fn passkeys_of(&self, person: PersonId) -> Result<Vec<(PasskeyRow, Passkey)>, Problem> {
        let rows = self.registry.passkeys(person).await.map_err(|error| {
            tracing::error!(%error, "the registry could not be asked");
            Problem::new(503, "passkeys cannot be read now")
        })?;
        let readable = rows.into_iter().filter_map(|row| {
            let passkey = serde_json::from_str(&row.state);
            passkey
                .inspect_err(|_| tracing::error!("a passkey in the registry is not readable"))
                .ok()
                .map(|it| (row, it))
        });
        Ok(readable.collect())
    }

    /// Finds out whose passkey was used and whether it signed what it was given. Returns the name too, for the record.
    async fn prove_by_passkey(&self, finished: &Finished) -> (String, Result<Newcomer, Reason>) {
        let mut name = String::new();
        let proven = match self.passkey_of_somebody(finished, &mut name).await {
            Ok(proof) => self.newcomer(proof).await,
            Err(reason) => Err(reason),
        };
        (name, proven)
    }

    async fn passkey_of_somebody(&self, finished: &Finished, name: &mut String) -> Result<Proof, Reason> {
        let refused = |error: &dyn std::fmt::Display| {
            tracing::debug!(%error, "a passkey was refused");
            Reason::WrongPasskey
        };
        let Some(Ceremony::SignIn(state)) = self.ceremonies.take(&finished.ceremony, self.now()) else {
            return Err(Reason::WrongPasskey);
        };
        let credential: PublicKeyCredential =
            serde_json::from_value(finished.credential.clone()).map_err(|error| refused(&error))?;
        let webauthn = webauthn(self).map_err(|_| Reason::Unavailable)?;
        let (id, key) =
            webauthn.identify_discoverable_authentication(&credential).map_err(|error| refused(&error))?;
        let person = self.registry.person_of_id(PersonId(id.as_u128())).await;
        let person = person.map_err(|_| Reason::Unavailable)?.ok_or(Reason::UnknownPerson)?;
        name.clone_from(&person.name);
        let known = self.passkeys_of(person.id).await.map_err(|_| Reason::Unavailable)?;
        let (row, mut passkey) =
            known.into_iter().find(|(row, _)| row.id == key).ok_or(Reason::WrongPasskey)?;
        let result = webauthn
            .finish_discoverable_authentication_v2(&credential, *state, DiscoverableKey::from(&passkey))
            .map_err(|error| refused(&error))?;
        if !result.user_verified() {
            return Err(Reason::WrongPasskey);
        }
        passkey.update_credential(&result);
        let state = serde_json::to_string(&passkey).map_err(|_| Reason::Unavailable)?;
        let at = self.now();
        let used = self.registry.use_passkey(person.id, &row.id, &state, at).await;
        if !used.map_err(|_| Reason::Unavailable)? {
            return Err(Reason::WrongPasskey);
        }
        self.vouch(&person.name, Shown::with_factor("passkey", at)).await
    }
}

/// Returns what checks passkeys for the name under which people reach us.
fn webauthn(node: &Node) -> Result<Webauthn, Problem> {
    let config = node.config.load();
    let unfit = || {
        Problem::new(409, "Passkeys do not work at this address.")
            .help("passkeys need a name such as https://wardline.example.org in `web.url`, not an IP address")
    };
    let url = config.web.as_ref().and_then(|web| Url::parse(&web.url).ok()).ok_or_else(unfit)?;
    let name = url.domain().ok_or_else(unfit)?;
    let builder = WebauthnBuilder::new(name, &url).map_err(|_| unfit())?;
    builder.rp_name("Wardline").build().map_err(|_| unfit())
}

fn from_our_pages(node: &Node, headers: &HeaderMap) -> Result<(), Problem> {
    match node.is_from_our_pages(headers) {
        true => Ok(()),
        false => Err(Problem::new(403, "this did not come from a page of Wardline")),
    }
}

/// Refuses whoever showed no second factor a short while ago.
fn fresh(node: &Node, visitor: &Visitor) -> Result<(), Problem> {
    match visitor.is_fresh(node.now(), FACTOR_AGE_MAX) {
        true => Ok(()),
        false => Err(Problem::new(403, "Show your second factor first.").help("open /step-up")),
    }
}

fn wrong(error: &webauthn_rs::prelude::WebauthnError) -> Problem {
    tracing::debug!(%error, "a passkey was refused");
    Problem::new(403, "That did not work.")
}
