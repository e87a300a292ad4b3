/* Attempts that survive the Supervisor: what stands beside a partition's committed offset, in its metadata.
 *
 * Where the kernel ends every process of a pod at once, nobody is left to say which record it was. So before the first
 * record of a partition is written, an instance commits the offset that is committed already, with the record's own offset
 * and how often it was tried, this time included. Progress commits a further offset, which has no metadata. Whoever finds
 * metadata that fits the first record he gets knows that so many instances ended with it, and none in order.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "rdkafka.h"

#define ATTEMPTS_BYTES 64 /* of the metadata, at most; brokers take 4096 unless they are told otherwise */
#define ATTEMPTS_MAX 1000000000

/* What an instance knows of the first record of a partition of its own. */
typedef enum {
    ATTEMPT_NONE,   /* not ours, or nothing to be noted */
    ATTEMPT_FRESH,  /* nothing of it was taken yet */
    ATTEMPT_FIRST,  /* its first record was taken: to be noted before it is written */
    ATTEMPT_DUE,    /* is about to be noted */
    ATTEMPT_SENT,   /* the commit is under way */
    ATTEMPT_NOTED,  /* or given up: it was written */
    ATTEMPT_BURIED, /* it becomes a dead letter: what is noted stands until its offset moves */
} attempt_state_t;

typedef struct {
    int64_t committed; /* the group's offset, unchanged; -1: it had none */
    int64_t first;     /* offset of the record that the attempts are of */
    int32_t before;    /* attempts of other instances, all of which ended with it */
    int32_t attempts;  /* as noted, or to be */
    int64_t clearing;  /* a further offset, without a note, is being committed; -1: none is */
    attempt_state_t state;
    /* The last note that we sent: whoever loses a partition and gets it back did not end meanwhile. */
    int64_t own_first;
    int32_t own_attempts, own_before;
} attempt_t;

/* Writes the metadata, with a NUL behind it. Returns its length. */
static inline size_t attempts_format(char *to, int64_t offset, int32_t attempts) {
    int n = snprintf(to, ATTEMPTS_BYTES, "supervisor-attempts 1 %lld %d", (long long)offset, attempts);
    return (size_t)n;
}

/* Returns 1 if the metadata is such as `attempts_format` makes, to the byte; anything else is somebody else's. */
static inline int attempts_parse(const void *metadata, size_t size, int64_t *offset, int32_t *attempts) {
    char text[ATTEMPTS_BYTES], again[ATTEMPTS_BYTES];
    long long found;
    int count;
    if (metadata == NULL || size == 0 || size >= sizeof text)
        return 0;
    memcpy(text, metadata, size);
    text[size] = '\0';
    if (sscanf(text, "supervisor-attempts 1 %18lld %9d", &found, &count) != 2 || found < 0 || count < 1)
        return 0;
    if (attempts_format(again, found, count) != size || memcmp(again, text, size) != 0)
        return 0;
    *offset = found;
    *attempts = count;
    return 1;
}

/* The partition is ours from now on; what we sent ourselves is remembered. */
static inline void attempt_begin(attempt_t *a) {
    attempt_t own = *a;
    *a = (attempt_t){.committed = -1, .first = -1, .clearing = -1, .state = ATTEMPT_FRESH};
    a->own_first = own.own_first;
    a->own_attempts = own.own_attempts;
    a->own_before = own.own_before;
}

/* This stands with the committed offset. */
static inline void attempt_know(attempt_t *a, int64_t committed, const void *metadata, size_t size) {
    a->committed = committed;
    if (!attempts_parse(metadata, size, &a->first, &a->before)) {
        a->first = -1;
        a->before = 0;
    } else if (a->first == a->own_first && a->before == a->own_attempts) {
        a->before = a->own_before;
    }
}

/* The note that is due is sent. */
static inline void attempt_sent(attempt_t *a) {
    a->own_first = a->first;
    a->own_attempts = a->attempts;
    a->own_before = a->before;
}

typedef struct inlet_s inlet_t;

/* The inlet's attempts, and its care for a record that an earlier instance may have ended with. */
typedef struct {
    attempt_t *partitions;
    int32_t count;
    int32_t fresh, firsts, due; /* partitions in these states */
    bool to_clear, awaited, failure_logged;
    int sent;                  /* commits that are not answered */
    rd_kafka_queue_t *answers; /* to them */
    int64_t deadline_ns, again_ns;
    int64_t careful_until; /* records before this one are written alone, and noted before; 0: none is */
    int64_t careful_end_ns;
    int max_attempts;
    bool has_dead_letters;
} attempts_t;

/* The partition was assigned to us. */
void attempts_begin(inlet_t *s, int32_t partition);

/* What stands with the committed offset; what another program wrote there says nothing. */
void attempts_know(inlet_t *s, const rd_kafka_topic_partition_t *committed);

/* A record was taken: if it is the first one with a line of a fresh partition, what is known of it? */
void attempts_taken(inlet_t *s, int64_t sequence);

/* Whether anything is to be done before records are written. */
bool attempts_are_due(const inlet_t *s);

/* Before which record writing stops, that was to stop before `limit`. */
int64_t attempts_limit(inlet_t *s, int64_t limit, int64_t now_ns);

/* Offsets were handed to librdkafka: what its automatic commit does not send goes with the notes. */
void attempts_stored(inlet_t *s);

/* Take the answer to a commit of notes when it is there. */
void attempts_look(inlet_t *s, int64_t now_ns);

/* In how many ns to look again, if no event comes before; 0: for nothing. */
int64_t attempts_due_ns(const inlet_t *s, int64_t now_ns);

/* We give the partitions up in order: an attempt without progress was none.
 *
 * What others noted stays, but at an orderly end of ours, which may be the beginning of a better Calculator. */
void attempts_end(inlet_t *s, const rd_kafka_topic_partition_list_t *partitions);

/* They were at records of another topic. */
void attempts_forget(inlet_t *s);
