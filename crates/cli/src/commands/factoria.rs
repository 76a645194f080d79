//! `rekindle factoria`

use std::sync::Arc;

use rekindle_factoria::FactoriaCommand;
use rekindle_factoria::command::{ServeArgs, Surroundings};
use rekindle_factoria::serve::Address;

use crate::App;
use crate::error::CliError;
use crate::exit::Exit;

/// Makes, runs, probes or damages the system that ships.
pub(crate) async fn run(app: &App, command: FactoriaCommand) -> Result<Exit, CliError> {
    // A running system tells two things, where it listens and in the end what it did: one line each.
    let runs = matches!(command, FactoriaCommand::Serve(_));
    let mut told = Ok(());
    let stop = app.signals.stop().child_token();
    if let FactoriaCommand::Serve(ServeArgs { until_eof: true, .. }) = &command {
        let stop = stop.clone();
        // A thread of its own: nobody waits for it, and whoever holds the other end may never close it.
        std::thread::spawn(move || {
            // An error of reading is an end as well.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            stop.cancel();
        });
    }
    let around = Surroundings {
        clock: Arc::clone(&app.clock),
        stop,
        listening: Box::new(|address: &Address| {
            told = app
                .printer
                .line(address, || format!("listening on {}", address.listening));
        }),
    };
    let result = rekindle_factoria::run(command, around).await?;
    told?;
    let text = || serde_json::to_string_pretty(&result).unwrap_or_default();
    if runs {
        app.printer.line(&result, text)?;
    } else {
        app.printer.data(&result, text)?;
    }
    Ok(Exit::Done)
}
