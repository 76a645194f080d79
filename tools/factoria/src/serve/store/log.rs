//! A file that lines are appended to, durably, and that is put right after a kill.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::Identity;
use crate::error::FactoriaError;
use crate::probe::regular;

/// How far back from the end the last line is looked for; lines are a few hundred bytes long.
const TAIL: u64 = 1 << 20;

/// An open log, ending in a whole line.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    length: u64,
    identity: Identity,
    /// Set when a line that failed could not be taken back: going on would follow half a line.
    broken: bool,
}

impl Log {
    /// Opens a log that is there and returns it with its last whole line, without the line feed.
    ///
    /// The text after the last line feed is a write that a kill cut off. `is_whole` gets the last whole line and that
    /// text. If it says that only the line feed is missing, the line is completed; otherwise the text is cut off,
    /// since it was never reported as written. If it says that the log is unsound, and why, nothing is changed.
    pub(super) fn open(
        path: &Path,
        is_whole: impl FnOnce(Option<&[u8]>, &[u8]) -> Result<bool, &'static str>,
    ) -> Result<(Self, Option<Vec<u8>>), FactoriaError> {
        // A log is never created: an absent one is lost, and a new one in its place would hide that.
        regular(path).map_err(FactoriaError::io("open", path))?;
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .open(path)
            .map_err(FactoriaError::io("open", path))?;
        let about = file.metadata().map_err(FactoriaError::io("look at", path))?;
        let start = about.len().saturating_sub(TAIL);
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(start))
            .and_then(|_| file.read_to_end(&mut tail))
            .map_err(FactoriaError::io("read", path))?;
        let end = tail.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        if end.is_none() && start > 0 {
            return Err(FactoriaError::Log {
                path: path.to_owned(),
                why: format!("no line ends in its last {TAIL} bytes"),
            });
        }
        let (lines, rest) = tail.split_at(end.unwrap_or(0));
        let last = lines.strip_suffix(b"\n").map(|lines| {
            let begin = lines
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            lines[begin..].to_vec()
        });
        let mut log = Self {
            path: path.to_owned(),
            length: start + lines.len() as u64,
            identity: Identity::of(&about),
            file,
            broken: false,
        };
        if rest.is_empty() {
            return Ok((log, last));
        }
        if is_whole(last.as_deref(), rest).map_err(|why| log.unsound(why))? {
            log.length += rest.len() as u64;
            log.append(b"\n")?;
            return Ok((log, Some(rest.to_vec())));
        }
        log.cut()
            .map_err(FactoriaError::io("cut the torn line of", path))?;
        Ok((log, last))
    }

    /// Appends whole lines; they are durable when this returns, and not there after an error.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<(), FactoriaError> {
        self.identity.check(&self.path)?;
        if self.broken {
            return Err(FactoriaError::Log {
                path: self.path.clone(),
                why: "a line that failed could not be taken back".to_owned(),
            });
        }
        match self.file.write_all(lines).and_then(|()| self.file.sync_data()) {
            Ok(()) => {
                self.length += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.broken = self.cut().is_err();
                Err(FactoriaError::io("append to", &self.path)(error))
            }
        }
    }

    fn cut(&mut self) -> std::io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.sync_data()
    }

    /// Returns an error about this log.
    pub(super) fn unsound(&self, why: &str) -> FactoriaError {
        FactoriaError::Log {
            path: self.path.clone(),
            why: why.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_torn_end_is_cut_or_completed_and_never_doubled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for (before, whole, after, last) in [
            ("", false, "", None),
            ("a\nb\n", false, "a\nb\n", Some("b")),
            ("a\nb\nto", false, "a\nb\n", Some("b")),
            ("a\nb\nc", true, "a\nb\nc\n", Some("c")),
            ("to", false, "", None),
        ] {
            fs::write(&path, before).unwrap();
            let (mut log, found) = Log::open(&path, |_, _| Ok(whole)).unwrap();
            assert_eq!(found.as_deref(), last.map(str::as_bytes), "{before:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), after, "{before:?}");
            log.append(b"next\n").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{after}next\n"));
        }
    }

    #[test]
    fn a_log_that_is_gone_or_replaced_is_not_written_and_never_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert!(Log::open(&path, |_, _| Ok(false)).is_err());
        fs::write(&path, "a\n").unwrap();
        let (mut log, _) = Log::open(&path, |_, _| Ok(false)).unwrap();
        fs::rename(&path, folder.path().join("aside")).unwrap();
        assert!(matches!(log.append(b"b\n"), Err(FactoriaError::Replaced { .. })));
        assert!(!path.exists());
        fs::write(&path, "restored\n").unwrap();
        assert!(matches!(log.append(b"b\n"), Err(FactoriaError::Replaced { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "restored\n");
        assert_eq!(fs::read_to_string(folder.path().join("aside")).unwrap(), "a\n");
    }
}
