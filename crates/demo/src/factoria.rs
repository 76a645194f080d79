//! `rekindle factoria`

use std::sync::Arc;

pub use rekindle_factoria::FactoriaCommand;
use rekindle_factoria::FactoriaError;
use rekindle_factoria::command::{Surroundings, stop_at_eof};
use rekindle_factoria::serve::Address;
use rekindle_model::problem::ProblemKind;

use crate::Shown;
use rekindle_workspace::Error;
use serde_json::json;

/// Returns an error of the system that ships as one of the application.
pub(crate) fn error(error: FactoriaError) -> Error {
    match error {
        FactoriaError::AlreadyServed { .. } => Error::new(ProblemKind::Held, "held", error.to_string()),
        _ => Error::new(ProblemKind::Invalid, "factoria", error.to_string())
            .with_advice("`rekindle factoria --help` lists what its commands take"),
    }
}

/// Makes, runs, probes or damages the system that ships.
///
/// # Errors
/// The system cannot be read or written, or another process runs it.
pub async fn run(app: Shown<'_>, command: FactoriaCommand) -> Result<(), Error> {
    // A running system prints two lines: where it listens, and at its end what it did.
    let runs = matches!(command, FactoriaCommand::Serve(_));
    let mut printed = Ok(());
    let stop = app.application.stop.child_token();
    stop_at_eof(&command, &stop);
    let around = Surroundings {
        clock: Arc::clone(&app.application.clock),
        stop,
        listening: Box::new(|address: &Address| {
            let text = format!("listening on {}", address.listening);
            printed = app.face.line(&json!(address), &text);
        }),
    };
    let result = rekindle_factoria::run(command, around).await.map_err(error)?;
    printed?;
    let text = serde_json::to_string_pretty(&result).unwrap_or_default();
    match runs {
        true => app.face.line(&json!(result), &text),
        false => app.face.data(&json!(result), &text),
    }
}
