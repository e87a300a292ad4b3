/* Keeps ten lines between reads and handles them together: what `demand` cannot see. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void) {
    static char *lines[10];
    static size_t sizes[10];
    ssize_t n[10];
    int kept = 0;
    const int side = open(getenv("SIDE"), O_WRONLY | O_APPEND | O_CREAT, 0644);
    for (;;) {
        n[kept] = getline(&lines[kept], &sizes[kept], stdin);
        const int over = n[kept] <= 0;
        kept += !over;
        if (kept < 10 && !over)
            continue;
        for (int i = 0; i < kept; i++)
            if (write(1, lines[i], (size_t)n[i]) != n[i] || write(side, lines[i], (size_t)n[i]) != n[i])
                return 1;
        if (over)
            return 0;
        kept = 0;
    }
}
