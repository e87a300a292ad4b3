#include "outlet_sleep.h"

#include "outlet.h"

#define REPORTS_LATEST_MS 50 /* what is acknowledged is looked at every 100 ms, where nobody waits for it */
#define FEW_BYTES 16384
#define FEW_OF_THE_PIPE 4 /* nor more than this part of it, so that the Calculator never waits for room */

void outlet_sleep_note_burst(outlet_t *s, int lines) {
    outlet_sleep_t *z = &s->sleep;
    const int64_t bytes = s->progress.read_position - z->position;
    z->position = s->progress.read_position;
    z->gathers_a_few = lines > 1 && s->progress.fd >= 0 && bytes <= FEW_BYTES &&
                       bytes <= sys.pipe_bytes(s->progress.fd) / FEW_OF_THE_PIPE;
}

/* Whether nothing else is under way than lines that were handed over, and lines that are gathered. */
static bool is_plain(const outlet_t *s) {
    const producer_t *p = &s->producer;
    return s->orders.flow == FLOW_PRODUCE && !s->orders.stopping && !s->full && !s->framer.ended &&
           !s->framer.to_the_end && p->returned.count == 0 && !p->fatal && !p->abandoning &&
           !splitter_is_on(&s->splitter) && !sender_has_letters(s) && !s->config.transactional;
}

outlet_wait_t outlet_sleep_begin(outlet_t *s, int timeout_ms, bool reads) {
    const producer_t *p = &s->producer;
    outlet_wait_t wait = {.timeout_ns = timeout_ms * MS, .stdout_fd = reads ? s->progress.fd : -1, .reports = true};
    if (!is_plain(s) || p->in_flight == 0 || outlet_has_burst(s))
        return wait;
    atomic_store(&s->progress.outlet_dozes, 1); /* before the inlet is asked */
    if (progress_inlet_is_waiting(&s->progress))
        return wait;
    const int64_t left_ns = p->handed_over_ns + s->config.burst.gather_ns - monotonic_ns();
    const bool gathers = left_ns > 0 && (p->pending_count > 0 || s->sleep.gathers_a_few);
    if (p->pending_count > 0 && !gathers)
        return wait; /* they are due: a report is what they wait for */
    const int64_t latest_ns = gathers ? left_ns : REPORTS_LATEST_MS * MS;
    if (wait.timeout_ns > latest_ns)
        wait.timeout_ns = latest_ns;
    if (gathers && s->sleep.gathers_a_few)
        wait.stdout_fd = -1;
    wait.reports = false;
    return wait;
}

void outlet_sleep(outlet_t *s, const outlet_wait_t *wait) {
    struct pollfd waits[] = {
        {.fd = s->wake_fd, .events = POLLIN},
        {.fd = wait->reports ? s->sleep.reports_fd : -1, .events = POLLIN},
        {.fd = wait->stdout_fd, .events = POLLIN},
    };
    sys.poll_ns(waits, 3, wait->timeout_ns);
    atomic_store(&s->progress.outlet_dozes, 0);
    if (waits[0].revents & POLLIN)
        drain_wakes(s->wake_fd);
    if (waits[1].revents & POLLIN)
        drain_wakes(s->sleep.reports_fd);
}
