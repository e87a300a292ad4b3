/* What both ends' librdkafka clients have in common: how one is made, what it tells by itself. */
#pragma once

#include <pthread.h>
#include <stddef.h>

#include "notices.h"
#include "rdkafka.h"

/* What brokers asked for because of a quota: that the client sends nothing for a while. */
typedef struct {
    int64_t count, asked_ms; /* so often, and for so long in all */
    int64_t last_ms, last_broker;
} client_throttle_t;

/* What a client is to log in with from its next connection on; NULL: what its properties say. */
typedef struct {
    pthread_mutex_t lock;
    char *user, *password;
} client_credentials_t;

/* What every native end begins with: callbacks find it through the client's opaque. */
typedef struct {
    notices_t notices;
    client_throttle_t throttle;
    int brokers_up;   /* as the last statistics said; -1 before the first */
    int group_steady; /* likewise; a consumer alone has a group */
    client_credentials_t credentials;
    char *bootstrap; /* its bootstrap.servers, for a client that has forgotten every broker */
} client_t;

/* librdkafka properties: copies, so that a next client can be made when those who gave them are gone. */
typedef struct {
    char **strings; /* name, value, name, value */
    size_t count;   /* of properties */
} properties_t;

/* Returns 0, or -1 when memory is short. */
int properties_add(properties_t *p, const char *name, const char *value);
void properties_free(properties_t *p);

/* NULL: nothing is to be told of it. */
typedef struct {
    rdk_dr_msg_cb on_delivery;
    rdk_rebalance_cb on_rebalance;
    rdk_offset_commit_cb on_commit;
    rdk_throttle_cb on_throttle; /* it calls client_throttled */
} client_callbacks_t;

/* Returns NULL with librdkafka's reason in `why`: it refuses a property, which it names.
 *
 * It may wait: for files, and for DNS where bootstrap names are looked up at once (client.dns.lookup). `opaque`: a struct
 * whose first member is its client_t. */
rd_kafka_t *client_new(int kind, const properties_t *p, client_t *opaque, const client_callbacks_t *callbacks,
                       char *why, size_t why_size);

/* First of all, of one that is all zeros. */
void client_init(client_t *client);

/* For `rk`, which may be NULL, and for every client that is made later. From any thread. Returns -1 when memory is short. */
int client_log_in_with(client_t *client, rd_kafka_t *rk, const char *user, const char *password);

/* What it has of its own, when no client uses it any more. */
void client_free(client_t *client);

/* Have librdkafka write to this descriptor when something comes into the queue. */
void client_wakes(rd_kafka_queue_t *queue, int wake_fd);

/* Count that a broker asked for so much time. */
void client_throttled(client_t *client, int32_t broker, int ms);

/* The notice of a fatal error, with its reason. */
void client_post_fatal(rd_kafka_t *rk, client_t *client);
