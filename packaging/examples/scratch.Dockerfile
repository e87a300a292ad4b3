# A program that needs nothing of an image: the whole image is the program and the Supervisor.
FROM scratch
COPY --from=supervisor:0.2.0 /opt/ /opt/
COPY calculator /
EXPOSE 8080
ENTRYPOINT ["/opt/supervisor"]
CMD ["--bin", "/calculator"]
