//! What the probes find: everything in a whole system, and every single loss or change in a damaged one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::{measure, measure_part, system, tree};
use clap::Parser;
use rekindle_factoria::command::{ProbeArgs, Surroundings};
use rekindle_factoria::{Baseline, FactoriaCommand, FactoriaError, ProbeKind, probe};
use rekindle_model::time::SystemClock;
use tokio_util::sync::CancellationToken;

const SMALL: u64 = 1_000_000;
const KINDS: [ProbeKind; 10] = [
    ProbeKind::Security,
    ProbeKind::Education,
    ProbeKind::Content,
    ProbeKind::Performance,
    ProbeKind::Service,
    ProbeKind::Files,
    ProbeKind::Models,
    ProbeKind::Quality,
    ProbeKind::Generate,
    ProbeKind::Analytics,
];

fn files(folder: &Path) -> Vec<PathBuf> {
    walkdir::WalkDir::new(folder)
        .sort_by_file_name()
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .collect()
}

/// Changes one byte in the middle.
fn alter(path: &Path) -> Vec<u8> {
    let whole = fs::read(path).unwrap();
    let mut altered = whole.clone();
    altered[whole.len() / 2] ^= 0x55;
    overwrite(path, &altered);
    whole
}

/// Writes in place, so that the mode stays.
fn overwrite(path: &Path, bytes: &[u8]) {
    let before = fs::metadata(path).unwrap().permissions();
    let _ = fs::remove_file(path);
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, before).unwrap();
}

#[test]
fn a_whole_system_measures_whole() {
    let (_kept, root, _) = system(1, SMALL);
    for (kind, names) in [
        (
            ProbeKind::Security,
            &[
                "policies_intact",
                "policies_signed",
                "permissions_intact",
                "keys_present",
                "audit_log_gapless",
                "audit_log_signed",
            ][..],
        ),
        (
            ProbeKind::Education,
            &[
                "learning_science_complete",
                "quality_thresholds_preserved",
                "educational_standards_intact",
                "content_patterns_valid",
                "age_appropriateness_valid",
                "blooms_valid",
                "verification_score",
                "verified",
            ],
        ),
        (
            ProbeKind::Content,
            &["integrity_ok", "references_intact", "digests_intact"],
        ),
        (ProbeKind::Files, &["manifest_match"]),
        (
            ProbeKind::Models,
            &["models_loaded", "predictions_reproduced", "learns"],
        ),
        (
            ProbeKind::Quality,
            &["assessments_reproduced", "records_reproduced"],
        ),
        (ProbeKind::Generate, &["generated_passing"]),
        (
            ProbeKind::Analytics,
            &[
                "analytics_reproduced",
                "reports_reproduced",
                "monitoring_reproduced",
            ],
        ),
    ] {
        let measured = measure(kind, &root);
        for name in names {
            assert_eq!(measured.get(*name), Some(&1.0), "{name} of {measured:#?}");
        }
    }
    assert_eq!(
        measure(ProbeKind::Generate, &root)["content_types_generatable"],
        8.0
    );
    assert_eq!(measure(ProbeKind::Files, &root)["files_unlisted"], 0.0);
}

#[test]
fn measuring_leaves_the_tree_as_it_was() {
    let (_kept, root, _) = system(1, SMALL);
    let before = tree(&root);
    for kind in KINDS {
        measure(kind, &root);
    }
    assert_eq!(tree(&root), before);
}

#[test]
fn any_single_item_of_education_lost_or_altered_lowers_its_part_and_the_score() {
    let (_kept, root, _) = system(1, SMALL);
    let education = root.join("education");
    let items = files(&education);
    for path in &items {
        let whole = alter(path);
        assert!(
            measure(ProbeKind::Education, &root)["verification_score"] < 1.0,
            "altered {}",
            path.display()
        );
        overwrite(path, &whole);
        let mode = fs::metadata(path).unwrap().permissions();
        fs::remove_file(path).unwrap();
        let measured = measure(ProbeKind::Education, &root);
        assert!(measured["verification_score"] < 1.0, "lost {}", path.display());
        assert_eq!(measured["verified"], 0.0);
        let part = match path
            .strip_prefix(&education)
            .unwrap()
            .iter()
            .next()
            .unwrap()
            .to_str()
            .unwrap()
        {
            "frameworks" => "learning_science_complete",
            "quality_assessment" => "quality_thresholds_preserved",
            "standards" => "educational_standards_intact",
            "content_patterns" => "content_patterns_valid",
            "age_appropriateness" => "age_appropriateness_valid",
            "blooms" => "blooms_valid",
            _ => "verification_score",
        };
        assert!(measured[part] < 1.0, "{part} without {}", path.display());
        fs::write(path, &whole).unwrap();
        fs::set_permissions(path, mode).unwrap();
    }
    assert!(items.len() > 80, "{}", items.len());
    assert_eq!(
        measure(ProbeKind::Education, &root)["verification_score"],
        1.0,
        "all was put back"
    );
}

#[test]
fn an_item_dropped_together_with_its_entry_in_the_manifest_is_still_missed() {
    let (_kept, root, _) = system(1, SMALL);
    let base = root.join("education");
    let manifest: rekindle_factoria::manifest::Manifest =
        serde_json::from_slice(&fs::read(base.join(".manifest.json")).unwrap()).unwrap();
    let required = manifest.entries.keys().filter(|path| path.ends_with(".json"));
    let mut tried = 0;
    for path in required {
        let mut entries = manifest.entries.clone();
        entries.remove(path);
        let forged = rekindle_factoria::manifest::Manifest::new("education", entries, &[]).unwrap();
        fs::write(base.join(".manifest.json"), serde_json::to_vec(&forged).unwrap()).unwrap();
        let whole = fs::read(base.join(path)).unwrap();
        fs::remove_file(base.join(path)).unwrap();
        assert!(
            measure(ProbeKind::Education, &root)["verification_score"] < 1.0,
            "{path}"
        );
        fs::write(base.join(path), whole).unwrap();
        tried += 1;
    }
    assert!(tried > 70, "{tried}");
}

#[test]
fn any_single_file_of_security_lost_or_altered_lowers_a_measure() {
    let (_kept, root, _) = system(1, SMALL);
    let shares = [
        "policies_intact",
        "permissions_intact",
        "keys_present",
        "audit_log_gapless",
        "audit_log_signed",
    ];
    let whole_there = |root: &Path| {
        let measured = measure(ProbeKind::Security, root);
        shares.iter().all(|name| measured[*name] == 1.0)
    };
    for path in files(&root.join("security")) {
        // Whoever changes a file can seal the manifest again: it proves nothing here.
        if path.ends_with(".manifest.json") {
            continue;
        }
        let whole = alter(&path);
        assert!(!whole_there(&root), "altered {}", path.display());
        overwrite(&path, &whole);
        let mode = fs::metadata(&path).unwrap().permissions();
        fs::remove_file(&path).unwrap();
        assert!(!whole_there(&root), "lost {}", path.display());
        fs::write(&path, &whole).unwrap();
        fs::set_permissions(&path, mode).unwrap();
    }
    assert!(whole_there(&root), "all was put back");
}

#[test]
fn a_key_that_others_may_read_is_not_present_as_a_key() {
    use std::os::unix::fs::PermissionsExt;
    let (_kept, root, _) = system(1, SMALL);
    fs::set_permissions(
        root.join("security/keys/session.key"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let measured = measure(ProbeKind::Security, &root);
    assert!(measured["keys_present"] < 1.0 && measured["permissions_intact"] < 1.0);
    assert_eq!(measured["policies_intact"], 1.0);
}

#[test]
fn a_gap_in_the_audit_log_and_an_end_cut_off_are_found_and_growth_is_not_a_fault() {
    let (_kept, root, _) = system(1, SMALL);
    let path = root.join("security/audit.log");
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    assert_eq!(
        measure(ProbeKind::Security, &root)["audit_last_seq"],
        lines.len() as f64
    );
    for missing in [0, lines.len() / 2, lines.len() - 1] {
        let mut left = lines.clone();
        left.remove(missing);
        fs::write(&path, left.concat()).unwrap();
        assert!(
            measure(ProbeKind::Security, &root)["audit_log_gapless"] < 1.0,
            "without line {missing}"
        );
    }
    let last: serde_json::Value = serde_json::from_str(lines[lines.len() - 1]).unwrap();
    let mut grown = whole.clone().into_bytes();
    let start = grown.len();
    let seq = lines.len() + 1;
    grown.extend_from_slice(format!("{{\"seq\":{seq},\"at\":\"later\",\"note\":\"more\"").as_bytes());
    rekindle_factoria::audit::seal(&mut grown, start, last["hash"].as_str().unwrap());
    fs::write(&path, grown).unwrap();
    let measured = measure(ProbeKind::Security, &root);
    assert_eq!(
        (measured["audit_log_gapless"], measured["audit_last_seq"]),
        (1.0, seq as f64)
    );
}

#[test]
fn files_are_compared_with_the_manifest_of_their_own_folder() {
    let (_kept, root, _) = system(1, SMALL);
    let of = |component: &str| measure_part(ProbeKind::Files, &root, component);
    let whole = of("cache");
    assert_eq!(whole["manifest_match"], 1.0);
    let entries = files(&root.join("cache/entries"));
    alter(&entries[0]);
    fs::remove_file(&entries[1]).unwrap();
    fs::remove_dir(root.join("cache/pending")).unwrap();
    let measured = of("cache");
    assert_eq!(
        (measured["entries_altered"], measured["entries_missing"]),
        (1.0, 2.0)
    );
    let expected = (whole["entries_listed"] - 3.0) / whole["entries_listed"];
    assert!((measured["manifest_match"] - expected).abs() < 1e-12);
    assert_eq!(measured["files"], whole["files"] - 1.0);
    assert_eq!(
        of("context")["manifest_match"],
        1.0,
        "another component is not concerned"
    );
    fs::remove_file(root.join("cache/.manifest.json")).unwrap();
    assert_eq!(of("cache")["manifest_match"], 0.0);
    assert!(
        !of("db/content.sqlite").contains_key("manifest_match"),
        "a database carries no manifest"
    );
}

#[test]
fn a_root_that_cannot_be_read_is_an_error_and_an_empty_one_measures_nothing_whole() {
    let folder = tempfile::tempdir().unwrap();
    let absent = probe(
        ProbeKind::Security,
        &folder.path().join("absent"),
        None,
        &Baseline::default(),
    );
    assert!(matches!(absent, Err(FactoriaError::UnreadableRoot { .. })));
    for kind in KINDS {
        let measured = measure(kind, folder.path());
        let high: Vec<_> = measured
            .iter()
            .filter(|(name, value)| {
                **value != 0.0
                    && ![
                        "checks_made",
                        "generation_ms",
                        "references",
                        "references_broken",
                        "requests",
                        "service_requests",
                        "service_start_ms",
                    ]
                    .contains(&name.as_str())
                    && !name.ends_with("_digest")
                    && !name.starts_with("entries_")
            })
            .collect();
        assert!(high.is_empty(), "{kind:?}: {high:?}");
    }
    let outside = probe(
        ProbeKind::Files,
        folder.path(),
        Some(Path::new("../elsewhere")),
        &Baseline::default(),
    );
    assert!(matches!(outside, Err(FactoriaError::UnknownComponent { .. })));
}

/// Runs a command as a caller within a runtime does.
async fn run(
    kind: ProbeKind,
    root: &Path,
    baseline: Option<&str>,
) -> Result<serde_json::Value, FactoriaError> {
    let command = FactoriaCommand::Probe(ProbeArgs {
        kind,
        root: root.to_owned(),
        component: None,
        baseline: baseline.map(str::to_owned),
        expect: Vec::new(),
    });
    rekindle_factoria::run(command, around()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_compares_with_a_baseline_and_starts_the_service_from_within_a_runtime() {
    let (_kept, root, _) = system(1, SMALL);
    let before = run(ProbeKind::Models, &root, None).await.unwrap();
    assert!(
        before
            .as_object()
            .unwrap()
            .values()
            .all(serde_json::Value::is_number)
    );
    let after = run(ProbeKind::Models, &root, Some(&before.to_string()))
        .await
        .unwrap();
    assert_eq!(
        (&before["predictions_kept"], &after["predictions_kept"]),
        (&serde_json::Value::Null, &1.0.into())
    );
    let generated = run(ProbeKind::Generate, &root, Some("")).await.unwrap();
    assert_eq!(generated["content_types_generatable"], 8.0);
    let refused = run(ProbeKind::Models, &root, Some("[1]"))
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("the baseline"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_is_not_as_expected_fails_the_command() {
    let (_kept, root, _) = system(1, SMALL);
    let probe = |expect: &str| {
        let line = [
            "x",
            "probe",
            "files",
            "--root",
            root.to_str().unwrap(),
            "--expect",
            expect,
        ];
        let command = Line::try_parse_from(line).unwrap().command;
        rekindle_factoria::run(command, around())
    };
    probe("manifest_match == 1").await.unwrap();
    for (expect, why) in [
        ("manifest_match < 1", "manifest_match is 1, expected < 1"),
        ("speedup >= 2", "speedup was not measured"),
    ] {
        let error = probe(expect).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    for wrong in ["speedup", "speedup fast", "speedup >= 0.9 of baseline"] {
        let line = ["x", "probe", "files", "--root", "d", "--expect", wrong];
        assert!(Line::try_parse_from(line).is_err(), "{wrong}");
    }
}

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(subcommand)]
    command: FactoriaCommand,
}

fn around() -> Surroundings<'static> {
    Surroundings {
        clock: Arc::new(SystemClock),
        stop: CancellationToken::new(),
        listening: Box::new(|_| {}),
    }
}
