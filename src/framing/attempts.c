/* Attempts that survive the Supervisor, see attempts.h: noted before a partition's first record is written, and read
 * with the committed offsets. Nothing of it costs a record anything once each partition's first one is written.
 *
 * A record that an earlier instance ended with, or one behind it, may be what ends it. So an instance that finds such a
 * note is careful: it writes one record at a time, each when all before it is acknowledged and its own attempt is noted.
 * Only a record that is about to be written alone gets a second attempt, so nothing is accused for what others did; and
 * one that was alone POISON_MAX_ATTEMPTS times when the Supervisor ended becomes a dead letter when it is taken again.
 *
 * While it is careful, offsets go with the notes alone: librdkafka's automatic commit knows nothing of them, and would
 * wipe out the note of a record that is being tried. */
#define _GNU_SOURCE /* strdup */
#include "attempts.h"

#include "inlet.h"
#include "minmax.h"

#define CAREFUL_RECORDS 512 /* so many are written alone; the one that is looked for is hardly further away */
#define CAREFUL_S 10        /* nor longer than this, twice as long after each further end without progress: */
#define CAREFUL_MOST_S 60   /* some programs need a second for each record that is alone */
#define NOTE_WAIT_MS 1000   /* a note that cannot be committed stops the flow no longer */
#define NOTE_AGAIN_MS 100

/* The partition's, made if need be; NULL when memory is short: then nothing is noted. */
static attempt_t *attempt_of(inlet_t *s, int32_t partition) {
    attempts_t *all = &s->attempts;
    if (partition >= all->count) {
        attempt_t *grown = realloc(all->partitions, ((size_t)partition + 1) * sizeof *grown);
        if (grown == NULL)
            return NULL;
        for (int32_t i = all->count; i <= partition; i++)
            grown[i] = (attempt_t){.own_first = -1, .state = ATTEMPT_NONE};
        all->partitions = grown;
        all->count = partition + 1;
    }
    return &all->partitions[partition];
}

/* The one place where a state changes, and what is counted of them. */
static void set_state(inlet_t *s, attempt_t *a, attempt_state_t state) {
    s->attempts.fresh += (state == ATTEMPT_FRESH) - (a->state == ATTEMPT_FRESH);
    s->attempts.firsts += (state == ATTEMPT_FIRST) - (a->state == ATTEMPT_FIRST);
    s->attempts.due += (state == ATTEMPT_DUE) - (a->state == ATTEMPT_DUE);
    a->state = state;
}

void attempts_begin(inlet_t *s, int32_t partition) {
    attempt_t *a = attempt_of(s, partition);
    if (a == NULL || s->config.commit->never_twice)
        return;
    set_state(s, a, ATTEMPT_NONE);
    attempt_begin(a);
    s->attempts.fresh++;
}

void attempts_know(inlet_t *s, const rd_kafka_topic_partition_t *committed) {
    attempt_t *a = attempt_of(s, committed->partition);
    if (a == NULL || a->state != ATTEMPT_FRESH || committed->offset < 0)
        return;
    attempt_know(a, committed->offset, committed->metadata, committed->metadata_size);
}

/* An earlier instance ended with this record. */
static void survived(inlet_t *s, attempt_t *a, int64_t sequence, ledger_entry_t *entry) {
    attempts_t *all = &s->attempts;
    const bool is_poison = a->before > all->max_attempts;
    char where[80];
    snprintf(where, sizeof where, "partition %d, offset %lld", entry->partition, (long long)entry->offset);
    if (is_poison && all->has_dead_letters) {
        snprintf(s->alone.why, sizeof s->alone.why,
                 "the Supervisor ended with the Calculator %d times, and each time but the first it had written this "
                 "record alone",
                 a->before);
        ledger_bury(&s->ledger, entry, LEDGER_POISON);
        set_state(s, a, ATTEMPT_BURIED);
        inlet_notice(s, NOTICE_SURVIVED_POISON, a->before, where);
        return;
    }
    const int64_t longest_s = min_i64(CAREFUL_S << min_i64(a->before - 1, 10), CAREFUL_MOST_S);
    all->careful_end_ns = monotonic_ns() + longest_s * 1000 * MS;
    /* One that is known to be what is looked for is enough. */
    all->careful_until = max_i64(all->careful_until, sequence + (is_poison ? 1 : CAREFUL_RECORDS));
    inlet_notice(s, NOTICE_SURVIVED_SUSPECT, a->before, where);
}

void attempts_taken(inlet_t *s, int64_t sequence) {
    ledger_entry_t *entry = ledger_at(&s->ledger, sequence);
    if (entry->partition >= s->attempts.count)
        return;
    attempt_t *a = &s->attempts.partitions[entry->partition];
    if (a->state != ATTEMPT_FRESH)
        return;
    if (a->committed < 0) /* also of one without a line: its dead letter may not be there yet */
        a->committed = entry->offset;
    if (entry->line_bytes == 0)
        return;
    if (a->first != entry->offset)
        a->before = 0;
    a->first = entry->offset;
    set_state(s, a, ATTEMPT_FIRST);
    if (a->before > 0)
        survived(s, a, sequence, entry);
}

/* Was something acknowledged since the note? After a log that was cut off, the offset may be a smaller one. */
static bool has_moved_on(const inlet_t *s, int32_t partition) {
    const int64_t next_offset = s->ledger.partitions[partition].next_offset;
    return next_offset >= 0 && next_offset != s->attempts.partitions[partition].committed;
}

/* Whether a transaction that has not ended yet holds an offset of it: a commit beside it would win over it. */
static bool is_undecided(const inlet_t *s, int32_t partition) {
    for (int64_t i = s->ledger.head; i < s->ledger.committing; i++)
        if (ledger_at(&s->ledger, i)->partition == partition)
            return true;
    return false;
}

/* Whether the partition has moved on from the record that stands beside its offset. */
static bool is_uncleared(const inlet_t *s, int32_t partition) {
    const attempt_t *a = &s->attempts.partitions[partition];
    return (a->state == ATTEMPT_NOTED || a->state == ATTEMPT_BURIED) && !s->config.commit->transactional &&
           has_moved_on(s, partition);
}

/* Whether less is acknowledged than is committed: librdkafka's automatic commit takes no offset back. */
static bool has_gone_back(const inlet_t *s) {
    for (int32_t i = 0; i < s->attempts.count; i++)
        if (is_uncleared(s, i) && s->ledger.partitions[i].next_offset < s->attempts.partitions[i].committed)
            return true;
    return false;
}

static bool has_uncleared(const inlet_t *s) {
    for (int32_t i = 0; i < s->attempts.count; i++)
        if (is_uncleared(s, i))
            return true;
    return false;
}

static void notes_are_over(inlet_t *s) {
    attempts_t *all = &s->attempts;
    for (int32_t i = 0; i < all->count; i++) {
        attempt_t *a = &all->partitions[i];
        if (a->state == ATTEMPT_SENT || a->state == ATTEMPT_DUE)
            set_state(s, a, ATTEMPT_NOTED);
        a->clearing = -1;
    }
    all->awaited = all->to_clear = false;
    all->deadline_ns = all->again_ns = 0;
}

/* The flow goes on: should the Supervisor end with the record that is written now, it is not counted. */
static void give_notes_up(inlet_t *s, const char *why) {
    char text[200];
    if (!s->attempts.failure_logged) {
        s->attempts.failure_logged = true;
        snprintf(text, sizeof text, "attempts at the first record of a partition cannot be noted with its offset: %s",
                 why);
        inlet_notice(s, NOTICE_LOG, 4, text);
    }
    notes_are_over(s);
}

/* Try again for a moment: a group that comes together takes no commit, and takes it soon. */
static void notes_failed(inlet_t *s, int64_t now_ns, int error) {
    attempts_t *all = &s->attempts;
    if (now_ns >= all->deadline_ns) {
        give_notes_up(s, rdk.err2str(error));
        return;
    }
    for (int32_t i = 0; i < all->count; i++) {
        attempt_t *a = &all->partitions[i];
        if (a->state == ATTEMPT_SENT)
            set_state(s, a, ATTEMPT_DUE);
        if (a->clearing >= 0) {
            a->clearing = -1;
            all->to_clear = true;
        }
    }
    all->awaited = false;
    all->again_ns = now_ns + NOTE_AGAIN_MS * MS;
}

/* An offset to commit; without attempts it has no metadata. */
static void add_note(const inlet_t *s, rd_kafka_topic_partition_list_t *offsets, int32_t partition, int64_t offset,
                     int64_t first, int32_t attempts) {
    rd_kafka_topic_partition_t *p = rdk.topic_partition_list_add(offsets, s->config.topic, partition);
    char text[ATTEMPTS_BYTES];
    p->offset = offset;
    if (attempts > 0) {
        p->metadata_size = attempts_format(text, first, attempts);
        p->metadata = strdup(text); /* librdkafka frees it */
        if (p->metadata == NULL)
            p->metadata_size = 0;
    }
}

/* Send what is due, and with it what has come to its end. */
static void commit_notes(inlet_t *s, int64_t now_ns) {
    attempts_t *all = &s->attempts;
    rd_kafka_topic_partition_list_t *offsets = rdk.topic_partition_list_new(all->count + 1);
    for (int32_t i = 0; i < all->count; i++) {
        attempt_t *a = &all->partitions[i];
        const int64_t next_offset = s->ledger.partitions[i].next_offset;
        if (a->state == ATTEMPT_DUE) {
            if (next_offset >= 0) /* what was acknowledged meanwhile is not taken back */
                a->committed = next_offset;
            add_note(s, offsets, i, a->committed, a->first, a->attempts);
            attempt_sent(a);
            set_state(s, a, ATTEMPT_SENT);
        } else if (is_uncleared(s, i)) {
            /* It was acknowledged. Left to a later commit it would be counted with the one that is written now. */
            add_note(s, offsets, i, next_offset, 0, 0);
            a->clearing = next_offset;
        }
    }
    all->to_clear = false;
    if (offsets->cnt > 0) {
        all->awaited = true;
        const int error = rdk.commit_queue(s->consumer.rk, offsets, all->answers, NULL, NULL);
        if (error != RDK_ERR_NONE)
            notes_failed(s, now_ns, error);
        else
            all->sent++;
    } else {
        notes_are_over(s);
    }
    rdk.topic_partition_list_destroy(offsets);
}

/* Commit what is due. Returns whether nothing is to be waited for. */
static bool notes_are_there(inlet_t *s, int64_t now_ns) {
    attempts_t *all = &s->attempts;
    if (!(all->awaited || all->due > 0 || all->to_clear))
        return true;
    if (all->deadline_ns == 0)
        all->deadline_ns = now_ns + NOTE_WAIT_MS * MS;
    if (all->sent > 0) {
        /* A late one could take the offset back: in a transaction that would double lines, so it is waited for. */
        if (s->config.commit->transactional || now_ns < all->deadline_ns)
            return false;
        give_notes_up(s, "no answer");
        return true;
    }
    if (now_ns < all->again_ns)
        return false;
    commit_notes(s, now_ns);
    return !all->awaited && all->due == 0;
}

/* This one is written next, and alone. */
static void note_alone(inlet_t *s, const ledger_entry_t *entry) {
    attempt_t *a = attempt_of(s, entry->partition);
    if (a == NULL || a->state == ATTEMPT_NONE || !ledger_owns(&s->ledger, entry))
        return;
    if (a->first == entry->offset && (a->state == ATTEMPT_DUE || a->state == ATTEMPT_SENT || a->state == ATTEMPT_NOTED))
        return;
    if (a->first != entry->offset)
        a->before = 0;
    a->first = entry->offset;
    if (a->committed < 0)
        a->committed = entry->offset;
    a->attempts = (int32_t)min_i64(max_i64(1, a->before) + 1, ATTEMPTS_MAX - 1);
    set_state(s, a, ATTEMPT_DUE);
}

static int64_t careful_limit(inlet_t *s, int64_t limit) {
    const int64_t cursor = s->ledger.cursor;
    int64_t next = cursor;
    if (s->ledger.head < cursor)
        return cursor; /* what was written is not acknowledged */
    while (next < limit && ledger_at(&s->ledger, next)->line_bytes == 0)
        next++;
    if (next == limit)
        return limit;
    note_alone(s, ledger_at(&s->ledger, next));
    return next + 1;
}

/* The first records of these partitions are written next, among others. */
static void note_firsts(inlet_t *s) {
    for (int32_t i = 0; i < s->attempts.count; i++) {
        attempt_t *a = &s->attempts.partitions[i];
        if (a->state != ATTEMPT_FIRST)
            continue;
        a->attempts = a->before > 1 ? a->before : 1; /* written among others it proves nothing more */
        set_state(s, a, ATTEMPT_DUE);
    }
}

/* Whether there is nothing more to be careful about. */
static bool care_is_over(const inlet_t *s, int64_t now_ns) {
    const int64_t cursor = s->ledger.cursor;
    return (s->ledger.head == cursor && cursor >= s->attempts.careful_until) || now_ns >= s->attempts.careful_end_ns ||
           ack_sees_no_rest(s);
}

bool attempts_are_due(const inlet_t *s) {
    const attempts_t *all = &s->attempts;
    return all->firsts > 0 || all->awaited || all->due > 0 || all->to_clear || all->careful_until > 0;
}

int64_t attempts_limit(inlet_t *s, int64_t limit, int64_t now_ns) {
    attempts_t *all = &s->attempts;
    const int64_t cursor = s->ledger.cursor;
    const bool awaited = all->awaited;
    if (s->ledger.cursor_bytes > 0)
        return cursor + 1;
    if (all->careful_until > 0 && care_is_over(s, now_ns)) {
        all->careful_until = 0;
        s->consumer.more = true;
        all->to_clear = !s->config.commit->transactional; /* a transaction did it with the offsets */
        inlet_notice(s, NOTICE_CLEARED, 0, "");
    }
    if (all->careful_until > 0 && s->ledger.head == s->ledger.tail && has_uncleared(s))
        all->to_clear = true; /* nothing follows that would take it along */
    if (all->to_clear && !notes_are_there(s, now_ns))
        return cursor;
    if (limit <= cursor)
        return limit;
    if (all->careful_until > 0 && !all->awaited) {
        limit = careful_limit(s, limit);
        if (limit <= cursor)
            return cursor;
    }
    if (all->careful_until == 0 && all->firsts > 0 && !all->awaited)
        note_firsts(s);
    if (!notes_are_there(s, now_ns))
        return cursor;
    /* One that was given up just now was to be written alone: the next look sees to that. */
    return awaited && all->careful_until > 0 ? cursor : limit;
}

void attempts_stored(inlet_t *s) {
    if (has_gone_back(s) && !s->attempts.failure_logged)
        s->attempts.to_clear = true;
}

void attempts_look(inlet_t *s, int64_t now_ns) {
    attempts_t *all = &s->attempts;
    if (all->sent == 0)
        return;
    void *event = rdk.queue_poll(all->answers, 0);
    if (event == NULL)
        return;
    int error = rdk.event_error(event);
    const rd_kafka_topic_partition_list_t *offsets = rdk.event_topic_partition_list(event);
    for (int i = 0; offsets != NULL && i < offsets->cnt && error == RDK_ERR_NONE; i++)
        error = offsets->elems[i].err;
    rdk.event_destroy(event);
    all->sent--;
    if (!all->awaited || all->sent > 0)
        return;
    if (error != RDK_ERR_NONE) {
        notes_failed(s, now_ns, error);
        return;
    }
    for (int32_t i = 0; i < all->count; i++) {
        attempt_t *a = &all->partitions[i];
        if (a->clearing >= 0) {
            a->committed = a->clearing;
            a->before = 0;
        }
    }
    notes_are_over(s);
}

int64_t attempts_due_ns(const inlet_t *s, int64_t now_ns) {
    const attempts_t *all = &s->attempts;
    if (!inlet_may_write(s) || inlet_holds(s))
        return 0;
    if (all->awaited || all->due > 0 || all->to_clear) {
        if (all->sent > 0 && s->config.commit->transactional)
            return 0;
        return max_i64(MS, (all->sent > 0 ? all->deadline_ns : all->again_ns) - now_ns);
    }
    if (all->careful_until > 0 && s->ledger.tail > s->ledger.cursor)
        return NOTE_AGAIN_MS * MS; /* also for the end of care by time */
    return 0;
}

void attempts_end(inlet_t *s, const rd_kafka_topic_partition_list_t *partitions) {
    rd_kafka_topic_partition_list_t *offsets = rdk.topic_partition_list_new(partitions->cnt + 1);
    const bool may_commit = !s->identity.replaced && !rdk.assignment_lost(s->consumer.rk);
    for (int i = 0; i < partitions->cnt; i++) {
        const int32_t partition = partitions->elems[i].partition;
        attempt_t *a = attempt_of(s, partition);
        if (a == NULL)
            continue;
        if ((a->state == ATTEMPT_SENT || a->state == ATTEMPT_NOTED) && may_commit && !has_moved_on(s, partition) &&
            !is_undecided(s, partition))
            add_note(s, offsets, partition, a->committed, a->first, s->orders.stopping ? 0 : a->before);
        set_state(s, a, ATTEMPT_NONE);
    }
    if (offsets->cnt > 0 && rdk.commit_queue(s->consumer.rk, offsets, s->attempts.answers, NULL, NULL) == RDK_ERR_NONE)
        s->attempts.sent++;
    rdk.topic_partition_list_destroy(offsets);
}

void attempts_forget(inlet_t *s) {
    attempts_t *all = &s->attempts;
    for (int32_t i = 0; i < all->count; i++)
        set_state(s, &all->partitions[i], ATTEMPT_NONE);
    all->careful_until = all->deadline_ns = all->again_ns = 0;
    all->to_clear = all->awaited = false;
}
