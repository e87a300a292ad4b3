/* Each line goes over a pair of sockets to a child and back. */
#include <sys/socket.h>
#include <unistd.h>

int main(void) {
    char line[256];
    int ends[2];
    ssize_t n;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return 1;
    if (fork() == 0) {
        close(ends[0]);
        while ((n = recv(ends[1], line, sizeof line, 0)) > 0) {
            usleep(250000);
            send(ends[1], line, (size_t)n, MSG_NOSIGNAL);
        }
        return 0;
    }
    close(ends[1]);
    while ((n = read(0, line, sizeof line)) > 0) {
        send(ends[0], line, (size_t)n, MSG_NOSIGNAL);
        n = recv(ends[0], line, sizeof line, 0);
        if (n <= 0 || write(1, line, (size_t)n) != n)
            return 1;
    }
    return 0;
}
