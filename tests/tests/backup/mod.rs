//! Backups: what they capture, leave out, warn of and heal.

mod command_source;
mod heals_damage;
mod left_out;
mod metadata;
mod missing_tier;
mod proofs;
mod reserved_names;
mod running_system;
mod shrunken_data;
mod unreadable;
