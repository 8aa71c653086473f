#!/bin/sh
# Certificates of the scenario: an authority, and the registry's own.
set -eu
mkdir -p /etc/signalbox/tls
cd /etc/signalbox/tls
curve="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
# shellcheck disable=SC2086
openssl req -x509 $curve -days 30 -subj /CN=lab -addext keyUsage=critical,keyCertSign,cRLSign -keyout ca.key -out ca.crt
# shellcheck disable=SC2086
openssl req $curve -subj /CN=registry1 -keyout registry.key -out registry.csr
printf 'subjectAltName=DNS:registry1\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' >extensions
openssl x509 -req -in registry.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile extensions -out registry.crt
chmod 0600 ./*.key
