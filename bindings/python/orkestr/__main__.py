"""``python -m orkestr``, and the command ``orkestr`` of the wheel: the command line takes the place of this process."""

import os
import pathlib
import signal
import sys
from typing import NoReturn

from . import _core


def main() -> NoReturn:
    package = pathlib.Path(_core.__file__).parent
    # In a wheel; in a build tree, where the package is BUILD/python/orkestr.
    for program in (package / "bin" / "orkestr", package.parents[1] / "bin" / "orkestr"):
        if os.access(program, os.X_OK):
            # Python ignores both, and a program that is executed inherits that: `orkestr ls | head` would complain.
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            os.execv(program, ["orkestr", *sys.argv[1:]])
    sys.exit(f"orkestr: the command line is not in {package / 'bin'}; install the package again")


if __name__ == "__main__":
    main()
