"""The one exception that means "the user can mend this", and how a program ends on it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from textvae.support.display import visible


class UserError(ValueError):
    """A mistake in what the user passed: one line that says what was expected, what was found, and the fix.

    The command line prints it without a traceback and exits with code 2; anything else that is raised is
    our own fault and keeps its traceback.
    """


@contextmanager
def reported_to_user() -> Iterator[None]:
    """Ends the program with one line on standard error and exit code 2 where a `UserError` is raised inside."""
    try:
        yield
    except UserError as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        raise SystemExit(2) from None
