//! The reports of journal writers to their parent, compared with the records that a later process reads.

use std::collections::{BTreeMap, BTreeSet};

/// The reports of all writers, over all their lives.
#[derive(Clone, Debug, Default)]
pub struct Told {
    runs: BTreeMap<String, Run>,
    /// How many records were acknowledged.
    pub acknowledged: u64,
    /// How often a writer found the journal open for it.
    pub opened: u64,
    /// Whether the power is being cut.
    cut: bool,
}

#[derive(Clone, Debug, Default)]
struct Run {
    /// The hash of each reported record, by number.
    known: BTreeMap<u64, String>,
    /// The hash of each record whose report came after the power was cut, so that it does not count.
    late: BTreeMap<u64, String>,
    /// The last record that a writer tried to append.
    tried: u64,
}

/// The records that a reader found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Each run's records in the order in which they were read: number and hash.
    pub runs: BTreeMap<String, Vec<(u64, String)>>,
    /// Runs that were refused by name, and why.
    pub refused: BTreeMap<String, String>,
    /// Damage that opening named.
    pub damage: u64,
    /// How often sled was made again.
    pub rebuilt: u64,
    /// How many commits sled had not seen.
    pub replayed: u64,
    /// How many bytes of an unfinished write were cut off.
    pub torn: u64,
}

/// The losses that a test allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Nothing that was acknowledged.
    Nothing,
    /// A run may be refused by name. It may be shorter if damage is named.
    Named,
}

impl Told {
    /// Takes a writer's line.
    ///
    /// # Errors
    /// It tells of what must not be.
    pub fn take(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |text: &str| {
            text.parse::<u64>()
                .map_err(|_| format!("the writer said {line:?}"))
        };
        match words[..] {
            ["opened"] => self.opened += 1,
            ["try", run, last] => {
                let run = self.runs.entry(run.to_owned()).or_default();
                run.tried = run.tried.max(number(last)?);
            }
            ["ack", run, seq, hash] => {
                let seq = number(seq)?;
                let run_told = self.runs.entry(run.to_owned()).or_default();
                if self.cut {
                    run_told.late.insert(seq, hash.to_owned());
                    return Ok(());
                }
                let known = &mut run_told.known;
                if let Some(before) = known.insert(seq, hash.to_owned()) {
                    return Err(format!("record {seq} of {run} was told twice, first as {before}"));
                }
                self.acknowledged += 1;
            }
            ["stale-accepted", run] => {
                return Err(format!(
                    "an append of an epoch that is over was accepted to {run}"
                ));
            }
            _ => return Err(format!("the writer said {line:?}")),
        }
        Ok(())
    }

    /// The power is being cut: reports from now on until the next judgement do not count. If a file system is
    /// shut down during a sync, it may drop the transaction and let the sync succeed (ext4 waits for a
    /// running or committing transaction, and an aborted one is neither). With the power really gone, nobody
    /// would have received the report.
    pub fn cut(&mut self) {
        self.cut = true;
    }

    /// Returns how many runs were reported.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Compares a reader's findings with the reports. From then on the findings count as reported: they must
    /// not vanish again either.
    ///
    /// # Errors
    /// The first violation: a record lost, invented, changed, or out of place.
    pub fn judge(&mut self, found: &Found, allowed: Allowed) -> Result<(), String> {
        for run in found.runs.keys().chain(found.refused.keys()) {
            if !self.runs.contains_key(run) {
                return Err(format!("nobody asked for run {run}"));
            }
        }
        let missing_is_named = allowed == Allowed::Named && found.damage > 0;
        for (id, run) in &mut self.runs {
            if let Some(why) = found.refused.get(id) {
                if allowed == Allowed::Nothing {
                    return Err(format!("run {id} was refused: {why}"));
                }
                continue;
            }
            let empty = Vec::new();
            let records = found.runs.get(id).unwrap_or(&empty);
            for (place, (seq, hash)) in records.iter().enumerate() {
                if *seq != place as u64 + 1 {
                    return Err(format!("record {} of {id} has number {seq}", place + 1));
                }
                if *seq > run.tried {
                    return Err(format!("nobody asked for record {seq} of {id}"));
                }
                match run.known.get(seq).or_else(|| run.late.get(seq)) {
                    Some(known) if known != hash => {
                        return Err(format!(
                            "record {seq} of {id} is not the one that was acknowledged"
                        ));
                    }
                    _ if allowed == Allowed::Nothing => drop(run.known.insert(*seq, hash.clone())),
                    _ => {}
                }
            }
            let last = run.known.keys().last().copied().unwrap_or(0);
            if (records.len() as u64) < last && !missing_is_named {
                return Err(format!(
                    "run {id} has {} records, and {last} were acknowledged",
                    records.len()
                ));
            }
            run.late.clear();
        }
        self.cut = false;
        Ok(())
    }
}

impl Found {
    /// Parses a reader's output.
    ///
    /// # Errors
    /// The reader did not end, or printed an unknown line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        let mut ended = false;
        for line in text.lines() {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            let number = |text: &str| {
                text.parse::<u64>()
                    .map_err(|_| format!("the reader said {line:?}"))
            };
            match words[..] {
                ["record", run, seq, hash] => {
                    let records = found.runs.entry(run.to_owned()).or_default();
                    records.push((number(seq)?, hash.to_owned()));
                }
                ["refused", run, ..] => drop(found.refused.insert(run.to_owned(), line.to_owned())),
                ["damage", count] => found.damage = number(count)?,
                ["rebuilt", count] => found.rebuilt = number(count)?,
                ["replayed", count] => found.replayed = number(count)?,
                ["torn", count] => found.torn = number(count)?,
                ["end"] => ended = true,
                _ => return Err(format!("the reader said {line:?}")),
            }
        }
        let runs: BTreeSet<_> = found.runs.keys().collect();
        if let Some(both) = found.refused.keys().find(|run| runs.contains(run)) {
            return Err(format!("run {both} was read and refused"));
        }
        match ended {
            true => Ok(found),
            false => Err("the reader stopped half-way".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Told {
        let mut told = Told::default();
        for line in ["opened", "try r 2", "ack r 1 a", "ack r 2 b", "try r 3"] {
            told.take(line).unwrap();
        }
        told
    }

    fn read(text: &str) -> Found {
        Found::parse(&format!("{text}\nend\n")).unwrap()
    }

    #[test]
    fn the_judge_sees_what_is_lost_changed_invented_or_out_of_place() {
        let violation = |text| told().judge(&read(text), Allowed::Nothing).unwrap_err();
        assert_eq!(
            told().judge(&read("record r 1 a\nrecord r 2 b"), Allowed::Nothing),
            Ok(())
        );
        assert!(violation("record r 1 a").contains("2 were acknowledged"));
        assert!(violation("damage 0").contains("0 records"));
        assert!(violation("record r 1 a\nrecord r 2 x").contains("not the one"));
        assert!(violation("record r 2 b").contains("number 2"));
        assert!(violation("record r 1 a\nrecord r 2 b\nrecord r 3 c\nrecord r 4 d").contains("record 4"));
        assert!(violation("record r 1 a\nrecord r 2 b\nrecord q 1 c").contains("run q"));
        assert!(violation("refused r it is damaged").contains("refused"));
        assert!(Found::parse("record r 1 a\n").unwrap_err().contains("half-way"));
    }

    #[test]
    fn what_a_reader_was_shown_must_stay_although_it_was_not_acknowledged() {
        let mut told = told();
        let three = "record r 1 a\nrecord r 2 b\nrecord r 3 c";
        told.judge(&read(three), Allowed::Nothing).unwrap();
        let lost = told.judge(&read("record r 1 a\nrecord r 2 b"), Allowed::Nothing);
        assert!(lost.unwrap_err().contains("3 were acknowledged"));
    }

    #[test]
    fn what_is_told_while_the_power_is_cut_may_be_missing_and_must_not_be_another() {
        let cut = || {
            let mut told = told();
            told.cut();
            told.take("ack r 3 c").unwrap();
            told
        };
        let two = "record r 1 a\nrecord r 2 b";
        assert_eq!(cut().judge(&read(two), Allowed::Nothing), Ok(()));
        let other = cut().judge(&read(&format!("{two}\nrecord r 3 x")), Allowed::Nothing);
        assert!(other.unwrap_err().contains("not the one"));
        let one = cut().judge(&read("record r 1 a"), Allowed::Nothing);
        assert!(one.unwrap_err().contains("2 were acknowledged"));
    }

    #[test]
    fn damage_that_is_named_allows_what_is_missing_and_never_what_was_changed() {
        let judge = |text| told().judge(&read(text), Allowed::Named);
        assert_eq!(judge("damage 1\nrecord r 1 a"), Ok(()));
        assert_eq!(judge("refused r its record 2 is lost"), Ok(()));
        assert!(judge("damage 0\nrecord r 1 a").is_err());
        assert!(judge("damage 1\nrecord r 1 x").is_err());
    }

    #[test]
    fn an_append_of_an_epoch_that_is_over_is_a_violation() {
        assert!(told().take("stale-accepted r").unwrap_err().contains("epoch"));
        assert!(told().take("ack r 2 c").unwrap_err().contains("twice"));
    }
}
