//! Ctrl-C, SIGTERM, and SIGHUP, which a terminal sends when it closes.

use crate::report::Failure;

/// Listens from the moment it is made; until then a signal ends the process as ever. A signal that was
/// ignored when the process started stays ignored: `nohup` does that to SIGHUP, and a shell's script to
/// the SIGINT of what it starts in the background.
pub(crate) struct Interrupt {
    #[cfg(unix)]
    signals: [Option<tokio::signal::unix::Signal>; 3],
}

#[cfg(unix)]
impl Interrupt {
    pub(crate) fn listen() -> Result<Interrupt, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let ignored = ignored();
        let listen = |kind: SignalKind| {
            if is_in(ignored, kind) {
                return Ok(None);
            }
            signal(kind)
                .map(Some)
                .map_err(|error| Failure::failed(format!("signals cannot be heard: {error}")))
        };
        Ok(Interrupt {
            signals: [
                listen(SignalKind::interrupt())?,
                listen(SignalKind::terminate())?,
                listen(SignalKind::hangup())?,
            ],
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn wait(&mut self) {
        let signals = &mut self.signals;
        std::future::poll_fn(|cx| {
            let came = signals.iter_mut().flatten().any(|signal| signal.poll_recv(cx).is_ready());
            if came { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

/// The signals that this process ignores, a bit each, from the lowest on for the first. Where the system
/// does not tell, none.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(unix)]
fn is_in(signals: u64, kind: tokio::signal::unix::SignalKind) -> bool {
    u32::try_from(kind.as_raw_value() - 1).is_ok_and(|bit| signals >> bit & 1 == 1)
}

#[cfg(not(unix))]
impl Interrupt {
    pub(crate) fn listen() -> Result<Interrupt, Failure> {
        Ok(Interrupt {})
    }

    /// Waits for the next signal.
    pub(crate) async fn wait(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            // Nobody can be told; the default action stays.
            std::future::pending::<()>().await;
        }
    }
}
