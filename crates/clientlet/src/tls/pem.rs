//! Certificates and keys as the caller names them: files, or text.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Certificates or a private key in PEM, in a file or as text.
///
/// A file is read when the client is built.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    source: Source,
    name: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
enum Source {
    File(PathBuf),
    Text(Vec<u8>),
}

/// The longest file that is read, in bytes. The roots of a whole system are a quarter of a megabyte.
const LONGEST: u64 = 16 << 20;

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

const CERTIFICATES: &str = "it needs a block that begins with -----BEGIN CERTIFICATE-----";

impl Pem {
    /// The file at this path.
    pub fn file(path: impl Into<PathBuf>) -> Pem {
        Pem { source: Source::File(path.into()), name: None }
    }

    /// Text such as `-----BEGIN CERTIFICATE-----..`.
    pub fn text(text: impl Into<Vec<u8>>) -> Pem {
        Pem { source: Source::Text(text.into()), name: None }
    }

    /// What errors call it, such as a program's own option; otherwise they name the setting.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Pem {
        self.name = Some(name.into());
        self
    }

    /// All certificates. `setting` is what they are given for.
    ///
    /// # Errors
    /// What is wrong, with the setting and the file's name.
    pub(super) fn certificates(
        &self,
        setting: &str,
    ) -> Result<Vec<CertificateDer<'static>>, String> {
        let text = self.read(setting)?;
        let wrong = |why: &str| format!("{} {why}", self.shown(setting));
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let certificates = read.map_err(|error| wrong(&broken(&error)))?;
        if !certificates.is_empty() {
            return Ok(certificates);
        }
        if let Some(why) = binary(&text) {
            return Err(wrong(why));
        }
        if PrivateKeyDer::from_pem_slice(&text).is_ok() {
            return Err(wrong(&format!("holds a private key and no certificate; {CERTIFICATES}")));
        }
        Err(wrong(&format!("holds no certificate; {CERTIFICATES}")))
    }

    /// The first private key.
    ///
    /// # Errors
    /// What is wrong, with the setting and the file's name.
    pub(super) fn key(&self, setting: &str) -> Result<PrivateKeyDer<'static>, String> {
        let text = self.read(setting)?;
        let wrong = |why: &str| format!("{} {why}", self.shown(setting));
        match PrivateKeyDer::from_pem_slice(&text) {
            Ok(key) => Ok(key),
            // The second is how OpenSSL once marked them, below a header that names no encryption.
            Err(_) if contains(&text, "ENCRYPTED PRIVATE KEY") || contains(&text, "4,ENCRYPTED") => {
                Err(wrong(
                    "holds an encrypted private key; decrypt it first, for example with `openssl pkey`",
                ))
            }
            Err(pem::Error::NoItemsFound) => Err(wrong(binary(&text).unwrap_or(
                "holds no private key; it needs a block that begins with -----BEGIN PRIVATE KEY-----",
            ))),
            Err(error) => Err(wrong(&broken(&error))),
        }
    }

    /// The setting and the source in a message.
    pub(super) fn shown(&self, setting: &str) -> String {
        let name = self.name.as_deref().unwrap_or(setting);
        match &self.source {
            Source::File(path) => format!("{name} {path:?}"),
            Source::Text(_) => format!("{name} (text)"),
        }
    }

    fn read(&self, setting: &str) -> Result<Vec<u8>, String> {
        let path = match &self.source {
            Source::Text(text) => return Ok(text.clone()),
            Source::File(path) => path,
        };
        let read = || -> io::Result<Vec<u8>> {
            let mut text = Vec::new();
            File::open(path)?.take(LONGEST + 1).read_to_end(&mut text)?;
            if text.len() as u64 > LONGEST {
                return Err(io::Error::other(format!("it is longer than {LONGEST} bytes")));
            }
            // Editors of other systems put a mark before the first line, which then is none of PEM's.
            if text.starts_with(BYTE_ORDER_MARK) {
                text.drain(..BYTE_ORDER_MARK.len());
            }
            Ok(text)
        };
        read().map_err(|error| format!("{} cannot be read: {error}", self.shown(setting)))
    }
}

/// What is wrong with text that is not PEM throughout. The text itself may be a key and is not shown.
fn broken(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => {
            "holds a block without its -----END line".to_owned()
        }
        pem::Error::IllegalSectionStart { .. } => {
            "has a line that begins with -----BEGIN and does not end with -----".to_owned()
        }
        pem::Error::Base64Decode(_) => "holds a block that is not base64".to_owned(),
        error => format!("is not PEM: {error}"),
    }
}

/// What is wrong with a file that has no text: DER and PKCS #12 begin with a sequence of ASN.1 with a long length.
fn binary(text: &[u8]) -> Option<&'static str> {
    matches!(text, [0x30, 0x80..=0x84, ..])
        .then_some("is binary (DER or PKCS #12) and not PEM; openssl can convert it")
}

fn contains(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).any(|window| window == word.as_bytes())
}

/// Shows a file's path, and no text.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::File(path) => f.debug_tuple("Pem::file").field(path).finish(),
            Source::Text(_) => f.write_str("Pem::text(..)"),
        }
    }
}
