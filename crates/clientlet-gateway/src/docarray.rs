//! The two generations of documents.

use std::fmt;
use std::str::FromStr;

/// The generation of documents that a gateway speaks: v1 is docarray below 0.30, v2 is docarray
/// 0.30 and later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DocArray {
    /// docarray below 0.30, as a gateway of Jina 3.14.1 speaks it.
    #[default]
    V1,
    /// docarray 0.30 and later, as a gateway of Jina 3.33.1 speaks it.
    V2,
}

impl fmt::Display for DocArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

/// The text is neither `v1` nor `v2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocArrayError(String);

impl fmt::Display for DocArrayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "documents are v1 or v2, not `{}`", self.0)
    }
}

impl std::error::Error for DocArrayError {}

impl FromStr for DocArray {
    type Err = DocArrayError;

    fn from_str(text: &str) -> Result<Self, DocArrayError> {
        match text {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err(DocArrayError(text.to_owned())),
        }
    }
}
