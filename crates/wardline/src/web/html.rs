//! Pages as text: everything that comes from outside is escaped by the one function that puts it in.
//!
//! No script but `passkey.js`, no style but `wardline.css`, both files of ours: the policy that goes with every answer
//! (`Content-Security-Policy`) allows nothing else.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;

use crate::output;

const STYLE: &str = include_str!("assets/wardline.css");
const ICON: &str = include_str!("assets/wardline.svg");
const SCRIPT: &str = include_str!("assets/passkey.js");

/// One page.
#[derive(Debug)]
pub(crate) struct Page {
    status: StatusCode,
    title: String,
    body: String,
    /// Who is signed in, for the line at the top.
    name: Option<String>,
    scripted: bool,
}

impl Page {
    pub(crate) fn new(title: &str) -> Page {
        let (status, title) = (StatusCode::OK, title.to_owned());
        Page { status, title, body: String::new(), name: None, scripted: false }
    }

    pub(crate) fn status(mut self, status: StatusCode) -> Page {
        self.status = status;
        self
    }

    /// Says at the top who is signed in.
    pub(crate) fn of(mut self, name: &str) -> Page {
        self.name = Some(name.to_owned());
        self
    }

    /// Loads the script of passkeys.
    pub(crate) fn scripted(mut self) -> Page {
        self.scripted = true;
        self
    }

    /// Adds a paragraph.
    pub(crate) fn text(mut self, text: &str) -> Page {
        self.body.push_str(&format!("<p>{}</p>\n", escaped(text)));
        self
    }

    /// Adds a paragraph that must not be missed.
    pub(crate) fn warning(mut self, text: &str) -> Page {
        self.body.push_str(&format!("<p class=\"warning\" role=\"alert\">{}</p>\n", escaped(text)));
        self
    }

    /// Adds a heading.
    pub(crate) fn heading(mut self, text: &str) -> Page {
        self.body.push_str(&format!("<h2>{}</h2>\n", escaped(text)));
        self
    }

    /// Adds facts, each with its name.
    pub(crate) fn facts(mut self, facts: &[(&str, &str)]) -> Page {
        self.body.push_str("<dl>\n");
        for (name, value) in facts {
            self.body.push_str(&format!("<dt>{}</dt><dd>{}</dd>\n", escaped(name), escaped(value)));
        }
        self.body.push_str("</dl>\n");
        self
    }

    /// Adds text that is to be copied as it is.
    pub(crate) fn code(mut self, lines: &[&str]) -> Page {
        let lines: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
        self.body.push_str(&format!("<pre>{}</pre>\n", lines.join("\n")));
        self
    }

    /// Adds what was made by this module or is a picture of ours.
    pub(crate) fn form(mut self, form: Form) -> Page {
        self.body.push_str(&form.finish());
        self
    }

    /// Adds a link to another page of ours.
    pub(crate) fn link(mut self, to: &str, text: &str) -> Page {
        self.body.push_str(&format!("<p><a href=\"{}\">{}</a></p>\n", escaped(to), escaped(text)));
        self
    }

    /// Adds a QR code as a picture made of shapes.
    pub(crate) fn picture(mut self, svg: &str) -> Page {
        self.body.push_str(svg);
        self
    }

    fn finish(self) -> String {
        let title = escaped(&self.title);
        let script = if self.scripted { "<script src=\"/assets/passkey.js\" defer></script>\n" } else { "" };
        let who = self.name.map_or(String::new(), |name| {
            let name = escaped(&name);
            format!(
                "<nav><a href=\"/\">{name}</a><form method=\"post\" action=\"/sign-out\"><button class=\"quiet\">Sign out</button></form></nav>"
            )
        });
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>{title} – Wardline</title>\n\
             <link rel=\"icon\" href=\"/assets/wardline.svg\">\n<link rel=\"stylesheet\" href=\"/assets/wardline.css\">\n{script}</head>\n<body>\n<header><strong>Wardline</strong>{who}</header>\n\
             <main>\n<h1>{title}</h1>\n{}</main>\n</body>\n</html>\n",
            self.body
        )
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response<Body> {
        let status = self.status;
        let mut response = answer(self.finish(), "text/html; charset=utf-8");
        *response.status_mut() = status;
        response
    }
}

/// One form, sent by POST.
#[derive(Debug)]
pub(crate) struct Form(String);

impl Form {
    pub(crate) fn to(action: &str) -> Form {
        Form(format!("<form method=\"post\" action=\"{}\">\n", escaped(action)))
    }

    /// Adds a field that people fill in. `kind` is what browsers and password managers know it by.
    pub(crate) fn field(mut self, name: &str, label: &str, kind: Kind) -> Form {
        let (input, complete, more) = kind.attributes();
        self.0.push_str(&format!(
            "<label for=\"{name}\">{}</label>\n<input id=\"{name}\" name=\"{name}\" type=\"{input}\" autocomplete=\"{complete}\" maxlength=\"1024\"{more}>\n",
            escaped(label)
        ));
        self
    }

    /// Adds a value that people do not see.
    pub(crate) fn hidden(mut self, name: &str, value: &str) -> Form {
        self.0.push_str(&format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">\n", escaped(value)));
        self
    }

    /// Adds a button; what it is called and says.
    pub(crate) fn button(mut self, value: &str, text: &str) -> Form {
        self.0.push_str(&format!("<button name=\"do\" value=\"{value}\">{}</button>\n", escaped(text)));
        self
    }

    /// Adds a button that is not the usual one; it works with empty fields too.
    pub(crate) fn other_button(mut self, value: &str, text: &str) -> Form {
        self.0.push_str(&format!(
            "<button class=\"quiet\" name=\"do\" value=\"{value}\" formnovalidate>{}</button>\n",
            escaped(text)
        ));
        self
    }

    fn finish(self) -> String {
        format!("{}</form>\n", self.0)
    }
}

/// What a field is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Name,
    Password,
    /// A code of an authenticator; may be left empty.
    CodeIfAny,
    /// The same, needed.
    Code,
    /// The code that a waiting program shows.
    Shown,
    Label,
}

impl Kind {
    fn attributes(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Kind::Name => (
                "text",
                "username webauthn",
                " required autofocus autocapitalize=\"none\" spellcheck=\"false\"",
            ),
            Kind::Password => ("password", "current-password", " required"),
            Kind::CodeIfAny => ("text", "one-time-code", " spellcheck=\"false\""),
            Kind::Code => ("text", "one-time-code", " required autofocus spellcheck=\"false\""),
            Kind::Shown => {
                ("text", "off", " required autofocus autocapitalize=\"characters\" spellcheck=\"false\"")
            }
            Kind::Label => ("text", "off", " required"),
        }
    }
}

/// Sends the browser to another page of ours.
pub(crate) fn go_to(path: &str, cookie: Option<HeaderValue>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let path = HeaderValue::try_from(path).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, path);
    if let Some(cookie) = cookie {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// Returns the style of all pages.
pub(crate) fn style() -> Response<Body> {
    answer(STYLE.to_owned(), "text/css; charset=utf-8")
}

/// Returns the picture of the tab.
pub(crate) fn icon() -> Response<Body> {
    answer(ICON.to_owned(), "image/svg+xml")
}

/// Returns the one script.
pub(crate) fn script() -> Response<Body> {
    answer(SCRIPT.to_owned(), "text/javascript; charset=utf-8")
}

fn answer(text: String, media_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Returns a path of ours to go on to, or the first page: nobody is sent to another site.
pub(crate) fn onward(next: Option<&str>) -> &str {
    let ours = |path: &&str| {
        path.starts_with('/')
            && path.len() <= 256
            && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-'))
            && !path.starts_with("//")
    };
    next.filter(ours).unwrap_or("/")
}

/// Returns text for a page: as it reads, whatever marks are in it.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in output::printable(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_cannot_become_a_mark() {
        let evil = "\"><script>alert('x')</script>&\u{202e}";
        let form = Form::to("/x").hidden("id", evil).field("code", evil, Kind::Code).button("go", evil);
        let page = Page::new(evil).of(evil).text(evil).facts(&[(evil, evil)]).code(&[evil]).form(form);
        let html = page.warning(evil).link(evil, evil).heading(evil).finish();
        assert!(!html.contains("<script>"), "{html}");
        assert!(!html.contains(evil), "{html}");
    }

    #[test]
    fn nobody_is_sent_to_another_site() {
        for (next, expected) in [
            (Some("/approve/ABC"), "/approve/ABC"),
            (Some("/"), "/"),
            (None, "/"),
            (Some(""), "/"),
            (Some("//evil.example"), "/"),
            (Some("https://evil.example"), "/"),
            (Some("/\\evil.example"), "/"),
            (Some("/a?next=b"), "/"),
            (Some("/a\r\nSet-Cookie: x"), "/"),
        ] {
            assert_eq!(onward(next), expected, "{next:?}");
        }
    }
}
