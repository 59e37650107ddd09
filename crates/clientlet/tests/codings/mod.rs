//! The ways in which servers compress answers.

use std::io::{self, Write};

use brotli::CompressorWriter;
use clientlet_gateway::Compression;
use flate2::write::{DeflateEncoder, ZlibEncoder};
use zstd_safe::zstd_sys::ZSTD_EndDirective as Directive;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

/// Each way with a name for messages. Their names in `Content-Encoding` are those that the client asks for.
pub(crate) fn all() -> [(&'static str, Compression); 5] {
    [
        ("gzip", Compression::gzip()),
        ("deflate", pieces("deflate", || ZlibEncoder::new(Vec::new(), level()))),
        ("bare deflate", pieces("deflate", || DeflateEncoder::new(Vec::new(), level()))),
        ("br", pieces("br", || CompressorWriter::new(Vec::new(), 4096, 5, 22))),
        ("zstd", pieces("zstd", Zstd::new)),
    ]
}

fn level() -> flate2::Compression {
    flate2::Compression::default()
}

/// An encoder that writes to memory.
trait Writer: Write + Send + 'static {
    fn written(&mut self) -> &mut Vec<u8>;

    /// Returns what has been written, and the end.
    fn end(self) -> Vec<u8>;
}

fn pieces<W: Writer>(name: &str, begin: fn() -> W) -> Compression {
    Compression::in_pieces(name, move || {
        let mut writer = Some(begin());
        move |piece: &[u8], is_last| {
            let mut current = writer.take().expect("nothing follows the last piece");
            current.write_all(piece).unwrap();
            if is_last {
                return current.end();
            }
            current.flush().unwrap();
            std::mem::take(writer.insert(current).written())
        }
    })
}

impl Writer for ZlibEncoder<Vec<u8>> {
    fn written(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }

    fn end(self) -> Vec<u8> {
        self.finish().unwrap()
    }
}

impl Writer for DeflateEncoder<Vec<u8>> {
    fn written(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }

    fn end(self) -> Vec<u8> {
        self.finish().unwrap()
    }
}

impl Writer for CompressorWriter<Vec<u8>> {
    fn written(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }

    fn end(self) -> Vec<u8> {
        self.into_inner()
    }
}

/// zstd with a checksum.
struct Zstd {
    context: CCtx<'static>,
    written: Vec<u8>,
}

impl Zstd {
    fn new() -> Zstd {
        let mut context = CCtx::create();
        context.set_parameter(CParameter::ChecksumFlag(true)).unwrap();
        Zstd { context, written: Vec::new() }
    }

    fn put(&mut self, bytes: &[u8], directive: Directive) {
        let (mut input, mut room) = (InBuffer::around(bytes), Vec::with_capacity(64 << 10));
        loop {
            room.clear();
            let mut out = OutBuffer::around(&mut room);
            let left = self.context.compress_stream2(&mut out, &mut input, directive).unwrap();
            self.written.extend_from_slice(&room);
            if input.pos == bytes.len() && left == 0 {
                return;
            }
        }
    }
}

impl Write for Zstd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes, Directive::ZSTD_e_flush);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Writer for Zstd {
    fn written(&mut self) -> &mut Vec<u8> {
        &mut self.written
    }

    fn end(mut self) -> Vec<u8> {
        self.put(b"", Directive::ZSTD_e_end);
        self.written
    }
}

/// The name of a way in `Content-Encoding`.
pub(crate) fn coding(way: &'static str) -> &'static str {
    if way == "bare deflate" { "deflate" } else { way }
}

/// Compresses all of an answer and changes what came of it.
pub(crate) fn damaged(
    way: &'static str,
    change: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
) -> Compression {
    Compression::new(coding(way), move |bytes| change(compressed(way, bytes)))
}

/// Like `damaged`, but changes only the answers to posted requests.
pub(crate) fn damaged_answers(
    way: &'static str,
    change: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
) -> Compression {
    Compression::new(coding(way), move |bytes| {
        let is_answer = bytes.windows(9).any(|part| part == b"requestId");
        let whole = compressed(way, bytes);
        if is_answer { change(whole) } else { whole }
    })
}

/// Compresses bytes in this way.
pub(crate) fn compressed(way: &str, bytes: &[u8]) -> Vec<u8> {
    fn whole(mut writer: impl Writer, bytes: &[u8]) -> Vec<u8> {
        writer.write_all(bytes).unwrap();
        writer.end()
    }
    match way {
        "gzip" => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), level());
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        "deflate" => whole(ZlibEncoder::new(Vec::new(), level()), bytes),
        "bare deflate" => whole(DeflateEncoder::new(Vec::new(), level()), bytes),
        "br" => whole(CompressorWriter::new(Vec::new(), 4096, 5, 22), bytes),
        _ => whole(Zstd::new(), bytes),
    }
}
