//! Reports, tables and summaries.

use std::fs;
use std::path::Path;

use rekindle_factoria::ProbeKind::Analytics;

use super::Bench;
use crate::common::Kept;

#[test]
fn a_report_a_table_or_a_summary_changed_is_not_what_the_logs_give() {
    let bench = Bench::new();
    for (path, measure) in [
        ("reporting/reports/0001-report.md", "reports_reproduced"),
        ("analytics/actions.csv", "analytics_reproduced"),
        ("analytics/metrics.csv", "analytics_reproduced"),
        ("analytics/items.csv", "analytics_reproduced"),
        ("analytics/summary.json", "analytics_reproduced"),
        ("monitoring/summary.json", "monitoring_reproduced"),
    ] {
        let change = |root: &Path| {
            let kept = Kept::of(&root.join(path));
            let mut bytes = kept.bytes().to_vec();
            let digit = bytes.iter().rposition(u8::is_ascii_digit).unwrap();
            bytes[digit] = if bytes[digit] == b'9' { b'8' } else { b'9' };
            kept.overwrite(&bytes);
        };
        bench.breaks(
            &format!("one digit of {path}"),
            &[path],
            change,
            &[(Analytics, measure)],
        );
        let delete = |root: &Path| fs::remove_file(root.join(path)).unwrap();
        bench.breaks(&format!("{path} lost"), &[path], delete, &[(Analytics, measure)]);
    }
    bench.edits(
        "the watermark of the reports set back",
        "reporting/produced.json",
        |extent| extent["audit"] = 10.into(),
        &[(Analytics, "reports_reproduced"), (Analytics, "reports_kept")],
    );
    bench.breaks(
        "the first line of the metrics log lost",
        &["monitoring/metrics.log"],
        |root| {
            let kept = Kept::of(&root.join("monitoring/metrics.log"));
            let first = kept.bytes().iter().position(|byte| *byte == b'\n').unwrap() + 1;
            kept.overwrite(&kept.bytes()[first..]);
        },
        &[
            (Analytics, "analytics_reproduced"),
            (Analytics, "reports_reproduced"),
            (Analytics, "monitoring_reproduced"),
        ],
    );
}
