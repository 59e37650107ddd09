//! Makes clients from the command line: headers and credentials come from options, files and the
//! environment.

use std::env::VarError;
use std::path::PathBuf;

use clientlet::{Client, ClientBuilder, Pem, RetryPolicy, Tls};
use clientlet_gateway::{DocArray, Gateway};

use crate::args::{AskArgs, DocArrayChoice, IdentityArgs, RetryArgs, TlsArgs};
use crate::hint::Task;
use crate::report::Failure;
use crate::secret::Secret;

/// Makes the client for a question to a gateway. With `--wait-ready` it waits until the gateway is
/// ready.
///
/// # Errors
/// When the URL or an option is wrong, or when the gateway does not get ready.
pub(crate) async fn client(args: AskArgs) -> Result<Client, Failure> {
    let mut builder = Client::builder(&args.url);
    if let Some(timeout) = args.timeout {
        builder = builder.connect_timeout(timeout).attempt_timeout(timeout);
    }
    if let Some(timeout) = args.idle_timeout {
        builder = builder.idle_timeout(timeout);
    }
    if let Some(limit) = args.answer_limit {
        builder = builder.answer_limit(limit);
    }
    let client = args.identity.add_to(builder)?.build();
    let client = client.map_err(|error| Failure::of(&error, Task::Ask))?;
    if let Some(patience) = args.wait_ready {
        let ready = client.wait_ready(patience).await;
        ready.map_err(|error| Failure::of(&error, Task::Ask))?;
    }
    Ok(client)
}

/// Starts the embedded gateway for a call without a URL, by default with documents v1.
///
/// # Errors
/// When the gateway does not start.
pub(crate) async fn embed(choice: DocArrayChoice) -> Result<Gateway, Failure> {
    let docarray = match choice {
        DocArrayChoice::V2 => DocArray::V2,
        DocArrayChoice::Auto | DocArrayChoice::V1 => DocArray::V1,
    };
    let started = Gateway::builder().docarray(docarray).journal(false).start().await;
    started
        .map_err(|error| Failure::failed(format!("the embedded gateway does not start: {error}")))
}

/// The retry policy of the command line.
pub(crate) fn retry_policy(args: &RetryArgs) -> RetryPolicy {
    let mut policy = RetryPolicy::new();
    if let Some(attempts) = args.max_attempts {
        policy = policy.max_attempts(attempts);
    }
    if let Some(wait) = args.initial_backoff {
        policy = policy.initial_backoff(wait);
    }
    if let Some(wait) = args.max_backoff {
        policy = policy.max_backoff(wait);
    }
    if let Some(factor) = args.backoff_multiplier {
        policy = policy.backoff_multiplier(factor);
    }
    policy
}

impl IdentityArgs {
    /// The files from which values are read, with the options that name the files.
    ///
    /// # Errors
    /// When a variable is not UTF-8.
    pub(crate) fn files(&self) -> Result<Vec<(PathBuf, &'static str)>, Failure> {
        let mut named: Vec<(&Secret, _)> = Vec::new();
        named.extend(self.header.iter().map(|secret| (secret, "--header")));
        named.extend(self.auth.iter().map(|secret| (secret, "--auth")));
        named.extend(self.bearer.iter().map(|secret| (secret, "--bearer")));
        named.extend(self.cookie.iter().map(|secret| (secret, "--cookie")));
        named.extend(self.connection.proxy.iter().map(|secret| (secret, "--proxy")));
        let variables = ["CLIENTLET_AUTH", "CLIENTLET_BEARER", "CLIENTLET_COOKIE"].map(environment);
        let variables = variables.into_iter().collect::<Result<Vec<_>, _>>()?;
        named.extend(variables.iter().flatten().map(|(secret, name)| (secret, *name)));
        let file =
            |(secret, place): (&Secret, _)| secret.file().map(|file| (PathBuf::from(file), place));
        let secrets = named.into_iter().filter_map(file);
        Ok(secrets.chain(self.tls.files()).collect())
    }

    /// Adds headers and credentials to a client's settings. Values of the environment count only if the
    /// command line has none.
    ///
    /// # Errors
    /// When a file cannot be read or a value has the wrong form. Values are not shown.
    pub(crate) fn add_to(self, mut builder: ClientBuilder) -> Result<ClientBuilder, Failure> {
        let of_many = self.header.len() > 1;
        for (index, header) in self.header.into_iter().enumerate() {
            let place = if of_many {
                format!("--header (number {})", index + 1)
            } else {
                "--header".into()
            };
            let (name, value) = split(header, ':', &place, "'NAME: VALUE'")?;
            if !is_header_name(name.trim()) {
                // The library would show the name, which may be a secret that contains a colon.
                let what = "the text before its ':' is not a header's name";
                return Err(Failure::bad_input(format!("{place}: {what}")));
            }
            builder = builder.header(name.trim(), value.trim());
        }
        let asks_itself = self.auth.is_none() && self.bearer.is_none();
        let of_environment = |name| if asks_itself { environment(name) } else { Ok(None) };
        let auth = self.auth.map(|auth| (auth, "--auth"));
        if let Some((auth, place)) = or(auth, || of_environment("CLIENTLET_AUTH"))? {
            let (user, password) = split(auth, ':', place, "USER:PASS")?;
            builder = builder.basic_auth(user, password);
        }
        let bearer = self.bearer.map(|bearer| (bearer, "--bearer"));
        if let Some((bearer, place)) = or(bearer, || of_environment("CLIENTLET_BEARER"))? {
            builder = builder.bearer_token(bearer.reveal(place)?);
        }
        let mut cookies: Vec<_> = self.cookie.into_iter().map(|it| (it, "--cookie")).collect();
        if cookies.is_empty() {
            cookies.extend(environment("CLIENTLET_COOKIE")?);
        }
        for (cookie, place) in cookies {
            let pairs = cookie.reveal(place)?;
            for pair in pairs.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
                let (name, value) = split(Secret::new(pair), '=', place, "NAME=VALUE")?;
                builder = builder.cookie(name, value);
            }
        }
        if let Some(timeout) = self.connection.connect_timeout {
            builder = builder.connect_timeout(timeout);
        }
        builder = match self.connection.proxy.map(|proxy| proxy.reveal("--proxy")).transpose()? {
            None => builder.proxy_from_env(),
            Some(none) if none == "none" => builder,
            Some(url) => builder.proxy(url),
        };
        Ok(builder.compression(self.compressed).tls(self.tls.settings()))
    }
}

impl TlsArgs {
    /// The files, with the options that name them.
    fn files(&self) -> impl Iterator<Item = (PathBuf, &'static str)> {
        let ca = self.ca.iter().map(|file| (file, "--ca"));
        let cert = self.cert.iter().map(|file| (file, "--cert"));
        let key = self.key.iter().map(|file| (file, "--key"));
        ca.chain(cert).chain(key).map(|(file, option)| (file.clone(), option))
    }

    fn settings(self) -> Tls {
        let pem = |file: PathBuf, option: &str| Pem::file(file).named(option);
        let mut tls = Tls::new().danger_accept_invalid_certs(self.insecure);
        for file in self.ca {
            tls = tls.ca(pem(file, "--ca"));
        }
        if let (Some(cert), Some(key)) = (self.cert, self.key) {
            tls = tls.client_certificate(pem(cert, "--cert"), pem(key, "--key"));
        }
        match self.server_name {
            Some(name) => tls.server_name(name),
            None => tls,
        }
    }
}

/// Whether this is a token by RFC 9110, section 5.6.2.
fn is_header_name(name: &str) -> bool {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.chars().all(is_token)
}

/// A secret, and its name in messages.
type Named = (Secret, &'static str);

fn or(
    given: Option<Named>,
    other: impl FnOnce() -> Result<Option<Named>, Failure>,
) -> Result<Option<Named>, Failure> {
    given.map_or_else(other, |given| Ok(Some(given)))
}

/// Reads a variable. Returns `None` if it is unset or empty.
///
/// # Errors
/// When the variable is not UTF-8. If it were ignored, requests would go out without credentials.
fn environment(name: &'static str) -> Result<Option<Named>, Failure> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some((Secret::new(value), name))),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => {
            Err(Failure::bad_input(format!("the variable {name} is not UTF-8")))
        }
    }
}

fn split(
    secret: Secret,
    separator: char,
    place: &str,
    form: &str,
) -> Result<(String, String), Failure> {
    let text = secret.reveal(place)?;
    match text.split_once(separator) {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(Failure::bad_input(format!("{place} has no {separator:?}; write {form}"))),
    }
}
