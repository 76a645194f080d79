//! The user database: users, their preferences, and items of the content database they marked.

use rusqlite::params;

use super::content_db::{Database, FIRST_USER};
use super::fill;
use super::writer::Writer;
use crate::error::FactoriaError;
use crate::frameworks::{AGE_BANDS, SUBJECTS};

/// What a user takes with profile, preferences and indexes, measured: it turns the folder's share into a number
/// of users, which the content database must know before the users are written.
const BYTES_PER_USER: u64 = 1_180;

const SCHEMA: &str = "
    CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL UNIQUE,
        band TEXT NOT NULL, created_at TEXT NOT NULL, profile TEXT NOT NULL);
    CREATE TABLE preferences (user_id INTEGER NOT NULL REFERENCES users(id), name TEXT NOT NULL,
        value TEXT NOT NULL, PRIMARY KEY (user_id, name)) WITHOUT ROWID;
    CREATE TABLE favourites (user_id INTEGER NOT NULL REFERENCES users(id), item_id INTEGER NOT NULL,
        PRIMARY KEY (user_id, item_id)) WITHOUT ROWID;
";

/// Returns how many users a system of that size has.
pub(super) fn users(size_bytes: u64) -> u64 {
    let share = crate::layout::find("users").map_or(0, |folder| folder.share);
    (size_bytes / 1000 * share / BYTES_PER_USER).max(8)
}

pub(super) fn write(writer: &mut Writer, users: u64, items: u64) -> Result<(), FactoriaError> {
    let mut prose = writer.prose("users");
    let mut database = Database::create(writer, "users.sqlite", SCHEMA)?;
    let failed = FactoriaError::database(&database.path);
    for id in FIRST_USER..FIRST_USER + users {
        let band = *prose.rng().pick(&AGE_BANDS);
        let name = prose.title_text();
        database
            .insert(
                "INSERT INTO users VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    id as i64,
                    name,
                    format!("user{id}@example.org"),
                    band,
                    fill::at(prose.rng().below(2_000_000)),
                    prose.paragraph_text(),
                ],
            )
            .map_err(&failed)?;
        let preferences = [
            ("subject", (*prose.rng().pick(&SUBJECTS)).to_owned()),
            ("session_minutes", (10 + 5 * prose.rng().below(10)).to_string()),
            (
                "difficulty",
                (*prose.rng().pick(&["easy", "normal", "hard"])).to_owned(),
            ),
            ("greeting", prose.title_text()),
        ];
        for (name, value) in preferences {
            database
                .insert(
                    "INSERT INTO preferences VALUES (?1, ?2, ?3)",
                    params![id as i64, name, value],
                )
                .map_err(&failed)?;
        }
        for _ in 0..2 {
            let item = 1 + prose.rng().below(items);
            database
                .insert(
                    "INSERT OR IGNORE INTO favourites VALUES (?1, ?2)",
                    params![id as i64, item as i64],
                )
                .map_err(&failed)?;
        }
    }
    database.close(writer, "users.sqlite", 0o640)
}
