//! The recovery kit: all that a bare machine needs, beside a tier, to come back. This module writes it and reads it,
//! so the program does the same as the kit says.

use std::path::Path;

use chrono::{DateTime, Utc};
use rekindle_model::next_action::Action;
use rekindle_model::{shown, time};
use rekindle_vault::key::{Identity, KeyError};
use rekindle_vault::regular;
use rekindle_vault::{KnownHead, Remembered};

use super::identity::Unlocker;
use super::identity_files::{identities, identity_text};
use super::keyring::{self, PinnedKey, UnlockBy};
use super::other_systems::{OPENS, OtherSystems};
use super::secret_file::write_secret;
use crate::Application;
use crate::error::Error;
use crate::layout::Layout;

/// The content of a kit. A file with only an identity is a kit too: people copy paper by hand.
pub struct Kit {
    /// The identities that open the vault; empty if a passphrase does.
    pub identities: Vec<Identity>,
    /// The fingerprint of the vault's key.
    pub fingerprint: Option<String>,
    /// The tiers by name, as they were when the kit was handed out.
    pub tiers: Vec<(String, String)>,
    /// The newest heads of the tiers' locations then. A tier that is older than that was put back.
    pub heads: Vec<KnownHead>,
}

/// Returns the text of a kit. `opens` says what the identity opens, in lines; `how_to` says how to recover with it, in comment lines. `secret` is the identity's line,
/// or says that there is none.
pub fn text(
    pinned: &PinnedKey,
    system_file: &Path,
    tiers: &[(String, String)],
    heads: &[KnownHead],
    opens: &[String],
    how_to: &str,
    secret: &str,
) -> String {
    let opens: String = opens
        .iter()
        .map(|line| format!("# {}\n", shown::line(line)))
        .collect();
    let tiers: String = tiers
        .iter()
        .map(|(name, url)| format!("#   {name}: {url}\n"))
        .collect();
    let heads: String = heads.iter().map(head_line).collect();
    format!(
        "# Rekindle recovery kit · {}\n\
         # This and a tier are enough to read every backup: print it, lock it away.\n\
         {opens}\
         # repository   {}\n\
         # fingerprint  {}\n\
         # system file  {} (./ and ../ in a tier are seen from its folder)\n\
         # tiers\n{tiers}\
         {heads}{how_to}{secret}",
        time::show(pinned.created),
        pinned.repository,
        pinned.fingerprint,
        system_file.display(),
    )
}

/// How the line of a head begins, after the comment sign.
const HEAD: &str = "head ";

/// Returns the line of a head: tier, location, number, hash, time, and newest set.
fn head_line(head: &KnownHead) -> String {
    let KnownHead {
        tier,
        location,
        n,
        hash,
        at,
        set,
        of_kit: _,
    } = head;
    let set = set.map_or_else(|| "-".to_owned(), |set| set.to_string());
    format!("# {HEAD}{tier} {location} {n} {hash} {} {set}\n", at.to_rfc3339())
}

fn parse_head(line: &str) -> Option<KnownHead> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [tier, location, n, hash, at, set] = words[..] else {
        return None;
    };
    Some(KnownHead {
        tier: tier.to_owned(),
        location: location.parse().ok()?,
        n: n.parse().ok()?,
        hash: hash.parse().ok()?,
        at: DateTime::parse_from_rfc3339(at).ok()?.to_utc(),
        set: (set != "-").then(|| set.parse()).transpose().ok()?,
        of_kit: true,
    })
}

impl Kit {
    /// Reads a kit, or a file that holds only an identity.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let text = regular::read_text(file, regular::SMALL)
            .map_err(|error| Error::usage(format!("cannot read {}: {error}", file.display())))?;
        let kit = Self::parse(&text).map_err(|error| {
            Error::usage(format!("{}: {error}", file.display()))
                .with_advice("name the recovery kit, or a file that holds one age identity")
        })?;
        if kit.identities.is_empty() && kit.fingerprint.is_none() {
            return Err(Error::usage(format!("{} is no recovery kit", file.display()))
                .with_next(Action::ExportKit, "writes one, as long as the workspace exists"));
        }
        Ok(kit)
    }

    fn parse(text: &str) -> Result<Self, KeyError> {
        let mut kit = Self {
            identities: identities(text)?,
            fingerprint: None,
            tiers: Vec::new(),
            heads: Vec::new(),
        };
        for line in text.lines().filter_map(|line| line.trim().strip_prefix('#')) {
            let line = line.trim();
            if let Some(fingerprint) = line.strip_prefix("fingerprint ") {
                kit.fingerprint = Some(fingerprint.trim().to_owned());
            } else if let Some(head) = line.strip_prefix(HEAD) {
                // A line that was copied wrongly by hand must not cost a recovery.
                kit.heads.extend(parse_head(head));
            } else if line.starts_with(OPENS) {
                // Names of other systems are for people.
            } else if let Some((name, url)) = line.split_once(": ")
                && url.contains("://")
            {
                kit.tiers.push((name.to_owned(), url.trim().to_owned()));
            }
        }
        Ok(kit)
    }
}

/// Returns the fault of the recovery kit as it was handed out, if it has one. On the day of need, nothing but the kit
/// may be left.
pub fn kit_fault(pinned: &PinnedKey, tiers: &[(String, String)]) -> Option<String> {
    if pinned.kit_exported.is_none() {
        return Some(
            "the recovery kit was never exported: if this machine is lost, so are its backups".to_owned(),
        );
    }
    let names = |url: &String| pinned.kit_tiers.is_empty() || pinned.kit_tiers.contains(url);
    let missing = tiers.iter().find(|(_, url)| !names(url));
    missing.map(|(name, url)| {
        format!("the recovery kit was exported before tier {name} was at {url}: it does not lead there")
    })
}

/// Notes that the recovery kit was handed out, naming these tiers.
pub fn kit_was_exported(layout: &Layout, tiers: Vec<String>, now: DateTime<Utc>) -> Result<(), Error> {
    let mut pinned = keyring::pinned(layout)?;
    pinned.kit_exported = Some(now);
    pinned.kit_tiers = tiers;
    keyring::pin(layout, &pinned)
}

/// Returns the recovery kit: all that a bare machine needs, beside a tier, to come back.
fn kit_of(
    layout: &Layout,
    unlocker: &Unlocker,
    tiers: &[(String, String)],
    how_to: &str,
) -> Result<HandedOut, Error> {
    let pinned = keyring::pinned(layout)?;
    let (secret, opens) = match pinned.unlock {
        UnlockBy::Identity => {
            let identity = keyring::right_identity(layout, unlocker, &keyring::wrapped(layout)?)?.identity;
            let files = keyring::identity_files(layout, unlocker);
            let others = OtherSystems::of(&identity, &pinned.fingerprint, layout, &files);
            (identity_text(&identity), Some(others))
        }
        UnlockBy::Passphrase => (
            "# Opened by your passphrase, which is not written down here.\n".to_owned(),
            None,
        ),
    };
    // Without its notes the kit is as good, and only cannot tell a tier that was put back.
    let heads = Remembered::of(&layout.state).heads().unwrap_or_default();
    let lines = opens.as_ref().map(OtherSystems::lines).unwrap_or_default();
    Ok(HandedOut {
        text: text(
            &pinned,
            &layout.system_file,
            tiers,
            &heads,
            &lines,
            how_to,
            &secret,
        ),
        opens,
    })
}

/// A kit that was handed out.
pub struct HandedOut {
    /// Its text.
    pub text: String,
    /// What its identity opens beside this system; none if a passphrase opens the key.
    pub opens: Option<OtherSystems>,
}

/// Hands out the kit, to `file` or as text, and notes this in the pinned key. On a disk that has turned read-only, the
/// kit is needed most. So if the note fails, this only warns.
pub fn hand_out(
    app: &Application,
    layout: &Layout,
    tiers: &[(String, String)],
    how_to: &str,
    file: Option<&Path>,
) -> Result<HandedOut, Error> {
    let kit = kit_of(layout, &app.unlocker, tiers, how_to)?;
    if let Some(file) = file {
        if file.exists() {
            return Err(
                Error::usage(format!("{} exists", file.display())).with_advice("name a new file for the kit")
            );
        }
        write_secret(file, kit.text.as_bytes())?;
    }
    let tiers = tiers.iter().map(|(_, url)| url.clone()).collect();
    if let Err(error) = kit_was_exported(layout, tiers, app.clock.now().utc) {
        app.notices.warn(format!(
            "the kit is whole, but this workspace cannot note that it was handed out: {error}"
        ));
    }
    Ok(kit)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use rekindle_model::id::{Hash32, SetId};

    use super::*;

    #[test]
    fn a_kit_is_read_back_as_written_and_its_secret_alone_is_a_kit_too() {
        let identity = Identity::generate();
        let pinned = PinnedKey {
            fingerprint: "ab12".to_owned(),
            repository: "r".to_owned(),
            unlock: UnlockBy::Identity,
            created: DateTime::UNIX_EPOCH,
            identity_dir: None,
            kit_exported: None,
            kit_tiers: Vec::new(),
        };
        let tiers = [
            ("near".to_owned(), "file://./tiers/near".to_owned()),
            ("far".to_owned(), "file:///mnt/far".to_owned()),
        ];
        let secret = format!("{}\n", identity.to_string());
        let head = KnownHead {
            tier: "near".to_owned(),
            location: uuid::Uuid::from_u128(7),
            n: 12,
            hash: Hash32([0xa5; 32]),
            at: DateTime::UNIX_EPOCH,
            set: Some(SetId(uuid::Uuid::from_u128(8))),
            of_kit: true,
        };
        let heads = [
            KnownHead {
                set: None,
                ..head.clone()
            },
            head,
        ];
        let file = Path::new("/srv/shop/system.yaml");
        let opens = ["opens this system, and also a: file://b in /srv/b".to_owned()];
        let written = text(&pinned, file, &tiers, &heads, &opens, "", &secret);
        let kit = Kit::parse(&written).unwrap();
        assert_eq!(kit.fingerprint.as_deref(), Some("ab12"));
        assert_eq!(kit.tiers, tiers);
        assert_eq!(kit.heads, heads);
        assert_eq!(kit.identities[0].to_string(), identity.to_string());
        assert_eq!(Kit::parse(&secret).unwrap().identities.len(), 1);
        assert!(Kit::parse("AGE-SECRET-KEY-1TORN").is_err());
    }
}
