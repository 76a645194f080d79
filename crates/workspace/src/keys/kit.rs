//! The recovery kit: what a bare machine needs, beside a tier, to come back. It is written here and read here,
//! so that what it tells a person to do is what the program does.

use std::path::Path;

use rekindle_vault::key::Identity;

use crate::error::CliError;
use crate::keys::Pinned;
use crate::moment;

/// What a kit says. A file that holds nothing but an identity is a kit too: paper is copied by hand.
pub(crate) struct Kit {
    /// What opens the vault; none where a passphrase does.
    pub(crate) identities: Vec<Identity>,
    /// The fingerprint of the vault's key.
    pub(crate) fingerprint: Option<String>,
    /// The tiers by name, as they were when the kit was handed out.
    pub(crate) tiers: Vec<(String, String)>,
}

/// Returns the text of a kit. `secret` is the identity's line, or says that there is none.
pub(crate) fn text(pinned: &Pinned, system_file: &Path, tiers: &[(String, String)], secret: &str) -> String {
    let tiers: String = tiers
        .iter()
        .map(|(name, url)| format!("#   {name}: {url}\n"))
        .collect();
    format!(
        "# Rekindle recovery kit · {}\n\
         # Whoever holds this and a tier can read every backup: print it, lock it away.\n\
         # repository   {}\n\
         # fingerprint  {}\n\
         # system file  {} (./ and ../ in a tier are seen from its folder)\n\
         # tiers\n{tiers}\
         # To come back on a machine that has nothing else, with this file as kit.txt and a tier within reach:\n\
         #   rekindle init DIR --from-kit kit.txt\n\
         #       takes the key from a tier of DIR/system.yaml. Where system.yaml is lost too, from one of the tiers\n\
         #       above, and writes the system.yaml that is kept there. --tier-url URL names a tier that moved.\n\
         #   rekindle -w DIR recover --to OUT\n\
         #       brings everything back into the folder OUT; without --to, into the system's own folder.\n\
         {secret}",
        moment::show(pinned.created),
        pinned.repository,
        pinned.fingerprint,
        system_file.display(),
    )
}

impl Kit {
    /// Reads a kit, or a file that holds only an identity.
    pub(crate) fn read(file: &Path) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| CliError::usage(format!("cannot read {}: {error}", file.display())))?;
        let kit = Self::parse(&text).map_err(|error| {
            CliError::usage(format!("{}: {error}", file.display()))
                .with_hint("name the recovery kit, or a file that holds one age identity")
        })?;
        if kit.identities.is_empty() && kit.fingerprint.is_none() {
            return Err(CliError::usage(format!("{} is no recovery kit", file.display()))
                .with_hint("`rekindle key export --kit FILE` writes one, as long as the workspace stands"));
        }
        Ok(kit)
    }

    fn parse(text: &str) -> Result<Self, rekindle_vault::key::KeyError> {
        let mut kit = Self {
            identities: identities(text)?,
            fingerprint: None,
            tiers: Vec::new(),
        };
        for line in text.lines().filter_map(|line| line.trim().strip_prefix('#')) {
            let line = line.trim();
            if let Some(fingerprint) = line.strip_prefix("fingerprint ") {
                kit.fingerprint = Some(fingerprint.trim().to_owned());
            } else if let Some((name, url)) = line.split_once(": ")
                && url.contains("://")
            {
                kit.tiers.push((name.to_owned(), url.trim().to_owned()));
            }
        }
        Ok(kit)
    }
}

/// Returns the identities in a text, one a line; lines that begin with `#` are for people.
pub(crate) fn identities(text: &str) -> Result<Vec<Identity>, rekindle_vault::key::KeyError> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(Identity::parse)
        .collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::keys::UnlockBy;

    #[test]
    fn a_kit_says_what_it_was_told_and_one_that_was_cut_down_to_its_secret_still_opens() {
        let identity = Identity::generate();
        let pinned = Pinned {
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
        let told = text(&pinned, Path::new("/srv/shop/system.yaml"), &tiers, &secret);
        let kit = Kit::parse(&told).unwrap();
        assert_eq!(kit.fingerprint.as_deref(), Some("ab12"));
        assert_eq!(kit.tiers, tiers);
        assert_eq!(kit.identities[0].to_string(), identity.to_string());
        assert_eq!(Kit::parse(&secret).unwrap().identities.len(), 1);
        assert!(Kit::parse("AGE-SECRET-KEY-1TORN").is_err());
    }
}
