//! One process owns a workspace; others send it requests, watch it, and survive its death.

mod deadlock;
mod detach;
mod group_locks;
mod orphans;
mod other_user;
mod read_only_commands;
mod seen_by_others;
mod two_terminals;
