//! Lists and tables have room in 80 columns, with the names of the system that ships.

use rekindle_tests::sandbox::{Sandbox, la_factoria};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");
const COLUMNS: usize = 80;

/// Returns the lines that are wider than a terminal of 80 columns.
fn too_wide(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| line.chars().count() > COLUMNS);
    lines.map(str::to_owned).collect()
}

#[test]
fn lists_and_tables_of_la_factoria_have_room_in_80_columns() {
    let sandbox = Sandbox::in_memory(BINARY, la_factoria(), 1_000_000);
    // Each table ends at an empty line; sentences follow.
    let table = |text: String| text.split("\n\n").next().unwrap_or_default().to_owned();
    let backup = table(sandbox.ok(&["backup"]));
    let recovery = table(sandbox.ok(&["recover", "--to", "out"]));
    for text in [
        backup,
        recovery,
        sandbox.ok(&["runs"]),
        sandbox.ok(&["sets"]),
        sandbox.ok(&["snapshots"]),
        sandbox.ok(&["tier", "list"]),
    ] {
        assert!(text.lines().count() > 2, "{text}");
        assert_eq!(too_wide(&text), [""; 0], "{text}");
    }
}
