# The C kernels, declared, and each of them as a function of one line: what tests and benchmarks call. The data path
# calls the C side.
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy


cdef extern from "envelope.h" nogil:
    const size_t FRAMING_PADDING
    enum isa:
        ISA_SCALAR
        ISA_SSE2
        ISA_SSSE3
        ISA_AVX2
    const int JSON_INVALID
    const int JSON_VALID
    const int JSON_NULL
    ctypedef struct kernels_t:
        const char *name
        const uint8_t *find_newline(const uint8_t *p, size_t n) noexcept nogil
        int utf8_valid(const uint8_t *p, size_t n) noexcept nogil
        size_t json_escape(const uint8_t *src, size_t n, uint8_t *dst, size_t *repaired) noexcept nogil
        int json_check(const uint8_t *p, size_t n) noexcept nogil
    kernels_t kernels
    isa cpu_best_isa() noexcept
    int kernels_select(isa level) noexcept
    const kernels_t *kernels_named(const char *name) noexcept
    size_t json_escaped_size(const kernels_t *k, const uint8_t *src, size_t n) noexcept

    struct envelope:
        size_t raw_head_size
    int envelope_init(envelope *envelope, const kernels_t *k, const uint8_t *wsp, size_t n) noexcept
    void envelope_free(envelope *envelope) noexcept
    void envelope_stamp(envelope *envelope, int64_t ts_ms) noexcept
    size_t envelope_bound(const envelope *envelope, size_t n) noexcept
    size_t envelope_raw_size(const envelope *envelope, const uint8_t *line, size_t n) noexcept
    size_t envelope_parsed_size(const envelope *envelope, size_t n) noexcept
    size_t envelope_write_raw(
        const envelope *envelope, const uint8_t *line, size_t n, uint8_t *dst, size_t *repaired
    ) noexcept
    size_t envelope_write_parsed(const envelope *envelope, const uint8_t *line, size_t n, uint8_t *dst) noexcept


cdef const kernels_t *_kernels(str isa) except NULL:
    name = isa.encode()
    cdef const kernels_t *found = kernels_named(name)
    if found == NULL:
        raise ValueError(f"kernels for isa {isa!r} are not to be had on this processor")
    return found


cdef class _Bytes:
    """The bytes of any contiguous buffer object, in place."""
    cdef Py_buffer view
    cdef const uint8_t *p
    cdef size_t n

    def __cinit__(self, data):
        PyObject_GetBuffer(data, &self.view, PyBUF_SIMPLE)
        self.p = <const uint8_t *>self.view.buf
        self.n = <size_t>self.view.len

    def __dealloc__(self):
        PyBuffer_Release(&self.view)


cdef class _Room:
    """Memory of exactly n bytes, so that a checker of addresses sees the first one too many."""
    cdef uint8_t *p

    def __cinit__(self, size_t n):
        self.p = <uint8_t *>malloc(n)
        if self.p == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.p)


cdef _Room _padded_line(_Bytes line):
    """A copy that json_check may read: a newline behind it, and as much room as is asked for, not more."""
    cdef _Room room = _Room(line.n + FRAMING_PADDING)
    memcpy(room.p, line.p, line.n)
    room.p[line.n] = c"\n"
    return room


cdef class _Envelope:
    cdef envelope frame

    def __cinit__(self, bytes wsp, int64_t ts_ms, str isa):
        if envelope_init(&self.frame, _kernels(isa), wsp, len(wsp)) != 0:
            raise MemoryError
        envelope_stamp(&self.frame, ts_ms)

    def __dealloc__(self):
        envelope_free(&self.frame)


def best_isa() -> str:
    """Name of the best level this processor has."""
    names = {ISA_SCALAR: "scalar", ISA_SSE2: "sse2", ISA_SSSE3: "ssse3", ISA_AVX2: "avx2"}
    return names[cpu_best_isa()]


def find_newline(data, str isa):
    """Offset of the first newline, or -1."""
    cdef const kernels_t *k = _kernels(isa)
    cdef _Bytes source = _Bytes(data)
    cdef const uint8_t *found = k.find_newline(source.p, source.n)
    return found - source.p if found != NULL else -1


def utf8_valid(data, str isa):
    """Whether the bytes are well-formed UTF-8."""
    cdef const kernels_t *k = _kernels(isa)
    cdef _Bytes source = _Bytes(data)
    return bool(k.utf8_valid(source.p, source.n))


def json_escape(data, str isa):
    """(inside of a JSON string as bytes, how many ill-formed sequences were replaced)"""
    cdef const kernels_t *k = _kernels(isa)
    cdef _Bytes source = _Bytes(data)
    cdef size_t size = json_escaped_size(k, source.p, source.n), repaired = 0
    cdef _Room room = _Room(size + FRAMING_PADDING)
    cdef size_t written = k.json_escape(source.p, source.n, room.p, &repaired)
    assert written == size, f"json_escaped_size said {size}, json_escape wrote {written} bytes"
    return PyBytes_FromStringAndSize(<char *>room.p, written), repaired


def json_check(data, str isa):
    """0: not one JSON value, 1: one JSON value, 2: the value null."""
    cdef const kernels_t *k = _kernels(isa)
    cdef _Bytes source = _Bytes(data)
    cdef _Room line = _padded_line(source)
    return k.json_check(line.p, source.n)


def envelope_raw(data, bytes wsp, int64_t ts_ms, str isa):
    """(dataframe with the line as raw, how many ill-formed sequences were replaced)"""
    cdef _Envelope e = _Envelope(wsp, ts_ms, isa)
    cdef _Bytes line = _Bytes(data)
    cdef size_t size = envelope_raw_size(&e.frame, line.p, line.n), repaired = 0
    cdef _Room room = _Room(size + FRAMING_PADDING)
    cdef size_t written = envelope_write_raw(&e.frame, line.p, line.n, room.p, &repaired)
    assert written == size <= envelope_bound(&e.frame, line.n), f"{size} bytes foretold, {written} written"
    return PyBytes_FromStringAndSize(<char *>room.p, written), repaired


def envelope_parsed(data, bytes wsp, int64_t ts_ms, str isa):
    """Dataframe with the line, which has to be a JSON value, as parsed."""
    cdef _Envelope e = _Envelope(wsp, ts_ms, isa)
    cdef _Bytes line = _Bytes(data)
    cdef size_t size = envelope_parsed_size(&e.frame, line.n)
    cdef _Room room = _Room(size + FRAMING_PADDING)
    cdef size_t written = envelope_write_parsed(&e.frame, line.p, line.n, room.p)
    assert written == size <= envelope_bound(&e.frame, line.n), f"{size} bytes foretold, {written} written"
    return PyBytes_FromStringAndSize(<char *>room.p, written)


def frame_bench(data, str isa, bint output_json, int repeats):
    """Frames every line of data, repeats times, as the data path does and without the GIL; returns the bytes written.
    Lines end with a newline. The output goes round and round in 256 KiB."""
    cdef const kernels_t *k = _kernels(isa)
    cdef _Envelope e = _Envelope(b"2c1f9d0e-6f0b-4f6e-9a53-0d6f4b7c8a11", 1700000000000, isa)
    cdef _Bytes source = _Bytes(data)
    cdef _Room chunk = _padded_line(source)
    cdef size_t slab_size = 1 << 18
    cdef _Room slab = _Room(slab_size + envelope_bound(&e.frame, source.n))
    cdef const uint8_t *end = chunk.p + source.n
    cdef const uint8_t *line
    cdef const uint8_t *newline
    cdef size_t n, written, used = 0, total = 0, repaired = 0
    with nogil:
        for _ in range(repeats):
            line = chunk.p
            while True:
                newline = k.find_newline(line, end - line)
                if newline == NULL:
                    break
                n = newline - line
                if used > slab_size:
                    used = 0
                if output_json and k.json_check(line, n) == JSON_VALID:
                    written = envelope_write_parsed(&e.frame, line, n, slab.p + used)
                else:
                    written = envelope_write_raw(&e.frame, line, n, slab.p + used, &repaired)
                used += written
                total += written
                line = newline + 1
    return total
