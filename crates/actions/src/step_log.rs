//! The output of a step's programs, kept in `.rekindle/logs/<run>/<step>.<attempt>.log`.
//!
//! Each line of a program is one line of the log, after the time (UTC) and its origin: `out`, `err`, or `run` for
//! Rekindle's own notes on the program. Secrets are removed before a line is written. A log has a maximum size. Output
//! beyond it is only counted, and the last line says how much that was.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use chrono::SecondsFormat;
use rekindle_engine::StepContext;
use rekindle_model::id::{RunId, StepId};
use rekindle_model::shown;
use rekindle_model::time::Clock;

use crate::redact::Redactor;

/// The most bytes of one log. That is weeks of output of a sensible program, and a thousand such logs fit on a small
/// disk.
const LOG_BYTES: u64 = 16 << 20;
/// The longest line; a longer one is cut in two.
const LINE_BYTES: usize = 64 << 10;
/// The longest part of a file's name that comes from the step. Most file systems allow 255 bytes for the whole name.
const NAME_BYTES: usize = 160;

/// Where a line came from.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    Out,
    Err,
    Run,
}

/// The log of one attempt of a step. Clones write to the same log.
#[derive(Clone)]
pub(crate) struct StepLog {
    kept: Option<Arc<Mutex<Kept>>>,
    /// Why the log, or its end, could not be written.
    lost: Arc<OnceLock<String>>,
}

struct Kept {
    file: File,
    path: PathBuf,
    clock: Arc<dyn Clock>,
    redactor: Redactor,
    written: u64,
    left_out: u64,
    lost: Arc<OnceLock<String>>,
}

impl StepLog {
    /// Opens the attempt's log to append to it. If that fails, keeps no log, since a step must not fail for lack of its
    /// log; [`StepLog::lost`] says why.
    pub(crate) fn open(workspace: &Path, cx: &StepContext, redactor: &Redactor) -> Self {
        Self::at(
            &path(workspace, cx.run, &cx.step.id, cx.attempt),
            &cx.clock,
            redactor,
        )
    }

    fn at(path: &Path, clock: &Arc<dyn Clock>, redactor: &Redactor) -> Self {
        let mut log = Self::none();
        match Kept::open(path, clock, redactor, &log.lost) {
            Ok(kept) => log.kept = Some(Arc::new(Mutex::new(kept))),
            Err(error) => log.lost.set(lost(path, &error)).unwrap_or_default(),
        }
        log
    }

    /// Returns a log that keeps nothing.
    pub(crate) fn none() -> Self {
        Self {
            kept: None,
            lost: Arc::default(),
        }
    }

    /// Returns why the log, or its end, could not be written.
    pub(crate) fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// Writes a note on the program.
    pub(crate) fn note(&self, text: &str) {
        for line in text.lines() {
            self.line(Stream::Run, line.as_bytes());
        }
    }

    /// Returns a writer that splits a stream into lines.
    pub(crate) fn lines(&self, stream: Stream) -> Lines {
        Lines {
            log: self.clone(),
            stream,
            begun: Vec::new(),
        }
    }

    fn line(&self, stream: Stream, line: &[u8]) {
        if let Some(kept) = &self.kept {
            kept.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .line(stream, line);
        }
    }

    fn redactor(&self) -> Redactor {
        self.kept.as_ref().map_or_else(Redactor::default, |kept| {
            kept.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .redactor
                .clone()
        })
    }
}

fn lost(path: &Path, error: &io::Error) -> String {
    format!(
        "its log lacks what the program wrote: {}: {error}",
        path.display()
    )
}

impl Kept {
    fn open(
        path: &Path,
        clock: &Arc<dyn Clock>,
        redactor: &Redactor,
        lost: &Arc<OnceLock<String>>,
    ) -> io::Result<Self> {
        // The output of programs may contain data that other users may not read.
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)?;
        Ok(Self {
            written: file.metadata()?.len(),
            file,
            path: path.to_owned(),
            clock: Arc::clone(clock),
            redactor: redactor.clone(),
            left_out: 0,
            lost: Arc::clone(lost),
        })
    }

    fn line(&mut self, stream: Stream, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        // People read the file itself too: a program's escape codes must not act on their terminal.
        let line = self.dated(stream, &shown::line(&self.redactor.text(&text)));
        let bytes = line.len() as u64;
        // After a line was left out, all later lines are left out too: a log with holes misleads.
        if self.left_out > 0 || self.written + bytes > LOG_BYTES {
            self.left_out += bytes;
        } else if let Err(error) = self.file.write_all(line.as_bytes()) {
            self.lost.set(lost(&self.path, &error)).unwrap_or_default();
            self.left_out += bytes;
        } else {
            self.written += bytes;
        }
    }

    fn dated(&self, stream: Stream, text: &str) -> String {
        let now = self.clock.now().utc.to_rfc3339_opts(SecondsFormat::Millis, true);
        let stream = match stream {
            Stream::Out => "out",
            Stream::Err => "err",
            Stream::Run => "run",
        };
        format!("{now} {stream} {text}\n")
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.left_out > 0 {
            let last = self.dated(Stream::Run, &format!("{} bytes are left out", self.left_out));
            // If this fails too, `lost` already says so.
            let _ = self.file.write_all(last.as_bytes());
        }
    }
}

/// Splits a stream into lines, and writes them into the log.
pub(crate) struct Lines {
    log: StepLog,
    stream: Stream,
    begun: Vec<u8>,
}

impl Lines {
    /// Takes what came next.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.log.kept.is_none() {
            return;
        }
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(&rest[..end]);
            self.shorten();
            self.flush();
            rest = &rest[end + 1..];
        }
        self.begun.extend_from_slice(rest);
        self.shorten();
    }

    /// Writes the beginning of a line that is too long to keep in memory.
    fn shorten(&mut self) {
        if self.begun.len() <= LINE_BYTES {
            return;
        }
        let redactor = self.log.redactor();
        // A secret whose end has not come yet must not be cut either.
        while self.begun.len() > LINE_BYTES + redactor.longest() {
            let end = redactor.cut(&self.begun, LINE_BYTES);
            let line: Vec<u8> = self.begun.drain(..end).collect();
            self.log.line(self.stream, &line);
        }
    }

    fn flush(&mut self) {
        let line = std::mem::take(&mut self.begun);
        self.log.line(self.stream, &line);
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.begun.is_empty() {
            self.flush();
        }
    }
}

/// Returns the path of an attempt's log; `workspace` is the folder `.rekindle`.
pub fn path(workspace: &Path, run: RunId, step: &StepId, attempt: u32) -> PathBuf {
    let name = format!("{}.{attempt}.log", safe(step.as_str()));
    workspace.join("logs").join(run.to_string()).join(name)
}

/// Returns the step's name as part of a file name. Letters, digits, `.`, `_` and `-` stay; any other byte becomes `%`
/// and two hexadecimal digits, so that no two steps share a name. The end of a long name becomes its hash.
pub(crate) fn safe(step: &str) -> String {
    let mut name = String::new();
    for byte in step.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    if name.len() > NAME_BYTES {
        name.truncate(NAME_BYTES);
        name.push('~');
        name.push_str(&blake3::hash(step.as_bytes()).to_hex()[..16]);
    }
    name
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rekindle_model::time::SystemClock;

    use super::*;

    fn log(path: &Path) -> StepLog {
        let env = BTreeMap::from([("A_TOKEN".to_owned(), "hunter2".to_owned())]);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        StepLog::at(path, &clock, &Redactor::of(&env))
    }

    /// What was written, without the time.
    fn read(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        let undated = |line: &str| {
            let (time, rest) = line.split_once(' ').unwrap();
            assert!(
                time.ends_with('Z') && time.parse::<chrono::DateTime<chrono::Utc>>().is_ok(),
                "{time}"
            );
            rest.to_owned()
        };
        text.lines().map(undated).collect()
    }

    #[test]
    fn names_of_steps_make_safe_and_different_names_of_files() {
        assert_eq!(safe("store[cache,hot]"), "store%5Bcache%2Chot%5D");
        assert_eq!(safe("../etc"), "..%2Fetc");
        assert_eq!(safe("ü"), "%C3%BC");
        let (long, longer) = ("x".repeat(300), "x".repeat(301));
        assert!(safe(&long).len() < 200);
        assert_ne!(safe(&long), safe(&longer));
    }

    #[test]
    fn lines_are_kept_whole_however_they_arrive_and_without_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/a.log");
        let log = log(&path);
        let mut out = log.lines(Stream::Out);
        for piece in ["hel", "lo\nit is hun", "ter2\n\nlast"] {
            out.feed(piece.as_bytes());
        }
        drop(out);
        log.note("exit status: 0");
        assert_eq!(
            read(&path),
            [
                "out hello",
                "out it is ***",
                "out ",
                "out last",
                "run exit status: 0"
            ]
        );
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn a_line_without_end_is_cut_and_never_within_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let mut err = log(&path).lines(Stream::Err);
        let line = format!("{}hunter2{}", "a".repeat(LINE_BYTES - 3), "b".repeat(LINE_BYTES));
        for piece in line.as_bytes().chunks(1000) {
            err.feed(piece);
        }
        drop(err);
        let lines = read(&path);
        assert_eq!(lines[0], format!("err {}***", "a".repeat(LINE_BYTES - 3)));
        assert_eq!(lines.concat().matches('b').count(), LINE_BYTES);
        assert!(!lines.concat().contains("hunter"));
    }

    #[test]
    fn a_log_that_cannot_be_written_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let no_folder = dir.path().join("file");
        std::fs::write(&no_folder, "").unwrap();
        for (path, why) in [
            (Path::new("/dev/full"), "No space left"),
            (&no_folder.join("a.log"), "File exists"),
        ] {
            let log = log(path);
            log.note("it began");
            let lost = log.lost().unwrap();
            assert!(
                lost.contains(&path.display().to_string()) && lost.contains(why),
                "{lost}"
            );
        }
        let log = log(&dir.path().join("a.log"));
        log.note("it began");
        assert_eq!(log.lost(), None);
    }

    #[test]
    fn a_full_log_says_how_much_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let mut out = log(&path).lines(Stream::Out);
        let line = [&[b'x'; 9_999][..], b"\n"].concat();
        for _ in 0..2_000 {
            out.feed(&line);
        }
        drop(out);
        let size = std::fs::metadata(&path).unwrap().len();
        assert!((LOG_BYTES - 20_000..LOG_BYTES + 200).contains(&size), "{size}");
        let lines = read(&path);
        let kept = lines.len() - 1;
        // Each is 29 bytes longer in the log: the time, the stream and two spaces.
        let left_out = (2_000 - kept) * (line.len() + 29);
        assert_eq!(lines[kept], format!("run {left_out} bytes are left out"));
    }
}
