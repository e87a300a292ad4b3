/* A model of the brokers: three topics, one consumer group, transactions. It outlives every Supervisor.
 *
 * Source: the behaviour of Apache Kafka 4.1 with the classic group protocol, as far as the data path can tell. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "world.h"

enum { PARTITIONS_MAX = 4, METADATA_BYTES = 80 };

typedef enum { RECORD_COMMITTED, RECORD_OPEN, RECORD_ABORTED } record_state_t;

typedef struct {
    uint8_t *value; /* NULL: a tombstone */
    size_t size;
    bool control; /* of a transaction: an offset without a record */
    record_state_t state;
    int64_t producer; /* of whose transaction it is */
} record_t;

typedef struct {
    record_t *records;
    int64_t count, capacity;
    int64_t decided; /* no record before it is in an open transaction */
} log_t;

typedef struct {
    const char *name;
    int partitions;
    log_t logs[PARTITIONS_MAX];
} topic_t;

extern topic_t topic_in, topic_out, topic_dead;

/* What a partition's committed offset is; -1: there is none. */
typedef struct {
    int64_t offset;
    char metadata[METADATA_BYTES];
} committed_t;

typedef struct {
    committed_t committed[PARTITIONS_MAX];
    int64_t undecided[PARTITIONS_MAX]; /* the producer in whose open transaction an offset is; 0: none */
    int64_t member;                    /* ours, by its number; 0: it is not in the group */
    int64_t generation;                /* another one with each rebalance */
    uint32_t owned;                    /* partitions that our member has, as a set */
} group_t;

extern group_t group;

typedef struct {
    int in_partitions, out_partitions;
    unsigned trouble;        /* one in so many things goes wrong; 0: nothing does */
    size_t max_record_bytes; /* 0: any */
    unsigned rebalances_s;   /* one in about so many seconds; 0: none */
} broker_settings_t;

extern broker_settings_t broker;

void broker_begin(const broker_settings_t *settings);
void broker_end(void);
topic_t *topic_named(const char *name);

/* Whether something goes wrong now. */
bool trouble(void);

void log_append(topic_t *topic, int partition, const void *value, size_t size, int64_t producer);
/* Records of this producer's transaction become committed or aborted; its offsets likewise. Whether there were any. */
bool transaction_end(int64_t producer, bool commit);
/* Offsets of a member: false when it is not the group's any more. */
bool group_commit(int64_t member, int partition, int64_t offset, const char *metadata);
/* Only by who knows of the last rebalance. */
bool group_commit_in_transaction(int64_t member, int64_t generation, int64_t producer, int partition, int64_t offset);

/* Other members handle some records of the partitions that are not ours; they do in the end what nobody else does. */
void others_handle(void);
