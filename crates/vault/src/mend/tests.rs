//! A location with a damaged marker or key file is named and mended, and a copy of a location gets an id of its own.

use std::path::PathBuf;

use rekindle_model::time::{Clock, SystemClock};
use rustix::fs::{CWD, FileType, Mode};

use super::*;
use crate::catalog::CatalogCheck;
use crate::catalog::tests::{Fixture, copy_tree};
use crate::error::TierError;
use crate::object::{FORMAT_MARKER, WRAPPED_KEY};
use crate::tier::catalogs;

/// Damages a file; the second path is another file of the location.
type Spoil = fn(&Path, &Path);

const DAMAGES: [(&str, Spoil); 9] = [
    ("removed", |file, _| std::fs::remove_file(file).unwrap()),
    ("emptied", |file, _| std::fs::write(file, "").unwrap()),
    ("truncated", |file, _| {
        let bytes = std::fs::read(file).unwrap();
        std::fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
    }),
    ("replaced", |file, _| {
        std::fs::write(file, "something else").unwrap()
    }),
    ("swapped", |file, other| {
        std::fs::copy(other, file).unwrap();
    }),
    ("huge", |file, _| {
        let file = std::fs::File::create(file).unwrap();
        file.set_len(60 << 30).unwrap();
    }),
    ("a FIFO", |file, _| {
        std::fs::remove_file(file).unwrap();
        rustix::fs::mknodat(CWD, file, FileType::Fifo, Mode::RUSR, 0).unwrap();
    }),
    ("a folder", |file, _| {
        std::fs::remove_file(file).unwrap();
        std::fs::create_dir(file).unwrap();
    }),
    ("a link", |file, other| {
        std::fs::remove_file(file).unwrap();
        std::os::unix::fs::symlink(other, file).unwrap();
    }),
];

impl Fixture {
    fn remembered(&self) -> Remembered {
        Remembered::of(self.dir.path())
    }

    async fn try_open(&self, urls: &[&str]) -> Result<Tier, TierError> {
        let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
        let (base, keyring) = (self.dir.path(), Arc::clone(&self.keyring));
        let mode = TierMode::Existing;
        Tier::open_remembered("near", &urls, base, keyring, b"key", mode, &self.remembered()).await
    }

    async fn mend(&self, tier: &str) -> Result<Vec<Mended>, VaultError> {
        let urls = [format!("file://./{tier}")];
        mend(
            tier,
            &urls,
            self.dir.path(),
            &self.keyring,
            b"key",
            &self.remembered(),
        )
        .await
    }

    fn marker_and_key(&self) -> [PathBuf; 2] {
        [FORMAT_MARKER, WRAPPED_KEY].map(|name| self.place("near").join(name))
    }
}

#[tokio::test]
async fn a_damaged_marker_or_key_file_is_named_and_written_anew_under_the_same_id() {
    for which in 0..2 {
        for (how, spoil) in DAMAGES {
            let fixture = Fixture::new();
            fixture.seal(&["near"]).await;
            let id = fixture.open("near").await.locations()[0].id;
            let files = fixture.marker_and_key();
            spoil(&files[which], &files[1 - which]);
            let refused = fixture.try_open(&["file://./near"]).await;
            assert!(
                matches!(&refused, Err(TierError::Damaged { object, .. }) if object.path() == ["format", "key.age"][which]),
                "{how}: {refused:?}"
            );
            // A workspace that has lost its notes finds the id by the heads, if the marker still states it.
            let [mended] = &fixture.mend("near").await.unwrap()[..] else {
                panic!()
            };
            assert!(!mended.new_id, "{how}");
            assert_eq!(fixture.open("near").await.locations()[0].id, id, "{how}");
            assert_eq!(fixture.seen("near").await, [""; 0], "{how}");
            assert_eq!(fixture.mend("near").await.unwrap(), [], "{how}");
        }
    }
}

#[tokio::test]
async fn each_changed_byte_of_a_marker_is_named_as_damage() {
    let fixture = Fixture::new();
    fixture.seal(&["near"]).await;
    let [marker, _] = fixture.marker_and_key();
    let whole = std::fs::read(&marker).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&marker, bytes).unwrap();
        let opened = fixture.try_open(&["file://./near"]).await;
        assert!(
            opened.as_ref().is_err_and(TierError::is_damage),
            "byte {at}: {opened:?}"
        );
    }
}

#[tokio::test]
async fn a_location_without_a_readable_head_gets_a_new_id_and_its_chain_begins_anew() {
    let fixture = Fixture::new();
    let set = fixture.seal(&["near"]).await;
    let [marker, _] = fixture.marker_and_key();
    std::fs::write(&marker, "").unwrap();
    std::fs::remove_dir_all(fixture.place("near/heads")).unwrap();
    for note in ["heads.json", "tiers/near.json"] {
        std::fs::remove_file(fixture.dir.path().join(note)).unwrap();
    }
    assert!(fixture.mend("near").await.unwrap()[0].new_id);
    assert_eq!(fixture.seen("near").await, [""; 0]);
    fixture.seal(&["near"]).await;
    let tier = fixture.open("near").await;
    assert!(
        catalogs(&[tier]).await.by_tier["near"][0]
            .sets
            .contains_key(&set.id)
    );
}

#[tokio::test]
async fn nothing_is_written_where_nothing_opens_with_the_key() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    fixture.seal(&["near"]).await;
    other.seal(&["near"]).await;
    std::fs::remove_dir_all(fixture.place("near")).unwrap();
    copy_tree(&other.place("near"), &fixture.place("near"));
    let [marker, _] = fixture.marker_and_key();
    let foreign = std::fs::read(&marker).unwrap();
    assert_eq!(
        fixture.mend("near").await.unwrap(),
        [],
        "another repository is not damage"
    );
    std::fs::write(&marker, "").unwrap();
    let refused = fixture.mend("near").await.unwrap_err();
    assert!(
        refused.to_string().contains("`format` at file://./near"),
        "{refused}"
    );
    assert!(std::fs::read(&marker).unwrap().is_empty());
    assert!(!foreign.is_empty());
}

#[tokio::test]
async fn one_damaged_location_of_a_tier_is_named_and_the_others_serve() {
    let urls = ["file://./near", "file://./far"];
    let fixture = Fixture::new();
    let set = fixture.seal(&["near", "far"]).await;
    let other = Fixture::new();
    other.seal(&["near"]).await;
    let [marker, key] = fixture.marker_and_key();
    let foreign = std::fs::read(other.place("near/format")).unwrap();
    let mut unproven = std::fs::read(&marker).unwrap();
    let digit = unproven.iter().rposition(u8::is_ascii_hexdigit).unwrap();
    unproven[digit] = if unproven[digit] == b'0' { b'1' } else { b'0' };
    for (how, bytes) in [
        ("damaged", b"junk".to_vec()),
        ("foreign", foreign),
        ("unproven", unproven),
    ] {
        let whole = std::fs::read(&marker).unwrap();
        std::fs::write(&marker, bytes).unwrap();
        let tier = fixture.try_open(&urls).await.unwrap();
        assert_eq!(tier.urls(), ["file://./far"], "{how}");
        assert_eq!(tier.down()[0].0, "file://./near", "{how}");
        assert_eq!(tier.damaged().len(), usize::from(how != "foreign"), "{how}");
        assert_eq!(tier.set(set.id).await.unwrap(), set, "{how}");
        std::fs::write(&marker, whole).unwrap();
    }
    std::fs::write(&key, "another").unwrap();
    assert_eq!(fixture.try_open(&urls).await.unwrap().damaged().len(), 1);
}

#[tokio::test]
async fn a_tier_that_was_copied_from_another_one_is_named_and_gets_an_id_of_its_own() {
    let fixture = Fixture::new();
    let set = fixture.seal(&["near", "far"]).await;
    std::fs::remove_dir_all(fixture.place("far")).unwrap();
    copy_tree(&fixture.place("near"), &fixture.place("far"));
    let open = async || [fixture.open("near").await, fixture.open("far").await];
    let names = async |of: &str| fixture.faults(&open().await, of, CatalogCheck::Documents).await;
    let is_named = |faults: &[String]| {
        faults.len() == 1 && faults[0].contains("the same id as tier near at file://./near")
    };
    assert_eq!(names("near").await, [""; 0]);
    let faults = names("far").await;
    assert!(is_named(&faults), "{faults:?}");
    // A set more does not make the original look like the copy, nor like one that was put back.
    fixture.seal(&["near", "far"]).await;
    fixture.seal(&["near", "far"]).await;
    assert_eq!(names("near").await, [""; 0]);
    let faults = names("far").await;
    assert!(is_named(&faults), "{faults:?}");

    let tiers = open().await;
    let found = catalogs(&tiers).await;
    let now = SystemClock.now();
    assert_eq!(separate(&tiers[0], &found, b"key", &now).await.unwrap(), []);
    let mended = separate(&tiers[1], &found, b"key", &now).await.unwrap();
    assert!(
        mended[0].new_id && mended[0].why.contains("tier near"),
        "{mended:?}"
    );
    let tiers = open().await;
    assert_ne!(tiers[0].locations()[0].id, tiers[1].locations()[0].id);
    for of in ["near", "far"] {
        assert_eq!(names(of).await, [""; 0], "{of}");
    }
    let found = catalogs(&tiers).await;
    assert_eq!(found.by_tier["far"][0].sets.len(), 3);
    assert!(found.by_tier["far"][0].sets.contains_key(&set.id));
    assert!(found.by_tier["far"][0].confirmed);
}
