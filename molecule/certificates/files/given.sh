#!/bin/sh
# A pair as an operator brings it: in files of the control node, the key encrypted with ansible-vault.
set -eu
cd "$1"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=given.example.com \
    -addext subjectAltName=DNS:given.example.com -keyout given.key -out given.crt
"$2" encrypt given.key
