#include "client_disposal.h"

#include "wake.h"

void producer_destroy(rd_kafka_t *client, rd_kafka_topic_t *topic, rd_kafka_topic_t *letters_topic,
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

void client_disposal_begin(client_disposal_t *d, int wake_fd) {
    d->wake_fd = wake_fd;
    d->gone = 0;
    d->under_way = sys.thread_begin(&d->thread, client_disposal_thread, d) == 0;
    if (!d->under_way)
        client_disposal_thread(d);
}

int client_disposal_under_way(const client_disposal_t *d) {
    return d->under_way && !__atomic_load_n(&d->gone, __ATOMIC_ACQUIRE);
}

void client_disposal_end(client_disposal_t *d) {
    if (d->under_way)
        sys.thread_join(d->thread);
    d->under_way = 0;
}

void dispose_in_background(void *(*body)(void *), void *subject) {
    pthread_t thread;
    if (sys.thread_begin(&thread, body, subject) == 0)
        sys.thread_detach(thread);
    else
        body(subject);
}
