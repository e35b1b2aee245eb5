//! Row 5: what is left of identifiers by the Safe Harbor method is exact, and tokens follow from nothing but the key.
//! What is found of the 18 identifiers in text is measured in `phi` (`row_5_recall_and_precision_stay_above_their_floors`).

use std::collections::BTreeSet;

use testbed::gateway::Gateway;
use testbed::postgres::Cluster;

use super::stage::{self, HOSPITAL, answer};

const PHI: &str = "[resource.hospital.phi]\n\
    clean = [\"public.persons.id\"]\n\
    [resource.hospital.phi.columns]\n\
    \"public.persons.zip\" = { class = \"geographic\", operator = \"zip3\" }\n\
    \"public.persons.age\" = { class = \"age\", operator = \"age\" }\n\
    \"public.persons.born\" = { class = \"date\", operator = \"year\" }\n\
    \"public.persons.mrn\" = { class = \"mrn\", operator = \"token\" }\n\
    \"public.persons.number\" = { class = \"patient_id\", operator = \"token\" }";

/// The restricted prefixes as published: the guidance of the Department of Health and Human Services of 2012, by the
/// census of 2000, and those that the census of 2010 adds.
const RESTRICTED: [&str; 23] = [
    "036", "059", "063", "102", "203", "556", "692", "790", "821", "823", "830", "831", "878", "879", "884",
    "890", "893", "202", "204", "205", "369", "753", "772",
];
/// Prefixes of large cities.
const LARGE: [&str; 12] =
    ["021", "100", "112", "191", "303", "331", "441", "482", "606", "770", "850", "981"];

fn gateway(cluster: &Cluster) -> Gateway {
    let gateway = stage::gateway(cluster).toml(PHI).role("analyst", HOSPITAL, "read = [\"public.persons\"]");
    gateway.person("ann", &["analyst"]).start().expect("it starts")
}

#[test]
fn row_5_zip_codes_ages_and_years_are_exact_and_tokens_follow_from_the_key() {
    let cluster = stage::hospital();
    cluster
        .psql_in(
            HOSPITAL,
            "create table persons (id int primary key, zip text, age int, born date, mrn text, number bigint);
             insert into persons select n, lpad(n::text, 3, '0') || '17', n % 130,
                 (current_date - (n * 60) * interval '1 day')::date, 'MRN-' || n % 500 || '-0042', n % 500
             from generate_series(0, 999) n",
        )
        .expect("a table");
    let one = gateway(&cluster);
    let ann = one.conninfo("ann", HOSPITAL).expect("a person");
    let rows = |text: &str| -> Vec<Vec<String>> {
        let answer = answer(&ann, text);
        answer.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
    };

    for row in rows("select id, zip from persons order by id") {
        let prefix = format!("{:03}", row[0].parse::<u32>().expect("a number"));
        let shown = row[1].as_str();
        assert!(shown == "000" || shown == prefix, "{prefix} is shown as {shown}");
        assert!(!RESTRICTED.contains(&prefix.as_str()) || shown == "000", "{prefix} is restricted");
        assert!(!LARGE.contains(&prefix.as_str()) || shown == prefix, "{prefix} is a large city");
    }
    for row in rows("select id, age from persons order by id") {
        let age = row[0].parse::<u32>().expect("a number") % 130;
        assert_eq!(row[1].parse::<u32>().expect("an age"), age.min(90), "the age {age}");
    }
    let year =
        cluster.psql("select extract(year from current_date)").expect("psql").parse::<i32>().expect("a year");
    let true_years = cluster.psql_in(HOSPITAL, "select extract(year from born) from persons order by id");
    let true_years = true_years.expect("psql");
    for (row, born) in rows("select id, born from persons order by id").iter().zip(true_years.lines()) {
        let born = born.parse::<i32>().expect("a year");
        let shown = &row[1];
        assert!(shown.ends_with("-01-01"), "{shown} is more than a year");
        let shown = shown[..4].parse::<i32>().expect("a year");
        assert_eq!(shown, born.max(year - 90), "born in {born}");
    }
    tokens(&cluster, one);
}

/// The same value has the same token wherever it stands, also after a restart; under another key it has another.
fn tokens(cluster: &Cluster, mut one: Gateway) {
    let of = |gateway: &Gateway, column: &str| -> Vec<String> {
        let ann = gateway.conninfo("ann", HOSPITAL).expect("a person");
        let tokens = answer(&ann, &format!("select {column} from persons order by id"));
        tokens.lines().map(str::to_owned).collect()
    };
    let columns = ["mrn", "number"];
    let ours = columns.map(|column| of(&one, column));
    for (column, tokens) in columns.iter().zip(&ours) {
        assert_eq!(tokens[..500], tokens[500..], "{column}: equal values have equal tokens");
        assert_eq!(
            tokens.iter().collect::<BTreeSet<_>>().len(),
            500,
            "{column}: other values have other tokens"
        );
        let values = cluster.psql_in(HOSPITAL, &format!("select {column} from persons order by id"));
        let values = values.expect("psql");
        for (token, value) in tokens.iter().zip(values.lines()) {
            // The digits of a short number may be in a long one by chance.
            let shows = if value.len() < 5 { token == value } else { token.contains(value) };
            assert!(!shows, "{column}: a token shows its value");
        }
    }
    assert!(one.terminate().expect("it ends").success());
    one.serve().expect("it starts again");
    assert_eq!(of(&one, columns[0]), ours[0], "tokens outlive the process");
    // It takes the account over, so that the first no longer reaches the database.
    let other = gateway(cluster);
    for (column, tokens) in columns.iter().zip(&ours) {
        let others = of(&other, column);
        assert!(!others.iter().any(|token| tokens.contains(token)), "{column}: the same under another key");
    }
}
