/* KAFKA_AUTO_OFFSET_RESET=latest: where a partition begins of which the group has committed nothing.
 *
 * At the end that its log has now, and that is committed before anything is read: else an instance that is killed before its
 * first record would leave the next one to begin at a later end. But a partition that the topic did not have when its first
 * ones were asked about begins at its beginning, which is committed likewise: what is in it came since.
 */
#pragma once

#include "offsets_question.h"

/* Called by the question's thread, with the answer: puts an offset where there is none, and commits it. Waits for brokers, some
 * seconds at most. Returns 0 or librdkafka's error: nothing is known then, and it is to be asked again. */
int latest_resolve(offsets_question_t *q);
