//! Expressions: what a value comes from, and what a condition depends on.

use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{A_Expr, FuncCall, SubLink, TypeName, WindowDef};
use pg_raw_parse::raw::{A_Expr_Kind, BoolExprType, SubLinkType};
use pg_raw_parse::{ConstValue, Node};

use super::super::builtin::{self, Builtin};
use super::super::walk::{constant, functions, is_absent, is_own_setting, names};
use super::{Follow, Operand, Origin, Use};

/// Built-in functions that give a value whatever they are given, without more rows or fewer.
const TOTAL_FUNCTIONS: [&str; 35] = [
    "bit_length",
    "bool_and",
    "bool_or",
    "btrim",
    "cardinality",
    "char_length",
    "character_length",
    "concat",
    "concat_ws",
    "count",
    "dense_rank",
    "every",
    "first_value",
    "initcap",
    "lag",
    "last_value",
    "lead",
    "length",
    "lower",
    "ltrim",
    "max",
    "md5",
    "min",
    "num_nonnulls",
    "num_nulls",
    "octet_length",
    "quote_ident",
    "quote_literal",
    "quote_nullable",
    "rank",
    "replace",
    "reverse",
    "row_number",
    "rtrim",
    "upper",
];

/// Those of them whose values are as long as all that they are given: too long a value is an error. (What gathers rows, or
/// makes documents, is not total in the first place.)
const GROWING_FUNCTIONS: [&str; 5] =
    ["concat", "concat_ws", "quote_ident", "quote_literal", "quote_nullable"];
/// Those of them whose value is at most about as long as the one they are given.
const KEEPING_FUNCTIONS: [&str; 8] =
    ["btrim", "initcap", "lower", "ltrim", "md5", "reverse", "rtrim", "upper"];
/// What is put together from at most so many stored values, constants and parameters is not too long: a message that brings
/// them is bounded, and so is what somebody would store.
const PARTS_MAX: usize = 32;
/// The most items of a list that are taken for as many comparisons.
const LIST_MAX: usize = 1 << 10;

/// Those of them that give one of the values they are given.
const PASSING_FUNCTIONS: [&str; 6] = ["first_value", "lag", "last_value", "lead", "max", "min"];

/// Those of them that compute what they are given for another row, if there is one: which, their other arguments say.
const PICKING_FUNCTIONS: [&str; 2] = ["lag", "lead"];

/// Built-in types that are neither arrays nor records, nor domains over such.
const FLAT_TYPES: [&str; 25] = [
    "bit",
    "bool",
    "bpchar",
    "bytea",
    "char",
    "cidr",
    "date",
    "float4",
    "float8",
    "inet",
    "int2",
    "int4",
    "int8",
    "interval",
    "json",
    "jsonb",
    "name",
    "numeric",
    "text",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "uuid",
    "varchar",
];

/// Harmless functions of PostgreSQL that show what others do or what the planner gathered of values.
const REVEALING_PREFIXES: [&str; 5] = [
    "pg_stat_get_backend",
    "pg_stat_get_activity",
    "pg_stat_get_wal",
    "pg_mcv_list",
    "pg_sequence_last_value",
];

impl<'a> Follow<'a> {
    /// Returns what a value comes from; what is done besides on the way is noted.
    pub(super) fn value(&mut self, node: Node<'a>) -> Origin {
        match node {
            Node::None | Node::A_Const(_) | Node::SQLValueFunction(_) => Origin::Clean,
            // Its type is the client's choice.
            Node::ParamRef(_) => Origin::Clean.shaped(),
            Node::ColumnRef(_) if !self.afford(1) => Origin::Unknown,
            Node::ColumnRef(column) => {
                let origin = self.column(column.fields());
                self.tells(origin)
            }
            _ => self.nest(Origin::Unknown, |follow| follow.computed(node)),
        }
    }

    fn values(&mut self, list: &'a NodeList) -> Origin {
        Origin::all(list.iter().map(|node| self.value(node)))
    }

    /// Does the same, and tells whether putting the values together may fail by their shapes: one alone that depends on
    /// columns is enough, as in the literals beside it no column shows.
    fn values_of_shapes(&mut self, list: &'a NodeList) -> (Origin, bool) {
        let origins: Vec<Origin> = list.iter().map(|node| self.value(node)).collect();
        let shaped = origins.iter().any(Origin::is_shaped);
        (Origin::all(origins), shaped)
    }

    fn computed(&mut self, node: Node<'a>) -> Origin {
        match node {
            Node::A_Expr(expr) => self.operator(expr),
            Node::FuncCall(call) => self.call(call),
            Node::TypeCast(cast) => {
                let total = is_text(cast.type_name());
                self.cast(cast.type_name());
                let origin = self.value(cast.arg());
                // A literal becomes a value before anything runs. A parameter may be of another type, and become one late.
                let given = matches!(cast.arg(), Node::ParamRef(_));
                self.risky |= given && !total;
                let total = total || given || becomes_at_once(cast.arg(), cast.type_name());
                let origin = self.step(origin, total);
                if is_flat(cast.type_name()) { origin.flat() } else { origin.shaped() }
            }
            Node::CollateClause(collate) => self.value(collate.arg()).computed(true),
            Node::NullTest(test) => self.value(test.arg()).computed(true).flat(),
            Node::BooleanTest(test) => self.value(test.arg()).computed(true).flat(),
            Node::BoolExpr(expr) => self.lazily(|follow| follow.values(expr.args())).flat(),
            Node::SubLink(link) => self.subquery(link),
            Node::CaseExpr(case) => {
                self.builtin_operator("=");
                self.lazily(|follow| {
                    let arms = follow.values(case.args());
                    let compared = follow.value(case.arg());
                    // The arms may be what it is compared with.
                    let fails = compared.is_shaped() || (!is_absent(case.arg()) && arms.is_shaped());
                    let all = compared.and(arms).and(follow.value(case.defresult()));
                    follow.step(all, !fails)
                })
            }
            Node::CaseWhen(when) => self.value(when.expr()).and(self.value(when.result())),
            Node::CoalesceExpr(expr) => self.lazily(|follow| follow.values(expr.args())),
            Node::MinMaxExpr(expr) => {
                let (origin, fails) = self.values_of_shapes(expr.args());
                self.step(origin, !fails)
            }
            Node::RowExpr(row) => {
                let origin = self.values(row.args());
                let grows = self.grows(row.args().iter());
                self.step(origin, !grows).shaped()
            }
            Node::A_ArrayExpr(array) => {
                let (origin, shaped) = self.values_of_shapes(array.elements());
                self.risky |= origin.may_be_shaped();
                let fails = shaped || self.of_arrays(&origin) || self.grows(array.elements().iter());
                self.step(origin, !fails).shaped()
            }
            Node::NodeList(list) => self.values(list),
            Node::NamedArgExpr(argument) => self.value(argument.arg()),
            Node::A_Indirection(indirection) => {
                let mut origin = self.value(indirection.arg());
                for step in indirection.indirection() {
                    if let Node::A_Indices(indices) = step {
                        origin = origin.and(self.value(indices.lidx())).and(self.value(indices.uidx()));
                    }
                }
                // A field of a row may be a function of it.
                let named = indirection.indirection().iter().filter_map(|step| step.as_str());
                let is_function = named.into_iter().any(|name| !self.catalogue.functions(name).is_empty());
                if is_function { self.unknown() } else { self.step(origin, false) }
            }
            Node::GroupingFunc(grouping) => self.values(grouping.args()).computed(true),
            Node::SetToDefault(_) => Origin::Clean,
            Node::MultiAssignRef(assign) => self.value(assign.source()).computed(true),
            _ => self.json(node),
        }
    }

    fn json(&mut self, node: Node<'a>) -> Origin {
        match node {
            // Before PostgreSQL 16 these are functions, which somebody may have made.
            Node::JsonObjectConstructor(_) if self.is_users("json_object") => self.unknown(),
            Node::JsonArrayConstructor(_) if self.is_users("json_array") => self.unknown(),
            Node::JsonObjectConstructor(object) => {
                let pairs = object.exprs().iter().map(|pair| {
                    let value = pair.value().map_or(Origin::Clean, |value| self.value(value.raw_expr()));
                    self.value(pair.key()).and(value)
                });
                let pairs = Origin::all(pairs);
                self.step(pairs, false)
            }
            Node::JsonArrayConstructor(array) => {
                let values = array.exprs().iter().map(|value| self.value(value.raw_expr()));
                let values = Origin::all(values);
                self.step(values, false)
            }
            Node::JsonIsPredicate(test) => self.value(test.expr()).computed(true),
            // What else the grammar has is not followed: XML, SQL/JSON queries, MERGE's own function, WHERE CURRENT OF.
            _ => self.unknown(),
        }
    }

    fn is_users(&self, function: &str) -> bool {
        !self.catalogue.functions(function).is_empty()
    }

    // ---- operators and functions ----

    fn operator(&mut self, expr: &'a A_Expr) -> Origin {
        if is_lazy(expr) { self.lazily(|follow| follow.operators(expr)) } else { self.operators(expr) }
    }

    fn operators(&mut self, expr: &'a A_Expr) -> Origin {
        // `a || b || c …` leans to the left: it is a loop, so that only real nesting costs stack.
        let mut parts = Vec::new();
        let mut next = expr;
        loop {
            let (right, total) = (self.value(next.rexpr()), self.is_total(next));
            parts.push(self.step(right, total));
            let Node::A_Expr(left) = next.lexpr() else { break };
            if is_lazy(left) {
                break;
            }
            next = left;
        }
        parts.push(self.value(next.lexpr()));
        let shaped = parts.iter().any(Origin::is_shaped);
        // Parameters may be arrays, of whatever shapes; what they are put together to fails where it is computed.
        let of_any_shape = parts.iter().filter(|part| part.may_be_shaped()).count();
        self.risky |= of_any_shape > usize::from(names(expr.name()).1 != "||");
        let mut origin = Origin::all(parts);
        let mut next = expr;
        loop {
            // Arrays of different shapes cannot be put together, records of different shapes not be compared.
            let joins = names(next.name()).1 == "||";
            let odd = if joins { self.joins_oddly(&origin) } else { self.compares_oddly(&origin) };
            let fails = shaped || odd;
            if fails || !self.is_total(next) {
                origin = self.step(origin, false);
                break;
            }
            let Node::A_Expr(left) = next.lexpr() else { break };
            if is_lazy(left) {
                break;
            }
            next = left;
        }
        if names(expr.name()).1 == "||" {
            let (mut chain, mut left) = (vec![expr.rexpr()], expr.lexpr());
            while let Node::A_Expr(inner) = left {
                chain.push(inner.rexpr());
                left = inner.lexpr();
            }
            chain.push(left);
            if self.grows(chain.into_iter()) {
                origin = self.step(origin, false);
            }
        }
        let passes = names(expr.name()).1 == "||" || expr.kind == A_Expr_Kind::AEXPR_NULLIF;
        let origin = origin.computed(true);
        if passes { origin } else { origin.flat() }
    }

    /// Tells whether what is put together from these may be too long for a value: not where they are few, and none is put
    /// together itself.
    fn grows(&mut self, parts: impl Iterator<Item = Node<'a>>) -> bool {
        let mut count = 0;
        let mut short = true;
        for part in parts {
            count += 1;
            short &= self.is_short(part);
        }
        !short || count > PARTS_MAX
    }

    /// Tells whether a value is one that is stored or given, or no longer than such.
    fn is_short(&mut self, part: Node<'a>) -> bool {
        match part {
            Node::ColumnRef(column) => matches!(self.column(column.fields()), Origin::Column(_)),
            Node::CollateClause(collate) => self.is_short(collate.arg()),
            Node::TypeCast(cast) if is_text(cast.type_name()) => self.is_short(cast.arg()),
            Node::CoalesceExpr(expr) => {
                self.nest(false, |follow| expr.args().iter().all(|argument| follow.is_short(argument)))
            }
            Node::CaseExpr(case) => self.nest(false, |follow| {
                let mut results = case.args().iter().map(|arm| match arm {
                    Node::CaseWhen(when) => when.result(),
                    other => other,
                });
                results.all(|result| follow.is_short(result)) && follow.is_short(case.defresult())
            }),
            Node::A_Expr(expr) if expr.kind == A_Expr_Kind::AEXPR_NULLIF => {
                self.nest(false, |follow| follow.is_short(expr.lexpr()))
            }
            Node::FuncCall(call) if KEEPING_FUNCTIONS.contains(&names(call.funcname()).1) => {
                self.nest(false, |follow| call.args().iter().all(|argument| follow.is_short(argument)))
            }
            other => is_absent(other) || matches!(other, Node::A_Const(_)) || operand(other).is_some(),
        }
    }

    /// Tells whether it comes from a column whose type joins values in a way that may fail: arrays by their shapes, search
    /// vectors by their length, documents by their kind.
    fn joins_oddly(&self, origin: &Origin) -> bool {
        origin.columns().iter().any(|column| self.catalogue.joins_oddly(*column))
    }

    /// Tells whether it comes from a column of a type of users: a record, which another is not always comparable with.
    fn compares_oddly(&self, origin: &Origin) -> bool {
        origin.columns().iter().any(|column| self.catalogue.is_of_users_type(*column))
    }

    /// Tells whether it may be an array because a column that it comes from is.
    fn of_arrays(&self, origin: &Origin) -> bool {
        origin.columns().iter().any(|column| self.catalogue.is_array(*column))
    }

    /// Tells whether the operator is PostgreSQL's own and gives a value whatever it is given.
    fn is_total(&mut self, expr: &A_Expr) -> bool {
        use A_Expr_Kind as K;
        let (schema, symbol) = names(expr.name());
        if schema != Some("pg_catalog") {
            self.builtin_operator(symbol);
        }
        match expr.kind {
            K::AEXPR_BETWEEN | K::AEXPR_NOT_BETWEEN | K::AEXPR_BETWEEN_SYM | K::AEXPR_NOT_BETWEEN_SYM => {
                ["<", "<=", ">", ">="].into_iter().for_each(|symbol| self.builtin_operator(symbol));
                true
            }
            K::AEXPR_OP | K::AEXPR_OP_ANY | K::AEXPR_OP_ALL => {
                matches!(symbol, "=" | "<>" | "!=" | "<" | ">" | "<=" | ">=" | "||")
            }
            K::AEXPR_DISTINCT | K::AEXPR_NOT_DISTINCT | K::AEXPR_NULLIF | K::AEXPR_IN => true,
            _ => false,
        }
    }

    /// An operator of that name must be PostgreSQL's own: a user's may read anything.
    pub(super) fn builtin_operator(&mut self, symbol: &str) {
        self.opaque |= !self.pinned && !self.catalogue.operators(symbol).is_empty();
    }

    fn call(&mut self, call: &'a FuncCall) -> Origin {
        let (schema, name) = names(call.funcname());
        let schema = if self.pinned { schema.or(Some("pg_catalog")) } else { schema };
        let (mut origin, shaped) = self.values_of_shapes(call.args());
        for sort in call.agg_order().iter() {
            let by = self.sorted_by(sort.node());
            origin = origin.and(by);
        }
        if !is_absent(call.agg_filter()) {
            // What is given to it is computed for the rows that pass.
            origin = self
                .lazily(|follow| follow.values(call.args()).and(follow.value(call.agg_filter())).and(origin));
        }
        if let Some(window) = call.over() {
            origin = origin.and(self.window(window));
        }
        // Before PostgreSQL 16 it is the name of a column, if there is one.
        if name == "system_user" {
            return self.unknown();
        }
        let users = functions(self.catalogue, schema, name).count() > 0;
        let builtin = matches!(schema, None | Some("pg_catalog")) && !users;
        let revealing = REVEALING_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        if builtin && builtin::function(name) == Builtin::Harmless && !revealing {
            let gathers = name == "array_agg";
            let passes = PASSING_FUNCTIONS.contains(&name);
            let fails =
                shaped && (gathers || passes || call.agg_distinct) || gathers && self.of_arrays(&origin);
            // `length(bytes, encoding)` reads the bytes as text.
            let reads = name == "length" && call.args().len() != 1;
            let lengthy = GROWING_FUNCTIONS.contains(&name) && self.grows(call.args().iter());
            let picks = PICKING_FUNCTIONS.contains(&name)
                && call.args().iter().skip(1).any(|argument| operand(argument).is_none());
            let lengthens = name == "replace" && !shortens(call.args());
            let total = TOTAL_FUNCTIONS.binary_search(&name).is_ok()
                && !(fails || reads || lengthens || lengthy || picks);
            let origin = self.step(origin, total);
            return match (gathers, passes) {
                (true, _) => origin.shaped(),
                (false, true) => origin,
                (false, false) => origin.flat(),
            };
        }
        if builtin && name == "set_config" && sets_constant(call) {
            return self.step(origin, false);
        }
        if schema == Some("information_schema") && name.starts_with("_pg_") {
            return self.step(origin, false);
        }
        if users && functions(self.catalogue, schema, name).all(|function| function.harmless) {
            return self.step(origin, false);
        }
        self.unknown()
    }

    /// Returns the origin of a value that rows are put in order or together by.
    fn sorted_by(&mut self, node: Node<'a>) -> Origin {
        let origin = self.value(node);
        let fails = origin.is_shaped();
        self.step(origin, !fails).flat()
    }

    fn window(&mut self, window: &'a WindowDef) -> Origin {
        // A row of the result shows what is in others.
        self.ties.loose = true;
        let mut origin = Origin::Clean;
        for part in window.partition_clause() {
            let by = self.sorted_by(part);
            origin = origin.and(by);
        }
        for sort in window.order_clause().iter() {
            let by = self.sorted_by(sort.node());
            origin = origin.and(by);
        }
        // A frame of a negative length is an error.
        let frame = self.value(window.start_offset()).and(self.value(window.end_offset()));
        let origin = origin.and(frame);
        // The rows come in the order that they were sorted in for it.
        self.depends(&origin);
        origin
    }

    /// Windows of a `WINDOW` clause, which any call may name.
    pub(super) fn windows(&mut self, list: &'a NodeList) {
        for node in list {
            let origin = match node {
                Node::WindowDef(window) => self.window(window),
                _ => self.unknown(),
            };
            self.depends(&origin);
        }
    }

    fn subquery(&mut self, link: &'a SubLink) -> Origin {
        let before = self.mark();
        let columns = self.query(link.subselect());
        self.tie_within(before, before);
        self.risky = true;
        let inner = match columns.columns.as_slice() {
            [only] if columns.open.is_none() => only.origin.clone(),
            _ => columns.whole(),
        };
        match link.sub_link_type {
            // Whether there are rows depends on the conditions within, which are noted there.
            SubLinkType::EXISTS_SUBLINK => Origin::Clean,
            SubLinkType::ALL_SUBLINK | SubLinkType::ANY_SUBLINK => {
                if link.oper_name().is_empty() {
                    self.builtin_operator("=");
                } else {
                    let (_, symbol) = names(link.oper_name());
                    self.builtin_operator(symbol);
                }
                // It reads on until it knows: what its values are tells what of the query is run.
                let compared = self.value(link.testexpr());
                self.step(compared.and(inner), false).flat()
            }
            SubLinkType::EXPR_SUBLINK => inner,
            SubLinkType::ARRAY_SUBLINK => {
                // As long as all that it gathers.
                self.step(inner, false).shaped()
            }
            _ => self.value(link.testexpr()).and(inner).computed(true),
        }
    }

    /// Making a value of a type runs the type's own code.
    fn cast(&mut self, name: Option<&'a TypeName>) {
        let Some(name) = name else { return };
        let mut parts = name.names().iter().rev();
        let base = parts.next().and_then(|part| part.sval()).unwrap_or_default();
        let schema = parts.next().and_then(|part| part.sval());
        let schema = if self.pinned { schema.or(Some("pg_catalog")) } else { schema };
        let plain = base == "record" || self.catalogue.is_plain_type(schema, base);
        self.opaque |= !plain || self.catalogue.is_cast_target(base);
    }

    // ---- conditions ----

    /// A condition that rows are chosen by. `every` row has to fulfil it.
    pub(super) fn filter(&mut self, node: Node<'a>, every: bool) {
        match node {
            Node::BoolExpr(expr) => {
                let every = every && expr.boolop == BoolExprType::AND_EXPR;
                self.nest((), |follow| expr.args().iter().for_each(|arg| follow.filter(arg, every)));
            }
            Node::A_Expr(expr) if expr.kind == A_Expr_Kind::AEXPR_OP && names(expr.name()).1 == "=" => {
                self.builtin_operator("=");
                self.equality(expr, every);
            }
            Node::A_Expr(expr) if expr.kind == A_Expr_Kind::AEXPR_IN && names(expr.name()).1 == "=" => {
                self.comparisons(node, expr, every);
            }
            Node::A_Expr(expr)
                if every && expr.kind == A_Expr_Kind::AEXPR_OP_ANY && names(expr.name()).1 == "=" =>
            {
                let origin = self.value(node);
                self.depends(&origin);
                let column = self.value(expr.lexpr());
                self.tie_any(&column, expr.rexpr());
            }
            _ => {
                let origin = self.value(node);
                self.depends(&origin);
            }
        }
    }

    /// `id::text = '17'`: every row's value is written so.
    fn tie_written(&mut self, side: Node<'a>, value: Node<'a>) {
        let Node::TypeCast(cast) = side else { return };
        if !is_text(cast.type_name()) || !matches!(cast.arg(), Node::ColumnRef(_)) {
            return;
        }
        if let (Origin::Column(column), Some(operand)) = (self.value(cast.arg()), unchanged(value)) {
            self.tie_constant(column, Operand::Text(Box::new(operand)));
        }
    }

    /// `column IN (…)`: of constants, as many equalities.
    fn comparisons(&mut self, node: Node<'a>, expr: &'a A_Expr, every: bool) {
        self.builtin_operator("=");
        let column = self.value(expr.lexpr());
        match (&column, self.constants(expr.rexpr())) {
            (Origin::Column(column), Some(operands)) => {
                let uses = operands.into_iter().map(|operand| (*column, Use::Equality { operand, every }));
                self.uses.extend(uses);
            }
            _ => {
                let origin = self.value(node);
                self.depends(&origin);
            }
        }
        if every {
            self.tie_list(&column, expr);
        }
    }

    /// Returns the items of a list of constants.
    fn constants(&mut self, list: Node<'a>) -> Option<Vec<Operand>> {
        let Node::NodeList(items) = list else { return None };
        if items.len() > LIST_MAX {
            return None;
        }
        items.iter().map(|item| operand(item).filter(|_| self.value(item).is_constant())).collect()
    }

    fn equality(&mut self, expr: &'a A_Expr, every: bool) {
        let (left, right) = (self.value(expr.lexpr()), self.value(expr.rexpr()));
        let constant = match (&left, &right) {
            (Origin::Column(column), other) if other.is_constant() => {
                operand(expr.rexpr()).map(|operand| (column, operand))
            }
            (other, Origin::Column(column)) if other.is_constant() => {
                operand(expr.lexpr()).map(|operand| (column, operand))
            }
            _ => None,
        };
        match constant {
            Some((column, operand)) => {
                let side = if left.is_constant() { expr.lexpr() } else { expr.rexpr() };
                if let (true, Some(operand)) = (every, unchanged(side)) {
                    self.tie_constant(*column, operand);
                }
                self.uses.push((*column, Use::Equality { operand, every }));
            }
            None => {
                if let (true, Origin::Column(one), Origin::Column(other)) = (every, &left, &right) {
                    self.tie_columns(*one, *other);
                }
                if every && right.is_constant() {
                    self.tie_written(expr.lexpr(), expr.rexpr());
                } else if every && left.is_constant() {
                    self.tie_written(expr.rexpr(), expr.lexpr());
                }
                self.equal(&left, &right);
            }
        }
    }
}

/// Tells whether `set_config` does what a harmless `SET` does: a value that the client gives itself tells it nothing.
fn sets_constant(call: &FuncCall) -> bool {
    let mut arguments = call.args().iter();
    let name = arguments.next().and_then(constant);
    match (name, arguments.next()) {
        (Some(name), Some(Node::ParamRef(_))) => is_own_setting(name, None),
        (Some(name), Some(value)) => constant(value).is_some_and(|value| is_own_setting(name, Some(value))),
        _ => false,
    }
}

/// Tells whether only some of what it names is computed, depending on values.
fn is_lazy(expr: &A_Expr) -> bool {
    use A_Expr_Kind as K;
    matches!(
        expr.kind,
        K::AEXPR_IN
            | K::AEXPR_BETWEEN
            | K::AEXPR_NOT_BETWEEN
            | K::AEXPR_BETWEEN_SYM
            | K::AEXPR_NOT_BETWEEN_SYM
    )
}

/// Tells whether `replace` puts constants in the place of constants that are as long at least: else its result may be too
/// long, by what there is to be replaced.
fn shortens(arguments: &NodeList) -> bool {
    let mut arguments = arguments.iter().skip(1).map(operand);
    match (arguments.next().flatten(), arguments.next().flatten()) {
        (Some(Operand::Literal(from)), Some(Operand::Literal(to))) => to.len() <= from.len(),
        _ => false,
    }
}

/// Returns the constant or parameter that a value is compared with as it stands: not where a cast may make another of it.
pub(super) fn unchanged(node: Node<'_>) -> Option<Operand> {
    match node {
        Node::TypeCast(cast) if !cast.type_name().is_some_and(|name| keeps(name, false)) => None,
        _ => operand(node),
    }
}

/// Tells whether a value of a text keeps what it says in the type, or in arrays of it.
pub(super) fn keeps(name: &TypeName, arrays: bool) -> bool {
    let (schema, base) = names_of(name);
    matches!(schema, None | Some("pg_catalog"))
        && ["int2", "int4", "int8", "text", "uuid", "varchar"].contains(&base)
        && name.typmods().is_empty()
        && name.array_bounds().is_empty() != arrays
}

/// Returns the constant or parameter that a node is, also where it is cast to a type as it is.
pub(super) fn operand(node: Node<'_>) -> Option<Operand> {
    match node {
        Node::ParamRef(parameter) => usize::try_from(parameter.number).ok().map(Operand::Parameter),
        Node::A_Const(value) => Some(Operand::Literal(match value.val()? {
            ConstValue::String(text) | ConstValue::Float(text) => text.into(),
            ConstValue::Integer(number) => number.to_string().into(),
            _ => return None,
        })),
        // A length may cut the value.
        Node::TypeCast(cast) if cast.type_name().is_some_and(|name| name.typmods().is_empty()) => {
            match cast.arg() {
                Node::ParamRef(_) | Node::A_Const(_) => operand(cast.arg()),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Tells whether a literal is made a value of the type while the statement is planned, whatever becomes of it: what fails then
/// tells nothing. A number by a function that depends on settings is not.
fn becomes_at_once(literal: Node<'_>, name: Option<&TypeName>) -> bool {
    const OF_NUMBERS: [&str; 9] =
        ["bool", "float4", "float8", "int2", "int4", "int8", "numeric", "text", "varchar"];
    let Node::A_Const(value) = literal else { return false };
    match value.val() {
        Some(ConstValue::String(_)) | None => true,
        Some(_) => name.is_some_and(|name| {
            let (schema, base) = names_of(name);
            matches!(schema, None | Some("pg_catalog")) && OF_NUMBERS.contains(&base)
        }),
    }
}

/// Tells whether a cast to the type cannot fail.
fn is_text(name: Option<&TypeName>) -> bool {
    name.is_some_and(|name| {
        let (schema, base) = names_of(name);
        matches!(schema, None | Some("pg_catalog"))
            && matches!(base, "text" | "varchar")
            && name.typmods().is_empty()
            && name.array_bounds().is_empty()
    })
}

/// Tells whether values of the type are neither arrays nor records.
fn is_flat(name: Option<&TypeName>) -> bool {
    name.is_some_and(|name| {
        let (schema, base) = names_of(name);
        matches!(schema, None | Some("pg_catalog"))
            && FLAT_TYPES.binary_search(&base).is_ok()
            && name.array_bounds().is_empty()
    })
}

fn names_of(name: &TypeName) -> (Option<&str>, &str) {
    let mut parts = name.names().iter().rev();
    let base = parts.next().and_then(|part| part.sval()).unwrap_or_default();
    (parts.next().and_then(|part| part.sval()), base)
}

/// Tells whether a node is there and not a constant.
pub(super) fn is_computed(node: Node<'_>) -> bool {
    !is_absent(node) && operand(node).is_none()
}
