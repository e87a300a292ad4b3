/* A program of the 32-bit kind, whose system calls have numbers of their own. No C library is needed. */
static int call(int number, int first, void *second, int third) {
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third) : "memory");
    return result;
}

void _start(void) {
    static char line[256];
    int n;
    while ((n = call(3, 0, line, sizeof line)) > 0)
        call(4, 1, line, n);
    for (;;)
        call(1, 0, 0, 0);
}
