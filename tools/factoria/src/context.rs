//! Loads one context document with everything that it imports, as a generator of content needs it.
//!
//! A document is in a layer, `L1` to `L3`, and begins with lines `@import <path>`, relative to `context/`.
//! Imported documents come before the importing one, and each comes once, however often it is imported.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Component as Part, Path};

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use crate::probe::regular;

const IMPORT: &str = "@import ";
/// The layers, the one that imports from all others first.
pub const LAYERS: [&str; 3] = ["L1", "L2", "L3"];

/// A context, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The document that was asked for, relative to `context/`.
    pub document: String,
    /// All documents that make it up, in the order of the text; the requested one is last.
    pub documents: Vec<String>,
    /// Imports followed, those of a document that was there already included.
    pub imports: u64,
    /// The text: that of all documents, without the import lines.
    pub text: String,
}

/// Why a context was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// There is no such layer.
    #[error("{layer:?} is no layer; the layers are L1, L2 and L3")]
    UnknownLayer {
        /// The name that was given.
        layer: String,
    },
    /// The path would leave the layer.
    #[error("{path:?} leads out of its layer; give a path below it, as mathematics/00001.md")]
    Outside {
        /// The path that was given.
        path: String,
    },
    /// There is no such document.
    #[error("there is no document {document}; ask without a path for the documents of a layer")]
    Unknown {
        /// The document, relative to `context/`.
        document: String,
    },
    /// A document is there and cannot be read, or one that it imports is not there: the context is not whole.
    #[error(
        "{document} cannot be read, which {importer} imports: {source}; recover the component that holds context/"
    )]
    Broken {
        /// The document, relative to `context/`.
        document: String,
        /// The document that imports it, or itself.
        importer: String,
        /// The system's reason.
        source: io::Error,
    },
}

/// Loads the document at `path` of `layer`. The path is relative to the layer, or begins with its name.
pub fn load(root: &Path, layer: &str, path: &str) -> Result<Context, ContextError> {
    let layer = known(layer)?;
    let within = path.strip_prefix(layer).and_then(|rest| rest.strip_prefix('/'));
    let within = within.unwrap_or(path);
    if within.is_empty() || !stays_below(within) {
        return Err(ContextError::Outside {
            path: path.to_owned(),
        });
    }
    let base = root.join("context");
    let document = format!("{layer}/{within}");
    match fs::symlink_metadata(base.join(&document)) {
        Ok(on_disk) if !on_disk.is_dir() => {}
        _ => return Err(ContextError::Unknown { document }),
    }
    resolve(&base, document)
}

/// Returns the documents of a layer, relative to `context/`, sorted.
pub fn documents(root: &Path, layer: &str) -> Result<Vec<String>, ContextError> {
    let base = root.join("context");
    let walk = WalkDir::new(base.join(known(layer)?)).sort_by_file_name();
    let mut documents = Vec::new();
    for entry in walk {
        let entry = entry.map_err(|error| ContextError::Broken {
            document: layer.to_owned(),
            importer: layer.to_owned(),
            source: error.into(),
        })?;
        if entry.file_type().is_file()
            && let Ok(path) = entry.path().strip_prefix(&base)
        {
            documents.push(path.to_string_lossy().into_owned());
        }
    }
    Ok(documents)
}

fn known(layer: &str) -> Result<&'static str, ContextError> {
    let found = LAYERS.into_iter().find(|known| *known == layer);
    found.ok_or_else(|| ContextError::UnknownLayer {
        layer: layer.to_owned(),
    })
}

fn stays_below(path: &str) -> bool {
    Path::new(path)
        .components()
        .all(|part| matches!(part, Part::Normal(_)))
}

/// A document whose imports are being followed.
struct Pending {
    document: String,
    imports: std::vec::IntoIter<String>,
    text: String,
}

/// Goes through the import graph depth first, without recursion: how deep it is, is the data's choice.
fn resolve(base: &Path, document: String) -> Result<Context, ContextError> {
    let mut context = Context {
        document: document.clone(),
        documents: Vec::new(),
        imports: 0,
        text: String::new(),
    };
    // A document that imports itself over others is met here before it is done, and not entered again.
    let mut met = HashSet::from([document.clone()]);
    let mut stack = vec![open(base, document.clone(), &document)?];
    while let Some(top) = stack.last_mut() {
        if let Some(import) = top.imports.next() {
            context.imports += 1;
            if met.insert(import.clone()) {
                let importer = top.document.clone();
                stack.push(open(base, import, &importer)?);
            }
        } else if let Some(done) = stack.pop() {
            context.text.push_str(&done.text);
            context.documents.push(done.document);
        }
    }
    Ok(context)
}

fn open(base: &Path, document: String, importer: &str) -> Result<Pending, ContextError> {
    let path = base.join(&document);
    let read = || -> io::Result<String> {
        if !stays_below(&document) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it leads out of context/",
            ));
        }
        // A link could lead anywhere: what it leads to must stand below context/.
        if !path.canonicalize()?.starts_with(base.canonicalize()?) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a link leads out of context/",
            ));
        }
        regular(&path)?;
        fs::read_to_string(&path)
    };
    let whole = read().map_err(|source| ContextError::Broken {
        document: document.clone(),
        importer: importer.to_owned(),
        source,
    })?;
    let mut imports = Vec::new();
    let mut text = String::with_capacity(whole.len());
    for line in whole.split_inclusive('\n') {
        match line.strip_prefix(IMPORT) {
            Some(import) => imports.push(import.trim().to_owned()),
            None => text.push_str(line),
        }
    }
    Ok(Pending {
        document,
        imports: imports.into_iter(),
        text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(documents: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in documents {
            let path = root.path().join("context").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn what_is_imported_comes_first_and_once_also_in_a_circle() {
        let root = system(&[
            ("L1/a.md", "@import L2/b.md\n@import L2/c.md\nA\n"),
            ("L2/b.md", "@import L3/d.md\nB\n"),
            ("L2/c.md", "@import L3/d.md\n@import L1/a.md\nC\n"),
            ("L3/d.md", "D\n"),
        ]);
        for path in ["a.md", "L1/a.md"] {
            let context = load(root.path(), "L1", path).unwrap();
            assert_eq!(context.text, "D\nB\nC\nA\n");
            assert_eq!(context.documents, ["L3/d.md", "L2/b.md", "L2/c.md", "L1/a.md"]);
            assert_eq!(context.imports, 5);
        }
        assert_eq!(documents(root.path(), "L2").unwrap(), ["L2/b.md", "L2/c.md"]);
    }

    #[test]
    fn no_path_and_no_import_leads_out_of_the_contexts() {
        let root = system(&[
            ("L1/a.md", "@import ../secret\n"),
            ("L1/b.md", "@import L2/link.md\n"),
            ("L2/x.md", ""),
        ]);
        fs::write(root.path().join("secret"), "mine").unwrap();
        std::os::unix::fs::symlink("../../secret", root.path().join("context/L2/link.md")).unwrap();
        for path in ["../../secret", "/etc/passwd", "", "x/../../../secret"] {
            let refused = load(root.path(), "L1", path);
            assert!(
                matches!(refused, Err(ContextError::Outside { .. })),
                "{path}: {refused:?}"
            );
        }
        for path in ["a.md", "b.md"] {
            let refused = load(root.path(), "L1", path);
            assert!(
                matches!(refused, Err(ContextError::Broken { .. })),
                "{path}: {refused:?}"
            );
        }
        assert!(matches!(
            load(root.path(), "L4", "a.md"),
            Err(ContextError::UnknownLayer { .. })
        ));
        assert!(matches!(
            load(root.path(), "L1", "z.md"),
            Err(ContextError::Unknown { .. })
        ));
    }

    #[test]
    fn an_import_that_is_not_there_is_told_with_its_importer() {
        let root = system(&[("L1/a.md", "@import L2/gone.md\n")]);
        let message = load(root.path(), "L1", "a.md").unwrap_err().to_string();
        assert!(
            message.contains("L2/gone.md") && message.contains("L1/a.md"),
            "{message}"
        );
    }
}
