//! The actions through the real engine, with a real vault, real files and a real database.

mod bench;
mod recover;
mod steps;
