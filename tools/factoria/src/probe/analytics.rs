//! Analytics, reports and summaries: produced again from the restored logs and database, and compared.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;

use super::Digest;
use super::baseline::Baseline;
use super::database::Opened;
use crate::layout::CONTENT_DB;
use crate::produced::{Extent, Files, analytics, files_in, monitoring, reports, share};

/// Measures, each as the share of the files on disk that are produced again byte by byte, from inputs cut at the
/// watermark in the folder's `produced.json`:
/// - `analytics_reproduced`, `reports_reproduced`, `monitoring_reproduced`.
/// - `reports`: reports that are there.
/// - `analytics_digest`, `reports_digest`: 48 bits over all files of `analytics/` and `reporting/`. With a baseline
///   `analytics_kept`, `reports_kept`, 1 or 0.
pub(super) fn measure(root: &Path, baseline: &Baseline) -> BTreeMap<String, f64> {
    let opened = Opened::open(&root.join(CONTENT_DB));
    let database = opened.as_ref().map(|opened| &opened.connection);
    let of = |folder: &str, found: Found| {
        let base = root.join(folder);
        let extent = Extent::read(&base);
        let produced = extent.map_or_else(Files::new, |extent| (found.produce)(root, database, &extent));
        let there = found.among.map_or(0, |place| files_in(&base.join(place)));
        share(&base, &produced, there)
    };
    let reports = root.join("reporting/reports");
    let mut measures = BTreeMap::from([
        ("analytics_reproduced".to_owned(), of("analytics", ANALYTICS)),
        ("reports_reproduced".to_owned(), of("reporting", REPORTS)),
        ("monitoring_reproduced".to_owned(), of("monitoring", MONITORING)),
        ("reports".to_owned(), files_in(&reports) as f64),
        (
            "analytics_digest".to_owned(),
            Digest::of_folder(&root.join("analytics")),
        ),
        (
            "reports_digest".to_owned(),
            Digest::of_folder(&root.join("reporting")),
        ),
    ]);
    for name in ["analytics", "reports"] {
        baseline.same(&mut measures, &format!("{name}_digest"), &format!("{name}_kept"));
    }
    measures
}

/// How the files of a folder are found and produced.
struct Found {
    produce: fn(&Path, Option<&Connection>, &Extent) -> Files,
    /// A folder that holds nothing else.
    among: Option<&'static str>,
}

const ANALYTICS: Found = Found {
    produce: analytics::produce,
    among: None,
};
const REPORTS: Found = Found {
    produce: reports::produce,
    among: Some("reports"),
};
const MONITORING: Found = Found {
    produce: |root, _, extent| monitoring::produce(root, extent),
    among: None,
};
