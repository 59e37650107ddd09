//! The gateway in a process of its own, so that its work is not counted as the client's.

use std::env;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use clientlet_gateway::{DocArray, Gateway};
use serde::{Deserialize, Serialize};

/// How the gateway serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Never sleeps while it waits for requests.
    pub(crate) awake: bool,
    /// Takes documents v2 instead of v1.
    pub(crate) is_v2: bool,
}

/// What makes a gateway stay awake, in this program's own arguments.
pub(crate) const AWAKE: &str = "--awake";
/// What makes it take documents v2.
pub(crate) const V2: &str = "--v2";

/// This program again, as a gateway; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct GatewayProcess {
    child: Child,
    /// It serves for as long as this is open, so it ends even if this process is killed.
    stdin: Option<ChildStdin>,
    addresses: Addresses,
}

/// Where it serves what, as URLs.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Addresses {
    pub(crate) http: String,
    pub(crate) websocket: String,
    pub(crate) grpc: String,
}

impl GatewayProcess {
    /// # Errors
    /// The process cannot be started, or says no address.
    pub(crate) fn start(options: Options) -> io::Result<GatewayProcess> {
        let mut child = Command::new(env::current_exe()?)
            .arg("serve")
            .args(options.awake.then_some(AWAKE))
            .args(options.is_v2.then_some(V2))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let mut gateway = GatewayProcess { child, stdin, addresses: Addresses::default() };
        let mut line = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        gateway.addresses = serde_json::from_str(&line).map_err(|error| {
            io::Error::other(format!("the gateway did not say its addresses: {error}"))
        })?;
        Ok(gateway)
    }

    pub(crate) fn addresses(&self) -> &Addresses {
        &self.addresses
    }
}

impl Addresses {
    pub(crate) fn of(gateway: &Gateway) -> Addresses {
        Addresses {
            http: gateway.http_url(),
            websocket: gateway.websocket_url(),
            grpc: gateway.grpc_url(),
        }
    }
}

impl Drop for GatewayProcess {
    fn drop(&mut self) {
        self.stdin = None;
        // It fails only for a process that was waited for already.
        let _ = self.child.wait();
    }
}

/// The gateway's side: says its address, then serves until standard input is closed.
pub(crate) fn run(options: Options) -> Result<(), Box<dyn Error>> {
    // One thread, so that the client has the other core even on small machines.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let docarray = if options.is_v2 { DocArray::V2 } else { DocArray::V1 };
        let builder = Gateway::builder().docarray(docarray).journal(false);
        let gateway = builder.websocket(true).grpc(true).start().await?;
        if options.awake {
            tokio::spawn(stay_awake());
        }
        let addresses = serde_json::to_string(&Addresses::of(&gateway))?;
        writeln!(io::stdout().lock(), "{addresses}")?;
        tokio::task::spawn_blocking(|| io::copy(&mut io::stdin().lock(), &mut io::sink()))
            .await??;
        Ok(())
    })
}

/// Keeps the runtime's only thread from ever waiting for the kernel to wake it.
async fn stay_awake() {
    loop {
        tokio::task::yield_now().await;
    }
}
