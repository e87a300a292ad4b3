from collections.abc import Iterable

def spawn(
    path: bytes, argv: Iterable[bytes], env: Iterable[bytes], stdin_fd: int, stdout_fd: int, stderr_fd: int
) -> int:
    """Start the program at ``path`` (no search on PATH) and return its pid.

    ``argv`` and ``env`` (entries ``NAME=value``) are passed byte for byte. The child leads a session and process
    group of its own, has the three descriptors as 0, 1, 2 and no other, default signal dispositions, an empty signal
    mask, and gets SIGKILL when the calling thread dies; limits, working directory and umask are kept.

    Raises OSError with exec's errno (``filename`` is the path), ValueError for a NUL byte, and RuntimeError off the
    main thread. Blocks until exec succeeded or failed; other threads run meanwhile.
    """

def become_subreaper() -> None:
    """Have orphans among this process's descendants handed to it instead of to PID 1. OSError if the kernel refuses."""

def release_pages(address: int, length: int) -> None:
    """Take pages out of this process's memory; those of a file are read from it again when they are used.

    What was written to private pages is lost: only for mappings without any. OSError if the kernel refuses.
    """
