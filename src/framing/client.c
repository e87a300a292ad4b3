#define _GNU_SOURCE /* strdup */
#include "client.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wake.h"

#define SYSLOG_WARNING 4
#define LOST_AFTER_US 4000000 /* a client that wants a broker tries one within a second */
#define PROPERTIES_STEP 32    /* room is made for so many at once */

/* What librdkafka writes into our eventfd when a queue fills: it keeps the pointer. */
static const uint64_t QUEUE_EVENT = 1;

int properties_add(properties_t *p, const char *name, const char *value) {
    if (p->count % PROPERTIES_STEP == 0) {
        char **grown = realloc(p->strings, 2 * (p->count + PROPERTIES_STEP) * sizeof *grown);
        if (grown == NULL)
            return -1;
        p->strings = grown;
    }
    char *copies[] = {strdup(name), strdup(value)};
    if (copies[0] == NULL || copies[1] == NULL) {
        free(copies[0]);
        free(copies[1]);
        return -1;
    }
    memcpy(p->strings + 2 * p->count++, copies, sizeof copies);
    return 0;
}

void properties_free(properties_t *p) {
    for (size_t i = 0; i < 2 * p->count; i++)
        free(p->strings[i]);
    free(p->strings);
    *p = (properties_t){0};
}

/* How many brokers librdkafka's statistics show as connected; so much of the JSON as is needed, and no more. */
static int brokers_up(const char *statistics) {
    int up = 0;
    for (const char *at = statistics; (at = strstr(at, "\"state\":\"")) != NULL; at += 9)
        up += strncmp(at + 9, "UP\"", 3) == 0;
    return up;
}

/* Whether they show no broker that is connected or tried: each has been put aside for a while, or there is none. */
static bool has_lost_brokers(const char *statistics) {
    static const char LEARNED[] = "learned\"", CONFIGURED[] = "configured\"", INIT[] = "INIT\"";
    for (const char *at = statistics; (at = strstr(at, "\"source\":\"")) != NULL;) {
        at += sizeof "\"source\":\"" - 1;
        if (strncmp(at, LEARNED, sizeof LEARNED - 1) != 0 && strncmp(at, CONFIGURED, sizeof CONFIGURED - 1) != 0)
            continue; /* it stands for a coordinator */
        const char *state = strstr(at, "\"state\":\""), *age = strstr(at, "\"stateage\":");
        if (state == NULL || age == NULL || strncmp(state + 9, INIT, sizeof INIT - 1) != 0 ||
            strtoll(age + 11, NULL, 10) < LOST_AFTER_US)
            return false;
    }
    return true;
}

/* Whether they show a consumer whose coordinator is known and connected, and whose membership is settled. */
static int group_steady(const char *statistics) {
    const char *group = strstr(statistics, "\"cgrp\":");
    return group != NULL && strstr(group, "\"state\": \"up\"") != NULL &&
           strstr(group, "\"join_state\": \"steady\"") != NULL;
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text) {
    client_t *client = rdk.opaque(rk);
    char line[240];
    snprintf(line, sizeof line, "%s: %s", facility, text);
    notice_post(&client->notices, NOTICE_LOG, level, line);
}

void client_post_fatal(rd_kafka_t *rk, client_t *client) {
    char why[240];
    int error = rdk.fatal_error(rk, why, sizeof why);
    notice_post(&client->notices, NOTICE_FATAL, error, why);
}

static void on_error(rd_kafka_t *rk, int error, const char *reason, void *opaque) {
    client_t *client = opaque;
    if (error == RDK_ERR__FATAL)
        client_post_fatal(rk, client);
    else
        notice_post(&client->notices, NOTICE_ERROR, error, reason);
}

static int on_statistics(rd_kafka_t *rk, char *json, size_t size, void *opaque) {
    client_t *client = opaque;
    (void)size;
    /* A cluster that comes back from a standstill has no broker for a moment, and says so. librdkafka 2.16 gives up those that
     * it knew then, and has none to ask for others. */
    if (client->bootstrap != NULL && has_lost_brokers(json)) {
        rdk.brokers_add(rk, client->bootstrap);
        notice_post(&client->notices, NOTICE_LOG, SYSLOG_WARNING,
                    "the cluster had no broker for a moment: bootstrap.servers are asked again");
    }
    client->brokers_up = brokers_up(json);
    client->group_steady = group_steady(json);
    return 0; /* librdkafka frees it */
}

void client_throttled(client_t *client, int32_t broker, int ms) {
    client_throttle_t *t = &client->throttle;
    if (ms <= 0) /* it says that it asks for nothing any more */
        return;
    t->count++;
    t->asked_ms += ms;
    t->last_ms = ms;
    t->last_broker = broker;
}

static void on_throttle(rd_kafka_t *rk, const char *name, int32_t broker, int ms, void *opaque) {
    (void)rk;
    (void)name;
    client_throttled(opaque, broker, ms);
}

/* For as long as `client` lives, which may be longer than a client of librdkafka. */
static void keep_bootstrap(client_t *client, const properties_t *p) {
    for (size_t i = 0; i < p->count && client->bootstrap == NULL; i++)
        if (strcmp(p->strings[2 * i], "bootstrap.servers") == 0)
            client->bootstrap = strdup(p->strings[2 * i + 1]);
}

void client_init(client_t *client) {
    client->notices.wake_fd = -1;
    pthread_mutex_init(&client->credentials.lock, NULL);
}

/* Holding the lock. An error is that of a mechanism without a password: then there is nothing to do. */
static void log_in(client_credentials_t *c, rd_kafka_t *rk) {
    if (rk != NULL && c->password != NULL)
        rdk.error_destroy(rdk.sasl_set_credentials(rk, c->user, c->password));
}

int client_log_in_with(client_t *client, rd_kafka_t *rk, const char *user, const char *password) {
    client_credentials_t *c = &client->credentials;
    char *new_user = strdup(user), *new_password = strdup(password);
    if (new_user == NULL || new_password == NULL) {
        free(new_user);
        free(new_password);
        return -1;
    }
    pthread_mutex_lock(&c->lock);
    free(c->user);
    free(c->password);
    c->user = new_user;
    c->password = new_password;
    log_in(c, rk);
    pthread_mutex_unlock(&c->lock);
    return 0;
}

void client_free(client_t *client) {
    free(client->credentials.user);
    free(client->credentials.password);
    pthread_mutex_destroy(&client->credentials.lock);
    free(client->bootstrap);
    close_if_open(client->notices.wake_fd);
}

rd_kafka_t *client_new(int kind, const properties_t *p, client_t *opaque, const client_callbacks_t *callbacks,
                       char *why, size_t why_size) {
    rd_kafka_conf_t *conf = rdk.conf_new();
    for (size_t i = 0; i < p->count; i++)
        if (rdk.conf_set(conf, p->strings[2 * i], p->strings[2 * i + 1], why, why_size) != 0) {
            rdk.conf_destroy(conf);
            return NULL;
        }
    rdk.conf_set_opaque(conf, opaque);
    rdk.conf_set_log_cb(conf, on_log);
    rdk.conf_set_error_cb(conf, on_error);
    rdk.conf_set_stats_cb(conf, on_statistics);
    rdk.conf_set_throttle_cb(conf, callbacks->on_throttle != NULL ? callbacks->on_throttle : on_throttle);
    if (callbacks->on_delivery != NULL)
        rdk.conf_set_dr_msg_cb(conf, callbacks->on_delivery);
    if (callbacks->on_rebalance != NULL)
        rdk.conf_set_rebalance_cb(conf, callbacks->on_rebalance);
    if (callbacks->on_commit != NULL)
        rdk.conf_set_offset_commit_cb(conf, callbacks->on_commit);
    keep_bootstrap(opaque, p);
    rd_kafka_t *rk = rdk.new(kind, conf, why, why_size);
    if (rk == NULL)
        rdk.conf_destroy(conf);
    pthread_mutex_lock(&opaque->credentials.lock);
    log_in(&opaque->credentials, rk);
    pthread_mutex_unlock(&opaque->credentials.lock);
    return rk;
}

void client_wakes(rd_kafka_queue_t *queue, int wake_fd) {
    rdk.queue_io_event_enable(queue, wake_fd, &QUEUE_EVENT, sizeof QUEUE_EVENT);
}
