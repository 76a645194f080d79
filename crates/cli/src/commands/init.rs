//! `rekindle init`

use std::path::{Path, PathBuf};

use rekindle_model::next_action::{Action, Recover, RecoverTarget};
use rekindle_workspace::Error;
use rekindle_workspace::operations::init::{self, InitRequest, InitResult, KeySource};
use serde_json::json;

use crate::App;
use crate::command_hints;
use crate::commands::key::HOW_TO;
use crate::exit::Exit;

/// Make a first system.yaml and a key; keep everything that exists
///
/// Each new system gets an identity of its own in the config folder, so a stolen kit opens one system only.
///
/// If a tier of system.yaml already holds a vault, init takes that vault's key and makes no new one. It opens the key
/// by the recovery kit (--from-kit), by an identity in the config folder, or by the passphrase. If none of them opens
/// it, init refuses: a new key would never open that vault. It also refuses if the workspace has a key that no identity
/// here opens.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of the system [default: the current one]
    dir: Option<PathBuf>,
    /// Recover after the loss of this machine: take the key from a tier by this recovery kit, and also system.yaml if
    /// it is lost
    #[arg(long, value_name = "FILE")]
    from_kit: Option<PathBuf>,
    /// Take them also from this tier, beside the tiers of system.yaml or of the kit; without a kit, the passphrase or
    /// an identity in the config folder opens it
    #[arg(long = "tier-url", value_name = "URL")]
    tier_urls: Vec<String>,
    /// Write the recovery kit to this new file (0600)
    #[arg(long, value_name = "FILE")]
    kit: Option<PathBuf>,
    /// Protect the key by a passphrase instead of an identity file; it comes from the terminal or from
    /// REKINDLE_PASSPHRASE
    #[arg(long)]
    ask_passphrase: bool,
    /// Protect the key by the passphrase in this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Makes a workspace.
pub(crate) async fn run(app: &App, args: &Args) -> Result<Exit, Error> {
    let selection = &app.application.selection;
    let request = InitRequest {
        dir: match args.dir.as_ref().or(selection.workspace.as_ref()) {
            Some(dir) => selection.absolute(dir)?,
            None => selection.here.clone()?,
        },
        system_file: selection.system.clone(),
        from_kit: args.from_kit.clone(),
        tier_urls: args.tier_urls.clone(),
        passphrase: (args.ask_passphrase || args.passphrase_file.is_some())
            .then(|| args.passphrase_file.clone()),
        kit: args.kit.clone().map(|kit| (kit, HOW_TO)),
    };
    let made = init::init(&app.application, &request).await?;
    let body = json!({
        "workspace": made.layout.dir, "system": made.layout.system_file, "system_made": made.system_made,
        "key_made": made.key == KeySource::Made, "key": verb(made.key), "fingerprint": made.fingerprint,
        "locked": made.key == KeySource::Locked, "identity": made.identity, "kit_exported": made.kit_exported,
    });
    app.printer.data(&body, || said(app, args, &made))?;
    Ok(Exit::Done)
}

fn verb(key: KeySource) -> &'static str {
    match key {
        KeySource::Kept | KeySource::Locked => "kept",
        KeySource::Made => "made",
        KeySource::Tier => "took over",
    }
}

fn said(app: &App, args: &Args, made: &InitResult) -> String {
    // If the person named a folder, that folder is not the current one.
    let command = |action: &Action| match &args.dir {
        Some(dir) => command_hints::command(action, &command_hints::workspace(dir)),
        None => app.printer.command(action),
    };
    let mut said = format!(
        "{} {}\n{} the key, fingerprint {}\n",
        if made.system_made { "made" } else { "kept" },
        made.layout.system_file.display(),
        verb(made.key),
        made.fingerprint
    );
    if made.key == KeySource::Locked {
        said.push_str("the key was not opened: that needs its passphrase\n");
    }
    if let Some(identity) = &made.identity {
        said.push_str(&format!("{} opens it\n", identity.display()));
    }
    match &args.kit {
        Some(kit) => said.push_str(&format!(
            "wrote the recovery kit to {}: keep it elsewhere\n",
            kit.display()
        )),
        None if !made.kit_exported => said.push_str(&format!(
            "next: `{}`; without the kit a lost machine loses the backups\n",
            command(&Action::ExportKit)
        )),
        None => {}
    }
    let file = args.dir.as_deref().unwrap_or(Path::new("")).join("system.yaml");
    said.push_str(&match made.key {
        KeySource::Tier => format!(
            "then: `{}` lists what there is, `{}` recovers it",
            command(&Action::ListSets),
            command(&Action::Recover(Recover {
                target: RecoverTarget::Elsewhere,
                ..Recover::default()
            }))
        ),
        KeySource::Kept | KeySource::Locked | KeySource::Made => format!(
            "then: edit {}, `{}`, `{}`",
            file.display(),
            command(&Action::Lint {
                file: Some(file.clone())
            }),
            command(&Action::Backup)
        ),
    });
    said
}
