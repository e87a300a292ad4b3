/* Starts as many sleeping processes as it is told to, says so, and ends them when its STDIN ends. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv) {
    for (int left = argc > 1 ? atoi(argv[1]) : 0; left > 0; left--)
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            close(0);
            close(1);
            pause();
            _exit(0);
        }
    char byte = '\n';
    if (write(1, &byte, 1) != 1)
        return 1;
    while (read(0, &byte, 1) > 0)
        continue;
    return 0;
}
