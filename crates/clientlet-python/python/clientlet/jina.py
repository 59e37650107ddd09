"""Runs the installed `jina.Client` on this package's core: `python -m clientlet.jina script.py`.

    import clientlet

    clientlet.install_jina()

    from jina import Client

    Client(port=54321).post("/search", documents)

The page `docs/jina.md` tells what is replaced, and what is different on purpose.
"""

from __future__ import annotations

import io
import os
import runpy
import sys
import types
from importlib.machinery import SourceFileLoader
from typing import Any

from clientlet._jina_hook import Installed, UnknownReleaseError, install_jina, uninstall_jina

__all__ = ["Installed", "install_jina", "uninstall_jina"]

_USAGE = "usage: python -m clientlet.jina [--force] SCRIPT [ARGS ...] | [--force] -m MODULE [ARGS ...]"


def main() -> None:
    """Installs the hook and runs a script, or a module, as `python` itself does: it is the module `__main__`
    until the process has ended. `--force` before it tries a release of jina that the hook is not tested with."""
    arguments = sys.argv[1:]
    force = arguments[:1] == ["--force"]
    if force:
        arguments = arguments[1:]
    is_module = arguments[:1] == ["-m"]
    if is_module:
        arguments = arguments[1:]
    if not arguments or arguments[0].startswith("-"):
        is_asked = arguments[:1] in (["-h"], ["--help"])
        print(_USAGE, file=sys.stdout if is_asked else sys.stderr)
        sys.exit(0 if is_asked else 2)
    code = None if is_module or os.path.isdir(arguments[0]) else _code_of(arguments[0])
    try:
        install_jina(force=force)
    except UnknownReleaseError as error:
        sys.exit(f"python -m clientlet.jina: {error}, and so does --force before the script")
    sys.argv = arguments
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    # What `python -m` runs modules with; `runpy.run_module` takes the module away when its code has ended.
    run: Any = runpy._run_module_as_main  # type: ignore[attr-defined]
    if is_module:
        run(arguments[0])
    elif code is None:
        # A folder, or an archive.
        sys.path[0] = os.path.abspath(arguments[0])
        run("__main__", alter_argv=False)
    else:
        # As with `python script.py`, modules beside the script are found first.
        sys.path[0] = os.path.dirname(os.path.realpath(arguments[0]))
        path = os.path.abspath(arguments[0])
        loader = SourceFileLoader("__main__", path)
        facts = {"__file__": path, "__loader__": loader, "__cached__": None, "__annotations__": {}}
        vars(module).update(facts, __package__=None)
        exec(code, vars(module))


def _code_of(script: str) -> types.CodeType | None:
    """The code of a script; `None` for an archive of modules. As with `python`, the status is 2 if the script
    cannot be read."""
    path = os.path.abspath(script)
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        reason = f"[Errno {error.errno}] {error.strerror}"
        print(f"{sys.executable}: can't open file {path!r}: {reason}", file=sys.stderr)
        sys.exit(2)
    return None if source.startswith(b"PK\x03\x04") else compile(source, path, "exec", dont_inherit=True)


if __name__ == "__main__":
    main()
