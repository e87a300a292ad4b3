"""Benchmarks: the Supervisor beside other ways to do its job, and its kernels beside orjson."""
