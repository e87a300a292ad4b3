#include "cut.h"

#include "rdkafka.h"

void cut_drop_offsets(cut_t *c) {
    void *offsets = cut_take_offsets(c);
    void *group = cut_take_group(c);
    if (offsets != NULL)
        rdk.topic_partition_list_destroy(offsets);
    if (group != NULL)
        rdk.consumer_group_metadata_destroy(group);
}
