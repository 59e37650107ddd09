//! The servers of the system that some tests put before gateways: nginx as an ingress, squid and microsocks
//! as proxies.

use std::env;
use std::path::PathBuf;

use crate::debian;

/// A server of the system.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    /// The Debian package.
    package: &'static str,
    /// The variable that tells tests where the server is.
    pub(crate) variable: &'static str,
    /// Why the tests that need the server are left out.
    pub(crate) missing: &'static str,
}

pub(crate) const SERVERS: [Server; 3] = [
    Server {
        name: "nginx",
        package: "nginx-light",
        variable: "CLIENTLET_NGINX",
        missing: "it is not installed; on Debian it is nginx-light",
    },
    Server {
        name: "squid",
        package: "squid",
        variable: "CLIENTLET_SQUID",
        missing: "it is not installed; on Debian it is squid",
    },
    Server {
        name: "microsocks",
        package: "microsocks",
        variable: "CLIENTLET_MICROSOCKS",
        missing: "it is not installed; on Debian it is microsocks",
    },
];

pub(crate) const HINT: &str = "are Debian's packages in reach? `--no-interop` leaves this step out";

impl Server {
    /// Whether the server is installed or may be installed here. Otherwise the tests that need it are
    /// left out.
    pub(crate) fn is_in_reach(&self) -> bool {
        self.find().is_some() || debian::may_install()
    }

    /// Finds the server. Installs it first if it is missing.
    pub(crate) fn find_or_install(&self) -> Result<PathBuf, String> {
        if let Some(path) = self.find() {
            return Ok(path);
        }
        let Server { name, package, .. } = self;
        eprintln!("{name} was not found; installing it, because CI=true is set");
        debian::install(&[package])?;
        self.find().ok_or_else(|| format!("{package} was installed, but {name} was not found"))
    }

    fn find(&self) -> Option<PathBuf> {
        let paths = env::var_os("PATH").unwrap_or_default();
        // Debian installs servers where only root's PATH leads.
        let sbin = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
        let mut candidates = env::split_paths(&paths).chain(sbin).map(|path| path.join(self.name));
        candidates.find(|candidate| candidate.is_file())
    }
}
