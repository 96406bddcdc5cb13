# Two stages: build a wheel, then run it as a user that is not root.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE CHANGELOG.md ./
COPY server ./server
RUN python -m venv /opt/runwright \
 && /opt/runwright/bin/pip install -c constraints.txt '.[metrics,otel]'

FROM python:3.11-slim
COPY --from=build /opt/runwright /opt/runwright
RUN useradd --system --uid 10001 --home-dir /var/lib/runwright --create-home runwright
USER runwright
ENV PATH=/opt/runwright/bin:$PATH
VOLUME /var/lib/runwright
EXPOSE 7760
# Mount a package file at /etc/runwright/package.yaml and add `--executor NAME=HOST:PORT`.
# It serves other machines, so it does not start without `--keys FILE --tls-cert FILE --tls-key FILE`; deploy/compose.yaml
# has them all. Liveness and readiness: gRPC health on the same port, or in plaintext on that of `--health-listen`.
ENTRYPOINT ["runwright", "serve", "--data", "/var/lib/runwright/data", "--listen", "0.0.0.0:7760", \
  "--package", "/etc/runwright/package.yaml"]
