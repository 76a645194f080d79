//! The settings of a source type: the keys that `source:` in `system.yaml` may have beside `type`.

/// One setting, as diagnostics, the schema and the documents know it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its key.
    pub name: &'static str,
    /// What its value must be.
    pub kind: SettingKind,
    /// What it is where the key is left out.
    pub default: Option<&'static str>,
    /// Whether the key may not be left out.
    pub required: bool,
    /// What it means, for people.
    pub text: &'static str,
}

/// What the value of a setting must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// A path below the system's root.
    Path,
    /// A list of globs.
    Globs,
    /// A program and its arguments, which may hold expressions.
    Program,
    /// A whole number of bytes.
    Bytes,
}

/// What is wrong with a setting, or what to mind about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingProblem {
    /// The setting's key.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// Whether the source works all the same.
    pub warning: bool,
}

impl SettingProblem {
    pub(crate) fn error(key: &'static str, message: impl Into<String>) -> Self {
        Self {
            key,
            message: message.into(),
            help: None,
            warning: false,
        }
    }
}
