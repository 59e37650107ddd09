"""The settings of an aiohttp session, as those of this package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from clientlet._options import for_client
from clientlet._records import Retry, Tls

_OF_POST = frozenset(
    "on exec_endpoint inputs target_executor parameters request_size stream return_type return_responses "
    "results_in_order prefetch continue_on_error show_progress data_type on_done on_error on_always".split()
)
"""The arguments of Jina's `post` that its client hands on to its clientlets, for which they mean nothing."""

ADDRESS_ELSEWHERE = (
    "in the form of 3.33.1 send_message takes the address; clientlet.helper has the form that takes it here"
)

_ADVICE = {
    "connector": "this package makes the connections; ssl and proxy are arguments of their own",
    "cookie_jar": "give cookies; those that the gateway sets are kept",
    "json_serialize": "send a request as bytes that are ready",
    "base_url": "give the whole URL",
    "raise_for_status": "look at the answer's status, or call its raise_for_status()",
    "trace_configs": "give tracer_provider",
    "connector_owner": "connections belong to their clientlet",
    "auto_decompress": "answers are always decompressed",
    "read_timeout": "give timeout=aiohttp.ClientTimeout(sock_read=..)",
    "conn_timeout": "give timeout=aiohttp.ClientTimeout(connect=..)",
    "verify_ssl": "give ssl=False to accept any certificate",
    "ssl_context": "give ssl=clientlet.Tls(..)",
    "fingerprint": "give ssl=clientlet.Tls(..)",
    "url": ADDRESS_ELSEWHERE,
    "metadata": "this is gRPC's; give headers",
    "credentials": "this is gRPC's; give ssl",
    "compression": "this is gRPC's; requests over HTTP and WebSocket are not compressed",
    "read_bufsize": "answer_limit bounds an answer",
    "max_msg_size": "answer_limit bounds a message",
}

ACCEPTED = (
    "headers", "auth", "cookies", "timeout", "ssl", "proxy", "proxy_auth", "trust_env",
    "answer_limit", "max_connections", "docarray",
)  # fmt: skip

_TOTAL = 300.0
"""Seconds that an exchange may take if nothing else was said, as with aiohttp."""


def of_session(
    owner: str,
    given: Mapping[str, Any],
    retry: tuple[int, float, float, float],
    tracer_provider: Any,
) -> dict[str, Any]:
    """Makes the core's options of what aiohttp's session takes.

    :raises TypeError: for an argument that cannot be honoured, with what to do instead.
    """
    for name, value in given.items():
        if name in ACCEPTED or name in _OF_POST or value is None:
            continue
        advice = _ADVICE.get(name, f"it takes {', '.join(ACCEPTED)}, tracer_provider")
        raise TypeError(f"{owner} cannot honour the argument {name!r}: {advice}")
    attempts, initial_backoff, max_backoff, multiplier = retry
    if given.get("docarray") not in (None, "v1", "v2"):
        raise ValueError(f'docarray is "v1" or "v2", not {given["docarray"]!r}')
    if not isinstance(attempts, int):
        raise TypeError(f"max_attempts: a whole number is expected, not {type(attempts).__name__}")
    options: dict[str, Any] = {
        "headers": _pairs("headers", given.get("headers")),
        "cookies": _pairs("cookies", given.get("cookies")),
        "retry": Retry(max(attempts, 1), initial_backoff, max_backoff, multiplier),
        "attempt_timeout": _TOTAL,
    }
    _add_auth(options, given.get("auth"))
    _add_timeout(options, given.get("timeout"))
    _add_ssl(options, given.get("ssl"))
    _add_proxy(options, given.get("proxy"), given.get("proxy_auth"))
    if given.get("trust_env"):
        options["proxy_from_env"] = True
    for name in ("answer_limit", "max_connections"):
        if given.get(name) is not None:
            options[name] = given[name]
    if tracer_provider is not None:
        options["tracer_provider"] = tracer_provider
    return for_client(options, owner)


def _pairs(name: str, given: Any) -> list[tuple[str, str]]:
    """Names and values. The values of cookies may be `Morsel`s, which have a value each."""
    if not given:
        return []
    if not isinstance(given, Iterable):
        raise TypeError(f"{name} must be a mapping or pairs, not {type(given).__name__}")
    pairs: Iterable[Any] = given.items() if isinstance(given, Mapping) else given
    found = []
    for key, value in pairs:
        value = getattr(value, "value", value)
        if not isinstance(value, str):
            raise TypeError(f"{name}: the value of {key!r} must be a str, not {type(value).__name__}")
        found.append((str(key), value))
    return found


def _add_auth(options: dict[str, Any], auth: Any) -> None:
    if not auth:
        return
    if any(name.lower() == "authorization" for name, _ in options["headers"]):
        raise ValueError("auth and a header Authorization exclude each other; give one of them")
    if hasattr(auth, "encode") and not isinstance(auth, str):
        options["headers"].append(("Authorization", auth.encode()))
    elif isinstance(auth, (tuple, list)) and len(auth) == 2:
        options["basic_auth"] = tuple(auth)
    else:
        raise TypeError("auth must be an aiohttp.BasicAuth, or a pair of user and password")


def _add_timeout(options: dict[str, Any], timeout: Any) -> None:
    if timeout is None:
        return
    if isinstance(timeout, (int, float)):
        options["attempt_timeout"] = _limit(timeout)
        return
    if not hasattr(timeout, "total"):
        raise TypeError("timeout must be seconds or an aiohttp.ClientTimeout")
    options["attempt_timeout"] = _limit(timeout.total)
    connects = [seconds for seconds in (timeout.connect, timeout.sock_connect) if seconds and seconds > 0]
    if connects:
        options["connect_timeout"] = float(min(connects))
    if timeout.sock_read:
        options["idle_timeout"] = _limit(timeout.sock_read)


def _limit(seconds: float | None) -> float:
    """A limit of time, which `None`, 0 and negative numbers do not set, as with aiohttp."""
    return float(seconds) if seconds and seconds > 0 else float("inf")


def _add_ssl(options: dict[str, Any], ssl: Any) -> None:
    if ssl is None or ssl is True:
        return
    if ssl is False:
        ssl = Tls(danger_accept_invalid_certs=True)
    if not isinstance(ssl, Tls):
        raise TypeError(
            f"ssl cannot be a {type(ssl).__name__}, whose certificates cannot be read: give a "
            "clientlet.Tls(ca=.., client_certificate=..), or False to accept any certificate"
        )
    options["tls"] = ssl


def _add_proxy(options: dict[str, Any], proxy: Any, auth: Any) -> None:
    if proxy is None:
        return
    url = str(proxy)
    if auth is not None:
        from urllib.parse import quote

        scheme, _, rest = url.rpartition("://")
        user, password = (quote(part, safe="") for part in tuple(auth)[:2])
        url = f"{scheme or 'http'}://{user}:{password}@{rest}"
    options["proxy"] = url
