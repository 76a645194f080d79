//! `rekindle plan`

use rekindle_plan::{Plan, RunIf};
use rekindle_workspace::Error;
use rekindle_workspace::operations::plan;

use crate::App;
use crate::exit::Exit;

/// Print every step of a workflow in a possible order
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A workflow file, or the name of one in the workspace's workflows/ or of a built-in one
    #[arg(value_name = "FILE|WORKFLOW")]
    workflow: String,
}

/// Prints a plan.
pub(crate) fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let plan = plan::plan(&app.application, &args.workflow)?;
    app.printer
        .data(&rekindle_actions::shown(&plan), || text(&plan))?;
    Ok(Exit::Done)
}

fn text(plan: &Plan) -> String {
    let mut said = format!(
        "{}: {} steps, {} at once\n",
        plan.workflow,
        plan.steps.len(),
        plan.max_parallel
    );
    for (n, step) in plan.steps.iter().enumerate() {
        let needs: Vec<&str> = step.needs.iter().map(|need| need.as_str()).collect();
        let after = match needs.as_slice() {
            [] => String::new(),
            few if few.len() <= 4 => format!("  after {}", few.join(", ")),
            [first, ..] => format!("  after {first} and {} more", needs.len() - 1),
        };
        let condition = match &step.run_if {
            RunIf::Success => String::new(),
            RunIf::Failure => "  if one of them failed".to_owned(),
            RunIf::Always => "  whatever they did".to_owned(),
            RunIf::Expr(condition) => format!("  if {}", condition.text),
        };
        said.push_str(&format!(
            "{:>4}  {:<40} {}{after}{condition}\n",
            n + 1,
            step.id.as_str(),
            step.uses
        ));
    }
    said
}
