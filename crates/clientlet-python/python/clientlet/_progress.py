"""Progress of a call, shown by tqdm or rich where one of them is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Union


class Progress(Protocol):
    """What is told of a call's documents."""

    def update(self, documents: int, /) -> Any:
        """So many more documents were answered, or have failed."""

    def close(self) -> Any:
        """The call has ended."""


class _Silent:
    """Nothing is shown."""

    def update(self, documents: int, /) -> None: ...

    def close(self) -> None: ...


class _Told:
    """A function is told the number of documents so far."""

    def __init__(self, tell: Callable[[int], Any]) -> None:
        self._tell = tell
        self._count = 0

    def update(self, documents: int, /) -> None:
        self._count += documents
        self._tell(self._count)

    def close(self) -> None: ...


class _Rich:
    """A bar of rich."""

    def __init__(self, bar: Any, total: int | None) -> None:
        self._bar = bar
        self._task = self._bar.add_task("documents", total=total)
        self._bar.start()

    def update(self, documents: int, /) -> None:
        self._bar.update(self._task, advance=documents)

    def close(self) -> None:
        self._bar.stop()

    # A stream may be dropped before its end, but a thread of rich draws the bar until it is told to stop.
    __del__ = close


Show = Union[bool, Callable[[int], Any]]


def progress(show: Show, kind: str, inputs: Any) -> Progress:
    """What shows the progress of a call: nothing, a function of the caller's, or a bar. tqdm's bar knows
    notebooks. Without tqdm and rich nothing is shown. `kind` and `inputs` are what the core is given."""
    if not show:
        return _Silent()
    if callable(show):
        return _Told(show)
    if not isinstance(show, bool):
        raise TypeError(f"show_progress: True, False or a function is expected, not {type(show).__name__}")
    total = _total(kind, inputs)
    try:
        from tqdm.auto import tqdm  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        try:
            from rich.progress import Progress as Bar  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            return _Silent()
        return _Rich(Bar(), total)
    bar: Progress = tqdm(total=total, unit="document")
    return bar


def _total(kind: str, inputs: Any) -> int | None:
    """The number of documents, if it is known before they are read."""
    if kind == "columns":
        inputs = next(iter(inputs.values()), None)
    try:
        return len(inputs)
    except TypeError:
        return None
