//! `rekindle init`

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rekindle_model::system::System;
use rekindle_plan::load_system;
use rekindle_vault::Remembered;
use serde_json::json;

use crate::App;
use crate::adopt::{self, Adopted, Means};
use crate::error::CliError;
use crate::exit::Exit;
use crate::here;
use crate::keys::{self, Origin, Pinned};
use crate::kit::Kit;
use crate::pinned;
use crate::workspace::Workspace;

/// Make a system.yaml to begin with, and a key; whatever exists is kept
///
/// Where a tier of system.yaml holds a vault already, its key is taken over instead of making one: by the
/// recovery kit (--from-kit), by an identity in the config folder, or by the passphrase. A vault that none of
/// them opens is refused: a new key would never open it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of the system [default: the current one]
    dir: Option<PathBuf>,
    /// Come back after the loss of this machine: take the key from a tier by this recovery kit, and
    /// system.yaml too where it is lost
    #[arg(long, value_name = "FILE")]
    from_kit: Option<PathBuf>,
    /// A tier to take them from, beside those of system.yaml or of the kit; without a kit it is opened by the
    /// passphrase or by an identity in the config folder
    #[arg(long = "tier-url", value_name = "URL")]
    tier_urls: Vec<String>,
    /// Write the recovery kit to this new file (0600)
    #[arg(long, value_name = "FILE")]
    kit: Option<PathBuf>,
    /// Protect the key by a passphrase, asked for or taken from REKINDLE_PASSPHRASE, instead of an identity file
    #[arg(long)]
    ask_passphrase: bool,
    /// Protect the key by the passphrase in this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Makes a workspace.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, CliError> {
    let here = std::env::current_dir().map_err(|error| CliError::io("find the current folder", &error))?;
    let dir = match (&args.dir, &app.global.workspace) {
        (Some(dir), _) | (None, Some(dir)) => here.join(dir),
        (None, None) => here,
    };
    let kit = args.from_kit.as_deref().map(Kit::read).transpose()?;
    std::fs::create_dir_all(&dir)
        .map_err(|error| CliError::io(format_args!("make {}", dir.display()), &error))?;
    let dir = dir
        .canonicalize()
        .map_err(|error| CliError::io(format_args!("find {}", dir.display()), &error))?;
    let mut workspace = Workspace::at(&dir);
    if let Some(file) = &app.global.system {
        workspace.system_file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
    }
    let now = app.clock.now().utc;
    let (pinned, made_system, key) = if keys::exists(&workspace) {
        if let Some(kit) = &kit {
            keys::put_back_identity(&workspace, &kit.identities)?;
        }
        let made_system = !workspace.system_file.exists();
        if made_system {
            write_new(&workspace.system_file, first_system(&dir).as_bytes())?;
        }
        (keys::pinned(&workspace)?, made_system, "kept")
    } else {
        first_key(app, args, kit, &workspace, now).await?
    };
    let made_key = key == "made";
    let mut kit_exported = pinned.kit_exported.is_some();
    if let Some(kit) = &args.kit {
        keys::hand_out(app, &workspace, &tier_urls(&workspace), Some(kit))?;
        kit_exported = true;
    }
    let body = json!({
        "workspace": workspace.dir, "system": workspace.system_file, "system_made": made_system,
        "key_made": made_key, "key": key, "fingerprint": pinned.fingerprint, "kit_exported": kit_exported,
    });
    app.printer.data(&body, || {
        let verb = |made| if made { "made" } else { "kept" };
        let mut said = format!(
            "{} {}\n{key} the key, fingerprint {}\n",
            verb(made_system),
            workspace.system_file.display(),
            pinned.fingerprint
        );
        match &args.kit {
            Some(kit) => said.push_str(&format!("wrote the recovery kit to {}: keep it elsewhere\n", kit.display())),
            None if !kit_exported => {
                said.push_str("next: `rekindle key export --kit FILE`; without the kit a lost machine loses the backups\n");
            }
            None => {}
        }
        let file = args.dir.as_deref().unwrap_or(Path::new("")).join("system.yaml");
        let file = file.display();
        said.push_str(&match key {
            ADOPTED => {
                "then: `rekindle sets` lists what there is, `rekindle recover --to OUT` brings it back".to_owned()
            }
            _ => format!("then: edit {file}, `rekindle lint {file}`, `rekindle backup`"),
        });
        // Whoever named the folder stands elsewhere.
        match &args.dir {
            Some(dir) => here::in_commands(&said, &here::workspace(dir)).into_owned(),
            None => said,
        }
    })?;
    Ok(Exit::Done)
}

/// How a key is said to have come from a tier.
const ADOPTED: &str = "took over";

/// Gives the workspace its key, and its system.yaml where there is none: from the tiers where they hold a vault
/// already, else new ones. Nothing is written before it is known which.
async fn first_key(
    app: &App,
    args: &Args,
    kit: Option<Kit>,
    workspace: &Workspace,
    now: DateTime<Utc>,
) -> Result<(Pinned, bool, &'static str), CliError> {
    let by_kit = kit.is_some();
    let recovering = by_kit || !args.tier_urls.is_empty();
    let written = match workspace.system_file.exists() {
        true => Some(pinned::system(app, workspace)?.0),
        false => None,
    };
    let first = first_system(&workspace.dir);
    let mut tiers: Vec<(String, String)> = args
        .tier_urls
        .iter()
        .map(|url| ("of --tier-url".to_owned(), url.clone()))
        .collect();
    tiers.extend(match (&written, &kit) {
        (Some(system), _) => urls(system),
        (None, Some(kit)) => kit.tiers.clone(),
        (None, None) => urls(&load_system("system.yaml", &first)?.value),
    });
    let without_identity = kit.as_ref().is_some_and(|kit| kit.identities.is_empty());
    let mut means = Means::default();
    if args.ask_passphrase || args.passphrase_file.is_some() || without_identity {
        means.passphrase = Some(keys::passphrase(args.passphrase_file.as_deref())?);
    }
    if let Some(kit) = kit {
        means.identities = kit.identities;
        means.fingerprint = kit.fingerprint;
    } else {
        means.identities = keys::own_identities()?;
    }
    let base = workspace.system_dir();
    let Some(adopted) = adopt::adopt(app, &tiers, &base, &means, recovering).await? else {
        if written.is_none() {
            write_new(&workspace.system_file, first.as_bytes())?;
        }
        let passphrase = means.passphrase;
        let pinned = keys::establish(workspace, Origin::New { passphrase }, now)?;
        return Ok((pinned, written.is_none(), "made"));
    };
    if written.is_none() {
        match adopted.newest_set().await {
            Some(set) => write_new(&workspace.system_file, &set.system_definition)?,
            None if recovering => {
                return Err(
                    CliError::usage("the tiers hold no recovery set, so none keeps system.yaml").with_hint(
                        format!(
                            "write {} with the system's components and tiers, and run this command again",
                            workspace.system_file.display()
                        ),
                    ),
                );
            }
            None => write_new(&workspace.system_file, first.as_bytes())?,
        }
    }
    if let Some(identity) = &adopted.identity {
        keys::keep_identity(identity)?;
    }
    look_at_tiers(app, workspace, &adopted).await?;
    let mut pinned = keys::establish(workspace, adopted.origin, now)?;
    if by_kit {
        let kit_tiers = tiers.into_iter().map(|(_, url)| url).collect();
        keys::kit_was_exported(workspace, kit_tiers, now)?;
        pinned = keys::pinned(workspace)?;
    }
    Ok((pinned, written.is_none(), ADOPTED))
}

/// Notes which tiers of system.yaml hold the vault that is taken over, and tells which do not: they may have moved.
async fn look_at_tiers(app: &App, workspace: &Workspace, adopted: &Adopted) -> Result<(), CliError> {
    let (system, _) = pinned::system(app, workspace)?;
    let remembered = Remembered::of(&workspace.state);
    for (name, spec) in &system.tiers {
        let urls: Vec<String> = spec.locations().into_iter().map(str::to_owned).collect();
        if let Err(error) = adopted
            .opens(name, &urls, &workspace.system_dir(), &remembered)
            .await
        {
            app.printer.warn(format!(
                "{error}; where it has moved, write its new place into {}",
                workspace.system_file.display()
            ));
        }
    }
    Ok(())
}

/// Returns the tiers of a system file that can be read; a kit without them is still a kit.
pub(crate) fn tier_urls(workspace: &Workspace) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(&workspace.system_file).unwrap_or_default();
    load_system("system.yaml", &text).map_or_else(|_| Vec::new(), |loaded| urls(&loaded.value))
}

fn urls(system: &System) -> Vec<(String, String)> {
    let tiers = system.tiers.iter();
    tiers
        .flat_map(|(name, tier)| {
            tier.locations()
                .into_iter()
                .map(move |url| (name.clone(), url.to_owned()))
        })
        .collect()
}

/// Six lines to start with; the folder's own content is the first component.
fn first_system(dir: &Path) -> String {
    let name: String = dir
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let name = name.trim_matches('-');
    let name = if name.is_empty() { "my-system" } else { name };
    format!(
        "# What Rekindle protects, and where its backups go. `rekindle lint system.yaml` checks this file.\n\
         system: {name}\n\
         root: .                                        # the folder that holds the data\n\
         components:                                    # parts that are captured, restored and judged one by one\n\
         \x20 files: {{source: {{type: files}}, rto: 30m}}     # all of root; `path`, `include`, `exclude` narrow it\n\
         tiers:                                         # each keeps a full copy; put one on another machine\n\
         \x20 local: {{url: \"file://../{name}-backups\"}}\n"
    )
}

fn write_new(path: &Path, text: &[u8]) -> Result<(), CliError> {
    use std::io::Write;
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)?;
        file.write_all(text)?;
        file.sync_all()
    };
    write().map_err(|error| CliError::io(format_args!("write {}", path.display()), &error))
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
