/* The inlet's librdkafka consumer: its group membership and assignment, the taking of records, the storing of offsets. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client.h"
#include "ledger.h"
#include "rdkafka.h"

#define TAKE_BATCH 512  /* records taken at once, and at most this many wait to be written */
#define TAKE_AHEAD 8192 /* likewise where they are committed first, which takes a while */

typedef struct inlet_s inlet_t;

typedef struct {
    rd_kafka_t *rk;
    rd_kafka_queue_t *records; /* every partition's queue is forwarded to it */
    rd_kafka_queue_t *events;
    rd_kafka_message_t **taken;
    bool more; /* the record queue had more than was taken */
    int assigned;
    rd_kafka_topic_partition_list_t *revoking; /* asked back by the group; given up when drained or at the deadline */
    int64_t revoke_deadline_ns;
    int64_t next_store_ns;
} consumer_t;

/* Returns 0, or -1 with librdkafka's reason in `why`: it refuses a property. */
int consumer_open(inlet_t *s, const properties_t *properties, char *why, size_t why_size);

/* Join the group. Not before the thread runs: a static member that joins fences the one before it with its id. */
void consumer_subscribe(inlet_t *s);

/* Serve rebalances, reports of commits, errors. */
void consumer_serve(inlet_t *s);

/* Take records as far as there is room; never far ahead of the writing, so that little is dropped on a revoke. */
void consumer_take(inlet_t *s);

/* Whether the next round would take more at once. */
bool consumer_takes_more(const inlet_t *s);

/* Take out of the ledger what is acknowledged now. */
void consumer_acknowledge(inlet_t *s);

/* Everything before `sequence` is acknowledged: let it go. */
void consumer_release(inlet_t *s, int64_t sequence);

/* Hand the acknowledged offsets to librdkafka, whose automatic commit sends them. */
void consumer_store(inlet_t *s);

/* Give partitions that are asked back up when they are drained, or at the deadline. */
void consumer_revoke_due(inlet_t *s, int64_t now_ns);

/* The partition is not ours any more: acknowledgements of its records no longer count. */
void consumer_lose(inlet_t *s, int32_t partition);

/* Of a partition that is gone, records from here on are not written: who gets it reads them. */
int64_t consumer_void_from(const inlet_t *s);

/* Give librdkafka these partitions, in addition. */
void consumer_assign_more(inlet_t *s, const rd_kafka_topic_partition_list_t *partitions);

/* Commit, leave the group, destroy the client. Nobody who gives an order waits for it. */
void consumer_close(inlet_t *s);

/* Of one that never ran. */
void consumer_dispose(inlet_t *s);
