//! A running system, watched from outside: what it writes, what it answers, and how it ends.
//!
//! The tests that kill start this test program again as a child, which runs a system until it is killed.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rekindle_factoria::serve::Address;
use rekindle_factoria::{
    DamageOptions, FactoriaError, How, ProbeKind, ServeOptions, Serving, StoreMark, damage, serve, watermark,
};
use rekindle_model::time::{Clock, SystemClock};
use rusqlite::Connection;
use serde_json::Value;

use crate::common::{measure, system, tree};

const SMALL: u64 = 1_000_000;
/// Fast enough that a test need not wait, and no faster than a slow disk.
const RATE: f64 = 300.0;
const STORES: [&str; 3] = ["audit", "content", "metrics"];
/// Tells the child which system to run.
const ROOT: &str = "FACTORIA_SERVE_ROOT";

fn options(root: &Path) -> ServeOptions {
    ServeOptions {
        root: root.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        rate: RATE,
        read_only: false,
        clock: Arc::new(SystemClock),
    }
}

/// Looks again until there is an answer; half a minute without one is a failure.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = SystemClock.now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        let waited = SystemClock.now().since(&begun).duration;
        assert!(waited < Duration::from_secs(30), "no {what} after {waited:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn newest(marks: &BTreeMap<String, StoreMark>) -> u64 {
    marks.values().filter_map(|mark| mark.newest).max().unwrap_or(0)
}

/// Waits until every store has got a stamp beyond `beyond`.
fn reaches(root: &Path, beyond: u64) -> BTreeMap<String, StoreMark> {
    until("newer stamps", || {
        let marks = watermark(root).unwrap();
        let all = marks
            .values()
            .all(|mark| mark.newest.is_some_and(|stamp| stamp > beyond));
        all.then_some(marks)
    })
}

fn whole(marks: &BTreeMap<String, StoreMark>) {
    for (name, mark) in marks {
        assert!(mark.readable, "{name}: {mark:?}");
        assert_eq!((mark.missing, mark.doubled), (0, 0), "{name}: {mark:?}");
    }
    assert!(marks.keys().eq(STORES));
}

/// Asks and returns status and document.
fn get(socket: SocketAddr, target: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

/// Starts a child that runs the system, and returns it with its address.
fn child(root: &Path) -> (Child, Address) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "serve::child_that_runs_until_killed", "--ignored"])
        .env(ROOT, root)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let address = until("address", || {
        assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
        Address::read(root).filter(|address| address.pid == child.id())
    });
    (child, address)
}

#[test]
#[ignore = "is the child of the tests that kill"]
fn child_that_runs_until_killed() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let limit = Some(Duration::from_secs(120));
    let run = serve(
        options(&PathBuf::from(root)),
        limit,
        |_| {},
        std::future::pending(),
    );
    runtime.block_on(run).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stamps_grow_without_a_gap_while_others_read_and_a_clean_end_leaves_nothing_behind() {
    let (_kept, root, _) = system(1, SMALL);
    let before = watermark(&root).unwrap();
    assert_eq!(newest(&before), 0, "nothing was stamped yet: {before:?}");
    whole(&before);
    let serving = Serving::start(options(&root)).await.unwrap();
    let socket = serving.socket();
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let root = root.clone();
            tokio::task::spawn_blocking(move || {
                let mut last = 0;
                for _ in 0..10 {
                    let marks = reaches(&root, last);
                    whole(&marks);
                    assert!(newest(&marks) > last);
                    last = newest(&marks);
                    assert_eq!(get(socket, "/health").0, 200);
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(Address::read(&root).is_some());
    let served = serving.stop().await.unwrap();
    let after = watermark(&root).unwrap();
    whole(&after);
    // One counter over all stores, each stamp given once: as many records as stamps.
    assert_eq!(served.records, newest(&after));
    for name in STORES {
        let seq = after[name].seq - before[name].seq;
        assert_eq!(seq, served.stores[name].written, "{name}");
        assert_eq!(after[name].newest, served.stores[name].newest, "{name}");
    }
    assert!(Address::read(&root).is_none());
    for path in ["db/content.sqlite", "users/users.sqlite"] {
        for suffix in ["-wal", "-shm"] {
            assert!(!root.join(format!("{path}{suffix}")).exists(), "{path}{suffix}");
        }
    }
    // What was written keeps the system whole.
    let content = measure(ProbeKind::Content, &root);
    for name in [
        "integrity_ok",
        "digests_intact",
        "references_intact",
        "standards_resolved",
    ] {
        assert_eq!(content[name], 1.0, "{name}");
    }
    let security = measure(ProbeKind::Security, &root);
    assert_eq!(
        (security["audit_log_gapless"], security["audit_log_signed"]),
        (1.0, 1.0)
    );
    assert_eq!(measure(ProbeKind::Quality, &root)["assessments_reproduced"], 1.0);
    for (name, share) in measure(ProbeKind::Analytics, &root) {
        assert!(share == 1.0 || !name.ends_with("_reproduced"), "{name}: {share}");
    }
    let files = measure(ProbeKind::Files, &root);
    assert_eq!((files["manifest_match"], files["files_unlisted"]), (1.0, 0.0));
}

#[test]
fn a_kill_at_any_moment_and_a_new_start_leave_no_gap_and_no_double() {
    let (_kept, root, _) = system(1, SMALL);
    let mut last = 0;
    for _ in 0..4 {
        let (mut killed, _) = child(&root);
        reaches(&root, last);
        killed.kill().unwrap();
        killed.wait().unwrap();
        let marks = watermark(&root).unwrap();
        whole(&marks);
        assert!(newest(&marks) > last);
        last = newest(&marks);
        // All stamps up to the newest were given to a record, each to one.
        assert_eq!(stamped(&root), (1..=last).collect::<Vec<_>>());
        assert!(Address::read(&root).is_some(), "a kill leaves the address behind");
    }
}

/// Returns the stamps of all stores, sorted.
fn stamped(root: &Path) -> Vec<u64> {
    let mut stamps = Vec::new();
    for path in ["security/audit.log", "monitoring/metrics.log"] {
        let text = fs::read_to_string(root.join(path)).unwrap();
        let whole = &text[..text.rfind('\n').unwrap()];
        let lines = whole
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        stamps.extend(lines.filter_map(|line| line["stamp"].as_u64()));
    }
    // A copy, as reading the log of a killed process in place would put it right.
    let copy = tempfile::tempdir().unwrap();
    for name in ["content.sqlite", "content.sqlite-wal"] {
        fs::copy(root.join("db").join(name), copy.path().join(name)).unwrap();
    }
    let database = Connection::open(copy.path().join("content.sqlite")).unwrap();
    let mut rows = database.prepare("SELECT stamp FROM activity").unwrap();
    let rows = rows.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    stamps.extend(rows.map(|stamp| stamp.unwrap() as u64));
    stamps.sort_unstable();
    stamps
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_last_line_is_cut_and_a_whole_one_without_its_line_feed_is_completed() {
    let (_kept, root, _) = system(1, SMALL);
    let serving = Serving::start(options(&root)).await.unwrap();
    reaches(&root, 30);
    serving.stop().await.unwrap();
    let before = watermark(&root).unwrap();
    for path in ["security/audit.log", "monitoring/metrics.log"] {
        let path = root.join(path);
        let text = fs::read(&path).unwrap();
        let last = text[..text.len() - 1]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .unwrap()
            + 1;
        for end in [last + 20, text.len() - 1] {
            fs::write(&path, &text[..end]).unwrap();
            let serving = Serving::start(options(&root)).await.unwrap();
            reaches(&root, newest(&before) + 3);
            serving.stop().await.unwrap();
            let after = watermark(&root).unwrap();
            whole(&after);
            let now = fs::read(&path).unwrap();
            let completed = now.starts_with(&text);
            assert_eq!(
                completed,
                end == text.len() - 1,
                "{}: cut at {end}",
                path.display()
            );
            fs::write(&path, &text).unwrap();
        }
    }
    assert_eq!(measure(ProbeKind::Security, &root)["audit_log_gapless"], 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_lost_from_any_store_is_counted_as_missing_and_an_older_copy_is_not() {
    let (_kept, root, _) = system(1, SMALL);
    let serving = Serving::start(options(&root)).await.unwrap();
    reaches(&root, 60);
    serving.stop().await.unwrap();
    let full = watermark(&root).unwrap();
    for (name, path) in [
        ("audit", "security/audit.log"),
        ("metrics", "monitoring/metrics.log"),
    ] {
        let path = root.join(path);
        let text = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
        let cut = lines[..lines.len() - 5].concat();
        lines.remove(lines.len() - 5);
        fs::write(&path, lines.concat()).unwrap();
        assert_eq!(watermark(&root).unwrap()[name].missing, 1, "{name}");
        fs::write(&path, cut).unwrap();
        let older = watermark(&root).unwrap()[name].clone();
        assert_eq!((older.missing, older.seq), (0, full[name].seq - 5), "{name}");
        assert!(older.newest < full[name].newest, "{name}");
        fs::write(&path, &text).unwrap();
    }
    let database = Connection::open(root.join("db/content.sqlite")).unwrap();
    for sql in [
        "DELETE FROM activity WHERE seq = 3",
        "DELETE FROM assessments WHERE id = (SELECT row_id FROM activity WHERE seq = 5)",
    ] {
        assert_eq!(database.execute(sql, []).unwrap(), 1);
    }
    drop(database);
    assert_eq!(watermark(&root).unwrap()["content"].missing, 2);
    fs::remove_file(root.join("security/audit.log")).unwrap();
    assert!(!watermark(&root).unwrap()["audit"].readable);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_measured_and_fails_with_the_component_whose_data_is_gone() {
    let every: Vec<&str> = rekindle_factoria::layout::FOLDERS
        .iter()
        .map(|folder| folder.name)
        .collect();
    let (_kept, root, _) = system(1, SMALL);
    let serving = Serving::start(options(&root)).await.unwrap();
    let socket = serving.socket();
    // A record is told of once it is durable, which is later than it can be read.
    let health = until("a record of every store", || {
        let (status, health) = get(socket, "/health");
        assert_eq!(
            (status, &health["status"]),
            (200, &Value::from("ok")),
            "{health:#}"
        );
        let told = |name: &str| health["stores"][name]["newest"].as_u64().is_some();
        STORES.into_iter().all(told).then_some(health)
    });
    assert!(health["uptime_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(health["rate_stated"], RATE);
    let failing = |health: &Value| -> Vec<String> {
        let components = health["components"].as_object().unwrap();
        let failing = components.iter().filter(|(_, about)| about["ok"] != true);
        failing.map(|(name, _)| name.clone()).collect()
    };
    let mut gone = Vec::new();
    for name in every {
        damage(&DamageOptions {
            root: root.clone(),
            components: vec![name.into()],
            how: How::Delete,
            seed: 1,
        })
        .unwrap();
        gone.push(name.to_owned());
        gone.sort();
        let (status, health) = get(socket, "/health");
        assert_eq!((status, failing(&health)), (503, gone.clone()), "{name}");
        assert!(health["components"][name]["fault"].is_string(), "{health:#}");
    }
    // Nothing replaces the files that are gone, and the end is as clean as before.
    serving.stop().await.unwrap();
    for path in [
        "security/audit.log",
        "monitoring/metrics.log",
        "db/content.sqlite",
    ] {
        assert!(!root.join(path).exists(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_lost_or_shortened_file_is_enough_for_a_503() {
    let (_kept, root, _) = system(1, SMALL);
    let serving = Serving::start(options(&root)).await.unwrap();
    let path = root.join("performance/config.json");
    let text = fs::read(&path).unwrap();
    fs::write(&path, &text[..text.len() / 2]).unwrap();
    assert_eq!(get(serving.socket(), "/health").0, 503);
    fs::write(&path, &text).unwrap();
    assert_eq!(get(serving.socket(), "/health").0, 200);
    fs::remove_file(&path).unwrap();
    let (status, health) = get(serving.socket(), "/health");
    let fault = health["components"]["performance"]["fault"].as_str().unwrap();
    assert!(status == 503 && fault.contains("config.json"), "{fault}");
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_recovery_puts_in_place_is_not_written_to_by_the_system_that_lost_it() {
    let (_kept, root, _) = system(1, SMALL);
    let copies = [
        "security/audit.log",
        "monitoring/metrics.log",
        "db/content.sqlite",
    ];
    let older: Vec<_> = copies.map(|path| fs::read(root.join(path)).unwrap()).into();
    let serving = Serving::start(options(&root)).await.unwrap();
    reaches(&root, 10);
    for (path, bytes) in copies.iter().zip(&older) {
        let path = root.join(path);
        fs::rename(&path, path.with_extension("aside")).unwrap();
        fs::write(&path, bytes).unwrap();
    }
    let health = until("fault in every store", || {
        let (_, health) = get(serving.socket(), "/health");
        let faults = STORES
            .iter()
            .filter(|name| health["stores"][**name]["fault"].is_string());
        (faults.count() == 3).then_some(health)
    });
    assert!(
        health["components"]["security"]["fault"]
            .as_str()
            .unwrap()
            .contains("start the system again")
    );
    serving.stop().await.unwrap();
    for (path, bytes) in copies.iter().zip(&older) {
        assert_eq!(&fs::read(root.join(path)).unwrap(), bytes, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_comes_optimised_or_whole_and_with_the_time_it_took() {
    let (_kept, root, _) = system(1, SMALL);
    let serving = Serving::start(options(&root)).await.unwrap();
    let socket = serving.socket();
    let wanted = "/context?type=study_guide&subject=history&profile=complex";
    let (status, whole) = get(socket, &format!("{wanted}&path=baseline"));
    assert_eq!(status, 200, "{whole}");
    assert!(whole["measured_ms"].as_f64().unwrap() > 0.0);
    let documents = [
        "L3/history/0001/study.md",
        "L3/history/0001/definitions.md",
        "L2/history/0001/study.md",
        "L1/history/0001/study_guide.md",
    ];
    assert_eq!(whole["documents"], Value::from(documents.as_slice()));
    let text = whole["text"].as_str().unwrap();
    assert!(!text.contains("@import"));
    let mut at = 0;
    for document in documents {
        // Each document's own text is there once, in this order.
        let own = fs::read_to_string(root.join("context").join(document)).unwrap();
        let own: String = own
            .split_inclusive('\n')
            .filter(|line| !line.starts_with("@import "))
            .collect();
        let rest = text[at..].trim_start();
        assert!(rest.starts_with(own.trim()), "{document}");
        at = text.len() - rest.len() + own.trim().len();
    }
    assert_eq!(at, text.len());
    let (status, optimised) = get(socket, wanted);
    assert_eq!((status, &optimised["optimised"]), (200, &Value::from(true)));
    assert_eq!(optimised["cache_hits"], 3);
    assert!(optimised["tokens"].as_u64() < whole["tokens"].as_u64());

    for (target, expected) in [
        ("/context?type=poem&subject=history&profile=simple", 400),
        ("/context?type=study_guide&subject=alchemy&profile=simple", 400),
        ("/context?type=study_guide&subject=history/..&profile=simple", 400),
        (
            "/context?type=study_guide&subject=history/0001/x&profile=simple",
            400,
        ),
        (
            "/context?type=study_guide&subject=history/9999&profile=simple",
            404,
        ),
        ("/context?type=study_guide&subject=history&profile=harder", 400),
        (
            "/context?type=study_guide&subject=history&profile=simple&path=fast",
            400,
        ),
        ("/context", 400),
        ("/elsewhere", 404),
    ] {
        let (status, answer) = get(socket, target);
        assert_eq!(status, expected, "{target}: {answer}");
        assert!(answer["error"].is_string(), "{target}: {answer}");
    }
    fs::remove_file(root.join("context").join(documents[0])).unwrap();
    let (status, answer) = get(socket, wanted);
    assert!(
        status == 503 && answer["error"].as_str().unwrap().contains(documents[0]),
        "{answer}"
    );
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_only_answers_writes_nothing_and_runs_beside_the_one_that_writes() {
    let (_kept, root, _) = system(1, SMALL);
    let before = tree(&root);
    let read_only = || ServeOptions {
        read_only: true,
        ..options(&root)
    };
    let answering = Serving::start(read_only()).await.unwrap();
    let socket = answering.socket();
    let wanted = "/context?type=flashcards&subject=civics&profile=simple";
    assert_eq!(get(socket, wanted).0, 200);
    let (status, health) = get(socket, "/health");
    assert_eq!(
        (status, &health["status"]),
        (200, &Value::from("ok")),
        "{health:#}"
    );
    assert_eq!(answering.stop().await.unwrap().records, 0);
    assert_eq!(tree(&root), before);

    let writing = Serving::start(options(&root)).await.unwrap();
    let answering = Serving::start(read_only()).await.unwrap();
    assert_eq!(get(answering.socket(), wanted).0, 200);
    answering.stop().await.unwrap();
    assert!(Address::read(&root).is_some(), "the other one's address stays");
    writing.stop().await.unwrap();
}

#[test]
fn the_service_probe_starts_asks_and_stops_and_counts_what_is_answered_right() {
    let (_kept, root, _) = system(1, SMALL);
    let healthy = measure(ProbeKind::Service, &root);
    assert_eq!(healthy["service_answers"], 1.0);
    assert!(healthy["service_tokens"] > 0.0 && healthy["service_start_ms"] > 0.0);
    assert!(healthy["service_first_context_ms"] > 0.0);
    // Simple tasks do not read the reference.
    fs::remove_dir_all(root.join("context/L3")).unwrap();
    let measured = measure(ProbeKind::Service, &root);
    assert!(
        (measured["service_answers"] - 1.0 / 3.0).abs() < 1e-9,
        "{measured:?}"
    );
    fs::remove_dir_all(root.join("context/L1")).unwrap();
    let measured = measure(ProbeKind::Service, &root);
    assert_eq!(measured["service_answers"], 0.0);
    assert!(measured.contains_key("service_start_ms") && !measured.contains_key("service_first_context_ms"));
}

#[test]
fn a_second_process_on_the_same_system_is_refused_and_told_the_first_ones_pid() {
    let (_kept, root, _) = system(1, SMALL);
    let (mut first, address) = child(&root);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let refused = runtime.block_on(Serving::start(options(&root))).unwrap_err();
    assert!(
        matches!(refused, FactoriaError::AlreadyServed { pid: Some(pid), .. } if pid == first.id()),
        "{refused}"
    );
    assert!(
        refused.to_string().contains(&address.pid.to_string()),
        "{refused}"
    );
    assert_eq!(
        Address::read(&root),
        Some(address),
        "the first one's address stays"
    );
    first.kill().unwrap();
    first.wait().unwrap();
    runtime.block_on(async {
        Serving::start(options(&root))
            .await
            .unwrap()
            .stop()
            .await
            .unwrap()
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_loopback_address_and_only_a_generated_system_are_served() {
    let (_kept, root, _) = system(1, SMALL);
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let options = ServeOptions {
            listen: listen.parse().unwrap(),
            ..options(&root)
        };
        let refused = Serving::start(options).await.unwrap_err();
        assert!(
            matches!(refused, FactoriaError::NotLoopback { .. }),
            "{listen}: {refused}"
        );
    }
    assert!(!root.join("run").exists(), "nothing was touched");
    let other = tempfile::tempdir().unwrap();
    let refused = Serving::start(options(other.path())).await.unwrap_err();
    assert!(matches!(refused, FactoriaError::NotFactoria { .. }), "{refused}");
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_by_itself_when_its_time_is_over_also_while_a_client_holds_on() {
    let (_kept, root, _) = system(1, SMALL);
    let mut held = None;
    let limit = Some(Duration::from_millis(300));
    let started = |address: &Address| {
        let socket = address.listening.strip_prefix("http://").unwrap();
        held = Some(TcpStream::connect(socket).unwrap());
    };
    let served = serve(options(&root), limit, started, std::future::pending())
        .await
        .unwrap();
    assert!(served.records > 0 && served.seconds >= 0.3, "{served:?}");
    assert!(held.is_some() && Address::read(&root).is_none());
    whole(&watermark(&root).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_log_that_ends_before_its_checkpoint_is_not_gone_on_with() {
    let (_kept, root, _) = system(1, SMALL);
    let path = root.join("security/audit.log");
    let length = fs::metadata(&path).unwrap().len();
    OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(length / 2)
        .unwrap();
    let serving = Serving::start(options(&root)).await.unwrap();
    let health = until("records of the other stores", || {
        let (status, health) = get(serving.socket(), "/health");
        assert_eq!(status, 503);
        (health["records"].as_u64() > Some(4)).then_some(health)
    });
    let fault = health["stores"]["audit"]["fault"].as_str().unwrap();
    assert!(fault.contains("checkpoint"), "{fault}");
    serving.stop().await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), length / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_is_made_from_what_is_on_disk_and_a_wish_that_cannot_be_met_is_refused() {
    let (_kept, root, _) = system(1, SMALL);
    let before = tree(&root);
    let mut options = options(&root);
    options.read_only = true;
    let service = Serving::start(options).await.unwrap();
    let socket = service.socket();
    let (status, piece) = get(
        socket,
        "/generate?type=study_guide&audience=adult&subject=history&seed=3",
    );
    assert_eq!(
        (status, &piece["standard"]),
        (200, &Value::from("history.adult")),
        "{piece:#}"
    );
    assert!(piece["overall_quality"].as_f64().unwrap() > 0.9, "{piece:#}");
    assert!(
        piece["text"].as_str().unwrap().contains("## practice"),
        "{piece:#}"
    );
    assert_eq!(
        get(
            socket,
            "/generate?type=study_guide&audience=adult&subject=history&seed=3"
        )
        .1,
        piece
    );
    for (wish, named) in [
        ("", "study_guide"),
        ("?type=opera", "podcast_script"),
        ("?type=study_guide&audience=cats", "middle_school"),
        ("?type=study_guide&subject=magic", "history"),
    ] {
        let (status, refused) = get(socket, &format!("/generate{wish}"));
        let error = refused["error"].as_str().unwrap();
        assert!(status == 400 && error.contains(named), "{wish}: {status} {error}");
    }
    assert_eq!(tree(&root), before, "nothing is written");
    fs::remove_file(root.join("education/content_patterns/study_guide.json")).unwrap();
    let (status, refused) = get(socket, "/generate?type=study_guide");
    assert_eq!(status, 503, "{refused}");
    assert!(
        refused["error"].as_str().unwrap().contains("restore education/"),
        "{refused}"
    );
    service.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_without_the_rules_to_assess_by_keeps_no_assessments() {
    let (_kept, root, _) = system(1, SMALL);
    fs::remove_file(root.join("quality/config.json")).unwrap();
    let serving = Serving::start(options(&root)).await.unwrap();
    let fault = until("fault of the content database", || {
        let (_, health) = get(serving.socket(), "/health");
        health["stores"]["content"]["fault"].as_str().map(str::to_owned)
    });
    assert!(fault.contains("restore education/, quality/"), "{fault}");
    serving.stop().await.unwrap();
}
