//! The owner and its socket, over a journal in memory and actions that wait until a test lets them continue.

mod bench;
mod hanging;
mod leaving;
mod run_service;
mod socket;
