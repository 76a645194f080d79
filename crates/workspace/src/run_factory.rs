//! How the owner in this process puts runs together.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rekindle_engine::{Engine, EngineError, Replica};
use rekindle_model::event::Worker;
use rekindle_model::problem::Problem;
use rekindle_server::owner::{Purpose, Ready, RunFactory, RunSpec};

use crate::context::WorkspaceContext;
use crate::error::Error;
use crate::guards::{conflicts, occupied, open_files, running_system};
use crate::replica;
use crate::run_spec::LoadedSpec;
use rekindle_replica::{ReplicaError, Replicator, fence};

/// See the module's documentation.
pub struct ContextRunFactory(pub WorkspaceContext);

#[async_trait]
impl RunFactory for ContextRunFactory {
    async fn ready(&self, parts: &RunSpec, purpose: Purpose<'_>) -> Result<Ready, Problem> {
        Ok(self.put_together(parts, purpose).await?)
    }

    fn problem(&self, error: EngineError) -> Problem {
        Error::from(error).into()
    }
}

impl ContextRunFactory {
    async fn put_together(&self, parts: &RunSpec, purpose: Purpose<'_>) -> Result<Ready, Error> {
        let context = &self.0;
        let ready = LoadedSpec::of(parts)?.ready(context)?;
        if let Purpose::Nest = purpose {
            occupied::refuse_nested(context, &ready).await?;
        }
        let replicator = match ready.spec.system.tiers.is_empty() {
            true => None,
            false => {
                let key = context.key()?;
                Replicator::new(&replica::replication(context, &key), &ready.spec.system)
            }
        };
        if let Purpose::Adopt(state) | Purpose::Ask(state) = purpose {
            fence::refuse(&context.layout.state, state.id)?;
        }
        match purpose {
            Purpose::Create | Purpose::Nest => {
                ready.check_in_place()?;
                conflicts::refuse_half_recovered(context, &ready, None).await?;
                running_system::refuse_answering(&context.notices, &ready, None).await?;
                open_files::refuse_in_use(&context.notices, &ready, None)?;
            }
            Purpose::Adopt(state) | Purpose::Bring(state) => {
                ready.check_in_place()?;
                conflicts::refuse_half_recovered(context, &ready, Some(state.id)).await?;
                running_system::refuse_answering(&context.notices, &ready, Some(state)).await?;
                open_files::refuse_in_use(&context.notices, &ready, Some(state))?;
                // Do this before anything is appended: another workspace may be continuing the run.
                if let Some(replicator) = &replicator {
                    let ours = replicator.barrier(state.id, Duration::ZERO).await;
                    ours.map_err(ReplicaError::from)?;
                }
            }
            // A request alone acts on nothing.
            Purpose::Ask(_) => {}
        }
        let engine = Engine::new(
            Arc::clone(&context.journal),
            ready.registry.clone(),
            Arc::clone(&context.clock),
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
pub fn worker() -> Worker {
    Worker {
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
