/* Which partition lines go to, a burst at a time, and how many of each partition's are under way.
 *
 * librdkafka's own choice costs two clock calls and three locks a message; a whole burst that goes to one partition does
 * without. So the first message of a burst is put through this partitioner, which tells its choice, and the rest follows
 * it. Chosen is a partition that has nothing under way, if there is one: see burst.h for why.
 */
#pragma once

#include <stdint.h>

#include "rdkafka.h"
#include "throttle.h"

typedef struct {
    int32_t lines;  /* under way */
    int32_t owed;   /* reports still to come of a request that is through */
    int32_t leader; /* the broker that reported last, plus one; 0: not known */
    int whole;      /* what is under way is one request: the first report that it was delivered tells of all */
} partition_load_t;

typedef struct {
    partition_load_t *loads; /* of each partition */
    int32_t capacity;
    int32_t known; /* partitions of the topic, as the partitioner was told last; 0 before */
    int32_t busy;  /* partitions with something under way */
    const throttle_t *throttle;
} partitions_t;

/* As rd_kafka_topic_new with the client's configuration, and this choice of a partition; `keyed`: as Java's clients choose
 * by a record's key, so that the topic's other writers agree. */
rd_kafka_topic_t *partition_topic_new(rd_kafka_t *client, const char *name, int keyed);

/* As rd_kafka_produce_batch to RD_KAFKA_PARTITION_UA; returns what was chosen for the first message in `*partition`. */
int partition_produce_first(rd_kafka_topic_t *topic, rd_kafka_message_t *message, int32_t *partition, partitions_t *p);

/* The counts are for speed alone: what is sent before the topic's partitions are known is not in them, and what memory has
 * no room for neither. `whole`: librdkafka cannot have begun a request before it had all these lines. */
void partitions_taken(partitions_t *p, int32_t partition, int32_t lines, int whole);

/* A report came from this broker (-1: it is not known): the partition's leader. */
void partitions_led_by(partitions_t *p, int32_t partition, int32_t broker);

/* May lines be handed over to this partition, as far as its leader's quota goes? */
bool partitions_may_send(const partitions_t *p, int32_t partition, int64_t now_ns);

/* Is there a partition with nothing under way, for which that holds? */
bool partitions_has_free(const partitions_t *p, int64_t now_ns);

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
void partitions_forget(partitions_t *p);
