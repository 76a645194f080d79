//! The keys of a component's `source:`, by type.

use rekindle_model::keys::Format::*;
use rekindle_model::keys::Takes::*;
use rekindle_model::keys::{Object, OneOf, key};

/// The types of source.
pub(crate) const SOURCE: &OneOf = &OneOf {
    noun: "source",
    tag: "type",
    common: &[],
    kinds: &[
        Object {
            noun: "files",
            keys: &[
                key("path", Text(Path), "The folder or file.").or("."),
                key("include", Texts(Glob), "What is captured, relative to `path`. Without it everything."),
                key("exclude", Texts(Glob), "What is left out, relative to `path`."),
            ],
        },
        Object {
            noun: "sqlite",
            keys: &[key("path", Text(Path), "The database file. The database may be in use.").required()],
        },
        Object {
            noun: "command",
            keys: &[
                key("dump", Texts(Template),
                    "The program that prints the data on its stdout, and its arguments. It runs in \
                     `root`.").required(),
                key("restore", Texts(Template),
                    "The program that reads the data from its stdin, and its arguments. It runs in the folder \
                     that is recovered into. After a crash it may run again.").required(),
                key("max_bytes", Integer(0, u64::MAX), "How many bytes the dump may print. Without it 64 GiB."),
            ],
        },
    ],
};
