// The smallest Calculator: each line of STDIN on STDOUT, each flushed.
#include <stdio.h>

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    for (int c; (c = getchar()) != EOF;)
        putchar(c);
    return 0;
}
