//! A stored object that is not as it should be, and what is lost with it.

use std::fmt;

use serde::Serialize;

use crate::error::ObjectFault;
use crate::object::{ChunkId, ObjectName};

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The location.
    pub location: String,
    /// The stored object.
    pub object: ObjectName,
    /// What is wrong with it.
    pub fault: ObjectFault,
    /// The snapshot's chunks that are lost with it.
    pub chunks: Vec<ChunkId>,
    /// The files that need them; empty if the entries themselves cannot be read.
    pub files: Vec<String>,
}

/// How many files a fault shows; [`Fault::files`] has all of them.
const FILES_SHOWN: usize = 5;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} {}", self.object, self.location, self.fault)?;
        if !self.files.is_empty() {
            let shown: Vec<&str> = self.files.iter().take(FILES_SHOWN).map(String::as_str).collect();
            write!(f, ", needed by {}", shown.join(", "))?;
        }
        match self.files.len().saturating_sub(FILES_SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
