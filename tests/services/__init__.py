"""Real Kafka and Consul for tests and benchmarks, and the platform's side of every wire."""
