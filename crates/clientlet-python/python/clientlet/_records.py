"""Facts that come together, as named tuples, and the settings that come together."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike
from typing import Any, NamedTuple, Union

Pem = Union[bytes, str, "PathLike[str]"]
"""A certificate or key: PEM as bytes or text, or the path of a file with it."""


class Attempt(NamedTuple):
    """One attempt of a request that did not succeed."""

    number: int
    """1 for the first sending."""
    gateway: str
    """The address that it was sent to, without user information."""
    started: float
    """Seconds from the beginning of the request to the attempt's."""
    took: float
    """Seconds that the attempt took."""
    kind: str
    """What went wrong, as `Error.kind`."""
    delivery: str
    """Whether it reached the gateway, as `Error.delivery`."""
    message: str
    """What went wrong, in words."""


class NextAttempt(NamedTuple):
    """An attempt that is about to be sent, as `before_attempt` is given it."""

    method: str
    """`POST` or `GET`; over gRPC always `POST`."""
    url: str
    """The full URL, whose scheme is `http` or `https`."""
    headers: dict[str, str]
    """The headers that are set for the client and the call, with names in lower case."""
    body: bytes
    """Over HTTP the whole body, over unary gRPC the message. Empty when a WebSocket or a gRPC stream is
    opened."""
    was_refused: bool
    """Whether the gateway has just refused the same request, connection or stream for its credentials."""


class ExecutorException(NamedTuple):
    """What an executor raised."""

    name: str
    """The class of the exception: `ValueError`."""
    args: list[str]
    """Its arguments, as text."""
    stacks: list[str]
    """The lines of its traceback."""
    executor: str
    """The executor's class."""


class Status(NamedTuple):
    """The outcome of a request, as the gateway reports it."""

    code: int
    """0 for success."""
    description: str
    """What went wrong, in words."""
    exception: ExecutorException | None
    """What the executor raised."""


class Route(NamedTuple):
    """One station of a request."""

    executor: str
    """The name of the deployment."""
    start_time: float | None
    """When it began, in seconds since 1970."""
    end_time: float | None
    """When it ended, in seconds since 1970."""
    status: Status | None
    """How it ended."""


class GatewayStatus(NamedTuple):
    """What a gateway says of itself."""

    jina: dict[str, str]
    """Releases and facts of the machine: `jina`, `docarray`, `python`, ..."""
    envs: dict[str, str]
    """The environment variables that matter to Jina."""
    docarray: str | None
    """The documents that it speaks: `v1` or `v2`."""


class Endpoints(NamedTuple):
    """What can be posted to."""

    docarray: str
    """The documents that the gateway speaks: `v1` or `v2`."""
    paths: list[str]
    """The endpoints that the gateway lists. Gateways with documents v1 list none."""
    takes_any: bool
    """Whether any endpoint can be posted to."""


@dataclass(frozen=True)
class Durations:
    """How many things took time, and how much in all."""

    count: int
    """The number of things that have ended."""
    sum: float
    """Seconds that they took together."""

    @property
    def mean(self) -> float:
        """Seconds that one of them took on average; 0 if there was none."""
        return self.sum / self.count if self.count else 0.0


class Statistics(NamedTuple):
    """The numbers of a client, counted from its beginning in this process."""

    requests_in_flight: int
    """Requests that have begun and not ended."""
    requests: Durations
    """Requests that have ended, with all attempts and waits."""
    requests_failed: dict[str, int]
    """Requests that ended with an error, by its kind."""
    attempts: Durations
    """Attempts that have ended."""
    attempts_failed: dict[str, int]
    """Attempts that failed, by the kind of their error."""
    retries: int
    """Attempts that followed on another."""
    connections_opened: int
    """Connections that were made."""
    reconnects: int
    """Connections that replaced one that was lost. Over HTTP it is always 0."""
    duplicates_dropped: int
    """Answers that no request was waiting for. Over HTTP it is always 0."""
    bytes_sent: int
    """Bytes that were written to connections, before TLS."""
    bytes_received: int
    """Bytes that were read from connections, after TLS."""
    waits_for_place: Durations
    """The times for which calls read no documents because all places (`prefetch`) were taken."""


class Arrival(NamedTuple):
    """A request that arrived at a gateway for tests."""

    method: str
    """`POST`; `WS` for a WebSocket message, `GRPC` for a gRPC message."""
    endpoint: str | None
    """The endpoint that it is for."""
    request_id: str | None
    """The id that the client sent."""
    document_count: int
    """The number of documents."""
    document_ids: list[str]
    """The ids of the documents that have one."""
    documents: list[dict[str, Any]] | None
    """The documents; `None` if they cannot be read."""
    parameters: dict[str, Any] | None
    """The parameters."""
    headers: dict[str, str]
    """The headers, with names in lower case."""
    answered: int | None
    """The status of the answer; `None` while there is none."""


@dataclass(frozen=True)
class Retry:
    """How often a request is sent, and the waits between its attempts.

    The wait before attempt n + 1 is random, uniform over [0, min(initial_backoff *
    backoff_multiplier ** (n - 1), max_backoff)], in seconds. More than one attempt means *at least
    once*: a request whose answer was lost is sent again although it may have run.

    >>> with clientlet.testing.Gateway(faults=["status:503@1"]) as gateway:
    ...     client = clientlet.Client(gateway.url, retry=clientlet.Retry(initial_backoff=0.01))
    ...     print(next(client.post("/upper", {"text": "a"}, stream=True)).attempts)
    2
    """

    max_attempts: int = 4
    """The most times that a request is sent; 1 never repeats it."""
    initial_backoff: float = 0.1
    """Seconds; the longest wait before the second attempt."""
    max_backoff: float = 5.0
    """Seconds; no wait is longer."""
    backoff_multiplier: float = 2.0
    """The growth of the longest wait with each attempt."""
    at_most_once: bool = False
    """Whether only requests that cannot have run are sent again."""


@dataclass(frozen=True)
class Tls:
    """How connections to `https://`, `wss://` and `grpcs://` addresses are secured.

    >>> with clientlet.testing.Gateway(tls=True) as gateway:
    ...     client = clientlet.Client(gateway.url, tls=clientlet.Tls(ca=gateway.ca))
    ...     print(client.post("/upper", {"text": "a"})[0]["text"])
    A
    """

    ca: Pem | list[Pem] = field(default_factory=list)
    """Certificates of authorities that are trusted beside the system's."""
    without_system_roots: bool = False
    """Whether only `ca` is trusted."""
    client_certificate: tuple[Pem, Pem] | None = None
    """The client's certificate and its key, for servers that ask for one."""
    server_name: str | None = None
    """The name that the server's certificate must be for, instead of the address's host."""
    min_version: str = "1.2"
    """The oldest version of TLS that is spoken: `1.2` or `1.3`."""
    key_log: bool = False
    """Whether the keys are written to the file that `SSLKEYLOGFILE` names."""
    danger_accept_invalid_certs: bool = False
    """Whether any certificate is accepted. Then anybody on the way can read and change everything."""
