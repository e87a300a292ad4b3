#define _GNU_SOURCE
#include "probe_parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *skip_blanks(const char *text) {
    while (*text == ' ' || *text == '\t')
        text++;
    return text;
}

static const char *next_word(const char *text) {
    while (*text != '\0' && *text != ' ' && *text != '\t' && *text != '\n')
        text++;
    return skip_blanks(text);
}

static bool number(const char **text, int base, uint64_t *value) {
    const char *start = skip_blanks(*text);
    if (*start == '-' || *start == '+' || *start == '\n')
        return false;
    char *end;
    errno = 0;
    *value = strtoull(start, &end, base);
    if (end == start || errno != 0)
        return false;
    *text = end;
    return true;
}

bool parse_stat(const char *text, proc_stat_t *stat) {
    const char *after_name = strrchr(text, ')'); /* a program's name may hold anything but this is the last */
    if (after_name == NULL || after_name[1] != ' ' || after_name[2] == '\0')
        return false;
    stat->state = after_name[2];
    const char *field = after_name + 3;
    uint64_t value, parent = 0, user = 0, system = 0, threads = 0;
    for (int i = 4; i <= 22; i++) { /* proc_pid_stat(5) */
        field = skip_blanks(field);
        switch (i) {
        case 4:
            if (!number(&field, 10, &parent) || parent > INT32_MAX)
                return false;
            break;
        case 14:
            if (!number(&field, 10, &user))
                return false;
            break;
        case 15:
            if (!number(&field, 10, &system))
                return false;
            break;
        case 20:
            if (!number(&field, 10, &threads) || threads > INT32_MAX)
                return false;
            break;
        case 22:
            if (!number(&field, 10, &value))
                return false;
            break;
        default:
            field = next_word(field);
        }
    }
    stat->parent = (pid_t)parent;
    stat->cpu_ticks = user + system;
    stat->threads = (int64_t)threads;
    stat->started_ticks = value;
    return true;
}

bool parse_call(const char *text, proc_call_t *call) {
    memset(call, 0, sizeof *call);
    if (strncmp(text, "running", 7) == 0) {
        call->number = CALL_RUNNING;
        return true;
    }
    uint64_t value;
    if (strncmp(text, "-1", 2) == 0) {
        call->number = CALL_OUTSIDE;
        text += 2;
        return number(&text, 16, &call->stack) && number(&text, 16, &call->code);
    }
    if (!number(&text, 10, &value) || value > INT32_MAX)
        return false;
    call->number = (long)value;
    for (int i = 0; i < 6; i++)
        if (!number(&text, 16, &call->argument[i]))
            return false;
    return number(&text, 16, &call->stack) && number(&text, 16, &call->code);
}

bool parse_schedstat(const char *text, uint64_t *switches) {
    uint64_t on_cpu, waited;
    return number(&text, 10, &on_cpu) && number(&text, 10, &waited) && number(&text, 10, switches);
}

bool parse_field(const char *text, const char *name, int base, uint64_t *value) {
    size_t length = strlen(name);
    for (const char *line = text; line != NULL && *line != '\0';) {
        if (strncmp(line, name, length) == 0) {
            const char *rest = line + length;
            return number(&rest, base, value);
        }
        line = strchr(line, '\n');
        if (line != NULL)
            line++;
    }
    return false;
}

bool parse_last_number(const char *text, int64_t *value) {
    size_t end = strlen(text);
    while (end > 0 && (text[end - 1] == '\n' || text[end - 1] == ' '))
        end--;
    size_t start = end;
    while (start > 0 && text[start - 1] >= '0' && text[start - 1] <= '9')
        start--;
    const char *digits = text + start;
    uint64_t found;
    if (start == end || !number(&digits, 10, &found) || found > INT32_MAX)
        return false;
    *value = (int64_t)found;
    return true;
}

static bool begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

link_kind_t parse_link(const char *target, uint64_t *inode) {
    *inode = 0;
    const char *digits = strchr(target, '[');
    if (begins(target, "pipe:["))
        return digits++, number(&digits, 10, inode) ? LINK_PIPE : LINK_OTHER;
    if (begins(target, "socket:["))
        return digits++, number(&digits, 10, inode) ? LINK_SOCKET : LINK_OTHER;
    if (begins(target, "/dev/pts/") || begins(target, "/dev/ptmx"))
        return LINK_TERMINAL;
    if (begins(target, "pidfd:["))
        return LINK_PIDFD;
    if (!begins(target, "anon_inode:"))
        return LINK_OTHER;
    const char *kind = target + strlen("anon_inode:");
    return begins(kind, "[eventfd]")     ? LINK_EVENTFD
           : begins(kind, "[signalfd]")  ? LINK_SIGNALFD
           : begins(kind, "[timerfd]")   ? LINK_TIMERFD
           : begins(kind, "[eventpoll]") ? LINK_EPOLL
           : begins(kind, "[pidfd]")     ? LINK_PIDFD
                                         : LINK_OTHER;
}

/* The number behind ``name`` on this line; false: it is not there. */
static bool named_number(const char *line, const char *name, int base, uint64_t *value) {
    const char *end = strchr(line, '\n');
    const char *found = strstr(line, name);
    if (found == NULL || (end != NULL && found > end))
        return false;
    found += strlen(name);
    return number(&found, base, value);
}

bool parse_epoll_entry(const char **text, epoll_entry_t *entry) {
    const char *line = strstr(*text, "tfd:");
    if (line == NULL)
        return false;
    const char *end = strchr(line, '\n');
    *text = end == NULL ? line + strlen(line) : end + 1;
    uint64_t fd, events;
    if (!named_number(line, "tfd:", 10, &fd) || fd > INT32_MAX)
        fd = INT32_MAX; /* nothing is open there: counted as something that is not known */
    if (!named_number(line, "events:", 16, &events))
        events = UINT32_MAX;
    if (!named_number(line, " ino:", 16, &entry->inode))
        entry->inode = 0;
    entry->fd = (int)fd;
    entry->events = (uint32_t)events;
    return true;
}

bool parse_unix_socket(const char *line, socket_line_t *socket) {
    /* Num RefCount Protocol Flags Type St Inode Path */
    const char *field = skip_blanks(line);
    uint64_t flags;
    for (int i = 0; i < 3; i++)
        field = next_word(field);
    if (!number(&field, 16, &flags))
        return false;
    field = skip_blanks(field);
    for (int i = 0; i < 2; i++)
        field = next_word(field);
    if (!number(&field, 10, &socket->inode))
        return false;
    field = skip_blanks(field);
    socket->listens = (flags & 0x10000) != 0; /* __SO_ACCEPTCON */
    socket->named = *field != '\0' && *field != '\n';
    return true;
}

bool parse_tcp_socket(const char *line, socket_line_t *socket) {
    /* sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode */
    const char *field = skip_blanks(line);
    uint64_t state;
    for (int i = 0; i < 3; i++)
        field = next_word(field);
    if (!number(&field, 16, &state))
        return false;
    field = skip_blanks(field);
    for (int i = 0; i < 5; i++)
        field = next_word(field);
    if (!number(&field, 10, &socket->inode))
        return false;
    socket->listens = state == 0x0A; /* TCP_LISTEN */
    socket->named = true;
    return true;
}
