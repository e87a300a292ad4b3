/* A model of what the Python side does: runs of the Calculator, orders, and the end. Source: supervisor.relay. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "promises.h"

typedef struct {
    int64_t max_records, max_bytes;
    size_t pipe_bytes;
    int64_t grace_ns;
    unsigned orders_s; /* an order about every so many seconds; 0: none */
} relay_settings_t;

extern relay_settings_t relay_settings;

/* A Supervisor starts. */
void relay_start(void);
/* Whether it ended in order. */
bool relay_is_over(void);
/* SIGTERM. */
void relay_stop(void);
/* SIGKILL, and all that it had is gone. */
void relay_kill(void);
/* For a person: how things are. */
void relay_say(void);
