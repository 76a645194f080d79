//! The limit of the disk, and sled's use of it: one thread, one record after another, each durable before the
//! next.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::Outcome;
use crate::figure::{Figure, now, print};

/// As many as the chain of steps that it is compared with.
const RECORDS: u32 = 1000;
/// About what one step costs the log: the frame of a `step_succeeded` with the next `step_started`.
const RECORD_BYTES: usize = 640;

/// Measures raw appends, and sled.
pub(crate) fn measure(dir: &Path, round: u32) -> Outcome<()> {
    print(&raw(dir, round)?)?;
    print(&sled_alone(dir, round)?)
}

fn raw(dir: &Path, round: u32) -> Outcome<Figure> {
    let path = dir.join(format!("raw-{round}"));
    let mut file = OpenOptions::new().create_new(true).append(true).open(&path)?;
    let figure = timed("raw", |number| {
        file.write_all(&record(number))?;
        Ok(file.sync_data()?)
    })?;
    std::fs::remove_file(&path)?;
    Ok(figure)
}

fn sled_alone(dir: &Path, round: u32) -> Outcome<Figure> {
    let path = dir.join(format!("sled-{round}"));
    let db = sled::Config::new()
        .path(&path)
        .cache_capacity(64 << 20)
        .flush_every_ms(None)
        .open()?;
    let figure = timed("sled", |number| {
        db.insert(number.to_be_bytes(), record(number).as_slice())?;
        db.flush()?;
        Ok(())
    })?;
    drop(db);
    std::fs::remove_dir_all(&path)?;
    Ok(figure)
}

fn timed(subject: &str, mut append: impl FnMut(u32) -> Outcome<()>) -> Outcome<Figure> {
    let began = now();
    let mut each = Vec::with_capacity(RECORDS as usize);
    for number in 0..RECORDS {
        let from = now();
        append(number)?;
        each.push(from.elapsed());
    }
    let whole: Duration = began.elapsed();
    Ok(Figure::of(subject, 1, RECORDS, whole, each))
}

/// Returns bytes that no layer below could store more cheaply than others.
fn record(number: u32) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    let mut word = u64::from(number) + 1;
    for chunk in bytes.chunks_exact_mut(8) {
        // A step of xorshift64 (Marsaglia 2003): fast, and never zero.
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        chunk.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}
