/* From what the threads of the processes that count are doing to the verdict. Pure. */
#pragma once

#include "calculator_probe.h"

typedef enum {
    ACTIVITY_WORKS,       /* runs, is stopped or traced, writes, or is in a call that is not known */
    ACTIVITY_WAITS,       /* for STDIN, and for nothing else */
    ACTIVITY_WAITS_AMONG, /* for STDIN in an event loop with other descriptors or a time limit */
    ACTIVITY_INPUT,       /* likewise for its process's input, which comes from a process that counts */
    ACTIVITY_INPUT_AMONG,
    ACTIVITY_PARKED,    /* until another thread or process that counts, a child, a signal or a new client comes */
    ACTIVITY_ELSEWHERE, /* waits for a time, or for somebody outside */
    ACTIVITY_UNSEEN,
    ACTIVITY_ENDED,
    ACTIVITIES,
} probe_activity_t;

typedef struct {
    unsigned threads[ACTIVITIES]; /* how many do what */
    bool bystander;
} process_activity_t;

typedef enum { PROCESS_WORKS, PROCESS_WAITS, PROCESS_MAYBE_WAITS, PROCESS_PARKED, PROCESS_UNSEEN } process_state_t;

process_state_t probe_process_state(const process_activity_t *process);

/* ``more``: there may be processes that are not known. */
probe_verdict_t probe_decide(const process_activity_t *processes, int count, bool more, probe_note_t *note);
