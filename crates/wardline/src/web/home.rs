//! The first page of somebody who is signed in: what is open in their name, and what they prove it with.

use axum::body::Body;
use axum::http::Response;
use axum::response::IntoResponse as _;
use registry::{FactorsRow, PasskeyRow, TokenRow};

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
    let roles = if person.roles.is_empty() { "none".to_owned() } else { person.roles.join(", ") };
    let page = Page::new("Your access").of(&person.name).scripted();
    let page = page.facts(&[("Roles", &roles), ("Signed in by", &visitor.browser.shown.how)]);
    let page = with_sessions(page, node, visitor);
    let page = with_browsers(page, node, visitor);
    let page = with_tokens(page, &tokens);
    with_factors(page, &factors, &passkeys).into_response()
}

fn with_sessions(page: Page, node: &Desk, visitor: &Visitor) -> Page {
    let mut page = page.heading("Open sessions");
    let mut sessions = node.sessions.list();
    sessions.retain(|view| view.person == visitor.person.id);
    if sessions.is_empty() {
        page = page.text("None.");
    }
    for session in sessions {
        let (address, id) = (session.peer.ip().to_string(), session.id.to_string());
        let since = output::to_second(&output::time(session.since));
        let facts = [
            ("On", &*session.resource.0),
            ("Program", &session.client),
            ("From address", &address),
            ("Since", &since),
        ];
        let confirm = Form::to(&format!("/sessions/{id}/confirm"))
            .button("confirm", "Confirm it with my second factor");
        let end = Form::to(&format!("/sessions/{id}/end")).other_button("end", "End it");
        page = page.facts(&facts).form(confirm).form(end);
    }
    page
}

fn with_browsers(page: Page, node: &Desk, visitor: &Visitor) -> Page {
    let mut page = page.heading("Signed in in browsers");
    for browser in node.browsers.of(visitor.person.id) {
        let since = output::to_second(&output::time(browser.since));
        let address = browser.address.to_string();
        page = page.facts(&[("From address", &address), ("Since", &since), ("By", &browser.shown.how)]);
    }
    page
}

fn with_tokens(page: Page, tokens: &[TokenRow]) -> Page {
    let mut page = page.heading("Tokens");
    for token in tokens {
        let id = identity::token::TokenId(token.id).to_string();
        let until = output::to_second(&output::time(token.expires_at));
        let end = Form::to(&format!("/tokens/{id}/end")).other_button("end", "End it");
        page = page.facts(&[("Token", &id), ("Ends", &until), ("Worth", &token.shown.how)]).form(end);
    }
    page.text("A token goes where the password goes, for a short time.")
        .form(Form::to("/tokens").button("token", "Make a token"))
}

fn with_factors(page: Page, factors: &FactorsRow, passkeys: &[PasskeyRow]) -> Page {
    let totp = match (factors.totp_added_at, factors.totp_confirmed_at) {
        (Some(_), Some(_)) => "set up",
        (Some(_), None) => "set up, no code was used yet",
        (None, _) => "none",
    };
    let left = factors.recovery.len().to_string();
    let mut page = page
        .heading("Second factors")
        .facts(&[("Phone", totp), ("Recovery codes left", &left)])
        .form(Form::to("/authenticator").other_button("totp", "Set up a phone"))
        .form(Form::to("/recovery-codes").other_button("recovery", "New recovery codes"));
    for passkey in passkeys {
        let end = Form::to(&format!("/passkeys/{}/end", output::hex(&passkey.id)));
        page = page.facts(&[("Passkey", &passkey.label)]).form(end.other_button("end", "Remove it"));
    }
    let add = Form::to("/").field("label", "A name for a new passkey", Kind::Label);
    page.form(add.other_button("add-passkey", "Add a passkey"))
}
