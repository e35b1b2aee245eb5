//! The names in scope: items of `FROM`, and common table expressions.

use std::rc::Rc;
use std::sync::Arc;

use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{Alias, JoinExpr, RangeFunction, RangeVar};
use pg_raw_parse::raw::JoinType;

use super::super::catalogue::{Kind as RelationKind, Relation};
use super::super::walk::{candidates, is_absent};
use super::{BUDGET_PER_BYTE, COLUMNS_MAX, Column, Follow, NAMES_MAX, Origin, Ties, Use};

/// A column by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: Box<str>,
    pub(super) origin: Origin,
}

/// What a query or a relation returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NamedColumns {
    /// In order. With `open`, there may be more, anywhere among them.
    pub(super) columns: Vec<Named>,
    /// Columns whose number or names are not known: the origin of all of them together.
    pub(super) open: Option<Origin>,
}

impl NamedColumns {
    pub(super) fn open(origin: Origin) -> NamedColumns {
        NamedColumns { columns: Vec::new(), open: Some(origin) }
    }

    /// Returns the names as PostgreSQL shows them.
    pub(super) fn shown(&self) -> Vec<Box<str>> {
        let shown = |column: &Named| match &*column.name {
            UNNAMED => "?column?".into(),
            _ => column.name.clone(),
        };
        self.columns.iter().map(shown).collect()
    }

    /// Returns what the name means here, if it may mean anything.
    fn find(&self, name: &str) -> Option<Origin> {
        let known = self.columns.iter().filter(|column| *column.name == *name).map(|c| c.origin.clone());
        known.reduce(Origin::or)
    }

    /// Returns what a name may mean that is not among those known.
    pub(super) fn unnamed(&self) -> Option<Origin> {
        let unnamed = self.columns.iter().filter(|column| *column.name == *UNNAMED);
        unnamed.map(|column| column.origin.clone()).chain(self.open.clone()).reduce(Origin::and)
    }

    /// Returns the origin of all columns together, as of the row as one value.
    pub(super) fn whole(&self) -> Origin {
        let known = self.columns.iter().map(|column| column.origin.clone());
        Origin::all(known.chain(self.open.clone()))
    }

    /// Returns the origin of the row as one value: as long as all its values, which is too long only if they were made so, and
    /// comparable only with rows of its shape.
    fn row(&self) -> Origin {
        let stored = |column: &Named| matches!(column.origin, Origin::Column(_) | Origin::Clean);
        let total = self.open.is_none() && self.columns.iter().all(stored);
        self.whole().computed(total).shaped()
    }

    /// Gives the first columns new names.
    pub(super) fn rename(&mut self, names: &NodeList) {
        for (column, name) in self.columns.iter_mut().zip(names) {
            column.name = name.as_str().unwrap_or_default().into();
        }
        // Columns of unknown names may be among those that are named here.
        if let Some(open) = self.open.as_ref().filter(|_| !names.is_empty()) {
            for column in &mut self.columns {
                column.origin = column.origin.clone().or(open.clone());
            }
            for name in names.iter().skip(self.columns.len()) {
                let name = name.as_str().unwrap_or_default().into();
                self.columns.push(Named { name, origin: open.clone() });
            }
        }
    }

    fn append(&mut self, other: NamedColumns) {
        self.columns.extend(other.columns);
        self.open = match (self.open.take(), other.open) {
            (Some(one), Some(other)) => Some(one.and(other)),
            (one, other) => one.or(other),
        };
    }
}

/// One name in a `FROM` clause.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) name: Option<Box<str>>,
    /// Where it is a relation without an alias.
    schema: Option<Box<str>>,
    pub(super) columns: Rc<NamedColumns>,
    /// Its columns are not found by their names alone.
    pub(super) qualified_only: bool,
}

impl Item {
    pub(super) fn named(name: Option<&str>, columns: NamedColumns) -> Item {
        Item { name: name.map(Box::from), schema: None, columns: Rc::new(columns), qualified_only: false }
    }

    pub(super) fn only_qualified(name: &str, columns: Rc<NamedColumns>) -> Item {
        Item { name: Some(name.into()), schema: None, columns, qualified_only: true }
    }
}

/// One `FROM` clause.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) items: Vec<Item>,
    /// What `*` means.
    pub(super) star: NamedColumns,
    /// Columns that `USING` merged: their names mean these.
    merged: Vec<Named>,
    /// The clause is being read: only `LATERAL` sees what came before.
    hidden: bool,
}

/// A common table expression.
#[derive(Clone, Debug)]
pub(super) struct Cte {
    pub(super) name: Box<str>,
    pub(super) columns: Rc<NamedColumns>,
    /// It was read before: once more, and its rows are there twice.
    pub(super) read: bool,
}

/// What a column is called whose name cannot be told from its expression. No identifier can mean it.
pub(super) const UNNAMED: &str = "\0";

const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// Relations of PostgreSQL itself that hold values of other relations, or the texts of others' statements.
const REVEALING: &[&str] = &[
    "pg_statistic",
    "pg_statistic_ext_data",
    "pg_stats",
    "pg_stats_ext",
    "pg_stats_ext_exprs",
    "pg_stat_activity",
    "pg_stat_statements",
    "pg_stat_statements_info",
    "pg_largeobject",
    "pg_prepared_statements",
    "pg_cursors",
    "pg_authid",
    "pg_shadow",
    "pg_user_mapping",
    "pg_user_mappings",
    "pg_file_settings",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_subscription",
    "pg_foreign_server",
    "pg_stat_replication",
    "pg_stat_wal_receiver",
    "pg_backend_memory_contexts",
    "user_mapping_options",
    "foreign_server_options",
    "pg_seclabel",
    "pg_seclabels",
];

/// Columns of the others that hold values of other relations.
const REVEALING_COLUMNS: &[(&str, &str)] =
    &[("pg_attribute", "attmissingval"), ("pg_sequences", "last_value")];

impl<'a> Follow<'a> {
    // ---- looking names up ----

    /// Returns what a column reference means.
    pub(super) fn column(&mut self, fields: &NodeList) -> Origin {
        let mut names = Vec::with_capacity(fields.len());
        let mut star = false;
        for field in fields {
            match field {
                Node::String(name) => names.push(name.sval().unwrap_or_default()),
                Node::A_Star(_) => star = true,
                _ => return self.unknown(),
            }
        }
        let found = match (names.as_slice(), star) {
            ([], true) => self.scopes.last().map(|scope| scope.star.row()),
            ([item], true) => self.item(None, item).map(|item| item.columns.row()),
            ([schema, item], true) | ([_, schema, item], true) => {
                self.item(Some(schema), item).map(|item| item.columns.row())
            }
            ([name], false) => self.bare(name),
            ([item, name], false) => self.qualified(None, item, name),
            ([schema, item, name], false) | ([_, schema, item, name], false) => {
                self.qualified(Some(schema), item, name)
            }
            _ => None,
        };
        found.unwrap_or_else(|| self.unknown())
    }

    /// Returns what a name alone means: a column of the innermost query that has it, or a whole row.
    pub(super) fn bare(&self, name: &str) -> Option<Origin> {
        let mut open: Option<Origin> = None;
        for scope in self.visible() {
            if let Some(merged) = scope.merged.iter().find(|column| *column.name == *name) {
                return Some(with(open, merged.origin.clone()));
            }
            let items = || scope.items.iter().filter(|item| !item.qualified_only);
            if let Some(origin) = items().filter_map(|item| item.columns.find(name)).reduce(Origin::or) {
                return Some(with(open, origin));
            }
            // Only tables have them: else the name may be a column's further out.
            if SYSTEM_COLUMNS.contains(&name) && !scope.items.is_empty() {
                open = Some(with(open, self.system_column(name)));
            }
            for origin in items().filter_map(|item| item.columns.unnamed()) {
                open = Some(with(open, origin));
            }
        }
        let items = self.visible().flat_map(|scope| scope.items.iter().filter(|item| !item.qualified_only));
        // A row as a whole only where no query around has a column of that name.
        match items.into_iter().find(|item| item.name.as_deref() == Some(name)) {
            Some(item) => Some(with(open, item.columns.row())),
            None => open,
        }
    }

    fn qualified(&self, schema: Option<&str>, item: &str, name: &str) -> Option<Origin> {
        let item = self.item(schema, item)?;
        let found = item.columns.find(name).or_else(|| item.columns.unnamed());
        found.or_else(|| SYSTEM_COLUMNS.contains(&name).then(|| self.system_column(name)))
    }

    /// Which partition a row is in may be told by a value; of PostgreSQL's own relations it tells nothing.
    fn system_column(&self, name: &str) -> Origin {
        let tells = name == "tableoid" && self.relations.iter().any(|oid| self.catalogue.has_children(*oid));
        if tells { Origin::Unknown } else { Origin::Clean }
    }

    /// Returns the innermost item of that name.
    pub(super) fn item(&self, schema: Option<&str>, name: &str) -> Option<Item> {
        self.visible().find_map(|scope| {
            let named = scope.items.iter().filter(|item| item.name.as_deref() == Some(name));
            named.clone().find(|item| schema.is_none() || item.schema.as_deref() == schema).cloned()
        })
    }

    fn visible(&self) -> impl Iterator<Item = &Scope> {
        self.scopes.iter().rev().filter(|scope| !scope.hidden)
    }

    // ---- FROM ----

    /// Reads a `FROM` clause into a new scope.
    pub(super) fn read_from(&mut self, items: &'a NodeList) {
        let outer = std::mem::replace(&mut self.clause, self.scopes.len());
        self.scopes.push(Scope { hidden: true, ..Scope::default() });
        for item in items {
            let scope = self.source(item);
            self.bring(scope);
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.hidden = false;
        }
        self.clause = outer;
    }

    /// Adds what one item of a `FROM` clause brings to the innermost scope.
    pub(super) fn bring(&mut self, more: Scope) {
        let cost = more.items.len() + more.star.columns.len();
        if !self.afford(cost / COLUMNS_MAX) {
            return;
        }
        if let Some(scope) = self.scopes.last_mut().filter(|scope| scope.items.len() < NAMES_MAX) {
            scope.items.extend(more.items);
            scope.merged.extend(more.merged);
            scope.star.append(more.star);
        } else {
            self.opaque = true;
        }
    }

    /// An item of a `FROM` clause.
    fn source(&mut self, item: Node<'a>) -> Scope {
        self.nest(Scope::default(), |follow| match item {
            Node::JoinExpr(join) => follow.join(join),
            Node::RangeVar(range) => {
                let columns = follow.range(range);
                let mut item = Item::named(range.relname(), columns);
                item.schema = range.schemaname().map(Box::from);
                aliased(item, range.alias())
            }
            Node::RangeSubselect(sub) => {
                let before = follow.mark();
                let columns = follow.seeing(sub.lateral, |follow| follow.query(sub.subquery()));
                follow.tie_within(before, before);
                aliased(Item::named(None, columns), sub.alias())
            }
            Node::RangeFunction(function) => follow.function_source(function),
            Node::RangeTableSample(sample) => {
                for argument in sample.args().iter().chain([sample.repeatable()]) {
                    let origin = follow.value(argument);
                    follow.depends(&origin);
                }
                follow.source(sample.relation())
            }
            // XMLTABLE and JSON_TABLE: what they give comes from what they are given.
            Node::RangeTableFunc(table) => {
                let origin = follow.seeing(true, |follow| {
                    let spaces = table.namespaces().iter().map(|space| match space {
                        Node::ResTarget(space) => follow.value(space.val()),
                        _ => follow.unknown(),
                    });
                    let spaces = Origin::all(spaces);
                    let given = follow.value(table.docexpr()).and(follow.value(table.rowexpr())).and(spaces);
                    table.columns().iter().fold(given, |origin, column| {
                        origin.and(follow.value(column.colexpr())).and(follow.value(column.coldefexpr()))
                    })
                });
                follow.depends(&origin);
                aliased(Item::named(None, NamedColumns::open(origin.computed(false))), table.alias())
            }
            _ => {
                let origin = follow.unknown();
                Scope::of(Item::named(None, NamedColumns::open(origin)))
            }
        })
    }

    /// Runs `inner` where the clause being read is seen or not.
    fn seeing<T>(&mut self, lateral: bool, inner: impl FnOnce(&mut Self) -> T) -> T {
        self.hide(!lateral);
        let result = inner(self);
        self.hide(true);
        result
    }

    fn hide(&mut self, hidden: bool) {
        for scope in self.scopes.iter_mut().skip(self.clause) {
            scope.hidden = hidden;
        }
    }

    fn function_source(&mut self, function: &'a RangeFunction) -> Scope {
        let mut origin = Origin::Clean;
        let mut name = None;
        for call in function.functions() {
            // Each is a list of the call and its column definitions.
            let Node::NodeList(parts) = call else {
                origin = self.unknown();
                continue;
            };
            let call = parts.first().unwrap_or(Node::None);
            if let Node::FuncCall(call) = call {
                name = call.funcname().iter().next_back().and_then(|name| name.as_str());
            }
            let value = self.seeing(true, |follow| follow.value(call));
            // How many rows there are depends on what it is given.
            self.depends(&value);
            origin = origin.and(value);
        }
        let mut columns = NamedColumns::open(origin.computed(false));
        if let Some(alias) = function.alias() {
            name = alias.aliasname();
            columns.rename(alias.colnames());
        }
        Scope::of(Item::named(name, columns))
    }

    fn join(&mut self, join: &'a JoinExpr) -> Scope {
        let before = self.mark();
        let left = self.source(join.larg());
        let between = self.mark();
        // What stands right may be LATERAL and see the left; it is read within a scope that holds it.
        self.scopes.push(Scope { hidden: true, ..left });
        let right = self.source(join.rarg());
        let left = self.scopes.pop().unwrap_or_default();
        let shared: Vec<Box<str>> = if join.is_natural {
            // Which names they share is not known.
            self.opaque |= left.star.unnamed().is_some() || right.star.unnamed().is_some();
            let right_has = |name: &str| right.star.columns.iter().any(|column| *column.name == *name);
            left.star.columns.iter().filter(|c| right_has(&c.name)).map(|c| c.name.clone()).collect()
        } else {
            join.using_clause().iter().filter_map(|name| name.sval()).map(Box::from).collect()
        };
        let condition = self.mark();
        let mut joined = self.merge(join, left, right, &shared);
        if !is_absent(join.quals()) {
            self.scopes.push(joined);
            self.filter(join.quals(), true);
            joined = self.scopes.pop().unwrap_or_default();
        }
        self.tie_join(condition, before, between, join);
        if let Some(alias) = join.alias() {
            return aliased(Item::named(None, joined.star), Some(alias));
        }
        if let Some(alias) = join.join_using_alias() {
            let merged = NamedColumns { columns: joined.merged.clone(), open: None };
            joined.items.push(Item::only_qualified(alias.aliasname().unwrap_or_default(), Rc::new(merged)));
        }
        joined
    }

    /// Puts both sides of a join together; the shared names come first, once.
    fn merge(&mut self, join: &JoinExpr, left: Scope, right: Scope, shared: &[Box<str>]) -> Scope {
        let mut merged = Vec::new();
        for name in shared {
            let one = left.star.find(name).or_else(|| left.star.unnamed());
            let other = right.star.find(name).or_else(|| right.star.unnamed());
            let (Some(one), Some(other)) = (one, other) else {
                self.opaque = true;
                continue;
            };
            if let (Origin::Column(one), Origin::Column(other)) = (&one, &other) {
                self.tie_columns(*one, *other);
            }
            self.equal(&one, &other);
            let origin = match join.jointype {
                JoinType::JOIN_INNER | JoinType::JOIN_LEFT => one,
                JoinType::JOIN_RIGHT => other,
                _ => one.or(other),
            };
            merged.push(Named { name: name.clone(), origin });
        }
        let unshared = |mut columns: NamedColumns| {
            columns.columns.retain(|column| !shared.contains(&column.name));
            columns
        };
        let mut star = NamedColumns { columns: merged.clone(), open: None };
        star.append(unshared(left.star));
        star.append(unshared(right.star));
        let mut names: Vec<Named> = merged;
        names.extend(left.merged);
        names.extend(right.merged);
        let items = left.items.into_iter().chain(right.items).collect();
        Scope { items, star, merged: names, hidden: false }
    }

    /// Notes that two values are compared for equality.
    pub(super) fn equal(&mut self, one: &Origin, other: &Origin) {
        match (one, other) {
            (Origin::Column(one), Origin::Column(other)) => {
                self.uses.push((*one, Use::Join(*other)));
                self.uses.push((*other, Use::Join(*one)));
            }
            _ => {
                self.depends(one);
                self.depends(other);
            }
        }
    }

    // ---- relations ----

    /// Returns the columns of what a `FROM` clause names.
    fn range(&mut self, range: &RangeVar) -> NamedColumns {
        let name = range.relname().unwrap_or_default();
        if range.schemaname().is_none()
            && let Some(cte) = self.ctes.iter_mut().rev().find(|cte| *cte.name == *name)
        {
            self.ties.loose |= std::mem::replace(&mut cte.read, true);
            return NamedColumns::clone(&cte.columns);
        }
        let pinned = self.pinned.then_some("pg_catalog");
        self.relation(range.schemaname().or(pinned), name)
    }

    /// Returns the columns of the relation of that name, or of all that it may mean.
    pub(super) fn relation(&mut self, schema: Option<&str>, name: &str) -> NamedColumns {
        let catalogue = self.catalogue;
        let meant: Vec<&'a Relation> = candidates(catalogue, schema, name).collect();
        match meant.as_slice() {
            [] => NamedColumns::open(self.unknown()),
            [relation] => self.columns_of(relation),
            many => {
                let all: Vec<NamedColumns> = many.iter().map(|relation| self.columns_of(relation)).collect();
                let whole = Origin::all(all.iter().map(NamedColumns::whole));
                let columns = all.into_iter().flat_map(|columns| columns.columns).collect();
                NamedColumns { columns, open: Some(whole.computed(false)) }
            }
        }
    }

    fn columns_of(&mut self, relation: &'a Relation) -> NamedColumns {
        if relation.builtin {
            let origin = if REVEALING.contains(&&*relation.name) { Origin::Unknown } else { Origin::Clean };
            let named = |name: &str| {
                let reveals = REVEALING_COLUMNS.contains(&(&*relation.name, name));
                Named { name: name.into(), origin: if reveals { Origin::Unknown } else { origin.clone() } }
            };
            return NamedColumns {
                columns: relation.columns.iter().map(|column| named(&column.name)).collect(),
                open: None,
            };
        }
        if relation.kind == RelationKind::View || relation.query.is_some() {
            return self.columns_of_view(relation);
        }
        self.relations.push(relation.oid);
        self.columns_of_table(relation)
    }

    /// Returns the columns of a table. A generated column comes from what its expression names, too.
    fn columns_of_table(&mut self, relation: &'a Relation) -> NamedColumns {
        let named = |column: &super::super::catalogue::Column| Named {
            name: column.name.clone(),
            origin: Origin::Column(Column { relation: relation.oid, number: column.number }),
        };
        let plain = NamedColumns { columns: relation.columns.iter().map(named).collect(), open: None };
        let mut columns = plain.clone();
        for (column, known) in columns.columns.iter_mut().zip(&relation.columns) {
            let Some(generated) = known.generated.as_deref() else { continue };
            let origin = self.follow_generated(generated, &plain);
            column.origin = column.origin.clone().and(origin);
        }
        columns
    }

    fn follow_generated(&self, expression: &str, columns: &NamedColumns) -> Origin {
        let Ok(tree) = pg_raw_parse::parse(expression) else { return Origin::Unknown };
        let Some(Node::SelectStmt(select)) = tree.stmts().next() else { return Origin::Unknown };
        let mut inner = Follow::new(self.catalogue, self.depth_max, expression.len() * BUDGET_PER_BYTE);
        inner.pinned = true;
        inner.scopes.push(Scope::of(Item::named(None, columns.clone())));
        let targets = || select.target_list().iter();
        let origin = Origin::all(targets().map(|target| inner.value(target.val())));
        // What is stored was computed when the row was written; a virtual column is computed when it is read.
        let stored = targets().all(|target| target.name().is_none());
        match origin {
            _ if inner.opaque => Origin::Unknown,
            Origin::Computed { columns, total, shaped } => {
                Origin::Computed { columns, total: total || stored, shaped }
            }
            other => other,
        }
    }

    /// Follows a view's definition, once for the catalogue.
    pub(super) fn columns_of_view(&mut self, relation: &'a Relation) -> NamedColumns {
        let view = match relation.view.get() {
            Some(view) => Arc::clone(view),
            None => {
                let view = Arc::new(self.follow_view(relation));
                Arc::clone(relation.view.get_or_init(|| view))
            }
        };
        self.relations.extend(view.relations.iter().copied());
        self.ties.append(&view.ties);
        let own = view.uses.iter().map(|(column, how)| (relation.oid, *column, how.clone()));
        self.through.extend(own.chain(view.through.iter().cloned()));
        self.opaque |= view.opaque;
        view.columns.clone()
    }

    fn follow_view(&mut self, relation: &'a Relation) -> View {
        let unknown = View {
            columns: NamedColumns::open(Origin::Unknown),
            relations: Box::default(),
            ties: Ties::default(),
            uses: Box::default(),
            through: Box::default(),
            opaque: true,
        };
        let seen = self.within.iter().any(|outer| std::ptr::eq(*outer, relation));
        let Some(query) = relation.query.as_deref().filter(|_| !seen) else { return unknown };
        if self.within.len() >= self.depth_max / 4 {
            return unknown;
        }
        let Ok(tree) = pg_raw_parse::parse(query) else { return unknown };
        let Some(Node::SelectStmt(select)) = tree.stmts().next() else { return unknown };
        let mut inner = Follow::new(self.catalogue, self.depth_max, query.len() * BUDGET_PER_BYTE);
        inner.depth = self.depth.saturating_add(4);
        inner.pinned = true;
        inner.within.clone_from(&self.within);
        inner.within.push(relation);
        let mut columns = inner.select(select);
        if columns.columns.len() != relation.columns.len() || columns.open.is_some() {
            return unknown;
        }
        for (column, known) in columns.columns.iter_mut().zip(&relation.columns) {
            column.name.clone_from(&known.name);
        }
        View {
            columns,
            relations: inner.relations.into(),
            ties: inner.ties,
            uses: inner.uses.into(),
            through: inner.through.into(),
            opaque: inner.opaque,
        }
    }
}

/// What following a view's definition gave.
#[derive(Debug)]
pub(in super::super) struct View {
    columns: NamedColumns,
    relations: Box<[u32]>,
    ties: Ties,
    /// What its definition uses columns for.
    uses: Box<[(super::Column, Use)]>,
    /// What the views beneath it do.
    through: Box<[(u32, super::Column, Use)]>,
    opaque: bool,
}

fn aliased(mut item: Item, alias: Option<&Alias>) -> Scope {
    if let Some(alias) = alias {
        item.name = alias.aliasname().map(Box::from);
        item.schema = None;
        Rc::make_mut(&mut item.columns).rename(alias.colnames());
    }
    Scope::of(item)
}

impl Scope {
    pub(super) fn of(item: Item) -> Scope {
        Scope { star: NamedColumns::clone(&item.columns), items: vec![item], ..Scope::default() }
    }
}

fn with(open: Option<Origin>, origin: Origin) -> Origin {
    match open {
        None => origin,
        Some(open) => open.and(origin),
    }
}
