//! What a probe meets where someone means ill: pipes, endless files, malformed documents. It answers with low numbers.

use std::fs::{self, File};
use std::path::Path;

use rekindle_factoria::ProbeKind::{
    self, Analytics, Content, Education, Generate, Models, Quality, Security,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::common::{Kept, measure, reseal, system};

/// What stands in place of a file.
#[derive(Clone, Copy, Debug)]
enum Hostile {
    Pipe,
    /// A tebibyte that takes no room.
    Sparse,
    Nothing,
    Nested,
    Text,
    Folder,
}

fn put(hostile: Hostile, path: &Path) {
    fs::remove_file(path).unwrap();
    match hostile {
        Hostile::Pipe => mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap(),
        Hostile::Sparse => File::create(path).unwrap().set_len(1 << 40).unwrap(),
        Hostile::Nothing => fs::write(path, "").unwrap(),
        Hostile::Nested => fs::write(path, "[".repeat(200_000)).unwrap(),
        Hostile::Text => fs::write(
            path,
            "{\"seq\":18446744073709551615,\"weight\":1e999,\"\0\":[}\n\u{feff}",
        )
        .unwrap(),
        Hostile::Folder => fs::create_dir(path).unwrap(),
    }
}

#[test]
fn pipes_endless_files_and_malformed_documents_give_low_numbers_and_neither_wait_nor_panic() {
    let (_kept, root, _) = system(1, 1_000_000);
    let cases: &[(&str, &[(ProbeKind, &str)])] = &[
        (
            "security/policies/encryption_at_rest.json",
            &[(Security, "policies_intact")],
        ),
        (
            "security/policies/encryption_at_rest.json.sig",
            &[(Security, "policies_signed")],
        ),
        ("security/keys/audit-signing.key", &[(Security, "keys_present")]),
        (
            "security/public/audit-signing.pub",
            &[(Security, "audit_log_signed")],
        ),
        ("security/permissions.json", &[(Security, "permissions_intact")]),
        (
            "security/audit.checkpoint.json",
            &[(Security, "audit_log_gapless")],
        ),
        (
            "security/audit.log",
            &[(Security, "audit_log_gapless"), (Analytics, "reports_reproduced")],
        ),
        (
            "education/frameworks/blooms_taxonomy.json",
            &[
                (Education, "learning_science_complete"),
                (Generate, "generated_quality"),
            ],
        ),
        (
            "education/content_patterns/study_guide.json",
            &[(Education, "items"), (Quality, "overall_quality")],
        ),
        (
            "education/standards/index.json",
            &[(Education, "educational_standards_intact")],
        ),
        ("education/.manifest.json", &[(Education, "verification_score")]),
        ("quality/config.json", &[(Quality, "overall_quality")]),
        ("quality/produced.json", &[(Quality, "records_reproduced")]),
        (
            "quality/assessments/0001.jsonl",
            &[(Quality, "records_reproduced")],
        ),
        ("intelligence/models/mastery.bin", &[(Models, "models_loaded")]),
        ("intelligence/training/records.csv", &[(Models, "learns")]),
        ("intelligence/evaluation/mastery.csv", &[(Models, "predictions")]),
        (
            "intelligence/embeddings/001.bin",
            &[(Models, "intelligence_digest")],
        ),
        ("monitoring/metrics.log", &[(Analytics, "monitoring_reproduced")]),
        ("analytics/metrics.csv", &[(Analytics, "analytics_reproduced")]),
        ("analytics/produced.json", &[(Analytics, "analytics_reproduced")]),
        (
            "reporting/reports/0001-report.md",
            &[(Analytics, "reports_reproduced")],
        ),
        (
            "db/content.sqlite",
            &[(Quality, "overall_quality"), (Content, "content_integrity_ok")],
        ),
    ];
    for (path, measures) in cases {
        let full = root.join(path);
        let kept = Kept::of(&full);
        for hostile in [
            Hostile::Pipe,
            Hostile::Sparse,
            Hostile::Nothing,
            Hostile::Nested,
            Hostile::Text,
            Hostile::Folder,
        ] {
            let whole: Vec<_> = measures
                .iter()
                .map(|(kind, name)| measure(*kind, &root)[*name])
                .collect();
            put(hostile, &full);
            for ((kind, name), whole) in measures.iter().zip(whole) {
                let measured = measure(*kind, &root);
                let sound_and_empty = matches!(hostile, Hostile::Nothing) && *name == "content_integrity_ok";
                let moved = match name.ends_with("_digest") {
                    true => measured[*name] != whole,
                    false => measured[*name] < whole,
                };
                assert!(
                    moved || sound_and_empty,
                    "{path} {hostile:?}: {name} is {}",
                    measured[*name]
                );
                for (name, value) in &measured {
                    assert!(value.is_finite(), "{path} {hostile:?}: {name} is {value}");
                }
            }
            match hostile {
                Hostile::Folder => fs::remove_dir(&full).unwrap(),
                _ => fs::remove_file(&full).unwrap(),
            }
            kept.put_back();
        }
    }
}

#[test]
fn a_log_beside_a_database_that_is_a_pipe_or_endless_is_not_copied() {
    let (_kept, root, _) = system(1, 1_000_000);
    let wal = root.join("db/content.sqlite-wal");
    for hostile in [Hostile::Pipe, Hostile::Sparse] {
        fs::write(&wal, "").unwrap();
        put(hostile, &wal);
        assert_eq!(measure(Quality, &root)["overall_quality"], 0.0, "{hostile:?}");
        fs::remove_file(&wal).unwrap();
    }
}

#[test]
fn a_watermark_of_any_size_ends() {
    let (_kept, root, _) = system(1, 1_000_000);
    for folder in ["analytics", "reporting", "monitoring", "quality"] {
        let kept = Kept::of(&root.join(folder).join("produced.json"));
        for extent in [
            "{\"audit\":18446744073709551615,\"metrics\":18446744073709551615,\"items\":18446744073709551615,\"excerpt_bytes\":18446744073709551615,\"parts\":18446744073709551615}",
            "{\"audit\":0,\"metrics\":0,\"items\":0,\"excerpt_bytes\":0,\"parts\":0}",
        ] {
            kept.overwrite(extent.as_bytes());
            reseal(&root.join(folder));
            measure(Analytics, &root);
            measure(Quality, &root);
        }
        kept.put_back();
    }
}
