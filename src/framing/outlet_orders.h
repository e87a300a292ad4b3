/* Orders: what another thread may ask of an outlet. Each takes effect before it returns, without waiting for I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct outlet_s outlet_t;

/* Lines go to `topic` from now on. Returns -1 while lines for another topic are undelivered. */
int outlet_produce_to(outlet_t *s, const char *topic);

/* Dead letters go to `topic` from now on; NULL: nowhere, those of records wait, of lines are dropped. Returns -1 when memory
 * is short. */
int outlet_bury_in(outlet_t *s, const char *topic);

/* In a transaction: the inlet that posted letters is gone, and its records are read again. */
void outlet_forget_letters(outlet_t *s);

/* Lines are read, counted and dropped from now on. Returns -1 while lines for a topic are undelivered. */
int outlet_discard(outlet_t *s);

/* Lines stay in the pipe from now on; what was read before is still delivered. */
void outlet_hold(outlet_t *s);

/* A new run of the Calculator: read its STDOUT, which is non-blocking and the outlet's to close from now on. */
void outlet_attach(outlet_t *s, int stdout_fd);

/* The Calculator is gone: while lines are held, take what it left in the pipe into the buffer, if it fits. The notice
 * NOTICE_STDOUT_ENDED tells when the end was reached. */
void outlet_read_to_end(outlet_t *s);

/* The run is over: close its STDOUT. Returns the length of its unfinished last line in bytes.
 *
 * `keep_lines`: lines that were read and not framed yet wait for a topic; else they are dropped (they must not go to the next
 * one). `keep_tail`: the unfinished line becomes a record all the same (the Calculator ended in order); else it is dropped (it
 * died in the middle of it). */
size_t outlet_finish(outlet_t *s, bool keep_lines, bool keep_tail);

/* Give up every line that is not delivered, and those that runs which are over left in the buffer. `undelivered` of the
 * counters tells when that is done.
 *
 * The inlet must have forgotten its fences first, or records would count as answered by lines that never arrived. */
void outlet_abandon(outlet_t *s);

/* Abort the open transaction, and drop every line until the inlet writes its records again. A commit that is under way is not
 * stopped: what it covers counts. */
void outlet_abort(outlet_t *s);

/* From the next connection on; also of a client that is made anew. Returns -1 when memory is short. */
int outlet_log_in_with(outlet_t *s, const char *user, const char *password);

/* Whether a transaction was lost and its records are not being written again yet. */
bool outlet_voided(const outlet_t *s);

/* End `outlet_run`: as soon as everything taken is delivered, at the latest in so many ns. */
void outlet_stop(outlet_t *s, int64_t within_ns);
