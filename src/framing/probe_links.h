/* What the descriptors of a process connect it to. */
#pragma once

#include "calculator_probe.h"
#include "probe_parse.h"

/* In place of an inode, where it does not say who is at the other end. */
#define LINK_INODE_TERMINAL UINT64_MAX
#define LINK_INODE_UNNAMED_SOCKET (UINT64_MAX - 1)

/* Looks at them, if that was more than ``age_ns`` ago (0: at any rate). */
void probe_survey(calculator_probe_t *probe, probe_process_t *process, int64_t age_ns);

/* What one descriptor is. false: it is not open, or may not be looked at. */
bool probe_descriptor(const calculator_probe_t *probe, const probe_process_t *process, int fd, link_kind_t *kind,
                      uint64_t *inode);

/* Open for reading, for writing, without blocking. false: not known. */
typedef struct {
    bool reads, writes, nonblocking;
} probe_open_mode_t;
bool probe_open_mode(const calculator_probe_t *probe, const probe_process_t *process, int fd, probe_open_mode_t *mode);

/* Both have an end of the same pipe or pair of sockets, a terminal, or sockets without a name that may be such a pair. */
bool probe_shares(const probe_process_t *one, const probe_process_t *other);

/* Who can write what this process reads from a pipe or (LINK_INODE_TERMINAL) from a terminal; with the inode of a socket's
 * peer: from the socket. */
typedef enum { WRITER_UNKNOWN, WRITER_ITSELF, WRITER_COUNTS } probe_writer_t;
probe_writer_t probe_writer(calculator_probe_t *probe, probe_process_t *process, uint64_t inode);

/* A socket that only waits for new clients. */
bool probe_socket_listens(calculator_probe_t *probe, const probe_process_t *process, uint64_t inode);
