/* The outlet's part of dead letters: it takes those of records out of the box, makes those of lines, and sends them all. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "letter.h"
#include "rdkafka.h"
#include "refused.h"

typedef struct outlet_s outlet_t;

#define LETTER_TAG ((uintptr_t)1) /* in the opaque of a letter, which is no batch */

typedef enum { LETTER_NO_ROOM, LETTER_NONE, LETTER_MADE } letter_made_t;

typedef struct {
    rd_kafka_topic_t *topic; /* NULL: there is no stream for them */
    char *topic_name;        /* likewise */
    letters_t letters;
    int64_t flying, delivered;
    int64_t retry_at_ns; /* in a transaction, which takes those that were refused with it */
    bool alone;          /* some were refused together: they are offered one at a time */
    bool full;           /* a line that is still being read waits for room among them */
    int error;           /* why the stream does not take them now */
    refused_t refused;   /* in a transaction: those of lines that are not made again */
} letter_sender_t;

/* A line that cannot become a record gets a dead letter: one more of its batch is outstanding then.
 *
 * `hash` knows it again in a transaction, else 0. Returns LETTER_NO_ROOM for its copy, LETTER_NONE if there is no stream that
 * takes it, LETTER_MADE. */
letter_made_t sender_bury(outlet_t *s, const void *value, size_t n, batch_t *batch, bool copied, uint64_t hash,
                          const char *cause, const char *why);

/* A line that is not a record yet: a dead letter, or dropped and said. False: no room, wait. */
bool sender_bury_copy(outlet_t *s, const uint8_t *value, size_t n, uint64_t hash, const char *cause, const char *why);

/* A line over the limit: its beginning becomes a dead letter, or all of it is dropped. False: no room, wait. */
bool sender_bury_oversize(outlet_t *s, const uint8_t *line);

/* A letter's delivery report. */
void sender_reported(outlet_t *s, letter_t *letter, const rd_kafka_message_t *m);

/* Hand the letters that wait to librdkafka, and let go of those that are delivered. */
void sender_send(outlet_t *s, int64_t now_ns);

/* Let go of those that are delivered: what waits for them may be acknowledged. Records' letters in their order. */
void sender_file(outlet_t *s);

/* Letters go to another stream from now on; NULL: nowhere. Returns 0, or -1 when memory is short. */
int sender_change_topic(outlet_t *s, const char *name);

/* Nobody waits for them any more: their transaction is lost, or the outlet ends. */
void sender_drop(outlet_t *s);

int64_t sender_waiting(const outlet_t *s);
bool sender_has_letters(const outlet_t *s);
