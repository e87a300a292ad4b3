/* The `marker` rule: numbered lines are written between the records; the echo of one acknowledges all records before it.
 *
 * A marker follows 1,000 records, or the first record after the last marker by 5 ms: the lag is bounded by both, and at
 * full speed a thousandth of the lines are markers. Numbers only grow, over all runs: an echo of an earlier run that
 * comes late stands for records that were answered in it. */
#include "inlet.h"
#include "minmax.h"

#define MARKER_RECORDS 1000
#define MARKER_NS (5 * MS)
#define MARKERS_A_WINDOW 4          /* much is written before it is known how small a window is */
#define ENVELOPE_BYTES 64           /* what a line's envelope takes, at the least */
#define ECHO_LOOK_NS (50 * MS)      /* an echo that does not come is looked for this often */
#define ECHO_LATEST_NS (30000 * MS) /* STDIN empty for so long, where it cannot be seen that it is waited on */

bool marker_is_missing(const inlet_t *s) { return s->ledger.unmarked > 0 || s->marker.left > 0; }

void marker_forget(inlet_t *s) {
    s->marker.left = 0;
    s->marker.enough = s->marker.echo_owed = false;
}

/* In how many ns the next marker is to be written; 0 at once, -1 not yet known. */
static int64_t due_ns(const inlet_t *s, int64_t now_ns) {
    if (s->marker.left > 0)
        return 0;
    if (s->ledger.unmarked == 0 || s->ledger.cursor_bytes > 0)
        return -1;
    if (s->ledger.unmarked >= MARKER_RECORDS || s->marker.enough)
        return 0;
    return max_i64(0, s->marker.unmarked_since_ns + MARKER_NS - now_ns);
}

static bool has_line(const inlet_t *s, int64_t now_ns) { return due_ns(s, now_ns) == 0; }

/* Write the marker that is due, or its rest. */
static bool write_line(inlet_t *s, int64_t now_ns) {
    marker_writer_t *m = &s->marker;
    (void)now_ns;
    if (m->left == 0) {
        m->bytes = m->left = marker_write(&s->progress->marker, ledger_mark(&s->ledger), m->line);
        progress_issue_mark(s->progress, s->ledger.mark); /* before the Calculator can echo it */
    }
    s->writer.iov[0] = (struct iovec){m->line + m->bytes - m->left, m->left};
    const ssize_t wrote = stdin_writev(s, 1);
    if (wrote < 0)
        return false;
    m->left -= (size_t)wrote;
    m->marked_bytes = s->counts.bytes_written;
    m->enough = false;
    return true;
}

int64_t marker_spacing(inlet_t *s, int64_t limit) {
    const ledger_t *l = &s->ledger;
    int64_t window = progress_window(s->progress);
    if (window == INT64_MAX || limit <= l->cursor)
        return limit;
    window /= MARKERS_A_WINDOW;
    const int64_t most = max_i64(1, window / ENVELOPE_BYTES);
    const bool none = l->unmarked == 0 && l->cursor_bytes == 0;
    const int64_t unmarked = none ? 0 : s->counts.bytes_written - s->marker.marked_bytes;
    const int64_t records = max_i64(most - l->unmarked, none);
    const int64_t fit = ledger_fit(l, limit, window - unmarked, none, records);
    s->marker.enough = fit <= l->cursor && l->unmarked > 0;
    return fit;
}

/* The Calculator waits for input and has not echoed a marker. */
static void look_for_echo(inlet_t *s, int64_t now_ns) {
    s->ack.next_probe_ns = now_ns + ECHO_LOOK_NS;
    s->counts.probes++;
    const probe_verdict_t look = calculator_probe_look(&s->demand.probe);
    if (look != PROBE_IDLE)
        s->ack.idle_since_ns = now_ns;
    if (s->marker.echo_owed)
        return;
    if (now_ns - s->ack.empty_since_ns >= ECHO_LATEST_NS ||
        (look == PROBE_IDLE && now_ns - s->ack.idle_since_ns >= s->config.idle_ns)) {
        s->marker.echo_owed = true;
        inlet_notice(s, NOTICE_ECHO_OWED, 0, "");
    }
}

/* Look for an echo that will not come. Returns in how many ns to look again or to write a marker; 0: neither. */
static int64_t watch(inlet_t *s, int64_t now_ns) {
    const int64_t framed = progress_mark_framed(s->progress);
    if (!inlet_may_write(s)) {
        s->ack.empty_since_ns = 0;
        return 0;
    }
    if (framed != s->ack.mark_seen)
        s->marker.echo_owed = false;
    if (marker_is_missing(s)) { /* in a pause, too: what was written before it is to be acknowledged */
        const int64_t in_ns = due_ns(s, now_ns);
        s->ack.empty_since_ns = 0;
        return s->writer.blocked || in_ns < 0 ? 0 : max_i64(1, in_ns);
    }
    if (s->orders.paused || framed >= s->ledger.mark) {
        s->ack.empty_since_ns = 0;
        return 0;
    }
    ack_watch_stdin(s, framed, now_ns, ECHO_LOOK_NS);
    if (now_ns >= s->ack.next_probe_ns)
        look_for_echo(s, now_ns);
    return s->ack.next_probe_ns - now_ns;
}

static void attach(inlet_t *s) { s->ledger.mark = progress_mark_issued(s->progress); /* of an inlet before this one */ }

static int64_t settle(inlet_t *s) { return ledger_settle_marks(&s->ledger, progress_mark_delivered(s->progress)); }

const ack_policy_t ack_marker = {
    .count = LEDGER_COUNT_MARKERS,
    .attach = attach,
    .has_line = has_line,
    .write_line = write_line,
    .settle = settle,
    .watch = watch,
    .rewind = ack_rewind_marks,
    .forget = ack_forget_marks,
};
