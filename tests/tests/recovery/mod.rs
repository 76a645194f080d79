//! Recoveries: where they may write, which tier they read, and what an interrupted one leaves.

mod absolute_paths;
mod changed_after_restore;
mod drills;
mod forecast;
mod from_another_tier;
mod in_place;
mod lost_host;
mod onto_a_running_system;
mod partial_recovery;
mod scenarios;
mod some_components;
mod target_folder;
