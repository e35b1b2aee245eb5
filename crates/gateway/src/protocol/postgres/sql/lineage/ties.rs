//! What ties the rows that a statement reads or changes to values in its text, and to each other: so that it can be
//! told whose rows they are.
//!
//! Columns stand for the rows of their relation, so this holds only where each relation is read once: where one is read
//! again nothing is told. Deliberately absent: which columns name a patient, which is the configuration's to say.

use pg_raw_parse::Node;
use pg_raw_parse::nodes::{A_Expr, JoinExpr};
use pg_raw_parse::raw::JoinType;

use super::expression::{keeps, unchanged};
use super::{Column, Follow, Operand, Origin};

/// The most constants and pairs that are kept of one statement; beyond, it is not told whose rows they are.
const TIES_MAX: usize = 1024;

/// What ties rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ties {
    /// Each row of the column's relation has this value, or one of those that are listed for it.
    pub(crate) constants: Vec<(Column, Operand)>,
    /// Each row of the second column's relation has the value that the first column has beside it.
    pub(crate) equal: Vec<(Column, Column)>,
    /// Values that rows are given; for columns that are also `filled`, those of all of the rows.
    pub(crate) given: Vec<(Column, Operand)>,
    /// Each row that is added has a value that is given.
    pub(crate) filled: Vec<Column>,
    /// Columns that rows have another value in after the statement than before.
    pub(crate) moved: Vec<Column>,
    /// It runs what it only explains.
    pub(crate) analyzes: bool,
    /// Something is read again, shown beside other rows, or too much to tell.
    pub(crate) loose: bool,
}

impl Ties {
    pub(super) fn weight(&self) -> usize {
        let constants = self.constants.len() + self.given.len();
        constants * size_of::<(Column, Operand)>() + self.equal.len() * size_of::<(Column, Column)>()
    }

    fn bounded(&mut self) {
        let Ties { constants, equal, given, filled, moved, analyzes: _, loose } = self;
        *loose |= constants.len() + equal.len() + given.len() + filled.len() + moved.len() > TIES_MAX;
        for list in [constants, given] {
            list.truncate(TIES_MAX);
        }
        equal.truncate(TIES_MAX);
        filled.truncate(TIES_MAX);
        moved.truncate(TIES_MAX);
    }

    /// Takes what ties the rows of a view over.
    pub(super) fn append(&mut self, other: &Ties) {
        self.constants.extend_from_slice(&other.constants);
        self.equal.extend_from_slice(&other.equal);
        self.loose |= other.loose;
        self.bounded();
    }
}

/// A place while following: what was noted until there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    relations: usize,
    constants: usize,
    equal: usize,
}

impl Follow<'_> {
    pub(super) fn mark(&self) -> Mark {
        Mark {
            relations: self.relations.len(),
            constants: self.ties.constants.len(),
            equal: self.ties.equal.len(),
        }
    }

    /// A condition that every row fulfils compares a column with a constant.
    pub(super) fn tie_constant(&mut self, column: Column, operand: Operand) {
        self.ties.constants.push((column, operand));
        self.ties.bounded();
    }

    /// A condition that every row fulfils compares two columns.
    pub(super) fn tie_columns(&mut self, one: Column, other: Column) {
        self.ties.equal.extend([(one, other), (other, one)]);
        self.ties.bounded();
    }

    /// A condition that every row fulfils lists the values of a column.
    pub(super) fn tie_list(&mut self, column: &Origin, list: &A_Expr) {
        let (Origin::Column(column), Node::NodeList(items)) = (column, list.rexpr()) else { return };
        let operands: Option<Vec<Operand>> = items.iter().map(unchanged).collect();
        let operands = operands.into_iter().flatten().map(|operand| (*column, operand));
        self.ties.constants.extend(operands);
        self.ties.bounded();
    }

    /// A condition that every row fulfils compares a column with the elements of an array.
    pub(super) fn tie_any(&mut self, column: &Origin, array: Node<'_>) {
        let Origin::Column(column) = column else { return };
        let listed = match array {
            Node::TypeCast(cast) if cast.type_name().is_some_and(|name| keeps(name, true)) => cast.arg(),
            other => other,
        };
        if let Node::A_ArrayExpr(listed) = listed {
            let operands: Option<Vec<Operand>> = listed.elements().iter().map(unchanged).collect();
            self.ties.constants.extend(operands.into_iter().flatten().map(|operand| (*column, operand)));
        } else if let Some(operand) = unchanged(listed) {
            self.ties.constants.push((*column, Operand::Element(Box::new(operand))));
        }
        self.ties.bounded();
    }

    /// A column of rows that are changed is given a value.
    pub(super) fn tie_given(&mut self, column: Column, value: Node<'_>) {
        self.ties.moved.push(column);
        self.ties.given.extend(unchanged(value).map(|operand| (column, operand)));
        self.ties.bounded();
    }

    /// Rows are added with these columns.
    pub(super) fn tie_added(&mut self, columns: &[Column], rows: Node<'_>) {
        let Node::SelectStmt(select) = rows else { return };
        let mut filled: Vec<bool> = vec![!select.values_lists().is_empty(); columns.len()];
        for row in select.values_lists() {
            let Node::NodeList(values) = row else { return self.ties.loose = true };
            if self.ties.given.len() > TIES_MAX {
                break;
            }
            for (at, column) in columns.iter().enumerate() {
                let value = values.iter().nth(at).and_then(unchanged);
                if let Some(filled) = filled.get_mut(at) {
                    *filled &= value.is_some();
                }
                self.ties.given.extend(value.map(|value| (*column, value)));
            }
        }
        let filled = columns.iter().zip(filled).filter_map(|(column, filled)| filled.then_some(*column));
        self.ties.filled.extend(filled);
        self.ties.bounded();
    }

    /// What was noted since a mark is a condition on the rows that were read since, and on no others: those around a
    /// subquery, or of the side of an outer join that keeps its rows, need not fulfil it.
    pub(super) fn tie_within(&mut self, since: Mark, rows: Mark) {
        let within = self.relations.get(rows.relations..).unwrap_or_default();
        self.ties.keep(since, |column| within.contains(&column.relation));
    }

    /// The same for the condition of a join: `left` and `right` are where its sides begin.
    pub(super) fn tie_join(&mut self, since: Mark, left: Mark, right: Mark, join: &JoinExpr) {
        let sides = (
            self.relations.get(left.relations..right.relations).unwrap_or_default(),
            self.relations.get(right.relations..).unwrap_or_default(),
        );
        match join.jointype {
            JoinType::JOIN_INNER => {}
            JoinType::JOIN_LEFT => self.ties.keep(since, |column| sides.1.contains(&column.relation)),
            JoinType::JOIN_RIGHT => self.ties.keep(since, |column| sides.0.contains(&column.relation)),
            _ => self.ties.keep(since, |_| false),
        }
    }
}

impl Ties {
    fn keep(&mut self, since: Mark, keep: impl Fn(Column) -> bool) {
        let constants = self.constants.split_off(since.constants.min(self.constants.len()));
        self.constants.extend(constants.into_iter().filter(|(column, _)| keep(*column)));
        let equal = self.equal.split_off(since.equal.min(self.equal.len()));
        self.equal.extend(equal.into_iter().filter(|(_, column)| keep(*column)));
    }
}
