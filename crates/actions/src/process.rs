//! A program run for a probe, a command or a source: under the supervisor, with bounded output, ended when it
//! must end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
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
use crate::isolation::temporary;
use crate::params;
use crate::redact::Redactor;
use crate::site::Site;
use crate::step_log::{Lines, StepLog, Stream};
use crate::supervise::{self, Isolation, Report};
use rekindle_sources::place::resolve;

/// How much of a program's stdout is kept: its beginning. The rest is read and dropped, so that the program never
/// blocks. An output is a value of the run, and a journal is no store of documents.
pub(crate) const OUTPUT_BYTES: usize = 1 << 20;
/// How much of a program's stderr is kept: its end, where programs say why they fail.
const STDERR_BYTES: usize = 64 << 10;
/// How much of a stdout that goes into a file is read at once.
const SPOOL_BUFFER: usize = 256 << 10;
/// How long to wait for a supervisor that must end everything. It gives the programs 2 s, and killing takes a moment.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait for the end of the output after a program has ended that leaves others running: they may hold the
/// pipe open for ever.
const DETACHED_DRAIN: Duration = Duration::from_secs(1);
/// How long to wait for it after all programs have ended. A busy machine may read late; what it has not read would be
/// missing without a word.
const DRAIN: Duration = Duration::from_secs(60);
/// The longest argument that Linux takes: 32 pages (`MAX_ARG_STRLEN`).
const ARGUMENT_BYTES: usize = 128 << 10;
/// How many of the last lines of stderr a failure's message contains.
const LAST_LINES: usize = 5;
/// How the names of our own secret variables begin. No program gets them: with them it could open every backup.
pub(crate) const OUR_SECRETS: &str = "REKINDLE_PASSPHRASE";

/// What to run.
#[derive(Clone, Copy)]
pub(crate) struct Program<'a> {
    pub(crate) words: &'a [String],
    pub(crate) cwd: &'a Path,
    pub(crate) env: &'a BTreeMap<String, String>,
    /// Further variables, whose values nothing shows.
    pub(crate) secrets: &'a BTreeMap<String, String>,
    pub(crate) timeout: Option<Duration>,
    /// Whether the processes that it leaves behind continue after it has ended by itself.
    pub(crate) detach: bool,
    /// The file that it gets as its stdin; if none, its stdin is empty.
    pub(crate) stdin: Option<&'a Path>,
    pub(crate) stdout: Stdout<'a>,
}

/// Where a program's stdout goes.
#[derive(Clone, Copy)]
pub(crate) enum Stdout<'a> {
    /// To the step's log; its beginning is kept.
    Log,
    /// Nowhere; its beginning is kept. It is a secret.
    Unlogged,
    /// Into a new file, up to a limit.
    New(StdoutFile<'a>),
    /// Into a file that a person named. What was in it is lost.
    Named(&'a Path),
}

/// The stdout of a program that has ended.
pub(crate) struct Printed {
    /// As the program wrote it, with secrets, at most the first [`OUTPUT_BYTES`].
    pub(crate) text: String,
    /// How many bytes it wrote.
    pub(crate) bytes: u64,
}

impl Printed {
    /// Returns whether `text` is all of it.
    pub(crate) fn is_whole(&self) -> bool {
        self.bytes <= OUTPUT_BYTES as u64
    }
}

/// How a program ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The redactor was not used on it yet.
    pub(crate) stdout: Printed,
    stderr: String,
    /// The redactor for the secrets that the program was given.
    pub(crate) redactor: Redactor,
    /// Why the step's log lacks what the program wrote, if it does.
    pub(crate) log_lost: Option<String>,
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
        let last = self.redactor.text(&last);
        let lost = self.log_lost.as_deref().unwrap_or_default();
        let parts = [&self.status.to_string(), &*last, lost];
        let said: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        said.join(": ")
    }
}

/// Runs a program to its end. The program begins once its process is journaled. If the step must stop, the time is up,
/// this future is dropped or this process dies, the supervisor ends the program and everything that it started. The
/// program's output goes to the step's log.
pub(crate) async fn run(site: &Site, cx: &StepContext, program: &Program<'_>) -> Result<Ended, Failure> {
    let redactor = Redactor::of(program.env).and(program.secrets.values());
    let log = StepLog::open(site.workspace_dir(), cx, &redactor);
    log.note(&program.words.join(" "));
    let mut ended = logged(site, cx, program, &log, &redactor).await;
    if let Some(lost) = log.lost() {
        tracing::warn!(step = %cx.step.id, "{lost}");
    }
    match &mut ended {
        Ok(ended) => {
            log.note(&ended.status.to_string());
            ended.log_lost = log.lost().map(str::to_owned);
        }
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
    program.check()?;
    let mut isolation = site.isolation().await?.cloned();
    if let Some(isolation) = &mut isolation {
        let own = resolve(&site.staging_dir(&cx.run.to_string(), ""));
        isolation.writable.extend(own.is_dir().then_some(own));
    }
    let isolation = isolation.as_ref().zip(site.sandbox());
    let (mut child, mut line) =
        start(site.executable(), program, isolation).map_err(|error| program.not_started(&error))?;
    let mut spooling = None;
    if let Some((file, shown, max_bytes)) = program.stdout_file()? {
        log.note(&format!("its stdout goes to {shown}"));
        spooling = Some(Spooling::begin(
            child.stdout.take(),
            file,
            shown,
            max_bytes,
            cx.clone(),
        ));
    }
    let out = match program.stdout {
        Stdout::Unlogged => StepLog::none().lines(Stream::Out),
        _ => log.lines(Stream::Out),
    };
    let stdout = Kept::from(child.stdout.take(), Keep::Head(OUTPUT_BYTES), out, cx.clone());
    let stderr = Kept::from(
        child.stderr.take(),
        Keep::Tail(STDERR_BYTES),
        log.lines(Stream::Err),
        cx.clone(),
    );

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
        return Err(program.could_not_start(&why));
    }
    let spooled = match &mut spooling {
        Some(spooling) => Some(spooling.ended().await?),
        None => None,
    };
    tracing::debug!(program = name, process = ?report.process, status = ?report.status, "a program ended");
    let status = report.status.ok_or_else(|| {
        let message =
            format!("something outside ended {name}, and its supervisor reported nothing more: {supervisor}");
        Failure::transient("command_failed", message)
    })?;
    let patience = if program.detach { DETACHED_DRAIN } else { DRAIN };
    let ((text, bytes), (stderr, _)) = tokio::join!(stdout.text(patience), stderr.text(patience));
    Ok(Ended {
        status,
        stdout: Printed {
            text,
            bytes: spooled.unwrap_or(bytes),
        },
        stderr,
        redactor: redactor.clone(),
        log_lost: None,
    })
}

impl Program<'_> {
    fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    fn variables(&self) -> impl Iterator<Item = (&String, &String)> {
        self.env.iter().chain(self.secrets)
    }

    /// Refuses what no system can start, with a reason that names it.
    fn check(&self) -> Result<(), Failure> {
        let refused = |why: String| Failure::permanent("command_failed", why);
        match std::fs::metadata(self.cwd) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                let why = format!("the working folder {} is a file", self.cwd.display());
                return Err(refused(why).with_hint("`cwd` names a folder"));
            }
            Err(error) => {
                let why = format!("the working folder {}: {error}", self.cwd.display());
                return Err(refused(why).with_hint("make the folder, or mend the step's `cwd`"));
            }
        }
        if let Some(at) = self.words.iter().position(|word| word.contains('\0')) {
            let why = format!(
                "argument {at} of {} holds a NUL byte, which no program can get",
                self.name()
            );
            return Err(refused(why).with_hint("give it by `stdin:` instead"));
        }
        for (name, value) in self.variables() {
            params::check_variable(name, value)
                .map_err(|why| refused(format!("`env`: {why}")).with_hint("mend the step's `env`"))?;
        }
        Ok(())
    }

    fn not_started(&self, error: &io::Error) -> Failure {
        if error.kind() != io::ErrorKind::ArgumentListTooLong {
            return self.could_not_start(error);
        }
        let longest = self.words.iter().map(String::len).max().unwrap_or(0);
        let of_env = self.variables().map(|(name, value)| name.len() + value.len() + 1);
        let all = self.words.iter().map(String::len).sum::<usize>() + of_env.sum::<usize>();
        let message = format!(
            "{} could not be started: its arguments and variables are too long: {all} bytes, the longest argument {longest}. \
             Linux takes {ARGUMENT_BYTES} bytes in one argument, and about 2 MiB in all",
            self.name()
        );
        Failure::permanent("command_failed", message).with_hint(
            "give long text by `stdin:`, or in a file that `output_file:` of the earlier step writes",
        )
    }

    fn could_not_start(&self, why: &dyn std::fmt::Display) -> Failure {
        let message = format!("{} could not be started: {why}", self.name());
        Failure::permanent("command_failed", message)
            .with_hint("check that the program is there and may be run")
    }

    /// Opens the file for stdout, if stdout goes into one. Only users who may read the system may read its data.
    fn stdout_file(&self) -> Result<Option<(File, String, u64)>, Failure> {
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        let (path, max_bytes) = match self.stdout {
            Stdout::Log | Stdout::Unlogged => return Ok(None),
            Stdout::New(to) => {
                options.create_new(true);
                (to.file, to.max_bytes)
            }
            Stdout::Named(path) => {
                // To open a pipe waits for its reader, which may never come.
                if std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo()) {
                    let message = format!("{} is a named pipe, not a file", path.display());
                    return Err(Failure::permanent("command_failed", message)
                        .with_hint("let the program write into the pipe itself"));
                }
                options.create(true).truncate(true);
                (path, u64::MAX)
            }
        };
        let shown = path.display().to_string();
        let file = options.open(path).map_err(|error| failures::io(&shown, &error))?;
        Ok(Some((file, shown, max_bytes)))
    }
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
fn start(
    supervisor: &Path,
    program: &Program<'_>,
    isolation: Option<(&Isolation, &Path)>,
) -> io::Result<(Child, Line)> {
    let mut arguments: Vec<OsString> = vec![supervise::SUBCOMMAND.into()];
    if program.detach {
        arguments.push(supervise::DETACH.into());
    }
    if let Some(file) = program.stdin {
        arguments.extend([supervise::STDIN.into(), file.into()]);
    }
    if let Some((isolation, _)) = isolation {
        arguments.extend(supervise::isolated(isolation));
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
    if let Some((_, sandbox)) = isolation {
        command.env("TMPDIR", temporary(sandbox));
    }
    let child = command
        .args(arguments)
        .current_dir(program.cwd)
        .envs(program.variables())
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
    writer: JoinHandle<Result<u64, Failure>>,
    ended: Option<Result<u64, Failure>>,
}

impl Spooling {
    fn begin(pipe: Option<ChildStdout>, file: File, shown: String, max_bytes: u64, cx: StepContext) -> Self {
        let mut file = tokio::fs::File::from_std(file);
        let writer = tokio::spawn(async move {
            let failed = |error: io::Error| failures::io(&shown, &error);
            let Some(mut pipe) = pipe else { return Ok(0) };
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
            file.flush().await.map_err(failed)?;
            // The success is journaled next; what it speaks of must be there after a power cut too.
            match file.sync_all().await {
                // A pipe or a device cannot be synced.
                Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(failed(error)),
                _ => Ok(bytes),
            }
        });
        Self { writer, ended: None }
    }

    /// Returns the reason if writing to the file fails; otherwise never returns.
    async fn broken(spooling: &mut Option<Self>) -> Failure {
        match spooling {
            Some(spooling) => match spooling.ended().await {
                Err(failure) => failure,
                Ok(_) => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Waits until all output is in the file, and returns how many bytes that are.
    async fn ended(&mut self) -> Result<u64, Failure> {
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

/// Which part of an output is kept.
#[derive(Clone, Copy)]
enum Keep {
    Head(usize),
    Tail(usize),
}

/// The part of an output that is kept, as far as it has come.
struct Kept {
    read: Arc<Mutex<Read>>,
    reader: JoinHandle<()>,
}

#[derive(Default)]
struct Read {
    kept: Vec<u8>,
    /// How many bytes came in all.
    bytes: u64,
}

impl Kept {
    fn from(
        pipe: Option<impl AsyncRead + Unpin + Send + 'static>,
        keep: Keep,
        mut log: Lines,
        cx: StepContext,
    ) -> Self {
        let read = Arc::new(Mutex::new(Read::default()));
        let shared = Arc::clone(&read);
        let reader = tokio::spawn(async move {
            let Some(mut pipe) = pipe else { return };
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
                // Output is a sign of progress.
                cx.alive();
                log.feed(&buffer[..read]);
                let mut so_far = shared.lock().unwrap_or_else(PoisonError::into_inner);
                so_far.take(&buffer[..read], keep);
            }
        });
        Self { read, reader }
    }

    /// Returns the text and its length in all, once the pipe has closed or the patience is over.
    async fn text(mut self, patience: Duration) -> (String, u64) {
        // After this wait, a child that still runs holds the pipe open. The output so far counts.
        let _ = tokio::time::timeout(patience, &mut self.reader).await;
        self.reader.abort();
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        (String::from_utf8_lossy(&read.kept).into_owned(), read.bytes)
    }
}

impl Read {
    fn take(&mut self, bytes: &[u8], keep: Keep) {
        self.bytes += bytes.len() as u64;
        match keep {
            Keep::Head(most) => {
                let room = most.saturating_sub(self.kept.len()).min(bytes.len());
                self.kept.extend_from_slice(&bytes[..room]);
            }
            Keep::Tail(most) => {
                self.kept.extend_from_slice(bytes);
                let excess = self.kept.len().saturating_sub(most);
                self.kept.drain(..excess);
            }
        }
    }
}
