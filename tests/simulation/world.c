#include "world.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

enum { STACK_BYTES = 256 << 10, FIBERS_MAX = 64, SAID = 400, SAID_BYTES = 200 };

struct fiber_s {
    ucontext_t context;
    uint8_t *stack;
    owner_t owner;
    const char *name;
    void (*body)(void *);
    void *subject;
    bool used, over;
    bool kept;             /* somebody will ask whether it is over */
    bool (*ready)(void *); /* NULL: it can run */
    void *ready_subject;
    int64_t until_ns;
    bool was_ready;
    int locks;
    void *fake_stack;
};

typedef struct {
    int64_t at_ns;
    uint64_t number; /* of two at a time the older one first */
    owner_t owner;
    void (*action)(void *);
    void *subject;
} event_t;

static uint64_t seed_, random_;
static int64_t now_ns, events;
static unsigned switchiness; /* one in so many places is a switch */
static fiber_t fibers[FIBERS_MAX];
static fiber_t *running;
static ucontext_t scheduler;
static event_t *heap;
static size_t heap_count, heap_capacity;
static uint64_t event_number;
static char said[SAID][SAID_BYTES];
static unsigned said_count;

bool world_loud;
void (*world_check)(void);

/* ---- chance */

static uint64_t next_random(void) { /* splitmix64 */
    uint64_t z = random_ += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
}

uint64_t chance(uint64_t below) { return (uint64_t)((__extension__(unsigned __int128) next_random() * below) >> 64); }

int64_t spread(int64_t least, int64_t most) {
    int64_t range = most - least + 1;
    for (uint64_t halvings = chance(5); halvings > 0 && range > 1; halvings--)
        range = (range + 3) / 4;
    return least + (int64_t)chance((uint64_t)range);
}

/* ---- what is said */

void world_say(const char *format, ...) {
    va_list arguments;
    char *line = said[said_count++ % SAID];
    int n = snprintf(line, SAID_BYTES, "%12.6f %-10s ", (double)now_ns / 1e9, running ? running->name : "-");
    va_start(arguments, format);
    vsnprintf(line + n, SAID_BYTES - (size_t)n, format, arguments);
    va_end(arguments);
    if (world_loud)
        fprintf(stderr, "%s\n", line);
}

void world_fail(const char *format, ...) {
    va_list arguments;
    if (!world_loud)
        for (unsigned i = said_count > SAID ? said_count - SAID : 0; i < said_count; i++)
            fprintf(stderr, "%s\n", said[i % SAID]);
    for (size_t i = 0; i < FIBERS_MAX; i++)
        if (fibers[i].used && !fibers[i].over)
            fprintf(stderr, "  %s %s, holds %d locks\n", fibers[i].name, fibers[i].ready ? "waits" : "can run",
                    fibers[i].locks);
    fprintf(stderr, "FAILED: seed %llu, %.6f s, event %lld, in %s: ", (unsigned long long)seed_, (double)now_ns / 1e9,
            (long long)events, running ? running->name : "the world");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    fflush(NULL);
    _Exit(1);
}

/* ---- fibers */

void world_begin(uint64_t seed) {
    for (size_t i = 0; i < FIBERS_MAX; i++)
        fibers[i].used = fibers[i].kept = false;
    seed_ = random_ = seed;
    now_ns = (int64_t)chance(1000) * SECOND + 1;
    events = 0;
    heap_count = 0;
    said_count = 0;
    switchiness = 1 + (unsigned)spread(0, 30);
    world_check = NULL;
    running = NULL;
}

int64_t world_now_ns(void) { return now_ns; }
int64_t world_events(void) { return events; }
fiber_t *fiber_now(void) { return running; }
const char *fiber_name(const fiber_t *fiber) { return fiber == NULL ? "-" : fiber->name; }
int *fiber_locks(fiber_t *fiber) { return &fiber->locks; }
bool fiber_is_over(const fiber_t *fiber) { return fiber->over; }
void fiber_keep(fiber_t *fiber, bool kept) { fiber->kept = kept; }

static void to_scheduler(fiber_t *fiber) {
#if defined(__SANITIZE_ADDRESS__)
    void *fake = NULL;
    __sanitizer_start_switch_fiber(fiber->over ? NULL : &fake, NULL, 0);
#endif
    swapcontext(&fiber->context, &scheduler);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
}

static void fiber_main(unsigned low, unsigned high) {
    fiber_t *fiber = (fiber_t *)((uintptr_t)low | (uintptr_t)high << 32);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
    fiber->body(fiber->subject);
    world_end_fiber();
}

void world_end_fiber(void) {
    if (running->owner == OF_SUPERVISOR && running->locks != 0)
        world_fail("a thread ends with a lock");
    running->over = true;
    to_scheduler(running);
    abort();
}

fiber_t *fiber_begin(owner_t owner, const char *name, void (*body)(void *), void *subject) {
    size_t i = 0;
    while (i < FIBERS_MAX && fibers[i].used && !(fibers[i].over && !fibers[i].kept))
        i++;
    if (i == FIBERS_MAX)
        world_fail("too many threads");
    fiber_t *fiber = &fibers[i];
    uint8_t *stack = fiber->stack ? fiber->stack : malloc(STACK_BYTES);
    memset(fiber, 0, sizeof *fiber);
    fiber->stack = stack;
    fiber->used = true;
    fiber->owner = owner;
    fiber->name = name;
    fiber->body = body;
    fiber->subject = subject;
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = stack;
    fiber->context.uc_stack.ss_size = STACK_BYTES;
    fiber->context.uc_link = NULL;
    makecontext(&fiber->context, (void (*)(void))fiber_main, 2, (unsigned)(uintptr_t)fiber,
                (unsigned)((uintptr_t)fiber >> 32));
    return fiber;
}

void world_switch(void) {
    if (running != NULL && one_in(switchiness))
        to_scheduler(running);
}

bool world_wait(bool (*ready)(void *), void *subject, int64_t until_ns) {
    if (running == NULL)
        world_fail("an event waits");
    fiber_t *fiber = running;
    fiber->ready = ready;
    fiber->ready_subject = subject;
    fiber->until_ns = until_ns;
    to_scheduler(fiber);
    fiber->ready = NULL;
    return fiber->was_ready;
}

static bool never(void *subject) {
    (void)subject;
    return false;
}

void world_sleep(int64_t ns) { world_wait(never, NULL, now_ns + ns); }

/* ---- events */

static bool before(const event_t *a, const event_t *b) {
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->number < b->number;
}

static void sift_down(size_t i) {
    for (;;) {
        size_t least = i, child = 2 * i + 1;
        if (child < heap_count && before(&heap[child], &heap[least]))
            least = child;
        if (child + 1 < heap_count && before(&heap[child + 1], &heap[least]))
            least = child + 1;
        if (least == i)
            return;
        event_t moved = heap[i];
        heap[i] = heap[least];
        heap[least] = moved;
        i = least;
    }
}

void world_at(owner_t owner, int64_t at_ns, void (*action)(void *), void *subject) {
    if (heap_count == heap_capacity) {
        heap_capacity = heap_capacity ? 2 * heap_capacity : 64;
        heap = realloc(heap, heap_capacity * sizeof *heap);
    }
    size_t i = heap_count++;
    heap[i] = (event_t){at_ns > now_ns ? at_ns : now_ns, event_number++, owner, action, subject};
    while (i > 0 && before(&heap[i], &heap[(i - 1) / 2])) {
        event_t moved = heap[i];
        heap[i] = heap[(i - 1) / 2];
        heap[(i - 1) / 2] = moved;
        i = (i - 1) / 2;
    }
}

void world_kill(owner_t owner) {
    for (size_t i = 0; i < FIBERS_MAX; i++)
        if (fibers[i].used && fibers[i].owner == owner)
            fibers[i].used = fibers[i].kept = !(fibers[i].over = true);
    size_t kept = 0;
    for (size_t i = 0; i < heap_count; i++)
        if (heap[i].owner != owner)
            heap[kept++] = heap[i];
    heap_count = kept;
    for (size_t i = heap_count; i-- > 0;)
        sift_down(i);
}

static bool happen(void) {
    if (heap_count == 0 || heap[0].at_ns > now_ns)
        return false;
    event_t event = heap[0];
    heap[0] = heap[--heap_count];
    sift_down(0);
    event.action(event.subject);
    return true;
}

/* ---- the scheduler */

static bool can_run(fiber_t *fiber) {
    if (!fiber->used || fiber->over)
        return false;
    if (fiber->ready == NULL)
        return true;
    fiber->was_ready = fiber->ready(fiber->ready_subject);
    return fiber->was_ready || fiber->until_ns <= now_ns;
}

static void run(fiber_t *fiber) {
    running = fiber;
#if defined(__SANITIZE_ADDRESS__)
    void *fake = NULL;
    __sanitizer_start_switch_fiber(&fake, fiber->stack, STACK_BYTES);
#endif
    swapcontext(&scheduler, &fiber->context);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
    running = NULL;
}

/* To the next thing that has a time. False: there is none. */
static bool pass_time(int64_t until_ns) {
    int64_t next_ns = heap_count > 0 ? heap[0].at_ns : FOREVER;
    for (size_t i = 0; i < FIBERS_MAX; i++)
        if (fibers[i].used && !fibers[i].over && fibers[i].ready != NULL && fibers[i].until_ns < next_ns)
            next_ns = fibers[i].until_ns;
    if (next_ns == FOREVER || next_ns > until_ns)
        return false;
    now_ns = next_ns > now_ns ? next_ns : now_ns;
    return true;
}

bool world_run(bool (*over)(void), int64_t until_ns) {
    while (!over()) {
        events++;
        if (world_check != NULL)
            world_check();
        if (now_ns > until_ns)
            return false;
        fiber_t *able[FIBERS_MAX];
        size_t count = 0;
        for (size_t i = 0; i < FIBERS_MAX; i++)
            if (fibers[i].used && !fibers[i].over && can_run(&fibers[i]))
                able[count++] = &fibers[i];
        bool due = heap_count > 0 && heap[0].at_ns <= now_ns;
        if (count == 0 && !due) {
            if (!pass_time(until_ns))
                return false;
            continue;
        }
        if (due && (count == 0 || one_in(2)))
            happen();
        else
            run(able[chance(count)]);
        now_ns += (int64_t)chance(20) * MICROSECOND;
        if (one_in(20000))
            now_ns += spread(0, 3 * SECOND); /* the machine stood still */
    }
    return true;
}
