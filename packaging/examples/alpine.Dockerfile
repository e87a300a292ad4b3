# A program linked to musl; PROGRAM in place of --bin, so that `docker run IMAGE check` finds it too.
FROM alpine:3
COPY --from=supervisor:0.2.0 /opt/ /opt/
COPY calculator /usr/local/bin/
ENV PROGRAM=calculator
EXPOSE 8080
ENTRYPOINT ["/opt/supervisor"]
