//! What a person asks of a run, and what may follow its end.

use rekindle_model::event::{Event, Outcome};
use rekindle_model::id::{RunId, StepId};
use rekindle_model::run::RunState;
use serde_json::json;

use super::fixture::{
    adopted, append_to, checkpoint, created, finished, reopened, skipped, stamp, started, succeeded,
};
use super::{err, ok};
use crate::api::{Journal, RunFilter};
use crate::error::JournalError;

pub(super) async fn what_a_person_asks_is_kept_and_checked(journal: &impl Journal) {
    let run = RunId::new(&stamp(0));
    let illegal = |error: JournalError| assert!(matches!(error, JournalError::Illegal(_)), "{error}");
    let (by, why) = (|| "ann".to_owned(), || None);
    let step = || StepId::from("s");
    let asked = Event::ApprovalRequested {
        step: step(),
        attempt: 1,
        prompt: "sure?".to_owned(),
    };
    let approved = || Event::Approved {
        step: step(),
        attempt: 1,
        by: by(),
        note: None,
    };
    let paused = || Event::PauseRequested { by: by(), why: why() };
    let unpaused = || Event::RunUnpaused { by: by(), why: why() };
    let mut expected = ok(journal
        .append(append_to(run, 0, 1, vec![created("a"), started("s", 1), asked]))
        .await);
    for events in [
        vec![succeeded("s")],
        vec![approved(), approved()],
        vec![unpaused()],
        vec![paused(), paused()],
        vec![paused(), unpaused(), reopened()],
    ] {
        illegal(err(journal.append(append_to(run, 3, 1, events)).await));
    }
    expected.extend(ok(journal
        .append(append_to(run, 3, 1, vec![paused(), approved()]))
        .await));
    let retry = Event::RetryRequested {
        step: step(),
        by: by(),
        why: why(),
    };
    expected.extend(ok(journal
        .append(append_to(run, 5, 1, vec![succeeded("s"), retry, unpaused()]))
        .await));
    assert_eq!(*ok(journal.read(run).await), expected);
    let state = ok(RunState::from_records(&expected));
    assert_eq!(state.paused, None);
    assert!(
        state
            .step(&step())
            .approval
            .is_some_and(|approval| approval.is_granted())
    );
}

pub(super) async fn a_finished_run_takes_nothing_but_its_reopening(journal: &impl Journal) {
    let run = RunId::new(&stamp(0));
    let illegal = |error: JournalError| assert!(matches!(error, JournalError::Illegal(_)), "{error}");
    let outcome = async || ok(journal.runs(&RunFilter::default()).await)[0].outcome;
    ok(journal
        .append(append_to(
            run,
            0,
            1,
            vec![created("a"), skipped("s"), finished(Outcome::Failed)],
        ))
        .await);
    // An append that goes wrong after the reopening leaves the run over.
    for events in [
        vec![checkpoint("s", json!(1))],
        vec![finished(Outcome::Succeeded)],
        vec![reopened(), skipped("s")],
        vec![reopened(), reopened()],
    ] {
        illegal(err(journal.append(append_to(run, 3, 1, events)).await));
    }
    illegal(err(journal.append(append_to(run, 3, 2, vec![adopted(2)])).await));
    assert_eq!(outcome().await, Some(Outcome::Failed));
    ok(journal.append(append_to(run, 3, 1, vec![reopened()])).await);
    assert_eq!(outcome().await, None, "a reopened run is listed as over");
    illegal(err(journal.append(append_to(run, 4, 1, vec![reopened()])).await));
    ok(journal
        .append(append_to(run, 4, 2, vec![adopted(2), skipped("t")]))
        .await);
    ok(journal
        .append(append_to(run, 6, 2, vec![finished(Outcome::Succeeded)]))
        .await);
    assert_eq!(outcome().await, Some(Outcome::Succeeded));
    assert_eq!(ok(journal.read(run).await).len(), 7);
}

pub(super) async fn a_run_may_end_and_be_reopened_without_a_pause(journal: &impl Journal) {
    let run = RunId::new(&stamp(0));
    ok(journal.append(append_to(run, 0, 1, vec![created("a")])).await);
    // Both may share one commit: the second is then decided on before the first can be read.
    for seq in (1..60).step_by(2) {
        let (ended, opened) = tokio::join!(
            journal.append(append_to(run, seq, 1, vec![finished(Outcome::Failed)])),
            journal.append(append_to(run, seq + 1, 1, vec![reopened()])),
        );
        ok(ended);
        ok(opened);
    }
    assert_eq!(ok(journal.read(run).await).len(), 61);
}
