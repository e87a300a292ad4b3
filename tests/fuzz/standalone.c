/* Drives a fuzz target without libFuzzer: bytes, pieces that are hard on vector code, and JSON with bytes changed, from a
   generator of its own. Usage: target [seconds] [seed]. A failure comes again with the seed that is printed. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_INPUT 4096
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t state;
static uint32_t chance(uint32_t below) { /* xorshift64* */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * 0x2545F4914F6CDD1Dull) >> 33) % below;
}

static uint8_t input[MAX_INPUT];
static size_t used;

static void put(const char *piece, size_t n) {
    if (used + n > MAX_INPUT)
        return;
    memcpy(input + used, piece, n);
    used += n;
}
static void put_text(const char *text) { put(text, strlen(text)); }
static void put_repeated(const char *text, uint32_t times) {
    while (times--)
        put_text(text);
}

static const char *const PIECES[] = {
    "a",
    " ",
    "\"",
    "\\",
    "\n",
    "\r",
    "\x01",
    "\x1f",
    "\x7f",
    "\xd0\xb6",
    "\xe2\x82\xac",
    "\xf0\x9f\x98\x80",
    "\xef\xbf\xbd",
    "\x80",
    "\xbf",
    "\xc2",
    "\xe2",
    "\xe2\x82",
    "\xf0\x9f",
    "\xf0\x9f\x98",
    "\xc0\x80",
    "\xe0\x9f\xbf",
    "\xed\xa0\x80",
    "\xf0\x8f\xbf\xbf",
    "\xf4\x90\x80\x80",
    "\xf5",
    "\xff",
};

static void put_pieces(void) {
    for (uint32_t n = chance(30); n; n--) {
        const char *piece = PIECES[chance(LENGTH(PIECES))];
        put_repeated(piece, chance(4) ? 1 : chance(70));
        put_repeated("x", chance(3) ? 0 : chance(70));
    }
    if (chance(8) == 0)
        put("", 1); /* a zero byte */
}

static const char *const SCALARS[] = {
    "0",
    "-0",
    "17",
    "-1.5e+30",
    "1E5",
    "0.25",
    "true",
    "false",
    "null",
    "\"\"",
    "\"a\"",
    "\"\\u0041\\n\\\\\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "\"a string that is longer than thirty-two bytes, to be sure\"",
    "\"\xd0\xb6\xe2\x82\xac\xf0\x9f\x98\x80\"",
};

static void put_value(unsigned depth) {
    uint32_t kind = depth < 6 ? chance(4) : 3;
    if (kind >= 2) {
        put_text(SCALARS[chance(LENGTH(SCALARS))]);
        return;
    }
    put_text(kind ? "{" : "[");
    for (uint32_t n = chance(4), i = 0; i < n; i++) {
        if (i)
            put_text(chance(4) ? "," : " ,\t");
        if (kind)
            put_text(chance(4) ? "\"key\":" : "\"k\\n\" :\r ");
        put_value(depth + 1);
    }
    put_text(kind ? "}" : "]");
}

static void make_input(void) {
    used = 0;
    switch (chance(5)) {
    case 0:
        for (uint32_t n = chance(200); n; n--)
            input[used++] = (uint8_t)chance(256);
        break;
    case 1:
        put_pieces();
        break;
    case 2:
        put_repeated(chance(2) ? "[" : "{\"a\":", 505 + chance(12));
        if (chance(2)) { /* brackets closed: at the limit of depth, just below or above */
            size_t opened = used;
            put_text("1");
            for (size_t i = 0; i < opened; i++)
                if (input[i] == '[' || input[i] == '{')
                    put_text(input[i] == '[' ? "]" : "}");
        }
        break;
    default:
        put_value(0);
        for (uint32_t n = chance(3); n && used; n--)
            input[chance((uint32_t)used)] =
                (uint8_t)(chance(2) ? "\"\\{}[]:,0.eE+-tu \x1f\x80"[chance(19)] : (char)chance(256));
    }
}

int main(int argc, char **argv) {
    long seconds = argc > 1 ? strtol(argv[1], NULL, 10) : 20;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    time_t end = now.tv_sec + seconds;
    unsigned long inputs = 0;
    printf("seed %llu, %ld s\n", (unsigned long long)seed, seconds);
    fflush(stdout);
    state = seed * 0x9E3779B97F4A7C15ull | 1;
    do {
        for (int i = 0; i < 1000; i++, inputs++) {
            make_input();
            LLVMFuzzerTestOneInput(input, used);
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec < end);
    printf("%lu inputs, nothing found\n", inputs);
    return 0;
}
