//! The restore: window by window, then the folders' metadata.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use futures::{StreamExt, stream};
use rekindle_model::entry::{EntryKind, TreePath};
use rekindle_model::failure::Failure;
use rekindle_model::planted::{self, Fault};
use tokio_util::sync::CancellationToken;

use crate::object::{ChunkId, ChunkRef};
use crate::progress::ProgressSink;
use crate::reader::SnapshotReader;
use crate::snapshot::EntryRecord;
use crate::tier::Tier;

use super::blocking::blocking;
use super::build::Existing;
use super::difference::Difference;
use super::elsewhere::Tally;
use super::error::RestoreError;
use super::folders;
use super::include::Include;
use super::inspect::{Depth, first_difference_from};
use super::plan::{Piece, Windows, Work};
use super::request::{LostFile, RestoreCheckpoint, RestoreReport, RestoreRequest};
use super::store::{ContentError, ContentStore};
use super::target::Target;
use super::unheld::{Part, Unheld};

/// How many chunks are fetched ahead of the one being written; each is at most 4 MiB.
const FETCHES: usize = 4;

/// Restores a snapshot from the tiers, preferred first. If a tier lacks a chunk, the next one gives it.
///
/// `on_window` receives a checkpoint after each window and records it durably; the next window begins once it
/// returns. The stop token is checked between files, between chunks, and while files are hashed.
pub async fn restore<F, Fut>(
    tiers: &[Arc<Tier>],
    request: RestoreRequest,
    progress: &ProgressSink,
    on_window: F,
    stop: &CancellationToken,
) -> Result<RestoreReport, RestoreError>
where
    F: FnMut(RestoreCheckpoint) -> Fut + Send,
    Fut: Future<Output = Result<(), Failure>> + Send,
{
    let reader = SnapshotReader::open(tiers, request.snapshot).await;
    let reader = reader.map_err(|error| RestoreError::Vault(Box::new(error)))?;
    restore_from(&reader, request, progress, on_window, stop).await
}

/// Restores from any store of the content; see [`restore`].
pub async fn restore_from<F, Fut>(
    store: &dyn ContentStore,
    request: RestoreRequest,
    progress: &ProgressSink,
    mut on_window: F,
    stop: &CancellationToken,
) -> Result<RestoreReport, RestoreError>
where
    F: FnMut(RestoreCheckpoint) -> Fut + Send,
    Fut: Future<Output = Result<(), Failure>> + Send,
{
    let include = Include::new(&request.include)?;
    // If this call is dropped, its running tasks stop too.
    let stop = stop.child_token();
    let _dropped = stop.clone().drop_guard();
    let (root, snapshot) = (request.root.clone(), request.snapshot);
    let owners = request.owners;
    let made = blocking(move || Target::make(&root, snapshot)).await?;
    let target = Arc::new(made.with_owners(owners));

    // Somebody may have changed the root since; the checkpoint records only the past.
    let checkpoint_refuted = match &request.checkpoint {
        Some(_) => first_difference_from(store, &request, Depth::Touched, |_, _| true, &stop).await?,
        None => None,
    };
    if let Some(found) = &checkpoint_refuted {
        tracing::warn!(path = found.path.display(), differs = ?found.aspect, "the checkpoint is dropped");
    }
    let recorded = request
        .checkpoint
        .clone()
        .filter(|_| checkpoint_refuted.is_none());
    let done = recorded.clone().unwrap_or_else(RestoreCheckpoint::beginning);
    let windows = Windows::at(store, include.clone(), request.window, &done.position);
    let kept = done.bytes_done;
    let mut run = Run {
        store,
        target,
        progress,
        stop,
        windows,
        done,
        recorded,
        written: 0,
        kept,
        trusted: 0,
        checkpoint_refuted,
        prefer: request.prefer.clone(),
    };
    match run.all(&include, &mut on_window).await {
        Ok(dirs) => Ok(run.report(dirs)),
        Err(RestoreError::Interrupted { .. }) => Err(RestoreError::Interrupted {
            checkpoint: run.recorded.take().map(Box::new),
        }),
        Err(error) => Err(error),
    }
}

struct Run<'a> {
    store: &'a dyn ContentStore,
    target: Arc<Target>,
    progress: &'a ProgressSink,
    stop: CancellationToken,
    windows: Windows,
    /// The completed windows.
    done: RestoreCheckpoint,
    /// The newest checkpoint that was recorded.
    recorded: Option<RestoreCheckpoint>,
    written: u64,
    kept: u64,
    /// Bytes of the file in progress for which the checkpoint is the only evidence.
    trusted: u64,
    checkpoint_refuted: Option<Difference>,
    /// The preferred tier.
    prefer: Option<String>,
}

/// A piece of a file while its window is open.
struct OpenPiece {
    piece: Piece,
    existing: Existing,
    lost: Option<String>,
    /// Whether the only reason to call it lost is that the assembled bytes are not those captured.
    mistrusted: bool,
    /// The parts of it that the target does not hold.
    unheld: Vec<Part>,
}

impl OpenPiece {
    fn new(piece: Piece, existing: Existing) -> Self {
        Self {
            piece,
            existing,
            lost: None,
            mistrusted: false,
            unheld: Vec::new(),
        }
    }
}

/// A further name of a file, made when the window is closed.
struct Name {
    record: Arc<EntryRecord>,
    first: TreePath,
}

/// What the first part of a window did.
#[derive(Default)]
struct Prepared {
    pieces: Vec<OpenPiece>,
    names: Vec<Name>,
    links: u64,
    nodes: u64,
    unheld: Unheld,
}

/// A chunk and every place of the window that needs it.
struct Want {
    chunk: ChunkRef,
    to: Vec<(usize, Arc<EntryRecord>, u64)>,
}

impl Run<'_> {
    async fn all<F, Fut>(&mut self, include: &Include, on_window: &mut F) -> Result<u64, RestoreError>
    where
        F: FnMut(RestoreCheckpoint) -> Fut + Send,
        Fut: Future<Output = Result<(), Failure>> + Send,
    {
        self.find_open_file().await?;
        loop {
            let window = self.windows.next(&self.stop).await?;
            if window.is_empty() {
                break;
            }
            if planted::is(Fault::CheckpointAhead) {
                let ahead = RestoreCheckpoint {
                    position: self.windows.position(),
                    ..self.done.clone()
                };
                on_window(ahead).await.map_err(RestoreError::Checkpoint)?;
            }
            self.window(window).await?;
            self.done.position = self.windows.position();
            on_window(self.done.clone())
                .await
                .map_err(RestoreError::Checkpoint)?;
            self.recorded = Some(self.done.clone());
        }
        let (dirs, unheld) = folders::finish(self.store, &self.target, include.clone(), &self.stop).await?;
        self.done.unheld.append(unheld);
        Ok(dirs)
    }

    fn report(self, dirs: u64) -> RestoreReport {
        RestoreReport {
            files: self.done.files,
            dirs,
            symlinks: self.done.symlinks,
            bytes_total: self.done.bytes_total,
            bytes_written: self.written,
            bytes_kept: self.kept,
            nodes: self.done.nodes,
            unheld: self.done.unheld,
            checkpoint_refuted: self.checkpoint_refuted,
            lost: self.done.lost,
            elsewhere: self.done.elsewhere,
        }
    }

    /// Continues the file in whose middle the checkpoint lies.
    async fn find_open_file(&mut self) -> Result<(), RestoreError> {
        let offset = self.done.position.offset;
        if offset == 0 {
            return Ok(());
        }
        self.trusted = offset;
        let Some(record) = self.windows.open_file().await? else {
            return Ok(());
        };
        let whole = Piece::whole(Arc::clone(&record));
        let rest = whole.clone().from(offset);
        let (target, stop) = (Arc::clone(&self.target), self.stop.clone());
        let there = rest.is_some()
            && blocking(move || {
                // The file is whole: it was finished after the checkpoint, and the next window keeps it.
                match target.existing(&record, &stop)? {
                    Existing::Nothing => target.go_on(&record.entry, offset),
                    Existing::Whole(_) | Existing::Built => Ok(false),
                }
            })
            .await?;
        if there {
            self.windows.set_rest(rest);
        } else {
            self.forget(offset, whole.offset_after);
            self.windows.set_rest(Some(whole));
        }
        Ok(())
    }

    /// Subtracts the counts of a file that begins again.
    fn forget(&mut self, offset: u64, size: u64) {
        self.done.bytes_done = self.done.bytes_done.saturating_sub(offset);
        self.done.bytes_total = self.done.bytes_total.saturating_sub(size);
        self.kept = self.kept.saturating_sub(std::mem::take(&mut self.trusted));
    }

    async fn window(&mut self, window: Vec<Work>) -> Result<(), RestoreError> {
        let Prepared {
            pieces,
            names,
            links,
            nodes,
            unheld,
        } = self.prepare(window).await?;
        self.done.symlinks += links;
        self.done.nodes += nodes;
        self.done.unheld.append(unheld);
        let named = names.len() as u64;
        let alone = self.build(pieces, names).await?;
        self.done.files += named - alone.len() as u64;
        if !alone.is_empty() {
            // These names get files of their own.
            let window = alone.into_iter().map(|record| {
                self.done.unheld.add(&record.entry.path, &[Part::HardLink]);
                Work::File(Piece::whole(record))
            });
            let window = window.collect();
            let Prepared { pieces, .. } = self.prepare(window).await?;
            self.build(pieces, Vec::new()).await?;
        }
        self.progress
            .report(self.done.bytes_done, Some(self.store.bytes()));
        Ok(())
    }

    /// Writes, places and counts the files of a window, then makes further names. Returns the names that need a file
    /// of their own.
    async fn build(
        &mut self,
        mut pieces: Vec<OpenPiece>,
        names: Vec<Name>,
    ) -> Result<Vec<Arc<EntryRecord>>, RestoreError> {
        for open in pieces.iter().filter(|open| open.piece.start == 0) {
            self.done.bytes_total += size_of(&open.piece.record);
        }
        self.fetch(&mut pieces).await?;
        let (pieces, alone) = self.close(pieces, names).await?;
        for open in pieces {
            self.count(open);
        }
        Ok(alone)
    }

    /// Makes folders, links, FIFOs and devices, finds the files that are there already, and begins the others.
    async fn prepare(&self, window: Vec<Work>) -> Result<Prepared, RestoreError> {
        let (target, stop) = (Arc::clone(&self.target), self.stop.clone());
        blocking(move || {
            let mut prepared = Prepared::default();
            for work in window {
                if stop.is_cancelled() {
                    return Err(RestoreError::Interrupted { checkpoint: None });
                }
                match work {
                    Work::Folder(path) => target.make_folder(&path)?,
                    Work::Link(entry) => {
                        if let EntryKind::Symlink { target: leads_to } = &entry.kind {
                            prepared.links += 1;
                            let parts = target.make_link(&entry, leads_to)?;
                            prepared.unheld.add(&entry.path, &parts);
                        }
                    }
                    Work::Name(record, first) => prepared.names.push(Name { record, first }),
                    Work::Node(entry) => {
                        let parts = target.make_node(&entry)?;
                        prepared.nodes += u64::from(!parts.contains(&Part::Node));
                        prepared.unheld.add(&entry.path, &parts);
                    }
                    Work::File(piece) => {
                        let mut existing = Existing::Nothing;
                        if piece.offset == 0 && !piece.again {
                            existing = target.existing(&piece.record, &stop)?;
                        }
                        if existing == Existing::Nothing && piece.offset == 0 {
                            target.begin(&piece.record.entry)?;
                        }
                        prepared.pieces.push(OpenPiece::new(piece, existing));
                    }
                }
            }
            Ok(prepared)
        })
        .await
    }

    /// Fetches each chunk of the window once, in the order of packs, and writes it wherever it belongs.
    async fn fetch(&mut self, pieces: &mut [OpenPiece]) -> Result<(), RestoreError> {
        let store = self.store;
        let mut ahead = stream::iter(self.wants(pieces))
            .map(|want| async move {
                let fetched = store.chunk(&want.chunk).await;
                (want, fetched)
            })
            .buffered(FETCHES);
        let mut window = 0;
        let mut elsewhere = Tally::new(self.prefer.clone());
        while let Some((want, fetched)) = ahead.next().await {
            if self.stop.is_cancelled() {
                return Err(RestoreError::Interrupted { checkpoint: None });
            }
            let fetched = match fetched {
                Ok(fetched) => fetched,
                Err(ContentError::Lost(why)) => {
                    for (index, ..) in want.to {
                        if let Some(open) = pieces.get_mut(index) {
                            open.lost.get_or_insert(why.clone());
                        }
                    }
                    continue;
                }
                Err(unavailable) => return Err(unavailable.into()),
            };
            if fetched.bytes.len() != want.chunk.len as usize {
                return Err(RestoreError::Broken(format!(
                    "chunk {} came with a wrong length",
                    want.chunk.id
                )));
            }
            elsewhere.note(&fetched, want.to.iter().map(|(_, record, _)| &record.entry.path));
            let target = Arc::clone(&self.target);
            let bytes = fetched.bytes;
            let written = bytes.len() as u64 * want.to.len() as u64;
            blocking(move || {
                want.to
                    .iter()
                    .try_for_each(|(_, record, offset)| target.write(&record.entry, *offset, &bytes))
            })
            .await?;
            window += written;
            self.written += written;
            self.progress
                .report(self.done.bytes_done + window, Some(self.store.bytes()));
        }
        elsewhere.add_to(&mut self.done.elsewhere, &store.listed_from());
        Ok(())
    }

    fn wants(&self, pieces: &[OpenPiece]) -> Vec<Want> {
        let mut wants: Vec<Want> = Vec::new();
        let mut known: HashMap<ChunkId, usize> = HashMap::new();
        for (index, OpenPiece { piece, existing, .. }) in pieces.iter().enumerate() {
            if *existing != Existing::Nothing {
                continue;
            }
            let mut offset = piece.offset;
            for chunk in piece
                .record
                .chunks
                .get(piece.start..piece.end)
                .unwrap_or_default()
            {
                let at = *known.entry(chunk.id).or_insert_with(|| {
                    wants.push(Want {
                        chunk: *chunk,
                        to: Vec::new(),
                    });
                    wants.len() - 1
                });
                if let Some(want) = wants.get_mut(at) {
                    want.to.push((index, Arc::clone(&piece.record), offset));
                }
                offset += u64::from(chunk.len);
            }
        }
        wants.sort_by_cached_key(|want| {
            let place = self.store.place(&want.chunk);
            (place.is_none(), place)
        });
        wants
    }

    /// Reads the built files back, syncs, renames them, makes further names of files, and syncs again. Returns the
    /// names that could not be made.
    async fn close(
        &self,
        mut pieces: Vec<OpenPiece>,
        names: Vec<Name>,
    ) -> Result<(Vec<OpenPiece>, Vec<Arc<EntryRecord>>), RestoreError> {
        let (target, stop) = (Arc::clone(&self.target), self.stop.clone());
        blocking(move || {
            for open in &mut pieces {
                let record = &open.piece.record;
                let finished = open.existing == Existing::Nothing && open.piece.is_last();
                if finished && open.lost.is_none() && !target.built(record, &stop)? {
                    open.mistrusted = true;
                    open.lost = Some("its bytes do not add up to the content that was captured".to_owned());
                }
                if open.lost.is_some() {
                    target.drop_partial(&record.entry)?;
                } else if open.is_to_be_placed() {
                    open.unheld = target.dress_built(&record.entry)?;
                } else if let Existing::Whole(parts) = &mut open.existing {
                    open.unheld = std::mem::take(parts);
                }
            }
            let mut placed = false;
            for open in pieces.iter().filter(|open| open.is_to_be_placed()) {
                if !std::mem::replace(&mut placed, true) {
                    target.sync()?;
                }
                target.place(&open.piece.record.entry)?;
            }
            let mut alone = Vec::new();
            for Name { record, first } in names {
                if stop.is_cancelled() {
                    return Err(RestoreError::Interrupted { checkpoint: None });
                }
                if !target.make_name(&record, &first, &stop)? {
                    alone.push(record);
                }
            }
            target.sync()?;
            Ok((pieces, alone))
        })
        .await
    }

    /// Counts a piece of the closed window.
    fn count(&mut self, open: OpenPiece) {
        let OpenPiece {
            piece,
            existing,
            lost,
            mistrusted,
            unheld,
        } = open;
        let size = size_of(&piece.record);
        if let Some(why) = lost {
            // A piece of an earlier window may be wrong, so make the file again, once.
            if mistrusted && piece.offset > 0 && !piece.again {
                self.forget(piece.offset, size);
                self.windows.set_rest(Some(Piece {
                    again: true,
                    ..Piece::whole(piece.record)
                }));
                return;
            }
            self.done.bytes_done = self.done.bytes_done.saturating_sub(piece.offset);
            if !piece.is_last() {
                self.windows.set_rest(None);
            }
            tracing::error!(path = piece.record.entry.path.display(), why, "a file is lost");
            self.done.lost.push(LostFile {
                path: piece.record.entry.path.clone(),
                size,
                why,
            });
            return;
        }
        if piece.is_last() {
            self.trusted = 0;
            self.done.unheld.add(&piece.record.entry.path, &unheld);
        }
        match existing {
            Existing::Nothing => {
                self.done.bytes_done += piece.offset_after - piece.offset;
                self.done.files += u64::from(piece.is_last());
            }
            Existing::Whole(_) | Existing::Built => {
                self.kept += size;
                self.done.bytes_done += size;
                self.done.files += 1;
                if !piece.is_last() {
                    self.done.unheld.add(&piece.record.entry.path, &unheld);
                    self.windows.set_rest(None);
                }
            }
        }
    }
}

impl OpenPiece {
    fn is_to_be_placed(&self) -> bool {
        let finished = match self.existing {
            Existing::Whole(_) => false,
            Existing::Built => true,
            Existing::Nothing => self.piece.is_last(),
        };
        finished && self.lost.is_none()
    }
}

fn size_of(record: &EntryRecord) -> u64 {
    match record.entry.kind {
        EntryKind::File { size } => size,
        _ => 0,
    }
}
