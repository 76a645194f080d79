//! Every fault of a file is shown at once, each at its place; no file costs more than a second.

use std::fmt::Write as _;
use std::time::Duration;

use rekindle_model::system::{System, SystemKinds};
use rekindle_plan::{Catalog, Diagnostics, Inputs, Loaded, Problem, expand, load_system, load_workflow};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

fn system(text: &str) -> Result<Loaded<System>, Diagnostics> {
    let kinds = SystemKinds {
        sources: rekindle_sources::KEYS,
        tier_urls: rekindle_vault::store::TIER_URLS,
    };
    load_system("system.yaml", text, kinds)
}

fn faults_of_system(text: &str) -> Diagnostics {
    system(text).err().unwrap_or_default()
}

#[test]
fn a_system_with_nine_different_faults_shows_all_nine() {
    let text = r#"system: shop
components:
  orders:
    priorty: 1
    impact: critcal
    rto: soon
    after: [stok]
    source: {type: sqlite, path: db/orders.sqlite}
    validate:
      - {probe: command, run: ["${{ rekindle", probe], expect: {rows: "about 5"}}
  stock:
    source: {type: files, path: db}
    source: {type: files}
impact_levels:
  critical: {max_downtime: 15m}
tiers:
  hot: {url: ./tiers/hot}
"#;
    insta::assert_snapshot!(faults_of_system(text));
}

#[test]
fn a_workflow_with_five_different_faults_shows_all_five() {
    let text = "workflow: recover
max_parallel: 0
steps:
  - id: restore
    for_each: component
    needs: [locat]
    uses: restore
    timeout: 5 parsecs
  - id: locate
    uses: locate-set
    run_if: allways
    with: {from: \"${{ params. }}\"}
";
    insta::assert_snapshot!(load_workflow("recover.yaml", text).unwrap_err());
}

#[test]
fn each_kind_of_probe_knows_its_own_keys_and_needs() {
    let with = |probe: &str| {
        let text = format!("system: s\ncomponents:\n  a:\n    validate:\n      - {probe}\ntiers: {{}}\n");
        faults_of_system(&text).to_string()
    };
    for (probe, fault) in [
        ("{probe: htp, url: u}", "5:17: error: unknown probe `htp`"),
        ("{probe: http}", "5:9: error: an `http` probe lacks `url`"),
        (
            "{probe: http, url: u, query: q}",
            "5:31: error: unknown key `query` in an `http` probe",
        ),
        (
            "{probe: http, url: u, values: {n: a.b}}",
            "5:43: error: `a.b` is not a JSON pointer",
        ),
        ("{probe: http, url: \"${{ params.\"}", "5:28: error:"),
        (
            "{probe: sql, database: d}",
            "5:9: error: an `sql` probe lacks `query`",
        ),
        (
            "{probe: sql, database: ../d, query: q}",
            "5:32: error: the path leaves the system's `root`",
        ),
        ("{probe: files}", "5:9: error: a `files` probe lacks `path`"),
        (
            "{probe: files, path: ../d}",
            "5:30: error: the path leaves the system's `root`",
        ),
        (
            "{probe: files, path: d, include: [\"a[\"]}",
            "5:43: error: not a glob",
        ),
        (
            "{probe: files, path: d, digest: abc}",
            "5:41: error: `abc` is not a digest",
        ),
        (
            "{probe: files, path: d, expect: {digest: true}}",
            "5:42: error: no digest is measured",
        ),
        (
            "{probe: command, run: []}",
            "5:9: error: a `command` probe lacks `run`",
        ),
    ] {
        let found = with(probe);
        assert!(
            found.contains(&format!("system.yaml:{fault}")),
            "{probe}:\n{found}"
        );
    }
    for probe in [
        "{probe: http, url: \"http://h/${{ run.id }}\", headers: {A: b}, values: {n: /a/b}, timeout: 3s}",
        "{probe: sql, database: db/a.db, query: SELECT 1 AS n, expect: {n: \"== 1\"}}",
        "{probe: files, path: a, exclude: [\"*.tmp\"], expect: {count: \"> 1\"}}",
    ] {
        assert_eq!(with(probe), "", "{probe}");
    }
}

#[test]
fn a_command_source_needs_both_programs_and_a_restore_that_may_reach_elsewhere_is_warned_about() {
    let load = |source: &str| {
        let text = format!("system: s\ncomponents:\n  a:\n    source: {source}\ntiers: {{}}\n");
        system(&text)
    };
    for (source, fault) in [
        (
            "{type: command, restore: [b]}",
            "4:13: error: a `command` source lacks `dump`",
        ),
        (
            "{type: command, dump: [a], restore: []}",
            "4:13: error: a `command` source lacks `restore`",
        ),
        (
            "{type: command, dump: [a], restore: [b], path: p}",
            "unknown key `path` in a `command` source",
        ),
        (
            "{type: command, dump: [a, \"${{ (\"], restore: [b]}",
            "4:39: error:",
        ),
        (
            "{type: command, dump: [a], restore: [b], max_bytes: much}",
            "4:65: error:",
        ),
    ] {
        let found = load(source).map(|_| ()).unwrap_err().to_string();
        assert!(found.contains(fault), "{source}:\n{found}");
    }
    let warnings = |restore: &str| {
        let loaded = load(&format!(
            "{{type: command, dump: [a], restore: [{restore}], max_bytes: 9}}"
        ));
        loaded.unwrap().warnings.to_string()
    };
    assert!(
        warnings("b").contains("does not name `target.root`"),
        "{}",
        warnings("b")
    );
    assert!(!warnings("b, \"${{ target.root }}\"").contains("target.root"));
}

#[test]
fn a_cycle_is_shown_as_its_path() {
    let step = |id: &str, need: &str| format!("  - {{id: {id}, uses: command, needs: [{need}]}}\n");
    let text = format!(
        "workflow: w\nsteps:\n{}{}{}",
        step("a", "b"),
        step("b", "c"),
        step("c", "a")
    );
    let found = load_workflow("w.yaml", &text).unwrap_err().to_string();
    assert!(
        found.contains("w.yaml:3:35: error: these steps wait for each other: a → b → c → a"),
        "{found}"
    );
    let found = load_workflow("w.yaml", &format!("workflow: w\nsteps:\n{}", step("a", "a")))
        .unwrap_err()
        .to_string();
    assert!(found.contains("each other: a → a"), "{found}");
}

#[test]
fn components_that_wait_for_each_other_are_shown_as_a_path() {
    let text =
        "system: s\ncomponents:\n  a: {after: [{component: b, valid: true}]}\n  b: {reads: [a]}\ntiers: {}\n";
    let found = faults_of_system(text).to_string();
    assert!(
        found.contains("these components wait for each other: a → b → a"),
        "{found}"
    );
    assert_eq!(
        faults_of_system("system: s\ncomponents:\n  a: {reads: [b]}\n  b: {reads: [a]}\n"),
        Diagnostics::default()
    );
    let data_first = "system: s\ncomponents:\n  a: {after: [b]}\n  b: {reads: [a]}\n";
    assert_eq!(faults_of_system(data_first), Diagnostics::default());
}

#[test]
fn two_components_may_not_claim_one_file() {
    let two = |a: &str, b: &str| {
        format!("system: s\ncomponents:\n  a: {{source: {{type: files, {a}}}}}\n  b: {{source: {{{b}}}}}\n")
    };
    for (a, b, clash) in [
        ("path: db", "type: sqlite, path: db/x.sqlite", true),
        ("path: ./db/", "type: files, path: db", true),
        ("path: .", "type: files, path: db", true),
        ("path: db", "type: files, path: dbx", false),
        (
            "path: db, exclude: ['*.sqlite']",
            "type: sqlite, path: db/x.sqlite",
            false,
        ),
        (
            "path: ., include: ['performance/**']",
            "type: files, path: db",
            false,
        ),
        ("path: ., include: ['db/**']", "type: files, path: db", true),
        (
            "path: db, include: [a]",
            "type: files, path: db, include: [b]",
            false,
        ),
        (
            "path: db, include: [a]",
            "type: files, path: db, include: [a]",
            true,
        ),
    ] {
        let found = faults_of_system(&two(a, b)).to_string();
        assert_eq!(found.contains("both claim"), clash, "{a} / {b}: {found}");
    }
    for path in ["../x", "a/../../x", "/srv/../etc"] {
        assert!(
            faults_of_system(&two("path: a", &format!("type: files, path: {path}"))).has_errors(),
            "{path}"
        );
    }
}

/// The seconds that this thread has computed: what a file costs, however busy the machine is.
fn computed_seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
    .as_secs_f64()
}

#[test]
fn hostile_yaml_is_refused_within_a_second() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(1 << 20),
        vec!["*a"; 10_000].join(", ")
    );
    let keys: String = (0..100_000).map(|n| format!("k{n}: v\n")).collect();
    let in_one_line = format!("{{{}}}", keys.trim_end().replace('\n', ", "));
    let unknown: String = (0..9_000)
        .map(|n| format!("  c{n}: {{after: [d{n}], source: {{type: files}}}}\n"))
        .collect();
    let claims: String = (0..9_000)
        .map(|n| format!("  c{n}: {{source: {{type: files, include: [g{n}]}}}}\n"))
        .collect();
    let keys_of_a_loop = format!("[{}]", vec!["k"; 200_000].join(", "));
    let hostile = [
        ("a bomb of aliases", bomb, "more than 250000 values"),
        ("a bomb of text", long, "expands to more than"),
        ("an alias in itself", "a: &a [*a]\n".to_owned(), "error"),
        ("deep flow lists", "[".repeat(1_000_000), "error"),
        (
            "deep closed lists",
            format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
            "error",
        ),
        (
            "deep block lists",
            format!("{}x", "- ".repeat(100_000)),
            "nested deeper than 64",
        ),
        (
            "deep maps",
            (0..1000).map(|n| format!("{}k:\n", " ".repeat(n))).collect(),
            "nested deeper than 64",
        ),
        ("a huge file", "#".repeat(64 << 20), "more than the 4194304"),
        (
            "one endless line",
            format!("system: {}", "x".repeat(4_000_000)),
            "lacks `components`",
        ),
        ("many unknown keys", keys, "and 99952 more"),
        ("as many in one line", in_one_line, "and 99952 more"),
        (
            "thousands of unknown names",
            format!("system: s\ncomponents:\n{unknown}"),
            "more",
        ),
        (
            "thousands of claims to one folder",
            format!("system: s\ncomponents:\n{claims}"),
            "too many sources",
        ),
        (
            "a step over many keys",
            format!("steps:\n  - for_each: {keys_of_a_loop}\n"),
            "unknown key",
        ),
        (
            "a key as long as the file",
            format!("{}: 1", "k".repeat(1000)),
            "unknown key",
        ),
        ("not text", "\u{0}\u{1}\u{1b}[2J".to_owned(), "error"),
        ("nothing", String::new(), "the file is empty"),
        ("two documents", "a: 1\n---\nb: 2\n".to_owned(), "second document"),
    ];
    for (what, text, why) in hostile {
        let begun = computed_seconds();
        let found = faults_of_system(&text).to_string();
        let half = computed_seconds();
        let as_workflow = load_workflow("w.yaml", &text);
        let took = (half - begun).max(computed_seconds() - half);
        assert!(
            found.contains(why),
            "{what}: {}",
            found.chars().take(500).collect::<String>()
        );
        assert!(
            found.len() < 100_000,
            "{what}: {} bytes of diagnostics",
            found.len()
        );
        assert!(!found.contains('\u{1b}'), "{what} reaches the terminal");
        assert!(took < 1.0, "{what} took {took} s");
        assert!(as_workflow.is_err(), "{what}");
    }
}

#[test]
fn a_key_is_there_twice_however_many_others_stand_between() {
    for others in [0, 14, 15, 16, 17, 60] {
        let between: String = (0..others).map(|at| format!("  k{at}: 1\n")).collect();
        let text = format!("map:\n  twice: 1\n{between}  twice: 2\n");
        let faults = rekindle_plan::yaml_value("file.yaml", &text)
            .unwrap_err()
            .to_string();
        let fault = format!("{}:3: error: the key `twice` is there twice", others + 3);
        assert!(faults.contains(&fault), "{others} between: {faults}");
    }
}

#[test]
fn a_group_is_called_by_a_short_word() {
    let with = |group: &str| {
        let text = format!(
            "workflow: w\nconcurrency: {group}\nsteps:\n  - id: a\n    uses: noop\n    concurrency: {group}\n"
        );
        load_workflow("w.yaml", &text)
    };
    let group = "é".repeat(64);
    let workflow = with(&group).unwrap();
    assert_eq!(workflow.concurrency.as_deref(), Some(group.as_str()));
    assert_eq!(workflow.steps[0].concurrency, workflow.concurrency);
    for (group, fault) in [
        (
            "x".repeat(129),
            "the group's name is 129 bytes long; at most 128 may be",
        ),
        ("\"\"".to_owned(), "a group without a name"),
    ] {
        let faults = with(&group).unwrap_err();
        let found: Vec<_> = faults
            .0
            .iter()
            .map(|one| (one.line, one.col, one.message.as_str()))
            .collect();
        assert_eq!(found, [(2, 14, fault), (6, 18, fault)]);
    }
}

#[test]
fn how_many_steps_a_workspace_has_at_work_at_once_is_bounded() {
    let with = |most: &str| {
        system(&format!(
            "system: s\nmax_parallel: {most}\ncomponents: {{}}\ntiers: {{}}\n"
        ))
    };
    assert_eq!(with("256").unwrap().value.max_parallel, Some(256));
    for most in ["0", "257", "many", "-1", "1.5"] {
        let faults = with(most).unwrap_err();
        let one = &faults.0[0];
        let found = (one.line, one.col, one.message.as_str());
        assert_eq!(
            found,
            (2, 15, "`max_parallel` must be a whole number from 1 to 256"),
            "{most}"
        );
    }
}

/// Returns the faults of a workflow's expressions, a line each: where, what, and the help.
fn faults_of_expressions(text: &str) -> Vec<String> {
    let workflow = load_workflow("w.yaml", text).unwrap_or_else(|found| panic!("{found}"));
    let system =
        system("system: s\ncomponents: {orders: {}, docs: {}}\ntiers: {near: {url: 'file://./near'}}\n")
            .unwrap_or_else(|found| panic!("{found}"))
            .value;
    let loops = [("component", vec!["orders", "docs"]), ("tier", vec!["near"])];
    let inputs = Inputs {
        loops: loops
            .into_iter()
            .map(|(key, values)| (key.to_owned(), values.into_iter().map(str::to_owned).collect()))
            .collect(),
        ..Inputs::default()
    };
    let found = expand(&workflow, Some(&system), &inputs, &Fields)
        .err()
        .unwrap_or_default()
        .0;
    found.iter().map(line).collect()
}

fn line(one: &rekindle_plan::Diagnostic) -> String {
    format!(
        "{}:{} {} ({})",
        one.line,
        one.col,
        one.message,
        one.help.clone().unwrap_or_default()
    )
}

/// Knows two actions; the output of `measure` has a field `n`.
struct Fields;

impl Catalog for Fields {
    fn names(&self) -> Vec<String> {
        vec!["command".to_owned(), "measure".to_owned()]
    }

    fn check(&self, _: &str, _: &Value) -> Vec<Problem> {
        Vec::new()
    }

    fn output_fields(&self, uses: &str) -> Option<&'static [&'static str]> {
        (uses == "measure").then_some(&["n"][..])
    }
}

#[test]
fn every_unknown_name_in_a_workflow_s_expressions_is_shown_at_its_place() {
    let text = r#"workflow: w
params: {n: {type: integer, default: 1}}
steps:
  - {id: a-b, uses: command}
  - id: c
    uses: command
    needs: [a-b]
    with:
      x: "${{ steps.biuld.v }} ${{ params.nn }} ${{ params.n | nosuchfilter }} ${{ steps.a-b.v }}"
      y: ["${{ env.HOME }}", "${{ each.component }}", {z: "${{ c.text }} ${{ n }}"}]
  - id: m
    uses: measure
  - id: late
    uses: command
    with:
      x: |
        one ${{ steps.m.n }}
        two ${{ steps.late.x }}
  - id: typed
    needs: [m]
    uses: command
    run_if: steps.m.nn > 1 and contains(steps.m.n, 'x') and steps.m.outcome.up()
    with: {x: "${{ steps.m.error.mesage }} ${{ steps.m.outputs.nn }} ${{ failure() }} ${{ run.idd }}"}
  - {id: each, for_each: component, uses: measure}
  - id: all
    needs: [each]
    uses: command
    with: {x: "${{ steps.each.n }} ${{ steps.each['ordres'].n }} ${{ item }} ${{ system.componets }} ${{ params.n is evn }}"}
    compensate: {uses: command, with: {x: "${{ outputs }} ${{ output }} ${{ steps.c }}"}}
  - {id: about, for_each: component, uses: command, run_if: component == 'orders'}
on_failure:
  - {id: tell, uses: command, with: {x: "${{ steps.c.error.message }} ${{ run.failed }} ${{ steps.cc }}"}}
"#;
    insta::assert_snapshot!(faults_of_expressions(text).join("\n"));
}

#[test]
fn an_expression_that_allows_for_an_absence_or_that_only_the_run_can_judge_has_no_fault() {
    let text = r#"workflow: w
params: {where: {type: string, default: x}}
steps:
  - {id: m, for_each: component, uses: measure}
  - id: free
    for_each: component
    uses: command
    needs: [m]
    run_if: steps.m[each.component].outcome == 'success' and component.name != null
    with:
      a: "${{ steps.m[each.component].n }} ${{ steps.m.orders.outputs.n }} ${{ steps.m['docs'].error.code }}"
      b: "${{ steps.m.gone.x is defined }} ${{ system.description | default('none') }} ${{ component }}"
      c: "${{ target.root }} ${{ rekindle }} ${{ run.errors | length }} ${{ dict(a=1) }} ${{ range(2) }}"
  - {id: text, uses: command, needs: [free], with: {x: "${{ steps.free['orders'].any.field }}"}}
  - {id: over, for_each: {host: [a, b], port: [1]}, uses: command, with: {x: "${{ each.host }} ${{ item.port }}"}}
  - {id: always, needs: [text], run_if: "failure() or cancelled() or always() or success()", uses: command}
"#;
    assert_eq!(faults_of_expressions(text), Vec::<String>::new());
}

#[test]
fn the_operators_of_other_languages_are_named_with_those_of_this_one() {
    for (expression, help) in [
        ("!params.x", "`not`"),
        ("a && b", "`and`"),
        ("a || b", "`or`"),
        ("a ? b : c", "`b if a else c`"),
        ("a = b", "`==`"),
    ] {
        let text = format!(
            "workflow: w\nsteps:\n  - {{id: a, uses: command, with: {{x: \"${{{{ {expression} }}}}\"}}}}\n"
        );
        let found = load_workflow("w.yaml", &text).unwrap_err().to_string();
        assert!(
            found.contains(help) && found.contains("w.yaml:3:"),
            "{expression}: {found}"
        );
    }
}

#[test]
fn a_command_line_in_one_text_is_shown_as_the_list_that_it_means() {
    let system = |source: &str, probe: &str| {
        format!(
            "system: s\ncomponents:\n  a:\n    source: {{type: command, {source}}}\n    validate: [{{probe: command, {probe}}}]\n"
        )
    };
    let found = faults_of_system(&system(
        "dump: dpkg --get-selections, restore: ./load",
        "run: 'ls -l | wc'",
    ));
    let found = found.to_string();
    assert!(
        found.contains("system.yaml:4:35: error: `dump` is a command line in one text"),
        "{found}"
    );
    assert!(
        found.contains("help: write a list: [dpkg, --get-selections]"),
        "{found}"
    );
    assert!(
        found.contains("system.yaml:5:38: error: `run` is a command line") && found.contains("`shell: true`"),
        "{found}"
    );
    let shell = system(
        "shell: true, dump: 'pg_dump x | gzip', restore: 'cat > \"$PWD/x\"; : target.'",
        "run: 'echo {}', shell: true",
    );
    let loaded = self::system(&shell)
        .unwrap_or_else(|found| panic!("{found}"))
        .value;
    assert_eq!(
        loaded.components["a"].validate[0].run,
        ["sh", "-e", "-c", "echo {}"]
    );
    let source = loaded.components["a"]
        .source
        .as_ref()
        .map(|source| &source.settings["dump"]);
    assert_eq!(
        source,
        Some(&serde_json::json!(["sh", "-e", "-c", "pg_dump x | gzip"]))
    );
    let found = faults_of_system(&system("shell: true, dump: [a], restore: b", "run: c")).to_string();
    assert!(
        found.contains("with `shell: true`, `dump` is a text for the shell"),
        "{found}"
    );
}

#[test]
fn short_forms_of_steps_are_written_out() {
    let workflow = load_workflow(
        "w.yaml",
        "workflow: w
defaults: {timeout: 1m, retry: {max_attempts: 3}, env: {A: a, B: b}, cwd: x}
steps:
  - {id: a, shell: 'true', env: {B: c}, secrets: {S: {env: T}}, compensate: {shell: 'false'}}
  - {id: b, uses: http, with: {url: 'http://x'}, timeout: 2m}
  - {id: c, uses: approve, with: {message: m}}
on_failure:
  - {id: d, uses: command, with: {run: [x]}, cwd: y}
",
    )
    .unwrap_or_else(|found| panic!("{found}"));
    let [a, b, c, d] = workflow.steps.as_slice() else {
        panic!()
    };
    let env = serde_json::json!({"A": "a", "B": "c"});
    assert_eq!(a.uses, "command");
    assert_eq!(
        a.with,
        serde_json::json!({"run": "true", "shell": true, "env": env, "cwd": "x", "secrets": {"S": {"env": "T"}}})
    );
    assert_eq!(
        (a.timeout, a.retry.max_attempts),
        (Some(Duration::from_secs(60)), 3)
    );
    let undo = a
        .compensate
        .as_ref()
        .map(|undo| (undo.uses.as_str(), &undo.with["run"], &undo.with["cwd"]));
    assert_eq!(undo, Some(("command", &"false".into(), &"x".into())));
    assert_eq!(b.with, serde_json::json!({"url": "http://x"}));
    assert_eq!(
        (b.timeout, b.retry.max_attempts),
        (Some(Duration::from_secs(120)), 3)
    );
    assert_eq!(
        (c.timeout, c.retry.max_attempts),
        (None, 1),
        "a person is not hurried by a limit for programs"
    );
    assert_eq!(d.with["cwd"], "y");
    assert_eq!(d.with["env"]["A"], "a");
}

#[test]
fn short_forms_that_do_not_fit_are_shown_at_their_places() {
    let found = load_workflow(
        "w.yaml",
        "workflow: w
steps:
  - {id: a}
  - {id: b, uses: http, with: {url: x}, env: {A: a}}
  - {id: c, shell: x, with: {run: [y]}}
  - {id: d, uses: noop, shell: x}
  - {id: e, uses: noop, with: {output: 18446744073709551617}}
",
    )
    .unwrap_err()
    .to_string();
    for expect in [
        "w.yaml:3:5: error: a step lacks `uses`",
        "w.yaml:4:41: error: `env` is for a step's program, and `uses: http` has none here",
        "w.yaml:5:13: error: `run` is also under `with`",
        "w.yaml:6:25: error: `shell` is for a step's program, and `uses: noop` has none here",
        "w.yaml:7:40: error: a whole number beyond 64 bits",
    ] {
        assert!(found.contains(expect), "{expect}\n{found}");
    }
}

#[test]
fn every_unknown_name_in_a_system_s_expressions_is_shown_at_its_place() {
    let text = r#"system: s
components:
  orders:
    source:
      type: command
      dump: [./dump, "${{ component.nam }}", "${{ params.level }}", "${{ target.rot }}"]
      restore: [./restore, "${{ target.root }}"]
    recovery:
      - {id: index, shell: './index "$ROOT"', env: {ROOT: "${{ target.root }}", WHERE: "${{ params.to }} ${{ targets }}"}}
      - {id: warm, uses: measure, shell: ./warm}
    validate:
      - {probe: command, run: [./probe, "${{ run.id }} ${{ run.idd }} ${{ each.component | nosuch }}"], expect: {n: "> 1"}}
integrity:
  - {probe: http, url: "http://${{ system.systm }}/${{ component.name }}", expect: {status: "== 200"}}
tiers: {near: {url: "file://./near"}}
"#;
    let read = system(text).unwrap_err();
    assert_eq!(
        read.0.iter().map(line).collect::<Vec<_>>(),
        [
            "10:35 `shell` is for a step's program, and `uses: measure` has none here (give the action's parameters \
          under `with`)"
        ]
    );
    let text = text.replace(", shell: ./warm", "");
    let loaded = system(&text).unwrap_or_else(|found| panic!("{found}"));
    let index = &loaded.value.components["orders"].recovery[0];
    assert_eq!(
        (
            index.uses.as_str(),
            &index.with["run"],
            &index.with["env"]["ROOT"]
        ),
        (
            "command",
            &"./index \"$ROOT\"".into(),
            &"${{ target.root }}".into()
        )
    );
    let found: Vec<String> = loaded.check(&Fields).0.iter().map(line).collect();
    insta::assert_snapshot!(found.join("\n"));
}

#[test]
fn the_hooks_of_a_system_join_a_workflow_that_has_no_such_list() {
    let text = r#"system: s
components: {}
tiers: {near: {url: "file://./near"}}
hooks:
  on_failure: [{id: page, shell: ./page}]
  finally: [{id: tidy, shell: ./tidy}]
"#;
    let hooks = system(text).unwrap_or_else(|found| panic!("{found}")).hooks;
    let joined = |text: &str| {
        let mut workflow = load_workflow("w.yaml", text).unwrap_or_else(|found| panic!("{found}"));
        workflow.add_hooks(&hooks)?;
        let plan = expand(&workflow, None, &Inputs::default(), &Fields)?;
        let steps = plan
            .steps
            .iter()
            .map(|step| (step.id.as_str(), step.needs.clone()));
        Ok::<_, Diagnostics>(
            steps
                .map(|(id, needs)| {
                    let needs: Vec<&str> = needs.iter().map(|need| need.as_str()).collect();
                    format!("{id} after {}", needs.join(" "))
                })
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        joined("workflow: w\nsteps: [{id: a, uses: command}]\n").unwrap(),
        ["a after ", "page after a", "tidy after a page"]
    );
    assert_eq!(
        joined("workflow: w\nsteps: [{id: a, uses: command}]\non_failure: [{id: own, uses: command}]\n")
            .unwrap(),
        ["a after ", "own after a", "tidy after a own"]
    );
    let faults = joined("workflow: w\nsteps: [{id: tidy, uses: command}]\n").unwrap_err();
    assert_eq!(
        (faults.0[0].file.as_str(), line(&faults.0[0])),
        (
            "system.yaml",
            "6:18 workflow `w` has a step `tidy` too (give the hook another name)".to_owned()
        )
    );
}
