//! The source type `sqlite`.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rekindle_model::failure::Failure;
use rekindle_model::keys::Takes::Text;
use rekindle_model::keys::{Format, Object, key};
use rekindle_model::source::Claim;
use serde::Deserialize;
use serde_json::json;

use super::{SIDECARS, SqliteTree, beside, capture, put_back};
use crate::component_source::{Captured, ComponentSource, Existing, PutInPlace, RestorePlan, SourceContext};
use crate::failures::{self, place_is_link};
use crate::place::{below, relative};
use crate::private;
use crate::shape::Shape;
use crate::source_type::{self, SourceType};
use crate::task::blocking;

/// The type's entry in the registry.
pub(crate) const TYPE: SourceType = SourceType {
    text: "A live SQLite database.",
    keys: &Object {
        noun: "sqlite",
        keys: &[key(
            "path",
            Text(Format::Path),
            "The database file. The database may be in use.",
        )
        .required()],
    },
    read: source_type::read::<Sqlite>,
};

/// A live SQLite database.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sqlite {
    path: String,
}

#[async_trait]
impl ComponentSource for Sqlite {
    fn describe(&self) -> String {
        format!("the SQLite database {}", self.path)
    }

    fn claim(&self) -> Option<Claim> {
        Some(Claim {
            path: self.path.clone(),
            ..Claim::default()
        })
    }

    async fn capture(&self, cx: &SourceContext<'_>) -> Result<Captured, Failure> {
        private::create_dir_all(cx.staging)
            .map_err(|error| failures::io(&cx.staging.display().to_string(), &error))?;
        // An earlier attempt that timed out may still be in its last step, so each attempt has its own file.
        let copy = cx.staging.join(format!("database-{}", cx.attempt));
        let database = below(cx.root, &self.path);
        let stop = cx.stop.child_token();
        let _over = stop.clone().drop_guard();
        let captured = blocking(move || capture(&database, &copy, &|| stop.is_cancelled())).await?;
        let facts = [
            ("pages", json!(captured.pages)),
            ("database_bytes", json!(captured.bytes)),
        ];
        Ok(Captured {
            facts: facts
                .map(|(name, fact)| (name.to_owned(), fact))
                .into_iter()
                .collect(),
            ..Captured::new(SqliteTree::new(captured), Shape::File)
        })
    }

    fn existing(&self, root: &Path, _never: &[PathBuf]) -> Result<Existing, Failure> {
        let own = relative(&self.path);
        if root.join(&own).is_symlink() {
            return Err(place_is_link(&root.join(&own)));
        }
        let sidecars = SIDECARS.iter().map(|suffix| beside(&own, suffix));
        let all = std::iter::once(own.clone()).chain(sidecars);
        Ok(Existing {
            files: all
                .filter(|path| root.join(path).symlink_metadata().is_ok())
                .collect(),
            folders: Vec::new(),
        })
    }

    fn restore_plan(&self) -> RestorePlan<'_> {
        RestorePlan::Beside(self)
    }
}

/// The sidecars that SQLite would replay into the next database of that name.
const REPLAYED: [&str; 2] = ["-wal", "-journal"];

impl PutInPlace for Sqlite {
    fn is_disturbed(&self, place: &Path) -> bool {
        REPLAYED.iter().any(|suffix| beside(place, suffix).exists())
    }

    fn put(&self, staged: &Path, place: &Path, aside: &Path) -> Result<(), Failure> {
        let staged = staged.join(place.file_name().unwrap_or_default());
        let log = |stage| tracing::debug!(?stage, "putting a database back");
        let put = put_back(&staged, place, aside, &mut { log })?;
        for displaced in &put.displaced {
            tracing::info!(path = %displaced.display(), "displaced by a restored database");
        }
        Ok(())
    }
}
