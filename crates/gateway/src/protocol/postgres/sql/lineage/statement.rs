//! Statements: what they return, and what they give to columns.

use std::rc::Rc;

use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{
    CopyStmt, DefElem, DeleteStmt, ExplainStmt, InsertStmt, OnConflictClause, RangeVar, ResTarget,
    ReturningClause, SelectStmt, UpdateStmt, WithClause,
};
use pg_raw_parse::raw::{SetOperation, VariableSetKind};
use pg_raw_parse::{ConstValue, Node};

use super::super::catalogue::{Catalogue, Relation};
use super::super::walk::{candidates, constant, is_absent, is_own_setting, names};
use super::expression::is_computed;
use super::scope::{Cte, Item, Named, NamedColumns, Scope, UNNAMED};
use super::{
    BUDGET_PER_BYTE, COLUMNS_MAX, Change, Column, CopyOptions, Follow, Kind, Lineage, NAMES_MAX, Origin,
    Outputs,
};

/// How often a recursive query is followed before it is given up.
const ROUNDS_MAX: usize = 8;

/// Follows the values of one statement.
pub(in super::super) fn of(catalogue: &Catalogue, depth_max: usize, bytes: usize, node: Node<'_>) -> Lineage {
    let mut follow = Follow::new(catalogue, depth_max, bytes * BUDGET_PER_BYTE);
    let (kind, outputs) = follow.statement(node);
    if names_nothing(node) {
        // Also where nothing is known of the resource: a transaction must have an end.
        follow.opaque = false;
    }
    follow.finish(kind, outputs)
}

/// Tells whether a statement neither reads nor runs anything that has a name at the resource.
fn names_nothing(node: Node<'_>) -> bool {
    matches!(
        node,
        Node::TransactionStmt(_) | Node::DeallocateStmt(_) | Node::ClosePortalStmt(_) | Node::UnlistenStmt(_)
    )
}

impl<'a> Follow<'a> {
    fn statement(&mut self, node: Node<'a>) -> (Kind, Outputs) {
        match node {
            Node::SelectStmt(select) if makes_table(select) => (Kind::Other("SELECT INTO"), Outputs::None),
            Node::SelectStmt(_) | Node::InsertStmt(_) | Node::UpdateStmt(_) | Node::DeleteStmt(_) => {
                let columns = self.query(node);
                self.names = columns.shown();
                (Kind::Data, outputs(node, columns))
            }
            Node::CopyStmt(copy) => self.copy(copy),
            Node::ExplainStmt(explain) => match self.explained(explain) {
                Node::SelectStmt(select) if !makes_table(select) => self.explain(explain.query()),
                Node::InsertStmt(_) | Node::UpdateStmt(_) | Node::DeleteStmt(_) => {
                    self.explain(explain.query())
                }
                Node::DeclareCursorStmt(declare) => self.explain(declare.query()),
                _ => (Kind::Other("EXPLAIN"), Outputs::Open(Origin::Unknown)),
            },
            Node::PrepareStmt(prepare) => {
                self.query(prepare.query());
                (Kind::Prepare, Outputs::None)
            }
            Node::DeclareCursorStmt(declare) => {
                self.query(declare.query());
                (Kind::Session, Outputs::None)
            }
            Node::ExecuteStmt(execute) => {
                // What is given to it may be compared with anything.
                self.opaque |= execute.params().iter().any(is_computed);
                (Kind::Session, Outputs::Prepared(execute.name().unwrap_or_default().into()))
            }
            Node::FetchStmt(fetch) if fetch.ismove => (Kind::Session, Outputs::None),
            Node::FetchStmt(fetch) => {
                (Kind::Session, Outputs::Cursor(fetch.portalname().unwrap_or_default().into()))
            }
            _ => session(node),
        }
    }

    /// Returns what is explained, having noted whether it is run as well.
    fn explained(&mut self, explain: &'a ExplainStmt) -> Node<'a> {
        self.ties.analyzes = explain.options().iter().any(|option| {
            let off = matches!(option_text(option).as_deref(), Some("false" | "off" | "0"));
            option.defname() == Some("analyze") && !off
        });
        explain.query()
    }

    fn explain(&mut self, query: Node<'a>) -> (Kind, Outputs) {
        self.explained = Some(Origin::Clean);
        self.query(query);
        let origin = self.explained.take().unwrap_or(Origin::Unknown);
        (Kind::Explain, Outputs::Columns(Box::new([origin.computed(false)])))
    }

    fn copy(&mut self, copy: &'a CopyStmt) -> (Kind, Outputs) {
        if copy.is_program || copy.filename().is_some() {
            return (Kind::Other("COPY of a server's file or program"), Outputs::None);
        }
        if copy.is_from {
            if let Some(relation) = copy.relation() {
                let targets = self.targets(relation, copy.attlist());
                self.assigned.extend(targets.into_iter().map(|column| (column, Origin::Clean)));
                self.target_scope(relation, Change::Added);
            }
            self.filter(copy.where_clause(), true);
            return (Kind::CopyIn, Outputs::None);
        }
        let columns = match copy.relation() {
            None => self.query(copy.query()),
            Some(relation) => self.copied(relation, copy.attlist()),
        };
        self.names = columns.shown();
        let outputs = match columns.open {
            Some(_) => Outputs::Open(columns.whole()),
            None => Outputs::Columns(columns.columns.into_iter().map(|column| column.origin).collect()),
        };
        (Kind::CopyOut(options(copy)), outputs)
    }

    /// The columns of a relation that is copied: those named, or all that are not generated.
    fn copied(&mut self, range: &RangeVar, list: &NodeList) -> NamedColumns {
        let name = range.relname().unwrap_or_default();
        let all = self.relation(range.schemaname(), name);
        if all.open.is_some() {
            return all;
        }
        if list.is_empty() {
            let catalogue = self.catalogue;
            let relation: Option<&'a Relation> = candidates(catalogue, range.schemaname(), name).next();
            let generated = |at: usize| {
                relation.and_then(|r| r.columns.get(at)).is_some_and(|column| column.generated.is_some())
            };
            let plain = all.columns.into_iter().enumerate().filter(|(at, _)| !generated(*at));
            return NamedColumns { columns: plain.map(|(_, column)| column).collect(), open: None };
        }
        let mut columns = NamedColumns::default();
        for name in list.iter().filter_map(|name| name.as_str()) {
            match all.columns.iter().find(|column| *column.name == *name) {
                Some(column) => columns.columns.push(column.clone()),
                None => columns.open = Some(self.unknown()),
            }
        }
        columns
    }

    // ---- queries ----

    /// A statement that can stand in `WITH`, `COPY (…)`, `EXPLAIN` or `PREPARE`: what it returns.
    pub(super) fn query(&mut self, node: Node<'a>) -> NamedColumns {
        let unknown = NamedColumns::open(Origin::Unknown);
        let (outer, ctes, clause) = (self.scopes.len(), self.ctes.len(), self.clause);
        let columns = self.nest(unknown.clone(), |follow| match node {
            Node::SelectStmt(select) => follow.select(select),
            Node::InsertStmt(insert) => follow.insert(insert),
            Node::UpdateStmt(update) => follow.update(update),
            Node::DeleteStmt(delete) => follow.delete(delete),
            _ => {
                follow.opaque = true;
                unknown
            }
        });
        self.scopes.truncate(outer);
        self.ctes.truncate(ctes);
        self.clause = clause;
        if let Some(explained) = self.explained.take() {
            self.explained = Some(explained.and(columns.whole()));
        }
        columns
    }

    fn with(&mut self, with: Option<&'a WithClause>) {
        let Some(with) = with else { return };
        if with.recursive {
            return self.with_recursive(with);
        }
        for cte in with.ctes().iter() {
            let columns = renamed(self.query(cte.ctequery()), cte.aliascolnames());
            if self.ctes.len() >= NAMES_MAX {
                self.opaque = true;
                return;
            }
            self.ctes.push(Cte {
                name: cte.ctename().unwrap_or_default().into(),
                columns: Rc::new(columns),
                read: false,
            });
        }
    }

    /// Follows recursive queries until nothing new is found; each may read itself and those before and after.
    fn with_recursive(&mut self, with: &'a WithClause) {
        let first = self.ctes.len();
        if first + with.ctes().len() > NAMES_MAX {
            self.opaque = true;
            return;
        }
        let searches =
            with.ctes().iter().any(|cte| cte.search_clause().is_some() || cte.cycle_clause().is_some());
        self.opaque |= searches;
        for cte in with.ctes().iter() {
            let name = cte.ctename().unwrap_or_default().into();
            self.ctes.push(Cte { name, columns: Rc::new(NamedColumns::open(Origin::Clean)), read: false });
        }
        for _ in 0..ROUNDS_MAX {
            let mut changed = false;
            for (at, cte) in with.ctes().iter().enumerate() {
                let columns = Rc::new(renamed(self.query(cte.ctequery()), cte.aliascolnames()));
                let Some(known) = self.ctes.get_mut(first + at) else { continue };
                changed |= known.columns != columns;
                known.columns = columns;
            }
            if !changed {
                return;
            }
        }
        self.opaque = true;
    }

    /// `SELECT`, `VALUES`, `TABLE` and set operations of them. Leaves its scope for the caller to drop.
    pub(super) fn select(&mut self, select: &'a SelectStmt) -> NamedColumns {
        // A chain of set operations leans to the left: it is a loop, so that only real nesting costs stack.
        let mut chain = Vec::new();
        let mut first = select;
        while let Some(left) = first.larg() {
            chain.push(first);
            first = left;
            // What belongs to a part in parentheses is seen by that part only: it is followed by itself.
            if left.with_clause().is_some() || !left.sort_clause().is_empty() {
                break;
            }
        }
        if chain.is_empty() {
            return self.one_select(select);
        }
        self.with(select.with_clause());
        let mut columns = self.query(Node::SelectStmt(first));
        for operation in chain.into_iter().rev() {
            let Some(right) = operation.rarg() else { return NamedColumns::open(self.unknown()) };
            let other = self.query(Node::SelectStmt(right));
            columns = self.set_operation(operation, columns, other);
            self.tail(operation, &columns);
        }
        columns
    }

    fn one_select(&mut self, select: &'a SelectStmt) -> NamedColumns {
        self.with(select.with_clause());
        let columns = if select.values_lists().is_empty() {
            self.read_from(select.from_clause());
            self.filter(select.where_clause(), true);
            let columns = self.targets_of(select.target_list().iter());
            self.group(select, &columns);
            columns
        } else {
            self.values_lists(select.values_lists())
        };
        self.tail(select, &columns);
        columns
    }

    fn set_operation(&mut self, select: &SelectStmt, one: NamedColumns, other: NamedColumns) -> NamedColumns {
        let tells_apart = !(select.op == SetOperation::SETOP_UNION && select.all);
        if tells_apart && self.afford(one.columns.len()) {
            self.depends(&one.whole());
            self.depends(&other.whole());
        }
        if one.open.is_some() || other.open.is_some() || one.columns.len() != other.columns.len() {
            let open = Some(one.whole().and(other.whole()));
            return NamedColumns { columns: one.columns, open };
        }
        let either =
            |(one, other): (Named, Named)| Named { name: one.name, origin: one.origin.or(other.origin) };
        NamedColumns { columns: one.columns.into_iter().zip(other.columns).map(either).collect(), open: None }
    }

    fn values_lists(&mut self, lists: &'a NodeList) -> NamedColumns {
        let mut columns: Vec<Named> = Vec::new();
        for row in lists {
            let Node::NodeList(row) = row else {
                return NamedColumns::open(self.unknown());
            };
            for (at, value) in row.iter().enumerate() {
                let origin = self.value(value);
                match columns.get_mut(at) {
                    Some(column) => column.origin = column.origin.clone().or(origin),
                    None => columns.push(Named { name: format!("column{}", at + 1).into(), origin }),
                }
            }
        }
        NamedColumns { columns, open: None }
    }

    /// What a list of outputs, of `SELECT` or `RETURNING`, returns.
    fn targets_of(&mut self, targets: impl Iterator<Item = &'a ResTarget>) -> NamedColumns {
        let mut columns = NamedColumns::default();
        for target in targets {
            match target.val() {
                Node::ColumnRef(column) if is_star(column.fields()) => {
                    let all = self.star(column.fields());
                    if !self.afford(all.columns.len()) {
                        return NamedColumns::open(Origin::Unknown);
                    }
                    for column in &all.columns {
                        self.tells(column.origin.clone());
                    }
                    columns.columns.extend(all.columns);
                    columns.open = both(columns.open.take(), all.open);
                }
                Node::A_Indirection(indirection) if is_star(indirection.indirection()) => {
                    let origin = self.value(indirection.arg()).computed(false);
                    columns.open = both(columns.open.take(), Some(origin));
                }
                _ if columns.columns.len() > COLUMNS_MAX => return NamedColumns::open(self.unknown()),
                value => {
                    let origin = self.value(value);
                    let name = target.name().or_else(|| figured(value));
                    columns.columns.push(Named { name: name.unwrap_or(UNNAMED).into(), origin });
                }
            }
        }
        columns
    }

    /// What `*` or `name.*` stands for.
    fn star(&mut self, fields: &NodeList) -> NamedColumns {
        let mut parts =
            fields.iter().filter_map(|field| field.as_str()).collect::<Vec<_>>().into_iter().rev();
        let found = match (parts.next(), parts.next()) {
            (None, _) => self.scopes.last().map(|scope| scope.star.clone()),
            (Some(item), schema) => self.item(schema, item).map(|item| NamedColumns::clone(&item.columns)),
        };
        found.unwrap_or_else(|| NamedColumns::open(self.unknown()))
    }

    fn group(&mut self, select: &'a SelectStmt, columns: &NamedColumns) {
        for node in select.group_clause() {
            self.listed(node, columns);
        }
        for node in select.distinct_clause() {
            if is_absent(node) {
                self.depends(&columns.whole());
            } else {
                self.listed(node, columns);
            }
        }
        self.filter(select.having_clause(), false);
        self.windows(select.window_clause());
    }

    fn tail(&mut self, select: &'a SelectStmt, columns: &NamedColumns) {
        for sort in select.sort_clause().iter() {
            let (_, symbol) = names(sort.use_op());
            self.builtin_operator(symbol);
            self.listed(sort.node(), columns);
        }
        for count in [select.limit_offset(), select.limit_count()] {
            let origin = self.value(count);
            self.depends(&origin);
        }
    }

    /// An entry of `ORDER BY`, `GROUP BY` or `DISTINCT ON`: an expression, or an output by number or name.
    fn listed(&mut self, node: Node<'a>, columns: &NamedColumns) {
        match node {
            Node::GroupingSet(set) => {
                return self.nest((), |follow| {
                    set.content().iter().for_each(|node| follow.listed(node, columns));
                });
            }
            // In GROUP BY a row in parentheses stands for its parts.
            Node::RowExpr(row) => {
                self.nest((), |follow| row.args().iter().for_each(|node| follow.listed(node, columns)));
            }
            Node::A_Const(value) => {
                let number = match value.val() {
                    Some(ConstValue::Integer(number)) => usize::try_from(number).ok(),
                    _ => None,
                };
                let output = number.and_then(|number| columns.columns.get(number.checked_sub(1)?));
                match output.filter(|_| columns.open.is_none()) {
                    Some(output) => self.depends(&output.origin.clone()),
                    None if self.afford(columns.columns.len()) => self.depends(&columns.whole()),
                    None => {}
                }
                return;
            }
            Node::ColumnRef(column) if column.fields().len() == 1 => {
                let name = column.fields().first().and_then(|field| field.as_str()).unwrap_or_default();
                let output = columns.columns.iter().find(|column| *column.name == *name);
                // An output whose name is not known may have this one.
                let output = output.map(|output| output.origin.clone()).or_else(|| columns.unnamed());
                if let Some(output) = output {
                    self.depends(&output);
                    // The name of an output goes before a column's in ORDER BY; in GROUP BY it is the other way round.
                    if let Some(origin) = self.bare(name) {
                        self.depends(&origin);
                    }
                    return;
                }
            }
            _ => {}
        }
        let origin = self.value(node);
        self.depends(&origin);
    }

    // ---- changes ----

    /// Returns the columns of a relation that a list names, or all of them.
    fn targets(&mut self, range: &RangeVar, list: &'a NodeList) -> Vec<Column> {
        for node in list {
            if let Node::ResTarget(target) = node {
                self.places(target);
            }
        }
        let catalogue = self.catalogue;
        let name = range.relname().unwrap_or_default();
        let named: Vec<&str> = list.iter().map(|node| target_name(node).unwrap_or_default()).collect();
        let meant: Vec<&Relation> = candidates(catalogue, range.schemaname(), name).collect();
        self.opaque |= meant.is_empty();
        let mut columns = Vec::new();
        if named.is_empty() {
            for relation in meant {
                self.opaque |= relation.query.is_some();
                let all = relation.columns.iter();
                columns.extend(all.map(|column| Column { relation: relation.oid, number: column.number }));
            }
            return columns;
        }
        // In the order of the list; a name that is not known is nobody's.
        for name in named {
            for relation in &meant {
                // Through a view, the columns of what is beneath it are changed.
                self.opaque |= relation.query.is_some();
                match relation.columns.iter().find(|column| *column.name == *name) {
                    Some(column) => columns.push(Column { relation: relation.oid, number: column.number }),
                    None => self.opaque = true,
                }
            }
        }
        columns
    }

    /// Opens the scope of a relation that is changed.
    fn target_scope(&mut self, range: &RangeVar, how: Change) -> NamedColumns {
        let relname = range.relname().unwrap_or_default();
        let catalogue = self.catalogue;
        self.changed
            .extend(candidates(catalogue, range.schemaname(), relname).map(|relation| (relation.oid, how)));
        // A rule may do anything, and return it.
        self.opaque |= candidates(self.catalogue, range.schemaname(), relname).any(|known| known.has_rules);
        let columns = self.relation(range.schemaname(), relname);
        let name = range.alias().and_then(|alias| alias.aliasname()).or(range.relname());
        self.scopes.push(Scope::of(Item::named(name, columns.clone())));
        columns
    }

    fn insert(&mut self, insert: &'a InsertStmt) -> NamedColumns {
        self.with(insert.with_clause());
        let given = if is_absent(insert.select_stmt()) {
            NamedColumns::default()
        } else {
            self.query(insert.select_stmt())
        };
        let Some(range) = insert.relation() else { return NamedColumns::open(self.unknown()) };
        let any = given.open.as_ref().map(|_| given.whole());
        let targets = self.targets(range, insert.cols());
        self.tie_added(&targets, insert.select_stmt());
        for (at, column) in targets.into_iter().enumerate() {
            let known = given.columns.get(at).map(|column| column.origin.clone());
            if let Some(origin) = any.clone().or(known) {
                self.assigned.push((column, origin));
            }
        }
        let columns = self.target_scope(range, Change::Added);
        if let Some(conflict) = insert.on_conflict_clause() {
            self.conflict(conflict, range, &columns);
        }
        self.returning(insert.returning_clause(), &columns)
    }

    fn conflict(&mut self, conflict: &'a OnConflictClause, range: &RangeVar, columns: &NamedColumns) {
        let excluded = Item::only_qualified("excluded", Rc::new(columns.clone()));
        if let Some(scope) = self.scopes.last_mut() {
            scope.items.push(excluded);
        }
        // What is changed instead of added may be anybody's.
        self.ties.loose |= !conflict.target_list().is_empty();
        if let (Some((oid, _)), false) = (self.changed.last().copied(), conflict.target_list().is_empty()) {
            self.changed.push((oid, Change::Updated));
        }
        self.assign(range, conflict.target_list().iter());
        self.filter(conflict.where_clause(), false);
        if let Some(infer) = conflict.infer() {
            self.filter(infer.where_clause(), false);
        }
    }

    fn assign(&mut self, range: &RangeVar, targets: impl Iterator<Item = &'a ResTarget>) {
        let catalogue = self.catalogue;
        let name = range.relname().unwrap_or_default();
        for target in targets {
            self.places(target);
            let origin = self.value(target.val());
            let column = target.name().unwrap_or_default();
            let mut found = false;
            for relation in candidates(catalogue, range.schemaname(), name) {
                self.opaque |= relation.query.is_some();
                for known in relation.columns.iter().filter(|known| *known.name == *column) {
                    found = true;
                    let column = Column { relation: relation.oid, number: known.number };
                    self.assigned.push((column, origin.clone()));
                    self.tie_given(column, target.val());
                }
            }
            self.opaque |= !found;
        }
    }

    /// `column[…]`: where in it something is put shows in what is stored.
    fn places(&mut self, target: &'a ResTarget) {
        for step in target.indirection() {
            if let Node::A_Indices(indices) = step {
                let place = self.value(indices.lidx()).and(self.value(indices.uidx()));
                self.depends(&place);
            }
        }
    }

    fn update(&mut self, update: &'a UpdateStmt) -> NamedColumns {
        self.with(update.with_clause());
        let Some(range) = update.relation() else { return NamedColumns::open(self.unknown()) };
        let columns = self.target_among(range, update.from_clause(), Change::Updated);
        self.filter(update.where_clause(), true);
        self.assign(range, update.target_list().iter());
        self.returning(update.returning_clause(), &columns)
    }

    fn delete(&mut self, delete: &'a DeleteStmt) -> NamedColumns {
        self.with(delete.with_clause());
        let Some(range) = delete.relation() else { return NamedColumns::open(self.unknown()) };
        let columns = self.target_among(range, delete.using_clause(), Change::Deleted);
        self.filter(delete.where_clause(), true);
        self.returning(delete.returning_clause(), &columns)
    }

    /// Opens the scope of a relation that is changed, together with others that are read.
    fn target_among(&mut self, range: &RangeVar, others: &'a NodeList, how: Change) -> NamedColumns {
        self.read_from(others);
        let others = self.scopes.pop().unwrap_or_default();
        let columns = self.target_scope(range, how);
        self.bring(others);
        columns
    }

    fn returning(&mut self, clause: Option<&'a ReturningClause>, columns: &NamedColumns) -> NamedColumns {
        let Some(clause) = clause else { return NamedColumns::default() };
        let own = Rc::new(columns.clone());
        let mut names: Vec<&str> = vec!["old", "new"];
        names.extend(clause.options().iter().filter_map(|option| option.value()));
        if let Some(scope) = self.scopes.last_mut() {
            scope.items.extend(names.into_iter().map(|name| Item::only_qualified(name, Rc::clone(&own))));
        }
        let targets = clause.exprs().iter().filter_map(|node| match node {
            Node::ResTarget(target) => Some(target),
            _ => None,
        });
        self.targets_of(targets)
    }
}

fn makes_table(select: &SelectStmt) -> bool {
    let mut select = select;
    loop {
        if select.into_clause().is_some() {
            return true;
        }
        match select.larg() {
            Some(left) => select = left,
            None => return false,
        }
    }
}

fn outputs(node: Node<'_>, columns: NamedColumns) -> Outputs {
    let returns = match node {
        Node::InsertStmt(insert) => insert.returning_clause().is_some(),
        Node::UpdateStmt(update) => update.returning_clause().is_some(),
        Node::DeleteStmt(delete) => delete.returning_clause().is_some(),
        _ => true,
    };
    match columns.open {
        _ if !returns => Outputs::None,
        Some(_) => Outputs::Open(columns.whole()),
        None => Outputs::Columns(columns.columns.into_iter().map(|column| column.origin).collect()),
    }
}

fn both(one: Option<Origin>, other: Option<Origin>) -> Option<Origin> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.and(other)),
        (one, other) => one.or(other),
    }
}

fn renamed(columns: NamedColumns, names: &NodeList) -> NamedColumns {
    let mut columns = columns;
    columns.rename(names);
    columns
}

fn is_star(fields: &NodeList) -> bool {
    matches!(fields.iter().next_back(), Some(Node::A_Star(_)))
}

fn target_name(node: Node<'_>) -> Option<&str> {
    match node {
        Node::ResTarget(target) => target.name(),
        Node::String(name) => name.sval(),
        _ => None,
    }
}

/// Returns the name that PostgreSQL gives an output column, where that is certain.
fn figured(node: Node<'_>) -> Option<&str> {
    match node {
        Node::ColumnRef(column) => column.fields().iter().next_back().and_then(|field| field.as_str()),
        Node::FuncCall(call) => call.funcname().iter().next_back().and_then(|name| name.as_str()),
        Node::CollateClause(collate) => figured_within(collate.arg()),
        Node::TypeCast(cast) => figured_within(cast.arg()),
        Node::CoalesceExpr(_) => Some("coalesce"),
        _ => None,
    }
}

fn figured_within(node: Node<'_>) -> Option<&str> {
    match node {
        Node::ColumnRef(_) | Node::FuncCall(_) => figured(node),
        _ => None,
    }
}

fn options(copy: &CopyStmt) -> CopyOptions {
    let mut format: Box<str> = "text".into();
    let mut others = Vec::new();
    for option in copy.options().iter() {
        let name = option.defname().unwrap_or_default().to_ascii_lowercase();
        let value = option_text(option);
        match (name.as_str(), value) {
            ("format", Some(value)) => format = value.to_ascii_lowercase().into(),
            (_, value) => others.push((name.into(), value)),
        }
    }
    CopyOptions { format, others: others.into() }
}

fn option_text(option: &DefElem) -> Option<Box<str>> {
    match option.arg() {
        Node::String(text) => text.sval().map(Box::from),
        Node::Boolean(value) => Some(if value.boolval { "true".into() } else { "false".into() }),
        Node::Integer(value) => Some(value.ival.to_string().into()),
        _ => None,
    }
}

/// Statements on the session; what is not listed is another's business.
fn session(node: Node<'_>) -> (Kind, Outputs) {
    match node {
        Node::TransactionStmt(_)
        | Node::DeallocateStmt(_)
        | Node::ClosePortalStmt(_)
        | Node::DiscardStmt(_)
        | Node::ConstraintsSetStmt(_)
        | Node::UnlistenStmt(_) => (Kind::Session, Outputs::None),
        Node::VariableShowStmt(_) => (Kind::Session, Outputs::Open(Origin::Clean)),
        Node::VariableSetStmt(set) => {
            let value = set.args().first().and_then(constant);
            let own = is_own_setting(set.name().unwrap_or_default(), value);
            let resets = matches!(set.kind, VariableSetKind::VAR_RESET | VariableSetKind::VAR_RESET_ALL);
            let transaction = set.kind == VariableSetKind::VAR_SET_MULTI;
            if own || resets || transaction {
                (Kind::Session, Outputs::None)
            } else {
                (Kind::Other("SET"), Outputs::None)
            }
        }
        Node::CreateTableAsStmt(_) => (Kind::Other("CREATE TABLE AS"), Outputs::None),
        Node::CallStmt(_) => (Kind::Other("CALL"), Outputs::Open(Origin::Unknown)),
        Node::DoStmt(_) => (Kind::Other("DO"), Outputs::None),
        Node::MergeStmt(_) => (Kind::Other("MERGE"), Outputs::Open(Origin::Unknown)),
        Node::ListenStmt(_) => (Kind::Other("LISTEN"), Outputs::None),
        Node::NotifyStmt(_) => (Kind::Other("NOTIFY"), Outputs::None),
        Node::LockStmt(_) => (Kind::Other("LOCK TABLE"), Outputs::None),
        Node::TruncateStmt(_) => (Kind::Other("TRUNCATE"), Outputs::None),
        _ => (Kind::Other("a statement of this kind"), Outputs::Open(Origin::Unknown)),
    }
}
