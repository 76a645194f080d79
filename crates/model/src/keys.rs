//! The keys of a YAML object, described once. The reader's checks, the editor's completions and the documents all come
//! from the same table.
//!
//! ```
//! use rekindle_model::keys::{Format, Object, Takes, key};
//!
//! const ENGINE: Object = Object {
//!     noun: "engine",
//!     keys: &[
//!         key("name", Takes::Text(Format::Plain), "The engine's name.").required(),
//!         key("cylinders", Takes::Integer(1, 16), "How many cylinders it has.").or("4"),
//!     ],
//! };
//! assert_eq!(ENGINE.keys.len(), 2);
//! ```

/// One key of an object.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The key as it is written.
    pub name: &'static str,
    /// What its value may be.
    pub takes: Takes,
    /// What applies where a file does not have it.
    pub absent: Absent,
    /// Its meaning, in one or two sentences.
    pub text: &'static str,
}

/// Returns an optional key.
pub const fn key(name: &'static str, takes: Takes, text: &'static str) -> Key {
    let absent = Absent::Nothing;
    Key {
        name,
        takes,
        absent,
        text,
    }
}

impl Key {
    /// Returns the key as a required one.
    pub const fn required(mut self) -> Self {
        self.absent = Absent::Fault;
        self
    }

    /// Returns the key with a default, as one would write it in YAML.
    pub const fn or(mut self, default: &'static str) -> Self {
        self.absent = Absent::Default(default);
        self
    }
}

/// What applies where a file does not have a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The key may be left out.
    Nothing,
    /// The file is faulty.
    Fault,
    /// This value applies.
    Default(&'static str),
}

/// The values that a key may have.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// A text. A number or a boolean counts as its text.
    Text(Format),
    /// A list of texts. One text counts as a list of one; where the key is required, an empty list counts as missing.
    Texts(Format),
    /// The word `all`, or a list of texts.
    AllOrTexts,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number, from the first to the second.
    Integer(u64, u64),
    /// A number, from the first to the second.
    Number(f64, f64),
    /// Any value.
    Any,
    /// The parameters of the action that `uses` names. Their texts may hold expressions.
    With,
    /// What a step loops over: a key, a list, an expression, or lists by name.
    Loop,
    /// Texts by any names.
    TextMap(Format),
    /// A component's source; the caller of the reader gives the types.
    Source,
    /// Values by names that a user chooses; the word is for messages: component `orders`.
    Named(&'static str, &'static Takes),
    /// A list. If its items have a short form, one of them counts as a list of one.
    List(&'static Takes),
    /// A map with fixed keys.
    Object(&'static Object),
    /// A map whose keys depend on its kind.
    OneOf(&'static OneOf),
    /// A map with fixed keys; anything else counts as the value of its first key.
    Short(&'static Object),
}

/// A map with fixed keys.
#[derive(Debug)]
pub struct Object {
    /// The word for it in messages and documents, such as `tier`; of one kind of several, the kind.
    pub noun: &'static str,
    /// Its keys, in the order in which documents show them.
    pub keys: &'static [Key],
}

/// A map whose keys depend on its kind.
#[derive(Debug)]
pub struct OneOf {
    /// The word for it, such as `source`.
    pub noun: &'static str,
    /// The key whose value is the kind.
    pub tag: &'static str,
    /// What all kinds have.
    pub common: &'static [Key],
    /// The kinds, each with its own keys.
    pub kinds: &'static [&'static Object],
}

/// A form of text. The reader of YAML knows what fits each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Any text.
    Plain,
    /// A name that a user chooses: of a component, a tier, a step.
    Name,
    /// A length of time.
    Duration,
    /// The condition for a measured number.
    Comparison,
    /// An expression, with or without `${{ }}` around it.
    Expression,
    /// A text that may hold expressions.
    Template,
    /// A word of a command line; it may hold expressions. One text alone is the program, without arguments. If a
    /// [flag](Takes::Flag) `shell` is true beside it, the text is a script instead, which `sh -e` runs.
    CommandWord,
    /// A path: absolute, or below the system's root.
    Path,
    /// Such a path that may hold expressions.
    PathTemplate,
    /// A glob, relative to the path beside it.
    Glob,
    /// A BLAKE3 digest in hexadecimal.
    Digest,
    /// The place of a number in a JSON document.
    Pointer,
    /// The location of a tier.
    Location,
    /// The name of a concurrency group.
    Group,
    /// When a step runs.
    Condition,
}
