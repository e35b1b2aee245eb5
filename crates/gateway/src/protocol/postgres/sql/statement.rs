//! What each kind of statement needs and does. A kind that is not listed needs `Administer` and counts as a write.

use std::sync::Arc;

use model::{Action, Need, Object};
use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{
    AlterTableStmt, CopyStmt, CreateStmt, DefElem, DropStmt, ExplainStmt, FetchStmt, IntoClause, RangeVar,
    TransactionStmt, VariableSetStmt,
};
use pg_raw_parse::raw::{AlterTableType, DiscardMode, ObjectType, TransactionStmtKind, VariableSetKind};

use super::walk::{Walk, constant, is_absent, is_own_setting, names};
use super::{CopyDirection, Effect, Known, SessionEffect, lineage, purpose};

/// What one statement came to, besides what its walk gathered.
pub(super) struct Outcome {
    pub(super) command: &'static str,
    pub(super) effect: Effect,
    /// Without what the session prepared or declared before.
    pub(super) effect_apart: Effect,
    pub(super) returns_rows: bool,
    pub(super) copy: Option<CopyDirection>,
    /// A password or the like can be in the text of it.
    pub(super) secret: Secret,
    /// It gives a setting of somebody's own a value.
    pub(super) sets: bool,
}

/// Whether a statement's literals may be kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Secret {
    /// They may.
    No,
    /// Not if one of them looks like a password.
    Suspect,
    /// None of them.
    Yes,
}

impl Outcome {
    fn new(command: &'static str, effect: Effect) -> Outcome {
        Outcome {
            command,
            effect,
            effect_apart: effect,
            returns_rows: false,
            copy: None,
            secret: Secret::No,
            sets: false,
        }
    }

    fn control(command: &'static str) -> Outcome {
        Outcome::new(command, Effect::Control)
    }

    fn write(command: &'static str) -> Outcome {
        Outcome::new(command, Effect::Write)
    }

    fn secret(self, secret: Secret) -> Outcome {
        Outcome { secret, ..self }
    }

    fn sets(self, sets: bool) -> Outcome {
        Outcome { sets, ..self }
    }

    fn rows(self) -> Outcome {
        Outcome { returns_rows: true, ..self }
    }
}

/// Walks one statement.
pub(super) fn statement<'a>(
    walk: &mut Walk<'a>,
    session: &mut Vec<SessionEffect>,
    node: Node<'a>,
) -> Outcome {
    walk.next_statement();
    let settings_before = walk.settings.len();
    let mut outcome = data(walk, session, node);
    for (name, value) in walk.settings.iter().skip(settings_before) {
        session.push(match purpose::is_ours(name) {
            true => purpose::unsupported("set_config of a setting of Wardline"),
            false => SessionEffect::Set {
                name: Box::from(*name),
                value: plain_value(name, Some(*value)),
                local: false,
            },
        });
    }
    // Whoever runs code of unknown effect may also make objects with it.
    let runs_code = walk.needs.iter().any(|need| need.action == Action::Execute);
    let sets = walk.settings.len() > settings_before;
    if (runs_code || sets) && outcome.secret == Secret::No {
        outcome.secret = Secret::Suspect;
    }
    outcome
}

/// Statements on rows, and those that wrap them.
fn data<'a>(walk: &mut Walk<'a>, session: &mut Vec<SessionEffect>, node: Node<'a>) -> Outcome {
    match node {
        Node::SelectStmt(_) => {
            walk.query(node);
            let effect = walk.effect();
            if walk.defines {
                Outcome::new("SELECT INTO", effect)
            } else {
                Outcome::new("SELECT", effect).rows()
            }
        }
        Node::InsertStmt(insert) => modify(walk, node, "INSERT", insert.returning_clause().is_some()),
        Node::UpdateStmt(update) => modify(walk, node, "UPDATE", update.returning_clause().is_some()),
        Node::DeleteStmt(delete) => modify(walk, node, "DELETE", delete.returning_clause().is_some()),
        Node::MergeStmt(merge) => modify(walk, node, "MERGE", merge.returning_clause().is_some()),
        Node::CopyStmt(copy) => self::copy(walk, copy),
        Node::ExplainStmt(explain) => self::explain(walk, session, explain),
        Node::PrepareStmt(prepare) => {
            let known = Known::of(walk, prepare.query());
            for argument in prepare.argtypes().iter() {
                walk.value_of(Some(argument));
            }
            let effect = if walk.unproven_type { Effect::Write } else { Effect::Control };
            session.push(SessionEffect::Prepare { name: name(prepare.name()), statement: Arc::new(known) });
            Outcome::new("PREPARE", effect)
        }
        Node::DeclareCursorStmt(declare) => {
            const CURSOR_OPT_HOLD: i32 = 0x20;
            let known = Known::of(walk, declare.query());
            let effect = walk.effect();
            let hold = declare.options & CURSOR_OPT_HOLD != 0;
            session.push(SessionEffect::Declare {
                name: name(declare.portalname()),
                query: Arc::new(known),
                hold,
            });
            Outcome::new("DECLARE CURSOR", effect)
        }
        Node::CreateTableAsStmt(create) => {
            walk.defines = true;
            define_into(walk, create.into());
            match create.query() {
                Node::ExecuteStmt(execute) => {
                    walk.exprs(execute.params());
                    session.push(SessionEffect::Execute { name: name(execute.name()) });
                }
                query => walk.query(query),
            }
            let is_view = create.objtype == ObjectType::OBJECT_MATVIEW;
            Outcome::write(if is_view { "CREATE MATERIALIZED VIEW" } else { "CREATE TABLE AS" })
        }
        Node::CallStmt(call) => {
            walk.defines = true;
            if let Some(function) = call.funccall() {
                let (schema, procedure) = names(function.funcname());
                walk.call(function);
                if !walk.needs.iter().any(|need| need.action == Action::Execute) {
                    walk.need_function(schema.unwrap_or("?"), procedure);
                }
            }
            Outcome::write("CALL").rows()
        }
        Node::DoStmt(_) => {
            walk.defines = true;
            walk.need_function("?", "do");
            Outcome::write("DO").secret(Secret::Suspect)
        }
        _ => in_session(walk, session, node),
    }
}

fn modify<'a>(walk: &mut Walk<'a>, node: Node<'a>, command: &'static str, returns_rows: bool) -> Outcome {
    walk.query(node);
    Outcome { returns_rows, ..Outcome::write(command) }
}

fn define_into<'a>(walk: &mut Walk<'a>, into: Option<&'a IntoClause>) {
    if let Some(range) = into.and_then(|into| into.rel()) {
        walk.define_new(range);
    }
}

fn copy<'a>(walk: &mut Walk<'a>, copy: &'a CopyStmt) -> Outcome {
    let reaches_server = copy.is_program || copy.filename().is_some();
    if reaches_server {
        walk.need(Action::Administer, Object::Resource);
        walk.writes = true;
    }
    walk.expr(copy.where_clause());
    if copy.is_from {
        walk.writes = true;
        if let Some(relation) = copy.relation() {
            walk.need_relation(Action::Write, relation);
        }
        let copy = (!reaches_server).then_some(CopyDirection::In);
        return Outcome { copy, ..Outcome::write("COPY FROM") }.secret(suspect(reaches_server));
    }
    if let Some(relation) = copy.relation() {
        walk.read_relation(relation.schemaname(), relation.relname().unwrap_or_default());
    }
    if !is_absent(copy.query()) {
        walk.query(copy.query());
    }
    if !reaches_server {
        walk.need_transfer(copy.relation());
    }
    let copy = (!reaches_server).then_some(CopyDirection::Out);
    Outcome { copy, ..Outcome::new("COPY TO", walk.effect()) }.secret(suspect(reaches_server))
}

fn suspect(yes: bool) -> Secret {
    if yes { Secret::Suspect } else { Secret::No }
}

/// `EXPLAIN` runs a statement with `ANALYZE` only; but planning folds functions, so those count either way.
fn explain<'a>(walk: &mut Walk<'a>, session: &mut Vec<SessionEffect>, explain: &'a ExplainStmt) -> Outcome {
    let mut analyze = false;
    for option in explain.options().iter().filter(|option| option.defname() == Some("analyze")) {
        analyze = is_true(option);
    }
    let mut inner_session = Vec::new();
    let inner = match explain.query() {
        Node::DeclareCursorStmt(declare) => data(walk, &mut inner_session, declare.query()),
        query => data(walk, &mut inner_session, query),
    };
    inner_session.retain(|effect| matches!(effect, SessionEffect::Execute { .. }));
    let runs_prepared = !inner_session.is_empty();
    session.append(&mut inner_session);
    if !analyze {
        walk.writes = false;
        walk.defines = false;
    }
    let proven = if walk.unproven || walk.writes { Effect::Write } else { Effect::Read };
    let (effect, effect_apart) = match (analyze, runs_prepared) {
        (true, false) => (inner.effect.max(proven), inner.effect.max(proven)),
        (_, true) => (Effect::Write, inner.effect_apart.max(proven)),
        (false, false) => (proven, proven),
    };
    Outcome { effect, effect_apart, secret: inner.secret, ..Outcome::new("EXPLAIN", effect) }.rows()
}

/// Reads an option as `defGetBoolean` does; what is not plainly false is true.
fn is_true(option: &DefElem) -> bool {
    match option.arg() {
        Node::None => true,
        Node::Integer(value) => value.ival != 0,
        Node::Boolean(value) => value.boolval,
        Node::String(value) => {
            let value = value.sval().unwrap_or_default();
            !(value.eq_ignore_ascii_case("false") || value.eq_ignore_ascii_case("off"))
        }
        _ => true,
    }
}

/// Statements on the session: its transaction, settings, named statements, cursors, channels.
fn in_session<'a>(walk: &mut Walk<'a>, session: &mut Vec<SessionEffect>, node: Node<'a>) -> Outcome {
    match node {
        Node::TransactionStmt(statement) => transaction(walk, session, statement),
        Node::VariableSetStmt(set) => variable_set(walk, session, set),
        Node::VariableShowStmt(show) => {
            if show.name().is_some_and(purpose::is_ours) {
                session.push(purpose::unsupported("SHOW of a setting of Wardline"));
            }
            Outcome::new("SHOW", Effect::Read).rows()
        }
        Node::ExecuteStmt(execute) => {
            walk.exprs(execute.params());
            session.push(SessionEffect::Execute { name: name(execute.name()) });
            let apart = if walk.effect() == Effect::Write { Effect::Write } else { Effect::Control };
            Outcome { effect_apart: apart, ..Outcome::write("EXECUTE") }.rows()
        }
        Node::DeallocateStmt(deallocate) => {
            session.push(SessionEffect::Deallocate(deallocate.name().map(Box::from)));
            Outcome::control("DEALLOCATE")
        }
        Node::FetchStmt(fetch) => self::fetch(session, fetch),
        Node::ClosePortalStmt(close) => {
            session.push(SessionEffect::Close(close.portalname().map(Box::from)));
            Outcome::control("CLOSE")
        }
        Node::DiscardStmt(discard) => {
            session.push(match discard.target {
                DiscardMode::DISCARD_ALL => SessionEffect::DiscardAll,
                _ => SessionEffect::DiscardOther,
            });
            Outcome::control("DISCARD")
        }
        Node::ListenStmt(listen) => {
            session.push(SessionEffect::Listen(name(listen.conditionname())));
            Outcome::control("LISTEN")
        }
        Node::UnlistenStmt(unlisten) => {
            session.push(SessionEffect::Unlisten(unlisten.conditionname().map(Box::from)));
            Outcome::control("UNLISTEN")
        }
        Node::NotifyStmt(_) => {
            walk.need_function("pg_catalog", "pg_notify");
            Outcome::write("NOTIFY")
        }
        Node::ConstraintsSetStmt(_) => Outcome::control("SET CONSTRAINTS"),
        Node::LockStmt(lock) => {
            each_range(lock.relations(), |range| walk.need_relation(Action::Write, range));
            Outcome::write("LOCK TABLE")
        }
        Node::TruncateStmt(truncate) => {
            each_range(truncate.relations(), |range| walk.need_relation(Action::Write, range));
            if truncate.behavior == pg_raw_parse::raw::DropBehavior::DROP_CASCADE {
                // Tables that refer to these are emptied too, and are not named.
                walk.need(Action::Write, Object::Resource);
            }
            Outcome::write("TRUNCATE")
        }
        _ => define_relation(walk, session, node),
    }
}

fn fetch(session: &mut Vec<SessionEffect>, fetch: &FetchStmt) -> Outcome {
    session.push(SessionEffect::Fetch { name: name(fetch.portalname()) });
    let command = if fetch.ismove { "MOVE" } else { "FETCH" };
    Outcome { effect_apart: Effect::Control, returns_rows: !fetch.ismove, ..Outcome::write(command) }
}

fn transaction(
    walk: &mut Walk<'_>,
    session: &mut Vec<SessionEffect>,
    statement: &TransactionStmt,
) -> Outcome {
    use TransactionStmtKind as K;
    let savepoint = || name(statement.savepoint_name());
    let (command, effect) = match statement.kind {
        K::TRANS_STMT_BEGIN | K::TRANS_STMT_START => ("BEGIN", SessionEffect::Begin),
        K::TRANS_STMT_COMMIT => ("COMMIT", SessionEffect::Commit { chain: statement.chain }),
        K::TRANS_STMT_ROLLBACK => ("ROLLBACK", SessionEffect::Rollback { chain: statement.chain }),
        K::TRANS_STMT_SAVEPOINT => ("SAVEPOINT", SessionEffect::Savepoint(savepoint())),
        K::TRANS_STMT_RELEASE => ("RELEASE", SessionEffect::Release(savepoint())),
        K::TRANS_STMT_ROLLBACK_TO => ("ROLLBACK TO", SessionEffect::RollbackTo(savepoint())),
        other => {
            // Two-phase: the transaction may be somebody else's.
            walk.need(Action::Write, Object::Resource);
            let command = match other {
                K::TRANS_STMT_PREPARE => {
                    session.push(SessionEffect::PrepareTransaction);
                    "PREPARE TRANSACTION"
                }
                K::TRANS_STMT_COMMIT_PREPARED => "COMMIT PREPARED",
                K::TRANS_STMT_ROLLBACK_PREPARED => "ROLLBACK PREPARED",
                _ => {
                    walk.unlisted();
                    "TRANSACTION"
                }
            };
            return Outcome::write(command);
        }
    };
    session.push(effect);
    Outcome::control(command)
}

fn variable_set<'a>(
    walk: &mut Walk<'a>,
    session: &mut Vec<SessionEffect>,
    set: &'a VariableSetStmt,
) -> Outcome {
    let is_reset = matches!(set.kind, VariableSetKind::VAR_RESET | VariableSetKind::VAR_RESET_ALL);
    let command = if is_reset { "RESET" } else { "SET" };
    let Some(setting) = set.name() else {
        session.push(SessionEffect::Reset(None));
        return if is_reset { Outcome::control(command) } else { administer(walk, command) };
    };
    if set.kind == VariableSetKind::VAR_SET_MULTI {
        // SET TRANSACTION, SET SESSION CHARACTERISTICS.
        return Outcome::control(command);
    }
    let value = set.args().first().and_then(constant);
    if purpose::is_ours(setting) {
        session.push(purpose::set(setting, value, set));
        return Outcome::control(command).secret(Secret::Suspect).sets(true);
    }
    if matches!(setting, "role" | "session_authorization") {
        session.push(SessionEffect::SetRole);
        // Back to the role of the log-in is no more than that.
        let is_return = is_reset
            || set.kind == VariableSetKind::VAR_SET_DEFAULT
            || (setting == "role" && value.is_some_and(|value| value.eq_ignore_ascii_case("none")));
        return if is_return { Outcome::control(command) } else { administer(walk, command) };
    }
    session.push(if is_reset {
        SessionEffect::Reset(Some(Box::from(setting)))
    } else {
        SessionEffect::Set {
            name: Box::from(setting),
            value: plain_value(setting, value),
            local: set.is_local,
        }
    });
    let outcome =
        if is_own_setting(setting, value) { Outcome::control(command) } else { administer(walk, command) };
    outcome.secret(Secret::Suspect).sets(setting.contains('.'))
}

/// Returns the value of a setting of PostgreSQL itself; a site's own may be given a password or a patient's datum.
fn plain_value(setting: &str, value: Option<&str>) -> Option<Box<str>> {
    value.filter(|_| !setting.contains('.')).map(Box::from)
}

/// DDL on relations.
fn define_relation<'a>(walk: &mut Walk<'a>, session: &mut Vec<SessionEffect>, node: Node<'a>) -> Outcome {
    walk.defines = true;
    let on = |walk: &mut Walk<'a>, range: Option<&'a RangeVar>| match range {
        Some(range) => walk.need_relation(Action::Define, range),
        None => walk.need(Action::Define, Object::Resource),
    };
    match node {
        Node::CreateStmt(create) => {
            create_table(walk, create);
            Outcome::write("CREATE TABLE")
        }
        Node::AlterTableStmt(alter) => {
            alter_table(walk, alter);
            Outcome::write("ALTER TABLE").secret(Secret::Suspect)
        }
        Node::ViewStmt(view) => {
            view.view().into_iter().for_each(|range| walk.define_new(range));
            walk.query(view.query());
            Outcome::write("CREATE VIEW")
        }
        Node::IndexStmt(index) => {
            on(walk, index.relation());
            for element in index.index_params().iter() {
                walk.expr(element.expr());
            }
            walk.expr(index.where_clause());
            Outcome::write("CREATE INDEX")
        }
        Node::CreateTrigStmt(_) | Node::RuleStmt(_) => trigger_or_rule(walk, node),
        Node::CreateSeqStmt(sequence) => {
            sequence.sequence().into_iter().for_each(|range| walk.define_new(range));
            Outcome::write("CREATE SEQUENCE")
        }
        Node::AlterSeqStmt(sequence) => {
            on(walk, sequence.sequence());
            Outcome::write("ALTER SEQUENCE")
        }
        Node::CreateStatsStmt(_) => {
            // The bindings cannot list what it is on: they panic at anything but a plain table.
            on(walk, None);
            Outcome::write("CREATE STATISTICS")
        }
        Node::RefreshMatViewStmt(refresh) => {
            on(walk, refresh.relation());
            Outcome::write("REFRESH MATERIALIZED VIEW")
        }
        Node::ClusterStmt(cluster) => {
            on(walk, cluster.relation());
            Outcome::write("CLUSTER")
        }
        Node::ReindexStmt(reindex) => {
            on(walk, reindex.relation());
            Outcome::write("REINDEX")
        }
        Node::VacuumStmt(vacuum) => {
            for relation in vacuum.rels().iter() {
                on(walk, relation.relation());
            }
            if vacuum.rels().is_empty() {
                on(walk, None);
            }
            Outcome::write(if vacuum.is_vacuumcmd { "VACUUM" } else { "ANALYZE" })
        }
        _ => define_other(walk, session, node),
    }
}

/// Code that statements on a relation will run.
fn trigger_or_rule<'a>(walk: &mut Walk<'a>, node: Node<'a>) -> Outcome {
    match node {
        Node::CreateTrigStmt(trigger) => {
            trigger.relation().into_iter().for_each(|range| walk.need_relation(Action::Define, range));
            let (schema, function) = names(trigger.funcname());
            walk.function(schema, function);
            walk.expr(trigger.when_clause());
            Outcome::write("CREATE TRIGGER")
        }
        Node::RuleStmt(rule) => {
            rule.relation().into_iter().for_each(|range| walk.need_relation(Action::Define, range));
            walk.expr(rule.where_clause());
            for action in rule.actions() {
                match action {
                    Node::NotifyStmt(_) => walk.need_function("pg_catalog", "pg_notify"),
                    action => walk.query(action),
                }
            }
            Outcome::write("CREATE RULE")
        }
        _ => {
            walk.unlisted();
            Outcome::write("UNKNOWN").secret(Secret::Yes)
        }
    }
}

fn create_table<'a>(walk: &mut Walk<'a>, create: &'a CreateStmt) {
    create.relation().into_iter().for_each(|range| walk.define_new(range));
    each_range(create.inh_relations(), |range| walk.need_relation(Action::Define, range));
    for element in create.table_elts() {
        definition(walk, element);
    }
    for constraint in create.constraints().iter() {
        definition(walk, Node::Constraint(constraint));
    }
}

/// A column, constraint or other part of a table's definition: what it reads and runs.
fn definition<'a>(walk: &mut Walk<'a>, node: Node<'a>) {
    match node {
        Node::ColumnDef(column) => {
            walk.expr(column.raw_default());
            for constraint in column.constraints() {
                definition(walk, constraint);
            }
        }
        Node::Constraint(constraint) => {
            walk.expr(constraint.raw_expr());
            walk.expr(constraint.where_clause());
            if let Some(range) = constraint.pktable() {
                // Whether a key exists there can be found out through the reference.
                walk.need_relation(Action::Read, range);
            }
        }
        Node::TableLikeClause(like) => {
            if let Some(range) = like.relation() {
                walk.need_relation(Action::Read, range);
            }
        }
        Node::PartitionCmd(partition) => {
            if let Some(range) = partition.name() {
                walk.need_relation(Action::Define, range);
            }
        }
        Node::RangeVar(range) => walk.need_relation(Action::Define, range),
        // Names, types, options and flags: nothing that runs or is read.
        _ => {}
    }
}

fn alter_table<'a>(walk: &mut Walk<'a>, alter: &'a AlterTableStmt) {
    match alter.relation() {
        Some(range) => walk.need_relation(Action::Define, range),
        None => walk.need(Action::Define, Object::Resource),
    }
    if alter.objtype == ObjectType::OBJECT_FOREIGN_TABLE {
        walk.need(Action::Administer, Object::Resource);
    }
    for command in alter.cmds() {
        match command {
            Node::AlterTableCmd(command) => {
                if changes_rights(command.subtype) {
                    walk.need(Action::Administer, Object::Resource);
                }
                definition(walk, command.def());
                // SET DEFAULT carries a bare expression.
                if !matches!(
                    command.def(),
                    Node::ColumnDef(_)
                        | Node::Constraint(_)
                        | Node::PartitionCmd(_)
                        | Node::RangeVar(_)
                        | Node::NodeList(_)
                        | Node::DefElem(_)
                        | Node::TypeName(_)
                        | Node::ReplicaIdentityStmt(_)
                        | Node::ATAlterConstraint(_)
                ) {
                    walk.expr(command.def());
                }
            }
            _ => walk.unlisted(),
        }
    }
}

/// Who owns a table, and whether its rows are guarded by policies, are rights.
fn changes_rights(kind: AlterTableType::Type) -> bool {
    use AlterTableType as K;
    matches!(
        kind,
        K::AT_ChangeOwner
            | K::AT_EnableRowSecurity
            | K::AT_DisableRowSecurity
            | K::AT_ForceRowSecurity
            | K::AT_NoForceRowSecurity
    )
}

/// DDL on objects that are not relations, and statements on either.
fn define_other<'a>(walk: &mut Walk<'a>, session: &mut Vec<SessionEffect>, node: Node<'a>) -> Outcome {
    match node {
        Node::DropStmt(drop) => self::drop(walk, drop),
        Node::CommentStmt(comment) => {
            on_object(walk, comment.objtype, comment.object());
            Outcome::write("COMMENT")
        }
        Node::RenameStmt(rename) => alter(walk, rename.rename_type, rename.relation(), rename.object()),
        Node::AlterObjectSchemaStmt(change) => {
            alter(walk, change.object_type, change.relation(), change.object())
        }
        Node::AlterObjectDependsStmt(change) => {
            alter(walk, change.object_type, change.relation(), change.object())
        }
        Node::AlterOwnerStmt(_) => administer(walk, "ALTER OWNER"),
        Node::CreateSchemaStmt(schema) => {
            walk.need(Action::Define, Object::Resource);
            let mut secret = Secret::No;
            for element in schema.schema_elts() {
                let inner = data(walk, session, element);
                walk.defines = true;
                secret = if inner.secret == Secret::No { secret } else { inner.secret };
            }
            Outcome::write("CREATE SCHEMA").secret(secret)
        }
        Node::CreateFunctionStmt(function) => {
            walk.need(Action::Define, Object::Resource);
            for option in function.options().iter().filter(|option| option.defname() == Some("language")) {
                let language = option.arg().as_str().unwrap_or_default();
                if !matches!(language, "sql" | "plpgsql") {
                    // Outside the two that every database trusts its users with.
                    walk.need(Action::Administer, Object::Resource);
                }
            }
            let procedure = function.is_procedure;
            Outcome::write(if procedure { "CREATE PROCEDURE" } else { "CREATE FUNCTION" })
                .secret(Secret::Suspect)
        }
        Node::AlterFunctionStmt(_) => define(walk, "ALTER FUNCTION"),
        Node::DefineStmt(_) => define(walk, "CREATE"),
        Node::CreateDomainStmt(_) => define(walk, "CREATE DOMAIN"),
        Node::AlterDomainStmt(_) => define(walk, "ALTER DOMAIN"),
        Node::CompositeTypeStmt(_) | Node::CreateEnumStmt(_) | Node::CreateRangeStmt(_) => {
            define(walk, "CREATE TYPE")
        }
        Node::AlterEnumStmt(_) | Node::AlterTypeStmt(_) => define(walk, "ALTER TYPE"),
        Node::CreateCastStmt(_) => define(walk, "CREATE CAST"),
        Node::CreateOpClassStmt(_) => define(walk, "CREATE OPERATOR CLASS"),
        Node::CreateOpFamilyStmt(_) => define(walk, "CREATE OPERATOR FAMILY"),
        Node::AlterOpFamilyStmt(_) => define(walk, "ALTER OPERATOR FAMILY"),
        Node::AlterOperatorStmt(_) => define(walk, "ALTER OPERATOR"),
        Node::CreateConversionStmt(_) => define(walk, "CREATE CONVERSION"),
        Node::AlterCollationStmt(_) => define(walk, "ALTER COLLATION"),
        Node::AlterStatsStmt(_) => define(walk, "ALTER STATISTICS"),
        Node::AlterTSDictionaryStmt(_) => define(walk, "ALTER TEXT SEARCH DICTIONARY"),
        Node::AlterTSConfigurationStmt(_) => define(walk, "ALTER TEXT SEARCH CONFIGURATION"),
        _ => {
            let (command, secret) = administration(node);
            if command == "UNKNOWN" {
                walk.unlisted();
            }
            administer(walk, command).secret(secret)
        }
    }
}

fn define(walk: &mut Walk<'_>, command: &'static str) -> Outcome {
    walk.need(Action::Define, Object::Resource);
    Outcome::write(command)
}

fn administer(walk: &mut Walk<'_>, command: &'static str) -> Outcome {
    walk.need(Action::Administer, Object::Resource);
    Outcome::write(command)
}

/// Rights, roles, servers, files: the command, and whether its literals may be kept.
fn administration(node: Node<'_>) -> (&'static str, Secret) {
    match node {
        Node::CreateRoleStmt(_) => ("CREATE ROLE", Secret::Yes),
        Node::AlterRoleStmt(_) => ("ALTER ROLE", Secret::Yes),
        Node::AlterRoleSetStmt(_) => ("ALTER ROLE SET", Secret::Yes),
        Node::DropRoleStmt(_) => ("DROP ROLE", Secret::No),
        Node::GrantStmt(grant) => (if grant.is_grant { "GRANT" } else { "REVOKE" }, Secret::No),
        Node::GrantRoleStmt(grant) => (if grant.is_grant { "GRANT ROLE" } else { "REVOKE ROLE" }, Secret::No),
        Node::AlterDefaultPrivilegesStmt(_) => ("ALTER DEFAULT PRIVILEGES", Secret::No),
        Node::CreatePolicyStmt(_) => ("CREATE POLICY", Secret::No),
        Node::AlterPolicyStmt(_) => ("ALTER POLICY", Secret::No),
        Node::ReassignOwnedStmt(_) => ("REASSIGN OWNED", Secret::No),
        Node::DropOwnedStmt(_) => ("DROP OWNED", Secret::No),
        Node::SecLabelStmt(_) => ("SECURITY LABEL", Secret::No),
        Node::AlterSystemStmt(_) => ("ALTER SYSTEM", Secret::Yes),
        Node::CreatedbStmt(_) => ("CREATE DATABASE", Secret::No),
        Node::AlterDatabaseStmt(_) | Node::AlterDatabaseRefreshCollStmt(_) => ("ALTER DATABASE", Secret::No),
        Node::AlterDatabaseSetStmt(_) => ("ALTER DATABASE SET", Secret::Yes),
        Node::DropdbStmt(_) => ("DROP DATABASE", Secret::No),
        Node::CreateTableSpaceStmt(_) => ("CREATE TABLESPACE", Secret::No),
        Node::AlterTableSpaceOptionsStmt(_) | Node::AlterTableMoveAllStmt(_) => {
            ("ALTER TABLESPACE", Secret::No)
        }
        Node::DropTableSpaceStmt(_) => ("DROP TABLESPACE", Secret::No),
        Node::CreateExtensionStmt(_) => ("CREATE EXTENSION", Secret::No),
        Node::AlterExtensionStmt(_) | Node::AlterExtensionContentsStmt(_) => ("ALTER EXTENSION", Secret::No),
        Node::CreatePLangStmt(_) => ("CREATE LANGUAGE", Secret::No),
        Node::CreateTransformStmt(_) => ("CREATE TRANSFORM", Secret::No),
        Node::CreateAmStmt(_) => ("CREATE ACCESS METHOD", Secret::No),
        Node::CreateFdwStmt(_) => ("CREATE FOREIGN DATA WRAPPER", Secret::Yes),
        Node::AlterFdwStmt(_) => ("ALTER FOREIGN DATA WRAPPER", Secret::Yes),
        Node::CreateForeignServerStmt(_) => ("CREATE SERVER", Secret::Yes),
        Node::AlterForeignServerStmt(_) => ("ALTER SERVER", Secret::Yes),
        Node::ImportForeignSchemaStmt(_) => ("IMPORT FOREIGN SCHEMA", Secret::Yes),
        Node::CreateUserMappingStmt(_) => ("CREATE USER MAPPING", Secret::Yes),
        Node::AlterUserMappingStmt(_) => ("ALTER USER MAPPING", Secret::Yes),
        Node::DropUserMappingStmt(_) => ("DROP USER MAPPING", Secret::No),
        Node::CreatePublicationStmt(_) => ("CREATE PUBLICATION", Secret::No),
        Node::AlterPublicationStmt(_) => ("ALTER PUBLICATION", Secret::No),
        Node::CreateSubscriptionStmt(_) => ("CREATE SUBSCRIPTION", Secret::Yes),
        Node::AlterSubscriptionStmt(_) => ("ALTER SUBSCRIPTION", Secret::Yes),
        Node::DropSubscriptionStmt(_) => ("DROP SUBSCRIPTION", Secret::No),
        Node::CreateEventTrigStmt(_) => ("CREATE EVENT TRIGGER", Secret::No),
        Node::AlterEventTrigStmt(_) => ("ALTER EVENT TRIGGER", Secret::No),
        Node::LoadStmt(_) => ("LOAD", Secret::No),
        Node::CheckPointStmt(_) => ("CHECKPOINT", Secret::No),
        _ => ("UNKNOWN", Secret::Yes),
    }
}

fn drop(walk: &mut Walk<'_>, drop: &DropStmt) -> Outcome {
    for object in drop.objects() {
        on_object(walk, drop.remove_type, object);
    }
    if drop.behavior == pg_raw_parse::raw::DropBehavior::DROP_CASCADE {
        // What depends on it goes too, and is not named.
        walk.need(Action::Define, Object::Resource);
    }
    Outcome::write("DROP")
}

fn alter<'a>(
    walk: &mut Walk<'a>,
    kind: ObjectType::Type,
    relation: Option<&'a RangeVar>,
    object: Node<'a>,
) -> Outcome {
    match relation {
        Some(range) if !is_administered(kind) => walk.need_relation(Action::Define, range),
        _ => on_object(walk, kind, object),
    }
    Outcome::write("ALTER")
}

/// Kinds of objects that are rights, roles, or ways out of the database.
fn is_administered(kind: ObjectType::Type) -> bool {
    use ObjectType as K;
    matches!(
        kind,
        K::OBJECT_ROLE
            | K::OBJECT_DATABASE
            | K::OBJECT_TABLESPACE
            | K::OBJECT_EXTENSION
            | K::OBJECT_FDW
            | K::OBJECT_FOREIGN_SERVER
            | K::OBJECT_USER_MAPPING
            | K::OBJECT_EVENT_TRIGGER
            | K::OBJECT_LANGUAGE
            | K::OBJECT_ACCESS_METHOD
            | K::OBJECT_PUBLICATION
            | K::OBJECT_PUBLICATION_NAMESPACE
            | K::OBJECT_PUBLICATION_REL
            | K::OBJECT_SUBSCRIPTION
            | K::OBJECT_POLICY
            | K::OBJECT_DEFACL
            | K::OBJECT_PARAMETER_ACL
            | K::OBJECT_TRANSFORM
            | K::OBJECT_FOREIGN_TABLE
    )
}

/// Adds the need for changing an object given by kind and name.
fn on_object(walk: &mut Walk<'_>, kind: ObjectType::Type, object: Node<'_>) {
    use ObjectType as K;
    if is_administered(kind) {
        return walk.need(Action::Administer, Object::Resource);
    }
    let list = match object {
        Node::NodeList(list) => list,
        _ => return walk.need(Action::Define, Object::Resource),
    };
    let parts: Vec<&str> = list.iter().map(|part| part.as_str().unwrap_or_default()).collect();
    // A column, trigger, rule or constraint is named after its relation.
    let relation = match kind {
        K::OBJECT_TABLE | K::OBJECT_VIEW | K::OBJECT_MATVIEW | K::OBJECT_SEQUENCE | K::OBJECT_INDEX => {
            &parts[..]
        }
        K::OBJECT_COLUMN | K::OBJECT_TRIGGER | K::OBJECT_RULE | K::OBJECT_TABCONSTRAINT => {
            parts.split_last().map_or(&[][..], |(_, relation)| relation)
        }
        _ => &[],
    };
    match relation {
        [.., schema, name] => walk.need_relation_named(Action::Define, Some(schema), name),
        [name] => walk.need_relation_named(Action::Define, None, name),
        [] => walk.need(Action::Define, Object::Resource),
    }
}

fn each_range<'a>(list: &'a NodeList, mut each: impl FnMut(&'a RangeVar)) {
    for node in list {
        if let Node::RangeVar(range) = node {
            each(range);
        }
    }
}

fn name(name: Option<&str>) -> Box<str> {
    Box::from(name.unwrap_or_default())
}

impl Walk<'_> {
    /// Returns the effect of a statement that reads, as walked so far.
    fn effect(&self) -> Effect {
        if self.unproven || self.writes { Effect::Write } else { Effect::Read }
    }
}

impl Known {
    /// Walks `query` apart, and then adds what it gave to `walk`.
    fn of<'a>(walk: &mut Walk<'a>, query: Node<'a>) -> Known {
        let before: Vec<Need> = std::mem::take(&mut walk.needs);
        let (reached, writes) = (std::mem::take(&mut walk.reached), walk.writes);
        walk.seen.clear();
        let command = match query {
            Node::SelectStmt(_) => "SELECT",
            Node::InsertStmt(_) => "INSERT",
            Node::UpdateStmt(_) => "UPDATE",
            Node::DeleteStmt(_) => "DELETE",
            Node::MergeStmt(_) => "MERGE",
            _ => "OTHER",
        };
        walk.query(query);
        let effect = walk.effect();
        let mut needs = walk.needs.clone();
        needs.sort_unstable();
        let lineage = walk.follows.map(|bytes| lineage::of(walk.catalogue, walk.depth_max, bytes, query));
        let known = Known {
            lineage: lineage.map(Arc::new),
            effect,
            command,
            changes_catalogue: walk.defines || needs.iter().any(|need| need.action == Action::Execute),
            objects: super::objects(walk.catalogue, &needs, &walk.reached),
            needs: needs.into(),
        };
        let (inner_needs, inner_reached) =
            (std::mem::replace(&mut walk.needs, before), std::mem::replace(&mut walk.reached, reached));
        walk.seen.clear();
        for need in inner_needs {
            walk.need(need.action, need.object);
        }
        for name in inner_reached {
            if !walk.reached.contains(&name) {
                walk.reached.push(name);
            }
        }
        walk.writes |= writes;
        known
    }
}

/// Returns the need for running what the session never prepared or declared, as far as was seen.
pub(super) fn need_of_unknown(name: &str) -> Need {
    Need {
        action: Action::Execute,
        object: Object::Function { schema: Arc::from("?"), name: Arc::from(name) },
    }
}
