#include "topic_identity.h"

#include <stddef.h>

#include "inlet.h"

#define QUESTION_INTERVAL_MS 5000
#define UNSURE_MS 2000 /* records wait so long for an answer after an assignment */

static bool is_known(const topic_identity_t *t) { return t->id[0] != 0 || t->id[1] != 0; }

void identity_ask_again(inlet_t *s) {
    s->identity.next_question_ns = 0;
    if (is_known(&s->identity))
        s->identity.unsure_until_ns = monotonic_ns() + UNSURE_MS * MS;
}

static void sure(inlet_t *s) {
    s->identity.unsure_until_ns = 0;
    s->consumer.more = true;
}

/* It is another topic: what was read moves no offset any more, and its offsets begin anew. */
static void replaced(inlet_t *s) {
    rd_kafka_topic_partition_list_t *offsets = rdk.topic_partition_list_new(s->ledger.partition_count + 1);
    for (int32_t i = 0; i < s->ledger.partition_count; i++) {
        if (s->ledger.partitions[i].state == PARTITION_LOST)
            continue;
        consumer_lose(s, i);
        rdk.topic_partition_list_add(offsets, s->config.topic, i)->offset = 0;
    }
    s->identity.replaced = true;
    attempts_forget(s);
    if (offsets->cnt > 0) {
        if (!s->config.commit->transactional)
            rdk.offsets_store(s->consumer.rk, offsets); /* or what is stored would be committed at the end, over this */
        rdk.commit(s->consumer.rk, offsets, 1);
    }
    rdk.topic_partition_list_destroy(offsets);
    inlet_notice(s, NOTICE_REPLACED, 0, s->config.topic);
}

static void take(inlet_t *s, void *answer) {
    topic_identity_t *t = &s->identity;
    const void *result = rdk.event_DescribeTopics_result(answer);
    size_t count = 0;
    if (result == NULL)
        return;
    const void **topics = rdk.DescribeTopics_result_topics(result, &count);
    if (count != 1)
        return;
    const void *uuid = rdk.TopicDescription_topic_id(topics[0]);
    if (uuid == NULL)
        return;
    const int64_t high = rdk.Uuid_most_significant_bits(uuid), low = rdk.Uuid_least_significant_bits(uuid);
    if (high == 0 && low == 0) /* it does not exist, or may not be described */
        return;
    if (is_known(t) && (t->id[0] != high || t->id[1] != low))
        replaced(s);
    t->id[0] = high;
    t->id[1] = low;
}

static void ask(inlet_t *s, int64_t now_ns) {
    const char *topic = s->config.topic;
    s->identity.next_question_ns = now_ns + QUESTION_INTERVAL_MS * MS;
    s->identity.asked = true;
    void *names = rdk.TopicCollection_of_topic_names(&topic, 1);
    rdk.DescribeTopics(s->consumer.rk, names, NULL, s->identity.answers);
    rdk.TopicCollection_destroy(names);
}

void identity_look(inlet_t *s, int64_t now_ns) {
    topic_identity_t *t = &s->identity;
    if (t->asked) {
        void *answer = rdk.queue_poll(t->answers, 0);
        if (answer != NULL) {
            t->asked = false;
            take(s, answer);
            rdk.event_destroy(answer);
            if (t->next_question_ns > 0) /* else it was asked before the partitions were assigned */
                sure(s);
        }
    } else if (!t->replaced && now_ns >= t->next_question_ns) {
        ask(s, now_ns);
    }
    if (t->unsure_until_ns > 0 && now_ns >= t->unsure_until_ns)
        sure(s);
}
