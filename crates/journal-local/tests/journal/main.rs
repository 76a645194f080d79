//! The journal's claims, tested from outside: the contract, damage, sled's hazards, SIGKILL.

#![expect(clippy::unwrap_used, reason = "this binary is tests, their helpers included")]

mod archive;
mod compact;
mod contract;
mod damage;
mod hazards;
mod kill;
mod support;
mod verify;
mod view;
