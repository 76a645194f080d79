//! Cuts the entry stream into windows.

use std::sync::Arc;

use rekindle_model::entry::{Entry, EntryKind, TreePath};
use tokio_util::sync::CancellationToken;

use crate::snapshot::EntryRecord;

use super::error::RestoreError;
use super::include::{Include, Outline};
use super::request::{Position, Window};
use super::store::{ContentStore, EntryCursor};

/// One unit of work in a window.
#[derive(Debug)]
pub(super) enum Work {
    /// Make a folder.
    Folder(TreePath),
    /// Make a symbolic link.
    Link(Entry),
    /// Make a further name of a file.
    Name(Arc<EntryRecord>, TreePath),
    /// Make a FIFO or a device.
    Node(Entry),
    /// Build a file, or a piece of one that is larger than a window.
    File(Piece),
}

/// A piece of a file.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) record: Arc<EntryRecord>,
    /// The first chunk of the piece, and the first one after it.
    pub(super) start: usize,
    pub(super) end: usize,
    /// Where the piece begins in the file.
    pub(super) offset: u64,
    /// Where it ends.
    pub(super) offset_after: u64,
    /// Whether the file was begun again because its bytes were wrong at the end.
    pub(super) again: bool,
}

impl Piece {
    /// Returns whether the file is complete after this piece.
    pub(super) fn is_last(&self) -> bool {
        self.end == self.record.chunks.len()
    }

    /// Returns the whole file as one piece; a window may split it.
    pub(super) fn whole(record: Arc<EntryRecord>) -> Self {
        let size = record.chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        let end = record.chunks.len();
        Self {
            record,
            start: 0,
            end,
            offset: 0,
            offset_after: size,
            again: false,
        }
    }

    /// Returns the rest of the file from an offset; none if no chunk begins there.
    pub(super) fn from(mut self, offset: u64) -> Option<Self> {
        while self.offset < offset {
            self.offset += u64::from(self.record.chunks.get(self.start)?.len);
            self.start += 1;
        }
        (self.offset == offset).then_some(self)
    }

    /// Splits off what fits into `room` bytes, one chunk at least.
    fn split(&mut self, room: u64) -> Self {
        let mut piece = Self {
            end: self.start,
            offset_after: self.offset,
            ..self.clone()
        };
        while let Some(chunk) = self.record.chunks.get(piece.end) {
            let after = piece.offset_after + u64::from(chunk.len);
            if piece.end > piece.start && after - piece.offset > room {
                break;
            }
            (piece.end, piece.offset_after) = (piece.end + 1, after);
        }
        (self.start, self.offset) = (piece.end, piece.offset_after);
        piece
    }
}

/// The entry stream, as windows.
pub(super) struct Windows {
    cursor: Box<dyn EntryCursor>,
    outline: Outline,
    limits: Window,
    /// Where the record in `rest` begins in the stream.
    rest_begins: u64,
    /// The rest of a file that is larger than a window.
    rest: Option<Piece>,
}

impl Windows {
    pub(super) fn at(store: &dyn ContentStore, include: Include, limits: Window, from: &Position) -> Self {
        let cursor = store.cursor(from.stream);
        let outline = Outline::at(include, &from.inside);
        Self {
            cursor,
            outline,
            limits,
            rest_begins: from.stream,
            rest: None,
        }
    }

    /// Returns the place after the windows given so far.
    pub(super) fn position(&self) -> Position {
        let inside = self.outline.inside();
        match &self.rest {
            Some(rest) => Position {
                stream: self.rest_begins,
                inside,
                offset: rest.offset,
            },
            None => Position {
                stream: self.cursor.position(),
                inside,
                offset: 0,
            },
        }
    }

    /// Reads the record of the file at which a resumed restore stopped.
    pub(super) async fn open_file(&mut self) -> Result<Option<Arc<EntryRecord>>, RestoreError> {
        self.rest_begins = self.cursor.position();
        let Some(record) = self.cursor.next().await? else {
            return Ok(None);
        };
        self.outline.admit(&record)?;
        Ok(matches!(record.entry.kind, EntryKind::File { .. }).then(|| Arc::new(record)))
    }

    /// Sets the next piece: a file's rest, or the whole file again; none drops a rest.
    pub(super) fn set_rest(&mut self, rest: Option<Piece>) {
        self.rest = rest;
    }

    /// Returns the next window; empty at the end of the stream.
    pub(super) async fn next(&mut self, stop: &CancellationToken) -> Result<Vec<Work>, RestoreError> {
        let mut window = Vec::new();
        let mut room = self.limits.bytes.max(1);
        loop {
            if let Some(rest) = &mut self.rest {
                let piece = rest.split(room);
                room = room.saturating_sub(piece.offset_after - piece.offset);
                let (whole, continued) = (piece.is_last(), piece.offset > 0);
                window.push(Work::File(piece));
                if !whole {
                    return Ok(window);
                }
                self.rest = None;
                // Nothing else joins its window, because the file may have to begin again.
                if continued {
                    return Ok(window);
                }
            }
            if room == 0 || window.len() >= self.limits.entries.max(1) {
                return Ok(window);
            }
            if stop.is_cancelled() {
                return Err(RestoreError::Interrupted { checkpoint: None });
            }
            let begins = self.cursor.position();
            let Some(record) = self.cursor.next().await? else {
                return Ok(window);
            };
            if !self.outline.admit(&record)? {
                continue;
            }
            window.extend(self.outline.unmade().into_iter().map(Work::Folder));
            match record.entry.kind {
                EntryKind::Dir => {}
                EntryKind::Symlink { .. } => window.push(Work::Link(record.entry)),
                EntryKind::Fifo | EntryKind::CharDevice(_) | EntryKind::BlockDevice(_) => {
                    window.push(Work::Node(record.entry));
                }
                EntryKind::File { .. } if self.outline.first_name(&record).is_some() => {
                    let first = record.entry.first_name.clone().unwrap_or(TreePath::ROOT);
                    window.push(Work::Name(Arc::new(record), first));
                }
                EntryKind::File { .. } => {
                    self.rest_begins = begins;
                    self.rest = Some(Piece::whole(Arc::new(record)));
                }
            }
        }
    }
}
