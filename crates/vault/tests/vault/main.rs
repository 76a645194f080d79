//! The vault through its public API, on real folders.
#![expect(clippy::unwrap_used, reason = "this binary is tests, their helpers included")]

mod common;
mod damage;
mod healed;
mod interrupted;
mod round_trip;
