//! Events survive being written and read.

use super::*;
use crate::process::ProcessId;

#[test]
fn an_event_survives_messagepack_and_json() {
    let event = Event::StepFailed {
        step: StepId::looped("restore", &["context_cache"]),
        attempt: 2,
        error: Failure::transient("tier_unavailable", "tier \"hot\" does not answer"),
        retry_at: DateTime::from_timestamp(1_800_000_000, 5),
        measures: [("bytes_written".to_owned(), 12.0)].into(),
    };
    let packed = rmp_serde::to_vec_named(&event).unwrap();
    assert_eq!(rmp_serde::from_slice::<Event>(&packed).unwrap(), event);
    let json = serde_json::to_value(&event).unwrap();
    assert_eq!(json["event"], event.name());
    assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
}

#[test]
fn what_a_person_asked_for_survives_and_what_they_did_not_say_may_be_missing() {
    let (step, by) = (|| StepId::plain("confirm"), || "ann".to_owned());
    let told = || Some("go".to_owned());
    for event in [
        Event::ApprovalRequested {
            step: step(),
            attempt: 1,
            prompt: "sure?".into(),
        },
        Event::Approved {
            step: step(),
            attempt: 1,
            by: by(),
            note: told(),
        },
        Event::ChildStarted {
            step: step(),
            attempt: 1,
            child: Child {
                program: ProcessId {
                    pid: 7,
                    start_ticks: 9,
                },
                supervisor: None,
                boot_id: uuid::Uuid::from_u128(5),
            },
        },
        Event::Rejected {
            step: step(),
            attempt: 1,
            by: by(),
            note: None,
        },
        Event::RetryRequested {
            step: step(),
            by: by(),
            why: told(),
        },
        Event::PauseRequested { by: by(), why: None },
        Event::RunUnpaused {
            by: by(),
            why: told(),
        },
        Event::RunReopened { by: by(), why: None },
        Event::StepSkipped {
            step: step(),
            why: SkipReason::Requested {
                by: by(),
                why: "known".into(),
            },
        },
    ] {
        let packed = rmp_serde::to_vec_named(&event).unwrap();
        assert_eq!(rmp_serde::from_slice::<Event>(&packed).unwrap(), event);
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["event"], event.name());
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }
    let bare = serde_json::json!({ "event": "pause_requested", "by": "ann" });
    assert_eq!(
        serde_json::from_value::<Event>(bare).unwrap(),
        Event::PauseRequested { by: by(), why: None }
    );
}
