//! The optimiser, measured on the system's own settings, documents, cache and catalogue of facts.
//!
//! Every request of the [`mix`] is answered in both ways. A third of them is answered several times more, the two ways
//! interleaved, for the times. Times of the two
//! ways are processor times of the thread ([`ClockId::ThreadCPUTime`]): other work of the machine then does not count,
//! and after the first repetition both ways read from the page cache. Of the repetitions the shortest counts, because
//! disturbances only ever lengthen one.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rekindle_model::time::{Clock, SystemClock};
use rustix::time::{ClockId, clock_gettime};

use super::tally::Tally;
use crate::context::LAYERS;
use crate::error::FactoriaError;
use crate::optimise::facts::Facts;
use crate::optimise::passages::split;
use crate::optimise::{Context, Optimiser, Profile, Request, mix};

/// One of so many requests is timed. The mix has all content types in a row, so all of them and all profiles are.
const TIMED: usize = 3;
/// How often each is answered in each way, at least and at most, and after how much processor time no more.
const REPETITIONS: std::ops::Range<usize> = 8..30;
const LONGEST: Duration = Duration::from_secs(3);
/// It is often enough once these last repetitions changed the speed-up by no more than that share. On a machine with
/// other work it takes longer until each request was answered undisturbed in both ways.
const STEADY: (usize, f64) = (4, 0.003);
/// New processes that are started to measure a cold load; the shortest counts, as of the repetitions.
const COLD_STARTS: usize = 5;

/// Measures:
/// - `context_loading_time_ms`: from the start of a new process until it has answered one request; the shortest
///   of five. Left out if no process answers.
/// - `warm_loading_time_ms`: the same in a process that has settings and vocabulary loaded; the median over the mix,
///   wall time.
/// - `speedup`: median time of the unoptimised answers ÷ median time of the optimised ones. `speedup_spread`: the
///   same for each repetition of the whole mix by itself, (largest − smallest) ÷ `speedup`. Contexts that lack a
///   document are not timed: to leave work out is no speed. If all of them do, `speedup` is 0 and the times are absent.
/// - `token_reduction`: 1 − tokens of all optimised answers ÷ tokens of all unoptimised ones, also by profile.
/// - `quality_retention`: of the facts that the catalogue lists for the tasks asked, and that a whole context
///   therefore states, the share that the optimised answers state. Left out where no fact is catalogued.
///   `facts_in_full_contexts`: the share that the unoptimised answers state. `facts_catalogued`: their number.
/// - `cache_hit_rate`: documents taken from the cache ÷ documents looked for there; 0 if none was looked for.
/// - `contexts_complete`: the share of answers, of both ways, without a missing document.
/// - `contexts_exact`: the share of optimised answers whose number of tokens is that of their text, counted again,
///   and all of whose passages stand in the documents: a forged cache entry shows here.
/// - `unique_share`: of the tokens of the optimised answers, the share that is not a passage repeated.
/// - `requests`, `tokens_full`, `tokens_optimised`, and how many of the 3 layers, 6 algorithms and 3 profiles are
///   whole: `layers_whole`, `algorithms_whole`, `profiles_whole`.
pub(super) fn measure(root: &Path, program: &Path) -> Result<BTreeMap<String, f64>, FactoriaError> {
    let optimiser = Optimiser::open(root)?;
    let settings = optimiser.settings();
    // Without a configuration, the first units still show what is there.
    let mix = mix(settings.config.as_ref().map_or(1, |config| config.units));
    let mut measures = BTreeMap::new();
    let mut content = Content::default();
    let mut pairs = Vec::new();
    for request in &mix {
        let pair = (optimiser.baseline(request)?, optimiser.optimised(request)?);
        content.judge(root, &optimiser, request, &pair.0, &pair.1);
        pairs.push((request.profile, pair.0, pair.1));
    }
    content.measures(&pairs, &mut measures);
    let whole = mix.iter().zip(&pairs).step_by(TIMED);
    let whole = whole.filter(|(_, (_, full, made))| is_whole(full) && is_whole(made));
    let whole: Vec<&Request> = whole.map(|(request, _)| request).collect();
    measures.insert("speedup".to_owned(), 0.0);
    if !whole.is_empty() {
        Times::measure(&optimiser, &whole)?.measures(&mut measures);
    }
    if let Some(took) = cold(root, program, &mix) {
        measures.insert("context_loading_time_ms".to_owned(), took);
    }
    for (name, value) in [
        ("requests", mix.len()),
        ("algorithms_whole", settings.algorithms_whole()),
        ("profiles_whole", settings.profiles.len()),
    ] {
        measures.insert(name.to_owned(), value as f64);
    }
    Ok(measures)
}

/// What the answers hold. It is the same at each run.
#[derive(Default)]
struct Content {
    /// Facts in the optimised answers, and in the unoptimised ones, of those catalogued.
    retained: Tally,
    full: Tally,
    complete: Tally,
    exact: Tally,
    repeated_tokens: u64,
    broken_layers: BTreeSet<&'static str>,
    read_layers: BTreeSet<&'static str>,
}

impl Content {
    fn judge(
        &mut self,
        root: &Path,
        optimiser: &Optimiser,
        request: &Request,
        full: &Context,
        made: &Context,
    ) {
        if let Some(facts) = Facts::read(root, request) {
            for fact in facts.needed(request) {
                self.retained.check(made.text.contains(fact));
                self.full.check(full.text.contains(fact));
            }
        }
        for context in [full, made] {
            self.complete.check(is_whole(context));
        }
        let tokenizer = optimiser.tokenizer();
        let there: HashSet<&str> = split(&full.text).collect();
        let mut exact = made.tokens == tokenizer.count(&made.text) && made.tokens > 0;
        let mut seen = HashSet::new();
        for passage in split(&made.text) {
            exact &= there.contains(passage);
            if !seen.insert(passage) {
                self.repeated_tokens += tokenizer.count(passage);
            }
        }
        self.exact.check(exact);
        for layer in LAYERS {
            let of_layer = |path: &String| path.split('/').next() == Some(layer);
            if full.documents.iter().any(of_layer) {
                self.read_layers.insert(layer);
            }
            if full.missing.iter().any(of_layer) {
                self.broken_layers.insert(layer);
            }
        }
    }

    fn measures(&self, pairs: &[(Profile, Context, Context)], measures: &mut BTreeMap<String, f64>) {
        let mut insert = |name: &str, value: f64| {
            measures.insert(name.to_owned(), value);
        };
        let [mut full, mut made, mut hits, mut lookups] = [0_u64; 4];
        for profile in Profile::ALL {
            let [mut of_full, mut of_made] = [0_u64; 2];
            for (_, baseline, optimised) in pairs.iter().filter(|(of, ..)| *of == profile) {
                of_full += baseline.tokens;
                of_made = of_made.saturating_add(optimised.tokens);
                hits += optimised.cache_hits;
                lookups += optimised.cache_lookups;
            }
            insert(
                &format!("token_reduction_{}", profile.name()),
                saved(of_full, of_made),
            );
            full += of_full;
            made = made.saturating_add(of_made);
        }
        insert("tokens_full", full as f64);
        insert("tokens_optimised", made as f64);
        insert("token_reduction", saved(full, made));
        insert(
            "unique_share",
            share(made.saturating_sub(self.repeated_tokens), made),
        );
        insert("cache_hit_rate", share(hits, lookups));
        insert("contexts_complete", self.complete.share());
        insert("contexts_exact", self.exact.share());
        insert("facts_catalogued", self.retained.made as f64);
        if self.retained.made > 0 {
            insert("quality_retention", self.retained.share());
            insert("facts_in_full_contexts", self.full.share());
        }
        let whole = self.read_layers.difference(&self.broken_layers).count();
        insert("layers_whole", whole as f64);
    }
}

fn is_whole(context: &Context) -> bool {
    context.missing.is_empty() && context.tokens > 0
}

/// Returns the share saved, 0 where there was nothing to save from.
fn saved(full: u64, made: u64) -> f64 {
    if full == 0 {
        0.0
    } else {
        1.0 - made as f64 / full as f64
    }
}

/// Returns the share, 0 of nothing.
fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

/// Processor times of both ways, by repetition and request, and wall times of the optimised one.
struct Times {
    baseline: Vec<Vec<Duration>>,
    optimised: Vec<Vec<Duration>>,
    warm: Vec<Vec<Duration>>,
}

impl Times {
    fn measure(optimiser: &Optimiser, mix: &[&Request]) -> Result<Self, FactoriaError> {
        let clock = SystemClock;
        let mut times = Self {
            baseline: Vec::new(),
            optimised: Vec::new(),
            warm: Vec::new(),
        };
        let first = processor_time();
        let mut speedups = Vec::new();
        while !is_enough(&speedups) && (speedups.is_empty() || processor_time() < first + LONGEST) {
            let (mut baseline, mut optimised, mut warm) = (Vec::new(), Vec::new(), Vec::new());
            for request in mix {
                let begun = processor_time();
                optimiser.baseline(request)?;
                let between = processor_time();
                let stamp = clock.now();
                optimiser.optimised(request)?;
                warm.push(clock.now().since(&stamp).duration);
                optimised.push(processor_time().saturating_sub(between));
                baseline.push(between.saturating_sub(begun));
            }
            times.baseline.push(baseline);
            times.optimised.push(optimised);
            times.warm.push(warm);
            speedups.push(times.speedup());
        }
        Ok(times)
    }

    fn speedup(&self) -> f64 {
        ratio(
            median(shortest(&self.baseline)),
            median(shortest(&self.optimised)),
        )
    }

    fn measures(&self, measures: &mut BTreeMap<String, f64>) {
        let speedup = self.speedup();
        let rounds: Vec<f64> = self
            .baseline
            .iter()
            .zip(&self.optimised)
            .map(|(baseline, optimised)| ratio(median(baseline.clone()), median(optimised.clone())))
            .collect();
        let largest = rounds.iter().copied().fold(f64::MIN, f64::max);
        let smallest = rounds.iter().copied().fold(f64::MAX, f64::min);
        measures.insert("speedup".to_owned(), speedup);
        measures.insert("speedup_spread".to_owned(), (largest - smallest) / speedup);
        measures.insert(
            "warm_loading_time_ms".to_owned(),
            median(shortest(&self.warm)).as_secs_f64() * 1e3,
        );
    }
}

/// Returns whether the speed-up after each repetition shows that no more are needed.
fn is_enough(speedups: &[f64]) -> bool {
    let (last, share) = STEADY;
    let (Some(now), Some(before)) = (speedups.last(), speedups.iter().rev().nth(last)) else {
        return false;
    };
    let steady = (now / before - 1.0).abs() <= share;
    speedups.len() >= REPETITIONS.end || steady && speedups.len() >= REPETITIONS.start
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Returns each request's shortest time over the repetitions.
fn shortest(repetitions: &[Vec<Duration>]) -> Vec<Duration> {
    let requests = repetitions.iter().map(Vec::len).min().unwrap_or(0);
    let of_request = |number: usize| repetitions.iter().map(|times| times[number]).min();
    (0..requests).filter_map(of_request).collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn ratio(baseline: Duration, optimised: Duration) -> f64 {
    baseline.as_secs_f64() / optimised.as_secs_f64().max(1e-9)
}

/// Returns how long a new process takes to answer a request, in milliseconds.
fn cold(root: &Path, program: &Path, mix: &[Request]) -> Option<f64> {
    let clock = SystemClock;
    let mut shortest = None;
    for request in mix.iter().step_by(mix.len() / COLD_STARTS).take(COLD_STARTS) {
        let begun = clock.now();
        let mut command = Command::new(program);
        command
            .args(["--json", "factoria", "context", "--root"])
            .arg(root);
        command.args(["--type", &request.content_type, "--subject", &request.subject]);
        command.args(["--profile", request.profile.name()]);
        let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        let elapsed = clock.now().since(&begun).duration;
        let context: Context = serde_json::from_slice(&output.stdout).ok()?;
        if !output.status.success() || context.tokens == 0 {
            return None;
        }
        shortest = Some(shortest.map_or(elapsed, |shortest: Duration| shortest.min(elapsed)));
    }
    shortest.map(|shortest| shortest.as_secs_f64() * 1e3)
}
