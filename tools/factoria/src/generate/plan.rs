//! How many documents a system of some size has, and how long they are.

use crate::frameworks::SUBJECTS;

/// Bytes of a unit from which a subject gets another one, and at most.
pub(super) const UNIT_BYTES: u64 = 60_000;
pub(super) const MOST_UNIT_BYTES: u64 = 64_000;
/// Units of a subject at most; a larger system has a larger library. It bounds the number of files.
pub(super) const MOST_UNITS: u64 = 16;
/// A library volume, in bytes: half of what a document may have.
pub(super) const VOLUME_BYTES: u64 = crate::context::DOCUMENT_BYTES / 2;
/// Documents of a unit, and what each costs in the manifest.
pub(super) const UNIT_DOCUMENTS: u64 = 17;
pub(super) const LISTED_BYTES: u64 = 150;
/// What prompts, overview and link take.
pub(super) const FIXED_BYTES: u64 = 9_000;
/// Shares of one context's bytes, in per cent: the documents of its layers, and the repeated parts in each.
pub(super) const L1: u64 = 33;
pub(super) const L2: u64 = 37;
pub(super) const L3: u64 = 18;
pub(super) const DEFINITIONS: u64 = 12;
pub(super) const NOTICE: u64 = 4;
/// The bytes of a unit's files are that many per cent of one context's bytes.
pub(super) const UNIT: u64 = 8 * L1 + 4 * (L2 + L3) + DEFINITIONS;

/// How many of what a system of some size has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Units of each subject.
    pub(super) units: u64,
    /// Bytes of one context.
    context: u64,
    /// Library volumes of each subject, and how many of them the cache has room for.
    pub(super) volumes: u64,
    pub(super) cached_volumes: u64,
}

impl Plan {
    pub(super) fn new(size_bytes: u64) -> Self {
        let share = |name| size_bytes / 1000 * crate::layout::find(name).map_or(0, |folder| folder.share);
        let subjects = SUBJECTS.len() as u64;
        let subject = share("context").saturating_sub(FIXED_BYTES) / subjects;
        let units = (subject / UNIT_BYTES).clamp(1, MOST_UNITS);
        let unit = (subject / units).min(MOST_UNIT_BYTES);
        let volumes = (subject - units * unit) / (VOLUME_BYTES + LISTED_BYTES);
        // An entry is about a tenth longer than its document.
        let cached = units * unit * (4 * (L2 + L3) + DEFINITIONS) / UNIT;
        let room = (share("cache") / subjects).saturating_sub(cached * 11 / 10);
        Self {
            units,
            context: unit.saturating_sub(UNIT_DOCUMENTS * LISTED_BYTES) * 100 / UNIT,
            volumes,
            cached_volumes: volumes.min(room / (VOLUME_BYTES * 11 / 10)),
        }
    }

    pub(super) fn part(&self, percent: u64) -> usize {
        usize::try_from(self.context * percent / 100).unwrap_or(usize::MAX)
    }
}
