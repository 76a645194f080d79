//! Quality: stored content, assessed again with the restored documents, weights and thresholds.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::Digest;
use super::baseline::Baseline;
use super::database::Opened;
use super::tally::Tally;
use crate::assess::{Assessment, Item, JUDGED, Rules, assess};
use crate::curriculum::Curriculum;
use crate::layout::CONTENT_DB;
use crate::produced::assessments;

/// The most items that are assessed: some seconds' work. Of more, those with the smallest hashes of their ids are
/// taken, so that the sample stays much the same while the database grows (Broder, "On the resemblance and
/// containment of documents", 1997).
const MOST_ITEMS: usize = 2_000;
/// The longest text that is assessed, in bytes; those of a system have 10 kB. A longer one is no content.
const LONGEST_BODY: i64 = 1 << 20;
/// How often the database is read again because someone began to write meanwhile.
const ATTEMPTS: u32 = 3;
/// The most stored assessments of one item that are compared.
const MOST_ASSESSMENTS: i64 = 10_000;

/// Measures:
/// - `overall_quality`: mean of the items' overall quality, 0 to 1; an item that cannot be read has 0. With a baseline
///   `quality_kept`: it as a share of the baseline's, at most 1.
/// - `items_assessed`: all items, or 2000 of them.
/// - `assessments_reproduced`: share of their stored assessments, in the database, that come out again exactly: score
///   bit by bit, and comment. `assessments_compared` is their number.
/// - `records_reproduced`: share of the files below `quality/assessments/` that come out again byte by byte.
/// - `passes_overall_quality`, `passes_educational_value`, `passes_factual_accuracy`: share of the items that reach the
///   threshold; `threshold_…`: the threshold as it is on disk.
/// - `quality_digest`: 48 bits over all files of the component; with a baseline `quality_files_kept`, 1 or 0.
pub(super) fn measure(root: &Path, baseline: &Baseline) -> BTreeMap<String, f64> {
    let mut attempt = 1;
    loop {
        let opened = Opened::open(&root.join(CONTENT_DB));
        let measures = read(root, opened.as_ref(), baseline);
        if attempt == ATTEMPTS || !opened.as_ref().is_some_and(Opened::was_disturbed) {
            return measures;
        }
        attempt += 1;
    }
}

fn read(root: &Path, opened: Option<&Opened>, baseline: &Baseline) -> BTreeMap<String, f64> {
    let curriculum = Curriculum::read(root);
    let rules = Rules::read(root);
    let mut found = Findings::default();
    if let Some(opened) = opened {
        let database = &opened.connection;
        for id in sample(database).unwrap_or_default() {
            let assessed = assessed(database, &curriculum, &rules, id);
            found.item(database, &rules, id, assessed.ok().flatten().as_ref());
        }
    }
    let records = assessments::reproduced(root, opened.map(|opened| &opened.connection));
    let mut measures = BTreeMap::from([
        ("overall_quality".to_owned(), found.mean()),
        ("items_assessed".to_owned(), found.items as f64),
        ("assessments_reproduced".to_owned(), found.reproduced.share()),
        ("assessments_compared".to_owned(), found.reproduced.made as f64),
        ("records_reproduced".to_owned(), records),
        (
            "quality_digest".to_owned(),
            Digest::of_folder(&root.join("quality")),
        ),
    ]);
    for (index, name) in JUDGED.into_iter().enumerate() {
        measures.insert(format!("passes_{name}"), found.passes[index].share());
        if let Some(threshold) = rules.thresholds[index] {
            measures.insert(format!("threshold_{name}"), threshold);
        }
    }
    baseline.share(&mut measures, "overall_quality", "quality_kept");
    baseline.same(&mut measures, "quality_digest", "quality_files_kept");
    measures
}

#[derive(Default)]
struct Findings {
    items: u64,
    sum: f64,
    reproduced: Tally,
    passes: [Tally; JUDGED.len()],
}

impl Findings {
    fn item(&mut self, database: &Connection, rules: &Rules, id: i64, assessment: Option<&Assessment>) {
        self.items += 1;
        self.sum += assessment.map_or(0.0, |assessment| assessment.overall);
        let judged = assessment.map(Assessment::judged);
        for (index, passes) in self.passes.iter_mut().enumerate() {
            let score = judged.map(|judged| judged[index]);
            passes.check(
                score
                    .zip(rules.thresholds[index])
                    .is_some_and(|(score, least)| score >= least),
            );
        }
        let stored = stored(database, id).unwrap_or_else(|_| vec![(String::new(), 0.0, String::new())]);
        for (dimension, score, comment) in stored {
            let again = assessment.is_some_and(|assessment| {
                let place = JUDGED.iter().position(|name| *name == dimension);
                let fresh = place.map(|place| assessment.judged()[place].to_bits());
                fresh == Some(score.to_bits()) && assessment.comment == comment
            });
            self.reproduced.check(again);
        }
    }

    fn mean(&self) -> f64 {
        if self.items == 0 {
            0.0
        } else {
            self.sum / self.items as f64
        }
    }
}

/// Returns the ids of the items to assess, in ascending order.
fn sample(database: &Connection) -> rusqlite::Result<Vec<i64>> {
    let mut statement = database.prepare("SELECT id FROM items")?;
    let ids: rusqlite::Result<Vec<i64>> = statement.query_map([], |row| row.get(0))?.collect();
    let mut ids = ids?;
    if ids.len() > MOST_ITEMS {
        ids.sort_by_cached_key(|id| *blake3::hash(&id.to_le_bytes()).as_bytes());
        ids.truncate(MOST_ITEMS);
    }
    ids.sort_unstable();
    Ok(ids)
}

/// Assesses one item; `None` where its text is too long.
fn assessed(
    database: &Connection,
    curriculum: &Curriculum,
    rules: &Rules,
    id: i64,
) -> rusqlite::Result<Option<Assessment>> {
    let sql = "SELECT content_type, audience, standard, body FROM items WHERE id = ?1 AND length(body) <= ?2";
    let mut statement = database.prepare_cached(sql)?;
    let assessed = statement.query_row([id, LONGEST_BODY], |row| {
        let (kind, audience): (String, String) = (row.get(0)?, row.get(1)?);
        let (standard, body): (String, String) = (row.get(2)?, row.get(3)?);
        let item = Item {
            content_type: &kind,
            audience: &audience,
            standard: &standard,
            body: &body,
        };
        Ok(assess(curriculum, rules, &item))
    });
    assessed.optional()
}

/// Returns dimension, score and comment of an item's stored assessments.
fn stored(database: &Connection, id: i64) -> rusqlite::Result<Vec<(String, f64, String)>> {
    let sql = "SELECT dimension, score, comment FROM assessments WHERE item_id = ?1 ORDER BY id LIMIT ?2";
    let mut statement = database.prepare_cached(sql)?;
    statement
        .query_map([id, MOST_ASSESSMENTS], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_of_a_large_database_stays_much_the_same_while_it_grows() {
        let database = Connection::open_in_memory().unwrap();
        database
            .execute_batch("CREATE TABLE items (id INTEGER PRIMARY KEY)")
            .unwrap();
        let grow = |to: usize| {
            let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                       INSERT OR IGNORE INTO items SELECT i FROM n";
            database.execute(sql, [to as i64]).unwrap();
            sample(&database).unwrap()
        };
        assert_eq!(grow(MOST_ITEMS).len(), MOST_ITEMS);
        let (before, after) = (grow(10_000), grow(10_500));
        assert_eq!((before.len(), after.len()), (MOST_ITEMS, MOST_ITEMS));
        let same = after.iter().filter(|id| before.contains(id)).count();
        assert!(same > MOST_ITEMS * 9 / 10 && same < MOST_ITEMS, "{same}");
    }
}
