//! Sends requests for contexts to a running system at a constant rate, and measures its answers.
//!
//! The load is open: a request is sent when it is due, whether or not earlier ones were answered, as users do who do
//! not know of each other. The time of an answer counts from the moment at which its request was *due*. A
//! standstill of the system then shows in every request that fell into it. A client that waits for one answer before
//! it sends the next request hides that: "coordinated omission" (Gil Tene, "How NOT to Measure Latency", 2013; the
//! same correction is in his `wrk2`).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rekindle_model::time::Clock;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{ClientError, Connection};
use crate::error::FactoriaError;
use crate::optimise::{Request, mix};
use crate::serve::Address;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests under way at most, far more than a system answers at a time: a bound on memory. The time that a request
/// waits for its turn here counts as well.
const UNDER_WAY: usize = 4_096;

/// Which system to load, and how.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The system.
    pub target: Target,
    /// Requests a second; above 0.
    pub rate: f64,
    /// How long requests are sent.
    pub duration: Duration,
    /// Where `now` comes from.
    pub clock: Arc<dyn Clock>,
}

/// A running system.
#[derive(Clone, Debug)]
pub enum Target {
    /// That of this folder; its `run/address` says where it listens.
    Root(PathBuf),
    /// The one that listens there.
    Address(SocketAddr),
}

/// What a load measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Loaded {
    /// Requests that were due.
    pub requests: u64,
    /// Requests answered with 200 and a context.
    pub answered: u64,
    /// The share of requests that were not.
    pub error_rate: f64,
    /// Requests a second that were due.
    pub rate: f64,
    /// Requests a second that were answered, until the last answer.
    pub throughput: f64,
    /// Half of the answers took at most so long, in milliseconds, from when they were due; absent without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// 99 of 100 answers took at most so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// The longest answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_ms: Option<f64>,
    /// From the first request to the last answer, in seconds.
    pub seconds: f64,
    /// What went wrong with the first request that was not answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_error: Option<String>,
}

/// Sends the requests and waits for their answers.
///
/// # Errors
/// [`FactoriaError::NotServed`] where nothing answers at the beginning. Later failures are what is measured.
pub async fn load(options: LoadOptions) -> Result<Loaded, FactoriaError> {
    let LoadOptions {
        target,
        rate,
        duration,
        clock,
    } = options;
    let (address, at) = resolve(&target)?;
    let unserved = |error: ClientError| FactoriaError::NotServed {
        at: at.clone(),
        why: error.to_string(),
    };
    let idle = Arc::new(Mutex::new(vec![
        Connection::open(address).await.map_err(unserved)?,
    ]));
    let targets: Arc<[String]> = mix(1).iter().map(target_of).collect();
    let count = ((rate * duration.as_secs_f64()).ceil() as u64).max(1);
    let turns = Arc::new(Semaphore::new(UNDER_WAY));
    let begun = clock.now();
    let first = Instant::now();
    let mut under_way = JoinSet::new();
    let mut answers = Answers::default();
    for number in 0..count {
        let due = Duration::from_secs_f64(number as f64 / rate);
        tokio::time::sleep_until(first + due).await;
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
            break;
        };
        let (idle, targets) = (Arc::clone(&idle), Arc::clone(&targets));
        under_way.spawn(async move {
            let target = &targets[(number % targets.len() as u64) as usize];
            let answer = ask(&idle, address, target).await;
            drop(turn);
            answer.map(|()| first.elapsed().saturating_sub(due))
        });
        while let Some(ended) = under_way.try_join_next() {
            answers.take(ended.unwrap_or_else(|error| Err(error.to_string())));
        }
    }
    while let Some(ended) = under_way.join_next().await {
        answers.take(ended.unwrap_or_else(|error| Err(error.to_string())));
    }
    let seconds = clock.now().since(&begun).duration.as_secs_f64();
    Ok(answers.measures(count, rate, seconds))
}

/// Returns where a system listens, and how messages name it.
fn resolve(target: &Target) -> Result<(SocketAddr, String), FactoriaError> {
    match target {
        Target::Address(address) => Ok((*address, format!("at {address}"))),
        Target::Root(root) => {
            let unserved = |why: &str| FactoriaError::NotServed {
                at: format!("on {}", root.display()),
                why: why.to_owned(),
            };
            let announced = Address::read(root).ok_or_else(|| unserved("run/address does not exist"))?;
            let address = announced.listening.trim_start_matches("http://").parse();
            let address = address.map_err(|_| unserved("run/address holds no address"))?;
            Ok((address, format!("on {}", root.display())))
        }
    }
}

/// Returns the target that asks for a context.
pub(crate) fn target_of(request: &Request) -> String {
    let Request {
        content_type,
        subject,
        profile,
    } = request;
    format!(
        "/context?type={content_type}&subject={subject}&profile={}",
        profile.name()
    )
}

/// Asks over a connection that is idle, or over a new one.
async fn ask(idle: &Mutex<Vec<Connection>>, address: SocketAddr, target: &str) -> Result<(), String> {
    let told = |error: ClientError| error.to_string();
    let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut connection = match kept {
        Some(connection) => connection,
        None => Connection::open(address).await.map_err(told)?,
    };
    let (status, body) = connection.get(target, PATIENCE).await.map_err(told)?;
    idle.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(connection);
    match status {
        200 if !body.is_empty() => Ok(()),
        _ => Err(format!("status {status}: {}", String::from_utf8_lossy(&body))),
    }
}

#[derive(Default)]
struct Answers {
    took: Vec<Duration>,
    first_error: Option<String>,
}

impl Answers {
    fn take(&mut self, answer: Result<Duration, String>) {
        match answer {
            Ok(took) => self.took.push(took),
            Err(error) => {
                self.first_error.get_or_insert(error);
            }
        }
    }

    fn measures(mut self, requests: u64, rate: f64, seconds: f64) -> Loaded {
        self.took.sort_unstable();
        let answered = self.took.len() as u64;
        Loaded {
            requests,
            answered,
            error_rate: (requests - answered) as f64 / requests as f64,
            rate,
            throughput: answered as f64 / seconds.max(f64::MIN_POSITIVE),
            p50_ms: percentile(&self.took, 50),
            p99_ms: percentile(&self.took, 99),
            maximum_ms: percentile(&self.took, 100),
            seconds,
            first_error: self.first_error,
        }
    }
}

/// Returns the nearest-rank percentile of sorted times, in milliseconds.
fn percentile(sorted: &[Duration], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map(|took| took.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let sorted: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        for (percent, milliseconds) in [(50, 100.0), (99, 198.0), (100, 200.0)] {
            assert_eq!(percentile(&sorted, percent), Some(milliseconds));
        }
        assert_eq!(percentile(&sorted[..1], 50), Some(1.0));
        assert_eq!(percentile(&[], 50), None);
    }
}
