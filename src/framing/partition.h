/* Which partition lines go to, a burst at a time, and how many of each partition's are under way.
 *
 * librdkafka's own choice costs two clock calls and three locks a message; a whole burst that goes to one partition does
 * without. So the first message of a burst is put through this partitioner, which tells its choice, and the rest follows
 * it. Chosen is a partition that has nothing under way, if there is one: see burst.h for why.
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "rdkafka.h"

typedef struct {
    int32_t lines; /* under way */
    int32_t owed;  /* reports still to come of a request that is through */
    int whole;     /* what is under way is one request: the first report that it was delivered tells of all */
} partition_load_t;

typedef struct {
    partition_load_t *loads; /* of each partition */
    int32_t capacity;
    int32_t known; /* partitions of the topic, as the partitioner was told last; 0 before */
    int32_t busy;  /* partitions with something under way */
} partitions_t;

/* The partitions that a choice is made of in this thread, and where it is to be noted; librdkafka also calls from threads
 * of its own, for messages that came before the topic's metadata. */
static __thread partitions_t *partition_choice_of;
static __thread int32_t *partition_noted_at;

static inline int partition_idle(const partitions_t *p, int32_t partition) {
    return partition >= p->capacity || p->loads[partition].lines == 0;
}

static int32_t partition_choose(const rd_kafka_topic_t *topic, const void *key, size_t key_bytes, int32_t count,
                                void *opaque, void *message_opaque) {
    int32_t partition = rdk.msg_partitioner_random(topic, key, key_bytes, count, opaque, message_opaque);
    if (partition_noted_at == NULL)
        return partition;
    partition_choice_of->known = count;
    for (int32_t i = 0; i < count; i++) {
        int32_t other = (partition + i) % count;
        if (partition_idle(partition_choice_of, other) && rdk.topic_partition_available(topic, other)) {
            partition = other;
            break;
        }
    }
    *partition_noted_at = partition;
    return partition;
}

/* As rd_kafka_topic_new with the client's configuration, and this choice of a partition; `keyed`: as Java's clients choose
 * by a record's key, so that the topic's other writers agree. */
static rd_kafka_topic_t *partition_topic_new(rd_kafka_t *client, const char *name, int keyed) {
    rd_kafka_topic_conf_t *conf = rdk.default_topic_conf_dup(client);
    rdk.topic_conf_set_partitioner_cb(conf, keyed ? rdk.msg_partitioner_murmur2_random : partition_choose);
    return rdk.topic_new(client, name, conf);
}

/* As rd_kafka_produce_batch to RD_KAFKA_PARTITION_UA; returns what was chosen for the first message in `*partition`. */
static int partition_produce_first(rd_kafka_topic_t *topic, rd_kafka_message_t *message, int32_t *partition,
                                   partitions_t *p) {
    partition_choice_of = p;
    partition_noted_at = partition;
    int taken = rdk.produce_batch(topic, RDK_PARTITION_UA, 0, message, 1);
    partition_noted_at = NULL;
    return taken;
}

/* The counts are for speed alone: what is sent before the topic's partitions are known is not in them, and what memory has
 * no room for neither. `whole`: librdkafka cannot have begun a request before it had all these lines. */
static void partitions_taken(partitions_t *p, int32_t partition, int32_t lines, int whole) {
    if (partition < 0 || lines == 0)
        return;
    if (partition >= p->capacity) {
        int32_t capacity = partition + 64;
        partition_load_t *grown = realloc(p->loads, capacity * sizeof *grown);
        if (grown == NULL)
            return;
        memset(grown + p->capacity, 0, (capacity - p->capacity) * sizeof *grown);
        p->loads = grown;
        p->capacity = capacity;
    }
    partition_load_t *load = &p->loads[partition];
    load->whole = whole && load->lines == 0;
    p->busy += load->lines == 0;
    load->lines += lines;
}

/* A line's report is there. Returns whether it tells that nothing is under way to its partition any more, though the other
 * lines' reports have not been looked at yet. */
static inline int partitions_reported(partitions_t *p, int32_t partition, int delivered) {
    if (partition < 0 || partition >= p->capacity)
        return 0;
    partition_load_t *load = &p->loads[partition];
    if (load->owed > 0) {
        load->owed--;
        return 0;
    }
    if (load->lines == 0)
        return 0;
    load->lines--;
    if (load->lines > 0 && load->whole && delivered) {
        load->owed = load->lines;
        load->lines = 0;
        p->busy--;
        return 1;
    }
    p->busy -= load->lines == 0;
    return 0;
}

/* Another topic, or another client. */
static void partitions_forget(partitions_t *p) {
    if (p->loads != NULL)
        memset(p->loads, 0, p->capacity * sizeof *p->loads);
    p->known = p->busy = 0;
}
