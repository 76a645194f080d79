//! A run, fetched from its replicas in all locations, and imported into the journal here.

use rekindle_model::problem::ProblemKind;
use std::path::Path;

use rekindle_journal::archive::{Bundle, Format, Import};
use rekindle_journal::{Journal, JournalError, codec};
use rekindle_journal_local::{LogView, OpenOptions, Upkeep};
use rekindle_model::id::RunId;
use rekindle_model::run::RunState;
use rekindle_replica::fetch::{Fetched, FetchedReplica, fetch};
use rekindle_replica::{Notice, fence, open};
use rekindle_server::RunSpec;
use rekindle_sources::private;
use rekindle_vault::SegmentStore;
use rekindle_vault::segment::Link;

use crate::Application;
use crate::error::Error;
use crate::files::{blocking, write_new};
use crate::layout::Layout;
use crate::run_spec::LoadedSpec;

/// A run that was fetched, with those that its steps run.
pub(super) struct FetchedRun {
    pub(super) run: RunId,
    /// The run itself first.
    runs: Vec<FetchedReplica>,
}

impl FetchedRun {
    /// Reads a run, and the runs of its steps, from all locations that answer; none if no location has it whole.
    /// Returns the faults of the other locations in either case.
    pub(super) async fn fetch(places: &[SegmentStore], run: RunId) -> (Option<Self>, Vec<Notice>) {
        let Fetched { found, mut faults } = fetch(places, run).await;
        let Some(first) = found.into_iter().next() else {
            return (None, faults);
        };
        let mut runs = vec![first];
        // The runs of its steps, and of their steps: few, and the last segment of each names its parent.
        let mut parents = vec![run];
        let mut children: Vec<(RunId, RunId)> = Vec::new();
        for place in places {
            match open::answer(place, children_in(place)).await {
                Ok(found) => children.extend(found),
                Err(error) => faults.push(Notice::Unusable {
                    tier: place.tier().to_owned(),
                    why: error.to_string(),
                }),
            }
        }
        children.sort_unstable();
        children.dedup();
        while let Some(parent) = parents.pop() {
            for (_, child) in children.iter().filter(|(of, _)| *of == parent) {
                parents.push(*child);
                let sought = fetch(places, *child).await;
                match sought.found.into_iter().next() {
                    Some(found) => runs.push(found),
                    None => faults.extend(sought.faults),
                }
            }
        }
        (Some(Self { run, runs }), faults)
    }

    /// Returns the last segment of the run.
    pub(super) fn tail(&self) -> &Link {
        &self.runs[0].tail
    }

    /// Returns the state of the run.
    pub(super) fn state(&self) -> Result<RunState, Error> {
        let values = self.runs[0].bundle.values(self.run);
        let records = (1..)
            .zip(values)
            .map(|(seq, value)| codec::decode(&codec::key(self.run, seq), value))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(RunState::from_records(&records)?)
    }

    /// Returns what the run is pinned to, from its own blobs.
    pub(super) fn spec(&self, state: &RunState) -> Result<LoadedSpec, Error> {
        let bundle = &self.runs[0].bundle;
        let blob = |hash| {
            let found = bundle.blob(hash).map(<[u8]>::to_vec);
            found.ok_or_else(|| Error::from(JournalError::UnknownBlob(hash)))
        };
        let inputs = match &state.inputs {
            rekindle_model::event::Payload::Inline(value) => serde_json::from_value(value.clone()),
            rekindle_model::event::Payload::Blob(hash) => serde_json::from_slice(&blob(*hash)?),
        };
        let inputs = inputs.map_err(|error| {
            let message = format!("the inputs of run {} cannot be read: {error}", state.id);
            Error::new(ProblemKind::DataLost, "corrupt_inputs", message)
        })?;
        LoadedSpec::of(&RunSpec {
            workflow: state.workflow.clone(),
            definition: blob(state.definition)?,
            system: state.system.map(blob).transpose()?,
            inputs,
            origin: state.origin(),
        })
    }

    /// Imports the records into this workspace's journal. If the journal has later records, they stay. If it has other
    /// records in their place, an archive keeps those, and they do not count any more.
    ///
    /// An unfinished run still belongs to the other workspace after the import, also after a crash, until the tier has
    /// the segment of its adoption. Otherwise a process that resumes interrupted runs here, such as a server, would
    /// drive the run beside the other workspace while no tier answers.
    pub(super) async fn import(
        &self,
        app: &Application,
        layout: &Layout,
        state: &RunState,
    ) -> Result<(), Error> {
        let (view, _) = LogView::open(&layout.state).await?;
        let mut bundle = Bundle::default();
        let mut source = None;
        for gathered in &self.runs {
            let run = gathered.tail.head.run;
            let theirs = gathered.bundle.values(run);
            match Journal::values(&view, run, 0).await {
                Ok(ours) if ours.starts_with(theirs) => continue,
                Ok(ours) if !theirs.starts_with(&ours) => {
                    let file = fence::archive(&layout.state, run);
                    keep(&view, run, &file).await?;
                    app.notices.warn(format!(
                        "the records that this workspace had appended to run {run} do not count any more; {} keeps them",
                        file.display()
                    ));
                }
                Ok(_) | Err(JournalError::UnknownRun(_) | JournalError::Quarantined { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            source.get_or_insert_with(|| gathered.source());
            bundle.extend(gathered.bundle.clone());
        }
        drop(view);
        let Some(source) = source else { return Ok(()) };
        if state.outcome.is_none() && !bundle.values(self.run).is_empty() {
            let taken = self.runs[0].holder();
            fence::note_adopting(&layout.state, &taken)
                .map_err(|error| Error::io(format_args!("note who has run {}", self.run), &error))?;
        }
        let (state, now) = (layout.state.clone(), app.clock.now().utc);
        blocking(move || {
            let (mut upkeep, _) = Upkeep::open(&state, &OpenOptions::default())?;
            upkeep.replace(&bundle, source, now)?;
            Ok::<_, Error>(())
        })
        .await?
    }
}

/// Returns the runs of a location that are part of others, after those.
async fn children_in(place: &SegmentStore) -> Vec<(RunId, RunId)> {
    let mut children = Vec::new();
    for id in place.runs().await.unwrap_or_default() {
        if let Ok(Some(tail)) = place.tail(id).await
            && let Some(parent) = tail.head.parent
        {
            children.push((parent, id));
        }
    }
    children
}

/// Writes what this workspace has of a run to an archive.
async fn keep(view: &LogView, run: RunId, file: &Path) -> Result<(), Error> {
    let (bytes, _) = Bundle::of(view, [run]).await?.encode(Format::Archive)?;
    let path = file.to_owned();
    blocking(move || {
        if let Some(dir) = path.parent() {
            private::create_dir_all(dir)
                .map_err(|error| Error::io(format_args!("make {}", dir.display()), &error))?;
        }
        write_new(&path, &bytes)
    })
    .await?
}
