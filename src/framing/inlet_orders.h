/* What the control side tells an inlet: from one other thread than its own, in force when the call returns, and without
 * waiting. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct inlet_s inlet_t;

/* Write to this STDIN of the Calculator, which leads its session as ``pid``, beginning with what the last run left
 * unanswered. */
void inlet_attach(inlet_t *s, int stdin_fd, pid_t pid);

/* Write nothing more but the rest of a record that was begun, then give the Calculator its EOF. */
void inlet_close_stdin(inlet_t *s);

/* The run's process is gone: write no more, and take no sample, which could be of what it left behind. */
void inlet_exited(inlet_t *s);

/* After STDOUT was taken to its end, before it is detached: whether the run broke the rule of ACK_MODE. */
bool inlet_broke_rule(inlet_t *s);

/* The run is over, and its STDOUT was taken to the end; ``finished``: by itself, in order. Returns how many records the next
 * run gets again. */
int64_t inlet_detach(inlet_t *s, bool finished);

/* After that: the first record to be written again, if the run had read of it. */
bool inlet_suspect(inlet_t *s, int32_t *partition, int64_t *offset);

/* Write what the run had read of alone, record by record; take nothing meanwhile. */
void inlet_isolate(inlet_t *s);

/* Send the suspect to the dead-letter stream instead of writing it again, if it is still the first. */
void inlet_bury(inlet_t *s, int32_t partition, int64_t offset, const char *why);

/* How often a record may have been alone when the Supervisor itself ended, and whether it has a place to go. */
void inlet_judge_by(inlet_t *s, int max_attempts, bool dead_letters);

/* Count nothing of what is written as answered but what is acknowledged already: its lines are abandoned. */
void inlet_forget(inlet_t *s);

/* A transaction was lost. Returns whether no record in it has a line, so that the run can go on. */
bool inlet_recall(inlet_t *s);

/* Give the Calculator's STDIN back, open, or -1 if there is none: for an inlet of another topic. */
int inlet_take_stdin(inlet_t *s);

/* Before its thread runs, if it is not to join the group by itself; and to have it join then. */
void inlet_join_later(inlet_t *s, bool later);

void inlet_pause(inlet_t *s, bool paused);

/* From the next connection on. Returns -1 when memory is short. */
int inlet_log_in_with(inlet_t *s, const char *user, const char *password);

/* Write no further record until told otherwise. */
void inlet_drain(inlet_t *s, bool draining);

void inlet_stop(inlet_t *s, int64_t deadline_ns);
