//! The protobuf messages of Jina gateways.
//!
//! There are two sets of types, [`v1`] and [`v2`], for the two generations of DocArray. Only the
//! documents differ, but both generations put them into the same protobuf package.
//! Fields of bytes are [`bytes::Bytes`]; decoding from `Bytes` shares the input's memory.
//!
//! The facts, such as field numbers, were observed on running gateways. The types in
//! `src/generated` are generated from the files in `proto`, so that users need no protobuf compiler. A
//! test keeps both in agreement.
#![forbid(unsafe_code)]

pub use prost;
pub use prost_types;

/// gRPC's own health service.
pub mod health {
    #![allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]

    include!("generated/health.rs");
}

/// Messages with documents of docarray below 0.30.
pub mod v1 {
    #![allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]

    /// Requests, answers, and the status and facts of a gateway.
    pub mod jina {
        include!("generated/v1/jina.rs");
    }

    /// Documents.
    pub mod docarray {
        include!("generated/v1/docarray.rs");
    }
}

/// Messages with documents of docarray 0.30 and above.
pub mod v2 {
    #![allow(missing_docs, clippy::all, unreachable_pub, reason = "generated")]

    /// Requests, answers, and the status and facts of a gateway.
    pub mod jina {
        include!("generated/v2/jina.rs");
    }

    /// Documents.
    pub mod docarray {
        include!("generated/v2/docarray.rs");
    }
}
