//! Probe `files`: how many files there are below a path, how many bytes they have, and whether they are the ones
//! that a digest was taken of.
//!
//! The digest is the BLAKE3 hash, in hexadecimal, of the concatenation, for every file in the order of paths, of
//! its path below the probed one, a zero byte, its length as 8 bytes (little-endian), and the BLAKE3 hash (32
//! bytes) of its content. Folders and links do not count.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rekindle_engine::StepContext;
use rekindle_model::entry::{EntryKind, TreeSource};
use rekindle_model::failure::{Failure, code};
use rekindle_sources::blocking;
use rekindle_sources::files::FilesTree;

use crate::checks::Numbers;
use crate::failures;

/// How much of a file is read at once.
const BUFFER: usize = 256 << 10;

/// What is counted, rendered.
pub(super) struct Params {
    pub(super) path: PathBuf,
    pub(super) include: Vec<String>,
    pub(super) exclude: Vec<String>,
    /// The expected digest. Contents are read only if it is given.
    pub(super) digest: Option<String>,
}

/// Measures `count`, `bytes` and `digest`: 1 if the digest is the expected one, else 0.
pub(super) async fn measure(
    cx: &StepContext,
    params: Params,
    never: Vec<PathBuf>,
    timeout: Option<Duration>,
) -> Result<Numbers, Failure> {
    let (stop, clock, begun) = (cx.stop.clone(), Arc::clone(&cx.clock), cx.clock.now());
    let go_on = move || {
        if stop.is_cancelled() {
            return Err(failures::interrupted());
        }
        match timeout {
            Some(limit) if clock.now().since(&begun).duration > limit => Err(Failure::transient(
                code::TIMEOUT,
                format!(
                    "the files were not read within {}",
                    humantime::format_duration(limit)
                ),
            )),
            _ => Ok(()),
        }
    };
    blocking(move || count(&params, &never, &go_on)).await
}

fn count(
    params: &Params,
    never: &[PathBuf],
    go_on: &dyn Fn() -> Result<(), Failure>,
) -> Result<Numbers, Failure> {
    let mut tree = FilesTree::open(&params.path, &params.include, &params.exclude, never)?;
    let mut whole = blake3::Hasher::new();
    let mut buffer = vec![0; BUFFER];
    let (mut files, mut bytes) = (0_u64, 0_u64);
    while let Some(entry) = tree.next_entry()? {
        go_on()?;
        let EntryKind::File { size } = entry.kind else {
            continue;
        };
        files += 1;
        bytes += size;
        if params.digest.is_some() {
            let mut content = tree.open(&entry)?;
            let mut hash = blake3::Hasher::new();
            loop {
                go_on()?;
                let read = content
                    .read(&mut buffer)
                    .map_err(|error| failures::io(&entry.path.display(), &error))?;
                if read == 0 {
                    break;
                }
                hash.update(&buffer[..read]);
            }
            whole.update(entry.path.as_bytes());
            whole.update(&[0]);
            whole.update(&size.to_le_bytes());
            whole.update(hash.finalize().as_bytes());
        }
    }
    let mut numbers = Numbers::from([
        ("count".to_owned(), crate::measure::number(files)),
        ("bytes".to_owned(), crate::measure::number(bytes)),
    ]);
    if let Some(expected) = &params.digest {
        let found = whole.finalize().to_hex();
        let same = expected.eq_ignore_ascii_case(found.as_str());
        if !same {
            tracing::info!(path = %params.path.display(), %found, expected, "another digest than expected");
        }
        numbers.insert("digest".to_owned(), f64::from(u8::from(same)));
    }
    Ok(numbers)
}
