"""The exception for mistakes that the user can fix, and how a program ends with it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from textvae.support.display import visible


class UserError(ValueError):
    """A mistake in the user's input. Its message is one line: what was expected, what was found, and the fix.

    The command line prints it without a traceback and exits with code 2. Any other exception is a bug of this package
    and keeps its traceback.
    """


@contextmanager
def reported_to_user() -> Iterator[None]:
    """If the block raises a `UserError`, end the program with one line on standard error and exit code 2."""
    try:
        yield
    except UserError as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        raise SystemExit(2) from None
