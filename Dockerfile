# The GitHub App in an empty image: one static binary and the certificate
# authorities that it needs to reach GitHub.
#
#   docker build --build-arg VERSION=$(git describe --tags --always) -t dtypebot .
#   docker run -p 8080:8080 -v dtypebot-data:/data --env-file dtypebot.env dtypebot
#
# See deploy/README.md for the environment.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN deploy/build /out/dtypebot "$VERSION" && mkdir -m 0700 /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/dtypebot /dtypebot
# A new volume takes over the owner and the mode of the folder it is put on.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
ENV DATA_DIR=/data
VOLUME /data
EXPOSE 8080
# On SIGTERM running reviews may finish for 20 seconds.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/dtypebot"]
CMD ["serve"]
