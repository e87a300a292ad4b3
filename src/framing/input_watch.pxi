# Has a run of the Calculator come to wait for its STDIN? Asked before its first record, with a probe of its own: the
# looks of `demand` go by what was seen at the one before.

from libc.stdlib cimport calloc, free

cdef extern from "calculator_probe.h" nogil:
    ctypedef unsigned long ino_t
    enum: PROBE_UNSEEN
    ctypedef struct calculator_probe_t:
        pass
    void calculator_probe_attach(calculator_probe_t *, const char *proc, int leader, const ino_t *stdio)
    int calculator_probe_look(calculator_probe_t *)
    bint calculator_probe_knows_reader(const calculator_probe_t *)


cdef class InputWatch:
    """Of one run: `pid` is its first process, `stdio` the inodes of the pipes that are its 0, 1 and 2, 0 if not known.

    For one thread.
    """

    cdef calculator_probe_t *probe

    def __cinit__(self, int pid, tuple stdio not None):
        cdef ino_t inodes[3]
        self.probe = <calculator_probe_t *>calloc(1, sizeof(calculator_probe_t))
        if self.probe == NULL:
            raise MemoryError
        inodes[0], inodes[1], inodes[2] = stdio
        calculator_probe_attach(self.probe, b"/proc", pid, inodes)

    def __dealloc__(self):
        free(self.probe)

    def look(self) -> str:
        """Return `waits` when one of its threads waits for STDIN, `unseen` if that cannot be seen, else `works`."""
        cdef int verdict
        with nogil:
            verdict = calculator_probe_look(self.probe)
        if calculator_probe_knows_reader(self.probe):
            return "waits"
        return "unseen" if verdict == PROBE_UNSEEN else "works"
