//! The configuration's names, found in a resource's catalogue.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};

use super::plan::Protection;
use crate::protected::{CleanColumns, ColumnName, Protected, Rule};
use crate::protocol::postgres::sql::Catalogue;
use crate::protocol::postgres::sql::lineage::{self, Column, Origin};

/// How many generations of partitions or children are followed.
const GENERATIONS_MAX: usize = 32;

/// A relation as the catalogue has it.
struct Table {
    schema: Arc<str>,
    name: Arc<str>,
    columns: Vec<(Box<str>, Column, (u32, i32))>,
}

impl Protection {
    /// Finds what the configuration names. A partition or child is protected as the tables it inherits from, and is as
    /// clean as they are; what it is called itself comes first.
    pub(crate) fn resolve(protected: &Protected, catalogue: &Catalogue) -> Protection {
        let rules: HashMap<&ColumnName, Rule> =
            protected.columns.iter().map(|(name, rule)| (name, *rule)).collect();
        let mut tables: HashMap<u32, Table> = HashMap::new();
        catalogue.each_column(|schema, relation, column, number, ty| {
            let table = tables.entry(number.relation).or_insert_with(|| Table {
                schema: Arc::clone(schema),
                name: Arc::clone(relation),
                columns: Vec::new(),
            });
            table.columns.push((column.into(), number, ty));
        });
        let mut protection = Protection { detects: protected.detector.is_some(), ..Protection::default() };
        for (oid, table) in &tables {
            for (name, column, ty) in &table.columns {
                protection.types.insert(*column, *ty);
                let lineage = ancestors(*oid, catalogue);
                let named = lineage.iter().filter_map(|oid| tables.get(oid)).map(|table| ColumnName {
                    schema: Arc::clone(&table.schema),
                    relation: Arc::clone(&table.name),
                    column: Arc::from(&**name),
                });
                let named: Vec<ColumnName> = named.collect();
                if let Some(rule) = named.iter().find_map(|name| rules.get(name)) {
                    protection.rules.insert(*column, *rule);
                } else if named.iter().any(|name| protected.clean.iter().any(|clean| clean.holds(name))) {
                    protection.clean.insert(*column);
                }
                if !protection.clean.contains(column) {
                    let name = format!("{}.{}.{name}", table.schema, table.name);
                    protection.names.insert(*column, name.into());
                }
                if named.iter().any(|name| protected.trusted.iter().any(|trusted| trusted.holds(name))) {
                    protection.trusted.insert(*column);
                }
                if named.iter().any(|name| protected.patients.contains(name)) {
                    protection.patients.columns.insert(*column);
                    protection.patients.naming.insert(*oid);
                    protection.patients.bearing.insert(*oid);
                } else if !protection.clean.contains(column) {
                    protection.patients.bearing.insert(*oid);
                }
            }
        }
        for (oid, table) in &tables {
            let named = |view: &&CleanColumns| view.holds_all(&table.schema, &table.name);
            if protected.trusted_views.iter().any(|view| named(&view)) {
                protection.trusted_views.insert(*oid);
            }
        }
        for bound in catalogue.bounds() {
            let mut relations: Vec<u32> = bound.columns.iter().map(|column| column.relation).collect();
            relations.dedup();
            for relation in relations {
                protection.bounds.entry(relation).or_default().push(bound.clone());
            }
        }
        lineage::views(catalogue, |column, origin| {
            let from = (*origin != Origin::Unknown).then(|| origin.columns().into());
            protection.views.insert(column, from);
        });
        protection
    }
}

/// Returns the relation and those it inherits from, nearest first.
fn ancestors(oid: u32, catalogue: &Catalogue) -> Vec<u32> {
    let mut all = vec![oid];
    let mut at = 0;
    while let Some(next) = all.get(at).copied().filter(|_| at < GENERATIONS_MAX) {
        for parent in catalogue.parents(next) {
            if !all.contains(parent) {
                all.push(*parent);
            }
        }
        at += 1;
    }
    all
}

impl CleanColumns {
    fn holds_all(&self, schema: &str, relation: &str) -> bool {
        match self {
            CleanColumns::Column(_) => false,
            CleanColumns::Relation { schema: of, relation: named } => **of == *schema && **named == *relation,
            CleanColumns::Schema { schema: of } => **of == *schema,
        }
    }

    fn holds(&self, name: &ColumnName) -> bool {
        match self {
            CleanColumns::Column(clean) => clean == name,
            CleanColumns::Relation { schema, relation } => {
                *schema == name.schema && *relation == name.relation
            }
            CleanColumns::Schema { schema } => *schema == name.schema,
        }
    }
}

#[cfg(test)]
mod tests {
    use model::RootKey;
    use phi::operator::KeyId;
    use phi::{Class, Keys, Operator, Usage};

    use super::*;
    use crate::protocol::postgres::sql::tests::catalogue_of_hospital;

    fn name(relation: &str, column: &str) -> ColumnName {
        ColumnName { schema: "public".into(), relation: relation.into(), column: column.into() }
    }

    #[test]
    fn names_become_columns_and_a_rule_goes_before_clean() {
        let rule = Rule { class: Class::Ssn, operator: Operator::Redact, usage: Usage::None };
        let protected = Protected {
            columns: vec![(name("patients", "ssn"), rule), (name("nowhere", "x"), rule)],
            clean: vec![
                CleanColumns::Relation { schema: "public".into(), relation: "patients".into() },
                CleanColumns::Column(name("encounters", "ward")),
                CleanColumns::Schema { schema: "archive".into() },
            ],
            patients: vec![name("encounters", "patient_id")],
            issuer: "hospital".into(),
            detector: None,
            trusted: vec![CleanColumns::Column(name("encounters", "ward"))],
            trusted_views: Vec::new(),
            filters_per_hour: crate::FILTERS_PER_HOUR,
            keys: Keys::derive(&RootKey::new([7; 32]), KeyId::new(1).unwrap()),
        };
        let protection = Protection::resolve(&protected, &catalogue_of_hospital());
        let column = |relation, number| Column { relation, number };
        assert_eq!(protection.rules.keys().collect::<Vec<_>>(), [&column(20001, 3)]);
        let mut clean: Vec<_> = protection.clean.iter().copied().collect();
        clean.sort_unstable();
        let mut expected: Vec<_> = [1, 2, 4, 5, 6, 7].map(|number| column(20001, number)).to_vec();
        expected.extend([column(20002, 3), column(20005, 1)]);
        assert_eq!(clean, expected);
        assert_eq!(protection.trusted.iter().collect::<Vec<_>>(), [&column(20002, 3)]);
        let patients = &protection.patients;
        assert_eq!(patients.columns.iter().collect::<Vec<_>>(), [&column(20002, 2)]);
        assert_eq!(protection.type_of(column(20002, 2)), (23, -1));
        assert!(patients.naming.contains(&20002) && !patients.naming.contains(&20001));
        // What is not clean through and through is about patients.
        let mut bearing: Vec<u32> = patients.bearing.iter().copied().collect();
        bearing.sort_unstable();
        assert_eq!(bearing, [20001, 20002, 20004, 20006, 20007, 20008]);
        // Of a view: what its columns come from.
        assert_eq!(protection.views.get(&column(20006, 3)), Some(&Some([column(20001, 3)].into())));
        assert!(protection.hides(column(20006, 3), &|_| false));
        assert!(!protection.hides(column(20006, 2), &|_| false));
        assert!(protection.hides(column(20006, 0), &|_| false));
    }
}
