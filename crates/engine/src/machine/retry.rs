//! Whether and when another attempt follows a failed one.
//!
//! The journal has the end of a wait in wall-clock time, `retry_at`, beside the stamp of the failure. Within one boot,
//! CLOCK_BOOTTIME gives the remaining wait. After a reboot only the wall clock is left. If that clock was set back, the
//! remaining wait is never longer than the whole wait.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rekindle_model::failure::Failure;
use rekindle_model::id::{RunId, StepId};
use rekindle_model::time::Stamp;
use rekindle_plan::{Backoff, Retry};

/// The longest wait that any policy leads to; a policy's own `max` is far below.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// Returns the wait before the next attempt, or none if there is no next attempt. `failures` counts this failure.
pub(super) fn wait(
    retry: &Retry,
    failure: &Failure,
    failures: u32,
    run: RunId,
    step: &StepId,
) -> Option<Duration> {
    let again =
        failure.retryable && failures < retry.max_attempts && !retry.non_retryable.contains(&failure.code);
    again.then(|| backoff(&retry.backoff, failures, sway(run, step, failures)))
}

/// Returns how long to wait at least before the attempt that follows an interruption, where the policy wants the run
/// interrupted by this failure. The person who resumes the run may do so at once.
pub(super) fn interruption(
    retry: &Retry,
    failure: &Failure,
    failures: u32,
    run: RunId,
    step: &StepId,
) -> Option<Duration> {
    let wanted = retry.interrupt_on.contains(&failure.code);
    wanted.then(|| backoff(&retry.backoff, failures.min(1), sway(run, step, failures)))
}

/// Returns the wait after the n-th failure. `sway` is from -1 to 1.
fn backoff(backoff: &Backoff, failures: u32, sway: f64) -> Duration {
    let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
    let seconds = backoff.initial.0.as_secs_f64() * backoff.factor.max(1.0).powi(exponent);
    let seconds = seconds.min(backoff.max.0.as_secs_f64()) * (1.0 + backoff.jitter.clamp(0.0, 1.0) * sway);
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(LONGEST)
        .min(LONGEST)
}

/// Returns a number from -1 to 1 that differs from run to run, step to step and failure to failure, so that waits
/// spread without dice: the same history leads to the same decision. FNV-1a, its bits mixed as in SplitMix64.
fn sway(run: RunId, step: &StepId, failures: u32) -> f64 {
    let bytes = run
        .as_bytes()
        .iter()
        .chain(step.as_str().as_bytes())
        .copied()
        .chain(failures.to_be_bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    f64::from(u32::try_from(hash >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX) * 2.0 - 1.0
}

/// Returns the rest of a wait that began at `failed` and ends at `retry_at`.
pub(super) fn remaining(failed: &Stamp, retry_at: DateTime<Utc>, now: &Stamp) -> Duration {
    let whole = (retry_at - failed.utc).to_std().unwrap_or(Duration::ZERO);
    if failed.boot_id == now.boot_id {
        return whole.saturating_sub(now.since(failed).duration);
    }
    (retry_at - now.utc).to_std().unwrap_or(Duration::ZERO).min(whole)
}

/// Returns the end of a wait in wall-clock time.
pub(super) fn ends_at(now: &Stamp, wait: Duration) -> DateTime<Utc> {
    let wait = chrono::TimeDelta::from_std(wait).unwrap_or(chrono::TimeDelta::MAX);
    now.utc
        .checked_add_signed(wait)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekindle_model::system::Period;
    use rekindle_model::time::{Clock, SystemClock};
    use uuid::Uuid;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy(jitter: f64) -> Backoff {
        Backoff {
            initial: Period(SECOND),
            factor: 2.0,
            max: Period(SECOND * 10),
            jitter,
        }
    }

    #[test]
    fn waits_grow_by_the_factor_up_to_the_longest() {
        let waits: Vec<u64> = (1..=6).map(|n| backoff(&policy(0.0), n, 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert_eq!(backoff(&policy(0.0), u32::MAX, 0.0), SECOND * 10);
    }

    #[test]
    fn jitter_stays_within_its_share_and_spreads_runs() {
        let run = |n: u128| RunId(Uuid::from_u128(n));
        let waits: Vec<Duration> = (0..200)
            .map(|n| backoff(&policy(0.2), 1, sway(run(n), &StepId::plain("s"), 1)))
            .collect();
        assert!(
            waits.iter().all(|wait| (0.8..=1.2).contains(&wait.as_secs_f64())),
            "{waits:?}"
        );
        assert!(
            waits.iter().any(|wait| wait.as_secs_f64() < 0.85),
            "some are short"
        );
        assert!(
            waits.iter().any(|wait| wait.as_secs_f64() > 1.15),
            "some are long"
        );
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let retry = Retry {
            max_attempts: 3,
            backoff: policy(0.0),
            non_retryable: vec!["data_lost".to_owned()],
            interrupt_on: Vec::new(),
        };
        let again = |failure: &Failure, failures| {
            wait(&retry, failure, failures, RunId(Uuid::nil()), &StepId::plain("s")).is_some()
        };
        let transient = Failure::transient("busy", "x");
        assert!(again(&transient, 1) && again(&transient, 2));
        assert!(!again(&transient, 3), "the third attempt was the last");
        assert!(!again(&Failure::permanent("busy", "x"), 1));
        assert!(!again(&Failure::transient("data_lost", "x"), 1));
    }

    #[test]
    fn within_a_boot_a_jump_of_the_wall_clock_changes_no_wait() {
        let failed = SystemClock.now();
        let retry_at = ends_at(&failed, SECOND * 60);
        let now = Stamp {
            utc: failed.utc + Duration::from_secs(86_400),
            boot_ns: failed.boot_ns + 20_000_000_000,
            ..failed
        };
        assert_eq!(remaining(&failed, retry_at, &now), SECOND * 40);
    }

    #[test]
    fn across_boots_a_wait_is_never_longer_than_it_was() {
        let failed = SystemClock.now();
        let retry_at = ends_at(&failed, SECOND * 60);
        let booted = |utc| Stamp {
            utc,
            boot_ns: 5,
            boot_id: Uuid::nil(),
        };
        assert_eq!(
            remaining(&failed, retry_at, &booted(failed.utc + SECOND * 20)),
            SECOND * 40
        );
        assert_eq!(
            remaining(&failed, retry_at, &booted(failed.utc - SECOND * 86_400)),
            SECOND * 60
        );
        assert_eq!(
            remaining(&failed, retry_at, &booted(failed.utc + SECOND * 86_400)),
            Duration::ZERO
        );
    }
}
