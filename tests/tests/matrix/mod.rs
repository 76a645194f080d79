//! Kills at every boundary: each record of a backup, a recovery and a workflow, and each action that a step can use.

mod backup_and_recovery;
mod deployment;
mod effect_before_success;
mod every_action;
mod tier_objects;
mod tier_places;
