//! `rekindle init`

use rekindle_workspace::tiers;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rekindle_model::next_action::{Action, Recover, RecoverTarget};
use rekindle_plan::load_system;
use rekindle_vault::Remembered;
use serde_json::json;

use crate::App;
use crate::command_hints;
use crate::exit::Exit;
use rekindle_workspace::Error;
use rekindle_workspace::keys::from_tier::{self as adopt, Adopted, Means};
use rekindle_workspace::keys::kit::Kit;
use rekindle_workspace::keys::{self, Origin, PinnedKey, kit};
use rekindle_workspace::layout::Layout;
use rekindle_workspace::run_spec;

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
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let here = std::env::current_dir().map_err(|error| Error::io("find the current folder", &error))?;
    let dir = match (&args.dir, &app.global.workspace) {
        (Some(dir), _) | (None, Some(dir)) => here.join(dir),
        (None, None) => here,
    };
    let kit = args.from_kit.as_deref().map(Kit::read).transpose()?;
    std::fs::create_dir_all(&dir)
        .map_err(|error| Error::io(format_args!("make {}", dir.display()), &error))?;
    let dir = dir
        .canonicalize()
        .map_err(|error| Error::io(format_args!("find {}", dir.display()), &error))?;
    let mut layout = Layout::at(&dir);
    if let Some(file) = &app.global.system {
        layout.system_file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
    }
    let now = app.application.clock.now().utc;
    let (pinned, made_system, key) = if keys::exists(&layout) {
        if let Some(kit) = &kit {
            keys::put_back_identity(&layout, &app.application.unlocker, &kit.identities)?;
        }
        let made_system = !layout.system_file.exists();
        if made_system {
            write_new(&layout.system_file, first_system(&dir).as_bytes())?;
        }
        (keys::pinned(&layout)?, made_system, "kept")
    } else {
        first_key(app, args, kit, &layout, now).await?
    };
    let made_key = key == "made";
    let mut kit_exported = pinned.kit_exported.is_some();
    if let Some(kit) = &args.kit {
        kit::hand_out(
            &app.application,
            &layout,
            &tiers::urls(&layout),
            crate::commands::key::HOW_TO,
            Some(kit),
        )?;
        kit_exported = true;
    }
    let body = json!({
        "workspace": layout.dir, "system": layout.system_file, "system_made": made_system,
        "key_made": made_key, "key": key, "fingerprint": pinned.fingerprint, "kit_exported": kit_exported,
    });
    app.printer.data(&body, || {
        // A person who named the folder is in another one.
        let command = |action: Action| match &args.dir {
            Some(dir) => command_hints::command(&action, &command_hints::workspace(dir)),
            None => app.printer.command(&action),
        };
        let elsewhere = Action::Recover(Recover {
            target: RecoverTarget::Elsewhere,
            ..Recover::default()
        });
        let verb = |made| if made { "made" } else { "kept" };
        let mut said = format!(
            "{} {}\n{key} the key, fingerprint {}\n",
            verb(made_system),
            layout.system_file.display(),
            pinned.fingerprint
        );
        match &args.kit {
            Some(kit) => said.push_str(&format!(
                "wrote the recovery kit to {}: keep it elsewhere\n",
                kit.display()
            )),
            None if !kit_exported => {
                said.push_str(&format!(
                    "next: `{}`; without the kit a lost machine loses the backups\n",
                    command(Action::ExportKit)
                ));
            }
            None => {}
        }
        let file = args.dir.as_deref().unwrap_or(Path::new("")).join("system.yaml");
        said.push_str(&match key {
            ADOPTED => {
                format!(
                    "then: `{}` lists what there is, `{}` brings it back",
                    command(Action::ListSets),
                    command(elsewhere)
                )
            }
            _ => format!(
                "then: edit {}, `{}`, `{}`",
                file.display(),
                command(Action::Lint {
                    file: Some(file.clone())
                }),
                command(Action::Backup)
            ),
        });
        said
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
    layout: &Layout,
    now: DateTime<Utc>,
) -> Result<(PinnedKey, bool, &'static str), Error> {
    let by_kit = kit.is_some();
    let recovering = by_kit || !args.tier_urls.is_empty();
    let written = match layout.system_file.exists() {
        true => Some(run_spec::system(layout)?.0),
        false => None,
    };
    let first = first_system(&layout.dir);
    let mut tiers: Vec<(String, String)> = args
        .tier_urls
        .iter()
        .map(|url| ("of --tier-url".to_owned(), url.clone()))
        .collect();
    tiers.extend(match (&written, &kit) {
        (Some(system), _) => tiers::urls_of(system),
        (None, Some(kit)) => kit.tiers.clone(),
        (None, None) => tiers::urls_of(&load_system("system.yaml", &first)?.value),
    });
    let without_identity = kit.as_ref().is_some_and(|kit| kit.identities.is_empty());
    let mut means = Means::default();
    if args.ask_passphrase || args.passphrase_file.is_some() || without_identity {
        means.passphrase = Some(
            app.application
                .unlocker
                .passphrase(args.passphrase_file.as_deref())?,
        );
    }
    if let Some(kit) = kit {
        means.identities = kit.identities;
        means.fingerprint = kit.fingerprint;
    } else {
        means.identities = app.application.unlocker.own_identities()?;
    }
    let base = layout.system_dir();
    let Some(adopted) = adopt::adopt(&app.application, &tiers, &base, &means, recovering).await? else {
        if written.is_none() {
            write_new(&layout.system_file, first.as_bytes())?;
        }
        let passphrase = means.passphrase;
        let pinned = keys::establish(layout, &app.application.unlocker, Origin::New { passphrase }, now)?;
        return Ok((pinned, written.is_none(), "made"));
    };
    if written.is_none() {
        match adopted.newest_set().await {
            Some(set) => write_new(&layout.system_file, &set.system_definition)?,
            None if recovering => {
                return Err(
                    Error::usage("the tiers hold no recovery set, so none keeps system.yaml").with_advice(
                        format!(
                            "write {} with the system's components and tiers, and run this command again",
                            layout.system_file.display()
                        ),
                    ),
                );
            }
            None => write_new(&layout.system_file, first.as_bytes())?,
        }
    }
    if let Some(identity) = &adopted.identity {
        app.application.unlocker.keep_identity(identity)?;
    }
    look_at_tiers(app, layout, &adopted).await?;
    let mut pinned = keys::establish(layout, &app.application.unlocker, adopted.origin, now)?;
    if by_kit {
        let kit_tiers = tiers.into_iter().map(|(_, url)| url).collect();
        kit::kit_was_exported(layout, kit_tiers, now)?;
        pinned = keys::pinned(layout)?;
    }
    Ok((pinned, written.is_none(), ADOPTED))
}

/// Notes which tiers of system.yaml hold the vault that is taken over, and tells which do not: they may have moved.
async fn look_at_tiers(app: &App, layout: &Layout, adopted: &Adopted) -> Result<(), Error> {
    let (system, _) = run_spec::system(layout)?;
    let remembered = Remembered::of(&layout.state);
    for (name, spec) in &system.tiers {
        let urls: Vec<String> = spec.locations().into_iter().map(str::to_owned).collect();
        if let Err(error) = adopted
            .opens(name, &urls, &layout.system_dir(), &remembered)
            .await
        {
            app.printer.warn(format!(
                "{error}; where it has moved, write its new place into {}",
                layout.system_file.display()
            ));
        }
    }
    Ok(())
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

fn write_new(path: &Path, text: &[u8]) -> Result<(), Error> {
    use std::io::Write;
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)?;
        file.write_all(text)?;
        file.sync_all()
    };
    write().map_err(|error| Error::io(format_args!("write {}", path.display()), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_system_has_six_lines_and_no_fault() {
        let text = first_system(Path::new("/srv/My ContextRunFactory"));
        assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), 6);
        let loaded = load_system("system.yaml", &text).unwrap();
        assert_eq!(loaded.value.system, "my-shop");
        assert_eq!(loaded.value.components.len(), 1);
    }
}
