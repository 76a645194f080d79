//! A tier that hangs delays the run that needs it, and no other.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::time::Duration;

use rekindle_engine::Ask;
use rekindle_model::event::Outcome;
use rekindle_model::id::RunId;
use rekindle_server::{End, Pace, RunService};

use crate::bench::{At, Bench, all, ask, gated, names, until, within};

/// Returns an owner that finds interrupted runs.
async fn interrupted(count: usize) -> (Bench, Vec<RunId>) {
    let bench = Bench::new().await;
    let mut runs = Vec::new();
    for _ in 0..count {
        let run = bench.client.submit(gated()).await.unwrap();
        let mut told = bench.client.follow(run, 0).await.unwrap();
        until(&mut told, "step_started", "second").await;
        runs.push(run);
    }
    bench.stop.cancel();
    within(bench.owner.idle()).await;
    let journal = bench.journal.clone();
    bench.end().await;
    // They are taken up in this order.
    runs.sort();
    (Bench::over(journal).await, runs)
}

#[tokio::test]
async fn adopting_a_run_whose_tier_hangs_delays_no_other_run() {
    let (bench, runs) = interrupted(2).await;
    bench.hangs.set(At::Adopting);
    let mut sweeper = bench.owner.sweeper(Pace::default());
    let sweeping = tokio::spawn(async move { sweeper.sweep().await });
    bench.hangs.reached().await;
    // Neither one that is submitted nor the other one that was interrupted.
    let new = within(bench.client.submit(gated())).await.unwrap();
    let mut told = bench.client.follow(new, 0).await.unwrap();
    until(&mut told, "step_started", "second").await;
    let mut told = within(bench.client.follow(runs[1], 0)).await.unwrap();
    until(&mut told, "run_adopted", "").await;
    assert!(!names(&*bench.journal, runs[0]).await.contains(&"run_adopted"));
    // Nor does this process leave meanwhile.
    assert!(
        tokio::time::timeout(Duration::from_millis(20), bench.owner.idle())
            .await
            .is_err()
    );
    bench.hangs.go_on();
    assert_eq!(within(sweeping).await.unwrap().unwrap(), runs);
    (0..3).for_each(|_| bench.open_gate());
    within(bench.owner.idle()).await;
    for run in [runs[0], runs[1], new] {
        assert_eq!(names(&*bench.journal, run).await.last(), Some(&"run_finished"));
    }
    bench.end().await;
}

#[tokio::test]
async fn of_two_adoptions_of_one_run_the_second_waits_and_adopts_nothing() {
    let (bench, runs) = interrupted(1).await;
    bench.hangs.set(At::Adopting);
    let first = bench.owner.clone();
    let run = runs[0];
    let first = tokio::spawn(async move { first.resume(run).await });
    bench.hangs.reached().await;
    let second = bench.owner.clone();
    let second = tokio::spawn(async move { second.resume(run).await });
    let asks = bench.owner.clone();
    let asks = tokio::spawn(async move { asks.request(run, ask(Ask::Pause)).await });
    tokio::task::yield_now().await;
    bench.hangs.go_on();
    for done in [first, second, asks] {
        within(done).await.unwrap().unwrap();
    }
    let seen = names(&*bench.journal, run).await;
    let adopted = seen.iter().filter(|name| **name == "run_adopted").count();
    assert_eq!(adopted, 1, "{seen:?}");
    bench.client.request(run, ask(Ask::Unpause)).await.unwrap();
    bench.open_gate();
    within(bench.owner.idle()).await;
    bench.end().await;
}

#[tokio::test]
async fn a_run_whose_creation_is_still_being_copied_acts_on_nothing_and_keeps_nobody_waiting() {
    let bench = Bench::new().await;
    bench.hangs.set(At::Creating);
    let first = within(bench.client.submit(gated())).await.unwrap();
    bench.hangs.reached().await;
    let second = within(bench.client.submit(gated())).await.unwrap();
    let mut told = bench.client.follow(second, 0).await.unwrap();
    until(&mut told, "step_started", "second").await;
    assert_eq!(names(&*bench.journal, first).await, ["run_created"]);
    bench.hangs.go_on();
    (0..2).for_each(|_| bench.open_gate());
    let mut told = bench.client.follow(first, 0).await.unwrap();
    assert_eq!(all(&mut told).await.1, End::Finished(Outcome::Succeeded));
    within(bench.owner.idle()).await;
    bench.end().await;
}

#[tokio::test]
async fn what_is_asked_between_the_end_of_a_run_and_its_leaving_the_desk_is_taken_up_at_once() {
    let bench = Bench::new().await;
    let pace = Pace {
        every: Duration::from_secs(86_400),
        longest: Duration::from_secs(86_400),
    };
    let mut sweeper = bench.owner.sweeper(pace);
    let sweeping = tokio::spawn(async move { sweeper.keep_on().await });
    bench.hangs.set(At::Ending);
    let run = bench.client.submit(gated()).await.unwrap();
    bench.open_gate();
    bench.hangs.reached().await;
    // It is over, and still with the owner while its end is copied.
    assert_eq!(bench.owner.info().runs, [run]);
    let after = names(&*bench.journal, run).await.len() as u64;
    let step = "second".into();
    within(bench.owner.request(run, ask(Ask::Retry { step })))
        .await
        .unwrap();
    // The sweeper wakes only once the run has left. If it woke now, it would look here and find the owner still
    // driving.
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    bench.hangs.go_on();
    bench.open_gate();
    within(async {
        loop {
            let seen = names(&*bench.journal, run).await;
            if seen.len() as u64 > after && seen.ends_with(&["run_finished"]) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    bench.stop.cancel();
    within(sweeping).await.unwrap();
    within(bench.owner.idle()).await;
    bench.end().await;
}
