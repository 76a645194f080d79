//! Probe `sql`: reads a SQLite database with one query. The numbers are in the query's only row, by column name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rekindle_engine::StepContext;
use rekindle_model::failure::{Failure, code};
use rekindle_sources::sqlite::Reader;
use rekindle_sources::{blocking, discard};

use crate::checks::Numbers;
use crate::failures;

/// The default time for a query.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often a query that must end is interrupted. An interrupt before its beginning has no effect, so one is not
/// enough.
const NAG: Duration = Duration::from_millis(20);

/// Reads the numbers. If a copy of the database is needed, makes it in `scratch`.
pub(super) async fn measure(
    cx: &StepContext,
    database: &Path,
    query: &str,
    timeout: Option<Duration>,
    scratch: PathBuf,
) -> Result<Numbers, Failure> {
    let limit = timeout.unwrap_or(TIMEOUT);
    let (path, copies) = (database.to_path_buf(), scratch.clone());
    let reader = blocking(move || Reader::open(&path, &copies)).await?;
    let interrupter = reader.interrupter();
    let query = query.to_owned();
    let numbers = blocking(move || reader.numbers(&query));
    tokio::pin!(numbers);
    let early = tokio::select! {
        numbers = &mut numbers => Ok(numbers),
        () = cx.stop.cancelled() => Err(failures::interrupted()),
        () = tokio::time::sleep(limit) => Err(Failure::transient(
            code::TIMEOUT,
            format!("the query did not end within {}", humantime::format_duration(limit)),
        )),
    };
    let measured = match early {
        Ok(numbers) => numbers,
        Err(failure) => {
            loop {
                interrupter.interrupt();
                if tokio::time::timeout(NAG, &mut numbers).await.is_ok() {
                    break;
                }
            }
            Err(failure)
        }
    };
    discard(&scratch).await;
    measured
}
