//! The optimiser is measured on what was restored: break anything of it, and a number falls.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use rekindle_factoria::ProbeKind;
use serde_json::{Value, json};

use crate::common::{PROGRAM, copy, measure, optimiser, system};

const SMALL: u64 = 1_000_000;
const READ: [&str; 4] = ["performance", "context", "cache", "quality"];

type Measures = BTreeMap<String, f64>;

/// What may differ between two runs on the same data.
const TIMES: [&str; 4] = [
    "speedup",
    "speedup_spread",
    "context_loading_time_ms",
    "warm_loading_time_ms",
];

fn measured(root: &Path) -> Measures {
    measure(ProbeKind::Performance, root)
}

fn counted(mut measures: Measures) -> Measures {
    measures.retain(|name, _| !TIMES.contains(&name.as_str()));
    measures
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
}

#[test]
fn a_healthy_system_meets_its_targets_by_the_design_of_its_data() {
    for (seed, size) in [(1, SMALL), (2, 5_000_000), (3, 20_000_000)] {
        let (_kept, root, _) = system(seed, size);
        let found = measured(&root);
        println!("seed {seed}, {size} bytes: {found:#?}");
        for name in [
            "cache_hit_rate",
            "contexts_complete",
            "contexts_exact",
            "facts_in_full_contexts",
            "unique_share",
        ] {
            assert_eq!(found[name], 1.0, "{name}");
        }
        for (name, count) in [
            ("layers_whole", 3.0),
            ("algorithms_whole", 6.0),
            ("profiles_whole", 3.0),
            ("requests", 192.0),
            ("facts_catalogued", 1152.0),
        ] {
            assert_eq!(found[name], count, "{name}");
        }
        for name in [
            "token_reduction",
            "token_reduction_simple",
            "token_reduction_moderate",
            "token_reduction_complex",
        ] {
            assert!((0.40..0.52).contains(&found[name]), "{name}: {}", found[name]);
        }
        assert!(found["quality_retention"] >= 0.95);
        // The smallest system's contexts are short, so that what is not counting tokens takes a larger part.
        let least = if size == SMALL { 1.8 } else { 2.0 };
        assert!((least..3.2).contains(&found["speedup"]), "{}", found["speedup"]);
        assert!(found["warm_loading_time_ms"] < found["context_loading_time_ms"]);
    }
}

#[test]
fn a_restored_copy_and_a_second_run_give_the_same_counts() {
    let (_kept, root, _) = system(1, SMALL);
    let first = counted(measured(&root));
    assert_eq!(counted(measured(&root)), first);
    let (_copied, there) = copy(&root, &READ);
    assert_eq!(counted(measured(&there)), first);
}

#[test]
fn five_hundred_facts_are_catalogued_in_the_smallest_system() {
    let (_kept, root, _) = system(1, SMALL);
    let mut facts = 0;
    for entry in fs::read_dir(root.join("quality/facts")).unwrap() {
        let unit: BTreeMap<String, BTreeMap<String, Vec<String>>> =
            serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
        facts += unit
            .values()
            .flat_map(BTreeMap::values)
            .map(Vec::len)
            .sum::<usize>();
    }
    assert_eq!(facts, 576);
}

/// Something broken, and the measures that must fall below the healthy ones.
type Case = (&'static str, Box<dyn Fn(&Path)>, &'static [&'static str]);

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (name, layer) in [
        ("without layer L1", "L1"),
        ("without layer L2", "L2"),
        ("without layer L3", "L3"),
    ] {
        cases.push((
            name,
            Box::new(move |root| fs::remove_dir_all(root.join("context").join(layer)).unwrap()),
            &[
                "quality_retention",
                "layers_whole",
                "contexts_complete",
                "token_reduction",
            ],
        ));
    }
    for (name, falls) in [
        (
            "layer_selection",
            &["token_reduction_simple", "algorithms_whole"][..],
        ),
        ("import_resolution", &["quality_retention", "algorithms_whole"]),
        ("result_cache", &["speedup", "cache_hit_rate", "algorithms_whole"]),
        (
            "deduplication",
            &["quality_retention", "unique_share", "algorithms_whole"],
        ),
        ("relevance_ranking", &["quality_retention", "algorithms_whole"]),
        ("token_budget", &["token_reduction", "algorithms_whole"]),
    ] {
        cases.push((
            name,
            Box::new(move |root| {
                fs::write(root.join(format!("performance/algorithms/{name}.json")), "{}").unwrap();
            }),
            falls,
        ));
    }
    for (name, profile, falls) in [
        (
            "no profile simple",
            "simple",
            &["token_reduction_simple", "profiles_whole"][..],
        ),
        (
            "no profile moderate",
            "moderate",
            &["token_reduction_moderate", "profiles_whole"],
        ),
        (
            "no profile complex",
            "complex",
            &["token_reduction_complex", "profiles_whole"],
        ),
    ] {
        cases.push((
            name,
            Box::new(move |root| {
                fs::remove_file(root.join(format!("performance/profiles/{profile}.json"))).unwrap();
            }),
            falls,
        ));
    }
    let budgets = |profile: &'static str, factor: f64| {
        move |root: &Path| {
            edit(
                &root.join(format!("performance/profiles/{profile}.json")),
                |settings| {
                    for budget in settings["budgets"].as_object_mut().unwrap().values_mut() {
                        *budget = json!((budget.as_f64().unwrap() * factor) as u64);
                    }
                },
            );
        }
    };
    cases.push((
        "budgets of simple × 2",
        Box::new(budgets("simple", 2.0)),
        &["token_reduction_simple"],
    ));
    cases.push((
        "budgets of moderate × 2",
        Box::new(budgets("moderate", 2.0)),
        &["token_reduction_moderate"],
    ));
    cases.push((
        "budgets of complex × 2",
        Box::new(budgets("complex", 2.0)),
        &["token_reduction_complex"],
    ));
    cases.push((
        "budgets of simple × ¼",
        Box::new(budgets("simple", 0.25)),
        &["quality_retention"],
    ));
    cases.push((
        "budgets of moderate × ¼",
        Box::new(budgets("moderate", 0.25)),
        &["quality_retention"],
    ));
    cases.push((
        "budgets of complex × ¼",
        Box::new(budgets("complex", 0.25)),
        &["quality_retention"],
    ));
    cases.push((
        "no configuration",
        Box::new(|root| fs::remove_file(root.join("performance/config.json")).unwrap()),
        &[
            "token_reduction",
            "speedup",
            "algorithms_whole",
            "profiles_whole",
            "cache_hit_rate",
        ],
    ));
    cases.push((
        "no cache",
        Box::new(|root| fs::remove_dir_all(root.join("cache")).unwrap()),
        &["speedup", "cache_hit_rate"],
    ));
    cases.push((
        "a cache entry changed",
        Box::new(|root| forge(root, false)),
        &["cache_hit_rate"],
    ));
    cases.push((
        "a cache entry forged and sealed",
        Box::new(|root| forge(root, true)),
        &["contexts_exact"],
    ));
    cases.push((
        "a fact changed in its document",
        Box::new(|root| {
            let path = root.join("context/L1/history/0001/study_guide.md");
            let text = fs::read_to_string(&path).unwrap();
            let at = text.find("needs this. The ").unwrap() + "needs this. The ".len();
            fs::write(path, format!("{}un{}", &text[..at], &text[at..])).unwrap();
        }),
        &["quality_retention", "facts_in_full_contexts"],
    ));
    cases.push((
        "a unit without facts",
        Box::new(|root| fs::remove_file(root.join("quality/facts/history-0001.json")).unwrap()),
        &["facts_catalogued"],
    ));
    cases
}

/// Changes the entries of one subject's L2, and seals it again as the code does, or not.
fn forge(root: &Path, sealed: bool) {
    for entry in walkdir::WalkDir::new(root.join("cache/entries")) {
        let entry = entry.unwrap();
        if !entry.file_type().is_file() {
            continue;
        }
        edit(entry.path(), |entry| {
            if !entry["document"].as_str().unwrap().starts_with("L2/history/") {
                return;
            }
            // The first definition of the unit, which every context of its document has.
            let passage = &mut entry["passages"][2];
            *passage = json!({"tokens": 7, "text": "Definition. In truth, everything was forged."});
            if sealed {
                let mut seal =
                    blake3::Hasher::new_derive_key("rekindle-factoria 2026 seal of prepared passages");
                seal.update(entry["key"].as_str().unwrap().as_bytes());
                for passage in entry["passages"].as_array().unwrap() {
                    let text = passage["text"].as_str().unwrap();
                    seal.update(&passage["tokens"].as_u64().unwrap().to_le_bytes());
                    seal.update(&(text.len() as u64).to_le_bytes());
                    seal.update(text.as_bytes());
                }
                entry["seal"] = json!(seal.finalize().to_hex().as_str());
            }
        });
    }
}

#[test]
fn whatever_is_broken_of_layers_algorithms_and_profiles_lowers_a_number() {
    let settings = cases().into_iter().filter(|(name, ..)| !is_data(name));
    broken(settings.collect());
}

#[test]
fn whatever_is_broken_of_cache_documents_and_catalogue_lowers_a_number() {
    let data = cases().into_iter().filter(|(name, ..)| is_data(name));
    broken(data.collect());
}

fn is_data(name: &str) -> bool {
    ["budgets", "no cache", "no configuration", "a "]
        .iter()
        .any(|start| name.starts_with(start))
}

/// Breaks each thing in a copy of its own, and checks that its measures fall and that none that matters rises.
#[expect(
    clippy::print_stdout,
    reason = "the table is what a reader of the test wants to see"
)]
fn broken(cases: Vec<Case>) {
    let (_kept, root, _) = system(1, SMALL);
    let healthy = optimiser(&root);
    println!(
        "{:<34}{:<26}{:>9}  {:>9}",
        "broken", "measure", "healthy", "broken"
    );
    for (name, damage, falls) in cases {
        let (_copied, there) = copy(&root, &READ);
        damage(&there);
        let broken = optimiser(&there);
        for measure in falls {
            let (before, after) = (healthy[*measure], broken[*measure]);
            println!("{name:<34}{measure:<26}{before:>9.3}  {after:>9.3}");
            // A speed-up is measured, and varies by some hundredths.
            let least = if *measure == "speedup" {
                before * 0.85
            } else {
                before - 1e-9
            };
            assert!(after < least, "{name}: {measure} is {after} after {before}");
        }
        for target in ["quality_retention", "facts_in_full_contexts", "contexts_complete"] {
            assert!(broken[target] <= healthy[target], "{name}: {target}");
        }
        if broken["layers_whole"] < 3.0 {
            assert!(broken["token_reduction"] < healthy["token_reduction"], "{name}");
            assert!(broken["speedup"] < healthy["speedup"], "{name}");
        }
    }
}

#[test]
fn without_a_catalogue_no_quality_is_claimed() {
    let (_kept, root, _) = system(1, SMALL);
    let (_copied, there) = copy(&root, &["performance", "context", "cache"]);
    let found = measured(&there);
    assert!(!found.contains_key("quality_retention") && !found.contains_key("facts_in_full_contexts"));
    assert_eq!(found["facts_catalogued"], 0.0);
    // Nor is one where the catalogue is there and empty.
    fs::create_dir_all(there.join("quality/facts")).unwrap();
    for subject in ["history", "science"] {
        fs::write(there.join(format!("quality/facts/{subject}-0001.json")), "{}").unwrap();
    }
    assert!(!measured(&there).contains_key("quality_retention"));
}

#[test]
fn an_entry_made_from_other_text_is_never_used() {
    let (_kept, root, _) = system(1, SMALL);
    let path = root.join("context/L2/history/0001/study.md");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("needs this. ", "needs this. Above all: ", 1)).unwrap();
    let answer = context(&root, &["--profile", "complex"]);
    assert_eq!(
        (&answer["cache_hits"], &answer["cache_lookups"]),
        (&json!(2), &json!(3))
    );
    assert!(answer["text"].as_str().unwrap().contains("Above all: "));
}

/// Asks for a context in a new process.
fn context(root: &Path, more: &[&str]) -> Value {
    let output = Command::new(PROGRAM)
        .args([
            "factoria",
            "context",
            "--type",
            "study_guide",
            "--subject",
            "history",
            "--root",
        ])
        .arg(root)
        .args(more)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_two_ways_give_the_same_document_and_each_counts_the_tokens_of_its_text() {
    let (_kept, root, _) = system(1, SMALL);
    let tokenizer = rekindle_factoria::optimise::Tokenizer::load().unwrap();
    for more in [
        &["--profile", "moderate"][..],
        &["--profile", "moderate", "--baseline"],
    ] {
        let answer = context(&root, more);
        assert_eq!(answer["document"], "L1/history/0001/study_guide.md");
        assert_eq!(answer["optimised"], more.len() == 2);
        let text = answer["text"].as_str().unwrap();
        assert_eq!(answer["tokens"], tokenizer.count(text));
    }
}
