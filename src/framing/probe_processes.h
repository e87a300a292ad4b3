/* The Calculator's processes, kept up to date without reading every process of the machine at each look. */
#pragma once

#include "calculator_probe.h"
#include "probe_parse.h"

/* Forgets all and looks for the leader and its descendants. */
void probe_processes_begin(calculator_probe_t *probe);

/* Takes in what was started since the last time, in flow: what cannot be seen yet is looked for again the next time. */
void probe_processes_refresh(calculator_probe_t *probe);

/* Likewise when all processes that count were found at rest after the last call: then no fork of theirs is under way, and
 * what they started can be seen. SETTLED: there is nothing new. UNSETTLED: there is, or it cannot be known now (a scan
 * of the machine is not due yet). */
bool probe_processes_settled(calculator_probe_t *probe);

/* A known process's stat. false: it has ended, or is an orphan by now, or (errno EACCES, EPERM) may not be looked at. */
bool probe_process_alive(const calculator_probe_t *probe, probe_process_t *process, proc_stat_t *stat);

void probe_process_forget(calculator_probe_t *probe, int index);

/* Which of them count: sets `counts` and `bystander`. */
void probe_processes_count(calculator_probe_t *probe);
