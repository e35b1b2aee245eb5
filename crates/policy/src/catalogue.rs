//! Which objects of PostgreSQL's catalogue show more than the shape of the database.
//!
//! Wardline logs in upstream with one account for many people, so PostgreSQL's own rule "you see your
//! own statements" does not separate them. A revealing object is outside the built-in right to read the
//! catalogue, and outside every wildcard of a role: it must be named.

/// The schema of an object that could not be resolved.
pub(crate) const UNKNOWN_SCHEMA: &str = "?";
/// The name, beside it, of an object that may be any.
pub(crate) const UNKNOWN_NAME: &str = "?";

const SCHEMAS: [&str; 2] = ["pg_catalog", "information_schema"];

/// Relations of the catalogue schemas, with the reason for each group. Versions 13 to 18.
const RELATIONS: &[&str] = &[
    // Values of table columns: most common ones, histogram bounds.
    "pg_statistic",
    "pg_statistic_ext_data",
    "pg_stats",
    "pg_stats_ext",
    "pg_stats_ext_exprs",
    // Content of large objects.
    "pg_largeobject",
    // Other sessions' statements with their literals, and their addresses.
    "pg_stat_activity",
    // Statements and parameter values of whoever used this upstream session before.
    "pg_cursors",
    "pg_prepared_statements",
    // Password hashes.
    "pg_authid",
    "pg_shadow",
    // Passwords for foreign servers, publishers and standbys; settings that applications keep secrets in.
    "pg_user_mapping",
    "pg_user_mappings",
    "_pg_user_mappings",
    "user_mapping_options",
    "pg_subscription",
    "pg_stat_wal_receiver",
    "pg_db_role_setting",
    // Files of the server: how it authenticates, and what it is told.
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_file_settings",
];

/// Functions of the catalogue schema that show what the relations above do, or files.
const FUNCTIONS: &[&str] = &[
    "lo_export",
    "lo_get",
    "lo_open",
    "loread",
    "pg_cursor",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_ls_archive_statusdir",
    "pg_ls_dir",
    "pg_ls_logdir",
    "pg_ls_tmpdir",
    "pg_ls_waldir",
    "pg_current_logfile",
    "pg_prepared_statement",
    "pg_read_binary_file",
    "pg_read_file",
    "pg_show_all_file_settings",
    "pg_stat_file",
    "pg_stat_get_activity",
    "pg_stat_get_backend_activity",
    "pg_stat_get_backend_client_addr",
    "pg_stat_get_wal_receiver",
];

/// Extensions' objects, which live in whatever schema the extension was created in: statements of all
/// sessions, normalised, except that utility statements keep their literals.
const ANYWHERE: &[&str] = &["pg_stat_statements", "pg_stat_monitor"];

/// Returns whether the schema belongs to the catalogue.
pub(crate) fn holds(schema: &str) -> bool {
    SCHEMAS.contains(&schema)
}

/// Returns whether a relation shows values, statements or secrets. An unknown schema may be the catalogue.
pub(crate) fn relation_reveals(schema: &str, name: &str) -> bool {
    reveals(RELATIONS, schema, name)
}

/// Returns whether a function shows values, statements or secrets.
pub(crate) fn function_reveals(schema: &str, name: &str) -> bool {
    reveals(FUNCTIONS, schema, name)
}

fn reveals(list: &[&str], schema: &str, name: &str) -> bool {
    let in_catalogue = holds(schema) || schema == UNKNOWN_SCHEMA;
    (in_catalogue && list.contains(&name)) || ANYWHERE.contains(&name)
}
