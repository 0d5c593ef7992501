"""What a user needs to know about an error of the operating system."""

import errno

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def explain_system_error(error: OSError) -> str | None:
    """One sentence about a full disk, or a place where nothing may be written or read; None for other errors."""
    place = f" at {error.filename}" if error.filename else ""
    if error.errno in FULL:
        return (
            f"no space is left on the disk{place}. What was saved before is whole: free some space and repeat the "
            "command (resume=RUN for a run without name=), or set another paths.output_dir= or paths.cache_dir="
        )
    if error.errno in FORBIDDEN:
        why = "the disk is read-only" if error.errno == errno.EROFS else "this user has no permission"
        return (
            f"nothing can be read or written{place}, since {why}: set another paths.output_dir= or paths.cache_dir=, "
            "or change the permissions"
        )
    return None
