//! What all connections of a gateway share.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;

use crate::compression::Compression;
use crate::control::Control;
use crate::docarray::DocArray;
use crate::exception::Exception;
use crate::executor::{DEFAULT, Executors, Journey, Shown};
use crate::identity::Ids;
use crate::journal::Journal;
use crate::mistakes::{Mistake, Mistakes};
use crate::percent::{decoded, route};
use crate::sample::{Bindings, DEPLOYMENT, Sample};
use crate::schedule::Schedule;
use crate::schema::{ITEM, PART};
use crate::target::{Target, TargetError};
#[cfg(feature = "tls")]
use crate::tls::Server;

/// The protocols of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    /// WebSocket, and the few GETs that a gateway answers on the same port.
    WebSocket,
    /// gRPC alone.
    Grpc,
    /// HTTP and WebSocket, and gRPC if a connection begins with the preface of HTTP/2. HTTP is
    /// answered as on a port of its own.
    All,
}

/// What all connections of a gateway share.
#[derive(Debug)]
pub(crate) struct World {
    /// The executors of the test, in place of the sample executor.
    pub(crate) executors: Option<Executors>,
    /// What the sample executor binds.
    pub(crate) bindings: Bindings,
    pub(crate) mistakes: Mistakes,
    pub(crate) hides_status: bool,
    pub(crate) idle_timeout: Option<Duration>,
    /// How answers are compressed, if a client accepts it.
    pub(crate) compressions: Vec<Compression>,
    pub(crate) control: Control,
    pub(crate) journal: Journal,
    pub(crate) schedule: Schedule,
    pub(crate) ids: Ids,
    /// The last answer, kept if a fault may repeat it.
    pub(crate) last: Mutex<Option<Vec<u8>>>,
    pub(crate) stopping: watch::Receiver<bool>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Server>,
}

impl World {
    /// The sample executor's endpoint that runs for a request.
    pub(crate) fn sample(&self, path: &str, docarray: DocArray, target: &Target) -> Option<Sample> {
        if self.executors.is_some() || !target.is(DEPLOYMENT) {
            return None;
        }
        // Executors of documents v1 do not have /json_rich.
        let is_there = |bound: &Sample| docarray == DocArray::V2 || *bound != Sample::JsonRich;
        let bound = self.bindings.find(path).filter(is_there);
        bound.or_else(|| self.bindings.find(DEFAULT))
    }

    /// Whether a request for this endpoint does not run at once.
    pub(crate) fn takes_time(&self, path: &str) -> bool {
        self.executors.is_some() || path == "/slow"
    }

    /// The endpoints, as the gateway shows them.
    pub(crate) fn shown(&self) -> Vec<Shown<'_>> {
        if let Some(executors) = &self.executors {
            return executors.endpoints();
        }
        let of = |path, class, is_stream| Shown { path, takes: class, gives: class, is_stream };
        let mut shown: Vec<_> = self.bindings.paths().map(|path| of(path, &*ITEM, false)).collect();
        for (path, _) in &self.bindings.streams {
            if !shown.iter().any(|known| known.path == path) {
                shown.push(of(path, &*PART, true));
            }
        }
        shown
    }

    /// Whether an endpoint that answers requests is bound to exactly this path.
    pub(crate) fn binds(&self, path: &str) -> bool {
        match &self.executors {
            Some(executors) => executors.find(path, false).is_some(),
            None => self.bindings.find(path).is_some(),
        }
    }

    /// Whether a streaming endpoint is bound to exactly this path.
    pub(crate) fn streams(&self, path: &str) -> bool {
        match &self.executors {
            Some(executors) => executors.find(path, true).is_some(),
            None => self.bindings.stream(path).is_some(),
        }
    }

    /// The endpoint of documents v2 whose route over HTTP is this path.
    pub(crate) fn routed(&self, path: &str, is_stream: bool) -> Option<String> {
        let path = decoded(path);
        let is_bound = if is_stream { self.streams(&path) } else { self.binds(&path) };
        if is_bound && route(&path) == *path {
            return Some(path.into_owned());
        }
        let shown = self.shown().into_iter();
        let is_it = |shown: &Shown<'_>| shown.is_stream == is_stream && route(shown.path) == *path;
        shown.filter(is_it).map(|shown| shown.path.to_owned()).next()
    }

    /// Which executors a request for an endpoint is meant for.
    ///
    /// # Errors
    ///
    /// `None` if it cannot be told because it is no regular expression. If this gateway cannot read
    /// it, that is a mistake of the test, and this is the exception that the client finds.
    pub(crate) fn target(
        &self,
        endpoint: &str,
        expression: &str,
    ) -> Result<Target, Option<Exception>> {
        Target::parse(expression).map_err(|error| match error {
            TargetError::Invalid => None,
            TargetError::Unknown => {
                let message = format!(
                    "has the target executor `{expression}`, a regular expression that the embedded \
                     gateway does not know"
                );
                Some(self.mistakes.blame(Mistake::new(endpoint, "", &message)))
            }
        })
    }

    /// The way of a request that fails before the first executor.
    pub(crate) fn fail(&self, endpoint: &str, exception: Exception) -> Journey {
        match &self.executors {
            Some(executors) => executors.fail(endpoint, &Target::All, exception),
            None => Journey::failed(&exception),
        }
    }

    /// The test's own executors, if any of them runs for a request.
    pub(crate) fn own(&self, path: &str, target: &Target) -> Option<&Executors> {
        self.executors.as_ref().filter(|executors| executors.run_for(path, target))
    }

    /// Whether connections are secret.
    pub(crate) fn speaks_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        return false;
    }

    /// Waits until the gateway is to stop.
    pub(crate) async fn stops(&self) {
        // An error means that the gateway is gone, which has the same effect.
        let _ = self.stopping.clone().wait_for(|stop| *stop).await;
    }

    /// Waits for as long as a connection may be idle.
    pub(crate) async fn idles(&self) {
        match self.idle_timeout {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    }

    #[cfg(test)]
    pub(crate) fn for_tests() -> (Self, watch::Sender<bool>) {
        let (stop, stopping) = watch::channel(false);
        let world = Self {
            executors: None,
            bindings: Bindings::default(),
            mistakes: Mistakes::default(),
            hides_status: false,
            idle_timeout: None,
            compressions: Vec::new(),
            control: Control::new(DocArray::V2),
            journal: Journal::new(true, 1 << 20),
            schedule: Schedule::new(Vec::new(), 0),
            ids: Ids::new(0),
            last: Mutex::default(),
            stopping,
            #[cfg(feature = "tls")]
            tls: None,
        };
        (world, stop)
    }
}
