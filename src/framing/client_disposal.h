/* Destroying a client waits for librdkafka's threads, one of which may be in a DNS look-up. So nobody who has something
 * else to do destroys one: a thread of its own does. */
#pragma once

#include <pthread.h>

#include "rdkafka.h"
#include "wake.h"

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

static void producer_destroy(rd_kafka_t *client, rd_kafka_topic_t *topic, rd_kafka_topic_t *letters_topic,
                             rd_kafka_queue_t *main_queue) {
    if (topic != NULL)
        rdk.topic_destroy(topic);
    if (letters_topic != NULL)
        rdk.topic_destroy(letters_topic);
    rdk.queue_io_event_enable(main_queue, -1, NULL, 0);
    rdk.queue_destroy(main_queue);
    rdk.destroy_flags(client, 0);
}

static void *client_disposal_thread(void *opaque) {
    client_disposal_t *d = opaque;
    producer_destroy(d->client, d->topic, d->letters_topic, d->main_queue);
    __atomic_store_n(&d->gone, 1, __ATOMIC_RELEASE);
    wake(d->wake_fd);
    return NULL;
}

/* Without a thread to be had, the caller waits. Not while one is under way. */
static void client_disposal_begin(client_disposal_t *d, int wake_fd) {
    d->wake_fd = wake_fd;
    d->gone = 0;
    d->under_way = sys.thread_begin(&d->thread, client_disposal_thread, d) == 0;
    if (!d->under_way)
        client_disposal_thread(d);
}

static int client_disposal_under_way(const client_disposal_t *d) {
    return d->under_way && !__atomic_load_n(&d->gone, __ATOMIC_ACQUIRE);
}

/* Wait for it, if it is under way. */
static void client_disposal_end(client_disposal_t *d) {
    if (d->under_way)
        sys.thread_join(d->thread);
    d->under_way = 0;
}

/* Let `body` end `subject`, and free it, in a thread that nobody waits for. */
static void dispose_in_background(void *(*body)(void *), void *subject) {
    pthread_t thread;
    if (sys.thread_begin(&thread, body, subject) == 0)
        sys.thread_detach(thread);
    else
        body(subject);
}
