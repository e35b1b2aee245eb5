//! The first page of somebody who is signed in: what is open in their name, and what they prove it with.

use axum::body::Body;
use axum::http::Response;
use axum::response::IntoResponse as _;

use super::Desk;
use super::html::{Form, Kind, Page};
use super::session::Visitor;
use super::visit::unavailable;
use crate::output;

/// Shows it.
pub(super) async fn page(node: &Desk, visitor: &Visitor) -> Response<Body> {
    let (person, now) = (&visitor.person, node.now());
    let tokens = node.registry.tokens(person.id, now).await;
    let factors = node.registry.factors(person.id).await;
    let passkeys = node.registry.passkeys(person.id).await;
    let (Ok(tokens), Ok(factors), Ok(passkeys)) = (tokens, factors, passkeys) else {
        tracing::error!("the registry could not be asked for a page");
        return unavailable();
    };
    let mut page = Page::new("Your access").of(&person.name);
    let roles = if person.roles.is_empty() { "none".to_owned() } else { person.roles.join(", ") };
    page = page.facts(&[("Roles", &roles), ("Signed in by", &visitor.browser.shown.how)]);

    page = page.heading("Open sessions");
    let sessions: Vec<_> = node.sessions.list().into_iter().filter(|view| view.person == person.id).collect();
    if sessions.is_empty() {
        page = page.text("None.");
    }
    for session in sessions {
        let (address, since) =
            (session.peer.ip().to_string(), output::to_second(&output::time(session.since)));
        let id = session.id.to_string();
        page = page
            .facts(&[
                ("On", &session.resource.0),
                ("Program", &session.client),
                ("From address", &address),
                ("Since", &since),
            ])
            .form(
                Form::to(&format!("/sessions/{id}/confirm"))
                    .button("confirm", "Confirm it with my second factor"),
            )
            .form(Form::to(&format!("/sessions/{id}/end")).other_button("end", "End it"));
    }

    page = page.heading("Signed in in browsers");
    for browser in node.browsers.of(person.id) {
        let since = output::to_second(&output::time(browser.since));
        let address = browser.address.to_string();
        page = page.facts(&[("From address", &address), ("Since", &since), ("By", &browser.shown.how)]);
    }

    page = page.heading("Tokens");
    for token in &tokens {
        let id = identity::token::TokenId(token.id).to_string();
        let until = output::to_second(&output::time(token.expires_at));
        page = page
            .facts(&[("Token", &id), ("Ends", &until), ("Worth", &token.shown.how)])
            .form(Form::to(&format!("/tokens/{id}/end")).other_button("end", "End it"));
    }
    page = page
        .text("A token goes where the password goes, for a short time.")
        .form(Form::to("/tokens").button("token", "Make a token"));

    page = page.heading("Second factors");
    let totp = match (factors.totp_added_at, factors.totp_confirmed_at) {
        (Some(_), Some(_)) => "set up",
        (Some(_), None) => "set up, no code was used yet",
        (None, _) => "none",
    };
    let left = factors.recovery.len().to_string();
    page = page
        .facts(&[("Phone", totp), ("Recovery codes left", &left)])
        .form(Form::to("/authenticator").other_button("totp", "Set up a phone"))
        .form(Form::to("/recovery-codes").other_button("recovery", "New recovery codes"));
    for passkey in &passkeys {
        let id = output::hex(&passkey.id);
        page = page
            .facts(&[("Passkey", &passkey.label)])
            .form(Form::to(&format!("/passkeys/{id}/end")).other_button("end", "Remove it"));
    }
    page.form(
        Form::to("/")
            .field("label", "A name for a new passkey", Kind::Label)
            .other_button("add-passkey", "Add a passkey"),
    )
    .scripted()
    .into_response()
}
