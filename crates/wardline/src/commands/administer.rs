//! The commands that change people, tokens and credentials: ask, then say what was done.

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use serde::Serialize;
use serde_json::json;

use crate::admin::{PersonView, Refused, Reply, Request, Sensitive, TokenView};
use crate::cli::{Login, Token, User, Vault};
use crate::commands::{configuration, factors, operator};
use crate::control;
use crate::output::{self, Paint};
use crate::prompt::{self, NewPassword};

/// Runs `wardline user …`.
pub(crate) fn user(file: &Path, command: &User) -> anyhow::Result<ExitCode> {
    match command {
        User::Add { name, roles, display_name, password, output } => {
            let new = prompt::new_password(password, name)?;
            let request = Request::UserAdd {
                name: name.clone(),
                display_name: display_name.clone().unwrap_or_default(),
                roles: roles.clone(),
                password: Sensitive(new.password.clone()),
            };
            with_password(file, request, "added", output.json, &new)
        }
        User::Passwd { name, password, output } => {
            let new = prompt::new_password(password, name)?;
            let password = Sensitive(new.password.clone());
            let request = Request::UserPassword { name: name.clone(), password };
            with_password(file, request, "set the password of", output.json, &new)
        }
        User::Disable { name, ended_at, output } => {
            let ended_at_us = ended_at.map(|at| at.0);
            person(file, Request::UserDisable { name: name.clone(), ended_at_us }, "disabled", output.json)
        }
        User::Enable { name, output } => {
            person(file, Request::UserEnable { name: name.clone() }, "enabled", output.json)
        }
        User::Delete { name, output } => {
            let request = Request::UserDelete { name: name.clone() };
            nothing(file, request, &format!("deleted {name}"), output.json)
        }
        User::Roles { name, roles, none: _, output } => {
            let request = Request::UserRoles { name: name.clone(), roles: roles.clone() };
            person(file, request, "changed", output.json)
        }
        User::List { output } => list(file, output.json),
        User::Factor(command) => factors::run(file, command),
    }
}

/// Runs `wardline login`.
pub(crate) fn login(file: &Path, arguments: &Login) -> anyhow::Result<ExitCode> {
    let password = prompt::known_password(arguments.password_stdin, &arguments.name)?;
    let code = match arguments.second_factor {
        true => Some(Sensitive(prompt::code(arguments.password_stdin)?)),
        false => None,
    };
    let request = Request::Login {
        name: arguments.name.clone(),
        password: Sensitive(password),
        life_s: arguments.life_s,
        code,
    };
    ask(file, request, |reply| {
        let Reply::Token(token) = reply else { return unexpected() };
        show_token(&token, arguments)
    })
}

fn show_token(token: &TokenView, arguments: &Login) -> anyhow::Result<()> {
    let secret = token.token.0.expose();
    let (host, port) = token.address.rsplit_once(':').unwrap_or((token.address.as_str(), "6432"));
    let host = match host.trim_matches(['[', ']']) {
        "0.0.0.0" | "::" => "localhost",
        host => host,
    };
    if arguments.json {
        return output::json(token);
    }
    if arguments.save {
        let path = operator::save_token(&token.person, &token.token.0)?;
        output::line(&format!("kept in {} until {}", path.display(), token.expires_at));
    } else if arguments.token_only {
        output::line(secret);
    } else if arguments.pgpass {
        let host = host.replace(':', "\\:");
        output::line(&format!("{host}:{port}:*:{}:{secret}", token.person));
    } else {
        output::line(&format!("token:   {secret}"));
        output::line(&format!("id:      {}", token.id));
        output::line(&format!("expires: {}", token.expires_at));
        output::line("use it in place of the password, such as");
        output::line(&format!("  PGPASSWORD={secret} psql -h {host} -p {port} -U {} RESOURCE", token.person));
        output::line("or add the line of `wardline login --pgpass` to ~/.pgpass");
    }
    Ok(())
}

/// Runs `wardline token …`.
pub(crate) fn token(file: &Path, command: &Token) -> anyhow::Result<ExitCode> {
    let Token::Revoke { id, person, output } = command;
    let request = match (id, person) {
        (Some(id), _) => Request::TokenRevoke { id: id.clone() },
        (None, Some(name)) => Request::TokensRevoke { name: name.clone() },
        (None, None) => bail!("name a token or a person"),
    };
    ask(file, request, |reply| {
        let Reply::Revoked { tokens } = reply else { return unexpected() };
        if output.json {
            return output::json(&json!({ "revoked": tokens }));
        }
        output::line(&match tokens {
            0 => "no token was alive".to_owned(),
            1 => "revoked 1 token".to_owned(),
            tokens => format!("revoked {tokens} tokens"),
        });
        Ok(())
    })
}

/// Runs `wardline vault …`.
pub(crate) fn vault(file: &Path, command: &Vault) -> anyhow::Result<ExitCode> {
    match command {
        Vault::Set { resource, user, password_stdin, second, output } => {
            let password = prompt::known_password(*password_stdin, &format!("{user} at {resource}"))?;
            let request = Request::VaultSet {
                resource: resource.clone(),
                user: user.clone(),
                password: Sensitive(password),
                second: *second,
            };
            ask(file, request, |reply| {
                let Reply::Stored { in_force } = reply else { return unexpected() };
                if output.json {
                    return output::json(&json!({ "done": true, "in_force": in_force }));
                }
                output::line(&format!("stored the credential of {resource}"));
                if !in_force {
                    output::line("the running server does not know the resource yet: send it SIGHUP");
                }
                Ok(())
            })
        }
        Vault::Rotate { resource, all, output } => {
            let request = Request::VaultRotate { resource: resource.clone(), all: *all };
            ask(file, request, |reply| {
                let Reply::Rotated { users } = reply else { return unexpected() };
                if output.json {
                    return output::json(&json!({ "done": true, "users": users }));
                }
                for user in users {
                    output::line(&format!(
                        "changed the password of {} at {resource}",
                        output::printable(&user)
                    ));
                }
                Ok(())
            })
        }
        Vault::Remove { resource, output } => {
            let request = Request::VaultRemove { resource: resource.clone() };
            nothing(file, request, &format!("forgot the credential of {resource}"), output.json)
        }
        Vault::List { output } => ask(file, Request::VaultList {}, |reply| {
            let Reply::Resources(names) = reply else { return unexpected() };
            if output.json {
                return output::json(&names);
            }
            names.iter().for_each(|name| output::line(name));
            Ok(())
        }),
    }
}

fn list(file: &Path, json: bool) -> anyhow::Result<ExitCode> {
    ask(file, Request::UserList {}, |reply| {
        let Reply::People(people) = reply else { return unexpected() };
        if json {
            return output::json(&people);
        }
        let heading = ["NAME", "STATE", "ROLES", "ADDED", "ID", "DISPLAY NAME"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(people.into_iter().map(|person| {
            let state = match (person.disabled, &person.locked_until) {
                (true, _) => "disabled".to_owned(),
                (false, Some(until)) => format!("locked until {}", output::to_second(until)),
                (false, None) => "active".to_owned(),
            };
            let added = person.created_at.chars().take(10).collect();
            vec![
                person.name,
                state,
                person.roles.join(","),
                added,
                person.id,
                output::printable(&person.display_name),
            ]
        }));
        output::line(&output::table(&rows, Paint::stdout()));
        Ok(())
    })
}

#[derive(Serialize)]
struct PersonWithPassword<'a> {
    #[serde(flatten)]
    person: &'a PersonView,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
}

fn with_password(
    file: &Path,
    request: Request,
    verb: &str,
    json: bool,
    new: &NewPassword,
) -> anyhow::Result<ExitCode> {
    ask(file, request, |reply| {
        let Reply::Person(person) = reply else { return unexpected() };
        let password = new.generated.then(|| new.password.expose());
        if json {
            return output::json(&PersonWithPassword { person: &person, password });
        }
        output::line(&described(verb, &person));
        if let Some(password) = password {
            output::line(&format!("password: {password}"));
            output::line("it is shown this once and stored nowhere in clear");
        }
        Ok(())
    })
}

fn person(file: &Path, request: Request, verb: &str, json: bool) -> anyhow::Result<ExitCode> {
    ask(file, request, |reply| {
        let Reply::Person(person) = reply else { return unexpected() };
        if json {
            return output::json(&person);
        }
        output::line(&described(verb, &person));
        Ok(())
    })
}

fn described(verb: &str, person: &PersonView) -> String {
    let roles = if person.roles.is_empty() { "no role".to_owned() } else { person.roles.join(", ") };
    let ended = person
        .departure
        .as_ref()
        .map(|departure| format!("\nended: {} sessions, {} tokens", departure.sessions, departure.tokens));
    format!("{verb} {} ({roles}; id {}){}", person.name, person.id, ended.unwrap_or_default())
}

fn nothing(file: &Path, request: Request, said: &str, json: bool) -> anyhow::Result<ExitCode> {
    ask(file, request, |_| {
        if json {
            return output::json(&json!({ "done": true }));
        }
        output::line(said);
        Ok(())
    })
}

pub(crate) fn unexpected() -> anyhow::Result<()> {
    bail!("the server answered something else; use the `wardline` that it runs")
}

/// Asks and shows the reply; a refusal ends the command.
pub(crate) fn ask(
    file: &Path,
    request: Request,
    show: impl FnOnce(Reply) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    match control::ask(configuration(file)?, request)? {
        Ok(reply) => {
            show(reply)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(refusal) => Err(Refused(refusal).into()),
    }
}
