/* Which socket is at the other end of a connected unix socket, as the kernel's sock_diag tells it. */
#pragma once

#include "calculator_probe.h"

/* false: it has none, is no unix socket of this network namespace, or the kernel does not say; that may change. */
bool probe_peer_of(calculator_probe_t *probe, uint64_t inode, probe_peer_t *peer);
