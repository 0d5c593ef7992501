"""Errors of the operating system, explained to a user."""

import errno
import os

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def explain_system_error(error: BaseException) -> str | None:
    """One sentence about a full disk, or a place where nothing may be written or read; None for other errors."""
    if isinstance(error, ValueError) and str(error).startswith("Unable to configure handler"):
        error = error.__cause__ or error  # logging wraps the error of its file in its own
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if error.strerror != os.strerror(error.errno):
        return error.strerror  # ours, which says more
    place = f" at {error.filename}" if error.filename else ""
    elsewhere = "another place with paths.output_dir=, paths.cache_dir= or out="
    if error.errno in _FULL:
        return (
            f"no space is left on the disk{place}. What was saved before is whole: free some space and repeat the "
            f"command (resume=RUN for a run without name=), or choose {elsewhere}"
        )
    if error.errno in _FORBIDDEN:
        why = "the disk is read-only" if error.errno == errno.EROFS else "this user has no permission"
        return f"nothing can be read or written{place}, since {why}: choose {elsewhere}, or change the permissions"
    return None
