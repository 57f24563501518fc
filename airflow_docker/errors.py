"""Errors that a user can cause: one sentence, no traceback."""

import errno
import functools
import os
import sys
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from invoke.exceptions import Exit

P = ParamSpec("P")
R = TypeVar("R")
FAILED = 1
_PIPE_CLOSED = 128 + 13
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
USAGE = 2


class UserError(Exit):
    """A problem that the user can fix, printed on standard error without a traceback.

    The form is ``where: what is wrong. What to do.``; ``code`` is the exit code:
    1 for a failure, 2 for bad usage or settings.
    """

    def __init__(self, where: str, what: str, todo: str = "", code: int = FAILED) -> None:
        self.where, self.what, self.todo = where, what, todo
        space = "" if what.endswith("\n") else " "
        super().__init__(message=f"{where}: {what}{space}{todo}".rstrip(), code=code)

    def __str__(self) -> str:
        return self.text

    @property
    def text(self) -> str:
        """The complete message."""
        return self.message or ""


class Superseded(UserError):
    """Another run has stopped or started again what this one was waiting for."""


class UserErrors(UserError):
    """Several problems, one line each."""

    def __init__(self, errors: list[UserError]) -> None:
        super().__init__(errors[0].where, errors[0].what, errors[0].todo, max(e.code for e in errors))
        self.errors = errors
        self.message = "\n".join(e.text for e in errors)


def guarded(body: Callable[P, R]) -> Callable[P, R]:
    """``body``, with errors of the system (permissions, a full or read-only disk) raised as UserError.

    Any other exception is a bug of ours and keeps its traceback.
    """

    @functools.wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return body(*args, **kwargs)
        except BrokenPipeError:  # the reader of our output, like head, has ended
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Exit(code=_PIPE_CLOSED) from None
        except OSError as problem:
            if problem.errno in _DISK_FULL:
                what = f"there is no room left ({problem.strerror})."
                raise UserError(str(problem.filename or "the disk"), what, "Free some: inv clean, inv doctor") from None
            if problem.filename is None or problem.strerror is None:
                raise
            todo = "Look at its owner, its mode and the free space."
            raise UserError(str(problem.filename), f"{problem.strerror.lower()}.", todo) from None

    return run


def collected(checks: Iterable[Callable[[], None]]) -> list[UserError]:
    """All errors that ``checks`` raise."""
    errors: list[UserError] = []
    for check in checks:
        try:
            check()
        except UserErrors as several:
            errors += several.errors
        except UserError as error:
            errors.append(error)
    return errors


def raise_all(errors: list[UserError]) -> None:
    """Raise the collected errors: nothing, the one error, or all together."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise UserErrors(errors)
