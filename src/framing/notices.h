/* Notices: what the native threads have to tell the Python side. A bounded ring under a lock, and an eventfd that wakes
 * the loop. Any thread may post, librdkafka's own included; one that comes in numbers (a log line, an error, a dropped line)
 * and finds no room is dropped and counted, a change of state has slots kept for it.
 *
 * What is posted in a round of the native loop is shown at its end, when the counters are published: who has taken a notice
 * reads counters that are no older (counters.h). */
#pragma once

#include <pthread.h>
#include <stdint.h>

#define NOTICES 256
#define NOTICE_TEXT_BYTES 480
#define NOTICES_FOR_STATE 64 /* slots kept for the changes of state */

typedef enum {
    NOTICE_LOG,           /* a line of librdkafka's log; code is the syslog level */
    NOTICE_ERROR,         /* a client error; code is librdkafka's */
    NOTICE_OVERSIZE_LINE, /* a line over the limit was dropped; code is the limit */
    NOTICE_UNPRODUCIBLE,  /* a record the broker refuses for good was dropped; code is librdkafka's */
    NOTICE_UNREADABLE, /* a batch cannot be taken apart; code is librdkafka's, text its partition, offset and words */
    NOTICE_LAST_IN_NUMBERS = NOTICE_UNREADABLE,
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

/* 0, or -1 with errno: no descriptor is left. */
int notices_open(notices_t *n);
void notice_post(notices_t *n, notice_kind_t kind, int code, const char *text);
/* A round begins. */
void notices_hold(notices_t *n);
/* It is over, and the counters are published. */
void notices_show(notices_t *n);
/* Returns 1 and the oldest notice, or 0. */
int notice_take(notices_t *n, notice_t *taken);
