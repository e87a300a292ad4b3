# Declarations of the C side, and the making of clients: configuration, callbacks, the log.

from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memmove, memset
from libc.errno cimport EAGAIN, EINTR, EINVAL, ENOMEM, errno
from libc.stdio cimport snprintf
from posix.types cimport ino_t, mode_t, pid_t

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len

cdef extern from "<fcntl.h>" nogil:
    int O_RDONLY, O_NONBLOCK, O_CLOEXEC

cdef extern from "<sys/stat.h>" nogil:
    struct c_stat "stat":
        ino_t st_ino
        mode_t st_mode
    bint S_ISFIFO(mode_t)

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    short POLLIN, POLLOUT, POLLERR

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)

cdef extern from "wake.h" nogil:
    ctypedef struct system_api_t:
        ssize_t writev(int, const iovec *, int) noexcept nogil
        int poll(pollfd *, unsigned long, int) noexcept nogil
        int unread_bytes(int, int *) noexcept nogil
        int pipe_bytes(int) noexcept nogil
        int open(const char *, int) noexcept nogil
        int stat(const char *, c_stat *) noexcept nogil
        int close(int) noexcept nogil
        void thread_name(const char *) noexcept nogil
    system_api_t sys
    int64_t monotonic_ns()
    int wake_open()
    void wake(int)
    void drain_wakes(int)
    void wait_wake(int, int)
    void close_if_open(int)

cdef extern from "rdkafka.h" nogil:
    ctypedef struct rd_kafka_t
    ctypedef struct rd_kafka_topic_t
    ctypedef struct rd_kafka_topic_conf_t
    ctypedef struct rd_kafka_queue_t
    ctypedef struct rd_kafka_headers_t
    ctypedef struct rd_kafka_message_t:
        int err
        rd_kafka_topic_t *rkt
        int32_t partition
        void *payload
        size_t len
        void *key
        size_t key_len
        int64_t offset
        void *_private
    ctypedef struct rd_kafka_topic_partition_t:
        char *topic
        int32_t partition
        int64_t offset
        void *metadata
        size_t metadata_size
        int err
    ctypedef struct rd_kafka_topic_partition_list_t:
        int cnt
        rd_kafka_topic_partition_t *elems
    ctypedef void (*rdk_dr_msg_cb)(rd_kafka_t *, const rd_kafka_message_t *, void *) noexcept nogil
    ctypedef void (*rdk_rebalance_cb)(rd_kafka_t *, int, rd_kafka_topic_partition_list_t *, void *) noexcept nogil
    ctypedef void (*rdk_offset_commit_cb)(
        rd_kafka_t *, int, rd_kafka_topic_partition_list_t *, void *) noexcept nogil
    int RDK_PRODUCER, RDK_CONSUMER, RDK_PARTITION_UA, RDK_OFFSET_BEGINNING, RDK_OFFSET_END
    int RDK_PURGE_QUEUE_AND_INFLIGHT, RDK_PURGE_NON_BLOCKING, RDK_DESTROY_NO_CONSUMER_CLOSE
    int RDK_MSG_STATUS_NOT_PERSISTED
    int RDK_ERR_NONE, RDK_ERR__QUEUE_FULL, RDK_ERR__ASSIGN_PARTITIONS, RDK_ERR__REVOKE_PARTITIONS
    int RDK_ERR__PURGE_QUEUE, RDK_ERR__PURGE_INFLIGHT, RDK_ERR__FATAL, RDK_ERR__UNKNOWN_PARTITION
    int RDK_ERR__CRIT_SYS_RESOURCE
    int RDK_ERR__TIMED_OUT, RDK_ERR_COORDINATOR_NOT_AVAILABLE, RDK_ERR_NOT_COORDINATOR
    int RDK_V_END, RDK_V_RKT, RDK_V_PARTITION, RDK_V_VALUE, RDK_V_KEY, RDK_V_OPAQUE, RDK_V_HEADERS
    int RDK_ERR_MSG_SIZE_TOO_LARGE, RDK_ERR_RECORD_LIST_TOO_LARGE, RDK_ERR_INVALID_RECORD
    ctypedef struct rdk_api_t:
        const char *version_str() noexcept nogil
        const char *err2str(int) noexcept nogil
        void destroy_flags(rd_kafka_t *, int) noexcept nogil
        int poll(rd_kafka_t *, int) noexcept nogil
        rd_kafka_queue_t *queue_new(rd_kafka_t *) noexcept nogil
        rd_kafka_queue_t *queue_get_consumer(rd_kafka_t *) noexcept nogil
        rd_kafka_queue_t *queue_get_partition(rd_kafka_t *, const char *, int32_t) noexcept nogil
        void queue_forward(rd_kafka_queue_t *, rd_kafka_queue_t *) noexcept nogil
        void queue_destroy(rd_kafka_queue_t *) noexcept nogil
        int poll_set_consumer(rd_kafka_t *) noexcept nogil
        int subscribe(rd_kafka_t *, const rd_kafka_topic_partition_list_t *) noexcept nogil
        rd_kafka_message_t *consumer_poll(rd_kafka_t *, int) noexcept nogil
        ssize_t consume_batch_queue(rd_kafka_queue_t *, int, rd_kafka_message_t **, size_t) noexcept nogil
        void message_destroy(rd_kafka_message_t *) noexcept nogil
        const char *rebalance_protocol(rd_kafka_t *) noexcept nogil
        int assignment_lost(rd_kafka_t *) noexcept nogil
        int assign(rd_kafka_t *, const rd_kafka_topic_partition_list_t *) noexcept nogil
        void *incremental_assign(rd_kafka_t *, const rd_kafka_topic_partition_list_t *) noexcept nogil
        void *incremental_unassign(rd_kafka_t *, const rd_kafka_topic_partition_list_t *) noexcept nogil
        void *consumer_close_queue(rd_kafka_t *, rd_kafka_queue_t *) noexcept nogil
        int consumer_closed(rd_kafka_t *) noexcept nogil
        void error_destroy(void *) noexcept nogil
        int offsets_store(rd_kafka_t *, rd_kafka_topic_partition_list_t *) noexcept nogil
        int commit(rd_kafka_t *, const rd_kafka_topic_partition_list_t *, int) noexcept nogil
        int commit_queue(rd_kafka_t *, const rd_kafka_topic_partition_list_t *, rd_kafka_queue_t *, void *,
                         void *) noexcept nogil
        int committed(rd_kafka_t *, rd_kafka_topic_partition_list_t *, int) noexcept nogil
        int get_watermark_offsets(rd_kafka_t *, const char *, int32_t, int64_t *, int64_t *) noexcept nogil
        rd_kafka_topic_partition_list_t *topic_partition_list_new(int) noexcept nogil
        rd_kafka_topic_partition_list_t *topic_partition_list_copy(
            const rd_kafka_topic_partition_list_t *) noexcept nogil
        void topic_partition_list_destroy(rd_kafka_topic_partition_list_t *) noexcept nogil
        rd_kafka_topic_partition_t *topic_partition_list_add(
            rd_kafka_topic_partition_list_t *, const char *, int32_t) noexcept nogil
        int topic_partition_list_del(rd_kafka_topic_partition_list_t *, const char *, int32_t) noexcept nogil
        int32_t topic_partition_get_leader_epoch(const rd_kafka_topic_partition_t *) noexcept nogil
        void topic_partition_set_leader_epoch(rd_kafka_topic_partition_t *, int32_t) noexcept nogil
        void *consumer_group_metadata(rd_kafka_t *) noexcept nogil
        void consumer_group_metadata_destroy(void *) noexcept nogil
        rd_kafka_headers_t *headers_new(size_t) noexcept nogil
        rd_kafka_headers_t *headers_copy(const rd_kafka_headers_t *) noexcept nogil
        void headers_destroy(rd_kafka_headers_t *) noexcept nogil
        int header_add(rd_kafka_headers_t *, const char *, ssize_t, const void *, ssize_t) noexcept nogil
        int message_headers(const rd_kafka_message_t *, rd_kafka_headers_t **) noexcept nogil
        void *TopicCollection_of_topic_names(const char **, size_t) noexcept nogil
        void TopicCollection_destroy(void *) noexcept nogil
        void DescribeTopics(rd_kafka_t *, const void *, const void *, rd_kafka_queue_t *) noexcept nogil
        void *queue_poll(rd_kafka_queue_t *, int) noexcept nogil
        int event_error(void *) noexcept nogil
        rd_kafka_topic_partition_list_t *event_topic_partition_list(void *) noexcept nogil
        const void *event_DescribeTopics_result(void *) noexcept nogil
        const void **DescribeTopics_result_topics(const void *, size_t *) noexcept nogil
        const void *TopicDescription_topic_id(const void *) noexcept nogil
        int64_t Uuid_least_significant_bits(const void *) noexcept nogil
        int64_t Uuid_most_significant_bits(const void *) noexcept nogil
        void event_destroy(void *) noexcept nogil
    rdk_api_t rdk
    int rdk_load(const char *, char *, size_t)

cdef extern from "live.h" nogil:
    int LIVE_COUNT, LIVE_objects, LIVE_headers, LIVE_lines
    const char **live_names
    void live_watch()
    void live_add(int, int64_t)
    int64_t live_of(int)

cdef extern from "offsets_question.h" nogil:
    ctypedef struct offsets_question_t:
        rd_kafka_t *consumer
        int wake_fd, error
        bint asked
        rd_kafka_topic_partition_list_t *offsets
    int offsets_question_ask(offsets_question_t *, const rd_kafka_topic_partition_list_t *)
    void offsets_question_drop(offsets_question_t *)
    bint offsets_question_take(offsets_question_t *)
    void offsets_question_end(offsets_question_t *)

cdef extern from "notices.h" nogil:
    enum:
        NOTICE_LOG, NOTICE_ERROR, NOTICE_OVERSIZE_LINE, NOTICE_UNPRODUCIBLE, NOTICE_FATAL, NOTICE_ASSIGNED
        NOTICE_PLACED, NOTICE_REVOKED, NOTICE_STDIN_BROKEN, NOTICE_STDIN_CLOSED, NOTICE_STDOUT_ENDED, NOTICE_PROTOCOL
        NOTICE_ECHO_OWED, NOTICE_ABORTED, NOTICE_REPLACED, NOTICE_CLEARED, NOTICE_NOT_ALONE, NOTICE_LETTER_REFUSED
        NOTICE_SURVIVED_SUSPECT, NOTICE_SURVIVED_POISON, NOTICE_CLOSED
    ctypedef struct notice_t:
        int kind
        int code
        char text[480]
    ctypedef struct notices_t:
        uint64_t dropped
        int wake_fd
    int notices_open(notices_t *)
    void notices_hold(notices_t *)
    void notices_show(notices_t *)
    void notice_post(notices_t *, int, int, const char *)
    int notice_take(notices_t *, notice_t *)

cdef extern from "client.h" nogil:
    ctypedef struct client_t:
        notices_t notices
        int brokers_up
        bint group_steady
    ctypedef struct properties_t:
        pass
    ctypedef struct client_callbacks_t:
        rdk_dr_msg_cb on_delivery
        rdk_rebalance_cb on_rebalance
        rdk_offset_commit_cb on_commit
    int properties_add(properties_t *, const char *, const char *)
    void properties_free(properties_t *)
    rd_kafka_t *client_new(int, const properties_t *, client_t *, const client_callbacks_t *, char *, size_t)
    void client_wakes(rd_kafka_queue_t *, int)
    void client_post_fatal(rd_kafka_t *, client_t *)

cdef extern from "counters.h" nogil:
    ctypedef struct counters_t:
        pass
    void counters_publish(counters_t *, const int64_t *, int)
    void counters_read(counters_t *, int64_t *, int)

cdef extern from "lag.h" nogil:
    ctypedef struct lag_entry_t:
        int32_t partition
        int64_t acknowledged, high
    ctypedef struct lag_t:
        lag_entry_t *next
    void lag_open(lag_t *)
    void lag_close(lag_t *)
    int lag_reserve(lag_t *, int32_t)
    void lag_show(lag_t *, int32_t)
    lag_entry_t *lag_copy(lag_t *, int32_t *)

cdef extern from "client_disposal.h" nogil:
    void dispose_in_background(void *(*)(void *) noexcept nogil, void *)

cdef extern from "turnstile.h" nogil:
    ctypedef struct turnstile_t:
        pass
    void turnstile_open(turnstile_t *)
    void turnstile_enter_caller(turnstile_t *)
    void turnstile_enter_loop(turnstile_t *)
    void turnstile_leave(turnstile_t *)

cdef extern from "marker.h" nogil:
    enum:
        MARKER_LINE_MAX_BYTES
    ctypedef struct marker_t:
        const uint8_t *prefix
        size_t size
    size_t marker_write(const marker_t *, int64_t, uint8_t *)

cdef extern from "cut.h" nogil:
    enum:
        CUT_NONE, CUT_ASKED, CUT_ANYWHERE, CUT_DELIVERED, CUT_OFFSETS, CUT_COMMITTED, CUT_ABORT, CUT_VOID
    ctypedef struct cut_t:
        int64_t mark
        const char *why
        void *offsets
        void *group
    int cut_state(const cut_t *)
    bint cut_move(cut_t *, int, int)
    void cut_drop_offsets(cut_t *)

cdef extern from "letter.h" nogil:
    int64_t LETTERS_MAX, LETTERS_MAX_BYTES, LETTERS_MAX_LINES
    int LETTER_WAITS, LETTER_FLIES, LETTER_DELIVERED
    ctypedef struct letter_t:
        letter_t *next
        const void *value
        const void *key
        size_t value_bytes, key_bytes
        void *headers
        int64_t number
        uint64_t hash
        int state
        int64_t again_ns
        bint alone
        bint given_up
    ctypedef struct letters_t:
        letter_t *first
    ctypedef struct letterbox_t:
        pthread_mutex_t lock
        letters_t posted
        int64_t issued, delivered
    int64_t letterbox_bytes(letterbox_t *)
    letter_t *letter_new(letterbox_t *, const void *, size_t, const void *, size_t, bint)
    void letter_free(letterbox_t *, letter_t *)
    int64_t letterbox_post(letterbox_t *, letter_t *)

cdef extern from "keys.h" nogil:
    ctypedef struct keys_t:
        bint carried
    void keys_lock(keys_t *)
    void keys_unlock(keys_t *)
    int keys_note(keys_t *, int64_t, const void *, size_t)
    void keys_forget(keys_t *, int64_t)

cdef extern from "header_bytes.h" nogil:
    size_t header_bytes(rd_kafka_message_t *, const rd_kafka_message_t *)

cdef extern from "surplus.h" nogil:
    enum:
        QUOTE_BYTES
    ctypedef struct surplus_t:
        pass
    void surplus_take(surplus_t *, int64_t, char *, char *)

cdef extern from "progress.h" nogil:
    ctypedef struct progress_t:
        int fd
        int64_t read_position
        marker_t marker
        cut_t cut
        letterbox_t letters
        const char *workspace
        keys_t keys
        surplus_t surplus
        int outlet_wake_fd
    void progress_write_lines(progress_t *, int64_t)
    void progress_wake_inlet(progress_t *)
    void progress_wake_outlet(progress_t *)
    bint progress_transaction_open(progress_t *)
    int64_t progress_written(progress_t *)
    int64_t progress_delivered(progress_t *)
    int64_t progress_line_end(progress_t *)
    int64_t progress_mark_framed(progress_t *)
    int64_t progress_mark_delivered(progress_t *)
    int64_t progress_mark_expected(progress_t *)
    void progress_expect_mark(progress_t *, int64_t)
    int64_t progress_mark_issued(progress_t *)
    void progress_issue_mark(progress_t *, int64_t)
    int progress_held(progress_t *)
    void progress_inlet_waits(progress_t *)
    void progress_set_window_full(progress_t *, bint)
    void progress_set_inlet(progress_t *, int)
    void progress_unset_inlet(progress_t *, int)

cdef extern from "letter_headers.h" nogil:
    void letter_headers_add(rd_kafka_headers_t *, const progress_t *, const char *, const char *, const char *,
                            const char *)

# Names of notice kinds, in the order of notices.h.
NOTICE_KINDS = ("log", "error", "oversize-line", "unproducible", "fatal", "assigned", "placed", "revoked",
                "stdin-broken", "stdin-closed", "stdout-ended", "protocol", "echo-owed", "aborted", "replaced",
                "cleared", "not-alone", "letter-refused", "survived-suspect", "survived-poison", "closed")


cdef int properties_of(dict config, properties_t *properties) except -1:
    """Copies of librdkafka properties, to be freed."""
    for name, value in config.items():
        if properties_add(properties, (<str>name).encode(), (<str>value).encode()) != 0:
            raise MemoryError
    return 0


cdef rd_kafka_t *consumer_new(dict config, client_t *opaque, const client_callbacks_t *callbacks) except NULL:
    """Raise ValueError naming the property that librdkafka refuses, with its reason."""
    cdef char why[512]
    cdef properties_t properties
    cdef rd_kafka_t *rk
    memset(&properties, 0, sizeof(properties))
    try:
        properties_of(config, &properties)
        with nogil:
            rk = client_new(RDK_CONSUMER, &properties, opaque, callbacks, why, sizeof(why))
    finally:
        properties_free(&properties)
    if rk == NULL:
        raise ValueError((<bytes>why).decode("utf-8", "replace"))
    return rk


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
