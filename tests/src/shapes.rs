//! Workflows of every shape, each as the YAML that the product gets and as the plan that [`crate::reference`] knows.
//! Their steps leave marks in a file `marks`.

use crate::chaos::Dice;
use crate::reference::{Acts, Flow, Step};

/// The system that the shapes run in: two components, two tiers.
pub const SYSTEM: &str = "\
system: small
root: ./data
components:
  notes: {source: {type: files, path: notes}}
  pages: {source: {type: files, path: pages}}
tiers:
  near: {url: \"file://./tiers/near\"}
  far: {url: \"file://./tiers/far\"}
";

/// A shape.
#[derive(Clone, Debug)]
pub struct Shape {
    /// What it is called in a summary.
    pub name: String,
    /// The workflow.
    pub yaml: String,
    /// What it must come to.
    pub flow: Flow,
}

impl Shape {
    fn of(name: &str, flow: Flow) -> Self {
        Self {
            name: name.to_owned(),
            yaml: yaml(&flow),
            flow,
        }
    }
}

/// Returns the shapes that are always tried.
pub fn all() -> Vec<Shape> {
    vec![
        Shape::of("chain", chain()),
        Shape::of("diamond", diamond()),
        Shape::of("fan-out", fan_out()),
        matrix(),
        Shape::of("retries", retries()),
        Shape::of("undo", undo()),
        Shape::of("approval", approval()),
    ]
}

fn flow(max_parallel: usize, steps: Vec<Step>) -> Flow {
    Flow { steps, max_parallel }
}

fn chain() -> Flow {
    let ids = ["a", "b", "c", "d", "e"];
    let needs = |place: usize| ids[..place].last().copied();
    let step = |(place, id)| Step::new(id, needs(place).as_slice());
    flow(2, ids.into_iter().enumerate().map(step).collect())
}

fn diamond() -> Flow {
    let steps = vec![
        Step::new("top", &[]),
        Step::new("left", &["top"]),
        Step::new("right", &["top"]),
        Step::new("bottom", &["left", "right"]),
    ];
    flow(2, steps)
}

fn fan_out() -> Flow {
    let wings: Vec<String> = (0..8).map(|n| format!("wing{n}")).collect();
    let mut steps = vec![Step::new("begin", &[])];
    steps.extend(wings.iter().map(|id| Step::new(id, &["begin"])));
    let needs: Vec<&str> = wings.iter().map(String::as_str).collect();
    steps.push(Step::new("join", &needs));
    flow(3, steps)
}

/// Two steps that fail before they succeed, one that fails for good, what is skipped for it, and what runs whatever
/// happened.
fn retries() -> Flow {
    let acts = |acts, step: Step| Step { acts, ..step };
    let always = Step {
        always: true,
        ..Step::new("always", &["skipped"])
    };
    let steps = vec![
        acts(Acts::SucceedsAt(3), Step::new("third", &[])),
        acts(Acts::SucceedsAt(2), Step::new("second", &["third"])),
        acts(Acts::Fails(2), Step::new("never", &["second"])),
        Step::new("skipped", &["never"]),
        always,
    ];
    flow(2, steps)
}

fn undo() -> Flow {
    let undo = |step: Step| Step { undo: true, ..step };
    let fails = Step {
        acts: Acts::Fails(1),
        ..Step::new("fails", &["both"])
    };
    let steps = vec![
        undo(Step::new("base", &[])),
        undo(Step::new("one", &["base"])),
        undo(Step::new("other", &["base"])),
        undo(Step::new("both", &["one", "other"])),
        undo(fails),
        undo(Step::new("skipped", &["fails"])),
    ];
    flow(2, steps)
}

fn approval() -> Flow {
    let asks = Step {
        asks: true,
        acts: Acts::Silent,
        ..Step::new("confirm", &["before"])
    };
    let steps = vec![
        Step::new("before", &[]),
        asks,
        Step::new("beside", &["before"]),
        Step::new("after", &["confirm"]),
    ];
    flow(2, steps)
}

/// Two loops, their product, and what waits for all of it.
fn matrix() -> Shape {
    let (components, tiers) = (["notes", "pages"], ["near", "far"]);
    let mut steps: Vec<Step> = components
        .iter()
        .map(|component| Step::new(&format!("make[{component}]"), &[]))
        .collect();
    let store = |component: &str, tier: &str| format!("store[{component},{tier}]");
    for component in components {
        let make = format!("make[{component}]");
        steps.extend(tiers.map(|tier| Step::new(&store(component, tier), &[&make])));
    }
    for component in components {
        let stored = tiers.map(|tier| store(component, tier));
        let stored = [stored[0].as_str(), stored[1].as_str()];
        steps.push(Step::new(&format!("check[{component}]"), &stored));
    }
    steps.push(Step::new("all", &["check[notes]", "check[pages]"]));
    let marked = |id: &str, key: &str, more: &str| {
        let name = format!("{id}{key}");
        format!(
            "  - id: {id}\n{more}    uses: command\n    with: {{run: [sh, \"-c\", \"{}\"]}}\n",
            program(&Step::new(&name, &[]))
        )
    };
    let component = "[${{ each.component }}]";
    let both = "[${{ each.component }},${{ each.tier }}]";
    let yaml = [
        "workflow: it\nmax_parallel: 3\nsteps:\n".to_owned(),
        marked("make", component, "    for_each: component\n"),
        marked(
            "store",
            both,
            "    for_each: [component, tier]\n    needs: [make]\n",
        ),
        marked(
            "check",
            component,
            "    for_each: component\n    needs: [store]\n",
        ),
        marked("all", "", "    needs: [check]\n"),
    ];
    Shape {
        name: "matrix".to_owned(),
        yaml: yaml.concat(),
        flow: flow(3, steps),
    }
}

/// Returns a shape that the dice draw: any step may need any before it, fail a few times or for good, be taken back, or
/// run whatever happened.
pub fn drawn(dice: &mut Dice) -> Shape {
    let count = 3 + dice.below(5) as usize;
    let ids: Vec<String> = (0..count).map(|n| format!("s{n}")).collect();
    let mut steps = Vec::new();
    for (place, id) in ids.iter().enumerate() {
        let needs: Vec<&str> = ids[..place]
            .iter()
            .filter(|_| dice.below(3) == 0)
            .map(String::as_str)
            .collect();
        let acts = match dice.below(10) {
            0 => Acts::Fails(1 + dice.below(2) as usize),
            1 | 2 => Acts::SucceedsAt(2),
            _ => Acts::SucceedsAt(1),
        };
        steps.push(Step {
            acts,
            undo: dice.below(2) == 0,
            always: !needs.is_empty() && dice.below(8) == 0,
            ..Step::new(id, &needs)
        });
    }
    Shape::of(
        &format!("drawn of {count}"),
        flow(1 + dice.below(3) as usize, steps),
    )
}

/// Returns the workflow of a plan without loops.
fn yaml(flow: &Flow) -> String {
    let mut yaml = format!("workflow: it\nmax_parallel: {}\nsteps:\n", flow.max_parallel);
    for step in &flow.steps {
        let Step { id, needs, .. } = step;
        yaml.push_str(&format!("  - id: {id}\n"));
        if !needs.is_empty() {
            yaml.push_str(&format!("    needs: [{}]\n", needs.join(", ")));
        }
        if step.always {
            yaml.push_str("    run_if: always\n");
        }
        if step.asks {
            yaml.push_str("    uses: approve\n    with: {message: \"go on?\"}\n");
            continue;
        }
        if step.acts == Acts::Silent {
            yaml.push_str("    uses: noop\n");
            continue;
        }
        let run =
            |program: &str| format!("    uses: command\n    with: {{run: [sh, \"-c\", \"{program}\"]}}\n");
        yaml.push_str(&run(&program(step)));
        if let Acts::SucceedsAt(attempts @ 2..) | Acts::Fails(attempts @ 2..) = step.acts {
            let backoff = "{initial: 5ms, factor: 1, max: 5ms, jitter: 0}";
            yaml.push_str(&format!(
                "    retry: {{max_attempts: {attempts}, backoff: {backoff}}}\n"
            ));
        }
        if step.undo {
            let undo = format!("echo 'undo {id}' >> marks; echo 'undone {id}' >> marks");
            yaml.push_str(&format!(
                "    compensate:\n      uses: command\n      with: {{run: [sh, \"-c\", \"{undo}\"]}}\n"
            ));
        }
    }
    yaml
}

/// Returns the program of a step, for a shell.
fn program(step: &Step) -> String {
    let id = &step.id;
    let begin = format!("echo 'begin {id}' >> marks");
    let (end, failed) = (
        format!("echo 'end {id}' >> marks"),
        format!("echo 'failed {id}' >> marks; exit 1"),
    );
    match step.acts {
        Acts::Fails(_) => format!("{begin}; {failed}"),
        Acts::SucceedsAt(acts @ 2..) => {
            format!("{begin}; [ $(grep -cx 'begin {id}' marks) -ge {acts} ] || {{ {failed}; }}; {end}")
        }
        _ => format!("{begin}; {end}"),
    }
}
