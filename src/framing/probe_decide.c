#include "probe_decide.h"

process_state_t probe_process_state(const process_activity_t *process) {
    const unsigned *threads = process->threads;
    if (threads[ACTIVITY_WORKS] > 0)
        return PROCESS_WORKS;
    if (threads[ACTIVITY_UNSEEN] > 0)
        return PROCESS_UNSEEN;
    if (threads[ACTIVITY_WAITS_AMONG] + threads[ACTIVITY_INPUT_AMONG] > 0)
        return PROCESS_MAYBE_WAITS;
    if (threads[ACTIVITY_WAITS] + threads[ACTIVITY_INPUT] > 0)
        return threads[ACTIVITY_ELSEWHERE] > 0 ? PROCESS_MAYBE_WAITS : PROCESS_WAITS;
    if (threads[ACTIVITY_ELSEWHERE] > 0 && !process->bystander)
        return PROCESS_WORKS; /* as a client does that waits for its server's answer, or a program that backs off */
    return PROCESS_PARKED;
}

probe_verdict_t probe_decide(const process_activity_t *processes, int count, bool more, probe_note_t *note) {
    int of[PROCESS_UNSEEN + 1] = {0};
    bool stdin_waited_for = false, event_loop = false, runs = false;
    for (int i = 0; i < count; i++) {
        const unsigned *threads = processes[i].threads;
        of[probe_process_state(&processes[i])]++;
        stdin_waited_for |= threads[ACTIVITY_WAITS] + threads[ACTIVITY_WAITS_AMONG] > 0;
        runs |= threads[ACTIVITY_WORKS] > 0;
        event_loop |= threads[ACTIVITY_WAITS_AMONG] + threads[ACTIVITY_INPUT_AMONG] > 0;
    }
    *note = PROBE_NOTE_NONE;
    if (of[PROCESS_WORKS] > 0) {
        if (runs || !stdin_waited_for || of[PROCESS_UNSEEN] > 0 || more)
            return PROBE_WORK;
        *note = PROBE_NOTE_SEVERAL;
        return PROBE_ELSEWHERE;
    }
    if (of[PROCESS_UNSEEN] > 0 || more) {
        bool one = of[PROCESS_UNSEEN] == 1 && of[PROCESS_WAITS] + of[PROCESS_MAYBE_WAITS] == 0 && !more;
        *note = one ? PROBE_NOTE_UNSEEN_ONE : PROBE_NOTE_UNSEEN_SEVERAL;
        return PROBE_UNSEEN;
    }
    if (!stdin_waited_for)
        return PROBE_WORK;
    if (of[PROCESS_MAYBE_WAITS] > 0) {
        *note = event_loop ? PROBE_NOTE_EVENT_LOOP : PROBE_NOTE_TIMED_THREADS;
        return PROBE_MAYBE_IDLE;
    }
    if (of[PROCESS_WAITS] > 1)
        *note = PROBE_NOTE_SEVERAL;
    return PROBE_IDLE;
}
