//! The same value goes out and comes back the same on HTTP, WebSocket and gRPC, or is refused on all of
//! them with the same error: types of serde's users and of other crates, in tags, in parameters and as
//! fields of documents, on embedded gateways and on real ones.
//!
//! What has to differ is said with the case and stands in the capability table of `docs/guarantees.md`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod case;
mod fields;
mod values;
mod worlds;

use clientlet::DocArray;
use clientlet_interop::Environment;

use crate::worlds::World;

/// Runs all cases in a world of its own and reports every one that fails.
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
