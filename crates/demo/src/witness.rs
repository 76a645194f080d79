//! Compares the stores that came back with the stores that the killed system left, of which the demo keeps a copy.
//!
//! A store that grows during its backup comes back as it was at the instant of its capture, and only the backup has read it
//! at that instant. So the demo compares it with the store that the killed system left. A log must be its beginning, byte by
//! byte. Each table of a database must be its first rows, value by value. And no record may be missing that was durable at
//! the consistency point which the backup states.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rekindle_factoria::layout::{AUDIT_LOG, CONTENT_DB, METRICS_LOG};
use rekindle_factoria::stamps::{self, AUDIT, CONTENT, METRICS};
use rekindle_factoria::watermark;
use serde::Serialize;

use super::database;
use super::service::Reach;
use crate::factoria;
use rekindle_workspace::Error;

/// The stores that a running system writes to: store, file, component.
const STORES: [(&str, &str, &str); 3] = [
    (AUDIT, AUDIT_LOG, "security_systems"),
    (CONTENT, CONTENT_DB, "content_database"),
    (METRICS, METRICS_LOG, "monitoring_systems"),
];

/// Returns the files that grow while the system runs, relative to its root.
pub(super) fn growing() -> impl Iterator<Item = PathBuf> {
    STORES.iter().map(|(_, path, _)| PathBuf::from(path))
}

/// The three stores as the killed system left them.
pub(super) struct Witness {
    dir: tempfile::TempDir,
    /// How far they reached.
    pub(super) reach: Reach,
}

/// One store that came back.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Back {
    /// The newest number that came back; none is missing before it.
    pub(super) records: u64,
    /// The newest number that was durable at the consistency point, for certain.
    pub(super) durable_then: u64,
    /// Records that were written later and are lost.
    pub(super) lost: u64,
    /// The newest stamp that came back.
    pub(super) newest: Option<u64>,
    /// The component's consistency point.
    pub(super) consistency_point: DateTime<Utc>,
}

/// What of the stores came back.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Testimony {
    /// Each store.
    pub(super) stores: BTreeMap<String, Back>,
    /// Logs that are the beginning of what was written.
    pub(super) logs: usize,
    /// Databases that are.
    pub(super) databases: usize,
    /// Bytes of the stores that came back.
    pub(super) bytes: u64,
    /// What is not as it was written, in words.
    pub(super) faults: Vec<String>,
}

impl Testimony {
    /// Returns one line a store, for people.
    pub(super) fn lines(&self) -> String {
        let line = |(store, back): (&String, &Back)| {
            format!(
                "   {store:<8} {} records came back, {} of them certain at {}, {} written later are lost",
                back.records,
                back.durable_then,
                back.consistency_point.format("%H:%M:%S%.3f"),
                back.lost
            )
        };
        self.stores.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl Witness {
    /// Keeps a copy of the stores of the system at `root`, which does not run any more.
    pub(super) fn of(root: &Path) -> Result<Self, Error> {
        let dir = tempfile::Builder::new()
            .prefix("rekindle-demo-")
            .tempdir()
            .map_err(|error| Error::io("make a temporary folder", &error))?;
        for (_, path, _) in STORES {
            let copy = dir.path().join(path);
            let folder = copy.parent().unwrap_or(dir.path());
            let failed = |error| Error::io(format_args!("copy {path}"), &error);
            std::fs::create_dir_all(folder).map_err(failed)?;
            // What SQLite had not folded into the file when the system died belongs to the database.
            for end in ["", "-wal", "-shm"] {
                match std::fs::copy(root.join(format!("{path}{end}")), folder_file(&copy, end)) {
                    Err(error) if end.is_empty() || error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(failed(error));
                    }
                    _ => {}
                }
            }
        }
        let reach = watermark(dir.path()).map_err(factoria::error)?;
        Ok(Self { dir, reach })
    }

    /// Holds the stores at `root` against what the system had written; `points` are the consistency points of the
    /// components, `before` how far the system had come when its backup was begun.
    pub(super) fn testify(
        &self,
        root: &Path,
        points: &BTreeMap<String, DateTime<Utc>>,
        before: &Reach,
    ) -> Result<Testimony, Error> {
        let mut testimony = Testimony::default();
        let came = watermark(root).map_err(factoria::error)?;
        for (store, path, component) in STORES {
            let (written, back) = (&self.reach[store], &came[store]);
            let faults = &mut testimony.faults;
            let mut fault = |what: String| faults.push(format!("{path}: {what}"));
            let Some(&consistency_point) = points.get(component) else {
                fault(format!("the backup states no consistency point of {component}"));
                continue;
            };
            for (whose, mark) in [("what the system left", written), ("what came back", back)] {
                if !mark.readable || mark.missing > 0 || mark.doubled > 0 {
                    fault(format!("{whose} has gaps: {mark:?}"));
                }
            }
            let same = match store {
                CONTENT => database::begins(&self.dir.path().join(path), &root.join(path))?,
                _ => is_beginning(&self.dir.path().join(path), &root.join(path))
                    .map_err(|error| Error::io(format_args!("compare {path}"), &error))?,
            };
            if same {
                *(if store == CONTENT {
                    &mut testimony.databases
                } else {
                    &mut testimony.logs
                }) += 1;
            } else {
                fault("what came back is not the beginning of what was written".to_owned());
            }
            let durable = stamps::durable_at(self.dir.path(), consistency_point).map_err(factoria::error)?;
            let durable_then = durable.get(store).copied().unwrap_or_default();
            if back.seq < durable_then.max(before[store].seq) {
                fault(format!(
                    "record {durable_then} was durable at the consistency point {consistency_point}, and only {} came back",
                    back.seq
                ));
            }
            testimony.bytes += std::fs::metadata(root.join(path)).map_or(0, |meta| meta.len());
            testimony.stores.insert(
                store.to_owned(),
                Back {
                    records: back.seq,
                    durable_then,
                    lost: written.seq.saturating_sub(back.seq),
                    newest: back.newest,
                    consistency_point,
                },
            );
        }
        Ok(testimony)
    }
}

fn folder_file(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Returns whether all of the file at `part` is how the file at `whole` begins.
fn is_beginning(whole: &Path, part: &Path) -> std::io::Result<bool> {
    let part = std::fs::read(part)?;
    let mut begins = Vec::with_capacity(part.len());
    let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
    std::fs::File::open(whole)?
        .take(length)
        .read_to_end(&mut begins)?;
    Ok(begins == part)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rekindle_factoria::serve::{ServeOptions, Serving};
    use rekindle_factoria::{GenerateOptions, generate};
    use rekindle_model::time::{Clock, SystemClock};
    use rusqlite::Connection;

    use super::*;

    /// A system that has written for a while, and what it left.
    async fn written(root: &Path) -> Witness {
        let options = GenerateOptions {
            root: root.to_owned(),
            seed: 1,
            size_bytes: 1_000_000,
        };
        generate(&options).unwrap();
        let serving = Serving::start(ServeOptions {
            root: root.to_owned(),
            listen: "127.0.0.1:0".parse().unwrap(),
            rate: 2_000.0,
            read_only: false,
            clock: std::sync::Arc::new(SystemClock),
        });
        let serving = serving.await.unwrap();
        while watermark(root)
            .unwrap()
            .values()
            .any(|mark| mark.newest < Some(20))
        {
            tokio::task::yield_now().await;
        }
        serving.stop().await.unwrap();
        Witness::of(root).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_beginning_is_whole_and_another_byte_row_or_end_is_a_fault() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("data");
        let witness = written(&root).await;
        let none: Reach = witness
            .reach
            .keys()
            .map(|store| (store.clone(), Default::default()))
            .collect();
        let now = SystemClock.now().utc;
        let points = |at| STORES.map(|(_, _, component)| (component.to_owned(), at)).into();
        let judge = |at| witness.testify(&root, &points(at), &none).unwrap();
        let all = judge(now);
        assert_eq!(all.faults, Vec::<String>::new());
        assert!(
            all.stores
                .values()
                .all(|back| back.lost == 0 && back.durable_then > 0)
        );

        // Cut at the end: no gap, but what was durable at the consistency point is missing.
        let metrics = root.join(METRICS_LOG);
        let lines = fs::read(&metrics).unwrap();
        let ends: Vec<usize> = (0..lines.len()).filter(|at| lines[*at] == b'\n').collect();
        fs::write(&metrics, &lines[..=ends[ends.len() - 4]]).unwrap();
        assert_eq!(judge(DateTime::UNIX_EPOCH).faults, Vec::<String>::new());
        let cut = judge(now);
        assert_eq!(
            (cut.faults.len(), cut.stores[METRICS].lost),
            (1, 3),
            "{:?}",
            cut.faults
        );

        // One byte that leaves every number as it was.
        let audit = root.join(AUDIT_LOG);
        let text = fs::read_to_string(&audit).unwrap();
        fs::write(&audit, text.replacen("allowed", "refused", 1)).unwrap();
        let content = Connection::open(root.join(CONTENT_DB)).unwrap();
        let last = "DELETE FROM activity WHERE seq = (SELECT max(seq) FROM activity)";
        content.execute(last, []).unwrap();
        drop(content);
        let spoilt = judge(DateTime::UNIX_EPOCH);
        assert_eq!(spoilt.faults.len(), 1, "{:?}", spoilt.faults);
        assert!(spoilt.faults[0].starts_with(AUDIT_LOG), "{:?}", spoilt.faults);
        let content = Connection::open(root.join(CONTENT_DB)).unwrap();
        content
            .execute("UPDATE items SET title = 'another' WHERE id = 1", [])
            .unwrap();
        drop(content);
        assert_eq!(judge(DateTime::UNIX_EPOCH).faults.len(), 2);
    }
}
