//! Where a tier may stand: the kinds of location that this version opens.

use rekindle_model::system::TIER_SCHEMES;

use crate::diagnostic::suggest;

/// Schemes of object stores, which people write in good faith.
const NOT_YET: [&str; 6] = ["s3", "gs", "az", "http", "https", "sftp"];

/// Returns what is wrong with a tier's URL, and what to write instead; none where it can be opened.
pub(crate) fn fault(url: &str) -> Option<(String, String)> {
    let supported = "this version opens `file:///folder`, and `file://./folder` beside the system's file";
    let Some((scheme, path)) = url.split_once("://") else {
        return Some((
            format!("`{url}` is not a URL"),
            format!("write `file://{url}` for a folder"),
        ));
    };
    if !TIER_SCHEMES.contains(&scheme) {
        let help = match NOT_YET.contains(&scheme) {
            true => supported.to_owned(),
            false => match suggest(scheme, TIER_SCHEMES) {
                Some(near) if near.starts_with("did you mean") => format!("{near} {supported}"),
                _ => supported.to_owned(),
            },
        };
        return Some((format!("a tier cannot stand at `{scheme}://`"), help));
    }
    let relative = ["./", "../"].iter().any(|start| path.starts_with(start));
    if relative || path.starts_with('/') || path == "." || path == ".." {
        return None;
    }
    let help = match path {
        "" => supported.to_owned(),
        _ => format!("write `file://./{path}` for a folder beside the system's file; {supported}"),
    };
    Some((format!("`{url}` names no folder of this machine"), help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_version_opens_passes_and_the_rest_is_told_what_it_opens() {
        for url in [
            "file:///mnt/near",
            "file://./tiers/near",
            "file://../near",
            "file://.",
        ] {
            assert_eq!(fault(url), None, "{url}");
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
            let (said, hint) = fault(url).unwrap_or_else(|| panic!("{url} passes"));
            assert!(said.contains(message), "{url}: {said}");
            assert!(hint.contains(help), "{url}: {hint}");
        }
        assert!(!fault("s3://bucket/near").unwrap().1.contains("did you mean"));
    }
}
