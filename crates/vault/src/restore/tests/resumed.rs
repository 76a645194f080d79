//! A kill costs at most one window, at any point and after any change in between.

use super::*;

#[tokio::test]
async fn after_a_kill_at_any_window_the_rest_is_written_and_no_more_than_one_window_twice() {
    let room = many();
    let store = Memory::of(&room.path().join("tree"));
    let window = request(room.path()).window.bytes + CHUNK as u64;
    let total = run(&store, request(&room.path().join("whole")), None).await;
    let (windows, total) = (total.1.len(), total.0.unwrap().bytes_total);
    assert!(windows > 8, "{windows}");
    for killed in 0..windows {
        let target = room.path().join(format!("killed-{killed}"));
        let (result, mut kept) = run(&store, request(&target), Some(killed)).await;
        assert!(matches!(result, Err(RestoreError::Checkpoint(_))), "{result:?}");
        let checkpoint = kept.pop();
        let before = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.bytes_done);
        let resumed = RestoreRequest {
            checkpoint,
            ..request(&target)
        };
        let report = run(&store, resumed, None).await.0.unwrap();
        assert!(
            report.bytes_written + before <= total,
            "{killed}: wrote {} after {before}",
            report.bytes_written
        );
        assert!(
            report.bytes_written <= total - before && report.bytes_kept >= before,
            "{report:?}"
        );
        assert_eq!(
            report.bytes_written + report.bytes_kept,
            total,
            "{killed}: {report:?}"
        );
        assert_eq!(report.files, 13);
        assert!(window < total / 3);
        assert_whole(&store, &target).await;
    }
}

#[tokio::test]
async fn a_call_dropped_within_a_window_or_cut_off_from_its_store_resumes_with_bounded_rework() {
    let room = many();
    let store = Memory::of(&room.path().join("tree"));
    let total = run(&store, request(&room.path().join("whole")), None)
        .await
        .0
        .unwrap()
        .bytes_total;
    for (n, after) in
        (0..store.chunks.len()).map(|n| (n, if n % 2 == 0 { After::Hang } else { After::Refuse }))
    {
        let target = room.path().join(format!("cut-{n}"));
        let cut = Memory {
            after: Some((n, after)),
            ..store.again()
        };
        let kept = Arc::new(Mutex::new(None));
        let newest = Arc::clone(&kept);
        let on_window = move |checkpoint: RestoreCheckpoint| {
            *newest.lock().unwrap() = Some(checkpoint);
            async { Ok(()) }
        };
        let (stop, sink) = (CancellationToken::new(), ProgressSink::none());
        {
            let call = restore_from(&cut, request(&target), &sink, on_window, &stop);
            tokio::pin!(call);
            let hung = async {
                while cut.asked.load(Ordering::SeqCst) <= n || matches!(after, After::Refuse) {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                result = &mut call => assert!(matches!(result, Err(RestoreError::Content(_))), "{result:?}"),
                () = hung => {}
            }
        }
        let checkpoint = kept.lock().unwrap().take();
        let before = checkpoint
            .as_ref()
            .map_or(0, |checkpoint: &RestoreCheckpoint| checkpoint.bytes_done);
        let report = run(
            &store,
            RestoreRequest {
                checkpoint,
                ..request(&target)
            },
            None,
        )
        .await
        .0
        .unwrap();
        assert_eq!(report.bytes_written + report.bytes_kept, total, "{n}: {report:?}");
        assert!(
            report.bytes_written <= total - before,
            "{n}: {report:?} after {before}"
        );
        assert_whole(&store, &target).await;
    }
}

#[tokio::test]
async fn a_checkpoint_is_dropped_where_what_it_covers_does_not_stand_and_what_is_right_is_kept() {
    let room = many();
    let store = Memory::of(&room.path().join("tree"));
    type Disturb = fn(&Path);
    let cases: [(&str, Option<Aspect>, Disturb); 5] = [
        ("nothing", None, |_| {}),
        ("gone", Some(Aspect::Missing), |path| {
            fs::remove_file(path).unwrap();
        }),
        ("cut", Some(Aspect::Size), |path| {
            fs::write(path, "short").unwrap()
        }),
        ("overwritten", Some(Aspect::Content), |path| {
            let len = fs::read(path).unwrap().len();
            fs::write(path, vec![b'x'; len]).unwrap();
        }),
        ("touched", Some(Aspect::Time), |path| {
            fs::write(path, fs::read(path).unwrap()).unwrap();
        }),
    ];
    for (case, aspect, disturb) in cases {
        let target = room.path().join(case);
        let (_, mut kept) = run(&store, request(&target), Some(4)).await;
        let checkpoint = kept.pop();
        assert!(checkpoint.as_ref().unwrap().files > 2, "{checkpoint:?}");
        disturb(&target.join("f0/file-00"));
        let resumed = RestoreRequest {
            checkpoint,
            ..request(&target)
        };
        let report = run(&store, resumed, None).await.0.unwrap();
        let refuted = report.checkpoint_refuted.map(|found| found.aspect);
        assert_eq!(refuted, aspect, "{case}");
        assert_eq!((report.files, report.lost.len()), (13, 0), "{case}");
        assert!(report.bytes_kept > report.bytes_total / 5, "{case}");
        assert_eq!(
            report.bytes_kept + report.bytes_written,
            report.bytes_total,
            "{case}"
        );
        assert_whole(&store, &target).await;
    }
}

#[tokio::test]
async fn a_stop_gives_back_the_newest_checkpoint() {
    let room = many();
    let store = Memory::of(&room.path().join("tree"));
    let target = room.path().join("target");
    let stop = CancellationToken::new();
    let sink = {
        let stop = stop.clone();
        ProgressSink::new(move |done, _| {
            if done > 60_000 {
                stop.cancel()
            }
        })
    };
    let result = restore_from(&store, request(&target), &sink, |_| async { Ok(()) }, &stop).await;
    let Err(RestoreError::Interrupted {
        checkpoint: Some(checkpoint),
    }) = result
    else {
        panic!("{result:?}")
    };
    assert!(checkpoint.bytes_done > 40_000, "{checkpoint:?}");
    let resumed = RestoreRequest {
        checkpoint: Some(*checkpoint),
        ..request(&target)
    };
    run(&store, resumed, None).await.0.unwrap();
    assert_whole(&store, &target).await;
}

#[tokio::test]
async fn a_large_file_goes_on_in_its_middle_and_a_spoiled_beginning_is_made_anew() {
    let room = tempfile::tempdir().unwrap();
    put(&room.path().join("tree"), "large", &bytes(18 * CHUNK, "l"), 0o644);
    // These must not be forgotten when the file before them begins again.
    for name in ["later-1", "later-2"] {
        put(&room.path().join("tree"), name, &bytes(7 * CHUNK, name), 0o644);
    }
    let store = Memory::of(&room.path().join("tree"));
    for spoiled in [false, true] {
        let target = room.path().join(format!("target-{spoiled}"));
        let (_, mut kept) = run(&store, request(&target), Some(3)).await;
        let checkpoint = kept.pop().unwrap();
        assert_eq!(checkpoint.position.offset, 12 * CHUNK as u64);
        if spoiled {
            let partial = fs::read_dir(&target).unwrap().next().unwrap().unwrap().path();
            assert!(
                partial
                    .file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .starts_with(PARTIAL_PREFIX)
            );
            use std::os::unix::fs::FileExt;
            fs::File::options()
                .write(true)
                .open(partial)
                .unwrap()
                .write_all_at(b"spoiled", 100)
                .unwrap();
        }
        let resumed = RestoreRequest {
            checkpoint: Some(checkpoint),
            ..request(&target)
        };
        let report = run(&store, resumed, None).await.0.unwrap();
        assert_eq!((report.files, report.lost.len()), (3, 0));
        assert_eq!(report.bytes_total, 32 * CHUNK as u64);
        let expected = if spoiled { (38, 0) } else { (20, 12) };
        assert_eq!(
            (
                report.bytes_written / CHUNK as u64,
                report.bytes_kept / CHUNK as u64
            ),
            expected
        );
        assert_whole(&store, &target).await;
    }
}
