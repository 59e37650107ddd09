//! Compressed answers, as a proxy before a gateway makes them, and answers that grow beyond measure
//! when they are decompressed.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::{Compress, Crc, FlushCompress};
use http::HeaderMap;
use http::header::HeaderName;

/// The bytes of a bomb that are compressed at a time.
const PIECE: usize = 1 << 20;

/// Begins to compress one answer.
type Begin = dyn Fn() -> Encoder + Send + Sync;

/// Compresses the next piece of an answer, the last one if the flag is set. Returns what lets the client read all
/// pieces so far.
pub(crate) type Encoder = Box<dyn FnMut(&[u8], bool) -> Vec<u8> + Send>;

/// A way to compress answers ([`GatewayBuilder::compress`](crate::GatewayBuilder::compress)).
#[derive(Clone)]
pub struct Compression {
    name: Arc<str>,
    begin: Arc<Begin>,
    /// Whether an answer may come in more than one piece.
    in_pieces: bool,
}

impl fmt::Debug for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Compression").field(&self.name).finish()
    }
}

impl Compression {
    /// gzip, as RFC 1952 has it.
    pub fn gzip() -> Self {
        Self::in_pieces("gzip", || {
            let mut encoder = Some(GzEncoder::new(Vec::new(), flate2::Compression::fast()));
            move |piece, is_last| {
                let Some(writer) = &mut encoder else { return Vec::new() };
                // Writing to memory cannot fail.
                let _ = writer.write_all(piece).and_then(|()| writer.flush());
                match is_last {
                    true => encoder.take().and_then(|it| it.finish().ok()).unwrap_or_default(),
                    false => std::mem::take(writer.get_mut()),
                }
            }
        })
    }

    /// deflate in the format of zlib, as RFC 9110 wants it.
    pub fn deflate() -> Self {
        Self::new("deflate", |bytes| {
            let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            // Writing to memory cannot fail.
            let _ = encoder.write_all(bytes);
            encoder.finish().unwrap_or_default()
        })
    }

    /// Any other way, with the name that `Content-Encoding` has for it, such as `br` or `zstd`. The
    /// gateway has no encoders for these, so that it stays light; a test brings its own. Answers are
    /// compressed as a whole, so server-sent events are not.
    pub fn new(
        name: impl Into<String>,
        encode: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let encode = Arc::new(encode);
        let begin = move || {
            let encode = Arc::clone(&encode);
            move |bytes: &[u8], _| encode(bytes)
        };
        Self { in_pieces: false, ..Self::in_pieces(name, begin) }
    }

    /// Any other way, for answers of any kind: server-sent events are compressed one by one as they are sent. `begin`
    /// begins an answer. The function that it returns is called for each piece of the answer, and with `true` for the
    /// last one, which may be empty. It returns the bytes with which the client can read everything so far.
    pub fn in_pieces<F>(
        name: impl Into<String>,
        begin: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: FnMut(&[u8], bool) -> Vec<u8> + Send + 'static,
    {
        let begin = move || Box::new(begin()) as Encoder;
        Self { name: name.into().into(), begin: Arc::new(begin), in_pieces: true }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Compresses a whole answer.
    pub(crate) fn encode(&self, bytes: &[u8]) -> Vec<u8> {
        (self.begin)()(bytes, true)
    }

    /// Begins an answer that comes in pieces; `None` if this way takes only whole answers.
    pub(crate) fn encoder(&self) -> Option<Encoder> {
        self.in_pieces.then(|| (self.begin)())
    }

    /// The first of these that a client accepts, by the header of this name.
    pub(crate) fn accepted<'c>(
        ways: &'c [Self],
        headers: &HeaderMap,
        name: &HeaderName,
    ) -> Option<&'c Self> {
        ways.iter().find(|way| {
            let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).any(|one| accepts(one, &way.name))
        })
    }
}

/// Whether one part of `Accept-Encoding` accepts this encoding.
fn accepts(part: &str, name: &str) -> bool {
    let mut words = part.split(';').map(str::trim);
    let is_it = words.next().is_some_and(|word| word.eq_ignore_ascii_case(name));
    let weight = words.find_map(|word| word.strip_prefix("q="));
    // A weight of zero refuses.
    is_it && weight.is_none_or(|weight| weight.parse() != Ok(0.0))
}

/// gzip of the beginning, this number of equal bytes, and the end. It takes memory and time for a
/// thousandth of the bytes.
pub(crate) fn bomb(begin: &[u8], filling: u8, count: u64, end: &[u8]) -> Vec<u8> {
    // The header says that the method is deflate, and nothing else.
    let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut sum = Crc::new();
    let piece = vec![filling; PIECE];
    let packed = Packed::new(&piece);
    let rest = usize::try_from(count % PIECE as u64).unwrap_or_default();
    Packed::new(begin).append(&mut bomb, &mut sum);
    for _ in 0..count / PIECE as u64 {
        packed.append(&mut bomb, &mut sum);
    }
    Packed::new(&piece[..rest]).append(&mut bomb, &mut sum);
    Packed::new(end).append(&mut bomb, &mut sum);
    // An empty last block.
    bomb.extend([3, 0]);
    bomb.extend(sum.sum().to_le_bytes());
    bomb.extend(sum.amount().to_le_bytes());
    bomb
}

/// Bytes in blocks of deflate that do not depend on the bytes before, so that they may be repeated.
struct Packed {
    blocks: Vec<u8>,
    sum: Crc,
}

impl Packed {
    fn new(bytes: &[u8]) -> Self {
        let mut sum = Crc::new();
        sum.update(bytes);
        let mut blocks = Vec::new();
        let mut compress = Compress::new(flate2::Compression::best(), false);
        // All is written when room is left.
        while blocks.len() == blocks.capacity() {
            blocks.reserve(bytes.len() / 64 + 256);
            let read = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
            // Compressing in memory cannot fail.
            let _ = compress.compress_vec(&bytes[read..], &mut blocks, FlushCompress::Sync);
        }
        Self { blocks, sum }
    }

    fn append(&self, bomb: &mut Vec<u8>, sum: &mut Crc) {
        bomb.extend_from_slice(&self.blocks);
        sum.combine(&self.sum);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use http::HeaderValue;
    use http::header::ACCEPT_ENCODING;

    use super::*;

    #[test]
    fn a_bomb_is_gzip_of_what_it_says() {
        for count in [0, 1, 1000, PIECE as u64, 3 * PIECE as u64 + 17] {
            let noise: Vec<u8> = (0..200_000u64).map(|n| crate::fault::scramble(n) as u8).collect();
            let bomb = bomb(&noise, b' ', count, &noise[..700]);
            let mut read = Vec::new();
            GzDecoder::new(&*bomb).read_to_end(&mut read).unwrap();
            let filling = vec![b' '; count as usize];
            assert!(read == [&noise[..], &filling, &noise[..700]].concat(), "{count}");
        }
        assert!(bomb(b"", 0, 1 << 30, b"").len() < 1_200_000);
    }

    #[test]
    fn the_first_encoding_that_is_accepted_is_taken() {
        let ways = [Compression::new("br", <[u8]>::to_vec), Compression::gzip()];
        for (accepted, taken) in [
            ("gzip, deflate, br", Some("br")),
            ("GZIP;q=0.5", Some("gzip")),
            ("br;q=0, gzip", Some("gzip")),
            ("br; q=0.000", None),
            ("brotli, x-gzip", None),
            ("", None),
        ] {
            let value = HeaderValue::from_static(accepted);
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, value)]);
            let way = Compression::accepted(&ways, &headers, &ACCEPT_ENCODING);
            assert_eq!(way.map(|way| &**way.name()), taken, "{accepted}");
        }
        assert!(Compression::accepted(&ways, &HeaderMap::new(), &ACCEPT_ENCODING).is_none());
    }
}
