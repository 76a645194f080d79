//! A program run for a probe, a command or a source: under the supervisor, with bounded output, ended when it
//! must end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rekindle_engine::StepContext;
use rekindle_engine::process::look;
use rekindle_model::failure::{Failure, code};
use rekindle_model::process::{Child as Journaled, ProcessId};
use rekindle_model::time::boot_id;
use rekindle_sources::StdoutFile;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::failures;
use crate::redact::Redactor;
use crate::site::Site;
use crate::step_log::{Lines, StepLog, Stream};
use crate::supervise::{self, Report};

/// How much of a program's output is kept. The rest is read and dropped, so that the program never blocks.
const OUTPUT_BYTES: usize = 1 << 20;
/// How much of a stdout that goes into a file is read at once.
const SPOOL_BUFFER: usize = 256 << 10;
/// How long to wait for a supervisor that must end everything. It gives the programs 2 s, and killing takes a moment.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait for the end of the output after the program has ended. A child that still runs may hold the pipe
/// open for ever.
const DRAIN: Duration = Duration::from_secs(1);
/// How many of the last lines of stderr a failure's message contains.
const LAST_LINES: usize = 5;
/// How the names of our own secret variables begin. No program gets them: with them it could open every backup.
const OUR_SECRETS: &str = "REKINDLE_PASSPHRASE";

/// What to run.
#[derive(Clone, Copy)]
pub(crate) struct Program<'a> {
    pub(crate) words: &'a [String],
    pub(crate) cwd: &'a Path,
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) timeout: Option<Duration>,
    /// Whether the processes that it leaves behind continue after it has ended by itself.
    pub(crate) detach: bool,
    /// The file that it gets as its stdin; if none, its stdin is empty.
    pub(crate) stdin: Option<&'a Path>,
    /// The file for its stdout, if its stdout is data. Without it, stdout goes to the log.
    pub(crate) stdout: Option<StdoutFile<'a>>,
}

/// How a program ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The output as the program wrote it, with secrets. Use the redactor before you keep any of it.
    pub(crate) stdout: String,
    stderr: String,
    /// The redactor for the secrets that the program was given.
    pub(crate) redactor: Redactor,
}

impl Ended {
    /// Returns how the program ended, with the last lines of stderr, without secrets.
    pub(crate) fn account(&self) -> String {
        let lines: Vec<&str> = self
            .stderr
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join(" | ");
        if last.is_empty() {
            self.status.to_string()
        } else {
            format!("{}: {}", self.status, self.redactor.text(&last))
        }
    }
}

/// Runs a program to its end. The program begins once its process is journaled. If the step must stop, the time is up,
/// this future is dropped or this process dies, the supervisor ends the program and everything that it started. The
/// program's output goes to the step's log.
pub(crate) async fn run(site: &Site, cx: &StepContext, program: &Program<'_>) -> Result<Ended, Failure> {
    let redactor = Redactor::of(program.env);
    let log = StepLog::open(site.workspace_dir(), cx, &redactor);
    log.note(&program.words.join(" "));
    let ended = logged(site, cx, program, &log, &redactor).await;
    match &ended {
        Ok(ended) => log.note(&ended.status.to_string()),
        Err(failure) => log.note(&failure.message),
    }
    ended.map_err(|failure| redactor.failure(failure))
}

async fn logged(
    site: &Site,
    cx: &StepContext,
    program: &Program<'_>,
    log: &StepLog,
    redactor: &Redactor,
) -> Result<Ended, Failure> {
    let Some(name) = program.words.first() else {
        return Err(Failure::permanent("command_failed", "there is no program to run"));
    };
    let not_started = |why: &dyn std::fmt::Display| {
        Failure::permanent("command_failed", format!("{name} could not be started: {why}"))
            .with_hint("check that the program is there and may be run")
    };
    let (mut child, mut line) = start(site.executable(), program).map_err(|error| not_started(&error))?;
    let mut spooling = None;
    if let Some(to) = program.stdout {
        // If this fails, the dropped line ends the program.
        spooling = Some(Spooling::begin(child.stdout.take(), to, cx.clone())?);
    }
    let stdout = Kept::from(child.stdout.take(), log.lines(Stream::Out), cx.clone());
    let stderr = Kept::from(child.stderr.take(), log.lines(Stream::Err), cx.clone());

    let limit = async {
        match program.timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let supervisor = tokio::select! {
        status = attend(cx, &mut child, &mut line) => match status {
            Ok(status) => status.map_err(|error| failures::io(name, &error))?,
            Err(failure) => {
                line.end(&mut child, name).await;
                return Err(failure);
            }
        },
        () = cx.stop.cancelled() => {
            line.end(&mut child, name).await;
            return Err(failures::interrupted());
        }
        failure = Spooling::broken(&mut spooling) => {
            line.end(&mut child, name).await;
            return Err(failure);
        }
        () = limit => {
            line.end(&mut child, name).await;
            let limit = humantime::format_duration(program.timeout.unwrap_or_default());
            return Err(Failure::transient(code::TIMEOUT, format!("{name} did not end within {limit}")));
        }
    };
    let report = line.report().await;
    if let Some(why) = report.not_started {
        return Err(not_started(&why));
    }
    if let Some(spooling) = &mut spooling {
        spooling.ended().await?;
    }
    tracing::debug!(program = name, process = ?report.process, status = ?report.status, "a program ended");
    let status = report.status.ok_or_else(|| {
        let message =
            format!("something outside ended {name}, and its supervisor reported nothing more: {supervisor}");
        Failure::transient("command_failed", message)
    })?;
    let (stdout, stderr) = tokio::join!(stdout.text(), stderr.text());
    Ok(Ended {
        status,
        stdout,
        stderr,
        redactor: redactor.clone(),
    })
}

/// Lets the program run once it is journaled, and waits for its supervisor.
async fn attend(
    cx: &StepContext,
    supervisor: &mut Child,
    line: &mut Line,
) -> Result<io::Result<ExitStatus>, Failure> {
    if let Some(program) = line.held().await {
        let pid = supervisor.id().and_then(|id| i32::try_from(id).ok());
        let started = Journaled {
            program,
            supervisor: pid.and_then(look).map(|seen| seen.id),
            boot_id: boot_id(),
        };
        cx.child_started(started).await?;
        line.let_run();
    }
    Ok(supervisor.wait().await)
}

/// Starts the supervisor with the program as its task.
fn start(supervisor: &Path, program: &Program<'_>) -> io::Result<(Child, Line)> {
    let mut arguments: Vec<OsString> = vec![supervise::SUBCOMMAND.into()];
    if program.detach {
        arguments.push(supervise::DETACH.into());
    }
    if let Some(file) = program.stdin {
        arguments.extend([supervise::STDIN.into(), file.into()]);
    }
    arguments.push(supervise::PROGRAM.into());
    arguments.extend(program.words.iter().map(OsString::from));

    let (own, theirs) = UnixStream::pair()?;
    let mut command = Command::new(supervisor);
    // Only the names are read, to leave these variables out.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(OUR_SECRETS) {
            command.env_remove(name);
        }
    }
    let child = command
        .args(arguments)
        .current_dir(program.cwd)
        .envs(program.env)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // This process decides what a Ctrl-C at the terminal means.
        .process_group(0)
        .spawn()?;
    // The command held the supervisor's end of the socket; from now on only the supervisor has it.
    drop(command);
    Ok((child, Line::to(own)?))
}

/// The connection to a supervisor. If this end closes it or drops it, the supervisor ends everything.
struct Line {
    socket: UnixStream,
    reports: mpsc::UnboundedReceiver<Report>,
    reported: Reported,
}

/// All reports of a supervisor.
#[derive(Default)]
struct Reported {
    process: Option<ProcessId>,
    not_started: Option<String>,
    status: Option<ExitStatus>,
}

impl Line {
    fn to(socket: UnixStream) -> io::Result<Self> {
        let reader = BufReader::new(socket.try_clone()?);
        let (sender, reports) = mpsc::unbounded_channel();
        // This needs a thread of its own: it waits as long as the program runs, which would delay the runtime's end.
        std::thread::Builder::new()
            .name("supervisor".to_owned())
            .spawn(move || {
                let lines = reader.lines().map_while(Result::ok);
                for report in lines.filter_map(|line| line.parse().ok()) {
                    let Ok(()) = sender.send(report) else { return };
                }
            })?;
        Ok(Self {
            socket,
            reports,
            reported: Reported::default(),
        })
    }

    /// Returns the process that waits for permission to run. Returns none if the supervisor failed before that.
    async fn held(&mut self) -> Option<ProcessId> {
        let report = self.reports.recv().await?;
        self.take_note(report);
        self.reported.process
    }

    /// Lets the program run.
    fn let_run(&mut self) {
        // If the supervisor is gone, this fails, and the supervisor's end shows it.
        let _ = self.socket.write_all(b"g");
    }

    /// Returns all reports, once the supervisor has ended.
    async fn report(&mut self) -> Reported {
        while let Some(report) = self.reports.recv().await {
            self.take_note(report);
        }
        std::mem::take(&mut self.reported)
    }

    fn take_note(&mut self, report: Report) {
        match report {
            Report::Held(process) => self.reported.process = Some(process),
            Report::NotStarted(why) => self.reported.not_started = Some(why),
            Report::Ended(raw) => self.reported.status = Some(ExitStatus::from_raw(raw)),
        }
    }

    /// Makes the supervisor end everything, and waits for it.
    async fn end(&self, supervisor: &mut Child, name: &str) {
        self.hang_up();
        if tokio::time::timeout(PATIENCE, supervisor.wait()).await.is_err() {
            tracing::warn!(
                program = name,
                "a program cannot be ended yet; its supervisor goes on trying"
            );
        }
    }

    fn hang_up(&self) {
        // If the supervisor is gone, this fails, and no process is left to ask.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.hang_up();
    }
}

/// A program's stdout while it is written into a file.
struct Spooling {
    writer: JoinHandle<Result<(), Failure>>,
    ended: Option<Result<(), Failure>>,
}

impl Spooling {
    fn begin(pipe: Option<ChildStdout>, to: StdoutFile<'_>, cx: StepContext) -> Result<Self, Failure> {
        let (shown, max_bytes) = (to.file.display().to_string(), to.max_bytes);
        // Only users who may read the system may read its data.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(to.file)
            .map_err(|error| failures::io(&shown, &error))?;
        let mut file = tokio::fs::File::from_std(file);
        let writer = tokio::spawn(async move {
            let failed = |error: io::Error| failures::io(&shown, &error);
            let Some(mut pipe) = pipe else { return Ok(()) };
            let (mut buffer, mut bytes) = (vec![0; SPOOL_BUFFER], 0);
            while let read @ 1.. = pipe.read(&mut buffer).await.map_err(failed)? {
                cx.alive();
                bytes += read as u64;
                if bytes > max_bytes {
                    let message = format!("it prints more than {max_bytes} bytes");
                    return Err(Failure::permanent("too_large", message)
                        .with_hint("raise the source's `max_bytes` if that much is expected"));
                }
                file.write_all(&buffer[..read]).await.map_err(failed)?;
            }
            file.flush().await.map_err(failed)
        });
        Ok(Self { writer, ended: None })
    }

    /// Returns the reason if writing to the file fails; otherwise never returns.
    async fn broken(spooling: &mut Option<Self>) -> Failure {
        match spooling {
            Some(spooling) => match spooling.ended().await {
                Err(failure) => failure,
                Ok(()) => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Waits until all output is in the file.
    async fn ended(&mut self) -> Result<(), Failure> {
        if let Some(ended) = &self.ended {
            return ended.clone();
        }
        let ended = (&mut self.writer).await.unwrap_or_else(|error| {
            let message = format!("a task broke: {error}; this is a defect of Rekindle");
            Err(Failure::permanent(code::INTERNAL, message))
        });
        self.ended.insert(ended).clone()
    }
}

/// The output that has come through a pipe so far; only the last [`OUTPUT_BYTES`] of it.
struct Kept {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Kept {
    fn from(pipe: Option<impl AsyncRead + Unpin + Send + 'static>, mut log: Lines, cx: StepContext) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bytes);
        let reader = tokio::spawn(async move {
            let Some(mut pipe) = pipe else { return };
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
                // Output is a sign of progress.
                cx.alive();
                log.feed(&buffer[..read]);
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&buffer[..read]);
                let excess = kept.len().saturating_sub(OUTPUT_BYTES);
                kept.drain(..excess);
            }
        });
        Self { bytes, reader }
    }

    /// Returns the text, once the pipe has closed or [`DRAIN`] is over.
    async fn text(mut self) -> String {
        // After this wait, a child that still runs holds the pipe open. The output so far counts.
        let _ = tokio::time::timeout(DRAIN, &mut self.reader).await;
        self.reader.abort();
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
