//! The two sides that a verification compares: the log and sled.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use rekindle_journal::codec;
use rekindle_model::event::JournalHead;
use rekindle_model::id::{Hash32, RunId};

use crate::error::OpenError;
use crate::head_file::HeadFile;
use crate::lock::{self, Lock};
use crate::log::{self, Scanned};
use crate::mark::Mark;
use crate::open::OpenOptions;
use crate::store::{RunEntry, Store, Unusable};

pub(super) type Values = BTreeMap<RunId, BTreeMap<u64, Vec<u8>>>;

/// The content of the log.
pub(super) struct Logged {
    pub(super) scanned: Scanned,
    pub(super) head_file: JournalHead,
    pub(super) values: Values,
    /// The places of damaged records, as far as their keys can be read.
    pub(super) hurt: HashMap<RunId, BTreeMap<u64, (PathBuf, u64)>>,
    pub(super) heads: HashMap<u64, Hash32>,
    pub(super) imported: BTreeSet<RunId>,
    pub(super) commits: u64,
}

impl Logged {
    pub(super) fn read(dir: &Path) -> Result<Self, OpenError> {
        let head_file = HeadFile::read(dir);
        let (mut values, mut hurt, mut heads) = (Values::new(), HashMap::new(), HashMap::new());
        let mut imported = BTreeSet::new();
        let mut commits = 0;
        let scanned = log::scan(&dir.join("log"), |commit| {
            commits += 1;
            heads.extend(commit.head.map(|head| (head.commit, head.hash)));
            for mark in &commit.marks {
                match mark {
                    Mark::Forgotten(forgotten) => {
                        values.remove(&forgotten.summary.run);
                        hurt.remove(&forgotten.summary.run);
                    }
                    Mark::Imported(one) => drop(imported.insert(one.run)),
                    Mark::Cut(_) => {}
                }
            }
            for (key, value) in commit.entries {
                let (run, seq) = codec::parse_key(&key);
                if codec::is_intact(&key, value) {
                    values.entry(run).or_default().insert(seq, value.to_vec());
                }
            }
            for key in &commit.hurt {
                let (run, seq) = codec::parse_key(key);
                let place = (commit.segment.to_owned(), commit.offset);
                hurt.entry(run).or_insert_with(BTreeMap::new).insert(seq, place);
            }
            Ok(())
        })?;
        Ok(Self {
            scanned,
            head_file,
            values,
            hurt,
            heads,
            imported,
            commits,
        })
    }
}

/// The content of sled, if it could be read.
pub(super) enum Sled {
    Read(Indexed),
    /// It cannot be opened.
    Broken(String),
    /// It was not read.
    Unread(String),
}

pub(super) struct Indexed {
    pub(super) head: JournalHead,
    /// Whether sled has every record: it was never built from a damaged log.
    pub(super) vouches: bool,
    pub(super) values: Values,
    pub(super) entries: BTreeMap<RunId, RunEntry>,
    /// Damaged records.
    pub(super) hurt: Vec<(RunId, u64)>,
    /// Why its rest could not be read.
    pub(super) cut_short: Option<String>,
}

impl Sled {
    pub(super) fn read(dir: &Path) -> Result<Self, OpenError> {
        let folder = dir.join("journal");
        let _held = match Lock::look(&dir.join(lock::NAME))? {
            Ok(held) => held,
            Err(why) => return Ok(Self::Unread(why)),
        };
        if !folder.exists() {
            return Ok(Self::Broken("it is not there".to_owned()));
        }
        let copied = tempfile::tempdir().and_then(|copy| {
            let target = copy.path().join("journal");
            copy_dir(&folder, &target).map(|()| (copy, target))
        });
        let (_copy, target) = match copied {
            Ok(copied) => copied,
            Err(error) => return Ok(Self::Unread(format!("it cannot be copied: {error}"))),
        };
        let options = OpenOptions::default();
        match Store::open(&target, options.cache_bytes, options.sled_timeout) {
            Ok(store) => Ok(Indexed::read(&store).map_or_else(Self::Broken, Self::Read)),
            Err(Unusable::Broken(why)) => Ok(Self::Broken(why)),
            Err(Unusable::Refused(error)) => Ok(Self::Unread(error.to_string())),
        }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = (&RunId, &BTreeMap<u64, Vec<u8>>)> {
        self.indexed().into_iter().flat_map(|indexed| &indexed.values)
    }

    pub(super) fn indexed(&self) -> Option<&Indexed> {
        match self {
            Self::Read(indexed) => Some(indexed),
            Self::Broken(_) | Self::Unread(_) => None,
        }
    }

    /// Returns the number of a run's newest record, as sled knows it.
    pub(super) fn top(&self, run: RunId) -> u64 {
        let entry = self.indexed().and_then(|indexed| indexed.entries.get(&run));
        entry.map_or(0, RunEntry::top)
    }
}

impl Indexed {
    fn read(store: &Store) -> Result<Self, String> {
        let head = store.head().map_err(|error| error.to_string())?;
        let incomplete = store.is_incomplete().map_err(|error| error.to_string())?;
        let mut indexed = Self {
            head,
            vouches: !incomplete,
            values: Values::new(),
            entries: BTreeMap::new(),
            hurt: Vec::new(),
            cut_short: None,
        };
        for run in store.runs() {
            match run {
                Ok((run, entry)) => drop(indexed.entries.insert(run, entry)),
                Err(error) => indexed.cut_short = Some(error.to_string()),
            }
        }
        for record in store.records() {
            match record {
                Ok((key, value)) => {
                    let (run, seq) = codec::parse_key(&key);
                    match codec::is_intact(&key, &value) {
                        true => drop(indexed.values.entry(run).or_default().insert(seq, value)),
                        false => indexed.hurt.push((run, seq)),
                    }
                }
                Err(error) => {
                    indexed.cut_short = Some(error.to_string());
                    break;
                }
            }
        }
        indexed.vouches &= indexed.cut_short.is_none();
        Ok(indexed)
    }
}

fn copy_dir(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_dir(&entry.path(), &target)?,
            false => drop(std::fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}
