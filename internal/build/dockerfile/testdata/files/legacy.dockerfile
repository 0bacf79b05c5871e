from debian:12
maintainer Somebody <somebody@example.com>

env LANG C.UTF-8
ENV DEBIAN_FRONTEND=noninteractive APP_HOME=/opt/app
run apt-get update && \

    apt-get -y install \
        build-essential \
	# tools
        curl

WORKDIR $APP_HOME
WORKDIR src
Add . ./
RUN make && make install && \
    echo "a  \
b"
workdir ..
VOLUME /data $APP_HOME/log
EXPOSE 7000-7003 8000/udp
ONBUILD ADD . /app/src
ONBUILD RUN /usr/local/bin/build --dir /app/src
ONBUILD ENV BUILT="yes"
USER nobody
ENTRYPOINT ["app"]
CMD ["--help"]
CMD ["--serve", "--port", "7000"]
