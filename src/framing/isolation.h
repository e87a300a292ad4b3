/* Records that are written alone because one of them ends the Calculator, and the dead-letter records of the inlet. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct inlet_s inlet_t;

typedef struct {
    int64_t until; /* records before this one are written alone, one of them ends the Calculator; 0: none is */
    char why[240]; /* of the last one found */
} isolation_t;

/* Of what was written to a run that is gone: it read something of each record before this. */
int64_t isolation_read_until(const inlet_t *s);

/* Whether records are written alone now. Ends it when all that are suspected were answered, or where nothing shows that a
 * record which nothing follows is done with. */
bool isolation_is_on(inlet_t *s);

/* Before which record writing stops: one is written when everything before it was answered. */
int64_t isolation_limit(const inlet_t *s);
