//! What a resource's own catalogue holds: relations, and everything of its users that a plain `SELECT` could run.
//!
//! Plain data, built from the rows of [`Catalogue::QUERIES`]. Names are resolved without a search path: an
//! unqualified name means every relation or function of that name, so moving the path proves nothing.
//! Deliberately absent: reading the rows, and deciding when they are too old.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{Context, SHA256};
use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};

use super::beneath::{Edges, RelationName};
use super::builtin::{self, Builtin};
use super::lineage::{self, View};

/// The rows of one query, every value as text.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// SQL that tells whether a function is an immutable or stable C function of an extension that is known to change
/// nothing and to run no SQL given as text.
macro_rules! harmless {
    ($function:literal) => {
        concat!(
            "EXISTS (SELECT FROM pg_proc hp JOIN pg_language hl ON hl.oid = hp.prolang",
            " JOIN pg_depend hd ON hd.classid = 'pg_proc'::regclass AND hd.objid = hp.oid AND hd.deptype = 'e'",
            " JOIN pg_extension he ON hd.refclassid = 'pg_extension'::regclass AND he.oid = hd.refobjid",
            " WHERE hp.oid = ",
            $function,
            " AND hl.lanname IN ('c', 'internal') AND hp.provolatile IN ('i', 's') AND he.extname IN",
            " ('btree_gin','btree_gist','citext','cube','fuzzystrmatch','hstore','intarray','isn','ltree','pg_trgm',",
            "'pgcrypto','postgis','seg','unaccent','vector'))",
        )
    };
}

/// Schema and name of a function.
pub(super) type FunctionName = (Arc<str>, Arc<str>);

/// A function of a user or an extension.
#[derive(Clone, Debug)]
pub(super) struct Function {
    pub(super) schema: Arc<str>,
    pub(super) name: Arc<str>,
    /// Known to change nothing.
    pub(super) harmless: bool,
    /// Can be written as if it were a column: `row.function`.
    pub(super) as_column: bool,
}

/// A relation that can be read.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) schema: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) kind: Kind,
    /// Came with PostgreSQL.
    pub(super) builtin: bool,
    /// Lives in some session's temporary schema.
    pub(super) temporary: bool,
    /// It, or a child of it, is on another server.
    pub(super) foreign: bool,
    /// SQL that reading the relation runs besides: a view's definition, a table's row security conditions.
    pub(super) definition: Option<Box<str>>,
    /// What inspecting `definition` gave; made at first use.
    pub(super) proof: OnceLock<Proof>,
    /// The OID; 0 where the columns are not known.
    pub(super) oid: u32,
    /// In the order of their numbers.
    pub(super) columns: Vec<Column>,
    /// The query of a view or a materialised view.
    pub(super) query: Option<Box<str>>,
    /// What it stands over.
    pub(super) edges: Edges,
    /// Rules of users say what changing its rows does.
    pub(super) has_rules: bool,
    /// What following `query` gave; made at first use.
    pub(super) view: OnceLock<Arc<View>>,
}

/// A column of a relation.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) number: i16,
    pub(super) name: Box<str>,
    /// `SELECT` and the expression that a generated column is computed by.
    pub(super) generated: Option<Box<str>>,
    /// The type, for a domain the one beneath: its OID, and its modifier or -1.
    pub(super) ty: (u32, i32),
}

/// What kind of relation, as far as reading goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Rows are stored: table, partitioned table, materialised view, sequence, foreign table.
    Stored,
    /// Rows are computed from `definition`.
    View,
}

/// What reading a relation amounts to.
#[derive(Clone, Debug, Default)]
pub(super) struct Proof {
    /// Reading it changes nothing.
    pub(super) proven: bool,
    /// The relations beneath a view, in display form.
    pub(super) reached: Box<[Box<str>]>,
    /// One of them is on another server.
    pub(super) foreign: bool,
    /// The relations that the definition names.
    pub(super) reads: Box<[RelationName]>,
    /// The one whose rows are the view's, where it has no others: what changes them changes those.
    pub(super) target: Option<RelationName>,
}

/// A snapshot of one resource's catalogue.
#[derive(Debug)]
pub(crate) struct Catalogue {
    known: bool,
    digest: [u8; 32],
    relations: HashMap<Box<str>, Vec<Relation>>,
    functions: HashMap<Box<str>, Vec<Function>>,
    /// Operator symbols of users that are not known to be harmless, with the function behind each.
    operators: HashMap<Box<str>, Vec<FunctionName>>,
    /// Type names of users: whether making a value runs nothing.
    types: HashMap<Box<str>, bool>,
    all_types_plain: bool,
    /// Type names that a user's cast function makes.
    cast_targets: HashSet<Box<str>>,
    /// Type names whose values a user's cast function takes.
    cast_sources: HashSet<Box<str>>,
    /// User code may run where no name of it is written: implicit casts, operator classes.
    hidden_code: bool,
    /// What schemas and columns are called, where columns are known.
    names: HashSet<Box<str>>,
    /// Columns whose values are arrays.
    arrays: HashSet<lineage::Column>,
    /// The relations that a relation inherits columns from, by OID.
    parents: HashMap<u32, Vec<u32>>,
    /// Columns of types whose values are joined by `||` in a way that may fail.
    joined_oddly: HashSet<lineage::Column>,
    /// Columns of types that did not come with PostgreSQL.
    of_users_types: HashSet<lineage::Column>,
    /// Constraints and indexes, by an identifier of their own.
    bounds: HashMap<Box<str>, Bound>,
}

/// What a change of rows is held against: a constraint or an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) kind: BoundKind,
    /// The columns that it is about, of one relation or two.
    pub(crate) columns: Vec<lineage::Column>,
}

/// What such a thing compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BoundKind {
    /// Rows with those of the relation of this OID, which they refer to.
    References(u32),
    /// Rows with each other, for equality.
    Unique,
    /// Anything.
    Computed,
}

/// What has a lower one came with PostgreSQL.
const FIRST_USER_OID: u32 = 16384;

/// The types of PostgreSQL whose values `||` joins whatever they are: numbers, texts, times, bytes.
const JOINED_PLAINLY: [u32; 21] = [
    16, 17, 18, 19, 20, 21, 23, 25, 26, 700, 701, 1042, 1043, 1082, 1083, 1114, 1184, 1186, 1266, 1700, 2950,
];

/// Rows that do not have the form of [`Catalogue::QUERIES`].
#[derive(Debug, thiserror::Error)]
#[error("catalogue query {query} answered in an unexpected form")]
pub(crate) struct CatalogueError {
    /// Which query, from 0.
    pub(crate) query: usize,
}

impl Catalogue {
    /// What to run at the resource, in this order on one connection as one snapshot; the rows of each, empty where it
    /// returns none, go to [`Catalogue::from_rows`]. The search path is empty so that definitions come out qualified.
    pub(crate) const QUERIES: [&'static str; 14] = [
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        // Printing a definition takes a lock; whoever changes the relation may be waiting for this reading.
        "SET LOCAL search_path = ''; SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = '20s'",
        "SELECT n.nspname, c.relname, c.relkind::text, (c.oid < 16384)::text, (c.relpersistence = 't')::text, \
         (c.relkind = 'f' OR EXISTS (SELECT FROM pg_inherits i JOIN pg_class f ON f.oid = i.inhrelid \
          WHERE i.inhparent = c.oid AND f.relkind = 'f'))::text, c.relrowsecurity::text, \
         CASE WHEN c.oid < 16384 THEN NULL WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) \
          WHEN c.relrowsecurity THEN (SELECT 'SELECT ' || string_agg('(' || pg_get_expr(p.polqual, p.polrelid) || ')', \
          ' AND ') FROM pg_policy p WHERE p.polrelid = c.oid AND p.polcmd IN ('r', '*') AND p.polqual IS NOT NULL) END \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') ORDER BY c.oid",
        concat!(
            "SELECT n.nspname, p.proname, (",
            harmless!("p.oid"),
            ")::text, (p.pronargs >= 1 AND p.pronargs - p.pronargdefaults <= 1 AND EXISTS (SELECT FROM pg_type t \
             LEFT JOIN pg_type b ON b.oid = t.typbasetype WHERE t.oid = p.proargtypes[0] \
             AND (t.typtype IN ('c', 'p') OR b.typtype = 'c')))::text \
             FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid >= 16384 ORDER BY p.oid",
        ),
        concat!(
            "SELECT o.oprname, n.nspname, p.proname, (p.oid < 16384)::text, (",
            harmless!("p.oid"),
            ")::text FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode \
             JOIN pg_namespace n ON n.oid = p.pronamespace WHERE o.oid >= 16384 ORDER BY o.oid",
        ),
        concat!(
            "SELECT t.oid::text, t.typname, t.typtype::text, t.typbasetype::text, \
             (SELECT count(*) FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c')::text, \
             CASE WHEN t.typlen = -1 THEN t.typelem ELSE 0 END::text, \
             (SELECT string_agg(a.atttypid::text, ' ') FROM pg_attribute a \
             WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped), (",
            harmless!("t.typinput"),
            " AND ",
            harmless!("t.typoutput"),
            ")::text FROM pg_type t WHERE t.oid >= 16384 ORDER BY t.oid",
        ),
        concat!(
            "SELECT t.typname, c.castcontext::text, p.proname, (p.oid < 16384)::text, (",
            harmless!("p.oid"),
            ")::text, s.typname FROM pg_cast c JOIN pg_type t ON t.oid = c.casttarget JOIN pg_type s ON s.oid = c.castsource \
             JOIN pg_proc p ON p.oid = c.castfunc WHERE c.oid >= 16384 ORDER BY c.oid",
        ),
        concat!(
            "SELECT p.proname FROM pg_amproc a JOIN pg_proc p ON p.oid = a.amproc WHERE p.oid >= 16384 AND NOT ",
            harmless!("p.oid"),
            " ORDER BY p.oid",
        ),
        // A row for each column (as text: a name is cut at 63 bytes), with the type beneath a domain; for what came with
        // PostgreSQL a row for each relation, with all names.
        "SELECT c.oid::text, n.nspname, c.relname, a.attnum::text, a.attname::text, \
         (t.typcategory = 'A')::text, CASE a.attgenerated WHEN '' THEN NULL WHEN 's' THEN 'SELECT ' || pg_get_expr(d.adbin, d.adrelid) \
          ELSE 'SELECT ' || pg_get_expr(d.adbin, d.adrelid) || ' AS virtual' END, \
         (CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END)::text, \
         (CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END)::text \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid \
         JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum \
         WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND a.attnum > 0 AND NOT a.attisdropped \
         UNION ALL SELECT c.oid::text, n.nspname, c.relname, '0', string_agg(a.attname, ',' ORDER BY a.attnum), 'false', NULL, '0', '-1' \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid \
         WHERE c.oid < 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND a.attnum > 0 AND NOT a.attisdropped \
         GROUP BY c.oid, n.nspname, c.relname ORDER BY 1, 4",
        "SELECT n.nspname, c.relname, pg_get_viewdef(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'm' AND c.oid >= 16384 \
         UNION ALL SELECT DISTINCT n.nspname, c.relname, NULL FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.rulename <> '_RETURN' AND c.oid >= 16384",
        "SELECT i.inhrelid::text, i.inhparent::text FROM pg_inherits i ORDER BY i.inhrelid, i.inhseqno",
        // What came with PostgreSQL is not noted as depended on.
        "SELECT DISTINCT CASE r.ev_type WHEN '1' THEN 'query' ELSE 'rule' END, n.nspname, c.relname, un.nspname, u.relname \
         FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid \
         AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> c.oid \
         JOIN pg_class u ON u.oid = d.refobjid AND u.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') \
         JOIN pg_namespace un ON un.oid = u.relnamespace WHERE r.oid >= 16384 \
         UNION ALL SELECT 'parent', n.nspname, c.relname, un.nspname, u.relname FROM pg_inherits i \
         JOIN pg_class c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'p', 'f') JOIN pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_class u ON u.oid = i.inhparent JOIN pg_namespace un ON un.oid = u.relnamespace \
         ORDER BY 1, 2, 3, 4, 5",
        // Constraints and indexes, with each column that they are about.
        "SELECT d.classid::text || '.' || d.objid::text, coalesce(k.contype::text, 'i'), coalesce(k.confrelid, 0)::text, \
         d.refobjid::text, d.refobjsubid::text FROM pg_depend d \
         LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid \
         WHERE d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.refobjid >= 16384 \
         AND (d.classid = 'pg_constraint'::regclass \
          OR d.classid = 'pg_class'::regclass AND d.objid IN (SELECT indexrelid FROM pg_index)) ORDER BY 1, 4, 5",
        "COMMIT",
    ];

    /// The queries that only following values needs: where nothing is protected their answers are left empty.
    pub(crate) const FOR_LINEAGE: [usize; 4] = [8, 9, 10, 12];

    /// Returns a catalogue of which nothing is known: with it nothing is a proven read.
    pub(crate) fn unknown() -> Catalogue {
        Catalogue {
            known: false,
            digest: [0; 32],
            relations: HashMap::new(),
            functions: HashMap::new(),
            operators: HashMap::new(),
            types: HashMap::new(),
            all_types_plain: false,
            cast_targets: HashSet::new(),
            cast_sources: HashSet::new(),
            hidden_code: true,
            names: HashSet::new(),
            arrays: HashSet::new(),
            parents: HashMap::new(),
            joined_oddly: HashSet::new(),
            of_users_types: HashSet::new(),
            bounds: HashMap::new(),
        }
    }

    /// Builds a catalogue from what [`Catalogue::QUERIES`] answered.
    ///
    /// # Errors
    ///
    /// When the number of queries, of columns or the form of a value is not as expected.
    pub(crate) fn from_rows(answers: &[Rows]) -> Result<Catalogue, CatalogueError> {
        if answers.len() != Self::QUERIES.len() {
            return Err(CatalogueError { query: answers.len().min(Self::QUERIES.len()) });
        }
        let mut catalogue = Catalogue { known: true, digest: digest(answers), ..Self::unknown() };
        catalogue.hidden_code = false;
        for (query, rows) in answers.iter().enumerate() {
            let error = CatalogueError { query };
            let done = match query {
                2 => rows.iter().try_for_each(|row| catalogue.add_relation(row)),
                3 => rows.iter().try_for_each(|row| catalogue.add_function(row)),
                4 => rows.iter().try_for_each(|row| catalogue.add_operator(row)),
                5 => catalogue.add_types(rows),
                6 => rows.iter().try_for_each(|row| catalogue.add_cast(row)),
                7 => {
                    catalogue.hidden_code |= !rows.is_empty();
                    Some(())
                }
                8 => rows
                    .iter()
                    .try_for_each(|row| catalogue.add_column(row))
                    .map(|()| catalogue.sort_columns()),
                9 => rows.iter().try_for_each(|row| catalogue.add_query(row)),
                10 => rows.iter().try_for_each(|row| catalogue.add_parent(row)),
                11 => rows.iter().try_for_each(|row| catalogue.add_edge(row)),
                12 => rows.iter().try_for_each(|row| catalogue.add_bound(row)),
                _ => Some(()),
            };
            done.ok_or(error)?;
        }
        Ok(catalogue)
    }

    /// Returns a value that differs when the catalogue does, also where somebody who may create objects wants it not to.
    pub(crate) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Tells whether anything can be proven at all.
    pub(super) fn proves(&self) -> bool {
        self.known && !self.hidden_code
    }

    /// Tells whether the types are known.
    pub(super) fn proves_types(&self) -> bool {
        self.known
    }

    pub(super) fn relations(&self, name: &str) -> &[Relation] {
        self.relations.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn functions(&self, name: &str) -> &[Function] {
        self.functions.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns the functions behind the operators `symbol` of users that are not known to be harmless.
    pub(super) fn operators(&self, symbol: &str) -> &[FunctionName] {
        if self.operators.is_empty() {
            return &[];
        }
        self.operators.get(symbol).map_or(&[], Vec::as_slice)
    }

    /// Tells whether making a value of the type runs no user code, whatever schema the name resolves to. Casts to it
    /// are another question.
    pub(super) fn is_plain_type(&self, schema: Option<&str>, name: &str) -> bool {
        const DOMAINS: [&str; 5] =
            ["cardinal_number", "character_data", "sql_identifier", "time_stamp", "yes_or_no"];
        match schema {
            Some("pg_catalog") => builtin::is_type(name),
            Some("information_schema") => DOMAINS.contains(&name),
            _ => match self.types.get(name) {
                Some(plain) => *plain,
                None => schema.is_none() && builtin::is_type(name),
            },
        }
    }

    /// Tells whether every type of users is plain.
    pub(crate) fn all_types_plain(&self) -> bool {
        self.all_types_plain
    }

    /// Tells whether a user's cast function makes values of a type so called.
    pub(super) fn is_cast_target(&self, name: &str) -> bool {
        !self.cast_targets.is_empty() && self.cast_targets.contains(name)
    }

    /// Tells whether a user's cast function may take a value of a type so called.
    pub(super) fn is_cast_source(&self, name: &str) -> bool {
        !self.cast_sources.is_empty() && self.cast_sources.contains(name)
    }

    fn add_relation(&mut self, row: &[Option<String>]) -> Option<()> {
        let [schema, name, kind, builtin, temporary, foreign, row_security, definition] = row else {
            return None;
        };
        let name = name.as_deref()?;
        let builtin = flag(builtin)?;
        let secured = flag(row_security)?;
        let kind = match kind.as_deref()? {
            "v" => Kind::View,
            "r" | "p" | "m" | "f" | "S" => Kind::Stored,
            _ => return None,
        };
        // A view that came with PostgreSQL needs no proof; a table whose conditions are all absent shows no row.
        let definition = definition.as_deref().filter(|_| !builtin && (kind == Kind::View || secured));
        let relation = Relation {
            schema: Arc::from(schema.as_deref()?),
            name: Arc::from(name),
            kind,
            builtin,
            temporary: flag(temporary)?,
            foreign: flag(foreign)?,
            query: definition.filter(|_| kind == Kind::View).map(Box::from),
            definition: definition.map(Box::from),
            proof: OnceLock::new(),
            oid: 0,
            columns: Vec::new(),
            edges: Edges::default(),
            has_rules: false,
            view: OnceLock::new(),
        };
        self.relations.entry(Box::from(name)).or_default().push(relation);
        Some(())
    }

    fn add_column(&mut self, row: &[Option<String>]) -> Option<()> {
        let [oid, schema, relation, number, name, array, generated, ty, modifier] = row else { return None };
        let oid: u32 = oid.as_deref()?.parse().ok()?;
        let number: i16 = number.as_deref()?.parse().ok()?;
        let (schema, name) = (schema.as_deref()?, name.as_deref()?);
        let named = self.relations.get_mut(relation.as_deref()?)?;
        let relation = named.iter_mut().find(|relation| *relation.schema == *schema)?;
        relation.oid = oid;
        for name in name.split(',').filter(|_| number == 0).chain([schema]) {
            if !self.names.contains(name) {
                self.names.insert(name.into());
            }
        }
        if number == 0 {
            let names = (1..).zip(name.split(','));
            let ty = (0, -1);
            let column = |(number, name)| Column { number, name: Box::from(name), generated: None, ty };
            relation.columns = names.map(column).collect();
            return Some(());
        }
        if flag(array)? {
            self.arrays.insert(lineage::Column { relation: oid, number });
        }
        let generated = generated.as_deref().map(Box::from);
        if !JOINED_PLAINLY.contains(&ty.as_deref()?.parse().ok()?) {
            self.joined_oddly.insert(lineage::Column { relation: oid, number });
        }
        let ty: (u32, i32) = (ty.as_deref()?.parse().ok()?, modifier.as_deref()?.parse().ok()?);
        if ty.0 >= FIRST_USER_OID {
            self.of_users_types.insert(lineage::Column { relation: oid, number });
        }
        self.names.insert(name.into());
        relation.columns.push(Column { number, name: name.into(), generated, ty });
        Some(())
    }

    fn sort_columns(&mut self) {
        for relation in self.relations.values_mut().flatten() {
            relation.columns.sort_unstable_by_key(|column| column.number);
        }
    }

    fn add_query(&mut self, row: &[Option<String>]) -> Option<()> {
        let [schema, name, query] = row else { return None };
        let named = self.relations.get_mut(name.as_deref()?)?;
        let relation = named.iter_mut().find(|relation| schema.as_deref() == Some(&*relation.schema))?;
        match query {
            Some(query) => relation.query = Some(Box::from(query.as_str())),
            None => relation.has_rules = true,
        }
        Some(())
    }

    fn add_parent(&mut self, row: &[Option<String>]) -> Option<()> {
        let [child, parent] = row else { return None };
        let parent = parent.as_deref()?.parse().ok()?;
        self.parents.entry(child.as_deref()?.parse().ok()?).or_default().push(parent);
        Some(())
    }

    fn add_bound(&mut self, row: &[Option<String>]) -> Option<()> {
        let [id, kind, referenced, relation, number] = row else { return None };
        let kind = match kind.as_deref()? {
            "f" => BoundKind::References(referenced.as_deref()?.parse().ok()?),
            "p" | "u" => BoundKind::Unique,
            // Checks, exclusions, triggers' constraints, not-null, and indexes with what they are computed by.
            "c" | "x" | "t" | "n" | "i" => BoundKind::Computed,
            _ => return None,
        };
        let column = lineage::Column {
            relation: relation.as_deref()?.parse().ok()?,
            number: number.as_deref()?.parse().ok()?,
        };
        let new = || Bound { kind, columns: Vec::new() };
        self.bounds.entry(Box::from(id.as_deref()?)).or_insert_with(new).columns.push(column);
        Some(())
    }

    /// Returns the constraints and indexes of users' relations that are about more than one column.
    pub(crate) fn bounds(&self) -> impl Iterator<Item = &Bound> {
        self.bounds.values().filter(|bound| bound.columns.len() > 1)
    }

    /// Tells whether `||` of the column's values may fail by what they are.
    pub(super) fn joins_oddly(&self, column: lineage::Column) -> bool {
        self.joined_oddly.contains(&column)
    }

    fn add_edge(&mut self, row: &[Option<String>]) -> Option<()> {
        let [kind, schema, relation, under_schema, under_relation] = row else { return None };
        let name = |schema: &Option<String>, name: &Option<String>| {
            Some((Arc::<str>::from(schema.as_deref()?), Arc::<str>::from(name.as_deref()?)))
        };
        let (over, under) = (name(schema, relation)?, name(under_schema, under_relation)?);
        match kind.as_deref()? {
            "query" => self.edges(&over)?.query.push(under),
            "rule" => self.edges(&over)?.rules.push(under),
            "parent" => {
                self.edges(&under)?.children.push(over.clone());
                self.edges(&over)?.parents.push(under);
            }
            _ => return None,
        }
        Some(())
    }

    fn edges(&mut self, (schema, name): &RelationName) -> Option<&mut Edges> {
        let named = self.relations.get_mut(&**name)?;
        named.iter_mut().find(|relation| relation.schema == *schema).map(|relation| &mut relation.edges)
    }

    /// Calls with schema, relation, name and type of each stored column of users.
    pub(crate) fn each_column(
        &self,
        mut each: impl FnMut(&Arc<str>, &Arc<str>, &str, lineage::Column, (u32, i32)),
    ) {
        for relation in self.relations.values().flatten().filter(|relation| !relation.builtin) {
            for column in &relation.columns {
                let number = lineage::Column { relation: relation.oid, number: column.number };
                each(&relation.schema, &relation.name, &column.name, number, column.ty);
            }
        }
    }

    /// Returns the views of users.
    pub(super) fn views(&self) -> impl Iterator<Item = &Relation> {
        let users = self.relations.values().flatten().filter(|relation| !relation.builtin);
        users.filter(|relation| relation.query.is_some())
    }

    /// Returns the relations that a relation inherits from, by OID.
    pub(crate) fn parents(&self, relation: u32) -> &[u32] {
        self.parents.get(&relation).map_or(&[], Vec::as_slice)
    }

    /// Tells whether something of the resource has this name: a schema, relation, column, function or type.
    pub(super) fn has_name(&self, name: &str) -> bool {
        self.names.contains(name)
            || self.relations.contains_key(name)
            || self.functions.contains_key(name)
            || self.types.contains_key(name)
            || builtin::function(name) != Builtin::Unknown
            || builtin::is_type(name)
    }

    /// Tells whether rows of a relation may be in others, partitions or children.
    pub(super) fn has_children(&self, relation: u32) -> bool {
        self.parents.values().any(|parents| parents.contains(&relation))
    }

    /// Tells whether a column is of a type that did not come with PostgreSQL.
    pub(super) fn is_of_users_type(&self, column: lineage::Column) -> bool {
        self.of_users_types.contains(&column)
    }

    /// Tells whether a column holds arrays.
    pub(super) fn is_array(&self, column: lineage::Column) -> bool {
        self.arrays.contains(&column)
    }

    fn add_function(&mut self, row: &[Option<String>]) -> Option<()> {
        let [schema, name, harmless, as_column] = row else { return None };
        let name = name.as_deref()?;
        let function = Function {
            schema: Arc::from(schema.as_deref()?),
            name: Arc::from(name),
            harmless: flag(harmless)?,
            as_column: flag(as_column)?,
        };
        self.functions.entry(Box::from(name)).or_default().push(function);
        Some(())
    }

    fn add_operator(&mut self, row: &[Option<String>]) -> Option<()> {
        let [symbol, schema, name, builtin, harmless] = row else { return None };
        let name = name.as_deref()?;
        if !is_harmless(name, flag(builtin)?, flag(harmless)?) {
            let function = (Arc::from(schema.as_deref()?), Arc::from(name));
            self.operators.entry(Box::from(symbol.as_deref()?)).or_default().push(function);
        }
        Some(())
    }

    fn add_types(&mut self, rows: &[Vec<Option<String>>]) -> Option<()> {
        let types = rows.iter().map(|row| UserType::from_row(row)).collect::<Option<Vec<_>>>()?;
        let mut plain: HashSet<u32> = HashSet::new();
        // Types mostly come after what they are made of, so this takes few rounds.
        let mut grew = true;
        while grew {
            grew = false;
            for one in &types {
                grew |= one.is_plain(&plain) && plain.insert(one.oid);
            }
        }
        self.all_types_plain = plain.len() == types.len();
        for one in &types {
            let plain = plain.contains(&one.oid);
            self.types.entry(Box::from(one.name)).and_modify(|p| *p &= plain).or_insert(plain);
        }
        Some(())
    }

    fn add_cast(&mut self, row: &[Option<String>]) -> Option<()> {
        let [target, context, name, builtin, harmless, source @ ..] = row else { return None };
        let target = target.as_deref()?;
        if !is_harmless(name.as_deref()?, flag(builtin)?, flag(harmless)?) {
            // A value of it may be cast where no cast is written.
            if let Some(source) = source.first().and_then(Option::as_deref) {
                self.cast_sources.insert(Box::from(source));
            }
            // Building json looks for a cast to json of every value's type, and runs it unasked.
            self.hidden_code |= context.as_deref()? == "i" || target == "json" || target == "jsonb";
            self.cast_targets.insert(Box::from(target));
        }
        Some(())
    }
}

/// A row of the query for types.
struct UserType<'a> {
    oid: u32,
    name: &'a str,
    kind: &'a str,
    base: u32,
    checked: bool,
    element: u32,
    attributes: Vec<u32>,
    harmless_io: bool,
}

impl<'a> UserType<'a> {
    fn from_row(row: &'a [Option<String>]) -> Option<UserType<'a>> {
        let [oid, name, kind, base, checks, element, attributes, harmless_io] = row else { return None };
        let attributes = attributes.as_deref().unwrap_or("").split_ascii_whitespace();
        Some(UserType {
            oid: oid.as_deref()?.parse().ok()?,
            name: name.as_deref()?,
            kind: kind.as_deref()?,
            base: base.as_deref()?.parse().ok()?,
            checked: checks.as_deref()? != "0",
            element: element.as_deref()?.parse().ok()?,
            attributes: attributes.map(|oid| oid.parse().ok()).collect::<Option<_>>()?,
            harmless_io: flag(harmless_io)?,
        })
    }

    /// Tells whether it is plain, given the types already known to be.
    fn is_plain(&self, known: &HashSet<u32>) -> bool {
        let plain = |oid: u32| oid < FIRST_USER_OID || known.contains(&oid);
        match self.kind {
            "e" => true,
            "c" => self.attributes.iter().all(|oid| plain(*oid)),
            "d" => !self.checked && plain(self.base),
            "b" if self.element != 0 => plain(self.element),
            "b" => self.harmless_io,
            _ => false,
        }
    }
}

fn is_harmless(name: &str, builtin: bool, harmless: bool) -> bool {
    harmless || (builtin && builtin::function(name) == Builtin::Harmless)
}

/// Reads a boolean cast to text.
fn flag(value: &Option<String>) -> Option<bool> {
    match value.as_deref()? {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Every value with its length, so that no two catalogues lay out the same.
fn digest(answers: &[Rows]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    let length = |context: &mut Context, length: usize| context.update(&(length as u64).to_be_bytes());
    length(&mut context, answers.len());
    for rows in answers {
        length(&mut context, rows.len());
        for row in rows {
            length(&mut context, row.len());
            for value in row {
                context.update(&[u8::from(value.is_some())]);
                let text = value.as_deref().unwrap_or_default();
                length(&mut context, text.len());
                context.update(text.as_bytes());
            }
        }
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}
