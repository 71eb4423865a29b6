# The image of amlproxy: one static binary, the roots it trusts, and no shell.
#
#   docker build -t amlproxy --build-arg VERSION="$(git describe --tags --always --dirty)" .
#   docker run --rm -p 8080:8080 -p 8081:8081 amlproxy demo

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
# Where modules come from, where that is not Go's default.
ARG GOPROXY
# Go is the one of the image, whatever go.mod may say some day.
ENV GOTOOLCHAIN=local CGO_ENABLED=0
COPY . .
ARG VERSION=devel
ARG TARGETOS
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
      -ldflags "-s -w -buildid= -X main.stamped=$VERSION" -o /amlproxy ./cmd/amlproxy

FROM scratch
ARG VERSION=devel
ARG REVISION=unknown
LABEL org.opencontainers.image.title="amlproxy" \
      org.opencontainers.image.description="Azure Machine Learning models behind a sign-in" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /amlproxy /amlproxy
COPY LICENSE /LICENSE
# Callers, and the demo, on all addresses of the container. So is the operator, for a
# Prometheus and probes that come from outside of it; the port is not to be published.
ENV AMLPROXY_LISTEN=:8080 \
    AMLPROXY_ADMIN_LISTEN=:9090
# The demo writes its files here: it can be written to under a read-only root as well.
# The proxy writes none.
ENV TMPDIR=/dev/shm
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/amlproxy", "healthcheck"]
ENTRYPOINT ["/amlproxy"]
