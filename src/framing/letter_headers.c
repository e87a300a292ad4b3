#include "letter_headers.h"

void letter_headers_add(rd_kafka_headers_t *headers, const progress_t *p, const char *stage, const char *cause,
                        const char *why, const char *topic) {
    rdk.header_add(headers, "__connect.errors.topic", -1, topic, -1);
    rdk.header_add(headers, "__connect.errors.connector.name", -1, p->workspace, -1);
    rdk.header_add(headers, "__connect.errors.stage", -1, stage, -1);
    rdk.header_add(headers, "__connect.errors.exception.class.name", -1, cause, -1);
    rdk.header_add(headers, "__connect.errors.exception.message", -1, why, -1);
}

rd_kafka_headers_t *letter_headers(const progress_t *p, const char *stage, const char *cause, const char *why,
                                   const char *topic) {
    rd_kafka_headers_t *headers = rdk.headers_new(8);
    letter_headers_add(headers, p, stage, cause, why, topic);
    return headers;
}
