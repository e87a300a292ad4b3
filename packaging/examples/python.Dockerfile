# A Calculator in an old Python: nothing of it is shared with the Supervisor's own.
FROM python:3.7
COPY --from=supervisor:0.2.0 /opt/ /opt/
COPY io_main.py /opt/app/
EXPOSE 8080
ENTRYPOINT ["/opt/supervisor"]
CMD ["--bin", "python3", "--args", "/opt/app/io_main.py,/var/model"]
