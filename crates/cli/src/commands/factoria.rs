//! `rekindle factoria`

use std::sync::Arc;

use rekindle_factoria::command::{ServeArgs, Surroundings};
use rekindle_factoria::serve::Address;
use rekindle_factoria::{FactoriaCommand, FactoriaError};
use rekindle_model::problem::ProblemKind;

use crate::App;
use crate::exit::Exit;
use rekindle_workspace::Error;

/// Returns an error of the system that ships as one of the application.
pub(crate) fn error(error: FactoriaError) -> Error {
    match error {
        FactoriaError::AlreadyServed { .. } => Error::new(ProblemKind::Held, "held", error.to_string()),
        _ => Error::new(ProblemKind::Invalid, "factoria", error.to_string())
            .with_advice("`rekindle factoria --help` lists what its commands take"),
    }
}

/// Makes, runs, probes or damages the system that ships.
pub(crate) async fn run(app: &App, command: FactoriaCommand) -> Result<Exit, Error> {
    // A running system tells two things, where it listens and in the end what it did: one line each.
    let runs = matches!(command, FactoriaCommand::Serve(_));
    let mut told = Ok(());
    let stop = app.application.stop.child_token();
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
        clock: Arc::clone(&app.application.clock),
        stop,
        listening: Box::new(|address: &Address| {
            told = app
                .printer
                .line(address, || format!("listening on {}", address.listening));
        }),
    };
    let result = rekindle_factoria::run(command, around).await.map_err(error)?;
    told?;
    let text = || serde_json::to_string_pretty(&result).unwrap_or_default();
    if runs {
        app.printer.line(&result, text)?;
    } else {
        app.printer.data(&result, text)?;
    }
    Ok(Exit::Done)
}
