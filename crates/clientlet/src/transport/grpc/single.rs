//! A call of one message and one answer, directly on HTTP/2. tonic's machinery for streams would
//! cost as much as everything else in a small request.

use std::io::Write as _;
use std::pin::pin;
use std::time::Duration;

use ::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, TE};
use ::http::uri::PathAndQuery;
use ::http::{HeaderMap, Method, Request, Uri, Version};
use bytes::{BufMut, Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::Time;
use super::super::multiplex::Claim;
use super::channel::{Channel, ChannelError};
use super::failure;
use super::framing::Answers;
use super::outgoing::Outgoing;
use crate::error::AttemptError;

static ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// The headers that a call sets itself. Headers of the user with these names are ignored.
static RESERVED: [HeaderName; 3] = [
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-message-type"),
    HeaderName::from_static("grpc-status"),
];

/// The flag and the length before a message, in bytes.
const PREFIX: usize = 5;

/// The parts of a call.
#[derive(Debug)]
pub(super) struct Single<'a> {
    pub(super) method: &'static str,
    pub(super) headers: &'a HeaderMap,
    pub(super) message: Bytes,
    /// The time-out, which the gateway is told.
    pub(super) timeout: Option<Duration>,
    pub(super) is_gzipped: bool,
    /// The maximum size of the answer, in bytes.
    pub(super) answer_limit: usize,
}

impl Channel {
    /// Makes a call of one message, as long as `time` allows. Returns the message of the answer.
    ///
    /// # Errors
    /// The end of the call, if it is not an answer with status OK.
    pub(super) async fn single(
        &self,
        single: Single<'_>,
        time: &mut Time<'_>,
    ) -> Result<Bytes, AttemptError> {
        let (claim, answer_limit) = (Claim::default(), single.answer_limit);
        let request = self.request(single, &claim);
        let answer = pin!(async { read(self.send(request).await?, answer_limit).await });
        let answer = self.progress().in_time(time, &claim, answer).await?;
        self.progress().answered(&claim);
        answer.map_err(|cause| failure::caused(&cause, self, claim.give_up()))
    }

    fn request(&self, single: Single<'_>, claim: &Claim) -> Request<Outgoing> {
        let Single { method, headers, message, timeout, is_gzipped, .. } = single;
        let body = Outgoing::of_one(message, is_gzipped, self.progress().clone(), claim.passage());
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = below(self.origin(), method);
        if !headers.is_empty() {
            *request.headers_mut() = headers.clone();
            RESERVED.iter().for_each(|name| drop(request.headers_mut().remove(name)));
        }
        let headers = request.headers_mut();
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        if is_gzipped {
            headers.insert(&ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Some(timeout) = timeout.and_then(grpc_timeout) {
            headers.insert(&TIMEOUT, timeout);
        }
        request
    }
}

/// Returns the URI of a method below an origin, which may have a path.
fn below(origin: &Uri, method: &'static str) -> Uri {
    let mut parts = origin.clone().into_parts();
    let path = origin.path().trim_end_matches('/');
    parts.path_and_query = match path {
        "" => Some(PathAndQuery::from_static(method)),
        path => PathAndQuery::try_from(format!("{path}{method}")).ok(),
    };
    // Both are already parts of URIs.
    Uri::from_parts(parts).unwrap_or_default()
}

/// Writes a time as gRPC does: at most eight digits and a unit, as exact as possible.
fn grpc_timeout(time: Duration) -> Option<HeaderValue> {
    const MOST: u128 = 99_999_999;
    let seconds = u128::from(time.as_secs());
    let units = [
        (time.as_nanos(), 'n'),
        (time.as_micros(), 'u'),
        (time.as_millis(), 'm'),
        (seconds, 'S'),
        (seconds / 60, 'M'),
        (seconds / 3600, 'H'),
    ];
    let (value, unit) = units.into_iter().find(|(value, _)| *value <= MOST)?;
    HeaderValue::try_from(format!("{value}{unit}")).ok()
}

/// Returns a message with its prefix, as a request contains it.
pub(super) fn framed(message: &Bytes, is_gzipped: bool) -> std::io::Result<Bytes> {
    if !is_gzipped {
        let mut framed = BytesMut::with_capacity(PREFIX.saturating_add(message.len()));
        put_prefix(&mut framed, 0, message.len())?;
        framed.put_slice(message);
        return Ok(framed.freeze());
    }
    let mut zipped = GzEncoder::new(vec![0; PREFIX], Compression::default());
    zipped.write_all(message)?;
    let mut framed = zipped.finish()?;
    let length = framed.len() - PREFIX;
    put_prefix(&mut &mut framed[..PREFIX], 1, length)?;
    Ok(framed.into())
}

fn put_prefix(out: &mut impl BufMut, flag: u8, length: usize) -> std::io::Result<()> {
    out.put_u8(flag);
    out.put_u32(u32::try_from(length).map_err(std::io::Error::other)?);
    Ok(())
}

/// Reads an answer and its status.
async fn read(mut answers: Answers, limit: usize) -> Result<Bytes, ChannelError> {
    let mut message = None;
    let mut partial = BytesMut::new();
    // The status comes after the answer.
    while let Some(data) = answers.data().await? {
        if message.is_some() {
            continue;
        }
        if partial.is_empty()
            && let Some(whole) = whole(&data, limit)?
        {
            message = Some(data.slice(whole));
            continue;
        }
        partial.extend_from_slice(&data);
        if let Some(whole) = whole(&partial, limit)? {
            message = Some(std::mem::take(&mut partial).freeze().slice(whole));
        }
    }
    message.ok_or_else(|| ChannelError::Unreadable("the call ended without an answer".to_owned()))
}

/// Returns the range of the first message in these bytes, once it has come.
fn whole(bytes: &[u8], limit: usize) -> Result<Option<std::ops::Range<usize>>, ChannelError> {
    let Some(([flag, length @ ..], rest)) = bytes.split_first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    if *flag != 0 {
        let what = format!("its message has flag {flag}, for a compression that was not announced");
        return Err(ChannelError::Unreadable(what));
    }
    // Saturates if a usize has 16 bits. Such a message is beyond any limit.
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > limit {
        return Err(ChannelError::TooLarge { length, limit });
    }
    Ok((rest.len() >= length).then_some(PREFIX..PREFIX + length))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn a_method_is_below_the_path_of_the_origin() {
        for (origin, uri) in [
            ("http://h:1/", "http://h:1/jina.A/b"),
            ("http://h/c", "http://h/c/jina.A/b"),
            ("http://h/c/d/", "http://h/c/d/jina.A/b"),
        ] {
            assert_eq!(below(&origin.parse().unwrap(), "/jina.A/b"), uri);
        }
    }

    #[test]
    fn a_time_has_at_most_eight_digits() {
        for (time, text) in [
            (Duration::ZERO, "0n"),
            (Duration::from_millis(99), "99000000n"),
            (Duration::from_millis(500), "500000u"),
            (Duration::from_secs(3600), "3600000m"),
            (Duration::from_secs(3_600_000), "3600000S"),
            (Duration::from_secs(60 * 99_999_999), "99999999M"),
        ] {
            assert_eq!(grpc_timeout(time).unwrap(), text);
        }
        assert_eq!(grpc_timeout(Duration::MAX), None);
    }

    #[test]
    fn a_message_is_found_once_it_has_come_whole() {
        let message = Bytes::from_static(b"hello");
        let bytes = framed(&message, false).unwrap();
        for cut in 0..bytes.len() {
            assert!(matches!(whole(&bytes[..cut], 5), Ok(None)), "{cut}");
        }
        let behind = [&bytes[..], b"more"].concat();
        assert_eq!(&behind[whole(&behind, 5).unwrap().unwrap()], b"hello");
        assert!(matches!(
            whole(&bytes[..PREFIX], 4),
            Err(ChannelError::TooLarge { length: 5, limit: 4 })
        ));
        assert!(matches!(whole(b"\x01\0\0\0\0", 4), Err(ChannelError::Unreadable(_))));
    }

    #[test]
    fn a_compressed_message_has_its_flag_and_length() {
        let message = Bytes::from(vec![b'x'; 10_000]);
        let bytes = framed(&message, true).unwrap();
        let length = u32::from_be_bytes(bytes[1..PREFIX].try_into().unwrap());
        assert_eq!((bytes[0], length as usize), (1, bytes.len() - PREFIX));
        assert!(bytes.len() < 200);
        let mut opened = Vec::new();
        GzDecoder::new(&bytes[PREFIX..]).read_to_end(&mut opened).unwrap();
        assert_eq!(opened, message);
    }
}
