//! The stated mix of requests, by which systems are measured and loaded.

use super::{Profile, Request};
use crate::frameworks::{CONTENT_TYPES, SUBJECTS};

/// Requests of the mix: each content type with each profile, twice.
const REQUESTS: usize = 48;

/// Returns the mix: 48 requests, 16 of each profile, 6 of each content type and of each subject, spread over the
/// first `units` units of the subjects.
pub fn mix(units: u64) -> Vec<Request> {
    let request = |number: usize| {
        let round = number / CONTENT_TYPES.len();
        let subject = SUBJECTS[(number * 3 + round) % SUBJECTS.len()];
        let unit = 1 + (number as u64 * 7) % units.max(1);
        Request {
            content_type: CONTENT_TYPES[number % CONTENT_TYPES.len()].to_owned(),
            subject: format!("{subject}/{unit:04}"),
            profile: Profile::ALL[round % Profile::ALL.len()],
        }
    };
    (0..REQUESTS).map(request).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn the_mix_has_every_type_with_every_profile_and_every_subject_evenly() {
        let mix = mix(3);
        let pairs: BTreeSet<_> = mix
            .iter()
            .map(|request| (request.content_type.as_str(), request.profile))
            .collect();
        assert_eq!((mix.len(), pairs.len()), (48, 24));
        let mut subjects = BTreeMap::new();
        let mut units = BTreeSet::new();
        for request in &mix {
            let (subject, unit) = request.subject.split_once('/').unwrap();
            *subjects.entry(subject).or_insert(0) += 1;
            units.insert(unit);
        }
        assert_eq!(subjects.into_values().collect::<Vec<_>>(), [6; 8]);
        assert_eq!(units.into_iter().collect::<Vec<_>>(), ["0001", "0002", "0003"]);
    }
}
