//! The source type `files`.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rekindle_model::entry::{EntryKind, TreeSource};
use rekindle_model::failure::Failure;
use rekindle_model::keys::Takes::{Text, Texts};
use rekindle_model::keys::{Format, Object, key};
use rekindle_model::source::Claim;
use serde::Deserialize;

use super::FilesTree;
use crate::component_source::{Captured, ComponentSource, Existing, RestorePlan, SourceContext};
use crate::failures::place_is_link;
use crate::place::{below, relative};
use crate::shape::Shape;
use crate::source_type::{self, SourceType};
use crate::task::blocking;

/// The type's entry in the registry.
pub(crate) const TYPE: SourceType = SourceType {
    text: "Files and folders.",
    keys: &Object {
        noun: "files",
        keys: &[
            key("path", Text(Format::Path), "The folder or file.").or("."),
            key(
                "include",
                Texts(Format::Glob),
                "What is captured, relative to `path`. Without it everything.",
            ),
            key(
                "exclude",
                Texts(Format::Glob),
                "What is left out, relative to `path`.",
            ),
        ],
    },
    read: source_type::read::<Files>,
};

/// Files and folders.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    #[serde(default = "root")]
    path: String,
    #[serde(default)]
    include: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
}

fn root() -> String {
    ".".to_owned()
}

#[async_trait]
impl ComponentSource for Files {
    fn describe(&self) -> String {
        let mut text = format!("the files in {}", self.path);
        if !self.include.is_empty() {
            text.push_str(&format!(" that match {}", self.include.join(", ")));
        }
        if !self.exclude.is_empty() {
            text.push_str(&format!(" without {}", self.exclude.join(", ")));
        }
        text
    }

    fn claim(&self) -> Option<Claim> {
        Some(Claim {
            path: self.path.clone(),
            include: self.include.clone(),
            exclude: self.exclude.clone(),
        })
    }

    /// A walk leaves out sockets, and entries that vanish.
    fn may_leave_out(&self) -> bool {
        true
    }

    async fn capture(&self, cx: &SourceContext<'_>) -> Result<Captured, Failure> {
        let path = below(cx.root, &self.path);
        let shape = Shape::of(&path);
        let (include, exclude, never) = (self.include.clone(), self.exclude.clone(), cx.never.to_vec());
        let tree = blocking(move || FilesTree::open(&path, &include, &exclude, &never)).await?;
        let tree = tree.leaving_out_unreadable();
        let notes = tree.notes();
        Ok(Captured {
            notes: Some(notes),
            ..Captured::new(tree, shape)
        })
    }

    fn existing(&self, root: &Path, never: &[PathBuf]) -> Result<Existing, Failure> {
        let mut found = Existing::default();
        let own = relative(&self.path);
        let place = root.join(&own);
        if place.symlink_metadata().is_err() {
            return Ok(found);
        }
        // The root itself is never moved, link or not.
        if !own.as_os_str().is_empty() && place.is_symlink() {
            return Err(place_is_link(&place));
        }
        if !own.as_os_str().is_empty() && !place.is_dir() {
            found.files.push(own);
            return Ok(found);
        }
        let mut walk = FilesTree::open(&place, &self.include, &self.exclude, never)?;
        while let Some(entry) = walk.next_entry()? {
            // The name of the tree's root is empty; joining it would end the path with a slash.
            let path = match entry.path.is_root() {
                true => own.clone(),
                false => own.join(entry.path.as_path()),
            };
            match entry.kind {
                EntryKind::Dir => found.folders.push(path),
                _ => found.files.push(path),
            }
        }
        Ok(found)
    }

    fn restore_plan(&self) -> RestorePlan<'_> {
        RestorePlan::AtPlace
    }
}
