//! Files against the manifests that were restored with them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use walkdir::WalkDir;

use super::tally::Tally;
use crate::error::FactoriaError;
use crate::layout::{self, FOLDERS, Folder, MANIFEST};
use crate::manifest::{Found, Manifest};

/// Measures the files of `component`, or of all folders.
///
/// - `files`, `bytes`: regular files there, manifests included, and their length.
/// - `manifest_match`: share of the entries listed below `component` that are there with the same content, type
///   and mode; 0 without a manifest. Not given for the database folders, which carry none.
/// - `entries_listed`, `entries_missing`, `entries_altered`, `entries_other_mode`, `files_unlisted`: the counts.
pub(super) fn measure(root: &Path, component: Option<&Path>) -> Result<BTreeMap<String, f64>, FactoriaError> {
    let mut count = Count::default();
    match component {
        Some(path) => {
            let (folder, relative) = layout::part(path)?;
            count.folder(root, folder, &relative);
        }
        None => FOLDERS
            .iter()
            .for_each(|folder| count.folder(root, folder, folder.name)),
    }
    Ok(count.measures())
}

#[derive(Default)]
struct Count {
    files: u64,
    bytes: u64,
    listed: Tally,
    missing: u64,
    altered: u64,
    other_mode: u64,
    unlisted: u64,
    judged: bool,
}

impl Count {
    fn folder(&mut self, root: &Path, folder: &Folder, relative: &str) {
        let base = root.join(folder.name);
        let within = relative
            .strip_prefix(folder.name)
            .unwrap_or("")
            .trim_start_matches('/');
        let manifest = if folder.manifest {
            Manifest::read(&base)
        } else {
            None
        };
        for entry in WalkDir::new(root.join(relative))
            .follow_root_links(false)
            .into_iter()
            .filter_map(Result::ok)
        {
            if !entry.file_type().is_file() {
                continue;
            }
            self.files += 1;
            self.bytes += entry.metadata().map_or(0, |on_disk| on_disk.len());
            let path = entry
                .path()
                .strip_prefix(&base)
                .unwrap_or(entry.path())
                .to_string_lossy();
            let known = manifest.as_ref().is_some_and(|manifest| {
                manifest.entries.contains_key(&*path) || manifest.growing.iter().any(|name| *name == *path)
            });
            self.unlisted += u64::from(folder.manifest && !known && path != MANIFEST);
        }
        if !folder.manifest || folder.growing.contains(&within) {
            return;
        }
        self.judged = true;
        let Some(manifest) = manifest else {
            // Without the list no file is known to be whole, even if files exist.
            self.missing += u64::from(!self.listed.check(false));
            return;
        };
        // A file that grows has no digest, but it must be there.
        for name in folder.growing.iter().filter(|name| is_below(name, within)) {
            let there = fs::symlink_metadata(base.join(name)).is_ok_and(|on_disk| on_disk.is_file());
            self.missing += u64::from(!self.listed.check(there));
        }
        for (path, entry) in manifest.entries.iter().filter(|(path, _)| is_below(path, within)) {
            self.entry(entry.compare(&base, path));
        }
    }

    fn entry(&mut self, found: Found) {
        self.listed.check(found == Found::Same);
        match found {
            Found::Same => {}
            Found::OtherMode => self.other_mode += 1,
            Found::Altered => self.altered += 1,
            Found::Missing => self.missing += 1,
        }
    }

    fn measures(&self) -> BTreeMap<String, f64> {
        let mut measures = BTreeMap::from([
            ("files".to_owned(), self.files as f64),
            ("bytes".to_owned(), self.bytes as f64),
        ]);
        if self.judged {
            measures.insert("manifest_match".to_owned(), self.listed.share());
            for (name, value) in [
                ("entries_listed", self.listed.made),
                ("entries_missing", self.missing),
                ("entries_altered", self.altered),
                ("entries_other_mode", self.other_mode),
                ("files_unlisted", self.unlisted),
            ] {
                measures.insert(name.to_owned(), value as f64);
            }
        }
        measures
    }
}

fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path == folder
        || path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
}
