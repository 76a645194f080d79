//! The optimiser's settings, read from `performance/`. Nothing here has a default.
//!
//! ```text
//! performance/config.json              the vocabulary, and the names of the algorithms and profiles in use
//! performance/algorithms/<name>.json   the parameters of one algorithm
//! performance/profiles/<name>.json     the token budget of each layer, for one task profile
//! ```
//!
//! An algorithm whose parameters are missing, malformed or not named in the configuration is not applied: the
//! context then is larger, slower or worse, which a probe measures. Without its profile a request gets the
//! unoptimised context.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Profile;
use super::tokens::VOCABULARY;
use crate::bounded;

/// The algorithms, in the order in which a request passes them.
pub(crate) const ALGORITHMS: [&str; 6] = [
    "layer_selection",
    "import_resolution",
    "result_cache",
    "deduplication",
    "relevance_ranking",
    "token_budget",
];

/// `performance/config.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) vocabulary: String,
    pub(crate) algorithms: Vec<String>,
    pub(crate) profiles: Vec<String>,
    /// Units of each subject; a request names `<subject>/<unit>`, or a subject for its first unit.
    pub(crate) units: u64,
}

/// Which layers a profile may choose, and in which order their passages compete.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LayerSelection {
    pub(crate) order: Vec<String>,
}

/// How far imports are followed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportResolution {
    pub(crate) depth: usize,
    pub(crate) documents: usize,
}

/// Of which documents prepared passages are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResultCache {
    /// The layers whose documents have entries; they change seldom enough.
    pub(crate) layers: Vec<String>,
    /// How many of each subject's library volumes have entries as well.
    pub(crate) volumes: u64,
}

/// Which passages are dropped where they come again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deduplication {
    /// Shorter ones stay, in bytes: a heading belongs to what follows it.
    pub(crate) shortest_bytes: usize,
}

/// What makes a passage relevant to a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RelevanceRanking {
    /// For each word of the content type's name, such as `study` and `guide`.
    pub(crate) type_word_weight: f64,
    /// For each word of the requested document's title.
    pub(crate) title_word_weight: f64,
    /// For each figure, up to `figures_at_most`.
    pub(crate) figure_weight: f64,
    pub(crate) figures_at_most: usize,
    /// For a passage that begins with `definition_prefix`: terms come before what is said with them.
    pub(crate) definition_weight: f64,
    pub(crate) definition_prefix: String,
}

/// How a layer's budget is filled.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenBudget {
    /// The share of a profile's budgets that may be used.
    pub(crate) usable_share: f64,
    /// How many passages that do not fit may be passed over in search of one that does.
    pub(crate) passed_over_at_most: usize,
}

/// `performance/profiles/<name>.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileSettings {
    pub(crate) profile: String,
    /// Tokens, by layer. A layer that is not named is not chosen.
    pub(crate) budgets: BTreeMap<String, u64>,
}

/// All settings, as far as they are whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) config: Option<Config>,
    pub(crate) layer_selection: Option<LayerSelection>,
    pub(crate) import_resolution: Option<ImportResolution>,
    pub(crate) result_cache: Option<ResultCache>,
    pub(crate) deduplication: Option<Deduplication>,
    pub(crate) relevance_ranking: Option<RelevanceRanking>,
    pub(crate) token_budget: Option<TokenBudget>,
    pub(crate) profiles: BTreeMap<Profile, ProfileSettings>,
}

impl Settings {
    /// Reads what is whole of the settings at `root`.
    pub(crate) fn read(root: &Path) -> Self {
        let base = root.join("performance");
        let config: Option<Config> = bounded::json(&base.join("config.json"));
        let Some(config) = config.filter(|config| config.vocabulary == VOCABULARY) else {
            return Self::default();
        };
        let [layers, imports, cache, duplicates, ranking, budget] = ALGORITHMS;
        let mut settings = Self {
            layer_selection: algorithm(&base, &config, layers),
            import_resolution: algorithm(&base, &config, imports),
            result_cache: algorithm(&base, &config, cache),
            deduplication: algorithm(&base, &config, duplicates),
            relevance_ranking: algorithm(&base, &config, ranking),
            token_budget: algorithm(&base, &config, budget),
            ..Self::default()
        };
        for profile in Profile::ALL {
            let name = profile.name();
            let read: Option<ProfileSettings> = bounded::json(&base.join(format!("profiles/{name}.json")));
            if let Some(read) = read.filter(|read| read.profile == name)
                && config.profiles.iter().any(|known| known == name)
            {
                settings.profiles.insert(profile, read);
            }
        }
        settings.config = Some(config);
        settings
    }

    /// Returns how many of [`ALGORITHMS`] have their parameters.
    pub(crate) fn algorithms_whole(&self) -> usize {
        let whole = [
            self.layer_selection.is_some(),
            self.import_resolution.is_some(),
            self.result_cache.is_some(),
            self.deduplication.is_some(),
            self.relevance_ranking.is_some(),
            self.token_budget.is_some(),
        ];
        whole.into_iter().filter(|whole| *whole).count()
    }
}

fn algorithm<T: DeserializeOwned>(base: &Path, config: &Config, name: &str) -> Option<T> {
    if !config.algorithms.iter().any(|known| known == name) {
        return None;
    }
    bounded::json(&base.join(format!("algorithms/{name}.json")))
}
