//! A run as the slots of all locations have it, and how it comes into this workspace's journal.

use std::path::Path;

use rekindle_journal::archive::{Bundle, Format, Import};
use rekindle_journal::{Journal, JournalError, codec};
use rekindle_journal_local::{LogView, OpenOptions, Upkeep};
use rekindle_model::id::RunId;
use rekindle_model::run::RunState;
use rekindle_server::Parts;
use rekindle_vault::SlotPlace;
use rekindle_vault::slot::Link;

use crate::App;
use crate::commands::journal::{blocking, write_new};
use crate::error::CliError;
use crate::exit::Exit;
use crate::pinned::Pinned;
use crate::slots::gather::{self, Gathered, Sought};
use crate::slots::{self, fenced};
use crate::workspace::Workspace;

/// A run that is brought here, with those that its steps run.
pub(super) struct Brought {
    pub(super) run: RunId,
    /// The run itself first.
    runs: Vec<Gathered>,
}

impl Brought {
    /// Reads a run, and those that it runs, from all locations that answer; none where no location has it whole. What
    /// is wrong with the others is said either way.
    pub(super) async fn gather(places: &[SlotPlace], run: RunId) -> (Option<Self>, Vec<String>) {
        let Sought { found, mut faults } = gather::gather(places, run).await;
        let Some(first) = found.into_iter().next() else {
            return (None, faults);
        };
        let mut runs = vec![first];
        // Those of its steps, and theirs: few, and each is named by its last slot.
        let mut parents = vec![run];
        let mut children: Vec<(RunId, RunId)> = Vec::new();
        for place in places {
            match tokio::time::timeout(slots::READS_WITHIN, children_in(place)).await {
                Ok(found) => children.extend(found),
                Err(_) => faults.push(slots::silent(place)),
            }
        }
        children.sort_unstable();
        children.dedup();
        while let Some(parent) = parents.pop() {
            for (_, child) in children.iter().filter(|(of, _)| *of == parent) {
                parents.push(*child);
                let sought = gather::gather(places, *child).await;
                match sought.found.into_iter().next() {
                    Some(found) => runs.push(found),
                    None => faults.extend(sought.faults),
                }
            }
        }
        (Some(Self { run, runs }), faults)
    }

    /// Returns the last slot of the run.
    pub(super) fn tail(&self) -> &Link {
        &self.runs[0].tail
    }

    /// Returns where the run stands.
    pub(super) fn state(&self) -> Result<RunState, CliError> {
        let values = self.runs[0].bundle.values(self.run);
        let records = (1..)
            .zip(values)
            .map(|(seq, value)| codec::decode(&codec::key(self.run, seq), value))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(RunState::from_records(&records)?)
    }

    /// Returns what the run is pinned to, from its own blobs.
    pub(super) fn pinned(&self, state: &RunState) -> Result<Pinned, CliError> {
        let bundle = &self.runs[0].bundle;
        let blob = |hash| {
            let found = bundle.blob(hash).map(<[u8]>::to_vec);
            found.ok_or_else(|| CliError::from(JournalError::UnknownBlob(hash)))
        };
        let inputs = match &state.inputs {
            rekindle_model::event::Payload::Inline(value) => serde_json::from_value(value.clone()),
            rekindle_model::event::Payload::Blob(hash) => serde_json::from_slice(&blob(*hash)?),
        };
        let inputs = inputs.map_err(|error| {
            let message = format!("the inputs of run {} cannot be read: {error}", state.id);
            CliError::new(Exit::DataLost, "corrupt_inputs", message)
        })?;
        Pinned::of(&Parts {
            workflow: state.workflow.clone(),
            definition: blob(state.definition)?,
            system: state.system.map(blob).transpose()?,
            inputs,
        })
    }

    /// Brings the records into this workspace's journal. What the journal has beyond them stays; what it has in their
    /// place is kept in an archive, and does not count any more.
    ///
    /// An unfinished run that is brought here stays the other's, also after a crash, until the tier has the slot of its
    /// adoption: whoever goes on with what is interrupted here, a server above all, would else do so beside the other
    /// where no tier answers.
    pub(super) async fn import(
        &self,
        app: &App,
        workspace: &Workspace,
        state: &RunState,
    ) -> Result<(), CliError> {
        let (view, _) = LogView::open(&workspace.state).await?;
        let mut bundle = Bundle::default();
        let mut source = None;
        for gathered in &self.runs {
            let run = gathered.tail.head.run;
            let theirs = gathered.bundle.values(run);
            match Journal::values(&view, run, 0).await {
                Ok(ours) if ours.starts_with(theirs) => continue,
                Ok(ours) if !theirs.starts_with(&ours) => {
                    let file = fenced::archive(&workspace.state, run);
                    keep(&view, run, &file).await?;
                    app.printer.warn(format!(
                        "what this workspace had appended to run {run} does not count any more; it is kept in {}",
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
            fenced::note_adopting(&workspace.state, &taken)
                .map_err(|error| CliError::io(format_args!("note who has run {}", self.run), &error))?;
        }
        let (state, now) = (workspace.state.clone(), app.clock.now().utc);
        blocking(move || {
            let (mut upkeep, _) = Upkeep::open(&state, &OpenOptions::default())?;
            upkeep.replace(&bundle, source, now)?;
            Ok::<_, CliError>(())
        })
        .await?
    }
}

/// Returns the runs of a location that are part of others, after those.
async fn children_in(place: &SlotPlace) -> Vec<(RunId, RunId)> {
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
async fn keep(view: &LogView, run: RunId, file: &Path) -> Result<(), CliError> {
    let (bytes, _) = Bundle::of(view, [run]).await?.encode(Format::Archive)?;
    let path = file.to_owned();
    blocking(move || {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)
                .map_err(|error| CliError::io(format_args!("make {}", dir.display()), &error))?;
        }
        write_new(&path, &bytes)
    })
    .await?
}
