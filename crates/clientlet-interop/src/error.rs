//! Why there is no gateway.

use std::fmt;
use std::io;

use crate::Environment;

/// Why a real gateway did not start, or did not come back.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Its environment is not there, or was left out; the reason says which and how to go on.
    NotInstalled {
        /// The environment that was asked for.
        environment: Environment,
        /// Why it cannot be used.
        reason: String,
    },
    /// Its process could not be started or signalled.
    Process(io::Error),
    /// It ended, or it said that it cannot start.
    Failed {
        /// What it said itself.
        reason: String,
        /// The end of its standard error.
        log: String,
    },
    /// It said nothing within the time limit.
    TimedOut {
        /// The end of its standard error.
        log: String,
    },
}

impl StartError {
    /// Whether the environment was missing; everything else is a fault worth looking at.
    #[must_use]
    pub fn is_not_installed(&self) -> bool {
        matches!(self, Self::NotInstalled { .. })
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled { environment, reason } => {
                write!(f, "no real gateway {environment}: {reason}")
            }
            Self::Process(error) => write!(f, "the gateway's process: {error}"),
            Self::Failed { reason, log } => write!(f, "the gateway failed: {reason}\n{log}"),
            Self::TimedOut { log } => write!(f, "the gateway did not get ready in time\n{log}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Process(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Process(error)
    }
}
