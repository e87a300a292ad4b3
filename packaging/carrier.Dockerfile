# An image that is nothing but the directory, to copy from. After `make bundle`, in the project's folder:
#   docker build --file packaging/carrier.Dockerfile --tag supervisor:0.2.0 .
# and with --build-arg MACHINE=aarch64 for the other processor.
FROM scratch
ARG MACHINE=x86_64
ADD dist/supervisor-*-linux-${MACHINE}.tar.gz /
EXPOSE 8080
ENTRYPOINT ["/opt/supervisor"]
