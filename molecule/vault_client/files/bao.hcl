api_addr = "https://127.0.0.1:8200"
cluster_addr = "https://127.0.0.1:8201"
disable_mlock = true
storage "raft" {
  path = "/var/lib/bao/raft"
  node_id = "one"
  performance_multiplier = 1
}
listener "tcp" {
  address = "0.0.0.0:8200"
  tls_cert_file = "/etc/signalbox/tls/vault.crt"
  tls_key_file = "/etc/signalbox/tls/vault.key"
}
seal "static" {
  current_key_id = "one"
  current_key = "file:///var/lib/bao/seal.key"
}
audit "file" "file" {
  options {
    file_path = "/var/log/bao-audit.log"
  }
}
