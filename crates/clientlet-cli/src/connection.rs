//! Who asks, and from where that is taken: the command line, files, the environment.

use std::convert::Infallible;
use std::fs;
use std::str::FromStr;

use clientlet::{Client, ClientBuilder, RetryPolicy};
use clientlet_gateway::{Documents, Gateway};

use crate::args::{AskArgs, DocArrayChoice, IdentityArgs, RetryArgs};
use crate::report::Failure;

/// A value as it was given; it has no `Debug`, and no message shows it.
#[derive(Clone)]
pub(crate) struct Secret(String);

// Every text is one, so that clap never has to show a value that it refuses.
impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Secret, Infallible> {
        Ok(Secret(text.to_owned()))
    }
}

impl Secret {
    /// The value itself, read from its file if it names one; `place` is how messages call it.
    fn reveal(self, place: &str) -> Result<String, Failure> {
        let Some(file) = self.0.strip_prefix('@') else { return Ok(self.0) };
        let mut text = fs::read_to_string(file)
            .map_err(|error| Failure::bad_input(format!("{place}: cannot read {file}: {error}")))?;
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        Ok(text)
    }
}

/// The client for a question that is no request, its gateway ready if that is waited for.
///
/// # Errors
/// When the URL or an option is wrong, or why the gateway did not get ready.
pub(crate) async fn client(args: AskArgs) -> Result<Client, Failure> {
    let mut builder = Client::builder(&args.url);
    if let Some(timeout) = args.timeout {
        builder = builder.connect_timeout(timeout).attempt_timeout(timeout);
    }
    let client = args.identity.add_to(builder)?.build()?;
    if let Some(patience) = args.wait_ready {
        client.wait_ready(patience).await?;
    }
    Ok(client)
}

/// Starts the gateway that a call without URL is for, with documents v1 unless others are asked for.
///
/// # Errors
/// When it does not start.
pub(crate) async fn embed(choice: DocArrayChoice) -> Result<Gateway, Failure> {
    let generation = match choice {
        DocArrayChoice::V2 => Documents::V2,
        DocArrayChoice::Auto | DocArrayChoice::V1 => Documents::V1,
    };
    let started = Gateway::builder().documents(generation).journal(false).start().await;
    started
        .map_err(|error| Failure::failed(format!("the embedded gateway does not start: {error}")))
}

/// What was said of retries.
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
    /// Adds headers and credentials to a client's settings. What the environment says counts only
    /// where the command line says nothing.
    ///
    /// # Errors
    /// When a file cannot be read or a value has not the form that it must have. Values are not
    /// shown.
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
                // The library would show it, and it may well be a secret that has a colon in it.
                let what = "what stands before its ':' is no name of a header";
                return Err(Failure::bad_input(format!("{place}: {what}")));
            }
            builder = builder.header(name.trim(), value.trim());
        }
        let asks_itself = self.auth.is_none() && self.bearer.is_none();
        let of_environment = |name| if asks_itself { environment(name) } else { None };
        let auth = self.auth.map(|auth| (auth, "--auth"));
        if let Some((auth, place)) = auth.or_else(|| of_environment("CLIENTLET_AUTH")) {
            let (user, password) = split(auth, ':', place, "USER:PASS")?;
            builder = builder.basic_auth(user, password);
        }
        let bearer = self.bearer.map(|bearer| (bearer, "--bearer"));
        if let Some((bearer, place)) = bearer.or_else(|| of_environment("CLIENTLET_BEARER")) {
            builder = builder.bearer_token(bearer.reveal(place)?);
        }
        let mut cookies: Vec<_> = self.cookie.into_iter().map(|it| (it, "--cookie")).collect();
        if cookies.is_empty() {
            cookies.extend(environment("CLIENTLET_COOKIE"));
        }
        for (cookie, place) in cookies {
            let pairs = cookie.reveal(place)?;
            for pair in pairs.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
                let (name, value) = split(Secret(pair.to_owned()), '=', place, "NAME=VALUE")?;
                builder = builder.cookie(name, value);
            }
        }
        Ok(builder)
    }
}

/// Whether this is a token of RFC 9110, section 5.6.2.
fn is_header_name(name: &str) -> bool {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.chars().all(is_token)
}

fn environment(name: &'static str) -> Option<(Secret, &'static str)> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    Some((Secret(value), name))
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
