"""Runs the installed `jina.Client` on this package's core: `python -m clientlet.jina script.py`.

    import clientlet

    clientlet.install_jina()

    from jina import Client

    Client(port=54321).post("/search", documents)

The page `docs/jina.md` tells what is replaced, and what is different on purpose.
"""

from __future__ import annotations

import runpy
import sys

from clientlet._jina_hook import Installed, install_jina, uninstall_jina

__all__ = ["Installed", "install_jina", "uninstall_jina"]

_USAGE = "usage: python -m clientlet.jina SCRIPT [ARGS ...] | -m MODULE [ARGS ...]"


def main() -> None:
    """Installs the hook and runs a script, or a module, as `python` itself does."""
    arguments = sys.argv[1:]
    is_module = arguments[:1] == ["-m"]
    if is_module:
        arguments = arguments[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE, file=sys.stdout if arguments else sys.stderr)
        sys.exit(0 if arguments else 2)
    install_jina()
    sys.argv = arguments
    if is_module:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        # As with `python script.py`, modules beside the script are found first.
        sys.path[0] = _folder(arguments[0])
        runpy.run_path(arguments[0], run_name="__main__")


def _folder(script: str) -> str:
    import os

    return os.path.dirname(os.path.abspath(script))


if __name__ == "__main__":
    main()
