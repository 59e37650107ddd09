//! The same cases give the same results on every gateway: embedded and real ones, documents v1 and
//! v2.
//!
//! `cargo xtask test` installs the real gateways. Without them their rows say that they are
//! skipped.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod cases;
#[path = "../events/mod.rs"]
mod events;
mod load;
mod outages;
mod rows;
mod summary;

use std::time::Duration;

use crate::rows::{Ability, Row};

/// The time limit of a case, including four tries of the gateway itself.
const LIMIT: Duration = Duration::from_secs(120);

/// Passes the cases to another macro, each with the abilities that it needs.
macro_rules! cases {
    ($then:ident $($row:expr)?) => {
        $then! { $($row;)?
            cases::documents_come_back_with_their_text_changed: [];
            cases::parameters_come_back_with_the_executors_result: [Plain];
            cases::a_target_that_matches_nothing_still_answers: [Targets, Plain];
            cases::documents_that_are_encoded_already_are_passed_on_as_they_are: [Plain];
            cases::an_empty_input_is_a_request: [];
            cases::a_thousand_documents_with_parameters_come_back_once_and_in_order: [];
            cases::unordered_answers_hold_each_document_once: [Plain];
            cases::an_executors_exception_is_an_error_with_its_name: [];
            cases::an_executors_exception_is_reported_in_full_with_the_documents: [WholeException];
            cases::a_failed_request_does_not_end_the_stream: [Json, Plain];
            cases::routes_name_gateway_and_executor_with_their_times: [Routes];
            cases::tensors_and_unicode_survive_an_echo: [];
            cases::bytes_survive_an_echo: [Bytes];
            cases::tags_survive_an_echo: [EqualTags, Plain];
            cases::empty_text_is_lost_by_v1_and_whole_tags_stay_numbers: [Plain];
            cases::an_endpoint_that_no_executor_binds_leaves_documents_unchanged: [UnboundEndpoints, Plain];
            cases::an_unknown_endpoint_is_an_error_that_lists_the_known_ones: [EndpointList];
            cases::a_value_of_the_wrong_type_is_refused_with_its_place: [Plain];
            cases::an_answer_of_twenty_megabytes_comes_through: [];
            cases::an_answer_beyond_the_limit_names_the_limit: [];
            cases::documents_that_do_not_fit_the_type_name_document_and_field: [Plain];
            cases::slow_inputs_are_answered_one_by_one: [];
            cases::a_slow_executor_stops_the_input_after_prefetch: [Plain];
            cases::large_and_small_calls_on_one_client_are_all_answered: [];
            cases::the_gateway_is_ready_and_reports_its_releases: [];
            cases::an_attempt_ends_at_its_time_out: [];
            outages::a_dead_executor_is_a_gateway_error_until_it_returns: [Plain];
            outages::a_dead_executor_is_named_by_error_and_dry_run: [HonestOutage];
            load::with_retries_all_is_answered_while_the_executor_dies_and_returns: [Plain];
            load::without_retries_each_request_ends_once_and_names_the_dead_executor: [Plain];
            load::with_retries_all_is_answered_while_the_gateway_restarts_in_good_order: [];
            outages::an_executor_slower_than_the_gateway_waits_may_have_run: [Plain];
        }
    };
}

/// Makes all cases tests of the module's row.
macro_rules! tests {
    ($row:expr; $($module:ident::$case:ident: [$($ability:ident),*];)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let needs = [$(crate::rows::Ability::$ability),*];
                static ROW: crate::rows::Row = $row;
                if !ROW.can(stringify!($case), &needs) {
                    return;
                }
                crate::events::watch();
                let case = crate::$module::$case(&ROW);
                tokio::time::timeout(crate::LIMIT, case).await.expect("the case ends in time");
            }
        )*
    };
}

/// Lists all cases as data.
macro_rules! list {
    ($($module:ident::$case:ident: [$($ability:ident),*];)*) => {
        &[$((stringify!($case), &[$(crate::rows::Ability::$ability),*])),*]
    };
}

const CASES: &[(&str, &[Ability])] = cases!(list);

/// Makes a module of tests for each gateway.
macro_rules! gateways {
    ($($module:ident: $row:ident;)*) => {
        $(mod $module {
            cases!(tests crate::rows::$row);
        })*
        const ROWS: &[Row] = &[$(crate::rows::$row),*];
    };
}

gateways! {
    embedded_v1: EMBEDDED_V1;
    embedded_v2: EMBEDDED_V2;
    jina_3_14_1: SEED_ERA;
    jina_3_33_1_v1: CURRENT_V1;
    jina_3_33_1_v2: CURRENT;
    embedded_v1_websocket: WS_EMBEDDED_V1;
    embedded_v2_websocket: WS_EMBEDDED_V2;
    jina_3_14_1_websocket: WS_SEED_ERA;
    jina_3_33_1_v1_websocket: WS_CURRENT_V1;
    jina_3_33_1_v2_websocket: WS_CURRENT;
    jina_3_14_1_grpc: GRPC_SEED_ERA;
    jina_3_33_1_v1_grpc: GRPC_CURRENT_V1;
    jina_3_33_1_v2_grpc: GRPC_CURRENT;
    jina_3_14_1_grpc_unary: UNARY_SEED_ERA;
    jina_3_33_1_v1_grpc_unary: UNARY_CURRENT_V1;
    jina_3_33_1_v2_grpc_unary: UNARY_CURRENT;
    embedded_v1_grpc: GRPC_EMBEDDED_V1;
    embedded_v2_grpc: GRPC_EMBEDDED_V2;
    embedded_v1_grpc_unary: UNARY_EMBEDDED_V1;
    embedded_v2_grpc_unary: UNARY_EMBEDDED_V2;
    embedded_v1_websocket_json: WS_JSON_EMBEDDED_V1;
    jina_3_14_1_websocket_json: WS_JSON_SEED_ERA;
    jina_3_33_1_v1_websocket_json: WS_JSON_CURRENT_V1;
    embedded_v1_https: HTTPS_EMBEDDED_V1;
    embedded_v1_websocket_tls: WSS_EMBEDDED_V1;
    embedded_v1_grpc_tls: GRPCS_EMBEDDED_V1;
    embedded_v1_grpc_unary_tls: SECURE_UNARY_EMBEDDED_V1;
    embedded_v2_https: HTTPS_EMBEDDED_V2;
    embedded_v2_websocket_tls: WSS_EMBEDDED_V2;
    embedded_v2_grpc_tls: GRPCS_EMBEDDED_V2;
    embedded_v2_grpc_unary_tls: SECURE_UNARY_EMBEDDED_V2;
    jina_3_14_1_https: HTTPS_SEED_ERA;
    jina_3_14_1_websocket_tls: WSS_SEED_ERA;
    jina_3_14_1_grpc_tls: GRPCS_SEED_ERA;
    jina_3_14_1_grpc_unary_tls: SECURE_UNARY_SEED_ERA;
    jina_3_33_1_v1_https: HTTPS_CURRENT_V1;
    jina_3_33_1_v1_websocket_tls: WSS_CURRENT_V1;
    jina_3_33_1_v1_grpc_tls: GRPCS_CURRENT_V1;
    jina_3_33_1_v1_grpc_unary_tls: SECURE_UNARY_CURRENT_V1;
    jina_3_33_1_v2_https: HTTPS_CURRENT;
    jina_3_33_1_v2_websocket_tls: WSS_CURRENT;
    jina_3_33_1_v2_grpc_tls: GRPCS_CURRENT;
    jina_3_33_1_v2_grpc_unary_tls: SECURE_UNARY_CURRENT;
    embedded_v1_websocket_json_tls: WSS_JSON_EMBEDDED_V1;
    jina_3_14_1_websocket_json_tls: WSS_JSON_SEED_ERA;
    jina_3_33_1_v1_websocket_json_tls: WSS_JSON_CURRENT_V1;
}
