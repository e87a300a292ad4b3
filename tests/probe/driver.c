/* The Calculator probe for tests: made and asked from Python through ctypes. Not in the wheel. */
#include "calculator_probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    calculator_probe_t probe;
    char proc[256];
} driver_t;

driver_t *driver_new(const char *proc, int leader, const uint64_t stdio[3]) {
    driver_t *driver = malloc(sizeof *driver);
    if (driver == NULL)
        return NULL;
    memset(driver, 0xA5, sizeof *driver); /* nothing depends on what was there before */
    snprintf(driver->proc, sizeof driver->proc, "%s", proc);
    const ino_t inodes[3] = {(ino_t)stdio[0], (ino_t)stdio[1], (ino_t)stdio[2]};
    calculator_probe_attach(&driver->probe, driver->proc, leader, inodes);
    return driver;
}

void driver_free(driver_t *driver) { free(driver); }

void driver_first_record(driver_t *driver) { calculator_probe_first_record(&driver->probe); }
void driver_set_first_record(driver_t *driver, uint64_t ticks) {
    driver->probe.first_record_ticks = ticks;
    driver->probe.recount = true;
}
int driver_look(driver_t *driver) { return (int)calculator_probe_look(&driver->probe); }
int driver_reader(driver_t *driver) { return (int)calculator_probe_reader(&driver->probe); }
int driver_note(const driver_t *driver) { return (int)driver->probe.note; }
int driver_processes(const driver_t *driver) { return driver->probe.process_count; }
int64_t driver_scans(const driver_t *driver) { return driver->probe.scans; }
int64_t driver_peer_questions(const driver_t *driver) { return driver->probe.peer_questions; }
int driver_pid(const driver_t *driver, int index) { return driver->probe.processes[index].pid; }
int driver_counts(const driver_t *driver, int index) {
    return driver->probe.processes[index].counts ? driver->probe.processes[index].bystander ? 2 : 1 : 0;
}
