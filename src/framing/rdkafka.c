#include "rdkafka.h"

#include <dlfcn.h>
#include <stdio.h>

rdk_api_t rdk;

/* incremental_assign, consumer_close_queue and others need 2.0; the struct layouts above are those of 2.x. */
#define RDK_OLDEST_VERSION 0x02060000
#define RDK_NEXT_MAJOR 0x03000000

int rdk_load(const char *path, char *why, size_t why_size) {
    void *object = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    if (object == NULL) {
        snprintf(why, why_size, "%s is not loaded: import confluent_kafka first", path);
        return -1;
    }
#define X(ret, name, args)                                                                                           \
    if ((*(void **)(&rdk.name) = dlsym(object, "rd_kafka_" #name)) == NULL) {                                        \
        snprintf(why, why_size, "%s does not offer rd_kafka_" #name ": install confluent-kafka 2.6 or newer", path); \
        return -1;                                                                                                   \
    }
    RDK_FUNCTIONS(X)
#undef X
    if (rdk.version() < RDK_OLDEST_VERSION || rdk.version() >= RDK_NEXT_MAJOR) {
        snprintf(why, why_size, "librdkafka %s in %s: this build is made for 2.6 up to 2.x", rdk.version_str(), path);
        return -1;
    }
    return 0;
}
