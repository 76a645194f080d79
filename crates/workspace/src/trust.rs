//! Refuses a workspace, a system file or a workflow that other users can change: it would run their programs as this
//! user. [`rekindle_actions::trust`] has the rules.
//!
//! [`Application::layout`] and [`read_to_run`] refuse. [`layout_to_read`] and [`read_to_show`] only warn, for operations
//! that run nothing and write nothing.

use std::path::{Path, PathBuf};

pub use rekindle_actions::trust::TrustedPath;
use rekindle_actions::trust::{ListError, Trust, Untrusted};
use rekindle_model::next_action::Action;
use rekindle_model::problem::ProblemKind;

use crate::Application;
use crate::error::Error;
use crate::keys;
pub use crate::keys::identity::NOT_TRUSTED;
use crate::layout::Layout;
use crate::notice::Notice;
use crate::yaml_file::{check_kind, read_text};
use rekindle_vault::regular::is_descriptor;

/// The entries of `.rekindle` whose content authenticates itself: blobs by their hash, sealed objects by their key.
const AUTHENTICATED: [&str; 2] = ["blobs", "spool"];

impl Application {
    /// Returns what this user trusts.
    pub fn trust(&self) -> Trust {
        Trust::of_this_user(self.unlocker.config_dir.as_deref())
    }

    /// Returns the workspace that the person means, which nobody else can change.
    ///
    /// # Errors
    /// There is no workspace, or another user can change it.
    pub fn layout(&self) -> Result<Layout, Error> {
        let layout = Layout::find(&self.selection)?;
        check(&self.trust(), &layout)?;
        Ok(layout)
    }
}

/// Checks every path of a workspace from which programs may come: its folder, its state and its system file.
///
/// # Errors
/// Another user can change one of them.
pub fn check(trust: &Trust, layout: &Layout) -> Result<(), Error> {
    let refused = |untrusted| refusal(trust, &untrusted, &layout.dir);
    trust.check(&layout.dir).map_err(refused)?;
    trust.check(&layout.state).map_err(refused)?;
    trust
        .check(&layout.state.join(keys::PINNED_KEY))
        .map_err(refused)?;
    trust
        .check_content(&layout.state, &AUTHENTICATED)
        .map_err(refused)?;
    trust.check(&layout.system_file).map_err(|untrusted| {
        let inside = layout.system_file.starts_with(&layout.dir);
        let path = if inside { &layout.dir } else { &layout.system_file };
        refusal(trust, &untrusted, path)
    })?;
    Ok(())
}

/// Returns the workspace that the person means, for an operation that runs nothing and writes nothing in it. Warns if
/// another user can change it.
///
/// # Errors
/// There is no workspace.
pub fn layout_to_read(app: &Application) -> Result<Layout, Error> {
    let layout = Layout::find(&app.selection)?;
    if let Err(error) = check(&app.trust(), &layout) {
        app.notices.give(warning(&error));
    }
    Ok(layout)
}

/// Returns the refusal of what an operation would run, as a warning of an operation that only looks.
pub(crate) fn warning(error: &Error) -> Notice {
    Notice::warning(error.to_string()).with_all(error.next())
}

/// Reads a YAML file that is to run.
///
/// # Errors
/// Another user can change it, or it cannot be read.
pub fn read_to_run(app: &Application, path: &Path) -> Result<String, Error> {
    // A person who pipes a text in has read it from where it is.
    if is_descriptor(path) {
        return read_text(path);
    }
    check_kind(path)?;
    let trust = app.trust();
    match trust.check(path) {
        Ok(whole) => read_text(&whole),
        Err(untrusted) => Err(refusal(&trust, &untrusted, path)),
    }
}

/// Reads a YAML file that is only shown. Warns if it would not be run.
///
/// # Errors
/// It cannot be read.
pub fn read_to_show(app: &Application, path: &Path) -> Result<String, Error> {
    check_kind(path)?;
    let trust = app.trust();
    if !is_descriptor(path)
        && let Err(untrusted) = trust.check(path)
    {
        app.notices.give(warning(&refusal(&trust, &untrusted, path)));
    }
    read_text(path)
}

/// Trusts a path, with everything below it, as long as its owner stays the same.
///
/// # Errors
/// There is no such path, or the list cannot be written.
pub fn add(app: &Application, path: &Path) -> Result<TrustedPath, Error> {
    let dir = app.unlocker.dir()?;
    let mut list = app.trust().list(dir);
    let added = list.add(path)?;
    list.write(dir)?;
    Ok(added)
}

/// Trusts a path no longer. Returns whether it was trusted by itself.
///
/// # Errors
/// The list cannot be written.
pub fn remove(app: &Application, path: &Path) -> Result<bool, Error> {
    let dir = app.unlocker.dir()?;
    let mut list = app.trust().list(dir);
    let was_trusted = list.remove(path);
    list.write(dir)?;
    Ok(was_trusted)
}

/// Returns the trusted paths.
///
/// # Errors
/// The list does not count.
pub fn list(app: &Application) -> Result<Vec<TrustedPath>, Error> {
    let list = app.trust().list(app.unlocker.dir()?);
    match list.ignored() {
        Some(why) => Err(ListError::Ignored(why.to_owned()).into()),
        None => Ok(list.paths().to_vec()),
    }
}

/// Returns the refusal, and the command that trusts `path`.
fn refusal(trust: &Trust, untrusted: &Untrusted, path: &Path) -> Error {
    let path: PathBuf = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let message = format!("{untrusted}, so another user could run programs as you");
    let mut error = Error::new(ProblemKind::Invalid, NOT_TRUSTED, message).with_next(
        Action::Trust { path },
        "trusts it with everything below it; read it first",
    );
    if let Some(why) = trust.list_ignored() {
        error = error.with_advice(why.to_owned());
    }
    error.with_advice("or make it yours alone: `chown -R` and `chmod -R go-w`; nothing was begun")
}

impl From<ListError> for Error {
    fn from(error: ListError) -> Self {
        let message = error.to_string();
        match error {
            ListError::Path { .. } => Self::usage(message),
            ListError::Ignored(_) => Self::new(ProblemKind::Invalid, NOT_TRUSTED, message)
                .with_advice("make the list and its folder yours alone, or remove the list"),
            ListError::Write { source, path } => Self::io(format_args!("write {}", path.display()), &source),
        }
    }
}
