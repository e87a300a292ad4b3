/* What must hold, whatever happens: looked at when a record is shown to readers of committed records, when an offset is
 * committed, and at the end. */
#pragma once

#include "broker.h"

typedef enum { AT_LEAST_ONCE, AT_MOST_ONCE, EXACTLY_ONCE } guarantee_t;
typedef enum { BY_DEMAND, BY_LINE, BY_MARKER } ack_mode_t;

typedef struct {
    guarantee_t guarantee;
    ack_mode_t mode;
    bool dead_letters;
} promise_settings_t;

extern promise_settings_t promised;

void promises_begin(const promise_settings_t *settings);

/* How many lines the Calculator prints for this record, and how long they are. */
int answers_of(int partition, int64_t offset);
size_t answer_bytes(int partition, int64_t offset);

/* The Calculator was given the whole line of a record, and was done with it. */
void promise_given(int partition, int64_t offset);
void promise_done(int partition, int64_t offset);
/* A line that the Calculator printed: what comes out was printed. */
void promise_printed(int partition, int64_t offset, int answer);

void promise_shown(const topic_t *topic, int partition, const record_t *record);
void promise_committed(int partition, int64_t from, int64_t to);
void promise_handled_elsewhere(int partition, int64_t offset);

/* Whether every record is committed. */
bool promises_at_end(void);
/* For a person: how far it has come. */
void promises_say(void);
/* So much was counted in all runs. */
typedef struct {
    int64_t committed, shown, doubled, given;
} promise_counts_t;
extern promise_counts_t promise_counts;
