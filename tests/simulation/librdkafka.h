/* A model of librdkafka: the functions of `rdk`, as far as the data path uses them. Its callbacks run where librdkafka runs
 * them: delivery reports in poll, rebalances and commits in consumer_poll and on the closing queue, the partitioner in
 * produce_batch. What its own threads do are events of the world.
 *
 * Source: librdkafka 2.16. */
#pragma once

/* `rdk` from now on. */
void librdkafka_begin(void);
/* The Supervisor is killed: what is under way to a broker gets there or not. */
void librdkafka_killed(void);

/* From now on nothing goes wrong any more, and the group stays as it is: all partitions are ours. */
void librdkafka_calm(void);
