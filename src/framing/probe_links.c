#define _GNU_SOURCE
#include "probe_links.h"

#include "probe_files.h"
#include "probe_peers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SURVEY_FDS_MAX 4096
#define WRITER_SURVEY_AGE_NS 1000000000
#define SOCKET_TABLE_BYTES_MAX (1 << 20)
#define SOCKET_AGE_NS 2000000000
#define TABLE_SHARE 100

bool probe_descriptor(const calculator_probe_t *probe, const probe_process_t *process, int fd, link_kind_t *kind,
                      uint64_t *inode) {
    char name[32], target[128];
    snprintf(name, sizeof name, "fd/%d", fd);
    if (probe_read_link(probe->proc, process->pid, process->live_thread, name, target, sizeof target) <= 0)
        return false;
    *kind = parse_link(target, inode);
    return true;
}

bool probe_open_mode(const calculator_probe_t *probe, const probe_process_t *process, int fd, probe_open_mode_t *mode) {
    char name[32], text[512];
    uint64_t flags;
    snprintf(name, sizeof name, "fdinfo/%d", fd);
    if (probe_read(probe->proc, process->pid, process->live_thread, name, text, sizeof text) <= 0 ||
        !parse_field(text, "flags:", 8, &flags))
        return false;
    mode->reads = (flags & O_ACCMODE) != O_WRONLY;
    mode->writes = (flags & O_ACCMODE) != O_RDONLY;
    mode->nonblocking = (flags & O_NONBLOCK) != 0;
    return true;
}

static uint64_t hash_bytes(uint64_t hash, const char *bytes, size_t count) { /* FNV-1a */
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    return hash;
}

static uint64_t image_of(const calculator_probe_t *probe, const probe_process_t *process) {
    char text[4096];
    uint64_t hash = 0xcbf29ce484222325u;
    ssize_t n = probe_read_link(probe->proc, process->pid, process->live_thread, "exe", text, sizeof text);
    if (n > 0)
        hash = hash_bytes(hash, text, (size_t)n);
    n = probe_read(probe->proc, process->pid, process->live_thread, "cmdline", text, sizeof text);
    if (n > 0)
        hash = hash_bytes(hash, text, (size_t)n);
    return hash;
}

static bool is_ours(const calculator_probe_t *probe, uint64_t inode) {
    return inode != 0 && (inode == probe->stdio[0] || inode == probe->stdio[1] || inode == probe->stdio[2]);
}

static void add_link(probe_process_t *process, uint64_t inode, uint64_t peer, int fd, bool reads, bool writes) {
    for (int i = 0; i < process->link_count; i++)
        if (process->links[i].inode == inode) {
            process->links[i].reads |= reads;
            process->links[i].writes |= writes;
            return;
        }
    if (process->link_count == PROBE_LINKS_MAX) {
        process->links_unknown = true;
        return;
    }
    process->links[process->link_count++] = (probe_link_t){inode, peer, fd, reads, writes};
}

/* Calls ``line`` for each line of a socket table until it returns false. Returns whether the table was read to its end. */
static bool each_socket(const calculator_probe_t *probe, const probe_process_t *process, const char *table,
                        bool (*parse)(const char *, socket_line_t *), bool (*met)(void *, const socket_line_t *),
                        void *context) {
    probe_path_t path = probe_path(probe->proc, process->pid, process->live_thread, table);
    int fd = open(path.text, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    char buffer[8192];
    size_t used = 0, total = 0;
    bool more = true;
    ssize_t n = 0;
    while (more && total < SOCKET_TABLE_BYTES_MAX && (n = read(fd, buffer + used, sizeof buffer - 1 - used)) > 0) {
        used += (size_t)n;
        total += (size_t)n;
        buffer[used] = '\0';
        char *line = buffer, *end;
        while (more && (end = strchr(line, '\n')) != NULL) {
            *end = '\0';
            socket_line_t socket;
            if (parse(line, &socket))
                more = met(context, &socket);
            line = end + 1;
        }
        used -= (size_t)(line - buffer);
        memmove(buffer, line, used);
        if (used == sizeof buffer - 1)
            used = 0; /* a line without an end */
    }
    close(fd);
    return !more || n == 0;
}

typedef struct {
    const uint64_t *sockets;
    int count;
    bool unnamed;
} unnamed_t;

static bool met_unix(void *context, const socket_line_t *socket) {
    unnamed_t *search = context;
    if (!socket->named)
        for (int i = 0; i < search->count && !search->unnamed; i++)
            search->unnamed = search->sockets[i] == socket->inode;
    return !search->unnamed;
}

void probe_survey(calculator_probe_t *probe, probe_process_t *process, int64_t age_ns) {
    int64_t now_ns = probe_clock_ns();
    if (process->surveyed_ns != 0 && age_ns > 0 && now_ns - process->surveyed_ns < age_ns)
        return;
    process->surveyed_ns = now_ns;
    process->links_unknown = false;
    process->link_count = process->stdin_fd_count = 0;
    probe_path_t path = probe_path(probe->proc, process->pid, process->live_thread, "fd");
    DIR *descriptors = opendir(path.text);
    if (descriptors == NULL) {
        process->links_unknown = true;
        return;
    }
    uint64_t sockets[64], inode;
    int socket_count = 0, seen = 0;
    bool many_sockets = false;
    const struct dirent *entry;
    while ((entry = readdir(descriptors)) != NULL) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
            continue;
        int fd = (int)strtol(entry->d_name, NULL, 10);
        link_kind_t kind;
        if (++seen > SURVEY_FDS_MAX) {
            process->links_unknown = true;
            break;
        }
        if (!probe_descriptor(probe, process, fd, &kind, &inode)) {
            process->links_unknown |= errno == EACCES || errno == EPERM;
            continue;
        }
        probe_open_mode_t mode = {true, true, false};
        if (kind == LINK_PIPE && inode == probe->stdio[0]) {
            if (probe_open_mode(probe, process, fd, &mode) && mode.reads &&
                process->stdin_fd_count < PROBE_STDIN_FDS_MAX)
                process->stdin_fds[process->stdin_fd_count++] = fd;
        } else if (kind == LINK_PIPE && !is_ours(probe, inode)) {
            probe_open_mode(probe, process, fd, &mode);
            add_link(process, inode, 0, fd, mode.reads, mode.writes);
        } else if (kind == LINK_TERMINAL) {
            add_link(process, LINK_INODE_TERMINAL, 0, fd, true, true);
        } else if (kind == LINK_SOCKET) {
            probe_peer_t peer;
            if (probe_peer_of(probe, inode, &peer)) {
                if (!peer.named)
                    add_link(process, inode, peer.peer, fd, true, true);
            } else if (socket_count < (int)(sizeof sockets / sizeof sockets[0]))
                sockets[socket_count++] = inode;
            else
                many_sockets = true;
        }
    }
    closedir(descriptors);
    if (socket_count > 0) {
        unnamed_t search = {sockets, socket_count, false};
        if (!each_socket(probe, process, "net/unix", parse_unix_socket, met_unix, &search) || many_sockets)
            search.unnamed = true;
        if (search.unnamed)
            add_link(process, LINK_INODE_UNNAMED_SOCKET, 0, -1, true, true);
    }
    if (process->stdin_fd_count > 0)
        process->image = image_of(probe, process);
}

/* A socket without a name whose peer is not known may be the other end of any. */
static bool connects(const probe_link_t *one, const probe_link_t *other) {
    return one->inode == other->inode || (one->peer != 0 && one->peer == other->inode) ||
           (other->peer != 0 && other->peer == one->inode) ||
           (one->inode == LINK_INODE_UNNAMED_SOCKET && other->peer != 0) ||
           (other->inode == LINK_INODE_UNNAMED_SOCKET && one->peer != 0);
}

bool probe_shares(const probe_process_t *one, const probe_process_t *other) {
    if (one->links_unknown || other->links_unknown)
        return true;
    for (int i = 0; i < one->link_count; i++)
        for (int k = 0; k < other->link_count; k++)
            if (connects(&one->links[i], &other->links[k]))
                return true;
    return false;
}

static bool writes_to(const probe_process_t *process, uint64_t inode) {
    for (int i = 0; i < process->link_count; i++)
        if (process->links[i].inode == inode && process->links[i].writes)
            return true;
    return false;
}

probe_writer_t probe_writer(calculator_probe_t *probe, probe_process_t *process, uint64_t inode) {
    for (int i = 0; i < probe->process_count; i++) {
        probe_process_t *other = &probe->processes[i];
        if (other == process || !other->counts)
            continue;
        probe_survey(probe, other, WRITER_SURVEY_AGE_NS);
        if (writes_to(other, inode))
            return WRITER_COUNTS;
    }
    if (inode == LINK_INODE_TERMINAL)
        return WRITER_UNKNOWN;
    probe_survey(probe, process, WRITER_SURVEY_AGE_NS);
    return writes_to(process, inode) ? WRITER_ITSELF : WRITER_UNKNOWN;
}

typedef struct {
    uint64_t inode;
    bool met, listens;
} listening_t;

static bool met_listening(void *context, const socket_line_t *socket) {
    listening_t *search = context;
    search->met = socket->inode == search->inode;
    search->listens = search->met && socket->listens;
    return !search->met;
}

/* Answers are kept, and one part in TABLE_SHARE of the time is given to tables at most: until then it is taken for one that
 * does not listen, which never makes an idle process of a working one. */
bool probe_socket_listens(calculator_probe_t *probe, const probe_process_t *process, uint64_t inode) {
    int64_t now_ns = probe_clock_ns();
    const int places = (int)(sizeof probe->sockets / sizeof probe->sockets[0]);
    probe_socket_t *known = NULL;
    for (int i = 0; i < places && known == NULL; i++)
        if (probe->sockets[i].inode == inode)
            known = &probe->sockets[i];
    if (known != NULL && (known->listens || now_ns - known->asked_ns < SOCKET_AGE_NS))
        return known->listens;
    if (probe->table_read_ns != 0 && now_ns - probe->table_read_ns < TABLE_SHARE * probe->table_cost_ns)
        return false;
    if (known == NULL) {
        known = &probe->sockets[probe->next_socket];
        probe->next_socket = (probe->next_socket + 1) % places;
    }
    listening_t search = {inode, false, false};
    each_socket(probe, process, "net/unix", parse_unix_socket, met_listening, &search);
    if (!search.met)
        each_socket(probe, process, "net/tcp", parse_tcp_socket, met_listening, &search);
    if (!search.met)
        each_socket(probe, process, "net/tcp6", parse_tcp_socket, met_listening, &search);
    probe->table_read_ns = probe_clock_ns();
    probe->table_cost_ns = probe->table_read_ns - now_ns;
    *known = (probe_socket_t){inode, probe->table_read_ns, search.listens};
    return search.listens;
}
