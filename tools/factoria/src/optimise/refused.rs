//! Why a request for a context is refused.

use crate::frameworks::{CONTENT_TYPES, SUBJECTS};

/// Why a request cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no such content type.
    #[error("there is no content type {name:?}; there are {}", CONTENT_TYPES.join(", "))]
    UnknownType {
        /// The name that was given.
        name: String,
    },
    /// There is no such subject, or the unit is no unit.
    #[error("there is no subject {name:?}; there are {}, each also with a unit as in mathematics/0001", SUBJECTS.join(", "))]
    UnknownSubject {
        /// The name that was given.
        name: String,
    },
}
