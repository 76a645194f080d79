//! The owner itself and its socket give the same answers.

use rekindle_engine::{Ask, SubRun, SubRuns};
use rekindle_model::event::Outcome;
use rekindle_model::id::RunId;
use rekindle_model::origin::Parent;
use rekindle_model::problem::ProblemKind;
use rekindle_server::{End, Pace, RunService, Submission};
use std::time::Duration;
use uuid::Uuid;

use crate::bench::{Bench, all, ask, flaky, gated, names, services, until, within};

#[tokio::test]
async fn a_run_is_submitted_followed_and_comes_to_its_end() {
    let bench = Bench::new().await;
    for (who, service) in services(&bench) {
        let run = service.submit(gated()).await.unwrap();
        assert_eq!(bench.owner.info().runs, [run], "{who}");
        let mut told = service.follow(run, 0).await.unwrap();
        until(&mut told, "step_started", "second").await;
        bench.open_gate();
        let (events, end) = all(&mut told).await;
        assert_eq!(end, End::Finished(Outcome::Succeeded), "{who}");
        assert_eq!(events.last().unwrap().name(), "run_finished", "{who}");
        within(bench.owner.idle()).await;
        assert!(bench.owner.info().runs.is_empty(), "{who}");
    }
    bench.end().await;
}

#[tokio::test]
async fn a_follower_who_comes_late_is_told_the_rest_once() {
    let bench = Bench::new().await;
    for (who, service) in services(&bench) {
        let run = service.submit(gated()).await.unwrap();
        bench.open_gate();
        within(bench.owner.idle()).await;
        let whole = names(&*bench.journal, run).await;
        for after in 0..=whole.len() {
            let mut told = service.follow(run, after as u64).await.unwrap();
            let (events, end) = all(&mut told).await;
            let found: Vec<&str> = events.iter().map(|event| event.name()).collect();
            assert_eq!(found, whole[after..], "{who}, after {after}");
            assert_eq!(end, End::Finished(Outcome::Succeeded), "{who}");
        }
    }
    bench.end().await;
}

#[tokio::test]
async fn a_submitter_who_goes_away_takes_nothing_with_it() {
    let bench = Bench::new().await;
    let run = bench.client.submit(gated()).await.unwrap();
    let mut told = bench.client.follow(run, 0).await.unwrap();
    until(&mut told, "step_started", "second").await;
    drop(told);
    bench.open_gate();
    within(bench.owner.idle()).await;
    assert_eq!(names(&*bench.journal, run).await.last(), Some(&"run_finished"));
    bench.end().await;
}

#[tokio::test]
async fn a_cancelled_run_ends_with_who_and_why() {
    let bench = Bench::new().await;
    for (who, service) in services(&bench) {
        let run = service.submit(gated()).await.unwrap();
        let mut told = service.follow(run, 0).await.unwrap();
        until(&mut told, "step_started", "second").await;
        service.request(run, ask(Ask::Cancel)).await.unwrap();
        let (events, end) = all(&mut told).await;
        assert_eq!(end, End::Finished(Outcome::Cancelled), "{who}");
        let asked = events
            .iter()
            .find(|event| event.name() == "cancel_requested")
            .unwrap();
        let asked = serde_json::to_value(asked).unwrap();
        assert_eq!(
            (&asked["by"], &asked["why"]),
            (&"a test".into(), &"because".into()),
            "{who}"
        );
    }
    bench.end().await;
}

#[tokio::test]
async fn a_stopped_owner_leaves_its_runs_and_another_takes_them_over() {
    let (bench, run) = Bench::interrupted().await;
    within(bench.owner.idle()).await;
    let refused = bench.client.submit(gated()).await.unwrap_err();
    assert_eq!((refused.kind, &*refused.code), (ProblemKind::Held, "stopping"));
    let next = bench.next().await;
    let mut sweeper = next.owner.sweeper(Pace::default());
    assert_eq!(within(sweeper.sweep()).await.unwrap(), [run]);
    // A second resume of a run that the owner drives already changes nothing.
    next.client.resume(run).await.unwrap();
    next.open_gate();
    let mut told = next.client.follow(run, 0).await.unwrap();
    assert_eq!(all(&mut told).await.1, End::Finished(Outcome::Succeeded));
    let refused = next.client.resume(run).await.unwrap_err();
    assert_eq!(refused.kind, ProblemKind::Invalid, "{refused}");
    next.end().await;
}

#[tokio::test]
async fn errors_are_the_same_on_both_sides_of_the_socket() {
    let bench = Bench::new().await;
    let nobody = RunId(Uuid::from_u128(7));
    let mut broken = gated();
    broken.definition = "workflow: gated\nsteps:\n  - id: a\n    uses: nosuch\n".to_owned();
    let mut said = Vec::new();
    for (_, service) in services(&bench) {
        said.push([
            service.submit(broken.clone()).await.unwrap_err(),
            service.resume(nobody).await.unwrap_err(),
            service.follow(nobody, 0).await.unwrap_err(),
            service.request(nobody, ask(Ask::Cancel)).await.unwrap_err(),
        ]);
    }
    assert_eq!(said[0], said[1]);
    assert!(said[0][0].message.contains("nosuch"), "{}", said[0][0]);
    assert_eq!(said[0][0].next[0].text, "correct it");
    bench.end().await;
}

#[tokio::test]
async fn of_two_concurrent_resumes_one_adopts_the_run() {
    let (bench, run) = Bench::interrupted().await;
    let next = bench.next().await;
    let resumes = futures::future::join_all((0..8).map(|_| next.client.resume(run)));
    assert!(within(resumes).await.iter().all(Result::is_ok));
    next.open_gate();
    let mut told = next.client.follow(run, 0).await.unwrap();
    let (events, end) = all(&mut told).await;
    assert_eq!(end, End::Finished(Outcome::Succeeded));
    let adopted = events
        .iter()
        .filter(|event| event.name() == "run_adopted")
        .count();
    let told: Vec<_> = events.iter().map(|event| event.name()).collect();
    assert_eq!(adopted, 1, "{told:?}");
    next.end().await;
}

const SOON: Pace = Pace {
    every: Duration::from_millis(20),
    longest: Duration::from_millis(40),
};

#[tokio::test]
async fn the_sweeper_resumes_a_run_that_a_failure_has_interrupted() {
    let bench = Bench::new().await;
    let run = bench.client.submit(flaky()).await.unwrap();
    let mut told = bench.client.follow(run, 0).await.unwrap();
    assert_eq!(all(&mut told).await.1, End::Interrupted, "nobody sweeps yet");
    let mut sweeper = bench.owner.sweeper(SOON);
    let sweeping = tokio::spawn(async move { sweeper.keep_on().await });
    within(async {
        while names(&*bench.journal, run).await.last() != Some(&"run_finished") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let seen = names(&*bench.journal, run).await;
    let adopted = seen.iter().filter(|name| **name == "run_adopted").count();
    assert!(adopted >= 2, "it was interrupted more than once: {seen:?}");
    bench.stop.cancel();
    within(sweeping).await.unwrap();
    bench.end().await;
}

#[tokio::test]
async fn a_run_that_keeps_being_interrupted_rests_longer_each_time() {
    let bench = Bench::new().await;
    let run = bench.client.submit(flaky()).await.unwrap();
    within(bench.owner.idle()).await;
    let pace = Pace {
        every: Duration::from_secs(10),
        longest: Duration::from_secs(60),
    };
    let mut sweeper = bench.owner.sweeper(pace);
    assert_eq!(
        within(sweeper.sweep()).await.unwrap(),
        [run],
        "it had not been taken up"
    );
    within(bench.owner.idle()).await;
    assert_eq!(within(sweeper.sweep()).await.unwrap(), [], "it rests");
    bench.end().await;
}

#[tokio::test]
async fn the_sweeper_adopts_a_reopened_run_at_once() {
    let bench = Bench::new().await;
    let run = bench.client.submit(gated()).await.unwrap();
    bench.open_gate();
    within(bench.owner.idle()).await;
    // Far longer than the test may take: it is the request that wakes it.
    let mut sweeper = bench.owner.sweeper(Pace::default());
    let sweeping = tokio::spawn(async move { sweeper.keep_on().await });
    let step = "second".into();
    let after = names(&*bench.journal, run).await.len() as u64;
    bench.client.request(run, ask(Ask::Retry { step })).await.unwrap();
    bench.open_gate();
    within(async {
        while !names(&*bench.journal, run).await.ends_with(&["run_finished"])
            || names(&*bench.journal, run).await.len() as u64 <= after + 3
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    bench.stop.cancel();
    within(sweeping).await.unwrap();
    bench.end().await;
}

#[tokio::test]
async fn of_two_runs_of_a_group_the_second_waits_says_for_whom_and_follows() {
    let bench = Bench::new().await;
    let one_at_a_time = || {
        let mut submission = gated();
        submission.definition.push_str("concurrency: nightly\n");
        submission
    };
    let first = bench.client.submit(one_at_a_time()).await.unwrap();
    let mut of_first = bench.client.follow(first, 0).await.unwrap();
    until(&mut of_first, "step_started", "second").await;
    let second = bench.client.submit(one_at_a_time()).await.unwrap();
    let mut of_second = bench.client.follow(second, 0).await.unwrap();
    until(&mut of_second, "turn_awaited", "").await;
    bench.open_gate();
    bench.open_gate();
    assert_eq!(all(&mut of_first).await.1, End::Finished(Outcome::Succeeded));
    assert_eq!(all(&mut of_second).await.1, End::Finished(Outcome::Succeeded));
    let seen = names(&*bench.journal, second).await;
    assert_eq!(
        seen[..4],
        ["run_created", "turn_awaited", "turn_taken", "step_started"]
    );
    assert!(
        !names(&*bench.journal, first).await.contains(&"turn_taken"),
        "nobody was before it"
    );
    bench.end().await;
}

#[tokio::test]
async fn a_request_during_an_adoption_does_not_overtake_the_driver() {
    let (bench, run) = Bench::interrupted().await;
    let next = bench.next().await;
    // Each of them finds that nobody drives it, and both go on from there.
    let (resumed, paused) = within(futures::future::join(
        next.owner.resume(run),
        next.owner.request(run, ask(Ask::Pause)),
    ))
    .await;
    paused.unwrap();
    resumed.unwrap();
    let mut told = next.client.follow(run, 0).await.unwrap();
    next.client.request(run, ask(Ask::Unpause)).await.unwrap();
    next.open_gate();
    assert_eq!(all(&mut told).await.1, End::Finished(Outcome::Succeeded));
    next.end().await;
}

#[tokio::test]
async fn a_run_whose_parent_was_cancelled_undriven_ends_first_and_may_be_opened_again() {
    let bench = Bench::new().await;
    let parent = bench.client.submit(gated()).await.unwrap();
    let mut told = bench.client.follow(parent, 0).await.unwrap();
    until(&mut told, "step_started", "second").await;
    let child = RunId(Uuid::from_u128(9));
    let Submission {
        workflow,
        definition,
        kind,
        inputs,
        ..
    } = gated();
    let sub_run = SubRun {
        run: child,
        parent: Parent {
            run: parent,
            step: "second".into(),
        },
        workflow,
        kind,
        definition,
        inputs,
        disaster_at: None,
        disaster_at_told: false,
    };
    SubRuns::create(&bench.owner, sub_run).await.unwrap();
    let mut told = bench.client.follow(child, 0).await.unwrap();
    until(&mut told, "step_started", "second").await;
    bench.stop.cancel();
    within(bench.owner.idle()).await;

    // The run around it is cancelled while nobody drives either, so that nobody tells the step that it is given up.
    let next = bench.next().await;
    next.owner.request(parent, ask(Ask::Cancel)).await.unwrap();
    next.owner.resume(parent).await.unwrap();
    within(next.owner.idle()).await;
    let mut told = next.client.follow(child, 0).await.unwrap();
    assert_eq!(all(&mut told).await.1, End::Finished(Outcome::Cancelled));

    next.owner.request(child, ask(Ask::RetryFailed)).await.unwrap();
    next.open_gate();
    next.owner.resume(child).await.unwrap();
    within(next.owner.idle()).await;
    let mut told = next.client.follow(child, 0).await.unwrap();
    assert_eq!(all(&mut told).await.1, End::Finished(Outcome::Succeeded));
    next.end().await;
}
