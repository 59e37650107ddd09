"""The command: `python -m clientlet`, and the script `clientlet`."""

from __future__ import annotations

import os
import signal
import sys

from clientlet import _core


def main() -> None:
    """Runs the command with the arguments of this process, and ends the process."""
    # The command listens for Ctrl-C itself. Before and after that, Ctrl-C ends the process at once, as it ends
    # other commands, and no traceback is printed.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    code = _core.command(["clientlet", *sys.argv[1:]])
    # Nothing of Python is left to be done, and a thread that reads from a terminal must not be waited for.
    os._exit(code)


if __name__ == "__main__":
    main()
