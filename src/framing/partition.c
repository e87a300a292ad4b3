#include "partition.h"

#include <stdlib.h>
#include <string.h>

#include "system.h"

/* The partitions that a choice is made of in this thread, and where it is to be noted; librdkafka also calls from threads
 * of its own, for messages that came before the topic's metadata. */
static __thread partitions_t *partition_choice_of;
static __thread int32_t *partition_noted_at;

static int partition_idle(const partitions_t *p, int32_t partition) {
    return partition >= p->capacity || p->loads[partition].lines == 0;
}

void partitions_led_by(partitions_t *p, int32_t partition, int32_t broker) {
    if (partition >= 0 && partition < p->capacity)
        p->loads[partition].leader = broker + 1;
}

bool partitions_may_send(const partitions_t *p, int32_t partition, int64_t now_ns) {
    const bool known = partition >= 0 && partition < p->capacity;
    return !throttle_holds(p->throttle, known ? p->loads[partition].leader - 1 : -1, now_ns);
}

bool partitions_has_free(const partitions_t *p, int64_t now_ns) {
    for (int32_t i = 0; i < p->known; i++)
        if (partition_idle(p, i) && partitions_may_send(p, i, now_ns))
            return true;
    return false;
}

static int32_t partition_choose(const rd_kafka_topic_t *topic, const void *key, size_t key_bytes, int32_t count,
                                void *opaque, void *message_opaque) {
    int32_t partition = rdk.msg_partitioner_random(topic, key, key_bytes, count, opaque, message_opaque);
    if (partition_noted_at == NULL)
        return partition;
    partition_choice_of->known = count;
    const int64_t now_ns = partition_choice_of->throttle->until_ns == 0 ? 0 : monotonic_ns();
    for (int32_t i = 0; i < count; i++) {
        int32_t other = (partition + i) % count;
        if (partition_idle(partition_choice_of, other) && partitions_may_send(partition_choice_of, other, now_ns) &&
            rdk.topic_partition_available(topic, other)) {
            partition = other;
            break;
        }
    }
    *partition_noted_at = partition;
    return partition;
}

rd_kafka_topic_t *partition_topic_new(rd_kafka_t *client, const char *name, int keyed) {
    rd_kafka_topic_conf_t *conf = rdk.default_topic_conf_dup(client);
    rdk.topic_conf_set_partitioner_cb(conf, keyed ? rdk.msg_partitioner_murmur2_random : partition_choose);
    return rdk.topic_new(client, name, conf);
}

int partition_produce_first(rd_kafka_topic_t *topic, rd_kafka_message_t *message, int32_t *partition, partitions_t *p) {
    partition_choice_of = p;
    partition_noted_at = partition;
    int taken = rdk.produce_batch(topic, RDK_PARTITION_UA, 0, message, 1);
    partition_noted_at = NULL;
    return taken;
}

void partitions_taken(partitions_t *p, int32_t partition, int32_t lines, int whole) {
    if (partition < 0 || lines == 0)
        return;
    if (partition >= p->capacity) {
        int32_t capacity = partition + 64;
        partition_load_t *grown = realloc(p->loads, (size_t)capacity * sizeof *grown);
        if (grown == NULL)
            return;
        memset(grown + p->capacity, 0, (size_t)(capacity - p->capacity) * sizeof *grown);
        p->loads = grown;
        p->capacity = capacity;
    }
    partition_load_t *load = &p->loads[partition];
    load->whole = whole && load->lines == 0;
    p->busy += load->lines == 0;
    load->lines += lines;
}

void partitions_forget(partitions_t *p) {
    if (p->loads != NULL)
        memset(p->loads, 0, (size_t)p->capacity * sizeof *p->loads);
    p->known = p->busy = 0;
}
