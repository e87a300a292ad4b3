#define _GNU_SOURCE
#include "probe_peers.h"

#include "probe_files.h"

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define UNKNOWN_AGE_NS 2000000000 /* what had no peer may have been connected since */
#define ASKING_SHARE 100          /* questions get one part in so many of the time, */
#define ASKING_BURST_NS 5000000   /* and so much at once: the kernel may look through all sockets there are */
#define ANSWER_BYTES 1024

/* What the kernel says of one socket; ``peer.peer`` is 0 where there is none. */
typedef struct {
    probe_peer_t peer;
    bool lasting; /* a datagram socket can be connected anew, and may have a peer that does not know of it */
} answer_t;

static bool read_answer(const char *bytes, size_t size, uint64_t inode, answer_t *answer) {
    struct nlmsghdr header;
    struct unix_diag_msg socket;
    const size_t body = NLMSG_ALIGN(sizeof header);
    if (size < body + sizeof socket)
        return false;
    memcpy(&header, bytes, sizeof header);
    memcpy(&socket, bytes + body, sizeof socket);
    if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY || header.nlmsg_len > size || socket.udiag_ino != inode)
        return false;
    *answer = (answer_t){{inode, 0, 0, false}, socket.udiag_type != SOCK_DGRAM};
    size_t at = body + NLMSG_ALIGN(sizeof socket);
    struct nlattr attribute;
    while (at + sizeof attribute <= header.nlmsg_len) {
        uint32_t peer;
        memcpy(&attribute, bytes + at, sizeof attribute);
        if (attribute.nla_len < sizeof attribute || at + attribute.nla_len > header.nlmsg_len)
            return false;
        if (attribute.nla_type == UNIX_DIAG_PEER && attribute.nla_len >= sizeof attribute + sizeof peer) {
            memcpy(&peer, bytes + at + sizeof attribute, sizeof peer);
            answer->peer.peer = peer;
        }
        answer->peer.named |= attribute.nla_type == UNIX_DIAG_NAME;
        at += (attribute.nla_len + 3u) & ~3u;
    }
    return true;
}

/* The answer is there when the question has been sent: nothing here waits. */
static bool ask_kernel(uint64_t inode, answer_t *answer) {
    struct {
        struct nlmsghdr header;
        struct unix_diag_req socket;
    } question;
    if (inode > UINT32_MAX)
        return false;
    memset(&question, 0, sizeof question);
    question.header.nlmsg_len = sizeof question;
    question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    question.header.nlmsg_flags = NLM_F_REQUEST;
    question.socket.sdiag_family = AF_UNIX;
    question.socket.udiag_states = UINT32_MAX;
    question.socket.udiag_ino = (uint32_t)inode;
    question.socket.udiag_show = UDIAG_SHOW_PEER | UDIAG_SHOW_NAME;
    question.socket.udiag_cookie[0] = question.socket.udiag_cookie[1] = UINT32_MAX; /* whichever */
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return false;
    char bytes[ANSWER_BYTES];
    ssize_t n = send(fd, &question, sizeof question, 0);
    if (n >= 0)
        n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    close(fd);
    return n > 0 && read_answer(bytes, (size_t)n, inode, answer);
}

/* A recorded tree has lines of an inode, its peer's, and a name if it has one. */
static bool ask_tree(const char *proc, uint64_t inode, answer_t *answer) {
    char text[4096];
    if (probe_read(proc, 0, 0, "net/unix_peers", text, sizeof text) <= 0)
        return false;
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        char *rest;
        line += *line == '\n';
        if (strtoull(line, &rest, 10) != inode)
            continue;
        uint64_t peer = strtoull(rest, &rest, 10);
        *answer = (answer_t){{inode, peer, 0, *rest == ' '}, true};
        return true;
    }
    return false;
}

static bool ask(calculator_probe_t *probe, uint64_t inode, answer_t *answer) {
    probe->peer_questions++;
    bool told = strcmp(probe->proc, "/proc") == 0 ? ask_kernel(inode, answer) : ask_tree(probe->proc, inode, answer);
    return told && answer->peer.peer != 0;
}

/* Whether a question may be asked now, from what the earlier ones have taken. */
static bool may_ask(calculator_probe_t *probe, int64_t now_ns) {
    int64_t earned_ns = (now_ns - probe->peer_asked_ns) / ASKING_SHARE;
    probe->peer_spent_ns = earned_ns < probe->peer_spent_ns ? probe->peer_spent_ns - earned_ns : 0;
    probe->peer_asked_ns = now_ns;
    return probe->peer_spent_ns < ASKING_BURST_NS;
}

static probe_peer_t *remembered(calculator_probe_t *probe, uint64_t inode) {
    for (int i = 0; i < PROBE_PEERS_MAX; i++)
        if (probe->peers[i].inode == inode)
            return &probe->peers[i];
    return NULL;
}

bool probe_peer_of(calculator_probe_t *probe, uint64_t inode, probe_peer_t *peer) {
    int64_t now_ns = probe_clock_ns();
    if (inode == 0)
        return false;
    probe_peer_t *known = remembered(probe, inode);
    if (known != NULL && known->peer != 0) {
        *peer = *known;
        return true;
    }
    if ((known != NULL && now_ns - known->asked_ns < UNKNOWN_AGE_NS) || !may_ask(probe, now_ns))
        return false;
    answer_t answer, back;
    bool told = ask(probe, inode, &answer);
    bool lasting = !told || answer.lasting;
    if (!lasting)
        told = ask(probe, answer.peer.peer, &back) && back.peer.peer == inode;
    probe->peer_spent_ns += probe_clock_ns() - now_ns;
    *peer = told ? answer.peer : (probe_peer_t){inode, 0, now_ns, false};
    if (!lasting && told)
        return true;
    if (known == NULL) {
        known = &probe->peers[probe->next_peer];
        probe->next_peer = (probe->next_peer + 1) % PROBE_PEERS_MAX;
    }
    *known = *peer;
    return told;
}
