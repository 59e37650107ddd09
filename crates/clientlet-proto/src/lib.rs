//! The messages that go to a Jina gateway and come back, as protobuf.
//!
//! Everything but documents is the same in both generations of DocArray, but protobuf gives both
//! generations' documents the same package: so there are two sets of types, [`v1`] and [`v2`].
//! Fields of bytes are [`bytes::Bytes`]: decoding from `Bytes` shares their memory.
//!
//! The facts, such as field numbers, were observed on running gateways. The types in
//! `src/generated` are made from the files in `proto`, and a test keeps the two in agreement, so
//! that users need not build a protobuf compiler.
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

    /// Requests, answers, status and facts of a gateway.
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

    /// Requests, answers, status and facts of a gateway.
    pub mod jina {
        include!("generated/v2/jina.rs");
    }

    /// Documents.
    pub mod docarray {
        include!("generated/v2/docarray.rs");
    }
}
