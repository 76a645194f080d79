//! `rekindle init`

use std::path::{Path, PathBuf};

use rekindle_plan::load_system;
use serde_json::json;

use crate::App;
use crate::error::CliError;
use crate::exit::Exit;
use crate::keys;
use crate::workspace::Workspace;

/// Make a system.yaml to begin with, and a key; whatever exists is kept
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of the system [default: the current one]
    dir: Option<PathBuf>,
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
pub(crate) fn run(app: &App, args: &Args) -> Result<Exit, CliError> {
    let here = std::env::current_dir().map_err(|error| CliError::io("find the current folder", &error))?;
    let dir = match (&args.dir, &app.global.workspace) {
        (Some(dir), _) | (None, Some(dir)) => here.join(dir),
        (None, None) => here,
    };
    std::fs::create_dir_all(&dir)
        .map_err(|error| CliError::io(format_args!("make {}", dir.display()), &error))?;
    let dir = dir
        .canonicalize()
        .map_err(|error| CliError::io(format_args!("find {}", dir.display()), &error))?;
    let mut workspace = Workspace::at(&dir);
    if let Some(file) = &app.global.system {
        workspace.system_file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
    }
    let made_system = !workspace.system_file.exists();
    if made_system {
        write_new(&workspace.system_file, &first_system(&dir))?;
    }
    let by_passphrase = args.ask_passphrase || args.passphrase_file.is_some();
    let passphrase = match by_passphrase && keys::pinned(&workspace).is_err() {
        true => Some(keys::passphrase(args.passphrase_file.as_deref())?),
        false => None,
    };
    let (pinned, made_key) = keys::establish(&workspace, passphrase.as_deref(), app.clock.now().utc)?;
    let mut kit_exported = pinned.kit_exported.is_some();
    if let Some(kit) = &args.kit {
        keys::hand_out(&workspace, &tier_urls(&workspace), Some(kit), app.clock.now().utc)?;
        kit_exported = true;
    }
    let body = json!({
        "workspace": workspace.dir, "system": workspace.system_file, "system_made": made_system,
        "key_made": made_key, "fingerprint": pinned.fingerprint, "kit_exported": kit_exported,
    });
    app.printer.data(&body, || {
        let verb = |made| if made { "made" } else { "kept" };
        let mut said = format!(
            "{} {}\n{} the key, fingerprint {}\n",
            verb(made_system),
            workspace.system_file.display(),
            verb(made_key),
            pinned.fingerprint
        );
        match &args.kit {
            Some(kit) => said.push_str(&format!("wrote the recovery kit to {}: keep it elsewhere\n", kit.display())),
            None if !kit_exported => {
                said.push_str("next: `rekindle key export --kit FILE`; without the kit a lost machine loses the backups\n");
            }
            None => {}
        }
        said.push_str("then: edit system.yaml, `rekindle lint system.yaml`, `rekindle backup`");
        said
    })?;
    Ok(Exit::Done)
}

/// Returns the tiers of a system file that can be read; a kit without them is still a kit.
pub(crate) fn tier_urls(workspace: &Workspace) -> Vec<String> {
    let text = std::fs::read_to_string(&workspace.system_file).unwrap_or_default();
    let Ok(loaded) = load_system("system.yaml", &text) else {
        return Vec::new();
    };
    loaded
        .value
        .tiers
        .iter()
        .flat_map(|(name, tier)| {
            tier.locations()
                .into_iter()
                .map(move |url| format!("{name}: {url}"))
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

fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    use std::io::Write;
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)?;
        file.write_all(text.as_bytes())?;
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
