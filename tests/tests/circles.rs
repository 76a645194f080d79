//! No two files import each other, directly or through others. A module and its children may.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use syn::visit::{self, Visit};

/// A module, by its names from the root of its crate.
type Name = Vec<String>;

/// A module as it is written.
#[derive(Default)]
struct Module {
    file: PathBuf,
    /// The names that `use` brings into it, with the paths that they stand for.
    aliases: BTreeMap<String, Name>,
    /// All other paths that it writes, and the modules whose names it takes with `*`.
    paths: Vec<Name>,
}

/// The modules of one crate.
#[derive(Default)]
struct Modules(BTreeMap<Name, Module>);

/// Collects what one file writes, its inline modules included.
struct Reader<'a> {
    modules: &'a mut Modules,
    module: Name,
    file: PathBuf,
}

impl Reader<'_> {
    fn here(&mut self) -> &mut Module {
        let module = self.modules.0.entry(self.module.clone()).or_default();
        module.file.clone_from(&self.file);
        module
    }

    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree)),
            syn::UseTree::Glob(_) => self.here().paths.push(before.to_vec()),
            syn::UseTree::Name(name) if name.ident == "self" => {
                let alias = before.last().expect("a path before self").clone();
                self.here().aliases.insert(alias, before.to_vec());
            }
            syn::UseTree::Name(name) => {
                let path = with(&name.ident);
                self.here().aliases.insert(name.ident.to_string(), path);
            }
            syn::UseTree::Rename(rename) => {
                let path = with(&rename.ident);
                self.here().aliases.insert(rename.rename.to_string(), path);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&[], &item.tree);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        if item.content.is_some() {
            self.here();
            visit::visit_item_mod(self, item);
        } else {
            let stem = self.file.file_stem().expect("a file").to_owned();
            let mut folder = self.file.parent().expect("a folder").to_owned();
            if !["lib", "main", "mod"].iter().any(|root| stem == *root) {
                folder.push(stem);
            }
            let name = item.ident.to_string();
            let flat = folder.join(format!("{name}.rs"));
            let file = if flat.exists() {
                flat
            } else {
                folder.join(name).join("mod.rs")
            };
            self.modules.read(self.module.clone(), &file);
        }
        self.module.pop();
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let name = path.segments.iter().map(|segment| segment.ident.to_string());
        let name = name.collect();
        self.here().paths.push(name);
        visit::visit_path(self, path);
    }

    /// What a macro is given is not parsed: its words are read, and those joined by `::` are a path.
    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let text = item.tokens.to_string().replace(" :: ", "::");
        let paths = text
            .split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
            .filter(|word| word.contains("::"))
            .map(|word| word.split("::").map(str::to_owned).collect());
        self.here().paths.extend(paths);
        visit::visit_macro(self, item);
    }
}

impl Modules {
    fn read(&mut self, module: Name, file: &Path) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut reader = Reader {
            modules: self,
            module,
            file: file.to_owned(),
        };
        reader.here();
        reader.visit_file(&parsed);
    }

    /// Returns the module that defines what a path names, seen from a module. `None`: another crate does.
    fn defines(&self, from: &[String], path: &[String], depth: usize) -> Option<&Module> {
        let (first, rest) = path.split_first()?;
        let start = match first.as_str() {
            "crate" => return self.walk(Vec::new(), rest, depth),
            "self" => return self.walk(from.to_vec(), rest, depth),
            "super" => from.split_last()?.1.to_vec(),
            _ if self.0.contains_key(&[from, std::slice::from_ref(first)].concat()) => {
                [from, std::slice::from_ref(first)].concat()
            }
            _ => {
                let target = self.0.get(from)?.aliases.get(first)?;
                return self.through(from, target, rest, depth);
            }
        };
        self.walk(start, rest, depth)
    }

    /// Follows a name that a module imports from elsewhere.
    fn through(&self, from: &[String], target: &[String], rest: &[String], depth: usize) -> Option<&Module> {
        // `use url::Url` beside a name `url`: an alias that leads to itself belongs to another crate.
        if depth == 0 || target.first() == Some(&target[target.len() - 1]) && target.len() == 1 {
            return None;
        }
        self.defines(from, &[target, rest].concat(), depth - 1)
    }

    fn walk(&self, mut module: Name, path: &[String], depth: usize) -> Option<&Module> {
        for (at, name) in path.iter().enumerate() {
            if name == "super" {
                module.pop()?;
                continue;
            }
            module.push(name.clone());
            if self.0.contains_key(&module) {
                continue;
            }
            module.pop();
            let here = self.0.get(&module)?;
            return match here.aliases.get(name) {
                Some(target) => self.through(&module, target, &path[at + 1..], depth),
                None => Some(here),
            };
        }
        self.0.get(&module)
    }

    /// Which file names something that another file defines, a module and its children aside.
    fn imports(&self) -> BTreeSet<(&Path, &Path)> {
        let mut roots: BTreeMap<&Path, &[String]> = BTreeMap::new();
        for (name, module) in &self.0 {
            roots.entry(&module.file).or_insert(name);
        }
        let mut imports = BTreeSet::new();
        for (name, module) in &self.0 {
            for path in module.aliases.values().chain(&module.paths) {
                let Some(defines) = self.defines(name, path, 8) else {
                    continue;
                };
                let (from, to) = (roots[&*module.file], roots[&*defines.file]);
                if !from.starts_with(to) && !to.starts_with(from) {
                    imports.insert((&*module.file, &*defines.file));
                }
            }
        }
        imports
    }
}

/// Every import of a crate that is part of a circle, as `from → to`.
fn circles(root: &Path) -> Vec<String> {
    let mut modules = Modules::default();
    modules.read(Vec::new(), root);
    let imports = modules.imports();
    let graph: DiGraphMap<&Path, ()> = imports.iter().copied().collect();
    let mut found = Vec::new();
    for circle in tarjan_scc(&graph) {
        let within = imports
            .iter()
            .filter(|(from, to)| circle.contains(from) && circle.contains(to));
        found.extend(within.map(|(from, to)| format!("{} → {}", from.display(), to.display())));
    }
    found
}

#[test]
fn no_two_files_import_each_other() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace");
    let mut roots = vec![
        workspace.join("tests/src/lib.rs"),
        workspace.join("tests/tests/main.rs"),
    ];
    for folder in ["crates", "tools"] {
        for entry in fs::read_dir(workspace.join(folder)).expect("a folder").flatten() {
            let source = entry.path().join("src");
            roots.extend(["lib.rs", "main.rs"].map(|root| source.join(root)));
        }
    }
    let roots = roots.iter().filter(|root| root.exists());
    let found: Vec<_> = roots.flat_map(|root| circles(root)).collect();
    let mut engine = Modules::default();
    engine.read(Vec::new(), &workspace.join("crates/engine/src/lib.rs"));
    assert!(
        engine.imports().len() > 50,
        "the imports of the engine are not seen"
    );
    assert!(
        found.is_empty(),
        "these files import each other:\n{}",
        found.join("\n")
    );
}

#[test]
fn a_circle_through_a_name_that_the_root_exports_again_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| fs::write(path(name), text).expect("a file");
    write("lib.rs", "mod a; mod b; mod c; pub use a::One;");
    write("a.rs", "use crate::b::{Two as Second}; pub struct One(Second);");
    write(
        "b.rs",
        "pub struct Two; fn two() { println!(\"{}\", crate::c::three()) }",
    );
    write("c.rs", "pub fn three() -> u8 { let _ = crate::One; 3 }");
    let import = |from, to| format!("{} → {}", path(from).display(), path(to).display());
    let circle = [
        import("a.rs", "b.rs"),
        import("b.rs", "c.rs"),
        import("c.rs", "a.rs"),
    ];
    assert_eq!(circles(&path("lib.rs")), circle);
    write("c.rs", "pub fn three() -> u8 { 3 }");
    assert!(circles(&path("lib.rs")).is_empty());
}
