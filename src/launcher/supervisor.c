/* The command `supervisor` of the wheel: it starts the script `supervisor-main` beside it, in the interpreter that pip
 * wrote into that script's first line, with -E and -P. Python's own settings in the environment, PYTHONHOME too, and
 * modules that lie about in the working directory, are the Calculator's: they reach it as they are, and change nothing
 * here. A script cannot do that: pip takes the options out of its first line, and where PYTHONHOME is another Python's the
 * interpreter ends before it has read a line of the script. A shell would put variables of its own into the environment.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char SCRIPT[] = "supervisor-main";

static int fail(const char *what, const char *path, const char *why) {
    fprintf(stderr, "supervisor: %s %s: %s\n", what, path, why);
    return 1;
}

/* The path of SCRIPT beside this program, links followed; 0 or -1. */
static int find_script(char *path, size_t size) {
    ssize_t length = readlink("/proc/self/exe", path, size - sizeof SCRIPT);

    if (length < 0)
        return -1;
    path[length] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash)
        return -1;
    memcpy(slash + 1, SCRIPT, sizeof SCRIPT);
    return 0;
}

/* The interpreter in the first line of `text`. Where that cannot hold it (too long, a space in it), installers write
 *     #!/bin/sh
 *     '''exec' '/a long path/python' "$0" "$@"
 */
static char *interpreter_of(char *text) {
    static const char shell[] = "#!/bin/sh\n'''exec' ";

    if (strncmp(text, shell, sizeof shell - 1) == 0) {
        char *begin = text + sizeof shell - 1;
        char *end = strstr(begin, " \"$0\"");
        if (!end)
            return NULL;
        if (*begin == '\'' || *begin == '"') {
            begin++;
            end--;
        }
        *end = '\0';
        return begin;
    }
    char *end = strchr(text, '\n');
    if (strncmp(text, "#!/", 3) != 0 || !end)
        return NULL;
    *end = '\0';
    return text + 2;
}

int main(int argc, char **argv) {
    /* Kept until somebody can act on it: the mask outlives the exec. */
    sigset_t every;
    sigfillset(&every);
    sigprocmask(SIG_BLOCK, &every, NULL);

    static char script[PATH_MAX];
    if (find_script(script, sizeof script) < 0)
        return fail("cannot find where it is by", "/proc/self/exe", strerror(errno));

    static char text[2 * PATH_MAX];
    int fd = open(script, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) < 0)
        return fail("cannot read", script, strerror(errno));
    close(fd);
    char *interpreter = interpreter_of(text);
    if (!interpreter)
        return fail("no interpreter stands in the first line of", script, "install the wheel again");

    char **command = calloc((size_t)argc + 4, sizeof *command);
    if (!command)
        return fail("cannot start", interpreter, strerror(errno));
    char **next = command;
    *next++ = interpreter;
    *next++ = "-E";
    *next++ = "-P";
    *next++ = script;
    for (int i = 1; i < argc; i++)
        *next++ = argv[i];
    execv(interpreter, command);
    return fail("cannot start", interpreter, strerror(errno));
}
