//! Recognizes inputs that are not UTF-8 text by their first bytes, so that they are reported once
//! instead of line by line.

/// The number of bytes that are enough to recognize a format.
pub(crate) const ENOUGH: usize = 8;
/// The number of bytes that are searched for a zero byte.
const HEAD: usize = 512;

/// The first bytes of each format, its description, and the program that turns it into lines, if
/// there is a common one.
const MAGIC: &[(&[u8], &str, &str)] = &[
    (b"\x1f\x8b", "it is compressed by gzip", "zcat"),
    (b"\x28\xb5\x2f\xfd", "it is compressed by zstd", "zstdcat"),
    (b"\xfd7zXZ\x00", "it is compressed by xz", "xzcat"),
    (b"BZh", "it is compressed by bzip2", "bzcat"),
    (b"\x04\x22\x4d\x18", "it is compressed by lz4", "lz4cat"),
    (b"PK\x03\x04", "it is a zip archive", "unzip -p"),
    (b"PK\x05\x06", "it is an empty zip archive", ""),
    (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive", ""),
    (b"PAR1", "it is a Parquet file", ""),
    (b"ARROW1", "it is an Arrow file", ""),
    (b"\xff\xff\xff\xff", "it is an Arrow stream", ""),
    (b"Obj\x01", "it is an Avro file", ""),
    (b"ORC", "it is an ORC file", ""),
    (b"\x89HDF", "it is an HDF5 file", ""),
    (b"\x93NUMPY", "it is an array of NumPy", ""),
    (b"SQLite format 3", "it is a SQLite database", ""),
    (b"%PDF-", "it is a PDF", ""),
    (b"\x89PNG", "it is a PNG image", ""),
    (b"\xff\xd8\xff", "it is a JPEG image", ""),
    (b"GIF8", "it is a GIF image", ""),
    (b"\x7fELF", "it is a program", ""),
    // UTF-32 comes first: its mark begins like the mark of UTF-16.
    (b"\xff\xfe\x00\x00", "it is text in UTF-32", "iconv -f UTF-32 -t UTF-8"),
    (b"\x00\x00\xfe\xff", "it is text in UTF-32", "iconv -f UTF-32 -t UTF-8"),
    (b"{\x00\x00\x00", "it is text in UTF-32", "iconv -f UTF-32LE -t UTF-8"),
    (b"\x00\x00\x00{", "it is text in UTF-32", "iconv -f UTF-32BE -t UTF-8"),
    (b"\xff\xfe", "it is text in UTF-16", "iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "it is text in UTF-16", "iconv -f UTF-16 -t UTF-8"),
    (b"{\x00", "it is text in UTF-16", "iconv -f UTF-16LE -t UTF-8"),
    (b"\x00{", "it is text in UTF-16", "iconv -f UTF-16BE -t UTF-8"),
    // Protocols 2 to 5. No UTF-8 text begins like this.
    (b"\x80\x02", "it is a pickle of Python", ""),
    (b"\x80\x03", "it is a pickle of Python", ""),
    (b"\x80\x04", "it is a pickle of Python", ""),
    (b"\x80\x05", "it is a pickle of Python", ""),
];

/// Describes the input if it is not UTF-8 text. Returns `None` if it may be UTF-8 text.
pub(crate) fn recognize(head: &[u8]) -> Option<String> {
    let known = MAGIC.iter().find(|(magic, _, _)| head.starts_with(magic));
    if let Some((_, what, reader)) = known {
        return Some(match *reader {
            "" => format!("{what}, not JSON Lines"),
            reader => format!("{what}; `{reader} FILE | clientlet post ... --input -` posts it"),
        });
    }
    let is_binary = head.iter().take(HEAD).any(|byte| *byte == 0);
    is_binary.then(|| "it contains zero bytes, so it is not UTF-8 text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_recognized_by_their_first_bytes() {
        for (head, what) in [
            (&b"\x1f\x8b\x08\x08abc"[..], "it is compressed by gzip; `zcat FILE | "),
            (b"\x28\xb5\x2f\xfd\x24", "zstd"),
            (b"BZh91AY&SY", "bzip2"),
            (b"PK\x03\x04\x14", "a zip archive"),
            (b"PAR1\x15\x04", "it is a Parquet file, not JSON Lines"),
            (b"\xff\xfe{\x00\"\x00", "UTF-16;"),
            (b"\xfe\xff\x00{\x00\"", "UTF-16;"),
            (b"{\x00\"\x00a\x00", "UTF-16;"),
            (b"\x00{\x00\"\x00a", "UTF-16;"),
            (b"\xff\xfe\x00\x00{\x00\x00\x00", "UTF-32;"),
            (b"{\x00\x00\x00\"\x00\x00\x00", "UTF-32;"),
            (b"\x80\x04\x95\x10", "a pickle"),
            (b"documents.jsonl\x00\x00\x00", "zero bytes"),
            (b"[\x00", "zero bytes"),
        ] {
            let told = recognize(head).unwrap_or_default();
            assert!(told.contains(what), "{}: {told}", head.escape_ascii());
        }
        for text in ["{\"a\": 1}", "\u{feff}{}", "", "\n\n{}", "[1]", "BZ", "é"] {
            assert_eq!(recognize(text.as_bytes()), None, "{text}");
        }
    }
}
