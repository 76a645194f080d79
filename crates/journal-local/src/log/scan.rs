//! Reads the log, segment after segment, frame after frame, and lists each damaged place. Changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rekindle_journal::JournalError;
use rekindle_journal::admit;
use rekindle_journal::codec::{self, Key};
use rekindle_model::event::JournalHead;
use rekindle_model::id::RunId;

use crate::durable;
use crate::error::OpenError;
use crate::frame::{self, LOG_FORMAT, PLAIN_FORMAT, Piece, SEGMENT_HEADER, SegmentHeader};
use crate::mark::{self, Cut, Entry, Forgotten, Mark};
use crate::report::Damage;

/// How often the last segment is read again while its damage changes.
const AGAIN: usize = 20;

/// The findings of a scan, without the records.
#[derive(Debug)]
pub(crate) struct Scanned {
    /// The head after the last frame.
    pub(crate) head: JournalHead,
    /// Each damaged place.
    pub(crate) damage: Vec<Damage>,
    /// How many segments there are.
    pub(crate) segments: usize,
    /// The forgotten runs that were not imported again since.
    pub(crate) forgotten: BTreeMap<RunId, Forgotten>,
    /// The segments that a compact cut off the log.
    pub(crate) cuts: Vec<Cut>,
    pub(super) tail: Option<Tail>,
}

impl Scanned {
    /// Returns the damage of a log that lacks the head known from elsewhere. A log that continues after that
    /// head is whole.
    pub(crate) fn falls_short(&self, dir: &Path, known: JournalHead) -> Option<Damage> {
        let found = self.head.commit;
        let what = match known.commit {
            commit if commit > found => {
                format!("it ends at commit {found}, and commit {commit} was acknowledged")
            }
            commit if commit == found && known.hash != self.head.hash => {
                format!("its commit {commit} is not the one that was acknowledged")
            }
            _ => return None,
        };
        let (segment, offset) = match &self.tail {
            Some(tail) => (tail.path.clone(), tail.end.unwrap_or(tail.written)),
            None => (dir.to_owned(), 0),
        };
        Some(Damage {
            segment,
            offset,
            what,
            until: known.commit,
        })
    }

    /// Returns the number of bytes of an interrupted write at the end.
    pub(crate) fn torn_bytes(&self) -> u64 {
        let tail = self.tail.as_ref();
        tail.map_or(0, Tail::torn_bytes)
    }

    /// Notes a mark.
    fn note(&mut self, mark: &Mark) {
        match mark {
            Mark::Forgotten(forgotten) => {
                let run = forgotten.summary.run;
                self.forgotten.insert(run, Forgotten::clone(forgotten));
            }
            Mark::Imported(imported) => drop(self.forgotten.remove(&imported.run)),
            Mark::Cut(cut) => self.cuts.push(*cut),
        }
    }
}

/// Missing segments, and their damage unless a compact cut them off.
struct Gap {
    cut: Cut,
    damage: Vec<Damage>,
}

impl Gap {
    fn is_explained(&self, cuts: &[Cut]) -> bool {
        let (mut number, mut head) = (self.cut.first, self.cut.from);
        while number <= self.cut.last {
            let Some(cut) = cuts.iter().find(|cut| cut.first == number && cut.from == head) else {
                return false;
            };
            (number, head) = (cut.last + 1, cut.to);
        }
        number == self.cut.last + 1 && head == self.cut.to
    }
}

/// The last segment, and the end of its whole part.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// The position of the next frame; none if the segment takes no more.
    pub(super) end: Option<u64>,
    /// The last whole frame.
    pub(super) last_frame: Option<(u64, u64)>,
    /// The position of the zeros that end the file.
    pub(super) written: u64,
    pub(super) file_len: u64,
    pub(super) version: u32,
}

impl Tail {
    pub(super) fn torn_bytes(&self) -> u64 {
        self.end.map_or(0, |end| self.written.saturating_sub(end))
    }
}

/// A commit that a scan passes on, in the order of the log.
pub(crate) struct Commit<'a> {
    /// The head after it; none for records salvaged from a frame with a damaged header.
    pub(crate) head: Option<JournalHead>,
    /// Its records.
    pub(crate) entries: Vec<Entry<'a>>,
    /// Its marks; they apply before the records.
    pub(crate) marks: Vec<Mark>,
    /// The keys of its damaged records, as far as they can be read.
    pub(crate) hurt: Vec<Key>,
    /// The segment that it is in.
    pub(crate) segment: &'a Path,
    /// The head before that segment.
    pub(crate) base: JournalHead,
    /// Its position in the segment.
    pub(crate) offset: u64,
}

/// Reads the whole log without changing anything.
///
/// # Errors
/// [`OpenError::NewerFormat`] or [`OpenError::OlderFormat`], before it passes on anything of that segment, and the errors of `visit`.
pub(crate) fn scan(
    dir: &Path,
    mut visit: impl FnMut(Commit<'_>) -> Result<(), JournalError>,
) -> Result<Scanned, OpenError> {
    let segments = segments(dir)?;
    let mut scanned = Scanned {
        head: admit::EMPTY,
        damage: Vec::new(),
        segments: segments.len(),
        forgotten: BTreeMap::new(),
        cuts: Vec::new(),
        tail: None,
    };
    let mut gaps = Vec::new();
    for (at, (number, path)) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        let read = || durable::read(path).map_err(|error| JournalError::io("read", path, error));
        let first = read()?;
        let again;
        let (bytes, pieces) = match frame::scan(&first, last) {
            pieces if last && first_damage(&pieces, &first).is_some() => {
                drop(pieces);
                again = settled(first, read)?;
                (&again, frame::scan(&again, last))
            }
            pieces => (&first, pieces),
        };
        let damaged = |offset: usize, until: u64, what: String| Damage {
            segment: path.clone(),
            offset: offset as u64,
            what,
            until,
        };
        let header = SegmentHeader::parse(bytes);
        // A crash during the segment's creation leaves only a short header, or one of zeros.
        let unborn =
            last && bytes.len() <= SEGMENT_HEADER && (bytes.len() < SEGMENT_HEADER || is_zero(bytes));
        match header {
            Some(SegmentHeader { version: found, .. }) if found > LOG_FORMAT => {
                return Err(OpenError::NewerFormat {
                    path: path.clone(),
                    found,
                    supported: LOG_FORMAT,
                });
            }
            Some(SegmentHeader { version: found, .. }) if found < PLAIN_FORMAT => {
                return Err(OpenError::OlderFormat {
                    path: path.clone(),
                    found,
                    supported: PLAIN_FORMAT,
                });
            }
            Some(header) if header.number != *number => {
                let what = format!("it says that it is segment {}", header.number);
                scanned.damage.push(damaged(0, scanned.head.commit, what));
            }
            Some(header) => {
                let before = if at == 0 { 0 } else { segments[at - 1].0 };
                let mut found = Vec::new();
                if before + 1 != *number {
                    let what = format!("segments {} to {} are missing", before + 1, number - 1);
                    found.push(damaged(0, header.base.commit, what));
                }
                if header.base != scanned.head {
                    let (follows, head) = (header.base.commit, scanned.head.commit);
                    let what = format!("it follows commit {follows}, found {head}");
                    found.push(damaged(0, header.base.commit, what));
                }
                match before + 1 == *number {
                    true => scanned.damage.extend(found),
                    false => gaps.push(Gap {
                        cut: Cut {
                            first: before + 1,
                            last: number - 1,
                            from: scanned.head,
                            to: header.base,
                        },
                        damage: found,
                    }),
                }
                scanned.head = header.base;
            }
            None if unborn => {}
            None => {
                let what = "its header does not check".to_owned();
                scanned.damage.push(damaged(0, scanned.head.commit, what));
            }
        }
        let base = scanned.head;
        let mut tail = Tail {
            number: *number,
            path: path.clone(),
            end: header.map(|_| SEGMENT_HEADER as u64),
            last_frame: None,
            written: frame::written(bytes) as u64,
            file_len: bytes.len() as u64,
            version: header.map_or(PLAIN_FORMAT, |header| header.version),
        };
        for piece in pieces {
            match piece {
                Piece::Frame {
                    offset,
                    end,
                    head,
                    entries,
                } => {
                    let values = entries.iter().map(|(_, value)| *value);
                    let follows = admit::advance(scanned.head, values) == head;
                    let before = scanned.head.commit;
                    let (marks, entries) = mark::split(entries);
                    let imported = marks.iter().any(|mark| matches!(mark, Some(Mark::Imported(_))));
                    if !follows {
                        let what = format!("commit {} does not follow commit {before}", head.commit);
                        scanned.damage.push(damaged(offset, head.commit, what));
                    } else if !imported && let Some(named) = unlike(scanned.head, &entries) {
                        // The chain is whole, but a run's first or last record names another head.
                        let what = format!(
                            "a record was written after commit {named}, and follows commit {before} here"
                        );
                        scanned.damage.push(damaged(offset, head.commit, what));
                    }
                    if marks.iter().any(Option::is_none) {
                        let what = "a mark cannot be read".to_owned();
                        scanned.damage.push(damaged(offset, head.commit, what));
                    }
                    scanned.head = head;
                    tail.last_frame = Some((offset as u64, end as u64));
                    tail.end = tail.end.map(|_| end as u64);
                    let marks: Vec<Mark> = marks.into_iter().flatten().collect();
                    marks.iter().for_each(|mark| scanned.note(mark));
                    visit(Commit {
                        head: Some(head),
                        entries,
                        marks,
                        hurt: Vec::new(),
                        segment: path,
                        base,
                        offset: offset as u64,
                    })?;
                }
                Piece::Damage {
                    offset,
                    head,
                    salvaged,
                    hurt,
                } => {
                    let until = head.map_or(scanned.head.commit + 1, |head| head.commit);
                    let what = "a frame does not check".to_owned();
                    scanned.damage.push(damaged(offset, until, what));
                    if let Some(head) = head {
                        scanned.head = head;
                    }
                    tail.end = None;
                    let (marks, entries) = mark::split(salvaged);
                    let marks: Vec<Mark> = marks.into_iter().flatten().collect();
                    marks.iter().for_each(|mark| scanned.note(mark));
                    visit(Commit {
                        head,
                        entries,
                        marks,
                        hurt: hurt.into_iter().filter(|key| !mark::is_mark(key)).collect(),
                        segment: path,
                        base,
                        offset: offset as u64,
                    })?;
                }
                Piece::Torn { .. } => {}
            }
        }
        scanned.tail = Some(tail);
    }
    for gap in gaps {
        if !gap.is_explained(&scanned.cuts) {
            scanned.damage.extend(gap.damage);
        }
    }
    scanned
        .damage
        .sort_by(|a, b| (&a.segment, a.offset).cmp(&(&b.segment, b.offset)));
    Ok(scanned)
}

/// Reads a damaged last segment again until its damage no longer changes. A reader beside the owner may see
/// the page of a frame before the page of an earlier frame.
fn settled(
    mut bytes: Vec<u8>,
    read: impl Fn() -> Result<Vec<u8>, JournalError>,
) -> Result<Vec<u8>, JournalError> {
    for _ in 0..AGAIN {
        let Some(damage) = first_damage(&frame::scan(&bytes, true), &bytes) else {
            break;
        };
        let again = read()?;
        let same = first_damage(&frame::scan(&again, true), &again).as_ref() == Some(&damage)
            && again.get(damage.clone()) == bytes.get(damage);
        bytes = again;
        if same {
            break;
        }
    }
    Ok(bytes)
}

/// Returns the first bytes that fail their check, up to the next ones that may pass.
fn first_damage(pieces: &[Piece<'_>], bytes: &[u8]) -> Option<Range<usize>> {
    let at = pieces
        .iter()
        .position(|piece| matches!(piece, Piece::Damage { .. }))?;
    let from = |piece: &Piece<'_>| match piece {
        Piece::Frame { offset, .. } | Piece::Damage { offset, .. } | Piece::Torn { offset } => *offset,
    };
    Some(from(&pieces[at])..pieces.get(at + 1).map_or(bytes.len(), from))
}

/// Returns the commit that a record names as the one before its own, if the log disagrees. A record that was
/// logged again names an earlier one.
fn unlike(before: JournalHead, entries: &[Entry<'_>]) -> Option<u64> {
    let named = entries.iter().filter_map(|(_, value)| codec::anchor(value));
    named
        .filter(|named| named.commit >= before.commit && *named != before)
        .map(|named| named.commit)
        .next()
}

/// Returns every intact value that the log holds of one run, by number.
pub(crate) fn values_of(dir: &Path, run: RunId) -> Result<HashMap<u64, Vec<u8>>, JournalError> {
    let mut values = HashMap::new();
    let scanned = scan(dir, |commit| {
        if commit.marks.iter().any(|mark| mark.forgets() == Some(run)) {
            values.clear();
        }
        for (key, value) in commit.entries {
            let (of, seq) = codec::parse_key(&key);
            if of == run && codec::is_intact(&key, value) {
                values.insert(seq, value.to_vec());
            }
        }
        Ok(())
    });
    match scanned {
        Ok(_) => Ok(values),
        Err(OpenError::Journal(error)) => Err(error),
        Err(other) => Err(JournalError::Quarantined {
            run,
            why: other.to_string(),
        }),
    }
}

/// Returns the segments, oldest first, each with its number.
pub(crate) fn segments(dir: &Path) -> Result<Vec<(u64, PathBuf)>, JournalError> {
    let io = |error: io::Error| JournalError::io("list", dir, error);
    let mut segments = Vec::new();
    let entries = match fs::read_dir(dir) {
        // A journal that was never opened.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(segments),
        entries => entries.map_err(io)?,
    };
    for entry in entries {
        let entry = entry.map_err(io)?;
        if let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            segments.push((number, entry.path()));
        }
    }
    segments.sort();
    Ok(segments)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests;
