//! The locations of tiers that this version can open.

use rekindle_model::system::TIER_SCHEMES;

use crate::diagnostic::{Fault, suggest};

/// Schemes of object stores, which users may expect to work.
const NOT_YET: [&str; 6] = ["s3", "gs", "az", "http", "https", "sftp"];

/// Returns the fault of a tier's URL, with a remedy.
pub(crate) fn check(url: &str) -> Result<(), Fault> {
    let supported = "this version opens `file:///folder`, and `file://./folder` beside the system's file";
    let fault = |message: String, help: String| {
        Err(Fault {
            message,
            help: Some(help),
        })
    };
    let Some((scheme, path)) = url.split_once("://") else {
        let help = format!("write `file://{url}` for a folder");
        return fault(format!("`{url}` is not a URL"), help);
    };
    if !TIER_SCHEMES.contains(&scheme) {
        let help = match NOT_YET.contains(&scheme) {
            true => supported.to_owned(),
            false => match suggest(scheme, TIER_SCHEMES) {
                Some(near) if near.starts_with("did you mean") => format!("{near} {supported}"),
                _ => supported.to_owned(),
            },
        };
        return fault(format!("no tier can be kept at `{scheme}://`"), help);
    }
    let relative = ["./", "../"].iter().any(|start| path.starts_with(start));
    if relative || path.starts_with('/') || path == "." || path == ".." {
        return Ok(());
    }
    let help = match path {
        "" => supported.to_owned(),
        _ => format!("write `file://./{path}` for a folder beside the system's file; {supported}"),
    };
    fault(format!("`{url}` names no folder of this machine"), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_that_this_version_cannot_open_is_refused_with_what_it_opens() {
        for url in [
            "file:///mnt/near",
            "file://./tiers/near",
            "file://../near",
            "file://.",
        ] {
            assert_eq!(check(url), Ok(()), "{url}");
        }
        for (url, message, help) in [
            (
                "fil://./near",
                "`fil://`",
                "did you mean `file`? this version opens",
            ),
            ("s3://bucket/near", "`s3://`", "this version opens"),
            ("FILE:///near", "`FILE://`", "this version opens"),
            ("./near", "not a URL", "file://./near"),
            ("file://near", "no folder", "file://./near"),
            ("file://", "no folder", "this version opens"),
        ] {
            let fault = check(url).expect_err(url);
            assert!(fault.message.contains(message), "{url}: {fault:?}");
            assert!(fault.help.unwrap().contains(help), "{url}");
        }
        let fault = check("s3://bucket/near").unwrap_err();
        assert!(!fault.help.unwrap().contains("did you mean"));
    }
}
