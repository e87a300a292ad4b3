/* From where a partition is read: from the offset that the group has committed, or by auto.offset.reset if it has none.
 *
 * librdkafka would ask for it by itself. But if the offset is still in a transaction, and the group rebalances again
 * while that is waited for, it goes on as if there were no offset (rd_kafka_assignment_apply_offsets of 2.16): the
 * partition is read again from its beginning, or what is in it is passed over. So the inlet asks, and librdkafka is
 * given a partition when its offset is known: until then the partition is ours, and not read.
 *
 * The partitions with their offsets are the answer to the rebalance that brought them, because a partition that is given
 * while librdkafka handles another rebalance can be taken for the answer to that, before it has paused the others for
 * it: they stay paused then. The group does not wait for long, though: after ANSWER_MS it is told that we go on without. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "offsets_question.h"
#include "rdkafka.h"

typedef struct inlet_s inlet_t;

typedef struct {
    rd_kafka_topic_partition_list_t *pending; /* ours, and where to read them from is not known yet */
    int64_t next_question_ns;
    offsets_question_t question;
    int64_t answer_by_ns; /* the group waits for our answer to a rebalance until then; 0: it does not */
    bool stale;           /* a partition that the question is about was given up meanwhile */
    bool failed;          /* an error was reported */
} start_offsets_t;

/* They are ours now: ask where they are to be read from, at once. An answer is owed to the group. */
void start_offsets_expect(inlet_t *s, const rd_kafka_topic_partition_list_t *partitions);

/* They are not ours any more. Returns those of them that librdkafka was given; for the caller to destroy. */
rd_kafka_topic_partition_list_t *start_offsets_unexpect(inlet_t *s, const rd_kafka_topic_partition_list_t *partitions);

/* If the group waits for an answer, give it without any partition. */
void start_offsets_answer_without(inlet_t *s);

/* Take the answer when it is there; ask when it is time. */
void start_offsets_look(inlet_t *s, int64_t now_ns);

/* In how many ns that is, at most `wait_ns`. */
int64_t start_offsets_due_ns(const inlet_t *s, int64_t now_ns, int64_t wait_ns);
