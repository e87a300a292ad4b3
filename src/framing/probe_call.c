#define _GNU_SOURCE
#include "probe_call.h"

#include <sys/syscall.h>

/* Numbers that the headers of the build may not have yet; the same on every architecture. */
#define CALL_FUTEX_WAITV 449
#define CALL_FUTEX_WAIT 455
#define CALL_EPOLL_PWAIT2 441
#define CALL_IO_URING_ENTER 426

static wait_t of_kind(wait_kind_t kind) { return (wait_t){.kind = kind, .fd = -1}; }

static wait_t reads(uint64_t fd) { return (wait_t){.kind = WAIT_READ, .fd = (int)fd}; }

static wait_t receives(uint64_t fd) { return (wait_t){.kind = WAIT_RECEIVE, .fd = (int)fd}; }

static wait_t polls(const proc_call_t *call, bool timed) {
    return (wait_t){.kind = WAIT_POLL,
                    .fd = -1,
                    .timed = timed,
                    .count = (uint32_t)call->argument[1],
                    .set = {call->argument[0], 0, 0}};
}

static wait_t selects(const proc_call_t *call) {
    int count = (int)call->argument[0];
    return (wait_t){.kind = WAIT_SELECT,
                    .fd = -1,
                    .timed = call->argument[4] != 0,
                    .count = count < 0 ? 0 : (uint64_t)count,
                    .set = {call->argument[1], call->argument[2], call->argument[3]}};
}

static wait_t waits_in_epoll(const proc_call_t *call, bool timed) {
    return (wait_t){.kind = WAIT_EPOLL, .fd = (int)call->argument[0], .timed = timed};
}

static wait_t parked_unless(bool timed) { return of_kind(timed ? WAIT_ELSEWHERE : WAIT_PARKED); }

static wait_t futex(const proc_call_t *call) {
    switch (call->argument[1] & 127) { /* without FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME */
    case 0:                            /* FUTEX_WAIT */
    case 6:                            /* FUTEX_LOCK_PI */
    case 9:                            /* FUTEX_WAIT_BITSET */
    case 11:                           /* FUTEX_WAIT_REQUEUE_PI */
    case 13:                           /* FUTEX_LOCK_PI2 */
        return parked_unless(call->argument[3] != 0);
    default:
        return of_kind(WAIT_WORK);
    }
}

wait_t call_waits_for(const proc_call_t *call) {
    const uint64_t *argument = call->argument;
    switch (call->number) {
    case SYS_read:
    case SYS_readv:
#ifdef SYS_preadv2
    case SYS_preadv2: /* at offset -1 it reads a pipe */
#endif
        return reads(argument[0]);
    case SYS_recvfrom:
    case SYS_recvmsg:
        return receives(argument[0]);
    case SYS_recvmmsg:
        return argument[4] != 0 ? of_kind(WAIT_ELSEWHERE) : receives(argument[0]);
    case SYS_splice:
        return (wait_t){.kind = WAIT_SPLICE, .fd = (int)argument[0]};
#ifdef SYS_poll
    case SYS_poll:
        return polls(call, (int32_t)argument[2] >= 0);
#endif
    case SYS_ppoll:
        return polls(call, argument[2] != 0);
#ifdef SYS_select
    case SYS_select:
        return selects(call);
#endif
    case SYS_pselect6:
        return selects(call);
#ifdef SYS_epoll_wait
    case SYS_epoll_wait:
        return waits_in_epoll(call, (int32_t)argument[3] >= 0);
#endif
    case SYS_epoll_pwait:
        return waits_in_epoll(call, (int32_t)argument[3] >= 0);
    case CALL_EPOLL_PWAIT2:
        return waits_in_epoll(call, argument[3] != 0);
    case SYS_futex:
        return futex(call);
    case CALL_FUTEX_WAITV:
        return parked_unless(argument[3] != 0);
    case CALL_FUTEX_WAIT:
        return parked_unless(argument[4] != 0);
    case SYS_wait4:
    case SYS_waitid:
    case SYS_rt_sigsuspend:
#ifdef SYS_pause
    case SYS_pause:
#endif
        return of_kind(WAIT_PARKED);
    case SYS_rt_sigtimedwait:
        return parked_unless(argument[2] != 0);
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
    case SYS_accept:
    case SYS_accept4:
    case SYS_connect:
    case SYS_msgrcv:
    case SYS_mq_timedreceive:
    case SYS_semop:
    case SYS_semtimedop:
    case SYS_io_getevents:
    case CALL_IO_URING_ENTER: /* what its requests are, cannot be seen */
        return of_kind(WAIT_ELSEWHERE);
    case SYS_restart_syscall:
        return of_kind(WAIT_RESTARTED);
    default:
        return of_kind(WAIT_WORK);
    }
}
