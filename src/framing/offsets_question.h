/* The question for a group's committed offsets. librdkafka has only a call for it that waits, so each question has a thread
 * of its own: records of other partitions go on meanwhile.
 *
 * With `latest_of` it also says where a partition without a committed offset begins (latest.h).
 */
#pragma once

#include <pthread.h>

#include "rdkafka.h"
#include "wake.h"

#define OFFSETS_QUESTION_TIMEOUT_MS 1000

typedef struct {
    rd_kafka_t *consumer;
    const char *latest_of; /* KAFKA_AUTO_OFFSET_RESET=latest: the topic; NULL: another value */
    int32_t known_count;   /* then: of the topic's partitions when its first ones were asked about; 0 before */
    int wake_fd;           /* written when the answer is there */
    int asked;             /* from the question until its answer was taken */
    int answered;          /* atomic */
    int error;             /* of the answer */
    rd_kafka_topic_partition_list_t *offsets; /* NULL, or asked for and then answered; the asker's again when taken */
    pthread_t thread;
} offsets_question_t;

/* Returns 0, or an errno when there is no thread for it. */
int offsets_question_ask(offsets_question_t *q, const rd_kafka_topic_partition_list_t *partitions);

/* Returns whether there is an answer: `error` and `offsets`, to be dropped. */
int offsets_question_take(offsets_question_t *q);

void offsets_question_drop(offsets_question_t *q);

/* Before the consumer is destroyed: wait for an answer that nobody wants any more. */
void offsets_question_end(offsets_question_t *q);
