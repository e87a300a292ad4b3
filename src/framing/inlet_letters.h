/* The inlet's part of dead letters, by the rules of dead.h: it posts those of records. */
#pragma once

typedef struct inlet_s inlet_t;

/* Of those that may be posted now. */
void inlet_post_letters(inlet_t *s);
