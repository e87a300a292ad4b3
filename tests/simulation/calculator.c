#include "calculator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calculator_probe.h"
#include "pipes.h"
#include "promises.h"

enum { LINE_MAX_BYTES = 1 << 17 };

calculator_settings_t calculator_settings;
calculator_t calculator;

static int in_fd, out_fd;

void calculator_begin(void) { calculator = (calculator_t){.pid = calculator.pid, .running = false}; }

static void end(int status) {
    calculator.running = false;
    calculator.status = status;
    pipes_killed(OF_CALCULATOR);
}

void calculator_kill(int status) {
    if (!calculator.running)
        return;
    world_kill(OF_CALCULATOR);
    end(status);
}

static void die(int status) {
    end(status);
    world_end_fiber();
}

static void print(const char *line, size_t size) {
    if (pipe_write(out_fd, line, size) < 0)
        die(-13);
}

static bool crashes(void) { return calculator_settings.crash > 0 && one_in(calculator_settings.crash); }

static void handle(const char *line, size_t size) {
    const calculator_settings_t *s = &calculator_settings;
    int partition;
    long long offset;
    char answer[4096];
    if (s->prefix != NULL && size >= strlen(s->prefix) && memcmp(line, s->prefix, strlen(s->prefix)) == 0) {
        char echo[128];
        print(echo, (size_t)snprintf(echo, sizeof echo, "%.*s\n", (int)size, line));
        return;
    }
    if (sscanf(line, "%d-%lld:", &partition, &offset) != 2)
        world_fail("the Calculator was given a line that is no record: %.60s", line);
    promise_given(partition, offset);
    if (partition == s->poison_partition && offset == s->poison_offset)
        die(1);
    if (crashes())
        die(1);
    if (s->work_ns > 0 && one_in(4))
        world_sleep(spread(0, s->work_ns));
    int answers = answers_of(partition, offset) + (s->surplus > 0 && one_in(s->surplus));
    for (int i = 0; i < answers; i++) {
        int number = i < answers_of(partition, offset) ? i : 3;
        int n = snprintf(answer, sizeof answer, "%d-%lld=%d", partition, offset, number);
        memset(answer + n, 'y', answer_bytes(partition, offset));
        n += (int)answer_bytes(partition, offset);
        answer[n++] = '\n';
        if (crashes()) { /* in the middle of a line */
            print(answer, 1 + (size_t)chance((uint64_t)n - 1));
            die(1);
        }
        promise_printed(partition, offset, number);
        print(answer, (size_t)n);
    }
    promise_done(partition, offset);
    if (crashes())
        die(1);
}

static void body(void *subject) {
    static char buffer[LINE_MAX_BYTES];
    size_t have = 0;
    (void)subject;
    for (;;) {
        size_t room = sizeof buffer - 1 - have, want = calculator_settings.block_bytes;
        ssize_t n = pipe_read(in_fd, buffer + have, want < room ? want : room);
        if (n == 0)
            break;
        have += (size_t)n;
        size_t begin = 0;
        for (char *newline; (newline = memchr(buffer + begin, '\n', have - begin)) != NULL;) {
            *newline = 0;
            handle(buffer + begin, (size_t)(newline - (buffer + begin)));
            begin = (size_t)(newline - buffer) + 1;
        }
        have -= begin;
        memmove(buffer, buffer + begin, have);
        if (have == sizeof buffer - 1)
            world_fail("a line without an end");
    }
    if (one_in(4))
        world_sleep(spread(0, SECOND));
    end(0);
}

void calculator_start(size_t pipe_bytes, int *stdin_fd, int *stdout_fd) {
    int in[2], out[2];
    pipe_open(pipe_bytes, OF_CALCULATOR, OF_SUPERVISOR, in);
    pipe_open(pipe_bytes, OF_SUPERVISOR, OF_CALCULATOR, out);
    in_fd = in[0];
    out_fd = out[1];
    *stdin_fd = in[1];
    *stdout_fd = out[0];
    calculator = (calculator_t){calculator.pid + 1, true, 0};
    fiber_begin(OF_CALCULATOR, "calculator", body, NULL);
}

/* ---- what the Calculator probe would see of it */

void calculator_probe_attach(calculator_probe_t *probe, const char *proc, pid_t leader, const ino_t stdio[3]) {
    (void)proc;
    (void)stdio;
    probe->leader = leader;
    probe->first_record_ticks = UINT64_MAX;
    probe->note = PROBE_NOTE_NONE;
}

void calculator_probe_first_record(calculator_probe_t *probe) { probe->first_record_ticks = calculator_probe_ticks(); }
uint64_t calculator_probe_ticks(void) { return (uint64_t)(world_now_ns() / (10 * MILLISECOND)); }

void calculator_probe_not_read(calculator_probe_t *probe, uint64_t ticks) {
    (void)probe;
    (void)ticks;
}

probe_verdict_t calculator_probe_look(calculator_probe_t *probe) {
    probe->looks++;
    world_switch();
    if (!calculator.running || calculator.pid != probe->leader || !pipe_is_awaited(in_fd) || one_in(10))
        return PROBE_WORK;
    return PROBE_IDLE;
}

probe_reader_t calculator_probe_reader(calculator_probe_t *probe) {
    (void)probe;
    return PROBE_READER_ONE;
}
