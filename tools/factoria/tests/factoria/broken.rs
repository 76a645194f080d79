//! One thing broken at a time, its manifest sealed again, and the number that moves. `--no-capture` prints the table.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rekindle_factoria::ProbeKind::{self, Analytics, Education, Generate, Models, Quality, Security};
use rekindle_factoria::audit;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rusqlite::Connection;
use serde_json::Value;

use crate::common::{Kept, compare, measure, reseal, system};

const SMALL: u64 = 1_000_000;

/// A system in which one thing after the other is broken and put back.
struct Bench {
    _kept: tempfile::TempDir,
    root: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let (kept, root, _) = system(1, SMALL);
        Self { _kept: kept, root }
    }

    /// Breaks files with `act` and demands that each measure falls. A name that begins with `~` has to move instead,
    /// where a higher number is no better one.
    #[expect(clippy::print_stdout, reason = "people read the table")]
    fn breaks(&self, what: &str, paths: &[&str], act: impl FnOnce(&Path), measures: &[(ProbeKind, &str)]) {
        let folder = self.root.join(paths[0].split('/').next().unwrap());
        let manifest = folder.join(".manifest.json");
        let mut kept: Vec<Kept> = paths.iter().map(|path| Kept::of(&self.root.join(path))).collect();
        kept.extend(manifest.exists().then(|| Kept::of(&manifest)));
        let baselines: Vec<_> = measures
            .iter()
            .map(|(kind, _)| measure(*kind, &self.root))
            .collect();
        let look = || -> Vec<Option<f64>> {
            let measured = measures.iter().zip(&baselines).map(|((kind, name), baseline)| {
                let measured = compare(*kind, &self.root, baseline);
                measured.get(name.trim_start_matches('~')).copied()
            });
            measured.collect()
        };
        let whole = look();
        act(&self.root);
        if manifest.exists() {
            reseal(&folder);
        }
        let broken = look();
        kept.iter().for_each(Kept::put_back);
        for (((kind, name), whole), broken) in measures.iter().zip(whole).zip(broken) {
            let whole = whole.unwrap_or_else(|| panic!("{name} is not measured"));
            let said = broken.map_or_else(|| "no data".to_owned(), |broken| format!("{broken:.6}"));
            println!("| {what} | {kind:?} {name} | {whole:.6} | {said} |");
            let moved = match name.starts_with('~') {
                true => broken != Some(whole),
                false => broken.is_none_or(|broken| broken < whole),
            };
            assert!(moved, "{what}: {name} stays {broken:?}");
        }
    }

    /// Breaks a JSON document.
    fn edits(&self, what: &str, path: &str, edit: impl FnOnce(&mut Value), measures: &[(ProbeKind, &str)]) {
        let act = |root: &Path| {
            let kept = Kept::of(&root.join(path));
            let mut document: Value = serde_json::from_slice(kept.bytes()).unwrap();
            edit(&mut document);
            kept.overwrite(&serde_json::to_vec_pretty(&document).unwrap());
        };
        self.breaks(what, &[path], act, measures);
    }

    /// Breaks the content database, digests of texts included.
    fn executes(&self, what: &str, sql: &str, measures: &[(ProbeKind, &str)]) {
        let path = "db/content.sqlite";
        let act = |root: &Path| {
            let database = Connection::open(root.join(path)).unwrap();
            assert!(database.execute(sql, []).unwrap() > 0, "{sql}");
        };
        self.breaks(what, &[path], act, measures);
    }
}

#[test]
fn one_bit_of_any_weight_of_any_model_changes_its_predictions() {
    let bench = Bench::new();
    for model in ["difficulty", "engagement", "retention", "mastery"] {
        let path = format!("intelligence/models/{model}.bin");
        let bytes = fs::read(bench.root.join(&path)).unwrap();
        for (what, at) in [("first", 12), ("middle", 12 + 4 * 60), ("last", bytes.len() - 4)] {
            let act = |root: &Path| {
                let kept = Kept::of(&root.join(&path));
                let mut flipped = bytes.clone();
                flipped[at] ^= 1;
                kept.overwrite(&flipped);
            };
            bench.breaks(
                &format!("lowest bit of the {what} weight of {model}"),
                &[&path],
                act,
                &[(Models, "predictions_kept"), (Models, "predictions_reproduced")],
            );
        }
    }
    let path = "intelligence/models/mastery.bin";
    let delete = |root: &Path| fs::remove_file(root.join(path)).unwrap();
    bench.breaks(
        "a model lost",
        &[path],
        delete,
        &[(Models, "models_loaded"), (Models, "learns")],
    );
    let path = "intelligence/training/records.csv";
    let delete = |root: &Path| fs::remove_file(root.join(path)).unwrap();
    bench.breaks(
        "the learners' records lost",
        &[path],
        delete,
        &[(Models, "learns"), (Models, "training_records")],
    );
    let path = "intelligence/embeddings/001.bin";
    let flip = |root: &Path| {
        let kept = Kept::of(&root.join(path));
        kept.overwrite(&[kept.bytes(), b"x"].concat());
    };
    bench.breaks(
        "an embedding changed",
        &[path],
        flip,
        &[(Models, "intelligence_kept")],
    );
}

#[test]
fn every_weight_and_threshold_moves_a_number() {
    let bench = Bench::new();
    for dimension in [
        "educational_value",
        "factual_accuracy",
        "age_appropriateness",
        "structural_quality",
        "engagement",
    ] {
        bench.edits(
            &format!("weight of {dimension} + 0.01"),
            "quality/config.json",
            |config| {
                let weight = &mut config["dimensions"][dimension]["weight"];
                *weight = (weight.as_f64().unwrap() + 0.01).into();
            },
            &[
                (Quality, "~overall_quality"),
                (Quality, "assessments_reproduced"),
                (Quality, "records_reproduced"),
            ],
        );
    }
    for threshold in ["overall_quality", "educational_value", "factual_accuracy"] {
        let raised = |document: &mut Value| {
            *document = (document.as_f64().unwrap() + 0.1).into();
        };
        let measure = format!("~threshold_{threshold}");
        bench.edits(
            &format!("threshold of {threshold} + 0.1, of the frameworks"),
            "education/quality_assessment/thresholds.json",
            |document| raised(&mut document[threshold]),
            &[(Education, &measure), (Education, "education_kept")],
        );
        bench.edits(
            &format!("threshold of {threshold} + 0.1, of the assessor"),
            "quality/config.json",
            |document| raised(&mut document["thresholds"][threshold]),
            &[(Quality, &measure), (Quality, "quality_files_kept")],
        );
        bench.edits(
            &format!("threshold of {threshold} 1.01, of the assessor"),
            "quality/config.json",
            |document| document["thresholds"][threshold] = 1.01.into(),
            &[(Quality, &format!("passes_{threshold}"))],
        );
    }
}

#[test]
fn a_content_item_that_lacks_a_section_or_a_fact_lowers_the_quality() {
    let bench = Bench::new();
    let reproduced = [
        (Quality, "overall_quality"),
        (Quality, "quality_kept"),
        (Quality, "assessments_reproduced"),
        (Quality, "records_reproduced"),
    ];
    bench.executes(
        "a section removed from an item",
        "UPDATE items SET body = substr(body, 1, instr(body, '## explanation') - 1)
         WHERE id = (SELECT min(id) FROM items WHERE content_type = 'study_guide')",
        &reproduced,
    );
    bench.executes(
        "a heading removed from an item",
        "UPDATE items SET body = replace(body, '## key_terms', '') WHERE content_type = 'study_guide'",
        &reproduced,
    );
    bench.executes(
        "a stored assessment raised",
        "UPDATE assessments SET score = 1.0 WHERE id = (SELECT min(id) FROM assessments WHERE score < 1.0)",
        &[(Quality, "assessments_reproduced")],
    );
    bench.executes(
        "the texts of all items emptied",
        "UPDATE items SET body = ''",
        &[
            (Quality, "overall_quality"),
            (Quality, "passes_overall_quality"),
            (Analytics, "reports_reproduced"),
        ],
    );
    bench.edits(
        "the statements of a standard that an item quotes",
        &cited(&bench.root),
        |set| {
            for one in set["statements"].as_array_mut().unwrap() {
                one["text"] = "Something else.".into();
            }
        },
        &[
            (Quality, "overall_quality"),
            (Quality, "assessments_reproduced"),
            (Education, "education_kept"),
        ],
    );
}

/// Returns the file of a standard that the first item quotes.
fn cited(root: &Path) -> String {
    let database = Connection::open(root.join("db/content.sqlite")).unwrap();
    let standard: String = database
        .query_row("SELECT standard FROM items WHERE id = 1", [], |row| row.get(0))
        .unwrap();
    format!("education/standards/{}.json", standard.replace('.', "-"))
}

#[test]
fn a_content_type_without_its_pattern_prompt_verbs_or_standard_is_not_generated() {
    let bench = Bench::new();
    for (what, path, edit) in [
        (
            "a pattern lost",
            "education/content_patterns/flashcards.json",
            None,
        ),
        ("a prompt lost", "context/prompts/podcast_script.md", None),
        (
            "Bloom's taxonomy lost",
            "education/frameworks/blooms_taxonomy.json",
            None,
        ),
        (
            "the age band lost",
            "education/age_appropriateness/middle_school.json",
            None,
        ),
        (
            "the standard lost",
            "education/standards/science-middle_school.json",
            None,
        ),
        (
            "a verb's level lost",
            "education/frameworks/blooms_taxonomy.json",
            Some("create"),
        ),
    ] {
        let act = |root: &Path| {
            let kept = Kept::of(&root.join(path));
            match edit {
                None => fs::remove_file(root.join(path)).unwrap(),
                Some(level) => {
                    let mut document: Value = serde_json::from_slice(kept.bytes()).unwrap();
                    document["levels"].as_object_mut().unwrap().remove(level);
                    kept.overwrite(&serde_json::to_vec(&document).unwrap());
                }
            }
        };
        bench.breaks(
            what,
            &[path],
            act,
            &[
                (Generate, "content_types_generatable"),
                (Generate, "generated_quality"),
            ],
        );
    }
    bench.edits(
        "a template's section lost",
        "education/content_patterns/study_guide.json",
        |pattern| drop(pattern["sections"].as_array_mut().unwrap().pop()),
        &[
            (Quality, "assessments_reproduced"),
            (Education, "content_patterns_items_kept"),
        ],
    );
}

/// Signs as the system does, with a key that is not the system's.
fn forge(seed: u8, purpose: &str, bytes: &[u8]) -> String {
    let key = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let signature = key.sign(&[purpose.as_bytes(), b"\n", bytes].concat());
    signature
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn a_swapped_or_foreign_key_a_forged_policy_and_a_cut_or_forged_log_show() {
    let bench = Bench::new();
    let (session, users) = ("security/keys/session.key", "security/keys/users-at-rest.key");
    let swap = |root: &Path| {
        let (one, two) = (Kept::of(&root.join(session)), Kept::of(&root.join(users)));
        one.overwrite(two.bytes());
        two.overwrite(one.bytes());
    };
    bench.breaks(
        "two private keys swapped",
        &[session, users],
        swap,
        &[(Security, "keys_present")],
    );

    let half = "security/public/session.pub";
    let foreign = |root: &Path| {
        let key = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
        Kept::of(&root.join(session)).overwrite(&[9; 32]);
        Kept::of(&root.join(half)).overwrite(key.public_key().as_ref());
    };
    bench.breaks(
        "a key pair replaced by a foreign one",
        &[session, half],
        foreign,
        &[(Security, "keys_present"), (Security, "keys_kept")],
    );

    let (private, public) = (
        "security/keys/policy-signing.key",
        "security/public/policy-signing.pub",
    );
    let foreign = |root: &Path| {
        let key = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
        Kept::of(&root.join(private)).overwrite(&[9; 32]);
        Kept::of(&root.join(public)).overwrite(key.public_key().as_ref());
    };
    bench.breaks(
        "the signing pair replaced by a foreign one",
        &[private, public],
        foreign,
        &[
            (Security, "policies_signed"),
            (Security, "policies_intact"),
            (Security, "keys_kept"),
        ],
    );

    let (policy, signature) = (
        "security/policies/encryption_at_rest.json",
        "security/policies/encryption_at_rest.json.sig",
    );
    let signed_by_another = |root: &Path| {
        let kept = Kept::of(&root.join(policy));
        let text =
            String::from_utf8_lossy(kept.bytes()).replace("\"review_days\": 90", "\"review_days\": 900");
        assert_ne!(text.as_bytes(), kept.bytes());
        kept.overwrite(text.as_bytes());
        let forged = forge(9, "la-factoria policy", text.as_bytes());
        Kept::of(&root.join(signature)).overwrite(forged.as_bytes());
    };
    bench.breaks(
        "a policy changed and signed with another key",
        &[policy, signature],
        signed_by_another,
        &[
            (Security, "policies_signed"),
            (Security, "policies_intact"),
            (Security, "policies_kept"),
        ],
    );
    bench.edits(
        "a role may do more",
        "security/permissions.json",
        |permissions| permissions["roles"]["student"]["actions"] = serde_json::json!(["read", "delete"]),
        &[(Security, "permissions_intact"), (Security, "policies_signed")],
    );
    for (path, mode) in [
        ("security/keys/session.key", 0o640),
        ("security/policies/data_retention.json", 0o666),
    ] {
        let open = |root: &Path| fs::set_permissions(root.join(path), Permissions::from_mode(mode)).unwrap();
        bench.breaks(
            &format!("{path} {mode:o}"),
            &[path],
            open,
            &[(Security, "permissions_intact")],
        );
    }
}

#[test]
fn a_log_cut_to_its_checkpoint_or_forged_beyond_it_shows_against_what_was_journaled() {
    let bench = Bench::new();
    let path = "security/audit.log";
    let old = fs::read(bench.root.join(path)).unwrap();
    // The system runs on: its log grows beyond the checkpoint. Here that is done by hand, without the key.
    let kept = Kept::of(&bench.root.join(path));
    let grown = |note: &str, lines: u64| {
        let mut out = old.clone();
        let last: Value =
            serde_json::from_slice(old[..old.len() - 1].rsplit(|byte| *byte == b'\n').next().unwrap())
                .unwrap();
        let (mut seq, mut hash) = (
            last["seq"].as_u64().unwrap(),
            last["hash"].as_str().unwrap().to_owned(),
        );
        for _ in 0..lines {
            seq += 1;
            let start = out.len();
            out.extend_from_slice(format!("{{\"seq\":{seq},\"at\":\"later\",\"note\":\"{note}\"").as_bytes());
            hash = audit::seal(&mut out, start, &hash);
        }
        out
    };
    kept.overwrite(&grown("as it was", 5));
    let reaches = [(Security, "audit_log_reaches_baseline")];
    bench.breaks(
        "the log cut to its old checkpoint",
        &[path],
        |root| fs::write(root.join(path), &old).unwrap(),
        &reaches,
    );
    bench.breaks(
        "the log's end forged",
        &[path],
        |root| fs::write(root.join(path), grown("as it never was", 5)).unwrap(),
        &reaches,
    );
    // By itself a cut log is sound: that is why the head is journaled.
    kept.overwrite(&old);
    assert_eq!(measure(Security, &bench.root)["audit_log_gapless"], 1.0);
    bench.breaks(
        "64 lines forged without the key",
        &[path],
        |root| fs::write(root.join(path), grown("forged", 64)).unwrap(),
        &[(Security, "audit_log_signed")],
    );
    let checkpoint = "security/audit.checkpoint.json";
    bench.edits(
        "the checkpoint's signature changed",
        checkpoint,
        |checkpoint| checkpoint["signature"] = "00".into(),
        &[(Security, "audit_log_signed")],
    );
}

#[test]
fn a_report_a_table_or_a_summary_changed_is_not_what_the_logs_give() {
    let bench = Bench::new();
    for (path, measure) in [
        ("reporting/reports/0001-report.md", "reports_reproduced"),
        ("analytics/actions.csv", "analytics_reproduced"),
        ("analytics/metrics.csv", "analytics_reproduced"),
        ("analytics/items.csv", "analytics_reproduced"),
        ("analytics/summary.json", "analytics_reproduced"),
        ("monitoring/summary.json", "monitoring_reproduced"),
    ] {
        let change = |root: &Path| {
            let kept = Kept::of(&root.join(path));
            let mut bytes = kept.bytes().to_vec();
            let digit = bytes.iter().rposition(u8::is_ascii_digit).unwrap();
            bytes[digit] = if bytes[digit] == b'9' { b'8' } else { b'9' };
            kept.overwrite(&bytes);
        };
        bench.breaks(
            &format!("one digit of {path}"),
            &[path],
            change,
            &[(Analytics, measure)],
        );
        let delete = |root: &Path| fs::remove_file(root.join(path)).unwrap();
        bench.breaks(&format!("{path} lost"), &[path], delete, &[(Analytics, measure)]);
    }
    bench.edits(
        "the watermark of the reports set back",
        "reporting/produced.json",
        |extent| extent["audit"] = 10.into(),
        &[(Analytics, "reports_reproduced"), (Analytics, "reports_kept")],
    );
    bench.breaks(
        "the first line of the metrics log lost",
        &["monitoring/metrics.log"],
        |root| {
            let kept = Kept::of(&root.join("monitoring/metrics.log"));
            let first = kept.bytes().iter().position(|byte| *byte == b'\n').unwrap() + 1;
            kept.overwrite(&kept.bytes()[first..]);
        },
        &[
            (Analytics, "analytics_reproduced"),
            (Analytics, "reports_reproduced"),
            (Analytics, "monitoring_reproduced"),
        ],
    );
}
