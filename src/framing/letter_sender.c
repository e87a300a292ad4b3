#define _GNU_SOURCE /* strdup */
#include "letter_sender.h"

#include <stdlib.h>
#include <string.h>

#include "letter_headers.h"
#include "outlet.h"

#define RETRY_MS 1000          /* after an error that may pass */
#define REFUSED_RETRY_MS 10000 /* after a refusal: somebody has to raise a limit first */

static bool buries(const outlet_t *s) { return s->sender.topic != NULL && s->orders.flow != FLOW_DISCARD; }

letter_made_t sender_bury(outlet_t *s, const void *value, size_t n, batch_t *batch, bool copied, uint64_t hash,
                          const char *cause, const char *why) {
    const int64_t held = letterbox_bytes(&s->progress.letters);
    if (!buries(s) || (hash != 0 && refused_has(&s->sender.refused, hash)))
        return LETTER_NONE;
    if (copied && held > 0 && held + (int64_t)n > LETTERS_MAX_BYTES)
        return LETTER_NO_ROOM;
    letter_t *letter = letter_new(&s->progress.letters, value, n, NULL, 0, copied);
    if (letter == NULL)
        return LETTER_NO_ROOM;
    letter->batch = batch;
    letter->hash = hash;
    batch->outstanding++;
    letter->headers = letter_headers(&s->progress, "KAFKA_PRODUCE", cause, why,
                                     rdk.topic_name(s->producer.topic == NULL ? s->sender.topic : s->producer.topic));
    letters_add(&s->sender.letters, letter);
    return LETTER_MADE;
}

bool sender_bury_copy(outlet_t *s, const uint8_t *value, size_t n, uint64_t hash, const char *cause, const char *why) {
    letter_made_t made = LETTER_NONE;
    if (buries(s) && !outlet_is_void(s)) {
        batch_t *batch = batch_open(&s->delivery);
        made = batch == NULL ? LETTER_NO_ROOM : sender_bury(s, value, n, batch, true, hash, cause, why);
    }
    if (made == LETTER_NONE) {
        s->counts.lines_unproducible++;
        outlet_notice(s, NOTICE_UNPRODUCIBLE, RDK_ERR_MSG_SIZE_TOO_LARGE, why);
    }
    return made != LETTER_NO_ROOM;
}

bool sender_bury_oversize(outlet_t *s, const uint8_t *line) {
    const size_t most = s->config.max_line_bytes;
    if (buries(s) && !outlet_is_void(s) &&
        !sender_bury_copy(s, line, most, producer_hash(s, line, most), "supervisor.LineTooLong",
                          "the line is longer than MAX_LINE_BYTES; this is its beginning")) {
        s->sender.full = true;
        return false;
    }
    s->counts.lines_oversize++;
    outlet_notice(s, NOTICE_OVERSIZE_LINE, (int)most, "");
    return true;
}

static void free_letter(outlet_t *s, letter_t *letter) {
    rdk.headers_destroy(letter->headers);
    letter_free(&s->progress.letters, letter);
}

/* It was not taken. A line's is then dropped, as where there is no stream for it; a record's is offered again.
 *
 * A broker refuses a whole request for one of its records, or for their sum: who was refused alone is meant. */
static void letter_failed(outlet_t *s, letter_t *letter, int error) {
    const bool refused = is_refusal(error);
    const int64_t again_ns = monotonic_ns() + MS * (refused ? REFUSED_RETRY_MS : RETRY_MS);
    if (refused && !letter->alone) {
        s->sender.alone = true;
        return;
    }
    if (refused && letter->batch != NULL) {
        refused_add(&s->sender.refused, letter->hash); /* should it come again: with its transaction */
        s->counts.lines_unproducible++;
        outlet_notice(s, NOTICE_UNPRODUCIBLE, error, rdk.err2str(error));
        letter->state = LETTER_DELIVERED;
        return;
    }
    if (error != s->sender.error) {
        s->sender.error = error;
        outlet_notice(s, NOTICE_LETTER_REFUSED, error, rdk.err2str(error));
    }
    if (s->config.transactional)
        s->sender.retry_at_ns = again_ns;
    else
        letter->again_ns = again_ns;
}

void sender_reported(outlet_t *s, letter_t *letter, const rd_kafka_message_t *m) {
    s->sender.flying--;
    letter->state = LETTER_WAITS;
    if (letter->given_up) {
        if (letter->batch != NULL)
            letter->batch->outstanding--;
        free_letter(s, letter);
    } else if (m->err == RDK_ERR_NONE) {
        letter->state = LETTER_DELIVERED;
        s->sender.delivered++;
        s->sender.error = 0;
    } else if (s->config.at_most_once && !is_refusal(m->err) && rdk.message_status(m) != RDK_MSG_STATUS_NOT_PERSISTED) {
        letter->state = LETTER_DELIVERED;
        s->counts.lines_lost++; /* or not: the broker may have it, so it must not be sent again */
    } else if (m->err != RDK_ERR__PURGE_QUEUE &&
               m->err != RDK_ERR__PURGE_INFLIGHT) { /* then it is sent again at once */
        letter_failed(s, letter, m->err);
    }
    if (m->err != RDK_ERR_NONE && s->config.transactional)
        s->transaction.lost_code = m->err; /* and what it was in is lost: it comes again with its record */
}

static void take_posted(outlet_t *s) {
    letterbox_t *box = &s->progress.letters;
    pthread_mutex_lock(&box->lock);
    for (letter_t *letter; (letter = letters_take(&box->posted)) != NULL;)
        letters_add(&s->sender.letters, letter);
    pthread_mutex_unlock(&box->lock);
}

/* The first from this one on that can be offered now, or NULL. */
static letter_t *next_letter(letter_t *letter, int64_t now_ns) {
    while (letter != NULL && (letter->state != LETTER_WAITS || now_ns < letter->again_ns))
        letter = letter->next;
    return letter;
}

/* Returns whether the next one may be tried. */
static bool send_letter(outlet_t *s, letter_t *letter) {
    rd_kafka_headers_t *headers = rdk.headers_copy(letter->headers);
    const int error =
        rdk.producev(s->producer.rk, RDK_V_RKT, s->sender.topic, RDK_V_PARTITION, RDK_PARTITION_UA, RDK_V_VALUE,
                     letter->value, letter->value_bytes, RDK_V_KEY, letter->key, letter->key_bytes, RDK_V_OPAQUE,
                     (void *)((uintptr_t)letter | LETTER_TAG), RDK_V_HEADERS, headers, RDK_V_END);
    letter->alone = s->sender.alone || error != RDK_ERR_NONE;
    if (error == RDK_ERR_NONE) {
        letter->state = LETTER_FLIES;
        live_add(LIVE_headers, -1); /* librdkafka's now */
        s->sender.flying++;
        return true;
    }
    rdk.headers_destroy(headers);
    if (error == RDK_ERR__QUEUE_FULL)
        return false;
    letter_failed(s, letter, error);
    return true;
}

/* There is no stream for lines' letters any more: the lines are dropped, as if there had never been one. */
static void drop_lines_letters(outlet_t *s) {
    for (letter_t *letter = s->sender.letters.first; letter != NULL; letter = letter->next)
        if (letter->batch != NULL && letter->state == LETTER_WAITS) {
            letter->state = LETTER_DELIVERED;
            s->counts.lines_unproducible++;
            outlet_notice(s, NOTICE_UNPRODUCIBLE, 0, "the dead letter stream that it waited for is gone");
        }
    sender_file(s);
}

void sender_send(outlet_t *s, int64_t now_ns) {
    letter_sender_t *sender = &s->sender;
    take_posted(s);
    if (sender->topic == NULL && sender->letters.first != NULL)
        drop_lines_letters(s); /* one that was in flight when the stream went may have come back */
    sender_file(s);
    letter_t *letter = next_letter(sender->letters.first, now_ns);
    if (letter == NULL || sender->topic == NULL || now_ns < sender->retry_at_ns ||
        now_ns < s->producer.throttle.until_ns || !transaction_may_send_letters(s))
        return;
    while (letter != NULL && !(sender->alone && sender->flying > 0) && send_letter(s, letter))
        letter = next_letter(letter->next, now_ns);
}

void sender_file(outlet_t *s) {
    letters_t rest = {0};
    bool gap = false; /* a record's letter before this one is not delivered */
    if (s->sender.letters.first == NULL)
        return;
    for (letter_t *letter; (letter = letters_take(&s->sender.letters)) != NULL;) {
        if (letter->state != LETTER_DELIVERED || (gap && letter->batch == NULL)) {
            gap = gap || letter->batch == NULL;
            letters_add(&rest, letter);
            continue;
        }
        if (letter->batch != NULL) {
            letter->batch->outstanding--;
        } else {
            s->progress.letters.delivered = letter->number;
            progress_wake_inlet(&s->progress);
        }
        free_letter(s, letter);
    }
    s->sender.letters = rest;
    if (rest.first == NULL)
        s->sender.alone = false;
}

int sender_change_topic(outlet_t *s, const char *name) {
    letter_sender_t *sender = &s->sender;
    if (name == NULL ? sender->topic_name == NULL : sender->topic_name != NULL && strcmp(name, sender->topic_name) == 0)
        return 0;
    char *copy = name == NULL ? NULL : strdup(name);
    if (name != NULL && copy == NULL)
        return -1;
    free(sender->topic_name);
    sender->topic_name = copy;
    if (sender->topic != NULL)
        rdk.topic_destroy(sender->topic);
    sender->topic = name == NULL ? NULL : rdk.topic_new(s->producer.rk, name, NULL);
    /* All that wait can be offered at once: their stream is another one. */
    sender->retry_at_ns = 0;
    for (letter_t *letter = sender->letters.first; letter != NULL; letter = letter->next)
        letter->again_ns = 0;
    sender->error = 0;
    if (name == NULL)
        drop_lines_letters(s);
    return 0;
}

int64_t sender_waiting(const outlet_t *s) {
    int64_t waiting = s->progress.letters.posted.first != NULL;
    for (const letter_t *letter = s->sender.letters.first; letter != NULL; letter = letter->next)
        waiting++;
    return waiting;
}

void sender_drop(outlet_t *s) {
    if (s->config.transactional) /* so their numbers are done with */
        s->progress.letters.delivered = s->progress.letters.issued;
    take_posted(s);
    for (letter_t *letter; (letter = letters_take(&s->sender.letters)) != NULL;) {
        s->counts.lines_abandoned += letter->batch != NULL;
        if (letter->state == LETTER_FLIES) {
            letter->given_up = true; /* until its report librdkafka reads what the batch keeps */
            continue;
        }
        if (letter->batch != NULL)
            letter->batch->outstanding--;
        free_letter(s, letter);
    }
}

bool sender_has_letters(const outlet_t *s) {
    return s->sender.letters.first != NULL || s->progress.letters.posted.first != NULL;
}
