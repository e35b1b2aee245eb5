//! Prints recall and precision per class on generated notes: `cargo run --release -p phi --example quality [SEED] [NOTES]`.
//! With a third argument it also prints samples of what was missed and of what was found for nothing.
#![allow(missing_docs, reason = "an example")]

#[path = "../tests/it/measure.rs"]
mod measure;
#[path = "../tests/it/notes.rs"]
mod notes;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (seed, count) = (number(7), number(20_000));
    let count = usize::try_from(count).expect("a count");
    for (title, make) in
        [("notes", notes::note as fn(&mut notes::Random) -> notes::Note), ("hard notes", notes::hard_note)]
    {
        println!("\n{count} {title}, seed {seed}");
        print(&measure::run(seed, count, make));
    }
}

fn print(table: &measure::Table) {
    println!("{:<14}{:>8}{:>9}{:>9}{:>9}{:>11}", "class", "cases", "recall", "as it", "found", "precision");
    let share = |part: u64, of: u64| match of {
        0 => "-".to_owned(),
        of => format!("{}.{:02}", part / of, part * 100 / of % 100),
    };
    for (class, row) in &table.rows {
        println!(
            "{:<14}{:>8}{:>9}{:>9}{:>9}{:>11}",
            class.name(),
            row.truth,
            share(row.found, row.truth),
            share(row.named, row.truth),
            row.given,
            share(row.right, row.given)
        );
    }
    let truth: u64 = table.rows.values().map(|row| row.truth).sum();
    let found: u64 = table.rows.values().map(|row| row.found).sum();
    println!(
        "{:<14}{truth:>8}{:>9}{:>9}{:>9}{:>11}",
        "all",
        share(found, truth),
        "",
        table.given,
        share(table.right, table.given)
    );
    if std::env::args().nth(3).is_some() {
        table.samples.iter().for_each(|sample| println!("{sample}"));
    }
}
