//! The content-addressed, encrypted repository that a tier holds (being built).

pub mod restore;
