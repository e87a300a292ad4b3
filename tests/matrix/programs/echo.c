/* getline, print, flush; each line handled is noted in the log of $SIDE. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void) {
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    const int side = open(getenv("SIDE"), O_WRONLY | O_APPEND | O_CREAT, 0644);
    while ((n = getline(&line, &size, stdin)) > 0) {
        fwrite(line, 1, (size_t)n, stdout);
        fflush(stdout);
        if (write(side, line, (size_t)n) != n)
            return 1;
    }
    return 0;
}
