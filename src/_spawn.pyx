# cython: language_level=3
"""System calls that the standard library has not; first of all the Calculator's start, vfork and exec in C, because no
Python may run between the two.
"""

from libc.stdlib cimport free, malloc
from posix.types cimport pid_t
from posix.unistd cimport getpid, sysconf, _SC_OPEN_MAX

import os


cdef extern from "<sys/prctl.h>" nogil:
    int prctl(int option, ...)
    const int PR_SET_CHILD_SUBREAPER

cdef extern from "<sys/mman.h>" nogil:
    int madvise(void *address, size_t length, int advice)
    const int MADV_DONTNEED

cdef extern from "<sys/syscall.h>" nogil:
    const long SYS_gettid

cdef extern from "<unistd.h>" nogil:
    long syscall(long number, ...)

cdef extern from "spawn.h" nogil:
    struct spawn_request:
        const char *path
        char **argv
        char **env
        int stdio[3]
        pid_t parent
        int fd_highest
    long spawn_program(const spawn_request *request)


cdef char **c_strings(tuple strings) except NULL:
    """A NULL-terminated array of pointers into ``strings``, which must outlive it. Free it."""
    cdef char **array = <char **> malloc((len(strings) + 1) * sizeof(char *))
    cdef Py_ssize_t i
    if array is NULL:
        raise MemoryError
    for i in range(len(strings)):
        array[i] = <bytes> strings[i]
    array[len(strings)] = NULL
    return array


cdef tuple checked(strings, str what):
    result = tuple(strings)
    for one in result:
        if not isinstance(one, bytes):
            raise TypeError(f"{what} must be bytes, met {type(one).__name__}")
        if b"\0" in one:
            raise ValueError(f"{what} must not contain a NUL byte: {one!r}")
    return result


def spawn(path, argv, env, int stdin_fd, int stdout_fd, int stderr_fd):
    cdef spawn_request request
    cdef tuple path_kept = checked((path,), "the path")
    cdef tuple argv_kept = checked(argv, "an argument")
    cdef tuple env_kept = checked(env, "an environment entry")
    cdef long pid
    # The death signal comes when the thread that forked dies, and only the main thread lives as long as the process.
    if syscall(SYS_gettid) != getpid():
        raise RuntimeError("spawn must be called on the main thread: the child would die with the calling thread")
    request.path = <bytes> path_kept[0]
    request.stdio[0] = stdin_fd
    request.stdio[1] = stdout_fd
    request.stdio[2] = stderr_fd
    request.parent = getpid()
    request.fd_highest = <int> min(max(sysconf(_SC_OPEN_MAX), 0), 1 << 20)
    request.argv = c_strings(argv_kept)
    try:
        request.env = c_strings(env_kept)
        try:
            with nogil:
                pid = spawn_program(&request)
        finally:
            free(request.env)
    finally:
        free(request.argv)
    if pid < 0:
        raise OSError(-pid, os.strerror(-pid), os.fsdecode(path_kept[0]))
    return pid


def become_subreaper():
    if prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("prctl(PR_SET_CHILD_SUBREAPER) refused: this kernel cannot hand orphans to the Supervisor")


def release_pages(size_t address, size_t length):
    if madvise(<void *> address, length, MADV_DONTNEED) != 0:
        raise OSError("madvise(MADV_DONTNEED) refused")
