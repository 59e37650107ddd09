//! Runs the gateway in a process of its own, so that its CPU time is not counted as the client's.

use std::env;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use clientlet_gateway::{DocArray, Gateway, GatewayBuilder, Tls};
use serde::{Deserialize, Serialize};

/// The options of the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Whether it stays awake while it waits for requests.
    pub(crate) awake: bool,
    /// Whether it takes documents v2 instead of v1.
    pub(crate) is_v2: bool,
    /// Whether it speaks TLS on all its ports.
    pub(crate) has_tls: bool,
}

/// The argument that keeps a gateway awake.
pub(crate) const AWAKE: &str = "--awake";
/// The argument that makes a gateway take documents v2.
pub(crate) const V2: &str = "--v2";
/// The argument that makes a gateway speak TLS.
pub(crate) const TLS: &str = "--tls";

/// Another process of this program that runs as a gateway. The process ends when this value is
/// dropped.
#[derive(Debug)]
pub(crate) struct GatewayProcess {
    child: Child,
    /// The gateway serves while this pipe is open, so it ends even if our process is killed.
    stdin: Option<ChildStdin>,
    addresses: Addresses,
}

/// The URLs of the gateway, and how it is trusted.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Addresses {
    pub(crate) http: String,
    pub(crate) websocket: String,
    pub(crate) grpc: String,
    /// The CA of its certificate, in PEM, if it speaks TLS.
    pub(crate) ca: Option<String>,
}

impl GatewayProcess {
    /// # Errors
    /// If the process cannot be started or prints no addresses.
    pub(crate) fn start(options: Options) -> io::Result<GatewayProcess> {
        let mut child = Command::new(env::current_exe()?)
            .arg("serve")
            .args(options.awake.then_some(AWAKE))
            .args(options.is_v2.then_some(V2))
            .args(options.has_tls.then_some(TLS))
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
            io::Error::other(format!("the gateway did not print its addresses: {error}"))
        })?;
        Ok(gateway)
    }

    pub(crate) fn addresses(&self) -> &Addresses {
        &self.addresses
    }
}

impl Addresses {
    pub(crate) fn of(gateway: &Gateway, tls: Option<&Tls>) -> Addresses {
        Addresses {
            http: gateway.http_url(),
            websocket: gateway.websocket_url(),
            grpc: gateway.grpc_url(),
            ca: tls.map(|tls| tls.ca_pem().to_owned()),
        }
    }
}

impl Drop for GatewayProcess {
    fn drop(&mut self) {
        self.stdin = None;
        // Waiting fails only if the process was waited for before.
        let _ = self.child.wait();
    }
}

/// The gateway's process: prints its addresses, then serves until standard input is closed.
pub(crate) fn run(options: Options) -> Result<(), Box<dyn Error>> {
    // One thread, so that the client has the other core even on small machines.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let docarray = if options.is_v2 { DocArray::V2 } else { DocArray::V1 };
        let tls = options.has_tls.then(Tls::self_signed);
        let builder = Gateway::builder().docarray(docarray).journal(false);
        let builder = builder.websocket(true).grpc(true);
        let builder = tls.iter().cloned().fold(builder, GatewayBuilder::tls);
        let gateway = builder.start().await?;
        if options.awake {
            tokio::spawn(stay_awake());
        }
        let addresses = serde_json::to_string(&Addresses::of(&gateway, tls.as_ref()))?;
        writeln!(io::stdout().lock(), "{addresses}")?;
        tokio::task::spawn_blocking(|| io::copy(&mut io::stdin().lock(), &mut io::sink()))
            .await??;
        Ok(())
    })
}

/// Keeps the runtime's only thread busy, so that it never waits for the kernel to wake it.
async fn stay_awake() {
    loop {
        tokio::task::yield_now().await;
    }
}
