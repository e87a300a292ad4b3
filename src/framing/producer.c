#include "producer.h"

#include <string.h>

#include "outlet.h"

void producer_error(outlet_t *s, int error) {
    if (error == s->producer.last_error)
        return;
    s->producer.last_error = error;
    outlet_notice(s, NOTICE_ERROR, error, rdk.err2str(error));
}

/* What was not taken is offered again, after a while. */
static void try_later(outlet_t *s) { s->producer.retry_at_ns = monotonic_ns() + PRODUCER_RETRY_MS * MS; }

uint64_t producer_hash(const outlet_t *s, const uint8_t *line, size_t size) {
    return s->config.transactional ? refused_hash(line, size) : 0;
}

uint64_t producer_hash_frame(const outlet_t *s, const uint8_t *frame, size_t size) {
    const size_t head = s->framer.envelope.raw_head_size;
    return producer_hash(s, frame + head, size - (size < head ? size : head));
}

/* The broker does not take it: a dead letter, or nothing. */
static void drop(outlet_t *s, const rd_kafka_message_t *m, int error) {
    batch_t *batch = m->_private;
    const uint64_t hash = producer_hash_frame(s, m->payload, m->len);
    const letter_made_t made =
        sender_bury(s, m->payload, m->len, batch, false, hash, "supervisor.UnproducibleLine", rdk.err2str(error));
    batch->outstanding--;
    if (made == LETTER_MADE)
        return;
    s->counts.lines_unproducible++;
    outlet_notice(s, NOTICE_UNPRODUCIBLE, error, rdk.err2str(error));
}

/* In a transaction, which is lost by it. */
static void note_refusal(outlet_t *s, const rd_kafka_message_t *m) {
    if (splitter_is_alone(&s->splitter)) {
        refused_add(&s->producer.refused, producer_hash_frame(s, m->payload, m->len));
        splitter_found_in_transaction(&s->splitter);
    } else if (!s->transaction.refusal_noted) {
        splitter_refused_in_transaction(&s->splitter);
    }
    s->transaction.refusal_noted = true;
}

/* Where a message's key lies in its slab; librdkafka's own copy of it goes with its report. */
static void *key_of(const rd_kafka_message_t *m) { return m->key == NULL ? NULL : (uint8_t *)m->payload + m->len; }

/* Keep an undelivered record to offer it again. */
static void take_back(outlet_t *s, const rd_kafka_message_t *m) {
    rd_kafka_message_t *slot = returned_add(&s->producer.returned);
    splitter_came_back(&s->splitter);
    slot->payload = m->payload;
    slot->len = m->len;
    slot->key = key_of(m);
    slot->key_len = m->key_len;
    slot->_private = m->_private;
    slot->partition = m->partition;
    s->counts.retries++;
}

/* The report of a line that was not delivered. */
static void undelivered(outlet_t *s, const rd_kafka_message_t *m) {
    batch_t *batch = m->_private;
    const bool purged = m->err == RDK_ERR__PURGE_QUEUE || m->err == RDK_ERR__PURGE_INFLIGHT;
    if (s->config.transactional) {
        batch->outstanding--;
        s->counts.lines_abandoned++;
        s->transaction.lost_code = m->err;
        if (is_refusal(m->err))
            note_refusal(s, m);
    } else if (s->producer.abandoning) {
        batch->outstanding--;
        s->counts.lines_abandoned++;
    } else if (is_refusal(m->err)) {
        if (splitter_is_alone(&s->splitter)) {
            drop(s, m, m->err);
        } else {
            s->splitter.refused = true;
            take_back(s, m);
        }
    } else if (purged && !s->producer.fatal) {
        s->counts.lines_abandoned++; /* the outlet is closing: stays outstanding, so it is never acknowledged */
    } else if (s->config.at_most_once && rdk.message_status(m) != RDK_MSG_STATUS_NOT_PERSISTED) {
        producer_error(s, m->err);
        batch->outstanding--;
        s->counts.lines_lost++; /* or not: the broker may have it, so it must not be sent again */
    } else if (purged) {
        take_back(s, m); /* for the next client */
    } else {
        producer_error(s, m->err);
        try_later(s);
        take_back(s, m);
    }
}

void producer_on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
    outlet_t *s = opaque;
    (void)rk;
    if ((uintptr_t)m->_private & LETTER_TAG) {
        sender_reported(s, (letter_t *)((uintptr_t)m->_private & ~LETTER_TAG), m);
        return;
    }
    s->producer.in_flight--;
    s->producer.throttle.reported_bytes += (int64_t)m->len;
    if (s->producer.throttle.met)
        partitions_led_by(&s->producer.partitions, m->partition, rdk.message_broker_id(m));
    if (partitions_reported(&s->producer.partitions, m->partition, m->err == RDK_ERR_NONE) && !s->orders.stopping)
        producer_flush(s, monotonic_ns()); /* the broker need not wait until all reports are looked at */
    if (m->err != RDK_ERR_NONE) {
        undelivered(s, m);
        return;
    }
    batch_t *batch = m->_private;
    batch->outstanding--;
    s->counts.lines_delivered++;
    s->producer.last_error = 0;
}

void producer_on_throttle(rd_kafka_t *rk, const char *name, int32_t broker, int ms, void *opaque) {
    outlet_t *s = opaque;
    (void)rk;
    (void)name;
    client_throttled(&s->client, broker, ms);
    throttle_asked(&s->producer.throttle, broker, ms, monotonic_ns());
}

/* Hand records to librdkafka, all to one partition. Returns how many it took; `err` of the rest says why not. */
static int produce(outlet_t *s, rd_kafka_message_t *messages, int count, int32_t partition) {
    producer_t *p = &s->producer;
    const int64_t began_ns = monotonic_ns();
    const int chosen = partition == RDK_PARTITION_UA;
    int taken = 0;
    if (chosen && s->config.propagate_key) /* each goes where its key belongs */
        return rdk.produce_batch(p->topic, RDK_PARTITION_UA, 0, messages, count);
    if (chosen) { /* and so it stays while the topic's metadata are not there */
        taken = partition_produce_first(p->topic, messages, &partition, &p->partitions);
        if (taken == 0 && !is_refusal(messages[0].err)) {
            for (int i = 1; i < count; i++) /* none may overtake it */
                messages[i].err = messages[0].err;
            return 0;
        }
    }
    if (count > chosen)
        taken += rdk.produce_batch(p->topic, partition, 0, messages + chosen, count - chosen);
    partitions_taken(&p->partitions, partition, taken, monotonic_ns() - began_ns < HAND_OVER_NS);
    return taken;
}

/* Make sure that there is room for so many more lines, should they come back: none is lost for want of memory. */
static bool may_offer(outlet_t *s, int count) {
    if (returned_reserve(&s->producer.returned, (size_t)s->producer.in_flight, (size_t)count) == 0)
        return true;
    producer_error(s, RDK_ERR__CRIT_SYS_RESOURCE);
    try_later(s);
    return false;
}

/* Offer records of so many bytes to librdkafka. Those it does not take now are moved to the front; returns their number. */
static int offer(outlet_t *s, rd_kafka_message_t *messages, int count, int64_t bytes, int32_t partition) {
    int left = 0;
    const int taken = produce(s, messages, count, partition);
    s->producer.in_flight += taken;
    s->producer.throttle.handed_bytes += bytes;
    if (taken == count)
        return 0;
    for (int i = 0; i < count; i++) {
        rd_kafka_message_t *m = &messages[i];
        if (m->err == RDK_ERR_NONE)
            continue;
        s->producer.throttle.handed_bytes -= (int64_t)m->len;
        if (is_refusal(m->err)) { /* by librdkafka itself: each is looked at by itself */
            drop(s, m, m->err);
            continue;
        }
        if (m->err == RDK_ERR__UNKNOWN_PARTITION)
            m->partition = RDK_PARTITION_UA; /* the topic was made anew, with fewer of them */
        if (m->err != RDK_ERR__QUEUE_FULL) {
            s->transaction.lost_code = m->err;
            producer_error(s, m->err);
            try_later(s);
        }
        m->err = RDK_ERR_NONE;
        messages[left++] = *m;
    }
    return left;
}

/* As far as quotas go: is there a partition that lines may be handed over to? Keys go to all of them. */
static bool may_send(const outlet_t *s, int64_t now_ns) {
    const producer_t *p = &s->producer;
    return p->throttle.until_ns <= now_ns || (!s->config.propagate_key && partitions_has_free(&p->partitions, now_ns));
}

/* Is there a partition with nothing under way? Until the topic is known, all count as one; keys go to all. */
static bool may_begin_burst(const outlet_t *s, int64_t now_ns) {
    const producer_t *p = &s->producer;
    if (throttle_room(&p->throttle) <= 0 || !may_send(s, now_ns))
        return false;
    return p->in_flight == 0 || (p->partitions.busy < p->partitions.known && !s->config.propagate_key);
}

/* Does somebody wait for the last lines to be delivered? */
static bool in_a_hurry(outlet_t *s) {
    if (s->orders.stopping || s->orders.flow == FLOW_HOLD || s->framer.ended || progress_window_full(&s->progress))
        return true;
    if (!s->config.transactional)
        return false;
    const int state = cut_state(&s->progress.cut);
    return state == CUT_ASKED || state == CUT_ANYWHERE;
}

static int64_t bytes_of(const rd_kafka_message_t *messages, int count) {
    int64_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += (int64_t)messages[i].len;
    return bytes;
}

/* Offer what came back to the partitions it was for, a burst at a time, each when the last one is through.
 *
 * Returns whether all of it was taken. */
static bool flush_returned(outlet_t *s, int64_t now_ns) {
    producer_t *p = &s->producer;
    const burst_limits_t *burst = &s->config.burst;
    if (p->in_flight > 0)
        return false; /* more may come back, and belong before these */
    returned_sort(&s->delivery, &p->returned);
    const rd_kafka_message_t *first = returned_first(&p->returned);
    const int most = (int)p->returned.count < burst->max_lines ? (int)p->returned.count : burst->max_lines;
    const int32_t partition = first[0].partition;
    const size_t most_bytes = outlet_burst_bytes(s);
    size_t size = 0;
    int n = 0;
    if (partition == RDK_PARTITION_UA ? !may_send(s, now_ns) : !partitions_may_send(&p->partitions, partition, now_ns))
        return false;
    while (n < most && first[n].partition == partition && (n == 0 || size + burst_bytes_of(first[n].len) <= most_bytes))
        size += burst_bytes_of(first[n++].len);
    if (!may_offer(s, n))
        return false;
    const int left = offer(s, returned_first(&p->returned), n, bytes_of(first, n), partition);
    returned_taken(&p->returned, (size_t)n, (size_t)left, (size_t)p->in_flight);
    return p->returned.count == 0;
}

/* How many of the pending lines are handed over next, and their bytes. */
static int next_burst(const outlet_t *s, int64_t *bytes) {
    const producer_t *p = &s->producer;
    const size_t most_bytes = outlet_burst_bytes(s);
    int count = p->pending_count;
    size_t size = p->pending_bytes;
    if (!p->throttle.limits && count > 1 && size > most_bytes)
        size -= burst_bytes_of(p->pending[--count].len); /* the last one would be left over from the request */
    while (p->throttle.limits && count > 1 && size - burst_bytes_of(p->pending[count - 1].len) > most_bytes)
        size -= burst_bytes_of(p->pending[--count].len);
    *bytes = (int64_t)(size - (size_t)count * BURST_RECORD_OVERHEAD);
    return count;
}

/* Offer everything that is due. Returns whether all there is was taken. */
static bool flush_all(outlet_t *s, int64_t now_ns) {
    producer_t *p = &s->producer;
    const burst_limits_t *burst = &s->config.burst;
    if (p->returned.count > 0 && !flush_returned(s, now_ns))
        return false;
    if (p->pending_count > 0 && may_begin_burst(s, now_ns) &&
        (outlet_has_burst(s) || now_ns >= p->handed_over_ns + burst->gather_ns || in_a_hurry(s))) {
        int64_t bytes;
        const int count = next_burst(s, &bytes);
        if (!may_offer(s, count))
            return false;
        int left = offer(s, p->pending, count, bytes, RDK_PARTITION_UA);
        p->handed_over_ns = now_ns;
        outlet_sleep_note_burst(s, count);
        memmove(p->pending + left, p->pending + count, (size_t)(p->pending_count - count) * sizeof *p->pending);
        left += p->pending_count - count;
        p->pending_count = left;
        p->pending_bytes = (size_t)bytes_of(p->pending, left) + (size_t)left * BURST_RECORD_OVERHEAD;
    }
    return p->pending_count == 0;
}

/* Offer one group, when the last one is through. Returns whether all there is was taken. */
static bool flush_group(outlet_t *s, int64_t now_ns) {
    producer_t *p = &s->producer;
    const bool from_returned = p->returned.count > 0;
    if (p->in_flight > 0)
        return false;
    returned_to_front(&p->returned, (size_t)s->splitter.came_back);
    if (!splitter_group_done(&s->splitter))
        return flush_all(s, now_ns);
    const int count = from_returned ? (int)p->returned.count : p->pending_count;
    const int n = splitter_next_group(&s->splitter, from_returned ? returned_first(&p->returned) : p->pending, count);
    if (!may_offer(s, n))
        return false;
    if (from_returned) {
        rd_kafka_message_t *first = returned_first(&p->returned);
        const int left = offer(s, first, n, bytes_of(first, n), RDK_PARTITION_UA);
        returned_taken(&p->returned, (size_t)n, (size_t)left, (size_t)p->in_flight);
    } else {
        const int left = offer(s, p->pending, n, bytes_of(p->pending, n), RDK_PARTITION_UA);
        memmove(p->pending + left, p->pending + n, (size_t)(count - n) * sizeof *p->pending);
        p->pending_count -= n - left;
    }
    return p->returned.count == 0 && p->pending_count == 0;
}

void producer_look_at_quota(outlet_t *s, int64_t now_ns) {
    throttle_look(&s->producer.throttle, now_ns);
    progress_set_window(&s->progress, throttle_window(&s->producer.throttle));
}

bool producer_flush(outlet_t *s, int64_t now_ns) {
    producer_t *p = &s->producer;
    if (p->returned.count == 0 && p->pending_count == 0)
        return true;
    producer_look_at_quota(s, now_ns);
    if (p->fatal || now_ns < p->retry_at_ns || !may_send(s, now_ns))
        return false;
    if (s->config.transactional && !transaction_begin(s)) /* not while a broker asks for time: it would time out */
        return false;
    if (letterbox_count(&s->progress.letters) > LETTERS_MAX_LINES)
        return false; /* each line that is refused would be one more */
    return splitter_is_on(&s->splitter) ? flush_group(s, now_ns) : flush_all(s, now_ns);
}

int64_t producer_gathers_until(const outlet_t *s, int64_t now_ns) {
    const throttle_t *throttle = &s->producer.throttle;
    if (may_begin_burst(s, now_ns))
        return s->producer.handed_over_ns + s->config.burst.gather_ns;
    return throttle_first_ns(throttle, now_ns);
}

void producer_drop_pending(outlet_t *s) {
    producer_t *p = &s->producer;
    for (int i = 0; i < p->pending_count; i++)
        ((batch_t *)p->pending[i]._private)->outstanding--;
    s->counts.lines_abandoned += p->pending_count;
    p->pending_count = 0;
}

void producer_drop_returned(outlet_t *s) {
    returned_t *r = &s->producer.returned;
    for (size_t i = 0; i < r->count; i++)
        ((batch_t *)returned_first(r)[i]._private)->outstanding--;
    s->counts.lines_abandoned += (int64_t)r->count;
    returned_taken(r, r->count, 0, (size_t)s->producer.in_flight);
}
