//! A certificate for 127.0.0.1, with its key in a file, as servers want them.

use std::io;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

/// A certificate, by default for `localhost` and 127.0.0.1, and its key, as files that are removed with this value, and
/// the CA that issued it.
#[derive(Debug)]
pub struct Certificate {
    authority: String,
    directory: TempDir,
}

impl Certificate {
    /// Makes a CA and a certificate.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn new() -> io::Result<Certificate> {
        Certificate::within(&std::env::temp_dir())
    }

    /// Makes a CA and a certificate for this host alone.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn for_host(host: &str) -> io::Result<Certificate> {
        Certificate::of(&[host], &std::env::temp_dir())
    }

    /// Makes a CA whose own certificate is the server's, too, as `openssl req -x509` makes it.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn of_authority() -> io::Result<Certificate> {
        let made = Certificate::new()?;
        let certificate = || {
            let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate()?;
            Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
        };
        let (certificate, key) =
            certificate().map_err(|error: rcgen::Error| io::Error::other(error))?;
        std::fs::write(made.certificate(), &certificate)?;
        std::fs::write(made.key(), key)?;
        Ok(Certificate { authority: certificate, ..made })
    }

    /// Makes a CA and a certificate, with its files in a folder of their own within this one.
    pub(crate) fn within(parent: &Path) -> io::Result<Certificate> {
        Certificate::of(&["localhost", "127.0.0.1"], parent)
    }

    fn of(hosts: &[&str], parent: &Path) -> io::Result<Certificate> {
        let (authority, certificate, key) = make(hosts).map_err(io::Error::other)?;
        let prefix = "clientlet-certificate-";
        let directory = tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?;
        let made = Certificate { authority, directory };
        std::fs::write(made.certificate(), certificate)?;
        std::fs::write(made.key(), key)?;
        Ok(made)
    }

    /// The certificate of the CA, in PEM, which clients are to trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.authority
    }

    /// The file of the certificate, in PEM.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.path().join("certificate.pem")
    }

    /// The file of the certificate's key, in PEM.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.path().join("key.pem")
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Returns the CA's certificate, another certificate of that CA, and the key of the latter.
fn make(hosts: &[&str]) -> Result<(String, String, String), rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Clientlet interop CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate()?;
    let authority = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);

    let mut params =
        CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, "Clientlet interop server");
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?.pem();
    Ok((authority, certificate, key.serialize_pem()))
}
