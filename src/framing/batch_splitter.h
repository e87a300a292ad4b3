/* A batch was refused for its size: lines are offered a group at a time, smaller until the broker takes it.
 *
 * A topic's max.message.bytes bounds a whole batch, and the answer does not say which record or how much it would have
 * taken. So the limit on a group is halved with every group that is refused: what the topic takes flows on at nearly its own
 * batch size, and a record that is refused alone has been found.
 *
 * It knows neither Kafka nor lines but by their size. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "rdkafka.h"

typedef struct {
    size_t limit_bytes;   /* 0: no groups */
    size_t bytes;         /* of the group under way */
    size_t most_bytes;    /* in a transaction: a group of twice that was refused; 0: none was */
    int count, came_back; /* lines of the group under way, and of it those that came back */
    int taken;            /* groups in a row */
    bool refused;
} batch_splitter_t;

static inline bool splitter_is_on(const batch_splitter_t *b) { return b->refused || b->limit_bytes > 0; }

/* Whether what is refused now was alone: it is the one. */
static inline bool splitter_is_alone(const batch_splitter_t *b) { return b->count == 1; }

static inline void splitter_came_back(batch_splitter_t *b) { b->came_back += b->count > 0; }

/* Another topic, another limit. */
void splitter_end(batch_splitter_t *b);

/* The transaction of the group is lost. */
void splitter_forget_group(batch_splitter_t *b);

/* In a transaction, which is lost by a refusal: the next one offers line by line until the one is found that was it. Groups
 * that are taken grow again, up to half of what was refused together. */
void splitter_refused_in_transaction(batch_splitter_t *b);
void splitter_found_in_transaction(batch_splitter_t *b);

/* The group is through. Returns false when groups are over: the topic takes what it took before. */
bool splitter_group_done(batch_splitter_t *b);

/* How many of these lines are the next group. */
int splitter_next_group(batch_splitter_t *b, const rd_kafka_message_t *lines, int count);
