//! Generating content: the service, started on the data and asked for each of the 8 types.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rekindle_model::time::{Clock, SystemClock};
use serde_json::Value;

use crate::client::Connection;
use crate::error::FactoriaError;
use crate::frameworks::CONTENT_TYPES;
use crate::serve::{DEFAULT_RATE, ServeOptions, Serving};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts the service on the system, in a mode that writes nothing, and asks it over HTTP. Measures:
/// - `content_types_generatable`: the types, of 8, that it answers with a piece.
/// - `generated_quality`: mean overall quality of the 8 pieces, by the assessor; a piece that did not come has 0.
/// - `generated_passing`: share of the 8 that reach the restored threshold of overall quality.
/// - `generation_ms`: how long all 8 answers took, one after the other.
pub(super) fn measure(root: &Path) -> Result<BTreeMap<String, f64>, FactoriaError> {
    // On a thread of its own: the caller may be in a runtime, and a runtime cannot be started within one.
    std::thread::scope(|scope| {
        let probing = scope.spawn(|| ask_all(root));
        probing.join().unwrap_or_else(|_| {
            let ended = std::io::Error::other("the service ended by itself, which is a defect");
            Err(FactoriaError::io("serve", root)(ended))
        })
    })
}

fn ask_all(root: &Path) -> Result<BTreeMap<String, f64>, FactoriaError> {
    let failed = |error| FactoriaError::io("serve", root)(error);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(failed)?;
    let options = ServeOptions {
        root: root.to_owned(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        rate: DEFAULT_RATE,
        read_only: true,
        clock: Arc::clone(&clock),
    };
    let service = runtime.block_on(Serving::start(options))?;
    let begun = clock.now();
    let mut generated = 0_u32;
    let mut passing = 0_u32;
    let mut quality = 0.0;
    for kind in CONTENT_TYPES {
        if let Some(answer) = runtime.block_on(ask(service.socket(), kind)) {
            generated += 1;
            passing += u32::from(answer["passes"]["overall_quality"] == true);
            quality += answer["overall_quality"].as_f64().unwrap_or(0.0);
        }
    }
    let took = clock.now().since(&begun).duration;
    runtime.block_on(service.stop())?;
    let all = CONTENT_TYPES.len() as f64;
    Ok(BTreeMap::from([
        ("content_types_generatable".to_owned(), f64::from(generated)),
        ("generated_quality".to_owned(), quality / all),
        ("generated_passing".to_owned(), f64::from(passing) / all),
        ("generation_ms".to_owned(), took.as_secs_f64() * 1e3),
    ]))
}

/// Asks for a piece of that type; `None` for any answer without one.
async fn ask(socket: SocketAddr, kind: &str) -> Option<Value> {
    let mut connection = Connection::open(socket).await.ok()?;
    let target = format!("/generate?type={kind}");
    let (status, body) = connection.get(&target, PATIENCE).await.ok()?;
    let answer: Value = serde_json::from_slice(&body).ok()?;
    let made = answer["text"].as_str().is_some_and(|text| !text.is_empty());
    (status == 200 && answer["content_type"] == kind && made).then_some(answer)
}
