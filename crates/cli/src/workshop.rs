//! How the owner in this process puts runs together.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rekindle_engine::{Engine, EngineError, Replica};
use rekindle_model::event::Worker;
use rekindle_replica::{ReplicaError, Replicator, fence};
use rekindle_server::Problem;
use rekindle_server::owner::{Parts, Purpose, Ready, Workshop};

use crate::error::CliError;
use crate::ground::Ground;
use crate::pinned::Pinned;
use crate::replica_adapter::replication;
use crate::{answering, commands, holders, unfinished};

/// See the module's documentation.
pub(crate) struct Shop(pub(crate) Ground);

#[async_trait]
impl Workshop for Shop {
    async fn ready(&self, parts: &Parts, purpose: Purpose<'_>) -> Result<Ready, Problem> {
        Ok(self.put_together(parts, purpose).await?)
    }

    fn problem(&self, error: EngineError) -> Problem {
        CliError::from(error).into()
    }
}

impl Shop {
    async fn put_together(&self, parts: &Parts, purpose: Purpose<'_>) -> Result<Ready, CliError> {
        let ground = &self.0;
        let ready = Pinned::of(parts)?.ready(ground)?;
        if let Purpose::Nest = purpose {
            commands::run::refuse_occupied(ground, &ready).await?;
        }
        let key = ground.key()?;
        let replicator = Replicator::new(&replication(ground, &key), &ready.pinned.system);
        if let Purpose::Adopt(state) | Purpose::Ask(state) = purpose {
            fence::refuse(&ground.workspace.state, state.id)?;
        }
        match purpose {
            Purpose::Create | Purpose::Nest => {
                ready.check_in_place()?;
                unfinished::refuse_half_recovered(ground, &ready, None).await?;
                answering::refuse_answering(ground.printer, &ready, None).await?;
                holders::refuse_in_use(ground.printer, &ready, None)?;
            }
            Purpose::Adopt(state) | Purpose::Bring(state) => {
                ready.check_in_place()?;
                unfinished::refuse_half_recovered(ground, &ready, Some(state.id)).await?;
                answering::refuse_answering(ground.printer, &ready, Some(state)).await?;
                holders::refuse_in_use(ground.printer, &ready, Some(state))?;
                // Before anything is appended to a run that somebody else goes on with.
                if let Some(replicator) = &replicator {
                    let ours = replicator.barrier(state.id, Duration::ZERO).await;
                    ours.map_err(ReplicaError::from)?;
                }
            }
            // Nothing will be acted on.
            Purpose::Ask(_) => {}
        }
        let engine = Engine::new(
            Arc::clone(&ground.journal),
            ready.registry.clone(),
            Arc::clone(&ground.clock),
            worker(),
        );
        let engine = match (replicator, purpose) {
            (Some(replicator), Purpose::Create | Purpose::Nest | Purpose::Adopt(_) | Purpose::Bring(_)) => {
                engine.with_replica(replicator)
            }
            _ => engine,
        };
        Ok(Ready {
            engine,
            plan: Arc::clone(&ready.plan),
            scope: ready.site.scope(),
        })
    }
}

/// Returns this process, as the journal names it.
pub(crate) fn worker() -> Worker {
    Worker {
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
