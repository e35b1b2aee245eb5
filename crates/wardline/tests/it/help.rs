//! The help of every command against its golden file, so that a change of the command line is seen in review.

use crate::place::{Place, golden};

const COMMANDS: &[&str] = &[
    "",
    "serve",
    "check",
    "init",
    "user",
    "user add",
    "user passwd",
    "user disable",
    "user enable",
    "user delete",
    "user roles",
    "user list",
    "user totp",
    "user recovery-codes",
    "user factors",
    "user remove-factors",
    "login",
    "token",
    "token revoke",
    "operator",
    "operator rights",
    "operator agreements",
    "operator agree",
    "key",
    "key list",
    "key rotate",
    "retention",
    "retention plan",
    "retention expire",
    "retention hold",
    "retention hold add",
    "retention hold list",
    "retention hold remove",
    "vault",
    "vault set",
    "vault list",
    "vault remove",
    "vault rotate",
    "registry",
    "registry import",
    "trail",
    "trail tail",
    "trail show",
    "trail prove",
    "trail search",
    "trail sql",
    "trail archive",
    "trail export-tlog",
    "verify-answer",
    "trail seal",
    "trail store",
    "backup",
    "restore",
    "drill",
    "who-saw",
    "saw",
    "export",
    "export fhir",
    "export atna",
    "export ocsf",
    "export cloudevents",
    "export verify",
    "inbound",
    "inbound add",
    "inbound list",
    "inbound remove",
    "session",
    "session list",
    "session watch",
    "session kill",
    "lock",
    "lock add",
    "lock remove",
    "lock list",
    "training",
    "training complete",
    "training import",
    "training withdraw",
    "training list",
    "training roster",
    "recertify",
    "recertify start",
    "recertify list",
    "recertify show",
    "recertify confirm",
    "recertify change",
    "recertify revoke",
    "recertify report",
    "account",
    "account describe",
    "agent",
    "agent add",
    "agent delegate",
    "agent end",
    "agent list",
    "report accounts",
    "policy",
    "policy test",
    "policy who-can",
    "policy what-can",
    "verify",
    "verify-proof",
    "witness",
    "access",
    "access matrix",
    "access request",
    "access approve",
    "access deny",
    "access withdraw",
    "access revoke",
    "access list",
    "break-glass",
    "break-glass begin",
    "break-glass end",
    "break-glass revoke",
    "break-glass approve",
    "break-glass list",
    "break-glass show",
    "break-glass review",
    "break-glass drill",
    "break-glass codes",
    "break-glass codes new",
    "break-glass codes list",
    "exception",
    "exception list",
    "exception add",
    "exception approve",
    "exception end",
    "report",
    "report leavers",
    "workload",
    "workload list",
    "phi",
    "phi scan",
    "phi explain",
    "nonsense",
];

#[test]
fn help_is_as_committed() {
    let place = Place::new();
    for command in COMMANDS {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let ran = place.run(&arguments);
        let name = if command.is_empty() {
            "help".to_owned()
        } else {
            format!("help-{}", command.replace(' ', "-"))
        };
        golden(&format!("{name}.txt"), &format!("{}{}", ran.stdout, ran.stderr));
    }
}

#[test]
fn every_command_and_group_shows_an_example() {
    let place = Place::new();
    for command in COMMANDS {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let help = place.run(&arguments).stdout;
        assert!(*command == "nonsense" || help.contains("Example"), "`{command}` shows no example");
    }
}
