# Two images:
#   docker build --target service --tag kiln-service .        answers requests: CPU, no pipeline code, no build tools
#   docker build --target trainer --tag kiln-trainer .        runs the pipeline on a GPU
# buildah takes the same file: buildah build --format docker --target service --tag kiln-service .

# Pin what you deploy by digest: --build-arg BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm@sha256:...
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm


FROM ${BASE_IMAGE} AS service-packages
COPY requirements/service.txt /tmp/requirements.txt
RUN python -m venv --without-pip /opt/kiln \
    && python -m pip --python /opt/kiln/bin/python install --no-cache-dir --no-deps --require-hashes \
        --requirement /tmp/requirements.txt
# What only serves to build custom operations: TensorFlow's headers, libclang and the packaging tools, 350 MB in all.
RUN cd /opt/kiln/lib/python3.11/site-packages \
    && rm -rf tensorflow/include clang libclang-* setuptools setuptools-* _distutils_hack distutils-precedence.pth \
        wheel wheel-* /opt/kiln/bin/wheel


FROM ${BASE_IMAGE} AS service-files
WORKDIR /srv/kiln
COPY service service
RUN python -m compileall -q service
# With --build-arg MODELS=models, the model repository, which .dockerignore lets through; else an empty folder to mount
# one on. A bind mount in place of COPY would not do: buildah's cache does not see that its files have changed.
ARG MODELS
COPY ${MODELS:-requirements} /models
RUN if [ -z "${MODELS}" ]; then rm -r /models/*; fi \
    && chmod -R u=rwX,go=rX /srv/kiln /models


FROM ${BASE_IMAGE} AS service
LABEL org.opencontainers.image.title="kiln-service" \
      org.opencontainers.image.description="Serves SavedModels over HTTP, as TensorFlow Serving and Open Inference do."
# pip is of no use to a container whose root is read-only, and of some to an intruder.
RUN find / -xdev -depth -path '*/python3*' -type d \
        \( -name pip -o -name 'pip-*' -o -name setuptools -o -name 'setuptools-*' -o -name pkg_resources \
           -o -name ensurepip \) -exec rm -r {} + \
    && rm -f /usr/local/bin/pip* /usr/bin/pip*
COPY --from=service-packages /opt/kiln /opt/kiln
COPY --from=service-files /srv/kiln /srv/kiln
COPY --from=service-files /models /models
# HOME is where libraries keep what they remember: with a read-only root only /tmp can be written, as a tmpfs.
ENV PATH=/opt/kiln/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    KILN_HOST=0.0.0.0 \
    KILN_PORT=8080 \
    KILN_MODEL_REPOSITORY=/models
WORKDIR /srv/kiln
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; \
         web.urlopen(f'http://127.0.0.1:{os.environ[\"KILN_PORT\"]}/v2/health/ready', timeout=2)"]
ENTRYPOINT ["python", "-m", "service"]


FROM ${BASE_IMAGE} AS trainer-packages
# --build-arg REQUIREMENTS=dev trains on the CPU, in a quarter of the space.
ARG REQUIREMENTS=gpu
COPY requirements/${REQUIREMENTS}.txt /tmp/requirements.txt
RUN python -m venv --without-pip /opt/kiln \
    && python -m pip --python /opt/kiln/bin/python install --no-cache-dir --no-deps --require-hashes \
        --requirement /tmp/requirements.txt


# Runs `dvc repro` on the pipeline in the image, or on a checkout mounted at /kiln; arguments name the stages:
#   docker run --gpus all --volume "$PWD":/kiln --user "$(id -u):$(id -g)" kiln-trainer publish@digits
FROM ${BASE_IMAGE} AS trainer
LABEL org.opencontainers.image.title="kiln-trainer" \
      org.opencontainers.image.description="Trains, evaluates and publishes Kiln's models with DVC."
# A mounted checkout has another owner than this user, which git refuses unless it is told.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory /kiln
COPY --from=trainer-packages /opt/kiln /opt/kiln
WORKDIR /kiln
COPY dvc.yaml dvc.lock* params.yaml ./
COPY .dvc/config .dvc/config
COPY pipeline pipeline
# Without a repository of git's in the image, DVC has to be told so; a mounted checkout hides this file.
RUN printf '[core]\n    no_scm = true\n' > .dvc/config.local && chown -R 65532:65532 /kiln
# DVC wants the user's name, which a number without an entry in /etc/passwd has from here.
ENV PATH=/opt/kiln/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    LOGNAME=kiln \
    PYTHONUNBUFFERED=1 \
    DVC_NO_ANALYTICS=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 65532:65532
ENTRYPOINT ["sh", "-c", "python -m pipeline.mend && exec dvc repro \"$@\"", "kiln-trainer"]
