/* What the outlet sleeps for. A wake-up costs as much as ten lines that are taken together, so at low rates there are two
 * that it does without:
 *
 * - Delivery reports, while nobody waits for what they tell. They are taken when the next line comes, or a little later.
 * - STDOUT, between two bursts, while lines come so fast that some are gathered for each, and so slowly that the pipe holds
 *   what is printed meanwhile. They are read when the next burst is due.
 *
 * The inlet may begin to wait in the middle of such a sleep; so it wakes the outlet (`outlet_dozes` of progress.h). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct outlet_s outlet_t;

typedef struct {
    int reports_fd;     /* written when librdkafka has reports or errors for us */
    int64_t position;   /* how far STDOUT had been read at the last burst */
    bool gathers_a_few; /* the last burst was of several lines, a fraction of what the pipe holds */
} outlet_sleep_t;

/* A burst of so many lines is handed over. */
void outlet_sleep_note_burst(outlet_t *s, int lines);

/* What to sleep for. */
typedef struct {
    int64_t timeout_ns;
    int stdout_fd; /* -1: it is not waited for */
    bool reports;
} outlet_wait_t;

/* Holding the lock: what to sleep for, at the longest so long. `reads`: STDOUT may be read. */
outlet_wait_t outlet_sleep_begin(outlet_t *s, int timeout_ms, bool reads);

/* Without it: sleep until something happens. */
void outlet_sleep(outlet_t *s, const outlet_wait_t *wait);
