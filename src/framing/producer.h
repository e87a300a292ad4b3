/* The outlet hands lines to librdkafka: bursts, delivery reports, what comes back, what is refused. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "burst.h"
#include "client_disposal.h"
#include "delivery.h"
#include "partition.h"
#include "rdkafka.h"
#include "refused.h"
#include "returned.h"
#include "throttle.h"

typedef struct outlet_s outlet_t;

#define PRODUCER_RETRY_MS 500 /* a record that the broker did not take is offered again after this */

/* librdkafka's linger.ms: lines handed over within this are in one request, and no request goes before it is over.
 * A full burst of 100-byte lines takes 0.3 ms. */
#define HAND_OVER_NS 500000
#define HAND_OVER_MS "0.5"

typedef struct {
    rd_kafka_t *rk;
    rd_kafka_topic_t *topic; /* NULL: there is none */
    rd_kafka_queue_t *main_queue;
    partitions_t partitions;
    throttle_t throttle;
    /* lines framed and not taken by librdkafka yet, and lines that came back undelivered: both keep their order */
    rd_kafka_message_t *pending;
    int pending_count;
    size_t pending_bytes;
    returned_t returned;
    int64_t handed_over_ns; /* when lines were handed over last */
    int64_t in_flight;      /* librdkafka has them; its own count includes events that are no records */
    int64_t retry_at_ns;
    int last_error;
    bool abandoning;            /* what is undelivered is given up */
    bool fatal;                 /* an error after which only a new client goes on */
    refused_t refused;          /* in a transaction: lines that are not offered again */
    client_disposal_t disposal; /* of the client before this one */
    int64_t renewals;
} producer_t;

/* Is it for what was sent, and not for the broker's state? A batch is refused for one record, or for their sum. */
static inline bool is_refusal(int error) {
    return error == RDK_ERR_MSG_SIZE_TOO_LARGE || error == RDK_ERR_RECORD_LIST_TOO_LARGE ||
           error == RDK_ERR_INVALID_RECORD;
}

/* Tell of an error once, not once for each record that meets it. */
void producer_error(outlet_t *s, int error);

/* What a line is known by when its transaction comes again; 0 where there is none. */
uint64_t producer_hash(const outlet_t *s, const uint8_t *line, size_t size);

/* Likewise of a dataframe, without its head, which has the time. */
uint64_t producer_hash_frame(const outlet_t *s, const uint8_t *frame, size_t size);

/* Delivery report; called out of rd_kafka_poll, on the outlet's thread. */
void producer_on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque);

/* A broker asks for time; likewise. */
void producer_on_throttle(rd_kafka_t *rk, const char *name, int32_t broker, int ms, void *opaque);

/* How much may be under way now. */
void producer_look_at_quota(outlet_t *s, int64_t now_ns);

/* Offer what came back, then what is pending. Returns whether all of it was taken. */
bool producer_flush(outlet_t *s, int64_t now_ns);

/* When the lines that are gathered are due; 0: no burst may begin now, and no time is known for it. */
int64_t producer_gathers_until(const outlet_t *s, int64_t now_ns);

/* Lines framed and not handed over yet, and those that came back: neither is offered again. */
void producer_drop_pending(outlet_t *s);
void producer_drop_returned(outlet_t *s);
