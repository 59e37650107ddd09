//! A running gateway: `interop/gateway.py` as a child process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use tempfile::TempDir;

use crate::certificate::Certificate;
use crate::environment::Environment;
use crate::error::StartError;
use crate::script::Script;

/// The longest time that a gateway may take to end after SIGTERM. Without load all of them end
/// within half a second.
const GRACE: Duration = Duration::from_secs(3);
/// The time limit for the parent of a killed process to notice its end.
const DEAD_WITHIN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// The gateway's protocols, its executors and its settings.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Some of `"http"`, `"websocket"` and `"grpc"`. Each protocol gets a free port of its own.
    pub protocols: &'static [&'static str],
    /// The names of the executors, which run in sequence.
    pub executors: &'static [&'static str],
    /// The number of replicas of each executor.
    pub replicas: u32,
    /// The time limit of the gateway for an executor; `None` for no limit.
    pub timeout_send: Option<Duration>,
    /// Whether executors also bind a default endpoint, which takes the requests to every unknown endpoint.
    pub with_default: bool,
    /// The number of times that the gateway itself retries an executor; `None` for Jina's default.
    pub retries: Option<u32>,
    /// The maximum age of a gRPC connection, and the time that it may live on after its GOAWAY; `None`
    /// for no limit.
    pub connection_age: Option<(Duration, Duration)>,
    /// How answers over gRPC are compressed, asked for or not: `"gzip"` or `"deflate"`.
    pub compression: Option<&'static str>,
    /// Whether executors also bind endpoints without a slash, with a space and with letters beyond ASCII.
    pub odd_names: bool,
    /// Whether the executor is served directly, without a gateway: only 3.33.1, over HTTP or gRPC.
    pub deployment: bool,
    /// Whether all protocols are spoken over TLS, with a certificate that is made for this gateway.
    pub tls: bool,
    /// The port of 127.0.0.1 to which the gateway and the executors send their spans, in OTLP over gRPC
    /// ([`OtlpReceiver::grpc_port`](crate::OtlpReceiver::grpc_port)); `None` if they do not trace. Only 3.33.1.
    /// If they do, executors also bind `/baggage`, which puts the baggage of the request into tags.
    pub traces: Option<u16>,
}

impl Default for Options {
    /// One executor behind HTTP.
    fn default() -> Self {
        Self {
            protocols: &["http"],
            executors: &["executor0"],
            replicas: 1,
            timeout_send: None,
            with_default: false,
            retries: None,
            connection_age: None,
            compression: None,
            odd_names: false,
            deployment: false,
            tls: false,
            traces: None,
        }
    }
}

/// A real Jina gateway with its executors on 127.0.0.1. Dropping this value stops all of them.
#[derive(Debug)]
pub struct RealGateway {
    environment: Environment,
    script: Script,
    ports: BTreeMap<String, u16>,
    executors: BTreeMap<String, i32>,
    /// The process id of the gateway, which serves the ports.
    served_by: Option<i32>,
    /// The gateway's temporary folder. `gateway.py` removes the folder when it ends. Dropping this
    /// field removes the folder too, in case the process had to be killed.
    scratch: TempDir,
    certificate: Option<Certificate>,
}

impl RealGateway {
    /// Starts a gateway and waits, at most 60 s, until it is ready.
    ///
    /// # Errors
    /// [`StartError::NotInstalled`] if the environment is missing or left out; another kind if the
    /// gateway does not get ready.
    pub fn start(environment: Environment, options: Options) -> Result<Self, StartError> {
        Self::start_with(&environment.python_or_missing()?, environment, options)
    }

    /// Starts a gateway like [`start`](Self::start). Returns `None` if the test may be skipped, and
    /// writes that to standard error, past the test harness. The crate's page says when a test may be
    /// skipped.
    ///
    /// # Errors
    /// The errors of [`start`](Self::start), unless the test is skipped.
    pub fn start_or_skip(
        environment: Environment,
        options: Options,
    ) -> Result<Option<Self>, StartError> {
        let python = environment.python_or_skip("real gateway")?;
        python.map(|python| Self::start_with(&python, environment, options)).transpose()
    }

    /// The gateway's environment.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// The gateway's port on 127.0.0.1 for a protocol.
    ///
    /// # Panics
    /// If the gateway was started without that protocol.
    #[must_use]
    pub fn port(&self, protocol: &str) -> u16 {
        *self.ports.get(protocol).expect("a protocol that the gateway was started with")
    }

    /// The gateway's address for a protocol, with the scheme `http`, `ws` or `grpc`, or over TLS `https`,
    /// `wss` or `grpcs`.
    ///
    /// # Panics
    /// If the gateway was started without that protocol.
    #[must_use]
    pub fn url(&self, protocol: &str) -> String {
        let scheme = if protocol == "websocket" { "ws" } else { protocol };
        let s = if self.certificate.is_some() { "s" } else { "" };
        format!("{scheme}{s}://127.0.0.1:{}", self.port(protocol))
    }

    /// The certificate of the CA, in PEM, that clients of a gateway over TLS are to trust.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.certificate.as_ref().map(Certificate::ca_pem)
    }

    /// The end of the gateway's standard error.
    #[must_use]
    pub fn log(&self) -> String {
        self.script.log()
    }

    /// The temporary folder that the gateway and its executors use. It is removed when the gateway
    /// ends.
    #[must_use]
    pub fn temporary_folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Kills every replica of every executor with SIGKILL and waits until they are gone. The
    /// gateway itself runs on.
    ///
    /// # Errors
    /// If a process cannot be signalled, or does not end.
    pub fn kill_executor(&mut self) -> io::Result<()> {
        // The ids are taken out, since other processes may get them after these have ended.
        for pid in std::mem::take(&mut self.executors).into_values().map(Pid::from_raw) {
            match kill(pid, Signal::SIGKILL) {
                Ok(()) => wait_until_gone(pid, DEAD_WITHIN)?,
                Err(Errno::ESRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Starts dead executors again on their old ports. The gateway reaches them when this returns.
    ///
    /// # Errors
    /// The errors of [`start`](Self::start). If the executors do not get ready, the gateway ends.
    pub fn revive_executor(&mut self) -> Result<(), StartError> {
        self.revive()
    }

    /// Ends the gateway's process as an orchestrator does: with SIGTERM, and after 3 s with SIGKILL,
    /// because under load some releases go on serving open connections. The executors keep running.
    ///
    /// # Errors
    /// If the process cannot be signalled, or does not end.
    pub fn stop_gateway(&mut self) -> io::Result<()> {
        // The id is taken out, since another process may get it after this one has ended.
        let Some(pid) = self.served_by.take().map(Pid::from_raw) else { return Ok(()) };
        kill(pid, Signal::SIGTERM)?;
        if wait_until_gone(pid, GRACE).is_ok() {
            return Ok(());
        }
        match kill(pid, Signal::SIGKILL) {
            Ok(()) => wait_until_gone(pid, DEAD_WITHIN),
            Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Starts the gateway again on its old ports. The gateway is ready when this returns.
    ///
    /// # Errors
    /// The errors of [`start`](Self::start).
    pub fn revive_gateway(&mut self) -> Result<(), StartError> {
        self.revive()
    }

    /// Restarts all processes that are dead.
    fn revive(&mut self) -> Result<(), StartError> {
        self.script.signal(Signal::SIGUSR1)?;
        let ReadyLine { pids, .. } = self.script.ready()?;
        (self.executors, self.served_by) = (pids.executors, pids.gateway);
        Ok(())
    }

    fn start_with(
        python: &Path,
        environment: Environment,
        options: Options,
    ) -> Result<Self, StartError> {
        match Self::start_once(python, environment, options) {
            // Another test may have taken a port that was free when it was picked.
            Err(StartError::Failed { .. }) => Self::start_once(python, environment, options),
            other => other,
        }
    }

    fn start_once(
        python: &Path,
        environment: Environment,
        options: Options,
    ) -> Result<Self, StartError> {
        let scratch = tempfile::Builder::new().prefix("clientlet-gateway-").tempdir()?;
        let made = options.tls.then(|| Certificate::within(scratch.path()));
        let certificate = made.transpose()?;
        let mut script = Script::start(python, "gateway.py", |command| {
            command.env("CLIENTLET_SCRATCH", scratch.path()).args(arguments(options));
            command.args(certificate.iter().flat_map(tls_arguments));
        })?;
        let ReadyLine { ports, pids } = script.ready()?;
        let Pids { gateway: served_by, executors } = pids;
        Ok(Self { environment, script, ports, executors, served_by, scratch, certificate })
    }
}

/// The line that `gateway.py` prints when it is ready.
#[derive(Deserialize)]
struct ReadyLine {
    ports: BTreeMap<String, u16>,
    pids: Pids,
}

#[derive(Deserialize)]
struct Pids {
    gateway: Option<i32>,
    executors: BTreeMap<String, i32>,
}

/// Below the ports that kernels assign by themselves. A dead executor must restart on its old port, which
/// no other process may get in the meantime.
const PORTS: &str = "--port-range=10000-32000";

fn arguments(options: Options) -> Vec<String> {
    let Options {
        protocols,
        executors,
        replicas,
        timeout_send,
        with_default,
        retries,
        connection_age,
        compression,
        odd_names,
        deployment,
        // The files are made when the gateway starts.
        tls: _,
        traces,
    } = options;
    // Without `--port` every protocol gets a free port.
    let mut arguments = vec![
        PORTS.to_owned(),
        format!("--protocol={}", protocols.join(",")),
        format!("--executors={}", executors.join(",")),
        format!("--replicas={replicas}"),
    ];
    if let Some(timeout) = timeout_send {
        arguments.push(format!("--timeout-send={}", timeout.as_millis()));
    }
    if let Some(retries) = retries {
        arguments.push(format!("--retries={retries}"));
    }
    let mut of_grpc = Vec::new();
    if let Some((age, grace)) = connection_age {
        of_grpc.push(("grpc.max_connection_age_ms", age.as_millis()));
        of_grpc.push(("grpc.max_connection_age_grace_ms", grace.as_millis()));
    }
    if let Some(name) = compression {
        // gRPC's numbers for them.
        let number = if name == "deflate" { 1 } else { 2 };
        of_grpc.push(("grpc.default_compression_algorithm", number));
    }
    if !of_grpc.is_empty() {
        let of_grpc = of_grpc.iter().map(|(name, value)| format!("\"{name}\":{value}"));
        let of_grpc = of_grpc.collect::<Vec<_>>().join(",");
        arguments.push(format!("--grpc-server-options={{{of_grpc}}}"));
    }
    if with_default {
        arguments.push("--with-default".to_owned());
    }
    if odd_names {
        arguments.push("--odd-names".to_owned());
    }
    if deployment {
        arguments.push("--deployment".to_owned());
    }
    if let Some(port) = traces {
        arguments.push(format!("--traces-port={port}"));
    }
    arguments
}

fn tls_arguments(certificate: &Certificate) -> [OsString; 4] {
    let (file, key) = (certificate.certificate(), certificate.key());
    ["--ssl-certfile".into(), file.into(), "--ssl-keyfile".into(), key.into()]
}

fn wait_until_gone(pid: Pid, within: Duration) -> io::Result<()> {
    let signalled = Instant::now();
    while kill(pid, None) != Err(Errno::ESRCH) {
        if signalled.elapsed() > within {
            let text = format!("process {pid} still runs after it was signalled");
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_arguments() {
        let options = Options {
            protocols: &["http", "grpc"],
            executors: &["a", "b"],
            replicas: 2,
            timeout_send: Some(Duration::from_millis(1500)),
            with_default: true,
            retries: Some(0),
            connection_age: Some((Duration::from_secs(1), Duration::from_secs(3))),
            compression: Some("gzip"),
            odd_names: true,
            deployment: true,
            tls: false,
            traces: Some(4317),
        };
        let expected = [
            PORTS,
            "--protocol=http,grpc",
            "--executors=a,b",
            "--replicas=2",
            "--timeout-send=1500",
            "--retries=0",
            "--grpc-server-options={\"grpc.max_connection_age_ms\":1000,\
             \"grpc.max_connection_age_grace_ms\":3000,\
             \"grpc.default_compression_algorithm\":2}",
            "--with-default",
            "--odd-names",
            "--deployment",
            "--traces-port=4317",
        ];
        assert_eq!(arguments(options), expected);
    }

    #[test]
    fn the_line_of_a_gateway_is_understood() {
        let ready = r#"{"ready": true, "jina": "3.33.1", "ports": {"http": 41001},
            "pids": {"main": 1, "gateway": 2, "executors": {"executor0/rep-0": 3}, "other": {}}}"#;
        let line: ReadyLine = serde_json::from_str(ready).unwrap();
        assert_eq!((line.ports["http"], line.pids.executors["executor0/rep-0"]), (41001, 3));
        assert_eq!(line.pids.gateway, Some(2));
    }
}
