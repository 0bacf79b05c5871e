# syntax=docker/dockerfile:1
# escape=`

# Programs for several machines from one file, by stages that are chosen by name.
ARG ALPINE=alpine
ARG SUFFIX

FROM ${ALPINE} AS os-amd64
ENV ARCH_FLAGS="-march=x86-64-v2"
FROM ${ALPINE} AS os-arm64
ENV ARCH_FLAGS="-march=armv8-a"

FROM os-${TARGETARCH} AS os
ARG TARGETPLATFORM
ARG BUILDPLATFORM
RUN echo "building on $BUILDPLATFORM for $TARGETPLATFORM" > /log

FROM --platform=$BUILDPLATFORM golang:1.26 AS helper
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ARG VERSION=1.2.3-rc1
ENV MAJOR=${VERSION%%.*} `
    MINOR=${VERSION#*.} `
    CLEAN=${VERSION/-rc*/} `
    DASHED=${VERSION//./-}
RUN <<script
#!/usr/bin/env python3
print("hello from a program")
script
RUN --mount=type=ssh,required --mount=type=tmpfs,target=/scratch,size=128m `
    git clone git@git.example.com:team/tools.git /tools | tee /log

FROM os${SUFFIX}
COPY --from=helper --link /tools/ /usr/local/lib/tools/
ADD --keep-git-dir=true https://git.example.com/team/data.git#v1.0:set /data
RUN --mount=type=bind,from=helper,source=/go,target=/go,readonly `
    --mount=type=bind,from=alpine,source=/etc,target=/mnt/etc,rw `
    --mount=type=secret,id=token,env=TOKEN,required `
    --mount=type=cache,id=shared,target=/cache,uid=1000,gid=1000,mode=0775,sharing=private `
    --security=insecure --network=host `
    build --token "$TOKEN" --flags "$ARCH_FLAGS"
CMD build --again
