//! Configuration of the optimiser, and traces of the contexts it made.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::fill;
use super::plan::Plan;
use super::writer::Writer;
use crate::context::LAYERS;
use crate::error::FactoriaError;
use crate::frameworks::{CONTENT_TYPES, SUBJECTS};
use crate::optimise::settings::{
    ALGORITHMS, Config, Deduplication, ImportResolution, LayerSelection, ProfileSettings, RelevanceRanking,
    ResultCache, TokenBudget,
};
use crate::optimise::{Optimiser, Profile, Request, VOCABULARY};

/// A profile's budgets, by layer, in per cent of a whole context's tokens.
///
/// They add up to less than 60, so a context keeps less than that share of its tokens. The reference layer is small
/// once what L1 and L2 have is dropped from it.
const BUDGETS: [(Profile, &[u64]); 3] = [
    (Profile::Simple, &[30, 28]),
    (Profile::Moderate, &[28, 27, 6]),
    (Profile::Complex, &[26, 25, 12]),
];
/// Requests in the traces that are answered for them; more lines are those again, as users ask again.
const TRACED: usize = 24;

pub(super) fn write(writer: &mut Writer, root: &Path, plan: &Plan) -> Result<(), FactoriaError> {
    json(
        writer,
        "config.json",
        &Config {
            vocabulary: VOCABULARY.to_owned(),
            algorithms: ALGORITHMS.map(str::to_owned).into(),
            profiles: Profile::ALL.map(|profile| profile.name().to_owned()).into(),
            units: plan.units,
        },
    )?;
    let [layers, imports, cache, duplicates, ranking, budget] =
        ALGORITHMS.map(|name| format!("algorithms/{name}.json"));
    let order = LAYERS.map(str::to_owned).into();
    json(writer, &layers, &LayerSelection { order })?;
    json(
        writer,
        &imports,
        &ImportResolution {
            depth: 2,
            documents: 12,
        },
    )?;
    json(
        writer,
        &cache,
        &ResultCache {
            // Teachers edit L1 all day; its entries would not live.
            layers: vec!["L2".to_owned(), "L3".to_owned()],
            volumes: plan.cached_volumes,
        },
    )?;
    json(writer, &duplicates, &Deduplication { shortest_bytes: 24 })?;
    json(
        writer,
        &ranking,
        &RelevanceRanking {
            type_word_weight: 1.0,
            title_word_weight: 0.5,
            figure_weight: 1.0,
            figures_at_most: 3,
            definition_weight: 4.0,
            definition_prefix: "Definition.".to_owned(),
        },
    )?;
    json(
        writer,
        &budget,
        &TokenBudget {
            usable_share: 1.0,
            passed_over_at_most: 8,
        },
    )?;
    let tokens = context_tokens(root)?;
    for (profile, percent) in BUDGETS {
        let budgets = LAYERS.iter().zip(percent);
        let budgets = budgets.map(|(layer, percent)| ((*layer).to_owned(), tokens * percent / 100));
        let name = profile.name();
        let settings = ProfileSettings {
            profile: name.to_owned(),
            budgets: budgets.collect::<BTreeMap<_, _>>(),
        };
        json(writer, &format!("profiles/{name}.json"), &settings)?;
    }
    traces(writer, root)
}

fn json<T: Serialize>(writer: &mut Writer, path: &str, value: &T) -> Result<(), FactoriaError> {
    let value = serde_json::to_value(value).map_err(FactoriaError::json(path))?;
    writer.json(path, 0o644, &value)
}

/// Returns the mean number of tokens of a whole context.
fn context_tokens(root: &Path) -> Result<u64, FactoriaError> {
    let optimiser = Optimiser::open(root)?;
    let mut tokens = 0;
    for (subject, content_type) in SUBJECTS.iter().zip(CONTENT_TYPES) {
        let request = Request {
            content_type: content_type.to_owned(),
            subject: (*subject).to_owned(),
            profile: Profile::Complex,
        };
        tokens += optimiser.baseline(&request)?.tokens;
    }
    Ok(tokens / SUBJECTS.len() as u64)
}

/// Writes what users asked for and what they got: `at,session,type,subject,profile,documents,tokens`.
fn traces(writer: &mut Writer, root: &Path) -> Result<(), FactoriaError> {
    let optimiser = Optimiser::open(root)?;
    let mut answered = Vec::new();
    for number in 0..TRACED {
        let request = Request {
            content_type: CONTENT_TYPES[number % CONTENT_TYPES.len()].to_owned(),
            subject: SUBJECTS[number * 5 % SUBJECTS.len()].to_owned(),
            profile: Profile::ALL[number / CONTENT_TYPES.len() % Profile::ALL.len()],
        };
        let context = optimiser.optimised(&request)?;
        answered.push(format!(
            "{},{},{},{},{}",
            request.content_type,
            request.subject,
            request.profile.name(),
            context.documents.len(),
            context.tokens
        ));
    }
    let mut rng = writer.rng("traces");
    let mut seconds = 0;
    let share = writer.left().saturating_sub(1_000);
    for number in 1..=4 {
        writer.stream(
            &format!("traces/requests-{number}.csv"),
            0o644,
            share / 4,
            |out| {
                seconds += rng.below(20);
                // Writing to memory does not fail.
                let _ = writeln!(
                    out,
                    "{},{:016x},{}",
                    fill::at(seconds),
                    rng.bits(),
                    rng.pick(&answered)
                );
            },
        )?;
    }
    Ok(())
}
