/* The outlet: STDOUT -> topic. One thread, no GIL, no Python object per line.
 *
 * This is what it is made of; each part is written by the file that has its name. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "batch_splitter.h"
#include "burst.h"
#include "client.h"
#include "delivery.h"
#include "letter_sender.h"
#include "outlet_call.h"
#include "outlet_report.h"
#include "outlet_sleep.h"
#include "producer.h"
#include "progress.h"
#include "stdout_framer.h"
#include "transaction.h"
#include "turnstile.h"

/* Who gets the lines. */
typedef enum {
    FLOW_HOLD,    /* nobody yet: they stay in the pipe */
    FLOW_DISCARD, /* nobody: read, counted, dropped */
    FLOW_PRODUCE,
} flow_t;

/* Set before its thread runs, and by nobody after. */
typedef struct {
    properties_t properties; /* of every client */
    bool output_json;
    bool transactional; /* `exactly-once` */
    bool at_most_once;  /* a line that the broker may have is not sent again */
    bool propagate_key;
    size_t max_line_bytes, max_message_bytes;
    burst_limits_t burst;
} outlet_config_t;

typedef struct {
    flow_t flow;
    bool stopping;
    int64_t stop_deadline_ns;
} outlet_orders_t;

struct outlet_s {
    client_t client; /* first: callbacks find it through the client's opaque */
    turnstile_t gate;
    outlet_config_t config;
    outlet_orders_t orders;
    counters_t published; /* an outlet_counters_t */
    outlet_counts_t counts;
    progress_t progress;
    delivery_t delivery;
    int wake_fd;
    bool full; /* librdkafka's queue, the slabs or the batches: wait for deliveries */
    int64_t full_since_ns;
    stdout_framer_t framer;
    producer_t producer;
    batch_splitter_t splitter;
    letter_sender_t sender;
    transaction_t transaction;
    outlet_call_t call;
    outlet_sleep_t sleep;
};

/* Lines that were framed and are neither delivered nor given up. */
static inline int64_t outlet_undelivered(const outlet_t *s) {
    return s->producer.pending_count + (int64_t)s->producer.returned.count + s->producer.in_flight;
}

/* Whether what is printed is dropped, because its transaction is lost. */
static inline bool outlet_is_void(const outlet_t *s) {
    return s->config.transactional && cut_state(&s->progress.cut) == CUT_VOID;
}

/* How much is handed over at once: a request's worth, or what quotas leave room for. */
static inline size_t outlet_burst_bytes(const outlet_t *s) {
    const int64_t room = throttle_room(&s->producer.throttle), most = (int64_t)s->config.burst.max_bytes;
    return room < 0 ? 0 : (size_t)(room < most ? room : most);
}

/* Whether there are as many lines as are handed over at once. */
static inline bool outlet_has_burst(const outlet_t *s) {
    const producer_t *p = &s->producer;
    return p->pending_count > 0 &&
           (p->pending_count >= s->config.burst.max_lines || p->pending_bytes >= outlet_burst_bytes(s));
}

static inline void outlet_notice(outlet_t *s, notice_kind_t kind, int code, const char *text) {
    notice_post(&s->client.notices, kind, code, text);
}

/* Before `outlet_open`. Returns NULL when memory is short. */
outlet_t *outlet_new(void);

/* What else it needs to know of the stream; the strings live as long as it does. */
typedef struct {
    const char *workspace; /* its uid, of so many bytes */
    size_t workspace_bytes;
    const uint8_t *marker_prefix;
    size_t marker_prefix_bytes;
    size_t max_slab_bytes; /* bound of the envelopes that are not delivered yet */
} outlet_stream_t;

/* `config` is set, but for its limit on a burst and HAND_OVER_MS. Returns 0, or an errno: ENOMEM, EINVAL where the marker's
 * prefix is too long, what eventfd failed with. A client is made next: outlet_make_client. */
int outlet_open(outlet_t *s, const outlet_stream_t *stream);

/* The thread's body, until it is told to stop. Posts the notice NOTICE_CLOSED when the client is gone. */
void outlet_run(outlet_t *s);

/* The end of one whose thread has ended, or that never ran: nobody waits for it. */
void outlet_dispose(outlet_t *s);
