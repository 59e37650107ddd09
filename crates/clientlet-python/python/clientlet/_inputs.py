"""The inputs of a call: one document, many, or an asynchronous iterator of them."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from clientlet._core import columns_of_stream, is_document

if TYPE_CHECKING:
    import asyncio

    from clientlet._core import Feed


def source(inputs: Any, columns: Any, may_await: bool) -> tuple[str, Any]:
    """What the core is given: a word that says what the input is, and the input."""
    if columns is not None:
        if inputs is not None:
            raise TypeError("inputs: give documents or columns, not both")
        if hasattr(columns, "__arrow_c_stream__"):
            return "columns", columns_of_stream(columns.__arrow_c_stream__())
        if not isinstance(columns, Mapping):
            raise TypeError(f"columns: a dict is expected, not {type(columns).__name__}")
        return "columns", dict(columns)
    if inputs is None:
        return "none", None
    if hasattr(inputs, "__arrow_c_stream__"):
        return "columns", columns_of_stream(inputs.__arrow_c_stream__())
    if isinstance(inputs, (str, bytes, bytearray)):
        such = ' such as {"text": ...}' if isinstance(inputs, str) else ""
        raise TypeError(f"inputs: documents{such} are expected, not {type(inputs).__name__}")
    if is_document(inputs):
        return "documents", (inputs,)
    if isinstance(inputs, AsyncIterable):
        if not may_await:
            raise TypeError("inputs: an asynchronous iterator needs an AsyncClient")
        return "feed", feeding(inputs)
    if isinstance(inputs, Iterable):
        return "documents", inputs
    if callable(inputs):
        given = inputs()
        if given is None:
            raise TypeError("inputs: the function returned None, and no documents")
        return source(given, None, may_await)
    raise TypeError(f"inputs: documents are expected, not {type(inputs).__name__}")


def feeding(inputs: AsyncIterable[Any]) -> Any:
    """What begins the task that reads an asynchronous iterator, when the call wants documents."""

    def begin(feed: Feed) -> asyncio.Task[None]:
        import asyncio

        return asyncio.get_running_loop().create_task(_feed(inputs, feed))

    return begin


async def _feed(inputs: AsyncIterable[Any], feed: Feed) -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    iterator = None
    try:
        iterator = inputs.__aiter__()
        while True:
            wanted = feed.wanted(loop)
            if wanted is not None:
                await wanted
            async for document in iterator:
                if feed.put(document):
                    break
            else:
                break
    except BaseException as error:
        feed.close(error)
        if not isinstance(error, Exception):
            raise
    else:
        feed.close()
    finally:
        # A generator that was not read to its end runs its `finally` now, and not some time later.
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()
