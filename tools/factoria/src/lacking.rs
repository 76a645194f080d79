//! Why a piece of content cannot be made.

/// What a piece could not be made without.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {content_type} can be made without {what}; restore education/, quality/ and context/prompts/")]
pub struct Lacking {
    pub(crate) content_type: String,
    pub(crate) what: String,
}
