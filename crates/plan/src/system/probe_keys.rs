//! The keys of probes, by kind, and of health URLs.

use rekindle_model::keys::Format::*;
use rekindle_model::keys::Takes::*;
use rekindle_model::keys::{Object, OneOf, key};

/// The kinds of probe.
pub(crate) const PROBE: &OneOf = &OneOf {
    noun: "probe",
    tag: "probe",
    common: &[
        key("name", Text(Plain), "What reports call it. Without it the probe's kind."),
        key("expect", Named("expectation", &Text(Comparison)),
            "What each number must be, by the number's name. A number that was not measured is *no data*. A limit may be a \
             share of the baseline: `>= 0.95 of baseline`; without a baseline it is *no data*."),
        key("at", Word(&["recovery", "backup", "both"]),
            "When it runs: with `recovery` on the restored data; with `backup` on the living system, while a backup captures \
             the component. Then its numbers are the baseline of the recoveries from that backup.").or("recovery"),
        key("reads", Texts(Plain),
            "Components whose data it reads. If one is not there and the run does not recover it, the probe is *no data*."),
        key("timeout", Text(Duration),
            "How long it may take. Without it 10s for `http`, 1m for `sql`, and no limit for the others."),
    ],
    kinds: &[
        &Object {
            noun: "command",
            keys: &[
                key("run", Texts(CommandWord),
                    "The program and its arguments. It prints one JSON object of numbers.").required(),
                key("shell", Flag, "Whether `run` is a text that `sh -e` runs."),
            ],
        },
        &Object {
            noun: "http",
            keys: &[
                key("url", Text(Template), "The URL that the probe GETs.").required(),
                key("headers", TextMap(Template), "Headers of the request, by name."),
                key("values", TextMap(Pointer),
                    "Where further numbers are in the JSON that comes back, by the number's name."),
            ],
        },
        &Object {
            noun: "sql",
            keys: &[
                key("database", Text(PathTemplate), "The SQLite file.").required(),
                key("query", Text(Template),
                    "A SELECT with one row. Each column is named for its number.").required(),
            ],
        },
        &Object {
            noun: "files",
            keys: &[
                key("path", Text(PathTemplate), "The folder or file.").required(),
                key("include", Texts(Glob), "What is counted, relative to `path`. Without it everything."),
                key("exclude", Texts(Glob), "What is not counted, relative to `path`."),
                key("digest", Text(Digest), "The digest that the files should have."),
            ],
        },
        &Object { noun: "set", keys: &[] },
    ],
};

/// An address at which the running system answers.
pub(crate) const HEALTH: &Object = &Object {
    noun: "health URL",
    keys: &[
        key("url", Text(Plain),
            "The URL that Rekindle GETs. With `address` only its path, such as `/health`.").required(),
        key("address", Text(Path),
            "A file that is there while the system runs. It holds a JSON object whose `listening` is the URL at \
             which the system answers."),
        key("timeout", Text(Duration), "How long an answer may take. Without it 2s."),
    ],
};
