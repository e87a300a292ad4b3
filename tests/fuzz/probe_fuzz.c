/* The Calculator probe on a /proc whose files hold anything: what they hold is made of templates and the fuzzer's bytes.
 * It survives, stays within its bounds, and says only what it can say. */
#define _GNU_SOURCE
#include "calculator_probe.c"
#include "probe_call.c"
#include "probe_decide.c"
#include "probe_links.c"
#include "probe_parse.c"
#include "probe_peers.c"
#include "probe_processes.c"
#include "probe_threads.c"

#include <stdio.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LEADER 100
static char root[] = "/tmp/probe-fuzz-XXXXXX";
static const uint8_t *bytes;
static size_t byte_count, position;

static uint8_t next_byte(void) { return byte_count == 0 ? 0 : bytes[position++ % byte_count]; }

/* What a path holds as a rule, before it is spoilt. */
static const char *template_of(const char *path) {
    static const struct {
        const char *end;
        const char *texts[4];
    } templates[] = {
        {"/syscall",
         {"0 0x0 0x1000 0x100 0x0 0x0 0x0 0x7ffc00000000 0x7f0000000000\n", "running\n",
          "7 0x40 0x3 0xffffffff 0x0 0x0 0x0 0x7ffc00000000 0x7f0000000000\n",
          "232 0x3 0x40 0x10 0xffffffff 0x0 0x0 0x7ffc00000000 0x7f0000000000\n"}},
        {"/schedstat", {"100 200 7\n", "100 200 7\n", "1 2\n", ""}},
        {"/stat",
         {"100 (a (b) c) S 1 1 1 0 -1 0 0 0 0 0 5 1 0 0 20 0 1 0 1000 1 1\n",
          "101 (x) S 100 1 1 0 -1 0 0 0 0 0 5 1 0 0 20 0 2 0 6000 1 1\n",
          "101 (x) Z 100 1 1 0 -1 0 0 0 0 0 5 1 0 0 20 0 3 0 6000 1 1\n", "100 (x) R 1\n"}},
        {"/status",
         {"Name:\tx\nTgid:\t101\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t4\n", "Tgid:\t100\n", "",
          "\n"}},
        {"/ns_last_pid", {"101\n", "300\n", "5\n", "4000000\n"}},
        {"/loadavg", {"0.1 0.1 0.1 1/9 101\n", "", "x\n", "1\n"}},
        {"/unix_peers", {"3001 3002\n3002 3001 /x\n", "3001 3001\n", "3001\n\n3002 0\n", "3001 3002"}},
        {"/fd/0", {"pipe:[1001]", "pipe:[2001]", "socket:[3001]", "/dev/pts/0"}},
        {"/fd/1", {"pipe:[1002]", "anon_inode:[eventfd]", "anon_inode:[eventpoll]", "pipe:[2001]"}},
        {"/fd/3", {"anon_inode:[eventpoll]", "pipe:[2001]", "socket:[3002]", "anon_inode:[timerfd]"}},
        {"/fdinfo/3",
         {"pos:\t0\nflags:\t02\ntfd: 0 events: 19 data: 0 pos:0 ino:3e9 sdev:d\n",
          "flags:\t00\ntfd: 0 events: 1d\ntfd: 1 events: 4\n", "flags:\t01\n", "tfd:"}},
        {"", {"flags:\t00\n", "flags:\t04000\n", "", "\x7f\x45\x4c\x46\x01"}},
    };
    for (size_t i = 0;; i++) {
        size_t length = strlen(path), end = strlen(templates[i].end);
        if (length >= end && strcmp(path + length - end, templates[i].end) == 0)
            return templates[i].texts[next_byte() % 4];
    }
}

static ssize_t hold(const char *path, char *buffer, size_t size) {
    if (next_byte() % 16 == 0) {
        errno = (int[]){ENOENT, EACCES, ESRCH, EPERM}[next_byte() % 4];
        return -1;
    }
    const char *text = template_of(path);
    size_t length = strlen(text) < size - 1 ? strlen(text) : size - 1;
    memcpy(buffer, text, length);
    buffer[length] = '\0';
    for (uint8_t spoilt = next_byte() % 32 < 8 ? next_byte() % 4 : 0; spoilt > 0 && length > 0; spoilt--) {
        uint8_t where = next_byte();
        buffer[where % length] = (char)next_byte();
    }
    if (next_byte() % 32 == 0)
        buffer[length = next_byte() % (length + 1)] = '\0';
    return (ssize_t)length;
}

/* In place of probe_files.c. */
probe_path_t probe_path(const char *proc, pid_t pid, pid_t tid, const char *name) {
    probe_path_t path;
    if (tid == 0)
        snprintf(path.text, sizeof path.text, "%s/%d/%s", proc, (int)pid, name);
    else
        snprintf(path.text, sizeof path.text, "%s/%d/task/%d/%s", proc, (int)pid, (int)tid, name);
    return path;
}
ssize_t probe_read_path(const char *path, char *buffer, size_t size) { return hold(path, buffer, size); }
ssize_t probe_read(const char *proc, pid_t pid, pid_t tid, const char *name, char *buffer, size_t size) {
    probe_path_t path = probe_path(proc, pid, tid, name);
    return hold(path.text, buffer, size);
}
ssize_t probe_read_link(const char *proc, pid_t pid, pid_t tid, const char *name, char *buffer, size_t size) {
    return probe_read(proc, pid, tid, name, buffer, size);
}
int probe_read_memory(const char *proc, pid_t pid, pid_t tid, uint64_t address, void *buffer, size_t size) {
    (void)proc, (void)pid, (void)tid, (void)address;
    if (next_byte() % 8 == 0)
        return -1;
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)buffer)[i] = next_byte() % 4 == 0 ? next_byte() : (uint8_t)(i % 8 == 4);
    return 0;
}
int64_t probe_clock_ns(void) {
    static int64_t now;
    return now += next_byte() * (int64_t)50000000;
}

static void make_directories(void) {
    static const char *const names[] = {
        "100",      "100/fd",   "100/fd/0", "100/fd/1",     "100/fd/3",     "100/task", "100/task/100", "101", "101/fd",
        "101/fd/0", "101/fd/x", "101/task", "101/task/101", "101/task/102", "102",      "99999999999",  "0"};
    if (mkdtemp(root) == NULL)
        abort();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", root, names[i]);
        mkdir(path, 0700);
    }
}

static void remove_directories(void) {
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", root);
    if (system(command) != 0)
        fprintf(stderr, "%s is left\n", root);
}

static void parse_bytes(const uint8_t *data, size_t size) {
    char text[4097];
    size_t length = size < sizeof text - 1 ? size : sizeof text - 1;
    memcpy(text, data, length);
    text[length] = '\0';
    proc_stat_t stat;
    proc_call_t call;
    socket_line_t socket;
    epoll_entry_t entry;
    uint64_t value;
    int64_t last;
    parse_stat(text, &stat);
    if (parse_call(text, &call) && call.number < CALL_RUNNING)
        abort();
    parse_schedstat(text, &value);
    parse_field(text, "flags:", 8, &value);
    if (parse_last_number(text, &last) && last < 0)
        abort();
    parse_link(text, &value);
    parse_unix_socket(text, &socket);
    parse_tcp_socket(text, &socket);
    const char *rest = text;
    while (parse_epoll_entry(&rest, &entry))
        if (rest > text + length || entry.fd < 0)
            abort();
    for (size_t i = 0; size >= 8 && i < 6; i++)
        memcpy(&call.argument[i], data + i % (size - 7), sizeof call.argument[i]);
    call.number = size == 0 ? 0 : data[0] + (data[size - 1] & 1) * 256L;
    if (call_waits_for(&call).kind > WAIT_RESTARTED)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static calculator_probe_t probe;
    if (root[strlen(root) - 1] == 'X') {
        make_directories();
        atexit(remove_directories);
    }
    parse_bytes(data, size);
    bytes = data;
    byte_count = size;
    position = 0;
    const ino_t stdio[3] = {1001, 1002, next_byte() % 2};
    calculator_probe_attach(&probe, root, LEADER, stdio);
    probe.first_record_ticks = 5000;
    for (int i = 0; i < 4; i++) {
        probe_verdict_t verdict = calculator_probe_look(&probe);
        if (verdict > PROBE_UNSEEN || probe.note > PROBE_NOTE_SEVERAL ||
            ((verdict == PROBE_WORK) && probe.note != PROBE_NOTE_NONE) ||
            ((verdict == PROBE_UNSEEN || verdict == PROBE_MAYBE_IDLE) && probe.note == PROBE_NOTE_NONE))
            abort();
        if (calculator_probe_reader(&probe) > PROBE_READER_UNSEEN_SEVERAL)
            abort();
        if (probe.process_count < 1 || probe.process_count > PROBE_PROCESSES_MAX ||
            probe.thread_count > PROBE_THREADS_MAX)
            abort();
    }
    return 0;
}
