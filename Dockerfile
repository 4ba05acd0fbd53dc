FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ARG COMMIT=unknown
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION} -X main.commit=${COMMIT}" -o /out/doorward ./cmd/doorward \
    && mkdir /out/data

# Nothing but the program and the certificates it trusts other servers by.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/doorward /usr/local/bin/doorward
COPY --from=build --chown=65532:65532 /out/data /data
ENV PATH=/usr/local/bin \
    DOORWARD_CONFIG=/etc/doorward/config.yaml \
    DOORWARD_SERVER_OPS_LISTEN=:9180
USER 65532:65532
# The store's default is a file in the working directory.
WORKDIR /data
VOLUME /data
EXPOSE 8080 9180
HEALTHCHECK CMD ["doorward", "healthcheck"]
ENTRYPOINT ["doorward"]
