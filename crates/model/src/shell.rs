//! Words of commands, quoted so that a shell reads them unchanged. Every command that a person may paste is written by it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::shown;

/// Returns a word, quoted if a shell would change it.
///
/// Brackets are quoted too, as in `'restore[notes]'`: zsh refuses a glob that matches nothing, and bash replaces one that
/// matches a file. What a terminal would act on is written in octal (`$'a\012b'`, which sh of POSIX 2024, bash, zsh and
/// ksh read), and so are bytes that are no text.
pub fn word(text: &(impl AsRef<OsStr> + ?Sized)) -> String {
    let bytes = text.as_ref().as_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) if is_plain(text) => text.to_owned(),
        Ok(text) if !text.chars().any(shown::acts) => format!("'{}'", text.replace('\'', "'\\''")),
        _ => format!("$'{}'", in_octal(bytes)),
    }
}

/// Returns whether each shell reads a text as itself. A leading `=` is a command's path in zsh.
fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    !text.is_empty() && !text.starts_with('=') && text.chars().all(plain)
}

fn in_octal(bytes: &[u8]) -> String {
    let mut written = String::with_capacity(bytes.len() + 8);
    let octal = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("\\{byte:03o}"))
            .collect::<String>()
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\'' | '\\' => written.extend(['\\', c]),
                c if shown::acts(c) => written.push_str(&octal(c.encode_utf8(&mut [0; 4]).as_bytes())),
                c => written.push(c),
            }
        }
        written.push_str(&octal(chunk.invalid()));
    }
    written
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_word_is_quoted_only_where_a_shell_would_change_it() {
        for (text, written) in [
            ("file:///mnt/near", "file:///mnt/near"),
            ("in=1,2@a:b%", "in=1,2@a:b%"),
            ("", "''"),
            ("my shop", "'my shop'"),
            ("it's", "'it'\\''s'"),
            ("$HOME", "'$HOME'"),
            ("~/a", "'~/a'"),
            ("=ls", "'=ls'"),
            ("restore[a,b]", "'restore[a,b]'"),
            ("öl", "'öl'"),
            ("a\nb'\\", "$'a\\012b\\'\\\\'"),
            ("a\u{202e}b", "$'a\\342\\200\\256b'"),
        ] {
            assert_eq!(word(text), written);
        }
        assert_eq!(word(OsStr::from_bytes(b"a\xff1")), "$'a\\3771'");
    }

    #[test]
    fn bash_reads_every_word_unchanged() {
        let words: [&[u8]; 8] = [
            b"a b",
            b"it's",
            b"$x`y`",
            b"*[a]?",
            b"a\nb\tc",
            b"\xff\\1'",
            b"!x",
            "\u{202e}ö".as_bytes(),
        ];
        let script = words.map(|text| word(OsStr::from_bytes(text))).join(" ");
        let script = format!("printf '%s\\0' {script}");
        let said = match Command::new("bash").args(["-c", &script]).output() {
            Ok(said) => said.stdout,
            // Without bash, the test above says what is written.
            Err(_) => return,
        };
        let read: Vec<&[u8]> = said.split_inclusive(|byte| *byte == 0).collect();
        let expect = words.map(|text| [text, b"\0"].concat());
        assert_eq!(read, expect);
    }
}
