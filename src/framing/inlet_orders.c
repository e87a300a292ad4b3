#include "inlet_orders.h"

#include <stdio.h>

#include "inlet.h"
#include "minmax.h"

/* The inode of a pipe, 0 if it is none or cannot be looked at. */
static ino_t pipe_inode(const char *path) {
    struct stat status;
    return sys.stat(path, &status) == 0 && S_ISFIFO(status.st_mode) ? status.st_ino : 0;
}

static ino_t pipe_of(pid_t pid, int fd) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
    return pipe_inode(path);
}

static ino_t own_pipe(int fd) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return pipe_inode(path);
}

void inlet_attach(inlet_t *s, int stdin_fd, pid_t pid) {
    const ino_t stdio[3] = {own_pipe(stdin_fd), pipe_of(pid, 1), pipe_of(pid, 2)};
    stdin_writer_t *w = &s->writer;
    const int64_t ahead_ns = s->config.feed_ahead_ns;
    inlet_enter(s);
    w->fd = stdin_fd;
    demand_attach(&s->demand, pid, stdio, ahead_ns, s->ledger.written);
    feed_reset(&w->feed, ahead_ns, max_i64(PIPE_LEAST_BYTES, sys.pipe_bytes(stdin_fd)));
    w->unread_bytes = 0;
    w->run_from = s->counts.bytes_written;
    shares_reset(&w->shares, s->ledger.max_records, s->ledger.max_bytes, s->ledger.cursor, s->ledger.written);
    w->held_back = w->blocked = w->broken = false;
    s->ack.look_again_ns = 0;
    s->run.number++;
    s->run.exited = s->run.closing = s->run.rule_broken = false;
    s->run.attached = true;
    s->config.ack->attach(s);
    marker_forget(s);
    s->run.read_until = s->keys.until = 0;
    s->ack.empty_since_ns = 0;
    s->consumer.more = true;
    inlet_leave(s);
}

void inlet_close_stdin(inlet_t *s) {
    inlet_enter(s);
    s->run.closing = true;
    inlet_leave(s);
}

void inlet_exited(inlet_t *s) {
    inlet_enter(s);
    s->run.exited = true;
    s->run.read_until = isolation_read_until(s);
    inlet_leave(s);
}

bool inlet_broke_rule(inlet_t *s) {
    inlet_enter(s);
    if (s->config.ack->check != NULL) /* lines that wait for a topic are not framed yet */
        s->config.ack->check(s, max_i64(progress_mark_framed(s->progress), progress_mark_expected(s->progress)));
    const bool broke = s->run.rule_broken;
    inlet_leave(s);
    return broke;
}

/* Close what is left of its STDIN. If it left nothing unread, and ended in order, it is done with all that was written. */
static void end_stdin(inlet_t *s, bool finished) {
    stdin_writer_t *w = &s->writer;
    int unread = 0;
    if (w->leftover_fd >= 0) {
        if (finished && s->config.ack->finish != NULL && s->ledger.cursor_bytes == 0 &&
            sys.unread_bytes(w->leftover_fd, &unread) == 0 && unread == 0)
            s->config.ack->finish(s);
        sys.close(w->leftover_fd);
        w->leftover_fd = -1;
    }
    if (w->fd >= 0) {
        sys.close(w->fd);
        w->fd = -1;
    }
}

int64_t inlet_detach(inlet_t *s, bool finished) {
    int64_t again = 0;
    inlet_enter(s);
    end_stdin(s, finished);
    s->run.number++;
    marker_forget(s);
    if (s->config.commit->never_twice)
        consumer_release(s, ledger_forfeit(&s->ledger));
    else
        again = s->config.ack->rewind(s);
    s->counts.replayed += again;
    s->run.attached = s->run.exited = s->run.closing = s->run.rule_broken = false;
    s->writer.held_back = s->writer.blocked = s->writer.broken = false;
    inlet_leave(s);
    return again;
}

bool inlet_suspect(inlet_t *s, int32_t *partition, int64_t *offset) {
    inlet_enter(s);
    const int64_t first = ledger_first_line(&s->ledger);
    const bool found = first < s->run.read_until && first < s->ledger.tail;
    if (found) {
        *partition = ledger_at(&s->ledger, first)->partition;
        *offset = ledger_at(&s->ledger, first)->offset;
    }
    inlet_leave(s);
    return found;
}

void inlet_isolate(inlet_t *s) {
    inlet_enter(s);
    s->alone.until = min_i64(s->run.read_until, s->ledger.tail);
    inlet_leave(s);
}

void inlet_bury(inlet_t *s, int32_t partition, int64_t offset, const char *why) {
    inlet_enter(s);
    if (ledger_bury_first(&s->ledger, partition, offset))
        snprintf(s->alone.why, sizeof s->alone.why, "%s", why);
    s->alone.until = 0;
    s->consumer.more = true;
    inlet_leave(s);
}

void inlet_judge_by(inlet_t *s, int max_attempts, bool dead_letters) {
    inlet_enter(s);
    s->attempts.max_attempts = max_attempts;
    s->attempts.has_dead_letters = dead_letters;
    inlet_leave(s);
}

void inlet_forget(inlet_t *s) {
    inlet_enter(s);
    transaction_rewind_void(s);
    s->counts.replayed += s->config.ack->forget(s);
    inlet_leave(s);
}

bool inlet_recall(inlet_t *s) {
    inlet_enter(s);
    const bool harmless = ledger_lines_in_flight(&s->ledger) == 0 && transaction_rewind_void(s);
    if (harmless) /* dead letters are posted again */
        ledger_rewind_marks(&s->ledger, s->ledger.mark, false);
    inlet_leave(s);
    return harmless;
}

int inlet_take_stdin(inlet_t *s) {
    inlet_enter(s);
    const int stdin_fd = s->writer.fd;
    if (s->run.attached && s->config.ack->hand_over != NULL)
        s->config.ack->hand_over(s);
    s->writer.fd = -1;
    s->run.attached = false;
    s->run.number++;
    s->writer.blocked = s->writer.held_back = s->writer.broken = false;
    inlet_leave(s);
    return stdin_fd;
}

void inlet_join_later(inlet_t *s, bool later) {
    inlet_enter(s);
    s->orders.join_later = later;
    inlet_leave(s);
}

void inlet_pause(inlet_t *s, bool paused) {
    inlet_enter(s);
    s->orders.paused = paused;
    s->consumer.more = true;
    inlet_leave(s);
}

int inlet_log_in_with(inlet_t *s, const char *user, const char *password) {
    inlet_enter(s);
    int failed = client_log_in_with(&s->client, s->consumer.rk, user, password);
    inlet_leave(s);
    return failed;
}

void inlet_drain(inlet_t *s, bool draining) {
    inlet_enter(s);
    s->orders.draining = draining;
    s->consumer.more = true;
    inlet_leave(s);
}

void inlet_stop(inlet_t *s, int64_t deadline_ns) {
    inlet_enter(s);
    s->orders.stop_deadline_ns = deadline_ns;
    s->orders.stopping = true;
    inlet_leave(s);
}
