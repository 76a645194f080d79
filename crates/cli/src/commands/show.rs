//! `rekindle show`

use rekindle_model::next_action::Action;
use rekindle_model::next_action::NextAction;
use rekindle_report::backup::backup_table;
use rekindle_report::copies::segment_faults;
use rekindle_report::drill::drill_table;
use rekindle_report::recovery::{recovery_table, set_aside};
use rekindle_report::rework::rework;
use rekindle_report::steps::timeline;
use rekindle_report::{targets, text};
use serde_json::json;

use crate::App;
use crate::exit::Exit;
use rekindle_model::origin::RunKind;
use rekindle_workspace::Error;
use rekindle_workspace::error::resume;
use rekindle_workspace::guards::partial_recovery;
use rekindle_workspace::open::ReadOnlyWorkspace;
use rekindle_workspace::operations::{forecast, nested};
use rekindle_workspace::replica;
use rekindle_workspace::run_spec::LoadedSpec;

/// Show what a run did: its steps, its interruptions and how it continued, its objectives
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: a unique beginning or end of its id, or latest
    #[arg(default_value = "latest")]
    run: String,
}

/// Shows a run.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let workspace = ReadOnlyWorkspace::open_and_notice(&app.application).await?;
    let run = workspace.context.run(&args.run).await?;
    let evidence = workspace.context.evidence(run).await.map_err(|error| {
        match partial_recovery::left(&workspace.context.layout, run) {
            Some(left) => {
                let usual = error.next();
                let first = NextAction::advice(left.text);
                error.instead([first].into_iter().chain(left.next).chain(usual))
            }
            None => error,
        }
    })?;
    let spec = LoadedSpec::read(&*workspace.context.journal, &evidence.state, &evidence.inputs).await?;
    let held = workspace.held;
    let driven = workspace.driven().await;
    let over = evidence.state.outcome.is_some();
    let elsewhere = match over {
        true => None,
        false => replica::elsewhere(&workspace.context.layout.state, run),
    };
    let burndown = match over || evidence.state.kind != RunKind::Recover {
        true => None,
        false => {
            let before = forecast::took_before(&workspace.context).await?;
            forecast::of_run(&workspace.context, run, &before).await?
        }
    };
    let below = match over {
        true => Vec::new(),
        false => nested::below(&workspace.context, run).await?,
    };
    workspace.close().await;
    let at_work = driven.is_some_and(|driven| driven.contains(&run));
    let now = app.application.clock.now();
    let now = Some(&now).filter(|_| at_work && evidence.state.outcome.is_none());
    let plan = spec.plan()?;
    let mut body = json!({
        "run": run, "workflow": evidence.state.workflow, "kind": evidence.state.kind,
        "trigger": evidence.state.trigger.to_string(),
        "created": evidence.state.created.utc, "updated": evidence.state.updated.utc,
        "outcome": evidence.state.outcome, "at_work": now.is_some(), "records": evidence.state.seq, "epoch": evidence.state.epoch,
        "awaits_lock": evidence.state.awaits_lock, "deadlock": evidence.state.deadlock, "elsewhere": elsewhere,
        "segment_faults": segment_faults(&evidence, &plan),
        "steps": timeline(&evidence, Some(&plan)), "rework": rework(&evidence),
    });
    let mut said = text::run(&evidence, Some(&plan), now, &|action| app.printer.command(action));
    body["below"] = json!(
        below
            .iter()
            .map(|below| json!({
                "path": below.path, "run": below.evidence.state.id, "paused": below.evidence.state.paused,
                "waiting": below.evidence.state.waiting_for_approval().collect::<Vec<_>>(),
            }))
            .collect::<Vec<_>>()
    );
    for below in &below {
        said.push_str(&text::below(&below.path, &below.evidence, &|action| {
            app.printer.command(action)
        }));
    }
    said.push_str(&format!("\n{}", text::gantt(&evidence, Some(&plan), now)));
    match evidence.state.kind {
        RunKind::Backup => {
            let table = backup_table(&evidence, &plan);
            said.push_str(&format!("\n{}", text::backup(&table)));
            let targets = targets::of_backup(&evidence, &plan, &spec.system, &table);
            said.push_str(&text::targets(&targets));
            body["targets"] = json!(targets);
            body["backup"] = json!(table);
        }
        RunKind::Recover | RunKind::Drill => {
            let table = recovery_table(&evidence, &plan, &spec.system);
            if let Some(burndown) = &burndown {
                said.push_str(&format!("\n{}", text::burndown(burndown)));
            }
            body["burndown"] = json!(burndown);
            // A drill of the verification recovers nothing.
            let recovers = !table.components.is_empty();
            if recovers {
                said.push_str(&format!("\n{}", text::recovery(&table)));
            }
            let drill = drill_table(&evidence, &plan, &spec.system, &table);
            said.push_str(&drill.as_ref().map_or_else(String::new, text::drill));
            body["drill"] = json!(drill);
            let targets = match recovers {
                true => targets::of_recovery(&evidence, &plan, &spec.system, &table),
                false => Vec::new(),
            };
            said.push_str(&text::targets(&targets));
            body["targets"] = json!(targets);
            let fell_back = table.fell_back();
            fell_back
                .iter()
                .for_each(|what| said.push_str(&format!("another tier: {what}\n")));
            // What a drill has moved is gone with its sandbox.
            let displaced = match evidence.state.kind {
                RunKind::Recover => set_aside(&evidence, &plan),
                _ => Vec::new(),
            };
            said.push_str(&text::set_aside(&displaced));
            body["aside"] = displaced.iter().map(|it| it.folder.as_str()).collect();
            body["recovery"] = json!(table);
            body["fell_back"] = json!(fell_back);
        }
        RunKind::Verify | RunKind::Custom => {}
    }
    if evidence.state.outcome.is_none() {
        let command = |action: &Action| app.printer.command(action);
        said.push_str(&match (&elsewhere, now.is_some(), held) {
            (Some(other), _, _) => format!(
                "\nheld elsewhere, by {}; once no process works on it there: {}\n",
                other.named(),
                command(&other.adopt)
            ),
            (None, true, _) => format!("\nat work: {}\n", command(&Action::Watch { run })),
            (None, false, true) => "\nnot finished: another process works in this workspace\n".to_owned(),
            (None, false, false) => format!("\nnot finished: {}\n", command(&resume(Some(run)))),
        });
    }
    app.printer.data(&body, || said)?;
    Ok(Exit::Done)
}
