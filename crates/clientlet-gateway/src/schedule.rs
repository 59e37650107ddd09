//! Counts connections and requests, and decides which faults strike them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::fault::{Fault, FaultKind, Target};

/// The faults in their order, and the counts that they depend on.
#[derive(Debug)]
pub(crate) struct Schedule {
    faults: Vec<Counted>,
    seed: u64,
    requests: AtomicU64,
    gets: AtomicU64,
}

#[derive(Debug)]
struct Counted {
    fault: Fault,
    /// The number of GETs for the path of the fault, or of upgrades if the fault strikes those.
    gets: AtomicU64,
}

/// The number and the fault of a request, drawn when the request began to arrive.
#[derive(Debug)]
pub(crate) struct Drawn {
    /// The number of the request, from 1, among the requests with data or among the GETs.
    pub(crate) number: u64,
    pub(crate) carries_data: bool,
    pub(crate) fault: Option<FaultKind>,
}

impl Schedule {
    pub(crate) fn new(faults: Vec<Fault>, seed: u64) -> Self {
        let faults =
            faults.into_iter().map(|fault| Counted { fault, gets: AtomicU64::new(0) }).collect();
        Self { faults, seed, requests: AtomicU64::new(0), gets: AtomicU64::new(0) }
    }

    /// Whether the connection of this number is refused.
    pub(crate) fn refuses(&self, connection: u64) -> bool {
        self.faults.iter().enumerate().any(|(index, Counted { fault, .. })| {
            *fault.kind() == FaultKind::Refuse && fault.strikes(index, connection, self.seed)
        })
    }

    /// The fault that strikes the TLS handshake of the connection of this number.
    #[cfg(feature = "tls")]
    pub(crate) fn of_handshake(&self, connection: u64) -> Option<&FaultKind> {
        let strikes = |(index, Counted { fault, .. }): &(usize, &Counted)| {
            fault.is_for_handshakes() && fault.strikes(*index, connection, self.seed)
        };
        self.faults.iter().enumerate().find(strikes).map(|(_, counted)| counted.fault.kind())
    }

    /// Whether a fault may repeat answers.
    pub(crate) fn shifts(&self) -> bool {
        self.faults.iter().any(|Counted { fault, .. }| *fault.kind() == FaultKind::Shifted)
    }

    /// Whether a fault may compress messages over gRPC.
    pub(crate) fn compresses(&self) -> bool {
        let compresses = |kind: &FaultKind| matches!(kind, FaultKind::Gzip | FaultKind::Bomb(_));
        self.faults.iter().any(|Counted { fault, .. }| compresses(fault.kind()))
    }

    /// Draws for a request that has begun to arrive.
    pub(crate) fn draw(&self, method: &[u8], path: &[u8]) -> Drawn {
        if carries_data(method) { self.draw_data(Target::Request) } else { self.draw_get(path) }
    }

    /// Draws for a WebSocket message that has arrived.
    pub(crate) fn draw_message(&self) -> Drawn {
        self.draw_data(Target::Message)
    }

    /// Draws for a gRPC message with data that has arrived.
    pub(crate) fn draw_call(&self) -> Drawn {
        self.draw_data(Target::Call)
    }

    /// Draws for a request to become a WebSocket.
    pub(crate) fn draw_upgrade(&self, path: &str) -> Drawn {
        self.draw_by_path(|fault| fault.is_for_upgrades() && fault.path().unwrap_or("/") == path)
    }

    fn draw_data(&self, target: Target) -> Drawn {
        let number = count(&self.requests);
        let fault = self.faults.iter().enumerate().find(|(index, Counted { fault, .. })| {
            fault.path().is_none()
                && fault.is_for_requests()
                && fault.kind().fits(target)
                && fault.strikes(*index, number, self.seed)
        });
        let fault = fault.map(|(_, counted)| counted.fault.kind().clone());
        Drawn { number, carries_data: true, fault }
    }

    fn draw_get(&self, path: &[u8]) -> Drawn {
        self.draw_by_path(|fault| {
            fault.is_for_requests() && fault.path().map(str::as_bytes) == Some(path)
        })
    }

    fn draw_by_path(&self, is_for_this: impl Fn(&Fault) -> bool) -> Drawn {
        let mut drawn = Drawn { number: count(&self.gets), carries_data: false, fault: None };
        for (index, Counted { fault, gets }) in self.faults.iter().enumerate() {
            if !is_for_this(fault) {
                continue;
            }
            // Every fault for this path counts the request, even if another fault has struck.
            let number = count(gets);
            if drawn.fault.is_none() && fault.strikes(index, number, self.seed) {
                drawn.fault = Some(fault.kind().clone());
            }
        }
        drawn
    }
}

/// Whether requests with this method carry data. Other requests are counted as GETs.
pub(crate) fn carries_data(method: &[u8]) -> bool {
    matches!(method, b"POST" | b"PUT" | b"DELETE")
}

/// The next number, from 1.
fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(faults: &[&str]) -> Schedule {
        Schedule::new(faults.iter().map(|spec| spec.parse().unwrap()).collect(), 0)
    }

    #[test]
    fn the_first_fault_that_matches_strikes() {
        let schedule = schedule(&["stall@2", "malformed@1-3", "refuse@1-9"]);
        let kinds: Vec<_> = (0..4).map(|_| schedule.draw(b"POST", b"/post").fault).collect();
        assert_eq!(
            kinds,
            [Some(FaultKind::Malformed), Some(FaultKind::Stall), Some(FaultKind::Malformed), None]
        );
        assert!(schedule.refuses(9) && !schedule.refuses(10));
    }

    #[test]
    fn gets_are_struck_by_their_path_only_and_counted_apart() {
        let schedule = schedule(&["stall@1", "status:500@2,path=/status"]);
        assert_eq!(schedule.draw(b"GET", b"/status").fault, None);
        assert_eq!(schedule.draw(b"GET", b"/").fault, None);
        let struck = schedule.draw(b"GET", b"/status");
        assert_eq!(struck.fault, Some(FaultKind::Status { code: 500, retry_after: None }));
        assert_eq!((struck.number, struck.carries_data), (3, false));
        let data = schedule.draw(b"PUT", b"/status");
        assert_eq!((data.number, data.fault), (1, Some(FaultKind::Stall)));
    }

    #[test]
    fn kinds_strike_only_what_they_fit() {
        let schedule =
            schedule(&["status:503@/1", "drop@2-9", "stall@/1", "subprotocol:x@1,on=upgrade"]);
        assert_eq!(schedule.draw_message().fault, Some(FaultKind::Stall));
        assert_eq!(schedule.draw_message().fault, Some(FaultKind::Drop));
        // Messages and requests are counted together.
        let request = schedule.draw(b"POST", b"/post");
        assert_eq!(request.fault, Some(FaultKind::Status { code: 503, retry_after: None }));
        assert_eq!(request.number, 3);
        assert_eq!(schedule.draw(b"GET", b"/").fault, None);
        assert_eq!(schedule.draw_upgrade("/dry_run").fault, None);
        assert_eq!(schedule.draw_upgrade("/").fault, Some(FaultKind::Subprotocol("x".into())));
        assert_eq!(schedule.draw_upgrade("/").fault, None);
    }
}
