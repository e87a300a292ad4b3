FROM eclipse-temurin:17-jre
COPY --from=supervisor:0.2.0 /opt/ /opt/
WORKDIR /app
COPY base-application.jar target/
EXPOSE 8080
ENTRYPOINT ["/opt/supervisor"]
CMD ["--bin", "java", "--args", "-jar,target/base-application.jar"]
