/* May not be looked at: with the argument "nodump" by prctl, with "uid" as another user. Works and sleeps on each line; with a
 * second argument "fork" a child works on it. Each line handled is noted in the log of $SIDE. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char *argv[]) {
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    const int side = open(getenv("SIDE"), O_WRONLY | O_APPEND | O_CREAT, 0644);
    if (strcmp(argv[1], "nodump") == 0 ? prctl(PR_SET_DUMPABLE, 0) : setgid(65534) || setuid(65534))
        return 1;
    for (long number = 0; (n = getline(&line, &size, stdin)) > 0; number++) {
        const pid_t child = argc > 2 ? fork() : 0;
        if (child == 0) {
            for (volatile int i = 0; i < 20000; i++)
                ;
            if (number % 20 == 0)
                usleep(5000);
            if (write(1, line, (size_t)n) != n || write(side, line, (size_t)n) != n)
                return 1;
            if (argc > 2)
                _exit(0);
        } else {
            waitpid(child, NULL, 0);
        }
    }
    return 0;
}
