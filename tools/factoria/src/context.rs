//! Finds the documents that make up one context: the document of a request, and what it imports.
//!
//! A document is in a layer, `L1` to `L3`, and begins with lines `@import <path>`, relative to `context/`.
//! Imported documents come before the importing one, and each comes once, however often it is imported.
//! [`Limits`] bound the search, so the work for one request does not grow with the system. What is missing or
//! cannot be read is named in [`Closure::missing`]: the caller decides what an incomplete context is worth.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Component as Part, Path};

use crate::bounded;

const IMPORT: &str = "@import ";
/// The layers, the one that imports from all others first.
pub const LAYERS: [&str; 3] = ["L1", "L2", "L3"];
/// The longest document that is read, in bytes. The generator writes none above half of it.
pub const DOCUMENT_BYTES: u64 = 256 << 10;
/// The longest context that is read, in bytes: a hundred times a generated one.
const CONTEXT_BYTES: usize = 1 << 20;

/// How far imports are followed.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// Imports in a row; 0 reads the requested document alone.
    pub depth: usize,
    /// Documents in all.
    pub documents: usize,
    /// Layers whose documents are read; `None` means all.
    pub layers: Option<&'a [String]>,
}

impl Limits<'_> {
    /// What an unoptimised load follows: everything. The numbers only stop what no system needs; the generated
    /// documents import at depth 2 and lead to 4 documents.
    pub const EVERYTHING: Self = Self {
        depth: 16,
        documents: 64,
        layers: None,
    };
}

/// One document of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its path relative to `context/`.
    pub path: String,
    /// Its text without the import lines.
    pub text: String,
}

impl Document {
    /// Returns the layer: the first part of the path.
    pub fn layer(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }
}

/// The documents of one context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closure {
    /// What was read, in the order of the text; the requested document is last.
    pub documents: Vec<Document>,
    /// What could not be read, each with the reason.
    pub missing: Vec<String>,
}

/// Reads `document` and what it imports, within the limits. `base` is the folder `context/`.
pub fn closure(base: &Path, document: &str, limits: Limits<'_>) -> Closure {
    let mut found = Closure::default();
    let mut bytes = 0;
    let mut open = |path: &str, stack: &mut Vec<Pending>, missing: &mut Vec<String>| {
        let opened = Pending::open(base, path.to_owned()).and_then(|pending| {
            bytes += pending.document.text.len();
            match bytes <= CONTEXT_BYTES {
                true => Ok(pending),
                false => Err(refused("the context would be longer than 1 MiB")),
            }
        });
        match opened {
            Ok(pending) => stack.push(pending),
            Err(error) => missing.push(format!("{path}: {error}")),
        }
    };
    // A document that imports itself over others is met here before it is done, and not entered again.
    let mut met = HashSet::from([document.to_owned()]);
    let mut stack = Vec::new();
    open(document, &mut stack, &mut found.missing);
    // Depth first, without recursion: how deep the imports lead is the data's choice.
    while let Some(top) = stack.last_mut() {
        if let Some(import) = top.imports.next() {
            let layer = import.split('/').next().unwrap_or_default();
            let selected = limits
                .layers
                .is_none_or(|layers| layers.iter().any(|name| name == layer));
            let within = stack.len() <= limits.depth && met.len() < limits.documents;
            if selected && within && met.insert(import.clone()) {
                open(&import, &mut stack, &mut found.missing);
            }
        } else if let Some(done) = stack.pop() {
            found.documents.push(done.document);
        }
    }
    found
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Reads one document, without its imports.
pub fn document(base: &Path, path: &str) -> io::Result<Document> {
    Ok(Pending::open(base, path.to_owned())?.document)
}

/// A document whose imports are being followed.
struct Pending {
    document: Document,
    imports: std::vec::IntoIter<String>,
}

impl Pending {
    fn open(base: &Path, path: String) -> io::Result<Self> {
        if !stays_below(&path) {
            return Err(refused("it leads out of context/"));
        }
        // A link could lead anywhere. No document is behind one.
        let mut full = base.to_owned();
        for name in path.split('/') {
            full.push(name);
            if fs::symlink_metadata(&full)?.is_symlink() {
                return Err(refused("a link leads to it"));
            }
        }
        let whole = bounded::text(&full, DOCUMENT_BYTES)?;
        let mut imports = Vec::new();
        let mut text = String::with_capacity(whole.len());
        for line in whole.split_inclusive('\n') {
            match line.strip_prefix(IMPORT) {
                Some(import) => imports.push(import.trim().to_owned()),
                None => text.push_str(line),
            }
        }
        Ok(Self {
            document: Document { path, text },
            imports: imports.into_iter(),
        })
    }
}

/// Returns whether a path consists of plain names, so that it stays below the folder that it is joined to.
pub(crate) fn stays_below(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Part::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(documents: &[(&str, &str)]) -> tempfile::TempDir {
        let base = tempfile::tempdir().unwrap();
        for (path, text) in documents {
            let path = base.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        base
    }

    fn paths(closure: &Closure) -> Vec<&str> {
        closure
            .documents
            .iter()
            .map(|document| document.path.as_str())
            .collect()
    }

    #[test]
    fn what_is_imported_comes_first_and_once_also_in_a_circle() {
        let base = system(&[
            ("L1/a.md", "@import L2/b.md\n@import L2/c.md\nA\n"),
            ("L2/b.md", "@import L3/d.md\nB\n"),
            ("L2/c.md", "@import L3/d.md\n@import L1/a.md\nC\n"),
            ("L3/d.md", "D\n"),
        ]);
        let found = closure(base.path(), "L1/a.md", Limits::EVERYTHING);
        assert_eq!(paths(&found), ["L3/d.md", "L2/b.md", "L2/c.md", "L1/a.md"]);
        assert_eq!(found.documents[3].text, "A\n");
        assert!(found.missing.is_empty());
    }

    #[test]
    fn depth_number_and_layers_bound_the_search() {
        let base = system(&[
            ("L1/a.md", "@import L2/b.md\n@import L2/c.md\nA\n"),
            ("L2/b.md", "@import L3/d.md\nB\n"),
            ("L2/c.md", "C\n"),
            ("L3/d.md", "D\n"),
        ]);
        let all = Limits::EVERYTHING;
        let of = |limits| {
            let found = closure(base.path(), "L1/a.md", limits);
            found.documents.len()
        };
        assert_eq!(of(all), 4);
        assert_eq!(of(Limits { depth: 1, ..all }), 3);
        assert_eq!(of(Limits { depth: 0, ..all }), 1);
        assert_eq!(of(Limits { documents: 2, ..all }), 2);
        let layers = ["L2".to_owned()];
        let layers = Some(&layers[..]);
        assert_eq!(of(Limits { layers, ..all }), 3);
    }

    #[test]
    fn no_import_leads_out_of_the_contexts_and_what_is_missing_is_named() {
        let root = system(&[
            ("context/L1/a.md", "@import ../secret\n@import L2/gone.md\nA\n"),
            ("context/L1/b.md", "@import L2/link.md\nB\n"),
            ("context/L2/x.md", ""),
            ("secret", "mine"),
        ]);
        let base = root.path().join("context");
        std::os::unix::fs::symlink("../../secret", base.join("L2/link.md")).unwrap();
        for (path, missing) in [
            ("L1/a.md", &["../secret", "L2/gone.md"][..]),
            ("L1/b.md", &["L2/link.md"]),
            ("../secret", &["../secret"]),
            ("/etc/passwd", &["/etc/passwd"]),
        ] {
            let found = closure(&base, path, Limits::EVERYTHING);
            assert_eq!(found.missing.len(), missing.len(), "{path}: {found:?}");
            for (told, name) in found.missing.iter().zip(missing) {
                assert!(told.starts_with(name), "{told}");
            }
            assert!(found.documents.iter().all(|document| document.text != "mine"));
        }
    }
}
