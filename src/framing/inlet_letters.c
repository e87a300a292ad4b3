#include "inlet_letters.h"

#include <pthread.h>
#include <stdio.h>

#include "inlet.h"
#include "letter_headers.h"

/* Why the record is dead: the stage, the exception and its message, as Kafka Connect's headers have them. */
static void add_cause(const inlet_t *s, const ledger_entry_t *entry, rd_kafka_headers_t *headers) {
    if (entry->flags & LEDGER_POISON)
        letter_headers_add(headers, s->progress, "TASK_PUT", "supervisor.CalculatorFailure", s->alone.why,
                           s->config.topic);
    else if (entry->flags & LEDGER_LIKE_MARKER && !(entry->flags & LEDGER_INNER_NEWLINE))
        letter_headers_add(headers, s->progress, "VALUE_CONVERTER", "supervisor.MarkerInValue",
                           "the value begins with MARKER_PREFIX, and INPUT_NEWLINES is reject", s->config.topic);
    else
        letter_headers_add(headers, s->progress, "VALUE_CONVERTER", "supervisor.NewlineInValue",
                           "the value has a newline inside, and INPUT_NEWLINES is reject", s->config.topic);
}

/* The record's own headers, why it is dead, and where it was. */
static rd_kafka_headers_t *headers_of(const inlet_t *s, const ledger_entry_t *entry) {
    rd_kafka_headers_t *headers = NULL;
    char number[24];
    if (rdk.message_headers(entry->record, &headers) == RDK_ERR_NONE)
        headers = rdk.headers_copy(headers);
    else
        headers = rdk.headers_new(8);
    add_cause(s, entry, headers);
    snprintf(number, sizeof number, "%d", entry->partition);
    rdk.header_add(headers, "__connect.errors.partition", -1, number, -1);
    snprintf(number, sizeof number, "%lld", (long long)entry->offset);
    rdk.header_add(headers, "__connect.errors.offset", -1, number, -1);
    return headers;
}

/* Returns false if there is no room for it now, or its transaction is lost. */
static bool post(inlet_t *s, ledger_entry_t *entry) {
    letterbox_t *box = &s->progress->letters;
    const rd_kafka_message_t *m = entry->record;
    const int64_t held = letterbox_bytes(box);
    if (box->issued - box->delivered >= LETTERS_MAX || (held > 0 && held + (int64_t)m->len > LETTERS_MAX_BYTES))
        return false;
    letter_t *letter = letter_new(box, m->payload, m->len, m->key, m->key_len, true);
    if (letter == NULL)
        return false;
    rd_kafka_headers_t *headers = headers_of(s, entry);
    letter->headers = headers;
    pthread_mutex_lock(&box->lock);
    /* Looked at under the lock: a lost transaction drops what was posted before, and nothing may come in between. */
    const bool posted = !s->config.commit->transactional || cut_state(&s->progress->cut) != CUT_VOID;
    if (posted)
        ledger_posted(&s->ledger, entry, letterbox_post(box, letter));
    pthread_mutex_unlock(&box->lock);
    if (!posted) {
        rdk.headers_destroy(headers);
        letter_free(box, letter);
        return false;
    }
    s->transaction.next_cut_ns = 0; /* nothing behind it can be committed before */
    progress_wake_outlet(s->progress);
    return true;
}

void inlet_post_letters(inlet_t *s) {
    if (s->ledger.unposted == 0)
        return;
    const int64_t limit = s->config.commit->letters_limit(s);
    int64_t i = ledger_next_letter(&s->ledger, limit);
    while (i >= 0 && post(s, ledger_at(&s->ledger, i)))
        i = ledger_next_letter(&s->ledger, limit);
}
