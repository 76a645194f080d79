//! The stated mix of requests, by which systems are measured and loaded.

use super::{Profile, Request};
use crate::frameworks::{CONTENT_TYPES, SUBJECTS};

/// Returns the mix: 192 requests, each content type with each subject and each profile. In a system whose subjects
/// have several `units`, the requests are spread over them.
pub fn mix(units: u64) -> Vec<Request> {
    let (types, subjects) = (CONTENT_TYPES.len(), SUBJECTS.len());
    let request = |number: usize| {
        let unit = 1 + (number + number / types) as u64 % units.max(1);
        Request {
            content_type: CONTENT_TYPES[number % types].to_owned(),
            subject: format!("{}/{unit:04}", SUBJECTS[number / types % subjects]),
            profile: Profile::ALL[number / types / subjects],
        }
    };
    (0..types * subjects * Profile::ALL.len()).map(request).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_mix_has_every_type_with_every_subject_and_profile_and_reaches_every_unit() {
        let mix = mix(20);
        let mut tasks = BTreeSet::new();
        let mut units = BTreeSet::new();
        for request in &mix {
            let (subject, unit) = request.subject.split_once('/').unwrap();
            tasks.insert((request.content_type.as_str(), subject, request.profile));
            units.insert(unit.parse::<u64>().unwrap());
            assert!(request.document().is_ok());
        }
        assert_eq!((mix.len(), tasks.len()), (192, 192));
        assert!(units.into_iter().eq(1..=20));
    }
}
