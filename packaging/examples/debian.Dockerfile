# The pip way, where the image has CPython 3.11 or later and glibc 2.28 or later. In a virtual environment of its own:
# PyPI's supervisor, and the Calculator's own pydantic, requests or consul, stay what they are.
FROM python:3.11-slim
COPY buldozer_supervisor-*.whl /tmp/
RUN python3 -m venv /opt/supervisor && /opt/supervisor/bin/pip install --no-cache-dir /tmp/buldozer_supervisor-*.whl
COPY io_main.py /opt/app/
EXPOSE 8080
ENTRYPOINT ["/opt/supervisor/bin/supervisor"]
CMD ["--bin", "python3", "--args", "/opt/app/io_main.py,/var/model"]
