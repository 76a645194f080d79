//! The owner and its socket, over a journal in memory and actions that wait until they are told to go on.

mod bench;
mod hanging;
mod leaving;
mod run_service;
mod socket;
