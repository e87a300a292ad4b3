/* Calls of librdkafka that may wait: made between two rounds without the lock, so that nobody who gives an order waits for
 * the broker. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct outlet_s outlet_t;

#define CALL_TIMEOUT_MS 1000 /* such a call goes on where it stopped when it is made again */
#define CALL_RETRY_MS 100
#define CALL_RENEW_MAX_MS 10000 /* between two new clients; doubles from CALL_RETRY_MS until something is committed */

typedef enum {
    CALL_NONE,
    CALL_INIT,
    CALL_COMMIT,
    CALL_ABORT,
    CALL_RENEW, /* a fatal error: only a new client goes on */
    CALL_BEGIN,
    CALL_EXPLAIN, /* why the transaction is lost */
} call_kind_t;

typedef struct {
    call_kind_t next; /* to be made between two rounds */
    int64_t since_ns; /* it has been under way since; 0: none is */
    int64_t again_ns; /* after an error */
    int renew_ms;     /* how long the next new client is waited for */
} outlet_call_t;

/* The first client. Returns false, and why, if librdkafka makes none. */
bool outlet_make_client(outlet_t *s, char *why, size_t why_size);

/* After a fatal error the client sends nothing, and keeps what it has for ever, because nothing times out.
 *
 * So it has to give everything back, for a new one. Asked again: an answer may put lines into its queue once more. */
void outlet_look_for_fatal(outlet_t *s, int64_t now_ns);

/* Without the lock. */
void outlet_make_call(outlet_t *s);
