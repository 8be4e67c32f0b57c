# docker build -t miostitch . && docker run --rm miostitch
# docker run --rm -v "$PWD:/data" miostitch miostitch stitch left.avi right.avi -o stitched
FROM python:3.12-slim
COPY . /src
# without git the version is the one that is given here
ARG VERSION=0.1.0
RUN SETUPTOOLS_SCM_PRETEND_VERSION_FOR_MIOSTITCH=$VERSION \
    pip install --no-cache-dir "/src[nwb,distributed]" && rm -r /src
# compiled code is kept here, whoever runs the container
ENV NUMBA_CACHE_DIR=/var/cache/miostitch
RUN mkdir -m 1777 /var/cache/miostitch /data
WORKDIR /data
CMD ["miostitch", "demo", "-o", "demo"]
