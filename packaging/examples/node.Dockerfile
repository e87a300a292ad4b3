# Node answers in the background: let each line that it prints acknowledge one that it got.
FROM node:20-slim
COPY --from=supervisor:0.2.0 /opt/ /opt/
COPY main.js /opt/app/
ENV ACK_MODE=line
EXPOSE 8080
ENTRYPOINT ["/opt/supervisor"]
CMD ["--bin", "node", "--args", "/opt/app/main.js"]
