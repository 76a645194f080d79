//! The failures that several actions report: a stable code, and what to do next.

use rekindle_model::failure::{Failure, code};
use rekindle_model::next_action::Action;
use rekindle_vault::{TierError, VaultError};

use crate::params::BAD_PARAMETER;

/// The code of a step that stopped because it was asked to. Its next attempt continues.
pub(crate) use rekindle_engine::INTERRUPTED;

/// A stop was asked for.
pub(crate) fn interrupted() -> Failure {
    Failure::transient(INTERRUPTED, "a stop was asked for").with_hint("resume the run to go on")
}

/// Returns the failure for an error of the operating system about a named thing.
pub(crate) use rekindle_sources::failures::io;

/// A tier could not be opened.
pub(crate) fn tier(error: &TierError) -> Failure {
    let message = error.to_string();
    match error {
        TierError::Unreachable { .. } => Failure::transient(code::TIER_UNAVAILABLE, message)
            .with_hint("see that the tier's location is mounted and writable, then resume the run"),
        TierError::NewerFormat { .. } | TierError::OlderFormat { .. } => {
            Failure::permanent("newer_format", message)
        }
        TierError::Damaged { tier, .. } | TierError::KeyMismatch { tier, .. } => {
            let repair = Action::RepairTier { tier: tier.clone() };
            Failure::permanent(code::DATA_LOST, message).with_next(
                repair,
                "writes it anew if the rest of the tier opens with the key",
            )
        }
        TierError::Foreign { .. } => Failure::permanent("foreign_vault", message),
        TierError::BadUrl { .. } | TierError::UnknownScheme { .. } | TierError::NoLocation { .. } => {
            Failure::permanent(BAD_PARAMETER, message)
        }
        // A short wait does not help: a person must mount it, or ask for a new one.
        TierError::Gone { tier, .. } => {
            let create = Action::CreateTier { tier: tier.clone() };
            Failure::permanent(code::TIER_UNAVAILABLE, message)
                .with_next(create, "makes it again, empty, where it is gone for good")
        }
        TierError::Note { .. } => Failure::transient("io", message),
        TierError::NotAVault { .. } | TierError::NotEmpty { .. } => {
            Failure::permanent(code::TIER_UNAVAILABLE, message)
        }
    }
}

/// Returns the failure for an error of the vault.
pub(crate) fn vault(error: VaultError) -> Failure {
    error.into_failure()
}
