/* What a record's headers take in memory: they lie behind its value in the buffer that librdkafka fetched it in, and live as
 * long as it does, so they count for the ledger's bound.
 *
 * librdkafka has no function for it but the parsing of all headers, which costs 80 ns even for a record that has none, and
 * 260 ns where there are five. Two looks spare nearly every record the call:
 * - In the one format that knows headers (record batch v2) a zero byte follows the value of a record without them: their
 *   number. In older formats, where the byte is another one's, the call says that there are none.
 * - What lies between a value and the record taken next holds the headers, whatever else there is. Where that is little, it
 *   is counted.
 * Both are for the count alone: were a librdkafka to keep values elsewhere, only the bound would be less exact. */
#pragma once

#include <stdint.h>
#include <string.h>

#include "rdkafka.h"

#define HEADER_OVERHEAD_BYTES 4 /* the lengths of name and value */
#define HEADER_GAP_BYTES 4096   /* more than this between two records may be another buffer */
#define PAGE_BYTES 4096         /* no page is smaller */

/* Whether there may be headers, by the byte behind the value. A byte on another page than the value is not touched: in an
 * older format the fetched buffer may end there. */
static inline int header_bytes_may_be(const rd_kafka_message_t *m) {
    const uint8_t *behind = (const uint8_t *)m->payload + m->len;
    return (uintptr_t)behind % PAGE_BYTES == 0 || *behind != 0;
}

static inline size_t header_bytes_parsed(rd_kafka_message_t *m) {
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

/* `next`: the record taken behind it, or NULL. */
static inline size_t header_bytes(rd_kafka_message_t *m, const rd_kafka_message_t *next) {
    if (m->len == 0) /* a tombstone or an empty value, which librdkafka keeps in no buffer */
        return header_bytes_parsed(m);
    if (!header_bytes_may_be(m))
        return 0;
    if (next != NULL) {
        uintptr_t gap = (uintptr_t)(next->key != NULL ? next->key : next->payload) - ((uintptr_t)m->payload + m->len);
        if (0 < gap && gap <= HEADER_GAP_BYTES)
            return gap;
    }
    return header_bytes_parsed(m);
}
