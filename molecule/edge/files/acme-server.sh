#!/bin/sh
# OpenBao's PKI as the public authority of this scenario: an ACME directory at https://acme1:8200/v1/pki/acme/directory.
# Its own certificate and those that it issues are of one authority, /opt/acme/ca.crt.
set -eu
mkdir -p /opt/acme
cd /opt/acme
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 120 -subj '/CN=ACME test authority' \
    -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,cRLSign -keyout ca.key -out ca.crt
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=acme1 -keyout server.key -out server.csr
echo 'subjectAltName=DNS:acme1' > extensions
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile extensions -out server.crt
cat > server.hcl <<'HCL'
disable_mlock = true
storage "inmem" {}
listener "tcp" {
  address = "0.0.0.0:8200"
  tls_cert_file = "/opt/acme/server.crt"
  tls_key_file = "/opt/acme/server.key"
}
HCL
cat > /etc/systemd/system/acme.service <<'UNIT'
[Service]
ExecStart=/opt/acme/bao server -config=/opt/acme/server.hcl
UNIT
systemctl daemon-reload
systemctl start acme.service

export BAO_ADDR=https://acme1:8200 BAO_CACERT=/opt/acme/ca.crt
for _attempt in $(seq 60); do
    ./bao status > /dev/null 2>&1 || [ $? -eq 2 ] && break
    sleep 0.5
done
./bao operator init -key-shares=1 -key-threshold=1 > init
./bao operator unseal "$(sed -n 's/^Unseal Key 1: //p' init)" > /dev/null
BAO_TOKEN=$(sed -n 's/^Initial Root Token: //p' init)
export BAO_TOKEN
./bao secrets enable -max-lease-ttl=4320h pki
# What ACME's answers need besides a body.
./bao secrets tune -passthrough-request-headers=If-Modified-Since -allowed-response-headers=Last-Modified \
    -allowed-response-headers=Location -allowed-response-headers=Replay-Nonce -allowed-response-headers=Link pki
cat ca.key ca.crt > bundle
./bao write pki/issuers/import/bundle pem_bundle=@bundle
./bao write pki/config/cluster path=https://acme1:8200/v1/pki aia_path=https://acme1:8200/v1/pki
./bao write pki/roles/web allow_any_name=true enforce_hostnames=false key_type=any ttl=1440h max_ttl=1440h no_store=false
./bao write pki/config/acme enabled=true default_directory_policy=role:web
touch ready
