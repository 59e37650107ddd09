//! What a client asks a gateway beside requests.

use std::time::Duration;

use clientlet::{Client, Durations, Error, ErrorKind, Health, Statistics};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::answers::record;
use crate::error::raised;

/// A question to the gateway.
pub(crate) enum Question {
    Ready,
    WaitReady(Duration),
    Status,
    Endpoints,
    Health(String),
}

/// Asks, and makes the answer an object of the package.
pub(crate) async fn ask(client: Client, question: Question) -> PyResult<Py<PyAny>> {
    match question {
        Question::Ready => answered(client.ready().await, |py, ()| is_so(py)),
        Question::WaitReady(timeout) => {
            answered(client.wait_ready(timeout).await, |py, ()| is_so(py))
        }
        Question::Status => answered(client.status().await, |py, status| {
            let docarray = status.docarray().map(|docarray| docarray.to_string());
            record(py, "GatewayStatus")?.call1((status.jina, status.envs, docarray))
        }),
        Question::Endpoints => answered(client.endpoints().await, |py, endpoints| {
            let docarray = endpoints.docarray.to_string();
            record(py, "Endpoints")?.call1((docarray, endpoints.paths, endpoints.takes_any))
        }),
        Question::Health(service) => answered(client.health(&service).await, |py, health| {
            let name = match health {
                Health::Serving => "serving",
                Health::NotServing => "not_serving",
                Health::ServiceUnknown => "service_unknown",
                _ => "unknown",
            };
            Ok(name.into_pyobject(py)?.into_any())
        }),
    }
}

fn answered<T>(
    answer: Result<T, Error>,
    object: impl for<'py> FnOnce(Python<'py>, T) -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Py<PyAny>> {
    // The thread that polls is attached.
    Python::attach(|py| match answer {
        Ok(answer) => object(py, answer).map(Bound::unbind),
        Err(error) => Err(raised(py, &error)),
    })
}

fn is_so(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    Ok(true.into_pyobject(py)?.to_owned().into_any())
}

/// Makes the package's record of a client's numbers.
pub(crate) fn statistics<'py>(
    py: Python<'py>,
    statistics: &Statistics,
) -> PyResult<Bound<'py, PyAny>> {
    let durations = |durations: &Durations| {
        record(py, "Durations")?.call1((durations.count, durations.sum.as_secs_f64()))
    };
    let kinds = |kinds: &[(ErrorKind, u64)]| -> PyResult<Bound<'py, PyDict>> {
        let counts = PyDict::new(py);
        for (kind, count) in kinds {
            counts.set_item(kind.name(), count)?;
        }
        Ok(counts)
    };
    let connections = &statistics.connections;
    record(py, "Statistics")?.call1((
        statistics.requests_in_flight,
        durations(&statistics.requests)?,
        kinds(&statistics.requests_failed)?,
        durations(&statistics.attempts)?,
        kinds(&statistics.attempts_failed)?,
        statistics.retries,
        connections.opened,
        connections.reconnects,
        connections.duplicates_dropped,
        statistics.bytes_sent,
        statistics.bytes_received,
        durations(&statistics.waits_for_place)?,
    ))
}
