# The pip way: the wheel and those of its dependencies are made in the first stage, so that the image has no compiler. An
# image of your own Calculator starts FROM this one, or takes the last stage's RUN line into its own. For images of another
# kind (an older Python, Java, Node, musl, scratch) see docs/INSTALL.md.

FROM python:3.11-slim AS builder
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml setup.py MANIFEST.in README.md CHANGELOG.md LICENSE ./
COPY src src
RUN pip wheel --no-cache-dir --wheel-dir /wheels .

FROM python:3.11-slim
RUN --mount=type=bind,from=builder,source=/wheels,target=/wheels \
    python3 -m venv /opt/supervisor \
    && /opt/supervisor/bin/pip install --no-cache-dir --no-index --find-links /wheels buldozer-supervisor
EXPOSE 8080
ENTRYPOINT ["/opt/supervisor/bin/supervisor"]
CMD ["--bin", "python3", "--args", "/opt/app/io_main.py,/var/model"]
