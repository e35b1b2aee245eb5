//! The figures of a run: gathered by name, reduced to medians, compared, printed and written.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// All values measured for each name, with the unit.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    values: BTreeMap<String, (Vec<f64>, &'static str)>,
}

/// The units of figures that come in files.
const UNITS: [&str; 3] = ["us", "rows/s", "MB/s"];

/// What is to be reached, by the median of a run: the name of a figure, what it is divided by, the gate and the aim.
#[derive(Debug)]
struct Goal {
    what: &'static str,
    figure: &'static str,
    base: Option<&'static str>,
    gate: f64,
    aim: f64,
    less_is_better: bool,
}

const GOALS: &[Goal] = &[
    Goal {
        what: "CPU per prepared query, against pgbouncer",
        figure: "cpu_us_per_query.wardline.prepared.64",
        base: Some("cpu_us_per_query.pgbouncer.prepared.64"),
        gate: 2.5,
        aim: 1.5,
        less_is_better: true,
    },
    Goal {
        what: "CPU per simple query, against pgbouncer",
        figure: "cpu_us_per_query.wardline.simple.64",
        base: Some("cpu_us_per_query.pgbouncer.simple.64"),
        gate: 2.5,
        aim: 1.5,
        less_is_better: true,
    },
    Goal {
        what: "throughput at 64 clients, prepared, against pgbouncer",
        figure: "tps.wardline.prepared.64",
        base: Some("tps.pgbouncer.prepared.64"),
        gate: 0.75,
        aim: 1.0,
        less_is_better: false,
    },
    Goal {
        what: "throughput at 64 clients, simple, against pgbouncer",
        figure: "tps.wardline.simple.64",
        base: Some("tps.pgbouncer.simple.64"),
        gate: 0.75,
        aim: 1.0,
        less_is_better: false,
    },
    Goal {
        what: "rows per second by SELECT, against direct",
        figure: "rows_per_s.wardline.select",
        base: Some("rows_per_s.direct.select"),
        gate: 0.8,
        aim: 0.95,
        less_is_better: false,
    },
    Goal {
        what: "rows per second by COPY, against direct",
        figure: "rows_per_s.wardline.copy",
        base: Some("rows_per_s.direct.copy"),
        gate: 0.8,
        aim: 0.95,
        less_is_better: false,
    },
    Goal {
        what: "KiB per idle session",
        figure: "kib_per_idle_session.wardline",
        base: None,
        gate: 100.0,
        aim: 40.0,
        less_is_better: true,
    },
    Goal {
        what: "CPU ms per log-in with a token",
        figure: "cpu_ms_per_login.wardline.token",
        base: None,
        gate: 2.0,
        aim: 2.0,
        less_is_better: true,
    },
    Goal {
        what: "detection, sparse notes, MB/s per core",
        figure: "detect_mb_per_s.sparse",
        base: None,
        gate: 100.0,
        aim: 100.0,
        less_is_better: false,
    },
    Goal {
        what: "detection, dense notes, MB/s per core",
        figure: "detect_mb_per_s.dense",
        base: None,
        gate: 100.0,
        aim: 100.0,
        less_is_better: false,
    },
    Goal {
        what: "rows per CPU second in the relay's path, 6 of 12 masked",
        figure: "rows_per_cpu_s.masked",
        base: None,
        gate: 1e6,
        aim: 1e6,
        less_is_better: false,
    },
    Goal {
        what: "first row, ms added at p99 to unmasked",
        figure: "first_row_added_ms_p99.to_plain",
        base: None,
        gate: 0.3,
        aim: 0.3,
        less_is_better: true,
    },
    Goal {
        what: "first row, ms added at p99 to direct",
        figure: "first_row_added_ms_p99.to_direct",
        base: None,
        gate: 0.3,
        aim: 0.3,
        less_is_better: true,
    },
    Goal {
        what: "verdict of a join, cold, us",
        figure: "verdict_cold_us.join",
        base: None,
        gate: 30.0,
        aim: 30.0,
        less_is_better: true,
    },
    Goal {
        what: "verdict of a join, cached, us",
        figure: "verdict_cached_us.join",
        base: None,
        gate: 1.0,
        aim: 1.0,
        less_is_better: true,
    },
    Goal {
        what: "MiB grown while a large result passes",
        figure: "memory_grown_mib",
        base: None,
        gate: 16.0,
        aim: 4.0,
        less_is_better: true,
    },
];

impl Figures {
    /// Adds one measurement.
    pub(crate) fn add(&mut self, name: String, value: f64, unit: &'static str) {
        self.values.entry(name).or_insert_with(|| (Vec::new(), unit)).0.push(value);
    }

    /// Adds the figures of a file: a list of objects with `name`, `value` and `unit`.
    pub(crate) fn read(&mut self, file: &Path) -> Result<()> {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let list: Vec<Value> = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        for figure in list {
            let name = figure.get("name").and_then(Value::as_str).context("a figure without a name")?;
            let value = figure.get("value").and_then(Value::as_f64).context("a figure without a value")?;
            let unit = UNITS.iter().find(|unit| figure.get("unit").is_some_and(|given| given == **unit));
            self.add(name.to_owned(), value, unit.context("a figure of an unknown unit")?);
        }
        Ok(())
    }

    /// Returns what was measured last for a name.
    pub(crate) fn last(&self, name: &str) -> Option<f64> {
        self.values.get(name)?.0.last().copied()
    }

    /// Returns all figures for people, one a line, then the goals.
    pub(crate) fn list(&self) -> String {
        let mut text = String::new();
        for (name, (_, unit)) in &self.values {
            let Some(value) = self.median(name) else { continue };
            let _ = writeln!(text, "{name:<42}{:>14} {unit}", figure(value));
        }
        self.goals(&mut text);
        text
    }

    /// Returns the median of a figure.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        let (values, _) = self.values.get(name)?;
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted.get((sorted.len().checked_sub(1)?) / 2)?, sorted.get(sorted.len() / 2)?);
        Some(f64::midpoint(*low, *high))
    }

    /// Returns the figures and the ratios of the goals, as JSON.
    pub(crate) fn json(&self) -> Value {
        let figures = self.values.iter().filter_map(|(name, (values, unit))| {
            let round = |value: f64| (value * 1e3).round() / 1e3;
            let runs: Vec<f64> = values.iter().copied().map(round).collect();
            Some(json!({ "name": name, "value": round(self.median(name)?), "unit": unit, "runs": runs }))
        });
        let ratios = GOALS.iter().filter(|goal| goal.base.is_some()).filter_map(|goal| {
            let name = format!("ratio.{}", goal.figure);
            Some(json!({ "name": name, "value": (self.reached(goal)? * 1e3).round() / 1e3, "unit": "1" }))
        });
        Value::Array(figures.chain(ratios).collect())
    }

    /// Returns the table for people: one block per measure, a column per side, then the goals.
    pub(crate) fn table(&self, sides: &[&str]) -> String {
        let mut text = String::new();
        for (measure, title) in [
            ("tps", "transactions per second"),
            ("p50_ms", "latency, median, ms"),
            ("p99_ms", "latency, 99th percentile, ms"),
            ("cpu_us_per_query", "CPU of the process in the middle, us per query"),
            ("rows_per_s", "rows per second, one million rows"),
            ("connections_per_s", "new connections per second, 8 at a time"),
            ("cpu_ms_per_login", "CPU of the process in the middle, ms per connection and query"),
            ("kib_per_idle_session", "KiB per idle session, 500 sessions"),
        ] {
            self.block(&mut text, measure, title, sides);
        }
        self.goals(&mut text);
        text
    }

    fn block(&self, text: &mut String, measure: &str, title: &str, sides: &[&str]) {
        // From the rest of the name to the medians by side; the rest is split so that 16 sorts before 64.
        let mut rows: BTreeMap<(String, u32), BTreeMap<&str, f64>> = BTreeMap::new();
        for name in self.values.keys() {
            let mut parts = name.splitn(3, '.');
            let (Some(first), Some(side)) = (parts.next(), parts.next()) else { continue };
            let (Some(side), true) = (sides.iter().find(|known| **known == side), first == measure) else {
                continue;
            };
            let rest = parts.next().unwrap_or_default();
            let (word, number) = rest.rsplit_once('.').unwrap_or((rest, ""));
            let row = (word.to_owned(), number.parse().unwrap_or(0));
            rows.entry(row).or_default().extend(self.median(name).map(|value| (*side, value)));
        }
        if rows.is_empty() {
            return;
        }
        let _ = write!(text, "\n{title}\n{:>18}", "");
        for side in sides {
            let _ = write!(text, "{side:>12}");
        }
        if sides.contains(&"wardline") {
            text.push_str("   of pgbouncer   of direct");
        }
        text.push('\n');
        for ((word, number), values) in &rows {
            let label = if *number == 0 { word.clone() } else { format!("{word} x {number}") };
            let _ = write!(text, "{label:>18}");
            for side in sides {
                match values.get(side) {
                    Some(value) => drop(write!(text, "{:>12}", figure(*value))),
                    None => drop(write!(text, "{:>12}", "-")),
                }
            }
            for (base, width) in [("pgbouncer", 15), ("direct", 12)] {
                if let (Some(ours), Some(base)) = (values.get("wardline"), values.get(base))
                    && *base > 0.0
                {
                    let _ = write!(text, "{:>width$.2}", ours / base);
                }
            }
            text.push('\n');
        }
    }

    fn goals(&self, text: &mut String) {
        let reached: Vec<(&Goal, f64)> =
            GOALS.iter().filter_map(|goal| Some((goal, self.reached(goal)?))).collect();
        if reached.is_empty() {
            return;
        }
        let _ = writeln!(text, "\n{:<55}{:>9}{:>9}{:>9}", "goals", "reached", "gate", "aim");
        for (goal, value) in reached {
            let verdict = match (goal.met(value, goal.gate), goal.met(value, goal.aim)) {
                (_, true) => "aim reached",
                (true, false) => "gate reached",
                (false, false) => "MISSED",
            };
            let shown = |value: f64| if value >= 1e4 { format!("{value:.0}") } else { format!("{value:.2}") };
            let (value, gate, aim) = (shown(value), shown(goal.gate), shown(goal.aim));
            let _ = writeln!(text, "{:<55}{value:>9}{gate:>9}{aim:>9}  {verdict}", goal.what);
        }
    }

    fn reached(&self, goal: &Goal) -> Option<f64> {
        let value = self.median(goal.figure)?;
        match goal.base {
            None => Some(value),
            Some(base) => self.median(base).filter(|base| *base > 0.0).map(|base| value / base),
        }
    }
}

impl Goal {
    fn met(&self, value: f64, bound: f64) -> bool {
        if self.less_is_better { value <= bound } else { value >= bound }
    }
}

/// Returns a figure with the digits that mean something.
fn figure(value: f64) -> String {
    if value >= 1000.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even() {
        let mut figures = Figures::default();
        for value in [3.0, 1.0, 2.0] {
            figures.add("odd".into(), value, "us");
        }
        for value in [4.0, 1.0] {
            figures.add("even".into(), value, "us");
        }
        assert_eq!(figures.median("odd"), Some(2.0));
        assert_eq!(figures.median("even"), Some(2.5));
        assert_eq!(figures.median("none"), None);
    }

    #[test]
    fn goals_are_judged_by_ratio() {
        let mut figures = Figures::default();
        figures.add("tps.pgbouncer.prepared.64".into(), 1000.0, "1/s");
        figures.add("tps.wardline.prepared.64".into(), 800.0, "1/s");
        let table = figures.table(&["direct", "pgbouncer", "wardline"]);
        assert!(table.contains("prepared x 64"), "{table}");
        assert!(table.contains("0.80     0.75     1.00  gate reached"), "{table}");
        let json = figures.json();
        let ratio = json.as_array().expect("a list").last().expect("a ratio");
        assert_eq!(ratio, &json!({ "name": "ratio.tps.wardline.prepared.64", "value": 0.8, "unit": "1" }));
    }
}
