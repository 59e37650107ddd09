"""The module `jina.clients.base.helper` in the form of Jina 3.33.1: a clientlet for HTTP is told the address
with each message, and reads the answer. See `clientlet.helper`.

    from clientlet.helper_3_33 import HTTPClientlet

    async with HTTPClientlet(logger=None) as clientlet:
        status, body = await clientlet.send_message("http://localhost:8080/search", request)
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote, urlsplit

from clientlet import _core
from clientlet._exchange import Answer, json_of, of_aiohttp, of_text
from clientlet._errors import Error, NotFoundError
from clientlet._settings import ADDRESS_ELSEWHERE
from clientlet.helper import (
    WsResponseIter,
    _asked,
    _HttpReceiver,
    _seconds,
    _Session,
    _WebsocketMethods,
)

__all__ = [
    "AioHttpClientlet",
    "HTTPClientlet",
    "WsResponseIter",
    "WebsocketClientlet",
    "handle_response_status",
]


class AioHttpClientlet(_Session):
    """The base class of the clientlets: a session without an address."""

    def __init__(
        self,
        logger: Any,
        max_attempts: int = 1,
        initial_backoff: float = 0.5,
        max_backoff: float = 2,
        backoff_multiplier: float = 1.5,
        tracer_provider: Any = None,
        **kwargs: Any,
    ) -> None:
        """The arguments are those of `clientlet.helper.AioHttpClientlet`, without the address."""
        if isinstance(logger, str) and "://" in logger:
            raise TypeError(f"the logger of {type(self).__name__} is an address: {ADDRESS_ELSEWHERE}")
        backoff = (initial_backoff, max_backoff, backoff_multiplier)
        super().__init__(logger, max_attempts, *backoff, tracer_provider, kwargs)


class HTTPClientlet(_HttpReceiver, AioHttpClientlet):
    """Posts requests, and returns the answers that it has read. One session serves any number of addresses and
    tasks."""

    UPDATE_EVENT_PREFIX = 14
    """Unused: events are parsed, whatever their framing."""

    _streams: dict[str, _core.Core] | None = None

    async def send_message(self, url: str, request: Any) -> tuple[int, Any]:
        """Posts a request, and returns the status and the body, read from JSON or as text. What another attempt
        may help against is retried: connections that fail, and statuses such as 503.

        :raises Error: why there is no answer, or what its status means. It is also what the original raises: for a
            404 Jina's `BadClient`, where Jina is installed; a `ConnectionError` if there is no answer, or one that
            says that an executor cannot be reached; a `ValueError` for all other answers that are no success.
        """
        session = self._opened()
        body, documents, is_v2 = json_of(request)
        try:
            answer = await session.send(url, body, documents, is_v2, [], None, True)
        except Error as error:
            raise of_aiohttp(error) from error.__cause__
        self.msg_sent += 1
        self.msg_recv += 1
        status, text = answer.status, answer.json_text
        if text is None:
            content = await _content(Answer(answer, url))
        else:
            try:
                content = of_text(text)
            except ValueError:
                content = Answer(answer, url)._value_of(text)
        if status != 200:
            try:
                handle_response_status(status, content, url)
            except Exception as refusal:
                raise Answer(answer, url)._refused(content, refusal) from None
        return status, content

    async def send_streaming_message(self, url: str, doc: Any, on: str) -> AsyncIterator[str]:
        """Asks an endpoint that is a generator, and yields its documents as JSON, as they come.

        :param url: the address, with the endpoint in its path.
        :param doc: the document: an object of DocArray, or a dict.
        :param on: the endpoint, which the address has already.
        :raises Error: why the stream ended before its end.
        """
        self._opened()
        gateway, endpoint = _split(url)
        if self._streams is None:
            self._streams = {}
        core = self._streams.get(gateway)
        if core is None:
            core = self._streams[gateway] = _core.Core(gateway, {**self._options, "docarray": "v2"})
        document = doc.to_dict() if hasattr(doc, "to_dict") else doc
        call = core.stream_doc(endpoint, document, {"headers": []})
        self.msg_sent += 1
        try:
            while (found := await call.next_async()) is not None:
                self.msg_recv += 1
                yield json.dumps(found)
        except Error as error:
            raise of_aiohttp(error) from error.__cause__

    async def close(self, *args: Any, **kwargs: Any) -> None:
        """Closes the session. The arguments, those of `__aexit__`, mean nothing."""
        streams, self._streams = self._streams, None
        for core in (streams or {}).values():
            core.close()
        await super().close()

    async def send_dry_run(self, url: str, **kwargs: Any) -> Answer:
        """Gets the address of the dry run, once.

        :param kwargs: `timeout` in seconds; there is none by default. Others mean nothing.
        :raises Error: why there is no answer.
        """
        session = self._opened()
        timeout = _seconds(kwargs.get("timeout"))
        return await _asked(self, session.send(url, None, 0, False, [], timeout, False), url)


def _split(url: str) -> tuple[str, str]:
    """The gateway's address and the endpoint of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}", unquote(parts.path)


async def _content(answer: Answer) -> Any:
    if answer.content_type == "application/json":
        return await answer.json()
    return await answer.text()


class WebsocketClientlet(_WebsocketMethods, AioHttpClientlet):
    """Sends requests and receives answers over one WebSocket. Connecting is retried like sending."""

    _retries_connecting = True

    def __init__(self, url: str, *args: Any, **kwargs: Any) -> None:
        """The other arguments are those of `AioHttpClientlet`."""
        AioHttpClientlet.__init__(self, *args, **kwargs)
        self.url = url
        self._prepare(kwargs.get("docarray"))


def handle_response_status(http_status: int, response_content: Any, url: str) -> None:
    """Raises for an answer that is no success.

    :raises BadClient: Jina's, where it is installed, for a 404; `NotFoundError` otherwise.
    :raises ConnectionError: for 503 and 504, if the body says why.
    :raises ValueError: for all others.
    """
    if http_status == 404:
        raise _bad_client()(f"no such endpoint {url}")
    if http_status in (503, 504):
        try:
            description = response_content["header"]["status"]["description"]
        except (KeyError, TypeError):
            raise ValueError(response_content) from None
        raise ConnectionError(description)
    if not 200 <= http_status <= 300:
        raise ValueError(response_content)


def _bad_client() -> type[Exception]:
    try:
        from jina.excepts import BadClient  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return NotFoundError
    return BadClient  # type: ignore[no-any-return,unused-ignore]
