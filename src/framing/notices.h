/* Notices: what the native threads have to tell the Python side. A bounded ring under a lock, and an eventfd that wakes
 * the loop. Any thread may post, librdkafka's own included; one that comes in numbers (a log line, an error, a dropped line)
 * and finds no room is dropped and counted, a change of state has slots kept for it.
 *
 * What is posted in a round of the native loop is shown at its end, when the counters are published: who has taken a notice
 * reads counters that are no older (counters.h). */
#pragma once

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define NOTICES 256
#define NOTICE_TEXT_BYTES 480
#define NOTICES_FOR_STATE 64 /* slots kept for the changes of state */

typedef enum {
    NOTICE_LOG,           /* a line of librdkafka's log; code is the syslog level */
    NOTICE_ERROR,         /* a client error; code is librdkafka's */
    NOTICE_OVERSIZE_LINE, /* a line over the limit was dropped; code is the limit */
    NOTICE_UNPRODUCIBLE,  /* a record the broker refuses for good was dropped; code is librdkafka's */
    NOTICE_LAST_IN_NUMBERS = NOTICE_UNPRODUCIBLE,
    NOTICE_FATAL,        /* the client is of no use any more */
    NOTICE_ASSIGNED,     /* code partitions were assigned */
    NOTICE_PLACED,       /* code partitions are read now, after an error that kept them from it */
    NOTICE_REVOKED,      /* code partitions were given up */
    NOTICE_STDIN_BROKEN, /* the Calculator closed its STDIN */
    NOTICE_STDIN_CLOSED, /* we closed it, after the last whole record */
    NOTICE_STDOUT_ENDED, /* the Calculator's STDOUT was read to its end; code is the length of its unfinished last line
                           */
    NOTICE_PROTOCOL,     /* the Calculator broke the rule of its acknowledgement; text says how */
    NOTICE_ECHO_OWED,    /* the Calculator waits for input and has not echoed a marker */
    NOTICE_ABORTED,      /* a transaction was lost: its records have to be written again; text says why */
    NOTICE_REPLACED,     /* the topic was deleted and made again: its consumer is of no use any more */
    NOTICE_CLEARED, /* all records that were written alone, because one of them ends the Calculator, were answered */
    NOTICE_NOT_ALONE, /* they are written as usual again: where nothing shows a rest, none is known to be answered alone */
    NOTICE_LETTER_REFUSED, /* the dead letter stream does not take a record; code is librdkafka's */
    NOTICE_SURVIVED_SUSPECT, /* earlier instances, code of them, ended with this record of a partition first: text says which */
    NOTICE_SURVIVED_POISON, /* likewise, with it alone: it becomes a dead letter */
    NOTICE_CLOSED,          /* the thread is done and its client destroyed */
} notice_kind_t;

typedef struct {
    int kind; /* notice_kind_t */
    int code;
    char text[NOTICE_TEXT_BYTES];
} notice_t;

typedef struct {
    pthread_mutex_t lock;
    unsigned first, count;
    unsigned shown; /* so many of them may be taken */
    int in_round;
    uint64_t dropped;
    int wake_fd; /* an eventfd, written when there is a notice to take */
    notice_t ring[NOTICES];
} notices_t;

static void wake(int event_fd) {
    const uint64_t one = 1;
    ssize_t written = write(event_fd, &one, sizeof one); /* a full counter wakes as well */
    (void)written;
}

/* What every native client begins with: callbacks find it through the client's opaque. */
typedef struct {
    notices_t notices;
    int brokers_up;   /* as the last statistics said; -1 before the first */
    int group_steady; /* likewise; a consumer alone has a group */
} client_t;

/* How many brokers librdkafka's statistics show as connected; so much of the JSON as is needed, and no more. */
static int brokers_up(const char *statistics) {
    int up = 0;
    for (const char *at = statistics; (at = strstr(at, "\"state\":\"")) != NULL; at += 9)
        up += strncmp(at + 9, "UP\"", 3) == 0;
    return up;
}

/* Whether they show a consumer whose coordinator is known and connected, and whose membership is settled. */
static int group_steady(const char *statistics) {
    const char *group = strstr(statistics, "\"cgrp\":");
    return group != NULL && strstr(group, "\"state\": \"up\"") != NULL &&
           strstr(group, "\"join_state\": \"steady\"") != NULL;
}

/* 0, or -1 with errno: no descriptor is left. */
static int notices_open(notices_t *n) {
    memset(n, 0, sizeof *n);
    pthread_mutex_init(&n->lock, NULL);
    n->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return n->wake_fd < 0 ? -1 : 0;
}

static void notice_post(notices_t *n, notice_kind_t kind, int code, const char *text) {
    pthread_mutex_lock(&n->lock);
    if (n->count >= (kind <= NOTICE_LAST_IN_NUMBERS ? NOTICES - NOTICES_FOR_STATE : NOTICES)) {
        n->dropped++;
    } else {
        notice_t *slot = &n->ring[(n->first + n->count++) % NOTICES];
        slot->kind = kind;
        slot->code = code;
        snprintf(slot->text, sizeof slot->text, "%s", text);
    }
    int show = !n->in_round && n->shown < n->count;
    if (show)
        n->shown = n->count;
    pthread_mutex_unlock(&n->lock);
    if (show)
        wake(n->wake_fd);
}

/* A round begins. */
static void notices_hold(notices_t *n) {
    pthread_mutex_lock(&n->lock);
    n->in_round = 1;
    pthread_mutex_unlock(&n->lock);
}

/* It is over, and the counters are published. */
static void notices_show(notices_t *n) {
    pthread_mutex_lock(&n->lock);
    int more = n->shown < n->count;
    n->in_round = 0;
    n->shown = n->count;
    pthread_mutex_unlock(&n->lock);
    if (more)
        wake(n->wake_fd);
}

/* Returns 1 and the oldest notice, or 0. */
static int notice_take(notices_t *n, notice_t *taken) {
    pthread_mutex_lock(&n->lock);
    int any = n->shown > 0;
    if (any) {
        *taken = n->ring[n->first];
        n->first = (n->first + 1) % NOTICES;
        n->count--;
        n->shown--;
    }
    pthread_mutex_unlock(&n->lock);
    return any;
}
