/* Counting lines: what a Calculator printed, as far as a person has to see it to understand a broken rule. That is the first
 * line of its run, which a banner would be, and the first line that is one too many.
 *
 * The outlet notes them while it frames; it knows how many lines were written by a number that the inlet tells after each
 * write, so a line that is fast may be noted for a moment though it is no surplus. The inlet, which knows, goes by the number.
 */
#pragma once

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#define QUOTE_BYTES 128

typedef struct {
    pthread_mutex_t lock;
    _Atomic int64_t written; /* lines of STDIN, counted on as the lines of STDOUT are */
    int64_t number;          /* of the line noted, counted like `written` */
    char line[QUOTE_BYTES], first[QUOTE_BYTES];
} surplus_t;

/* Fit for one line of text, and no longer than the room: no control character, and no part of a UTF-8 character at the cut. */
static inline void quote_line(char *to, const uint8_t *line, size_t size) {
    static const char more[] = "...";
    size_t n = size;
    if (n >= QUOTE_BYTES) {
        n = QUOTE_BYTES - sizeof more;
        while (n > 0 && (line[n] & 0xc0) == 0x80)
            n--;
    }
    for (size_t i = 0; i < n; i++)
        to[i] = (char)(line[i] < 0x20 || line[i] == 0x7f ? ' ' : line[i]);
    if (n < size)
        memcpy(to + n, more, sizeof more);
    else
        to[n] = '\0';
}

static inline void surplus_note(surplus_t *s, int64_t number, const uint8_t *line, size_t size) {
    pthread_mutex_lock(&s->lock);
    quote_line(s->line, line, size);
    s->number = number;
    pthread_mutex_unlock(&s->lock);
}

static inline void surplus_note_first(surplus_t *s, const uint8_t *line, size_t size) {
    pthread_mutex_lock(&s->lock);
    quote_line(s->first, line, size);
    pthread_mutex_unlock(&s->lock);
}

/* A run begins, and has printed nothing. */
static inline void surplus_begin(surplus_t *s) {
    pthread_mutex_lock(&s->lock);
    s->number = 0;
    s->line[0] = s->first[0] = '\0';
    pthread_mutex_unlock(&s->lock);
}

/* Copies of both lines, each of QUOTE_BYTES; `line` is empty where the line of this number was not noted. */
static inline void surplus_take(surplus_t *s, int64_t number, char *line, char *first) {
    pthread_mutex_lock(&s->lock);
    memcpy(first, s->first, QUOTE_BYTES);
    memcpy(line, s->line, QUOTE_BYTES);
    if (s->number != number)
        line[0] = '\0';
    pthread_mutex_unlock(&s->lock);
}
