#define _GNU_SOURCE
#include "probe_processes.h"

#include "probe_files.h"
#include "probe_links.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define SCAN_SHARE 50            /* a scan of all processes takes one part in so many of the time at most */
#define GAP_MAX 4096             /* more new numbers than this: one scan is cheaper */
#define SCAN_MAX 65536           /* processes of the machine */
#define SURVEY_AGE_NS 5000000000 /* which pipes a process has, hardly ever changes but by a fork */
#define PENDING_NS 1000000000
#define FUSE_MAGIC 0x65735546

static bool read_stat(const calculator_probe_t *probe, pid_t pid, proc_stat_t *stat) {
    char text[1024];
    if (probe_read(probe->proc, pid, 0, "stat", text, sizeof text) <= 0)
        return false;
    errno = EIO;
    return parse_stat(text, stat);
}

static probe_process_t *find(calculator_probe_t *probe, pid_t pid) {
    for (int i = 0; i < probe->process_count; i++)
        if (probe->processes[i].pid == pid)
            return &probe->processes[i];
    return NULL;
}

static void add(calculator_probe_t *probe, pid_t pid, const proc_stat_t *stat) {
    probe_process_t *process = find(probe, pid);
    if (process != NULL && process->started_ticks == stat->started_ticks)
        return;
    if (process == NULL) {
        if (probe->process_count == PROBE_PROCESSES_MAX) {
            probe->too_many = true;
            return;
        }
        process = &probe->processes[probe->process_count++];
    }
    memset(process, 0, sizeof *process);
    probe->additions++;
    probe->recount = true;
    process->pid = pid;
    process->parent = stat->parent;
    process->started_ticks = stat->started_ticks;
}

void probe_process_forget(calculator_probe_t *probe, int index) {
    probe->recount = true;
    if (index != --probe->process_count)
        probe->processes[index] = probe->processes[probe->process_count];
}

/* The first thread has ended, and others have not. */
static pid_t another_thread(const calculator_probe_t *probe, pid_t pid) {
    probe_path_t path = probe_path(probe->proc, pid, 0, "task");
    DIR *directory = opendir(path.text);
    pid_t found = 0;
    const struct dirent *entry;
    while (directory != NULL && found == 0 && (entry = readdir(directory)) != NULL) {
        char *end;
        pid_t tid = (pid_t)strtol(entry->d_name, &end, 10);
        if (*end == '\0' && tid > 0 && tid != pid)
            found = tid;
    }
    if (directory != NULL)
        closedir(directory);
    return found;
}

bool probe_process_alive(const calculator_probe_t *probe, probe_process_t *process, proc_stat_t *stat) {
    if (!read_stat(probe, process->pid, stat))
        return false;
    if (stat->state == 'Z' && stat->threads > 1) {
        pid_t live = another_thread(probe, process->pid);
        if (live != process->live_thread)
            process->surveyed_ns = 0;
        process->live_thread = live;
    }
    errno = ESRCH;
    return stat->started_ticks == process->started_ticks && stat->state != 'X' &&
           (process->pid == probe->leader || stat->parent == process->parent);
}

static void forget_ended(calculator_probe_t *probe) {
    proc_stat_t stat;
    for (int i = probe->process_count - 1; i >= 0; i--)
        if (probe->processes[i].pid != probe->leader && !probe_process_alive(probe, &probe->processes[i], &stat) &&
            (errno == ENOENT || errno == ESRCH))
            probe_process_forget(probe, i);
}

/* The newest number given out to a process or thread in this PID namespace; -1: not known. */
static int64_t newest_pid(const calculator_probe_t *probe) {
    char text[128];
    int64_t newest;
    if (probe_read(probe->proc, 0, 0, "sys/kernel/ns_last_pid", text, sizeof text) > 0 &&
        parse_last_number(text, &newest))
        return newest;
    probe_path_t path = probe_path(probe->proc, 0, 0, "loadavg");
    struct statfs file_system;
    if (probe->looks == 0 && statfs(path.text, &file_system) == 0 && file_system.f_type == FUSE_MAGIC)
        return -1; /* lxcfs shows that of the host */
    if (probe_read_path(path.text, text, sizeof text) > 0 && parse_last_number(text, &newest))
        return newest;
    return -1;
}

/* Number ``pid`` was given out. Takes it in if it is a descendant. false: it is not there (yet). */
static bool consider(calculator_probe_t *probe, pid_t pid) {
    proc_stat_t stat;
    if (!read_stat(probe, pid, &stat))
        return errno != ENOENT && errno != ESRCH;
    const probe_process_t *parent = find(probe, stat.parent);
    if (pid == probe->leader || parent == NULL)
        return true;
    char text[2048];
    uint64_t group; /* /proc/TID can be read for a thread too, and shows the parent of its process */
    if (probe_read(probe->proc, pid, 0, "status", text, sizeof text) > 0 && parse_field(text, "Tgid:", 10, &group) &&
        group == (uint64_t)pid)
        add(probe, pid, &stat);
    return true;
}

typedef struct {
    pid_t pid;
    proc_stat_t stat;
} scanned_t;

/* Reads all processes of the machine. false: it is too soon for that, or cannot be done. */
static bool scan(calculator_probe_t *probe) {
    int64_t begun_ns = probe_clock_ns();
    if (probe->scanned_ns != 0 && begun_ns - probe->scanned_ns < SCAN_SHARE * probe->scan_cost_ns)
        return false;
    DIR *directory = opendir(probe->proc);
    if (directory == NULL)
        return false;
    probe->scans++;
    probe->pending_count = 0;
    probe->too_many = false;
    forget_ended(probe);
    scanned_t *found = NULL;
    int count = 0, room = 0;
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
            continue;
        if (count == room) {
            room = room == 0 ? 256 : 2 * room;
            scanned_t *larger = count == SCAN_MAX ? NULL : realloc(found, (size_t)room * sizeof *found);
            if (larger == NULL) {
                probe->too_many = true;
                break;
            }
            found = larger;
        }
        found[count].pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (read_stat(probe, found[count].pid, &found[count].stat))
            count++;
    }
    closedir(directory);
    for (bool again = true; again;) { /* a child may have a smaller number than its parent */
        again = false;
        for (int i = 0; i < count; i++)
            if (found[i].pid != probe->leader && find(probe, found[i].stat.parent) != NULL) {
                int before = probe->process_count;
                add(probe, found[i].pid, &found[i].stat);
                again |= probe->process_count > before;
            }
    }
    free(found);
    probe->scanned_ns = probe_clock_ns();
    probe->scan_cost_ns = probe->scanned_ns - begun_ns;
    return true;
}

static void consider_each(calculator_probe_t *probe, int64_t first, int64_t last) {
    const int room = (int)(sizeof probe->pending / sizeof probe->pending[0]);
    for (int64_t pid = first; pid <= last; pid++) {
        if (consider(probe, (pid_t)pid))
            continue;
        if (probe->pending_count == room)
            memmove(probe->pending, probe->pending + 1, (size_t)--probe->pending_count * sizeof probe->pending[0]);
        probe->pending[probe->pending_count++] = (pid_t)pid;
        probe->pending_ns = probe_clock_ns();
    }
}

/* Looks at the numbers that were given out after ``after``. false: there are too many of them, or it is not known which. */
static bool consider_range(calculator_probe_t *probe, int64_t after, int64_t newest) {
    char text[64];
    int64_t most = newest;
    if (after < 0)
        return false;
    if (newest < after) { /* the numbers began anew, as they do every 32,768 processes on many machines */
        if (probe_read(probe->proc, 0, 0, "sys/kernel/pid_max", text, sizeof text) <= 0 ||
            !parse_last_number(text, &most) || most < after || most - after + newest > GAP_MAX)
            return false;
        consider_each(probe, 1, newest);
    } else if (newest - after > GAP_MAX) {
        return false;
    }
    consider_each(probe, after + 1, most);
    return true;
}

static bool is_mounted_hidden(const calculator_probe_t *probe) {
    char text[16384];
    if (probe_read(probe->proc, 0, 0, "self/mounts", text, sizeof text) <= 0)
        return false;
    char where[160];
    size_t length = strlen(probe->proc);
    if (length + 3 > sizeof where)
        return false;
    where[0] = ' ';
    memcpy(where + 1, probe->proc, length);
    memcpy(where + 1 + length, " ", 2);
    for (const char *line = text; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n');
        const char *place = strstr(line, where);
        const char *option = strstr(line, "hidepid=");
        if (place != NULL && (end == NULL || place < end) && option != NULL && (end == NULL || option < end) &&
            strncmp(option, "hidepid=0", 9) != 0 && strncmp(option, "hidepid=off", 11) != 0)
            return true;
        line = end == NULL ? NULL : end + 1;
    }
    return false;
}

void probe_processes_begin(calculator_probe_t *probe) {
    probe->hidden = is_mounted_hidden(probe);
    proc_stat_t stat;
    memset(&stat, 0, sizeof stat);
    read_stat(probe, probe->leader, &stat);
    add(probe, probe->leader, &stat);
    int64_t newest = newest_pid(probe);
    probe->hidden |= newest < 0 && stat.started_ticks == 0;                               /* as without a /proc */
    probe->newest_pid = probe->checked_pid = newest < probe->leader ? -1 : probe->leader; /* another namespace's? */
    probe_processes_refresh(probe);
}

void probe_processes_refresh(calculator_probe_t *probe) {
    if (probe->newest_pid < 0 || probe->too_many) {
        scan(probe);
        return;
    }
    int64_t newest = newest_pid(probe);
    if (newest != probe->checked_pid) {
        forget_ended(probe);
        if (!consider_range(probe, probe->checked_pid, newest)) {
            if (!scan(probe))
                return;
            probe->newest_pid = newest; /* a look would have to scan once more, and there is no time for two */
        }
        probe->checked_pid = newest;
    } else if (probe->pending_count > 0) {
        int kept = 0;
        for (int i = 0; i < probe->pending_count; i++)
            if (!consider(probe, probe->pending[i]))
                probe->pending[kept++] = probe->pending[i];
        probe->pending_count = probe_clock_ns() - probe->pending_ns < PENDING_NS ? kept : 0;
    }
}

bool probe_processes_settled(calculator_probe_t *probe) {
    int64_t newest = probe->newest_pid < 0 ? -1 : newest_pid(probe);
    if (newest >= 0 && newest == probe->newest_pid && !probe->too_many)
        return true;
    int64_t additions = probe->additions;
    if (probe->newest_pid < 0 || probe->too_many || !consider_range(probe, probe->newest_pid, newest)) {
        if (!scan(probe))
            return false;
    } else {
        forget_ended(probe);
    }
    if (probe->newest_pid >= 0)
        probe->newest_pid = probe->checked_pid = newest;
    probe->pending_count = 0;
    return probe->additions == additions;
}

bool probe_process_is_above(calculator_probe_t *probe, const probe_process_t *process, const probe_process_t *of) {
    for (int depth = 0; of != NULL && depth < PROBE_PROCESSES_MAX; depth++) {
        if (of->parent == process->pid)
            return true;
        of = find(probe, of->parent);
    }
    return false;
}

void probe_processes_count(calculator_probe_t *probe) {
    probe_process_t *processes = probe->processes;
    int count = probe->process_count;
    if (count == 1) {
        processes[0].counts = true;
        processes[0].bystander = false;
        return;
    }
    int64_t now_ns = probe_clock_ns();
    if (!probe->recount && now_ns - probe->counted_ns < SURVEY_AGE_NS)
        return;
    probe->recount = false;
    probe->counted_ns = now_ns;
    bool reader_known = false;
    for (int i = 0; i < count; i++)
        reader_known |= processes[i].reads_stdin;
    for (int i = 0; i < count; i++) {
        probe_process_t *process = &processes[i];
        probe_survey(probe, process, SURVEY_AGE_NS);
        process->bystander = false;
        process->counts = process->reads_stdin ||
                          (process->started_ticks >= probe->first_record_ticks && !process->older) ||
                          process->links_unknown || (!reader_known && process->stdin_fd_count > 0);
    }
    for (bool again = true; again;) {
        again = false;
        for (int i = 0; i < count; i++) {
            probe_process_t *process = &processes[i];
            for (int k = 0; k < count && !process->counts; k++) {
                const probe_process_t *other = &processes[k];
                if (!other->counts)
                    continue;
                bool forked =
                    process->stdin_fd_count > 0 && other->stdin_fd_count > 0 && process->image == other->image;
                if (forked || probe_shares(process, other))
                    process->counts = again = true;
            }
        }
    }
    for (int i = 0; i < count; i++)
        for (int k = 0; k < count && !processes[i].counts; k++)
            if (processes[k].counts && !processes[k].bystander &&
                probe_process_is_above(probe, &processes[i], &processes[k]))
                processes[i].counts = processes[i].bystander = true;
}
