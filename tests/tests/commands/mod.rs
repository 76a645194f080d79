//! Commands that look and check, and the schemas that editors get.

mod browse;
mod completions;
mod doctor_tier_diff_graph;
mod journal;
mod json;
mod keys;
mod schema;
mod status;
mod typical_mistakes;
mod width;
