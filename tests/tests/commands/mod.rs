//! Commands that look and check, and the schemas that editors get.

mod browse;
mod doctor_tier_diff_graph;
mod journal;
mod keys;
mod schema;
mod status;
