# syntax=docker/dockerfile:1

# thinkgate with its router and the ONNX Runtime library:
#
#   docker build -t thinkgate .
#   docker run -p 8080:8080 thinkgate serve --upstream http://vllm:8000

FROM rust:1.95-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# The library comes first: it changes less often than the sources.
COPY scripts/setup scripts/setup
RUN scripts/setup
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY configs configs
COPY tests/integration tests/integration
COPY benches benches
# Another profile than `release` builds faster and runs slower.
ARG PROFILE=release
# The cache mounts keep crates and objects between builds; the binary is installed outside of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo install --path . --bin thinkgate --profile $PROFILE --locked --root /usr/local --no-track

FROM debian:bookworm-slim
# ONNX Runtime links to libstdc++; endpoints with https need the certificates.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin thinkgate
# The default configuration names onnx/router, relative to here.
WORKDIR /opt/thinkgate
COPY --from=build /usr/local/bin/thinkgate /usr/local/bin/thinkgate
COPY --from=build /build/onnx/runtime onnx/runtime
COPY onnx/router onnx/router
COPY LICENSE ./
USER 10001
# The default, a loopback address, cannot be reached from outside of the container.
ENV THINKGATE_LISTEN=0.0.0.0:8080
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["thinkgate"]
CMD ["serve"]
