use brotli::enc::BrotliEncoderParams;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use zstd_safe::zstd_sys::ZSTD_EndDirective as Directive;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

use super::*;

/// Compresses parts, each of which the receiver can read before the next one is sent.
type Compress = fn(&[&[u8]]) -> Vec<u8>;

/// The ways in which servers compress.
const WAYS: [(Coding, Compress); 5] = [
    (Coding::Gzip, gzip),
    (Coding::Deflate, zlib),
    (Coding::Deflate, bare),
    (Coding::Brotli, br),
    (Coding::Zstd, zstd),
];

fn flushed<W: std::io::Write>(mut encoder: W, parts: &[&[u8]]) -> W {
    for part in parts {
        encoder.write_all(part).unwrap();
        encoder.flush().unwrap();
    }
    encoder
}

fn gzip(parts: &[&[u8]]) -> Vec<u8> {
    flushed(GzEncoder::new(Vec::new(), flate2::Compression::default()), parts).finish().unwrap()
}

fn zlib(parts: &[&[u8]]) -> Vec<u8> {
    flushed(ZlibEncoder::new(Vec::new(), flate2::Compression::default()), parts).finish().unwrap()
}

fn bare(parts: &[&[u8]]) -> Vec<u8> {
    let encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    flushed(encoder, parts).finish().unwrap()
}

fn br(parts: &[&[u8]]) -> Vec<u8> {
    br_with(&BrotliEncoderParams { quality: 5, ..BrotliEncoderParams::default() }, parts)
}

fn br_with(params: &BrotliEncoderParams, parts: &[&[u8]]) -> Vec<u8> {
    flushed(brotli::CompressorWriter::with_params(Vec::new(), 4096, params), parts).into_inner()
}

fn zstd(parts: &[&[u8]]) -> Vec<u8> {
    zstd_with(&[CParameter::ChecksumFlag(true)], parts)
}

fn zstd_with(parameters: &[CParameter], parts: &[&[u8]]) -> Vec<u8> {
    let mut context = CCtx::create();
    for parameter in parameters {
        context.set_parameter(*parameter).unwrap();
    }
    let mut compressed = Vec::new();
    let ends = parts.iter().map(|part| (*part, Directive::ZSTD_e_flush));
    for (part, end) in ends.chain([(&[][..], Directive::ZSTD_e_end)]) {
        let mut input = InBuffer::around(part);
        let mut room = Vec::with_capacity(part.len() + 1024);
        let mut out = OutBuffer::around(&mut room);
        assert_eq!(context.compress_stream2(&mut out, &mut input, end).unwrap(), 0, "it had room");
        compressed.extend(room);
    }
    compressed
}

/// Text that compresses to about a third, so that there are blocks of every kind.
fn text(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(3);
    let words = ["document", "batch", "request", "attempt", "gateway", "\u{e9}", "{\"text\":"];
    let mut text = Vec::new();
    while text.len() < length {
        text.extend_from_slice(random.choice(words).unwrap().as_bytes());
        text.push(random.u8(32..127));
    }
    text.truncate(length);
    text
}

/// Decompresses what has come, in steps that each give at most a piece.
fn drain(decoder: &mut Decoder, out: &mut BytesMut) -> Result<(), Fault> {
    loop {
        let before = out.len();
        let has_worked = decoder.step(out)?;
        assert!(out.len() - before <= PIECE);
        if !has_worked {
            return Ok(());
        }
    }
}

/// Decompresses content that comes in pieces of a size.
fn read(coding: Coding, compressed: &[u8], size: usize) -> Result<Vec<u8>, Fault> {
    let (mut decoder, mut out) = (Decoder::new(coding), BytesMut::new());
    for piece in compressed.chunks(size.max(1)) {
        decoder.add(Bytes::copy_from_slice(piece));
        drain(&mut decoder, &mut out)?;
    }
    decoder.finish()?;
    Ok(out.to_vec())
}

#[test]
fn content_is_the_same_however_it_is_split() {
    for length in [0, 1, 17, 4000, 300_000] {
        let text = text(length);
        for (coding, compress) in WAYS {
            let compressed = compress(&[&text]);
            for size in [1, 2, 3, 1000, 20_000, compressed.len()] {
                let whole = read(coding, &compressed, size);
                assert!(whole.as_deref() == Ok(&text), "{coding:?} of {length} in {size}");
            }
        }
    }
}

#[test]
fn content_may_end_exactly_with_a_step() {
    for count in 1..=3 {
        let zeros = vec![0; count * PIECE];
        for (coding, compress) in WAYS {
            let compressed = compress(&[&zeros]);
            for size in [1, 7, compressed.len()] {
                let whole = read(coding, &compressed, size);
                assert!(whole.as_deref() == Ok(&zeros), "{coding:?} of {count} in {size}");
            }
        }
    }
}

#[test]
fn what_a_server_has_flushed_is_read_before_more_comes() {
    // The second part is larger than a step's room, so that the decoder holds some of it back.
    let parts = [text(100), vec![b'x'; 10 * PIECE + 7], text(10)];
    for (coding, compress) in WAYS {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let whole = compress(&parts);
        let (mut decoder, mut out, mut rest) = (Decoder::new(coding), BytesMut::new(), &whole[..]);
        for count in 1..=parts.len() {
            // Everything that comes before the next part, as far as both streams are alike.
            let until = match compress(&parts[..count]) {
                shorter if count < parts.len() => common(&shorter, &whole),
                _ => whole.len(),
            };
            let came = until - (whole.len() - rest.len());
            decoder.add(Bytes::copy_from_slice(&rest[..came]));
            rest = &rest[came..];
            drain(&mut decoder, &mut out).unwrap();
            let read = parts[..count].concat();
            assert!(out == read[..], "{coding:?}: {} of {}", out.len(), read.len());
        }
        decoder.finish().unwrap();
    }
}

fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

#[test]
fn content_that_ends_early_is_cut_unless_there_is_none() {
    let text = text(3000);
    for (coding, compress) in WAYS {
        let compressed = compress(&[&text]);
        for length in 1..compressed.len() {
            let read = read(coding, &compressed[..length], 100);
            assert_eq!(read, Err(Fault::Cut(coding)), "{length} of {}", compressed.len());
        }
        assert_eq!(read(coding, b"", 1), Ok(Vec::new()));
    }
}

#[test]
fn what_follows_the_end_is_more_of_its_kind_or_an_error() {
    for (coding, compress) in WAYS {
        let one = compress(&[b"one "]);
        for size in [1, 100] {
            let twice = read(coding, &[&one[..], &compress(&[b"two"])].concat(), size);
            match coding {
                Coding::Gzip | Coding::Zstd => assert_eq!(twice.unwrap(), b"one two"),
                Coding::Deflate | Coding::Brotli => {
                    assert_eq!(twice, Err(Fault::Broken(coding, "more follows behind their end")));
                }
            }
            let garbage =
                read(coding, &[&one[..], b"\0\0and more, which is nothing"].concat(), size);
            assert!(matches!(garbage, Err(Fault::Broken(..))), "{coding:?}: {garbage:?}");
        }
    }
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd(&[b"one"])].concat();
    assert_eq!(read(Coding::Zstd, &skipped, 1).unwrap(), b"one");
}

#[test]
fn a_wrong_checksum_is_an_error() {
    // The checksum of gzip lies before the length.
    for (coding, compress, behind) in
        [(Coding::Gzip, gzip as Compress, 5), (Coding::Deflate, zlib, 1), (Coding::Zstd, zstd, 1)]
    {
        let mut compressed = compress(&[b"hello, hello"]);
        let length = compressed.len();
        compressed[length - behind] ^= 1;
        let read = read(coding, &compressed, 100);
        assert!(matches!(read, Err(Fault::Broken(..))), "{coding:?}: {read:?}");
    }
}

#[test]
fn a_bomb_grows_by_a_piece_a_step() {
    let zeros = vec![0; 64 << 20];
    for (coding, compress) in WAYS {
        let bomb = compress(&[&zeros]);
        assert!(bomb.len() < 100_000, "{coding:?} {}", bomb.len());
        let (mut decoder, mut out) = (Decoder::new(coding), BytesMut::new());
        decoder.add(bomb.into());
        for _ in 0..100 {
            assert!(decoder.step(&mut out).unwrap());
        }
        assert!((80 * PIECE..=100 * PIECE).contains(&out.len()), "{coding:?}: {}", out.len());
    }
}

#[test]
fn blocks_that_give_nothing_are_not_read_forever() {
    const MOST: usize = 1 << 20;
    let repeated = |begin: &[u8], block: &[u8]| [begin, &block.repeat(MOST / block.len())].concat();
    let empty_member = gzip(&[]);
    for (coding, endless) in [
        (Coding::Gzip, repeated(&empty_member[..10], &[0, 0, 0, 0xff, 0xff])),
        (Coding::Gzip, repeated(&[], &empty_member)),
        (Coding::Deflate, repeated(&[], &[0, 0, 0, 0xff, 0xff])),
        // A window of 16 bits, and metadata without a byte.
        (Coding::Brotli, repeated(&[0x0c], &[0x06])),
        // A window of 1 KiB, and blocks of no bytes.
        (Coding::Zstd, repeated(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0], &[0, 0, 0])),
        (Coding::Zstd, repeated(&[], &[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0])),
        // A frame to skip, of 4 GiB.
        (Coding::Zstd, repeated(&[0x50, 0x2a, 0x4d, 0x18, 255, 255, 255, 255], &[0])),
    ] {
        let (mut decoder, mut out) = (Decoder::new(coding), BytesMut::new());
        decoder.add(endless.into());
        assert_eq!(drain(&mut decoder, &mut out), Err(Fault::Padded(coding)));
        assert!(out.is_empty() && decoder.taken < 2 * SPARE, "{coding:?}: {}", decoder.taken);
    }
}

#[test]
fn a_window_beyond_the_largest_of_http_is_refused() {
    let text = text(100);
    for (window, is_fine) in [(23, true), (24, false), (27, false)] {
        let zstd = zstd_with(&[CParameter::WindowLog(window)], &[&text]);
        assert_eq!(read(Coding::Zstd, &zstd, 1000).is_ok(), is_fine, "{window}");
    }
    for large_window in [false, true] {
        let lgwin = if large_window { 25 } else { 24 };
        let params = BrotliEncoderParams { large_window, lgwin, ..BrotliEncoderParams::default() };
        let br = br_with(&params, &[&text]);
        assert_eq!(read(Coding::Brotli, &br, 1000).is_ok(), !large_window);
    }
}

#[test]
fn codings_have_the_names_of_the_registry_in_any_case() {
    for (name, coding) in [
        ("gzip", Some(Coding::Gzip)),
        ("X-GZip", Some(Coding::Gzip)),
        ("Deflate", Some(Coding::Deflate)),
        ("br", Some(Coding::Brotli)),
        ("ZSTD", Some(Coding::Zstd)),
        ("brotli", None),
        ("compress", None),
        ("", None),
    ] {
        assert_eq!(Coding::of(name), coding, "{name}");
    }
    let accepted = ACCEPTED.split(", ").map(|name| Coding::of(name).map(Coding::name));
    assert!(accepted.eq(ACCEPTED.split(", ").map(Some)));
}

proptest! {
    #[test]
    fn damaged_content_ends_in_an_error_or_in_other_content(
        way in 0..WAYS.len(),
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        size in 1_usize..3000,
    ) {
        let (coding, compress) = WAYS[way];
        let mut compressed = compress(&[&text(2000), &text(500)]);
        for (at, byte) in damages {
            let at = at.index(compressed.len());
            compressed[at] = byte;
        }
        // Any result will do, but no panic and no endless loop.
        let _ = read(coding, &compressed, size);
    }

    #[test]
    fn no_bytes_are_too_strange(
        way in 0..WAYS.len(),
        bytes in prop::collection::vec(any::<u8>(), 0..500),
        size in 1_usize..500,
    ) {
        let _ = read(WAYS[way].0, &bytes, size);
    }
}
