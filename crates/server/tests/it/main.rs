//! The owner and its socket, over a journal in memory and actions that wait until they are told to go on.

mod bench;
mod desk;
mod hanging;
mod leaving;
mod socket;
