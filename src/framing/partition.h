/* Which partition a line goes to. librdkafka's own choice costs two clock calls and three locks a message; a whole produce
 * call that goes to one partition does without. So the first message of a call is put through this partitioner, which
 * tells its choice, and the rest follows it.
 */
#pragma once

#include <stdint.h>

#include "rdkafka_api.h"

/* Where the choice made in this thread is to be noted; librdkafka also calls from threads of its own, for messages that
 * came before the topic's metadata. */
static __thread int32_t *partition_noted_at;

static int32_t partition_choose(const rd_kafka_topic_t *topic, const void *key, size_t key_bytes, int32_t count,
                                void *opaque, void *message_opaque) {
    int32_t partition = rdk.msg_partitioner_random(topic, key, key_bytes, count, opaque, message_opaque);
    if (partition_noted_at != NULL)
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
static int partition_produce_first(rd_kafka_topic_t *topic, rd_kafka_message_t *message, int32_t *partition) {
    partition_noted_at = partition;
    int taken = rdk.produce_batch(topic, RDK_PARTITION_UA, 0, message, 1);
    partition_noted_at = NULL;
    return taken;
}
