//! The locations of tiers.

use rekindle_model::system::TierUrls;

use crate::diagnostic::{Fault, suggest_from_all};

const EXAMPLES: &str = "write `file:///mnt/near`, or `file://./near` for a folder beside the system's file";

/// Returns the fault of a tier's URL, with a remedy.
pub(crate) fn check(url: &str, urls: &TierUrls) -> Result<(), Fault> {
    let schemes = (urls.schemes)();
    let (message, help) = match url.split_once("://") {
        None => {
            let folder = url.strip_prefix("file:").unwrap_or(url);
            let beside = if folder.starts_with(['/', '.']) { "" } else { "./" };
            (
                format!("`{url}` is not a URL"),
                Some(format!("write `file://{beside}{folder}` for a folder")),
            )
        }
        Some((scheme, _)) if !schemes.contains(&scheme) => (
            format!("no tier can be kept at `{scheme}://`"),
            suggest_from_all(scheme, &schemes).map(|near| format!("{near}; {EXAMPLES}")),
        ),
        Some(_) => match (urls.fault)(url) {
            None => return Ok(()),
            Some(why) => (
                format!("`{url}` is not a usable location: {why}"),
                Some(EXAMPLES.to_owned()),
            ),
        },
    };
    Err(Fault { message, help })
}

#[cfg(test)]
mod tests {
    use rekindle_vault::store::TIER_URLS;

    use super::*;

    #[test]
    fn a_location_that_this_version_cannot_open_is_refused_with_what_it_opens() {
        for url in [
            "file:///mnt/near",
            "file://./tiers/near",
            "file://../near",
            "file://.",
        ] {
            assert_eq!(check(url, TIER_URLS), Ok(()), "{url}");
        }
        for (url, message, help) in [
            ("fil://./near", "`fil://`", "did you mean `file`? expected one of"),
            ("s3://bucket/near", "`s3://`", "file:///mnt/near"),
            ("FILE:///near", "`FILE://`", "expected one of `file`"),
            ("./near", "not a URL", "file://./near"),
            (
                "file://near",
                "no folder of this machine; write file://./near",
                "",
            ),
            ("file://", "names no folder", "file://./near"),
        ] {
            let fault = check(url, TIER_URLS).expect_err(url);
            assert!(fault.message.contains(message), "{url}: {fault:?}");
            assert!(fault.help.unwrap_or_default().contains(help), "{url}");
        }
    }
}
