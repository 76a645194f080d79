//! The items of a part, from the data: how many there are, and what they are.

use std::fs;
use std::path::Path;

use serde_json::Value;
use walkdir::WalkDir;

use crate::probe::{Digest, bounded};

/// The longest file that is read, in bytes. Those of a system have at most 2 MB; a longer one is no item.
const LONGEST: u64 = 16 << 20;

/// What a part holds.
pub(super) struct Items {
    /// Leaves of JSON documents, and other files.
    pub(super) count: u64,
    /// 48 bits over the paths and values of all items; 0 for a folder that is not there.
    pub(super) digest: f64,
}

/// Reads a part. A document counts by its leaves, each with its path in the document; its white space and the order
/// of its names do not count. A file that cannot be read, or is no JSON by its content, is no item, and changes the
/// digest.
pub(super) fn read(folder: &Path) -> Items {
    let mut items = Items {
        count: 0,
        digest: 0.0,
    };
    if !fs::symlink_metadata(folder).is_ok_and(|about| about.is_dir()) {
        return items;
    }
    let mut digest = Digest::default();
    for entry in WalkDir::new(folder).min_depth(1).sort_by_file_name() {
        let Ok(entry) = entry else {
            digest.add(b"unreadable");
            continue;
        };
        let path = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        digest.add(path.as_os_str().as_encoded_bytes());
        if entry.file_type().is_dir() {
            continue;
        }
        // A link is not followed: an item is a file of the part.
        let bytes = match entry.file_type().is_file() {
            true => bounded(entry.path(), LONGEST),
            false => None,
        };
        let Some(bytes) = bytes else {
            digest.add(b"unreadable");
            continue;
        };
        let document = path.extension().is_some_and(|end| end == "json");
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(value) if document => leaves(&value, &mut String::new(), &mut |pointer, leaf| {
                // What holds nothing is no item; that it is there enters the digest.
                items.count += u64::from(!leaf.is_object() && !leaf.is_array());
                digest.add(pointer.as_bytes());
                digest.add(leaf.to_string().as_bytes());
            }),
            _ => {
                items.count += u64::from(!document);
                digest.add(&bytes);
            }
        }
    }
    items.digest = digest.value();
    items
}

/// Calls `each` with every leaf and its JSON pointer, names in order. An empty object or list is passed as well.
fn leaves(value: &Value, pointer: &mut String, each: &mut impl FnMut(&str, &Value)) {
    let length = pointer.len();
    match value {
        Value::Object(object) if !object.is_empty() => {
            // Sorted here: whether a map keeps the order of the text is another crate's choice.
            let mut names: Vec<_> = object.iter().collect();
            names.sort_by_key(|(name, _)| *name);
            for (name, value) in names {
                pointer.push('/');
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                leaves(value, pointer, each);
                pointer.truncate(length);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (index, value) in list.iter().enumerate() {
                pointer.push_str(&format!("/{index}"));
                leaves(value, pointer, each);
                pointer.truncate(length);
            }
        }
        leaf => each(pointer, leaf),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_order_do_not_count_and_every_value_and_place_does() {
        let folder = tempfile::tempdir().unwrap();
        let of = |text: &str| {
            fs::write(folder.path().join("a.json"), text).unwrap();
            let items = read(folder.path());
            (items.count, items.digest)
        };
        let whole = of("{\"a\":[1,{}],\"b\":\"x\"}");
        assert_eq!(whole.0, 2);
        assert_eq!(of("{ \"b\":\"x\", \"a\":[1, {}] }"), whole);
        for changed in [
            "{\"a\":[1,{}],\"b\":\"y\"}",
            "{\"a\":[{},1],\"b\":\"x\"}",
            "{\"a\":[1,{}],\"c\":\"x\"}",
            "{\"a\":[1,[]],\"b\":\"x\"}",
            "{\"a\":[\"1\",{}],\"b\":\"x\"}",
        ] {
            let changed = of(changed);
            assert!(changed.0 == 2 && changed.1 != whole.1);
        }
        assert_eq!(of("{\"a\":[],\"b\":\"x\"}").0, 1);
        assert_eq!(of("{").0, 0, "a broken document holds nothing");
    }
}
