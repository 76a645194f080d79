//! `rekindle factoria …`: the arguments, and each command's result as JSON. Printing it is the caller's part.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use rekindle_model::expect::{BadExpect, Expect};
use rekindle_model::time::Clock;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::damage::{DamageOptions, How, damage};
use crate::error::FactoriaError;
use crate::generate::{GenerateOptions, generate};
use crate::load::{LoadOptions, Target, load};
use crate::optimise::rebuild::rebuild;
use crate::optimise::{Optimiser, Profile, Request};
use crate::probe::Service;
use crate::probe::{Baseline, ProbeKind, probe};
use crate::serve::{Address, DEFAULT_RATE, ServeOptions, serve};
use crate::size;
use crate::stamps::watermark;

/// A whole La Factoria context system, to try Rekindle on
#[derive(Clone, Debug, Subcommand)]
pub enum FactoriaCommand {
    /// Makes a system of any size from a seed
    Generate(GenerateArgs),
    /// Measures a system on disk and prints the numbers as one JSON object
    Probe(ProbeArgs),
    /// Runs a system: writes records all the time and answers /health, /context and /generate over HTTP
    Serve(ServeArgs),
    /// Answers one request for a context and prints it as JSON
    Context(ContextArgs),
    /// Sends requests to a running system at a constant rate and prints what was measured as JSON
    Load(LoadArgs),
    /// Makes the cache again from the context layers, where it is missing or wrong
    RebuildCache(RebuildCacheArgs),
    /// Prints how far each store reaches, and whether anything is missing before that, as JSON
    Stamps(StampsArgs),
    /// Destroys parts of a generated system, for real
    Damage(DamageArgs),
}

/// The most records a second that may be asked for; each is made durable by itself, which no disk does faster.
const FASTEST_RATE: f64 = 100_000.0;

/// The most requests a second that a load may send. One process on the same machine sends no more.
const FASTEST_LOAD: f64 = 10_000.0;
/// The longest load. Every answer's time is kept, 16 bytes each, until the end.
const LONGEST_LOAD: Duration = Duration::from_secs(24 * 3600);

/// Arguments of `generate`.
#[derive(Clone, Debug, Args)]
pub struct GenerateArgs {
    /// The folder to make; it must be new or empty
    #[arg(long, value_name = "DIR")]
    pub root: PathBuf,
    /// The same seed and size give the same system
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How large: 5MB, 1.5GiB …
    #[arg(long, default_value = "20MB", value_parser = size::parse)]
    pub size: u64,
}

/// Arguments of `probe`.
#[derive(Clone, Debug, Args)]
pub struct ProbeArgs {
    /// What to measure
    pub kind: ProbeKind,
    /// The system's folder
    #[arg(long, value_name = "DIR")]
    pub root: PathBuf,
    /// For `files`: the part to compare with its manifest [default: all parts]
    #[arg(long, value_name = "PATH")]
    pub component: Option<PathBuf>,
    /// What the same probe measured when the backup was made, as one JSON object of numbers; what is compared with it is
    /// measured only where it is given
    #[arg(long, value_name = "JSON", env = "REKINDLE_BASELINE", hide_env_values = true)]
    pub baseline: Option<String>,
    /// Fails unless this number is so: "speedup >= 2.0"; may be repeated
    #[arg(long, value_name = "NAME COMPARISON", value_parser = expectation)]
    pub expect: Vec<(String, Expect)>,
}

/// Arguments of `serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// The system's folder; it must carry the marker of a generated system
    #[arg(long, value_name = "DIR")]
    pub root: PathBuf,
    /// Where to listen; a loopback address, since nobody has to log in. Port 0 takes any free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Records a second, over audit log, content database and metrics log
    #[arg(long, value_name = "PER_SECOND", default_value_t = DEFAULT_RATE, value_parser = rate)]
    pub rate: f64,
    /// Ends by itself after that time: 90s, 5m … [default: runs until Ctrl-C or SIGTERM]
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub limit: Option<Duration>,
    /// Ends once its stdin is closed: for a program that starts it and may be killed
    #[arg(long)]
    pub until_eof: bool,
    /// Only answers: writes no records and nothing else below the folder
    #[arg(long, conflicts_with = "rate")]
    pub read_only: bool,
}

/// Arguments of `context`.
#[derive(Clone, Debug, Args)]
pub struct ContextArgs {
    /// The system's folder
    #[arg(long, value_name = "DIR")]
    pub root: PathBuf,
    /// What is to be made: study_guide, flashcards …
    #[arg(long = "type", value_name = "TYPE")]
    pub content_type: String,
    /// On which subject: mathematics, or one of its units as in mathematics/0002
    #[arg(long)]
    pub subject: String,
    /// How demanding the task is
    #[arg(long)]
    pub profile: Profile,
    /// Without any optimisation
    #[arg(long)]
    pub baseline: bool,
}

/// Arguments of `load`.
#[derive(Clone, Debug, Args)]
pub struct LoadArgs {
    /// The folder of the running system
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "address",
        conflicts_with = "address"
    )]
    pub root: Option<PathBuf>,
    /// Where the running system listens
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub address: Option<SocketAddr>,
    /// Start the system on the folder for that time; it writes nothing there
    #[arg(long, requires = "root")]
    pub start: bool,
    /// Requests a second
    #[arg(long, value_name = "PER_SECOND", value_parser = load_rate)]
    pub rate: f64,
    /// How long: 10s, 5m …; a day at most
    #[arg(long = "for", value_name = "DURATION", value_parser = load_duration)]
    pub duration: Duration,
}

/// Arguments of `rebuild-cache`.
#[derive(Clone, Debug, Args)]
pub struct RebuildCacheArgs {
    /// The system's folder
    #[arg(long, value_name = "DIR")]
    pub root: PathBuf,
}

/// Arguments of `stamps`.
#[derive(Clone, Debug, Args)]
pub struct StampsArgs {
    /// The folder of a system or of a copy of one
    #[arg(long, value_name = "DIR")]
    pub root: PathBuf,
}

/// What a command needs besides its arguments.
pub struct Surroundings<'a> {
    /// Where `now` comes from.
    pub clock: Arc<dyn Clock>,
    /// Ends `serve` in good order.
    pub stop: CancellationToken,
    /// Is told where `serve` listens, as soon as it does.
    pub listening: Box<dyn FnOnce(&Address) + 'a>,
}

/// Arguments of `damage`.
#[derive(Clone, Debug, Args)]
pub struct DamageArgs {
    /// The system's folder; it must carry the marker of a generated system
    #[arg(long, value_name = "DIR")]
    pub root: PathBuf,
    /// What to damage: a folder of the system, or a file in one; may be repeated
    #[arg(long = "component", value_name = "PATH", required = true)]
    pub components: Vec<PathBuf>,
    /// How to damage it
    #[arg(long)]
    pub how: How,
    /// Which files and bytes a corruption hits
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Does what the command says and returns its result.
///
/// `generate` and `damage` return what they did; `probe` returns one object of numbers, `stamps` one object per
/// store, `context` the context. `serve` returns what it did when it has ended; it needs a runtime of several threads.
///
/// # Errors
/// Those of [`generate()`], [`probe()`], [`serve()`], [`load()`], [`rebuild()`], [`watermark()`] and [`damage()`], and of
/// answering a request.
pub async fn run(command: FactoriaCommand, around: Surroundings<'_>) -> Result<Value, FactoriaError> {
    match command {
        FactoriaCommand::Generate(GenerateArgs { root, seed, size }) => to_json(
            "the result",
            &generate(&GenerateOptions {
                root,
                seed,
                size_bytes: size,
            })?,
        ),
        FactoriaCommand::Probe(ProbeArgs {
            kind,
            root,
            component,
            baseline,
            expect,
        }) => {
            let baseline = Baseline::parse(baseline.as_deref().unwrap_or(""))?;
            let measures = probe(kind, &root, component.as_deref(), &baseline)?;
            let unmet: Vec<String> = expect
                .iter()
                .filter_map(|(name, expect)| unmet(name, expect, measures.get(name)))
                .collect();
            match unmet.is_empty() {
                true => to_json("the measures", &measures),
                false => Err(FactoriaError::Unmet(unmet.join("; "))),
            }
        }
        FactoriaCommand::Serve(ServeArgs {
            root,
            listen,
            rate,
            limit,
            // The caller calls `stop_at_eof`.
            until_eof: _,
            read_only,
        }) => {
            let Surroundings {
                clock,
                stop,
                listening,
            } = around;
            let options = ServeOptions {
                root,
                listen,
                rate,
                read_only,
                clock,
            };
            to_json(
                "the result",
                &serve(options, limit, listening, stop.cancelled()).await?,
            )
        }
        FactoriaCommand::Context(args) => {
            let optimiser = Optimiser::open(&args.root)?;
            let request = Request {
                content_type: args.content_type,
                subject: args.subject,
                profile: args.profile,
            };
            let context = match args.baseline {
                true => optimiser.baseline(&request)?,
                false => optimiser.optimised(&request)?,
            };
            to_json("the context", &context)
        }
        FactoriaCommand::Load(LoadArgs {
            root,
            address,
            start,
            rate,
            duration,
        }) => {
            let root = root.unwrap_or_default();
            let started = match start {
                true => Some(Service::start_on(&root)?),
                false => None,
            };
            let target = match (&started, address) {
                (Some((_, address)), _) => Target::Address(*address),
                (None, Some(address)) => Target::Address(address),
                (None, None) => Target::Root(root),
            };
            let options = LoadOptions {
                target,
                rate,
                duration,
                clock: around.clock,
            };
            let loaded = to_json("the result", &load(options).await?);
            // It runs as long as it is loaded.
            drop(started);
            loaded
        }
        FactoriaCommand::RebuildCache(RebuildCacheArgs { root }) => to_json("the result", &rebuild(&root)?),
        FactoriaCommand::Stamps(StampsArgs { root }) => to_json("the stamps", &watermark(&root)?),
        FactoriaCommand::Damage(DamageArgs {
            root,
            components,
            how,
            seed,
        }) => to_json(
            "the result",
            &damage(&DamageOptions {
                root,
                components,
                how,
                seed,
            })?,
        ),
    }
}

/// Cancels `stop` at the end of stdin, if the command asks for it.
pub fn stop_at_eof(command: &FactoriaCommand, stop: &CancellationToken) {
    if let FactoriaCommand::Serve(ServeArgs { until_eof: true, .. }) = command {
        let stop = stop.clone();
        // A thread of its own that nothing waits for: the other end may never be closed.
        std::thread::spawn(move || {
            // An error of reading is an end as well.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            stop.cancel();
        });
    }
}

/// Reads the name of a number and what it must be.
fn expectation(text: &str) -> Result<(String, Expect), String> {
    let (name, comparison) = text
        .trim()
        .split_once(' ')
        .ok_or("expected a name and a comparison, such as \"speedup >= 2.0\"")?;
    let expect: Expect = comparison.parse().map_err(|error: BadExpect| error.to_string())?;
    match expect.of_baseline {
        true => Err("there is no baseline here; compare with a number".to_owned()),
        false => Ok((name.to_owned(), expect)),
    }
}

/// Returns what is wrong with a number; none if it is as it must be.
fn unmet(name: &str, expect: &Expect, measured: Option<&f64>) -> Option<String> {
    match measured {
        None => Some(format!("{name} was not measured")),
        Some(measured) if expect.is_met_by(*measured, None) == Some(true) => None,
        Some(measured) => Some(format!("{name} is {measured}, expected {expect}")),
    }
}

/// Reads a number of records a second.
fn rate(text: &str) -> Result<f64, String> {
    up_to(text, FASTEST_RATE)
}

/// Reads a number of requests a second.
fn load_rate(text: &str) -> Result<f64, String> {
    up_to(text, FASTEST_LOAD)
}

fn up_to(text: &str, most: f64) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && rate <= most => Ok(rate),
        _ => Err(format!("expected a number above 0 and up to {most}")),
    }
}

fn load_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() && duration <= LONGEST_LOAD => Ok(duration),
        Ok(_) => Err("expected a time above 0 and up to a day".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn to_json<T: serde::Serialize>(what: &str, value: &T) -> Result<Value, FactoriaError> {
    serde_json::to_value(value).map_err(FactoriaError::json(what))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: FactoriaCommand,
    }

    #[test]
    fn command_lines_parse_and_a_wrong_one_is_refused() {
        for line in [
            "x generate --root d --seed 7 --size 5MB",
            "x probe education --root d",
            "x probe files --root d --component cache",
            "x probe models --root d --baseline {}",
            "x probe quality --root d",
            "x probe generate --root d",
            "x probe analytics --root d",
            "x serve --root d",
            "x serve --root d --listen [::1]:8080 --rate 0.5 --for 90s --until-eof",
            "x serve --root d --read-only --until-eof",
            "x context --root d --type study_guide --subject civics/0002 --profile simple --baseline",
            "x load --root d --rate 50 --for 2s",
            "x load --address 127.0.0.1:80 --rate 0.5 --for 1m",
            "x rebuild-cache --root d",
            "x probe performance --root d",
            "x probe service --root d",
            "x stamps --root d",
            "x damage --root d --component cache --component db --how corrupt --seed 3",
        ] {
            assert!(Line::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for line in [
            "x generate --root d --size huge",
            "x probe weather --root d",
            "x serve --root d --rate 0",
            "x serve --root d --rate NaN",
            "x serve --root d --for soon",
            "x serve --root d --listen localhost",
            "x serve --root d --read-only --rate 5",
            "x context --root d --type study_guide --subject civics --profile harder",
            "x load --rate 50 --for 2s",
            "x load --root d --address 127.0.0.1:80 --rate 50 --for 2s",
            "x load --root d --rate 0 --for 2s",
            "x load --root d --rate 50 --for 0s",
            "x damage --root d --how delete",
            "x damage --root d --component cache --how burn",
        ] {
            assert!(Line::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
