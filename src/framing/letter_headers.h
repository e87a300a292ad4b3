/* The headers of Kafka Connect's dead letter queues. */
#pragma once

#include "progress.h"
#include "rdkafka.h"

/* All but those of the record's place, into `headers`. */
void letter_headers_add(rd_kafka_headers_t *headers, const progress_t *p, const char *stage, const char *cause,
                        const char *why, const char *topic);

/* Likewise, new ones. */
rd_kafka_headers_t *letter_headers(const progress_t *p, const char *stage, const char *cause, const char *why,
                                   const char *topic);
