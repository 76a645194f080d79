//! The write-ahead log: segments `log/<number>`, appended to by one writer, scanned when the journal opens (`scan`).

mod scan;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekindle_journal::JournalError;
use rekindle_journal::admit;
use rekindle_journal::codec::Key;
use rekindle_model::event::JournalHead;
use rekindle_model::planted::{self, Fault};

pub(crate) use self::scan::{Commit, Scanned, scan, segments, values_of};
use crate::durable::{private, sync_dir};
use crate::frame::{self, LOG_FORMAT, PLAIN_FORMAT, SEGMENT_HEADER, SegmentHeader};
use crate::head_file::HeadFile;
use crate::lock::Lock;

/// How much room is reserved at a time: enough for some hundred small frames, and little on an almost full
/// disk.
const RESERVED_BYTES: u64 = 256 << 10;

/// The log, open for appending.
#[derive(Debug)]
pub(crate) struct Log {
    dir: PathBuf,
    segment_bytes: u64,
    head: JournalHead,
    number: u64,
    head_file: HeadFile,
    /// None until the first append, if the open found that it must not continue the last segment.
    open: Option<Segment>,
    /// Held until the segment is closed. Closing cuts the file after its last frame, so no other owner may
    /// append before.
    _lock: Arc<Lock>,
}

#[derive(Debug)]
struct Segment {
    file: File,
    path: PathBuf,
    len: u64,
    version: u32,
    /// The file's length, with the room reserved for later frames.
    reserved: u64,
}

impl Log {
    /// Opens the log for appending after a scan: cuts off a torn tail and writes the last frame once more.
    /// Returns the number of bytes cut off.
    ///
    /// `head` is the journal's head. If the log ends elsewhere, the next append begins a segment that names
    /// `head`.
    pub(crate) fn open(
        dir: &Path,
        segment_bytes: u64,
        scanned: &Scanned,
        head: JournalHead,
        head_file: HeadFile,
        lock: Arc<Lock>,
    ) -> Result<(Self, u64), JournalError> {
        let mut log = Self {
            dir: dir.to_owned(),
            segment_bytes,
            head,
            number: 0,
            head_file,
            open: None,
            _lock: lock,
        };
        let Some(tail) = &scanned.tail else {
            return Ok((log, 0));
        };
        log.number = tail.number;
        let io = |what| move |error| JournalError::io(what, &tail.path, error);
        let Some(end) = tail.end else {
            if tail.file_len <= SEGMENT_HEADER as u64 && tail.last_frame.is_none() {
                // A crash interrupted its creation: its number is free.
                fs::remove_file(&tail.path).map_err(io("remove"))?;
                sync_dir(dir)?;
                log.number = tail.number.saturating_sub(1);
                return Ok((log, tail.file_len));
            }
            return Ok((log, 0));
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&tail.path)
            .map_err(io("open"))?;
        if end < tail.file_len {
            file.set_len(end).map_err(io("truncate"))?;
        }
        // After a failed sync, the last frame may be in memory only, marked as written. Write and sync it
        // again before anything builds on it.
        if let Some((from, to)) = tail.last_frame {
            let mut bytes = vec![0; usize::try_from(to - from).unwrap_or(0)];
            file.read_exact_at(&mut bytes, from).map_err(io("read"))?;
            file.write_all_at(&bytes, from).map_err(io("write"))?;
        }
        file.sync_all().map_err(io("sync"))?;
        sync_dir(dir)?;
        if head == scanned.head {
            log.open = Some(Segment {
                file,
                path: tail.path.clone(),
                len: end,
                version: tail.version,
                reserved: end,
            });
        }
        Ok((log, tail.torn_bytes()))
    }

    /// Returns the head after the last commit.
    pub(crate) fn head(&self) -> JournalHead {
        self.head
    }

    /// Writes one commit and makes it durable. After an error the log must not be used again.
    pub(crate) fn append(&mut self, entries: &[(Key, Vec<u8>)]) -> Result<JournalHead, JournalError> {
        self.write(entries, PLAIN_FORMAT)
    }

    /// Writes one commit with marks, into a segment that older programs refuse.
    pub(crate) fn append_marked(&mut self, entries: &[(Key, Vec<u8>)]) -> Result<JournalHead, JournalError> {
        self.write(entries, LOG_FORMAT)
    }

    /// Syncs the newest commit after its acknowledgement, if that fault is planted.
    pub(crate) fn sync_late(&self) {
        let late = planted::is(Fault::AcknowledgedBeforeSync);
        if let Some(segment) = self.open.as_ref().filter(|_| late) {
            // Behave like a busy disk: on a fast one the gap is hard to hit.
            std::thread::sleep(std::time::Duration::from_millis(5));
            let _ = segment.file.sync_data();
        }
    }

    /// Lets the next commit begin a new segment.
    pub(crate) fn begin_segment(&mut self) {
        self.open = None;
    }

    fn write(&mut self, entries: &[(Key, Vec<u8>)], version: u32) -> Result<JournalHead, JournalError> {
        let values = || entries.iter().map(|(_, value)| value.as_slice());
        let head = admit::advance(self.head, values());
        let bytes = frame::encode(head, entries.iter().map(|(key, value)| (*key, value.as_slice())));
        let segment = match &mut self.open {
            Some(segment) if segment.len < self.segment_bytes && segment.version >= version => segment,
            _ => {
                let next = self.create_segment(version)?;
                self.open.insert(next)
            }
        };
        segment.reserve(bytes.len() as u64, self.segment_bytes);
        let written = segment
            .file
            .write_all_at(&bytes, segment.len)
            .and_then(|()| match unsynced() {
                true => Ok(()),
                false => segment.file.sync_data(),
            });
        if let Err(error) = written {
            // The commit was not acknowledged: try to remove it again.
            let _ = segment
                .file
                .set_len(segment.len)
                .and_then(|()| segment.file.sync_data());
            return Err(JournalError::io("write", &segment.path, error));
        }
        segment.len += bytes.len() as u64;
        self.head = head;
        self.head_file.note(head);
        Ok(head)
    }

    fn create_segment(&mut self, version: u32) -> Result<Segment, JournalError> {
        let number = self.number + 1;
        let path = self.dir.join(format!("{number:010}"));
        let header = SegmentHeader {
            version,
            number,
            base: self.head,
        }
        .encode();
        let file = private()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|file| {
                file.write_all_at(&header, 0)
                    .and_then(|()| file.sync_all())
                    .map(|()| file)
            })
            .map_err(|error| JournalError::io("create", &path, error))?;
        sync_dir(&self.dir)?;
        self.number = number;
        Ok(Segment {
            file,
            path,
            len: header.len() as u64,
            version,
            reserved: header.len() as u64,
        })
    }
}

impl Segment {
    /// Extends the file in advance, now and then. A sync that need not make a new length durable takes two
    /// thirds of the time. If the file system cannot extend it, or has no room, only this speed is lost.
    fn reserve(&mut self, bytes: u64, segment_bytes: u64) {
        let needed = self.len + bytes;
        if needed <= self.reserved {
            return;
        }
        let reserved = needed.max(segment_bytes.min(self.len + RESERVED_BYTES));
        // The frame is larger than the reserve, or the segment's last one: nothing to gain.
        if reserved == needed {
            return;
        }
        let flags = rustix::fs::FallocateFlags::empty();
        self.reserved = match rustix::fs::fallocate(&self.file, flags, self.len, reserved - self.len) {
            Ok(()) => reserved,
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "no room is reserved in this segment");
                u64::MAX
            }
        };
    }
}

impl Drop for Segment {
    /// Gives back unused room. After a crash the next open does.
    fn drop(&mut self) {
        if self.reserved > self.len {
            let _ = self.file.set_len(self.len);
        }
    }
}

/// Returns whether a planted fault leaves commits unsynced when they are acknowledged.
fn unsynced() -> bool {
    planted::is(Fault::NotSynced) || planted::is(Fault::AcknowledgedBeforeSync)
}
