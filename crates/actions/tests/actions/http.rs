//! Requests and notices, to a server on this machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rekindle_actions::registry;
use rekindle_engine::{Action, Control, Output, Reconciled, StepContext};
use rekindle_model::failure::Failure;
use rekindle_plan::{Catalog, Problem};
use serde_json::{Value, json};

use crate::bench::{Bench, Ran, SYSTEM};

/// Answers every request alike, and remembers what was asked.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn answering(status: &str, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nLocation: /elsewhere\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let (heard, done) = (Arc::clone(&asked), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if done.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                let request = read(&stream);
                heard.lock().unwrap().push(request);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        Self {
            address,
            asked,
            over,
            thread: Some(thread),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // A last connection wakes the thread, which then ends.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Returns a request as it came, its headers in lower case.
fn read(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(
            if head.is_empty() {
                line.clone()
            } else {
                line.replace(": ", ":")
            }
            .as_str(),
        );
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    format!("{head}\n{}", String::from_utf8(body).unwrap())
}

fn one(uses: &str, with: &Value) -> String {
    format!("workflow: one\ndescription: d\nsteps:\n  - id: it\n    uses: {uses}\n    with: {with}\n")
}

async fn step(bench: &Bench, uses: &str, with: Value) -> Ran {
    bench.run("one", &one(uses, &with), json!({}), None).await
}

#[tokio::test]
async fn a_request_carries_what_it_is_told_and_its_answer_is_kept() {
    let bench = Bench::new(SYSTEM);
    let server = Server::answering("201 Created", r#"{"id": 7, "echo": "hunter22"}"#);
    let with = json!({
        "method": "POST", "url": server.url("/things?x=1"), "headers": {"Authorization": "hunter22"},
        "body": {"name": "a"}, "idempotency_key": true,
    });
    let ran = step(&bench, "http", with).await;
    assert_eq!(
        ran.output("it"),
        &json!({"status": 201, "body": {"id": 7, "echo": "***"}})
    );
    let asked = server.asked();
    let request = asked[0].to_lowercase();
    assert!(
        asked[0].starts_with("POST /things?x=1 HTTP/1.1\r\n"),
        "{}",
        asked[0]
    );
    assert!(request.contains("authorization:hunter22\r\n"), "{request}");
    assert!(request.contains("content-type:application/json\r\n"), "{request}");
    assert!(request.contains("idempotency-key:"), "{request}");
    assert!(asked[0].ends_with("\n{\"name\":\"a\"}"), "{}", asked[0]);
}

#[tokio::test]
async fn an_answer_that_is_not_expected_is_a_failure_that_says_what_came() {
    let bench = Bench::new(SYSTEM);
    for (status, expected, passes) in [
        ("200 OK", None, true),
        ("302 Found", None, false),
        ("404 Not Found", None, false),
        ("404 Not Found", Some(404), true),
        ("200 OK", Some(204), false),
    ] {
        let server = Server::answering(status, "some\nwords");
        let mut with = json!({"url": server.url("/a?token=hunter22")});
        if let Some(expected) = expected {
            with["expect_status"] = json!(expected);
        }
        let ran = step(&bench, "http", with).await;
        if passes {
            assert_eq!(ran.output("it")["body"], "some\nwords", "{status}");
        } else {
            let (code, message) = ran.failure("it");
            assert_eq!(code, "http_failed");
            let code = &status[..3];
            assert!(
                message.ends_with(&format!("/a: status {code}: some words")),
                "{message}"
            );
        }
        assert_eq!(server.asked().len(), 1, "a redirect is not followed");
    }
}

#[tokio::test]
async fn no_answer_in_time_is_a_timeout_and_nobody_there_is_said() {
    let bench = Bench::new(SYSTEM);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = |listener: &TcpListener| format!("http://u:word@{}/", listener.local_addr().unwrap());
    let (code, message) = step(&bench, "http", json!({"url": url(&silent), "timeout": "200ms"}))
        .await
        .failure("it");
    assert_eq!(code, "timeout", "{message}");
    assert!(!message.contains("word"), "{message}");
    let gone = url(&silent);
    drop(silent);
    let (code, message) = step(&bench, "http", json!({"url": gone})).await.failure("it");
    assert_eq!(code, "http_failed", "{message}");
}

/// Does what the real action does, and says nothing of it: as when the process dies after the act.
struct Lost(Arc<dyn Action>, Control);

#[async_trait::async_trait]
impl Action for Lost {
    fn check(&self, with: &Value) -> Vec<Problem> {
        self.0.check(with)
    }
    async fn reconcile(&self, cx: &StepContext, checkpoint: Option<&Value>) -> Result<Reconciled, Failure> {
        self.0.reconcile(cx, checkpoint).await
    }
    async fn run(&self, cx: &StepContext, checkpoint: Option<Value>) -> Result<Output, Failure> {
        self.0.run(cx, checkpoint).await?;
        self.1.stop.cancel();
        Err(Failure::transient("interrupted", "lost"))
    }
}

/// Runs a step whose outcome is lost, then resumes the run.
async fn resumed(bench: &Bench, uses: &str, with: &Value) -> Ran {
    let yaml = one(uses, with);
    let site = bench.site(None);
    let real = registry(Arc::clone(&site));
    let control = Control::default();
    let losing = real
        .clone()
        .map(|_, action| Arc::new(Lost(action, control.clone())) as Arc<dyn Action>);
    let inputs = bench.inputs(&site, json!({}));
    let engine = bench.engine(losing.clone());
    let run = engine.create(bench.new_run("one", &yaml, &inputs)).await.unwrap();
    bench
        .drive(&engine, run, &yaml, &inputs, &site, &losing, &control)
        .await;
    let engine = bench.engine(real.clone());
    engine.adopt(run, "test").await.unwrap();
    bench
        .drive(&engine, run, &yaml, &inputs, &site, &real, &Control::default())
        .await
}

#[tokio::test]
async fn after_a_crash_only_a_request_that_may_be_sent_twice_is() {
    let bench = Bench::new(SYSTEM);
    for (method, key, times) in [
        ("GET", false, 2),
        ("PUT", false, 2),
        ("DELETE", false, 2),
        ("POST", true, 2),
        ("POST", false, 1),
        ("PATCH", false, 1),
    ] {
        let server = Server::answering("200 OK", "{}");
        let with = json!({"method": method, "url": server.url("/"), "idempotency_key": key});
        let ran = resumed(&bench, "http", &with).await;
        let asked = server.asked();
        assert_eq!(asked.len(), times, "{method} {key}");
        if times == 2 {
            ran.output("it");
            let key_of = |request: &String| {
                let lower = request.to_lowercase();
                lower
                    .lines()
                    .find(|line| line.starts_with("idempotency-key"))
                    .map(str::to_owned)
            };
            assert_eq!(key_of(&asked[0]), key_of(&asked[1]));
            assert_eq!(key_of(&asked[0]).is_some(), key);
        } else {
            let (code, message) = ran.failure("it");
            assert_eq!(code, "unknown_outcome", "{message}");
        }
    }
}

#[tokio::test]
async fn a_notice_reaches_a_webhook_and_a_program_alike() {
    let bench = Bench::new(SYSTEM);
    let server = Server::answering("200 OK", "");
    let with = json!({"webhook": server.url("/hook/hunter22"), "outcome": "failed", "message": "bad news"});
    assert_eq!(
        step(&bench, "notify", with).await.output("it"),
        &json!({"told": "webhook", "status": 200})
    );
    let told = |text: &str| {
        let mut notice: Value = serde_json::from_str(text).unwrap();
        assert!(notice["run"].take().is_string());
        notice
    };
    let expected = json!({"run": null, "workflow_step": "it", "outcome": "failed", "message": "bad news"});
    assert_eq!(told(server.asked()[0].rsplit('\n').next().unwrap()), expected);

    let with = json!({"command": ["sh", "-c", "cat > notice"], "outcome": "failed", "message": "bad news"});
    step(&bench, "notify", with).await.output("it");
    assert_eq!(
        told(&std::fs::read_to_string(bench.path("notice")).unwrap()),
        expected
    );
}

#[tokio::test]
async fn a_webhook_that_refuses_is_a_failure_without_its_path() {
    let bench = Bench::new(SYSTEM);
    let server = Server::answering("403 Forbidden", "");
    let (code, message) = step(
        &bench,
        "notify",
        json!({"webhook": server.url("/hook/hunter22"), "message": "m"}),
    )
    .await
    .failure("it");
    assert_eq!(code, "http_failed");
    assert!(
        message.contains("status 403") && !message.contains("hunter22"),
        "{message}"
    );
}

#[test]
fn contradictory_parameters_are_found_before_the_run() {
    let bench = Bench::new(SYSTEM);
    let registry = registry(bench.site(None));
    for (uses, with, message) in [
        (
            "http",
            json!({"url": "u", "body": 1}),
            "a GET request carries no body",
        ),
        (
            "http",
            json!({"url": "u", "expect_status": 99}),
            "expected a status such as 200 or 404, found 99",
        ),
        (
            "http",
            json!({"url": "u", "method": "get"}),
            "expected one of GET",
        ),
        (
            "notify",
            json!({"message": "m"}),
            "expected either `command` or `webhook`",
        ),
        (
            "notify",
            json!({"message": "m", "command": ["a"], "webhook": "u"}),
            "expected either `command` or `webhook`",
        ),
    ] {
        let problems = registry.check(uses, &with);
        assert_eq!(problems.len(), 1, "{with}");
        assert!(problems[0].message.contains(message), "{}", problems[0].message);
    }
}

/// Validates `pages` by these probes, against the living data.
async fn measured(bench: &Bench) -> Ran {
    step(bench, "validate", json!({"component": "pages"})).await
}

fn with_probe(probe: &str) -> Bench {
    let begin = SYSTEM.find("      - probe: command").unwrap();
    let end = SYSTEM.find("  orders:").unwrap();
    Bench::new(&format!(
        "{}      - {probe}\n{}",
        &SYSTEM[..begin],
        &SYSTEM[end..]
    ))
}

fn actual(ran: &Ran, measure: &str) -> Option<f64> {
    let checks = ran.output("it")["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["measure"] == measure).unwrap();
    check["actual"].as_f64()
}

#[tokio::test]
async fn an_http_probe_measures_status_latency_and_what_pointers_find() {
    let server = Server::answering("503 Busy", r#"{"db": {"rows": 41, "up": true, "name": "x"}}"#);
    let url = server.url("/health");
    let bench = with_probe(&format!(
        "{{probe: http, url: \"{url}\", values: {{rows: /db/rows, up: /db/up, name: /db/name, none: /no}}, \
         expect: {{status: \"== 503\", latency_ms: \"< 60000\", rows: \">= 41\", up: true, name: \"== 1\", none: \"== 1\"}}}}"
    ));
    let ran = measured(&bench).await;
    assert_eq!(
        ran.output("it")["valid"],
        Value::Null,
        "two numbers were not there"
    );
    assert_eq!(actual(&ran, "status"), Some(503.0));
    assert_eq!(actual(&ran, "rows"), Some(41.0));
    assert_eq!(actual(&ran, "up"), Some(1.0));
    assert_eq!(actual(&ran, "name"), None);
    assert_eq!(actual(&ran, "none"), None);
    assert!(actual(&ran, "latency_ms").unwrap() > 0.0);
    drop(server);

    let (code, message) = measured(&bench).await.failure("it");
    assert_eq!(code, "http_failed", "nobody there is no measurement");
    assert!(
        message.starts_with("probe http: GET http://127.0.0.1"),
        "{message}"
    );
}

#[tokio::test]
async fn an_sql_probe_reads_numbers_and_leaves_no_trace() {
    let bench = with_probe(
        r#"{probe: sql, database: db/orders.db, query: "SELECT count(*) AS rows, max(id) AS newest FROM orders", expect: {rows: "== 3", newest: "== 3"}}"#,
    );
    let ran = measured(&bench).await;
    assert_eq!(ran.output("it")["valid"], true);
    let beside = std::fs::read_dir(bench.path("data/db")).unwrap().count();
    assert_eq!(beside, 1);
    let bench = with_probe(
        r#"{probe: sql, database: db/orders.db, query: "DELETE FROM orders", expect: {n: "== 0"}}"#,
    );
    let (code, message) = measured(&bench).await.failure("it");
    assert_eq!(code, "bad_query", "{message}");
    assert_eq!(bench.orders("data"), 3);
}

#[tokio::test]
async fn a_files_probe_counts_and_knows_the_files_by_their_digest() {
    let digest = |bench: &Bench| {
        let mut whole = blake3::Hasher::new();
        for name in ["a.md", "deep/b.md", "deep/c.md"] {
            let content = std::fs::read(bench.path("data/pages").join(name)).unwrap();
            whole.update(name.as_bytes()).update(&[0]);
            whole.update(&(content.len() as u64).to_le_bytes());
            whole.update(blake3::hash(&content).as_bytes());
        }
        whole.finalize().to_hex().to_string()
    };
    let digest = digest(&Bench::new(SYSTEM));
    let bench = with_probe(&format!(
        "{{probe: files, path: pages, digest: \"{digest}\", expect: {{count: \"== 3\", bytes: \"== 3300010\", digest: true}}}}"
    ));
    assert_eq!(measured(&bench).await.output("it")["valid"], true);
    let page = bench.path("data/pages/a.md");
    let content: Vec<u8> = std::fs::read(&page)
        .unwrap()
        .iter()
        .map(|byte| byte ^ 1)
        .collect();
    std::fs::write(&page, content).unwrap();
    let (code, message) = measured(&bench).await.failure("it");
    assert_eq!(code, "invalid");
    assert!(message.contains("files.digest is 0, expected == 1"), "{message}");
}

#[tokio::test]
async fn an_answer_is_kept_whole_up_to_the_limit_of_an_output() {
    let bench = Bench::new(SYSTEM);
    let long = format!(r#"{{"id": 18446744073709551617, "a": "{}"}}"#, "x".repeat(50_000));
    let server = Server::answering("200 OK", &long);
    let ran = step(&bench, "http", json!({"url": server.url("/")})).await;
    let body = &ran.output("it")["body"];
    assert_eq!(body["id"], "18446744073709551617");
    assert_eq!(body["a"].as_str().unwrap().len(), 50_000);

    let server = Server::answering("200 OK", &"x".repeat((1 << 20) + 1));
    let ran = step(&bench, "http", json!({"url": server.url("/")})).await;
    let output = ran.output("it");
    assert_eq!((&output["truncated"], output.get("body")), (&json!(true), None));
    assert!(output["warnings"][0].as_str().unwrap().contains("1048576"));
}
