//! Ctrl-C and SIGTERM.

use crate::report::Failure;

/// Listens from the moment it is made; until then a signal ends the process as ever.
pub(crate) struct Interrupt {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
}

impl Interrupt {
    #[cfg(unix)]
    pub(crate) fn listen() -> Result<Interrupt, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::failed(format!("signals cannot be heard: {error}")))
        };
        Ok(Interrupt {
            signals: [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?],
        })
    }

    /// Waits for the next signal.
    #[cfg(unix)]
    pub(crate) async fn wait(&mut self) {
        let [interrupt, terminate] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn listen() -> Result<Interrupt, Failure> {
        Ok(Interrupt {})
    }

    /// Waits for the next signal.
    #[cfg(not(unix))]
    pub(crate) async fn wait(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            // Nobody can be told; the default action stays.
            std::future::pending::<()>().await;
        }
    }
}
