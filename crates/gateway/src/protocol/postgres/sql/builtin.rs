//! What every PostgreSQL brings along: functions, types and settings, as generated lists.
//!
//! The lists are data (`functions.txt`, `types.txt`, `settings.txt`), each with how it was made. A name
//! that is not in them is not known, and what is not known is not a proven read.

use std::sync::LazyLock;

use foldhash::HashMap;
use foldhash::HashSet;

const FUNCTIONS: &str = include_str!("functions.txt");
const TYPES: &str = include_str!("types.txt");
const SETTINGS: &str = include_str!("settings.txt");

/// What is known of the built-in functions of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Builtin {
    /// Calling it changes nothing.
    Harmless,
    /// It exists, and is not harmless.
    Other,
    /// No built-in function has that name.
    Unknown,
}

/// Functions that build values of a row type, so that domains in it run their checks.
const RUNS_TYPE_INPUT: [&str; 5] = [
    "json_populate_record",
    "json_populate_recordset",
    "jsonb_populate_record",
    "jsonb_populate_record_valid",
    "jsonb_populate_recordset",
];

static FUNCTION_TABLE: LazyLock<HashMap<&'static str, Builtin>> = LazyLock::new(|| {
    lines(FUNCTIONS)
        .filter_map(|line| match line.split_at_checked(1)? {
            ("+", name) => Some((name, Builtin::Harmless)),
            ("-", name) => Some((name, Builtin::Other)),
            _ => None,
        })
        .collect()
});
static TYPE_TABLE: LazyLock<HashSet<&'static str>> = LazyLock::new(|| lines(TYPES).collect());
static SETTING_TABLE: LazyLock<HashSet<&'static str>> = LazyLock::new(|| lines(SETTINGS).collect());

/// Returns what is known of the functions in `pg_catalog` called `name`.
pub(super) fn function(name: &str) -> Builtin {
    FUNCTION_TABLE.get(name).copied().unwrap_or(Builtin::Unknown)
}

/// Tells whether a harmless function makes values of types that its text does not name.
pub(super) fn runs_type_input(name: &str) -> bool {
    name.starts_with("json") && RUNS_TYPE_INPUT.contains(&name)
}

/// Tells whether `pg_catalog` has a type `name` whose input and output run no user code.
pub(super) fn is_type(name: &str) -> bool {
    TYPE_TABLE.contains(name)
}

/// Tells whether anybody may set `name` (in lower case) for their own session. A custom setting (`a.b`) is such.
pub(super) fn is_own_setting(name: &str) -> bool {
    name.contains('.') || SETTING_TABLE.contains(name)
}

fn lines(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_sorted(list: &'static str, key: fn(&'static str) -> &'static str) {
        let names: Vec<_> = lines(list).map(key).collect();
        assert!(names.len() > 100);
        for pair in names.windows(2) {
            assert!(pair[0] < pair[1], "`{}` before `{}`", pair[0], pair[1]);
        }
    }

    #[test]
    fn lists_are_sorted_and_unique() {
        check_sorted(FUNCTIONS, |line| &line[1..]);
        check_sorted(TYPES, |line| line);
        check_sorted(SETTINGS, |line| line);
    }

    #[test]
    fn every_function_line_has_a_mark() {
        assert!(lines(FUNCTIONS).all(|line| line.starts_with(['+', '-'])));
    }

    #[test]
    fn dangerous_functions_are_not_harmless() {
        for name in "set_config nextval setval pg_notify pg_read_file pg_read_binary_file pg_ls_dir pg_stat_file lo_get \
            lo_put lo_import lo_export loread lowrite lo_creat lo_unlink query_to_xml query_to_xmlschema \
            query_to_xml_and_xmlschema cursor_to_xml table_to_xml schema_to_xml database_to_xml ts_stat ts_rewrite \
            txid_current pg_current_xact_id pg_advisory_lock pg_try_advisory_lock pg_advisory_xact_lock \
            pg_cancel_backend pg_terminate_backend pg_reload_conf pg_switch_wal pg_create_restore_point \
            pg_export_snapshot pg_input_is_valid domain_in record_in array_in pg_stat_reset setseed \
            pg_logical_emit_message pg_replication_origin_create pg_stat_get_activity pg_walfile_name \
            pg_import_system_collations pg_promote pg_rotate_logfile pg_log_backend_memory_contexts \
            brin_summarize_new_values gin_clean_pending_list pg_prewarm"
            .split_whitespace()
        {
            assert_ne!(function(name), Builtin::Harmless, "{name}");
        }
    }

    #[test]
    fn everyday_functions_are_harmless() {
        for name in "count sum avg min max now lower upper length concat random clock_timestamp \
            gen_random_uuid to_char date_trunc json_agg jsonb_build_object array_agg unnest generate_series substring \
            row_number rank regexp_replace string_agg version current_setting pg_get_viewdef pg_table_is_visible \
            format_type obj_description pg_get_expr has_table_privilege log timeofday pg_sleep"
            .split_whitespace()
        {
            assert_eq!(function(name), Builtin::Harmless, "{name}");
        }
    }
}
