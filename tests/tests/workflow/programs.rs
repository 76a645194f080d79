//! What a workflow says of its programs: scripts, variables, secrets, defaults, and what this host lacks.

use rekindle_tests::sandbox::{NOTES, Sandbox, said};

const BINARY: &str = env!("CARGO_BIN_EXE_rekindle-under-test");

fn sandbox(flow: &str) -> Sandbox {
    Sandbox::with_a_note(BINARY, NOTES, "one").with("it.yaml", flow)
}

#[test]
fn a_script_has_its_variables_and_its_secrets_and_hands_on_what_it_names() {
    let sandbox = sandbox(
        r#"
workflow: it
defaults: {env: {STAGE: live, WHO: nobody}, timeout: 1m, retry: {max_attempts: 2, backoff: {initial: 1ms}}}
steps:
  - id: a
    shell: |
      echo "told=$STAGE $WHO $KEY_OF_SHOP" >> "$REKINDLE_OUTPUT"
      pwd
    env: {WHO: me}
    cwd: data
    secrets: {KEY_OF_SHOP: {env: SHOP_SECRET}}
  - id: b
    needs: [a]
    uses: command
    with: {run: [sh, -c, 'cat > seen; test -e again || { touch again; exit 1; }'], stdin: "${{ steps.a.told }}"}
"#,
    );
    let ran = sandbox
        .command(&["run", "it.yaml"])
        .env("SHOP_SECRET", "open sesame")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", said(&ran));
    assert_eq!(
        std::fs::read_to_string(sandbox.path("seen")).unwrap(),
        "live me ***"
    );
    let history = format!("{:?}", sandbox.history());
    assert!(!history.contains("sesame"), "{history}");
    for command in ["show", "logs"] {
        assert!(!sandbox.ok(&[command]).contains("sesame"));
    }
    let (code, told) = sandbox.code(&["run", "it.yaml"]);
    assert_eq!(code, 1);
    assert!(told.contains("the secret `KEY_OF_SHOP` cannot be read"), "{told}");
}

#[test]
fn lint_warns_of_what_this_host_lacks_and_doctor_counts_it_as_a_fault() {
    let flow = r#"workflow: it
steps:
  - {id: a, uses: command, with: {run: [no-such-program-here, x]}}
  - {id: b, shell: "echo ${{ run.id }}"}
  - {id: c, shell: "true", secrets: {A: {env: NO_SUCH_VARIABLE_HERE}, B: {file: no/such}}}
"#;
    let system = NOTES.replace(
        "path: notes}}",
        "path: notes}, validate: [{probe: command, run: [no-such-probe-here]}]}\n  lost: {source: {type: files, path: los}}",
    );
    let sandbox = Sandbox::with_a_note(BINARY, &system, "one").with("workflows/it.yaml", flow);
    let linted = sandbox.ok(&["lint", "workflows/it.yaml", "system.yaml"]);
    let doctor = said(&sandbox.run(&["doctor"]));
    for (place, what) in [
        ("it.yaml:3:", "there is no program `no-such-program-here` on PATH"),
        (
            "it.yaml:5:",
            "the variable `NO_SUCH_VARIABLE_HERE` of this environment is not set",
        ),
        ("it.yaml:5:", "there is no file"),
        (
            "system.yaml:4:",
            "there is no program `no-such-probe-here` on PATH",
        ),
        ("system.yaml:5:", "data/los is not there"),
    ] {
        let line = |text: &str| {
            text.lines()
                .any(|line| line.contains(place) && line.contains(what))
        };
        assert!(line(&linted), "{place} {what}\n{linted}");
        assert!(line(&doctor), "{place} {what}\n{doctor}");
    }
    assert!(
        linted.contains("it.yaml:4:20: warning: an expression inside a script"),
        "{linted}"
    );
    assert_ne!(sandbox.run(&["doctor"]).status.code(), Some(0));
}

#[test]
fn nothing_that_a_program_prints_acts_on_a_terminal() {
    let evil = r#"workflow: it
steps:
  - {id: a, shell: 'printf "\033[2J\033]0;x\007\n" | tee /dev/stderr; exit 3'}
"#;
    let sandbox = sandbox(evil);
    for command in [
        &["run", "it.yaml"][..],
        &["show"],
        &["logs"],
        &["history"],
        &["status"],
    ] {
        let output = sandbox.run(command);
        let printed = [output.stdout, output.stderr].concat();
        assert!(
            !printed.contains(&0x1b) && !printed.contains(&0x07),
            "{command:?}"
        );
    }
    let logs = sandbox.ok(&["logs"]);
    assert!(logs.contains("\\u{1b}[2J"), "{logs}");
}

#[test]
fn an_output_that_is_too_long_is_warned_of_where_the_run_is_shown() {
    let sandbox =
        sandbox("workflow: it\nsteps: [{id: a, uses: command, with: {run: [seq, '1', '400000']}}]\n");
    let warning = "WARNING: a: it printed 2688895 bytes, more than the 1048576 that an output may have";
    assert!(sandbox.ok(&["run", "it.yaml"]).contains(warning));
    let shown = sandbox.ok(&["show"]);
    assert!(
        shown.contains(warning) && shown.contains("`output_file:`"),
        "{shown}"
    );
}
