//! Statements over the hospital's tables, from a seed: projections, joins, unions, aggregates, subqueries, CTEs, CASE,
//! window functions, and changes of rows, over protected and clean columns alike.
//!
//! Types fit, so that most run; most of what is done with protected columns is what a masked person may do, so that
//! most is not refused. Deliberately absent: what is volatile.

use super::stage::PATIENTS;
use crate::hospital::random::Random;

/// How deep queries and expressions nest.
const DEPTH_MAX: u32 = 3;
/// Tells these streams from those of the hospital.
const SALT: u64 = 0x7477_6f77;

/// What a value is, as far as it matters for what can be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Int,
    Number,
    Bool,
    Date,
    Time,
    Texts,
    Json,
    Contact,
    Urgency,
}

use Kind::{Bool, Contact, Date, Int, Json, Number, Text, Texts, Time, Urgency};

/// A column within reach of an expression.
#[derive(Clone, Debug)]
struct Reached {
    text: String,
    kind: Kind,
    hidden: bool,
}

impl Reached {
    /// Returns the same column of a relation of another name.
    fn renamed(self, name: &str) -> Reached {
        let column = self.text.rsplit('.').next().unwrap_or_default();
        Reached { text: format!("{name}.{column}"), ..self }
    }
}

/// A relation: its name, and its columns, each with whether it is hidden from the masked person.
struct Relation(&'static str, &'static [(&'static str, Kind, bool)]);

const RELATIONS: [Relation; 15] = [
    Relation(
        "patients",
        &[
            ("id", Int, true),
            ("mrn", Text, true),
            ("ssn", Text, true),
            ("name", Text, true),
            ("born", Date, true),
            ("phone", Text, true),
            ("tags", Texts, true),
            ("reach", Contact, true),
            ("doc", Json, true),
            ("account", Int, true),
            ("initials", Text, true),
            ("urgency", Urgency, false),
            ("active", Bool, false),
        ],
    ),
    Relation(
        "encounters",
        &[
            ("id", Int, false),
            ("patient_id", Int, true),
            ("ward", Text, false),
            ("beds", Int, false),
            ("started", Time, false),
        ],
    ),
    Relation("notes", &[("id", Int, false), ("encounter_id", Int, false), ("body", Text, true)]),
    Relation(
        "departments",
        &[("id", Int, false), ("title", Text, false), ("floor", Int, false), ("budget", Number, false)],
    ),
    Relation("unclassified", &[("id", Int, true), ("remark", Text, true)]),
    Relation("scratch", &[("id", Int, false), ("label", Text, false)]),
    Relation("parted", &[("id", Int, false), ("region", Text, false), ("secret", Text, true)]),
    Relation("people", &[("who", Text, true), ("ssn", Text, true)]),
    Relation("people_abroad", &[("who", Text, true), ("ssn", Text, true), ("passport", Text, true)]),
    Relation(
        "listing",
        &[("id", Int, true), ("name", Text, true), ("ssn", Text, true), ("urgency", Urgency, false)],
    ),
    Relation("shouted", &[("loud", Text, true), ("bare", Text, true)]),
    Relation("safe", &[("urgency", Urgency, false), ("active", Bool, false)]),
    Relation("by_ward", &[("ward", Text, false), ("n", Int, false)]),
    Relation("kept", &[("id", Int, true), ("ssn", Text, true), ("name", Text, true)]),
    Relation("shadow.wards", &[("name", Text, true), ("ssn", Text, true)]),
];

const KINDS: [Kind; 10] = [Text, Int, Number, Bool, Date, Time, Texts, Json, Contact, Urgency];

/// A query, and what its columns `c0`, `c1`, … are.
struct Query {
    text: String,
    columns: Vec<(Kind, bool)>,
}

/// Returns the statement of this seed and number.
#[must_use]
pub fn statement(seed: u64, number: u64) -> String {
    let mut make = Make { random: Random::new(seed, SALT, number), names: 0 };
    make.statement()
}

struct Make {
    random: Random,
    names: u32,
}

impl Make {
    fn statement(&mut self) -> String {
        match self.random.below(40) {
            0 => format!("COPY ({}) TO STDOUT", self.query(1).text),
            1 => format!("COPY ({}) TO STDOUT (FORMAT csv)", self.query(1).text),
            2 => format!("COPY ({}) TO STDOUT (FORMAT binary)", self.query(1).text),
            3 => {
                let options = self.random.pick(&["", "(COSTS OFF) ", "(ANALYZE, TIMING OFF, SUMMARY OFF) "]);
                format!("EXPLAIN {options}{}", self.query(1).text)
            }
            4 | 5 => self.update(),
            6 => self.delete(),
            7 => self.insert(),
            8..=15 => self.compound(0).text,
            16..=21 => self.with(0).text,
            _ => self.query(0).text,
        }
    }

    fn name(&mut self, letter: char) -> String {
        self.names += 1;
        format!("{letter}{}", self.names)
    }

    // ---- queries ----

    fn query(&mut self, depth: u32) -> Query {
        match self.random.below(10) {
            0 if depth < DEPTH_MAX => self.compound(depth + 1),
            1 if depth < DEPTH_MAX => self.with(depth + 1),
            2 | 3 => self.grouped(depth),
            _ => self.select(depth, None),
        }
    }

    /// Selects columns of these kinds, or of any.
    fn select(&mut self, depth: u32, kinds: Option<&[Kind]>) -> Query {
        let (from, reach) = self.from(depth);
        let kinds = kinds.map_or_else(|| self.kinds(), <[Kind]>::to_vec);
        let mut columns = Vec::new();
        let mut items = Vec::new();
        for (at, kind) in kinds.iter().enumerate() {
            let (text, hidden) = if self.random.chance(120) {
                self.windowed(*kind, &reach)
            } else {
                self.expression(*kind, &reach, depth)
            };
            items.push(format!("{text} AS c{at}"));
            columns.push((*kind, hidden));
        }
        let condition = self.where_clause(&reach, depth);
        let mut text = format!("SELECT {} FROM {from}{condition}", items.join(", "));
        if let Some(order) = self.clean(&reach)
            && self.random.chance(300)
        {
            let way = self.random.pick(&["", " DESC", " NULLS FIRST"]);
            text += &format!(" ORDER BY {order}{way}");
        }
        if self.random.chance(200) {
            text += &format!(" LIMIT {}", self.random.below(5));
        }
        if self.random.chance(60) {
            text += &format!(" OFFSET {}", self.random.below(3));
        }
        Query { text, columns }
    }

    fn kinds(&mut self) -> Vec<Kind> {
        let count = 1 + self.random.below(4);
        (0..count).map(|_| *self.random.pick(&KINDS)).collect()
    }

    /// Groups by clean columns, and by a protected one now and then.
    fn grouped(&mut self, depth: u32) -> Query {
        let (from, reach) = self.from(depth);
        let keys: Vec<Reached> =
            reach.iter().filter(|column| !column.hidden && column.kind != Json).cloned().collect();
        let mut columns = Vec::new();
        let mut items = Vec::new();
        let key = if keys.is_empty() { None } else { Some(self.random.pick(&keys).clone()) };
        if let Some(key) = &key {
            items.push(format!("{} AS c0", key.text));
            columns.push((key.kind, false));
        }
        for _ in 0..=self.random.below(3) {
            let (text, kind, hidden) = self.aggregate(&reach, depth);
            items.push(format!("{text} AS c{}", items.len()));
            columns.push((kind, hidden));
        }
        let condition = self.where_clause(&reach, depth);
        let mut text = format!("SELECT {} FROM {from}{condition}", items.join(", "));
        if let Some(key) = key {
            let shape = if self.random.chance(100) { "ROLLUP " } else { "" };
            text += &format!(" GROUP BY {shape}({})", key.text);
            if self.random.chance(150) {
                text += &format!(" HAVING count(*) > {}", self.random.below(3));
            }
        }
        Query { text, columns }
    }

    fn compound(&mut self, depth: u32) -> Query {
        let kinds = self.kinds();
        let kinds: Vec<Kind> = kinds.into_iter().filter(|kind| *kind != Contact).chain([Text]).collect();
        let (one, other) = (self.select(depth + 1, Some(&kinds)), self.select(depth + 1, Some(&kinds)));
        let columns: Vec<(Kind, bool)> =
            one.columns.iter().zip(&other.columns).map(|((kind, a), (_, b))| (*kind, *a || *b)).collect();
        let clean = columns.iter().all(|(kind, hidden)| !hidden && *kind != Json);
        let operations: &[&str] = if clean || self.random.chance(100) {
            &["UNION", "INTERSECT", "EXCEPT", "UNION ALL", "EXCEPT ALL"]
        } else {
            &["UNION ALL"]
        };
        let text = format!("({}) {} ({})", one.text, self.random.pick(operations), other.text);
        Query { text, columns }
    }

    fn with(&mut self, depth: u32) -> Query {
        let inner = self.query(depth + 1);
        let name = self.name('w');
        let reach = reached(&name, &inner.columns);
        let how = self.random.pick(&["", "MATERIALIZED ", "NOT MATERIALIZED "]);
        let mut items = Vec::new();
        let mut columns = Vec::new();
        for kind in self.kinds() {
            let (text, hidden) = self.expression(kind, &reach, depth + 1);
            items.push(format!("{text} AS c{}", items.len()));
            columns.push((kind, hidden));
        }
        let condition = self.where_clause(&reach, depth + 1);
        let text = format!(
            "WITH {name} AS {how}({}) SELECT {} FROM {name}{condition}",
            inner.text,
            items.join(", ")
        );
        Query { text, columns }
    }

    fn from(&mut self, depth: u32) -> (String, Vec<Reached>) {
        let (mut text, mut reach) = self.source(depth);
        for _ in 0..self.random.below(3) {
            let (next, more) = self.source(depth + 1);
            let shared = self.key(&reach).zip(self.key(&more));
            match (shared, self.random.below(4)) {
                (Some((one, other)), 0) => text += &format!(" JOIN {next} ON {one} = {other}"),
                (Some((one, other)), 1) => text += &format!(" LEFT JOIN {next} ON {one} = {other}"),
                (_, 2) => {
                    let name = self.name('l');
                    text += &format!(", LATERAL (SELECT * FROM {next}) {name}");
                    reach.extend(more.into_iter().map(|column| column.renamed(&name)));
                    continue;
                }
                _ => text += &format!(" CROSS JOIN {next}"),
            }
            reach.extend(more);
        }
        (text, reach)
    }

    /// Returns a clean number to join by; a protected one now and then.
    fn key(&mut self, reach: &[Reached]) -> Option<String> {
        let hidden = self.random.chance(60);
        let keys: Vec<&Reached> =
            reach.iter().filter(|column| column.kind == Int && (!column.hidden || hidden)).collect();
        if keys.is_empty() { None } else { Some(self.random.pick(&keys).text.clone()) }
    }

    fn source(&mut self, depth: u32) -> (String, Vec<Reached>) {
        if depth < DEPTH_MAX && self.random.chance(150) {
            let inner = self.query(depth + 1);
            let name = self.name('s');
            let reach = reached(&name, &inner.columns);
            return (format!("({}) AS {name}", inner.text), reach);
        }
        let Relation(table, columns) =
            if self.random.chance(400) { &RELATIONS[0] } else { self.random.pick(&RELATIONS) };
        let name = self.name('t');
        let reach = columns.iter().map(|(column, kind, hidden)| Reached {
            text: format!("{name}.{column}"),
            kind: *kind,
            hidden: *hidden,
        });
        (format!("{table} AS {name}"), reach.collect())
    }

    fn where_clause(&mut self, reach: &[Reached], depth: u32) -> String {
        if self.random.chance(450) {
            return String::new();
        }
        let clean: Vec<Reached> = reach.iter().filter(|column| !column.hidden).cloned().collect();
        let reach = if self.random.chance(80) { reach } else { &clean };
        let (condition, _) = self.condition(reach, depth);
        format!(" WHERE {condition}")
    }

    fn clean(&mut self, reach: &[Reached]) -> Option<String> {
        let hidden = self.random.chance(50);
        let clean: Vec<&Reached> =
            reach.iter().filter(|column| (!column.hidden || hidden) && column.kind != Json).collect();
        if clean.is_empty() { None } else { Some(self.random.pick(&clean).text.clone()) }
    }

    // ---- changes ----

    fn update(&mut self) -> String {
        let returning = self.expressions("patients", &[Text, Date]);
        match self.random.below(4) {
            0 => format!("UPDATE patients SET active = NOT active RETURNING {returning}"),
            1 => "UPDATE departments SET floor = floor + 1 WHERE id < 3 RETURNING *".to_owned(),
            2 => format!("UPDATE patients SET urgency = 'high' WHERE active RETURNING {returning}"),
            _ => {
                let value = self.expressions("encounters", &[Text]);
                format!("UPDATE encounters SET ward = {value} RETURNING ward")
            }
        }
    }

    fn delete(&mut self) -> String {
        let returning = self.expressions("notes", &[Text, Int]);
        format!("DELETE FROM notes WHERE id < {} RETURNING {returning}", 1 + self.random.below(4))
    }

    fn insert(&mut self) -> String {
        let from = self.select(2, Some(&[Int, Text]));
        format!("INSERT INTO scratch (id, label) {} RETURNING id, label", from.text)
    }

    fn expressions(&mut self, table: &str, kinds: &[Kind]) -> String {
        let found = RELATIONS.iter().find(|Relation(name, _)| *name == table);
        let columns = found.map_or(&[][..], |Relation(_, columns)| columns);
        let reach: Vec<Reached> = columns
            .iter()
            .map(|(column, kind, hidden)| Reached {
                text: (*column).to_owned(),
                kind: *kind,
                hidden: *hidden,
            })
            .collect();
        let made = kinds.iter().map(|kind| self.expression(*kind, &reach, 1).0);
        made.collect::<Vec<_>>().join(", ")
    }

    // ---- expressions ----

    /// Returns an expression of this kind, and whether something hidden is in it.
    fn expression(&mut self, kind: Kind, reach: &[Reached], depth: u32) -> (String, bool) {
        let of_kind: Vec<&Reached> = reach.iter().filter(|column| column.kind == kind).collect();
        if !of_kind.is_empty() && (depth >= DEPTH_MAX || self.random.chance(450)) {
            let column = *self.random.pick(&of_kind);
            return (column.text.clone(), column.hidden);
        }
        if depth >= DEPTH_MAX {
            return (self.literal(kind), false);
        }
        match self.random.below(10) {
            0 => {
                let (condition, a) = self.condition(reach, depth + 1);
                let (then, b) = self.expression(kind, reach, depth + 1);
                let (other, c) = self.expression(kind, reach, depth + 1);
                (format!("CASE WHEN {condition} THEN {then} ELSE {other} END"), a || b || c)
            }
            1 => self.two("COALESCE(", kind, reach, depth),
            2 if !matches!(kind, Json | Contact) => {
                let way = self.random.pick(&["GREATEST(", "LEAST(", "NULLIF("]);
                self.two(way, kind, reach, depth)
            }
            3 => {
                let (from, inner) = self.source(DEPTH_MAX);
                let (text, hidden) = self.expression(kind, &inner, depth + 1);
                (format!("(SELECT {text} FROM {from} LIMIT 1)"), hidden)
            }
            4 => (self.literal(kind), false),
            _ => self.special(kind, reach, depth),
        }
    }

    fn two(&mut self, way: &str, kind: Kind, reach: &[Reached], depth: u32) -> (String, bool) {
        let (one, a) = self.expression(kind, reach, depth + 1);
        let (other, b) = self.expression(kind, reach, depth + 1);
        (format!("{way}{one}, {other})"), a || b)
    }

    fn any(&mut self, reach: &[Reached], depth: u32) -> (String, bool) {
        let kind = *self.random.pick(&KINDS);
        self.expression(kind, reach, depth + 1)
    }

    /// What only this kind can do.
    fn special(&mut self, kind: Kind, reach: &[Reached], depth: u32) -> (String, bool) {
        match kind {
            Text => self.special_text(reach, depth),
            Int => self.special_int(reach, depth),
            Bool => self.condition(reach, depth + 1),
            Texts => match self.random.below(3) {
                0 => {
                    let (one, a) = self.expression(Texts, reach, depth + 1);
                    let (other, b) = self.expression(Text, reach, depth + 1);
                    (format!("({one} || {other})"), a || b)
                }
                1 => {
                    let (from, inner) = self.source(DEPTH_MAX);
                    let (text, hidden) = self.expression(Text, &inner, depth + 1);
                    (format!("ARRAY(SELECT {text} FROM {from})"), hidden)
                }
                _ => self.two_in("ARRAY[", Text, "]", reach, depth),
            },
            Json => {
                let (any, hidden) = self.any(reach, depth);
                let way = self.random.pick(&["to_jsonb(", "jsonb_build_array("]);
                (format!("{way}{any})"), hidden)
            }
            Number => {
                let (one, hidden) = self.expression(Int, reach, depth + 1);
                if hidden { (self.literal(Number), false) } else { (format!("({one} * 1.5)"), false) }
            }
            Date | Time | Contact | Urgency => (self.literal(kind), false),
        }
    }

    fn two_in(
        &mut self,
        open: &str,
        kind: Kind,
        close: &str,
        reach: &[Reached],
        depth: u32,
    ) -> (String, bool) {
        let (one, a) = self.expression(kind, reach, depth + 1);
        let (other, b) = self.expression(kind, reach, depth + 1);
        (format!("{open}{one}, {other}{close}"), a || b)
    }

    fn special_text(&mut self, reach: &[Reached], depth: u32) -> (String, bool) {
        let (text, hidden) = self.expression(Text, reach, depth + 1);
        match self.random.below(8) {
            0 => {
                let (any, too) = self.any(reach, depth);
                (format!("({any})::text"), too)
            }
            1 => {
                let (other, too) = self.expression(Text, reach, depth + 1);
                (format!("({text} || {other})"), hidden || too)
            }
            2 => {
                let (any, too) = self.any(reach, depth);
                (format!("concat({text}, {any})"), hidden || too)
            }
            3 => (format!("replace({text}, '-', '')"), hidden),
            // What may fail.
            4 if self.random.chance(200) => (format!("left({text}, 3)"), hidden),
            4 if self.random.chance(100) => (format!("{text}::int::text"), hidden),
            _ => {
                let functions = [
                    "lower",
                    "upper",
                    "reverse",
                    "md5",
                    "initcap",
                    "quote_literal",
                    "btrim",
                    "quote_nullable",
                ];
                (format!("{}({text})", self.random.pick(&functions)), hidden)
            }
        }
    }

    fn special_int(&mut self, reach: &[Reached], depth: u32) -> (String, bool) {
        match self.random.below(5) {
            0 => {
                let (text, hidden) = self.expression(Text, reach, depth + 1);
                (format!("length({text})"), hidden)
            }
            1 => {
                let (texts, hidden) = self.expression(Texts, reach, depth + 1);
                (format!("cardinality({texts})"), hidden)
            }
            2 => {
                let (from, inner) = self.source(DEPTH_MAX);
                let condition = self.where_clause(&inner, DEPTH_MAX);
                (format!("(SELECT count(*) FROM {from}{condition})::int"), false)
            }
            3 => {
                let (any, hidden) = self.any(reach, depth);
                (format!("num_nulls({any}, 1)"), hidden)
            }
            _ => {
                let (number, hidden) = self.expression(Int, reach, depth + 1);
                if hidden { (number, true) } else { (format!("({number} + 1)"), false) }
            }
        }
    }

    fn condition(&mut self, reach: &[Reached], depth: u32) -> (String, bool) {
        if depth < DEPTH_MAX && self.random.chance(200) {
            let ((one, a), (other, b)) = (self.condition(reach, depth + 1), self.condition(reach, depth + 1));
            return (format!("({one} {} {other})", self.random.pick(&["AND", "OR"])), a || b);
        }
        let kind = *self.random.pick(&[Text, Text, Int, Date, Number, Bool, Texts]);
        let (one, a) = self.expression(kind, reach, depth + 1);
        let (other, b) = self.expression(kind, reach, depth + 1);
        match self.random.below(8) {
            0 => (format!("({one} IS NULL)"), a),
            1 => (format!("({one} IS NOT DISTINCT FROM {other})"), a || b),
            2 => (format!("({one} IN ({other}, {}))", self.literal(kind)), a || b),
            3 => (format!("({one} BETWEEN {other} AND {})", self.literal(kind)), a || b),
            4 => (format!("(NOT {one} <> {other})"), a || b),
            5 => {
                let (from, inner) = self.source(DEPTH_MAX);
                let condition = self.where_clause(&inner, DEPTH_MAX);
                (format!("EXISTS (SELECT FROM {from}{condition})"), false)
            }
            _ => (format!("({one} {} {other})", self.random.pick(&["=", "<", ">", "<>", ">="])), a || b),
        }
    }

    fn aggregate(&mut self, reach: &[Reached], depth: u32) -> (String, Kind, bool) {
        let kind = *self.random.pick(&[Text, Int, Date, Text]);
        let (of, mut hidden) = self.expression(kind, reach, depth.max(1));
        let filter = if self.random.chance(200) {
            let (condition, too) = self.condition(reach, depth + 1);
            hidden |= too;
            format!(" FILTER (WHERE {condition})")
        } else {
            String::new()
        };
        match self.random.below(7) {
            0 => (format!("count(*){filter}"), Int, hidden),
            1 => (format!("count({of}){filter}"), Int, hidden),
            2 => (format!("count(DISTINCT {of}){filter}"), Int, hidden),
            3 => (format!("min({of}){filter}"), kind, hidden),
            4 => {
                let (by, too) = self.expression(Text, reach, 2);
                (format!("string_agg(({of})::text, ',' ORDER BY {by}){filter}"), Text, hidden || too)
            }
            5 => (format!("array_agg(({of})::text){filter}"), Texts, hidden),
            _ => (format!("max({of}){filter}"), kind, hidden),
        }
    }

    fn windowed(&mut self, kind: Kind, reach: &[Reached]) -> (String, bool) {
        let (of, hidden) = self.expression(kind, reach, 2);
        let by = |word: &str, column: Option<String>| column.map(|column| format!("{word} BY {column} "));
        let partition = by("PARTITION", self.clean(reach)).unwrap_or_default();
        let order = if self.random.chance(400) { by("ORDER", self.clean(reach)) } else { None };
        let window = format!("({partition}{})", order.unwrap_or_default());
        if kind == Int && self.random.chance(300) {
            let function = self.random.pick(&["rank", "row_number", "dense_rank"]);
            return (format!("{function}() OVER {window}"), false);
        }
        let function = self.random.pick(&["first_value", "last_value", "lag", "lead"]);
        (format!("{function}({of}) OVER {window}"), hidden)
    }

    /// Returns a constant of the kind; a protected value of the first world now and then.
    fn literal(&mut self, kind: Kind) -> String {
        let patient = self.random.pick(&PATIENTS[0]);
        let known = self.random.chance(250);
        let (year, month, day) = patient.born;
        match kind {
            Text if known => {
                let values = [patient.ssn, patient.name, patient.mrn, patient.phone];
                format!("'{}'::text", self.random.pick(&values))
            }
            Text => format!("'{}'::text", self.random.pick(&["x", "", "ward 1", "department 2", "9"])),
            Int if known => patient.id.to_string(),
            Int => self.random.below(5).to_string(),
            Number => "100.50".to_owned(),
            Bool => (*self.random.pick(&["true", "false"])).to_owned(),
            Date if known => format!("date '{year}-{month:02}-{day:02}'"),
            Date => "date '1970-01-01'".to_owned(),
            Time => "timestamptz '2026-01-02 08:00+00'".to_owned(),
            Texts => {
                (*self.random.pick(&["'{}'::text[]", "'{x,y}'::text[]", "'{{x,y}}'::text[]"])).to_owned()
            }
            Json => (*self.random.pick(&["'[]'::jsonb", "'{\"a\": 1}'::jsonb"])).to_owned(),
            Contact => "(SELECT reach FROM patients LIMIT 1)".to_owned(),
            Urgency => "(SELECT urgency FROM safe LIMIT 1)".to_owned(),
        }
    }
}

/// Returns the columns of a query under a name.
fn reached(name: &str, columns: &[(Kind, bool)]) -> Vec<Reached> {
    let reach = columns.iter().enumerate().map(|(at, (kind, hidden))| Reached {
        text: format!("{name}.c{at}"),
        kind: *kind,
        hidden: *hidden,
    });
    reach.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_statements() {
        let list = |seed| (0..200).map(|number| statement(seed, number)).collect::<Vec<_>>();
        assert_eq!(list(7), list(7));
        assert_ne!(list(7), list(8));
        assert!(list(7).iter().any(|text| text.contains("patients")));
    }
}
