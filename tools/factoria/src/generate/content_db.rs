//! The content database: prompts, content items of all 8 types, and assessments of items by users.

use std::path::PathBuf;

use rusqlite::{Connection, Params, params};

use super::fill;
use super::writer::Writer;
use crate::assess::{Item, JUDGED, Rules, assess};
use crate::compose::{Piece, Wanted, author};
use crate::curriculum::Curriculum;
use crate::error::FactoriaError;
use crate::frameworks::{CONTENT_TYPES, built_in};
use crate::text::Prose;

/// The first user's id; ids of users and items differ, so that a mixed-up reference does not resolve by luck.
pub(crate) const FIRST_USER: u64 = 100_001;
/// Versions of each type's prompt.
const PROMPT_VERSIONS: u64 = 3;

const SCHEMA: &str = "
    CREATE TABLE prompts (id INTEGER PRIMARY KEY, content_type TEXT NOT NULL, version INTEGER NOT NULL,
        text TEXT NOT NULL, digest TEXT NOT NULL, UNIQUE (content_type, version));
    CREATE TABLE items (id INTEGER PRIMARY KEY AUTOINCREMENT, content_type TEXT NOT NULL, title TEXT NOT NULL,
        audience TEXT NOT NULL, standard TEXT NOT NULL, author_id INTEGER NOT NULL,
        prompt_id INTEGER NOT NULL REFERENCES prompts(id), created_at TEXT NOT NULL,
        body TEXT NOT NULL, digest TEXT NOT NULL);
    CREATE TABLE assessments (id INTEGER PRIMARY KEY AUTOINCREMENT,
        item_id INTEGER NOT NULL REFERENCES items(id), assessor_id INTEGER NOT NULL,
        dimension TEXT NOT NULL, score REAL NOT NULL, comment TEXT NOT NULL);
    CREATE INDEX items_by_type ON items(content_type);
    CREATE INDEX assessments_by_item ON assessments(item_id);
";

/// Writes the database until the folder's share is used up, and returns the number of items.
pub(super) fn write(writer: &mut Writer, users: u64) -> Result<u64, FactoriaError> {
    let budget = writer.left();
    // Texts of up to 10 kB, and shorter ones where only a few would fit.
    let spread = (budget / 32).min(8_000);
    let mut prose = writer.prose("items");
    let mut database = Database::create(writer, "content.sqlite", SCHEMA)?;
    let failed = FactoriaError::database(&database.path);
    prompts(&mut database, &mut prose).map_err(&failed)?;
    let root = writer.root();
    let rules = built_in("quality_assessment")
        .map_err(FactoriaError::json("quality_assessment"))?
        .into();
    let desk = Desk {
        curriculum: Curriculum::read(&root),
        rules: Rules::of(&rules),
        users,
    };
    let mut items = 0;
    // Each type at least twice, however small the system; the size is looked at once a round of types.
    while items < 16 || database.bytes().map_err(&failed)? < budget {
        for kind in CONTENT_TYPES {
            items += 1;
            let (wanted, piece) = author(&desk.curriculum, kind, spread as usize, &mut prose)
                .map_err(FactoriaError::content(&root))?;
            desk.insert(&mut database, &mut prose, items, &wanted, &piece)
                .map_err(&failed)?;
        }
    }
    database.close(writer, "content.sqlite", 0o640)?;
    Ok(items)
}

fn prompts(database: &mut Database, prose: &mut Prose) -> rusqlite::Result<()> {
    for (kind, name) in CONTENT_TYPES.iter().enumerate() {
        for version in 1..=PROMPT_VERSIONS {
            let text = prose.paragraph_text();
            database.insert(
                "INSERT INTO prompts VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    prompt_id(kind, version),
                    name,
                    version as i64,
                    text,
                    digest(&text)
                ],
            )?;
        }
    }
    Ok(())
}

/// What items are written and assessed with.
struct Desk {
    curriculum: Curriculum,
    rules: Rules,
    users: u64,
}

impl Desk {
    fn insert(
        &self,
        database: &mut Database,
        prose: &mut Prose,
        id: u64,
        wanted: &Wanted<'_>,
        piece: &Piece,
    ) -> rusqlite::Result<()> {
        let user = |prose: &mut Prose| (FIRST_USER + prose.rng().below(self.users)) as i64;
        let version = 1 + prose.rng().below(PROMPT_VERSIONS);
        let kind = CONTENT_TYPES.iter().position(|kind| *kind == wanted.content_type);
        database.insert(
            "INSERT INTO items VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                id as i64,
                wanted.content_type,
                piece.title,
                wanted.audience,
                piece.standard,
                user(prose),
                prompt_id(kind.unwrap_or(0), version),
                fill::at(id * 53),
                piece.body,
                digest(&piece.body),
            ],
        )?;
        let item = Item {
            content_type: wanted.content_type,
            audience: wanted.audience,
            standard: &piece.standard,
            body: &piece.body,
        };
        let assessment = assess(&self.curriculum, &self.rules, &item);
        for (dimension, score) in JUDGED.iter().zip(assessment.judged()) {
            database.insert(
                "INSERT INTO assessments (item_id, assessor_id, dimension, score, comment) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![id as i64, user(prose), dimension, score, assessment.comment],
            )?;
        }
        Ok(())
    }
}

fn prompt_id(kind: usize, version: u64) -> i64 {
    (kind as u64 * PROMPT_VERSIONS + version) as i64
}

/// The digest that a row keeps of its text, so that a changed text shows even where SQLite sees a sound page.
pub(crate) fn digest(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().as_str()[..32].to_owned()
}

/// A database being filled, in one transaction and without a log: an interrupted generation starts again in any case.
pub(super) struct Database {
    connection: Connection,
    pub(super) path: PathBuf,
}

impl Database {
    pub(super) fn create(writer: &mut Writer, name: &str, schema: &str) -> Result<Self, FactoriaError> {
        let path = writer.outside(name)?;
        let failed = FactoriaError::database(&path);
        let connection = Connection::open(&path).map_err(&failed)?;
        connection
            .execute_batch(&format!(
                "PRAGMA page_size=4096; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA foreign_keys=ON;
                 BEGIN; {schema}"
            ))
            .map_err(&failed)?;
        Ok(Self { connection, path })
    }

    pub(super) fn insert(&mut self, sql: &str, row: impl Params) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute(row).map(|_| ())
    }

    /// Returns the size so far, what is not yet on disk included.
    pub(super) fn bytes(&self) -> rusqlite::Result<u64> {
        let pages: i64 = self
            .connection
            .query_row("PRAGMA page_count", [], |row| row.get(0))?;
        Ok(u64::try_from(pages).unwrap_or(0) * 4096)
    }

    /// Commits, switches to WAL mode for the system's own use, and hands the file to the writer.
    pub(super) fn close(self, writer: &mut Writer, name: &str, mode: u32) -> Result<(), FactoriaError> {
        let failed = FactoriaError::database(&self.path);
        self.connection
            .execute_batch("COMMIT; PRAGMA journal_mode=WAL;")
            .map_err(&failed)?;
        // Closing the last connection folds the log into the file and removes it.
        self.connection.close().map_err(|(_, error)| failed(error))?;
        writer.took(name, mode)
    }
}
