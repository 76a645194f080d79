//! Verifying a journal: everything is read and compared with everything else, and nothing is changed.
//!
//! The log and the blobs are read where they stand, also beside an owner. sled, which writes when it is opened, is
//! opened as a copy in a temporary folder, and only where nobody owns the workspace.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use rekindle_model::event::{JournalHead, Record};
use rekindle_model::id::{Hash32, RunId};
use rekindle_model::run::RunState;
use serde::Serialize;

use crate::blobs::Blobs;
use crate::error::OpenError;
use crate::kept::Kept;
use crate::lock::{self, Lock};
use crate::log::{self, Scanned};
use crate::mark::{Forgotten, Mark};
use crate::open::OpenOptions;
use crate::store::{RunEntry, Store, Unusable};
use rekindle_journal::JournalError;
use rekindle_journal::blobs_of;
use rekindle_journal::codec;

const HEALS: &str = "nothing is lost: the next command that opens the journal mends it";
const RESTORE: &str = "import the run from an archive into a new workspace, or restore .rekindle from a copy; the other runs are not affected";

/// What a verification has read and found.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    /// The log's last commit.
    pub commit: u64,
    /// How many log segments there are.
    pub segments: usize,
    /// How many commits were read.
    pub commits: u64,
    /// How many runs there are.
    pub runs: usize,
    /// How many records they have that check.
    pub records: u64,
    /// How many heads that records carry were compared with the log.
    pub heads: u64,
    /// How many blobs the records refer to.
    pub blobs: usize,
    /// Why sled was not read; none where it was.
    pub without_sled: Option<String>,
    /// The runs that were removed on purpose.
    pub removed: Vec<Forgotten>,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it costs.
    pub cost: Cost,
    /// The file.
    pub file: PathBuf,
    /// Where in it, in bytes, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The run that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The run's record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// What was found.
    pub what: String,
    /// What to do.
    pub next: String,
}

/// What a finding costs, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cost {
    /// A rebuild or a repair, and no record.
    Repairable,
    /// It could not be checked here whether something is lost.
    Unproven,
    /// A record or a blob is lost, or a history is not one.
    Lost,
}

impl Verification {
    /// Returns what the worst of the findings costs; none where there are none.
    pub fn worst(&self) -> Option<Cost> {
        self.findings.iter().map(|finding| finding.cost).max()
    }
}

/// Reads all of the journal in a workspace's folder, and changes nothing.
///
/// # Errors
/// [`OpenError::NewerFormat`], or a file that cannot be read. Damage is no error: the findings name it.
pub fn verify(dir: &Path) -> Result<Verification, OpenError> {
    let sled = Sled::read(dir)?;
    let log = Logged::read(dir)?;
    let mut findings = Findings {
        dir,
        found: Vec::new(),
    };
    findings.of_log(&log, &sled);
    findings.of_sled(&log, &sled);
    let mut union = log.values.clone();
    for (run, values) in sled.values() {
        // What sled holds of a run that was removed is on its way out.
        if !log.scanned.forgotten.contains_key(run) {
            let known = union.entry(*run).or_default();
            for (seq, value) in values {
                known.entry(*seq).or_insert_with(|| value.clone());
            }
        }
    }
    let mut referred: BTreeMap<Hash32, (RunId, u64)> = BTreeMap::new();
    let (mut records, mut heads) = (0, 0);
    for (run, values) in &union {
        let read = findings.of_run(*run, values, log.hurt.get(run), sled.top(*run));
        records += values.len() as u64;
        for record in &read {
            if let (Some(head), false) = (record.head, log.imported.contains(run)) {
                heads += 1;
                findings.of_head(record, head, &log);
            }
            for hash in blobs_of(&record.event) {
                referred.entry(hash).or_insert((*run, record.seq));
            }
        }
    }
    findings.of_blobs(&referred);
    Ok(Verification {
        commit: log.scanned.head.commit,
        segments: log.scanned.segments,
        commits: log.commits,
        runs: union.len(),
        records,
        heads,
        blobs: referred.len(),
        without_sled: match sled {
            Sled::Read(_) | Sled::Broken(_) => None,
            Sled::Unread(why) => Some(why),
        },
        removed: log.scanned.forgotten.into_values().collect(),
        findings: findings.found,
    })
}

type Values = BTreeMap<RunId, BTreeMap<u64, Vec<u8>>>;

/// All that the log holds.
struct Logged {
    scanned: Scanned,
    kept: JournalHead,
    values: Values,
    /// Where a damaged record stands, as far as its key can be read.
    hurt: HashMap<RunId, BTreeMap<u64, (PathBuf, u64)>>,
    heads: HashMap<u64, Hash32>,
    imported: BTreeSet<RunId>,
    commits: u64,
}

impl Logged {
    fn read(dir: &Path) -> Result<Self, OpenError> {
        let kept = Kept::read(dir);
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
            kept,
            values,
            hurt,
            heads,
            imported,
            commits,
        })
    }
}

/// What sled holds, where it could be read.
enum Sled {
    Read(Indexed),
    /// It cannot be opened.
    Broken(String),
    /// It was left alone.
    Unread(String),
}

struct Indexed {
    head: JournalHead,
    /// Whether it has seen everything that the log may have lost.
    vouches: bool,
    values: Values,
    entries: BTreeMap<RunId, RunEntry>,
    /// Records that do not check.
    hurt: Vec<(RunId, u64)>,
    /// Why the rest of it could not be read.
    cut_short: Option<String>,
}

impl Sled {
    fn read(dir: &Path) -> Result<Self, OpenError> {
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

    fn values(&self) -> impl Iterator<Item = (&RunId, &BTreeMap<u64, Vec<u8>>)> {
        self.indexed().into_iter().flat_map(|indexed| &indexed.values)
    }

    fn indexed(&self) -> Option<&Indexed> {
        match self {
            Self::Read(indexed) => Some(indexed),
            Self::Broken(_) | Self::Unread(_) => None,
        }
    }

    /// Returns the number of a run's newest record, as sled knows it.
    fn top(&self, run: RunId) -> u64 {
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

struct Findings<'a> {
    dir: &'a Path,
    found: Vec<Finding>,
}

impl Findings<'_> {
    fn add(
        &mut self,
        cost: Cost,
        file: PathBuf,
        about: (Option<RunId>, Option<u64>),
        what: String,
        next: &str,
    ) {
        let (run, seq) = about;
        self.found.push(Finding {
            cost,
            file,
            offset: None,
            run,
            seq,
            what,
            next: next.to_owned(),
        });
    }

    /// Damage of the log as such. The runs that it hurts are named one by one besides.
    fn of_log(&mut self, log: &Logged, sled: &Sled) {
        let short = log.scanned.falls_short(&self.dir.join("log"), log.kept);
        for damage in log.scanned.damage.iter().chain(&short) {
            let (cost, next) = match sled {
                Sled::Unread(_) => (
                    Cost::Unproven,
                    "sled may have what the log has lost: verify again when nobody owns the workspace",
                ),
                Sled::Read(sled) if sled.vouches && sled.head.commit >= damage.until => (
                    Cost::Repairable,
                    "sled has seen these commits: the next command that opens the journal logs again what the log lacks",
                ),
                Sled::Read(_) | Sled::Broken(_) => (
                    Cost::Lost,
                    "restore .rekindle from a copy; the runs that are whole go on, and a run that is missed runs again",
                ),
            };
            self.found.push(Finding {
                cost,
                file: damage.segment.clone(),
                offset: Some(damage.offset),
                run: None,
                seq: None,
                what: damage.what.clone(),
                next: next.to_owned(),
            });
        }
        let torn = log.scanned.torn_bytes();
        if torn > 0 {
            let what =
                format!("{torn} bytes at its end are of a write that was cut off, or is just being made");
            let next = "nobody was told of it: the next command that opens the journal cuts it off";
            self.add(Cost::Repairable, self.dir.join("log"), (None, None), what, next);
        }
    }

    /// What sled has not as the log has it.
    fn of_sled(&mut self, log: &Logged, sled: &Sled) {
        let folder = self.dir.join("journal");
        let sled = match sled {
            Sled::Unread(_) => return,
            Sled::Broken(why) => {
                let what = format!("the index cannot be read: {why}");
                return self.add(Cost::Repairable, folder, (None, None), what, HEALS);
            }
            Sled::Read(sled) => sled,
        };
        if let Some(why) = &sled.cut_short {
            let what = format!("the index cannot be read to its end: {why}");
            let next = "rekindle journal rebuild";
            self.add(Cost::Repairable, folder.clone(), (None, None), what, next);
        }
        if sled.head.commit < log.scanned.head.commit {
            let what = format!(
                "the index is at commit {}, the log at {}",
                sled.head.commit, log.scanned.head.commit
            );
            self.add(Cost::Repairable, folder.clone(), (None, None), what, HEALS);
        }
        for (run, seq) in &sled.hurt {
            if log.values.get(run).is_some_and(|values| values.contains_key(seq)) {
                let what = "the index's copy of a record does not check; the log's does".to_owned();
                let about = (Some(*run), Some(*seq));
                self.add(Cost::Repairable, folder.clone(), about, what, HEALS);
            }
        }
        for (run, values) in &log.values {
            let copies = sled.values.get(run);
            let seen = sled.entries.get(run).map_or(0, RunEntry::top);
            for (seq, value) in values.iter().filter(|(seq, _)| **seq <= seen) {
                let copy = copies.and_then(|copies| copies.get(seq));
                if copy.is_none() && !sled.hurt.contains(&(*run, *seq)) {
                    let what = "the index has lost a record that the log has".to_owned();
                    self.add(
                        Cost::Repairable,
                        folder.clone(),
                        (Some(*run), Some(*seq)),
                        what,
                        HEALS,
                    );
                } else if copy.is_some_and(|copy| copy != value) {
                    let what = "the index has another record than the log".to_owned();
                    let next = "rekindle journal rebuild";
                    self.add(
                        Cost::Repairable,
                        folder.clone(),
                        (Some(*run), Some(*seq)),
                        what,
                        next,
                    );
                }
            }
            if sled.head.commit >= log.scanned.head.commit
                && let Some((top, _)) = values.last_key_value()
                && seen < *top
            {
                let what =
                    format!("the index has lost the end of the run, which the log has up to record {top}");
                self.add(Cost::Repairable, folder.clone(), (Some(*run), None), what, HEALS);
            }
        }
        for (run, values) in sled
            .values
            .iter()
            .filter(|(run, _)| !log.scanned.forgotten.contains_key(run))
        {
            let logged = log.values.get(run);
            for seq in values.keys() {
                if logged.is_none_or(|logged| !logged.contains_key(seq)) {
                    let what = "the log has lost a record that the index has".to_owned();
                    let about = (Some(*run), Some(*seq));
                    self.add(Cost::Repairable, self.dir.join("log"), about, what, HEALS);
                }
            }
        }
    }

    /// Checks a run's numbers, chain and history. Returns the records that can be read.
    fn of_run(
        &mut self,
        run: RunId,
        values: &BTreeMap<u64, Vec<u8>>,
        hurt: Option<&BTreeMap<u64, (PathBuf, u64)>>,
        top: u64,
    ) -> Vec<Record> {
        let log = self.dir.join("log");
        let mut records = Vec::with_capacity(values.len());
        let mut state: Result<Option<RunState>, ()> = Ok(None);
        let mut prev = Some(Hash32::ZERO);
        // A number that is further away than this is itself damaged.
        let newest = values.last_key_value().map_or(0, |(seq, _)| *seq);
        let hurt_top = hurt.and_then(|hurt| hurt.keys().rev().find(|seq| **seq <= newest + (1 << 16)));
        let last = newest.max(top).max(hurt_top.copied().unwrap_or(0));
        for seq in 1..=last {
            let about = (Some(run), Some(seq));
            let Some(value) = values.get(&seq) else {
                let place = hurt.and_then(|hurt| hurt.get(&seq));
                let what = match place {
                    Some(_) => "the record does not check, and there is no other copy of it",
                    None => "the record is not there, neither in the log nor in the index",
                };
                self.found.push(Finding {
                    cost: Cost::Lost,
                    file: place.map_or_else(|| log.clone(), |(file, _)| file.clone()),
                    offset: place.map(|(_, offset)| *offset),
                    run: Some(run),
                    seq: Some(seq),
                    what: what.to_owned(),
                    next: RESTORE.to_owned(),
                });
                (prev, state) = (None, Err(()));
                continue;
            };
            let record = match codec::decode(&codec::key(run, seq), value) {
                Ok(record) => record,
                Err(JournalError::NewerFormat { found, supported, .. }) => {
                    let what = format!("the record has format {found}, this version reads up to {supported}");
                    self.add(
                        Cost::Unproven,
                        log.clone(),
                        about,
                        what,
                        "verify with a newer Rekindle",
                    );
                    (prev, state) = (Some(codec::hash(value)), Err(()));
                    continue;
                }
                Err(error) => {
                    self.add(Cost::Lost, log.clone(), about, error.to_string(), RESTORE);
                    (prev, state) = (Some(codec::hash(value)), Err(()));
                    continue;
                }
            };
            if prev.is_some_and(|prev| prev != record.prev) {
                let what = "the record does not follow the record before it".to_owned();
                self.add(Cost::Lost, log.clone(), about, what, RESTORE);
                state = Err(());
            }
            prev = Some(codec::hash(value));
            if let Ok(folded) = &mut state {
                let next = match folded {
                    None => RunState::created(&record).map(|created| *folded = Some(created)),
                    Some(folded) => folded.fold(&record),
                };
                if let Err(illegal) = next {
                    self.add(Cost::Lost, log.clone(), about, illegal.to_string(), RESTORE);
                    state = Err(());
                }
            }
            records.push(record);
        }
        records
    }

    /// Compares the head that a record was written to with the log's.
    fn of_head(&mut self, record: &Record, head: JournalHead, log: &Logged) {
        if log.heads.get(&head.commit).is_some_and(|hash| *hash != head.hash) {
            let what = format!(
                "the record was written after a commit {} that is not the log's: a record before it was changed or taken out",
                head.commit
            );
            let about = (Some(record.run), Some(record.seq));
            self.add(Cost::Lost, self.dir.join("log"), about, what, RESTORE);
        }
    }

    fn of_blobs(&mut self, referred: &BTreeMap<Hash32, (RunId, u64)>) {
        let folder = self.dir.join("blobs");
        let blobs = Blobs::view(&folder);
        for (hash, (run, seq)) in referred {
            if let Err(error) = blobs.get(*hash) {
                let file = folder.join(hash.to_string());
                let next = "restore the file from a copy of the workspace, or import an archive that has it";
                self.add(
                    Cost::Lost,
                    file,
                    (Some(*run), Some(*seq)),
                    format!("cannot {error}"),
                    next,
                );
            }
        }
    }
}
