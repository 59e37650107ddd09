//! Ctrl-C, SIGTERM, and SIGHUP, which a terminal sends when it closes.

use tokio::sync::mpsc;
use tokio::task::spawn_local;

use crate::report::Failure;

/// Listens for signals from its creation on. Before that a signal ends the process as usual. SIGHUP
/// stays ignored if it was ignored when the process started, as with `nohup`. SIGINT does not stay
/// ignored, although shell scripts ignore it for background jobs: a SIGINT that is sent to such a job
/// is meant for the job.
///
/// A separate task waits for the system's signals. The command checks after each answer whether a
/// signal came, and asking tokio for three signals costs a tenth of a small answer.
pub(crate) struct Interrupt {
    signals: mpsc::Receiver<()>,
}

impl Interrupt {
    /// # Errors
    /// When the system does not let this process listen for signals.
    pub(crate) fn listen() -> Result<Interrupt, Failure> {
        let mut signals = Signals::listen()?;
        // Signals that come at the same time count as one.
        let (sender, receiver) = mpsc::channel(1);
        spawn_local(async move {
            loop {
                signals.next().await;
                if let Err(mpsc::error::TrySendError::Closed(())) = sender.try_send(()) {
                    return;
                }
            }
        });
        Ok(Interrupt { signals: receiver })
    }

    /// Waits for the next signal.
    pub(crate) async fn wait(&mut self) {
        if self.signals.recv().await.is_none() {
            // The channel closes only when the runtime ends.
            std::future::pending::<()>().await;
        }
    }
}

struct Signals {
    #[cfg(unix)]
    signals: [Option<tokio::signal::unix::Signal>; 3],
}

#[cfg(unix)]
impl Signals {
    fn listen() -> Result<Signals, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| {
            signal(kind)
                .map(Some)
                .map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")))
        };
        let is_deaf = is_ignored(SignalKind::hangup());
        Ok(Signals {
            signals: [
                listen(SignalKind::interrupt())?,
                listen(SignalKind::terminate())?,
                if is_deaf { None } else { listen(SignalKind::hangup())? },
            ],
        })
    }

    async fn next(&mut self) {
        let signals = &mut self.signals;
        std::future::poll_fn(|cx| {
            let came = signals.iter_mut().flatten().any(|signal| signal.poll_recv(cx).is_ready());
            if came { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

/// Whether this process ignores a signal. Returns `false` if the system does not say.
#[cfg(unix)]
fn is_ignored(kind: tokio::signal::unix::SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    // The mask has one bit for each signal, the lowest for signal 1.
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    u32::try_from(kind.as_raw_value() - 1).is_ok_and(|bit| (mask >> bit) & 1 == 1)
}

#[cfg(not(unix))]
impl Signals {
    fn listen() -> Result<Signals, Failure> {
        Ok(Signals {})
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            // The system's default action stays.
            std::future::pending::<()>().await;
        }
    }
}
