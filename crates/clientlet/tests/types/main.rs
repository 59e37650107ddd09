//! Checks that a value comes back the same over HTTP, WebSocket and gRPC, or is refused by all of
//! them with the same error. The values have users' types and other crates' types. They are in
//! tags, in parameters and in fields of documents. The gateways are embedded and real ones.
//!
//! Unavoidable differences are stated with the case, and are in the capability table of
//! `docs/guarantees.md`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod case;
mod fields;
mod values;
mod worlds;

use clientlet::DocArray;
use clientlet_interop::Environment;

use crate::worlds::World;

/// Runs all cases against one gateway and reports every case that fails.
macro_rules! worlds {
    ($($name:ident: $world:expr;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let Some(world) = $world else { return };
            let mut faults = Vec::new();
            for case in values::cases().into_iter().chain(fields::cases()) {
                faults.extend(case.faults(&world).await);
            }
            assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
        })*
    };
}

worlds! {
    embedded_v1: World::embedded(DocArray::V1).await;
    embedded_v2: World::embedded(DocArray::V2).await;
    jina_3_14_1: World::real(Environment::SeedEra).await;
    jina_3_33_1_v1: World::real(Environment::CurrentV1).await;
    jina_3_33_1_v2: World::real(Environment::Current).await;
}
