"""Puts this package's core under the installed `jina.Client`, and takes it out again.

Nothing below the client is touched: gateways in the same process use `RequestStreamer` and the stubs of gRPC
as well.
"""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType
from typing import Any

RELEASES = ("3.14.1", "3.33.1")
"""The releases of jina that the hook is tested with."""

_log = logging.getLogger("clientlet.jina")
_lock = threading.RLock()
_originals: list[tuple[Any, str, Any]] = []


class UnknownReleaseError(ImportError):
    """A release of jina that the hook is not tested with."""


class Installed:
    """What `install_jina` returns: a context manager that takes the hook out at its end, if this call put it
    in. Its `repr` says whether the hook is in effect."""

    def __init__(self, is_first: bool) -> None:
        self._is_first = is_first

    def __repr__(self) -> str:
        return f"<install_jina: {_effect() if _originals else 'not in effect'}>"

    def __enter__(self) -> Installed:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_first:
            uninstall_jina()


def install_jina(*, force: bool = False) -> Installed:
    """Has the clients of the installed `jina` work through this package, those that exist already too.

    If the hook is installed already, this changes nothing. As a context manager it takes the hook out at
    the end of the block, unless it was installed before.

    :param force: whether a release of jina that the hook is not tested with is tried.
    :raises ImportError: jina is not installed, or a release that the hook is not tested with.
    """
    with _lock:
        if _originals:
            return Installed(False)
        try:
            import jina  # type: ignore[import-not-found,unused-ignore]
        except ImportError as error:
            raise ImportError("install_jina: jina is not installed: pip install jina") from error
        release = getattr(jina, "__version__", "unknown")
        if release not in RELEASES and not force:
            known = " and ".join(RELEASES)
            raise UnknownReleaseError(
                f"install_jina: jina {release} is not known, only {known}; "
                "install_jina(force=True) tries it"
            )
        from clientlet import _jina_calls

        for of, name, make in _jina_calls.REPLACED:
            original = of.__dict__.get(name)
            if original is not None:
                _originals.append((of, name, original))
                setattr(of, name, make(original))
        _log.info("install_jina: %s", _effect())
        return Installed(True)


def _effect() -> str:
    jina = sys.modules.get("jina")
    return f"the clients of jina {getattr(jina, '__version__', 'unknown')} work through clientlet"


def uninstall_jina() -> None:
    """Gives `jina.Client` its own code back. Calls that are under way go on to their end through this
    package; further calls are jina's own. Without the hook this does nothing."""
    with _lock:
        if _originals:
            _log.info("uninstall_jina: the clients of jina have their own code back")
        while _originals:
            of, name, original = _originals.pop()
            setattr(of, name, original)
