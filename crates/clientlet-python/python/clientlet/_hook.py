"""Headers that are asked for before each attempt: `before_attempt`."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Union

from clientlet._records import NextAttempt

if TYPE_CHECKING:
    from clientlet._core import Attempts

Added = Union[Mapping[str, str], Iterable[tuple[str, str]], None]
BeforeAttempt = Callable[[NextAttempt], Union[Added, Awaitable[Added]]]


def starting(function: BeforeAttempt) -> Callable[[Attempts], None]:
    """What starts the thread that runs `function`. The client starts it with its first call, and again in a
    child that was forked, which has none of its parent's threads. The thread ends after the client."""
    if not callable(function):
        raise TypeError(f"before_attempt: a function is expected, not {type(function).__name__}")

    def start(attempts: Attempts) -> None:
        name = "clientlet before_attempt"
        threading.Thread(target=_answer, args=(attempts, function), name=name, daemon=True).start()

    return start


def _answer(attempts: Attempts, function: BeforeAttempt) -> None:
    loop = None
    while (asked := attempts.next()) is not None:
        try:
            added = function(NextAttempt(*asked.parts))
            if inspect.isawaitable(added):
                import asyncio

                loop = loop or asyncio.new_event_loop()
                added = loop.run_until_complete(_result(added))
            asked.reply(pairs("headers", added))
        except BaseException as error:
            asked.fail(error)
        # The thread waits for the next attempt without the objects of this one.
        del asked
        added = None
    if loop is not None:
        loop.close()


async def _result(added: Awaitable[Added]) -> Added:
    return await added


def pairs(argument: str, headers: Added) -> list[tuple[str, str]]:
    """The names and values of headers, or of what else `argument` has pairs of."""
    if headers is None:
        return []
    if isinstance(headers, Mapping):
        return [*headers.items()]
    if isinstance(headers, Iterable) and not isinstance(headers, (str, bytes)):
        return [*headers]
    raise TypeError(f"{argument}: a dict or pairs are expected, not {type(headers).__name__}")
