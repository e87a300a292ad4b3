# Declarations that both ends share, and the binding of librdkafka.

from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset
from libc.errno cimport EINVAL, ENOMEM, errno
from posix.types cimport pid_t

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len

cdef extern from "system.h" nogil:
    int64_t monotonic_ns()

cdef extern from "rdkafka.h" nogil:
    int RDK_OFFSET_BEGINNING, RDK_OFFSET_END
    ctypedef struct rdk_api_t:
        const char *version_str() noexcept nogil
    rdk_api_t rdk
    int rdk_load(const char *, char *, size_t)

cdef extern from "live.h" nogil:
    int LIVE_COUNT, LIVE_objects
    const char **live_names
    void live_watch()
    void live_add(int, int64_t)
    int64_t live_of(int)

cdef extern from "notices.h" nogil:
    ctypedef struct notice_t:
        int kind
        int code
        char text[480]
    ctypedef struct notices_t:
        int wake_fd
    int notice_take(notices_t *, notice_t *)

cdef extern from "client.h" nogil:
    ctypedef struct client_t:
        notices_t notices
    ctypedef struct properties_t:
        pass
    int properties_add(properties_t *, const char *, const char *)
    void properties_free(properties_t *)

cdef extern from "lag.h" nogil:
    ctypedef struct lag_entry_t:
        int32_t partition
        int64_t acknowledged, high
    ctypedef struct lag_t:
        pass
    lag_entry_t *lag_copy(lag_t *, int32_t *)

cdef extern from "keys.h" nogil:
    ctypedef struct keys_t:
        bint carried

cdef extern from "progress.h" nogil:
    ctypedef struct progress_t:
        keys_t keys

# Names of notice kinds, in the order of notices.h.
NOTICE_KINDS = ("log", "error", "oversize-line", "unproducible", "unreadable", "fatal", "assigned", "placed", "revoked",
                "stdin-broken", "stdin-closed", "stdout-ended", "protocol", "echo-owed", "aborted", "replaced",
                "cleared", "not-alone", "letter-refused", "survived-suspect", "survived-poison", "closed")


cdef int properties_of(dict config, properties_t *properties) except -1:
    """Copies of librdkafka properties, to be freed."""
    for name, value in config.items():
        if properties_add(properties, (<str>name).encode(), (<str>value).encode()) != 0:
            raise MemoryError
    return 0


cdef list take_notices(notices_t *notices):
    cdef notice_t notice
    taken = []
    while notice_take(notices, &notice):
        taken.append((NOTICE_KINDS[notice.kind], notice.code, (<bytes>notice.text).decode("utf-8", "replace")))
    return taken


def load(str path):
    """Bind the librdkafka inside the loaded extension module at ``path``; return its version, or raise ImportError."""
    cdef char why[512]
    if rdk_load(path.encode(), why, sizeof(why)) != 0:
        raise ImportError((<bytes>why).decode("utf-8", "replace"))
    live_watch()
    return (<bytes>rdk.version_str()).decode()


def live() -> dict[str, int]:
    """How many native objects there are now, by kind: none of any once the last ends of streams are gone."""
    cdef int kind
    return {live_names[kind].decode(): live_of(kind) for kind in range(LIVE_COUNT)}
