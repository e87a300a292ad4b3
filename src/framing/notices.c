#include "notices.h"

#include <stdio.h>
#include <string.h>

#include "wake.h"

int notices_open(notices_t *n) {
    memset(n, 0, sizeof *n);
    pthread_mutex_init(&n->lock, NULL);
    n->wake_fd = wake_open();
    return n->wake_fd < 0 ? -1 : 0;
}

void notice_post(notices_t *n, notice_kind_t kind, int code, const char *text) {
    pthread_mutex_lock(&n->lock);
    if (n->count >= (kind <= NOTICE_LAST_IN_NUMBERS ? NOTICES - NOTICES_FOR_STATE : NOTICES)) {
        n->dropped++;
    } else {
        notice_t *slot = &n->ring[(n->first + n->count++) % NOTICES];
        slot->kind = kind;
        slot->code = code;
        snprintf(slot->text, sizeof slot->text, "%s", text);
    }
    int show = !n->in_round && n->shown < n->count;
    if (show)
        n->shown = n->count;
    pthread_mutex_unlock(&n->lock);
    if (show)
        wake(n->wake_fd);
}

void notices_hold(notices_t *n) {
    pthread_mutex_lock(&n->lock);
    n->in_round = 1;
    pthread_mutex_unlock(&n->lock);
}

void notices_show(notices_t *n) {
    pthread_mutex_lock(&n->lock);
    int more = n->shown < n->count;
    n->in_round = 0;
    n->shown = n->count;
    pthread_mutex_unlock(&n->lock);
    if (more)
        wake(n->wake_fd);
}

int notice_take(notices_t *n, notice_t *taken) {
    pthread_mutex_lock(&n->lock);
    int any = n->shown > 0;
    if (any) {
        *taken = n->ring[n->first];
        n->first = (n->first + 1) % NOTICES;
        n->count--;
        n->shown--;
    }
    pthread_mutex_unlock(&n->lock);
    return any;
}
