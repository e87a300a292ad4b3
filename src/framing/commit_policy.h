/* PROCESSING_GUARANTEE: when offsets are committed, and what that asks of the writing. Each guarantee is a table.
 *
 * `at-least-once` stores what is acknowledged, and librdkafka commits it. `at-most-once` commits, then writes.
 * `exactly-once` commits offsets in the transaction that has the lines. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "rdkafka.h"

typedef struct inlet_s inlet_t;

/* NULL: the guarantee has nothing to do there. */
typedef struct {
    int64_t take_ahead; /* at most so many records are taken and not written */
    bool never_twice;   /* nothing is written twice: what was committed is ours for good */
    bool transactional; /* offsets are committed in transactions alone */
    bool settles;       /* what the rule of acknowledgement settles leaves the ledger at once, */
    bool stores;        /* and its offset goes to librdkafka, whose automatic commit sends it */
    /* Before records are written. */
    void (*before_write)(inlet_t *s, int64_t now_ns);
    /* Before which record writing stops, whatever else is in the way. */
    int64_t (*reach)(inlet_t *s);
    /* Likewise, of those before `limit`; before `unfinished` it never does: a record that was begun is finished. */
    int64_t (*limit)(inlet_t *s, int64_t limit, int64_t unfinished);
    /* After records were written. Returns in how many ns to look again; 0: when something happens. */
    int64_t (*after_write)(inlet_t *s, int64_t now_ns);
    /* The partition is about to be lost, with records in flight. */
    void (*partition_lost)(inlet_t *s);
    /* Whether a partition that is asked back may be given up. */
    bool (*drained)(const inlet_t *s);
    /* Dead-letter records of records before this one may be sent now. */
    int64_t (*letters_limit)(inlet_t *s);
} commit_policy_t;

extern const commit_policy_t commit_at_least_once, commit_at_most_once, commit_exactly_once;

/* `at-most-once` */
typedef struct {
    int64_t committed; /* records below this sequence number may be written */
    int64_t target;    /* the commit under way moves it to there; -1: none is */
    int64_t next_ns;
} commit_ahead_t;

/* Are there records that were committed, or are about to be, and not written yet? Nobody else will read them. */
bool commit_owes_lines(const inlet_t *s);

/* A librdkafka callback, called out of consumer_poll, on the inlet's thread. */
void commit_reported(rd_kafka_t *rk, int error, rd_kafka_topic_partition_list_t *offsets, void *opaque);

/* `exactly-once` */
typedef struct {
    int64_t next_cut_ns;
    bool abort_owed; /* a partition went while lines of its records were in the transaction */
} inlet_transaction_t;

/* If the transaction was lost, everything since the last commit is to be written again, and lines count again. Returns
 * whether it was. */
bool transaction_rewind_void(inlet_t *s);

/* Let the records go whose offsets were committed with their lines. Returns whether a commit was done. */
bool transaction_take_commit(inlet_t *s);

/* The offsets that moved since they were last asked for, or NULL if none did. */
rd_kafka_topic_partition_list_t *commit_new_offsets(inlet_t *s);
