"""The module `jina.clients.base.helper` on this package's core, in its documented form, that of Jina
3.14.1. `clientlet.helper_3_33` has the form of 3.33.1.

    from clientlet.helper import HTTPClientlet, WebsocketClientlet

    async with HTTPClientlet("http://localhost:8080/post", logger=None) as clientlet:
        answer = await clientlet.send_message(request)
        print(answer.status, await answer.json())

The page `docs/helper.md` has each class and method, and what differs from the original.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from enum import IntEnum
from typing import Any, NamedTuple, TypeVar

from clientlet import _core
from clientlet._errors import ClosedError, Error
from clientlet._exchange import Answer, json_of, of_aiohttp, of_opening, proto_of
from clientlet._messages import DataRequest, of_jina
from clientlet._settings import of_session

__all__ = ["AioHttpClientlet", "HTTPClientlet", "WsResponseIter", "WebsocketClientlet"]

_Self = TypeVar("_Self", bound="_Session")


class _Session(ABC):
    """What the clientlets of both forms share."""

    def __init__(
        self,
        logger: Any,
        max_attempts: int,
        initial_backoff: float,
        max_backoff: float,
        backoff_multiplier: float,
        tracer_provider: Any,
        kwargs: dict[str, Any],
    ) -> None:
        retry = (max_attempts, initial_backoff, max_backoff, backoff_multiplier)
        self._options = of_session(type(self).__name__, kwargs, retry, tracer_provider)
        self.logger = logger
        self.msg_recv = 0
        """The number of answers that were received."""
        self.msg_sent = 0
        """The number of messages that were sent."""
        self.session: Any = None
        """The open session; `None` before `start`. It has `closed`."""
        self.max_attempts = max_attempts
        self.initial_backoff = initial_backoff
        self.max_backoff = max_backoff
        self.backoff_multiplier = backoff_multiplier

    @abstractmethod
    async def send_message(self, *args: Any, **kwargs: Any) -> Any:
        """Sends a request."""

    @abstractmethod
    async def send_dry_run(self, *args: Any, **kwargs: Any) -> Any:
        """Asks whether the gateway and its executors can work."""

    @abstractmethod
    def recv_message(self) -> Any:
        """Receives answers."""

    def recv_dry_run(self) -> Any:
        """Receives the answer to a dry run."""
        return _nothing()

    async def __aenter__(self: _Self) -> _Self:
        return await self.start()

    async def start(self: _Self) -> _Self:
        """Opens the session, and returns the clientlet.

        :raises ConfigError: an argument whose value cannot be used.
        """
        self.session = _core.HttpSession(self._options)
        return self

    async def __aexit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        await self.close(exc_type, exc_val, exc_tb)

    async def close(self, *args: Any, **kwargs: Any) -> None:
        """Closes the session. The arguments, those of `__aexit__`, mean nothing."""
        if self.session is not None:
            self.session.close()

    def _opened(self) -> Any:
        if self.session is None:
            raise of_aiohttp(ClosedError(f"the {type(self).__name__} is not open: {_START}"))
        return self.session


_START = "use `async with`, or await its start() first"


async def _nothing() -> None:
    return None


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()


class AioHttpClientlet(_Session):
    """The base class of the clientlets: an address, and the session with it."""

    def __init__(
        self,
        url: str,
        logger: Any,
        max_attempts: int = 1,
        initial_backoff: float = 0.5,
        max_backoff: float = 0.1,
        backoff_multiplier: float = 1.5,
        tracer_provider: Any = None,
        **kwargs: Any,
    ) -> None:
        """A clientlet for messages to one address.

        :param url: the address that messages are sent to.
        :param logger: a logger, such as Jina's, or `None`.
        :param max_attempts: how often a message is sent, the first time included.
        :param initial_backoff: seconds; the longest wait before the second attempt.
        :param max_backoff: seconds; the longest wait before any attempt.
        :param backoff_multiplier: the wait before attempt n + 1 is random between 0 and
            `min(initial_backoff * backoff_multiplier ** (n - 1), max_backoff)`.
        :param tracer_provider: OpenTelemetry's provider of tracers.
        :param kwargs: headers, auth, cookies, timeout, proxy, proxy_auth and trust_env as aiohttp's session
            and its requests take them, ssl (`False`, or a `clientlet.Tls`), answer_limit (bytes),
            max_connections, docarray (`v1` or `v2`, for requests that are dicts, over WebSocket).
        :raises TypeError: an argument that cannot be honoured.
        """
        backoff = (initial_backoff, max_backoff, backoff_multiplier)
        super().__init__(logger, max_attempts, *backoff, tracer_provider, kwargs)
        self.url = url


class _HttpReceiver:
    """Over HTTP an answer is what sending returns, so receiving never ends, as in the original."""

    async def recv_message(self) -> Any:
        """Never returns: over HTTP `send_message` returns the answer."""
        await _for_ever()

    async def recv_dry_run(self) -> Any:
        """Never returns: over HTTP `send_dry_run` returns the answer."""
        await _for_ever()


class HTTPClientlet(_HttpReceiver, AioHttpClientlet):
    """Posts requests to its address, and returns the answers."""

    async def start(self: _Self) -> _Self:
        """Opens the session, and returns the clientlet. A connection is made when something is sent.

        :raises ConfigError: an address or argument that cannot be used.
        """
        session = _core.HttpSession(self._options)
        session.check(self.url)  # type: ignore[attr-defined,unused-ignore]
        self.session = session
        return self

    async def send_message(self, request: Any) -> Answer:
        """Posts a request, and returns the answer, whatever its status. Sending is retried until there is an
        answer, as often as `max_attempts` says.

        :param request: a `DataRequest`, a dict, another object with `to_dict()`, or JSON that is ready, as
            bytes or text.
        :raises Error: why there is no answer; where aiohttp is imported, also aiohttp's error.
        """
        session = self._opened()
        body, documents, is_v2 = json_of(request)
        try:
            answer = await session.send(self.url, body, documents, is_v2, [], None, False)
        except Error as error:
            raise of_aiohttp(error) from error.__cause__
        self.msg_sent += 1
        self.msg_recv += 1
        return Answer(answer, self.url)

    async def send_dry_run(self, **kwargs: Any) -> Answer:
        """Gets its address, which should be the one of the dry run, once.

        :param kwargs: `timeout` in seconds; there is none by default. Others mean nothing.
        :raises Error: why there is no answer.
        """
        session = self._opened()
        timeout = _seconds(kwargs.get("timeout"))
        return await _asked(self, session.send(self.url, None, 0, False, [], timeout, False), self.url)


async def _asked(clientlet: _Session, sending: Any, url: str) -> Answer:
    try:
        answer = Answer(await sending, url)
    except Error as error:
        raise of_aiohttp(error) from error.__cause__
    clientlet.msg_sent += 1
    clientlet.msg_recv += 1
    return answer


def _seconds(timeout: Any) -> float | None:
    """Seconds of a time-out, which may be one of aiohttp's."""
    total = getattr(timeout, "total", timeout)
    return None if total is None else float(total)


class WSMsgType(IntEnum):
    """What a message of a WebSocket is, numbered as in aiohttp."""

    BINARY = 2
    CLOSE = 8
    CLOSING = 256
    CLOSED = 257


_ENDS = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED)


class WSMessage(NamedTuple):
    """A message of a WebSocket, in the shape of aiohttp's."""

    type: int
    data: Any
    extra: str | None


class WebSocket:
    """An open WebSocket, with the face of aiohttp's."""

    def __init__(self, core: _core.WebSocket) -> None:
        self._core = core

    async def receive(self) -> WSMessage:
        """The next message: its bytes, or how the connection was closed.

        :raises Error: what was wrong with a message.
        :raises RuntimeError: if another task receives.
        """
        try:
            data = self._core.receive()
            if data is not None and not isinstance(data, bytes):
                data = await data
        except Error as error:
            raise of_aiohttp(error) from error.__cause__
        return self._ending() if data is None else WSMessage(WSMsgType.BINARY, data, None)

    async def send_bytes(self, data: bytes, compress: int | None = None) -> None:
        """Sends a message.

        :raises Error: why it could not be sent; also a `ConnectionResetError`.
        """
        await _sent(self._core.send, bytes(data))

    async def close(self, *, code: int = 1000, message: bytes = b"") -> bool:
        """Closes the connection. The code is always 1000, and there is no message.

        :return: whether it was open.
        """
        was_open = self._core.is_open
        await self._core.close()
        return was_open

    @property
    def closed(self) -> bool:
        """Whether nothing comes any more."""
        return not self._core.is_open

    @property
    def close_code(self) -> int | None:
        """How the connection was closed; `None` while it is open."""
        return self._core.close_code

    def _ending(self) -> WSMessage:
        return WSMessage(WSMsgType.CLOSE, self._core.close_code, self._core.close_message)


async def _sent(send: Callable[..., Any], *message: bytes) -> None:
    try:
        sending = send(*message)
        # A message that was written at once needs no awaiting.
        if sending is not None:
            await sending
    except Error as error:
        raise of_aiohttp(error, None, ConnectionResetError) from error.__cause__


class WsResponseIter:
    """The messages of a WebSocket until it is closed, and then how it was closed.

    :param websocket: a WebSocket of this module or of aiohttp: what has `receive()`.
    """

    def __init__(self, websocket: Any) -> None:
        self.websocket = websocket
        self.close_message: Any = None
        """The last message; `None` before the end."""

    def __aiter__(self) -> WsResponseIter:
        return self

    async def __anext__(self) -> Any:
        message = await self.websocket.receive()
        if message.type in _ENDS:
            self.close_message = message
            raise StopAsyncIteration
        return message


def _of_websocket(url: Any) -> str:
    """The address of a WebSocket, which may be given as that of the gateway, as in the original."""
    scheme, separator, rest = str(url).partition("://")
    scheme = {"http": "ws", "https": "wss"}.get(scheme.lower(), scheme)
    return f"{scheme}{separator}{rest}"


class _WebsocketMethods(_Session):
    """What the WebSocket clientlets of both forms share, beside the address."""

    url: str
    session: Any
    _retries_connecting = False

    def _prepare(self, docarray: str | None) -> None:
        self.websocket: WebSocket | None = None
        """The open WebSocket; `None` before `start`."""
        self.response_iter: WsResponseIter | None = None
        """The messages of the WebSocket; `None` before `start`."""
        self._request_class, self._status_class = of_jina()
        self._is_v2 = docarray == "v2"
        self._core: _core.WebSocket | None = None

    async def start(self: Any) -> Any:
        """Connects, and returns the clientlet.

        :raises Error: why there is no connection.
        :raises ConfigError: an address or argument that cannot be used.
        """
        core = _core.WebSocket(_of_websocket(self.url), self._options)
        try:
            await core.start(self._retries_connecting)
        except Error as error:
            raise of_opening(error) from error.__cause__
        self._core = core
        self.session = self.websocket = WebSocket(core)
        self.response_iter = WsResponseIter(self.websocket)
        return self

    async def close(self, *args: Any, **kwargs: Any) -> None:
        """Closes the connection. The arguments, those of `__aexit__`, mean nothing. Requests that are not
        answered by then never will be."""
        if self._core is not None:
            await self._core.close()

    async def send_message(self, request: Any) -> None:
        """Sends a request, and returns when it is written. If the connection was lost, the next attempt opens
        another one.

        :param request: a `DataRequest`, a dict, another object with `SerializeToString()`, or protobuf that is
            ready, as bytes.
        :raises Error: why it could not be sent; also a `ConnectionResetError`.
        """
        core = self._core or self._opened_core()
        # As most requests are.
        if type(request) is self._request_class:
            message = request.SerializeToString()
        else:
            message = proto_of(request, self._is_v2)
        try:
            sending = core.send(message)
            if sending is not None:
                await sending
        except Error as error:
            if self.logger is not None:
                self.logger.critical(f"the request was not sent: {error}")
            raise of_aiohttp(error, None, ConnectionResetError) from error.__cause__
        self.msg_sent += 1

    async def send_dry_run(self, **kwargs: Any) -> None:
        """Asks for a dry run, if that is what the address is for. It is no error if the gateway, which
        answers there without being asked, has already closed. The arguments mean nothing."""
        core = self._opened_core()
        await _sent(core.send_dry_run)

    async def send_eoi(self) -> None:
        """Announces the end of input: the gateway answers the remaining requests, then closes with 1000. It is
        no error if the connection is closed already."""
        core = self._opened_core()
        if core.is_open:
            try:
                await _sent(core.send_eoi)
            except (ConnectionError, TimeoutError):
                # The gateway may close while this is being sent.
                pass

    def recv_message(self) -> AsyncIterator[Any]:
        """The answers, as they come: Jina's `DataRequest`s, or this package's of the same shape. There is one
        receiver at a time. Afterwards `close_code` and `close_message` say how the connection was closed.

        :raises Error: what was wrong with a message.
        :raises RuntimeError: if another task receives.
        """
        make = self._request_class
        if make is DataRequest and self._is_v2:
            make = lambda message: DataRequest(message, "v2")  # noqa: E731
        return self._messages(make)

    def recv_dry_run(self) -> AsyncIterator[Any]:
        """The answer to a dry run, if there is one: a `StatusMessage`. If an executor is down, there is none, and
        `close_code` is 1011."""
        return self._messages(self._status_class)

    async def _messages(self, make: Callable[[bytes], Any]) -> AsyncIterator[Any]:
        """The messages until the end, which the messages of the WebSocket keep."""
        receive = self._opened_core().receive
        while True:
            try:
                message = receive()
                # A message that has come needs no awaiting.
                if message is not None and not isinstance(message, bytes):
                    message = await message
            except Error as error:
                raise of_aiohttp(error) from error.__cause__
            if message is None:
                break
            self.msg_recv += 1
            yield make(message)
        if self.response_iter is not None:
            self.response_iter.close_message = self.response_iter.websocket._ending()

    def _opened_core(self) -> _core.WebSocket:
        if self._core is None:
            raise of_aiohttp(ClosedError(f"the {type(self).__name__} is not open: {_START}"))
        return self._core

    @property
    def close_message(self) -> str | None:
        """Why the connection was closed; `None` before its end was received."""
        message = self.response_iter.close_message if self.response_iter else None
        return None if message is None else message.extra

    @property
    def close_code(self) -> int | None:
        """How the connection was closed, as RFC 6455 numbers it: 1000 in good order, 1011 if the gateway
        failed, 1006 without a word. `None` while it is open."""
        return self.websocket.close_code if self.websocket else None


class WebsocketClientlet(_WebsocketMethods, AioHttpClientlet):
    """Sends requests and receives answers over one WebSocket, independently of each other."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """The arguments are those of `AioHttpClientlet`."""
        AioHttpClientlet.__init__(self, *args, **kwargs)
        self._prepare(kwargs.get("docarray"))
