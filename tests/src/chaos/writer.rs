//! The processes of the helper binary `rekindle-journal-writer`: one appends until it is killed, fails or is
//! done; one reads everything.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::told::{Found, Told};

/// How long a process of the helper may take in all. Closing waits 10 s for sled where that hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// The writer's exit codes.
pub mod code {
    /// All appends were acknowledged.
    pub const DONE: u8 = 0;
    /// An append was refused with a typed error.
    pub const REFUSED: u8 = 3;
    /// The journal could not be opened, with a typed error.
    pub const CLOSED: u8 = 4;
    /// Nobody reads its output.
    pub const DEAF: u8 = 9;
}

/// How a writer is to write.
#[derive(Clone, Debug)]
pub struct Writing {
    /// Tasks that append at once.
    pub tasks: u64,
    /// The size of a log segment in bytes.
    pub segment_bytes: u64,
    /// How many appends until it is done.
    pub appends: u64,
    /// The seed of what it appends.
    pub seed: u64,
}

impl Default for Writing {
    fn default() -> Self {
        Self {
            tasks: 4,
            segment_bytes: 64 << 10,
            appends: u64::MAX,
            seed: 1,
        }
    }
}

/// The helper binary, with what is put before its command line and into its environment.
#[derive(Clone, Debug)]
pub struct Helper {
    binary: PathBuf,
    /// A program that runs the helper, as `strace` does, with its arguments.
    before: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Helper {
    /// Returns the helper as it is.
    pub fn new(binary: &str) -> Self {
        Self {
            binary: PathBuf::from(binary),
            before: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// Lets another program run it.
    #[must_use]
    pub fn under(mut self, before: Vec<String>) -> Self {
        self.before = before;
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn command(&self, args: &[&OsStr]) -> Command {
        let mut words: Vec<&OsStr> = self.before.iter().map(OsStr::new).collect();
        words.push(self.binary.as_os_str());
        words.extend(args);
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts a writer.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn write(&self, dir: &Path, how: &Writing) -> Result<Writer, String> {
        let numbers = [how.tasks, how.segment_bytes, how.appends, how.seed].map(|number| number.to_string());
        let mut args = vec![OsStr::new("append"), dir.as_os_str()];
        args.extend(numbers.iter().map(OsStr::new));
        let mut child = self
            .command(&args)
            .spawn()
            .map_err(|error| format!("start a writer: {error}"))?;
        let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
            return Err("a writer without pipes".to_owned());
        };
        let (send, lines) = channel();
        let listener = std::thread::spawn(move || {
            // A line that was cut off was not told.
            let mut out = BufReader::new(out);
            let mut line = String::new();
            while out.read_line(&mut line).is_ok_and(|len| len > 0) {
                if line.ends_with('\n') && send.send(line.trim_end().to_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        let complaints = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = BufReader::new(err).read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Writer {
            child,
            lines,
            listener,
            complaints,
        })
    }

    /// Reads all that a journal holds, in a process of its own.
    ///
    /// # Errors
    /// It did not come to its end.
    pub fn read(&self, dir: &Path) -> Result<Found, String> {
        let output = self
            .command(&[OsStr::new("read"), dir.as_os_str()])
            .output()
            .map_err(|error| format!("start a reader: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("the reader ended with {}: {said}", output.status));
        }
        Found::parse(&String::from_utf8_lossy(&output.stdout)).map_err(|why| format!("{why}: {said}"))
    }
}

/// A writer at work.
#[derive(Debug)]
pub struct Writer {
    /// The process, or that of what runs it.
    child: Child,
    lines: Receiver<String>,
    listener: JoinHandle<()>,
    complaints: JoinHandle<String>,
}

/// How a writer ended.
#[derive(Debug)]
pub struct End {
    /// Its exit code; none where a signal ended it.
    pub code: Option<u8>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it said on stderr.
    pub said: String,
}

impl End {
    /// Returns whether this is an end that the design knows: done, refused with a typed error, or killed.
    pub fn is_typed(&self) -> bool {
        let typed = |code: u8| {
            [code::REFUSED, code::CLOSED].contains(&code) && self.said.contains("failed to ")
                || [code::DONE, code::DEAF].contains(&code)
        };
        self.signal == Some(9) || self.code.is_some_and(typed)
    }
}

impl Writer {
    /// Takes what it says until it has said `lines` lines, `time` is over, or it has ended.
    ///
    /// # Errors
    /// It told of what must not be.
    pub fn listen(&self, told: &mut Told, lines: u64, time: Duration) -> Result<(), String> {
        for _ in 0..lines {
            match self.lines.recv_timeout(time) {
                Ok(line) => told.take(&line)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(())
    }

    /// Takes what it has told until now.
    ///
    /// # Errors
    /// It told of what must not be.
    pub fn hear(&self, told: &mut Told) -> Result<(), String> {
        self.lines.try_iter().try_for_each(|line| told.take(&line))
    }

    /// Returns the process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Kills it with SIGKILL, and takes what it had told.
    ///
    /// # Errors
    /// It told of what must not be.
    pub fn kill(mut self, told: &mut Told) -> Result<End, String> {
        // One that is over is none the worse for it.
        let _ = self.child.kill();
        self.wait(told)
    }

    /// Waits for its end, and takes all that it has told.
    ///
    /// # Errors
    /// It told of what must not be, or does not end.
    pub fn wait(mut self, told: &mut Told) -> Result<End, String> {
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) => told.take(&line)?,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    return Err(format!("the writer said nothing for {LIMIT:?} and did not end"));
                }
            }
        }
        let status = self.child.wait().map_err(|error| error.to_string())?;
        // The listener has hung up: it cannot wait for anything any more.
        let _ = self.listener.join();
        let said = self.complaints.join().unwrap_or_default();
        Ok(End {
            code: code_of(status),
            signal: status.signal(),
            said,
        })
    }
}

fn code_of(status: ExitStatus) -> Option<u8> {
    status.code().and_then(|code| u8::try_from(code).ok())
}
