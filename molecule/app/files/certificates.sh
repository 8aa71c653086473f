#!/bin/sh
# An authority and what it signed: the slots' certificate, the edge's and that of some other host.
# certificates.sh renew   another certificate for the slots' key
set -eu
mkdir -p /etc/signalbox/tls
cd /etc/signalbox/tls
sign() {
    openssl req -new -key "$1.key" -subj "/CN=$2" -out "$1.csr"
    printf 'subjectAltName=DNS:%s\n' "$2" >extensions
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -days 30 -extfile extensions -out "$1.crt"
}
if [ "${1:-}" != renew ]; then
    for name in ca slots edge other; do
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out "$name.key"
    done
    openssl req -x509 -key ca.key -days 30 -subj /CN=lab -addext keyUsage=critical,keyCertSign,cRLSign -out ca.crt
    sign edge edge.test
    sign other other.test
fi
sign slots slots.test
