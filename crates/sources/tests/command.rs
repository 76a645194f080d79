//! The source type `command`, with a runner that stands in for the supervisor.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Mutex;

use async_trait::async_trait;
use rekindle_model::failure::Failure;
use rekindle_model::source::SourceSpec;
use rekindle_sources::{Program, ProgramRunner, RestorePlan, Shape, SourceContext, open};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// A program's purpose, its words and its stdin.
type Ran = (String, Vec<String>, Option<PathBuf>);

/// Prints `prints` for every program, then ends as `ends` says; remembers what it was asked to run.
struct Runner {
    prints: &'static str,
    ends: Result<(), Failure>,
    ran: Mutex<Vec<Ran>>,
}

impl Runner {
    fn new(prints: &'static str, ends: Result<(), Failure>) -> Self {
        Self {
            prints,
            ends,
            ran: Mutex::default(),
        }
    }
}

#[async_trait]
impl ProgramRunner for Runner {
    async fn run(&self, program: &Program<'_>) -> Result<(), Failure> {
        if let Some(stdout) = program.stdout {
            assert_eq!(stdout.max_bytes, 1 << 20);
            fs::write(stdout.file, self.prints).unwrap();
        }
        let stdin = program.stdin.map(PathBuf::from);
        let ran = (program.purpose.to_owned(), program.words.to_vec(), stdin);
        self.ran.lock().unwrap().push(ran);
        self.ends.clone()
    }
}

/// Calls `act` with a context whose root and staging folder are below a temporary folder.
async fn with_context<T>(runner: &Runner, act: impl AsyncFnOnce(&SourceContext<'_>) -> T) -> T {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("data");
    fs::create_dir(&root).unwrap();
    let cx = SourceContext {
        component: "orders",
        attempt: 1,
        root: &root,
        staging: &temp.path().join("staging"),
        never: &[],
        stop: &CancellationToken::new(),
        programs: runner,
    };
    act(&cx).await
}

fn source() -> std::sync::Arc<dyn rekindle_sources::ComponentSource> {
    let settings = [
        ("dump", json!(["print", "it"])),
        ("restore", json!(["read", "it"])),
        ("max_bytes", json!(1 << 20)),
    ];
    open(&SourceSpec::new("command", settings)).unwrap()
}

#[tokio::test]
async fn what_a_program_prints_is_a_tree_of_one_file() {
    let runner = Runner::new("all of it", Ok(()));
    let source = source();
    let read = with_context(&runner, async |cx| {
        let mut captured = source.capture(cx).await.unwrap();
        assert_eq!(captured.shape, Shape::File);
        let entry = captured.tree.next_entry().unwrap().unwrap();
        assert_eq!(entry.path.display(), "dump");
        let mut text = String::new();
        let mut content = captured.tree.open(&entry).unwrap();
        content.read_to_string(&mut text).unwrap();
        assert!(captured.tree.next_entry().unwrap().is_none());
        text
    });
    assert_eq!(read.await, "all of it");
    let ran = runner.ran.lock().unwrap().clone();
    assert_eq!(ran, [("dump".to_owned(), source.programs().capture, None)]);
    assert_eq!(source.claim(), None, "only programs know the files");
}

#[tokio::test]
async fn half_a_dump_is_no_backup() {
    let runner = Runner::new("half", Err(Failure::transient("command_failed", "it broke")));
    let failed = with_context(&runner, async |cx| source().capture(cx).await.err());
    assert_eq!(failed.await.unwrap().code, "command_failed");
}

#[tokio::test]
async fn the_restore_reads_the_dump_that_the_vault_wrote() {
    let runner = Runner::new("", Ok(()));
    let source = source();
    let dump = with_context(&runner, async |cx| {
        let RestorePlan::HandOver(taker) = source.restore_plan() else {
            panic!("a dump is handed over");
        };
        taker.give(cx).await.unwrap();
        cx.staging.join("dump")
    });
    let dump = dump.await;
    let ran = runner.ran.lock().unwrap().clone();
    assert_eq!(
        ran,
        [("restore".to_owned(), source.programs().restore, Some(dump))]
    );
}

#[test]
fn a_restore_that_does_not_name_its_target_is_cautioned_against() {
    let cautions = source().cautions();
    assert_eq!(cautions.len(), 1);
    assert_eq!(cautions[0].key, "restore");
    let settings = [
        ("dump", json!(["d"])),
        ("restore", json!(["r", "${{ target.root }}"])),
    ];
    let careful = open(&SourceSpec::new("command", settings)).unwrap();
    assert_eq!(careful.cautions(), []);
}
