//! The pages of people: signing in, approving a session that waits, and what is one's own.
//!
//! Written for somebody who has a patient waiting: each page does one thing and says in plain words what it will do.
//! Whoever did not prove a second factor a short while ago is asked for it before anything that counts.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use identity::Reason;
use model::{Outcome, Secret};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Desk;
use super::approvals::{FACTOR_AGE_MAX, NotApproved};
use super::html::{Form, Kind, Page, go_to, icon, onward, script, style};
use super::request::{Asked, Named};
use super::visit::{Filled, Peer, Visiting, unavailable};
use crate::output;

pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(style_sheet))
        .routes(routes!(passkey_script))
        .routes(routes!(tab_icon))
        .routes(routes!(sign_in_page, sign_in))
        .routes(routes!(sign_out))
        .routes(routes!(step_up_page, step_up))
        .routes(routes!(approve_page, approve))
        .routes(routes!(home))
        .routes(routes!(make_token))
        .routes(routes!(end_token))
        .routes(routes!(end_session))
        .routes(routes!(confirm_session))
        .routes(routes!(new_authenticator))
        .routes(routes!(new_recovery_codes))
}

/// Where somebody wanted to go who has to sign in first.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Onward {
    next: Option<String>,
}

/// The form of signing in.
#[derive(Deserialize, ToSchema)]
struct SigningIn {
    name: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    code: String,
    next: Option<String>,
    #[serde(rename = "do", default)]
    act: String,
}

/// The form of showing a second factor again.
#[derive(Deserialize, ToSchema)]
struct SteppingUp {
    code: String,
    next: Option<String>,
}

/// The form of approving.
#[derive(Deserialize, ToSchema)]
struct Approving {
    #[serde(default)]
    code: String,
    #[serde(rename = "do", default)]
    act: String,
}

/// The style of all pages.
#[utoipa::path(
    get,
    path = "/assets/wardline.css",
    tag = "pages",
    responses((status = 200, description = "A page", body = String, content_type = "text/css")),
    extensions(("x-right" = json!("open"))),
)]
async fn style_sheet() -> Response<Body> {
    style()
}

/// The picture of the tab.
#[utoipa::path(
    get,
    path = "/assets/wardline.svg",
    tag = "pages",
    responses((status = 200, description = "A picture", body = String, content_type = "image/svg+xml")),
    extensions(("x-right" = json!("open"))),
)]
async fn tab_icon() -> Response<Body> {
    icon()
}

/// The one script, for passkeys.
#[utoipa::path(
    get,
    path = "/assets/passkey.js",
    tag = "pages",
    responses((status = 200, description = "A page", body = String, content_type = "text/javascript")),
    extensions(("x-right" = json!("open"))),
)]
async fn passkey_script() -> Response<Body> {
    script()
}

/// Shows the form for signing in.
#[utoipa::path(
    get,
    path = "/sign-in",
    tag = "pages",
    params(Onward),
    responses((status = 200, description = "A page", body = String, content_type = "text/html")),
    extensions(("x-right" = json!("open"))),
)]
async fn sign_in_page(Asked(onward): Asked<Onward>) -> Response<Body> {
    sign_in_form(onward.next.as_deref(), None)
}

/// Signs in, with a password and a code of the second factor.
#[utoipa::path(
    post,
    path = "/sign-in",
    tag = "pages",
    request_body(content = SigningIn, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "A page", body = String, content_type = "text/html")),
    extensions(("x-right" = json!("open"))),
)]
async fn sign_in(
    State(node): State<Desk>,
    Peer(peer): Peer,
    Filled(form): Filled<SigningIn>,
) -> Response<Body> {
    if form.act == "passkey" {
        // Only the script does that.
        return sign_in_form(form.next.as_deref(), Some("Passkeys need JavaScript in this browser."));
    }
    let (name, password) = (form.name.trim(), Secret::new(form.password));
    let code = Secret::new(form.code);
    let code = Some(&code).filter(|code| !code.expose().trim().is_empty());
    let newcomer = match node.sign_in_afresh(name, password, code).await {
        Ok(newcomer) => newcomer,
        Err(reason) => return refused(&node, name, &reason, peer, form.next.as_deref()).await,
    };
    match node.begin_browser_session(newcomer, peer).await {
        Ok(cookie) => go_to(onward(form.next.as_deref()), Some(cookie)),
        Err(refusal) => failed(&refusal),
    }
}

/// Ends the session of this browser.
#[utoipa::path(
    post,
    path = "/sign-out",
    tag = "pages",
    responses((status = 200, description = "A page", body = String, content_type = "text/html")),
    extensions(("x-right" = json!("person"))),
)]
async fn sign_out(State(node): State<Desk>, Visiting { visitor, peer }: Visiting) -> Response<Body> {
    let cookie = node.end_browser_session(&visitor);
    match node.record_of_visitor(&visitor, peer, Outcome::Completed, "signed out").await {
        Ok(()) => go_to("/sign-in", Some(cookie)),
        Err(refusal) => failed(&refusal),
    }
}

/// Asks for the second factor once more.
#[utoipa::path(
    get,
    path = "/step-up",
    tag = "pages",
    params(Onward),
    responses((status = 200, description = "A page", body = String, content_type = "text/html")),
    extensions(("x-right" = json!("person"))),
)]
async fn step_up_page(Visiting { visitor, .. }: Visiting, Asked(onward): Asked<Onward>) -> Response<Body> {
    step_up_form(&visitor.person.name, onward.next.as_deref(), None)
}

/// Takes the second factor once more.
#[utoipa::path(
    post,
    path = "/step-up",
    tag = "pages",
    request_body(content = SteppingUp, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "A page", body = String, content_type = "text/html")),
    extensions(("x-right" = json!("person"))),
)]
async fn step_up(
    State(node): State<Desk>,
    Visiting { visitor, peer }: Visiting,
    Filled(form): Filled<SteppingUp>,
) -> Response<Body> {
    let name = visitor.person.name.as_str();
    match node.prove_code(name, &Secret::new(form.code)).await {
        Ok(proof) => {
            let words = "second factor shown again";
            match node.record_of_visitor(&visitor, peer, Outcome::Completed, words).await {
                Ok(()) => {
                    node.browser_stepped_up(&visitor, proof.into_principal().shown);
                    go_to(onward(form.next.as_deref()), None)
                }
                Err(refusal) => failed(&refusal),
            }
        }
        Err(reason) => match node.refuse_browser_sign_in(name, &reason, peer).await {
            Ok(()) => step_up_form(name, form.next.as_deref(), Some("That code was not accepted.")),
            Err(refusal) => failed(&refusal),
        },
    }
}

/// Shows a session that waits for approval.
#[utoipa::path(
    get,
    path = "/approve/{id}",
    tag = "pages",
    params(("id" = String, Path)),
    responses((status = 200, description = "A page", body = String, content_type = "text/html")),
    extensions(("x-right" = json!("person"))),
)]
async fn approve_page(
    State(node): State<Desk>,
    Visiting { visitor, peer }: Visiting,
    Named(id): Named<String>,
) -> Response<Body> {
    let (name, now) = (visitor.person.name.as_str(), node.now());
    let Some(asked) = node.approvals.of(&id, name, now) else { return gone(name) };
    if !visitor.is_fresh(now, FACTOR_AGE_MAX) {
        return go_to(&format!("/step-up?next={}", onward(Some(&format!("/approve/{id}")))), None);
    }
    approval_form(name, &id, &asked, peer.ip(), None)
}

/// Approves or denies a session that waits.
#[utoipa::path(
    post,
    path = "/approve/{id}",
    tag = "pages",
    params(("id" = String, Path)),
    request_body(content = Approving, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "A page", body = String, content_type = "text/html")),
    extensions(("x-right" = json!("person"))),
)]
async fn approve(
    State(node): State<Desk>,
    Visiting { visitor, peer }: Visiting,
    Named(id): Named<String>,
    Filled(form): Filled<Approving>,
) -> Response<Body> {
    let name = visitor.person.name.as_str();
    let Some(asked) = node.approvals.of(&id, name, node.now()) else { return gone(name) };
    if form.act != "approve" {
        node.deny(&visitor, &id);
        return Page::new("Denied")
            .of(name)
            .text("The session was not let in. If you did not start it, somebody else used your name: tell your administrator.")
            .into_response();
    }
    match node.approve(&visitor, peer.ip(), &id, &form.code).await {
        Ok(asked) => Page::new("Approved")
            .of(name)
            .text(&format!("Your session on {} goes on. You can close this page.", asked.resource))
            .into_response(),
        Err(NotApproved::WrongCode) => {
            let wrong = "That is not the code that your program shows. Look at it again; after three wrong codes it has to start anew.";
            let words = "wrong code for a session that waits";
            match node.record_of_visitor(&visitor, peer, Outcome::Refused, words).await {
                Ok(()) => approval_form(name, &id, &asked, peer.ip(), Some(wrong)),
                Err(refusal) => failed(&refusal),
            }
        }
        Err(NotApproved::Stale) => {
            go_to(&format!("/step-up?next={}", onward(Some(&format!("/approve/{id}")))), None)
        }
        Err(NotApproved::Gone) => gone(name),
        Err(NotApproved::Refused) => {
            let help = "Your account may not sign in now. Ask your administrator.";
            Page::new("Not let in").of(name).status(StatusCode::FORBIDDEN).text(help).into_response()
        }
    }
}

/// Shows what is one's own: sessions, tokens, second factors.
#[utoipa::path(
    get,
    path = "/",
    tag = "pages",
    responses((status = 200, description = "A page", body = String, content_type = "text/html")),
    extensions(("x-right" = json!("person"))),
)]
async fn home(State(node): State<Desk>, Visiting { visitor, .. }: Visiting) -> Response<Body> {
    super::home::page(&node, &visitor).await
}

/// Makes a token, shown once.
#[utoipa::path(
    post,
    path = "/tokens",
    tag = "pages",
    responses((status = 200, description = "A page", body = String, content_type = "text/html")),
    extensions(("x-right" = json!("person"))),
)]
async fn make_token(State(node): State<Desk>, Visiting { visitor, peer }: Visiting) -> Response<Body> {
    let life = match node.token_life(None) {
        Ok(life) => life,
        Err(refusal) => return failed(&refusal),
    };
    match node.own_token(&visitor, peer, life).await {
        Ok(token) => token_page(&visitor.person.name, &token),
        Err(refusal) => told(&visitor.person.name, &refusal),
    }
}

/// Ends one of one's own tokens.
#[utoipa::path(
    post,
    path = "/tokens/{id}/end",
    tag = "pages",
    params(("id" = String, Path)),
    responses((status = 200, description = "A page", body = String, content_type = "text/html")),
    extensions(("x-right" = json!("person"))),
)]
async fn end_token(
    State(node): State<Desk>,
    Visiting { visitor, peer }: Visiting,
    Named(id): Named<String>,
) -> Response<Body> {
    match node.own_token_end(&visitor, peer, &id).await {
        Ok(_ended) => go_to("/", None),
        Err(refusal) => told(&visitor.person.name, &refusal),
    }
}

/// Ends one of one's own sessions.
#[utoipa::path(
    post,
    path = "/sessions/{id}/end",
    tag = "pages",
    params(("id" = String, Path)),
    responses((status = 200, description = "A page", body = String, content_type = "text/html")),
    extensions(("x-right" = json!("person"))),
)]
async fn end_session(
    State(node): State<Desk>,
    Visiting { visitor, peer }: Visiting,
    Named(id): Named<String>,
) -> Response<Body> {
    match node.own_session_end(&visitor, peer, &id).await {
        Ok(_ended) => go_to("/", None),
        Err(refusal) => told(&visitor.person.name, &refusal),
    }
}

/// Shows the second factor for one of one's own sessions.
#[utoipa::path(
    post,
    path = "/sessions/{id}/confirm",
    tag = "pages",
    params(("id" = String, Path)),
    responses((status = 200, description = "A page", body = String, content_type = "text/html")),
    extensions(("x-right" = json!("person"))),
)]
async fn confirm_session(
    State(node): State<Desk>,
    Visiting { visitor, peer }: Visiting,
    Named(id): Named<String>,
) -> Response<Body> {
    if !visitor.is_fresh(node.now(), FACTOR_AGE_MAX) {
        return go_to("/step-up?next=/", None);
    }
    match node.own_session_confirm(&visitor, peer, &id).await {
        Ok(_confirmed) => go_to("/", None),
        Err(refusal) => told(&visitor.person.name, &refusal),
    }
}

/// Gives oneself an authenticator in place of the one before.
#[utoipa::path(
    post,
    path = "/authenticator",
    tag = "pages",
    responses((status = 200, description = "A page", body = String, content_type = "text/html")),
    extensions(("x-right" = json!("person"))),
)]
async fn new_authenticator(State(node): State<Desk>, Visiting { visitor, peer }: Visiting) -> Response<Body> {
    if !visitor.is_fresh(node.now(), FACTOR_AGE_MAX) {
        return go_to("/step-up?next=/", None);
    }
    match node.own_totp(&visitor, peer).await {
        Ok((secret, address)) => authenticator_page(&visitor.person.name, &secret, &address),
        Err(refusal) => told(&visitor.person.name, &refusal),
    }
}

/// Gives oneself recovery codes in place of those before.
#[utoipa::path(
    post,
    path = "/recovery-codes",
    tag = "pages",
    responses((status = 200, description = "A page", body = String, content_type = "text/html")),
    extensions(("x-right" = json!("person"))),
)]
async fn new_recovery_codes(
    State(node): State<Desk>,
    Visiting { visitor, peer }: Visiting,
) -> Response<Body> {
    if !visitor.is_fresh(node.now(), FACTOR_AGE_MAX) {
        return go_to("/step-up?next=/", None);
    }
    match node.own_recovery_codes(&visitor, peer).await {
        Ok(codes) => {
            let lines: Vec<&str> = codes.iter().map(String::as_str).collect();
            Page::new("Your recovery codes")
                .of(&visitor.person.name)
                .text("Print them or write them down, and keep them where your keys are. Each one counts once, when your phone is not at hand. The codes you had before do not count any more.")
                .code(&lines)
                .link("/", "I have them")
                .into_response()
        }
        Err(refusal) => told(&visitor.person.name, &refusal),
    }
}

fn sign_in_form(next: Option<&str>, problem: Option<&str>) -> Response<Body> {
    let form = Form::to("/sign-in")
        .field("name", "Name", Kind::Name)
        .field("password", "Password", Kind::Password)
        .field("code", "Code from your phone, or a recovery code", Kind::CodeIfAny)
        .hidden("next", onward(next))
        .button("password", "Sign in")
        .other_button("passkey", "Use a passkey instead");
    let page = Page::new("Sign in").scripted();
    let page = match problem {
        Some(problem) => page.warning(problem).status(StatusCode::FORBIDDEN),
        None => page,
    };
    page.form(form).into_response()
}

/// Says that somebody did not sign in: the same words for every reason.
async fn refused(
    node: &Desk,
    name: &str,
    reason: &Reason,
    peer: std::net::SocketAddr,
    next: Option<&str>,
) -> Response<Body> {
    match node.refuse_browser_sign_in(name, reason, peer).await {
        Ok(()) => sign_in_form(next, Some("That did not work. Check the name, the password and the code.")),
        Err(refusal) => failed(&refusal),
    }
}

fn step_up_form(name: &str, next: Option<&str>, problem: Option<&str>) -> Response<Body> {
    let form = Form::to("/step-up")
        .field("code", "Code from your phone, or a recovery code", Kind::Code)
        .hidden("next", onward(next))
        .button("code", "Go on");
    let page = Page::new("One more thing")
        .of(name)
        .text("Before this, Wardline wants to be sure that it is still you.");
    let page = match problem {
        Some(problem) => page.warning(problem).status(StatusCode::FORBIDDEN),
        None => page,
    };
    page.form(form)
        .text("You have no phone or code set up? Your administrator gives you recovery codes.")
        .into_response()
}

fn approval_form(
    name: &str,
    id: &str,
    asked: &super::approvals::Asked,
    here: std::net::IpAddr,
    problem: Option<&str>,
) -> Response<Body> {
    let address = asked.peer.ip().to_string();
    let client = if asked.client.is_empty() { "a program that does not say" } else { &asked.client };
    let since = output::to_second(&output::time(asked.since));
    let page =
        Page::new("Let this session in?").of(name).text("A program wants to sign in as you.").facts(&[
            ("As", &asked.name),
            ("To", &asked.resource),
            ("Program", client),
            ("From address", &address),
            ("Asked at", &since),
        ]);
    let page = match asked.peer.ip() == here {
        true => page,
        false => page.warning(
            "It comes from another address than you do. Approve it only if you started it yourself.",
        ),
    };
    let page = match problem {
        Some(problem) => page.warning(problem).status(StatusCode::FORBIDDEN),
        None => page,
    };
    let form = Form::to(&format!("/approve/{id}"))
        .field("code", "The code that the program shows", Kind::Shown)
        .button("approve", "Yes, it is me: let it in")
        .other_button("deny", "No, refuse it");
    page.form(form).text("Nobody will ever call or write to you for this code.").into_response()
}

fn gone(name: &str) -> Response<Body> {
    Page::new("Nothing waits here")
        .of(name)
        .status(StatusCode::NOT_FOUND)
        .text("No session of yours waits for approval under this link. It may have been too late: start the program again.")
        .into_response()
}

fn token_page(name: &str, token: &crate::admin::TokenView) -> Response<Body> {
    let (host, port) = token.address.rsplit_once(':').unwrap_or((token.address.as_str(), "6432"));
    let line = format!("{}:{port}:*:{}:{}", host.replace(':', "\\:"), token.person, token.token.0.expose());
    Page::new("Your token")
        .of(name)
        .text("It goes where the password goes. It is shown this once; keep it as you keep a password.")
        .code(&[token.token.0.expose()])
        .text("As a line of ~/.pgpass:")
        .code(&[&line])
        .facts(&[("Ends", &output::to_second(&token.expires_at))])
        .link("/", "I have it")
        .into_response()
}

fn authenticator_page(name: &str, secret: &str, address: &str) -> Response<Body> {
    let page = Page::new("Your authenticator")
        .of(name)
        .text("Scan this with an authenticator app on your phone, or type the letters into it. It is shown this once.");
    let page = match super::picture::qr(address) {
        Some(svg) => page.picture(&svg),
        None => page,
    };
    let form = Form::to("/step-up")
        .field("code", "The code that the app shows now", Kind::Code)
        .hidden("next", "/")
        .button("code", "It works");
    page.code(&[secret]).form(form).into_response()
}

/// Tells somebody why something of their own was not done.
fn told(name: &str, refusal: &crate::admin::Refusal) -> Response<Body> {
    Page::new("This was not done")
        .of(name)
        .status(StatusCode::CONFLICT)
        .text(&refusal.message)
        .link("/", "Back")
        .into_response()
}

/// For what fails on our side: the log says what.
fn failed(refusal: &crate::admin::Refusal) -> Response<Body> {
    tracing::error!(%refusal, "a page failed");
    unavailable()
}
