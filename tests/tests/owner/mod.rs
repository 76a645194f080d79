//! One process owns a workspace: what others ask of it, see of it, and find when it is killed.

mod deadlock;
mod detach;
mod group_locks;
mod orphans;
mod other_user;
mod read_only_commands;
mod seen_by_others;
mod two_terminals;
