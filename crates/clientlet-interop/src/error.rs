//! The errors of starting a real gateway.

use std::fmt;
use std::io;

use crate::Environment;

/// The reason why a real gateway did not start or restart.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The gateway's environment is missing or left out. The reason says which, and what to do.
    NotInstalled {
        /// The environment that was asked for.
        environment: Environment,
        /// Why the environment cannot be used.
        reason: String,
    },
    /// The gateway's process could not be started or signalled.
    Process(io::Error),
    /// The gateway ended, or reported that it cannot start.
    Failed {
        /// The gateway's own words.
        reason: String,
        /// The end of the gateway's standard error.
        log: String,
    },
    /// The gateway was not ready within the time limit.
    TimedOut {
        /// The end of the gateway's standard error.
        log: String,
    },
}

impl StartError {
    /// Whether the environment was missing. Every other error is a fault that needs attention.
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
