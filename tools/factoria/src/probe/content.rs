//! The databases: integrity, digests of texts, and references within and between them.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use rusqlite::{Connection, Row};

use super::database::Opened;
use super::tally::Tally;
use crate::frameworks::{AGE_BANDS, SUBJECTS, standard_code};
use crate::generate::content_db::digest;
use crate::layout::{CONTENT_DB, USERS_DB};

/// How often databases are read again because someone began to write meanwhile.
const ATTEMPTS: u32 = 3;

/// Measures:
/// - `integrity_ok`: 1 if both databases pass `PRAGMA integrity_check`; `content_integrity_ok` and
///   `users_integrity_ok` tell them apart.
/// - `digests_intact`: share of items and prompts whose text has the digest kept with it.
/// - `references_intact`: share of references within and between the databases that resolve: item → prompt,
///   author; assessment → item, assessor; preference → user; favourite → user, item. `references` and
///   `references_broken` are the counts.
/// - `standards_resolved`: share of items whose educational standard is on disk. Kept apart, since it needs
///   the educational component, which may be restored after the databases.
/// - `rows`, and `items`, `prompts`, `assessments`, `users`, `preferences`, `favourites`.
pub(super) fn measure(root: &Path) -> BTreeMap<String, f64> {
    let mut attempt = 1;
    loop {
        let content = Opened::open(&root.join(CONTENT_DB));
        let users = Opened::open(&root.join(USERS_DB));
        let measures = read(root, content.as_ref(), users.as_ref());
        let disturbed = [&content, &users]
            .into_iter()
            .flatten()
            .any(Opened::was_disturbed);
        if !disturbed || attempt == ATTEMPTS {
            return measures;
        }
        attempt += 1;
    }
}

fn read(root: &Path, content: Option<&Opened>, users: Option<&Opened>) -> BTreeMap<String, f64> {
    let content = content.map(|opened| &opened.connection);
    let users = users.map(|opened| &opened.connection);
    let mut measures = BTreeMap::new();
    let whole = [content, users].map(|database| f64::from(u8::from(database.is_some_and(is_whole))));
    measures.insert("content_integrity_ok".to_owned(), whole[0]);
    measures.insert("users_integrity_ok".to_owned(), whole[1]);
    measures.insert("integrity_ok".to_owned(), whole[0] * whole[1]);

    let mut rows = 0.0;
    for (database, tables) in [
        (content, ["items", "prompts", "assessments"]),
        (users, ["users", "preferences", "favourites"]),
    ] {
        for table in tables {
            let count = database.and_then(|database| {
                database
                    .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
                        row.get::<_, f64>(0)
                    })
                    .ok()
            });
            rows += count.unwrap_or(0.0);
            measures.insert(table.to_owned(), count.unwrap_or(0.0));
        }
    }
    measures.insert("rows".to_owned(), rows);
    measures.insert("digests_intact".to_owned(), digests(content).share());
    measures.insert(
        "standards_resolved".to_owned(),
        standards_resolved(root, content).share(),
    );
    let references = references(content, users);
    measures.insert("references_intact".to_owned(), references.share());
    measures.insert("references".to_owned(), references.made as f64);
    measures.insert(
        "references_broken".to_owned(),
        (references.made - references.passed) as f64,
    );
    measures
}

fn is_whole(database: &Connection) -> bool {
    let answer = database.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    answer.is_ok_and(|answer| answer == "ok")
}

fn digests(content: Option<&Connection>) -> Tally {
    let mut tally = Tally::default();
    for sql in [
        "SELECT body, digest FROM items",
        "SELECT text, digest FROM prompts",
    ] {
        each(content, sql, &mut tally, |row, tally| {
            let (text, kept): (String, String) = (row.get(0)?, row.get(1)?);
            tally.check(digest(&text) == kept);
            Ok(())
        });
    }
    tally
}

fn standards_resolved(root: &Path, content: Option<&Connection>) -> Tally {
    let standards = standards(root);
    let mut tally = Tally::default();
    each(content, "SELECT standard FROM items", &mut tally, |row, tally| {
        tally.check(standards.contains(&row.get::<_, String>(0)?));
        Ok(())
    });
    tally
}

fn references(content: Option<&Connection>, users: Option<&Connection>) -> Tally {
    let item_ids = ids(content, "SELECT id FROM items");
    let prompt_ids = ids(content, "SELECT id FROM prompts");
    let user_ids = ids(users, "SELECT id FROM users");
    let mut tally = Tally::default();
    each(
        content,
        "SELECT prompt_id, author_id FROM items",
        &mut tally,
        |row, tally| {
            tally.check(prompt_ids.contains(&row.get(0)?));
            tally.check(user_ids.contains(&row.get(1)?));
            Ok(())
        },
    );
    for (database, sql, first, second) in [
        (
            content,
            "SELECT item_id, assessor_id FROM assessments",
            &item_ids,
            &user_ids,
        ),
        (
            users,
            "SELECT user_id, user_id FROM preferences",
            &user_ids,
            &user_ids,
        ),
        (
            users,
            "SELECT user_id, item_id FROM favourites",
            &user_ids,
            &item_ids,
        ),
    ] {
        each(database, sql, &mut tally, |row, tally| {
            tally.check(first.contains(&row.get(0)?));
            tally.check(second.contains(&row.get(1)?));
            Ok(())
        });
    }
    tally
}

/// Calls `act` with each row. A database, table or row that cannot be read is one failed check.
fn each(
    database: Option<&Connection>,
    sql: &str,
    tally: &mut Tally,
    mut act: impl FnMut(&Row<'_>, &mut Tally) -> rusqlite::Result<()>,
) {
    let mut walk = |database: &Connection, tally: &mut Tally| -> rusqlite::Result<()> {
        let mut statement = database.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            act(row, tally)?;
        }
        Ok(())
    };
    if database.is_none_or(|database| walk(database, tally).is_err()) {
        tally.check(false);
    }
}

fn ids(database: Option<&Connection>, sql: &str) -> HashSet<i64> {
    let mut ids = HashSet::new();
    // A failure shows where the ids are looked up: they are not there.
    each(database, sql, &mut Tally::default(), |row, _| {
        ids.insert(row.get(0)?);
        Ok(())
    });
    ids
}

/// Returns the codes of the standards that stand on disk under their own name.
fn standards(root: &Path) -> HashSet<String> {
    let mut codes = HashSet::new();
    for subject in SUBJECTS {
        for band in AGE_BANDS {
            let code = standard_code(subject, band);
            let path = root.join(format!("education/standards/{subject}-{band}.json"));
            if super::document(&path).is_some_and(|set| set["code"] == code.as_str()) {
                codes.insert(code);
            }
        }
    }
    codes
}
