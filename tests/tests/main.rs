//! The end-to-end claims, a folder for each topic, in one binary: a binary for each file would hold the whole product
//! each time, and cost gigabytes of disk and most of the time of a build.

mod architecture;
mod backup;
mod chaos;
mod circles;
mod commands;
mod first_hour;
mod hostile;
mod matrix;
mod owner;
mod recovery;
mod replica;
mod story;
mod workflow;
