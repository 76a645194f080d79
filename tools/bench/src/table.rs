//! The figures of one run as Markdown: medians of the rounds, ratios between subjects, and the targets.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::Outcome;
use crate::figure::{Figure, Scaled};

/// A subject under a load: subject, runs, steps.
type Case = (String, u32, u32);

/// The medians of everything that was measured.
struct Measured {
    cases: BTreeMap<Case, Medians>,
    scaled: Vec<Scaled>,
}

/// The medians of a case's rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Medians {
    rounds: usize,
    rate: f64,
    p50_us: f64,
    p99_us: f64,
}

/// The order of the subjects in the table.
const SUBJECTS: [&str; 7] = [
    "raw",
    "sled",
    "rekindle",
    "rekindle-memory",
    "restate",
    "dbos-sqlite",
    "dbos-postgres",
];

/// Prints the tables; exits 1 where a target is missed.
pub(crate) fn print(files: &[PathBuf]) -> Outcome<ExitCode> {
    let measured = read(files)?;
    println!("{}", steps(&measured));
    if !measured.scaled.is_empty() {
        println!("{}", scales(&measured));
    }
    let targets = targets(&measured);
    let mut text = String::from("| target | at least | measured | |\n|---|---|---|---|\n");
    for target in &targets {
        let said = match target.met {
            None => "no data",
            Some(true) => "met",
            Some(false) => "**missed**",
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {said} |",
            target.what, target.wanted, target.found
        );
    }
    println!("{text}");
    let missed = targets.iter().any(|target| target.met == Some(false));
    Ok(if missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn read(files: &[PathBuf]) -> Outcome<Measured> {
    let mut rounds: BTreeMap<Case, Vec<Figure>> = BTreeMap::new();
    let mut scaled = Vec::new();
    for file in files {
        for (number, line) in lines(file)?.lines().enumerate() {
            if let Ok(found) = serde_json::from_str::<Scaled>(line) {
                scaled.push(found);
                continue;
            }
            let figure: Figure = serde_json::from_str(line)
                .map_err(|error| format!("{}:{}: {error}", file.display(), number + 1))?;
            let case = (figure.subject.clone(), figure.runs, figure.steps);
            rounds.entry(case).or_default().push(figure);
        }
    }
    let cases = rounds.into_iter().map(|(case, figures)| {
        let of = |pick: fn(&Figure) -> f64| median(figures.iter().map(pick).collect());
        let medians = Medians {
            rounds: figures.len(),
            rate: of(Figure::rate),
            p50_us: of(|figure| figure.p50_us),
            p99_us: of(|figure| figure.p99_us),
        };
        (case, medians)
    });
    Ok(Measured {
        cases: cases.collect(),
        scaled,
    })
}

fn lines(file: &Path) -> Outcome<String> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()).into())
}

/// Returns the middle value, or the mean of the two; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        len if len % 2 == 1 => values[len / 2],
        len => f64::midpoint(values[len / 2 - 1], values[len / 2]),
    }
}

fn steps(measured: &Measured) -> String {
    let mut text = String::from(
        "| runs × steps | subject | steps/s | p50 µs | p99 µs | rekindle ÷ it | rounds |\n|---|---|---|---|---|---|---|\n",
    );
    let mut loads: Vec<(u32, u32)> = measured
        .cases
        .keys()
        .map(|(_, runs, steps)| (*runs, *steps))
        .collect();
    loads.sort_by_key(|(runs, steps)| (*runs, std::cmp::Reverse(*steps)));
    loads.dedup();
    for (runs, steps) in loads {
        let ours = measured.rate("rekindle", runs, steps);
        for subject in SUBJECTS {
            let Some(found) = measured.cases.get(&(subject.to_owned(), runs, steps)) else {
                continue;
            };
            let ratio = ours.map_or_else(String::new, |ours| format!("{:.2}", ours / found.rate));
            let _ = writeln!(
                text,
                "| {runs} × {steps} | {subject} | {:.0} | {:.0} | {:.0} | {ratio} | {} |",
                found.rate, found.p50_us, found.p99_us, found.rounds
            );
        }
    }
    text
}

fn scales(measured: &Measured) -> String {
    let mut text = String::from("| what | ms | of it sled's own open | peak MB |\n|---|---|---|---|\n");
    for scaled in &measured.scaled {
        let sled = scaled
            .sled_ms
            .map_or_else(|| "–".to_owned(), |ms| format!("{ms:.0}"));
        let peak = scaled
            .peak_bytes
            .map_or_else(|| "–".to_owned(), |bytes| format!("{:.0}", megabytes(bytes)));
        let _ = writeln!(text, "| {} | {:.0} | {sled} | {peak} |", scaled.what, scaled.ms);
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "shown to the megabyte")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// A target, and what was found.
struct Target {
    what: String,
    wanted: String,
    found: String,
    /// None where nothing was measured.
    met: Option<bool>,
}

impl Measured {
    fn rate(&self, subject: &str, runs: u32, steps: u32) -> Option<f64> {
        self.cases
            .get(&(subject.to_owned(), runs, steps))
            .map(|found| found.rate)
    }

    /// Returns how many times as fast as `other` the journal on disk is.
    fn ratio(&self, other: &str, runs: u32, steps: u32) -> Option<f64> {
        Some(self.rate("rekindle", runs, steps)? / self.rate(other, runs, steps)?)
    }

    fn scaled(&self, begins: &str) -> Option<&Scaled> {
        self.scaled.iter().find(|scaled| scaled.what.starts_with(begins))
    }
}

fn targets(measured: &Measured) -> Vec<Target> {
    let times = |what: &str, other: &str, runs, steps, wanted: f64| {
        let found = measured.ratio(other, runs, steps);
        Target {
            what: format!("{what}, against {other}"),
            wanted: format!("{wanted} ×"),
            found: found.map_or_else(|| "–".to_owned(), |found| format!("{found:.2} ×")),
            met: found.map(|found| found >= wanted),
        }
    };
    let at_most = |what: &str, unit: &str, found: Option<f64>, wanted: f64| Target {
        what: what.to_owned(),
        wanted: format!("≤ {wanted} {unit}"),
        found: found.map_or_else(|| "–".to_owned(), |found| format!("{found:.1} {unit}")),
        met: found.map(|found| found <= wanted),
    };
    let chain = "chain of 1,000 steps, durable";
    let many = measured.rate("rekindle", 128, 100);
    let spread = measured.cases.get(&("rekindle".to_owned(), 1, 1000));
    let beyond_sled = |begins: &str| {
        let scaled = measured.scaled(begins)?;
        Some(scaled.ms - scaled.sled_ms?)
    };
    let peak = |begins: &str| Some(megabytes(measured.scaled(begins)?.peak_bytes?));
    let ms = |begins: &str| measured.scaled(begins).map(|scaled| scaled.ms);
    let growth = || Some(ms("plan of 100000")? / ms("plan of 10000 ")?);
    vec![
        times(chain, "raw", 1, 1000, 0.75),
        times(chain, "restate", 1, 1000, 5.0),
        times(chain, "dbos-sqlite", 1, 1000, 5.0),
        times(chain, "dbos-postgres", 1, 1000, 5.0),
        Target {
            what: "128 runs × 100 steps".to_owned(),
            wanted: "30000 steps/s".to_owned(),
            found: many.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.0} steps/s")),
            met: many.map(|rate| rate >= 30_000.0),
        },
        times("128 runs × 100 steps", "restate", 128, 100, 4.0),
        at_most(
            "p99 ÷ p50 of one durable transition",
            "×",
            spread.map(|found| found.p99_us / found.p50_us),
            3.0,
        ),
        at_most(
            "resume of 10,000 steps, half done, beyond sled's open",
            "ms",
            beyond_sled("resume"),
            150.0,
        ),
        at_most(
            "`runs` over 10,000 finished runs, beyond sled's open",
            "ms",
            beyond_sled("runs"),
            100.0,
        ),
        at_most(
            "open of 1,000,000 records, beyond sled's own",
            "ms",
            beyond_sled("open"),
            1000.0,
        ),
        at_most(
            "open of 1,000,000 records, peak memory",
            "MB",
            peak("open"),
            200.0,
        ),
        at_most(
            "plan of 100,000 steps: lint, expand, start",
            "ms",
            ms("plan of 100000"),
            2000.0,
        ),
        at_most(
            "plan of 100,000 steps, peak memory",
            "MB",
            peak("plan of 100000"),
            400.0,
        ),
        at_most("plan of 100,000 steps ÷ plan of 10,000", "×", growth(), 12.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_rounds_counts() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
    }

    #[test]
    fn what_was_not_measured_is_no_data_and_misses_nothing() {
        let nothing = Measured {
            cases: BTreeMap::new(),
            scaled: Vec::new(),
        };
        assert!(targets(&nothing).iter().all(|target| target.met.is_none()));
    }

    #[test]
    fn a_missed_target_is_told_from_a_met_one() {
        let case = |subject: &str, rate| {
            let medians = Medians {
                rounds: 1,
                rate,
                p50_us: 100.0,
                p99_us: 250.0,
            };
            ((subject.to_owned(), 1, 1000), medians)
        };
        let measured = Measured {
            cases: [
                case("rekindle", 4000.0),
                case("raw", 5000.0),
                case("restate", 1000.0),
            ]
            .into(),
            scaled: Vec::new(),
        };
        let found: Vec<Option<bool>> = targets(&measured).iter().map(|target| target.met).collect();
        assert_eq!(found[..3], [Some(true), Some(false), None]);
        assert_eq!(found[6], Some(true), "p99 ÷ p50");
    }
}
