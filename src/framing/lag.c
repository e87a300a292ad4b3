#include "lag.h"

#include <stdlib.h>
#include <string.h>

void lag_open(lag_t *l) { pthread_mutex_init(&l->lock, NULL); }

void lag_close(lag_t *l) {
    free(l->shown);
    free(l->next);
}

int lag_reserve(lag_t *l, int32_t partitions) {
    if (partitions <= l->capacity)
        return 0;
    lag_entry_t *shown = malloc((size_t)partitions * sizeof *shown);
    lag_entry_t *next = malloc((size_t)partitions * sizeof *next);
    if (shown == NULL || next == NULL) {
        free(shown);
        free(next);
        return -1;
    }
    pthread_mutex_lock(&l->lock);
    lag_entry_t *old = l->shown;
    if (l->shown_count > 0)
        memcpy(shown, old, (size_t)l->shown_count * sizeof *shown);
    l->shown = shown;
    l->capacity = partitions;
    pthread_mutex_unlock(&l->lock);
    free(old);
    free(l->next);
    l->next = next;
    return 0;
}

void lag_show(lag_t *l, int32_t count) {
    pthread_mutex_lock(&l->lock);
    lag_entry_t *shown = l->next;
    l->next = l->shown;
    l->shown = shown;
    l->shown_count = count;
    pthread_mutex_unlock(&l->lock);
}

lag_entry_t *lag_copy(lag_t *l, int32_t *count) {
    lag_entry_t *copy = NULL;
    pthread_mutex_lock(&l->lock);
    *count = l->shown_count;
    if (*count > 0 && (copy = malloc((size_t)*count * sizeof *copy)) != NULL)
        memcpy(copy, l->shown, (size_t)*count * sizeof *copy);
    pthread_mutex_unlock(&l->lock);
    if (copy == NULL)
        *count = 0;
    return copy;
}
