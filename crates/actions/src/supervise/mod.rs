//! The supervisor. A program runs under it. Nothing that the program started outlives the program, unless the step
//! allows it.
//!
//! The owner starts a step's program as `rekindle __supervise … -- program arguments…`. The supervisor is the
//! *subreaper* of everything that the program starts. If a process calls `setsid` or forks twice, it becomes the
//! supervisor's child again when its parent ends, so that a walk of `/proc` finds it. The supervisor's stdin is one
//! end of a socket, and only the owner holds the other end. If that end closes, by a decision or by a SIGKILL of the
//! owner, the supervisor ends all descendants: SIGTERM, and SIGKILL after 2 s. It does the same on SIGTERM, SIGINT or
//! SIGHUP.
//!
//! Through the same socket it sends the owner one [`Report`] a line. First the program is *held*: its process exists,
//! but is still a copy of the supervisor. The owner journals the process and then sends one byte; only then does the
//! process become the program. So no process works on a system without a record in the journal.
//!
//! | module | what it holds |
//! |---|---|
//! | `descendants` | who they are, and how they are ended |
//! | `isolate` | what a program of a drill can reach |
//! | `report` | what the supervisor reports to the owner |

mod descendants;
mod isolate;
mod report;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{Pid, WaitOptions, WaitStatus, getpid, set_child_subreaper, wait};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

pub(crate) use isolate::Isolation;
pub(crate) use report::Report;

/// The first argument of a command line that starts the supervisor.
pub const SUBCOMMAND: &str = "__supervise";
/// Do not end the processes that remain after the program has ended by itself.
pub(crate) const DETACH: &str = "--detach";
/// Become the program, once stdin allows it.
const HELD: &str = "--held";
/// The file that the program gets as its stdin; without it, stdin is empty.
pub(crate) const STDIN: &str = "--stdin";
/// Isolate the program; a folder that it may write to.
const WRITABLE: &str = "--writable";
/// Only try whether a program can be isolated here: exit with 0, or tell on stderr why not.
pub(crate) const TRY: &str = "--try";
/// After this come the program and its arguments.
pub(crate) const PROGRAM: &str = "--";

/// The exit code if the program could not be started, the same as a shell's.
const NOT_STARTED: u8 = 127;
/// The exit code if the supervisor itself failed.
const BROKEN: u8 = 125;

/// The supervisor's task.
#[derive(Debug, Default, PartialEq, Eq)]
struct Order {
    detach: bool,
    held: bool,
    stdin: Option<PathBuf>,
    isolation: Option<Isolation>,
    tries: bool,
    program: OsString,
    arguments: Vec<OsString>,
}

/// Runs the program in the arguments (those after [`SUBCOMMAND`]) to its end, and ends everything that it started.
///
/// Returns the program's own exit code; 128 and the signal's number if a signal ended it; 127 if it could not be
/// started; 125 if the supervisor cannot work here, or if no program is named.
pub fn supervise(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(order) = Order::read(arguments) else {
        return ExitCode::from(BROKEN);
    };
    let done = match (order.tries, order.held) {
        (true, _) => try_isolation(&order),
        (false, true) => become_it(&order),
        (false, false) => run(&order),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // The owner reads the program's stderr; there is no other place to report this.
            let _ = writeln!(io::stderr(), "the supervisor cannot work: {error}");
            ExitCode::from(BROKEN)
        }
    }
}

impl Order {
    fn read(arguments: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut order = Self::default();
        let mut arguments = arguments.into_iter();
        loop {
            let argument = arguments.next()?;
            match argument.to_str() {
                Some(DETACH) => order.detach = true,
                Some(HELD) => order.held = true,
                Some(STDIN) => order.stdin = Some(arguments.next()?.into()),
                Some(WRITABLE) => {
                    let writable = &mut order.isolation.get_or_insert_default().writable;
                    writable.push(arguments.next()?.into());
                }
                Some(TRY) => order.tries = true,
                Some(PROGRAM) => break,
                _ => return None,
            }
        }
        order.program = arguments.next()?;
        order.arguments = arguments.collect();
        Some(order)
    }
}

fn run(order: &Order) -> io::Result<u8> {
    set_child_subreaper(Some(getpid()))?;
    let owner = Owner::at_stdin()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(watch(order, owner))
}

async fn watch(order: &Order, mut owner: Owner) -> io::Result<u8> {
    // This comes before the program starts: a signal must not find the supervisor without its handler.
    let mut asked = Asked::listen()?;
    let mut children = signal(SignalKind::child())?;
    let Listening { word, mut gone } = owner.listen()?;

    let (program, gate) = hold(order)?;
    if let Some(id) = descendants::id_of(program) {
        owner.tell(&Report::Held(id));
    }
    let let_go = async {
        word.await.ok()?;
        gate.open().ok()?.await.ok()
    };
    let refused = tokio::select! {
        answer = let_go => answer,
        () = asked.next() => None,
        _ = &mut gone => None,
    };
    match refused {
        Some(why) if why.is_empty() => {}
        Some(why) => {
            owner.tell(&Report::NotStarted(why));
            descendants::end_all(&mut children).await;
            return Ok(NOT_STARTED);
        }
        None => {
            descendants::end_all(&mut children).await;
            return Ok(BROKEN);
        }
    }

    let ended = tokio::select! {
        ended = end_of(program, &mut children) => ended,
        () = asked.next() => None,
        _ = &mut gone => None,
    };
    if let Some(status) = ended {
        owner.tell(&Report::Ended(status.as_raw()));
    }
    if ended.is_none() || !order.detach {
        descendants::end_all(&mut children).await;
    }
    Ok(match ended {
        Some(status) => code_of(status),
        None => BROKEN,
    })
}

/// Starts the process that becomes the program, and the gate that it waits at.
fn hold(order: &Order) -> io::Result<(Pid, Gate)> {
    let (own, theirs) = UnixStream::pair()?;
    // This is the running program, even if its file was replaced since.
    let mut command = Command::new("/proc/self/exe");
    command.args([SUBCOMMAND, HELD]);
    if let Some(file) = &order.stdin {
        command.arg(STDIN).arg(file);
    }
    command.args(order.isolation.iter().flat_map(isolated));
    let child = command
        .arg(PROGRAM)
        .arg(&order.program)
        .args(&order.arguments)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        // A program that signals its own group must not end its supervisor.
        .process_group(0)
        .spawn()?;
    // The command held the other end of the gate; from now on only the held process has it.
    drop(command);
    // The child is reaped together with the adopted ones.
    let program = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0))
        .ok_or_else(|| io::Error::other("the program has no process id"))?;
    Ok((program, Gate(own)))
}

/// Returns the options that isolate a program.
pub(crate) fn isolated(wanted: &Isolation) -> Vec<OsString> {
    let writable = wanted.writable.iter();
    writable
        .flat_map(|folder| [WRITABLE.into(), folder.clone().into_os_string()])
        .collect()
}

/// Tries whether a program can be isolated here.
fn try_isolation(order: &Order) -> io::Result<u8> {
    match isolate::isolate(&order.isolation.clone().unwrap_or_default()) {
        Ok(()) => Ok(0),
        Err(why) => writeln!(io::stderr(), "{why}").map(|()| NOT_STARTED),
    }
}

/// Waits at the gate and becomes the program. Returns only if that fails, and reports the reason to the gate.
fn become_it(order: &Order) -> io::Result<u8> {
    // This copy is closed on exec. If it closes without a word, the program runs.
    let mut gate = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    if gate.read(&mut [0])? == 0 {
        return Ok(NOT_STARTED);
    }
    let stdin = match order.stdin.as_ref().map(File::open).transpose() {
        Ok(file) => file.map_or_else(Stdio::null, Stdio::from),
        Err(error) => return gate.write_all(error.to_string().as_bytes()).map(|()| NOT_STARTED),
    };
    if let Some(wanted) = &order.isolation
        && let Err(why) = isolate::isolate(wanted)
    {
        return gate.write_all(why.as_bytes()).map(|()| NOT_STARTED);
    }
    let error = Command::new(&order.program)
        .args(&order.arguments)
        .stdin(stdin)
        .exec();
    gate.write_all(error.to_string().as_bytes())?;
    Ok(NOT_STARTED)
}

/// The gate at which a held program waits.
struct Gate(UnixStream);

impl Gate {
    /// Lets the program run. The receiver gets an empty text once it runs, or the reason if it cannot.
    fn open(mut self) -> io::Result<oneshot::Receiver<String>> {
        self.0.write_all(b"g")?;
        let (tell, told) = oneshot::channel();
        std::thread::Builder::new()
            .name("gate".to_owned())
            .spawn(move || {
                let mut why = Vec::new();
                // If the connection breaks off, the text so far counts.
                let _ = self.0.read_to_end(&mut why);
                let _ = tell.send(String::from_utf8_lossy(&why).into_owned());
            })?;
        Ok(told)
    }
}

/// Reaps children, also adopted ones, until the program ends. Returns none if it cannot wait for the program.
async fn end_of(program: Pid, children: &mut Signal) -> Option<WaitStatus> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == program => return Some(status),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => {
                children.recv().await;
            }
            Err(_) => return None,
        }
    }
}

/// Returns the exit code that a shell would give.
fn code_of(status: WaitStatus) -> u8 {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => i32::from(BROKEN),
    };
    u8::try_from(code).unwrap_or(BROKEN)
}

/// The signals that ask a supervisor to end.
struct Asked([Signal; 3]);

impl Asked {
    fn listen() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// The connection to the owner: the socket that is this process's stdin.
struct Owner(UnixStream);

impl Owner {
    fn at_stdin() -> io::Result<Self> {
        // This copy is closed on exec: the program gets its own stdin.
        let socket: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self(UnixStream::from(socket)))
    }

    fn tell(&mut self, report: &Report) {
        // The closed socket shows that the owner is gone; a failed write need not.
        let _ = writeln!(self.0, "{report}");
    }

    fn listen(&self) -> io::Result<Listening> {
        let mut socket = self.0.try_clone()?;
        let (tell, gone) = oneshot::channel::<()>();
        let (said, word) = oneshot::channel();
        // This is a thread, since it only waits for a read that may take years. It ends with the process.
        std::thread::Builder::new()
            .name("owner".to_owned())
            .spawn(move || {
                let mut said = Some(said);
                let mut buffer = [0; 64];
                while let Ok(1..) = socket.read(&mut buffer) {
                    said.take().map(|said| said.send(()));
                }
                drop(tell);
            })?;
        Ok(Listening { word, gone })
    }
}

/// The messages from the owner.
struct Listening {
    /// It lets the program run.
    word: oneshot::Receiver<()>,
    /// No process holds the other end any more.
    gone: oneshot::Receiver<()>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_up_to_the_program_and_no_further() {
        let read = |line: &str| Order::read(line.split(' ').map(OsString::from));
        let order = read("--detach --stdin /in -- sh --detach -- x").unwrap();
        assert!(order.detach);
        assert_eq!(order.stdin.as_deref(), Some(std::path::Path::new("/in")));
        assert_eq!(order.program, "sh");
        assert_eq!(order.arguments, ["--detach", "--", "x"]);
        for bad in ["", "--", "sh", "--stdin --", "--unknown -- sh"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
