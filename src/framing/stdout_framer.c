#include "stdout_framer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "minmax.h"
#include "outlet.h"

#define LINES_AT_ONCE 1024    /* that are framed before it is looked whether they can be sent */
#define READ_BYTES 1048576    /* a full pipe of 1 MiB in one read */
#define EXACT_SIZE_FROM 16384 /* above this the envelope's exact size is worked out instead of six times the line */
#define NUL_GROWS_BY 5        /* bytes, as an escape in JSON */
#define KEY_KEPT_BYTES 65536  /* for the key of the line that is framed; room for a larger one is given back */

enum { KEY_NONE = -1, KEY_NO_MEMORY = -2 };

int framer_open(stdout_framer_t *f, size_t max_line_bytes, const uint8_t *workspace, size_t workspace_bytes) {
    f->capacity = max_line_bytes + READ_BYTES;
    f->buffer = malloc(f->capacity + FRAMING_PADDING);
    return f->buffer == NULL ? -1 : envelope_init(&f->envelope, &kernels, workspace, workspace_bytes);
}

void framer_close(stdout_framer_t *f) {
    envelope_free(&f->envelope);
    free(f->buffer);
    free(f->key);
}

int64_t framer_position(const outlet_t *s, size_t index) {
    return s->progress.read_position - (int64_t)(s->framer.end - index + s->framer.dropped);
}

int64_t framer_kept(const outlet_t *s) {
    return max_i64(0, s->framer.kept_until - framer_position(s, s->framer.begin));
}

/* The number of the marker that the line echoes, or -1: what was never written to STDIN is data like any other. */
static int64_t echoed_marker(outlet_t *s, const uint8_t *line, size_t n) {
    int64_t number = marker_number(&s->progress.marker, line, n);
    return number <= progress_mark_issued(&s->progress) ? number : -1;
}

int64_t framer_mark_after(outlet_t *s, const uint8_t *data, size_t n, int64_t *lines) {
    const uint8_t *end = data + n, *newline;
    int64_t mark = s->framer.mark;
    *lines = 0;
    while ((newline = kernels.find_newline(data, (size_t)(end - data))) != NULL) {
        if (s->progress.marker.size > 0)
            mark = max_i64(mark, echoed_marker(s, data, (size_t)(newline - data)));
        else
            mark++;
        ++*lines;
        data = newline + 1;
    }
    return mark;
}

void framer_seal_empty(outlet_t *s) {
    stdout_framer_t *f = &s->framer;
    if (!f->seal_owed || f->begin != f->end)
        return;
    batch_t *batch = batch_open(&s->delivery);
    if (batch == NULL)
        return; /* as soon as there is room */
    f->seal_owed = false;
    f->dropped = 0;
    batch_seal(batch, s->progress.read_position, f->mark);
    progress_line_ended(&s->progress, s->progress.read_position, f->mark);
}

/* Copy the key of the line to come. Returns its length, KEY_NONE or KEY_NO_MEMORY. */
static int64_t take_key(outlet_t *s) {
    stdout_framer_t *f = &s->framer;
    const uint8_t *key = NULL;
    keys_lock(&s->progress.keys);
    int64_t size = keys_find(&s->progress.keys, f->mark + 1, &key);
    if (size > (int64_t)f->key_capacity || (f->key_capacity > KEY_KEPT_BYTES && size <= KEY_KEPT_BYTES)) {
        size_t capacity = (size_t)max_i64(size, KEY_KEPT_BYTES);
        uint8_t *resized = realloc(f->key, capacity);
        if (resized != NULL) {
            f->key = resized;
            f->key_capacity = capacity;
        }
    }
    if (size > (int64_t)f->key_capacity)
        size = KEY_NO_MEMORY;
    else if (size > 0)
        memcpy(f->key, key, (size_t)size);
    keys_unlock(&s->progress.keys);
    return size;
}

/* Put the key behind the envelope, where it lives as long. */
static void add_key(outlet_t *s, rd_kafka_message_t *m, size_t size) {
    slab_t *slab = s->delivery.current;
    m->key = slab->data + slab->used;
    m->key_len = size;
    if (size > 0)
        memcpy(m->key, s->framer.key, size);
    slab->used += size;
}

/* The batch for a line whose envelope and key need so many bytes of the current slab; NULL: there is no room. */
static batch_t *batch_for(outlet_t *s, size_t need) {
    delivery_t *d = &s->delivery;
    batch_t *batch = batch_open(d);
    if (batch == NULL || slab_reserve(d, need) != 0)
        return NULL;
    if (batch->slab == NULL || batch->slab == d->current)
        return batch;
    /* A batch keeps one slab alive, so it has lines in one only. */
    batch_seal(batch, framer_position(s, s->framer.begin), s->framer.mark);
    return batch_open(d);
}

/* Bytes to set aside for the line's envelope. */
static size_t envelope_room(const outlet_t *s, const uint8_t *line, size_t n, int verdict) {
    const struct envelope *envelope = &s->framer.envelope;
    if (verdict == JSON_VALID)
        return envelope_parsed_size(envelope, n) + FRAMING_PADDING;
    if (n >= EXACT_SIZE_FROM)
        return envelope_raw_size(envelope, line, n) + FRAMING_PADDING;
    return envelope_bound(envelope, n);
}

/* Returns the envelope's size. */
static size_t write_envelope(outlet_t *s, const uint8_t *line, size_t n, int verdict, uint8_t *at) {
    size_t repaired = 0;
    if (verdict == JSON_VALID)
        return envelope_write_parsed(&s->framer.envelope, line, n, at);
    size_t size = envelope_write_raw(&s->framer.envelope, line, n, at, &repaired);
    s->counts.lines_repaired += repaired > 0;
    /* A NUL becomes six bytes: a line that grew by less has none. */
    s->counts.lines_with_nul +=
        size >= envelope_head_size(&s->framer.envelope) + n + NUL_GROWS_BY && memchr(line, 0, n) != NULL;
    s->counts.lines_not_json += s->config.output_json && verdict == JSON_INVALID;
    return size;
}

/* One more record to be produced, its envelope written into the current slab. */
static void add_pending(outlet_t *s, batch_t *batch, uint8_t *envelope, size_t size, int64_t key_bytes) {
    producer_t *p = &s->producer;
    s->delivery.current->used += size;
    batch_add(&s->delivery, batch);
    rd_kafka_message_t *m = &p->pending[p->pending_count];
    memset(m, 0, sizeof *m);
    m->payload = envelope;
    m->len = size;
    m->_private = batch;
    if (key_bytes >= 0)
        add_key(s, m, (size_t)key_bytes);
    m->partition = RDK_PARTITION_UA;
    if (p->pending_count == 0)
        p->pending_bytes = 0;
    p->pending_count++;
    p->pending_bytes += burst_bytes_of(size);
    s->counts.bytes_produced += (int64_t)size;
}

/* Wrap one line into a pending record. Returns false if there is no room: wait for deliveries. */
static bool frame_line(outlet_t *s, const uint8_t *line, size_t n) {
    if (n > s->config.max_line_bytes)
        return sender_bury_oversize(s, line);
    if (s->orders.flow == FLOW_DISCARD) {
        s->counts.lines_discarded++;
        return true;
    }
    if (outlet_is_void(s)) {
        s->counts.lines_abandoned++;
        return true;
    }
    const int verdict = s->config.output_json ? kernels.json_check(line, n) : JSON_INVALID;
    size_t need = envelope_room(s, line, n, verdict);
    if (need > s->config.max_message_bytes + FRAMING_PADDING && n >= EXACT_SIZE_FROM)
        return sender_bury_copy(s, line, n, producer_hash(s, line, n), "supervisor.UnproducibleLine",
                                "the line, escaped, is larger than message.max.bytes");
    int64_t key_bytes = KEY_NONE;
    if (s->config.propagate_key) {
        key_bytes = take_key(s);
        if (key_bytes == KEY_NO_MEMORY)
            return false; /* without its key it would go to another partition */
        need += (size_t)max_i64(0, key_bytes);
    }
    batch_t *batch = batch_for(s, need);
    if (batch == NULL)
        return false;
    uint8_t *envelope = s->delivery.current->data + s->delivery.current->used;
    const size_t size = write_envelope(s, line, n, verdict, envelope);
    if (s->producer.refused.count > 0) {
        uint64_t hash = producer_hash_frame(s, envelope, size);
        if (refused_has(&s->producer.refused, hash))
            return sender_bury_copy(s, envelope, size, hash, "supervisor.UnproducibleLine",
                                    "the outgoing topic does not take a record of this size");
    }
    add_pending(s, batch, envelope, size, key_bytes);
    return true;
}

/* The lines in buffer[at:begin] were framed, the first behind this mark: note those that explain a broken rule. */
static void note_lines(outlet_t *s, size_t at, int64_t mark) {
    stdout_framer_t *f = &s->framer;
    const int64_t surplus = progress_lines_written(&s->progress) + 1;
    if (s->progress.marker.size > 0 || (!f->first_owed && !(mark < surplus && surplus <= f->mark)))
        return;
    while (at < f->begin) {
        const uint8_t *line = f->buffer + at, *newline = kernels.find_newline(line, f->begin - at);
        if (newline == NULL) /* cannot be */
            return;
        mark++;
        if (mark == surplus)
            surplus_note(&s->progress.surplus, mark, line, (size_t)(newline - line));
        if (f->first_owed && framer_position(s, at) >= f->kept_until) {
            f->first_owed = false;
            surplus_note_first(&s->progress.surplus, line, (size_t)(newline - line));
        }
        at = (size_t)(newline - f->buffer) + 1;
    }
}

/* Frame lines of the buffer, as many as are framed at once. Returns false if there was no room for one. */
static bool frame_lines(outlet_t *s) {
    stdout_framer_t *f = &s->framer;
    for (int framed = 0; framed < LINES_AT_ONCE && !outlet_has_burst(s); framed++) {
        const uint8_t *newline = kernels.find_newline(f->buffer + f->scanned, f->end - f->scanned);
        if (newline == NULL) {
            f->scanned = f->end;
            break;
        }
        const uint8_t *line = f->buffer + f->begin;
        const size_t n = (size_t)(newline - line), next_begin = f->begin + n + 1;
        const int64_t marker = f->skipping ? -1 : echoed_marker(s, line, n);
        if (marker < 0 && !f->skipping && !frame_line(s, line, n)) {
            f->scanned = next_begin - 1;
            return false;
        }
        f->skipping = false;
        f->begin = f->scanned = next_begin;
        if (marker >= 0) {
            s->counts.markers_echoed++;
            f->mark = max_i64(f->mark, marker);
            f->unmarked = 0;
            if (s->config.transactional && !transaction_may_frame(s))
                break; /* a transaction may end here, and is to */
            continue;
        }
        s->counts.lines_read++;
        if (s->progress.marker.size == 0)
            f->mark++;
        f->unmarked++;
    }
    return true;
}

bool framer_take(outlet_t *s, int64_t now_ns) {
    stdout_framer_t *f = &s->framer;
    bool room = true;
    if (s->producer.abandoning) /* what is purged now must not take new lines with it */
        return false;
    while (room) {
        if ((!producer_flush(s, now_ns) && outlet_has_burst(s)) || !transaction_may_frame(s))
            return false;
        if (batch_open(&s->delivery) == NULL) /* before a line is taken: dropped lines move the position too */
            return false;
        const size_t first_begin = f->begin;
        const int64_t first_mark = f->mark;
        room = frame_lines(s);
        if (f->begin == first_begin)
            break;
        note_lines(s, first_begin, first_mark); /* before the inlet hears of them */
        batch_t *batch = batch_open(&s->delivery);
        if (batch != NULL) /* NULL: a change of slab has sealed the last free one */
            batch_seal(batch, framer_position(s, f->begin), f->mark);
        progress_line_ended(&s->progress, framer_position(s, f->begin), f->mark);
    }
    return room && (producer_flush(s, now_ns) || !outlet_has_burst(s));
}

bool framer_read(outlet_t *s) {
    stdout_framer_t *f = &s->framer;
    if (f->begin == f->end)
        f->dropped = 0;
    if (f->begin > 0) {
        f->end -= f->begin;
        f->scanned -= f->begin;
        memmove(f->buffer, f->buffer + f->begin, f->end);
        f->begin = 0;
    }
    if (f->scanned == f->end && f->end > s->config.max_line_bytes) { /* no newline in all of it */
        if (!f->skipping) {
            if (!sender_bury_oversize(s, f->buffer))
                return false;
            f->skipping = true;
        }
        f->end = f->scanned = 0;
    }
    ssize_t n = progress_read(&s->progress, f->buffer + f->end, f->capacity - f->end);
    s->counts.reads++;
    if (n > 0) {
        f->end += (size_t)n;
        s->counts.bytes_read += n;
        envelope_stamp(&f->envelope, unix_ms());
        return true;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        f->ended = true;
    return false;
}

void framer_begin_run(outlet_t *s) {
    stdout_framer_t *f = &s->framer;
    f->ended = f->ended_told = f->to_the_end = false;
    f->unmarked = 0;
    f->first_owed = true;
    surplus_begin(&s->progress.surplus);
    if (f->begin == f->end)
        f->skipping = false; /* else the end of a line over the limit is still in the buffer */
    f->seal_owed = true;
    framer_seal_empty(s);
}

size_t framer_end_run(outlet_t *s, bool keep_lines, bool keep_tail) {
    stdout_framer_t *f = &s->framer;
    size_t tail = 0;
    int64_t lines;
    f->seal_owed = false;
    if (!keep_lines)
        f->begin = f->scanned = f->end; /* its position is told at the next attach, after the inlet's detach */
    while (tail < f->end - f->begin && f->buffer[f->end - tail - 1] != '\n')
        tail++;
    if (tail > 0 && keep_tail && !(f->skipping && tail == f->end - f->begin)) {
        f->buffer[f->end++] = '\n'; /* the buffer has FRAMING_PADDING bytes behind its capacity */
        s->progress.read_position++;
        if (s->orders.flow != FLOW_HOLD)
            framer_take(s, monotonic_ns()); /* now, so that the inlet's fences find the line's end */
    } else {
        f->end -= tail;
        f->dropped += tail;
        if (f->scanned > f->end)
            f->scanned = f->end;
    }
    f->kept_until = framer_position(s, f->end);
    f->ended = f->ended_told = true;
    progress_expect_mark(&s->progress, framer_mark_after(s, f->buffer + f->begin, f->end - f->begin, &lines));
    return tail;
}

void framer_abandon_kept(outlet_t *s) {
    stdout_framer_t *f = &s->framer;
    const size_t kept = (size_t)framer_kept(s);
    int64_t lines;
    if (kept == 0)
        return;
    f->mark = framer_mark_after(s, f->buffer + f->begin, kept, &lines);
    s->counts.lines_abandoned += lines;
    s->counts.lines_read += lines;
    f->begin += kept;
    if (f->scanned < f->begin)
        f->scanned = f->begin;
}
