//! A new workspace: its system.yaml and its key, made or taken from a tier.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rekindle_vault::Remembered;

use crate::Application;
use crate::error::Error;
use crate::files::write_new;
use crate::keys::from_tier::{self, FoundVault, Means};
use crate::keys::identity::remark_on;
use crate::keys::identity_files::Use;
use crate::keys::kit::Kit;
use crate::keys::{self, Origin, PinnedKey, UnlockBy, kit};
use crate::layout::Layout;
use crate::load_system;
use crate::names::file_word;
use crate::notice::Notice;
use crate::yaml_file;
use crate::{run_spec, tiers, trust};

/// The mode of a new workspace's folder, minus the umask. Only its owner may write in it, or others could replace what is
/// in it.
const FOLDER: u32 = 0o755;

/// The workspace to make, and the source of its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitRequest {
    /// The folder of the system.
    pub dir: PathBuf,
    /// The system file, where it is not `system.yaml` in that folder.
    pub system_file: Option<PathBuf>,
    /// The recovery kit that the key is taken with.
    pub from_kit: Option<PathBuf>,
    /// Tiers to take the key from, beside those of the system file or of the kit.
    pub tier_urls: Vec<String>,
    /// Whether a passphrase protects the key, and the file with it where there is one.
    pub passphrase: Option<Option<PathBuf>>,
    /// The new file for the recovery kit, and the text that says to its reader what to do.
    pub kit: Option<(PathBuf, &'static str)>,
}

/// A workspace that is ready.
pub struct InitResult {
    /// Where its files are.
    pub layout: Layout,
    /// Whether the system file was written.
    pub system_made: bool,
    /// Where the key comes from.
    pub key: KeySource,
    /// The key's fingerprint.
    pub fingerprint: String,
    /// The file with the identity that opens it; none if a passphrase does.
    pub identity: Option<PathBuf>,
    /// Whether the recovery kit was ever exported.
    pub kit_exported: bool,
}

/// Where the key of a workspace comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// It was there before, and opens here.
    Kept,
    /// It was there before, and needs its passphrase to be opened.
    Locked,
    /// It was made.
    Made,
    /// It came from a tier.
    Tier,
}

/// Makes a workspace. Keeps everything that exists.
///
/// # Errors
/// The folder cannot be written, or the workspace or a tier has a key already that nothing here opens.
pub async fn init(app: &Application, request: &InitRequest) -> Result<InitResult, Error> {
    let kit = request.from_kit.as_deref().map(Kit::read).transpose()?;
    let dir = &request.dir;
    // Another user must not lead the first write elsewhere.
    trust::check(&app.trust(), &layout_in(dir, request))?;
    let mut folder = std::fs::DirBuilder::new();
    folder
        .recursive(true)
        .mode(FOLDER)
        .create(dir)
        .map_err(|error| Error::io(format_args!("make {}", dir.display()), &error))?;
    let dir = dir
        .canonicalize()
        .map_err(|error| Error::io(format_args!("find {}", dir.display()), &error))?;
    let layout = layout_in(&dir, request);
    let now = app.clock.now().utc;
    let (pinned, system_made, key) = if keys::exists(&layout) {
        if let Some(kit) = &kit {
            keys::put_back_identity(&layout, &app.unlocker, &kit.identities, now)?;
        }
        let key = kept(app, request, &layout)?;
        let system_made = !layout.system_file.exists();
        if system_made {
            write_new(&layout.system_file, first_system(&dir).as_bytes())?;
        }
        (keys::pinned(&layout)?, system_made, key)
    } else {
        first_key(app, request, kit, &layout, now).await?
    };
    let mut kit_exported = pinned.kit_exported.is_some();
    if let Some((file, how_to)) = &request.kit {
        kit::hand_out(app, &layout, &tiers::urls(&layout), how_to, Some(file))?;
        kit_exported = true;
    }
    Ok(InitResult {
        identity: keys::identity_file(&layout, &app.unlocker)?,
        layout,
        system_made,
        key,
        fingerprint: pinned.fingerprint,
        kit_exported,
    })
}

/// Checks that the key of a workspace that has one opens here. A kept key that nothing opens would let a person believe
/// that the backups can be read. Asks nobody for a passphrase.
fn kept(app: &Application, request: &InitRequest, layout: &Layout) -> Result<KeySource, Error> {
    let by_passphrase = keys::pinned(layout)?.unlock == UnlockBy::Passphrase;
    if by_passphrase && request.passphrase.is_none() && !app.unlocker.passphrase_at_hand {
        return Ok(KeySource::Locked);
    }
    let passphrase_file = request.passphrase.as_ref().and_then(Option::as_deref);
    keys::open_with(layout, &app.unlocker, passphrase_file)?;
    Ok(KeySource::Kept)
}

/// Returns the files of the workspace that is to be in `dir`.
fn layout_in(dir: &Path, request: &InitRequest) -> Layout {
    let mut layout = Layout::at(dir);
    if let Some(file) = &request.system_file {
        layout.system_file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
    }
    layout
}

/// Gives the workspace its key, and a system.yaml if it has none. If the tiers hold a vault already, takes them from
/// there; else makes new ones. Writes nothing before it knows which.
async fn first_key(
    app: &Application,
    request: &InitRequest,
    kit: Option<Kit>,
    layout: &Layout,
    now: DateTime<Utc>,
) -> Result<(PinnedKey, bool, KeySource), Error> {
    let by_kit = kit.is_some();
    let recovering = by_kit || !request.tier_urls.is_empty();
    let written = match layout.system_file.exists() {
        true => Some(run_spec::system(layout)?),
        false => None,
    };
    let first = first_system(&layout.dir);
    let mut tiers: Vec<(String, String)> = request
        .tier_urls
        .iter()
        .map(|url| ("that was named".to_owned(), url.clone()))
        .collect();
    tiers.extend(match (&written, &kit) {
        (Some(system), _) => tiers::urls_of(system),
        (None, Some(kit)) => kit.tiers.clone(),
        (None, None) => tiers::urls_of(&load_system("system.yaml", &first)?.value),
    });
    let without_identity = kit.as_ref().is_some_and(|kit| kit.identities.is_empty());
    let mut means = Means::default();
    if request.passphrase.is_some() || without_identity {
        let file = request.passphrase.as_ref().and_then(Option::as_deref);
        means.passphrase = Some(app.unlocker.passphrase(file)?);
    }
    let mut heads = Vec::new();
    if let Some(kit) = kit {
        means.identities = kit.identities;
        means.fingerprint = kit.fingerprint;
        heads = kit.heads;
    } else {
        let (own, faults) = app.unlocker.own_identities()?;
        means.identities = own;
        for fault in faults {
            app.notices
                .give(Notice::warning(fault.to_string()).with_all(fault.next()));
        }
    }
    let base = layout.system_dir();
    let Some(vault) = from_tier::find_vault(app, &tiers, &base, &means, recovering).await? else {
        if written.is_none() {
            write_new(&layout.system_file, first.as_bytes())?;
        }
        let passphrase = means.passphrase;
        if let Some(remark) = passphrase.as_ref().and_then(|one| remark_on(one)) {
            app.notices.warn(remark);
        }
        let pinned = keys::establish(layout, &app.unlocker, Origin::New { passphrase }, now)?;
        return Ok((pinned, written.is_none(), KeySource::Made));
    };
    if written.is_none() {
        match vault.newest_set().await {
            Some(set) => write_new(&layout.system_file, &set.system_definition)?,
            None if recovering => {
                return Err(
                    Error::usage("the tiers hold no recovery set, so none keeps system.yaml").with_advice(
                        format!(
                            "write {} with the system's components and tiers, and try again",
                            layout.system_file.display()
                        ),
                    ),
                );
            }
            None => write_new(&layout.system_file, first.as_bytes())?,
        }
    }
    if let Some(identity) = &vault.identity {
        app.unlocker
            .keep_identity(identity, &Use::of(layout, yaml_file::system_name(layout), now))?;
    }
    look_at_tiers(app, layout, &vault).await?;
    let mut pinned = keys::establish(layout, &app.unlocker, vault.origin(), now)?;
    if by_kit {
        Remembered::of(&layout.state).note_heads(&heads).await?;
        let kit_tiers = tiers.into_iter().map(|(_, url)| url).collect();
        kit::kit_was_exported(layout, kit_tiers, now)?;
        pinned = keys::pinned(layout)?;
    }
    Ok((pinned, written.is_none(), KeySource::Tier))
}

/// Notes which tiers of system.yaml hold the vault. Gives notice of those that do not: they may have moved.
async fn look_at_tiers(app: &Application, layout: &Layout, vault: &FoundVault) -> Result<(), Error> {
    let system = run_spec::system(layout)?;
    let remembered = Remembered::of(&layout.state);
    for (name, spec) in &system.tiers {
        if let Err(error) = vault
            .opens(name, &tiers::locations(spec), &layout.system_dir(), &remembered)
            .await
        {
            app.notices.warn(format!(
                "{error}; where it has moved, write its new place into {}",
                layout.system_file.display()
            ));
        }
    }
    Ok(())
}

/// Six lines to start with; the folder's own content is the first component.
fn first_system(dir: &Path) -> String {
    let name = file_word(&dir.file_name().unwrap_or_default().to_string_lossy());
    format!(
        "# What Rekindle protects, and where its backups go.\n\
         system: {name}\n\
         root: .                                        # the folder that holds the data\n\
         components:                                    # parts that are captured, restored and judged one by one\n\
         \x20 files: {{source: {{type: files}}, rto: 30m}}     # all of root; `path`, `include`, `exclude` narrow it\n\
         tiers:                                         # each keeps a full copy; put one on another machine\n\
         \x20 local: {{url: \"file://../{name}-backups\"}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_system_has_six_lines_and_no_fault() {
        let text = first_system(Path::new("/srv/My Shop"));
        assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), 6);
        let loaded = load_system("system.yaml", &text).unwrap();
        assert_eq!(loaded.value.system, "my-shop");
        assert_eq!(loaded.value.components.len(), 1);
    }
}
