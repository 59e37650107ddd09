//! nginx as a proxy before a gateway.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

use nix::sys::signal::Signal;

use crate::daemon::{Daemon, Program};
use crate::error::StartError;

const NGINX: Program =
    Program { name: "nginx", variable: "CLIENTLET_NGINX", package: "nginx-light" };

/// An nginx on 127.0.0.1, on one port. Dropping this value ends nginx.
#[derive(Debug)]
pub struct Nginx(Daemon);

impl Nginx {
    /// Starts nginx and waits for at most 30 s until it listens. `listen` follows the address in
    /// the server's `listen` directive (`http2`, `ssl`, or nothing); `server` contains the server's other
    /// directives. Returns `None` if nginx is missing or foreign programs are skipped, and says so
    /// on standard error, past the test harness.
    ///
    /// # Errors
    /// If nginx does not listen in time, or `CLIENTLET_NGINX` names no program.
    pub fn start_or_skip(listen: &str, server: &str) -> Result<Option<Nginx>, StartError> {
        Nginx::start_servers_or_skip(listen, &[server])
    }

    /// The same with several servers on the port, which tell requests apart by their `server_name`.
    ///
    /// # Errors
    /// As [`start_or_skip`](Nginx::start_or_skip).
    pub fn start_servers_or_skip(
        listen: &str,
        servers: &[&str],
    ) -> Result<Option<Nginx>, StartError> {
        let start = |program: &Path, directory: &Path, port: u16| {
            let text = configuration(directory, port, listen, servers);
            fs::write(directory.join("nginx.conf"), text)?;
            let mut command = Command::new(program);
            command.arg("-p").arg(directory).args(["-e", "stderr", "-c", "nginx.conf"]);
            Ok(command)
        };
        Ok(NGINX.start_or_skip(start)?.map(Nginx))
    }

    /// nginx's port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port()
    }

    /// The end of nginx's error log, from level `warn` on.
    #[must_use]
    pub fn log(&self) -> String {
        self.0.log()
    }

    /// The lines of the access log: protocol of the request, status, method and path. nginx writes a
    /// line when a request has ended.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn accesses(&self) -> io::Result<Vec<String>> {
        let log = fs::read_to_string(self.0.directory().join("access"))?;
        Ok(log.lines().map(str::to_owned).collect())
    }

    /// How answers were compressed, in the order of the access log: the request's path, the answer's
    /// `Content-Encoding`, its `grpc-encoding`, each `-` if there is none, and the bytes of its body as nginx sent them.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn codings(&self) -> io::Result<Vec<(String, String, String, usize)>> {
        let log = fs::read_to_string(self.0.directory().join("codings"))?;
        let fields = log.lines().filter_map(|line| {
            let mut fields = line.split(' ').map(str::to_owned);
            let [path, content, grpc] = [fields.next()?, fields.next()?, fields.next()?];
            Some((path, content, grpc, fields.next()?.parse().ok()?))
        });
        Ok(fields.collect())
    }

    /// Makes nginx read its configuration again: new connections go to new worker processes, and the
    /// old ones end when their requests have ended.
    ///
    /// # Errors
    /// If nginx cannot be signalled.
    pub fn reload(&mut self) -> io::Result<()> {
        self.0.signal(Signal::SIGHUP)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master process ends its workers. Without it they would go on.
        self.0.end();
    }
}

fn configuration(directory: &Path, port: u16, listen: &str, servers: &[&str]) -> String {
    let at = directory.display();
    let server = |server: &&str| {
        format!(
            "server {{
        listen 127.0.0.1:{port} {listen};
        {server}
    }}"
        )
    };
    let servers: Vec<String> = servers.iter().map(server).collect();
    let servers = servers.join("\n    ");
    format!(
        "daemon off;
worker_processes 1;
error_log stderr warn;
pid {at}/pid;
events {{ worker_connections 1024; }}
http {{
    log_format short '$server_protocol $status $request_method $uri';
    access_log {at}/access short;
    log_format codings '$uri $sent_http_content_encoding $sent_http_grpc_encoding $body_bytes_sent';
    access_log {at}/codings codings;
    client_max_body_size 0;
    client_body_temp_path {at}/body;
    proxy_temp_path {at}/proxy;
    fastcgi_temp_path {at}/fastcgi;
    uwsgi_temp_path {at}/uwsgi;
    scgi_temp_path {at}/scgi;
    # For servers that say `limit_req zone=twenty;`: a request in 50 ms.
    limit_req_zone $server_port zone=twenty:1m rate=20r/s;
    {servers}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn it_serves_until_it_is_dropped_and_leaves_nothing_behind() {
        let server = "location / { return 200 'hello'; }";
        let Some(mut nginx) = Nginx::start_or_skip("", server).unwrap() else { return };
        nginx.reload().unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", nginx.port())).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("hello"), "{answer}");
        assert_eq!(nginx.accesses().unwrap(), ["HTTP/1.0 200 GET /"]);
        let none = || "-".to_owned();
        assert_eq!(nginx.codings().unwrap(), [("/".to_owned(), none(), none(), 5)]);
        let (port, directory) = (nginx.port(), nginx.0.directory().to_owned());
        drop(nginx);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err() && !directory.exists());
    }

    #[test]
    fn unreadable_configuration_is_an_error() {
        if NGINX.find().is_none() {
            return;
        }
        let error = Nginx::start_or_skip("", "no such thing;").unwrap_err();
        assert!(error.to_string().contains("unknown directive"), "{error}");
    }
}
