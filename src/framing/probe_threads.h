/* What the threads of a process are doing. */
#pragma once

#include "calculator_probe.h"
#include "probe_decide.h"

/* Whether the thread can be seen to run now, in one read. */
bool probe_thread_runs(const calculator_probe_t *probe, pid_t pid, pid_t tid);

/* Has not run since it was read, and is at rest in the same call. */
bool probe_thread_unchanged(const calculator_probe_t *probe, const probe_process_t *process,
                            const probe_thread_t *thread);

/* All threads of a process, into the probe's list of this look. false: it has ended. */
bool probe_threads_read(calculator_probe_t *probe, probe_process_t *process, process_activity_t *activity);

/* Of a process beside the reader, cheaply: how much it has run, and whether all its threads are asleep. */
typedef struct {
    uint64_t ran; /* context switches of all threads */
    bool asleep;
    bool unseen;
} probe_helper_t;

/* false: it has ended. */
bool probe_helper_read(const calculator_probe_t *probe, probe_process_t *process, probe_helper_t *helper);

/* Whether all its threads are parked, or wait for input of the process. */
bool probe_helper_is_parked(calculator_probe_t *probe, probe_process_t *process);
