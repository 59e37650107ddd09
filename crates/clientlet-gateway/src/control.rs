//! What can be changed while a gateway runs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The generation of documents that a gateway speaks: that of docarray below 0.30 (v1), or of
/// 0.30 and later (v2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Documents {
    /// docarray below 0.30, as a gateway of Jina 3.14.1 speaks it.
    #[default]
    V1,
    /// docarray 0.30 and later, as a gateway of Jina 3.33.1 speaks it.
    V2,
}

impl fmt::Display for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

/// A generation of documents is `v1` or `v2`, and this text is neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentsError(String);

impl fmt::Display for DocumentsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "documents are v1 or v2, not `{}`", self.0)
    }
}

impl std::error::Error for DocumentsError {}

impl FromStr for Documents {
    type Err = DocumentsError;

    fn from_str(text: &str) -> Result<Self, DocumentsError> {
        match text {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err(DocumentsError(text.to_owned())),
        }
    }
}

/// Changes the world behind a running gateway. A change holds for requests that are answered
/// after it. Clones change the same gateway.
#[derive(Clone, Debug)]
pub struct Control(Arc<Switches>);

#[derive(Debug)]
struct Switches {
    v2: AtomicBool,
    executor_down: AtomicBool,
    executor_slow: AtomicBool,
}

impl Control {
    pub(crate) fn new(documents: Documents) -> Self {
        Self(Arc::new(Switches {
            v2: AtomicBool::new(documents == Documents::V2),
            executor_down: AtomicBool::new(false),
            executor_slow: AtomicBool::new(false),
        }))
    }

    /// Takes the executor down, or up again. While it is down, data is answered with 503 (v1) or
    /// with 500 in plain text (v2), and the dry run of v1, but not that of v2, tells. A WebSocket
    /// is closed with 1011 by the next request that would run, a gRPC stream ends with UNAVAILABLE, and
    /// dry runs over these tell of both. Streams of documents break off.
    pub fn executor_down(&self, down: bool) {
        self.0.executor_down.store(down, Ordering::Relaxed);
    }

    /// Makes the executor too slow for the gateway's own time-out, or quick again. While it is
    /// slow, data is answered at once as after that time-out: 504 (v1) or 500 in plain text (v2), and
    /// a WebSocket is closed with 1011, a gRPC stream ends with DEADLINE_EXCEEDED.
    pub fn executor_slow(&self, slow: bool) {
        self.0.executor_slow.store(slow, Ordering::Relaxed);
    }

    /// Speaks this generation from now on, as if another gateway had been deployed here.
    pub fn documents(&self, documents: Documents) {
        self.0.v2.store(documents == Documents::V2, Ordering::Relaxed);
    }

    pub(crate) fn is_executor_down(&self) -> bool {
        self.0.executor_down.load(Ordering::Relaxed)
    }

    pub(crate) fn is_executor_slow(&self) -> bool {
        self.0.executor_slow.load(Ordering::Relaxed)
    }

    pub(crate) fn generation(&self) -> Documents {
        if self.0.v2.load(Ordering::Relaxed) { Documents::V2 } else { Documents::V1 }
    }
}
