//! Restoring a snapshot into a root folder.
