//! Where everything of a La Factoria system stands below its root.
//!
//! ```text
//! .factoria                    the marker: without it nothing is ever damaged
//! security/                    policies/*.json permissions.json keys/*.key public/*.pub audit.log audit.checkpoint.json
//! cache/                       entries/<xx>/*.json, documents prepared by the optimiser; pending/ (empty)
//! education/                   frameworks/ quality_assessment/ content_patterns/ age_appropriateness/ blooms/ standards/
//! performance/                 config.json algorithms/ profiles/ of the optimiser, traces/ of requests
//! context/                     L1/ L2/ L3/ Markdown with an import graph, prompts/, current.md (a symbolic link)
//! quality/                     facts/ that contexts must hold, configuration and results of assessment
//! intelligence/ monitoring/ analytics/ reporting/
//! db/content.sqlite            content items, prompts, assessments (WAL mode, foreign keys)
//! users/users.sqlite           users and preferences
//! run/                         of the running system only: its address and lock; never captured
//! <folder>/.manifest.json      digests of the folder's static files (not in db/ and users/)
//! ```

use std::path::{Component as Part, Path};

use crate::error::FactoriaError;

/// The file at the root that says "this is a generated system, it may be damaged".
pub const MARKER: &str = ".factoria";
/// The value of `system` in the marker.
pub const MARKER_SYSTEM: &str = "la-factoria";
/// The name of the digests inside each component folder.
pub const MANIFEST: &str = ".manifest.json";
/// The content database, relative to the root.
pub const CONTENT_DB: &str = "db/content.sqlite";
/// The user database, relative to the root.
pub const USERS_DB: &str = "users/users.sqlite";
/// The audit log, relative to the root.
pub const AUDIT_LOG: &str = "security/audit.log";
/// The metrics log, relative to the root.
pub const METRICS_LOG: &str = "monitoring/metrics.log";
/// The folder of the running system, relative to the root; no part of a backup.
pub const RUN: &str = "run";
/// The anchor of the audit log, relative to the root: a sequence number and the hash it must carry.
pub const AUDIT_CHECKPOINT: &str = "security/audit.checkpoint.json";

/// One folder of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its name below the root.
    pub name: &'static str,
    /// Its share of the system's size, in per mille; all shares add up to 1000.
    pub share: u64,
    /// Whether it carries a manifest. The folders of databases do not: their files live.
    pub manifest: bool,
    /// Files below it that go on growing while the system runs, so no manifest can hold their digest.
    pub growing: &'static [&'static str],
}

const fn folder(name: &'static str, share: u64) -> Folder {
    Folder {
        name,
        share,
        manifest: true,
        growing: &[],
    }
}

/// The folders of a system, in the order in which they are made. The shares follow what such a service holds: most of it is context, cache and
/// content, little of it is configuration.
pub const FOLDERS: [Folder; 12] = [
    Folder {
        growing: &["audit.log"],
        ..folder("security", 40)
    },
    folder("education", 120),
    // The optimiser is configured for the documents, and makes the cache from both.
    folder("context", 220),
    folder("performance", 50),
    folder("cache", 130),
    folder("quality", 60),
    folder("intelligence", 90),
    Folder {
        growing: &["metrics.log"],
        ..folder("monitoring", 60)
    },
    folder("analytics", 50),
    folder("reporting", 40),
    Folder {
        manifest: false,
        ..folder("db", 120)
    },
    Folder {
        manifest: false,
        ..folder("users", 20)
    },
];

/// Returns the folder of that name.
pub fn find(name: &str) -> Option<&'static Folder> {
    FOLDERS.iter().find(|folder| folder.name == name)
}

/// Returns `path` in the form `folder/…` if it names a folder of the layout or something below one.
///
/// An absolute path, one with `..`, and one that starts with no known folder are refused: neither a probe
/// nor a damage leaves the layout.
pub fn part(path: &Path) -> Result<(&'static Folder, String), FactoriaError> {
    let refused = || FactoriaError::UnknownComponent {
        path: path.to_owned(),
        known: FOLDERS.map(|folder| folder.name).join(", "),
    };
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Part::CurDir => {}
            Part::Normal(name) => names.push(name.to_str().ok_or_else(refused)?),
            Part::Prefix(_) | Part::RootDir | Part::ParentDir => return Err(refused()),
        }
    }
    let folder = names.first().and_then(|name| find(name)).ok_or_else(refused)?;
    Ok((folder, names.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_add_up_to_the_whole_system() {
        assert_eq!(FOLDERS.iter().map(|folder| folder.share).sum::<u64>(), 1000);
    }

    #[test]
    fn a_path_outside_the_layout_is_refused_and_the_known_parts_are_named() {
        for path in [
            "/etc",
            "../security",
            "security/../..",
            "home",
            "",
            ".",
            ".factoria",
        ] {
            let error = part(Path::new(path)).unwrap_err().to_string();
            assert!(error.contains("security, education, context"), "{path}: {error}");
        }
        assert_eq!(part(Path::new("./db//content.sqlite")).unwrap().1, CONTENT_DB);
    }
}
