/* A model of a Calculator: a program that handles its lines in order and prints the answers before it asks for more. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

typedef struct {
    int64_t work_ns;      /* most for one record */
    unsigned crash;       /* one in so many records ends it; 0: none does */
    unsigned surplus;     /* one in so many records gets a line too many: `line` is broken; 0: none does */
    size_t block_bytes;   /* most that one read asks for */
    const char *prefix;   /* of marker lines, which are echoed; NULL: there are none */
    int poison_partition; /* a record that ends it each time; -1: there is none */
    int64_t poison_offset;
} calculator_settings_t;

typedef struct {
    pid_t pid;
    bool running;
    int status; /* 0: it ended by itself in order, else how */
} calculator_t;

extern calculator_settings_t calculator_settings;
extern calculator_t calculator;

void calculator_begin(void);

/* Start one; ours are the other ends of its pipes. */
void calculator_start(size_t pipe_bytes, int *stdin_fd, int *stdout_fd);
void calculator_kill(int status);
