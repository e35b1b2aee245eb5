//! Where the values of a statement's output come from, and what else its columns are used for.
//!
//! A pure function of the parse tree and the catalogue, the same for every person and every policy: what may be seen
//! is decided from it (`mask`). The default is the other way round from the rest of SQL: a value is [`Origin::Clean`]
//! only when everything in it is known to come from no column; what is not listed here is [`Origin::Unknown`].
//!
//! Names are resolved as PostgreSQL does where that is certain. Where it is not (an unqualified relation of two
//! schemas, a function's columns), a name means everything it may mean.
//! Deliberately absent: types. A comparison or a concatenation by a built-in operator cannot fail; everything else
//! that computes may, and is marked so.

mod expression;
mod scope;
mod statement;
mod ties;

use std::fmt;

pub(super) use scope::View;
pub(super) use statement::of;
pub(crate) use ties::Ties;

use super::catalogue::{Catalogue, Relation};
use scope::{Cte, Scope};

/// A stored column: its relation's OID, and its number within the relation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Column {
    pub(crate) relation: u32,
    pub(crate) number: i16,
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.relation, self.number)
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From no column: literals, parameters, the clock, PostgreSQL's own catalogue.
    Clean,
    /// It is the value of this column.
    Column(Column),
    /// It is computed from these columns, sorted, each once; from none, where it may only fail or take its time.
    Computed {
        columns: Box<[Column]>,
        /// The computation gives a value whatever the columns hold: it neither fails nor takes time by them, nor
        /// makes more rows or fewer.
        total: bool,
        /// It may be an array or a record, of a shape that depends on the columns: comparing it, or putting it
        /// together with others, may fail by the shape.
        shaped: bool,
    },
    /// Not known.
    Unknown,
}

impl Origin {
    /// Returns the columns that the value tells something of.
    pub(crate) fn columns(&self) -> &[Column] {
        match self {
            Origin::Clean | Origin::Unknown => &[],
            Origin::Column(column) => std::slice::from_ref(column),
            Origin::Computed { columns, total: _, shaped: _ } => columns,
        }
    }

    /// Tells whether it depends on columns, and may be an array or a record that was made on the way.
    fn is_shaped(&self) -> bool {
        match self {
            Origin::Clean | Origin::Column(_) => false,
            Origin::Computed { columns, total: _, shaped } => *shaped && !columns.is_empty(),
            Origin::Unknown => true,
        }
    }

    /// Tells whether it may be an array or a record that was made on the way, or given.
    fn may_be_shaped(&self) -> bool {
        match self {
            Origin::Clean | Origin::Column(_) => false,
            Origin::Computed { columns: _, total: _, shaped } => *shaped,
            Origin::Unknown => true,
        }
    }

    /// Returns the same of a value that may be an array or a record.
    fn shaped(self) -> Origin {
        match self {
            Origin::Clean => Origin::Computed { columns: Box::default(), total: true, shaped: true },
            Origin::Column(column) => {
                Origin::Computed { columns: Box::new([column]), total: true, shaped: true }
            }
            Origin::Computed { columns, total, shaped: _ } => {
                Origin::Computed { columns, total, shaped: true }
            }
            Origin::Unknown => Origin::Unknown,
        }
    }

    /// Returns the same of a value that is neither.
    fn flat(self) -> Origin {
        match self {
            Origin::Computed { columns, total: true, shaped: _ } if columns.is_empty() => Origin::Clean,
            Origin::Computed { columns, total, shaped: _ } => {
                Origin::Computed { columns, total, shaped: false }
            }
            Origin::Clean | Origin::Column(_) | Origin::Unknown => self,
        }
    }

    /// Tells whether it is the same for every row and cannot fail.
    fn is_constant(&self) -> bool {
        match self {
            Origin::Clean => true,
            Origin::Computed { columns, total, shaped: _ } => columns.is_empty() && *total,
            Origin::Column(_) | Origin::Unknown => false,
        }
    }

    fn weight(&self) -> usize {
        size_of::<Origin>() + std::mem::size_of_val(self.columns())
    }

    /// Returns the origin of a value computed from both.
    fn and(self, other: Origin) -> Origin {
        match (self, other) {
            (Origin::Unknown, _) | (_, Origin::Unknown) => Origin::Unknown,
            (Origin::Clean, other) => other.computed(true),
            (one, Origin::Clean) => one.computed(true),
            (one, other) => Origin::all([one, other]),
        }
    }

    /// Returns the origin of a value computed from all of these.
    fn all(origins: impl IntoIterator<Item = Origin>) -> Origin {
        let mut columns: Vec<Column> = Vec::new();
        let (mut total, mut shaped) = (true, false);
        for origin in origins {
            match &origin {
                Origin::Unknown => return Origin::Unknown,
                Origin::Clean | Origin::Column(_) => {}
                Origin::Computed { columns: _, total: here, shaped: made } => {
                    total &= here;
                    shaped |= made;
                }
            }
            columns.extend_from_slice(origin.columns());
        }
        if columns.is_empty() && total && !shaped {
            return Origin::Clean;
        }
        columns.sort_unstable();
        columns.dedup();
        Origin::Computed { columns: columns.into(), total, shaped }
    }

    /// Returns the origin of a value that is one or the other, whole.
    fn or(self, other: Origin) -> Origin {
        if self == other { self } else { self.and(other) }
    }

    /// Returns the origin of something computed from this value.
    fn computed(self, total: bool) -> Origin {
        match self {
            Origin::Clean if total => Origin::Clean,
            Origin::Clean => Origin::Computed { columns: Box::default(), total, shaped: false },
            Origin::Unknown => Origin::Unknown,
            Origin::Column(column) => Origin::Computed { columns: Box::new([column]), total, shaped: false },
            Origin::Computed { columns, total: before, shaped } => {
                Origin::Computed { columns, total: before && total, shaped }
            }
        }
    }
}

/// The columns that a statement returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outputs {
    /// It returns no rows.
    None,
    /// These, in this order.
    Columns(Box<[Origin]>),
    /// Their number is not known from the text; the origin of all together.
    Open(Origin),
    /// What the prepared statement of that name returns.
    Prepared(Box<str>),
    /// What the cursor of that name returns.
    Cursor(Box<str>),
}

/// What a column is used for besides being returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Compared for equality with a constant or a parameter.
    Equality {
        /// The other side.
        operand: Operand,
        /// Every row that is read has this value: not under `OR` or `NOT`.
        every: bool,
    },
    /// Compared for equality with another column.
    Join(Column),
    /// Computed with in a way that may fail, take its time, or make more rows or fewer: whether or not the value is
    /// returned, that would tell something of it.
    Computed,
    /// Anything else: order, range, pattern, grouping, telling apart, computing what is compared.
    Other,
}

/// The other side of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    /// As written.
    Literal(Box<str>),
    /// The parameter of this number, from 1.
    Parameter(usize),
    /// One of the elements of this array.
    Element(Box<Operand>),
    /// Compared, as text, with how the column's value is written.
    Text(Box<Operand>),
}

/// How the rows of a relation are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    Added,
    Updated,
    Deleted,
}

/// Where rows are copied, and how they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopyOptions {
    /// `text`, `csv` or `binary`.
    pub(crate) format: Box<str>,
    /// The other options as written, in lower case, with their value.
    pub(crate) others: Box<[CopyOption]>,
}

/// An option of `COPY`: its name, and its value where that is a word or a number.
pub(crate) type CopyOption = (Box<str>, Option<Box<str>>);

/// What kind of statement it is, for the list of what masked people may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Returns rows, or changes rows of tables named in it.
    Data,
    /// `COPY … TO STDOUT`.
    CopyOut(CopyOptions),
    /// `COPY … FROM STDIN`.
    CopyIn,
    /// `EXPLAIN` of a statement of rows.
    Explain,
    /// Transactions, settings with constants, running named statements, cursors.
    Session,
    /// `PREPARE`: what it uses is used when it is run.
    Prepare,
    /// Anything else, by its name.
    Other(&'static str),
}

/// What is known of one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lineage {
    pub(crate) kind: Kind,
    pub(crate) outputs: Outputs,
    /// What the columns among the outputs are called, in order; empty where that is not followed.
    pub(crate) names: Box<[Box<str>]>,
    /// The columns used besides, each with its use; sorted by column, each once.
    pub(crate) uses: Box<[(Column, Use)]>,
    /// The same within views that it reads, with the view's OID: the view's definition decides by them which rows there are.
    pub(crate) through: Box<[(u32, Column, Use)]>,
    /// The relations whose rows it changes, by OID; sorted, each way once.
    pub(crate) changed: Box<[(u32, Change)]>,
    /// The columns that are given values, and where these come from.
    pub(crate) assigned: Box<[(Column, Origin)]>,
    /// The relations whose rows are read or changed, by OID; those beneath views, not the views. Sorted; one that is read
    /// again is there again.
    pub(crate) relations: Box<[u32]>,
    /// What ties these rows to values, and to each other.
    pub(crate) ties: Ties,
    /// It runs or reads what is not known, which may show anything.
    pub(crate) opaque: bool,
    /// The catalogue it was followed with.
    pub(crate) catalogue: [u8; 32],
}

impl Lineage {
    /// Tells whether its rows leave as copied data.
    pub(crate) fn copies(&self) -> bool {
        match self.kind {
            Kind::CopyOut(_) => true,
            Kind::Data | Kind::CopyIn | Kind::Explain | Kind::Session | Kind::Prepare | Kind::Other(_) => {
                false
            }
        }
    }

    /// Returns the columns that its rows tell something of.
    pub(crate) fn returned(&self) -> Vec<Column> {
        match &self.outputs {
            Outputs::Columns(origins) => origins.iter().flat_map(Origin::columns).copied().collect(),
            Outputs::Open(origin) => origin.columns().to_vec(),
            Outputs::None | Outputs::Prepared(_) | Outputs::Cursor(_) => Vec::new(),
        }
    }

    /// Returns about how many bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        let outputs = match &self.outputs {
            Outputs::Columns(origins) => origins.iter().map(Origin::weight).sum(),
            Outputs::Open(origin) => origin.weight(),
            Outputs::None | Outputs::Prepared(_) | Outputs::Cursor(_) => 0,
        };
        let assigned = self.assigned.iter().map(|(_, from)| from.weight()).sum::<usize>();
        let uses = self.uses.len() * size_of::<(Column, Use)>()
            + self.through.len() * size_of::<(u32, Column, Use)>()
            + self.changed.len() * size_of::<(u32, Change)>();
        let relations = self.relations.len() * size_of::<u32>();
        let names = self.names.iter().map(|name| size_of::<Box<str>>() + name.len()).sum::<usize>();
        size_of::<Lineage>() + outputs + names + assigned + uses + relations + self.ties.weight()
    }
}

/// How deep a statement is followed; one level costs under 8 KiB of stack in a debug build.
const DEPTH_MAX: usize = 64;
/// What following a text may cost: it has fewer nodes than bytes, and recursive queries are followed several times.
const BUDGET_PER_BYTE: usize = 16;
/// How many columns a query returns at most, as in PostgreSQL.
const COLUMNS_MAX: usize = 1664;
/// How many names a `FROM` clause or a `WITH` clause brings at most: looking one up is a search.
const NAMES_MAX: usize = 500;

/// Calls with each column of the resource's views, and where it comes from.
pub(crate) fn views(catalogue: &Catalogue, mut each: impl FnMut(Column, &Origin)) {
    for relation in catalogue.views() {
        let query = relation.query.as_deref().unwrap_or_default();
        let mut follow = Follow::new(catalogue, DEPTH_MAX, query.len() * BUDGET_PER_BYTE);
        let columns = follow.columns_of_view(relation);
        for (at, known) in relation.columns.iter().enumerate() {
            let column = Column { relation: relation.oid, number: known.number };
            let origin = columns.columns.get(at).map(|column| &column.origin);
            each(column, origin.filter(|_| !follow.opaque).unwrap_or(&Origin::Unknown));
        }
    }
}

/// Follows values through one statement.
struct Follow<'a> {
    catalogue: &'a Catalogue,
    /// The queries around, outermost first.
    scopes: Vec<Scope>,
    /// Where the scopes of the `FROM` clause being read begin.
    clause: usize,
    ctes: Vec<Cte>,
    names: Vec<Box<str>>,
    uses: Vec<(Column, Use)>,
    through: Vec<(u32, Column, Use)>,
    changed: Vec<(u32, Change)>,
    assigned: Vec<(Column, Origin)>,
    relations: Vec<u32>,
    ties: Ties,
    opaque: bool,
    depth: usize,
    depth_max: usize,
    /// How much more is looked at: a text costs in proportion to its length, however it is nested.
    budget: usize,
    /// Something was computed that may fail or take its time, or rows were read for it.
    risky: bool,
    /// For `EXPLAIN`: what the query and all queries within return. A plan shows how wide and how many the values are, and
    /// depends on it.
    explained: Option<Origin>,
    /// Views that are being followed.
    within: Vec<&'a Relation>,
    /// Unqualified names mean `pg_catalog`, as in a definition that PostgreSQL printed under an empty search path.
    pinned: bool,
}

impl<'a> Follow<'a> {
    fn new(catalogue: &'a Catalogue, depth_max: usize, budget: usize) -> Follow<'a> {
        Follow {
            catalogue,
            scopes: Vec::new(),
            clause: 0,
            ctes: Vec::new(),
            names: Vec::new(),
            uses: Vec::new(),
            through: Vec::new(),
            changed: Vec::new(),
            assigned: Vec::new(),
            relations: Vec::new(),
            ties: Ties::default(),
            // Where nothing is known of the resource, nothing is known of its statements.
            opaque: !catalogue.proves(),
            depth: 0,
            depth_max: depth_max.min(DEPTH_MAX),
            budget,
            risky: false,
            explained: None,
            within: Vec::new(),
            pinned: false,
        }
    }

    /// Runs `inner` one level deeper; what is too deep or too much is not followed, and so not known.
    fn nest<T>(&mut self, otherwise: T, inner: impl FnOnce(&mut Self) -> T) -> T {
        if self.depth >= self.depth_max || !self.afford(1) {
            self.opaque = true;
            return otherwise;
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Takes from the budget; `false`, and nothing is known any more, when it is spent.
    fn afford(&mut self, cost: usize) -> bool {
        let left = self.budget.checked_sub(cost);
        self.opaque |= left.is_none();
        self.budget = left.unwrap_or(0);
        left.is_some()
    }

    /// Follows a part of which not everything is computed, depending on values: what may fail or take its time would
    /// tell which.
    fn lazily(&mut self, inner: impl FnOnce(&mut Self) -> Origin) -> Origin {
        let before = std::mem::replace(&mut self.risky, false);
        let origin = inner(self);
        let total = !self.risky;
        self.risky |= before;
        self.tells(origin.computed(total))
    }

    /// Notes a value that was computed in a way that may fail: that tells something of it wherever the value goes, also
    /// where it goes nowhere.
    fn tells(&mut self, origin: Origin) -> Origin {
        if let Origin::Computed { columns, total: false, shaped: _ } = &origin {
            self.uses.extend(columns.iter().map(|column| (*column, Use::Computed)));
        }
        origin
    }

    /// Notes whether a computation gives a value whatever it is given.
    fn step(&mut self, origin: Origin, total: bool) -> Origin {
        self.risky |= !total;
        self.tells(origin.computed(total))
    }

    /// Something that is not known: it may be or show anything.
    fn unknown(&mut self) -> Origin {
        self.opaque = true;
        Origin::Unknown
    }

    /// Notes that what happens depends on a value.
    fn depends(&mut self, origin: &Origin) {
        self.opaque |= *origin == Origin::Unknown;
        for column in origin.columns() {
            self.uses.push((*column, Use::Other));
        }
    }

    fn finish(mut self, kind: Kind, outputs: Outputs) -> Lineage {
        self.uses.sort_by_key(|(column, how)| (*column, *how == Use::Computed));
        self.uses.dedup();
        self.through.sort_by_key(|(view, column, _)| (*view, *column));
        self.through.dedup();
        self.changed.sort_unstable();
        self.changed.dedup();
        self.relations.sort_unstable();
        Lineage {
            kind,
            outputs,
            names: self.names.into(),
            uses: self.uses.into(),
            through: self.through.into(),
            changed: self.changed.into(),
            assigned: self.assigned.into(),
            relations: self.relations.into(),
            ties: self.ties,
            opaque: self.opaque,
            catalogue: self.catalogue.digest(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
