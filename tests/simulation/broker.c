#include "broker.h"

#include <stdlib.h>
#include <string.h>

#include "promises.h"

topic_t topic_in, topic_out, topic_dead;
group_t group;
broker_settings_t broker;

typedef struct {
    int64_t producer;
    int partition;
    int64_t offset;
} pending_offset_t;

static pending_offset_t pending[64];
static size_t pending_count;

static void topic_clear(topic_t *topic, const char *name, int partitions) {
    for (int p = 0; p < PARTITIONS_MAX; p++) {
        log_t *log = &topic->logs[p];
        for (int64_t i = 0; i < log->count; i++)
            free(log->records[i].value);
        free(log->records);
        *log = (log_t){0};
    }
    topic->name = name;
    topic->partitions = partitions;
}

void broker_begin(const broker_settings_t *settings) {
    broker = *settings;
    topic_clear(&topic_in, "in", settings->in_partitions);
    topic_clear(&topic_out, "out", settings->out_partitions);
    topic_clear(&topic_dead, "dead", 1);
    memset(&group, 0, sizeof group);
    for (int p = 0; p < PARTITIONS_MAX; p++)
        group.committed[p].offset = -1;
    pending_count = 0;
}

topic_t *topic_named(const char *name) {
    topic_t *all[] = {&topic_in, &topic_out, &topic_dead};
    for (size_t i = 0; i < 3; i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    world_fail("no topic %s", name);
}

bool trouble(void) { return broker.trouble > 0 && one_in(broker.trouble); }

void log_append(topic_t *topic, int partition, const void *value, size_t size, int64_t producer) {
    log_t *log = &topic->logs[partition];
    if (log->count == log->capacity) {
        log->capacity = log->capacity ? 2 * log->capacity : 64;
        log->records = realloc(log->records, (size_t)log->capacity * sizeof *log->records);
    }
    record_t *record = &log->records[log->count++];
    *record = (record_t){.size = size, .producer = producer, .state = producer ? RECORD_OPEN : RECORD_COMMITTED};
    if (value != NULL) {
        record->value = malloc(size + 1);
        memcpy(record->value, value, size);
        record->value[size] = 0;
    }
    if (producer == 0 && topic != &topic_in)
        promise_shown(topic, partition, record);
}

static void commit(int partition, int64_t offset, const char *metadata) {
    int64_t before = group.committed[partition].offset;
    group.committed[partition].offset = offset;
    strncpy(group.committed[partition].metadata, metadata, METADATA_BYTES - 1);
    promise_committed(partition, before < 0 ? 0 : before, offset);
}

static bool transaction_offsets_forget(int64_t producer) {
    size_t kept = 0, before = pending_count;
    for (size_t i = 0; i < pending_count; i++)
        if (pending[i].producer != producer)
            pending[kept++] = pending[i];
    pending_count = kept;
    for (int p = 0; p < PARTITIONS_MAX; p++)
        if (group.undecided[p] == producer)
            group.undecided[p] = 0;
    return kept < before;
}

/* First the lines, then the offsets that say they are there: both are decided at once. */
bool transaction_end(int64_t producer, bool committed) {
    bool any = false;
    topic_t *topics[] = {&topic_out, &topic_dead};
    for (size_t t = 0; t < 2; t++)
        for (int p = 0; p < topics[t]->partitions; p++) {
            log_t *log = &topics[t]->logs[p];
            while (log->decided < log->count && log->records[log->decided].state != RECORD_OPEN)
                log->decided++;
            for (int64_t i = log->decided; i < log->count; i++) {
                record_t *record = &log->records[i];
                if (record->producer != producer || record->state != RECORD_OPEN)
                    continue;
                any = true;
                record->state = committed ? RECORD_COMMITTED : RECORD_ABORTED;
                if (committed)
                    promise_shown(topics[t], p, record);
            }
        }
    for (size_t i = 0; i < pending_count && committed; i++)
        if (pending[i].producer == producer)
            commit(pending[i].partition, pending[i].offset, "");
    return transaction_offsets_forget(producer) || any;
}

bool group_commit(int64_t member, int partition, int64_t offset, const char *metadata) {
    if (member == 0 || member != group.member)
        return false;
    commit(partition, offset, metadata);
    return true;
}

bool group_commit_in_transaction(int64_t member, int64_t generation, int64_t producer, int partition, int64_t offset) {
    if (member == 0 || member != group.member || generation != group.generation)
        return false;
    for (size_t i = 0; i < pending_count; i++)
        if (pending[i].producer == producer && pending[i].partition == partition) {
            pending[i].offset = offset;
            return true;
        }
    if (pending_count == sizeof pending / sizeof *pending)
        world_fail("too many undecided offsets");
    pending[pending_count++] = (pending_offset_t){producer, partition, offset};
    group.undecided[partition] = producer;
    return true;
}

void others_handle(void) {
    for (int p = 0; p < topic_in.partitions; p++) {
        if ((group.owned >> p & 1) || group.undecided[p])
            continue;
        int64_t from = group.committed[p].offset < 0 ? 0 : group.committed[p].offset;
        int64_t count = spread(0, topic_in.logs[p].count - from);
        if (count <= 0)
            continue;
        for (int64_t i = from; i < from + count; i++)
            promise_handled_elsewhere(p, i);
        commit(p, from + count, "");
    }
}
