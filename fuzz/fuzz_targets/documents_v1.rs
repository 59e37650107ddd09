//! A list of v1 documents in protobuf, read as prost reads it.
#![no_main]

use clientlet::DocArray;
use clientlet_fuzz::protobuf::check_documents;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|list: &[u8]| check_documents(DocArray::V1, list));
