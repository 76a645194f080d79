//! A recovery at work tells how it stands against its RTOs, and when it will be over.

use rekindle_tests::faults::Place;
use rekindle_tests::sandbox::{Sandbox, said};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

const SYSTEM: &str = r#"
system: small
root: ./data
objectives: {complete_system_recovery: 4h}
components:
  notes: {rto: 15m, source: {type: files, path: notes}}
  index: {rto: 30m, source: {type: files, path: index}}
tiers:
  near: {url: "file://./tiers/near"}
"#;

/// Returns how an unfinished recovery stands, and the text that tells it.
fn burndown(sandbox: &Sandbox) -> (Value, String) {
    let output = sandbox.run(&["show", "latest", "--json"]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    (shown["burndown"].clone(), said(&sandbox.run(&["show", "latest"])))
}

#[test]
fn an_unfinished_recovery_is_forecast_by_earlier_ones() {
    let sandbox = Sandbox::with_a_note(BINARY, SYSTEM, "one two three").with("data/index/list", "a");
    sandbox.ok(&["backup"]);
    // The set is found, and no restore has begun.
    let cut_off = |to: &str| {
        sandbox
            .killed(&["recover", "--to", to], Place::AfterAppend, 3)
            .unwrap_or_else(|passed| panic!("it ended after {passed} places"));
    };
    cut_off("back");
    let (first, said) = burndown(&sandbox);
    let rows = first["components"].as_array().unwrap();
    let of = |row: &Value, key: &str| row[key].clone();
    let notes = rows.iter().find(|row| row["component"] == "notes").unwrap();
    assert_eq!(
        (
            of(notes, "state"),
            of(notes, "bytes_left"),
            of(notes, "target_seconds")
        ),
        ("waits".into(), 13.into(), 900.0.into()),
        "{first:#}"
    );
    assert_eq!(of(notes, "forecast_seconds"), Value::Null, "nothing tells yet");
    let whole = &first["whole"];
    assert_eq!(
        (of(whole, "bytes_left"), of(whole, "target_seconds")),
        (14.into(), 14_400.0.into()),
        "{first:#}"
    );
    assert!(
        said.contains("notes") && said.contains("no data") && said.contains("4h"),
        "{said}"
    );

    sandbox.ok(&["resume"]);
    assert_eq!(burndown(&sandbox).0, Value::Null, "it is over");

    cut_off("again");
    let (second, said) = burndown(&sandbox);
    for row in second["components"]
        .as_array()
        .unwrap()
        .iter()
        .chain([&second["whole"]])
    {
        let forecast = row["forecast_seconds"]
            .as_f64()
            .unwrap_or_else(|| panic!("{second:#}"));
        assert!((0.0..600.0).contains(&forecast), "{second:#}");
    }
    assert!(said.contains('▒') || said.contains('█'), "{said}");
}
