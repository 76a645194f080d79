//! The content database of a running system: assessments, and now and then a new item, one transaction each.
//!
//! Each transaction also adds a row to `activity`, with the record's number and stamp and the row it stands for:
//! either both are there or neither.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};

use super::{Act, Identity, Store, Turn};
use crate::assess::{Assessment, Item, JUDGED, Rules, assess};
use crate::compose::{self, Piece, Wanted};
use crate::curriculum::Curriculum;
use crate::error::FactoriaError;
use crate::frameworks::CONTENT_TYPES;
use crate::generate::content_db::digest;
use crate::lacking::Lacking;
use crate::layout::{CONTENT_DB, USERS_DB};
use crate::probe::database::Opened;
use crate::stamps::number;
use crate::text::Prose;

/// How long a transaction waits for another writer.
const BUSY: Duration = Duration::from_secs(5);
/// One in so many records is a new item, the others are assessments: people judge more than they write.
const ITEM_EVERY: u64 = 8;
/// How much longer than the shortest an item may be, in bytes.
const SPREAD: usize = 2_000;
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS activity (seq INTEGER PRIMARY KEY, stamp INTEGER NOT NULL UNIQUE,
        at TEXT NOT NULL, kind TEXT NOT NULL CHECK (kind IN ('item', 'assessment')), row_id INTEGER NOT NULL);
";

/// The content database, open for writing.
pub(in crate::serve) struct ContentStore {
    connection: Connection,
    path: PathBuf,
    identity: Identity,
    newest: Option<u64>,
    users: Vec<i64>,
    author: Author,
}

/// Makes what is written: new items, and assessments of items.
struct Author {
    root: PathBuf,
    /// As it was at the start.
    curriculum: Curriculum,
    rules: Rules,
    prose: Prose,
}

impl ContentStore {
    /// Opens the database of the system at `root`; it must be there.
    pub(in crate::serve) fn open(root: &Path) -> Result<Self, FactoriaError> {
        let path = root.join(CONTENT_DB);
        let about = fs::symlink_metadata(&path).map_err(FactoriaError::io("open", &path))?;
        let users = users(root)?;
        let (curriculum, rules) = (Curriculum::read(root), Rules::read(root));
        if !curriculum.is_whole() || !rules.are_whole() {
            // Going on would keep assessments that say nothing of the items.
            return Err(FactoriaError::content(root)(Lacking {
                content_type: "assessment".to_owned(),
                what: "every document that it reads".to_owned(),
            }));
        }
        let failed = FactoriaError::database(&path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(&failed)?;
        connection.busy_timeout(BUSY).map_err(&failed)?;
        // FULL: a transaction is on disk when it returns, which its stamp relies on.
        connection
            .execute_batch(&format!(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; {SCHEMA}"
            ))
            .map_err(&failed)?;
        let newest: Option<i64> = connection
            .query_row("SELECT max(stamp) FROM activity", [], |row| row.get(0))
            .map_err(&failed)?;
        let newest = newest.map(number);
        Ok(Self {
            connection,
            path,
            identity: Identity::of(&about),
            newest,
            users,
            author: Author {
                root: root.to_owned(),
                curriculum,
                rules,
                // Texts of one start differ from those of the next.
                prose: Prose::new(newest.unwrap_or(0), "serve/content"),
            },
        })
    }
}

impl Store for ContentStore {
    fn newest(&self) -> Option<u64> {
        self.newest
    }

    fn append(&mut self, turn: &Turn<'_>) -> Result<(), FactoriaError> {
        self.identity.check(&self.path)?;
        let user = *self.author.prose.rng().pick(&self.users);
        let failed = FactoriaError::database(&self.path);
        let act = record(&mut self.connection, &mut self.author, user, turn, &failed)?;
        if act.action == "generate" {
            turn.live.items.fetch_add(1, Ordering::Relaxed);
        }
        *turn.live.act.lock().unwrap_or_else(PoisonError::into_inner) = Some(act);
        self.newest = Some(turn.stamp);
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), FactoriaError> {
        let failed = FactoriaError::database(&self.path);
        // Closing the last connection folds the log into the file and removes it. If the file was replaced meanwhile,
        // SQLite itself leaves the new one alone.
        self.connection.close().map_err(|(_, error)| failed(error))
    }
}

fn record(
    connection: &mut Connection,
    author: &mut Author,
    user: i64,
    turn: &Turn<'_>,
    failed: &impl Fn(rusqlite::Error) -> FactoriaError,
) -> Result<Act, FactoriaError> {
    // Immediate: a transaction that reads first could fail to become a writer.
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let seq: i64 = transaction
        .query_row("SELECT coalesce(max(seq), 0) + 1 FROM activity", [], |row| {
            row.get(0)
        })
        .map_err(failed)?;
    let (kind, row_id, act) = if number(seq).is_multiple_of(ITEM_EVERY) {
        let kind = CONTENT_TYPES[(number(seq) / ITEM_EVERY) as usize % CONTENT_TYPES.len()];
        let (wanted, piece) = compose::author(&author.curriculum, kind, SPREAD, &mut author.prose)
            .map_err(FactoriaError::content(&author.root))?;
        let id = insert(&transaction, &wanted, &piece, user, &turn.at).map_err(failed)?;
        ("item", id, ("author", "generate", format!("item {id}: {kind}")))
    } else {
        let (id, item) = assessment(&transaction, author, user).map_err(failed)?;
        (
            "assessment",
            id,
            ("teacher", "assess", format!("assessment {id} of item {item}")),
        )
    };
    transaction
        .execute(
            "INSERT INTO activity (seq, stamp, at, kind, row_id) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![seq, turn.stamp as i64, turn.at, kind, row_id],
        )
        .map_err(failed)?;
    transaction.commit().map_err(failed)?;
    let (role, action, note) = act;
    Ok(Act {
        role,
        user,
        action,
        note,
    })
}

/// Writes a new item and returns its id.
fn insert(
    transaction: &Transaction<'_>,
    wanted: &Wanted<'_>,
    piece: &Piece,
    author: i64,
    at: &str,
) -> rusqlite::Result<i64> {
    let prompt: i64 = transaction.query_row(
        "SELECT id FROM prompts WHERE content_type = ?1 ORDER BY version DESC LIMIT 1",
        [wanted.content_type],
        |row| row.get(0),
    )?;
    transaction.execute(
        "INSERT INTO items (content_type, title, audience, standard, author_id, prompt_id, created_at, body, digest)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            wanted.content_type,
            piece.title,
            wanted.audience,
            piece.standard,
            author,
            prompt,
            at,
            piece.body,
            digest(&piece.body)
        ],
    )?;
    Ok(transaction.last_insert_rowid())
}

/// Assesses any item in one of the judged dimensions; returns the assessment's id and the item's.
fn assessment(
    transaction: &Transaction<'_>,
    author: &mut Author,
    assessor: i64,
) -> rusqlite::Result<(i64, i64)> {
    let newest: i64 =
        transaction.query_row("SELECT coalesce(max(id), 0) FROM items", [], |row| row.get(0))?;
    let from = 1 + author.prose.rng().below(number(newest));
    let (id, found): (i64, Assessment) = transaction.query_row(
        "SELECT id, content_type, audience, standard, body FROM items WHERE id >= ?1 ORDER BY id LIMIT 1",
        [from as i64],
        |row| {
            let (kind, audience): (String, String) = (row.get(1)?, row.get(2)?);
            let (standard, body): (String, String) = (row.get(3)?, row.get(4)?);
            let item = Item {
                content_type: &kind,
                audience: &audience,
                standard: &standard,
                body: &body,
            };
            Ok((row.get(0)?, assess(&author.curriculum, &author.rules, &item)))
        },
    )?;
    let judged = author.prose.rng().below_usize(JUDGED.len());
    transaction.execute(
        "INSERT INTO assessments (item_id, assessor_id, dimension, score, comment) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![id, assessor, JUDGED[judged], found.judged()[judged], found.comment],
    )?;
    Ok((transaction.last_insert_rowid(), id))
}

/// Returns the ids of all users: what is written refers to people who are there.
fn users(root: &Path) -> Result<Vec<i64>, FactoriaError> {
    let path = root.join(USERS_DB);
    let failed = FactoriaError::database(&path);
    let Some(opened) = Opened::open(&path) else {
        let why = std::io::Error::new(std::io::ErrorKind::InvalidData, "it is absent or no database");
        return Err(FactoriaError::io("read", &path)(why));
    };
    let read = || -> rusqlite::Result<Vec<i64>> {
        let mut statement = opened.connection.prepare("SELECT id FROM users")?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    let users = read().map_err(&failed)?;
    match users.is_empty() {
        true => Err(failed(rusqlite::Error::QueryReturnedNoRows)),
        false => Ok(users),
    }
}
