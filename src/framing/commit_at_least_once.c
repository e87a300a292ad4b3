/* `at-least-once`: what is acknowledged is stored, and librdkafka's automatic commit sends it. */
#include "inlet.h"

rd_kafka_topic_partition_list_t *commit_new_offsets(inlet_t *s) {
    rd_kafka_topic_partition_list_t *offsets = NULL;
    for (int32_t i = 0; i < s->ledger.partition_count; i++) {
        ledger_partition_t *p = &s->ledger.partitions[i];
        if (!p->dirty || p->state == PARTITION_LOST)
            continue;
        if (offsets == NULL)
            offsets = rdk.topic_partition_list_new(s->ledger.partition_count);
        rdk.topic_partition_list_add(offsets, s->config.topic, i)->offset = p->next_offset;
        p->dirty = 0;
    }
    return offsets;
}

static int64_t letters_limit(inlet_t *s) { return ledger_letters_limit(&s->ledger, false); }

const commit_policy_t commit_at_least_once = {
    .take_ahead = TAKE_BATCH,
    .settles = true,
    .stores = true,
    .letters_limit = letters_limit,
};
