//! Looking a resource over for what it should protect: its catalogue, and a small sample of each table.
//!
//! INVARIANT: no sampled value leaves this module. It is counted by `phi::propose` and forgotten; an error carries a
//! SQLSTATE and nothing else of the resource's words. Everything runs in read-only transactions with short time limits
//! and an empty search path, so that no function or operator of users is called by an unqualified name.
//! Deliberately absent: who may ask for it and its record (the caller's, before the first sample), and what to propose.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use phi::Type;
use phi::propose::{Column, Place, Sampler, Source, Table, Tally};
use tokio::time::timeout;

use super::dial::{self, LoginKeys};
use super::sql::Rows;
use crate::control::Upstream;
use crate::error::Failure;
use crate::stream::Stream;

/// Rows looked at of each table.
pub const SAMPLE_ROWS_MAX: u32 = 200;
/// Characters looked at of each value.
const SAMPLE_CHARACTERS_MAX: usize = 1_000;
/// Columns asked for at once: with the two limits above an answer stays below what `dial::rows` keeps.
const SAMPLE_COLUMNS_MAX: usize = 50;
/// A table estimated to have more rows is sampled by blocks, so that not only its oldest rows are seen.
const SAMPLED_BY_BLOCKS_FROM: u64 = 10_000;
/// Blocks are chosen so that they hold about so many times the rows wanted.
const SAMPLE_SURPLUS: u64 = 8;
/// Fewer rows than this by blocks, and the first rows are taken: the estimate was of another time.
const SAMPLE_ROWS_MIN: usize = 20;
/// For connecting and logging in.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// For one answer, beyond the statement's own limit at the resource.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A domain over a domain, and so on.
const DOMAINS_MAX: usize = 32;

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = ''; \
    SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = '20s'";
const BEGIN_SAMPLE: &str = "BEGIN READ ONLY; SET LOCAL search_path = ''; SET LOCAL lock_timeout = '1s'; \
    SET LOCAL statement_timeout = '5s'";
const END: &str = "ROLLBACK";

const RELATIONS: &str = "SELECT c.oid::text, n.nspname, c.relname, c.relkind::text, c.relispartition::text, \
    GREATEST(c.reltuples, 0)::int8::text \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't' \
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY n.nspname, c.relname";
const COLUMNS: &str = "SELECT a.attrelid::text, a.attnum::text, a.attname, \
    pg_catalog.format_type(a.atttypid, a.atttypmod), a.atttypid::text, a.atttypmod::text, \
    EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'p' \
    AND k.conkey = ARRAY[a.attnum])::text, \
    (a.attidentity <> '' OR coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%', false))::text, \
    (a.attgenerated <> '')::text, (a.attinhcount > 0)::text \
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
    WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped \
    ORDER BY a.attrelid, a.attnum";
const TYPES: &str = "SELECT t.oid::text, t.typtype::text, t.typname, t.typbasetype::text, t.typtypmod::text \
    FROM pg_catalog.pg_type t WHERE t.typtype IN ('d', 'e') OR t.typname IN ('citext', 'hstore')";
const FOREIGN_KEYS: &str = "SELECT k.conrelid::text, pg_catalog.array_to_string(k.conkey, ' '), k.confrelid::text, \
    pg_catalog.array_to_string(k.confkey, ' ') FROM pg_catalog.pg_constraint k WHERE k.contype = 'f'";

/// A connection to a resource, for looking it over.
pub struct Survey {
    stream: Stream,
    tables: Vec<Table>,
    /// Of each table, about how many rows it has; 0 where that is not known.
    estimates: Vec<u64>,
    sampler: Sampler,
}

impl std::fmt::Debug for Survey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Survey").field("tables", &self.tables.len()).finish_non_exhaustive()
    }
}

/// What became of sampling one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sampled {
    /// So many rows were looked at.
    Rows(u64),
    /// It holds no rows of its own, or none that can be looked at.
    Nothing,
    /// The resource refused, with this SQLSTATE: missing rights, a lock, or too slow.
    Refused(String),
}

impl Survey {
    /// Connects as a session would, and reads the catalogue.
    ///
    /// # Errors
    /// When the resource cannot be reached, refuses the credential, or answers in an unexpected form.
    pub async fn open(upstream: &Upstream, credential: &vault::Credential) -> Result<Survey, Failure> {
        let parameters = [("application_name", "wardline phi scan"), ("client_encoding", "UTF8")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let keys = LoginKeys::new();
        let dialing = dial::dial(upstream, credential, &parameters, &keys);
        let dialed = timeout(DIAL_TIMEOUT, dialing).await.map_err(|_| Failure::UpstreamSilent)??;
        let mut stream = dialed.stream;
        answer(&mut stream, BEGIN).await?;
        let relations = answer(&mut stream, RELATIONS).await?;
        let columns = answer(&mut stream, COLUMNS).await?;
        let types = answer(&mut stream, TYPES).await?;
        let foreign_keys = answer(&mut stream, FOREIGN_KEYS).await?;
        answer(&mut stream, END).await?;
        let read = Read::of(&relations, &columns, &types, &foreign_keys);
        let Read { tables, estimates, places: _ } =
            read.ok_or_else(|| Failure::UpstreamMalformed("the catalogue's answer".to_owned()))?;
        Ok(Survey { stream, tables, estimates, sampler: Sampler::default() })
    }

    /// Returns the tables and views, with what was sampled of them so far.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Returns about how many rows a table has; 0 where that is not known.
    pub fn rows_estimate(&self, table: usize) -> u64 {
        self.estimates.get(table).copied().unwrap_or(0)
    }

    /// Looks at some rows of a table. To be recorded before.
    ///
    /// # Errors
    /// When the connection breaks or the resource is silent: nothing more can be asked then.
    pub async fn sample(&mut self, table: usize) -> Result<Sampled, Failure> {
        let estimate = self.rows_estimate(table);
        let Survey { stream, tables, estimates: _, sampler } = self;
        let Some(table) = tables.get_mut(table).filter(|table| table.source == Source::Table) else {
            return Ok(Sampled::Nothing);
        };
        let looked_at: Vec<usize> = table
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| !column.inherited && is_looked_at(&column.ty))
            .map(|(at, _)| at)
            .collect();
        let mut most = 0;
        for piece in looked_at.chunks(SAMPLE_COLUMNS_MAX) {
            let rows = match sample(stream, table, piece, estimate).await {
                Ok(rows) => rows,
                Err(Failure::UpstreamQuery(state)) => return Ok(Sampled::Refused(state)),
                Err(failure) => return Err(failure),
            };
            most = most.max(rows.len());
            for (at, column) in piece.iter().enumerate() {
                let Some(column) = table.columns.get_mut(*column) else { continue };
                let tally = column.tally.insert(Tally::default());
                let values = rows.iter().filter_map(|row| row.get(at)?.as_deref());
                values.for_each(|value| sampler.count(tally, value));
            }
        }
        Ok(if looked_at.is_empty() { Sampled::Nothing } else { Sampled::Rows(most as u64) })
    }

    /// Says goodbye and closes.
    pub async fn close(self) {
        dial::leave(self.stream).await;
    }
}

async fn answer(stream: &mut Stream, sql: &str) -> Result<Rows, Failure> {
    timeout(ANSWER_TIMEOUT, dial::rows(stream, sql)).await.map_err(|_| Failure::UpstreamSilent)?
}

/// Returns some rows of a table: by blocks where it is large, and its first ones where that gives too few.
async fn sample(
    stream: &mut Stream,
    table: &Table,
    columns: &[usize],
    estimate: u64,
) -> Result<Rows, Failure> {
    if estimate >= SAMPLED_BY_BLOCKS_FROM {
        let rows = within(stream, &statement(table, columns, Some(estimate))).await?;
        if rows.len() >= SAMPLE_ROWS_MIN {
            return Ok(rows);
        }
    }
    within(stream, &statement(table, columns, None)).await
}

/// Runs a statement in a transaction of its own, which ends whatever comes of it.
async fn within(stream: &mut Stream, sql: &str) -> Result<Rows, Failure> {
    answer(stream, BEGIN_SAMPLE).await?;
    let rows = answer(stream, sql).await;
    if matches!(rows, Ok(_) | Err(Failure::UpstreamQuery(_))) {
        answer(stream, END).await?;
    }
    rows
}

/// `format` writes a value by its type's own output and runs no cast of users.
fn statement(table: &Table, columns: &[usize], blocks_of: Option<u64>) -> String {
    let mut sql = "SELECT ".to_owned();
    for (at, column) in columns.iter().filter_map(|column| table.columns.get(*column)).enumerate() {
        let separator = if at == 0 { "" } else { ", " };
        let column = quoted(&column.name);
        let _ = write!(
            sql,
            "{separator}pg_catalog.left(pg_catalog.format('%s', t.{column}), {SAMPLE_CHARACTERS_MAX})"
        );
    }
    let _ = write!(sql, " FROM {}.{} AS t", quoted(&table.schema), quoted(&table.name));
    if let Some(rows) = blocks_of {
        // In millionths, so that no float is written. The same blocks each time: a proposal can be made again.
        let wanted = u64::from(SAMPLE_ROWS_MAX) * SAMPLE_SURPLUS * 100_000_000;
        let share = wanted.checked_div(rows).unwrap_or(wanted).clamp(1, 100_000_000);
        let _ = write!(
            sql,
            " TABLESAMPLE SYSTEM ({}.{:06}) REPEATABLE (1)",
            share / 1_000_000,
            share % 1_000_000
        );
    }
    let _ = write!(sql, " LIMIT {SAMPLE_ROWS_MAX}");
    sql
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether the values of a type may tell what a column holds. Others tell it by their type, or cannot be looked into.
fn is_looked_at(ty: &Type) -> bool {
    match ty {
        Type::Text { .. } | Type::Bpchar { .. } | Type::Name => true,
        Type::Int2 | Type::Int4 | Type::Int8 | Type::Numeric { .. } => true,
        Type::Array { oid: _, element } => is_looked_at(element),
        _ => false,
    }
}

/// What the catalogue's answers say.
struct Read {
    tables: Vec<Table>,
    estimates: Vec<u64>,
    /// Of each column by relation and number.
    places: HashMap<(u32, i16), Place>,
}

impl Read {
    /// `None` where an answer has another form than asked for.
    fn of(relations: &Rows, columns: &Rows, types: &Rows, foreign_keys: &Rows) -> Option<Read> {
        let mut read = Read { tables: Vec::new(), estimates: Vec::new(), places: HashMap::new() };
        let mut known: HashMap<u32, usize> = HashMap::new();
        for row in relations {
            let [oid, schema, name, kind, partition, rows] = row.as_slice() else { return None };
            let source = match (kind.as_deref()?, flag(partition)?) {
                ("v" | "m", _) => Source::View,
                (_, true) => Source::Partition,
                ("f", false) => Source::Foreign,
                ("r" | "p", false) => Source::Table,
                _ => return None,
            };
            known.insert(number(oid)?, read.tables.len());
            let (schema, name) = (schema.clone()?, name.clone()?);
            read.tables.push(Table { schema, name, source, columns: Vec::new() });
            read.estimates.push(number(rows)?);
        }
        let types = Types::of(types)?;
        for row in columns {
            let [relation, at, name, type_name, ty, modifier, key, serial, computed, inherited] =
                row.as_slice()
            else {
                return None;
            };
            let relation = number(relation)?;
            // Made between the two questions, which one snapshot forbids, or in a schema that was left out.
            let Some(table) = known.get(&relation).copied() else { continue };
            let columns = &mut read.tables.get_mut(table)?.columns;
            let (ty, domain) = types.shape(number(ty)?, number(modifier)?);
            read.places.insert((relation, number(at)?), Place { table, column: columns.len() });
            columns.push(Column {
                name: name.clone()?,
                type_name: type_name.clone()?,
                ty,
                domain,
                key: flag(key)?,
                serial: flag(serial)?,
                computed: flag(computed)?,
                inherited: flag(inherited)?,
                references: Vec::new(),
                tally: None,
            });
        }
        foreign_keys.iter().try_for_each(|row| read.add_foreign_key(row))?;
        Some(read)
    }

    fn add_foreign_key(&mut self, row: &[Option<String>]) -> Option<()> {
        let [from, columns, to, others] = row else { return None };
        let (from, to) = (number(from)?, number(to)?);
        let (columns, others) = (columns.as_deref()?.split(' '), others.as_deref()?.split(' '));
        for (column, other) in columns.zip(others) {
            let own = self.places.get(&(from, column.parse().ok()?)).copied();
            let target = self.places.get(&(to, other.parse().ok()?)).copied();
            if let (Some(own), Some(target)) = (own, target) {
                let column = self.tables.get_mut(own.table)?.columns.get_mut(own.column)?;
                if !column.references.contains(&target) {
                    column.references.push(target);
                }
            }
        }
        Some(())
    }
}

/// The types of users that have a shape of their own: domains, enums, and two of extensions.
#[derive(Default)]
struct Types {
    domains: HashMap<u32, (u32, i32)>,
    shapes: HashMap<u32, Type>,
}

impl Types {
    fn of(rows: &Rows) -> Option<Types> {
        let mut types = Types::default();
        for row in rows {
            let [oid, kind, name, base, modifier] = row.as_slice() else { return None };
            let oid = number(oid)?;
            match (kind.as_deref()?, name.as_deref()?) {
                ("d", _) => drop(types.domains.insert(oid, (number(base)?, number(modifier)?))),
                ("e", _) => drop(types.shapes.insert(oid, Type::Enum { label: None })),
                (_, "citext") => drop(types.shapes.insert(oid, Type::Text { max: None })),
                (_, "hstore") => drop(types.shapes.insert(oid, Type::Hstore)),
                _ => {}
            }
        }
        Some(types)
    }

    /// Returns the shape of a type, and whether it is a domain.
    fn shape(&self, oid: u32, modifier: i32) -> (Type, bool) {
        let (mut oid, mut modifier, domain) = (oid, modifier, self.domains.contains_key(&oid));
        for _ in 0..DOMAINS_MAX {
            let Some((base, of_base)) = self.domains.get(&oid) else { break };
            (oid, modifier) = (*base, *of_base);
        }
        (self.shapes.get(&oid).cloned().unwrap_or_else(|| Type::builtin(oid, modifier)), domain)
    }
}

fn number<T: std::str::FromStr>(value: &Option<String>) -> Option<T> {
    value.as_deref()?.parse().ok()
}

fn flag(value: &Option<String>) -> Option<bool> {
    match value.as_deref()? {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Rows {
        rows.iter().map(|row| row.iter().map(|value| Some((*value).to_owned())).collect()).collect()
    }

    const NO: [&str; 4] = ["false", "false", "false", "false"];

    fn column<'a>(relation: &'a str, at: &'a str, name: &'a str, ty: &'a str) -> Vec<&'a str> {
        [&[relation, at, name, "shown", ty, "-1"][..], &NO].concat()
    }

    #[test]
    fn the_catalogue_is_read_with_its_keys_and_domains() {
        let relations = rows(&[
            &["20001", "public", "patients", "r", "false", "12"],
            &["20002", "public", "visits", "p", "false", "0"],
            &["20003", "public", "visits_1", "r", "true", "0"],
            &["20004", "public", "listing", "v", "false", "0"],
        ]);
        let columns = [
            column("20001", "1", "id", "23"),
            column("20001", "3", "ssn", "30001"),
            column("20002", "1", "who", "23"),
            column("29999", "1", "elsewhere", "23"),
        ];
        let columns: Vec<&[&str]> = columns.iter().map(Vec::as_slice).collect();
        let types = rows(&[&["30001", "d", "a", "30002", "-1"], &["30002", "d", "b", "25", "-1"]]);
        let keys = rows(&[&["20002", "1", "20001", "1"], &["20002", "1", "29999", "1"]]);
        let read = Read::of(&relations, &rows(&columns), &types, &keys).unwrap();
        let sources: Vec<Source> = read.tables.iter().map(|table| table.source).collect();
        assert_eq!(sources, [Source::Table, Source::Table, Source::Partition, Source::View]);
        assert_eq!(read.estimates[0], 12);
        let ssn = &read.tables[0].columns[1];
        assert_eq!((ssn.name.as_str(), &ssn.ty, ssn.domain), ("ssn", &Type::Text { max: None }, true));
        assert_eq!(read.tables[1].columns[0].references, [Place { table: 0, column: 0 }]);
        assert!(Read::of(&rows(&[&["20001"]]), &Rows::new(), &Rows::new(), &Rows::new()).is_none());
    }

    #[test]
    fn a_domain_of_itself_ends() {
        let types = Types::of(&rows(&[&["30001", "d", "a", "30001", "-1"]])).unwrap();
        assert_eq!(types.shape(30001, -1), (Type::Unknown, true));
    }

    #[test]
    fn names_are_quoted_and_samples_bounded() {
        let id = Column {
            name: "a\"b".into(),
            type_name: "text".into(),
            ty: Type::Text { max: None },
            domain: false,
            key: false,
            serial: false,
            computed: false,
            inherited: false,
            references: Vec::new(),
            tally: None,
        };
        let table = Table { schema: "S".into(), name: "t".into(), source: Source::Table, columns: vec![id] };
        let first = statement(&table, &[0], None);
        assert_eq!(
            first,
            "SELECT pg_catalog.left(pg_catalog.format('%s', t.\"a\"\"b\"), 1000) FROM \"S\".\"t\" AS t LIMIT 200"
        );
        assert!(statement(&table, &[0], Some(20_000)).contains("SYSTEM (8.000000) REPEATABLE (1) LIMIT 200"));
        assert!(statement(&table, &[0], Some(u64::MAX)).contains("SYSTEM (0.000001)"));
        assert!(statement(&table, &[0], Some(1)).contains("SYSTEM (100.000000)"));
    }
}
