//! Walks queries and expressions: which relations they read, and whether all they run is known to change nothing.
//!
//! Every kind of node that PostgreSQL's raw grammar can put into a query is listed; one that is not listed is not
//! proven. Left-deep chains (`a || b || …`, `UNION`, joins) are loops, so that only real nesting costs stack.

use std::sync::Arc;

use foldhash::{HashSet, HashSetExt};
use model::{Action, Need, Object};
use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{
    A_Expr, FuncCall, JsonBehavior, JsonOutput, JsonValueExpr, OnConflictClause, RangeVar, ReturningClause,
    SelectStmt, SortBy, TypeName, WindowDef, WithClause,
};
use pg_raw_parse::raw::A_Expr_Kind;

use super::beneath::RelationName;
use super::builtin::{self, Builtin};
use super::catalogue::{Catalogue, Function, Kind, Proof, Relation};

/// Walks one statement after the other over one catalogue.
pub(super) struct Walk<'a> {
    pub(super) catalogue: &'a Catalogue,
    pub(super) depth_max: usize,
    depth: usize,
    /// Nested deeper than `depth_max`: what was found is incomplete.
    pub(super) too_deep: bool,
    /// Unqualified names mean `pg_catalog`, as in a definition that PostgreSQL printed under an empty search path.
    pinned: bool,
    /// The views and policies being proven, outermost first.
    proving: Vec<&'a Relation>,
    /// The common table expressions in scope, innermost last.
    scope: Vec<&'a str>,
    pub(super) needs: Vec<Need>,
    /// The same, once they are many.
    pub(super) seen: HashSet<Need>,
    /// Relations beneath views, and harmless functions of users: for the record.
    pub(super) reached: Vec<Box<str>>,
    /// A foreign table is read.
    pub(super) foreign: bool,
    /// Something runs that is not known to change nothing.
    pub(super) unproven: bool,
    /// Making a value of a type runs something that is not known to change nothing.
    pub(super) unproven_type: bool,
    /// The statement changes rows or objects by its own form.
    pub(super) writes: bool,
    /// The statement makes or changes objects.
    pub(super) defines: bool,
    /// `set_config` with constant arguments: name, value.
    pub(super) settings: Vec<(&'a str, &'a str)>,
    /// What is prepared or declared is followed too: how long the statement is.
    pub(super) follows: Option<usize>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(catalogue: &'a Catalogue, depth_max: usize) -> Walk<'a> {
        Walk {
            catalogue,
            depth_max,
            depth: 0,
            too_deep: false,
            pinned: false,
            proving: Vec::new(),
            scope: Vec::new(),
            needs: Vec::new(),
            seen: HashSet::new(),
            reached: Vec::new(),
            foreign: false,
            unproven: !catalogue.proves(),
            unproven_type: false,
            writes: false,
            defines: false,
            settings: Vec::new(),
            follows: None,
        }
    }

    /// Forgets what holds for one statement only.
    pub(super) fn next_statement(&mut self) {
        self.unproven = !self.catalogue.proves();
        self.unproven_type = false;
        self.writes = false;
        self.defines = false;
        self.scope.clear();
    }

    /// Runs `inner` one level deeper, unless that is too deep.
    fn nest(&mut self, inner: impl FnOnce(&mut Self)) {
        if self.depth >= self.depth_max {
            self.too_deep = true;
            return;
        }
        self.depth += 1;
        inner(self);
        self.depth -= 1;
    }

    pub(super) fn need(&mut self, action: Action, object: Object) {
        self.need_new(action, object);
    }

    /// Adds a need, and tells whether it is a new one.
    fn need_new(&mut self, action: Action, object: Object) -> bool {
        /// Up to here a search is cheaper than a hash; beyond it would make a hostile text cost the square of its length.
        const SEARCHED_MAX: usize = 32;
        let need = Need { action, object };
        let is_new = if self.needs.len() < SEARCHED_MAX {
            !self.needs.contains(&need)
        } else {
            if self.seen.len() < self.needs.len() {
                self.seen.extend(self.needs.iter().cloned());
            }
            self.seen.insert(need.clone())
        };
        if is_new {
            self.needs.push(need);
        }
        is_new
    }

    /// Adds the need to take data out in bulk: the relation copied, or every relation that the query copied reads or writes;
    /// the resource where it names none.
    pub(super) fn need_transfer(&mut self, copied: Option<&RangeVar>) {
        if let Some(range) = copied {
            return self.need_relation(Action::Transfer, range);
        }
        let reached = self.needs.iter().filter(|need| matches!(need.action, Action::Read | Action::Write));
        let relations = reached.filter(|need| matches!(need.object, Object::Relation { .. }));
        let mut relations: Vec<Object> = relations.map(|need| need.object.clone()).collect();
        if relations.is_empty() {
            relations.push(Object::Resource);
        }
        for relation in relations {
            self.need(Action::Transfer, relation);
        }
    }

    // ---- names ----

    /// Adds a need for every relation that `range` may mean, and for `?.name` if none is known.
    pub(super) fn need_relation(&mut self, action: Action, range: &RangeVar) {
        self.need_relation_named(action, range.schemaname(), range.relname().unwrap_or_default());
    }

    pub(super) fn need_relation_named(&mut self, action: Action, schema: Option<&str>, name: &str) {
        let catalogue = self.catalogue;
        let mut found = false;
        for relation in candidates(catalogue, schema, name) {
            found = true;
            self.need(action, relation.object());
        }
        if !found {
            self.need(action, unknown_relation(schema, name));
        }
    }

    /// A relation in a `FROM` clause.
    fn read_range(&mut self, range: &'a RangeVar) {
        let name = range.relname().unwrap_or_default();
        if range.schemaname().is_none() && self.scope.contains(&name) {
            return;
        }
        self.read_relation(range.schemaname(), name);
    }

    /// A relation that is read and cannot be a common table expression.
    pub(super) fn read_relation(&mut self, schema: Option<&str>, name: &str) {
        let catalogue = self.catalogue;
        let mut found = false;
        for relation in candidates(catalogue, schema, name) {
            found = true;
            let is_new = self.need_new(Action::Read, relation.object());
            self.prove_relation(relation, is_new);
        }
        // A temporary view that shadows a lasting relation is what its own session reads.
        for relation in catalogue.relations(name).iter().filter(|r| r.temporary && schema.is_none()) {
            self.prove_relation(relation, false);
        }
        if !found {
            self.need(Action::Read, unknown_relation(schema, name));
            self.unproven = true;
        }
    }

    /// Takes over what reading the relation amounts to; its name goes into the record when it is `new` there.
    fn prove_relation(&mut self, relation: &'a Relation, new: bool) {
        self.foreign |= relation.foreign;
        let Some(proof) = self.proof(relation) else {
            self.unproven |= relation.kind == Kind::View && !relation.builtin;
            return;
        };
        self.unproven |= !proof.proven;
        self.foreign |= proof.foreign;
        for name in proof.reached.iter().filter(|_| new) {
            reach(&mut self.reached, name);
        }
    }

    /// Returns what inspecting the relation's definition gives, if it has one.
    pub(super) fn proof(&mut self, relation: &'a Relation) -> Option<&'a Proof> {
        let definition = relation.definition.as_deref()?;
        Some(match relation.proof.get() {
            Some(proof) => proof,
            None => {
                let proof = self.prove_definition(relation, definition);
                relation.proof.get_or_init(|| proof)
            }
        })
    }

    fn prove_definition(&mut self, relation: &'a Relation, definition: &str) -> Proof {
        // A view that reads itself cannot exist; one that seems to is not proven.
        if self.proving.iter().any(|outer| std::ptr::eq(*outer, relation))
            || self.proving.len() >= self.depth_max / 4
        {
            return Proof::default();
        }
        let Ok(tree) = pg_raw_parse::parse(definition) else { return Proof::default() };
        let mut inner = Walk::new(self.catalogue, self.depth_max);
        inner.depth = self.depth.saturating_add(4);
        inner.pinned = true;
        inner.proving.clone_from(&self.proving);
        inner.proving.push(relation);
        let mut target = None;
        for statement in tree.stmts() {
            match statement {
                Node::SelectStmt(select) => {
                    target = only_relation(select);
                    inner.select(select);
                }
                _ => inner.unproven = true,
            }
        }
        let reads = inner.needs.iter().filter_map(|need| match &need.object {
            Object::Relation { schema, name } => Some((Arc::clone(schema), Arc::clone(name))),
            Object::Resource | Object::Function { .. } | Object::Class(_) => None,
        });
        let reads = reads.collect();
        let mut reached = inner.reached;
        for need in &inner.needs {
            reach(&mut reached, &need.object.to_string());
        }
        let proven = !(inner.unproven || inner.writes || inner.too_deep);
        Proof { proven, reached: reached.into(), foreign: inner.foreign, reads, target }
    }

    // ---- queries ----

    /// Brings names into scope. Looking one up is a search, so there is an end to it.
    fn bring(&mut self, names: impl Iterator<Item = &'a str>) {
        const SCOPE_MAX: usize = 500;
        self.scope.extend(names);
        self.too_deep |= self.scope.len() > SCOPE_MAX;
        self.scope.truncate(SCOPE_MAX);
    }

    /// Brings the common table expressions of `with` into scope, and walks them.
    pub(super) fn with(&mut self, with: Option<&'a WithClause>) {
        let Some(with) = with else { return };
        if with.recursive {
            self.bring(with.ctes().iter().filter_map(|cte| cte.ctename()));
        }
        for cte in with.ctes().iter() {
            let outer = self.scope.len();
            self.nest(|walk| walk.query(cte.ctequery()));
            self.scope.truncate(outer);
            if let Some(cycle) = cte.cycle_clause() {
                self.expr(cycle.cycle_mark_value());
                self.expr(cycle.cycle_mark_default());
                self.operator_named("=");
                self.operator_named("<>");
            }
            if !with.recursive {
                self.bring(cte.ctename().into_iter());
            }
        }
    }

    /// Runs `inner` and then drops the names it brought into scope.
    pub(super) fn scoped(&mut self, inner: impl FnOnce(&mut Self)) {
        let outer = self.scope.len();
        inner(self);
        self.scope.truncate(outer);
    }

    /// A statement that can stand in `WITH`, `COPY (…)`, `EXPLAIN` or `PREPARE`.
    pub(super) fn query(&mut self, node: Node<'a>) {
        match node {
            Node::SelectStmt(select) => self.select(select),
            Node::InsertStmt(insert) => self.insert(insert),
            Node::UpdateStmt(update) => self.update(update),
            Node::DeleteStmt(delete) => self.delete(delete),
            Node::MergeStmt(merge) => self.merge(merge),
            _ => self.unlisted(),
        }
    }

    /// A node that is not known to this module: as bad as can be.
    pub(super) fn unlisted(&mut self) {
        self.need(Action::Administer, Object::Resource);
        self.unproven = true;
        self.writes = true;
    }

    /// `SELECT`, `VALUES`, `TABLE` and set operations of them.
    pub(super) fn select(&mut self, select: &'a SelectStmt) {
        self.nest(|walk| {
            walk.scoped(|walk| {
                let mut select = select;
                loop {
                    walk.with(select.with_clause());
                    walk.select_tail(select);
                    let (Some(left), Some(right)) = (select.larg(), select.rarg()) else { break };
                    walk.comparison();
                    walk.select(right);
                    select = left;
                }
                walk.select_body(select);
            });
        });
    }

    /// What can follow a whole query expression.
    fn select_tail(&mut self, select: &'a SelectStmt) {
        for sort in select.sort_clause().iter() {
            self.sort(sort);
        }
        self.expr(select.limit_offset());
        self.expr(select.limit_count());
        if !select.locking_clause().is_empty() {
            self.writes = true;
            for clause in select.locking_clause().iter() {
                for item in select.from_clause() {
                    let names = clause.locked_rels();
                    self.lock(item, (!names.is_empty()).then_some(names));
                }
            }
        }
    }

    fn select_body(&mut self, select: &'a SelectStmt) {
        if let Some(into) = select.into_clause() {
            self.writes = true;
            self.defines = true;
            if let Some(range) = into.rel() {
                self.define_new(range);
            }
        }
        for target in select.target_list().iter() {
            self.expr(target.val());
        }
        for item in select.from_clause() {
            self.source(item);
        }
        self.expr(select.where_clause());
        if !select.distinct_clause().is_empty() {
            self.comparison();
            self.exprs(select.distinct_clause());
        }
        if !select.group_clause().is_empty() {
            self.comparison();
            self.exprs(select.group_clause());
        }
        self.expr(select.having_clause());
        self.exprs(select.window_clause());
        for row in select.values_lists() {
            self.expr(row);
        }
    }

    fn sort(&mut self, sort: &'a SortBy) {
        if sort.use_op().is_empty() {
            self.comparison();
        } else {
            self.operator(sort.use_op());
        }
        self.expr(sort.node());
    }

    /// The items of a `FROM` clause that `FOR UPDATE [OF names]` locks.
    fn lock(&mut self, item: Node<'a>, names: Option<&'a NodeList>) {
        let mut item = item;
        while let Node::JoinExpr(join) = item {
            self.nest(|walk| walk.lock(join.rarg(), names));
            item = join.larg();
        }
        let is_named = |alias: Option<&str>, name: Option<&str>| {
            names.is_none_or(|names| {
                names.iter().any(|node| match node {
                    Node::RangeVar(named) => named.relname() == alias.or(name),
                    _ => true,
                })
            })
        };
        match item {
            Node::RangeVar(range) => {
                let alias = range.alias().and_then(|a| a.aliasname());
                let name = range.relname();
                let is_cte = range.schemaname().is_none() && name.is_some_and(|n| self.scope.contains(&n));
                if !is_cte && is_named(alias, name) {
                    self.need_relation(Action::Write, range);
                }
            }
            Node::RangeSubselect(sub) if is_named(sub.alias().and_then(|a| a.aliasname()), None) => {
                self.nest(|walk| walk.lock_query(sub.subquery()));
            }
            Node::RangeTableSample(sample) => self.nest(|walk| walk.lock(sample.relation(), names)),
            _ => {}
        }
    }

    fn lock_query(&mut self, node: Node<'a>) {
        let Node::SelectStmt(select) = node else { return };
        for item in select.from_clause() {
            self.lock(item, None);
        }
    }

    // ---- FROM ----

    /// An item of a `FROM` clause.
    pub(super) fn source(&mut self, item: Node<'a>) {
        self.nest(|walk| {
            let mut item = item;
            while let Node::JoinExpr(join) = item {
                if join.is_natural || !join.using_clause().is_empty() {
                    walk.operator_named("=");
                }
                walk.expr(join.quals());
                walk.source(join.rarg());
                item = join.larg();
            }
            walk.source_leaf(item);
        });
    }

    fn source_leaf(&mut self, item: Node<'a>) {
        match item {
            Node::None => {}
            Node::RangeVar(range) => self.read_range(range),
            Node::RangeSubselect(sub) => self.query(sub.subquery()),
            Node::RangeFunction(function) => {
                // Each is a list of the call and its column definitions.
                self.exprs(function.functions());
                for column in function.coldeflist().iter() {
                    self.value_of(column.type_name());
                }
            }
            Node::RangeTableFunc(table) => {
                self.expr(table.docexpr());
                self.expr(table.rowexpr());
                self.exprs(table.namespaces());
                for column in table.columns().iter() {
                    self.value_of(column.type_name());
                    self.expr(column.colexpr());
                    self.expr(column.coldefexpr());
                }
            }
            Node::RangeTableSample(sample) => {
                self.source(sample.relation());
                match names(sample.method()) {
                    (None | Some("pg_catalog"), "bernoulli" | "system") => {}
                    (schema, name) => self.function(schema, name),
                }
                self.exprs(sample.args());
                self.expr(sample.repeatable());
            }
            Node::JsonTable(table) => {
                self.json_value(table.context_item());
                self.exprs(table.passing());
                for column in table.columns().iter() {
                    self.expr(Node::JsonTableColumn(column));
                }
                self.json_behavior(table.on_error());
            }
            _ => self.unlisted(),
        }
    }

    // ---- expressions ----

    pub(super) fn exprs(&mut self, list: &'a NodeList) {
        for node in list {
            self.expr(node);
        }
    }

    /// An expression, or any other node that can stand where one can.
    pub(super) fn expr(&mut self, node: Node<'a>) {
        // The commonest leaves, before anything is counted.
        match node {
            Node::None | Node::A_Const(_) | Node::ParamRef(_) => return,
            Node::ColumnRef(column) => return self.column(column.fields()),
            _ => {}
        }
        self.nest(|walk| {
            let mut next = node;
            while let Some(left) = walk.expr_step(next) {
                next = left;
            }
        });
    }

    /// Walks all of a node but its leftmost child, which is returned.
    fn expr_step(&mut self, node: Node<'a>) -> Option<Node<'a>> {
        match node {
            Node::A_Expr(expr) => Some(self.a_expr(expr)),
            Node::TypeCast(cast) => {
                self.value_of(cast.type_name());
                // A bare string becomes the type by the type's own input.
                if constant(cast.arg()).is_none() {
                    self.cast_to(cast.type_name());
                }
                Some(cast.arg())
            }
            Node::CollateClause(collate) => Some(collate.arg()),
            Node::NullTest(test) => Some(test.arg()),
            Node::BooleanTest(test) => Some(test.arg()),
            Node::A_Indirection(indirection) => {
                for step in indirection.indirection() {
                    self.step(step);
                }
                Some(indirection.arg())
            }
            Node::BoolExpr(expr) => self.rest(expr.args()),
            Node::FuncCall(call) => {
                self.call(call);
                None
            }
            Node::ColumnRef(column) => {
                self.column(column.fields());
                None
            }
            Node::MergeSupportFunc(_) => {
                self.once_a_function("merge_action");
                None
            }
            Node::None
            | Node::A_Const(_)
            | Node::ParamRef(_)
            | Node::A_Star(_)
            | Node::SetToDefault(_)
            | Node::CurrentOfExpr(_)
            | Node::SQLValueFunction(_)
            | Node::String(_)
            | Node::Integer(_)
            | Node::Float(_)
            | Node::Boolean(_)
            | Node::BitString(_) => None,
            _ => {
                self.expr_rare(node);
                None
            }
        }
    }

    /// Walks all but the first of a list, which is returned.
    fn rest(&mut self, list: &'a NodeList) -> Option<Node<'a>> {
        for node in list.iter().skip(1) {
            self.expr(node);
        }
        list.first()
    }

    fn expr_rare(&mut self, node: Node<'a>) {
        match node {
            Node::NodeList(list) => self.exprs(list),
            Node::SubLink(link) => {
                if !is_absent(link.testexpr()) {
                    if link.oper_name().is_empty() {
                        self.operator_named("=");
                    } else {
                        self.operator(link.oper_name());
                    }
                }
                self.expr(link.testexpr());
                self.query(link.subselect());
            }
            Node::CaseExpr(case) => {
                if !is_absent(case.arg()) {
                    self.operator_named("=");
                }
                self.expr(case.arg());
                self.exprs(case.args());
                self.expr(case.defresult());
            }
            Node::CaseWhen(when) => {
                self.expr(when.expr());
                self.expr(when.result());
            }
            Node::CoalesceExpr(expr) => self.exprs(expr.args()),
            Node::MinMaxExpr(expr) => {
                self.comparison();
                self.exprs(expr.args());
            }
            Node::RowExpr(row) => self.exprs(row.args()),
            Node::A_ArrayExpr(array) => self.exprs(array.elements()),
            Node::A_Indices(_) => self.step(node),
            Node::NamedArgExpr(arg) => self.expr(arg.arg()),
            Node::MultiAssignRef(assign) => self.expr(assign.source()),
            Node::ResTarget(target) => {
                for step in target.indirection() {
                    self.step(step);
                }
                self.expr(target.val());
            }
            Node::GroupingFunc(grouping) => self.exprs(grouping.args()),
            Node::GroupingSet(set) => self.exprs(set.content()),
            Node::WindowDef(window) => self.window(window),
            Node::SortBy(sort) => self.sort(sort),
            Node::XmlExpr(xml) => {
                self.exprs(xml.named_args());
                self.exprs(xml.args());
            }
            Node::XmlSerialize(xml) => {
                self.expr(xml.expr());
                self.value_of(xml.type_name());
            }
            Node::ColumnDef(column) => self.value_of(column.type_name()),
            _ => self.expr_json(node),
        }
    }

    fn expr_json(&mut self, node: Node<'a>) {
        match node {
            Node::JsonValueExpr(value) => self.json_value(Some(value)),
            Node::JsonArgument(argument) => self.json_value(argument.val()),
            Node::JsonKeyValue(pair) => {
                self.expr(pair.key());
                self.json_value(pair.value());
            }
            Node::JsonIsPredicate(test) => self.expr(test.expr()),
            Node::JsonBehavior(behavior) => self.json_behavior(Some(behavior)),
            Node::JsonParseExpr(parse) => {
                self.once_a_function("json");
                self.json_value(parse.expr());
                self.json_output(parse.output());
            }
            Node::JsonScalarExpr(scalar) => {
                self.once_a_function("json_scalar");
                self.expr(scalar.expr());
                self.json_output(scalar.output());
            }
            Node::JsonSerializeExpr(serialize) => {
                self.once_a_function("json_serialize");
                self.json_value(serialize.expr());
                self.json_output(serialize.output());
            }
            Node::JsonFuncExpr(function) => {
                for name in ["json_exists", "json_query", "json_value"] {
                    self.once_a_function(name);
                }
                self.json_value(function.context_item());
                self.expr(function.pathspec());
                self.exprs(function.passing());
                self.json_output(function.output());
                self.json_behavior(function.on_empty());
                self.json_behavior(function.on_error());
            }
            Node::JsonTableColumn(column) => {
                self.value_of(column.type_name());
                self.exprs(column.columns());
                self.json_behavior(column.on_empty());
                self.json_behavior(column.on_error());
            }
            _ => self.expr_json_constructor(node),
        }
    }

    fn expr_json_constructor(&mut self, node: Node<'a>) {
        match node {
            Node::JsonObjectConstructor(object) => {
                self.once_a_function("json_object");
                for pair in object.exprs().iter() {
                    self.expr(Node::JsonKeyValue(pair));
                }
                self.json_output(object.output());
            }
            Node::JsonArrayConstructor(array) => {
                self.once_a_function("json_array");
                for value in array.exprs().iter() {
                    self.json_value(Some(value));
                }
                self.json_output(array.output());
            }
            Node::JsonArrayQueryConstructor(array) => {
                self.query(array.query());
                self.json_output(array.output());
            }
            Node::JsonObjectAgg(object) => {
                self.once_a_function("json_objectagg");
                if let Some(pair) = object.arg() {
                    self.expr(Node::JsonKeyValue(pair));
                }
                self.json_aggregate(object.constructor());
            }
            Node::JsonArrayAgg(array) => {
                self.once_a_function("json_arrayagg");
                self.json_value(array.arg());
                self.json_aggregate(array.constructor());
            }
            _ => self.unlisted(),
        }
    }

    fn json_aggregate(&mut self, aggregate: Option<&'a pg_raw_parse::nodes::JsonAggConstructor>) {
        let Some(aggregate) = aggregate else { return };
        self.json_output(aggregate.output());
        self.expr(aggregate.agg_filter());
        self.exprs(aggregate.agg_order());
        if let Some(window) = aggregate.over() {
            self.window(window);
        }
    }

    fn json_value(&mut self, value: Option<&'a JsonValueExpr>) {
        if let Some(value) = value {
            self.expr(value.raw_expr());
            self.expr(value.formatted_expr());
        }
    }

    fn json_output(&mut self, output: Option<&'a JsonOutput>) {
        if let Some(output) = output {
            self.value_of(output.type_name());
            self.cast_to(output.type_name());
        }
    }

    fn json_behavior(&mut self, behavior: Option<&'a JsonBehavior>) {
        if let Some(behavior) = behavior {
            self.expr(behavior.expr());
        }
    }

    fn window(&mut self, window: &'a WindowDef) {
        if !window.partition_clause().is_empty() {
            self.comparison();
            self.exprs(window.partition_clause());
        }
        for sort in window.order_clause().iter() {
            self.sort(sort);
        }
        self.expr(window.start_offset());
        self.expr(window.end_offset());
    }

    /// Walks an operator expression but for its left side, which is returned (the right side where there is no left).
    fn a_expr(&mut self, expr: &'a A_Expr) -> Node<'a> {
        use A_Expr_Kind as K;
        match expr.kind {
            K::AEXPR_BETWEEN | K::AEXPR_NOT_BETWEEN | K::AEXPR_BETWEEN_SYM | K::AEXPR_NOT_BETWEEN_SYM => {
                for symbol in ["<", "<=", ">", ">="] {
                    self.operator_named(symbol);
                }
            }
            _ => self.operator(expr.name()),
        }
        if is_absent(expr.lexpr()) {
            return expr.rexpr();
        }
        self.expr(expr.rexpr());
        expr.lexpr()
    }

    // ---- what runs code ----

    /// A call of a function, with all that can stand in one.
    pub(super) fn call(&mut self, call: &'a FuncCall) {
        let (schema, name) = names(call.funcname());
        match self.set_config(schema, name, call.args()) {
            Some(setting) => self.settings.push(setting),
            None => self.function(schema, name),
        }
        self.exprs(call.args());
        for sort in call.agg_order().iter() {
            self.sort(sort);
        }
        if call.agg_distinct {
            self.comparison();
        }
        self.expr(call.agg_filter());
        if let Some(window) = call.over() {
            self.window(window);
        }
    }

    /// Returns name and value of `set_config('…', '…', …)` where it does what a harmless `SET` does.
    fn set_config(&self, schema: Option<&str>, name: &str, args: &'a NodeList) -> Option<(&'a str, &'a str)> {
        let is_builtin =
            schema == Some("pg_catalog") || (schema.is_none() && self.catalogue.functions(name).is_empty());
        if name != "set_config" || !is_builtin {
            return None;
        }
        let setting = constant(args.first()?)?;
        let value = constant(args.get(1)?)?;
        is_own_setting(setting, Some(value)).then_some((setting, value))
    }

    /// A function by name: proven, or to be permitted.
    pub(super) fn function(&mut self, schema: Option<&str>, name: &str) {
        let catalogue = self.catalogue;
        let schema = if self.pinned { schema.or(Some("pg_catalog")) } else { schema };
        let mut known = false;
        for function in functions(catalogue, schema, name) {
            known = true;
            self.user_function(function);
        }
        if matches!(schema, None | Some("pg_catalog")) {
            match builtin::function(name) {
                Builtin::Harmless => known = true,
                Builtin::Other => {
                    known = true;
                    self.need_function("pg_catalog", name);
                }
                Builtin::Unknown => {}
            }
            let runs_type = builtin::runs_type_input(name) && !catalogue.all_types_plain();
            self.unproven |= runs_type;
            if catalogue.is_cast_target(name) {
                self.need_function("?", name);
            }
        }
        known |= schema == Some("information_schema") && name.starts_with("_pg_");
        if !known {
            self.need_function(schema.unwrap_or("?"), name);
        }
    }

    fn user_function(&mut self, function: &Function) {
        if function.harmless {
            reach(&mut self.reached, &format!("{}.{}()", function.schema, function.name));
        } else {
            let (schema, name) = (Arc::clone(&function.schema), Arc::clone(&function.name));
            self.need(Action::Execute, Object::Function { schema, name });
            self.unproven = true;
        }
    }

    /// A function that is not known to change nothing.
    pub(super) fn need_function(&mut self, schema: &str, name: &str) {
        self.need(Action::Execute, Object::Function { schema: Arc::from(schema), name: Arc::from(name) });
        self.unproven = true;
    }

    /// Syntax of a newer PostgreSQL that an older one reads as a call of a function, which may be a user's.
    fn once_a_function(&mut self, name: &str) {
        let catalogue = self.catalogue;
        for function in catalogue.functions(name) {
            self.user_function(function);
        }
    }

    /// A column reference: its last name may be a function of a row.
    fn column(&mut self, fields: &'a NodeList) {
        if fields.len() > 1 {
            for field in fields.iter().skip(1) {
                self.step(field);
            }
        }
    }

    /// A field or subscript.
    fn step(&mut self, step: Node<'a>) {
        match step {
            Node::String(name) => {
                let name = name.sval().unwrap_or_default();
                let catalogue = self.catalogue;
                for function in catalogue.functions(name).iter().filter(|f| f.as_column) {
                    self.user_function(function);
                }
                if catalogue.is_cast_target(name) {
                    self.need_function("?", name);
                }
            }
            Node::A_Indices(indices) => {
                self.expr(indices.lidx());
                self.expr(indices.uidx());
            }
            Node::A_Star(_) => {}
            _ => self.unlisted(),
        }
    }

    /// An operator as written: `=` or `OPERATOR(schema.=)`.
    fn operator(&mut self, name: &'a NodeList) {
        match names(name) {
            (Some("pg_catalog"), _) => {}
            (_, symbol) if !self.pinned || name.len() > 1 => self.operator_named(symbol),
            _ => {}
        }
    }

    /// An operator that the grammar implies.
    fn operator_named(&mut self, symbol: &str) {
        let catalogue = self.catalogue;
        for (schema, name) in catalogue.operators(symbol) {
            self.need(
                Action::Execute,
                Object::Function { schema: Arc::clone(schema), name: Arc::clone(name) },
            );
            self.unproven = true;
        }
    }

    /// Sorting, grouping and telling apart, which go by operator classes. Those are a superuser's to make, and the
    /// catalogue proves nothing while one runs code that is not known.
    fn comparison(&mut self) {
        self.unproven |= !self.catalogue.proves();
    }

    pub(super) fn type_name(&mut self, name: Option<&'a TypeName>) {
        let Some(name) = name else { return };
        let mut parts = name.names().iter().rev();
        let base = parts.next().and_then(|part| part.sval()).unwrap_or_default();
        let schema = parts.next().and_then(|part| part.sval());
        let schema = if self.pinned { schema.or(Some("pg_catalog")) } else { schema };
        // `%TYPE` is not looked up.
        if name.pct_type || !(base == "record" || self.catalogue.is_plain_type(schema, base)) {
            self.unproven = true;
            self.unproven_type = true;
        }
        self.exprs(name.typmods());
    }

    /// A value of unknown type becomes one of the named type.
    fn cast_to(&mut self, name: Option<&'a TypeName>) {
        let base = name.and_then(|name| name.names().iter().next_back()).and_then(|part| part.sval());
        if let Some(base) = base.filter(|base| self.catalogue.is_cast_target(base)) {
            self.need_function("?", base);
        }
    }

    /// A value of the named type is made: what checks or casts it may be code of a user, and needs the right to run it.
    pub(super) fn value_of(&mut self, name: Option<&'a TypeName>) {
        let before = std::mem::replace(&mut self.unproven_type, false);
        self.type_name(name);
        let base = name.and_then(|name| name.names().iter().next_back()).and_then(|part| part.sval());
        let base = base.unwrap_or_default();
        if self.catalogue.proves_types() && (self.unproven_type || self.catalogue.is_cast_source(base)) {
            self.need_function("?", base);
        }
        self.unproven_type |= before;
    }

    // ---- what changes rows ----

    fn insert(&mut self, insert: &'a pg_raw_parse::nodes::InsertStmt) {
        self.scoped(|walk| {
            walk.writes = true;
            walk.with(insert.with_clause());
            let conflict = insert.on_conflict_clause();
            if let Some(target) = insert.relation() {
                walk.need_relation(Action::Write, target);
                if insert.returning_clause().is_some()
                    || conflict.is_some_and(|c| !c.target_list().is_empty())
                {
                    walk.need_relation(Action::Read, target);
                }
            }
            walk.exprs(insert.cols());
            if !is_absent(insert.select_stmt()) {
                walk.query(insert.select_stmt());
            }
            walk.conflict(conflict);
            walk.returning(insert.returning_clause());
        });
    }

    fn conflict(&mut self, clause: Option<&'a OnConflictClause>) {
        let Some(clause) = clause else { return };
        if let Some(infer) = clause.infer() {
            for element in infer.index_elems() {
                match element {
                    Node::IndexElem(element) => self.expr(element.expr()),
                    _ => self.unlisted(),
                }
            }
            self.expr(infer.where_clause());
        }
        for target in clause.target_list().iter() {
            self.expr(Node::ResTarget(target));
        }
        self.expr(clause.where_clause());
    }

    fn update(&mut self, update: &'a pg_raw_parse::nodes::UpdateStmt) {
        self.scoped(|walk| {
            walk.writes = true;
            walk.with(update.with_clause());
            let mut computed = false;
            for target in update.target_list().iter() {
                computed |=
                    !matches!(target.val(), Node::A_Const(_) | Node::ParamRef(_) | Node::SetToDefault(_));
                walk.expr(Node::ResTarget(target));
            }
            if let Some(target) = update.relation() {
                walk.need_relation(Action::Write, target);
                let filtered = !is_absent(update.where_clause()) || !update.from_clause().is_empty();
                if filtered || computed || update.returning_clause().is_some() {
                    walk.need_relation(Action::Read, target);
                }
            }
            for item in update.from_clause() {
                walk.source(item);
            }
            walk.expr(update.where_clause());
            walk.returning(update.returning_clause());
        });
    }

    fn delete(&mut self, delete: &'a pg_raw_parse::nodes::DeleteStmt) {
        self.scoped(|walk| {
            walk.writes = true;
            walk.with(delete.with_clause());
            if let Some(target) = delete.relation() {
                walk.need_relation(Action::Write, target);
                let filtered = !is_absent(delete.where_clause()) || !delete.using_clause().is_empty();
                if filtered || delete.returning_clause().is_some() {
                    walk.need_relation(Action::Read, target);
                }
            }
            for item in delete.using_clause() {
                walk.source(item);
            }
            walk.expr(delete.where_clause());
            walk.returning(delete.returning_clause());
        });
    }

    fn merge(&mut self, merge: &'a pg_raw_parse::nodes::MergeStmt) {
        self.scoped(|walk| {
            walk.writes = true;
            walk.with(merge.with_clause());
            if let Some(target) = merge.relation() {
                walk.need_relation(Action::Write, target);
                walk.need_relation(Action::Read, target);
            }
            walk.source(merge.source_relation());
            walk.expr(merge.join_condition());
            for when in merge.merge_when_clauses().iter() {
                walk.expr(when.condition());
                walk.exprs(when.target_list());
                walk.exprs(when.values());
            }
            walk.returning(merge.returning_clause());
        });
    }

    fn returning(&mut self, clause: Option<&'a ReturningClause>) {
        if let Some(clause) = clause {
            self.exprs(clause.exprs());
        }
    }

    /// A relation that is about to be made.
    pub(super) fn define_new(&mut self, range: &RangeVar) {
        const TEMPORARY: u8 = b't';
        let is_temporary = u8::try_from(range.relpersistence) == Ok(TEMPORARY);
        let schema = range.schemaname().or(is_temporary.then_some("pg_temp"));
        self.need(Action::Define, unknown_relation(schema, range.relname().unwrap_or_default()));
    }
}

impl Relation {
    /// Returns the relation as a policy names it: temporary schemas are all `pg_temp`.
    fn object(&self) -> Object {
        let schema = if self.temporary { Arc::from("pg_temp") } else { Arc::clone(&self.schema) };
        Object::Relation { schema, name: Arc::clone(&self.name) }
    }
}

/// Returns the relation that a query takes its rows from, if there is only one and it is named with its schema.
fn only_relation(select: &SelectStmt) -> Option<RelationName> {
    if select.larg().is_some() || select.from_clause().len() != 1 {
        return None;
    }
    match select.from_clause().first()? {
        Node::RangeVar(range) => Some((Arc::from(range.schemaname()?), Arc::from(range.relname()?))),
        _ => None,
    }
}

/// Returns the relations that a name may mean. A temporary one is meant only where nothing else is: to everybody but
/// its own session it does not exist, and that session was permitted to make it.
pub(super) fn candidates<'c>(
    catalogue: &'c Catalogue,
    schema: Option<&str>,
    name: &str,
) -> impl Iterator<Item = &'c Relation> + use<'c> {
    let all = catalogue.relations(name);
    let schema: Option<Box<str>> = schema.map(Box::from);
    let has_lasting = all.iter().any(|relation| !relation.temporary);
    all.iter().filter(move |relation| match schema.as_deref() {
        None => !(relation.temporary && has_lasting),
        Some("pg_temp") => relation.temporary,
        Some(schema) => *relation.schema == *schema,
    })
}

pub(super) fn functions<'c>(
    catalogue: &'c Catalogue,
    schema: Option<&str>,
    name: &str,
) -> impl Iterator<Item = &'c Function> + use<'c> {
    let schema: Option<Box<str>> = schema.map(Box::from);
    catalogue
        .functions(name)
        .iter()
        .filter(move |f| schema.as_deref().is_none_or(|schema| *f.schema == *schema))
}

pub(super) fn unknown_relation(schema: Option<&str>, name: &str) -> Object {
    Object::Relation { schema: Arc::from(schema.unwrap_or("?")), name: Arc::from(name) }
}

/// Tells whether an optional child is not there.
pub(super) fn is_absent(node: Node<'_>) -> bool {
    matches!(node, Node::None)
}

/// Splits a possibly qualified name into schema and name.
pub(super) fn names(list: &NodeList) -> (Option<&str>, &str) {
    let mut parts = list.iter().rev().map(|part| part.as_str().unwrap_or_default());
    let name = parts.next().unwrap_or_default();
    (parts.next(), name)
}

/// Returns the text of a string constant, also where it is cast.
pub(super) fn constant(node: Node<'_>) -> Option<&str> {
    match node {
        Node::A_Const(value) => match value.val()? {
            pg_raw_parse::ConstValue::String(text) => Some(text),
            _ => None,
        },
        Node::TypeCast(cast) => match cast.arg() {
            Node::A_Const(_) => constant(cast.arg()),
            _ => None,
        },
        _ => None,
    }
}

/// Tells whether anybody may give the setting that value for their own session. Settings that change how the text of
/// a statement is read may only be given the value this module assumes.
pub(super) fn is_own_setting(name: &str, value: Option<&str>) -> bool {
    let lower = name.to_ascii_lowercase();
    let value = value.unwrap_or_default();
    match lower.as_str() {
        "client_encoding" | "names" => {
            ["utf8", "utf-8", "unicode", "sql_ascii"].iter().any(|known| value.eq_ignore_ascii_case(known))
        }
        "standard_conforming_strings" => {
            ["on", "true", "yes", "1"].iter().any(|on| value.eq_ignore_ascii_case(on))
        }
        _ => builtin::is_own_setting(&lower),
    }
}

fn reach(reached: &mut Vec<Box<str>>, name: &str) {
    if !reached.iter().any(|known| **known == *name) {
        reached.push(Box::from(name));
    }
}
