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

#include "rdkafka_api.h"

typedef struct {
    int32_t *under_way; /* of each partition */
    int32_t capacity;
    int32_t known; /* partitions of the topic, as the partitioner was told last; 0 before */
    int32_t busy;  /* partitions with something under way */
} partitions_t;

/* The partitions that a choice is made of in this thread, and where it is to be noted; librdkafka also calls from threads
 * of its own, for messages that came before the topic's metadata. */
static __thread partitions_t *partition_choice_of;
static __thread int32_t *partition_noted_at;

static inline int partition_idle(const partitions_t *p, int32_t partition) {
    return partition >= p->capacity || p->under_way[partition] == 0;
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
 * no room for neither. */
static void partitions_taken(partitions_t *p, int32_t partition, int32_t lines) {
    if (partition < 0 || lines == 0)
        return;
    if (partition >= p->capacity) {
        int32_t capacity = partition + 64;
        int32_t *grown = realloc(p->under_way, capacity * sizeof *grown);
        if (grown == NULL)
            return;
        memset(grown + p->capacity, 0, (capacity - p->capacity) * sizeof *grown);
        p->under_way = grown;
        p->capacity = capacity;
    }
    p->busy += p->under_way[partition] == 0;
    p->under_way[partition] += lines;
}

static inline void partitions_reported(partitions_t *p, int32_t partition) {
    if (partition >= 0 && partition < p->capacity && p->under_way[partition] > 0)
        p->busy -= --p->under_way[partition] == 0;
}

/* Another topic, or another client. */
static void partitions_forget(partitions_t *p) {
    if (p->under_way != NULL)
        memset(p->under_way, 0, p->capacity * sizeof *p->under_way);
    p->known = p->busy = 0;
}
