/* Destroying a client waits for librdkafka's threads, one of which may be in a DNS look-up. So nobody who has something
 * else to do destroys one: a thread of its own does. */
#pragma once

#include <pthread.h>

#include "rdkafka.h"

/* A producer that was replaced, with its handles. At most one at a time: the next one is replaced when it is gone. */
typedef struct {
    rd_kafka_t *client;
    rd_kafka_topic_t *topic, *letters_topic; /* NULL: it has none */
    rd_kafka_queue_t *main_queue;
    int wake_fd;   /* written when it is gone */
    int under_way; /* from the beginning until the thread was joined */
    int gone;      /* atomic */
    pthread_t thread;
} client_disposal_t;

void producer_destroy(rd_kafka_t *client, rd_kafka_topic_t *topic, rd_kafka_topic_t *letters_topic,
                      rd_kafka_queue_t *main_queue);

/* Without a thread to be had, the caller waits. Not while one is under way. */
void client_disposal_begin(client_disposal_t *d, int wake_fd);

int client_disposal_under_way(const client_disposal_t *d);

/* Wait for it, if it is under way. */
void client_disposal_end(client_disposal_t *d);

/* Let `body` end `subject`, and free it, in a thread that nobody waits for. */
void dispose_in_background(void *(*body)(void *), void *subject);
