/* What a record's headers take in memory: they lie behind its value in the buffer that librdkafka fetched it in, and live as
 * long as it does, so they count for the ledger's bound.
 *
 * librdkafka has no function for it but the parsing of all headers, and that costs 80 ns even for a record that has none. In
 * the one format that knows headers (record batch v2) a zero byte follows the value of a record without them: their number.
 * A look at that byte spares nearly every record the call; it is only for the count, and in older formats, where the byte is
 * another one's, the call says that there are none. */
#pragma once

#include <stdint.h>
#include <string.h>

#include "rdkafka_api.h"

#define HEADER_OVERHEAD_BYTES 4 /* the lengths of name and value */
#define PAGE_BYTES 4096         /* no page is smaller */

/* Whether there may be headers, by the byte behind the value. A byte on another page than the value is not touched: in an
 * older format the fetched buffer may end there. */
static inline int header_bytes_may_be(const rd_kafka_message_t *m) {
    const uint8_t *behind = m->payload;
    if (behind == NULL) /* a tombstone; its key alone does not tell where the rest is */
        return 1;
    behind += m->len;
    return (uintptr_t)behind % PAGE_BYTES == 0 || *behind != 0;
}

static size_t header_bytes_parsed(rd_kafka_message_t *m) {
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t size, bytes = 0;
    if (rdk.message_detach_headers(m, &headers) != RDK_ERR_NONE)
        return 0;
    for (size_t i = 0; rdk.header_get_all(headers, i, &name, &value, &size) == RDK_ERR_NONE; i++)
        bytes += strlen(name) + size + HEADER_OVERHEAD_BYTES;
    rdk.headers_destroy(headers); /* parsed again in the rare case that a dead-letter record takes them */
    return bytes;
}

static inline size_t header_bytes(rd_kafka_message_t *m) { return header_bytes_may_be(m) ? header_bytes_parsed(m) : 0; }
