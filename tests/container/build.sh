#!/bin/sh
# Builds one image of the Dockerfile with docker, or with buildah where there is no docker daemon.
#
#   build.sh [TARGET [IMAGE]]        default: service kiln-service
#
# KILN_BASE_IMAGE: another base image than python:3.11-slim-bookworm; one that is already here is not fetched again.
# MODELS: a folder of the checkout, such as models, to bake into the service image.
# REQUIREMENTS: gpu (default) or dev, the packages of the trainer image.
set -eu
cd "$(dirname "$0")/../.."
target=${1:-service}
image=${2:-kiln-$target}

if docker info >/dev/null 2>&1; then
    set -- docker build
elif command -v buildah >/dev/null; then
    # chroot needs no container runtime; HEALTHCHECK is in docker's image format only.
    export BUILDAH_ISOLATION="${BUILDAH_ISOLATION:-chroot}"
    set -- buildah build --format docker --layers --pull=missing
else
    echo "Neither a docker daemon nor buildah is here. Install one: apt-get install buildah" >&2
    exit 1
fi
[ -z "${KILN_BASE_IMAGE:-}" ] || set -- "$@" --build-arg "BASE_IMAGE=$KILN_BASE_IMAGE"
case $target in
    service) set -- "$@" --build-arg "MODELS=${MODELS:-}" ;;
    trainer) set -- "$@" --build-arg "REQUIREMENTS=${REQUIREMENTS:-gpu}" ;;
esac
exec "$@" --target "$target" --tag "$image" .
