//! Every educational item, lost or changed by someone who seals the manifest again: a number falls all the same.

use std::fs;
use std::path::{Path, PathBuf};

use rekindle_factoria::ProbeKind;
use serde_json::Value;

use crate::common::{Kept, compare, measure, read_manifest, reseal, seal, system};

const SMALL: u64 = 1_000_000;
const PARTS: [&str; 6] = [
    "frameworks",
    "quality_assessment",
    "standards",
    "content_patterns",
    "age_appropriateness",
    "blooms",
];

fn files(root: &Path) -> Vec<PathBuf> {
    let parts = PARTS
        .iter()
        .flat_map(|part| walkdir::WalkDir::new(root.join("education").join(part)));
    parts
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .collect()
}

/// Returns the JSON pointers of all leaves.
fn leaves(value: &Value, pointer: &str, out: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(at, value)| (at.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    if below.is_empty() {
        out.push(pointer.to_owned());
    }
    for (name, value) in below {
        leaves(value, &format!("{pointer}/{name}"), out);
    }
}

/// Removes the value at a pointer.
fn remove(document: &mut Value, pointer: &str) {
    let (above, name) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(above).unwrap() {
        Value::Object(object) => drop(object.remove(name).unwrap()),
        Value::Array(list) => drop(list.remove(name.parse().unwrap())),
        leaf => panic!("{leaf} has nothing below it"),
    }
}

#[test]
fn every_file_lost_or_changed_behind_a_manifest_sealed_again_lowers_what_was_kept() {
    let (_kept, root, _) = system(1, SMALL);
    let education = root.join("education");
    let whole = measure(ProbeKind::Education, &root);
    let manifest = Kept::of(&education.join(".manifest.json"));
    let files = files(&root);
    for path in &files {
        let kept = Kept::of(path);
        fs::remove_file(path).unwrap();
        reseal(&education);
        let measured = compare(ProbeKind::Education, &root, &whole);
        let name = path.display();
        assert!(
            measured["items_kept"] < 1.0 && measured["education_kept"] < 1.0,
            "lost {name}"
        );
        kept.overwrite(&[kept.bytes(), b"x"].concat());
        reseal(&education);
        assert!(
            compare(ProbeKind::Education, &root, &whole)["education_kept"] < 1.0,
            "changed {name}"
        );
        kept.put_back();
        manifest.put_back();
    }
    let again = compare(ProbeKind::Education, &root, &whole);
    assert_eq!(
        (again["items_kept"], again["education_kept"], again["verified"]),
        (1.0, 1.0, 1.0)
    );
    println!("{} files, each lost and changed", files.len());
    assert!(files.len() > 80);
}

#[test]
fn every_leaf_of_every_document_lost_or_changed_behind_a_manifest_sealed_again_lowers_what_was_kept() {
    let (_kept, root, _) = system(1, SMALL);
    let education = root.join("education");
    let whole = measure(ProbeKind::Education, &root);
    let manifest = read_manifest(&education);
    let (mut lost, mut changed, mut by_baseline_alone) = (0, 0, 0);
    for path in files(&root)
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
    {
        let kept = Kept::of(path);
        let document: Value = serde_json::from_slice(kept.bytes()).unwrap();
        let mut pointers = Vec::new();
        leaves(&document, "", &mut pointers);
        for pointer in pointers {
            let mut without = document.clone();
            if pointer.is_empty() {
                without = Value::Null;
            } else {
                // Each leaf in turn is lost or changed.
                let loses = (lost + changed) % 2 == 0;
                match without.pointer_mut(&pointer).unwrap() {
                    _ if loses => remove(&mut without, &pointer),
                    Value::String(text) => text.push('x'),
                    number @ Value::Number(_) => *number = (number.as_f64().unwrap() + 0.015_625).into(),
                    leaf => *leaf = "something".into(),
                }
                lost += usize::from(loses);
                changed += usize::from(!loses);
            }
            kept.overwrite(&serde_json::to_vec_pretty(&without).unwrap());
            let name = path
                .strip_prefix(&education)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            seal(&education, manifest.clone(), &[name]);
            let measured = compare(ProbeKind::Education, &root, &whole);
            assert!(measured["education_kept"] < 1.0, "{} {pointer}", path.display());
            assert!(
                (lost + changed) % 2 == 0 || measured["items_kept"] < 1.0,
                "{} {pointer}",
                path.display()
            );
            by_baseline_alone += usize::from(measured["verification_score"] == 1.0);
            kept.put_back();
        }
    }
    seal(&education, manifest, &[]);
    assert_eq!(
        compare(ProbeKind::Education, &root, &whole)["education_kept"],
        1.0
    );
    println!("{lost} leaves lost, {changed} changed; {by_baseline_alone} of them only the baseline shows");
    assert!(lost > 500 && changed > 500 && by_baseline_alone > 0);
}

#[test]
fn without_a_baseline_nothing_is_compared_and_nothing_is_called_kept() {
    let (_kept, root, _) = system(1, SMALL);
    for kind in [
        ProbeKind::Security,
        ProbeKind::Education,
        ProbeKind::Models,
        ProbeKind::Quality,
        ProbeKind::Analytics,
    ] {
        let alone = measure(kind, &root);
        let compares = |name: &&String| name.ends_with("_kept") || name.contains("baseline");
        assert_eq!(alone.keys().find(compares), None, "{kind:?}");
        let compared = compare(kind, &root, &alone);
        let kept: Vec<_> = compared.iter().filter(|(name, _)| compares(name)).collect();
        assert!(
            !kept.is_empty() && kept.iter().all(|(_, value)| **value == 1.0),
            "{kind:?}: {kept:?}"
        );
    }
}
