# syntax-less
ARG VERSION=1.0
FROM bb AS base
ARG VERSION
ARG OTHER=x${VERSION}
ENV A=1 B="two words" C=$A
ENV LEGACY some value
LABEL one=1 "two words"='x y' three=$OTHER
WORKDIR /srv
WORKDIR sub/../app
RUN echo "$A" $VERSION > /srv/out
USER 1000:1000
EXPOSE 80 443/UDP 8000-8002
VOLUME /data ["/x"]
STOPSIGNAL SIGUSR1
HEALTHCHECK --interval=30s --timeout=1m30s --retries=3 CMD wget -q http://x
SHELL ["/bin/sh", "-ec"]
CMD echo hello $A
ONBUILD RUN echo onbuild

FROM base AS second
COPY --chown=1:2 --chmod=0644 a.txt d ./
COPY --from=base /srv/out /out
ADD --link a.txt /linked/
COPY <<EOF <<-"RAW" /files/
a=$A
EOF
	raw $A
	RAW
RUN <<EOF
echo one
echo two
EOF
ENTRYPOINT ["/bin/echo", "a\tb"]
MAINTAINER me
USER root
WORKDIR /
CMD ["x"]
