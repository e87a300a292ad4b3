#include "delivery.h"

#include <stdlib.h>
#include <string.h>

int delivery_open(delivery_t *d, size_t max_slab_bytes) {
    memset(d, 0, sizeof *d);
    d->max_slab_bytes = max_slab_bytes;
    d->ring = calloc(BATCHES, sizeof *d->ring);
    return d->ring == NULL ? -1 : 0;
}

static void slab_free(delivery_t *d, slab_t *slab) {
    d->slab_bytes -= slab->capacity;
    d->slabs_live--;
    live_add(LIVE_slabs, -1);
    free(slab);
}

void slab_release(delivery_t *d, slab_t *slab) {
    if (--slab->holders > 0)
        return;
    if (slab->capacity == SLAB_BYTES && d->free_count < SLABS_KEPT) {
        slab->next = d->free_slabs;
        d->free_slabs = slab;
        d->free_count++;
        return;
    }
    slab_free(d, slab);
}

int slab_change(delivery_t *d, size_t need) {
    slab_t *slab;
    if (need <= SLAB_BYTES && d->free_slabs != NULL) {
        slab = d->free_slabs;
        d->free_slabs = slab->next;
        d->free_count--;
    } else {
        size_t capacity = need > SLAB_BYTES ? need : SLAB_BYTES;
        int none_in_use = d->slabs_live == d->free_count + (d->current != NULL && d->current->holders == 1);
        if (d->slab_bytes + capacity > d->max_slab_bytes && !none_in_use)
            return -1;
        slab = malloc(sizeof *slab + capacity);
        if (slab == NULL)
            return -1;
        slab->capacity = capacity;
        d->slab_bytes += capacity;
        d->slabs_live++;
        live_add(LIVE_slabs, 1);
    }
    if (d->current != NULL)
        slab_release(d, d->current);
    slab->next = NULL;
    slab->used = 0;
    slab->holders = 1;
    d->current = slab;
    return 0;
}

void delivery_close(delivery_t *d) {
    for (; d->count > 0; d->count--, d->first = (d->first + 1) % BATCHES)
        if (d->ring[d->first].slab != NULL)
            slab_release(d, d->ring[d->first].slab);
    if (d->current != NULL)
        slab_release(d, d->current);
    for (slab_t *slab = d->free_slabs, *next; slab != NULL; slab = next) {
        next = slab->next;
        slab_free(d, slab);
    }
    free(d->ring);
}
