/* The inlet: topic -> STDIN. One thread, no GIL, no Python object per record.
 *
 * This is what it is made of; each part is written by the file that has its name. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ack_policy.h"
#include "attempts.h"
#include "client.h"
#include "commit_policy.h"
#include "consumer.h"
#include "dead.h"
#include "inlet_report.h"
#include "isolation.h"
#include "ledger.h"
#include "progress.h"
#include "start_offsets.h"
#include "stdin_writer.h"
#include "topic_identity.h"
#include "turnstile.h"

/* Set before its thread runs, and by nobody after. */
typedef struct {
    const char *topic;
    int64_t first_offset; /* of a partition without a committed offset: RDK_OFFSET_BEGINNING or RDK_OFFSET_END */
    int64_t idle_ns, feed_ahead_ns, revoke_grace_ns;
    newlines_t newlines;
    bool propagate_key;
    const ack_policy_t *ack;
    const commit_policy_t *commit;
} inlet_config_t;

typedef struct {
    bool paused, draining, stopping;
    bool join_later; /* the group is joined when that is taken back */
    int64_t stop_deadline_ns;
} inlet_orders_t;

/* The Calculator's run. */
typedef struct {
    unsigned number; /* counts attach and what ends it: a descriptor's number may come again */
    bool attached;
    bool exited; /* its process is gone: what is seen of its pipes now says nothing about it */
    bool closing;
    bool rule_broken;   /* nothing is acknowledged in this run any more */
    int64_t read_until; /* of the run that ended last: it read something of each record before this one */
} calculator_run_t;

struct inlet_s {
    client_t client; /* first: callbacks find it through the client's opaque */
    turnstile_t gate;
    inlet_config_t config;
    inlet_orders_t orders;
    inlet_report_t report;
    inlet_counts_t counts;
    ledger_t ledger;
    progress_t *progress;
    int wake_fd;
    consumer_t consumer;
    topic_identity_t identity;
    start_offsets_t start;
    calculator_run_t run;
    stdin_writer_t writer;
    demand_t demand; /* what is seen of the Calculator */
    ack_watch_t ack;
    marker_writer_t marker;
    isolation_t alone;
    attempts_t attempts;
    noted_keys_t keys;
    inlet_transaction_t transaction;
    commit_ahead_t ahead;
};

static inline bool inlet_may_write(const inlet_t *s) {
    return s->writer.fd >= 0 && !s->writer.broken && !s->run.exited && !s->run.rule_broken;
}

/* No further record is to be written, by an order. */
static inline bool inlet_holds(const inlet_t *s) { return s->orders.paused || s->orders.draining || s->run.closing; }

static inline void inlet_notice(inlet_t *s, notice_kind_t kind, int code, const char *text) {
    notice_post(&s->client.notices, kind, code, text);
}

/* Before `inlet_open`. Returns NULL when memory is short. */
inlet_t *inlet_new(void);

/* `config` is set. Returns 0, or -1 with errno: no memory, or no descriptor is left. */
int inlet_open(inlet_t *s, int64_t max_records, int64_t max_bytes);

/* The thread's body, until it is told to stop. Posts the notice NOTICE_CLOSED when the client is gone. */
void inlet_run(inlet_t *s);

/* After its thread has ended, or if it has no client yet. */
void inlet_free(inlet_t *s);

/* Of one that never ran: nobody waits for it. */
void inlet_dispose(inlet_t *s);
