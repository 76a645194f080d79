//! A pure model of a workflow's result, which no kill may change. It knows order, needs, limits, retries and undo,
//! and nothing of the engine.
//!
//! It judges two things. *Marks* are lines that the steps' own programs append to a file; the parent adds the
//! lines `killed` and `approved STEP`. A *history* is the final output of `rekindle history --json`.
//!
//! ```text
//! marks = { begin STEP | end STEP | undo STEP | undone STEP | approved STEP | killed }
//! ```
//! A step acts at least once, and at most once more for each kill. Its needs have ended before. Once a step's
//! end has let another one begin, it does not act again. Undos come last, and a step's undo comes after the
//! undos of the steps that need it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// How a step's acts end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acts {
    /// The n-th act and all after it succeed, those before fail.
    SucceedsAt(usize),
    /// Each of so many attempts fails.
    Fails(usize),
    /// It leaves no mark, and succeeds.
    Silent,
}

/// A step of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name in the plan, its loop keys included.
    pub id: String,
    /// The names that it needs.
    pub needs: Vec<String>,
    /// How its acts end.
    pub acts: Acts,
    /// Whether it has a compensation, which succeeds.
    pub undo: bool,
    /// Whether it runs whatever became of its needs.
    pub always: bool,
    /// Whether it asks a person and does nothing else.
    pub asks: bool,
}

impl Step {
    /// Returns a step that succeeds at its first act.
    pub fn new(id: &str, needs: &[&str]) -> Self {
        Self {
            id: id.to_owned(),
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
            acts: Acts::SucceedsAt(1),
            undo: false,
            always: false,
            asks: false,
        }
    }
}

/// A plan; its steps are in an order in which each comes after its needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The steps.
    pub steps: Vec<Step>,
    /// How many may act at once.
    pub max_parallel: usize,
}

/// The final state of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It succeeded.
    Succeeded,
    /// It failed for good.
    Failed,
    /// It did not run.
    Skipped,
}

impl Flow {
    /// Returns the final state of each step.
    pub fn fates(&self) -> BTreeMap<&str, Fate> {
        let mut fates = BTreeMap::new();
        for step in &self.steps {
            let came = |need: &String| fates.get(need.as_str()) == Some(&Fate::Succeeded);
            let fate = match step.acts {
                _ if !step.always && !step.needs.iter().all(came) => Fate::Skipped,
                Acts::Fails(_) => Fate::Failed,
                Acts::SucceedsAt(_) | Acts::Silent => Fate::Succeeded,
            };
            fates.insert(step.id.as_str(), fate);
        }
        fates
    }

    /// Returns whether the run fails, so that it undoes its work.
    pub fn fails(&self) -> bool {
        self.fates().values().any(|fate| *fate == Fate::Failed)
    }

    /// Holds marks against the plan.
    ///
    /// # Errors
    /// The first violation, in words.
    pub fn judge_marks(&self, marks: &str) -> Result<(), String> {
        let mut judge = Judge::new(self);
        for (number, line) in marks.lines().enumerate() {
            judge
                .take(line)
                .map_err(|why| format!("mark {}, {line:?}: {why}\n{marks}", number + 1))?;
        }
        judge.end().map_err(|why| format!("{why}\n{marks}"))
    }

    /// Holds the final history against the plan.
    ///
    /// # Errors
    /// The first violation, in words.
    pub fn judge_history(&self, history: &[Value]) -> Result<(), String> {
        let mut found: BTreeMap<&str, Fate> = BTreeMap::new();
        let mut undone: BTreeMap<&str, u64> = BTreeMap::new();
        let mut successes: BTreeMap<&str, u64> = BTreeMap::new();
        for record in history {
            let step = record["step"].as_str().unwrap_or_default();
            match record["event"].as_str().unwrap_or_default() {
                "step_succeeded" => {
                    *successes.entry(step).or_default() += 1;
                    found.insert(step, Fate::Succeeded);
                }
                "step_failed" if record["retry_at"].is_null() => drop(found.insert(step, Fate::Failed)),
                "step_skipped" => drop(found.insert(step, Fate::Skipped)),
                "undo_succeeded" => *undone.entry(step).or_default() += 1,
                _ => {}
            }
        }
        let expected = self.fates();
        if found != expected {
            return Err(format!("the steps came to {found:?}, not to {expected:?}"));
        }
        if let Some((step, n)) = successes.iter().chain(&undone).find(|(_, n)| **n > 1) {
            return Err(format!("{step} has {n} outcomes"));
        }
        let owed: BTreeSet<&str> = self.owed().collect();
        if undone.keys().copied().collect::<BTreeSet<_>>() != owed {
            return Err(format!("{undone:?} were undone, not {owed:?}"));
        }
        let outcome = history.last().map(|last| last["outcome"].clone());
        let expected = if self.fails() { "failed" } else { "succeeded" };
        match outcome == Some(Value::from(expected)) {
            true => Ok(()),
            false => Err(format!("the run came to {outcome:?}, not to {expected}")),
        }
    }

    /// Returns the steps that are to be undone in the end.
    fn owed(&self) -> impl Iterator<Item = &str> {
        let fates = self.fates();
        let fails = self.fails();
        let owes = move |step: &&Step| fails && step.undo && fates[step.id.as_str()] != Fate::Skipped;
        self.steps.iter().filter(owes).map(|step| step.id.as_str())
    }

    fn step(&self, id: &str) -> Result<&Step, String> {
        let found = self.steps.iter().find(|step| step.id == id);
        found.ok_or_else(|| format!("the plan has no step {id}"))
    }

    /// Returns what a step needs, at whatever distance.
    fn rests_on(&self, step: &Step) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let mut open: Vec<&String> = step.needs.iter().collect();
        while let Some(need) = open.pop() {
            if all.insert(need.clone()) {
                open.extend(self.step(need).iter().flat_map(|step| &step.needs));
            }
        }
        all
    }
}

/// What marks have told until now.
struct Judge<'a> {
    flow: &'a Flow,
    fates: BTreeMap<&'a str, Fate>,
    begun: BTreeMap<String, usize>,
    /// Steps with an act that came to its end.
    ended: BTreeSet<String>,
    /// Steps that something was let begin by: they must not act again.
    closed: BTreeSet<String>,
    at_work: BTreeSet<String>,
    undo_begun: BTreeMap<String, usize>,
    undone: BTreeSet<String>,
    approved: BTreeSet<String>,
    kills: usize,
}

impl<'a> Judge<'a> {
    fn new(flow: &'a Flow) -> Self {
        Self {
            flow,
            fates: flow.fates(),
            begun: BTreeMap::new(),
            ended: BTreeSet::new(),
            closed: BTreeSet::new(),
            at_work: BTreeSet::new(),
            undo_begun: BTreeMap::new(),
            undone: BTreeSet::new(),
            approved: BTreeSet::new(),
            kills: 0,
        }
    }

    fn take(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["killed"] => {
                self.kills += 1;
                self.at_work.clear();
                Ok(())
            }
            ["begin", step] => self.begin(self.flow.step(step)?),
            ["end", step] => {
                let step = self.flow.step(step)?;
                if self.acts(&step.id) < required(step.acts) {
                    return Err("it was to fail".to_owned());
                }
                self.at_work.remove(&step.id);
                self.ended.insert(step.id.clone());
                Ok(())
            }
            ["failed", step] => {
                self.at_work.remove(step);
                Ok(())
            }
            ["undo", step] => self.undo(self.flow.step(step)?),
            ["undone", step] => {
                self.undone.insert(step.to_owned());
                Ok(())
            }
            ["approved", step] => {
                self.approved.insert(step.to_owned());
                Ok(())
            }
            _ => Err("no step leaves such a mark".to_owned()),
        }
    }

    fn acts(&self, step: &str) -> usize {
        self.begun.get(step).copied().unwrap_or(0)
    }

    fn begin(&mut self, step: &Step) -> Result<(), String> {
        if self.fates[step.id.as_str()] == Fate::Skipped {
            return Err("it was not to run".to_owned());
        }
        if !self.undo_begun.is_empty() {
            return Err("it acts while the run is being taken back".to_owned());
        }
        if self.closed.contains(&step.id) {
            return Err("it acts again after its end let another begin".to_owned());
        }
        for need in &step.needs {
            let needed = self.flow.step(need)?;
            let over = match (self.fates[need.as_str()], needed.acts) {
                _ if needed.asks => self.approved.contains(need),
                (Fate::Skipped, _) | (_, Acts::Silent) => true,
                (Fate::Failed, acts) => self.acts(need) >= required(acts),
                (Fate::Succeeded, _) => self.ended.contains(need),
            };
            if !over {
                return Err(format!("it needs {need}, which has not ended"));
            }
            self.closed.insert(need.clone());
        }
        if !self.at_work.insert(step.id.clone()) {
            return Err("it acts while it acts".to_owned());
        }
        if self.at_work.len() > self.flow.max_parallel {
            return Err(format!("{:?} act at once", self.at_work));
        }
        let acts = self.begun.entry(step.id.clone()).or_default();
        *acts += 1;
        match *acts > required(step.acts) + self.kills {
            true => Err(format!("it acts {acts} times after {} kills", self.kills)),
            false => Ok(()),
        }
    }

    fn undo(&mut self, step: &Step) -> Result<(), String> {
        if !self.flow.owed().any(|owed| owed == step.id) {
            return Err("nothing was to be taken back".to_owned());
        }
        if !self.at_work.is_empty() {
            return Err(format!("{:?} are still at work", self.at_work));
        }
        if let Some(below) = self
            .flow
            .rests_on(step)
            .iter()
            .find(|need| self.undo_begun.contains_key(*need))
        {
            return Err(format!("it rests on {below}, which was taken back before"));
        }
        let times = self.undo_begun.entry(step.id.clone()).or_default();
        *times += 1;
        match *times > 1 + self.kills {
            true => Err(format!("it is undone {times} times after {} kills", self.kills)),
            false => Ok(()),
        }
    }

    fn end(&self) -> Result<(), String> {
        for step in &self.flow.steps {
            let runs = self.fates[step.id.as_str()] != Fate::Skipped && !step.asks;
            if runs && self.acts(&step.id) < required(step.acts) {
                return Err(format!("{} acted only {} times", step.id, self.acts(&step.id)));
            }
            let succeeds = self.fates[step.id.as_str()] == Fate::Succeeded && required(step.acts) > 0;
            if succeeds && !step.asks && !self.ended.contains(&step.id) {
                return Err(format!("{} never came to its end", step.id));
            }
        }
        match self.flow.owed().find(|step| !self.undone.contains(*step)) {
            Some(step) => Err(format!("{step} was not taken back")),
            None => Ok(()),
        }
    }
}

/// Returns how often a step acts where nothing is killed.
fn required(acts: Acts) -> usize {
    match acts {
        Acts::SucceedsAt(times) | Acts::Fails(times) => times,
        Acts::Silent => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn flow() -> Flow {
        let undo = |step: Step| Step { undo: true, ..step };
        let acts = |acts, step: Step| Step { acts, ..step };
        Flow {
            steps: vec![
                undo(Step::new("a", &[])),
                undo(acts(Acts::SucceedsAt(2), Step::new("b", &["a"]))),
                acts(Acts::Fails(1), Step::new("c", &["b"])),
                Step::new("d", &["c"]),
            ],
            max_parallel: 1,
        }
    }

    const GOOD: &str =
        "begin a|end a|begin b|failed b|begin b|end b|begin c|failed c|undo b|undone b|undo a|undone a";

    fn judge(marks: &str) -> Result<(), String> {
        flow().judge_marks(&marks.replace('|', "\n"))
    }

    #[test]
    fn marks_of_a_run_that_nothing_disturbed_are_right_and_each_kind_of_violation_is_seen() {
        assert_eq!(judge(GOOD), Ok(()));
        for (from, to, why) in [
            ("begin a|end a|begin b", "begin a|begin b", "needs a"),
            ("begin b|failed b|", "begin b|end b|", "it was to fail"),
            ("begin a|", "begin a|begin a|", "acts while it acts"),
            (
                "begin a|end a|",
                "begin a|end a|begin a|end a|",
                "2 times after 0 kills",
            ),
            ("|begin c", "|begin a|end a|begin c", "let another begin"),
            ("failed c|", "failed c|begin d|", "not to run"),
            ("undo b|undone b|undo a", "undo a", "was not taken back"),
            (
                "undo b|undone b|undo a|undone a",
                "undo a|undone a|undo b|undone b",
                "taken back before",
            ),
            ("undo b|", "undo b|begin b|", "being taken back"),
            ("begin c|failed c|", "", "acted only 0 times"),
            ("begin a|end a|", "begin d|", "not to run"),
            ("undo b", "undo c", "nothing was to be taken back"),
            ("undo b|", "undo b|undo b|", "undone 2 times"),
        ] {
            let marks = GOOD.replacen(from, to, 1);
            let violation = judge(&marks).expect_err(&marks);
            assert!(violation.contains(why), "{marks}: {violation}");
        }
        let one_more = GOOD.replacen("begin b|", "begin b|killed|begin b|", 1);
        assert_eq!(judge(&one_more), Ok(()), "a kill allows one act more");
    }

    #[test]
    fn no_more_act_at_once_than_may_and_nobody_goes_on_without_an_approval() {
        let mut flow = Flow {
            steps: vec![Step::new("a", &[]), Step::new("b", &[]), Step::new("c", &[])],
            max_parallel: 2,
        };
        let marks = "begin a\nbegin b\nend a\nend b\nbegin c\nend c";
        assert_eq!(flow.judge_marks(marks), Ok(()));
        flow.max_parallel = 1;
        assert!(flow.judge_marks(marks).unwrap_err().contains("at once"));
        let asks = Step {
            asks: true,
            acts: Acts::Silent,
            ..Step::new("ask", &[])
        };
        let asked = Flow {
            steps: vec![asks, Step::new("after", &["ask"])],
            max_parallel: 1,
        };
        assert_eq!(asked.judge_marks("approved ask\nbegin after\nend after"), Ok(()));
        let early = asked.judge_marks("begin after\nend after");
        assert!(early.unwrap_err().contains("needs ask"));
    }

    #[test]
    fn a_history_comes_to_what_the_plan_says_or_is_a_violation() {
        let record = |event: &str, step: &str| json!({ "event": event, "step": step });
        let good = vec![
            record("step_succeeded", "a"),
            json!({ "event": "step_failed", "step": "b", "retry_at": "soon" }),
            record("step_succeeded", "b"),
            record("step_failed", "c"),
            record("step_skipped", "d"),
            record("undo_succeeded", "b"),
            record("undo_succeeded", "a"),
            json!({ "event": "run_finished", "outcome": "failed" }),
        ];
        assert_eq!(flow().judge_history(&good), Ok(()));
        for (place, instead, why) in [
            (0, record("step_failed", "a"), "came to"),
            (1, record("step_succeeded", "b"), "outcomes"),
            (4, record("noted", "d"), "came to"),
            (5, record("noted", "b"), "were undone"),
            (
                7,
                json!({ "event": "run_finished", "outcome": "succeeded" }),
                "the run came to",
            ),
        ] {
            let mut history = good.clone();
            history[place] = instead;
            let violation = flow().judge_history(&history).unwrap_err();
            assert!(violation.contains(why), "{place}: {violation}");
        }
    }
}
