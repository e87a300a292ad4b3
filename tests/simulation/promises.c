#include "promises.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

promise_settings_t promised;
promise_counts_t promise_counts;

enum { ANSWERS_MAX = 4, LARGE_ANSWER_BYTES = 3000 };

typedef struct {
    uint8_t shown[ANSWERS_MAX]; /* how often each of its lines is there */
    uint8_t given;
    bool printed[ANSWERS_MAX];
    bool done, elsewhere, dead;
} fate_t;

static fate_t *fates[PARTITIONS_MAX];
static int64_t fate_count[PARTITIONS_MAX];
static int64_t last_shown[PARTITIONS_MAX]; /* of those that were new */

void promises_begin(const promise_settings_t *settings) {
    promised = *settings;
    for (int p = 0; p < PARTITIONS_MAX; p++) {
        free(fates[p]);
        fates[p] = NULL;
        fate_count[p] = 0;
        last_shown[p] = -1;
    }
}

static fate_t *fate_of(int partition, int64_t offset) {
    if (partition < 0 || partition >= topic_in.partitions || offset < 0 || offset >= topic_in.logs[partition].count)
        world_fail("there is no record %d-%lld: it was invented", partition, (long long)offset);
    if (offset >= fate_count[partition]) {
        int64_t count = topic_in.logs[partition].capacity;
        fates[partition] = realloc(fates[partition], (size_t)count * sizeof(fate_t));
        memset(fates[partition] + fate_count[partition], 0, (size_t)(count - fate_count[partition]) * sizeof(fate_t));
        fate_count[partition] = count;
    }
    return &fates[partition][offset];
}

static uint64_t hash_of(int partition, int64_t offset) {
    return ((uint64_t)offset * 4 + (uint64_t)partition) * 0x9E3779B97F4A7C15 >> 40;
}

int answers_of(int partition, int64_t offset) {
    uint64_t hash = hash_of(partition, offset);
    return promised.mode == BY_LINE || hash % 3 ? 1 : (int)(hash / 3 % ANSWERS_MAX);
}

size_t answer_bytes(int partition, int64_t offset) {
    return hash_of(partition, offset) / 64 % 100 ? 0 : LARGE_ANSWER_BYTES;
}

void promise_given(int partition, int64_t offset) {
    fate_t *fate = fate_of(partition, offset);
    promise_counts.given++;
    if (fate->given < 255)
        fate->given++;
    if (promised.guarantee == AT_MOST_ONCE && fate->given > 1)
        world_fail("record %d-%lld was written twice", partition, (long long)offset);
}

void promise_done(int partition, int64_t offset) { fate_of(partition, offset)->done = true; }

void promise_printed(int partition, int64_t offset, int answer) { fate_of(partition, offset)->printed[answer] = true; }

void promise_handled_elsewhere(int partition, int64_t offset) { fate_of(partition, offset)->elsewhere = true; }

void promise_shown(const topic_t *topic, int partition, const record_t *record) {
    int p, answer = 0;
    long long offset;
    const char *raw = strstr((const char *)record->value, "\"raw\":\"");
    (void)partition;
    if (topic == &topic_dead) {
        if (sscanf((const char *)record->value, "%d-%lld", &p, &offset) == 2)
            fate_of(p, offset)->dead = true;
        return;
    }
    if (raw == NULL || sscanf(raw, "\"raw\":\"%d-%lld=%d", &p, &offset, &answer) != 3 || answer < 0 ||
        answer >= ANSWERS_MAX)
        world_fail("a record that no Calculator printed came out: %.100s", (const char *)record->value);
    fate_t *fate = fate_of(p, offset);
    if (!fate->printed[answer])
        world_fail("line %d-%lld=%d came out and was never printed", p, offset, answer);
    promise_counts.shown++;
    promise_counts.doubled += fate->shown[answer] > 0;
    if (fate->shown[answer] > 0 && promised.guarantee != AT_LEAST_ONCE)
        world_fail("line %d-%lld=%d came out twice", p, offset, answer);
    int64_t place = offset * ANSWERS_MAX + answer;
    if (fate->shown[answer] == 0 && topic->partitions == 1 &&
        broker.max_record_bytes == 0) { /* else a batch may be taken apart */
        if (place < last_shown[p])
            world_fail("line %d-%lld=%d came out behind one that follows it", p, offset, answer);
        last_shown[p] = place;
    }
    if (fate->shown[answer] < 255)
        fate->shown[answer]++;
}

void promise_committed(int partition, int64_t from, int64_t to) {
    promise_counts.committed += to > from ? to - from : 0;
    if (to < 0 || to > topic_in.logs[partition].count)
        world_fail("offset %lld of partition %d is committed, which has %lld", (long long)to, partition,
                   (long long)topic_in.logs[partition].count);
    if (promised.guarantee == AT_MOST_ONCE)
        return;
    for (int64_t offset = from; offset < to; offset++) {
        const record_t *record = &topic_in.logs[partition].records[offset];
        const fate_t *fate = fate_of(partition, offset);
        if (record->control || record->value == NULL || fate->elsewhere || fate->dead)
            continue;
        int answers = answers_of(partition, offset);
        if (broker.max_record_bytes > 0 && answer_bytes(partition, offset) > broker.max_record_bytes)
            continue; /* no broker takes its lines */
        for (int i = 0; i < answers; i++)
            if (fate->shown[i] == 0)
                world_fail("offset %lld of partition %d is committed, and line %d-%lld=%d is not there: it is lost",
                           (long long)to, partition, partition, (long long)offset, i);
        if (answers == 0 && !fate->done)
            world_fail("offset %lld of partition %d is committed, and the Calculator was not done with record %d-%lld",
                       (long long)to, partition, partition, (long long)offset);
    }
}

bool promises_at_end(void) {
    for (int p = 0; p < topic_in.partitions; p++) {
        int64_t last = topic_in.logs[p].count; /* behind control records nothing is committed */
        while (last > 0 && topic_in.logs[p].records[last - 1].control)
            last--;
        if (last > 0 && group.committed[p].offset < last)
            return false;
    }
    return true;
}

void promises_say(void) {
    for (int p = 0; p < topic_in.partitions; p++)
        world_say("partition %d: committed %lld of %lld%s%s", p, (long long)group.committed[p].offset,
                  (long long)topic_in.logs[p].count, group.owned >> p & 1 ? ", ours" : "",
                  group.undecided[p] ? ", undecided" : "");
}
