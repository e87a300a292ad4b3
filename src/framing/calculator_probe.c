#define _GNU_SOURCE
#include "calculator_probe.h"

#include "probe_decide.h"
#include "probe_files.h"
#include "probe_links.h"
#include "probe_processes.h"
#include "probe_threads.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STDIN_FDS_AGE_NS 1000000000
#define ROUNDS 3 /* of a look, each with more processes known */

void calculator_probe_attach(calculator_probe_t *probe, const char *proc, pid_t leader, const ino_t stdio[3]) {
    memset(probe, 0, offsetof(calculator_probe_t, processes));
    probe->proc = proc;
    probe->leader = leader;
    memcpy(probe->stdio, stdio, sizeof probe->stdio);
    probe->first_record_ticks = UINT64_MAX;
    probe_processes_begin(probe);
    link_kind_t kind;
    uint64_t inode;
    if (probe->stdio[0] == 0 && probe_descriptor(probe, &probe->processes[0], STDIN_FILENO, &kind, &inode) &&
        kind == LINK_PIPE)
        probe->stdio[0] = (ino_t)inode;
}

static probe_process_t *process_that_waited(calculator_probe_t *probe) {
    for (int i = 0; i < probe->process_count; i++)
        if (probe->processes[i].pid == probe->waited_last_process)
            return &probe->processes[i];
    return NULL;
}

bool calculator_probe_knows_reader(const calculator_probe_t *probe) {
    for (int i = 0; i < probe->process_count; i++)
        if (probe->processes[i].reads_stdin)
            return true;
    return false;
}

static int readers(const calculator_probe_t *probe) {
    int count = 0;
    for (int i = 0; i < probe->process_count; i++)
        count += probe->processes[i].reads_stdin;
    return count;
}

/* The first pass. Returns how many processes it looked at; -1: work was seen. */
static int look_at_all(calculator_probe_t *probe, process_activity_t *activities, bool *works) {
    int looked = 0;
    bool searching = !calculator_probe_knows_reader(probe);
    probe->now = 1 - probe->now;
    probe->listing++;
    probe->thread_count = 0;
    *works = false;
    for (int i = 0; i < probe->process_count; i++) {
        probe_process_t *process = &probe->processes[i];
        if (!process->counts)
            continue;
        if (!probe_threads_read(probe, process, &activities[looked])) {
            *works = true; /* it ends just now: its parent will see to that */
            process->counts = false;
            if (process->pid != probe->leader)
                probe_process_forget(probe, i--);
            continue;
        }
        if (activities[looked++].threads[ACTIVITY_WORKS] > 0) {
            *works = true;
            if (!searching)
                break;
        }
    }
    return looked;
}

static void forget_readers(calculator_probe_t *probe) {
    for (int i = 0; i < probe->process_count; i++)
        probe->processes[i].reads_stdin = false;
    probe->recount = true;
}

static bool all_unchanged(const calculator_probe_t *probe) {
    for (int i = 0; i < probe->process_count; i++) {
        const probe_process_t *process = &probe->processes[i];
        for (int k = 0; process->counts && k < process->thread_count; k++)
            if (!probe_thread_unchanged(probe, process, &probe->threads[probe->now][process->first_thread + k]))
                return false;
    }
    return true;
}

static bool is_waited_for(const process_activity_t *activities, int count) {
    for (int i = 0; i < count; i++)
        if (activities[i].threads[ACTIVITY_WAITS] + activities[i].threads[ACTIVITY_WAITS_AMONG] > 0)
            return true;
    return false;
}

static probe_verdict_t unseen(calculator_probe_t *probe, probe_note_t note) {
    probe->note = note;
    return PROBE_UNSEEN;
}

/* It cannot be seen at all. */
static bool leader_is_hidden(calculator_probe_t *probe) {
    proc_stat_t stat;
    return probe->hidden && !probe_process_alive(probe, &probe->processes[0], &stat);
}

probe_verdict_t calculator_probe_look(calculator_probe_t *probe) {
    process_activity_t activities[PROBE_PROCESSES_MAX];
    probe->looks++;
    probe->note = PROBE_NOTE_NONE;
    if (probe->waited_last != 0 && probe_thread_runs(probe, probe->waited_last_process, probe->waited_last))
        return PROBE_WORK;
    int looked = 0;
    for (int round = 0;; round++) {
        bool works;
        int known = readers(probe);
        probe_processes_count(probe);
        looked = look_at_all(probe, activities, &works);
        bool other_readers = readers(probe) != known; /* others may count with them */
        if (works && !other_readers)
            return leader_is_hidden(probe) ? unseen(probe, PROBE_NOTE_UNSEEN_SEVERAL) : PROBE_WORK;
        if (!other_readers)
            break;
        if (round == ROUNDS)
            return PROBE_WORK;
    }
    if (!probe_processes_settled(probe) || !all_unchanged(probe))
        return PROBE_WORK;
    bool waited_for = is_waited_for(activities, looked);
    if (!waited_for) /* the reader may be another one by now: all that have STDIN are looked at the next time */
        forget_readers(probe);
    bool more = probe->too_many || (probe->hidden && !waited_for) || probe->stdio[0] == 0;
    return probe_decide(activities, looked, more, &probe->note);
}

/* Parked, and has not run since the last time this was asked. */
static bool rests(calculator_probe_t *probe, probe_process_t *process, bool *is_unseen) {
    probe_helper_t now;
    if (!probe_helper_read(probe, process, &now))
        return true; /* it has ended */
    *is_unseen |= now.unseen;
    bool rested = now.asleep && process->parked_reader && now.ran == process->ran_reader;
    if (!rested) {
        process->parked_reader = probe_helper_is_parked(probe, process);
        process->ran_reader = now.ran;
        *is_unseen |= process->unseen;
    }
    return rested;
}

uint64_t calculator_probe_ticks(void) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    const uint64_t ticks_per_s = (uint64_t)sysconf(_SC_CLK_TCK);
    return (uint64_t)now.tv_sec * ticks_per_s + (uint64_t)now.tv_nsec * ticks_per_s / 1000000000;
}

void calculator_probe_not_read(calculator_probe_t *probe, uint64_t ticks) {
    if (ticks <= probe->first_record_ticks)
        return;
    probe->first_record_ticks = ticks;
    probe->recount = true;
}

void calculator_probe_first_record(calculator_probe_t *probe) {
    probe->first_record_ticks = calculator_probe_ticks();
    probe_processes_refresh(probe);
    for (int i = 0; i < probe->process_count; i++)
        probe->processes[i].older = true;
    probe->recount = true;
    if (probe->process_count == 1)
        return;
    probe_processes_count(probe);
    bool is_unseen = false;
    for (int i = 0; i < probe->process_count;
         i++) /* a helper that does not run from now on does not work on a record */
        if (probe->processes[i].counts && !probe->processes[i].bystander)
            rests(probe, &probe->processes[i], &is_unseen);
}

/* How STDIN is open in one process. */
static probe_reader_t reads_how(calculator_probe_t *probe, probe_process_t *process) {
    probe_survey(probe, process, STDIN_FDS_AGE_NS);
    if (process->links_unknown && process->stdin_fd_count == 0)
        return PROBE_READER_UNSEEN_ONE;
    for (int i = 0; i < process->stdin_fd_count; i++) {
        probe_open_mode_t mode;
        if (!probe_open_mode(probe, process, process->stdin_fds[i], &mode)) {
            if (errno == EACCES || errno == EPERM)
                return PROBE_READER_UNSEEN_ONE;
            process->surveyed_ns = 0; /* closed since */
        } else if (mode.nonblocking) {
            return PROBE_READER_AHEAD;
        }
    }
    return PROBE_READER_ONE;
}

/* A wrapper, as far as can be told before the reader was found waiting: parked, and above another that it shares nothing with. */
static bool is_wrapper(calculator_probe_t *probe, probe_process_t *process) {
    for (int i = 0; i < probe->process_count; i++) {
        const probe_process_t *below = &probe->processes[i];
        if (below != process && below->counts && probe_process_is_above(probe, process, below) &&
            !probe_shares(process, below))
            return probe_helper_is_parked(probe, process);
    }
    return false;
}

probe_reader_t calculator_probe_reader(calculator_probe_t *probe) {
    probe_processes_refresh(probe);
    if (probe->too_many)
        return PROBE_READER_UNSEEN_SEVERAL;
    probe_processes_count(probe);
    probe_process_t *reader = process_that_waited(probe);
    const bool known = reader != NULL;
    bool several = false, is_unseen = false;
    for (int i = 0; i < probe->process_count && probe->process_count > 1; i++) {
        probe_process_t *process = &probe->processes[i];
        if (!process->counts || process->bystander || process == reader || rests(probe, process, &is_unseen) ||
            (!known && is_wrapper(probe, process)))
            continue;
        several |= reader != NULL;
        if (reader == NULL)
            reader = process;
    }
    if (several)
        return is_unseen ? PROBE_READER_UNSEEN_SEVERAL : PROBE_READER_SEVERAL;
    proc_stat_t stat;
    if (reader == NULL)
        reader = &probe->processes[0];
    if (!probe_process_alive(probe, reader, &stat))
        return errno == EACCES || errno == EPERM || probe->hidden ? PROBE_READER_UNSEEN_SEVERAL : PROBE_READER_SEVERAL;
    return reads_how(probe, reader);
}
