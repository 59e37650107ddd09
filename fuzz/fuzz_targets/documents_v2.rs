//! A list of v2 documents in protobuf: our codec reads it as prost does.
#![no_main]

use clientlet::DocArray;
use clientlet_fuzz::protobuf::check_documents;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|list: &[u8]| check_documents(DocArray::V2, list));
