#define _GNU_SOURCE
#include "probe_threads.h"

#include "probe_call.h"
#include "probe_files.h"
#include "probe_links.h"
#include "probe_peers.h"
#include "probe_processes.h"

#include <dirent.h>
#include <errno.h>
#include <elf.h>
#include <stddef.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define POLL_FDS_MAX 1024 /* more of them count as other descriptors */
#define SELECT_FDS_MAX 1024
#define EPOLL_TEXT_BYTES 32768

/* What a set of descriptors, or the one of a read, waits for. */
typedef struct {
    bool stdin_pipe, input, others, writes;
} awaited_t;

/* What can be read from a pipe, or from the socket whose peer has this inode. */
static void await_writer(calculator_probe_t *probe, probe_process_t *process, int fd, uint64_t inode,
                         awaited_t *awaited) {
    probe_writer_t writer = probe_writer(probe, process, inode);
    if (writer == WRITER_UNKNOWN)
        awaited->others = true;
    else if (writer == WRITER_COUNTS && fd == STDIN_FILENO)
        awaited->input = true;
}

static void await_socket(calculator_probe_t *probe, probe_process_t *process, int fd, uint64_t inode,
                         awaited_t *awaited) {
    probe_peer_t peer;
    if (awaited->others && fd != STDIN_FILENO)
        return; /* it makes no difference */
    if (probe_peer_of(probe, inode, &peer))
        await_writer(probe, process, fd, peer.peer, awaited);
    else
        awaited->others |= !probe_socket_listens(probe, process, inode);
}

static void await(calculator_probe_t *probe, probe_process_t *process, int fd, uint64_t inode_hint, bool to_read,
                  bool to_write, bool edge, awaited_t *awaited) {
    link_kind_t kind = LINK_OTHER;
    uint64_t inode = 0;
    bool open = probe_descriptor(probe, process, fd, &kind, &inode);
    if (!open || (inode_hint != 0 && inode != 0 && inode != inode_hint)) {
        if (inode_hint == 0 || inode_hint != probe->stdio[0]) {
            awaited->others = true; /* put into an epoll under a number that has been closed since */
            return;
        }
        kind = LINK_PIPE;
        inode = inode_hint;
    }
    if (to_write && (kind == LINK_PIPE || kind == LINK_TERMINAL || kind == LINK_SOCKET)) {
        if (edge)
            awaited->others = true; /* registered for all events once and for all, as Go does */
        else
            awaited->writes = true;
    }
    if (!to_read)
        return; /* told of its end alone */
    switch (kind) {
    case LINK_PIPE:
        if (inode == probe->stdio[0])
            awaited->stdin_pipe = true;
        else
            await_writer(probe, process, fd, inode, awaited);
        return;
    case LINK_TERMINAL: /* the kernel passes on what was written a moment later: both ends at rest do not show it */
        awaited->others = true;
        awaited->input |= fd == STDIN_FILENO && probe_writer(probe, process, LINK_INODE_TERMINAL) == WRITER_COUNTS;
        return;
    case LINK_SOCKET:
        await_socket(probe, process, fd, inode, awaited);
        return;
    case LINK_EVENTFD:
    case LINK_SIGNALFD:
    case LINK_PIDFD:
        return;
    default:
        awaited->others = true;
    }
}

static void await_poll(calculator_probe_t *probe, probe_process_t *process, const wait_t *wait, awaited_t *awaited) {
    struct pollfd set[POLL_FDS_MAX];
    size_t count = wait->count > POLL_FDS_MAX ? POLL_FDS_MAX : (size_t)wait->count;
    awaited->others |= wait->count > POLL_FDS_MAX;
    if (count == 0)
        return;
    if (probe_read_memory(probe->proc, process->pid, process->live_thread, wait->set[0], set, count * sizeof set[0]) !=
        0) {
        awaited->others = true;
        return;
    }
    for (size_t i = 0; i < count; i++)
        if (set[i].fd >= 0)
            await(probe, process, set[i].fd, 0, (set[i].events & (POLLIN | POLLPRI | POLLRDNORM | POLLRDBAND)) != 0,
                  (set[i].events & (POLLOUT | POLLWRNORM | POLLWRBAND)) != 0, false, awaited);
}

static void await_select(calculator_probe_t *probe, probe_process_t *process, const wait_t *wait, awaited_t *awaited) {
    unsigned char sets[3][SELECT_FDS_MAX / 8];
    memset(sets, 0, sizeof sets);
    size_t count = wait->count > SELECT_FDS_MAX ? SELECT_FDS_MAX : (size_t)wait->count;
    awaited->others |= wait->count > SELECT_FDS_MAX;
    size_t bytes = (count + 63) / 64 * 8; /* an fd_set is made of longs */
    for (int i = 0; i < 3; i++)
        if (wait->set[i] != 0 && bytes > 0 &&
            probe_read_memory(probe->proc, process->pid, process->live_thread, wait->set[i], sets[i], bytes) != 0)
            awaited->others = true;
    for (size_t fd = 0; fd < count; fd++) {
        bool in[3];
        for (int i = 0; i < 3; i++)
            in[i] = (sets[i][fd / 8] >> (fd % 8) & 1) != 0; /* little-endian longs, as on all that is supported */
        if (in[0] || in[1] || in[2])
            await(probe, process, (int)fd, 0, in[0] || in[2], in[1], false, awaited);
    }
}

static void await_epoll(calculator_probe_t *probe, probe_process_t *process, const wait_t *wait, awaited_t *awaited) {
    char name[32], text[EPOLL_TEXT_BYTES];
    snprintf(name, sizeof name, "fdinfo/%d", wait->fd);
    ssize_t n = probe_read(probe->proc, process->pid, process->live_thread, name, text, sizeof text);
    if (n <= 0 || (size_t)n == sizeof text - 1)
        awaited->others = true;
    const char *rest = text;
    epoll_entry_t entry;
    while (n > 0 && parse_epoll_entry(&rest, &entry))
        await(probe, process, entry.fd, entry.inode, (entry.events & (EPOLLIN | EPOLLPRI | EPOLLRDNORM)) != 0,
              (entry.events & (EPOLLOUT | EPOLLWRNORM)) != 0, (entry.events & EPOLLET) != 0, awaited);
}

static probe_activity_t activity_of_set(const awaited_t *awaited, bool timed) {
    bool among = awaited->others || timed;
    if (awaited->writes)
        return ACTIVITY_WORKS;
    if (awaited->stdin_pipe)
        return among ? ACTIVITY_WAITS_AMONG : ACTIVITY_WAITS;
    if (awaited->input)
        return among ? ACTIVITY_INPUT_AMONG : ACTIVITY_INPUT;
    return among ? ACTIVITY_ELSEWHERE : ACTIVITY_PARKED;
}

static probe_activity_t activity_of_read(calculator_probe_t *probe, probe_process_t *process, int fd) {
    link_kind_t kind;
    uint64_t inode;
    if (!probe_descriptor(probe, process, fd, &kind, &inode) || kind == LINK_OTHER || kind == LINK_EPOLL)
        return ACTIVITY_WORKS; /* a file, a device */
    awaited_t awaited = {false, false, false, false};
    await(probe, process, fd, 0, true, false, false, &awaited);
    return activity_of_set(&awaited, false);
}

static probe_activity_t activity_of_call(calculator_probe_t *probe, probe_process_t *process, const proc_call_t *call) {
    wait_t wait = call_waits_for(call);
    awaited_t awaited = {false, false, false, false};
    link_kind_t kind;
    uint64_t inode;
    switch (wait.kind) {
    case WAIT_READ:
        return activity_of_read(probe, process, wait.fd);
    case WAIT_RECEIVE:
        if (!probe_descriptor(probe, process, wait.fd, &kind, &inode) || kind != LINK_SOCKET)
            return ACTIVITY_ELSEWHERE;
        await_socket(probe, process, wait.fd, inode, &awaited);
        return activity_of_set(&awaited, false);
    case WAIT_SPLICE:
        return probe_descriptor(probe, process, wait.fd, &kind, &inode) && kind == LINK_PIPE && inode == probe->stdio[0]
                   ? ACTIVITY_WAITS
                   : ACTIVITY_WORKS;
    case WAIT_POLL:
        await_poll(probe, process, &wait, &awaited);
        return activity_of_set(&awaited, wait.timed);
    case WAIT_SELECT:
        await_select(probe, process, &wait, &awaited);
        return activity_of_set(&awaited, wait.timed);
    case WAIT_EPOLL:
        await_epoll(probe, process, &wait, &awaited);
        return activity_of_set(&awaited, wait.timed);
    case WAIT_PARKED:
        return ACTIVITY_PARKED;
    case WAIT_ELSEWHERE:
    case WAIT_RESTARTED:
        return ACTIVITY_ELSEWHERE;
    case WAIT_WORK:
        break;
    }
    return ACTIVITY_WORKS;
}

/* A 32-bit program's system calls have other numbers. */
static bool is_64_bit(const calculator_probe_t *probe, const probe_process_t *process) {
    unsigned char header[EI_CLASS + 2];
    return probe_read(probe->proc, process->pid, process->live_thread, "exe", (char *)header, sizeof header) ==
               (ssize_t)sizeof header - 1 &&
           header[EI_CLASS] == ELFCLASS64;
}

#if defined(__aarch64__)
#define OUR_MACHINE EM_AARCH64
#else
#define OUR_MACHINE EM_X86_64
#endif

/* A program for another processor runs under an emulator, whose calls the kernel shows; or it is we who run under one. Looked
 * at again when the process was. */
static bool is_emulated(const calculator_probe_t *probe, probe_process_t *process) {
    unsigned char header[offsetof(Elf64_Ehdr, e_machine) + sizeof(Elf64_Half) + 1];
    const ssize_t whole = sizeof header - 1;
    if (process->machine_known && process->machine_known_ns == process->surveyed_ns)
        return process->emulated;
    process->machine_known = true;
    process->machine_known_ns = process->surveyed_ns;
    Elf64_Half machine = OUR_MACHINE;
    if (probe_read(probe->proc, process->pid, process->live_thread, "exe", (char *)header, sizeof header) == whole)
        memcpy(&machine, header + offsetof(Elf64_Ehdr, e_machine), sizeof machine);
    return process->emulated = machine != OUR_MACHINE;
}

static uint64_t hash_text(const char *text) { /* FNV-1a */
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash;
}

static bool read_switches(const calculator_probe_t *probe, pid_t pid, pid_t tid, uint64_t *switches) {
    char text[4096];
    if (probe_read(probe->proc, pid, tid, "schedstat", text, 128) > 0 && parse_schedstat(text, switches))
        return true;
    uint64_t voluntary, other;
    if (probe_read(probe->proc, pid, tid, "status", text, sizeof text) <= 0 ||
        !parse_field(text, "voluntary_ctxt_switches:", 10, &voluntary) ||
        !parse_field(text, "nonvoluntary_ctxt_switches:", 10, &other))
        return false;
    *switches = voluntary + other;
    return true;
}

static bool read_state(const calculator_probe_t *probe, pid_t pid, pid_t tid, char *state) {
    char text[1024];
    proc_stat_t stat;
    if (probe_read(probe->proc, pid, tid, "stat", text, sizeof text) <= 0)
        return false;
    errno = EIO;
    if (!parse_stat(text, &stat))
        return false;
    *state = stat.state;
    return true;
}

/* Of a thread whose call says nothing: has it ended, is it at work, or if it is asleep, ``asleep``. */
static probe_activity_t activity_of_state(const calculator_probe_t *probe, pid_t pid, pid_t tid,
                                          probe_activity_t asleep) {
    char state;
    if (!read_state(probe, pid, tid, &state))
        return errno == ENOENT || errno == ESRCH   ? ACTIVITY_ENDED
               : errno == EACCES || errno == EPERM ? ACTIVITY_UNSEEN
                                                   : ACTIVITY_WORKS; /* no descriptor left, for one */
    if (state == 'Z' || state == 'X')
        return ACTIVITY_ENDED;
    return state == 'S' ? asleep : ACTIVITY_WORKS;
}

/* ``thread`` may hold its call as of the last look. */
static probe_activity_t read_activity(calculator_probe_t *probe, probe_process_t *process, probe_thread_t *thread) {
    char text[256];
    proc_call_t call;
    thread->call = 0;
    pid_t pid = process->pid, tid = thread->tid;
    if (probe_read(probe->proc, pid, tid, "syscall", text, sizeof text) <= 0)
        return activity_of_state(probe, pid, tid, ACTIVITY_UNSEEN);
    thread->call = hash_text(text);
    if (!parse_call(text, &call) || call.number == CALL_RUNNING)
        return ACTIVITY_WORKS;
    if (call.number == CALL_OUTSIDE)
        return activity_of_state(probe, pid, tid, ACTIVITY_WORKS);
    if (call.stack == 0 &&
        call.code == 0) /* a thread of the kernel for the process's io_uring, which has no call of its own */
        return activity_of_state(probe, pid, tid, ACTIVITY_ELSEWHERE);
    if (is_emulated(probe, process) || (call.stack <= UINT32_MAX && !is_64_bit(probe, process)))
        return activity_of_state(probe, pid, tid, ACTIVITY_UNSEEN);
    uint64_t arguments = hash_text(text + strcspn(text, " "));
    if (call.number == SYS_restart_syscall && arguments == thread->arguments)
        call.number = thread->number; /* after a stop, poll goes on under this name with the same arguments */
    thread->number = (int)call.number;
    thread->arguments = arguments;
    return activity_of_call(probe, process, &call);
}

bool probe_thread_runs(const calculator_probe_t *probe, pid_t pid, pid_t tid) {
    char text[256];
    proc_call_t call;
    return probe_read(probe->proc, pid, tid, "syscall", text, sizeof text) > 0 && parse_call(text, &call) &&
           call.number == CALL_RUNNING;
}

/* First the count, then the call. */
static void read_thread(calculator_probe_t *probe, probe_process_t *process, probe_thread_t *thread) {
    thread->switches = UINT64_MAX;
    bool counted = read_switches(probe, process->pid, thread->tid, &thread->switches);
    probe_activity_t activity = read_activity(probe, process, thread);
    if (!counted && activity != ACTIVITY_UNSEEN && activity != ACTIVITY_ENDED)
        activity = ACTIVITY_WORKS; /* it ends just now */
    thread->activity = (uint8_t)activity;
}

/* The second pass reads in the opposite order of the first: what lies between the two counts is the same call. */
bool probe_thread_unchanged(const calculator_probe_t *probe, const probe_process_t *process,
                            const probe_thread_t *thread) {
    if (thread->activity == ACTIVITY_ENDED)
        return true;
    char text[256], state;
    uint64_t switches = UINT64_MAX;
    if (thread->activity != ACTIVITY_UNSEEN &&
        (probe_read(probe->proc, process->pid, thread->tid, "syscall", text, sizeof text) <= 0 ||
         hash_text(text) != thread->call))
        return false;
    if (!read_state(probe, process->pid, thread->tid, &state)) /* stopped on its way out of a call, it still shows it */
        return thread->activity == ACTIVITY_UNSEEN && (errno == EACCES || errno == EPERM);
    read_switches(probe, process->pid, thread->tid, &switches);
    return state == 'S' && switches == thread->switches;
}

static bool add_thread(calculator_probe_t *probe, probe_process_t *process, probe_thread_t thread) {
    if (probe->thread_count == PROBE_THREADS_MAX)
        return false;
    probe->threads[probe->now][probe->thread_count++] = thread;
    process->thread_count++;
    return true;
}

/* Its threads' numbers. false: they are too many, or may not be looked at. */
static bool list_threads(calculator_probe_t *probe, probe_process_t *process, int64_t known_count) {
    const probe_thread_t *before = probe->threads[1 - probe->now] + process->first_thread;
    int count_before = process->listing == probe->listing - 1 ? process->thread_count : 0;
    process->listing = probe->listing;
    process->first_thread = probe->thread_count;
    process->thread_count = 0;
    if (known_count == count_before) { /* the same, if all of them are still there */
        for (int i = 0; i < count_before; i++)
            if (!add_thread(probe, process, before[i]))
                return false;
        return true;
    }
    if (known_count == 1)
        return add_thread(probe, process, (probe_thread_t){.tid = process->pid});
    probe_path_t path = probe_path(probe->proc, process->pid, 0, "task");
    DIR *directory = opendir(path.text);
    if (directory == NULL)
        return false;
    bool room = true;
    const struct dirent *entry;
    while (room && (entry = readdir(directory)) != NULL)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
            room = add_thread(probe, process, (probe_thread_t){.tid = (pid_t)strtol(entry->d_name, NULL, 10)});
    closedir(directory);
    return room;
}

bool probe_threads_read(calculator_probe_t *probe, probe_process_t *process, process_activity_t *activity) {
    proc_stat_t stat;
    memset(activity, 0, sizeof *activity);
    activity->bystander = process->bystander;
    process->unseen = false;
    if (!probe_process_alive(probe, process, &stat)) {
        if (errno == ENOENT || errno == ESRCH)
            return false;
        process->unseen = errno == EACCES || errno == EPERM;
        activity->threads[process->unseen ? ACTIVITY_UNSEEN : ACTIVITY_WORKS] = 1;
        return true;
    }
    if (!list_threads(probe, process, stat.threads)) {
        process->unseen = true;
        activity->threads[ACTIVITY_UNSEEN] = 1;
        return true;
    }
    probe_thread_t *threads = probe->threads[probe->now] + process->first_thread;
    for (int i = 1; i < process->thread_count; i++)
        if (threads[i].tid == probe->waited_last) { /* first, because it is the most likely to be at work */
            probe_thread_t first = threads[0];
            threads[0] = threads[i];
            threads[i] = first;
        }
    for (int i = 0; i < process->thread_count && activity->threads[ACTIVITY_WORKS] == 0; i++) {
        read_thread(probe, process, &threads[i]);
        activity->threads[threads[i].activity]++;
        process->unseen |= threads[i].activity == ACTIVITY_UNSEEN;
        if (threads[i].activity == ACTIVITY_WAITS || threads[i].activity == ACTIVITY_WAITS_AMONG) {
            probe->recount |= !process->reads_stdin;
            process->reads_stdin = true;
            probe->waited_last = threads[i].tid;
            probe->waited_last_process = process->pid;
        }
        if (threads[i].activity == ACTIVITY_ENDED && threads[i].tid != process->pid) {
            activity->threads[ACTIVITY_WORKS]++; /* and another one may have begun: the list is not that of now */
            process->listing = 0;
        }
    }
    if (process->unseen) {
        if (process->ran_look != 0 && process->ran_look != stat.cpu_ticks + 1)
            activity->threads[ACTIVITY_WORKS]++; /* it has used CPU time since the last look */
        process->ran_look = stat.cpu_ticks + 1;
    }
    return true;
}

#define HELPER_THREADS_MAX 256

static int helper_threads(const calculator_probe_t *probe, pid_t pid, int64_t count, pid_t tids[HELPER_THREADS_MAX]) {
    tids[0] = pid;
    if (count == 1)
        return 1;
    probe_path_t path = probe_path(probe->proc, pid, 0, "task");
    DIR *directory = opendir(path.text);
    int found = 0;
    const struct dirent *entry;
    while (directory != NULL && found < HELPER_THREADS_MAX && (entry = readdir(directory)) != NULL)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
            tids[found++] = (pid_t)strtol(entry->d_name, NULL, 10);
    if (directory != NULL)
        closedir(directory);
    return found;
}

bool probe_helper_read(const calculator_probe_t *probe, probe_process_t *process, probe_helper_t *helper) {
    proc_stat_t stat;
    *helper = (probe_helper_t){0, false, false};
    if (!probe_process_alive(probe, process, &stat)) {
        helper->unseen = errno == EACCES || errno == EPERM;
        return errno != ENOENT && errno != ESRCH;
    }
    helper->unseen = process->links_unknown;
    if (stat.state == 'Z' && stat.threads == 1)
        return false;
    if (stat.threads > HELPER_THREADS_MAX)
        return true;
    pid_t tids[HELPER_THREADS_MAX];
    int count = helper_threads(probe, process->pid, stat.threads, tids);
    helper->asleep = count > 0;
    for (int i = 0; i < count; i++) {
        char state = 'R';
        uint64_t switches = 0;
        helper->asleep &= read_switches(probe, process->pid, tids[i], &switches) &&
                          read_state(probe, process->pid, tids[i], &state) && (state == 'S' || state == 'Z');
        helper->ran += switches + 1; /* a thread more is a change, too */
    }
    return true;
}

bool probe_helper_is_parked(calculator_probe_t *probe, probe_process_t *process) {
    proc_stat_t stat;
    if (!probe_process_alive(probe, process, &stat) || stat.threads > HELPER_THREADS_MAX)
        return false;
    pid_t tids[HELPER_THREADS_MAX];
    int count = helper_threads(probe, process->pid, stat.threads, tids);
    bool parked = count > 0;
    for (int i = 0; i < count && parked; i++) {
        probe_thread_t thread = {.tid = tids[i]};
        probe_activity_t activity = read_activity(probe, process, &thread);
        process->unseen = activity == ACTIVITY_UNSEEN;
        parked = activity == ACTIVITY_PARKED || activity == ACTIVITY_INPUT || activity == ACTIVITY_ENDED;
    }
    return parked;
}
