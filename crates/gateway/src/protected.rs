//! What of a resource is protected, in the configuration's words: by name, before they meet the resource's catalogue.

use std::sync::Arc;

use phi::detect::Detector;
use phi::{Class, Keys, Operator, Usage};

/// A column by its names, as PostgreSQL has them (folded to lower case unless they were made in quotes).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ColumnName {
    /// The schema.
    pub schema: Arc<str>,
    /// The table. Views and partitions take after the tables they come from.
    pub relation: Arc<str>,
    /// The column.
    pub column: Arc<str>,
}

/// Columns that somebody looked at and found free of identifiers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CleanColumns {
    /// `schema.relation.column`.
    Column(ColumnName),
    /// `schema.relation.*`: all that are not protected, also those that are added later.
    Relation {
        /// The schema.
        schema: Arc<str>,
        /// The table.
        relation: Arc<str>,
    },
    /// `schema.*`: all of a schema that are not protected.
    Schema {
        /// The schema.
        schema: Arc<str>,
    },
}

/// What is said of a protected column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// The kind of identifier. Whoever has `Unmask` on the class sees the column as it is.
    pub class: Class,
    /// How it is masked for everybody else.
    pub operator: Operator,
    /// What everybody else may use it for.
    pub usage: Usage,
}

/// The protection of one resource. A column that is neither protected nor clean is masked, except for whoever has
/// `Unmask` on the resource as a whole.
#[derive(Debug)]
pub struct Protected {
    /// The protected columns.
    pub columns: Vec<(ColumnName, Rule)>,
    /// The clean ones.
    pub clean: Vec<CleanColumns>,
    /// The columns that identify a patient, by which the trail names whose records were returned.
    pub patients: Vec<ColumnName>,
    /// Whose identifiers these are: resources that name the same issuer share their patients.
    pub issuer: Arc<str>,
    /// What looks through the text of clean columns, for people who do not see everything; `None` where nothing does.
    pub detector: Option<Detector>,
    /// Clean columns whose text is not looked through.
    pub trusted: Vec<CleanColumns>,
    /// Views of which somebody said that which rows they have tells nothing, whatever their definitions look at.
    pub trusted_views: Vec<CleanColumns>,
    /// How often in an hour a person may filter by columns that they do not see and whose usage allows it.
    pub filters_per_hour: u32,
    /// What tokens and hashes are made with: the same over all tables, sessions and protocols.
    pub keys: Keys,
}
