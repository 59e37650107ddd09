//! Real gateways that a case has broken and mended. The next case takes one of them, because to start one
//! takes seconds, most of it for the processor.

use std::sync::Mutex;
use std::time::Duration;

use clientlet_interop::{Environment, Options, RealGateway};

use crate::rows;

/// A running gateway that no case uses at the moment. It ends with this process, which it watches.
struct Mended {
    gateway: RealGateway,
    timeout_send: Duration,
}

static MENDED: Mutex<Vec<Mended>> = Mutex::new(Vec::new());

/// A gateway whose executor is given `timeout_send`: one that is mended, or a new one. `None` if it is not
/// installed.
pub(crate) fn take(environment: Environment, timeout_send: Duration) -> Option<RealGateway> {
    let mut mended = MENDED.lock().unwrap();
    let fits = |mended: &Mended| {
        mended.gateway.environment() == environment && mended.timeout_send == timeout_send
    };
    let taken = mended.iter().position(fits).map(|place| mended.swap_remove(place).gateway);
    // The cases go from one environment to the next: the others are of no more use.
    let others = mended.extract_if(.., |mended| mended.gateway.environment() != environment);
    let others: Vec<Mended> = others.collect();
    drop(mended);
    // They take a moment to end.
    drop(others);
    let options =
        Options { protocols: rows::ALL, timeout_send: Some(timeout_send), ..Options::default() };
    taken.or_else(|| rows::start(environment, options))
}

/// Starts what is dead of the gateway, and leaves it to the next case.
pub(crate) fn give_back(mut gateway: RealGateway, timeout_send: Duration) {
    gateway.revive().unwrap_or_else(|error| panic!("{error}"));
    MENDED.lock().unwrap().push(Mended { gateway, timeout_send });
}
