#define _GNU_SOURCE /* O_CLOEXEC */
#include "stdin_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "inlet.h"
#include "minmax.h"

void stdin_look(inlet_t *s) {
    stdin_writer_t *w = &s->writer;
    const uint64_t ticks = demand_samples(&s->demand);
    const int64_t of_run = s->counts.bytes_written - w->run_from;
    if (!inlet_may_write(s) || sys.unread_bytes(w->fd, &w->unread_bytes) != 0)
        w->unread_bytes = 0;
    else if (of_run > 0)
        demand_sampled(&s->demand, ticks, w->unread_bytes >= of_run);
    w->looked_ns = monotonic_ns();
    feed_look(&w->feed, w->looked_ns, s->counts.bytes_written, s->counts.bytes_written - w->unread_bytes);
}

int64_t stdin_fit(const inlet_t *s, int64_t limit) {
    const stdin_writer_t *w = &s->writer;
    const int64_t written = s->counts.bytes_written;
    if (feed_is_full_speed(&w->feed))
        return limit;
    return ledger_fit(&s->ledger, limit, feed_room(&w->feed, written, written - w->unread_bytes), w->unread_bytes == 0,
                      IOV_BATCH);
}

/* Before which record writing stops, of those before `limit`: how much is written ahead of the Calculator. */
static int64_t fed_limit(inlet_t *s, int64_t limit) {
    stdin_writer_t *w = &s->writer;
    const int64_t written = s->counts.bytes_written;
    const int64_t fed = s->config.ack->feed != NULL ? s->config.ack->feed(s, limit) : stdin_fit(s, limit);
    w->held_back = fed < limit && fed - s->ledger.cursor < IOV_BATCH;
    feed_holds_back(&w->feed, w->held_back || w->blocked, w->looked_ns, written, written - w->unread_bytes);
    return fed;
}

int64_t stdin_again_ns(const inlet_t *s) {
    if (!s->writer.held_back || !inlet_may_write(s) || demand_in_batches(&s->demand))
        return 0;
    return feed_again_ns(&s->writer.feed, s->writer.looked_ns);
}

void stdin_note_full(inlet_t *s, int64_t now_ns) {
    stdin_writer_t *w = &s->writer;
    const bool full = w->blocked || (w->held_back && w->unread_bytes > 0);
    if (full && w->full_since_ns == 0) {
        w->full_since_ns = now_ns;
    } else if (!full && w->full_since_ns > 0) {
        s->counts.full_ns += now_ns - w->full_since_ns;
        w->full_since_ns = 0;
    }
}

/* Before records are written, note the keys that their answers are to have. Returns before which record that is. */
static int64_t note_keys(inlet_t *s, int64_t limit) {
    const int64_t until = min_i64(limit, s->ledger.cursor + IOV_BATCH); /* no more than are written at once */
    noted_keys_t *noted = &s->keys;
    keys_t *keys = &s->progress->keys;
    if (noted->until <= s->ledger.cursor) {
        noted->until = s->ledger.cursor;
        noted->mark = s->ledger.mark;
    }
    if (noted->until >= until)
        return until;
    keys_lock(keys);
    keys_forget(keys, progress_mark_framed(s->progress) + 1); /* lines that came and asked for none */
    for (; noted->until < until; noted->until++) {
        const ledger_entry_t *entry = ledger_at(&s->ledger, noted->until);
        const rd_kafka_message_t *m = entry->record;
        if (entry->line_bytes == 0)
            continue;
        if (keys_note(keys, noted->mark + 1, m->key, m->key_len) != 0)
            break;
        noted->mark++;
    }
    keys_unlock(keys);
    return noted->until;
}

/* Before which record writing stops, whatever the Calculator has read. */
static int64_t write_limit(inlet_t *s, int64_t unfinished) {
    const commit_policy_t *commit = s->config.commit;
    int64_t limit = s->ledger.tail;
    if (isolation_is_on(s))
        limit = min_i64(limit, isolation_limit(s));
    if (commit->reach != NULL)
        limit = min_i64(limit, commit->reach(s));
    if (inlet_holds(s))
        limit = unfinished; /* a record that was begun is finished: half a line is never left behind */
    return commit->limit != NULL ? commit->limit(s, limit, unfinished) : limit;
}

static void written(inlet_t *s, size_t size, int64_t limit, int64_t now_ns) {
    const bool marked = s->ledger.unmarked == 0;
    s->counts.lines_written += ledger_written(&s->ledger, size, limit);
    if (s->config.ack->written != NULL)
        s->config.ack->written(s);
    if (marked)
        s->marker.unmarked_since_ns = now_ns;
}

bool stdin_write(inlet_t *s, int64_t now_ns) {
    const ack_policy_t *ack = s->config.ack;
    if (!inlet_may_write(s))
        return false;
    int64_t limit = write_limit(s, s->ledger.cursor + (s->ledger.cursor_bytes > 0));
    if (ack->has_line != NULL && ack->has_line(s, now_ns))
        return ack->write_line(s, now_ns);
    if (attempts_are_due(s))
        limit = attempts_limit(s, limit, now_ns);
    limit = fed_limit(s, limit);
    if (s->config.propagate_key)
        limit = note_keys(s, limit);
    const int n = ledger_gather(&s->ledger, limit, s->writer.iov, IOV_BATCH);
    if (n == 0) {
        ledger_skip(&s->ledger, limit);
        s->writer.blocked = false;
        return false;
    }
    demand_writes(&s->demand, s->ledger.written, s->writer.looked_ns);
    const ssize_t wrote = stdin_writev(s, n);
    if (wrote < 0)
        return false;
    written(s, (size_t)wrote, limit, now_ns);
    return true;
}

ssize_t stdin_writev(inlet_t *s, int n) {
    const ssize_t wrote = sys.writev(s->writer.fd, s->writer.iov, n);
    if (wrote < 0) {
        if (errno == EINTR)
            return 0;
        if (errno == EAGAIN)
            s->writer.blocked = true;
        else
            stdin_broke(s, errno);
        return -1;
    }
    s->writer.blocked = false;
    s->counts.bytes_written += wrote;
    s->ack.empty_since_ns = 0;
    return wrote;
}

void stdin_broke(inlet_t *s, int error) {
    s->writer.broken = true;
    s->writer.blocked = false;
    inlet_notice(s, NOTICE_STDIN_BROKEN, error, "the Calculator closed its STDIN");
}

void stdin_close(inlet_t *s) {
    char path[64];
    if (s->writer.fd < 0)
        return;
    /* What the Calculator leaves unread in the pipe must not count as read when it exits: keep a read end, opened only
     * now that nothing is written any more, so that it cannot hide an EPIPE. */
    snprintf(path, sizeof path, "/proc/self/fd/%d", s->writer.fd);
    s->writer.leftover_fd = sys.open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    sys.close(s->writer.fd);
    s->writer.fd = -1;
    inlet_notice(s, NOTICE_STDIN_CLOSED, 0, "");
}
