//! A lost chunk costs only its files, and the report names each of them.

use super::*;

#[tokio::test]
async fn a_lost_chunk_costs_its_files_and_nothing_else() {
    let room = many();
    let mut store = Memory::of(&room.path().join("tree"));
    let of = |name: &str| {
        store
            .records
            .iter()
            .find(|r| r.entry.path.display() == name)
            .unwrap()
            .chunks
            .clone()
    };
    let lost = [of("f1/large")[9].id, of("f2/file-05")[1].id];
    store.lost = HashSet::from(lost);
    let target = room.path().join("target");
    for refuse in [Some(4), None] {
        let report = run(&store, request(&target), refuse).await.0;
        if refuse.is_none() {
            let report = report.unwrap();
            let named: Vec<_> = report.lost.iter().map(|file| file.path.display()).collect();
            assert_eq!(named, ["f1/large", "f2/file-05"]);
            assert!(
                report.lost[0].why.contains("is in no tier"),
                "{}",
                report.lost[0].why
            );
            assert_eq!(report.files, 11);
        }
    }
    let found = inspect_from(&store, &request(&target), &CancellationToken::new())
        .await
        .unwrap();
    let named: Vec<_> = found
        .differences
        .iter()
        .map(|d| (d.path.display(), d.aspect))
        .collect();
    assert_eq!(
        named,
        [
            ("f1/large".to_owned(), Aspect::Missing),
            ("f2/file-05".to_owned(), Aspect::Missing)
        ]
    );
    let partials = fs::read_dir(target.join("f1")).unwrap().filter(|name| {
        name.as_ref()
            .unwrap()
            .file_name()
            .to_str()
            .unwrap()
            .starts_with(PARTIAL_PREFIX)
    });
    assert_eq!(partials.count(), 0);
}

#[tokio::test]
async fn whichever_chunk_is_lost_every_other_file_stands() {
    let room = many();
    let whole = Memory::of(&room.path().join("tree"));
    let chunks = whole
        .records
        .iter()
        .flat_map(|record| record.chunks.first().into_iter().chain(record.chunks.last()));
    for (n, chunk) in chunks.enumerate() {
        let store = Memory {
            lost: HashSet::from([chunk.id]),
            ..whole.again()
        };
        let needs = |record: &&EntryRecord| record.chunks.contains(chunk);
        let expected: Vec<_> = store
            .records
            .iter()
            .filter(needs)
            .map(|r| r.entry.path.clone())
            .collect();
        let target = room.path().join(format!("lost-{n}"));
        let report = run(&store, request(&target), None).await.0.unwrap();
        assert_eq!(
            report
                .lost
                .iter()
                .map(|file| file.path.clone())
                .collect::<Vec<_>>(),
            expected
        );
        let stop = CancellationToken::new();
        let found = inspect_from(&store, &request(&target), &stop).await.unwrap();
        assert_eq!(
            found.differences.into_iter().map(|d| d.path).collect::<Vec<_>>(),
            expected
        );
        assert_eq!(report.files, 13 - expected.len() as u64);
    }
}

#[tokio::test]
async fn losses_before_a_kill_are_still_named_after_the_resume() {
    let room = many();
    let mut store = Memory::of(&room.path().join("tree"));
    let first = store.records.iter().find(|r| !r.chunks.is_empty()).unwrap();
    let (path, id) = (first.entry.path.clone(), first.chunks[0].id);
    store.lost.insert(id);
    let target = room.path().join("target");
    let (_, mut kept) = run(&store, request(&target), Some(5)).await;
    let resumed = RestoreRequest {
        checkpoint: kept.pop(),
        ..request(&target)
    };
    let report = run(&store, resumed, None).await.0.unwrap();
    assert_eq!(
        report.lost.iter().map(|file| &file.path).collect::<Vec<_>>(),
        [&path]
    );
}
