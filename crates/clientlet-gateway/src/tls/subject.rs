//! The common name in a certificate. A parser of whole certificates would be larger than its use.

/// The identifier of the common name (X.520), as it is encoded.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// The tag of the version, which the first certificates did not have.
const VERSION: u8 = 0xa0;

/// The last common name of the subject of a certificate in DER; `None` if the subject has no such
/// name, or if this is not a certificate.
pub(super) fn common_name(certificate: &[u8]) -> Option<String> {
    let mut rest = expect(&mut &*certificate, SEQUENCE)?;
    let mut rest = expect(&mut rest, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        next(&mut rest)?;
    }
    // The serial number, the algorithm, the issuer and the validity come first.
    for _ in 0..4 {
        next(&mut rest)?;
    }
    let mut subject = expect(&mut rest, SEQUENCE)?;
    let mut found = None;
    while !subject.is_empty() {
        let mut names = expect(&mut subject, SET)?;
        while !names.is_empty() {
            let mut name = expect(&mut names, SEQUENCE)?;
            let (_, kind) = next(&mut name)?;
            let (_, value) = next(&mut name)?;
            if kind == COMMON_NAME {
                found = Some(String::from_utf8_lossy(value).into_owned());
            }
        }
    }
    found
}

fn expect<'a>(bytes: &mut &'a [u8], wanted: u8) -> Option<&'a [u8]> {
    next(bytes).filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
}

/// The next tag, and its content.
fn next<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[tag, first], mut rest) = bytes.split_first_chunk()?;
    let mut length = usize::from(first);
    if first > 0x7f {
        // The length is in the bytes that follow, of which this is the number.
        let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > 3 {
            return None;
        }
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        rest = after;
    }
    let (content, after) = rest.split_at_checked(length)?;
    *bytes = after;
    Some((tag, content))
}

#[cfg(test)]
mod tests {
    use super::super::Tls;
    use super::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    #[test]
    fn the_name_of_a_certificate_is_found_and_no_bytes_are_too_strange() {
        let long = "x".repeat(300);
        for name in ["alice", "J\u{f3}hannes, 3", &long] {
            let pem = Tls::self_signed().client_identity(name).certificate;
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
            assert_eq!(common_name(&der).as_deref(), Some(name));
            for end in 0..der.len() {
                // The names come whole or not at all.
                let cut = common_name(&der[..end]);
                assert!(cut.is_none(), "{end}: {cut:?}");
            }
            for place in 0..der.len() {
                let mut broken = der.to_vec();
                broken[place] ^= 0xff;
                common_name(&broken);
            }
        }
        assert_eq!(common_name(b""), None);
    }
}
