/* Preloaded: a resolver that does not answer for names that end in ".slow.test" while the file $SLOW_NAMES is there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **answer) {
    static const char suffix[] = ".slow.test";
    size_t length = node ? strlen(node) : 0;
    const char *held = getenv("SLOW_NAMES");
    if (length >= sizeof suffix && strcmp(node + length - (sizeof suffix - 1), suffix) == 0) {
        while (held != NULL && access(held, F_OK) == 0)
            usleep(10000);
        return EAI_AGAIN;
    }
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    return next(node, service, hints, answer);
}
