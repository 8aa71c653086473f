#!/bin/sh
# Images of the scenario, from one static program: two releases of an app that answers /health, and one that dies after a second.
set -eu
root=/var/tmp/image
mkdir -p "$root/bin" "$root/etc" "$root/tmp" "$root/www"
cp /usr/bin/busybox "$root/bin/"
for name in sh httpd env sleep; do ln -sf busybox "$root/bin/$name"; done
echo 'app:x:1000:1000::/:/bin/sh' >"$root/etc/passwd"
for version in 1.0.0 1.1.0; do
    printf '{"status":"ok","version":"%s"}' "$version" >"$root/www/health"
    tar -C "$root" -c . | docker import --change 'USER 1000:1000' --change 'ENTRYPOINT ["/bin/sh","-c"]' \
        --change 'CMD ["echo started; exec httpd -f -p 8080 -h /www"]' \
        --change "LABEL org.opencontainers.image.version=$version" - "registry1:5000/demo:$version"
done
tar -C "$root" -c . | docker import --change 'ENTRYPOINT ["/bin/sh","-c"]' \
    --change 'CMD ["sleep 1; echo no database >&2; exit 3"]' - registry1:5000/demo:broken
export DOCKER_CONFIG=/run/scenario
mkdir -p "$DOCKER_CONFIG"
docker login --username deploy --password-stdin registry1:5000
for version in 1.0.0 1.1.0 broken; do
    docker push --quiet "registry1:5000/demo:$version"
    docker rmi "registry1:5000/demo:$version"
done
rm -rf "$DOCKER_CONFIG"
touch "$root/pushed"
