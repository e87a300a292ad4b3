/* Which topic it is. A topic that is deleted and made again has its name, and is another one: offsets of the first mean
 * nothing in it. librdkafka goes on at its old position all the same (rd_kafka_topic_metadata_update says so), and
 * commits nothing until it is past what it had committed. So the brokers are asked for the topic's id now and then, and
 * a new one ends this consumer: the group's offsets go back to the beginning, and the next consumer goes on from there. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "rdkafka.h"

typedef struct inlet_s inlet_t;

typedef struct {
    int64_t id[2];
    rd_kafka_queue_t *answers; /* to what is asked about the topic */
    bool asked;                /* an answer is under way */
    bool replaced;
    int64_t next_question_ns;
    int64_t unsure_until_ns; /* nothing is taken until the topic is known to be the same */
} topic_identity_t;

/* Partitions are assigned, perhaps because the topic came back: ask at once, and take nothing of it before. */
void identity_ask_again(inlet_t *s);

/* Ask for the topic's id when it is time, and take the answer when it is there. */
void identity_look(inlet_t *s, int64_t now_ns);
