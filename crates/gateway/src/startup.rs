//! What a client asks for in its start-up message: settings that pass to the resource, and what the session is for.

use crate::control::Control;
use crate::error::Denial;
use crate::gate::purposes_in_words;
use crate::protocol::postgres::greet::Greeted;
use crate::protocol::postgres::sql::purpose::SETTING;
use crate::session::Session;

/// How the client wants to sign in: `browser`, or `password`, which may be a token.
const SIGN_IN: &str = "wardline.sign_in";

/// The longest name of an encoding that is told back.
pub(crate) const ENCODING_CHARS_MAX: usize = 32;

/// Start-up parameters that pass to the resource: none of them decides rights or how a text is read.
const PARAMETERS: &[&str] = &[
    "application_name",
    "client_encoding",
    "datestyle",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "geqo",
    "idle_in_transaction_session_timeout",
    "intervalstyle",
    "lock_timeout",
    "search_path",
    "statement_timeout",
    "timezone",
];

/// Returns what passes to the resource of what the client asked for at start-up.
///
/// # Errors
/// When it asks for a setting that is not on the list; silently dropping one would change what statements mean. When
/// it states a purpose that is not configured.
pub(crate) fn parameters<C: Control>(
    greeted: &Greeted,
    session: &Session,
    control: &C,
) -> Result<Vec<(String, String)>, Denial> {
    let mut passed = Vec::new();
    let mut pass = |name: &str, value: &str| {
        if name.eq_ignore_ascii_case(SETTING) || name.eq_ignore_ascii_case(SIGN_IN) {
            return Ok(());
        }
        if name.eq_ignore_ascii_case("client_encoding") {
            check_encoding(value)?;
        }
        if PARAMETERS.contains(&name.to_ascii_lowercase().as_str()) {
            passed.push((name.to_owned(), value.to_owned()));
            return Ok(());
        }
        Err(Denial::Unsupported(format!("start-up setting `{}` is not supported", name.escape_default())))
    };
    for (name, value) in &greeted.startup.parameters {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => {
                for (name, value) in options(value)? {
                    pass(&name, &value)?;
                }
            }
            name if name.starts_with("_pq_.") => {}
            name => pass(name, value)?,
        }
    }
    if session.purpose_first().is_none() && purpose(greeted).is_some() {
        let configured = purposes_in_words(&control.snapshot());
        let message = format!("the purpose stated at start-up is not one that is configured. {configured}");
        return Err(Denial::Unsupported(message));
    }
    Ok(passed)
}

/// Returns the purpose that the client states at start-up: the last one counts, and an empty one is none.
pub(crate) fn purpose(greeted: &Greeted) -> Option<String> {
    stated(greeted, SETTING)
}

/// Returns how the client wants to sign in, as it says at start-up.
pub(crate) fn sign_in(greeted: &Greeted) -> Option<String> {
    stated(greeted, SIGN_IN)
}

/// Returns a setting of ours that the client states at start-up.
fn stated(greeted: &Greeted, setting: &str) -> Option<String> {
    let mut stated = None;
    let mut note = |name: &str, value: &str| {
        if name.eq_ignore_ascii_case(setting) {
            stated = (!value.is_empty()).then(|| value.to_owned());
        }
    };
    for (name, value) in &greeted.startup.parameters {
        match name.as_str() {
            // What cannot be read is refused by `parameters`.
            "options" => {
                options(value).unwrap_or_default().iter().for_each(|(name, value)| note(name, value))
            }
            name => note(name, value),
        }
    }
    stated
}

/// Refuses an encoding in which the resource might read another text than is inspected.
fn check_encoding(asked: &str) -> Result<(), Denial> {
    if is_readable(asked) {
        return Ok(());
    }
    let shown: String = asked.chars().filter(|c| c.is_ascii_graphic()).take(ENCODING_CHARS_MAX).collect();
    Err(Denial::Unsupported(format!(
        "client encoding `{shown}` is not supported: connect with client_encoding=UTF8, for example by the environment \
         variable PGCLIENTENCODING=UTF8"
    )))
}

/// Tells whether an encoding, by one of its names, is one in which texts are inspected as the resource reads them.
pub(crate) fn is_readable(encoding: &str) -> bool {
    // Names are compared by their letters and digits, as PostgreSQL does.
    let name: String =
        encoding.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    matches!(name.as_str(), "utf8" | "unicode" | "sqlascii")
}

/// Reads `-c name=value` and `--name=value` of the start-up parameter `options`; a backslash escapes the next
/// character, as PostgreSQL has it.
fn options(text: &str) -> Result<Vec<(String, String)>, Denial> {
    let mut words = vec![String::new()];
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => words.last_mut().expect("there is always a word").extend(characters.next()),
            c if c.is_whitespace() => words.push(String::new()),
            c => words.last_mut().expect("there is always a word").push(c),
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--") {
            Some(long) => Some(long.to_owned()),
            None if word == "-c" => words.next(),
            None => word.strip_prefix("-c").map(str::to_owned),
        };
        let pair = setting.as_deref().and_then(|setting| setting.split_once('='));
        let (name, value) = pair.ok_or_else(|| {
            Denial::Unsupported("start-up `options` other than `-c name=value` are not supported".into())
        })?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}
