//! `rekindle key`

use std::path::PathBuf;

use crate::App;
use crate::exit::Exit;
use rekindle_model::time;
use rekindle_workspace::Error;
use rekindle_workspace::keys::UnlockBy;
use rekindle_workspace::keys::kit::{self, HandedOut};
use rekindle_workspace::keys::other_systems::OtherSystems;
use rekindle_workspace::operations::key_list::{self, CopyState, KeyCopy, KeyList, KeyState, ListedIdentity};
use rekindle_workspace::tiers;

/// The instructions of a recovery kit for its reader, as comment lines.
pub(crate) const HOW_TO: &str = "\
# To come back on a machine that has nothing else, with this file as kit.txt and a tier within reach:
#   rekindle init DIR --from-kit kit.txt
#       takes the key from a tier of DIR/system.yaml. If system.yaml is lost too, it comes from one of the tiers above.
#       --tier-url URL names a tier that has moved.
#   rekindle -w DIR recover --to OUT
#       recovers everything into the folder OUT; without --to, into the system's own folder.
# Where a passphrase opens the key, the program asks for it, or takes it from REKINDLE_PASSPHRASE or a file.
";

/// What to do with the key.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Write the recovery kit: all that a bare machine needs, beside a tier, to recover
    ///
    /// The kit names the other systems of this host that its identity opens. A person who has the kit can read those too.
    Export {
        /// Write it to this new file (0600) instead of the terminal
        #[arg(long, value_name = "FILE")]
        kit: Option<PathBuf>,
    },
    /// Show where the key is: the identities of this user, and the copies in the workspace and in each tier
    ///
    /// Shows no secret. Works without the key, and if a tier does not answer. Exits with 1 if the key does not open here,
    /// with 3 if a tier does not answer, with 5 if a copy is missing, damaged or of another key.
    List,
}

/// Does it.
pub(crate) async fn run(app: &App, command: &Command) -> Result<Exit, Error> {
    match command {
        Command::Export { kit } => export(app, kit.as_deref()),
        Command::List => list(app, &key_list::list(&app.application).await?),
    }
}

fn export(app: &App, file: Option<&std::path::Path>) -> Result<Exit, Error> {
    let layout = app.application.layout()?;
    let HandedOut { text, opens } =
        kit::hand_out(&app.application, &layout, &tiers::urls(&layout), HOW_TO, file)?;
    let body = match file {
        Some(file) => serde_json::json!({ "kit_file": file, "other_systems": opens }),
        None => serde_json::json!({ "kit": text, "other_systems": opens }),
    };
    app.printer.document(&body, || match file {
        Some(file) => {
            let mut said = format!(
                "wrote the recovery kit to {}: keep it where a disaster does not reach it",
                file.display()
            );
            for line in opens.as_ref().map(OtherSystems::lines).unwrap_or_default() {
                said.push_str(&format!("\nit {line}"));
            }
            said
        }
        None => text.clone(),
    })?;
    Ok(Exit::Done)
}

fn list(app: &App, listed: &KeyList) -> Result<Exit, Error> {
    app.printer.data(listed, || said(listed))?;
    let any = |state| listed.copies.iter().any(|copy| copy.state == state);
    Ok(match listed.state {
        _ if listed.copies.iter().any(KeyCopy::is_lost) => Exit::DataLost,
        KeyState::Closed | KeyState::None => Exit::Failed,
        KeyState::Opens if any(CopyState::Missing) => Exit::DataLost,
        _ if any(CopyState::Missing) || any(CopyState::Unreachable) => Exit::Partial,
        KeyState::Opens | KeyState::Locked => Exit::Done,
    })
}

fn said(listed: &KeyList) -> String {
    let mut said = String::new();
    let mut row = |of: &str, text: String| said.push_str(&format!("{of:<11} {text}\n"));
    row("workspace", listed.workspace.display().to_string());
    if let (Some(fingerprint), Some(since)) = (&listed.fingerprint, listed.since) {
        row(
            "fingerprint",
            format!("{fingerprint}, here since {}", time::show(since)),
        );
    }
    row(
        "key",
        match (listed.state, &listed.fault) {
            (KeyState::Opens, _) => "opens".to_owned(),
            (KeyState::Locked, Some(why)) => format!("LOCKED: {why}"),
            (_, why) => format!("DOES NOT OPEN: {}", why.as_deref().unwrap_or_default()),
        },
    );
    row(
        "passphrase",
        match (listed.unlock, listed.state) {
            (Some(UnlockBy::Identity), _) => "none: an identity opens the key",
            (Some(UnlockBy::Passphrase), KeyState::Opens) => "opens the key",
            (Some(UnlockBy::Passphrase), KeyState::Locked) => "opens the key; was not tried now",
            (Some(UnlockBy::Passphrase), _) => "did not open the key",
            (None, _) => "not known",
        }
        .to_owned(),
    );
    for identity in &listed.identities {
        row("identity", identity_line(identity));
    }
    if listed.identities.is_empty() {
        row("identity", "none".to_owned());
    }
    for line in listed.other_systems.iter().flat_map(OtherSystems::lines) {
        row("", format!("the identity {line}"));
    }
    for copy in &listed.copies {
        row("copy", copy_line(copy));
    }
    row(
        "kit",
        match listed.kit_exported {
            Some(at) => format!("handed out {}", time::show(at)),
            None => "NEVER handed out".to_owned(),
        },
    );
    said
}

fn identity_line(identity: &ListedIdentity) -> String {
    let file = identity.file.display();
    let Some(recipient) = &identity.recipient else {
        return format!(
            "{file}: UNREADABLE: {}",
            identity.fault.as_deref().unwrap_or_default()
        );
    };
    let opens = match identity.opens {
        Some(true) => "opens the key",
        Some(false) => "does not open the key",
        None => "not tried: there is no copy of the key",
    };
    let since = identity
        .since
        .map_or_else(String::new, |since| format!(", since {}", time::show(since)));
    format!("{file}: {opens}{since} ({recipient})")
}

fn copy_line(copy: &KeyCopy) -> String {
    let place = match &copy.tier {
        Some(tier) => format!("tier {tier}, {}", copy.place),
        None => copy.place.clone(),
    };
    let state = match (copy.state, &copy.tier) {
        (CopyState::Same, None) => "there",
        (CopyState::Same, Some(_)) => "the same file",
        (CopyState::SameKey, _) => "the same key, wrapped differently",
        (CopyState::OtherKey, _) => "ANOTHER KEY",
        (CopyState::Unopened, _) => "another file that nothing here opens",
        (CopyState::Damaged, _) => "DAMAGED",
        (CopyState::Missing, _) => "MISSING",
        (CopyState::NothingYet, _) => "nothing yet",
        (CopyState::Unreachable, _) => "NOT REACHED",
    };
    match &copy.why {
        Some(why) => format!("{place}: {state}: {why}"),
        None => format!("{place}: {state}"),
    }
}
